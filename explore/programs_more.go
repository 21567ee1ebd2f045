package explore

import (
	"errors"

	"nlmmap/kernel"
	"nlmmap/kernel/inspect"
	"nlmmap/subsys/inet"
	"nlmmap/sys"
	"nlmmap/uapi"
)

// morePrograms are situations around full rings and buffers, several readers, and rings that go away: they are what
// catches a kernel that forgets a lock, a check or a wake-up there.
func morePrograms() []Program {
	return []Program{
		{"full-ring-acks", "Two processes ask for acknowledgements that go into one frame; every one is read, in the ring or counted.", fullRingAcks},
		{"full-ring-copies", "One process sends two messages beside a ring of one frame; every one is read, in the ring or counted.", fullRingCopies},
		{"ack-and-teardown", "A ring is cleared while an acknowledgement is built in it.", ackAndTeardown},
		{"poll-and-teardown", "A ring is cleared while another process polls it.", pollAndTeardown},
		{"overrun-report", "A process waits for nothing but an error of its socket while a packet for it is lost.", overrunReport},
		{"packets-full-ring", "Two processors queue packets to a ring of one frame.", packetsFullRing},
		{"nflog-two-cpus", "Two processors log packets that are collected in one message.", nflogTwoCPUs},
		{"blocked-sender", "A sender waits for room in a receive buffer that the reader empties.", blockedSender},
		{"blocked-sender-close", "A sender waits for room in the receive buffer of a socket that is closed.", blockedSenderClose},
		{"two-receivers", "Two processes receive from one socket that got one message of each of two senders.", twoReceivers},
		{"blocked-receiver", "A process waits in recvmsg for a message that another one sends.", blockedReceiver},
		{"two-dump-pollers", "Two processes poll a socket on which a dump runs.", twoDumpPollers},
		{"two-kicks", "Two processes send the frames of one TX ring.", twoKicks},
		{"two-binds", "Two threads give one socket a portid.", twoBinds},
		{"fork-exit-mapping", "A process with a mapped ring forks, and parent and child unmap it.", forkExitMapping},
	}
}

// queued is how many messages wait beside the ring.
func (r *Ring) queued() int { return len(r.sk.ReceiveQueue.Inspect(inspect.Key{})) }

// accounted checks that messages that were sent to a ring were read, lie in it, or were counted as lost.
func (w *World) accounted(rx *Ring, sent, read int) {
	inRing := 0
	for i := range rx.frames {
		if s := rx.Status(i); s == valid || s == uapi.NLMMapStatusCopy {
			inRing++
		}
	}
	lost := int(rx.sk.Drops.Inspect(inspect.Key{}))
	if read+inRing+lost != sent {
		w.Violate("no-silent-loss", "%d messages were sent, %d were read, %d are in the ring and %d were counted as lost", sent, read, inRing, lost)
	}
}

func fullRingAcks(w *World) {
	main := w.Process("reader")
	fd := w.Socket(main, uapi.NetlinkRoute, 1000)
	w.SetRing(main, fd, uapi.NetlinkRxRing, 1, 512)
	rx, _ := w.Map(main, fd)
	for i, name := range []string{"sender1", "sender2"} {
		w.Go(w.forked(main, name), func(t sys.Task) { w.send(t, fd, noop(uint32(i+1)), addr(0, 0)) })
	}
	read := 0
	w.Go(main, func(sys.Task) {
		if _, ok := rx.Take(); ok {
			read++
		}
	})
	w.Finally(func() { w.accounted(rx, 2, read) })
}

func fullRingCopies(w *World) {
	main := w.Process("reader")
	fd := w.Socket(main, uapi.NetlinkUsersock, 1000)
	w.SetRing(main, fd, uapi.NetlinkRxRing, 1, 512)
	rx, _ := w.Map(main, fd)
	sender := w.Process("sender")
	from := w.Socket(sender, uapi.NetlinkUsersock, 2000)
	w.Go(sender, func(t sys.Task) {
		w.send(t, from, user(1, 4), addr(1000, 0))
		w.send(t, from, user(2, 8), addr(1000, 0))
	})
	read := 0
	w.Go(main, func(sys.Task) {
		if _, ok := rx.Take(); ok {
			read++
		}
	})
	w.Finally(func() { w.accounted(rx, 2, read) })
}

