package userspace

import (
	"errors"
	"fmt"

	"nlmmap/sys"
	"nlmmap/uapi"
)

// Errors of a Writer; compare with errors.Is.
var (
	// ErrFull says that the next frame is not free: the kernel has to take it first, see Kick.
	ErrFull = errors.New("the next frame of the TX ring is not free")
	// ErrOpen says that the frame before was neither committed nor cancelled.
	ErrOpen = errors.New("a frame of the TX ring is being filled")
	// ErrIgnored says that the kernel did not look at the ring. Linux 4.1 never does.
	ErrIgnored = errors.New("the kernel did not look at the TX ring")
)

// A Writer fills the TX ring of a Socket in order.
type Writer struct {
	sock   *Socket
	area   area
	pos    uint32 // next to fill
	queued uint32 // committed and not known to be taken: the frames before pos
	gen    uint64
	open   bool
	kick   sys.Msghdr // what lets the kernel look at the ring
}

// A TxFrame is a frame that is being filled, until it is committed or cancelled; afterwards its methods return
// ErrReleased.
type TxFrame struct {
	w    *Writer
	gen  uint64
	pos  uint32
	used int
}

// Addr is where a frame begins in the task's memory, for those who want to look at it themselves.
func (w *Writer) Addr(pos uint32) uint64 { return w.area.addr(pos) }

// Queued is the number of frames that wait for a Kick.
func (w *Writer) Queued() int { return int(w.queued) }

// Room is the number of message bytes that a frame holds.
func (w *Writer) Room() int { return w.area.req.FrameRoom() }

// Next returns the next frame to fill. It does not wait: ErrFull when the frame is not UNUSED, ErrOpen while the one
// before is still being filled, ErrClosed.
func (w *Writer) Next() (*TxFrame, error) {
	f, err := w.next()
	if err != nil {
		return nil, err
	}
	return &f, nil
}

// next is Next for who needs no frame on the heap.
func (w *Writer) next() (TxFrame, error) {
	switch {
	case w.sock.closed:
		return TxFrame{}, ErrClosed
	case w.open:
		return TxFrame{}, ErrOpen
	}
	status, err := w.area.load(w.pos, uapi.NMStatus)
	if err != nil {
		return TxFrame{}, err
	}
	if status != uapi.NLMMapStatusUnused {
		return TxFrame{}, fmt.Errorf("%w: frame %d is %s", ErrFull, w.pos, uapi.StatusName(status))
	}
	w.gen++
	w.open = true
	return TxFrame{w: w, gen: w.gen, pos: w.pos}, nil
}

func (f *TxFrame) check() error {
	switch {
	case f.w.sock.closed:
		return ErrClosed
	case !f.w.open || f.gen != f.w.gen:
		return ErrReleased
	}
	return nil
}

// Index is the frame's position in the ring.
func (f *TxFrame) Index() int { return int(f.pos) }

// Write appends bytes to the frame. It writes nothing when they do not fit.
func (f *TxFrame) Write(b []byte) (int, error) {
	if err := f.check(); err != nil {
		return 0, err
	}
	if f.used+len(b) > f.w.area.req.FrameRoom() {
		return 0, fmt.Errorf("%d bytes do not fit frame %d, which has room for %d more: %w", len(b), f.pos, f.w.area.req.FrameRoom()-f.used, sys.EMSGSIZE)
	}
	if err := f.w.area.task.WriteMem(f.w.area.addr(f.pos)+uapi.NLMMapHdrlen+uint64(f.used), b); err != nil {
		return 0, fmt.Errorf("frame %d: %w", f.pos, err)
	}
	f.used += len(b)
	return len(b), nil
}

// Used is the number of bytes that were written.
func (f *TxFrame) Used() int { return f.used }

// Commit makes the first n bytes of the frame a message that waits for the next Kick. The length is stored before the
// status, which makes the frame the kernel's. n beyond the frame's room is EMSGSIZE: the frame is still being filled.
func (f *TxFrame) Commit(n int) error {
	if err := f.check(); err != nil {
		return err
	}
	w := f.w
	if n < 0 || n > w.area.req.FrameRoom() {
		// The kernel would answer EINVAL to every kick until somebody corrects the length.
		return fmt.Errorf("length %d in frame %d, which has room for %d: %w", n, f.pos, w.area.req.FrameRoom(), sys.EMSGSIZE)
	}
	if err := w.area.store(f.pos, uapi.NMLen, uint32(n)); err != nil {
		return err
	}
	if err := w.area.store(f.pos, uapi.NMStatus, uapi.NLMMapStatusValid); err != nil {
		return err
	}
	w.open = false
	w.pos = w.area.req.Next(w.pos)
	w.queued++
	return nil
}

