package nfnetlink_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/subsys/internal/nftest"
	"nlmmap/subsys/nfnetlink"
	"nlmmap/uapi"
)

const (
	request = uapi.NLMFRequest
	ack     = uapi.NLMFRequest | uapi.NLMFAck
	other   = 7 // a subsystem without batches
)

// register adds a subsystem that answers with the given errors, and needs 4 bytes in attribute 1.
func register(nf *nfnetlink.Family, results ...error) {
	s := &nfnetlink.Subsystem{Name: "test", ID: other}
	for _, err := range results {
		call := func(*kernel.Task, *nfnetlink.Request) error { return err }
		s.Handlers = append(s.Handlers, nfnetlink.Handler{Call: call, Policy: []int{1: 4}})
	}
	nf.Register(s)
}

func TestDispatch(t *testing.T) {
	for _, r := range kernel.Releases() {
		m := nftest.Boot(t, r)
		register(m.NF, nil, kernel.EBUSY)
		s := m.Sock(1000)
		for _, c := range []struct {
			typ   uint16
			attrs []byte
			want  unix.Errno
		}{
			{other << 8, nil, 0},
			{other<<8 | 1, nil, kernel.EBUSY},
			{other<<8 | 2, nil, kernel.EINVAL},
			{8 << 8, nil, kernel.EINVAL},
			{0xff00, nil, kernel.EINVAL},
			{other << 8, nftest.Attr(1, 1, 2, 3), kernel.ERANGE},
			{other << 8, nftest.Attr(2, 1, 2, 3), 0},
			{other << 8, nftest.Attr32(1, 5), 0},
		} {
			if got := s.Ask(c.typ, 0, c.attrs); got != c.want {
				t.Errorf("%v: type %#x with % x: %v, want %v", r, c.typ, c.attrs, got, c.want)
			}
		}
		// A message without nfgenmsg is accepted.
		b := make([]byte, uapi.NLMsgHdrlen)
		uapi.NLMsgHdr{Len: uapi.NLMsgHdrlen, Type: other<<8 | 1, Flags: ack}.Put(b)
		if err := s.Send(b); err != nil {
			t.Error(err)
		}
		if got := s.Acks(); !slices.Equal(got, []unix.Errno{0}) {
			t.Errorf("%v: a message of 16 bytes: %v", r, got)
		}
		m.Close()
	}
}

func TestCapability(t *testing.T) {
	for r, want := range map[kernel.Release]int{kernel.Linux3_10: 2, kernel.Linux3_19: 1, kernel.Linux4_5: 1} {
		m := nftest.Boot(t, r)
		register(m.NF, nil)
		s := m.Sock(1000)
		if err := m.Main.SetCapability(uapi.CapNetAdmin, false); err != nil {
			t.Fatal(err)
		}
		if err := s.Send(nftest.Msg(other<<8, request, 0), nftest.Msg(other<<8, request, 0)); err != nil {
			t.Fatal(err)
		}
		got := s.Acks()
		if len(got) != want || got[0] != kernel.EPERM {
			t.Errorf("%v: acknowledgements %v, want %d of EPERM", r, got, want)
		}
		m.Close()
	}
}

// batch surrounds messages with BEGIN, for a subsystem in the given bytes, and END.
func batch(res uint16, msgs ...[]byte) [][]byte {
	all := append([][]byte{nftest.Msg(0x10, request, res)}, msgs...)
	return append(all, nftest.Msg(0x11, request, 0))
}

