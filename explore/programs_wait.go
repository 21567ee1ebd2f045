package explore

import (
	"encoding/binary"
	"errors"

	"nlmmap/kernel"
	"nlmmap/sys"
	"nlmmap/uapi"
	"nlmmap/userspace"
)

// waitPrograms wait: in epoll, with timeouts, for errors, and while the process ends.
func waitPrograms() []Program {
	return []Program{
		{"epoll-level", "A process reads two acknowledgements out of a ring, waiting in a level-triggered epoll.", func(w *World) { epollReader(w, 0) }},
		{"epoll-edge", "The same with an edge-triggered epoll: each time it reads all that is there.", func(w *World) { epollReader(w, uapi.EpollET) }},
		{"epoll-two-waiters", "Two threads look at one level-triggered epoll, one of them until a message has come.", epollTwoWaiters},
		{"epoll-late-add", "A socket is added to an epoll while a message comes.", epollLateAdd},
		{"so-error-readers", "Two processes ask a socket that lost a message for its error: one is told.", soErrorReaders},
		{"error-and-receive", "One process asks a socket that loses a message for its error, another waits in recvmsg for it.", errorAndReceive},
		{"receive-timeout", "A process waits a while in recvmsg for a message that comes.", receiveTimeout},
		{"descriptor-passed", "A process waits in poll for a descriptor that another one sends it.", descriptorPassed},
		{"exit-while-waiting", "A thread waits in poll while another ends the process and a message comes.", exitWhileWaiting},
	}
}

// epollOf makes an epoll descriptor that watches fd.
func (w *World) epollOf(t sys.Task, fd int, flags uint32) int {
	ep, err := t.EpollCreate()
	w.Must(err)
	w.Must(t.EpollCtl(ep, sys.EpollAdd, fd, uapi.PollIn|flags))
	return ep
}

// epollWait waits for ever.
func (w *World) epollWait(t sys.Task, ep int) {
	_, err := t.EpollWait(ep, 1, -1)
	w.Must(err)
}

func epollReader(w *World, flags uint32) {
	const messages = 2
	main := w.Process("reader")
	s := w.Open(main, uapi.NetlinkRoute, userspace.Config{RX: ring(2, 1024), Portid: 1000})
	ep := w.epollOf(main, s.FD(), flags)
	w.Go(w.forked(main, "sender"), func(t sys.Task) {
		for i := range uint32(messages) {
			w.send(t, s.FD(), noop(i+1), addr(0, 0))
		}
	})
	w.Go(main, func(t sys.Task) {
		for got := uint32(0); got < messages; {
			w.epollWait(t, ep)
			if w.status(t, s.RX.Addr(s.RX.Position())) == uapi.NLMMapStatusReserved {
				t.Yield() // some kernels call a RESERVED frame readable
			}
			for msg, ok := w.take(s.RX); ok; msg, ok = w.take(s.RX) {
				if got++; seq(msg) != got {
					w.Violate("order", "message %d comes as number %d", seq(msg), got)
				}
			}
		}
	})
}

func epollTwoWaiters(w *World) {
	main := w.Process("first")
	fd := w.Socket(main, uapi.NetlinkUsersock, 1000)
	ep := w.epollOf(main, fd, 0)
	from := w.Socket(main, uapi.NetlinkUsersock, 2000)
	sender := w.forked(main, "sender")
	w.Go(main, func(t sys.Task) {
		w.epollWait(t, ep)
		_, err := receive(t, fd, dontwait)
		w.Must(err)
	})
	w.Go(w.thread(main, "second"), func(t sys.Task) {
		_, err := t.EpollWait(ep, 1, 0) // sees it, perhaps, and leaves it to the first
		w.Must(err)
	})
	w.Go(sender, func(t sys.Task) { w.send(t, from, user(1, 4), addr(1000, 0)) })
}

func epollLateAdd(w *World) {
	main := w.Process("reader")
	fd := w.Socket(main, uapi.NetlinkUsersock, 1000)
	ep, err := main.EpollCreate()
	w.Must(err)
	sender := w.Process("sender")
	from := w.Socket(sender, uapi.NetlinkUsersock, 2000)
	w.Go(sender, func(t sys.Task) { w.send(t, from, user(1, 4), addr(1000, 0)) })
	w.Go(main, func(t sys.Task) {
		w.Must(t.EpollCtl(ep, sys.EpollAdd, fd, uapi.PollIn|uapi.EpollET))
		w.epollWait(t, ep)
		_, err := receive(t, fd, dontwait)
		w.Must(err)
	})
}

