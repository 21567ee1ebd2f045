package explore

import (
	"context"
	"errors"

	"nlmmap/kernel"
	"nlmmap/sys"
	"nlmmap/uapi"
	"nlmmap/userspace"
)

// dumpPrograms read dumps while others do something.
func dumpPrograms() []Program {
	return []Program{
		{"dump-and-close", "A dump is read while another process closes its descriptor and the last one goes.", dumpAndClose},
		{"dump-acks-reader", "A dump, acknowledgements between its messages, and a reader of both.", dumpAcksReader},
		{"two-dump-pollers", "Two processes poll a socket on which a dump runs.", twoDumpPollers},
		{"two-dumps", "Two processes ask for a dump on one socket at once: each dump is complete, or was refused.", twoDumps},
		{"dumper", "A process dumps the neighbours, with the program of the library, while the administrator adds some.", dumper},
		{"diag-dumper", "A process dumps the statistics of sockets, with the program of the library, while another opens and closes one.", diagDumper},
	}
}

func neighDump(seq uint32) []byte { return userspace.DumpRequest(uapi.RTMGetneigh, uapi.AFInet, seq) }

// neighbours lets the administrator add entries to the table of neighbours.
func (w *World) neighbours(admin *kernel.Task, n int) {
	w.Must(w.system.Inet(w.net).PopulateNeigh(admin, n))
}

func dumpAndClose(w *World) {
	main := w.Process("reader")
	fd := w.Socket(main, uapi.NetlinkRoute, 1000)
	w.setRing(main, fd, uapi.NetlinkRxRing, ring(2, 4096))
	w.neighbours(w.k.KernelTask("admin"), 60)
	child := w.forked(main, "child")
	w.send(main, fd, neighDump(1), addr(0, 0))
	w.Go(main, func(t sys.Task) {
		w.poll(t, fd, 0)
		w.Must(t.Close(fd))
	})
	w.Go(child, func(t sys.Task) { w.Must(t.Close(fd)) })
}

// dumped counts what a reader has found of a dump and beside it.
type dumped struct{ entries, done, acks int }

// read counts the messages of one frame. It returns false for one that begins with no message: the kernel has put it
// somewhere else (dump-reserve-in-frame).
func (d *dumped) read(frame []byte) bool {
	for m, err := range uapi.Messages(frame) {
		switch m.Header.Type {
		case uapi.NLMsgDone:
			d.done++
		case uapi.NLMsgError:
			d.acks++
		case uapi.RTMNewneigh:
			d.entries++
		case 0:
			return false
		}
		if err != nil {
			return false
		}
	}
	return true
}

func dumpAcksReader(w *World) {
	main := w.Process("reader")
	s := w.Open(main, uapi.NetlinkRoute, userspace.Config{RX: ring(4, 4096), Portid: 1000})
	w.neighbours(w.k.KernelTask("admin"), 60)
	sender := w.forked(main, "sender")
	w.send(main, s.FD(), neighDump(1), addr(0, 0))
	w.Go(sender, func(t sys.Task) { w.send(t, s.FD(), noop(2), addr(0, 0)) })
	var got dumped
	w.Go(main, func(sys.Task) {
		for (got.done == 0 || got.acks == 0) && got.read(w.next(s.RX)) {
		}
	})
	w.Finally(func() {
		if got.done > 0 && (got.done != 1 || got.entries != 60) {
			w.Violate("dump-complete", "%d entries of 60 and %d times DONE", got.entries, got.done)
		}
		if n := w.lost(s); n != 0 {
			w.Violate("dump-overrun", "%d messages were dropped though the reader took all", n)
		}
	})
}

