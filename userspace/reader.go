package userspace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"golang.org/x/sys/unix"

	"nlmmap/sys"
	"nlmmap/uapi"
)

// ErrReleased is what the methods of a frame return after it was released.
var ErrReleased = errors.New("the frame was released")

// ErrCorrupt says that a frame has a status or a length that no kernel writes.
var ErrCorrupt = errors.New("the frame is corrupt")

// Overrun tells that the kernel lost messages to this socket for lack of a free frame or of buffer space. The reader
// may continue; what it has of a running dump is incomplete, and an acknowledgement may be missing. It is ENOBUFS.
type Overrun struct{}

func (*Overrun) Error() string { return "messages were lost: the reader was too slow" }

// Unwrap gives the errno.
func (*Overrun) Unwrap() error { return sys.ENOBUFS }

// pendingError is the error that a socket had pending. 3.10 stores some with the wrong sign.
func pendingError(code int32) error {
	errno := unix.Errno(max(code, -code))
	if errno == sys.ENOBUFS {
		return &Overrun{}
	}
	return fmt.Errorf("pending error of the socket: %w", errno)
}

// ReaderStats counts what a reader has met.
type ReaderStats struct {
	Frames   int // handed out
	Copied   int // of them, messages that came through the receive queue
	Empty    int // VALID frames of length 0
	Overruns int
	Stray    int // of Copied, messages that no frame announced
}

// A Reader reads the RX ring of a Socket in order.
type Reader struct {
	sock   *Socket
	area   area
	pos    uint32
	leases []lease
	fds    [1]sys.PollFD // for Wait, which would allocate it
	stats  ReaderStats
	err    error
	// idle counts the naps since there was something, and yielded says that the reader has tried to do without the first.
	// stray is a message that no frame announced. loose is set when frames and queued messages have come apart: then a
	// COPY frame may come whose message was received before.
	idle    int
	yielded bool
	stray   *lease
	loose   bool
}

// lease is what the reader knows of the frame at one position. gen tells the frames apart that come there.
type lease struct {
	gen     uint64
	held    bool
	skipped bool
	data    []byte // of a message that came beside the ring
	length  int
}

// A Frame is a lease on one frame of the RX ring: its methods work until it is released, afterwards they return
// ErrReleased.
type Frame struct {
	r     *Reader
	pos   uint32
	gen   uint64
	stray *lease // instead of a place in the ring
}

// Frames iterates over the frames that are ready, in order, and ends when there is none: see Err and Wait. A frame
// that the loop's body neither released nor skipped is released when the body ends, however it ends.
func (r *Reader) Frames() iter.Seq[Frame] {
	return func(yield func(Frame) bool) {
		r.err = nil
		for {
			f, ok, err := r.next()
			if err != nil {
				r.err = err
				return
			}
			if !ok {
				return
			}
			more := yield(f)
			if l, err := f.lease(); err == nil && !l.skipped {
				if err := f.Release(); err != nil && r.err == nil {
					r.err = err
				}
			}
			if !more || r.err != nil {
				return
			}
		}
	}
}

// Err says why the last iteration ended early; nil when no more frames were ready.
//
// An *Overrun and ErrTruncated let the reader continue. After ErrCorrupt, and when there is no message for a COPY frame
// (EAGAIN), the frame stays at the reader's position: Discard passes over it.
func (r *Reader) Err() error { return r.err }

// Stats returns the counters.
func (r *Reader) Stats() ReaderStats { return r.stats }

// Addr is where a frame begins in the task's memory, for those who want to look at it themselves.
func (r *Reader) Addr(pos uint32) uint64 { return r.area.addr(pos) }

// Position is the frame that the reader will look at next.
func (r *Reader) Position() uint32 { return r.pos }

