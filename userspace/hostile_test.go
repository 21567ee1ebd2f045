package userspace_test

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"nlmmap/kernel"
	"nlmmap/kernel/inspect"
	"nlmmap/uapi"
	"nlmmap/userspace"
)

// A tape is the decisions of a fuzzed program; after its end all are 0.
type tape []byte

func (t *tape) byte() byte {
	if len(*t) == 0 {
		return 0
	}
	b := (*t)[0]
	*t = (*t)[1:]
	return b
}

func (t *tape) below(n int) int { return int(t.byte()) % n }

// word is a value that a program may find worth writing into a frame header or message.
func (t *tape) word() uint32 {
	choice := t.byte()
	words := [...]uint32{0, 1, 2, 2, 2, 3, 4, 5, 77, 15, 16, 17, 20, 28, 36, 40, 76, 1 << 31, 1<<32 - 1, 1<<32 - 16,
		4071, 4072, 4073, 4096, 104, 105, 0x03010010, 0x03050010, 0x00050011, 0x0301001e, 0x00050014}
	if int(choice) < len(words) {
		return words[choice]
	}
	return uint32(choice) | uint32(t.byte())<<8
}

// hostile is a process that does what it likes with the memory of its rings, also while the kernel works: whenever the
// kernel tells of an event, the next scribbles of the tape are done.
type hostile struct {
	t     *testing.T
	k     *kernel.Kernel
	task  *kernel.Task
	sock  *userspace.Socket
	peer  *userspace.Socket
	area  uapi.NLMMapReq // of both rings together, as far as addresses go
	base  uint64
	size  uint64
	tape  tape
	inner tape // what is done during system calls
	busy  bool
}

// scribble writes somewhere into the rings: mostly headers.
func (h *hostile) scribble(t *tape) {
	frames := int(h.size) / int(h.area.FrameSize)
	at := h.base + uint64(t.below(frames))*uint64(h.area.FrameSize)
	switch t.below(8) {
	case 0, 1, 2:
		_ = h.task.Store32(at, t.word())
	case 3:
		_ = h.task.Store32(at+uapi.NMLen, t.word())
	case 4:
		_ = h.task.Store32(at+uint64(4*t.below(16)), t.word())
	case 5:
		_ = h.task.Store32(at, uapi.NLMMapStatusValid)
		_ = h.task.WriteMem(at+uapi.NLMMapHdrlen, request(uint16(testOK+t.below(16)), 1, 1, 2, 3, 4))
		_ = h.task.Store32(at+uapi.NMLen, uint32(t.below(64)))
	case 6:
		msg := userspace.DumpRequest(testDump, 0, 3)
		_ = h.task.WriteMem(at+uapi.NLMMapHdrlen, msg)
		_ = h.task.Store32(at+uapi.NMLen, uint32(len(msg)))
		_ = h.task.Store32(at, uapi.NLMMapStatusValid)
	case 7:
		v := t.word()
		for i := range frames {
			_ = h.task.Store32(h.base+uint64(i)*uint64(h.area.FrameSize), v)
		}
	}
}

// event is the kernel's listener.
func (h *hostile) event(r kernel.Record) {
	switch r.Event.(type) {
	case kernel.Corruption, kernel.AccessEvent:
		return // come out of an access of this very program
	}
	if h.busy || h.sock == nil || len(h.inner) == 0 {
		return
	}
	h.busy = true
	if h.inner.below(4) == 0 {
		h.scribble(&h.inner)
	}
	h.busy = false
}

// quietly does something with ring memory without a listener that would do more.
func (h *hostile) quietly(fn func()) {
	h.busy = true
	fn()
	h.busy = false
}

