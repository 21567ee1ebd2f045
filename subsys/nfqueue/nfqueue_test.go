package nfqueue_test

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"nlmmap/kernel"
	"nlmmap/kernel/inspect"
	"nlmmap/subsys/inet"
	"nlmmap/subsys/internal/nftest"
	"nlmmap/subsys/nfqueue"
	"nlmmap/uapi"
)

const (
	config  = uapi.NFQNLMsgConfig
	verdict = uapi.NFQNLMsgVerdict
	batch   = uapi.NFQNLMsgBatch
)

// machine is a machine with nfnetlink_queue and a socket that owns queue 0 in a mode.
type machine struct {
	*nftest.Machine
	q *nfqueue.NFQueue
	s *nftest.Sock
}

func boot(t testing.TB, r kernel.Release, mode byte, crange uint32) *machine {
	m := &machine{Machine: nftest.Boot(t, r)}
	m.q = register(m.Machine)
	m.s = m.Sock(1000)
	m.ask(0, config, cmd(1), params(mode, crange))
	m.Stack().AddRule(m.Main, m.q.Rule(0, false))
	return m
}

func register(m *nftest.Machine) *nfqueue.NFQueue {
	var d nfqueue.Differences
	m.Resolve(d.Table())
	return nfqueue.Register(m.NF, &d)
}

func (m *machine) ask(want unix.Errno, typ uint16, attrs ...[]byte) {
	m.T.Helper()
	if got := m.s.Ask(typ, 0, attrs...); got != want {
		m.T.Error(fmt.Sprintf("message %#x: %v, want %v", typ, got, want))
	}
}

func (m *machine) send(count, size int) { m.Stack().SendUDP(m.Main, count, size) }

func (m *machine) proc() string {
	text, err := m.Main.ReadProc("/proc/net/netfilter/nfnetlink_queue")
	if err != nil {
		m.T.Fatal(err)
	}
	return strings.Join(strings.Fields(text), " ")
}

func cmd(c byte) []byte { return nftest.Attr(1, c, 0, 0, 2) }

func params(mode byte, crange uint32) []byte {
	return nftest.Attr(2, append(binary.BigEndian.AppendUint32(nil, crange), mode)...)
}

func hdr(v, id uint32) []byte {
	return nftest.Attr(2, binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, v), id)...)
}

func TestMessages(t *testing.T) {
	for _, c := range []struct {
		name    string
		release kernel.Release
		mode    byte
		crange  uint32
		flags   uint32
		size    int
		length  int
		attrs   string
	}{
		{"meta", kernel.Linux3_10, nfqueue.CopyMeta, 0, 0, 100, 48, "1:7 6:4 14:4"},
		{"meta", kernel.Linux4_5, nfqueue.CopyMeta, 0, 0, 100, 48, "1:7 6:4 14:4"},
		{"uid", kernel.Linux4_5, nfqueue.CopyMeta, 0, nfqueue.FlagUIDGID, 100, 64, "1:7 6:4 16:4 17:4 14:4"},
		{"whole", kernel.Linux3_10, nfqueue.CopyPacket, 65535, 0, 100, 180, "1:7 6:4 13:4 10:128"},
		{"whole", kernel.Linux4_4, nfqueue.CopyPacket, 65535, 0, 100, 172, "1:7 6:4 10:128"},
		{"unready", kernel.Linux4_4, nfqueue.CopyPacket, 65535, nfqueue.FlagGSO, 100, 180, "1:7 6:4 14:4 10:128"},
		{"cut", kernel.Linux4_4, nfqueue.CopyPacket, 256, 0, 1400, 308, "1:7 6:4 13:4 10:256"},
		{"zero", kernel.Linux3_10, nfqueue.CopyPacket, 0, 0, 100, 180, "1:7 6:4 13:4 10:128"},
		{"zero", kernel.Linux3_19, nfqueue.CopyPacket, 0, 0, 100, 172, "1:7 6:4 10:128"},
	} {
		t.Run(c.name+"/"+c.release.String(), func(t *testing.T) {
			m := boot(t, c.release, c.mode, c.crange)
			if c.flags != 0 {
				m.ask(0, config, nftest.Attr32(5, c.flags), nftest.Attr32(4, c.flags))
			}
			m.send(1, c.size)
			msg := m.s.Recv()
			if len(msg) != c.length || nftest.Attrs(msg) != c.attrs {
				t.Errorf("got %d bytes, %s, want %d, %s", len(msg), nftest.Attrs(msg), c.length, c.attrs)
			}
			m.Close()
		})
	}
}

