package audit_test

import (
	"errors"
	"fmt"
	"testing"

	"nlmmap/kernel"
	"nlmmap/subsys"
	"nlmmap/subsys/audit"
	"nlmmap/subsys/internal/nltest"
	"nlmmap/uapi"
)

func open(m *nltest.Machine) nltest.Sock {
	// In 3.10 only the initial namespace has audit.
	init := m.Task.Kernel().NewProcess("init", m.Task.Kernel().InitNet())
	m.Task = init
	return m.Open(uapi.NetlinkAudit, 1000, 0)
}

func TestGet(t *testing.T) {
	nltest.EachRelease(t, func(t *testing.T, m *nltest.Machine) {
		s := open(m)
		if code := s.Ack(audit.Get, 0, nil); code != 0 {
			t.Fatalf("%d", code)
		}
		m.Task.Kernel().Advance(0)
		want := uint32(56)
		if m.Release() == kernel.Linux3_10 {
			want = 48
		}
		if got := s.Recv(); len(got) != 1 || got[0].Len != want || got[0].Type != audit.Get {
			t.Errorf("%+v", got)
		}
		s.Send(audit.ListRules, 0, nil)
		m.Task.Kernel().Advance(0)
		if got := s.Recv(); len(got) != 1 || got[0].Len != 16 || got[0].Type != uapi.NLMsgDone || got[0].Flags != uapi.NLMFMulti {
			t.Errorf("rules: %+v", got)
		}
		// An answer that nobody waits for ends with the machine.
		s.Send(audit.Get, 0, nil)
	})
}

func TestEveryMessageIsHandled(t *testing.T) {
	nltest.EachRelease(t, func(t *testing.T, m *nltest.Machine) {
		s := open(m)
		b := make([]byte, 2*uapi.NLMsgHdrlen)
		uapi.NLMsgHdr{Len: 16, Type: uapi.NLMsgNoop}.Put(b)
		uapi.NLMsgHdr{Len: 16, Type: 1002}.Put(b[16:])
		if _, err := m.Sendto(s.FD, b, 0, uapi.SockaddrNL{Family: uapi.AFNetlink}.Bytes()); err != nil {
			t.Fatal(err)
		}
		for _, want := range []int{-22, -95} {
			if got := s.Recv(); len(got) != 1 || got[0].Code() != want {
				t.Errorf("%+v, want %d", got, want)
			}
		}
	})
}

func TestNamespaces(t *testing.T) {
	nltest.EachRelease(t, func(t *testing.T, m *nltest.Machine) {
		s := m.Open(uapi.NetlinkAudit, 1000, 0)
		_, err := m.Sendto(s.FD, nltest.Msg(audit.Get, 0, nil), 0, uapi.SockaddrNL{Family: uapi.AFNetlink}.Bytes())
		if refused := errors.Is(err, kernel.ECONNREFUSED); refused != (m.Release() == kernel.Linux3_10) {
			t.Error(err)
		}
	})
}

// The acknowledgement comes first, the status when a kernel thread has run.
func Example() {
	k, err := kernel.Boot(kernel.Config{})
	if err != nil {
		panic(err)
	}
	if _, err := subsys.Register(k); err != nil {
		panic(err)
	}
	task := k.NewProcess("main", k.InitNet())
	fd, _ := task.Socket(uapi.AFNetlink, uapi.SockRaw, uapi.NetlinkAudit)
	msg := nltest.Msg(audit.Get, uapi.NLMFAck, nil)
	_, _ = task.Sendto(fd, msg, 0, uapi.SockaddrNL{Family: uapi.AFNetlink}.Bytes())
	k.Advance(0)
	for range 2 {
		buf := make([]byte, 8192)
		n, _ := task.Recvmsg(fd, &kernel.Msghdr{Iov: []kernel.Iovec{kernel.Iov(buf)}}, 0)
		fmt.Println("type", uapi.ParseNLMsgHdr(buf).Type, "length", n)
	}
	fmt.Println(k.Close())
	// Output:
	// type 2 length 36
	// type 1000 length 48
	// <nil>
}
