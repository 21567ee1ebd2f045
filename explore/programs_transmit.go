package explore

import (
	"fmt"

	"nlmmap/invariant"
	"nlmmap/sys"
	"nlmmap/uapi"
	"nlmmap/userspace"
)

// transmitPrograms send TX rings.
func transmitPrograms() []Program {
	return []Program{
		{"tx-second-thread", "A process sends its TX ring while a second thread rewrites the frames.", txSecondThread},
		{"tx-shared-memory", "A process sends its TX ring while one that only shares its memory rewrites the frames.", txSharedMemory},
		{"tx-writer", "A process fills TX frames while another sends them.", txWriter},
		{"tx-refill", "A process sends its TX ring while a second thread fills the frames again as soon as they are free.", txRefill},
		{"fork-exit-tx", "A process sends its TX ring while a forked child goes through its exit.", forkExitTx},
		{"two-kicks", "Two processes send the frames of one TX ring.", twoKicks},
		{"locks", "A process maps a socket's rings while another sends through the TX ring and a third changes a ring.", locks},
	}
}

// fill puts messages into TX frames.
func (w *World) fill(tx *userspace.Writer, msgs ...[]byte) {
	for _, msg := range msgs {
		f, err := tx.Next()
		w.Must(err)
		_, err = f.Write(msg)
		w.Must(err)
		w.Must(f.Commit(len(msg)))
	}
}

// kick sends what the TX ring has and does not look what became of the frames: others use them as well.
func kick(t sys.Task, fd int, to []byte) (int, error) {
	return t.Sendmsg(fd, &sys.Msghdr{Name: to, Iov: []sys.Iovec{{}}}, dontwait)
}

// unknown is a request that nobody answers.
func unknown() []byte { return request(511, uapi.NLMFRequest, 1, make([]byte, 8)...) }

func txSecondThread(w *World) {
	main := w.Process("sender")
	s := w.Open(main, uapi.NetlinkRoute, userspace.Config{TX: ring(2, 512), Portid: 1000})
	w.fill(s.TX, unknown())
	w.Go(main, func(t sys.Task) { _, _ = kick(t, s.FD(), addr(0, 0)) })
	w.Go(w.thread(main, "second"), func(t sys.Task) {
		w.Must(t.Store32(s.TX.Addr(0)+uapi.NMLen, 5000))
		w.Optional(func() { w.Must(t.Store32(s.TX.Addr(0)+uapi.NLMMapHdrlen, 2000)) })
	})
}

func txSharedMemory(w *World) {
	main := w.Process("sender")
	s := w.Open(main, uapi.NetlinkRoute, userspace.Config{TX: ring(2, 512), Portid: 1000})
	w.fill(s.TX, unknown())
	other := w.clone(main, "other", uapi.CloneVM)
	w.Must(other.Close(s.FD()))
	w.Go(main, func(t sys.Task) { _, _ = kick(t, s.FD(), addr(0, 0)) })
	w.Go(other, func(t sys.Task) {
		w.Optional(func() { w.Must(t.Store32(s.TX.Addr(0)+uapi.NMLen, 5000)) })
		w.Optional(func() { w.Must(t.Store32(s.TX.Addr(0)+uapi.NLMMapHdrlen, 2000)) })
	})
}

func txWriter(w *World) {
	main := w.Process("sender")
	s := w.Open(main, uapi.NetlinkUsersock, userspace.Config{TX: ring(2, 512), Portid: 1000})
	other := w.Socket(main, uapi.NetlinkUsersock, 2000)
	writer := w.thread(main, "writer")
	first := request(100, 0, 1, []byte("aaaaaaaaaaaaaaaa")...)
	second := request(100, 0, 2, []byte("bbbbbbbbbbbbbbbb")...)
	w.Go(writer, func(t sys.Task) {
		w.fill(s.On(t).TX, first)
		w.Optional(func() {
			again := s.On(t).TX // begins with the first frame once more
			if w.status(t, again.Addr(0)) == unused {
				w.fill(again, second)
			}
		})
	})
	w.Go(main, func(t sys.Task) { _, _ = kick(t, s.FD(), addr(2000, 0)) })
	w.Finally(func() {
		buf := make([]byte, 512)
		n, err := main.Recvmsg(other, &sys.Msghdr{Iov: []sys.Iovec{sys.Iov(buf)}}, dontwait)
		if err != nil || n == 0 && w.status(main, s.TX.Addr(0)) == valid {
			return
		}
		if string(buf[:n]) != string(first) {
			w.Violate("validated-is-executed", "a frame that was VALID with %d bytes was sent as %d bytes %q", len(first), n, buf[:n])
		}
	})
}

