package explore

import (
	"errors"

	"nlmmap/sys"
	"nlmmap/uapi"
	"nlmmap/userspace"
)

// ringPrograms change rings, mappings and sockets while messages are on their way.
func ringPrograms() []Program {
	return []Program{
		{"ring-torn-down", "A ring is cleared while a message is built in it or announced by it.", ringTornDown},
		{"ack-and-teardown", "A ring is cleared while an acknowledgement is built in it.", ackAndTeardown},
		{"poll-and-teardown", "A ring is cleared while another process polls it.", pollAndTeardown},
		{"ring-replaced", "A process replaces its ring by another one, maps it and reads, while acknowledgements come.", ringReplaced},
		{"two-setups", "Two processes set the same ring in different ways, and messages go into it.", twoSetups},
		{"two-mappers", "Two processes map one socket and both read it.", twoMappers},
		{"fork-exit-mapping", "A process with a mapped ring forks, and parent and child unmap it.", forkExitMapping},
		{"close-under-delivery", "A message is delivered to a socket that is being closed.", closeUnderDelivery},
	}
}

func ringTornDown(w *World) {
	main := w.Process("owner")
	fd := w.Socket(main, uapi.NetlinkRoute, 1000)
	w.setRing(main, fd, uapi.NetlinkRxRing, ring(2, 512))
	w.Go(w.forked(main, "sender"), func(t sys.Task) {
		// Too large for a frame, so that it is queued; the other one is built in a frame.
		_, _ = sys.Sendto(t, fd, request(511, uapi.NLMFRequest, 1, make([]byte, 3000)...), dontwait, addr(0, 0))
		w.Optional(func() { _, _ = sys.Sendto(t, fd, noop(2), dontwait, addr(0, 0)) })
	})
	w.Go(main, func(t sys.Task) {
		_ = t.Setsockopt(fd, uapi.SolNetlink, uapi.NetlinkRxRing, uapi.NLMMapReq{}.Bytes())
	})
}

func ackAndTeardown(w *World) {
	main := w.Process("owner")
	fd := w.Socket(main, uapi.NetlinkRoute, 1000)
	w.setRing(main, fd, uapi.NetlinkRxRing, ring(2, 512))
	w.Go(w.forked(main, "sender"), func(t sys.Task) { _, _ = sys.Sendto(t, fd, noop(1), dontwait, addr(0, 0)) })
	w.Go(main, func(t sys.Task) { w.changeRing(t, fd, uapi.NLMMapReq{}) })
}

func pollAndTeardown(w *World) {
	main := w.Process("owner")
	fd := w.Socket(main, uapi.NetlinkRoute, 1000)
	w.setRing(main, fd, uapi.NetlinkRxRing, ring(2, 512))
	w.Go(w.forked(main, "poller"), func(t sys.Task) { w.poll(t, fd, 0) })
	w.Go(main, func(t sys.Task) { w.changeRing(t, fd, uapi.NLMMapReq{}) })
}

func ringReplaced(w *World) {
	main := w.Process("reader")
	fd := w.Socket(main, uapi.NetlinkRoute, 1000)
	w.setRing(main, fd, uapi.NetlinkRxRing, ring(1, 4096))
	w.Go(w.forked(main, "sender"), func(t sys.Task) {
		_, _ = sys.Sendto(t, fd, noop(1), dontwait, addr(0, 0))
		w.Optional(func() { _, _ = sys.Sendto(t, fd, noop(2), dontwait, addr(0, 0)) })
	})
	w.Go(main, func(t sys.Task) {
		frames, size := 2, 2048
		err := t.Setsockopt(fd, uapi.SolNetlink, uapi.NetlinkRxRing, ring(frames, size).Bytes())
		if errors.Is(err, sys.EBUSY) { // an acknowledgement is being built in the old one
			frames, size = 1, 4096
		} else {
			w.Must(err)
		}
		base, err := t.Mmap(0, uapi.PageSize, uapi.ProtRead|uapi.ProtWrite, uapi.MapShared, fd, 0)
		w.Must(err)
		last := uint32(0)
		for i := range frames {
			frame := base + uint64(i*size)
			if w.status(t, frame) != valid {
				break
			}
			n, err := t.Load32(frame + uapi.NMLen)
			w.Must(err)
			msg := make([]byte, min(int(n), size-uapi.NLMMapHdrlen))
			w.Must(t.ReadMem(frame+uapi.NLMMapHdrlen, msg))
			if n := seq(msg); n > 0 && n <= last {
				w.Violate("order", "frame %d has acknowledgement %d, the one before had %d", i, n, last)
			}
			last = seq(msg)
			w.Must(t.Store32(frame+uapi.NMStatus, unused))
		}
	})
}

func twoSetups(w *World) {
	main := w.Process("first")
	fd := w.Socket(main, uapi.NetlinkRoute, 1000)
	other := w.forked(main, "second")
	w.Go(main, func(t sys.Task) {
		w.changeRing(t, fd, uapi.NLMMapReq{BlockSize: 4096, BlockNr: 2, FrameSize: 2048, FrameNr: 4})
		for i := range uint32(4) {
			_, _ = sys.Sendto(t, fd, noop(i+1), dontwait, addr(0, 0))
		}
	})
	w.Go(other, func(t sys.Task) {
		w.changeRing(t, fd, uapi.NLMMapReq{BlockSize: 4096, BlockNr: 1, FrameSize: 4096, FrameNr: 1})
	})
}

func twoMappers(w *World) {
	main := w.Process("first")
	fd := w.Socket(main, uapi.NetlinkRoute, 1000)
	w.setRing(main, fd, uapi.NetlinkRxRing, ring(2, 512))
	other := w.forked(main, "second")
	w.Go(main, func(t sys.Task) {
		addr, err := t.Mmap(0, 4096, uapi.ProtRead|uapi.ProtWrite, uapi.MapShared, fd, 0)
		if err != nil {
			return
		}
		w.status(t, addr)
		w.Must(t.Munmap(addr, 4096))
	})
	w.Go(other, func(t sys.Task) { w.changeRing(t, fd, uapi.NLMMapReq{}) })
}

func forkExitMapping(w *World) {
	main := w.Process("parent")
	s := w.Open(main, uapi.NetlinkRoute, userspace.Config{RX: ring(2, 512), Portid: 1000})
	frame := s.RX.Addr(0)
	child := w.forked(main, "child")
	w.Go(main, func(t sys.Task) {
		w.Must(t.Munmap(frame, 4096))
		w.changeRing(t, s.FD(), uapi.NLMMapReq{})
	})
	w.Go(child, func(t sys.Task) {
		status := w.status(t, frame)
		w.Assert(status == unused, "a frame that nobody touched reads %d", status)
		w.Must(t.ExitGroup())
	})
}

func closeUnderDelivery(w *World) {
	main := w.Process("receiver")
	fd := w.Socket(main, uapi.NetlinkUsersock, 1000)
	w.setRing(main, fd, uapi.NetlinkRxRing, ring(2, 512))
	other := w.Process("sender")
	from := w.Socket(other, uapi.NetlinkUsersock, 2000)
	w.Go(other, func(t sys.Task) { _, _ = sys.Sendto(t, from, user(1, 8), dontwait, addr(1000, 0)) })
	w.Go(main, func(t sys.Task) { w.Must(t.Close(fd)) })
}
