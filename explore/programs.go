package explore

import (
	"errors"
	"slices"

	"nlmmap/afnetlink"
	"nlmmap/kernel/inspect"
	"nlmmap/sys"
	"nlmmap/uapi"
	"nlmmap/userspace"
)

// Programs are small general situations. They know of no particular defect. Where a task of theirs is a correct user of
// rings it is one with the library that programs really use: package userspace.
func Programs() []Program {
	list := slices.Concat(receivePrograms(), transmitPrograms(), ringPrograms(), bufferPrograms(), waitPrograms(),
		multicastPrograms(), dumpPrograms(), netfilterPrograms())
	for i, p := range list {
		list[i].Setup = func(w *World) {
			w.Calm() // the programs count messages
			p.Setup(w)
		}
	}
	return list
}

// Lookup returns the program with a name.
func Lookup(name string) (Program, bool) {
	for _, p := range Programs() {
		if p.Name == name {
			return p, true
		}
	}
	return Program{}, false
}

// What follows is what the programs have in common.

const (
	unused   = uapi.NLMMapStatusUnused
	valid    = uapi.NLMMapStatusValid
	skip     = uapi.NLMMapStatusSkip
	dontwait = uapi.MsgDontwait
)

// Socket opens a netlink socket with a portid.
func (w *World) Socket(t sys.Task, proto int, portid uint32) (fd int) {
	fd, err := t.Socket(uapi.AFNetlink, uapi.SockRaw, proto)
	w.Must(err)
	w.Must(t.Bind(fd, addr(portid, 0)))
	return fd
}

// Open opens a netlink socket with rings, as package userspace does.
func (w *World) Open(t sys.Task, proto int, cfg userspace.Config) *userspace.Socket {
	s, err := userspace.Open(t, proto, cfg)
	w.Must(err)
	return s
}

// addr is the address of a socket or a group.
func addr(portid, groups uint32) []byte {
	return uapi.SockaddrNL{Family: uapi.AFNetlink, Pid: portid, Groups: groups}.Bytes()
}

// ring asks for a ring of exactly so many frames, in one block.
func ring(frames, frameSize int) uapi.NLMMapReq {
	pages := (frames*frameSize + uapi.PageSize - 1) / uapi.PageSize
	size := uint32(pages * uapi.PageSize)
	// What is left of the block would be more frames: choose the frame size so that none fit.
	return uapi.NLMMapReq{BlockSize: size, BlockNr: 1, FrameSize: size / uint32(frames) &^ 3, FrameNr: uint32(frames)}
}

// setRing sets a ring of a socket that nobody maps.
func (w *World) setRing(t sys.Task, fd int, option int, req uapi.NLMMapReq) {
	w.Must(t.Setsockopt(fd, uapi.SolNetlink, option, req.Bytes()))
}

// changeRing does that beside others, who may have the ring mapped.
func (w *World) changeRing(t sys.Task, fd int, req uapi.NLMMapReq) {
	err := t.Setsockopt(fd, uapi.SolNetlink, uapi.NetlinkRxRing, req.Bytes())
	if !errors.Is(err, sys.EBUSY) {
		w.Must(err)
	}
}

// forked makes a child that shares the descriptors of setup, to be driven beside its parent.
func (w *World) forked(t sys.Task, name string) sys.Task { return w.clone(t, name, 0) }

func (w *World) thread(t sys.Task, name string) sys.Task { return w.clone(t, name, sys.SharedAll) }

func (w *World) clone(t sys.Task, name string, flags int) sys.Task {
	c, err := t.Clone(name, flags)
	w.Must(err)
	w.tasks = append(w.tasks, modelled(c))
	return c
}

// request is a message with a payload.
func request(typ uint16, flags uint16, seq uint32, payload ...byte) []byte {
	return uapi.AppendMessage(nil, uapi.NLMsgHdr{Type: typ, Flags: flags, Seq: seq}, payload)
}

// noop is a message that the kernel acknowledges and does nothing about.
func noop(seq uint32) []byte { return request(uapi.NLMsgNoop, uapi.NLMFRequest|uapi.NLMFAck, seq) }

// user is a message between users.
func user(seq uint32, n int) []byte { return request(100, 0, seq, make([]byte, n)...) }

// seq is the sequence number of a message, in an acknowledgement that of what it answers.
func seq(msg []byte) uint32 {
	if len(msg) < uapi.NLMsgHdrlen {
		return 0
	}
	return uapi.ParseNLMsgHdr(msg).Seq
}

func (w *World) send(t sys.Task, fd int, msg []byte, to []byte) {
	_, err := sys.Sendto(t, fd, msg, dontwait, to)
	w.Must(err)
}

// receive receives a message beside the ring and returns its sequence number.
func receive(t sys.Task, fd, flags int) (uint32, error) {
	buf := make([]byte, 2048)
	n, err := t.Recvmsg(fd, &sys.Msghdr{Iov: []sys.Iovec{sys.Iov(buf)}}, flags)
	if err != nil {
		return 0, err
	}
	return seq(buf[:n]), nil
}

// poll looks whether there is something to read; a negative timeout waits for it.
func (w *World) poll(t sys.Task, fd int, timeout sys.Time) {
	_, err := t.Poll([]sys.PollFD{{FD: fd, Events: uapi.PollIn}}, timeout)
	w.Must(err)
}

// take takes the message at the reader's position, if there is one. A reader that was told of a loss goes on.
func (w *World) take(r *userspace.Reader) (msg []byte, ok bool) {
	for f := range r.Frames() {
		msg, err := f.Bytes()
		w.Must(err)
		return msg, true
	}
	switch err := r.Err(); {
	case errors.Is(err, sys.EAGAIN):
		w.Violate("copy-pairs", "rx[%d] is COPY and recvmsg says %v", r.Position(), err)
	case !errors.As(err, new(*userspace.Overrun)):
		w.Must(err)
	}
	return nil, false
}

// next waits until there is a message and takes it.
func (w *World) next(r *userspace.Reader) []byte {
	for {
		if msg, ok := w.take(r); ok {
			return msg
		}
		if err := r.Wait(-1); !errors.As(err, new(*userspace.Overrun)) {
			w.Must(err)
		}
	}
}

// sock is the kernel's side of a socket, for checks when all tasks are done.
func (w *World) sock(s *userspace.Socket) *afnetlink.Sock {
	return afnetlink.SockOf(modelled(s.Task()).FileOf(inspect.Key{}, s.FD()))
}

// lost is how many messages to a socket were counted as lost, queued how many wait beside its ring.
func (w *World) lost(s *userspace.Socket) int { return int(w.sock(s).Drops.Inspect(inspect.Key{})) }

func (w *World) queued(s *userspace.Socket) int {
	return len(w.sock(s).ReceiveQueue.Inspect(inspect.Key{}))
}

// status reads the status of a frame.
func (w *World) status(t sys.Task, frame uint64) uint32 {
	s, err := t.Load32(frame + uapi.NMStatus)
	w.Must(err)
	return s
}