func TestBatch(t *testing.T) {
	const newTable, big = nfnetlink.SubsysNFTables<<8 | nfnetlink.NFTMsgNewTable, nfnetlink.SubsysNFTables
	good := nftest.Msg(newTable, ack, 0, nftest.Attr(nfnetlink.NFTATableName, 't', 0))
	quiet := nftest.Msg(newTable, request, 0, nftest.Attr(nfnetlink.NFTATableName, 't', 0))
	bad := nftest.Msg(newTable, request, 0)
	foreign := nftest.Msg(other<<8, request, 0)
	short := nftest.Msg(newTable, request, 0)
	short[0] = 16
	short = short[:16]
	type end struct{ commits, aborts int }
	for _, c := range []struct {
		name    string
		release kernel.Release
		msgs    [][]byte
		want    []unix.Errno
		end     end
	}{
		{"commit", kernel.Linux4_5, batch(big, good, quiet, good), []unix.Errno{0, 0}, end{1, 0}},
		{"host order", kernel.Linux3_19, batch(big<<8, good), []unix.Errno{0}, end{1, 0}},
		{"wrong order", kernel.Linux3_19, batch(big, good), []unix.Errno{kernel.EINVAL}, end{}},
		{"both orders", kernel.Linux4_1, batch(big<<8, good), []unix.Errno{0}, end{1, 0}},
		{"failure", kernel.Linux4_4, batch(big, good, bad, foreign), []unix.Errno{0, kernel.EINVAL, kernel.EINVAL}, end{0, 1}},
		{"no end", kernel.Linux4_1, batch(big, good)[:2], []unix.Errno{0}, end{0, 1}},
		{"second begin", kernel.Linux4_1, append(batch(big, good)[:2], batch(big)...), []unix.Errno{}, end{0, 1}},
		{"malformed", kernel.Linux4_1, batch(big, good, short, good), []unix.Errno{0, kernel.EINVAL, 0}, end{0, 1}},
		{"malformed", kernel.Linux4_5, batch(big, good, short, good), []unix.Errno{}, end{0, 1}},
		{"no such subsystem", kernel.Linux4_5, batch(12), []unix.Errno{kernel.EINVAL}, end{}},
		{"not registered", kernel.Linux4_5, batch(8, good), []unix.Errno{kernel.EOPNOTSUPP}, end{}},
		{"without batches", kernel.Linux4_1, batch(other, good), []unix.Errno{kernel.EOPNOTSUPP}, end{}},
		{"3.10", kernel.Linux3_10, batch(big), []unix.Errno{kernel.EINVAL, kernel.EINVAL}, end{}},
		{"not in a batch", kernel.Linux4_5, [][]byte{good}, []unix.Errno{kernel.EINVAL}, end{}},
	} {
		t.Run(c.name+"/"+c.release.String(), func(t *testing.T) {
			m := nftest.Boot(t, c.release)
			register(m.NF, nil)
			s := m.Sock(1000)
			if err := s.Send(c.msgs...); err != nil {
				t.Fatal(err)
			}
			if got := s.Acks(); !slices.Equal(got, c.want) {
				t.Errorf("acknowledgements %v, want %v", got, c.want)
			}
			if got := m.NF.Batches(); got.Commits != c.end.commits || got.Aborts != c.end.aborts {
				t.Errorf("ended as %+v, want %+v", got, c.end)
			}
			m.Close()
		})
	}
}

func TestBatchNullSk(t *testing.T) {
	m := nftest.Boot(t, kernel.Linux4_4)
	register(m.NF, nil)
	s := m.Sock(1000)
	if err := s.Send(batch(other)...); !errors.Is(err, kernel.ErrKilled) {
		t.Errorf("the send: %v, want %v", err, kernel.ErrKilled)
	}
	m.Close()
}

// TestInitNet has a socket with a ring in another namespace than the initial one, where its namesake has a ring too.
func TestInitNet(t *testing.T) {
	for r, want := range map[kernel.Release][2]string{
		kernel.Linux3_10: {"U0 U0", "V20 U0"}, // the wrong ring
		kernel.Linux3_19: {"V20 U0", "U0 U0"},
	} {
		m := nftest.Boot(t, r)
		own := m.Sock(1000)
		own.Ring(2048, 2)
		stranger := m.SockOf(m.K.NewProcess("stranger", m.K.InitNet()), 1000)
		stranger.Ring(2048, 2)
		cur, net := m.K.KernelTask("test"), m.Main.Net()
		skb := m.NF.AllocSKB(cur, net, 100, 0, 1000)
		if b, ok := nfnetlink.PutMsg(cur, skb, 0x300, 0, 0); ok {
			b.End(cur, skb)
		}
		if err := m.NF.Unicast(cur, net, skb, 1000); err != nil {
			t.Error(err)
		}
		if got := [2]string{own.Frames(), stranger.Frames()}; got != want {
			t.Errorf("%v: rings %v, want %v", r, got, want)
		}
		m.Close()
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
	var d nfnetlink.Differences
	if err := k.Config().Version.Resolve(d.Table()); err != nil {
		panic(err)
	}
	nf := nfnetlink.Register(nl, &d)
	hello := func(_ *kernel.Task, r *nfnetlink.Request) error {
		fmt.Printf("%d says %s to %d\n", r.Portid(), r.Attr(1), r.ResID)
		return nil
	}
	nf.Register(&nfnetlink.Subsystem{Name: "hello", ID: 7, Handlers: []nfnetlink.Handler{{Call: hello, Policy: []int{1: 1}}}})

	p := k.NewProcess("main", k.NewNet())
	fd, err := p.Socket(uapi.AFNetlink, uapi.SockRaw, uapi.NetlinkNetfilter)
	if err != nil {
		panic(err)
	}
	if err := p.Bind(fd, uapi.SockaddrNL{Family: uapi.AFNetlink, Pid: 1000}.Bytes()); err != nil {
		panic(err)
	}
	msg := nftest.Msg(7<<8, uapi.NLMFRequest, 5, nftest.Attr(1, []byte("hello")...))
	if _, err := p.Sendto(fd, msg, 0, uapi.SockaddrNL{Family: uapi.AFNetlink}.Bytes()); err != nil {
		panic(err)
	}
	fmt.Println(k.Close())
	// Output:
	// 1000 says hello to 5
	// <nil>
}
