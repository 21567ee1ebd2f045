package nlmon_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/subsys/inet"
	"nlmmap/subsys/nlmon"
	"nlmmap/uapi"
)

// machine boots a kernel where NETLINK_USERSOCK acknowledges what it gets.
func machine(t testing.TB, r kernel.Release) (*kernel.Kernel, *afnetlink.Netlink) {
	k, err := kernel.Boot(kernel.Config{Version: kernel.Version{Release: r}})
	if err != nil {
		t.Fatal(err)
	}
	nl, err := afnetlink.Register(k)
	if err != nil {
		t.Fatal(err)
	}
	register(nl)
	return k, nl
}

func register(nl *afnetlink.Netlink) {
	nl.KernelCreate(uapi.NetlinkUsersock, afnetlink.KernelCfg{Input: func(cur *kernel.Task, m *afnetlink.Message) {
		afnetlink.RcvSKB(cur, m, func(*kernel.Task, *afnetlink.Message, afnetlink.Msg, uapi.NLMsgHdr) error { return nil })
	}})
}

func request() []byte {
	b := make([]byte, uapi.NLMsgHdrlen)
	uapi.NLMsgHdr{Len: uapi.NLMsgHdrlen, Type: uapi.NLMsgNoop, Flags: uapi.NLMFRequest | uapi.NLMFAck}.Put(b)
	return b
}

// send makes a socket, with a ring of one block if frame is not 0, and sends two requests in one message.
func send(t testing.TB, p *kernel.Task, frame uint32) {
	fd, err := p.Socket(uapi.AFNetlink, uapi.SockRaw, uapi.NetlinkUsersock)
	if err != nil {
		t.Fatal(err)
	}
	if frame != 0 {
		req := uapi.NLMMapReq{BlockSize: 4096, BlockNr: 1, FrameSize: frame, FrameNr: 4096 / frame}
		if err := p.Setsockopt(fd, uapi.SolNetlink, uapi.NetlinkRxRing, req.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	to := uapi.SockaddrNL{Family: uapi.AFNetlink}.Bytes()
	if _, err := p.Sendto(fd, append(request(), request()...), 0, to); err != nil {
		t.Fatal(err)
	}
}

func TestLengths(t *testing.T) {
	for _, c := range []struct {
		release kernel.Release
		frame   uint32
		want    []int
	}{
		{kernel.Linux3_19, 0, []int{32, 36, 36}},
		{kernel.Linux4_1, 0, []int{32, 36, 36}},
		{kernel.Linux4_1, 1024, []int{32, 1000, 1000}},
		{kernel.Linux4_5, 1024, []int{32, 1000, 1000}},
	} {
		t.Run(fmt.Sprint(c.release, "/", c.frame), func(t *testing.T) {
			k, nl := machine(t, c.release)
			p := k.NewProcess("main", k.NewNet())
			tap, err := nlmon.New(p, nl, inet.Register(k, &inet.Differences{}).Stack(p.Net()))
			if err != nil {
				t.Fatal(err)
			}
			send(t, p, c.frame)
			var got []int
			for pkt, ok := tap.Read(p); ok; pkt, ok = tap.Read(p) {
				got = append(got, pkt.Len)
				if pkt.Type != nlmon.PacketOutgoing || pkt.Protocol != uapi.NetlinkUsersock {
					t.Errorf("packet type %d, protocol %d", pkt.Type, pkt.Protocol)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("saw packets of %v bytes, want %v", got, c.want)
			}
			tap.Close(p)
			send(t, p, 0)
			if _, ok := tap.Read(p); ok {
				t.Error("a closed device saw a packet")
			}
			if err := k.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestUnread(t *testing.T) {
	k, nl := machine(t, kernel.Linux4_5)
	p := k.NewProcess("main", k.NewNet())
	if _, err := nlmon.New(p, nl, inet.Register(k, &inet.Differences{}).Stack(p.Net())); err != nil {
		t.Fatal(err)
	}
	send(t, p, 0)
	if err := k.Close(); err != nil {
		t.Error(err)
	}
}

// TestFull: 278 packets of the smallest size fill the reader's buffer, and what it has read makes room again.
func TestFull(t *testing.T) {
	k, nl := machine(t, kernel.Linux4_5)
	p := k.NewProcess("main", k.NewNet())
	tap, err := nlmon.New(p, nl, inet.Register(k, &inet.Differences{}).Stack(p.Net()))
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		send(t, p, 0)
	}
	if lost := tap.Lost(p); lost != 3*100-278 {
		t.Errorf("%d packets are lost", lost)
	}
	tap.Read(p)
	send(t, p, 0)
	if lost := tap.Lost(p); lost != 3*100-278+2 {
		t.Errorf("%d packets are lost", lost)
	}
	if err := k.Close(); err != nil {
		t.Error(err)
	}
}

func TestNoTaps(t *testing.T) {
	k, nl := machine(t, kernel.Linux3_10)
	if _, err := nlmon.New(k.KernelTask("test"), nl, inet.Register(k, &inet.Differences{}).Stack(k.InitNet())); !errors.Is(err, kernel.EOPNOTSUPP) {
		t.Errorf("New: %v, want EOPNOTSUPP", err)
	}
	if err := k.Close(); err != nil {
		t.Error(err)
	}
}

func Example() {
	k, err := kernel.Boot(kernel.Config{Version: kernel.Version{Release: kernel.Linux4_5}})
	if err != nil {
		panic(err)
	}
	nl, err := afnetlink.Register(k)
	if err != nil {
		panic(err)
	}
	register(nl)
	p := k.NewProcess("main", k.NewNet())
	tap, err := nlmon.New(p, nl, inet.Register(k, &inet.Differences{}).Stack(p.Net()))
	if err != nil {
		panic(err)
	}
	fd, err := p.Socket(uapi.AFNetlink, uapi.SockRaw, uapi.NetlinkUsersock)
	if err != nil {
		panic(err)
	}
	if _, err := p.Sendto(fd, request(), 0, uapi.SockaddrNL{Family: uapi.AFNetlink}.Bytes()); err != nil {
		panic(err)
	}
	for pkt, ok := tap.Read(p); ok; pkt, ok = tap.Read(p) {
		fmt.Printf("type %d protocol %d length %d\n", pkt.Type, pkt.Protocol, pkt.Len)
	}
	tap.Close(p)
	fmt.Println(k.Close())
	// Output:
	// type 4 protocol 2 length 16
	// type 4 protocol 2 length 36
	// <nil>
}
