package explore

import (
	"errors"

	"nlmmap/sys"
	"nlmmap/uapi"
)

// bufferPrograms are about sockets without rings: their names, their receive buffers, and those who wait for them.
func bufferPrograms() []Program {
	return []Program{
		{"blocked-sender", "A sender waits for room in a receive buffer that the reader empties.", blockedSender},
		{"blocked-sender-close", "A sender waits for room in the receive buffer of a socket that is closed.", blockedSenderClose},
		{"two-receivers", "Two processes receive from one socket that got one message of each of two senders.", twoReceivers},
		{"two-binds", "Two threads give one socket a portid.", twoBinds},
		{"blocked-receiver", "A process waits in recvmsg for a message that another one sends.", blockedReceiver},
	}
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

func blockedSender(w *World) {
	receiver, fd, sender, from := fullBuffer(w)
	w.Go(sender, func(t sys.Task) {
		_, err := sys.Sendto(t, from, user(99, 4), 0, addr(1000, 0))
		w.Must(err)
	})
	w.Go(receiver, func(t sys.Task) {
		for n := uint32(0); n != 99; {
			var err error
			n, err = receive(t, fd, 0)
			w.Must(err)
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
