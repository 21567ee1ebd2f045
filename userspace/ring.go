package userspace

import (
	"errors"
	"fmt"

	"nlmmap/sys"
	"nlmmap/uapi"
)

// Errors of sockets and rings; compare with errors.Is.
var (
	ErrClosed  = errors.New("the socket is closed")
	ErrNoRing  = errors.New("the socket has no such ring")
	ErrTimeout = errors.New("nothing came in time")
	// ErrTruncated says that a message beside the ring was longer than Config.RecvSize. It is lost.
	ErrTruncated = errors.New("the message is longer than the receive buffer")
)

// Config describes a socket with rings. The zero value has none.
type Config struct {
	// RX and TX are the rings; a zero request is no ring. See RingRequest.
	RX, TX uapi.NLMMapReq
	// Portid is the address to bind to, 0 for one that the kernel chooses. Groups are the multicast groups to join,
	// bit 0 for group 1.
	Portid, Groups uint32
	// RecvSize is the size in bytes of the buffer for messages that come beside the ring, 0 for 3776. Kernels from
	// 3.19 on make later messages of a dump as large as the largest buffer that they saw: one above 3776 makes dumps
	// miss frames that are smaller, and moves the data in frames that are larger.
	RecvSize int
}

// DumpFrameSize is the frame size whose room for a message is exactly what kernels allocate for messages of dumps, 3776
// bytes: all five kernels put the data where the frame header ends. In larger frames 4.1 and 4.4 put it at the
// frame's end.
const DumpFrameSize = uapi.NLMsgGoodsize + uapi.NLMMapHdrlen

// RingRequest returns a valid request for at least frames frames of frameSize bytes each, headers of 24 bytes
// included. Frame sizes are rounded up to a multiple of 4 and blocks are as small as they can be, a power of two of
// pages.
func RingRequest(frameSize, frames int) uapi.NLMMapReq {
	size := uint32(max(uapi.NLMMapHdrlen, uapi.NLMsgAlign(frameSize)))
	block := uint32(uapi.PageSize)
	for block < size {
		block *= 2
	}
	perBlock := block / size
	blocks := (uint32(max(frames, 1)) + perBlock - 1) / perBlock
	return uapi.NLMMapReq{BlockSize: block, BlockNr: blocks, FrameSize: size, FrameNr: blocks * perBlock}
}

// area is the part of the mapping that is one ring.
type area struct {
	task sys.Task
	base uint64
	req  uapi.NLMMapReq
}

// addr is where frame pos starts.
func (a *area) addr(pos uint32) uint64 { return a.base + a.req.FrameOffset(pos) }

func (a *area) load(pos uint32, word uint64) (uint32, error) {
	v, err := a.task.Load32(a.addr(pos) + word)
	if err != nil {
		return 0, fmt.Errorf("frame %d: %w", pos, err)
	}
	return v, nil
}

func (a *area) store(pos uint32, word uint64, v uint32) error {
	if err := a.task.Store32(a.addr(pos)+word, v); err != nil {
		return fmt.Errorf("frame %d: %w", pos, err)
	}
	return nil
}

// A Socket is a netlink socket with its rings mapped. One goroutine uses it at a time: the one that drives the task.
type Socket struct {
	// RX reads the RX ring, TX writes the TX ring; nil where there is none.
	RX *Reader
	TX *Writer

	task   sys.Task
	fd     int
	portid uint32
	cfg    Config
	base   uint64
	closed bool
	seq    uint32
}

// Open makes a socket of a netlink protocol, sets the rings, binds it and maps the rings. The error says which step
// failed and wraps its errno: EPERM when the task may not set rings, EINVAL for a request that is not valid, ENOMEM,
// EADDRINUSE for a portid in use.
func Open(t sys.Task, proto int, cfg Config) (*Socket, error) {
	if cfg.RecvSize <= 0 {
		cfg.RecvSize = uapi.NLMsgGoodsize
	}
	fd, err := t.Socket(uapi.AFNetlink, uapi.SockRaw, proto)
	if err != nil {
		return nil, fmt.Errorf("socket of protocol %d: %w", proto, err)
	}
	s := &Socket{task: t, fd: fd, cfg: cfg}
	if err := s.setUp(); err != nil {
		return nil, errors.Join(err, t.Close(fd))
	}
	return s, nil
}

