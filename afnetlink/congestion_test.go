package afnetlink_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"nlmmap/kernel"
	"nlmmap/kernel/inspect"
	"nlmmap/uapi"
)

func (m *machine) poll(fd int) uint32 {
	m.t.Helper()
	fds := []kernel.PollFD{{FD: fd, Events: uapi.PollIn | uapi.PollOut}}
	_, err := m.Poll(fds, 0)
	must(m.t, err)
	return fds[0].Revents
}

// TestOverrun: a group member that does not read gets ENOBUFS once, and is congested until its queue is empty (7.6).
func TestOverrun(t *testing.T) {
	each(t, func(t *testing.T, m *machine, r kernel.Release) {
		fd := m.open(1, 1)
		m.setsock(fd, uapi.SoRcvbuf, 1) // the minimum
		cur, from := m.k.KernelTask("event"), m.nl.KernelSock(m.k.InitNet(), testProto)
		event := func() error { return m.nl.Broadcast(cur, from, newMessage(m, cur, strings.Repeat("x", 1728)), 0, 1) }
		// A message weighs 2304. What rmem is before a message decides (spec 14.4): two fit from 3.19 on, in 3.10 one.
		fit := 2
		if r == kernel.Linux3_10 {
			fit = 1
		}
		for range fit {
			must(t, event())
		}
		wantErr(t, event(), kernel.ESRCH)
		wantErr(t, event(), kernel.ESRCH)
		sk := m.sock(fd)
		if !sk.Inspect(inspect.Key{}).Congested || sk.Drops.Inspect(inspect.Key{}) != 2 || m.poll(fd)&uapi.PollErr == 0 {
			t.Errorf("congested %t, %d drops", sk.Inspect(inspect.Key{}).Congested, sk.Drops.Inspect(inspect.Key{}))
		}
		_, _, err := m.recv(fd)
		wantErr(t, err, kernel.ENOBUFS) // the error comes before the messages
		for i := range fit {
			if !sk.Inspect(inspect.Key{}).Congested {
				t.Errorf("the congestion is over with %d messages in the queue", fit-i)
			}
			_, _, err = m.recv(fd)
			must(t, err)
		}
		if sk.Inspect(inspect.Key{}).Congested || sk.Rmem.Inspect(inspect.Key{}) != 0 {
			t.Errorf("congested %t, rmem %d", sk.Inspect(inspect.Key{}).Congested, sk.Rmem.Inspect(inspect.Key{}))
		}
		must(t, event())

		// With BROADCAST_ERROR the sender learns of the loss, with NO_ENOBUFS the receiver does not.
		for range fit {
			_ = event()
		}
		must(t, m.setopt(fd, uapi.NetlinkBroadcastError, 1))
		wantErr(t, event(), kernel.ENOBUFS)
		must(t, m.setopt(fd, uapi.NetlinkNoENOBUFS, 1))
		if sk.Inspect(inspect.Key{}).Congested {
			t.Error("NO_ENOBUFS leaves the congestion")
		}
		if e := m.sockErr(fd); e != int32(kernel.ENOBUFS) {
			t.Errorf("pending error %d", e)
		}
		wantErr(t, event(), kernel.ENOBUFS)
		if sk.Inspect(inspect.Key{}).Congested || m.sockErr(fd) != 0 {
			t.Error("NO_ENOBUFS, and an error")
		}
		m.nl.SetErr(cur, from, 0, 1, int64(kernel.ENOBUFS))
		if m.sockErr(fd) != 0 {
			t.Error("NO_ENOBUFS, and ENOBUFS by netlink_set_err")
		}
		m.nl.SetErr(cur, from, 0, 1, int64(kernel.EINVAL))
		if m.sockErr(fd) != int32(kernel.EINVAL) {
			t.Error("no EINVAL by netlink_set_err")
		}
	})
}

// fill sends to portid until the sender would have to wait.
func (m *machine) fill(fd int, portid uint32) (n int) {
	m.t.Helper()
	for {
		_, err := m.Sendto(fd, make([]byte, 1728), uapi.MsgDontwait, addr(portid, 0))
		if errors.Is(err, kernel.EAGAIN) {
			return n
		}
		must(m.t, err)
		n++
	}
}