func twoDumpPollers(w *World) {
	main := w.Process("reader")
	s := w.Open(main, uapi.NetlinkRoute, userspace.Config{RX: ring(4, 4096), Portid: 1000})
	w.neighbours(w.k.KernelTask("admin"), 60)
	other := w.forked(main, "other")
	w.send(main, s.FD(), neighDump(1), addr(0, 0))
	for _, t := range []sys.Task{main, other} {
		w.Go(t, func(t sys.Task) { w.poll(t, s.FD(), 0) })
	}
	w.Finally(func() {
		var got dumped
		for msg, ok := w.take(s.RX); ok; msg, ok = w.take(s.RX) {
			got.read(msg)
		}
		drops := w.lost(s)
		if got.entries == 0 && drops == 0 {
			return // none of it where a reader looks: dump-reserve-in-frame
		}
		if got.entries != 60 || got.done != 1 {
			w.Violate("dump-complete", "%d entries of 60 and %d times DONE", got.entries, got.done)
		}
		if drops != 0 {
			w.Violate("dump-overrun", "%d messages were dropped though the ring had room", drops)
		}
	})
}

func twoDumps(w *World) {
	main := w.Process("first")
	s := w.Open(main, uapi.NetlinkRoute, userspace.Config{RX: ring(4, userspace.DumpFrameSize), Portid: 1000})
	w.neighbours(w.k.KernelTask("admin"), 2)
	second := w.forked(main, "second")
	started := 0
	for i, t := range []sys.Task{main, second} {
		w.Go(t, func(t sys.Task) {
			_, err := sys.Sendto(t, s.FD(), neighDump(uint32(i+1)), dontwait, addr(0, 0))
			if !errors.Is(err, sys.EBUSY) {
				w.Must(err)
				started++
			}
		})
	}
	w.Finally(func() {
		var got dumped
		for range 4 {
			w.poll(main, s.FD(), 0)
			for msg, ok := w.take(s.RX); ok; msg, ok = w.take(s.RX) {
				got.read(msg)
			}
		}
		// The answer to a dump that is refused is an error message.
		if dumps := started - got.acks; got.done != dumps || got.entries != 2*dumps {
			w.Violate("dump-complete", "of %d dumps of 2 entries came %d entries and %d times DONE, %d errors", started, got.entries, got.done, got.acks)
		}
	})
}

// dump runs a dump and checks what it says of itself: complete, or interrupted by what others did.
func (w *World) dump(t sys.Task, cfg userspace.DumpConfig) *userspace.Dumper {
	d := &userspace.Dumper{Config: cfg}
	err := d.Run(context.Background(), t)
	switch {
	case errors.Is(err, userspace.ErrIncomplete) && d.Interrupted && d.Done == 1 && d.Overruns == 0:
	case errors.Is(err, userspace.ErrIncomplete):
		w.Violate("dump-complete", "%v", err)
	default:
		w.Must(err)
	}
	return d
}

func dumper(w *World) {
	admin := w.k.KernelTask("admin")
	w.neighbours(admin, 60)
	main := w.Process("dumper")
	dump := func(t sys.Task) *userspace.Dumper {
		return w.dump(t, userspace.DumpConfig{Type: uapi.RTMGetneigh, Ring: userspace.RingRequest(userspace.DumpFrameSize, 4)})
	}
	before := dump(main).Messages
	w.Softirq("admin", func(cpu *kernel.Task) { w.neighbours(cpu, 1) })
	var during *userspace.Dumper
	w.Go(main, func(t sys.Task) { during = dump(t) })
	w.Finally(func() {
		after := dump(main).Messages
		if n := during.Messages; (n < before || n > after) && !during.Interrupted {
			w.Violate("dump-complete", "%d entries, there were %d before and %d after", n, before, after)
		}
	})
}

func diagDumper(w *World) {
	main := w.Process("dumper")
	other := w.Process("other")
	w.Go(other, func(t sys.Task) { w.Must(t.Close(w.Socket(t, uapi.NetlinkUsersock, 2000))) })
	w.Go(main, func(t sys.Task) {
		seen := 0
		w.dump(t, userspace.DumpConfig{
			Proto: uapi.NetlinkSockDiag, Ring: userspace.RingRequest(userspace.DumpFrameSize, 4),
			Request: func(seq uint32) []byte { return userspace.DiagRequest(uapi.NetlinkUsersock, 0, seq) },
			Handle: func(m uapi.Message) error {
				s, err := userspace.ParseSocketStat(m)
				if err == nil && s.Portid == 2000 {
					seen++
				}
				return err
			},
		})
		if seen > 1 {
			w.Violate("dump-complete", "one socket is listed %d times", seen)
		}
	})
}
