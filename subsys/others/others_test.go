package others_test

import (
	"errors"
	"fmt"
	"testing"

	"nlmmap/kernel"
	"nlmmap/subsys"
	"nlmmap/subsys/internal/nltest"
	"nlmmap/uapi"
)

func TestRequests(t *testing.T) {
	nltest.EachRelease(t, func(t *testing.T, m *nltest.Machine) {
		m.Task = m.Task.Kernel().NewProcess("init", m.Task.Kernel().InitNet())
		if code := m.Open(uapi.NetlinkXFRM, 1000, 0).Ack(16, 0, make([]byte, 4)); code != -22 {
			t.Errorf("XFRM: %d", code)
		}
		for _, proto := range []int{uapi.NetlinkISCSI, uapi.NetlinkSCSITransport} {
			_, err := m.Task.Socket(uapi.AFNetlink, uapi.SockRaw, proto)
			if !errors.Is(err, kernel.EPROTONOSUPPORT) {
				t.Errorf("protocol %d: %v", proto, err)
			}
		}
		for _, typ := range []uint16{18, 21} {
			if buffers, code := m.Open(uapi.NetlinkXFRM, uint32(2000+typ), 0).Dump(typ, nil); len(buffers) != 1 || code != 0 {
				t.Errorf("a dump of type %d: %v %d", typ, buffers, code)
			}
		}
		c := m.Open(uapi.NetlinkConnector, 1000, 0)
		c.Send(16, uapi.NLMFAck, nil)
		if b := c.Bytes(); b != nil {
			t.Errorf("the connector answers % x", b)
		}
	})
}

// A request that nothing is behind.
func Example() {
	k, err := kernel.Boot(kernel.Config{})
	if err != nil {
		panic(err)
	}
	if _, err := subsys.Register(k); err != nil {
		panic(err)
	}
	task := k.NewProcess("main", k.InitNet())
	fd, _ := task.Socket(uapi.AFNetlink, uapi.SockRaw, uapi.NetlinkXFRM)
	_, _ = task.Sendto(fd, nltest.Msg(16, 0, nil), 0, uapi.SockaddrNL{Family: uapi.AFNetlink}.Bytes())
	buf := make([]byte, 100)
	n, _ := task.Recvmsg(fd, &kernel.Msghdr{Iov: []kernel.Iovec{kernel.Iov(buf)}}, 0)
	fmt.Println(n, "bytes, error", int8(buf[16]))
	fmt.Println(k.Close())
	// Output:
	// 36 bytes, error -22
	// <nil>
}