// TestUserSenderWaits: a user who sends to a full socket waits, or gets EAGAIN; the receiver hears of nothing (7.2).
func TestUserSenderWaits(t *testing.T) {
	each(t, func(t *testing.T, m *machine, r kernel.Release) {
		a, b := m.open(1, 0), m.open(2, 0)
		m.setsock(b, uapi.SoRcvbuf, 1)
		m.fill(a, 2)
		sk := m.sock(b)
		if sk.Inspect(inspect.Key{}).Congested || sk.Drops.Inspect(inspect.Key{}) != 0 || m.sockErr(b) != 0 {
			t.Error("a user's message that did not fit is an overrun")
		}
		_, err := m.Sendto(a, []byte("x"), 0, addr(2, 0))
		wantErr(t, err, kernel.ErrBlocks)
		// With a send timeout the call ends with EAGAIN.
		at := m.k.Now()
		timeout := binary.LittleEndian.AppendUint64(make([]byte, 8), 250000)
		must(t, m.Setsockopt(a, uapi.SolSocket, uapi.SoSndtimeo, timeout))
		_, err = m.Sendto(a, []byte("x"), 0, addr(2, 0))
		wantErr(t, err, kernel.EAGAIN)
		if waited := m.k.Now() - at; waited != 250*kernel.Millisecond {
			t.Errorf("waited %v", waited)
		}
		// A timer is what reads meanwhile.
		reader, err := m.Thread("reader")
		must(t, err)
		timer := kernel.Timer{Fn: func(*kernel.Task) {
			for {
				_, err := reader.Recvmsg(b, &kernel.Msghdr{Iov: []kernel.Iovec{kernel.Iov(make([]byte, 10))}}, uapi.MsgDontwait)
				if err != nil {
					return
				}
			}
		}}
		m.k.ModTimer(m.Task, &timer, 100*kernel.Millisecond)
		at = m.k.Now()
		_, err = m.Sendto(a, []byte("x"), 0, addr(2, 0))
		must(t, err)
		if waited := m.k.Now() - at; waited != 100*kernel.Millisecond {
			t.Errorf("waited %v", waited)
		}
	})
}

// TestFullRing: an answer that finds no frame is lost, and the pending error says so even with NO_ENOBUFS.
func TestFullRing(t *testing.T) {
	each(t, func(t *testing.T, m *machine, r kernel.Release) {
		fd := m.open(1, 0)
		ring := m.ring(fd, uapi.NetlinkRxRing, 2)
		must(t, m.setopt(fd, uapi.NetlinkNoENOBUFS, 1))
		for range 3 {
			_, err := m.Sendto(fd, request(50, uapi.NLMFAck), 0, addr(0, 0))
			must(t, err)
		}
		if got := fmt.Sprint(ring.states(2)); got != "[VALID VALID]" {
			t.Error(got)
		}
		if m.sock(fd).Drops.Inspect(inspect.Key{}) != 1 || m.sockErr(fd) != int32(kernel.ENOBUFS) {
			t.Errorf("%d drops", m.sock(fd).Drops.Inspect(inspect.Key{}))
		}
		h := uapi.ParseNLMsgHdr(ring.data(1))
		if h != (uapi.NLMsgHdr{Len: 36, Type: uapi.NLMsgError, Seq: 7, Pid: 1}) {
			t.Errorf("%+v", h)
		}
		// An error quotes the request; a message that fits no frame is queued, with a frame that says COPY.
		ring.set(0, uapi.NLMMapStatusUnused)
		_, err := m.Sendto(fd, request(typeFail, 0, make([]byte, 5000)...), 0, addr(0, 0))
		must(t, err)
		if ring.word(0, uapi.NMStatus) != uapi.NLMMapStatusCopy || ring.word(0, uapi.NMLen) != 5036 {
			t.Errorf("frame %v, length %d", ring.states(1), ring.word(0, uapi.NMLen))
		}
		b, _, err := m.recv(fd)
		must(t, err)
		if len(b) != 5036 || int32(binary.LittleEndian.Uint32(b[16:])) != -int32(kernel.EEXIST) {
			t.Errorf("%d bytes", len(b))
		}
	})
}

