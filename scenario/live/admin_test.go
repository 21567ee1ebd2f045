//go:build linux && amd64

package live

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"nlmmap/scenario"
	"nlmmap/sys"
	"nlmmap/uapi"
)

// dump returns the message types that a dump request brings, without the final one.
func dump(t *testing.T, task sys.Task, typ uint16, payload []byte) map[uint16]int {
	t.Helper()
	fd := routeSocket(t, task, 0, 0)
	req := uapi.AppendMessage(nil, uapi.NLMsgHdr{Type: typ, Flags: uapi.NLMFRequest | uapi.NLMFDump, Seq: 1}, payload)
	_, err := send(task, fd, toKernel, 0, req)
	check(t, err)
	seen := map[uint16]int{}
	for {
		r, err := receive(task, fd, 32768, uapi.MsgDontwait)
		check(t, err)
		for m, err := range uapi.Messages(r.Data) {
			check(t, err)
			if m.Header.Type == uapi.NLMsgDone {
				check(t, task.Close(fd))
				return seen
			}
			seen[m.Header.Type]++
		}
	}
}

// TestLowerLoopback: what a packet needs of lo is undone in a namespace that stays.
func TestLowerLoopback(t *testing.T) {
	tg := newTarget(t)
	ipv4 := []byte{uapi.AFInet, 0, 0, 0}
	count := func() (addresses, routes int) {
		return dump(t, tg.Main(), uapi.RTMGetaddr, ipv4)[uapi.RTMNewaddr], dump(t, tg.Main(), uapi.RTMGetroute, ipv4)[uapi.RTMNewroute]
	}
	if _, _, err := tg.Packet(scenario.Datagrams{Count: 1, Size: 1}); err != nil {
		t.Fatal(err)
	}
	if addresses, routes := count(); addresses != 1 || routes == 0 || !tg.adm.raised {
		t.Errorf("%d addresses, %d routes, raised %v", addresses, routes, tg.adm.raised)
	}
	for range 2 { // the second time nothing is left to undo
		check(t, tg.tr.do(tg.adm.lowerLoopback))
		if addresses, routes := count(); addresses != 0 || routes != 0 {
			t.Errorf("%d addresses, %d routes are left", addresses, routes)
		}
	}
}

func TestPopulate(t *testing.T) {
	tg := newTarget(t)
	listener := routeSocket(t, tg.Main(), 1000, 1)
	err := tg.PopulateNeigh(100)
	if errors.Is(err, unix.EOPNOTSUPP) {
		t.Logf("%v: using a bridge", err)
		tg.adm.kind = "bridge"
		err = tg.PopulateNeigh(100)
	}
	if errors.Is(err, unix.EOPNOTSUPP) {
		t.Skip(err)
	}
	check(t, err)
	if r, err := receive(tg.Main(), listener, 8192, uapi.MsgDontwait); err != nil ||
		uapi.ParseNLMsgHdr(r.Data).Type != uapi.RTMNewlink {
		t.Errorf("no notification of the device: %v", err)
	}
	check(t, tg.PopulateNeigh(200))
	check(t, tg.PopulateRoute(300))
	family := make([]byte, 12)
	family[0] = uapi.AFInet
	// A dump may show an entry twice when the kernel's hash table grows meanwhile.
	if n := dump(t, tg.Main(), uapi.RTMGetneigh, family)[uapi.RTMNewneigh]; n < 300 {
		t.Errorf("%d neighbours", n)
	}
	if n := dump(t, tg.Main(), uapi.RTMGetroute, family)[uapi.RTMNewroute]; n != 300 {
		t.Errorf("%d routes", n)
	}
	if n := dump(t, tg.Main(), uapi.RTMGetaddr, family)[uapi.RTMNewaddr]; n != 0 {
		t.Errorf("%d addresses in an empty namespace", n)
	}
}

// config sends one nfnetlink request and wants it acknowledged without error.
func config(t *testing.T, task sys.Task, fd int, typ uint16, resID byte, attrs ...[]byte) {
	t.Helper()
	req := message(typ, 0, []byte{0, 0, 0, resID}, attrs...)
	_, err := send(task, fd, toKernel, 0, req)
	check(t, err)
	r, err := receive(task, fd, 8192, uapi.MsgDontwait)
	check(t, err)
	if e := int32(le.Uint32(r.Data[uapi.NLMsgHdrlen:])); e != 0 {
		t.Fatalf("request %#x: %v", typ, unix.Errno(-e))
	}
}

func netfilterSocket(t *testing.T, task sys.Task) int {
	t.Helper()
	fd, err := task.Socket(uapi.AFNetlink, uapi.SockRaw, uapi.NetlinkNetfilter)
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		t.Skip(err)
	}
	check(t, err)
	check(t, task.Bind(fd, uapi.SockaddrNL{Family: uapi.AFNetlink, Pid: 1000}.Bytes()))
	return fd
}