func TestMetaBytes(t *testing.T) {
	m := boot(t, kernel.Linux4_1, nfqueue.CopyMeta, 0)
	m.send(1, 100)
	want := "30000000000300000000000000000000" + "02000000" + "0b00010000000001080003000800060000000001" + "08000e0000000001"
	if got := hex.EncodeToString(m.s.Recv()); got != want {
		t.Errorf("message\n%s, want\n%s", got, want)
	}
	m.Close()
}

func TestPacketAttributes(t *testing.T) {
	for r, stamp := range map[kernel.Release]uint64{kernel.Linux4_1: 3, kernel.Linux4_4: 0} {
		m := boot(t, r, nfqueue.CopyMeta, 0)
		p, err := m.Stack().NewUDP(m.Main, 10)
		if err != nil {
			t.Fatal(err)
		}
		p.CompleteChecksum()
		p.InDev, p.Mark, p.HasTimestamp, p.Timestamp = 1, 7, true, 3*kernel.Second
		m.Stack().Output(m.Main, p)
		msg := m.s.Recv()
		if got, want := nftest.Attrs(msg), "1:7 5:4 6:4 3:4 4:16 14:4"; got != want {
			t.Errorf("%v: attributes %s, want %s", r, got, want)
		}
		if got := binary.BigEndian.Uint64(msg[20+12+8+8+8+4:]); got != stamp {
			t.Errorf("%v: time stamp %d, want %d", r, got, stamp)
		}
		m.Close()
	}
}

func TestConfig(t *testing.T) {
	flags := func(v uint32) [][]byte { return [][]byte{nftest.Attr32(5, v), nftest.Attr32(4, v)} }
	for _, r := range kernel.Releases() {
		strict := r == kernel.Linux4_5
		either := func(is, not unix.Errno) unix.Errno {
			if strict {
				return is
			}
			return not
		}
		m := boot(t, r, nfqueue.CopyMeta, 0)
		m.ask(kernel.EBUSY, config, cmd(1))
		m.ask(0, config, cmd(3))
		m.ask(kernel.ENOTSUPP, config, cmd(9))
		m.ask(kernel.ENOTSUPP, config, cmd(0))
		m.ask(kernel.EINVAL, config, nftest.Attr32(5, 1))
		m.ask(0, config, flags(nfqueue.FlagGSO)...)
		m.ask(kernel.EOPNOTSUPP, config, flags(32)...)
		m.ask(kernel.ENOTSUPP, uapi.NFQNLMsgPacket)
		m.ask(kernel.EINVAL, 0x304)
		m.ask(kernel.ERANGE, config, nftest.Attr(1, 1))
		want := unix.Errno(0)
		if r == kernel.Linux3_10 {
			want = kernel.EOPNOTSUPP
		}
		m.ask(want, config, flags(nfqueue.FlagUIDGID)...)
		if got := m.s.Ask(config, 5); got != either(kernel.ENODEV, 0) {
			t.Errorf("%v: an empty message: %v", r, got)
		}
		if got := m.s.Ask(config, 5, params(1, 0)); got != kernel.ENODEV {
			t.Errorf("%v: parameters of no queue: %v", r, got)
		}
		other := m.Sock(2000)
		if got := other.Ask(config, 0, params(2, 0)); got != kernel.EPERM {
			t.Errorf("%v: parameters of a stranger's queue: %v", r, got)
		}
		// What precedes a wrong flag is done, but not by 4.5.
		m.ask(kernel.EINVAL, config, nftest.Attr32(3, 99), params(2, 11), nftest.Attr32(5, 1))
		crange := m.q.Stats(m.Main, m.Main.Net())[0].Range
		if strict != (crange == 0) {
			t.Errorf("%v: range %d", r, crange)
		}
		m.ask(0, config, cmd(2))
		m.ask(kernel.ENODEV, config, cmd(2))
		m.Close()
	}
}