// next takes the frame at the reader's position.
func (r *Reader) next() (f Frame, ok bool, err error) {
	for {
		if r.sock.closed {
			return f, false, ErrClosed
		}
		if l := r.stray; l != nil {
			r.stray = nil
			r.stats.Frames++
			return Frame{r: r, stray: l}, true, nil
		}
		if r.leases[r.pos].held {
			if r.passOver() {
				continue
			}
			return f, false, nil
		}
		status, err := r.area.load(r.pos, uapi.NMStatus)
		if err != nil {
			return f, false, err
		}
		var l lease
		switch status {
		case uapi.NLMMapStatusUnused, uapi.NLMMapStatusReserved:
			return f, false, nil
		case uapi.NLMMapStatusValid:
			n, err := r.area.load(r.pos, uapi.NMLen)
			if err != nil {
				return f, false, err
			}
			if int64(n) > int64(r.area.req.FrameRoom()) {
				return f, false, fmt.Errorf("%w: frame %d has length %d, its room is %d", ErrCorrupt, r.pos, n, r.area.req.FrameRoom())
			}
			if n == 0 {
				r.stats.Empty++
				if err := r.advance(true); err != nil {
					return f, false, err
				}
				continue
			}
			l.length = int(n)
		case uapi.NLMMapStatusCopy:
			// An error keeps the frame: the pending error of the socket comes first, the message with the next call.
			data, _, err := r.sock.recv()
			if errors.Is(err, ErrTruncated) {
				return f, false, errors.Join(fmt.Errorf("frame %d: %w", r.pos, err), r.advance(true))
			}
			if errors.Is(err, sys.EAGAIN) && r.loose {
				if err := r.advance(true); err != nil {
					return f, false, err
				}
				continue
			}
			if err != nil {
				return f, false, r.count(fmt.Errorf("frame %d: %w", r.pos, err))
			}
			l.data, l.length = data, len(data)
			r.stats.Copied++
		default:
			return f, false, fmt.Errorf("%w: frame %d has status %s", ErrCorrupt, r.pos, uapi.StatusName(status))
		}
		l.gen, l.held = r.leases[r.pos].gen+1, true
		r.leases[r.pos] = l
		f = Frame{r: r, pos: r.pos, gen: l.gen}
		r.stats.Frames++
		r.idle, r.yielded = 0, false
		return f, true, r.advance(false)
	}
}

func (r *Reader) count(err error) error {
	if errors.As(err, new(*Overrun)) {
		r.stats.Overruns++
	}
	return err
}

// advance moves on, and gives the frame back when release is set.
func (r *Reader) advance(release bool) error {
	if release {
		if err := r.area.store(r.pos, uapi.NMStatus, uapi.NLMMapStatusUnused); err != nil {
			return err
		}
	}
	r.pos = r.area.req.Next(r.pos)
	return nil
}

// passOver moves on over frames that the reader keeps, if the kernel has done so: when it has filled the frame behind
// them. Over any other frame it does not move: one that is not ready belongs to a sender that is slower than others.
func (r *Reader) passOver() bool {
	if !r.leases[r.pos].held {
		return false
	}
	for pos := r.area.req.Next(r.pos); pos != r.pos; pos = r.area.req.Next(pos) {
		if r.leases[pos].held {
			continue
		}
		if !r.ready(pos) {
			return false
		}
		r.pos = pos
		return true
	}
	return false
}

// ready reports whether the kernel has filled a frame.
func (r *Reader) ready(pos uint32) bool {
	status, err := r.area.load(pos, uapi.NMStatus)
	return err == nil && (status == uapi.NLMMapStatusValid || status == uapi.NLMMapStatusCopy)
}

// A reader that is told again and again that there is something to read when there is not lets others run, then sleeps for
// napTime each time, and after stuckNaps of these looks elsewhere.
const (
	napTime   = 5 * sys.Millisecond
	stuckNaps = 4
)