// pendingError fetches the error of a socket: SO_ERROR.
func (w *World) pendingError(t sys.Task, fd int) uint32 {
	val, err := t.Getsockopt(fd, uapi.SolSocket, uapi.SoError, 4)
	w.Must(err)
	return binary.LittleEndian.Uint32(val)
}

func soErrorReaders(w *World) {
	main := w.Process("first")
	s := w.Open(main, uapi.NetlinkRoute, userspace.Config{RX: ring(1, 512), Portid: 1000})
	second := w.forked(main, "second")
	for i := range uint32(2) { // the second finds no frame
		w.send(main, s.FD(), noop(i+1), addr(0, 0))
	}
	told := map[uint32]int{}
	for _, t := range []sys.Task{main, second} {
		w.Go(t, func(t sys.Task) { told[w.pendingError(t, s.FD())]++ })
	}
	w.Finally(func() {
		if told[uint32(sys.ENOBUFS)] != 1 || told[0] != 1 {
			w.Violate("no-silent-loss", "two readers of the error of one lost message are told %v", told)
		}
	})
}

func errorAndReceive(w *World) {
	main := w.Process("receiver")
	s := w.Open(main, uapi.NetlinkRoute, userspace.Config{RX: ring(1, 512), Portid: 1000})
	w.send(main, s.FD(), noop(1), addr(0, 0)) // fills the ring
	sender, other := w.forked(main, "sender"), w.forked(main, "other")
	told := 0
	tell := func(lost bool) {
		if lost {
			told++
		}
	}
	w.Go(sender, func(t sys.Task) { w.send(t, s.FD(), noop(2), addr(0, 0)) })
	w.Go(other, func(t sys.Task) { tell(w.pendingError(t, s.FD()) != 0) })
	w.Go(main, func(t sys.Task) {
		_, err := receive(t, s.FD(), dontwait)
		tell(errors.Is(err, sys.ENOBUFS))
	})
	w.Finally(func() {
		tell(w.pendingError(main, s.FD()) != 0)
		if told == 0 { // twice is right: the allocation reports the loss, and so does who wanted to answer
			w.Violate("no-silent-loss", "a message was lost, and no reader is told")
		}
	})
}

func receiveTimeout(w *World) {
	main := w.Process("receiver")
	fd := w.Socket(main, uapi.NetlinkUsersock, 1000)
	val := make([]byte, 16)
	binary.LittleEndian.PutUint64(val[8:], 5000)
	w.Must(main.Setsockopt(fd, uapi.SolSocket, uapi.SoRcvtimeo, val))
	sender := w.Process("sender")
	from := w.Socket(sender, uapi.NetlinkUsersock, 2000)
	w.Go(sender, func(t sys.Task) { w.send(t, from, user(1, 4), addr(1000, 0)) })
	got := 0
	w.Go(main, func(t sys.Task) {
		if _, err := receive(t, fd, 0); !errors.Is(err, sys.EAGAIN) {
			w.Must(err)
			got++
		}
	})
	w.Finally(func() {
		if _, err := receive(main, fd, dontwait); err == nil {
			got++
		}
		if got != 1 {
			w.Violate("no-silent-loss", "one message was sent, %d came", got)
		}
	})
}

func descriptorPassed(w *World) {
	main := w.Process("receiver")
	from, to, err := main.Socketpair()
	w.Must(err)
	fd := w.Socket(main, uapi.NetlinkUsersock, 1000)
	w.Go(w.forked(main, "sender"), func(t sys.Task) { w.Must(t.SendFD(from, fd)) })
	w.Go(main, func(t sys.Task) {
		w.poll(t, to, -1)
		got, err := t.RecvFD(to)
		w.Must(err)
		w.Must(t.Close(got))
	})
}

func exitWhileWaiting(w *World) {
	main := w.Process("waiter")
	s := w.Open(main, uapi.NetlinkRoute, userspace.Config{RX: ring(1, 512), Portid: 1000})
	sender := w.forked(main, "sender")
	w.Go(w.thread(main, "killer"), func(t sys.Task) { _ = t.ExitGroup() })
	w.Go(main, func(t sys.Task) {
		_, _ = t.Poll([]sys.PollFD{{FD: s.FD(), Events: uapi.PollIn}}, -1)
	})
	w.Go(sender, func(t sys.Task) { w.send(t, s.FD(), noop(1), addr(0, 0)) })
}

// timer is the timer interrupt, on a processor of its own.
func (w *World) timer() { w.Softirq("timer", func(cpu *kernel.Task) { w.k.FireTimer(cpu) }) }