func clearRing(w *World, t sys.Task, fd int) {
	err := t.Setsockopt(fd, uapi.SolNetlink, uapi.NetlinkRxRing, uapi.NLMMapReq{}.Bytes())
	if err != nil && !errors.Is(err, sys.EBUSY) {
		w.Must(err)
	}
}

func ackAndTeardown(w *World) {
	main := w.Process("owner")
	fd := w.Socket(main, uapi.NetlinkRoute, 1000)
	w.SetRing(main, fd, uapi.NetlinkRxRing, 2, 512)
	sender := w.forked(main, "sender")
	w.Go(sender, func(t sys.Task) { _, _ = sys.Sendto(t, fd, noop(1), dontwait, addr(0, 0)) })
	w.Go(main, func(t sys.Task) { clearRing(w, t, fd) })
}

func pollAndTeardown(w *World) {
	main := w.Process("owner")
	fd := w.Socket(main, uapi.NetlinkRoute, 1000)
	w.SetRing(main, fd, uapi.NetlinkRxRing, 2, 512)
	poller := w.forked(main, "poller")
	w.Go(poller, func(t sys.Task) {
		_, err := t.Poll([]sys.PollFD{{FD: fd, Events: uapi.PollIn}}, 0)
		w.Must(err)
	})
	w.Go(main, func(t sys.Task) { clearRing(w, t, fd) })
}

// packets makes a socket that gets packets of queue 0 or, with typ NFULNLMsgConfig, logged ones in a ring.
func packets(w *World, typ uint16, frames, frameSize int) (main sys.Task, fd int, rx *Ring, stack *inet.Stack) {
	main = w.Process("reader")
	fd = w.Socket(main, uapi.NetlinkNetfilter, 1000)
	w.SetRing(main, fd, uapi.NetlinkRxRing, frames, frameSize)
	stack = w.Sys.Inet(w.Net)
	admin := w.K.KernelTask("admin")
	if typ == uapi.NFULNLMsgConfig {
		netfilterConfig(w, main, fd, typ, 1, 5, 0, 1, 0, 1, 0, 0, 0)
		stack.AddRule(admin, w.Sys.NFLog.Rule(1, 3))
	} else {
		netfilterConfig(w, main, fd, typ, 0, 8, 0, 1, 0, 1, 0, 0, 2)
		netfilterConfig(w, main, fd, typ, 0, 9, 0, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0)
		stack.AddRule(admin, w.Sys.NFQueue.Rule(0, false))
	}
	stack.SendUDP(admin, 0, 0) // makes the device
	rx, _ = w.Map(main, fd)
	w.Finally(func() { stack.FlushRules(admin) })
	return main, fd, rx, stack
}

func overrunReport(w *World) {
	main, fd, rx, stack := packets(w, uapi.NFQNLMsgConfig, 1, 1024)
	rx.SetStatus(0, valid)
	w.Softirq("packets", func(t *kernel.Task) { stack.SendUDP(t, 1, 16) })
	w.Go(main, func(t sys.Task) {
		_, err := t.Poll([]sys.PollFD{{FD: fd}}, -1)
		w.Must(err)
	})
}

func packetsFullRing(w *World) {
	_, _, rx, stack := packets(w, uapi.NFQNLMsgConfig, 1, 1024)
	for _, name := range []string{"cpu0", "cpu1"} {
		w.Softirq(name, func(t *kernel.Task) { stack.SendUDP(t, 1, 16) })
	}
	w.Finally(func() { w.accounted(rx, 2, 0) })
}

