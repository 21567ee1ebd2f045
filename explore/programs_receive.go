package explore

import (
	"fmt"

	"nlmmap/sys"
	"nlmmap/uapi"
	"nlmmap/userspace"
)

// receivePrograms are exchanges through an RX ring.
func receivePrograms() []Program {
	return []Program{
		{"reader-and-ack", "One acknowledgement and its reader: the smallest exchange through a ring.", readerAndAck},
		{"reader-and-acks", "A process asks for acknowledgements, another reads them out of the ring as they come.", readerAndAcks},
		{"hand-back", "A reader takes a message out of a ring of one frame while the next one is sent.", handBack},
		{"two-senders", "Two processes send to one ring whose reader takes the messages as they come.", twoSenders},
		{"two-senders-one-frame", "Two processes send to a ring of one frame.", twoSendersOneFrame},
		{"skipping-reader", "A reader marks frames as skipped and gives them back later while messages come.", skippingReader},
		{"copy-and-reader", "A message that is queued beside the ring, and a reader that receives without looking at frames.", copyAndReader},
		{"full-ring-acks", "Two processes ask for acknowledgements that go into one frame; every one is read, in the ring or counted.", fullRingAcks},
		{"full-ring-copies", "One process sends two messages beside a ring of one frame; every one is read, in the ring or counted.", fullRingCopies},
	}
}

func readerAndAck(w *World) {
	main := w.Process("reader")
	s := w.Open(main, uapi.NetlinkRoute, userspace.Config{RX: ring(1, 512), Portid: 1000})
	w.Go(w.forked(main, "sender"), func(t sys.Task) { w.send(t, s.FD(), noop(1), addr(0, 0)) })
	w.Go(main, func(sys.Task) { w.take(s.RX) })
}

func readerAndAcks(w *World) {
	main := w.Process("reader")
	s := w.Open(main, uapi.NetlinkRoute, userspace.Config{RX: ring(2, 1024), Portid: 1000})
	w.Go(w.forked(main, "sender"), func(t sys.Task) {
		w.send(t, s.FD(), noop(1), addr(0, 0))
		w.Optional(func() { w.send(t, s.FD(), noop(2), addr(0, 0)) })
	})
	w.Go(main, func(sys.Task) {
		w.next(s.RX)
		w.Optional(func() { w.next(s.RX) })
	})
}

func handBack(w *World) {
	main := w.Process("reader")
	s := w.Open(main, uapi.NetlinkRoute, userspace.Config{RX: ring(1, 1024), Portid: 1000})
	w.send(main, s.FD(), noop(1), addr(0, 0))
	w.Go(w.forked(main, "sender"), func(t sys.Task) { _, _ = sys.Sendto(t, s.FD(), noop(2), dontwait, addr(0, 0)) })
	w.Go(main, func(sys.Task) { w.take(s.RX) })
}

func twoSenders(w *World) {
	main := w.Process("reader")
	s := w.Open(main, uapi.NetlinkUsersock, userspace.Config{RX: ring(2, 512), Portid: 1000})
	for i := uint32(1); i <= 2; i++ {
		t := w.Process(fmt.Sprint("sender", i))
		from := w.Socket(t, uapi.NetlinkUsersock, 2000+i)
		w.Go(t, func(t sys.Task) { w.send(t, from, user(10*i, int(4*i)), addr(1000, 0)) })
	}
	w.Go(main, func(sys.Task) {
		w.next(s.RX)
		w.Optional(func() { w.next(s.RX) })
	})
}

func twoSendersOneFrame(w *World) {
	main := w.Process("reader")
	fd := w.Socket(main, uapi.NetlinkUsersock, 1000)
	w.setRing(main, fd, uapi.NetlinkRxRing, ring(1, 512))
	for i := uint32(1); i <= 2; i++ {
		t := w.Process(fmt.Sprint("sender", i))
		from := w.Socket(t, uapi.NetlinkUsersock, 2000+i)
		w.Go(t, func(t sys.Task) { w.send(t, from, user(1, 4), addr(1000, 0)) })
	}
}

