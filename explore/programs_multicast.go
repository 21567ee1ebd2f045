package explore

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"nlmmap/sys"
	"nlmmap/uapi"
	"nlmmap/userspace"
)

// multicastPrograms send to groups, to filters and to readers that are too slow.
func multicastPrograms() []Program {
	return []Program{
		{"multicast", "A message to a group: one member has a ring, another a queue.", multicast},
		{"multicast-join", "A process joins a group and leaves it again while a message is sent there.", multicastJoin},
		{"multicast-close", "A member of a group closes its socket while a message is sent there.", multicastClose},
		{"congestion", "A group sends faster than a member reads: it is told, reads all, and gets what comes then.", congestion},
		{"filter-change", "A socket filter is set that rejects all, while a message comes.", filterChange},
		{"header-words", "A reader looks at every word of the headers of what the kernel and a user sent it.", headerWords},
		{"counters", "Two senders fill a small ring; at the end nothing is charged, and the losses that /proc shows are those that the reader missed.", counters},
		{"writer-and-reader", "A process sends three messages through a TX ring of two frames to another, with the library.", writerAndReader},
		{"keeping-reader", "The library's reader keeps a frame and gives it back later, while messages come.", keepingReader},
	}
}

// members opens two sockets of group 1: with a ring, and without.
func (w *World) members() (withRing *userspace.Socket, queued int, member sys.Task) {
	withRing = w.Open(w.Process("reader"), uapi.NetlinkUsersock, userspace.Config{RX: ring(2, 1024), Portid: 1000, Groups: 1})
	member = w.Process("member")
	queued = w.Socket(member, uapi.NetlinkUsersock, 1001)
	w.join(member, queued)
	return withRing, queued, member
}

func (w *World) join(t sys.Task, fd int) {
	w.Must(t.Setsockopt(fd, uapi.SolNetlink, uapi.NetlinkAddMembership, []byte{1, 0, 0, 0}))
}

// broadcast sends to group 1. Who is no member or has no room does not matter to the sender.
func (w *World) broadcast(t sys.Task, fd int, n uint32) {
	w.sendGroup(t, fd, user(n, 8))
}

func (w *World) sendGroup(t sys.Task, fd int, msg []byte) {
	_, err := sys.Sendto(t, fd, msg, dontwait, addr(0, 1))
	if !errors.Is(err, sys.ECONNREFUSED) && !errors.Is(err, sys.ESRCH) && !errors.Is(err, sys.ENOBUFS) {
		w.Must(err)
	}
}

func (w *World) sender() (t sys.Task, fd int) {
	t = w.Process("sender")
	return t, w.Socket(t, uapi.NetlinkUsersock, 2000)
}

func multicast(w *World) {
	s, queued, member := w.members()
	sender, from := w.sender()
	w.Go(sender, func(t sys.Task) { w.broadcast(t, from, 7) })
	w.Go(s.Task(), func(sys.Task) { w.Assert(seq(w.next(s.RX)) == 7, "the member with a ring gets another message") })
	w.Go(member, func(t sys.Task) {
		n, err := receive(t, queued, 0)
		w.Must(err)
		w.Assert(n == 7, "the member without a ring gets message %d", n)
	})
}

func multicastJoin(w *World) {
	s, queued, member := w.members()
	sender, from := w.sender()
	w.Go(sender, func(t sys.Task) { w.broadcast(t, from, 7) })
	w.Go(member, func(t sys.Task) {
		w.Must(t.Setsockopt(queued, uapi.SolNetlink, uapi.NetlinkDropMembership, []byte{1, 0, 0, 0}))
		w.join(t, queued)
	})
	w.Finally(func() {
		w.Assert(seq(w.next(s.RX)) == 7, "who stays a member gets another message")
		got := 0
		for _, err := receive(member, queued, dontwait); err == nil; _, err = receive(member, queued, dontwait) {
			got++
		}
		w.Assert(got < 2, "one message comes %d times", got)
	})
}