// Wait polls until the socket is readable, at most timeout (negative: for ever; 0: only a look). The kernel continues a
// running dump in it.
//
// nil means that it is worth to iterate again, though the frame at the reader's position can still be empty: a message
// before others may take longer, and some kernels call a RESERVED frame readable. Wait then lets others run, and from the
// second time on sleeps 5 ms, so that loops do not spin.
//
// After 20 ms of that, while the reader's frame is free, it moves on to the next frame that is ready; and when there is
// none takes a message out of the receive queue, which comes with the next iteration although no frame announced it.
// Both happen: a kernel on several processors marks a COPY frame after it has queued the message, and when the ring
// goes round in between it takes the same frame twice (copy-header-after-unlock). And it may have passed over a frame
// that was kept and is released now.
//
// Errors: ErrTimeout; *Overrun; other pending errors of the socket, EINTR; ErrClosed.
func (r *Reader) Wait(timeout sys.Time) error {
	if r.sock.closed {
		return ErrClosed
	}
	t := r.sock.task
	r.fds[0] = sys.PollFD{FD: r.sock.fd, Events: uapi.PollIn}
	n, err := t.Poll(r.fds[:], timeout)
	switch {
	case err != nil:
		return fmt.Errorf("poll: %w", err)
	case n == 0:
		return ErrTimeout
	case r.fds[0].Revents&uapi.PollNval != 0:
		return fmt.Errorf("poll: %w", sys.EBADF)
	case r.fds[0].Revents&uapi.PollErr != 0:
		return r.takeError()
	}
	if r.ready(r.pos) || r.passOver() {
		return nil
	}
	if err := r.nap(timeout); err != nil || r.idle < stuckNaps {
		return err
	}
	return r.unstick()
}

func (r *Reader) nap(timeout sys.Time) error {
	if timeout == 0 {
		r.idle++
		return nil
	}
	if !r.yielded {
		r.yielded = true
		r.sock.task.Yield()
		return nil
	}
	r.idle++
	nap := napTime
	if timeout > 0 {
		nap = min(nap, timeout)
	}
	if _, err := r.sock.task.Poll(nil, nap); err != nil {
		return fmt.Errorf("poll: %w", err)
	}
	return nil
}

// unstick is for a reader whose frame stays free although there is something to read.
func (r *Reader) unstick() error {
	r.idle, r.yielded = 0, false
	status, err := r.area.load(r.pos, uapi.NMStatus)
	if err != nil || r.leases[r.pos].held || status != uapi.NLMMapStatusUnused {
		return err
	}
	for pos := r.area.req.Next(r.pos); pos != r.pos; pos = r.area.req.Next(pos) {
		if !r.leases[pos].held && r.ready(pos) {
			r.pos, r.loose = pos, true
			return nil
		}
	}
	data, _, err := r.sock.recv()
	switch {
	case errors.Is(err, sys.EAGAIN):
		return nil
	case err != nil:
		return r.count(err)
	}
	r.stray, r.loose = &lease{held: true, data: data, length: len(data)}, true
	r.stats.Copied++
	r.stats.Stray++
	return nil
}

// takeError fetches and clears the pending error.
func (r *Reader) takeError() error {
	val, err := r.sock.task.Getsockopt(r.sock.fd, uapi.SolSocket, uapi.SoError, 4)
	if err != nil {
		return fmt.Errorf("SO_ERROR: %w", err)
	}
	if code := int32(binary.LittleEndian.Uint32(val)); code != 0 {
		return r.count(pendingError(code))
	}
	return nil
}

// Discard releases the frame at the reader's position whatever it has, and moves on. It is for frames that Err
// complained about; a frame that the kernel has not filled stays.
func (r *Reader) Discard() error {
	status, err := r.area.load(r.pos, uapi.NMStatus)
	switch {
	case err != nil:
		return err
	case r.leases[r.pos].held, status == uapi.NLMMapStatusUnused, status == uapi.NLMMapStatusReserved:
		return fmt.Errorf("frame %d is not the reader's to discard", r.pos)
	}
	return r.advance(true)
}