// needRules skips the test if the kernel has no iptables.
func needRules(t *testing.T, err error) {
	t.Helper()
	for _, missing := range []error{unix.ENOPROTOOPT, unix.ENOENT, unix.EPROTONOSUPPORT} {
		if errors.Is(err, missing) {
			t.Skip(err)
		}
	}
	check(t, err)
}

func TestQueueRule(t *testing.T) {
	tg := newTarget(t)
	main := tg.Main()
	needRules(t, tg.NFQueueRule(3, false))
	fd := netfilterSocket(t, main)
	config(t, main, fd, uapi.NFQNLMsgConfig, 3, attr(1, []byte{1, 0, 0, 2}))          // bind
	config(t, main, fd, uapi.NFQNLMsgConfig, 3, attr(2, []byte{0, 0, 0xff, 0xff, 2})) // copy packets
	sent, failed, err := tg.Packet(scenario.Datagrams{Count: 2, Size: 100})
	if sent != 2 || failed != 0 || err != nil {
		t.Errorf("sent %d, failed %d, %v", sent, failed, err)
	}
	for range 2 {
		r, err := receive(main, fd, 8192, uapi.MsgDontwait)
		check(t, err)
		if h := uapi.ParseNLMsgHdr(r.Data); h.Type != uapi.NFQNLMsgPacket || h.Len < 128 {
			t.Errorf("received %+v", h)
		}
	}
	check(t, tg.FlushRules())
	_, _, err = tg.Packet(scenario.Datagrams{Count: 1, Size: 100})
	check(t, err)
	_, err = receive(main, fd, 8192, uapi.MsgDontwait)
	wantErr(t, err, unix.EAGAIN)

	// Nobody listens to queue 4: packets are dropped, or pass.
	receiver, err := main.Socket(uapi.AFInet, uapi.SockDgram, 0)
	check(t, err)
	check(t, main.Bind(receiver, []byte{uapi.AFInet, 0, 0, 9, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}))
	check(t, tg.NFQueueRule(4, false))
	_, _, err = tg.Packet(scenario.Datagrams{Count: 1, Size: 10})
	check(t, err)
	_, err = receive(main, receiver, 100, uapi.MsgDontwait)
	wantErr(t, err, unix.EAGAIN)
	check(t, tg.FlushRules())
	check(t, tg.NFQueueRule(4, true))
	_, _, err = tg.Packet(scenario.Datagrams{Count: 1, Size: 10})
	check(t, err)
	r, err := receive(main, receiver, 100, uapi.MsgDontwait)
	check(t, err)
	if r.N != 10 {
		t.Errorf("received %d bytes", r.N)
	}
}

func TestLogRule(t *testing.T) {
	tg := newTarget(t)
	main := tg.Main()
	needRules(t, tg.NFLogRule(1, 2, ""))
	fd := netfilterSocket(t, main)
	config(t, main, fd, uapi.NFULNLMsgConfig, 1, attr(1, []byte{1}))
	config(t, main, fd, uapi.NFULNLMsgConfig, 1, attr(2, []byte{0, 0, 0, 0, 2, 0}))
	if sent, _, err := tg.Packet(scenario.Datagrams{Count: 4, Size: 100}); sent != 4 || err != nil {
		t.Errorf("sent %d, %v", sent, err)
	}
	for range 2 {
		r, err := receive(main, fd, 8192, uapi.MsgDontwait)
		check(t, err)
		h := uapi.ParseNLMsgHdr(r.Data)
		if h.Type != uapi.NFULNLMsgPacket || len(r.Data) < 2*int(h.Len) {
			t.Errorf("received %d bytes, %+v", r.N, h)
		}
		t.Logf("%d bytes: two packets and the end", r.N)
	}
}

// TestForeignRules makes sure that rules of somebody else are not thrown away.
func TestForeignRules(t *testing.T) {
	tg := newTarget(t)
	needRules(t, tg.NFLogRule(1, 1, ""))
	tg.adm.rules = nil // as if another program had added it
	if err := tg.FlushRules(); err == nil {
		t.Error("replaced a table with foreign rules")
	}
}

func TestTap(t *testing.T) {
	tg := newTarget(t)
	tap, err := tg.Tap()
	if errors.Is(err, unix.EOPNOTSUPP) {
		t.Skip(err)
	}
	check(t, err)
	main := tg.Main()
	fd := routeSocket(t, main, 1000, 0)
	_, err = send(main, fd, toKernel, 0, noop(1))
	check(t, err)
	for _, want := range []int{16, 36} {
		p, ok, err := tap.Read()
		check(t, err)
		if !ok || p.Len != want || len(p.Data) != want || p.Protocol != uapi.NetlinkRoute {
			t.Errorf("tap read %+v, %v; want %d bytes", p, ok, want)
		}
	}
	_, ok, err := tap.Read()
	if ok || err != nil {
		t.Errorf("tap has more: %v", err)
	}
}