func (s *Socket) setUp() error {
	rings := []struct {
		name string
		opt  int
		req  uapi.NLMMapReq
	}{{"RX", uapi.NetlinkRxRing, s.cfg.RX}, {"TX", uapi.NetlinkTxRing, s.cfg.TX}}
	for _, r := range rings {
		if r.req == (uapi.NLMMapReq{}) {
			continue
		}
		if err := s.task.Setsockopt(s.fd, uapi.SolNetlink, r.opt, r.req.Bytes()); err != nil {
			return fmt.Errorf("%s ring of %d frames of %d bytes: %w", r.name, r.req.FrameNr, r.req.FrameSize, err)
		}
	}
	addr := uapi.SockaddrNL{Family: uapi.AFNetlink, Pid: s.cfg.Portid, Groups: s.cfg.Groups}
	if err := s.task.Bind(s.fd, addr.Bytes()); err != nil {
		return fmt.Errorf("bind to portid %d: %w", s.cfg.Portid, err)
	}
	name, err := s.task.Getsockname(s.fd)
	if err != nil {
		return fmt.Errorf("getsockname: %w", err)
	}
	s.portid = uapi.ParseSockaddrNL(name).Pid
	if s.mapLen() == 0 {
		return nil
	}
	// One mapping shows both rings: RX first.
	s.base, err = s.task.Mmap(0, s.mapLen(), uapi.ProtRead|uapi.ProtWrite, uapi.MapShared, s.fd, 0)
	if err != nil {
		return fmt.Errorf("mapping of %d bytes of rings: %w", s.mapLen(), err)
	}
	s.views()
	return nil
}

func (s *Socket) mapLen() uint64 { return s.cfg.RX.MapSize() + s.cfg.TX.MapSize() }

// views makes fresh readers and writers.
func (s *Socket) views() {
	if s.cfg.RX.FrameNr != 0 {
		s.RX = &Reader{sock: s, area: area{s.task, s.base, s.cfg.RX}, leases: make([]lease, s.cfg.RX.FrameNr)}
	}
	if s.cfg.TX.FrameNr != 0 {
		s.TX = &Writer{sock: s, area: area{s.task, s.base + s.cfg.RX.MapSize(), s.cfg.TX}}
	}
}

// FD is the socket's descriptor.
func (s *Socket) FD() int { return s.fd }

// Portid is the address that the socket is bound to.
func (s *Socket) Portid() uint32 { return s.portid }

// Task is the task whose system calls the socket makes.
func (s *Socket) Task() sys.Task { return s.task }

// On is the socket as another task sees it that has the same descriptor and mapping: a forked child, or a thread. It
// begins at the present position of reader and writer, and without the frames that these hold.
//
// Both see the same ring and do not know of each other's progress: only one of them should read, and one write.
func (s *Socket) On(t sys.Task) *Socket {
	o := *s
	o.task, o.RX, o.TX = t, nil, nil
	o.views()
	if s.RX != nil {
		o.RX.pos = s.RX.pos
	}
	if s.TX != nil {
		o.TX.pos, o.TX.queued = s.TX.pos, s.TX.queued
	}
	return &o
}

// Join makes the socket a member of a multicast group, 1 being the first; Leave ends that.
func (s *Socket) Join(group uint32) error { return s.membership(uapi.NetlinkAddMembership, group) }

// Leave ends the membership in a multicast group.
func (s *Socket) Leave(group uint32) error { return s.membership(uapi.NetlinkDropMembership, group) }

func (s *Socket) membership(opt int, group uint32) error {
	if s.closed {
		return ErrClosed
	}
	val := []byte{byte(group), byte(group >> 8), byte(group >> 16), byte(group >> 24)}
	return s.task.Setsockopt(s.fd, uapi.SolNetlink, opt, val)
}

