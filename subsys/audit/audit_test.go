package audit_test

import (
	"bytes"
	"encoding/binary"
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

// TestSettings: what is set is shown, and a locked status stays.
func TestSettings(t *testing.T) {
	nltest.EachRelease(t, func(t *testing.T, m *nltest.Machine) {
		s := open(m)
		set := func(mask uint32, values ...uint32) int {
			b := binary.LittleEndian.AppendUint32(nil, mask)
			for _, v := range values {
				b = binary.LittleEndian.AppendUint32(b, v)
			}
			return s.Ack(audit.Set, 0, b)
		}
		if a, b, c := set(1, 1), set(1, 3), set(2, 0, 3); a != 0 || b != -22 || c != -22 {
			t.Errorf("%d %d %d", a, b, c)
		}
		if code := set(0x18, 0, 0, 0, 10, 100); code != 0 {
			t.Error(code)
		}
		s.Send(audit.Get, 0, nil)
		m.Task.Kernel().Advance(0)
		buf := make([]byte, 100)
		if _, err := m.Recvmsg(s.FD, &kernel.Msghdr{Iov: []kernel.Iovec{kernel.Iov(buf)}}, 0); err != nil {
			t.Fatal(err)
		}
		var got [6]uint32
		for i := range got {
			got[i] = binary.LittleEndian.Uint32(buf[uapi.NLMsgHdrlen+4*i:])
		}
		if want := [6]uint32{0, 1, 1, 0, 10, 100}; got != want {
			t.Errorf("%v, want %v", got, want)
		}
		if lock, again := set(1, 2), set(1, 0); lock != 0 || again != -1 {
			t.Errorf("%d, %d", lock, again)
		}
	})
}

// TestRules: rules are listed by list, and within one as they came unless they ask to be first.
func TestRules(t *testing.T) {
	nltest.EachRelease(t, func(t *testing.T, m *nltest.Machine) {
		s := open(m)
		rule := func(list byte, field byte) []byte {
			b := make([]byte, 1040)
			b[0], b[4], b[8], b[16+256] = list, 2, 1, field
			return b
		}
		for _, r := range []struct {
			typ  uint16
			rule []byte
			want int
		}{
			{1011, rule(4, 1), 0}, {1011, rule(4, 1), -17}, {1011, rule(1, 2), 0}, {1011, rule(0x14, 3), 0}, {1011, rule(9, 1), -22},
			{1011, make([]byte, 20), -22}, {1012, rule(4, 9), -2},
		} {
			if code := s.Ack(r.typ, 0, r.rule); code != r.want {
				t.Errorf("%d: %d, want %d", r.typ, code, r.want)
			}
		}
		s.Send(audit.ListRules, 0, nil)
		m.Task.Kernel().Advance(0)
		var fields []byte
		for {
			buf := make([]byte, 2000)
			n, err := m.Recvmsg(s.FD, &kernel.Msghdr{Iov: []kernel.Iovec{kernel.Iov(buf)}}, 0)
			if err != nil {
				t.Fatal(err)
			}
			if n == uapi.NLMsgHdrlen {
				break
			}
			fields = append(fields, buf[uapi.NLMsgHdrlen+16+256])
		}
		if want := []byte{2, 3, 1}; !bytes.Equal(fields, want) {
			t.Errorf("rules %v, want %v", fields, want)
		}
		if a, b := s.Ack(1012, 0, rule(4, 1)), s.Ack(1012, 0, rule(4, 1)); a != 0 || b != -2 {
			t.Errorf("deleted with %d, then %d", a, b)
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
