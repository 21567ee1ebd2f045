package afnetlink_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/kernel/inspect"
	"nlmmap/uapi"
)

func (m *machine) name(fd int) uapi.SockaddrNL {
	m.t.Helper()
	b, err := m.Getsockname(fd)
	must(m.t, err)
	return uapi.ParseSockaddrNL(b)
}

func TestSocket(t *testing.T) {
	m := boot(t, kernel.Config{})
	for _, c := range []struct {
		typ, proto int
		want       error
	}{{uapi.SockStream, 99, kernel.ESOCKTNOSUPPORT}, {uapi.SockRaw, 99, kernel.EPROTONOSUPPORT}, {uapi.SockRaw, -1, kernel.EPROTONOSUPPORT},
		{uapi.SockDgram, uapi.NetlinkRoute, kernel.EPROTONOSUPPORT}} {
		_, err := m.Socket(uapi.AFNetlink, c.typ, c.proto)
		wantErr(t, err, c.want)
	}
	if _, err := m.Socket(uapi.AFNetlink, uapi.SockDgram, testProto); err != nil {
		t.Error(err)
	}
}

// TestBind: who gets which portid, and what is left of a bind that failed.
func TestBind(t *testing.T) {
	each(t, func(t *testing.T, m *machine, r kernel.Release) {
		a := m.open(1000, 0)
		wantErr(t, m.Bind(a, addr(0, 0)), kernel.EINVAL)
		wantErr(t, m.Bind(a, addr(1001, 0)), kernel.EINVAL)
		wantErr(t, m.Bind(a, addr(1000, 0)[:11]), kernel.EINVAL)
		wantErr(t, m.Bind(a, uapi.SockaddrNL{Family: uapi.AFInet, Pid: 1000}.Bytes()), kernel.EINVAL)
		must(t, m.Bind(a, addr(1000, 0x80000001)))
		if n := m.name(a); n.Pid != 1000 || n.Groups != 0x80000001 {
			t.Errorf("%+v", n)
		}

		b := m.open(0, 0)
		wantErr(t, m.Bind(b, addr(1000, 0)), kernel.EADDRINUSE)
		refused := uint32(0)
		if r >= kernel.Linux4_1 {
			refused = 1000 // bind-failed-portid
		}
		if n := m.name(b); n.Pid != refused {
			t.Errorf("after EADDRINUSE the portid is %d, want %d", n.Pid, refused)
		}
		must(t, m.Bind(b, addr(2000, 0)))
		if n := m.name(b); n.Pid != 2000 {
			t.Errorf("the portid is %d, want 2000", n.Pid)
		}

		// Another protocol and another namespace have names of their own.
		m.openProto(uapi.NetlinkUsersock, 1000, 0)
		other := &machine{m.k.NewProcess("other", m.k.NewNet()), m.k, m.nl, t}
		other.open(1000, 0)
	})
}

// TestAutobind: the process id, then negative numbers.
func TestAutobind(t *testing.T) {
	each(t, func(t *testing.T, m *machine, r kernel.Release) {
		var got []int32
		for range 3 {
			fd := m.open(0, 0)
			must(t, m.Bind(fd, addr(0, 0)))
			got = append(got, int32(m.name(fd).Pid))
		}
		if got[0] != int32(m.Tgid()) {
			t.Errorf("the first is %d, want the process id", got[0])
		}
		switch {
		case r <= kernel.Linux4_1:
			if got[1] != -4097 || got[2] != -4098 {
				t.Errorf("%d, want -4097 and -4098", got[1:])
			}
		default:
			if got[1] > -4097 || got[2] > -4097 || got[1] == got[2] {
				t.Errorf("%d, want numbers up to -4097", got[1:])
			}
		}
		// Sending binds too, connecting too.
		a, b := m.open(0, 0), m.open(0, 0)
		_, err := m.Sendto(a, request(50, 0), 0, nil)
		must(t, err)
		must(t, m.Connect(b, addr(0, 0)))
		if m.name(a).Pid == 0 || m.name(b).Pid == 0 {
			t.Error("not bound")
		}
	})
}

