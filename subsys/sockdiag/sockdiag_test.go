package sockdiag_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"nlmmap/kernel"
	"nlmmap/subsys"
	"nlmmap/subsys/internal/nltest"
	"nlmmap/subsys/sockdiag"
	"nlmmap/uapi"
)

func request(proto, show byte) []byte {
	b := make([]byte, 20)
	b[0], b[1], b[8] = uapi.AFNetlink, proto, show
	return b
}

func TestDump(t *testing.T) {
	nltest.EachRelease(t, func(t *testing.T, m *nltest.Machine) {
		s := m.Open(uapi.NetlinkSockDiag, 1000, 0)
		m.Open(uapi.NetlinkUsersock, 7000, 0)
		got, code := s.Dump(20, request(uapi.NetlinkUsersock, sockdiag.ShowRingConf))
		if len(got) != 2 || len(got[0]) != 1 || got[0][0].Len != 84 || code != 0 {
			t.Fatalf("%v %d", got, code)
		}
		m.Open(uapi.NetlinkUsersock, 7001, 1)
		got, _ = s.Dump(20, request(uapi.NetlinkUsersock, 7))
		want := 3
		if m.Release() == kernel.Linux3_10 {
			want = 2
		}
		if len(got[0]) != want || got[0][0].Len != 84+36 || got[0][1].Len != 84+36+12 {
			t.Errorf("%v", got[0])
		}
		if _, code := s.Dump(20, request(40, 0)); code != -2 {
			t.Errorf("protocol 40: %d", code)
		}
		if got, code := s.Dump(20, request(255, 0)); code != 0 || len(got[0]) < 3 {
			t.Errorf("all protocols: %v", got)
		}
	})
}

// TestInet: IPv4, IPv6, UNIX and packet sockets have handlers, and there are none.
func TestInet(t *testing.T) {
	nltest.EachRelease(t, func(t *testing.T, m *nltest.Machine) {
		s := m.Open(uapi.NetlinkSockDiag, 1000, 0)
		inet := func(family, proto byte, n int) []byte { return append([]byte{family, proto}, make([]byte, n-2)...) }
		for _, c := range []struct {
			payload []byte
			do      int
			dump    int
		}{
			{inet(2, 6, 20), -22, -22}, {inet(2, 6, 56), -2, 0}, {inet(10, 6, 56), -2, 0}, {inet(10, 17, 56), -2, -2},
			{inet(1, 6, 56), -22, 0}, {inet(1, 6, 20), -22, -22}, {inet(17, 0, 20), -95, 0}, {inet(17, 6, 20), -22, -22},
			{inet(3, 6, 56), -2, -2},
		} {
			if code := s.Ack(20, 0, c.payload); code != c.do {
				t.Errorf("% x: %d, want %d", c.payload[:2], code, c.do)
			}
			if _, code := s.Dump(20, c.payload); code != c.dump {
				t.Errorf("dump % x: %d, want %d", c.payload[:2], code, c.dump)
			}
		}
	})
}

func TestErrnos(t *testing.T) {
	nltest.EachRelease(t, func(t *testing.T, m *nltest.Machine) {
		s := m.Open(uapi.NetlinkSockDiag, 1000, 0)
		destroy := -22
		if m.Release() == kernel.Linux4_5 {
			destroy = -95
		}
		for _, c := range []struct {
			typ     uint16
			payload []byte
			code    int
		}{
			{20, nil, -22}, {20, []byte{41, 0}, -22}, {20, []byte{40, 0}, -2}, {20, []byte{16, 0}, -22},
			{20, request(0, 0), -95}, {18, make([]byte, 20), -22}, {21, request(0, 0), destroy}, {22, request(0, 0), -22},
		} {
			if code := s.Ack(c.typ, 0, c.payload); code != c.code {
				t.Errorf("type %d, %d bytes: %d, want %d", c.typ, len(c.payload), code, c.code)
			}
		}
	})
}

