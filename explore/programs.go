package explore

import (
	"encoding/binary"
	"errors"
	"slices"

	"nlmmap/kernel"
	"nlmmap/kernel/inspect"
	"nlmmap/sys"
	"nlmmap/uapi"
)

// Programs are small general situations. They know of no particular defect.
func Programs() []Program {
	return slices.Concat(basicPrograms(), morePrograms())
}

// basicPrograms are the exchanges through a ring, the TX ring, and what can happen to a ring meanwhile.
func basicPrograms() []Program {
	return []Program{
		{"reader-and-acks", "A process asks for acknowledgements, another reads them out of the ring as they come.", readerAndAcks},
		{"two-senders", "Two processes send to one ring whose reader takes the messages as they come.", twoSenders},
		{"two-senders-one-frame", "Two processes send to a ring of one frame.", twoSendersOneFrame},
		{"skipping-reader", "A reader marks frames as skipped and gives them back later while messages come.", skippingReader},
		{"dump-and-close", "A dump is read while another process closes its descriptor and the last one goes.", dumpAndClose},
		{"dump-acks-reader", "A dump, acknowledgements between its messages, and a reader of both.", dumpAcksReader},
		{"ring-torn-down", "A ring is cleared while a message is built in it or announced by it.", ringTornDown},
		{"two-setups", "Two processes set the same ring in different ways, and messages go into it.", twoSetups},
		{"reader-and-ack", "One acknowledgement and its reader: the smallest exchange through a ring.", readerAndAck},
		{"copy-and-reader", "A message that is queued beside the ring, and a reader that receives without looking at frames.", copyAndReader},
		{"tx-second-thread", "A process sends its TX ring while a second thread rewrites the frames.", txSecondThread},
		{"tx-shared-memory", "A process sends its TX ring while one that only shares its memory rewrites the frames.", txSharedMemory},
		{"tx-writer", "A process fills TX frames while another sends them.", txWriter},
		{"tx-refill", "A process sends its TX ring while a second thread fills the frames again as soon as they are free.", txRefill},
		{"two-mappers", "Two processes map one socket and both read it.", twoMappers},
		{"fork-exit-tx", "A process sends its TX ring while a forked child goes through its exit.", forkExitTx},
		{"close-under-delivery", "A message is delivered to a socket that is being closed.", closeUnderDelivery},
		{"nflog-batch", "The kernel collects logged packets in a frame while acknowledgements come behind it.", nflogBatch},
		{"nfqueue-two-cpus", "Two processors queue packets to one reader, which answers with batch verdicts.", nfqueueTwoCPUs},
		{"locks", "A process maps a socket's rings while another sends through the TX ring and a third changes a ring.", locks},
	}
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

const (
	unused   = uapi.NLMMapStatusUnused
	valid    = uapi.NLMMapStatusValid
	skip     = uapi.NLMMapStatusSkip
	dontwait = uapi.MsgDontwait
)

// forked makes a child that shares the descriptors of setup, to be driven beside its parent.
func (w *World) forked(t sys.Task, name string) sys.Task {
	child, err := sys.Fork(t, name)
	w.Must(err)
	w.tasks = append(w.tasks, modelled(child))
	return child
}

func (w *World) thread(t sys.Task, name string) sys.Task {
	th, err := sys.Thread(t, name)
	w.Must(err)
	w.tasks = append(w.tasks, modelled(th))
	return th
}

func (w *World) send(t sys.Task, fd int, msg []byte, to []byte) {
	_, err := sys.Sendto(t, fd, msg, dontwait, to)
	w.Must(err)
}

func readerAndAcks(w *World) {
	main := w.Process("reader")
	fd := w.Socket(main, uapi.NetlinkRoute, 1000)
	w.SetRing(main, fd, uapi.NetlinkRxRing, 2, 1024)
	sender := w.forked(main, "sender")
	rx, _ := w.Map(main, fd)
	w.Go(sender, func(t sys.Task) {
		w.send(t, fd, noop(1), addr(0, 0))
		w.Optional(func() { w.send(t, fd, noop(2), addr(0, 0)) })
	})
	w.Go(main, func(t sys.Task) {
		rx.InOrder(0, seq(rx.Next()))
		w.Optional(func() { rx.InOrder(0, seq(rx.Next())) })
	})
}

func readerAndAck(w *World) {
	main := w.Process("reader")
	fd := w.Socket(main, uapi.NetlinkRoute, 1000)
	w.SetRing(main, fd, uapi.NetlinkRxRing, 1, 512)
	sender := w.forked(main, "sender")
	rx, _ := w.Map(main, fd)
	w.Go(sender, func(t sys.Task) { w.send(t, fd, noop(1), addr(0, 0)) })
	w.Go(main, func(t sys.Task) {
		if msg, ok := rx.Take(); ok {
			rx.InOrder(0, seq(msg))
		}
	})
}

func user(seq uint32, n int) []byte { return request(100, 0, seq, make([]byte, n)...) }

func twoSenders(w *World) {
	main := w.Process("reader")
	fd := w.Socket(main, uapi.NetlinkUsersock, 1000)
	w.SetRing(main, fd, uapi.NetlinkRxRing, 2, 512)
	rx, _ := w.Map(main, fd)
	for i := uint32(1); i <= 2; i++ {
		name := []string{"", "sender1", "sender2"}[i]
		t := w.Process(name)
		from := w.Socket(t, uapi.NetlinkUsersock, 2000+i)
		w.Go(t, func(t sys.Task) { w.send(t, from, user(10*i, int(4*i)), addr(1000, 0)) })
	}
	w.Go(main, func(sys.Task) {
		rx.Next()
		w.Optional(func() { rx.Next() })
	})
}

func twoSendersOneFrame(w *World) {
	main := w.Process("reader")
	fd := w.Socket(main, uapi.NetlinkUsersock, 1000)
	w.SetRing(main, fd, uapi.NetlinkRxRing, 1, 512)
	for i, name := range []string{"sender1", "sender2"} {
		t := w.Process(name)
		from := w.Socket(t, uapi.NetlinkUsersock, 2000+uint32(i))
		w.Go(t, func(t sys.Task) { w.send(t, from, user(1, 4), addr(1000, 0)) })
	}
}

func skippingReader(w *World) {
	main := w.Process("reader")
	fd := w.Socket(main, uapi.NetlinkRoute, 1000)
	w.SetRing(main, fd, uapi.NetlinkRxRing, 3, 512)
	sender := w.forked(main, "sender")
	rx, _ := w.Map(main, fd)
	rx.SetStatus(0, skip)
	w.Go(sender, func(t sys.Task) {
		w.send(t, fd, noop(1), addr(0, 0))
		w.Optional(func() { w.send(t, fd, noop(2), addr(0, 0)) })
	})
	w.Go(main, func(sys.Task) { rx.SetStatus(0, unused) })
	w.Finally(func() { w.inRingOrder(rx, 2) })
}

// inRingOrder reads a ring from its first frame on as its reader would, and checks that frames follow each other
// without gap: a reader that stops at the first frame without a message must find them all.
func (w *World) inRingOrder(rx *Ring, sent int) {
	lost := int(rx.sk.Drops.Inspect(inspect.Key{}))
	first := 0
	if rx.Status(0) != valid {
		first = 1 // frame 0 was passed over while the reader kept it
	}
	found := 0
	for i := first; i < rx.frames && rx.Status(i) == valid; i++ {
		found++
	}
	all := 0
	for i := range rx.frames {
		if rx.Status(i) == valid {
			all++
		}
	}
	if all != found {
		w.Violate("order", "the reader finds %d messages and then a free frame, behind it are %d more", found, all-found)
	}
	if all+lost < sent && len(w.opts.Without) == 0 {
		w.Violate("no-silent-loss", "%d messages were sent, %d are in the ring and %d were counted as lost", sent, all, lost)
	}
}

func neighDump(seq uint32) []byte {
	return request(uapi.RTMGetneigh, uapi.NLMFRequest|uapi.NLMFDump, seq, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
}

func (w *World) neighbours(n int) {
	admin := w.K.KernelTask("admin")
	w.Must(w.Sys.Inet(w.Net).PopulateNeigh(admin, n))
}

func dumpAndClose(w *World) {
	main := w.Process("reader")
	fd := w.Socket(main, uapi.NetlinkRoute, 1000)
	w.SetRing(main, fd, uapi.NetlinkRxRing, 2, 4096)
	w.neighbours(60)
	child := w.forked(main, "child")
	w.send(main, fd, neighDump(1), addr(0, 0))
	w.Go(main, func(t sys.Task) {
		_, err := t.Poll([]sys.PollFD{{FD: fd, Events: uapi.PollIn}}, 0)
		w.Must(err)
		w.Must(t.Close(fd))
	})
	w.Go(child, func(t sys.Task) { w.Must(t.Close(fd)) })
}

func dumpAcksReader(w *World) {
	main := w.Process("reader")
	fd := w.Socket(main, uapi.NetlinkRoute, 1000)
	w.SetRing(main, fd, uapi.NetlinkRxRing, 4, 4096)
	w.neighbours(60)
	sender := w.forked(main, "sender")
	rx, _ := w.Map(main, fd)
	w.send(main, fd, neighDump(1), addr(0, 0))
	w.Go(sender, func(t sys.Task) { w.send(t, fd, noop(2), addr(0, 0)) })
	entries, done, acks := 0, 0, 0
	w.Go(main, func(sys.Task) {
		for done == 0 || acks == 0 {
			for m, err := range uapi.Messages(rx.Next()) {
				switch m.Header.Type {
				case uapi.NLMsgDone:
					done++
				case uapi.NLMsgError:
					acks++
				case uapi.RTMNewneigh:
					entries++
				case 0: // shifted by dump-reserve-in-frame: what lies there is not the message
					return
				}
				if err != nil {
					return
				}
			}
		}
	})
	w.Finally(func() {
		if done > 0 && (done != 1 || entries != 60) {
			w.Violate("dump-complete", "%d entries of 60 and %d times DONE", entries, done)
		}
		if n := rx.sk.Drops.Inspect(inspect.Key{}); n != 0 {
			w.Violate("dump-overrun", "%d messages were dropped though the reader took all", n)
		}
	})
}

func ringTornDown(w *World) {
	main := w.Process("owner")
	fd := w.Socket(main, uapi.NetlinkRoute, 1000)
	w.SetRing(main, fd, uapi.NetlinkRxRing, 2, 512)
	sender := w.forked(main, "sender")
	w.Go(sender, func(t sys.Task) {
		// Too large for a frame, so that it is queued; the other one is built in a frame.
		_, _ = sys.Sendto(t, fd, request(511, uapi.NLMFRequest, 1, make([]byte, 3000)...), dontwait, addr(0, 0))
		w.Optional(func() { _, _ = sys.Sendto(t, fd, noop(2), dontwait, addr(0, 0)) })
	})
	w.Go(main, func(t sys.Task) {
		_ = t.Setsockopt(fd, uapi.SolNetlink, uapi.NetlinkRxRing, uapi.NLMMapReq{}.Bytes())
	})
}

func twoSetups(w *World) {
	main := w.Process("first")
	fd := w.Socket(main, uapi.NetlinkRoute, 1000)
	other := w.forked(main, "second")
	set := func(t sys.Task, req uapi.NLMMapReq) {
		err := t.Setsockopt(fd, uapi.SolNetlink, uapi.NetlinkRxRing, req.Bytes())
		if err != nil && !errors.Is(err, sys.EBUSY) {
			w.Must(err)
		}
	}
	w.Go(main, func(t sys.Task) {
		set(t, uapi.NLMMapReq{BlockSize: 4096, BlockNr: 2, FrameSize: 2048, FrameNr: 4})
		for i := range uint32(4) {
			_, _ = sys.Sendto(t, fd, noop(i+1), dontwait, addr(0, 0))
		}
	})
	w.Go(other, func(t sys.Task) {
		set(t, uapi.NLMMapReq{BlockSize: 4096, BlockNr: 1, FrameSize: 4096, FrameNr: 1})
	})
}

func copyAndReader(w *World) {
	main := w.Process("reader")
	fd := w.Socket(main, uapi.NetlinkUsersock, 1000)
	w.SetRing(main, fd, uapi.NetlinkRxRing, 1, 512)
	rx, _ := w.Map(main, fd)
	other := w.Process("sender")
	from := w.Socket(other, uapi.NetlinkUsersock, 2000)
	w.Go(other, func(t sys.Task) { w.send(t, from, user(1, 8), addr(1000, 0)) })
	w.Go(main, func(sys.Task) {
		w.Optional(func() { _, _ = rx.recv() })
		if rx.Status(0) == uapi.NLMMapStatusCopy {
			rx.SetStatus(0, unused)
		}
	})
}

func txSecondThread(w *World) {
	main := w.Process("sender")
	fd := w.Socket(main, uapi.NetlinkRoute, 1000)
	w.SetRing(main, fd, uapi.NetlinkTxRing, 2, 512)
	_, tx := w.Map(main, fd)
	tx.Fill(0, request(511, uapi.NLMFRequest, 1, make([]byte, 8)...))
	second := w.thread(main, "second")
	mine := tx.As(second)
	w.Go(main, func(sys.Task) { _, _ = tx.Kick(dontwait) })
	w.Go(second, func(t sys.Task) {
		w.Must(t.Store32(mine.frame(0)+uapi.NMLen, 5000))
		w.Optional(func() { w.Must(t.Store32(mine.frame(0)+uapi.NLMMapHdrlen, 2000)) })
	})
}

func txSharedMemory(w *World) {
	main := w.Process("sender")
	fd := w.Socket(main, uapi.NetlinkRoute, 1000)
	w.SetRing(main, fd, uapi.NetlinkTxRing, 2, 512)
	_, tx := w.Map(main, fd)
	tx.Fill(0, request(511, uapi.NLMFRequest, 1, make([]byte, 8)...))
	other, err := main.Clone("other", uapi.CloneVM)
	w.Must(err)
	w.tasks = append(w.tasks, modelled(other))
	w.Must(other.Close(fd))
	theirs := tx.As(other)
	w.Go(main, func(sys.Task) { _, _ = tx.Kick(dontwait) })
	w.Go(other, func(t sys.Task) {
		w.Optional(func() { w.Must(t.Store32(theirs.frame(0)+uapi.NMLen, 5000)) })
		w.Optional(func() { w.Must(t.Store32(theirs.frame(0)+uapi.NLMMapHdrlen, 2000)) })
	})
}

func txWriter(w *World) {
	main := w.Process("sender")
	fd := w.Socket(main, uapi.NetlinkUsersock, 1000)
	other := w.Socket(main, uapi.NetlinkUsersock, 2000)
	w.SetRing(main, fd, uapi.NetlinkTxRing, 2, 512)
	_, tx := w.Map(main, fd)
	writer := w.thread(main, "writer")
	mine := tx.As(writer)
	first := user(1, 16)
	copy(first[uapi.NLMsgHdrlen:], "aaaaaaaaaaaaaaaa")
	second := user(2, 16)
	copy(second[uapi.NLMsgHdrlen:], "bbbbbbbbbbbbbbbb")
	w.Go(writer, func(sys.Task) {
		mine.Fill(0, first)
		w.Optional(func() {
			if mine.Status(0) == unused {
				mine.Fill(0, second)
			}
		})
	})
	w.Go(main, func(t sys.Task) {
		_, _ = t.Sendmsg(fd, &sys.Msghdr{Name: addr(2000, 0), Iov: []sys.Iovec{{}}}, dontwait)
	})
	w.Finally(func() {
		buf := make([]byte, 512)
		n, err := main.Recvmsg(other, &sys.Msghdr{Iov: []sys.Iovec{sys.Iov(buf)}}, dontwait)
		if err != nil || n == 0 && tx.Status(0) == valid {
			return
		}
		if string(buf[:n]) != string(first) {
			w.Violate("validated-is-executed", "a frame that was VALID with %d bytes was sent as %d bytes %q", len(first), n, buf[:n])
		}
	})
}

func txRefill(w *World) {
	const frames, more = 2, 2
	main := w.Process("sender")
	fd := w.Socket(main, uapi.NetlinkUsersock, 1000)
	w.Socket(main, uapi.NetlinkUsersock, 2000)
	w.SetRing(main, fd, uapi.NetlinkTxRing, frames, 512)
	_, tx := w.Map(main, fd)
	msg := user(1, 0)
	for i := range frames {
		tx.Fill(i, msg)
	}
	filler := w.thread(main, "filler")
	mine := tx.As(filler)
	w.Go(main, func(t sys.Task) {
		n, err := t.Sendmsg(fd, &sys.Msghdr{Name: addr(2000, 0), Iov: []sys.Iovec{{}}}, dontwait)
		w.Must(err)
		if sent := n / len(msg); sent > frames {
			w.Violate("tx-bounded", "one call sent %d frames of a ring of %d: a thread that keeps filling keeps the sender in the kernel", sent, frames)
		}
	})
	w.Go(filler, func(sys.Task) {
		for i := range more {
			if mine.Status(i) == unused {
				mine.Fill(i, msg)
			}
		}
	})
}

func twoMappers(w *World) {
	main := w.Process("first")
	fd := w.Socket(main, uapi.NetlinkRoute, 1000)
	w.SetRing(main, fd, uapi.NetlinkRxRing, 2, 512)
	other := w.forked(main, "second")
	clearRing := func(t sys.Task) {
		err := t.Setsockopt(fd, uapi.SolNetlink, uapi.NetlinkRxRing, uapi.NLMMapReq{}.Bytes())
		if err != nil && !errors.Is(err, sys.EBUSY) {
			w.Must(err)
		}
	}
	w.Go(main, func(t sys.Task) {
		addr, err := t.Mmap(0, 4096, uapi.ProtRead|uapi.ProtWrite, uapi.MapShared, fd, 0)
		if err != nil {
			return
		}
		_, err = t.Load32(addr)
		w.Must(err)
		w.Must(t.Munmap(addr, 4096))
	})
	w.Go(other, func(t sys.Task) { clearRing(t) })
}

func forkExitTx(w *World) {
	main := w.Process("sender")
	fd := w.Socket(main, uapi.NetlinkRoute, 1000)
	w.SetRing(main, fd, uapi.NetlinkTxRing, 2, 512)
	_, tx := w.Map(main, fd)
	tx.Fill(0, noop(1))
	tx.Fill(1, noop(2))
	child := w.forked(main, "child")
	theirs := tx.As(child)
	w.Go(main, func(sys.Task) {
		n, err := tx.Kick(dontwait)
		w.Must(err)
		if n != 32 {
			w.Violate("tx-once", "the ring has two messages of 16 bytes, %d bytes were sent", n)
		}
	})
	w.Go(child, func(t sys.Task) {
		w.Must(t.Store32(theirs.frame(0)+uapi.NLMMapHdrlen+8, 77))
		w.Must(t.ExitGroup())
	})
	w.Finally(func() {
		for i := range 2 {
			if tx.Status(i) != unused {
				w.Violate("tx-once", "frame %d was sent and not released", i)
			}
		}
	})
}

func closeUnderDelivery(w *World) {
	main := w.Process("receiver")
	fd := w.Socket(main, uapi.NetlinkUsersock, 1000)
	w.SetRing(main, fd, uapi.NetlinkRxRing, 2, 512)
	other := w.Process("sender")
	from := w.Socket(other, uapi.NetlinkUsersock, 2000)
	w.Go(other, func(t sys.Task) { _, _ = sys.Sendto(t, from, user(1, 8), dontwait, addr(1000, 0)) })
	w.Go(main, func(t sys.Task) { w.Must(t.Close(fd)) })
}

// logConfig binds an nflog group, or an nfqueue queue, to the socket.
func netfilterConfig(w *World, t sys.Task, fd int, typ uint16, num uint16, attrs ...byte) {
	payload := binary.BigEndian.AppendUint16([]byte{0, 0}, num)
	w.send(t, fd, request(typ, uapi.NLMFRequest, 1, append(payload, attrs...)...), addr(0, 0))
}

func nflogBatch(w *World) {
	main := w.Process("logger")
	fd := w.Socket(main, uapi.NetlinkNetfilter, 1000)
	w.SetRing(main, fd, uapi.NetlinkRxRing, 3, 4096)
	netfilterConfig(w, main, fd, uapi.NFULNLMsgConfig, 1, 5, 0, 1, 0, 1, 0, 0, 0)
	sender := w.forked(main, "sender")
	rx, _ := w.Map(main, fd)
	stack := w.Sys.Inet(w.Net)
	admin := w.K.KernelTask("admin")
	stack.AddRule(admin, w.Sys.NFLog.Rule(1, 2))
	w.Softirq("packets", func(t *kernel.Task) {
		stack.SendUDP(t, 1, 16)
		w.Optional(func() { stack.SendUDP(t, 1, 16) })
		w.K.FireTimer(t)
	})
	w.Go(sender, func(t sys.Task) { w.send(t, fd, noop(7), addr(0, 0)) })
	w.Go(main, func(sys.Task) {
		rx.Next()
		rx.Next()
	})
	w.Finally(func() { stack.FlushRules(admin) })
}

func nfqueueTwoCPUs(w *World) {
	main := w.Process("reader")
	fd := w.Socket(main, uapi.NetlinkNetfilter, 1000)
	w.SetRing(main, fd, uapi.NetlinkRxRing, 2, 1024)
	netfilterConfig(w, main, fd, uapi.NFQNLMsgConfig, 0, 8, 0, 1, 0, 1, 0, 0, 2)
	netfilterConfig(w, main, fd, uapi.NFQNLMsgConfig, 0, 9, 0, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0)
	rx, _ := w.Map(main, fd)
	stack := w.Sys.Inet(w.Net)
	admin := w.K.KernelTask("admin")
	stack.AddRule(admin, w.Sys.NFQueue.Rule(0, false))
	stack.SendUDP(admin, 0, 0)
	for _, name := range []string{"cpu0", "cpu1"} {
		w.Softirq(name, func(t *kernel.Task) { stack.SendUDP(t, 1, 16) })
	}
	w.Finally(func() {
		last := uint32(0)
		for i := range 2 {
			if rx.Status(i) != valid {
				continue
			}
			_, err := main.Load32(rx.frame(i) + uapi.NMLen)
			w.Must(err)
			b := make([]byte, 28)
			w.Must(main.ReadMem(rx.frame(i)+uapi.NLMMapHdrlen, b))
			id := binary.BigEndian.Uint32(b[24:])
			if id < last {
				w.Violate("order", "the frame of packet %d comes after that of packet %d: a batch verdict up to the first hits the second", id, last)
			}
			last = id
		}
		stack.FlushRules(admin)
	})
}

func locks(w *World) {
	main := w.Process("sender")
	fd := w.Socket(main, uapi.NetlinkRoute, 1000)
	w.SetRing(main, fd, uapi.NetlinkTxRing, 2, 512)
	_, tx := w.Map(main, fd)
	tx.Fill(0, noop(1))
	mapper := w.thread(main, "mapper")
	w.Go(main, func(sys.Task) { _, _ = tx.Kick(dontwait) })
	w.Go(mapper, func(t sys.Task) {
		addr, err := t.Mmap(0, 4096, uapi.ProtRead, uapi.MapShared, fd, 0)
		w.Must(err)
		w.Must(t.Munmap(addr, 4096))
	})
}
