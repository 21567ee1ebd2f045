package uevent_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"nlmmap/kernel"
	"nlmmap/subsys"
	"nlmmap/subsys/inet"
	"nlmmap/subsys/internal/nltest"
	"nlmmap/subsys/uevent"
	"nlmmap/uapi"
)

func TestDummy(t *testing.T) {
	nltest.EachRelease(t, func(t *testing.T, m *nltest.Machine) {
		if err := m.SetCapability(uapi.CapNetAdmin, false); err != nil {
			t.Fatal(err)
		}
		s := m.Open(uapi.NetlinkKobjectUevent, 1000, uevent.Group)
		admin := m.Task.Kernel().KernelTask("admin")
		m.Inet(m.Task.Kernel().InitNet()).AddDevice(admin, inet.KindDummy, "elsewhere")
		m.Inet(m.Task.Net()).AddDevice(admin, inet.KindDummy, "d0")
		for _, want := range []string{"add@/devices/virtual/net/d0\x00", "add@/devices/virtual/net/d0/queues/tx-0\x00"} {
			if got := s.Bytes(); !bytes.HasPrefix(got, []byte(want)) {
				t.Errorf("%q, want %q...", got, want)
			}
		}
		if got := s.Bytes(); got != nil {
			t.Errorf("%q too", got)
		}
		_, err := m.Sendto(s.FD, make([]byte, 16), 0, uapi.SockaddrNL{Family: uapi.AFNetlink}.Bytes())
		if !errors.Is(err, kernel.ECONNREFUSED) {
			t.Error(err)
		}
	})
}

// Somebody listens while a device is made.
func Example() {
	k, err := kernel.Boot(kernel.Config{})
	if err != nil {
		panic(err)
	}
	sys, err := subsys.Register(k)
	if err != nil {
		panic(err)
	}
	task := k.NewProcess("main", k.InitNet())
	fd, _ := task.Socket(uapi.AFNetlink, uapi.SockRaw, uapi.NetlinkKobjectUevent)
	_ = task.Bind(fd, uapi.SockaddrNL{Family: uapi.AFNetlink, Groups: 1 << (uevent.Group - 1)}.Bytes())
	sys.Inet(k.InitNet()).AddDevice(k.KernelTask("admin"), inet.KindDummy, "d0")
	buf := make([]byte, 8192)
	n, _ := task.Recvmsg(fd, &kernel.Msghdr{Iov: []kernel.Iovec{kernel.Iov(buf)}}, 0)
	for line := range bytes.SplitSeq(bytes.TrimRight(buf[:n], "\x00"), []byte{0}) {
		fmt.Printf("%s\n", line)
	}
	fmt.Println(k.Close())
	// Output:
	// add@/devices/virtual/net/d0
	// ACTION=add
	// DEVPATH=/devices/virtual/net/d0
	// SUBSYSTEM=net
	// INTERFACE=d0
	// IFINDEX=3
	// SEQNUM=401
	// <nil>
}