// TestOwnTxRing: a request for ring data through the requester's own TX ring never returns (diag-mutex-atomic).
func TestOwnTxRing(t *testing.T) {
	nltest.EachRelease(t, func(t *testing.T, m *nltest.Machine) {
		s := m.Open(uapi.NetlinkSockDiag, 1000, 0)
		ring := uapi.NLMMapReq{BlockSize: 4096, BlockNr: 1, FrameSize: 2048, FrameNr: 2}
		if err := m.Setsockopt(s.FD, uapi.SolNetlink, uapi.NetlinkTxRing, ring.Bytes()); err != nil {
			t.Fatal(err)
		}
		addr, err := m.Mmap(0, 4096, uapi.ProtRead|uapi.ProtWrite, uapi.MapShared, s.FD, 0)
		if err != nil {
			t.Fatal(err)
		}
		msg := nltest.Msg(20, uapi.NLMFDump, request(uapi.NetlinkSockDiag, sockdiag.ShowRingConf|sockdiag.ShowGroups))
		if err := errors.Join(m.WriteMem(addr+uapi.NLMMapHdrlen, msg), m.Store32(addr+uapi.NMLen, uint32(len(msg))),
			m.Store32(addr, uapi.NLMMapStatusValid)); err != nil {
			t.Fatal(err)
		}
		_, err = m.Sendmsg(s.FD, &kernel.Msghdr{Name: uapi.SockaddrNL{Family: uapi.AFNetlink}.Bytes(),
			Iov: []kernel.Iovec{{}}}, uapi.MsgDontwait)
		if dead := errors.Is(err, kernel.ErrBlocks); dead != (m.Release() != kernel.Linux4_1) {
			t.Errorf("%v", err)
		}
	})
}

// Two sockets of user programs, with their rings that were never set: one frame (diag-ring-figures).
func Example() {
	k, err := kernel.Boot(kernel.Config{})
	if err != nil {
		panic(err)
	}
	if _, err := subsys.Register(k); err != nil {
		panic(err)
	}
	task := k.NewProcess("main", k.InitNet())
	for portid := uint32(7000); portid < 7002; portid++ {
		fd, _ := task.Socket(uapi.AFNetlink, uapi.SockRaw, uapi.NetlinkUsersock)
		_ = task.Bind(fd, uapi.SockaddrNL{Family: uapi.AFNetlink, Pid: portid}.Bytes())
	}
	fd, _ := task.Socket(uapi.AFNetlink, uapi.SockRaw, uapi.NetlinkSockDiag)
	msg := nltest.Msg(20, uapi.NLMFDump, request(uapi.NetlinkUsersock, sockdiag.ShowRingConf))
	_, _ = task.Sendto(fd, msg, 0, uapi.SockaddrNL{Family: uapi.AFNetlink}.Bytes())
	buf := make([]byte, 8192)
	n, _ := task.Recvmsg(fd, &kernel.Msghdr{Iov: []kernel.Iovec{kernel.Iov(buf)}}, 0)
	for b := buf[:n]; len(b) > 0; b = b[84:] {
		fmt.Println("portid", int(b[20])|int(b[21])<<8, "rx", uapi.ParseNLMMapReq(b[48:]))
	}
	fmt.Println(k.Close())
	// Output:
	// portid 7000 rx {nm_block_size=0, nm_block_nr=0, nm_frame_size=0, nm_frame_nr=1}
	// portid 7001 rx {nm_block_size=0, nm_block_nr=0, nm_frame_size=0, nm_frame_nr=1}
	// <nil>
}

// TestKernelInode: diagnostics and /proc/net/netlink show the same file of a socket, the kernel's own among them.
func TestKernelInode(t *testing.T) {
	nltest.EachRelease(t, func(t *testing.T, m *nltest.Machine) {
		s := m.Open(uapi.NetlinkSockDiag, 1000, 0)
		text, err := m.Task.ReadProc("/proc/net/netlink")
		if err != nil {
			t.Fatal(err)
		}
		inodes := map[string]string{}
		for _, line := range strings.Split(strings.TrimSpace(text), "\n")[1:] {
			f := strings.Fields(line)
			inodes[f[1]+" "+f[2]] = f[9]
		}
		got, _ := s.Dump(20, request(uapi.NetlinkSockDiag, 0))
		const portid, inode = 4, 16 // struct netlink_diag_msg
		for _, m := range got[0] {
			word := func(off int) string { return fmt.Sprint(binary.LittleEndian.Uint32(m.Payload[off:])) }
			if want := inodes[fmt.Sprint(uapi.NetlinkSockDiag, " ", word(portid))]; want == "" || word(inode) != want {
				t.Errorf("portid %s has inode %s, and in /proc %q", word(portid), word(inode), want)
			}
		}
		if len(got[0]) != 2 {
			t.Errorf("%d sockets", len(got[0]))
		}
	})
}
