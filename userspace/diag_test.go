package userspace_test

import (
	"context"
	"fmt"
	"testing"

	"nlmmap/kernel"
	"nlmmap/sys"
	"nlmmap/uapi"
	"nlmmap/userspace"
)

// sockets lists the sockets of a protocol that are bound to portids which no kernel chooses, as the statistics have them.
func sockets(t sys.Task, proto uint8) (list []userspace.SocketStat, err error) {
	d := userspace.Dumper{Config: userspace.DumpConfig{
		Proto:   uapi.NetlinkSockDiag,
		Request: func(seq uint32) []byte { return userspace.DiagRequest(proto, 1<<uapi.NetlinkDiagRxRing, seq) },
		Handle: func(m uapi.Message) error {
			s, err := userspace.ParseSocketStat(m)
			if s.Portid > 0 && s.Portid < 10_000 {
				list = append(list, s)
			}
			return err
		},
	}}
	return list, d.Run(context.Background(), t)
}

// TestSocketStats finds a connected socket with a ring and one without, and nothing when they are closed.
func TestSocketStats(t *testing.T) {
	for _, r := range releases {
		task := modelTask(t, r)
		rx := userspace.RingRequest(1024, 8)
		a := open(t, task, uapi.NetlinkUsersock, userspace.Config{Portid: 7, RX: rx})
		must(t, task.Connect(a.FD(), uapi.SockaddrNL{Family: uapi.AFNetlink, Pid: 8}.Bytes()))
		b := open(t, task, uapi.NetlinkUsersock, userspace.Config{Portid: 8})
		list, err := sockets(task, uapi.NetlinkDiagAll)
		must(t, err)
		if len(list) != 2 || list[0].Portid+list[1].Portid != 15 {
			t.Fatalf("%v: %+v", r, list)
		}
		for _, s := range list {
			connected, peer, size := s.Portid == 7, uint32(0), uint32(0)
			if connected {
				peer, size = 8, rx.FrameSize
			}
			if s.Protocol != uapi.NetlinkUsersock || s.Type != uapi.SockRaw || s.Connected != connected || s.PeerPortid != peer || s.RX.FrameSize != size || s.Inode == 0 {
				t.Errorf("%v: %+v", r, s)
			}
		}
		must(t, a.Close())
		must(t, b.Close())
		if list, err = sockets(task, uapi.NetlinkUsersock); len(list) != 0 || err != nil {
			t.Errorf("%v: %+v, %v", r, list, err)
		}
	}
	if _, err := userspace.ParseSocketStat(uapi.Message{Header: uapi.NLMsgHdr{Type: uapi.RTMNewlink}}); err == nil {
		t.Error("a link is taken for a socket")
	}
}

// Who has netlink sockets?
func ExampleDiagRequest() {
	k := exampleMachine(kernel.Linux4_5)
	t := k.NewProcess("program", k.InitNet())
	if _, err := userspace.Open(t, uapi.NetlinkUsersock, userspace.Config{Portid: 1000}); err != nil {
		panic(err)
	}
	list, err := sockets(t, uapi.NetlinkDiagAll)
	for _, s := range list {
		fmt.Printf("protocol %d portid %d\n", s.Protocol, s.Portid)
	}
	fmt.Println(err, k.Close())
	// Output:
	// protocol 2 portid 1000
	// <nil> <nil>
}