func multicastClose(w *World) {
	s, queued, member := w.members()
	sender, from := w.sender()
	w.Go(sender, func(t sys.Task) { w.broadcast(t, from, 7) })
	w.Go(member, func(t sys.Task) { w.Must(t.Close(queued)) })
	w.Finally(func() { w.Assert(seq(w.next(s.RX)) == 7, "who stays a member gets another message") })
}

func congestion(w *World) {
	member := w.Process("member")
	fd := w.Socket(member, uapi.NetlinkUsersock, 1000)
	w.join(member, fd)
	w.Must(member.Setsockopt(fd, uapi.SolSocket, uapi.SoRcvbuf, make([]byte, 4)))
	sender, from := w.sender()
	const messages = 4 // the buffer has room for one or two
	w.Go(sender, func(t sys.Task) {
		for i := range uint32(messages) {
			w.broadcast(t, from, i+1)
		}
	})
	read, told := 0, 0
	drain := func(t sys.Task) {
		for {
			switch _, err := receive(t, fd, dontwait); {
			case errors.Is(err, sys.EAGAIN):
				return
			case errors.Is(err, sys.ENOBUFS):
				told++
			default:
				w.Must(err)
				read++
			}
		}
	}
	w.Go(member, drain)
	w.Finally(func() {
		drain(member)
		if lost := messages - read; lost > 0 != (told > 0) {
			w.Violate("no-silent-loss", "%d of %d messages were lost, and the reader was told %d times", lost, messages, told)
		}
		w.broadcast(sender, from, 9)
		if n, err := receive(member, fd, dontwait); err != nil || n != 9 {
			w.Violate("no-silent-loss", "a reader that has caught up does not get the next message: %d, %v", n, err)
		}
	})
}

func filterChange(w *World) {
	main := w.Process("reader")
	fd := w.Socket(main, uapi.NetlinkUsersock, 1000)
	sender, from := w.sender()
	reject := make([]byte, 8)
	reject[0] = 6 // return 0
	w.Go(sender, func(t sys.Task) {
		w.send(t, from, user(1, 4), addr(1000, 0))
		w.send(t, from, user(2, 4), addr(1000, 0))
	})
	w.Go(main, func(t sys.Task) {
		w.Must(t.Setsockopt(fd, uapi.SolSocket, uapi.SoAttachFilter, reject))
		w.Must(t.Setsockopt(fd, uapi.SolSocket, uapi.SoDetachFilter, make([]byte, 4)))
	})
	w.Finally(func() {
		last := uint32(0)
		for n, err := receive(main, fd, dontwait); err == nil; n, err = receive(main, fd, dontwait) {
			if n <= last {
				w.Violate("order", "message %d comes after message %d", n, last)
			}
			last = n
		}
		w.send(sender, from, user(3, 4), addr(1000, 0))
		n, err := receive(main, fd, dontwait)
		w.Assert(err == nil && n == 3, "without a filter a message is %d, %v", n, err)
	})
}

// sent is a message frame as a reader sees it.
type sent struct {
	sender userspace.Sender
	data   []byte
}

// nextFrame waits for a frame and returns all of it.
func (w *World) nextFrame(r *userspace.Reader) (m sent) {
	for {
		for f := range r.Frames() {
			var err error
			m.sender, err = f.Sender()
			w.Must(err)
			m.data, err = f.Bytes()
			w.Must(err)
			return m
		}
		w.Must(r.Err())
		w.Must(r.Wait(-1))
	}
}

func headerWords(w *World) {
	main := w.Process("reader")
	s := w.Open(main, uapi.NetlinkUsersock, userspace.Config{RX: ring(2, 1024), Portid: 1000, Groups: 1})
	sender := w.Process("sender")
	from := w.Socket(sender, uapi.NetlinkUsersock, 2000)
	pid := uint32(sender.Tgid())
	direct, group := request(100, 0, 1, []byte("to one of us")...), request(100, 0, 2, []byte("to us all")...)
	w.Go(sender, func(t sys.Task) {
		w.send(t, from, direct, addr(1000, 0))
		w.sendGroup(t, from, group)
	})
	w.Go(main, func(sys.Task) {
		for i, want := range []sent{{userspace.Sender{Pid: pid}, direct}, {userspace.Sender{Pid: pid, Group: 1}, group}} {
			got := w.nextFrame(s.RX)
			if got.sender != want.sender || !bytes.Equal(got.data, want.data) {
				w.Violate("publication", "message %d came as %+v %q, sent was %+v %q", i+1, got.sender, got.data, want.sender, want.data)
			}
		}
	})
}

