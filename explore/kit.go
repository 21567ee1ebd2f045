package explore

import (
	"errors"

	"nlmmap/afnetlink"
	"nlmmap/kernel/inspect"
	"nlmmap/sys"
	"nlmmap/uapi"
)

// Socket opens a netlink socket with a portid.
func (w *World) Socket(t sys.Task, proto int, portid uint32) (fd int) {
	fd, err := t.Socket(uapi.AFNetlink, uapi.SockRaw, proto)
	w.Must(err)
	w.Must(t.Bind(fd, addr(portid, 0)))
	return fd
}

// addr is the address of a socket or a group.
func addr(portid, groups uint32) []byte {
	return uapi.SockaddrNL{Family: uapi.AFNetlink, Pid: portid, Groups: groups}.Bytes()
}

// SetRing sets a ring of frames of one size, in one block.
func (w *World) SetRing(t sys.Task, fd, option, frames, frameSize int) {
	w.Must(t.Setsockopt(fd, uapi.SolNetlink, option, ring(frames, frameSize)))
}

func ring(frames, frameSize int) []byte {
	pages := (frames*frameSize + uapi.PageSize - 1) / uapi.PageSize
	size := uint32(pages * uapi.PageSize)
	// What is left of the block would be more frames: choose the frame size so that none fit.
	req := uapi.NLMMapReq{BlockSize: size, BlockNr: 1, FrameSize: size / uint32(frames) &^ 3, FrameNr: uint32(frames)}
	return req.Bytes()
}

// request is a message without payload.
func request(typ uint16, flags uint16, seq uint32, payload ...byte) []byte {
	return uapi.AppendMessage(nil, uapi.NLMsgHdr{Type: typ, Flags: flags, Seq: seq}, payload)
}

// noop is a message that the kernel acknowledges and does nothing about.
func noop(seq uint32) []byte {
	return request(uapi.NLMsgNoop, uapi.NLMFRequest|uapi.NLMFAck, seq)
}

// A Ring is a mapped ring as a program sees it.
type Ring struct {
	w         *World
	t         sys.Task
	fd        int
	sk        *afnetlink.Sock
	base      uint64
	frames    int
	frameSize int
	next      int
	// Reported counts errors of the socket that the reader was told of.
	Reported int
	lastSeq  map[uint32]uint32
}

// Map maps the rings of a socket and returns the RX ring and the TX ring; a ring that is not set has no frames.
func (w *World) Map(t sys.Task, fd int) (rx, tx *Ring) {
	sk := afnetlink.SockOf(modelled(t).FileOf(inspect.Key{}, fd))
	now := sk.Inspect(inspect.Key{})
	rxSize, txSize := now.RxRing.MapSize, now.TxRing.MapSize
	base, err := t.Mmap(0, rxSize+txSize, uapi.ProtRead|uapi.ProtWrite, uapi.MapShared, fd, 0)
	w.Must(err)
	rx = &Ring{w: w, t: t, fd: fd, sk: sk, base: base, lastSeq: map[uint32]uint32{}}
	tx = &Ring{w: w, t: t, fd: fd, sk: sk, base: base + rxSize}
	if rxSize > 0 {
		rx.frames, rx.frameSize = int(now.RxRing.Frames), now.RxRing.FrameSize
	}
	if txSize > 0 {
		tx.frames, tx.frameSize = int(now.TxRing.Frames), now.TxRing.FrameSize
	}
	return rx, tx
}

// As is the ring as another task sees it that has the same memory.
func (r *Ring) As(t sys.Task) *Ring {
	c := *r
	c.t = t
	return &c
}

// Address is where a frame begins.
func (r *Ring) Address(i int) uint64 { return r.frame(i) }

func (r *Ring) frame(i int) uint64 { return r.base + uint64(i*r.frameSize) }

// Status reads the status of a frame, with acquire order.
func (r *Ring) Status(i int) uint32 {
	s, err := r.t.Load32(r.frame(i))
	r.w.Must(err)
	return s
}

// SetStatus writes it, with release order.
func (r *Ring) SetStatus(i int, status uint32) {
	r.w.Must(r.t.Store32(r.frame(i), status))
}