func nflogTwoCPUs(w *World) {
	main, fd, rx, stack := packets(w, uapi.NFULNLMsgConfig, 3, 4096)
	for _, name := range []string{"cpu0", "cpu1"} {
		w.Softirq(name, func(t *kernel.Task) { stack.SendUDP(t, 1, 16) })
	}
	w.Finally(func() {
		w.K.FireTimer(w.K.KernelTask("timer"))
		inRing := 0
		for msg, ok := rx.Take(); ok; msg, ok = rx.Take() {
			for m := range uapi.WellFormed(uapi.Messages(msg)) {
				if m.Header.Type == uapi.NFULNLMsgPacket {
					inRing++
				}
			}
		}
		if inRing != 2 {
			w.Violate("no-silent-loss", "2 packets were logged, %d are in the ring", inRing)
		}
		w.Must(main.Close(fd))
	})
}

// fullBuffer makes a socket whose receive buffer has no room, and one to send to it.
func fullBuffer(w *World) (receiver sys.Task, fd int, sender sys.Task, from int) {
	receiver = w.Process("receiver")
	fd = w.Socket(receiver, uapi.NetlinkUsersock, 1000)
	w.Must(receiver.Setsockopt(fd, uapi.SolSocket, uapi.SoRcvbuf, []byte{0, 0, 0, 0}))
	sender = w.Process("sender")
	from = w.Socket(sender, uapi.NetlinkUsersock, 2000)
	for i := uint32(1); ; i++ {
		_, err := sys.Sendto(sender, from, user(i, 1000), dontwait, addr(1000, 0))
		if errors.Is(err, sys.EAGAIN) {
			return receiver, fd, sender, from
		}
		w.Must(err)
	}
}

func receive(t sys.Task, fd, flags int) (uint32, error) {
	buf := make([]byte, 2048)
	n, err := t.Recvmsg(fd, &sys.Msghdr{Iov: []sys.Iovec{sys.Iov(buf)}}, flags)
	if err != nil {
		return 0, err
	}
	return seq(buf[:n]), nil
}

func blockedSender(w *World) {
	receiver, fd, sender, from := fullBuffer(w)
	w.Go(sender, func(t sys.Task) {
		_, err := sys.Sendto(t, from, user(99, 4), 0, addr(1000, 0))
		w.Must(err)
	})
	w.Go(receiver, func(t sys.Task) {
		for last := uint32(0); last != 99; {
			n, err := receive(t, fd, 0)
			w.Must(err)
			if n <= last {
				w.Violate("order", "message %d comes after message %d", n, last)
				return
			}
			last = n
		}
	})
}

func blockedSenderClose(w *World) {
	receiver, fd, sender, from := fullBuffer(w)
	w.Go(sender, func(t sys.Task) {
		_, err := sys.Sendto(t, from, user(99, 4), 0, addr(1000, 0))
		w.Assert(errors.Is(err, sys.ECONNREFUSED), "a send to a socket that was closed says %v", err)
	})
	w.Go(receiver, func(t sys.Task) { w.Must(t.Close(fd)) })
}

func twoReceivers(w *World) {
	main := w.Process("receiver1")
	fd := w.Socket(main, uapi.NetlinkUsersock, 1000)
	second := w.forked(main, "receiver2")
	from := w.Socket(main, uapi.NetlinkUsersock, 2000)
	w.send(main, from, user(1, 4), addr(1000, 0))
	w.send(main, from, user(2, 4), addr(1000, 0))
	got := map[uint32]int{}
	for _, t := range []sys.Task{main, second} {
		w.Go(t, func(t sys.Task) {
			n, err := receive(t, fd, dontwait)
			w.Must(err)
			got[n]++
		})
	}
	w.Finally(func() {
		if got[1] != 1 || got[2] != 1 {
			w.Violate("no-silent-loss", "messages 1 and 2 were received %d and %d times", got[1], got[2])
		}
	})
}

func blockedReceiver(w *World) {
	main := w.Process("receiver")
	fd := w.Socket(main, uapi.NetlinkUsersock, 1000)
	sender := w.Process("sender")
	from := w.Socket(sender, uapi.NetlinkUsersock, 2000)
	w.Go(sender, func(t sys.Task) { w.send(t, from, user(1, 4), addr(1000, 0)) })
	w.Go(main, func(t sys.Task) {
		_, err := receive(t, fd, 0)
		w.Must(err)
	})
}