func txRefill(w *World) {
	const frames = 2
	main := w.Process("sender")
	s := w.Open(main, uapi.NetlinkUsersock, userspace.Config{TX: ring(frames, 512), Portid: 1000})
	w.Socket(main, uapi.NetlinkUsersock, 2000)
	msg := user(1, 0)
	w.fill(s.TX, msg, msg)
	filler := w.thread(main, "filler")
	w.Go(main, func(t sys.Task) {
		_, err := kick(t, s.FD(), addr(2000, 0))
		w.Must(err)
	})
	w.Go(filler, func(t sys.Task) {
		mine := s.On(t).TX
		for i := range uint32(frames) {
			if w.status(t, mine.Addr(i)) != unused {
				return
			}
			w.fill(mine, msg)
		}
	})
}

// violateSent reports that a ring was not sent as it should: a kernel that never reads TX rings sends nothing.
func (w *World) violateSent(sent int, format string, args ...any) {
	if w.overlooks() {
		return
	}
	v := Violation{Name: "tx-once", What: fmt.Sprintf(format, args...), Blame: w.watch.Blame()}
	if sent == 0 && v.Blame == (invariant.Blame{}) {
		v.Blame.Defect = "tx-path-dead"
	}
	w.violate(v)
}

func forkExitTx(w *World) {
	main := w.Process("sender")
	s := w.Open(main, uapi.NetlinkRoute, userspace.Config{TX: ring(2, 512), Portid: 1000})
	w.fill(s.TX, noop(1), noop(2))
	child := w.forked(main, "child")
	w.Go(main, func(t sys.Task) {
		n, err := kick(t, s.FD(), addr(0, 0))
		w.Must(err)
		if n != 32 {
			w.violateSent(n, "the ring has two messages of 16 bytes, %d bytes were sent", n)
		}
	})
	w.Go(child, func(t sys.Task) {
		w.Must(t.Store32(s.TX.Addr(0)+uapi.NLMMapHdrlen+8, 77))
		w.Must(t.ExitGroup())
	})
}

func twoKicks(w *World) {
	main := w.Process("first")
	s := w.Open(main, uapi.NetlinkRoute, userspace.Config{TX: ring(2, 512), Portid: 1000})
	w.fill(s.TX, noop(1), noop(2))
	total := 0
	for _, t := range []sys.Task{main, w.forked(main, "second")} {
		w.Go(t, func(t sys.Task) {
			n, err := kick(t, s.FD(), addr(0, 0))
			w.Must(err)
			total += n
		})
	}
	w.Finally(func() {
		if answers := w.queued(s); total != 32 || answers != 2 {
			w.violateSent(total, "two messages of 16 bytes: %d bytes were sent and %d answers came", total, answers)
		}
	})
}

func locks(w *World) {
	main := w.Process("sender")
	s := w.Open(main, uapi.NetlinkRoute, userspace.Config{TX: ring(2, 512), Portid: 1000})
	w.fill(s.TX, noop(1))
	mapper := w.thread(main, "mapper")
	w.Go(main, func(t sys.Task) { _, _ = kick(t, s.FD(), addr(0, 0)) })
	w.Go(mapper, func(t sys.Task) {
		addr, err := t.Mmap(0, 4096, uapi.ProtRead, uapi.MapShared, s.FD(), 0)
		w.Must(err)
		w.Must(t.Munmap(addr, 4096))
	})
}