// TestConnect: a connected socket hears only its peer, and sends there without an address.
func TestConnect(t *testing.T) {
	each(t, func(t *testing.T, m *machine, r kernel.Release) {
		a, b, c := m.open(1, 0), m.open(2, 0), m.open(3, 0)
		must(t, m.Connect(a, addr(2, 0)))
		peer, err := m.Getpeername(a)
		must(t, err)
		if p := uapi.ParseSockaddrNL(peer); p.Pid != 2 {
			t.Errorf("peer %+v", p)
		}
		_, err = m.Sendto(c, []byte("x"), uapi.MsgDontwait, addr(1, 0))
		wantErr(t, err, kernel.ECONNREFUSED)
		_, err = m.Sendto(b, []byte("from b"), 0, addr(1, 0))
		must(t, err)
		if got, h, err := m.recv(a); string(got) != "from b" || err != nil || uapi.ParseSockaddrNL(h.Name).Pid != 2 {
			t.Errorf("%q %v", got, err)
		}
		_, err = m.Sendto(a, []byte("back"), 0, nil)
		must(t, err)
		if got, _, _ := m.recv(b); string(got) != "back" {
			t.Errorf("%q", got)
		}
		// Also the kernel is refused: the request is processed and its acknowledgement lost.
		_, err = m.Sendto(a, request(50, uapi.NLMFAck), 0, addr(0, 0))
		must(t, err)
		if _, _, err := m.recv(a); err != error(kernel.EAGAIN) {
			t.Errorf("an acknowledgement came: %v", err)
		}
		must(t, m.Connect(a, make([]byte, 2))) // family 0 disconnects
		_, err = m.Sendto(c, []byte("x"), 0, addr(1, 0))
		must(t, err)
		wantErr(t, m.Connect(a, []byte{0}), kernel.EINVAL)
		wantErr(t, m.Connect(a, []byte{9, 0}), kernel.EINVAL)
		_, err = m.Sendto(c, []byte("x"), 0, addr(77, 0))
		wantErr(t, err, kernel.ECONNREFUSED)
	})
}

// TestPermissions: who may join groups and send to others without CAP_NET_ADMIN (15.4, 15.5).
func TestPermissions(t *testing.T) {
	each(t, func(t *testing.T, m *machine, r kernel.Release) {
		m.nl.KernelCreate(uapi.NetlinkNetfilter, afnetlink.KernelCfg{Input: input})
		must(t, m.SetCapability(uapi.CapNetAdmin, false))
		fd := m.openProto(uapi.NetlinkNetfilter, 5, 0)
		wantErr(t, m.Bind(fd, addr(5, 1)), kernel.EPERM)
		wantErr(t, m.setopt(fd, uapi.NetlinkAddMembership, 1), kernel.EPERM)
		wantErr(t, m.Connect(fd, addr(0, 1)), kernel.EPERM)
		err := m.Connect(fd, addr(9, 0))
		if r == kernel.Linux3_10 {
			must(t, err)
		} else {
			wantErr(t, err, kernel.EPERM)
		}
		_, err = m.Sendto(fd, nil, 0, addr(9, 0))
		wantErr(t, err, kernel.EPERM)
		_, err = m.Sendto(fd, nil, 0, addr(0, 1))
		wantErr(t, err, kernel.EPERM)
		_, err = m.Sendto(fd, nil, 0, addr(0, 0))
		must(t, err)
		wantErr(t, m.Setsockopt(fd, uapi.SolNetlink, uapi.NetlinkRxRing, nil), kernel.EPERM)
		free := m.open(6, 0)
		must(t, m.setopt(free, uapi.NetlinkAddMembership, 33))
	})
}