// lease returns what the reader knows of the frame, or ErrReleased.
func (f Frame) lease() (*lease, error) {
	if f.r == nil {
		return nil, ErrReleased
	}
	if f.r.sock.closed {
		return nil, ErrClosed
	}
	l := f.stray
	if l == nil {
		l = &f.r.leases[f.pos]
	}
	if !l.held || l.gen != f.gen {
		return nil, ErrReleased
	}
	return l, nil
}

// Index is the frame's position in the ring, -1 for a message that no frame announced.
func (f Frame) Index() int {
	if f.stray != nil {
		return -1
	}
	return int(f.pos)
}

// Valid reports whether the frame's data may still be looked at.
func (f Frame) Valid() bool {
	_, err := f.lease()
	return err == nil
}

// Copied reports whether the message came through the receive queue.
func (f Frame) Copied() bool {
	l, err := f.lease()
	return err == nil && l.data != nil
}

// Len is the length of the message in bytes, as it was when the frame was handed out; 0 after it was released.
func (f Frame) Len() int {
	l, err := f.lease()
	if err != nil {
		return 0
	}
	return l.length
}

// Bytes returns the message. It is a copy, so that nothing that others do with the shared memory can change it between
// a check and a use. ErrReleased; SIGBUS or SIGSEGV when the memory is gone.
func (f Frame) Bytes() ([]byte, error) { return f.Append(nil) }

// Append appends the message to buf, for readers that do not want an allocation for each.
func (f Frame) Append(buf []byte) ([]byte, error) {
	l, err := f.lease()
	if err != nil {
		return buf, err
	}
	if l.data != nil {
		return append(buf, l.data...), nil
	}
	start := len(buf)
	buf = append(buf, make([]byte, l.length)...)
	if err := f.r.area.task.ReadMem(f.r.area.addr(f.pos)+uapi.NLMMapHdrlen, buf[start:]); err != nil {
		return buf[:start], fmt.Errorf("frame %d: %w", f.pos, err)
	}
	return buf, nil
}

// Sender is what the kernel wrote about the message into the frame header.
type Sender struct {
	Group    uint32 // multicast group, 0 for none
	Pid      uint32 // process, 0 for the kernel
	UID, GID uint32
}

// Sender reads the frame header. A message that no frame announced has none: all zero.
func (f Frame) Sender() (Sender, error) {
	if _, err := f.lease(); err != nil || f.stray != nil {
		return Sender{}, err
	}
	var words [4]uint32
	for i, off := range [...]uint64{uapi.NMGroup, uapi.NMPid, uapi.NMUID, uapi.NMGID} {
		var err error
		if words[i], err = f.r.area.load(f.pos, off); err != nil {
			return Sender{}, err
		}
	}
	return Sender{words[0], words[1], words[2], words[3]}, nil
}

// Skip keeps the frame beyond the iteration: it gets status SKIP, the reader goes on behind it, and its data stays
// until Release.
//
// From 4.4 on the kernel passes over such frames for messages that it builds in the ring; a message that it copies
// is lost when the frame at its head is kept. Before 4.4 nothing passes over them: the ring stalls when its head
// comes to one.
func (f Frame) Skip() error {
	l, err := f.lease()
	if err != nil {
		return err
	}
	l.skipped = true
	if f.stray != nil {
		return nil
	}
	if err := f.r.area.store(f.pos, uapi.NMStatus, uapi.NLMMapStatusSkip); err != nil {
		l.skipped = false
		return err
	}
	return nil
}

// Release gives the frame back to the kernel. Frames may be released in any order, but the kernel fills them in the
// ring's order and waits for the one at its head.
func (f Frame) Release() error {
	l, err := f.lease()
	if err != nil {
		return err
	}
	if f.stray != nil {
		*l = lease{}
		return nil
	}
	*l = lease{gen: l.gen}
	return f.r.area.store(f.pos, uapi.NMStatus, uapi.NLMMapStatusUnused)
}
