package usersock_test

import (
	"errors"
	"fmt"
	"testing"

	"nlmmap/kernel"
	"nlmmap/subsys"
	"nlmmap/subsys/internal/nltest"
	"nlmmap/uapi"
)

func TestPermissions(t *testing.T) {
	nltest.EachRelease(t, func(t *testing.T, m *nltest.Machine) {
		if err := m.SetCapability(uapi.CapNetAdmin, false); err != nil {
			t.Fatal(err)
		}
		a, b := m.Open(uapi.NetlinkUsersock, 1000, 0), m.Open(uapi.NetlinkUsersock, 2000, 0)
		to := func(portid uint32) error {
			_, err := m.Sendto(a.FD, nltest.Msg(100, 0, nil), 0, uapi.SockaddrNL{Family: uapi.AFNetlink, Pid: portid}.Bytes())
			return err
		}
		if err := to(2000); err != nil || len(b.Recv()) != 1 {
			t.Error(err)
		}
		if err := to(0); !errors.Is(err, kernel.ECONNREFUSED) {
			t.Errorf("to the kernel: %v", err)
		}
		err := m.Bind(a.FD, uapi.SockaddrNL{Family: uapi.AFNetlink, Pid: 1000, Groups: 1}.Bytes())
		if !errors.Is(err, kernel.EPERM) {
			t.Errorf("a group: %v", err)
		}
	})
}

// Two sockets talk.
func Example() {
	k, err := kernel.Boot(kernel.Config{})
	if err != nil {
		panic(err)
	}
	if _, err := subsys.Register(k); err != nil {
		panic(err)
	}
	task := k.NewProcess("main", k.InitNet())
	var fds [2]int
	for i := range fds {
		fds[i], _ = task.Socket(uapi.AFNetlink, uapi.SockRaw, uapi.NetlinkUsersock)
		_ = task.Bind(fds[i], uapi.SockaddrNL{Family: uapi.AFNetlink, Pid: uint32(1000 + i)}.Bytes())
	}
	_, _ = task.Sendto(fds[0], []byte("hello"), 0, uapi.SockaddrNL{Family: uapi.AFNetlink, Pid: 1001}.Bytes())
	buf := make([]byte, 100)
	n, _ := task.Recvmsg(fds[1], &kernel.Msghdr{Iov: []kernel.Iovec{kernel.Iov(buf)}}, 0)
	fmt.Printf("%s\n", buf[:n])
	fmt.Println(k.Close())
	// Output:
	// hello
	// <nil>
}