// TestGroups: each member gets a message once, wherever it is in the list; the excluded portid does not.
func TestGroups(t *testing.T) {
	each(t, func(t *testing.T, m *machine, r kernel.Release) {
		var fds []int
		for i := range uint32(4) {
			fds = append(fds, m.open(10+i, 0))
		}
		for _, i := range []int{2, 0, 3, 1} {
			must(t, m.setopt(fds[i], uapi.NetlinkAddMembership, 3))
		}
		must(t, m.setopt(fds[2], uapi.NetlinkAddMembership, 40)) // no new subscriber
		must(t, m.setopt(fds[0], uapi.NetlinkDropMembership, 3))
		must(t, m.setopt(fds[0], uapi.NetlinkAddMembership, 3)) // to the front
		from := m.nl.KernelSock(m.k.InitNet(), testProto)
		s := m.k.KernelTask("event")
		msg := newMessage(m, s, "event")
		must(t, m.nl.Broadcast(s, from, msg, 13, 3)) // 13 is excluded
		var got []string
		for i, fd := range fds {
			b, h, err := m.recv(fd)
			if err == nil {
				got = append(got, fmt.Sprint(10+i, string(b), uapi.ParseSockaddrNL(h.Name).Groups))
			}
			_, _, err = m.recv(fd)
			wantErr(t, err, kernel.EAGAIN)
		}
		if s := strings.Join(got, ","); s != "10event0,11event0,12event0" {
			t.Error(s)
		}
		wantErr(t, m.nl.Broadcast(s, from, newMessage(m, s, "x"), 0, 7), kernel.ESRCH)
		wantErr(t, m.setopt(fds[0], uapi.NetlinkAddMembership, 0), kernel.EINVAL)
		wantErr(t, m.setopt(fds[0], uapi.NetlinkAddMembership, 41), kernel.EINVAL)
		if !m.nl.HasListeners(m.Task, testProto, 40) || m.nl.HasListeners(m.Task, testProto, 39) {
			t.Error("listeners")
		}
		// Bind replaces the low 32 groups only.
		must(t, m.Bind(fds[2], addr(12, 1<<5)))
		if g := m.sock(fds[2]).Inspect(inspect.Key{}).Groups; g[0] != 1<<5 || g[1] != 1<<7 {
			t.Errorf("groups %#x", g)
		}
	})
}

// TestGroupOrder: with the queues of all members full, the drops are counted in the order of delivery.
func TestGroupOrder(t *testing.T) {
	var order []uint32
	m := boot(t, kernel.Config{Trace: func(r kernel.Record) {
		if e, ok := r.Event.(afnetlink.OverrunEvent); ok {
			order = append(order, uint32(e.Portid.Value(inspect.Key{})))
		}
	}})
	for _, portid := range []uint32{3, 1, 2} {
		fd := m.open(portid, 1)
		m.ring(fd, uapi.NetlinkRxRing, 1).set(0, uapi.NLMMapStatusValid)
	}
	cur := m.k.KernelTask("event")
	must(t, m.nl.Broadcast(cur, m.nl.KernelSock(m.k.InitNet(), testProto), newMessage(m, cur, "x"), 0, 1))
	if fmt.Sprint(order) != "[2 1 3]" {
		t.Errorf("%d, want the latest subscriber first", order)
	}
}

// TestOptions: short values count as 0; what can be read, and when.
func TestOptions(t *testing.T) {
	each(t, func(t *testing.T, m *machine, r kernel.Release) {
		fd := m.open(1, 0)
		get := func(name, n int) (string, error) {
			v, err := m.Getsockopt(fd, uapi.SolNetlink, name, n)
			return fmt.Sprintf("%x", v), err
		}
		for _, name := range []int{uapi.NetlinkPktinfo, uapi.NetlinkBroadcastError, uapi.NetlinkNoENOBUFS} {
			must(t, m.setopt(fd, name, 2))
			if v, err := get(name, 4); v != "01000000" || err != nil {
				t.Errorf("option %d: %s %v", name, v, err)
			}
			must(t, m.Setsockopt(fd, uapi.SolNetlink, name, []byte{1, 1}))
			if v, _ := get(name, 100); v != "00000000" {
				t.Errorf("option %d after a short value: %s", name, v)
			}
			_, err := get(name, 3)
			wantErr(t, err, kernel.EINVAL)
		}
		wantErr(t, m.Setsockopt(fd, uapi.SolNetlink, uapi.NetlinkAddMembership, []byte{1, 0}), kernel.EINVAL)
		for _, name := range []int{uapi.NetlinkRxRing, uapi.NetlinkTxRing} {
			wantErr(t, m.Setsockopt(fd, uapi.SolNetlink, name, make([]byte, 15)), kernel.EINVAL)
			_, err := get(name, 16)
			wantErr(t, err, kernel.ENOPROTOOPT)
		}
		late := error(kernel.ENOPROTOOPT)
		if r >= kernel.Linux4_4 {
			late = nil
		}
		for _, name := range []int{uapi.NetlinkListenAllNSID, uapi.NetlinkCapAck} {
			if err := m.setopt(fd, name, 1); kernel.ErrnoOf(err) != kernel.ErrnoOf(late) {
				t.Errorf("option %d: %v, want %v", name, err, late)
			}
		}
		wantErr(t, m.setopt(fd, 99, 1), kernel.ENOPROTOOPT)
		wantErr(t, m.Setsockopt(fd, 5, 1, nil), kernel.ENOPROTOOPT)

		v, err := get(uapi.NetlinkListMemberships, 8)
		if r < kernel.Linux4_4 {
			wantErr(t, err, kernel.ENOPROTOOPT)
			return
		}
		// The join that was refused has left an empty bitmap.
		if v != "0000000000000000" || err != nil {
			t.Errorf("a socket that has failed to join a group lists %q %v", v, err)
		}
		must(t, m.setopt(fd, uapi.NetlinkAddMembership, 2))
		must(t, m.setopt(fd, uapi.NetlinkAddMembership, 40))
		for n, want := range map[int]string{0: "", 3: "", 4: "02000000", 7: "02000000", 8: "0200000080000000", 100: "0200000080000000"} {
			if v, err := get(uapi.NetlinkListMemberships, n); v != want || err != nil {
				t.Errorf("%d bytes of memberships: %q %v, want %q", n, v, err, want)
			}
		}
	})
}