func TestVerdicts(t *testing.T) {
	m := boot(t, kernel.Linux4_4, nfqueue.CopyMeta, 0)
	m.ask(kernel.EINVAL, verdict)
	m.ask(kernel.EINVAL, verdict, hdr(2, 1))
	m.ask(kernel.EINVAL, verdict, hdr(6, 1))
	m.ask(kernel.ENOENT, verdict, hdr(1, 1))
	m.ask(kernel.ENOENT, batch, hdr(1, 1))
	m.send(6, 100)
	for m.s.Recv() != nil {
	}
	m.ask(0, verdict, hdr(1, 2))
	m.ask(kernel.ENOENT, verdict, hdr(1, 2))
	m.ask(0, batch, hdr(0, 3))
	if diff := cmp.Diff(inet.Stats{Sent: 6, Delivered: 1, Dropped: 2, Queued: 3}, m.Stack().Inspect(inspect.Key{})); diff != "" {
		t.Errorf("packets (-want +got):\n%s", diff)
	}
	// A stranger may decide on one packet, not on several.
	other := m.Sock(2000)
	if got := other.Ask(batch, 0, hdr(1, 6)); got != kernel.EPERM {
		t.Errorf("a stranger's batch: %v", got)
	}
	if got := other.Ask(verdict, 0, hdr(5, 4), nftest.Attr32(3, 9)); got != 0 {
		t.Errorf("a stranger's verdict: %v", got)
	}
	if got := other.Ask(verdict, 1, hdr(1, 4)); got != kernel.ENODEV {
		t.Errorf("a verdict on no queue: %v", got)
	}
	// Repeat queues it again, with another content; to a queue that does not exist drops.
	m.ask(0, config, nftest.Attr32(3, 9))
	repeat := append([]byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17}, make([]byte, 18)...)
	repeat[23] = 9
	if err := m.s.Send(nftest.Msg(verdict, uapi.NLMFRequest, 0, hdr(4, 5), nftest.Attr(10, repeat...))); err != nil {
		t.Fatal(err)
	}
	msg := m.s.Recv()
	if msg == nil || binary.BigEndian.Uint32(msg[24:]) != 7 {
		t.Errorf("after repeat: % x", msg)
	}
	m.ask(0, verdict, hdr(3|9<<16, 6))
	if got, want := m.proc(), "0 1000 1 1 0 0 0 7 1"; got != want {
		t.Errorf("/proc: %s, want %s", got, want)
	}
	m.ask(0, verdict, hdr(3|9<<16|0x8000, 7))
	if diff := cmp.Diff(inet.Stats{Sent: 6, Delivered: 3, Dropped: 3}, m.Stack().Inspect(inspect.Key{})); diff != "" {
		t.Errorf("packets (-want +got):\n%s", diff)
	}
	m.Close()
}

func TestFull(t *testing.T) {
	m := boot(t, kernel.Linux4_4, nfqueue.CopyMeta, 0)
	m.ask(0, config, nftest.Attr32(3, 2))
	m.s.Ring(2048, 8)
	m.send(4, 100)
	if got, want := m.s.Frames(), "V48 V48 V0 V0 U0 U0 U0 U0"; got != want {
		t.Errorf("ring %s, want %s", got, want)
	}
	if got, want := m.proc(), "0 1000 2 1 0 2 0 2 1"; got != want {
		t.Errorf("/proc: %s, want %s", got, want)
	}
	m.s.Release()
	if err := m.s.Send(nftest.Msg(config, uapi.NLMFRequest, 0, nftest.Attr32(5, 1), nftest.Attr32(4, 1))); err != nil {
		t.Fatal(err)
	}
	m.send(1, 100)
	if got := m.Stack().Inspect(inspect.Key{}); got.Delivered != 1 {
		t.Errorf("fail open: packets %+v", got)
	}
	m.Close()
}

