package genetlink_test

import (
	"errors"
	"fmt"
	"testing"

	"nlmmap/kernel"
	"nlmmap/subsys"
	"nlmmap/subsys/genetlink"
	"nlmmap/subsys/internal/nltest"
	"nlmmap/uapi"
)

var nlctrl = []byte{genetlink.CmdGetFamily, 1, 0, 0, 6, 0, 1, 0, 16, 0, 0, 0}

func TestController(t *testing.T) {
	nltest.EachRelease(t, func(t *testing.T, m *nltest.Machine) {
		s := m.Open(uapi.NetlinkGeneric, 1000, 0)
		s.Send(genetlink.IDCtrl, uapi.NLMFAck, nlctrl)
		if got := s.Recv(); len(got) != 1 || got[0].Len != 116 || got[0].Pid != 1000 || got[0].Seq != 7 {
			t.Errorf("nlctrl: %+v", got)
		}
		if got := s.Recv(); len(got) != 1 || got[0].Type != uapi.NLMsgError || got[0].Code() != 0 {
			t.Errorf("acknowledgement: %+v", got)
		}
		for _, c := range []struct {
			typ     uint16
			payload []byte
			code    int
		}{
			{99, nlctrl, -2}, {16, nlctrl[:3], -22}, {16, []byte{77, 1, 0, 0}, -95}, {16, nlctrl[:4], -22},
			{16, []byte{3, 1, 0, 0, 6, 0, 2, 0, 'x', 0, 0, 0}, -2},
			// Names of 16 letters, and with 16 bytes behind the name.
			{16, append([]byte{3, 1, 0, 0, 20, 0, 2, 0}, "0123456789abcdef"...), -22},
			{16, append([]byte{3, 1, 0, 0, 22, 0, 2, 0}, "nlctrl\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"...), -34},
		} {
			if code := s.Ack(c.typ, 0, c.payload); code != c.code {
				t.Errorf("type %d %v: %d, want %d", c.typ, c.payload, code, c.code)
			}
		}
	})
}

func TestDump(t *testing.T) {
	nltest.EachRelease(t, func(t *testing.T, m *nltest.Machine) {
		s := m.Open(uapi.NetlinkGeneric, 1000, 0)
		got, code := s.Dump(genetlink.IDCtrl, nlctrl[:4])
		if len(got) != 2 || len(got[0]) != 2 || got[0][0].Len != 116 || got[0][1].Len != 112 || code != 0 {
			t.Errorf("%v %d", got, code)
		}
		s.Send(genetlink.IDCtrl, uapi.NLMFRoot, nlctrl[:4])
		first := s.Recv()[0]
		if asks := first.Type == uapi.NLMsgError; asks == (m.Release() == kernel.Linux3_10) {
			t.Errorf("one dump bit: %+v", first)
		}
	})
}

func TestBind(t *testing.T) {
	nltest.EachRelease(t, func(t *testing.T, m *nltest.Machine) {
		m.Open(uapi.NetlinkGeneric, 1000, 1<<(genetlink.GroupNotify-1))
		fd, err := m.Task.Socket(uapi.AFNetlink, uapi.SockRaw, uapi.NetlinkGeneric)
		if err != nil {
			t.Fatal(err)
		}
		err = m.Bind(fd, uapi.SockaddrNL{Family: uapi.AFNetlink, Groups: 2}.Bytes())
		if refused := errors.Is(err, kernel.ENOENT); refused != (m.Release() >= kernel.Linux3_19) {
			t.Errorf("a group of nobody: %v", err)
		}
	})
}

// The controller is asked for itself.
func Example() {
	k, err := kernel.Boot(kernel.Config{})
	if err != nil {
		panic(err)
	}
	if _, err := subsys.Register(k); err != nil {
		panic(err)
	}
	task := k.NewProcess("main", k.InitNet())
	fd, _ := task.Socket(uapi.AFNetlink, uapi.SockRaw, uapi.NetlinkGeneric)
	request := nltest.Msg(genetlink.IDCtrl, 0, nlctrl)
	_, _ = task.Sendto(fd, request, 0, uapi.SockaddrNL{Family: uapi.AFNetlink}.Bytes())
	buf := make([]byte, 8192)
	n, _ := task.Recvmsg(fd, &kernel.Msghdr{Iov: []kernel.Iovec{kernel.Iov(buf)}}, 0)
	fmt.Printf("%d bytes: %s\n", n, buf[24:30])
	fmt.Println(k.Close())
	// Output:
	// 116 bytes: nlctrl
	// <nil>
}