// TestUrelease: what is announced when sockets close, also one that kept the portid of a failed bind.
func TestUrelease(t *testing.T) {
	each(t, func(t *testing.T, m *machine, r kernel.Release) {
		var got []uint32
		m.nl.OnRelease(func(_ *kernel.Task, r afnetlink.Release) { got = append(got, r.Portid) })
		a, b, c := m.open(1000, 0), m.open(0, 0), m.open(0, 0)
		wantErr(t, m.Bind(b, addr(1000, 0)), kernel.EADDRINUSE)
		for _, fd := range []int{c, b, a} {
			must(t, m.Close(fd))
		}
		want := "[1000]"
		if r == kernel.Linux4_1 || r == kernel.Linux4_4 {
			want = "[1000 1000]"
		}
		if fmt.Sprint(got) != want {
			t.Errorf("%d, want %s", got, want)
		}
	})
}

// TestProc reads /proc/net/netlink with a message waiting and a dump running.
func TestProc(t *testing.T) {
	each(t, func(t *testing.T, m *machine, r kernel.Release) {
		fd := m.open(1234, 5)
		_, err := m.Sendto(fd, request(typeDump, uapi.NLMFDump, 200), 0, addr(0, 0))
		must(t, err)
		text, err := m.ReadProc("/proc/net/netlink")
		must(t, err)
		var rows [][]string
		for _, line := range strings.Split(strings.TrimSpace(text), "\n")[1:] {
			if f := strings.Fields(line); f[2] == "1234" {
				rows = append(rows, f)
			}
		}
		times := 1
		if r == kernel.Linux3_19 {
			times = 2 // proc-rows-repeat
		}
		if len(rows) != times {
			t.Fatalf("%d rows:\n%s", len(rows), text)
		}
		// The columns as five real kernels print them, apart from the address and the number of the file.
		dump := "0"
		if r == kernel.Linux3_10 {
			dump = "0000000000000000"
		}
		head, row := "sk       Eth Pid    Groups   Rmem     Wmem     Dump     Locks     Drops     Inode", fmt.Sprintf(
			` %-3d 0      00000000 768      0        %s 2        0        \d+ *\n`, testProto, dump)
		if !strings.HasPrefix(text, head+"\n") || len(regexp.MustCompile(`(?m)^[0-9a-f]{16}`+row).FindAllString(text, -1)) != times {
			t.Errorf("no row of the kernel's socket: %s:\n%s", row, text)
		}
		f := rows[0]
		if got, want := strings.Join(f[1:6], " "), fmt.Sprintf("%d 1234 00000005 4352 0", testProto); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if pointer := strings.HasPrefix(f[6], "ffff88"); pointer != (r == kernel.Linux3_10) || !pointer && f[6] != "1" {
			t.Errorf("dump is shown as %s", f[6])
		}
	})
}