func (h *hostile) step() {
	s := h.sock
	buf := make([]byte, 4096)
	switch h.tape.below(20) {
	case 0, 1, 2, 3:
		h.quietly(func() { h.scribble(&h.tape) })
	case 4:
		_ = s.Send(request(uint16(testOK+h.tape.below(5)), 1, 0, 0, 0, 0), nil)
	case 5:
		_ = s.Send(userspace.DumpRequest(testDump, 0, 1), nil)
	case 6, 7:
		h.check(h.task.Sendmsg(s.FD(), &kernel.Msghdr{Iov: []kernel.Iovec{{}}}, h.tape.below(2)*uapi.MsgDontwait))
	case 8:
		to := uapi.SockaddrNL{Family: uapi.AFNetlink, Pid: []uint32{0, s.Portid(), h.peer.Portid()}[h.tape.below(3)], Groups: uint32(h.tape.below(2))}
		h.check(h.task.Sendmsg(s.FD(), &kernel.Msghdr{Name: to.Bytes(), Iov: []kernel.Iovec{{}}}, uapi.MsgDontwait))
	case 9, 10:
		fds := []kernel.PollFD{{FD: s.FD(), Events: uapi.PollIn | uapi.PollOut}}
		h.check(h.task.Poll(fds, kernel.Time(h.tape.below(2))*kernel.Millisecond))
	case 11, 12:
		h.check(h.task.Recvmsg(s.FD(), &kernel.Msghdr{Iov: []kernel.Iovec{kernel.Iov(buf[:h.tape.below(5)*1000])}}, uapi.MsgDontwait|h.tape.below(2)*uapi.MsgPeek))
	case 13:
		n := 0
		for f := range s.RX.Frames() {
			_, _ = f.Bytes()
			if h.tape.below(8) == 0 {
				_ = f.Skip()
			}
			if n++; n > 64 {
				break
			}
		}
		_ = s.RX.Discard()
	case 14:
		_ = s.RX.Wait(kernel.Millisecond)
	case 15:
		_ = s.TX.Send(request(uint16(testOK+h.tape.below(5)), 1, 0, 0, 0, 0), nil)
		if h.tape.below(2) == 0 {
			_, _ = s.TX.Kick(nil)
		} else if h.tape.below(4) == 0 {
			_, _ = s.TX.Rewind()
		}
	case 16:
		_ = h.peer.Send(data(h.tape.below(200), 1), &uapi.SockaddrNL{Pid: s.Portid()})
	case 17:
		child, err := h.task.Fork("child")
		must(h.t, err)
		if h.tape.below(2) == 0 {
			child.ExitGroup()
		}
	case 18:
		at := h.base + uint64(h.tape.below(int(h.size/uapi.PageSize)))*uapi.PageSize
		switch h.tape.below(4) {
		case 0:
			_ = h.task.Mprotect(at, uapi.PageSize, h.tape.below(4))
		case 1:
			_ = h.task.Madvise(at, uapi.PageSize, uapi.MadvDontneed)
		case 2:
			_ = h.task.Munmap(at, uapi.PageSize)
		}
	case 19:
		_ = h.task.Setsockopt(s.FD(), uapi.SolNetlink, uapi.NetlinkRxRing+h.tape.below(2), uapi.NLMMapReq{}.Bytes())
	}
}

// check finds a kernel that was killed by what a program wrote into its own memory.
func (h *hostile) check(_ int, err error) {
	h.t.Helper()
	if errors.Is(err, kernel.ErrKilled) {
		h.t.Fatal(err)
	}
}