func skippingReader(w *World) {
	main := w.Process("reader")
	s := w.Open(main, uapi.NetlinkRoute, userspace.Config{RX: ring(3, 512), Portid: 1000})
	// The frame is kept before anything came in it, which the library does not do.
	keep := func(status uint32) { w.Must(main.Store32(s.RX.Addr(0)+uapi.NMStatus, status)) }
	keep(skip)
	w.Go(w.forked(main, "sender"), func(t sys.Task) {
		w.send(t, s.FD(), noop(1), addr(0, 0))
		w.Optional(func() { w.send(t, s.FD(), noop(2), addr(0, 0)) })
	})
	w.Go(main, func(sys.Task) { keep(unused) })
	w.Finally(func() { w.inRingOrder(s, 3, 2) })
}

// inRingOrder looks at a ring from its first frame on as its reader would, and checks that frames follow each other
// without gap: a reader that stops at the first frame without a message must find them all.
func (w *World) inRingOrder(s *userspace.Socket, frames uint32, sent int) {
	lost := w.lost(s)
	has := func(i uint32) bool { return w.status(s.Task(), s.RX.Addr(i)) == valid }
	first := uint32(0)
	if !has(0) {
		first = 1 // frame 0 was passed over while the reader kept it
	}
	found := 0
	for i := first; i < frames && has(i); i++ {
		found++
	}
	all := 0
	for i := range frames {
		if has(i) {
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

func copyAndReader(w *World) {
	main := w.Process("reader")
	s := w.Open(main, uapi.NetlinkUsersock, userspace.Config{RX: ring(1, 512), Portid: 1000})
	other := w.Process("sender")
	from := w.Socket(other, uapi.NetlinkUsersock, 2000)
	w.Go(other, func(t sys.Task) { w.send(t, from, user(1, 8), addr(1000, 0)) })
	w.Go(main, func(t sys.Task) {
		received := false
		w.Optional(func() {
			_, err := receive(t, s.FD(), dontwait)
			received = err == nil
		})
		if w.status(t, s.RX.Addr(0)) == uapi.NLMMapStatusCopy && received {
			w.Must(t.Store32(s.RX.Addr(0)+uapi.NMStatus, unused))
		}
	})
}

// accounted checks that messages that were sent to a ring were read, lie in it, or were counted as lost.
func (w *World) accounted(s *userspace.Socket, frames uint32, sent, read int) {
	inRing := 0
	for i := range frames {
		if s := w.status(s.Task(), s.RX.Addr(i)); s == valid || s == uapi.NLMMapStatusCopy {
			inRing++
		}
	}
	lost := w.lost(s)
	if read+inRing+lost != sent {
		w.Violate("no-silent-loss", "%d messages were sent, %d were read, %d are in the ring and %d were counted as lost", sent, read, inRing, lost)
	}
}

func fullRingAcks(w *World) {
	main := w.Process("reader")
	s := w.Open(main, uapi.NetlinkRoute, userspace.Config{RX: ring(1, 512), Portid: 1000})
	for i, name := range []string{"sender1", "sender2"} {
		w.Go(w.forked(main, name), func(t sys.Task) { w.send(t, s.FD(), noop(uint32(i+1)), addr(0, 0)) })
	}
	w.Go(main, func(sys.Task) { w.take(s.RX) })
	w.Finally(func() { w.accounted(s, 1, 2, s.RX.Stats().Frames) })
}

func fullRingCopies(w *World) {
	main := w.Process("reader")
	s := w.Open(main, uapi.NetlinkUsersock, userspace.Config{RX: ring(1, 512), Portid: 1000})
	sender := w.Process("sender")
	from := w.Socket(sender, uapi.NetlinkUsersock, 2000)
	w.Go(sender, func(t sys.Task) {
		w.send(t, from, user(1, 4), addr(1000, 0))
		w.send(t, from, user(2, 8), addr(1000, 0))
	})
	w.Go(main, func(sys.Task) { w.take(s.RX) })
	w.Finally(func() { w.accounted(s, 1, 2, s.RX.Stats().Frames) })
}