// TestSendErrors has the errnos that end a send, in the order of spec 8.1.
func TestSendErrors(t *testing.T) {
	m := boot(t, kernel.Config{})
	fd := m.open(0, 0)
	_, err := m.Sendto(fd, nil, uapi.MsgOOB, nil)
	wantErr(t, err, kernel.EOPNOTSUPP)
	_, err = m.Sendmsg(fd, &kernel.Msghdr{Control: make([]byte, 3), Name: make([]byte, 1)}, 0)
	wantErr(t, err, kernel.EINVAL)
	if m.name(fd).Pid != 0 {
		t.Error("bound by a send whose credentials were refused")
	}
	_, err = m.Sendto(fd, nil, 0, uapi.SockaddrNL{Family: uapi.AFInet}.Bytes())
	wantErr(t, err, kernel.EINVAL)
	big := make([]byte, 212992-31)
	_, err = m.Sendto(fd, big, 0, nil)
	wantErr(t, err, kernel.EMSGSIZE)
	if n, err := m.Sendto(fd, big[:212992-32], 0, nil); n != 212992-32 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	_, err = m.Sendmsg(fd, &kernel.Msghdr{Iov: []kernel.Iovec{{Len: 5}}}, 0)
	wantErr(t, err, kernel.EFAULT)
	if n, err := m.Sendmsg(fd, &kernel.Msghdr{Iov: []kernel.Iovec{{}}}, 0); n != 0 || err != nil {
		t.Errorf("an empty message: %d %v", n, err)
	}
}

func creds(pid, uid, gid uint32) []byte {
	le := binary.LittleEndian
	b := le.AppendUint64(nil, uapi.CmsgHdrlen+uapi.UcredLen)
	b = le.AppendUint32(b, uapi.SolSocket)
	b = le.AppendUint32(b, uapi.ScmCredentials)
	for _, v := range []uint32{pid, uid, gid} {
		b = le.AppendUint32(b, v)
	}
	return append(b, 0, 0, 0, 0)
}