// Send sends bytes the ordinary way, beside the TX ring; to nil means the kernel, or the peer of connect.
func (s *Socket) Send(b []byte, to *uapi.SockaddrNL) error {
	if s.closed {
		return ErrClosed
	}
	if len(b) == 0 {
		b = []byte{} // a NULL buffer would process the TX ring
	}
	_, err := sys.Sendto(s.task, s.fd, b, 0, address(to))
	return err
}

func address(to *uapi.SockaddrNL) []byte {
	if to == nil {
		return nil
	}
	a := *to
	a.Family = uapi.AFNetlink
	return a.Bytes()
}

// Seq returns sequence numbers for requests, from 1 on.
func (s *Socket) Seq() uint32 {
	s.seq++
	return s.seq
}

// recv receives one queued message without waiting.
func (s *Socket) recv() (data []byte, from uint32, err error) {
	m := sys.Msghdr{Iov: []sys.Iovec{sys.Iov(make([]byte, s.cfg.RecvSize))}}
	n, err := s.task.Recvmsg(s.fd, &m, uapi.MsgDontwait)
	switch {
	case errors.Is(err, sys.ENOBUFS):
		return nil, 0, &Overrun{}
	case err != nil:
		return nil, 0, fmt.Errorf("recvmsg: %w", err)
	case len(m.Name) == 0:
		// 3.10 reports the failure of a dump that was continued by poll as a positive number: no message came.
		return nil, 0, pendingError(int32(n))
	}
	data, from = m.Iov[0].Base[:n:n], uapi.ParseSockaddrNL(m.Name).Pid
	if m.Flags&uapi.MsgTrunc != 0 {
		return nil, from, ErrTruncated
	}
	return data, from, nil
}

// Request sends one message to the kernel, which must ask for an acknowledgement, and waits for it at most timeout
// (negative: for ever). Other messages that come meanwhile go to other, if that is not nil; their bytes are theirs.
//
// Errors: what the kernel answered; ErrTimeout; those of Reader.Wait. A socket without RX ring cannot do it: ErrNoRing.
func (s *Socket) Request(msg []byte, timeout sys.Time, other func(uapi.Message)) error {
	if s.RX == nil {
		return ErrNoRing
	}
	if len(msg) < uapi.NLMsgHdrlen || uapi.ParseNLMsgHdr(msg).Flags&uapi.NLMFAck == 0 {
		return errors.New("the request does not ask for an acknowledgement")
	}
	seq := uapi.ParseNLMsgHdr(msg).Seq
	if err := s.Send(msg, nil); err != nil {
		return fmt.Errorf("sending a request: %w", err)
	}
	end := deadline(s.task, timeout)
	for {
		answered, answer := false, error(nil)
		for f := range s.RX.Frames() {
			data, err := f.Bytes()
			if err != nil {
				return err
			}
			for m, err := range uapi.Messages(data) {
				if err != nil {
					break // not from a kernel
				}
				if ack, err := uapi.ParseAck(m); err == nil && ack.Request.Seq == seq {
					answered, answer = true, ack.Err()
				} else if other != nil {
					other(m)
				}
			}
			if answered {
				return answer
			}
		}
		if err := s.RX.Err(); err != nil {
			return err
		}
		if err := s.RX.Wait(s.remaining(end)); err != nil {
			return err
		}
	}
}

// deadline is when a timeout that begins now is over: a negative one never.
func deadline(t sys.Task, timeout sys.Time) sys.Time {
	if timeout < 0 || timeout == sys.Forever {
		return sys.Forever
	}
	return t.Now() + timeout
}

// remaining is the timeout that ends at deadline.
func (s *Socket) remaining(deadline sys.Time) sys.Time {
	if deadline == sys.Forever {
		return -1
	}
	return max(0, deadline-s.task.Now())
}

// Close unmaps the rings and closes the descriptor. Frames that were handed out are not valid any more. A second Close
// returns ErrClosed.
func (s *Socket) Close() error {
	if s.closed {
		return ErrClosed
	}
	s.closed = true
	var unmap error
	if s.base != 0 {
		unmap = s.task.Munmap(s.base, s.mapLen())
	}
	return errors.Join(unmap, s.task.Close(s.fd))
}