// TestCopyDropped has a full ring, and packets that do not fit a frame: the first seems to be sent (defects 4.3).
func TestCopyDropped(t *testing.T) {
	m := boot(t, kernel.Linux4_5, nfqueue.CopyPacket, 65535)
	m.s.Ring(1024, 4)
	m.send(4, 100)
	m.send(2, 3000)
	if got, want := m.proc(), "0 1000 5 2 65531 0 1 6 1"; got != want {
		t.Errorf("/proc: %s, want %s", got, want)
	}
	m.send(1, 100) // would fit a frame: it does not get an id
	if got, want := m.proc(), "0 1000 5 2 65531 0 1 6 1"; got != want {
		t.Errorf("/proc: %s, want %s", got, want)
	}
	m.Close()
}

func TestLargest(t *testing.T) {
	m := boot(t, kernel.Linux4_4, nfqueue.CopyPacket, 65535)
	m.s.Ring(2048, 4)
	m.send(1, 1932-28)
	m.send(1, 1933-28)
	if got, want := m.s.Frames(), "V1976 C1977 U0 U0"; got != want {
		t.Errorf("ring %s, want %s", got, want)
	}
	m.Close()
}

// TestFragOverflow is the experiment of defects 3.11.
func TestFragOverflow(t *testing.T) {
	for r, want := range map[kernel.Release]string{
		kernel.Linux4_1: "V6096 R0 U0 U0",
		kernel.Linux4_4: "C6096 U0 U0 U0",
	} {
		m := boot(t, r, nfqueue.CopyPacket, 65535)
		m.s.Ring(2048, 4)
		p, err := m.Stack().NewUDP(m.Main, 6052-28)
		if err != nil {
			t.Fatal(err)
		}
		p.Data, p.Frags = p.Data[:1620], [][]byte{p.Data[1620:]}
		m.Stack().Output(m.Main, p)
		if got := m.s.Frames(); got != want {
			t.Errorf("%v: ring %s, want %s", r, got, want)
		}
		if table := m.s.Frame(1, 64)[48:]; r == kernel.Linux4_1 {
			if got, want := hex.EncodeToString(table), "008ec71e0088ffff0000000050110000"; got != want {
				t.Errorf("table of fragments %s, want %s", got, want)
			}
		} else if msg := m.s.Recv(); len(msg) != 6096 {
			t.Errorf("message of %d bytes", len(msg))
		}
		m.Close()
	}
}

func TestRelease(t *testing.T) {
	m := boot(t, kernel.Linux3_10, nfqueue.CopyMeta, 0)
	m.send(2, 100)
	if err := m.Main.Close(m.s.FD); err != nil {
		t.Fatal(err)
	}
	if got, want := m.Stack().Inspect(inspect.Key{}), (inet.Stats{Sent: 2, Dropped: 2}); got != want || m.proc() != "" {
		t.Errorf("packets %+v, want %+v; /proc %q", got, want, m.proc())
	}
	m.send(1, 100)
	m.Stack().FlushRules(m.Main)
	m.Stack().AddRule(m.Main, m.q.Rule(0, true))
	m.send(1, 100)
	if diff := cmp.Diff(inet.Stats{Sent: 4, Dropped: 3, Delivered: 1}, m.Stack().Inspect(inspect.Key{})); diff != "" {
		t.Errorf("packets (-want +got):\n%s", diff)
	}
	m.Close()
}

func Example() {
	m := nftest.Boot(nftest.Panic{}, kernel.Linux4_4)
	q := register(m)
	s := m.Sock(1000)
	s.Ask(config, 0, cmd(1), params(nfqueue.CopyPacket, 65535))
	s.Ring(2048, 4)
	stack := m.Inet.Stack(m.Main.Net())
	stack.AddRule(m.Main, q.Rule(0, false))
	stack.SendUDP(m.Main, 1, 100)
	stack.SendUDP(m.Main, 1, 3000)
	fmt.Println(s.Frames())
	fmt.Println(nftest.Attrs(s.Recv()))
	if err := s.Send(nftest.Msg(batch, uapi.NLMFRequest, 0, hdr(1, 2))); err != nil {
		panic(err)
	}
	fmt.Printf("%+v\n", stack.Inspect(inspect.Key{}))
	fmt.Println(m.K.Close())
	// Output:
	// V172 C3072 U0 U0
	// 1:7 6:4 10:3028
	// {Sent:2 Delivered:2 Dropped:0 Queued:0}
	// <nil>
}