func twoDumpPollers(w *World) {
	main := w.Process("reader")
	fd := w.Socket(main, uapi.NetlinkRoute, 1000)
	w.SetRing(main, fd, uapi.NetlinkRxRing, 4, 4096)
	w.neighbours(60)
	rx, _ := w.Map(main, fd)
	other := w.forked(main, "other")
	w.send(main, fd, neighDump(1), addr(0, 0))
	poll := func(t sys.Task) {
		_, err := t.Poll([]sys.PollFD{{FD: fd, Events: uapi.PollIn}}, 0)
		w.Must(err)
	}
	w.Go(main, poll)
	w.Go(other, poll)
	w.Finally(func() {
		entries, done := 0, 0
		for {
			msg, ok := rx.Take()
			if !ok {
				break
			}
			for m := range uapi.Messages(msg) {
				switch m.Header.Type {
				case uapi.NLMsgDone:
					done++
				case uapi.RTMNewneigh:
					entries++
				}
			}
			if rx.next == 0 {
				break
			}
		}
		if entries == 0 && rx.sk.Drops.Inspect(inspect.Key{}) == 0 {
			return // shifted by dump-reserve-in-frame
		}
		if entries != 60 || done != 1 {
			w.Violate("dump-complete", "%d entries of 60 and %d times DONE", entries, done)
		}
		if n := rx.sk.Drops.Inspect(inspect.Key{}); n != 0 {
			w.Violate("dump-overrun", "%d messages were dropped though the ring had room", n)
		}
	})
}

func twoKicks(w *World) {
	main := w.Process("first")
	fd := w.Socket(main, uapi.NetlinkRoute, 1000)
	w.SetRing(main, fd, uapi.NetlinkTxRing, 2, 512)
	_, tx := w.Map(main, fd)
	tx.Fill(0, noop(1))
	tx.Fill(1, noop(2))
	other := tx.As(w.forked(main, "second"))
	total := 0
	for _, r := range []*Ring{tx, other} {
		w.Go(r.t, func(sys.Task) {
			n, err := r.Kick(dontwait)
			w.Must(err)
			total += n
		})
	}
	w.Finally(func() {
		if total != 32 || tx.queued() != 2 {
			w.Violate("tx-once", "two messages of 16 bytes: %d bytes were sent and %d answers came", total, tx.queued())
		}
	})
}

func forkExitMapping(w *World) {
	main := w.Process("parent")
	fd := w.Socket(main, uapi.NetlinkRoute, 1000)
	w.SetRing(main, fd, uapi.NetlinkRxRing, 2, 512)
	rx, _ := w.Map(main, fd)
	child := w.forked(main, "child")
	w.Go(main, func(t sys.Task) {
		w.Must(t.Munmap(rx.base, 4096))
		clearRing(w, t, fd)
	})
	w.Go(child, func(t sys.Task) {
		s, err := t.Load32(rx.base)
		w.Must(err)
		w.Assert(s == unused, "a frame that nobody touched reads %d", s)
		w.Must(t.ExitGroup())
	})
}

func twoBinds(w *World) {
	main := w.Process("first")
	fd, err := main.Socket(uapi.AFNetlink, uapi.SockRaw, uapi.NetlinkUsersock)
	w.Must(err)
	second := w.thread(main, "second")
	bound := 0
	bind := func(t sys.Task, portid uint32) {
		if t.Bind(fd, addr(portid, 0)) == nil {
			bound++
		}
	}
	w.Go(main, func(t sys.Task) { bind(t, 5) })
	w.Go(second, func(t sys.Task) { bind(t, 6) })
	w.Finally(func() {
		name, err := main.Getsockname(fd)
		w.Must(err)
		portid := uapi.ParseSockaddrNL(name).Pid
		w.Assert(bound > 0 && (portid == 5 || portid == 6), "%d calls gave the socket a portid, it has %d", bound, portid)
	})
}