// Cancel gives the frame up; Next returns it again.
func (f *TxFrame) Cancel() error {
	if err := f.check(); err != nil {
		return err
	}
	f.w.open = false
	return nil
}

// A Batch is the frames that one Kick was to send.
type Batch struct {
	Frames int // that were queued
	Taken  int // of them, those that the kernel took: the first ones
	Bytes  int // as the call returned it; 0 after an error, whatever was sent
}

// A BatchError tells how far a batch came that failed.
type BatchError struct {
	Batch
	// Frame is the position in the ring of the frame that the error is about.
	Frame int
	// Consumed tells that this frame's message was taken and lost; otherwise the frame waits, and with it all
	// later ones: the next Kick meets it again.
	Consumed bool
	Err      error
}

func (e *BatchError) Error() string {
	fate := "stays and blocks those behind it"
	if e.Consumed {
		fate = "is lost"
	}
	sent := e.Taken
	if e.Consumed {
		sent--
	}
	return fmt.Sprintf("%d of %d frames were sent, the message in frame %d %s: %v", sent, e.Frames, e.Frame, fate, e.Err)
}

// Unwrap gives the error of the call.
func (e *BatchError) Unwrap() error { return e.Err }

// Kick sends all queued frames with one system call: to a user socket or group, or with nil to the kernel or the peer
// of connect. Messages to the kernel are processed before it returns; to full user sockets it waits.
//
// An error is a *BatchError. It wraps ErrIgnored, or an errno: ECONNREFUSED, EAGAIN or EINTR for a message that was
// lost, after which another Kick sends the rest; EINVAL for a length that somebody changed and ENOBUFS, after which
// the frame waits: see Rewind.
func (w *Writer) Kick(to *uapi.SockaddrNL) (Batch, error) {
	if w.sock.closed {
		return Batch{}, ErrClosed
	}
	b := Batch{Frames: int(w.queued)}
	first := w.first()
	if w.kick.Iov == nil {
		w.kick.Iov = []sys.Iovec{{}}
	}
	w.kick.Name = address(to)
	n, err := w.sock.task.Sendmsg(w.sock.fd, &w.kick, 0)
	for w.queued > 0 {
		// The kernel takes frames in order: the first VALID one ends what it has taken.
		status, lerr := w.area.load(w.first(), uapi.NMStatus)
		if lerr != nil {
			return b, errors.Join(err, lerr)
		}
		if status == uapi.NLMMapStatusValid {
			break
		}
		w.queued--
		b.Taken++
	}
	switch {
	case err != nil:
		e := &BatchError{Batch: b, Err: err}
		e.Consumed = b.Taken > 0 && !errors.Is(err, sys.EINVAL) && !errors.Is(err, sys.ENOBUFS)
		at := b.Taken
		if e.Consumed {
			at--
		}
		e.Frame = int((uint64(first) + uint64(at)) % uint64(w.area.req.FrameNr))
		return b, e
	case b.Taken == 0 && b.Frames > 0:
		return b, &BatchError{Batch: b, Frame: int(first), Err: ErrIgnored}
	}
	b.Bytes = n
	return b, nil
}

// first is the oldest queued frame.
func (w *Writer) first() uint32 {
	return uint32((uint64(w.pos) + uint64(w.area.req.FrameNr) - uint64(w.queued)) % uint64(w.area.req.FrameNr))
}

// Rewind takes all queued frames back, the last one first, and returns how many: their messages are not sent, and Next
// returns the oldest of them. A frame that is being filled is cancelled.
func (w *Writer) Rewind() (int, error) {
	if w.sock.closed {
		return 0, ErrClosed
	}
	w.open = false
	n := 0
	for ; w.queued > 0; n++ {
		last := (w.pos + w.area.req.FrameNr - 1) % w.area.req.FrameNr
		if err := w.area.store(last, uapi.NMStatus, uapi.NLMMapStatusUnused); err != nil {
			return n, err
		}
		w.pos = last
		w.queued--
	}
	return n, nil
}

// Send puts one message into the ring, and kicks first when the ring is full. It is on its way with the next Kick.
func (w *Writer) Send(msg []byte, to *uapi.SockaddrNL) error {
	f, err := w.next()
	if errors.Is(err, ErrFull) {
		if _, err := w.Kick(to); err != nil {
			return err
		}
		f, err = w.next()
	}
	if err != nil {
		return err
	}
	if _, err := f.Write(msg); err != nil {
		return errors.Join(err, f.Cancel())
	}
	return f.Commit(len(msg))
}