// Fill writes a message into a TX frame and makes it VALID.
func (r *Ring) Fill(i int, msg []byte) {
	r.w.Must(r.t.WriteMem(r.frame(i)+uapi.NLMMapHdrlen, msg))
	r.w.Must(r.t.Store32(r.frame(i)+uapi.NMLen, uint32(len(msg))))
	r.SetStatus(i, uapi.NLMMapStatusValid)
}

// Kick sends the TX ring to the kernel.
func (r *Ring) Kick(flags int) (int, error) {
	return r.t.Sendmsg(r.fd, &sys.Msghdr{Name: addr(0, 0), Iov: []sys.Iovec{{}}}, flags)
}

// Take takes the next message: out of a VALID frame, or received at a COPY frame. ok is false when the frame has
// none. The frame is released.
func (r *Ring) Take() (msg []byte, ok bool) {
	i := r.next
	switch r.Status(i) {
	case uapi.NLMMapStatusValid:
		n, err := r.t.Load32(r.frame(i) + uapi.NMLen)
		r.w.Must(err)
		msg = make([]byte, min(int(n), r.frameSize-uapi.NLMMapHdrlen))
		r.w.Must(r.t.ReadMem(r.frame(i)+uapi.NLMMapHdrlen, msg))
	case uapi.NLMMapStatusCopy:
		var err error
		msg, err = r.recv()
		if err != nil {
			r.w.Violate("copy-pairs", "rx[%d] is COPY and recvmsg says %v", i, err)
		}
	default:
		return nil, false
	}
	r.SetStatus(i, uapi.NLMMapStatusUnused)
	r.next = (i + 1) % r.frames
	return msg, true
}

func (r *Ring) recv() ([]byte, error) {
	buf := make([]byte, 4096)
	n, err := r.t.Recvmsg(r.fd, &sys.Msghdr{Iov: []sys.Iovec{sys.Iov(buf)}}, uapi.MsgDontwait)
	if errors.Is(err, sys.ENOBUFS) {
		r.Reported++
		n, err = r.t.Recvmsg(r.fd, &sys.Msghdr{Iov: []sys.Iovec{sys.Iov(buf)}}, uapi.MsgDontwait)
	}
	if err != nil {
		return nil, err
	}
	return buf[:n], nil
}

// Wait waits for something to read, for ever, and takes an error that the socket has.
func (r *Ring) Wait() {
	fds := []sys.PollFD{{FD: r.fd, Events: uapi.PollIn}}
	_, err := r.t.Poll(fds, -1)
	r.w.Must(err)
	if fds[0].Revents&uapi.PollErr != 0 {
		r.TakeError()
	}
}

// TakeError takes the socket's pending error.
func (r *Ring) TakeError() {
	val, err := r.t.Getsockopt(r.fd, uapi.SolSocket, uapi.SoError, 4)
	r.w.Must(err)
	if val[0] != 0 || val[1] != 0 {
		r.Reported++
	}
}

// Next waits until there is a message and takes it. A frame that is VALID with length 0 gives an empty one.
func (r *Ring) Next() []byte {
	for {
		if msg, ok := r.Take(); ok {
			return msg
		}
		r.Wait()
		if s := r.Status(r.next); s != uapi.NLMMapStatusValid && s != uapi.NLMMapStatusCopy {
			// poll said that there is something, and there is not: look again when others have run.
			r.t.Yield()
		}
	}
}

// seq is the sequence number of a message, from its header or, in an acknowledgement, of what it answers.
func seq(msg []byte) uint32 {
	if len(msg) < uapi.NLMsgHdrlen {
		return 0
	}
	return uapi.ParseNLMsgHdr(msg).Seq
}

// InOrder checks that a sender's sequence numbers rise.
func (r *Ring) InOrder(sender, seq uint32) {
	if last := r.lastSeq[sender]; seq <= last {
		r.w.Violate("order", "message %d of sender %d comes after message %d", seq, sender, last)
	}
	r.lastSeq[sender] = seq
}