// TestCredentials: what a sender may claim, and how it arrives, also in a frame and in other user namespaces.
func TestCredentials(t *testing.T) {
	m := boot(t, kernel.Config{Version: kernel.Version{Release: kernel.Linux4_4}})
	a := m.open(1, 0)
	child, err := m.Fork("child")
	must(t, err)
	child.SetIDs(1000, 2000, nil)
	for _, c := range []int{uapi.CapSysAdmin, uapi.CapSetuid, uapi.CapSetgid} {
		must(t, child.SetCapability(c, false))
	}
	me := uint32(child.Tgid())
	send := func(p *kernel.Task, control []byte) unix.Errno {
		_, err := p.Sendmsg(a, &kernel.Msghdr{Name: addr(1, 0), Control: control, Iov: []kernel.Iovec{kernel.Iov([]byte("x"))}}, 0)
		return kernel.ErrnoOf(err)
	}
	bad := creds(me, 1000, 2000)
	binary.LittleEndian.PutUint32(bad[12:], uapi.ScmRights)
	other := creds(me, 1, 1)
	binary.LittleEndian.PutUint32(other[8:], 41)
	for _, c := range []struct {
		p       *kernel.Task
		control []byte
		want    unix.Errno
	}{
		{child, creds(me, 1000, 2000), 0},
		{child, creds(me+7, 1000, 2000), kernel.EPERM},
		{child, creds(me, 0, 2000), kernel.EPERM},
		{child, creds(me, 1000, 0), kernel.EPERM},
		{m.Task, creds(me, 5, 6), 0},
		{m.Task, creds(99999, 5, 6), kernel.ESRCH},
		{m.Task, creds(me, 5, 6)[:20], kernel.EINVAL},
		{child, bad, kernel.EINVAL},
		{child, other, 0}, // other levels are not looked at
		{child, nil, 0},
	} {
		if got := send(c.p, c.control); got != c.want {
			t.Errorf("%s claims %x: %v, want %v", c.p.Name, c.control, got, c.want)
		}
	}
	m.setsock(a, uapi.SoPasscred, 1)
	want := []string{fmt.Sprint(me, 1000, 2000), fmt.Sprint(me, 5, 6), fmt.Sprint(me, 1000, 2000), fmt.Sprint(me, 1000, 2000)}
	for _, w := range want {
		_, h, err := m.recv(a)
		must(t, err)
		le := binary.LittleEndian
		if got := fmt.Sprint(le.Uint32(h.Control[16:]), le.Uint32(h.Control[20:]), le.Uint32(h.Control[24:])); got != w {
			t.Errorf("received credentials %s, want %s", got, w)
		}
	}
	must(t, errnoErr(send(child, nil)))
	h := &kernel.Msghdr{Iov: []kernel.Iovec{kernel.Iov(make([]byte, 10))}}
	if _, err := m.Recvmsg(a, h, 0); err != nil || h.Flags&uapi.MsgCtrunc == 0 {
		t.Errorf("without a control buffer: flags %#x %v", h.Flags, err)
	}

	// A socket that was opened in a user namespace sees ids as they are there: frames show what is not mapped as
	// 4294967295, credentials show it as 65534.
	ns := &kernel.UserNS{Inside: 0, Outside: 1000, Count: 1}
	inside := &machine{m.k.NewProcess("inside", m.k.InitNet()), m.k, m.nl, t}
	inside.SetIDs(1000, 1000, ns)
	b := inside.open(2, 0)
	inside.setsock(b, uapi.SoPasscred, 1)
	// Rings need a capability in the initial user namespace: a process outside sets it.
	fork, err := inside.Fork("admin")
	must(t, err)
	fork.SetIDs(0, 0, nil)
	admin := &machine{fork, m.k, m.nl, t}
	r := admin.ring(b, uapi.NetlinkRxRing, 2)
	_, err = child.Sendto(a, []byte("x"), 0, addr(2, 0))
	must(t, err)
	if uid, gid, pid := r.word(0, uapi.NMUID), r.word(0, uapi.NMGID), r.word(0, uapi.NMPid); uid != 0 || gid != kernel.Unmapped || pid != me {
		t.Errorf("the frame shows uid %d, gid %d, pid %d", uid, gid, pid)
	}
	_, h, err = inside.recv(b)
	must(t, err)
	if uid, gid := binary.LittleEndian.Uint32(h.Control[20:]), binary.LittleEndian.Uint32(h.Control[24:]); uid != 0 || gid != 65534 {
		t.Errorf("the credentials show uid %d, gid %d", uid, gid)
	}
}

func errnoErr(e unix.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}

// TestLongAddress: no address is longer than struct sockaddr_storage.
func TestLongAddress(t *testing.T) {
	each(t, func(t *testing.T, m *machine, _ kernel.Release) {
		fd := m.open(0, 0)
		long := append(addr(1, 0), make([]byte, 117)...)
		wantErr(t, m.Bind(fd, long), kernel.EINVAL)
		wantErr(t, m.Connect(fd, long), kernel.EINVAL)
		_, err := m.Sendto(fd, nil, uapi.MsgDontwait, long)
		wantErr(t, err, kernel.EINVAL)
		must(t, m.Bind(fd, long[:128]))
	})
}

// TestPeekPastEmpty: a peek passes an empty message that was peeked before, and waits if there is no other.
func TestPeekPastEmpty(t *testing.T) {
	each(t, func(t *testing.T, m *machine, _ kernel.Release) {
		fd := m.openProto(uapi.NetlinkUsersock, 1, 0)
		_, err := m.Sendto(fd, nil, uapi.MsgDontwait, addr(1, 0))
		must(t, err)
		peek := func() (int, error) {
			return m.Recvmsg(fd, &kernel.Msghdr{Iov: []kernel.Iovec{kernel.Iov(make([]byte, 100))}}, uapi.MsgPeek)
		}
		_, err = peek()
		must(t, err)
		if _, err = peek(); !errors.Is(err, kernel.ErrBlocks) {
			t.Errorf("the second peek: %v", err)
		}
		_, err = m.Sendto(fd, make([]byte, 30), uapi.MsgDontwait, addr(1, 0))
		must(t, err)
		if n, err := peek(); n != 30 || err != nil {
			t.Errorf("the third peek: %d %v", n, err)
		}
	})
}