// TestSkip: a SKIP frame at head stops the ring up to 4.1; later it is passed, but not by a queued message.
func TestSkip(t *testing.T) {
	each(t, func(t *testing.T, m *machine, r kernel.Release) {
		fd := m.open(1, 0)
		ring := m.ring(fd, uapi.NetlinkRxRing, 3)
		ring.set(0, uapi.NLMMapStatusSkip)
		_, err := m.Sendto(fd, []byte("user message"), 0, addr(1, 0))
		must(t, err) // dropped, and yet a success
		if m.sock(fd).Drops.Inspect(inspect.Key{}) != 1 || m.sockErr(fd) != int32(kernel.ENOBUFS) {
			t.Error("a queued message passed the SKIP frame")
		}
		_, err = m.Sendto(fd, request(50, uapi.NLMFAck), 0, addr(0, 0))
		must(t, err)
		want := "[SKIP UNUSED UNUSED]"
		if r >= kernel.Linux4_4 {
			want = "[SKIP VALID UNUSED]"
		}
		if got := fmt.Sprint(ring.states(3)); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}

// TestPollTable has spec 5.2: what poll says of the states of a ring of 3 frames after two acknowledgements.
func TestPollTable(t *testing.T) {
	const unused, reserved, valid, copied, skip = 0, 1, 2, 3, 4
	each(t, func(t *testing.T, m *machine, r kernel.Release) {
		scans := r >= kernel.Linux4_4
		fd := m.open(1, 0)
		if m.poll(fd) != uapi.PollOut {
			t.Error("no ring, empty")
		}
		ring := m.ring(fd, uapi.NetlinkRxRing, 3)
		if m.poll(fd) != uapi.PollOut {
			t.Error("all unused")
		}
		for range 2 {
			_, err := m.Sendto(fd, request(50, uapi.NLMFAck), 0, addr(0, 0))
			must(t, err)
		}
		for _, c := range []struct {
			frames   [3]uint32
			old, now bool
		}{
			{[3]uint32{valid, valid, unused}, true, true},
			{[3]uint32{unused, skip, unused}, true, false},
			{[3]uint32{unused, reserved, unused}, true, false},
			{[3]uint32{unused, copied, unused}, true, false},
			{[3]uint32{unused, 77, unused}, true, false},
			{[3]uint32{valid, unused, unused}, false, true},
			{[3]uint32{unused, unused, valid}, false, true},
			{[3]uint32{unused, unused, unused}, false, false},
		} {
			for i, s := range c.frames {
				ring.set(i, s)
			}
			want := c.old
			if scans {
				want = c.now
			}
			if got := m.poll(fd)&uapi.PollIn != 0; got != want {
				t.Errorf("frames %v: readable %t, want %t", ring.states(3), got, want)
			}
		}
	})
}

// TestDump: a dump arrives whole, in order and once, through the queue and through rings of several sizes, whoever
// continues it.
func TestDump(t *testing.T) {
	for _, frames := range []uint32{0, 1, 2, 3, 8} {
		each(t, func(t *testing.T, m *machine, r kernel.Release) {
			fd := m.open(1, 0)
			var ring ring
			if frames > 0 {
				ring = m.ring(fd, uapi.NetlinkRxRing, frames)
			}
			if r == kernel.Linux4_1 || r == kernel.Linux4_4 {
				// The data of dump messages is shifted in frames of 4096 bytes (10.3): only queued ones can be read here.
				if frames > 0 {
					t.Skip("dump-reserve-in-frame")
				}
			}
			_, err := m.Sendto(fd, request(typeDump, uapi.NLMFDump, 200), 0, addr(0, 0))
			must(t, err)
			_, err = m.Sendto(fd, request(typeDump, uapi.NLMFDump, 200), 0, addr(0, 0))
			must(t, err)
			next, at, busy := 0, 0, 0
			for step := 0; ; step++ {
				if step > 1000 {
					t.Fatal("the dump does not end")
				}
				var b []byte
				if frames == 0 {
					b, _, err = m.recv(fd)
					if errors.Is(err, kernel.ENOBUFS) {
						continue
					}
					must(t, err)
				} else {
					m.poll(fd)
					if ring.word(at, uapi.NMStatus) != uapi.NLMMapStatusValid {
						t.Fatalf("after number %d: frames %v", next, ring.states(int(frames)))
					}
					b = ring.data(at)
					ring.set(at, uapi.NLMMapStatusUnused)
					at = (at + 1) % int(frames)
				}
				for m, err := range uapi.Messages(b) {
					must(t, err)
					switch m.Header.Type {
					case uapi.NLMsgDone:
						if next != 200 {
							t.Errorf("%d numbers", next)
						}
						// The second request got EBUSY, where there was room for it.
						if busy > 1 || frames == 0 && busy != 1 {
							t.Errorf("%d errors", busy)
						}
						return
					case uapi.NLMsgError:
						if code, _ := m.Code(); code != -int32(kernel.EBUSY) {
							t.Errorf("error %d", code)
						}
						busy++
					default:
						if int(m.Payload[0]) != next {
							t.Fatalf("number %d, want %d", m.Payload[0], next)
						}
						next++
					}
				}
			}
		})
	}
}

// TestTxRing: frames are sent in order by one call, and come back UNUSED; a length that does not fit stops it.
func TestTxRing(t *testing.T) {
	each(t, func(t *testing.T, m *machine, r kernel.Release) {
		a, b := m.open(1, 0), m.open(2, 0)
		tx := m.ring(a, uapi.NetlinkTxRing, 3)
		kick := func() (int, error) {
			return m.Sendmsg(a, &kernel.Msghdr{Name: addr(2, 0), Iov: []kernel.Iovec{{}}}, 0)
		}
		tx.fill(0, []byte("one"))
		tx.fill(1, []byte("second"))
		n, err := kick()
		if r == kernel.Linux4_1 {
			// tx-path-dead: an empty message is sent.
			if got, _, e := m.recv(b); n != 0 || err != nil || len(got) != 0 || e != nil || tx.word(0, 0) != uapi.NLMMapStatusValid {
				t.Errorf("%d %v, received %q %v", n, err, got, e)
			}
			return
		}
		if n != 9 || err != nil {
			t.Errorf("%d %v", n, err)
		}
		for _, want := range []string{"one", "second"} {
			if got, _, err := m.recv(b); string(got) != want || err != nil {
				t.Errorf("%q %v", got, err)
			}
		}
		tx.fill(2, []byte("x"))
		must(t, m.Store32(tx.addr+2*4096+uapi.NMLen, 4073))
		_, err = kick()
		wantErr(t, err, kernel.EINVAL)
		if got := fmt.Sprint(tx.states(3)); got != "[UNUSED UNUSED VALID]" {
			t.Error(got)
		}
		if n, err := m.Sendto(a, []byte("beside"), 0, addr(2, 0)); n != 6 || err != nil {
			t.Errorf("a send with a buffer: %d %v", n, err)
		}
	})
}

// TestCloseWhileMapped: the socket lives until the last mapping goes, keeps its name and receives.
func TestCloseWhileMapped(t *testing.T) {
	each(t, func(t *testing.T, m *machine, r kernel.Release) {
		a, b := m.open(1, 1), m.open(2, 0)
		ring := m.ring(a, uapi.NetlinkRxRing, 4)
		wantErr(t, m.Setsockopt(a, uapi.SolNetlink, uapi.NetlinkRxRing, uapi.NLMMapReq{}.Bytes()), kernel.EBUSY)
		must(t, m.Close(a))
		c := m.open(0, 0)
		wantErr(t, m.Bind(c, addr(1, 0)), kernel.EADDRINUSE)
		_, err := m.Sendto(b, []byte("x"), 0, addr(1, 0))
		must(t, err)
		cur := m.k.KernelTask("event")
		must(t, m.nl.Broadcast(cur, m.nl.KernelSock(m.k.InitNet(), testProto), newMessage(m, cur, "event"), 0, 1))
		if got := fmt.Sprint(ring.states(3)); got != "[COPY COPY UNUSED]" {
			t.Error(got)
		}
		must(t, m.Munmap(ring.addr, 4*4096))
		_, err = m.Sendto(b, []byte("x"), 0, addr(1, 0))
		wantErr(t, err, kernel.ECONNREFUSED)
		must(t, m.Close(c))
		m.open(1, 0)
	})
}

// TestFreeBlockedSenders: in parallel, senders that wait for a full receiver go on when it reads and get ECONNREFUSED
// when it closes.
func TestFreeBlockedSenders(t *testing.T) {
	for range 5 {
		m := boot(t, kernel.Config{Mode: kernel.Free, Version: kernel.Version{Release: kernel.Linux4_4}})
		b := m.open(2, 0)
		m.setsock(b, uapi.SoRcvbuf, 1)
		const senders, each = 3, 30
		var wg sync.WaitGroup
		var mu sync.Mutex
		sent, refused := 0, 0
		for i := range senders {
			p := &machine{m.k.NewProcess(fmt.Sprint("sender", i), m.k.InitNet()), m.k, m.nl, t}
			a := p.open(uint32(10+i), 0)
			wg.Go(func() {
				for range each {
					_, err := p.Sendto(a, make([]byte, 1728), 0, addr(2, 0))
					mu.Lock()
					if errors.Is(err, kernel.ECONNREFUSED) {
						refused++
					} else if err == nil {
						sent++
					} else {
						t.Error(err)
					}
					mu.Unlock()
				}
			})
		}
		buf := make([]byte, 2000)
		for range 40 {
			if _, err := m.Recvmsg(b, &kernel.Msghdr{Iov: []kernel.Iovec{kernel.Iov(buf)}}, 0); err != nil {
				t.Error(err)
			}
		}
		// Others are full or about to be: the close must wake them.
		must(t, m.Close(b))
		wg.Wait()
		if sent < 40 || sent > 43+senders || sent+refused != senders*each {
			t.Errorf("%d sent and %d refused", sent, refused)
		}
	}
}

// TestFreeClose closes, unmaps and clears a socket while others send to it, dump on it and poll it: nothing may leak or
// warn, whenever it happens.
func TestFreeClose(t *testing.T) {
	for i := range 40 {
		r := kernel.Releases()[i%5]
		m := boot(t, kernel.Config{Mode: kernel.Free, Version: kernel.Version{Release: r}})
		fd := m.open(1, 1)
		if i%2 == 0 {
			m.ring(fd, uapi.NetlinkRxRing, 4)
		}
		var wg sync.WaitGroup
		poller, err := m.Thread("poller")
		must(t, err)
		wg.Go(func() {
			for {
				fds := []kernel.PollFD{{FD: fd, Events: uapi.PollIn}}
				if _, err := poller.Poll(fds, kernel.Millisecond); err != nil || fds[0].Revents&uapi.PollNval != 0 {
					return
				}
				if _, err := poller.Recvmsg(fd, &kernel.Msghdr{Iov: []kernel.Iovec{kernel.Iov(make([]byte, 8192))}}, uapi.MsgDontwait); errors.Is(err, kernel.EBADF) {
					return
				}
			}
		})
		dumper, err := m.Thread("dumper")
		must(t, err)
		wg.Go(func() {
			for range 10 {
				_, _ = dumper.Sendto(fd, request(typeDump, uapi.NLMFDump, 150), uapi.MsgDontwait, addr(0, 0))
			}
		})
		sender := m.k.NewProcess("sender", m.k.InitNet())
		wg.Go(func() {
			a, _ := sender.Socket(uapi.AFNetlink, uapi.SockRaw, testProto)
			for range 20 {
				_, _ = sender.Sendto(a, []byte("hello"), uapi.MsgDontwait, addr(1, 0))
				_, _ = sender.Sendto(a, []byte("group"), uapi.MsgDontwait, addr(0, 1))
			}
		})
		must(t, m.Close(fd))
		wg.Wait()
	}
}

// TestFiltersOfMembers: a message of the kernel is cut by the first member's filter for all members after it, and a
// member that could not take its copy leaves it, cut, to the next (do_one_broadcast).
func TestFiltersOfMembers(t *testing.T) {
	each(t, func(t *testing.T, m *machine, _ kernel.Release) {
		filter := func(fd int, n uint32) {
			prog := binary.LittleEndian.AppendUint32([]byte{6, 0, 0, 0}, n) // ret #n
			must(t, m.Setsockopt(fd, uapi.SolSocket, uapi.SoAttachFilter, prog))
		}
		want := func(fd, n int) {
			t.Helper()
			if b, _, err := m.recv(fd); len(b) != n || err != nil {
				t.Errorf("%d bytes, %v, want %d", len(b), err, n)
			}
		}
		last, first := m.open(2, 1), m.open(1, 1) // the latest subscriber comes first
		filter(first, 20)
		cur, from := m.k.KernelTask("event"), m.nl.KernelSock(m.k.InitNet(), testProto)
		event := func() error { return m.nl.Broadcast(cur, from, newMessage(m, cur, strings.Repeat("x", 64)), 0, 1) }
		must(t, event())
		want(first, 20)
		want(last, 20)
		filter(first, 0)
		must(t, event())
		want(last, 64)

		filter(first, 20)
		m.setsock(first, uapi.SoRcvbuf, 1)
		sender := m.open(3, 0)
		sent := 0
		for ; m.sock(first).Drops.Inspect(inspect.Key{}) == 0; sent++ {
			_, _ = m.Sendto(sender, request(99, 0, make([]byte, 100)...), uapi.MsgDontwait, addr(0, 1))
		}
		for range sent - 1 {
			want(last, 116)
		}
		want(last, 20)
	})
}