// FuzzHostile lets a program scribble over the memory of both rings, between and during its system calls. The kernel
// must neither panic nor warn, nor leave the rings, nor leak. The first byte chooses the kernel, the second the
// protocol and the third the number of frames.
func FuzzHostile(f *testing.F) {
	f.Add([]byte{3, 0, 3, 4, 0, 5, 9, 0, 0, 1, 2, 3, 13, 6, 1}, []byte{0, 1, 2, 3, 4})
	f.Add([]byte{0, 0, 2, 1, 1, 6, 0, 6, 0, 9, 1, 11, 3, 0, 15, 0, 0}, []byte{0, 0, 0, 2, 0, 1, 3, 17})
	f.Add([]byte{4, 1, 4, 16, 10, 16, 20, 13, 0, 8, 1, 1}, []byte{})
	rng := rand.New(rand.NewPCG(1, 1))
	for range 60 {
		outer, inner := make([]byte, 300), make([]byte, 300)
		for i := range outer {
			outer[i], inner[i] = byte(rng.Uint32()), byte(rng.Uint32())
		}
		f.Add(outer, inner)
	}
	f.Fuzz(func(t *testing.T, outer, inner []byte) {
		h := &hostile{t: t, tape: outer[:min(len(outer), 2000)], inner: inner[:min(len(inner), 2000)]}
		h.run()
	})
}

func (h *hostile) run() {
	t := h.t
	cfg := kernel.Config{Version: kernel.Version{Release: releases[h.tape.below(len(releases))]}, Trace: h.event}
	h.k = boot(t, cfg)
	proto := []int{uapi.NetlinkRoute, uapi.NetlinkRoute, uapi.NetlinkUsersock}[h.tape.below(3)]
	r := ring(1 + h.tape.below(6))
	h.area, h.size = r, 2*uint64(r.BlockNr)*uint64(r.BlockSize)
	h.task = h.k.NewProcess("hostile", h.k.InitNet())
	h.peer = open(t, h.k.NewProcess("peer", h.k.InitNet()), proto, userspace.Config{})
	s := open(t, h.task, proto, userspace.Config{RX: r, TX: r, Groups: 1})
	h.base = h.task.VMAs(inspect.Key{})[0].Start
	h.sock = s
	for len(h.tape) > 0 {
		h.step()
		if w := h.k.Warnings(); len(w) > 0 {
			t.Fatal(w[0].Error())
		}
	}
	finish(t, h.k)
}

// The same in parallel: the rings are in memfds, where the race detector does not see that this is a program that
// races on purpose.
func TestHostileNeighbour(t *testing.T) {
	for _, r := range releases {
		t.Run(r.String(), func(t *testing.T) {
			t.Parallel()
			k := boot(t, kernel.Config{Mode: kernel.Free, Memfd: true, Version: kernel.Version{Release: r}})
			task := k.NewProcess("victim", k.InitNet())
			req := ring(4)
			s := open(t, task, uapi.NetlinkRoute, userspace.Config{RX: req, TX: req})
			base := task.VMAs(inspect.Key{})[0].Start
			child, err := task.Fork("scribbler")
			must(t, err)
			stop := make(chan struct{})
			var wg sync.WaitGroup
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(r), 5))
				b := make(tape, 64)
				h := &hostile{t: t, k: k, task: child, area: req, base: base, size: 8 * 4096}
				for {
					select {
					case <-stop:
						return
					default:
					}
					for i := range b {
						b[i] = byte(rng.Uint32())
					}
					for at := b; len(at) > 0; {
						h.scribble(&at)
					}
				}
			})
			buf := make([]byte, 4096)
			for i := range 3000 {
				_ = s.Send(request(testOK, uint32(i)), nil)
				if i%10 == 0 {
					_ = s.Send(userspace.DumpRequest(testDump, 0, 1), nil)
				}
				// The scribbler refills the ring as fast as it is drained: the call would hardly end.
				if i%100 == 0 {
					_ = s.RX.Wait(0)
				}
				_, _ = task.Recvmsg(s.FD(), &kernel.Msghdr{Iov: []kernel.Iovec{kernel.Iov(buf)}}, uapi.MsgDontwait)
				n := 0
				for f := range s.RX.Frames() {
					_, _ = f.Bytes()
					if n++; n > 16 {
						break
					}
				}
				_ = s.RX.Discard()
			}
			for range 20 {
				_, _ = s.TX.Kick(nil)
				_, _ = s.TX.Rewind()
			}
			close(stop)
			wg.Wait()
			finish(t, k)
		})
	}
}