// netlinkProc is what /proc/net/netlink shows of a socket: the bytes that are charged to it and its losses.
func (w *World) netlinkProc(t sys.Task, portid uint32) (rmem, drops string) {
	text, err := modelled(t).ReadProc("/proc/net/netlink")
	w.Must(err)
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 8 && f[2] == fmt.Sprint(portid) {
			return f[4], f[8]
		}
	}
	return "", ""
}

func counters(w *World) {
	main := w.Process("reader")
	s := w.Open(main, uapi.NetlinkRoute, userspace.Config{RX: ring(1, 512), Portid: 1000})
	for i, name := range []string{"sender1", "sender2"} {
		w.Go(w.forked(main, name), func(t sys.Task) { w.send(t, s.FD(), noop(uint32(i+1)), addr(0, 0)) })
	}
	read := 0
	w.Finally(func() {
		for _, ok := w.take(s.RX); ok; _, ok = w.take(s.RX) {
			read++
		}
		rmem, drops := w.netlinkProc(main, 1000)
		if rmem != "0" {
			w.Violate("accounting", "/proc shows %s bytes charged to a socket with nothing in its queue", rmem)
		}
		if drops != fmt.Sprint(2-read) {
			w.Violate("no-silent-loss", "%d of 2 answers were read, and /proc shows %s losses", read, drops)
		}
	})
}

func writerAndReader(w *World) {
	const messages = 3
	main := w.Process("sender")
	s := w.Open(main, uapi.NetlinkUsersock, userspace.Config{TX: ring(2, 512), Portid: 2000})
	reader := w.Process("reader")
	r := w.Open(reader, uapi.NetlinkUsersock, userspace.Config{RX: ring(4, 1024), Portid: 1000})
	to := &uapi.SockaddrNL{Pid: 1000}
	ignored := false
	w.Go(main, func(sys.Task) {
		for i := range uint32(messages) {
			if err := s.TX.Send(user(i+1, 4), to); errors.Is(err, userspace.ErrIgnored) {
				ignored = true // 4.1 does not look at TX rings
				return
			} else {
				w.Must(err)
			}
		}
		if _, err := s.TX.Kick(to); errors.Is(err, userspace.ErrIgnored) {
			ignored = true
		} else {
			w.Must(err)
		}
	})
	w.Finally(func() {
		if ignored {
			return
		}
		last := uint32(0)
		for msg, ok := w.take(r.RX); ok; msg, ok = w.take(r.RX) {
			if last++; seq(msg) != last {
				w.Violate("tx-once", "message %d comes as number %d", seq(msg), last)
			}
		}
		if last != messages {
			w.Violate("tx-once", "%d messages were sent, %d came", messages, last)
		}
	})
}

func keepingReader(w *World) {
	main := w.Process("reader")
	s := w.Open(main, uapi.NetlinkRoute, userspace.Config{RX: ring(3, 1024), Portid: 1000})
	sender := w.forked(main, "sender")
	w.send(main, s.FD(), noop(1), addr(0, 0))
	w.Go(sender, func(t sys.Task) { w.send(t, s.FD(), noop(2), addr(0, 0)) })
	w.Go(main, func(sys.Task) {
		var kept userspace.Frame
		for f := range s.RX.Frames() {
			w.Must(f.Skip())
			kept = f
			break
		}
		w.Assert(seq(w.next(s.RX)) == 2, "the second message is another")
		msg, err := kept.Bytes()
		w.Must(err)
		w.Assert(seq(msg) == 1, "the frame that was kept has message %d", seq(msg))
		w.Must(kept.Release())
	})
}
