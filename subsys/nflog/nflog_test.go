package nflog_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"nlmmap/kernel"
	"nlmmap/kernel/inspect"
	"nlmmap/subsys/internal/nftest"
	"nlmmap/subsys/nflog"
	"nlmmap/uapi"
)

const config = uapi.NFULNLMsgConfig

// machine is a machine with nfnetlink_log and a socket that owns group 1.
type machine struct {
	*nftest.Machine
	l *nflog.NFLog
	s *nftest.Sock
}

func register(m *nftest.Machine) *nflog.NFLog {
	var d nflog.Differences
	m.Resolve(d.Table())
	return nflog.Register(m.NF, &d)
}

func boot(t nftest.T, r kernel.Release, set ...string) *machine {
	m := &machine{Machine: nftest.Boot(t, r, set...)}
	m.l = register(m.Machine)
	m.s = m.Sock(1000)
	m.ask(0, nftest.Attr(1, 1))
	return m
}

func (m *machine) ask(want unix.Errno, attrs ...[]byte) {
	m.T.Helper()
	if got := m.s.Ask(config, 1, attrs...); got != want {
		m.T.Error(fmt.Sprintf("got %v, want %v", got, want))
	}
}

func (m *machine) rule(threshold uint32) { m.Stack().AddRule(m.Main, m.l.Rule(1, threshold, "")) }
func (m *machine) send(count, size int)  { m.Stack().SendUDP(m.Main, count, size) }

func mode(mode byte, crange uint32) []byte {
	return nftest.Attr(2, append(binary.BigEndian.AppendUint32(nil, crange), mode, 0)...)
}

func TestMessages(t *testing.T) {
	for _, r := range kernel.Releases() {
		m := boot(t, r)
		m.rule(1)
		check := func(length int, attrs string) {
			t.Helper()
			msg := m.s.Recv()
			if len(msg) != length || nftest.Attrs(msg) != attrs {
				t.Errorf("%v: got %d bytes, %s, want %d, %s", r, len(msg), nftest.Attrs(msg), length, attrs)
			}
		}
		m.send(1, 100)
		check(192, "1:4 10:1 5:4 11:4 14:4 9:128")
		m.send(1, 3000)
		check(3092, "1:4 10:1 5:4 11:4 14:4 9:3028")
		m.ask(0, nftest.Attr(6, 0, 3), mode(nflog.CopyPacket, 30))
		m.send(1, 100)
		check(60+36+16, "1:4 10:1 5:4 11:4 14:4 12:4 13:4 9:30")
		m.ask(0, mode(nflog.CopyMeta, 0))
		m.send(1, 100)
		check(76, "1:4 10:1 5:4 11:4 14:4 12:4 13:4")
		if got := m.Stack().Inspect(inspect.Key{}).Delivered; got != 4 {
			t.Errorf("%d packets delivered", got)
		}
		m.Close()
	}
}

func TestBatches(t *testing.T) {
	m := boot(t, kernel.Linux4_4)
	m.rule(0)
	m.ask(0, nftest.Attr32(5, 3))
	m.send(7, 100)
	for range 2 {
		msg := m.s.Recv()
		if len(msg) != 596 {
			t.Fatalf("got %d bytes, want 596", len(msg))
		}
		done := uapi.ParseNLMsgHdr(msg[576:])
		if done != (uapi.NLMsgHdr{Len: 20, Type: uapi.NLMsgDone}) {
			t.Errorf("the batch ends with %+v", done)
		}
	}
	if msg := m.s.Recv(); msg != nil {
		t.Errorf("%d bytes before the timer", len(msg))
	}
	m.K.Advance(999 * kernel.Millisecond)
	if msg := m.s.Recv(); msg != nil {
		t.Errorf("%d bytes before the timer", len(msg))
	}
	m.K.Advance(kernel.Millisecond)
	if msg := m.s.Recv(); len(msg) != 192 {
		t.Errorf("the timer sent %d bytes, want 192", len(msg))
	}
	m.Close()
}

// TestPrefix has a rule with a prefix: it is in the message with the byte that ends it, and the message may need that much more.
func TestPrefix(t *testing.T) {
	m := boot(t, kernel.Linux4_4)
	m.Stack().AddRule(m.Main, m.l.Rule(1, 1, "test: "))
	m.send(1, 100)
	if msg := m.s.Recv(); len(msg) != 196 || nftest.Attrs(msg) != "1:4 10:7 5:4 11:4 14:4 9:128" {
		t.Errorf("got %d bytes, %s", len(msg), nftest.Attrs(msg))
	}
	m.Close()
}

// TestProc has a group that waits for more packets: its timer is a reference.
func TestProc(t *testing.T) {
	m := boot(t, kernel.Linux4_4)
	m.rule(0)
	check := func(want string) {
		t.Helper()
		if text, err := m.Main.ReadProc("/proc/net/netfilter/nfnetlink_log"); text != want || err != nil {
			t.Errorf("%q, %v", text, err)
		}
	}
	check("    1   1000     0 2 65531    100  1\n")
	m.send(1, 100)
	check("    1   1000     1 2 65531    100  2\n")
	m.Close()
}

// TestRoom fills a message: a packet that may not fit flushes it first.
func TestRoom(t *testing.T) {
	m := boot(t, kernel.Linux4_4)
	m.rule(0)
	m.send(3, 1500)
	if msg := m.s.Recv(); len(msg) != 2*1592+20 {
		t.Errorf("got %d bytes", len(msg))
	}
	m.Close()
}

func TestPending(t *testing.T) {
	m := boot(t, kernel.Linux4_4)
	m.rule(5)
	m.ask(0, mode(nflog.CopyPacket, 64))
	m.s.Ring(4096, 4)
	m.send(2, 100)
	if got, want := m.s.Frames(), "R0 U0 U0 U0"; got != want {
		t.Errorf("ring %s, want %s", got, want)
	}
	m.K.Advance(kernel.Second)
	if got, want := m.s.Frames(), "V276 U0 U0 U0"; got != want {
		t.Errorf("ring %s, want %s", got, want)
	}
	m.Close()
}

func TestSmallFrames(t *testing.T) {
	m := boot(t, kernel.Linux4_5)
	m.rule(1)
	m.s.Ring(2048, 4)
	m.send(2, 100)
	if got, want := m.s.Frames(), "C192 C192 U0 U0"; got != want {
		t.Errorf("ring %s, want %s", got, want)
	}
	m.Close()
}

// TestDoubleDrop has a full ring: each lost packet counts twice (defects 4.32).
func TestDoubleDrop(t *testing.T) {
	m := boot(t, kernel.Linux4_5)
	m.rule(1)
	m.s.Ring(4096, 1)
	m.send(3, 100)
	if got, want := m.s.Frames(), "V192"; got != want {
		t.Errorf("ring %s, want %s", got, want)
	}
	if got := m.NL.Sockets(inspect.Key{}, m.Main.Net())[0].Drops.Inspect(inspect.Key{}); got != 4 {
		t.Errorf("%d drops, want 4", got)
	}
	m.Close()
}

// TestRelease ends an unfinished batch by closing its owner, whose mapping shows what becomes of the frame.
func TestRelease(t *testing.T) {
	m := boot(t, kernel.Linux4_5)
	m.rule(5)
	m.s.Ring(4096, 1)
	m.send(1, 100)
	if err := m.Main.Close(m.s.FD); err != nil {
		t.Fatal(err)
	}
	if got, want := m.s.Frames(), "R0"; got != want {
		t.Errorf("ring %s, want %s: a mapping keeps the file", got, want)
	}
	m.Close()
}

func TestUnbind(t *testing.T) {
	m := boot(t, kernel.Linux4_5)
	m.rule(5)
	m.s.Ring(4096, 2)
	m.send(1, 100)
	if err := m.s.Send(nftest.Msg(config, uapi.NLMFRequest, 1, nftest.Attr(1, 2))); err != nil {
		t.Fatal(err)
	}
	if got, want := m.s.Frames(), "V192 U0"; got != want {
		t.Errorf("ring %s, want %s", got, want)
	}
	m.send(5, 100)
	if got, want := m.s.Frames(), "V192 U0"; got != want {
		t.Errorf("ring %s, want %s", got, want)
	}
	m.Close()
}

// TestDoneRoom fills a message so that DONE has no room. Only a packet with all attributes does that.
func TestDoneRoom(t *testing.T) {
	for room, want := range map[string]string{"off": "R0", "on": "V0"} {
		m := boot(t, kernel.Linux4_5, "nflog-done-room="+room)
		m.rule(0)
		m.ask(0, nftest.Attr32(5, 2))
		m.s.Ring(4096, 1)
		fill(m, room == "on")
		if got := m.s.Frames(); got != want {
			t.Errorf("nflog-done-room %s: ring %s, want %s", room, got, want)
		}
		m.Close()
	}
}

// fill logs two packets with all attributes, so that little room is left behind the second.
func fill(m *machine, reserved bool) {
	const most = 4096 - uapi.NLMMapHdrlen - 3092
	m.send(1, 3000)
	// What a message may need besides the packet, and what 3.10 wants left over.
	need := 112 + uapi.NLAHdrlen + uapi.NLAHdrlen
	if reserved {
		need = 120 + uapi.NLAHdrlen
	}
	p, err := m.Stack().NewUDP(m.Main, most-need-28)
	if err != nil {
		m.T.Fatal(err)
	}
	p.InDev, p.Mark, p.HasTimestamp, p.HWAddr = 1, 1, true, make([]byte, 6)
	m.Stack().Output(m.Main, p)
}

func TestConfig(t *testing.T) {
	for _, r := range kernel.Releases() {
		m := boot(t, r)
		want := func(group uint16, want unix.Errno, attrs ...[]byte) {
			t.Helper()
			if got := m.s.Ask(config, group, attrs...); got != want {
				t.Errorf("%v: got %v, want %v", r, got, want)
			}
		}
		since := func(first kernel.Release, then, before unix.Errno) unix.Errno {
			if r >= first {
				return then
			}
			return before
		}
		want(1, kernel.EBUSY, nftest.Attr(1, 1))
		want(2, kernel.ENODEV, nftest.Attr(1, 2))
		want(2, 0, nftest.Attr(1, 4))
		want(2, since(kernel.Linux4_4, kernel.ENODEV, 0))
		want(2, kernel.ENODEV, nftest.Attr32(5, 1))
		want(1, kernel.ENOTSUPP, nftest.Attr(1, 9))
		want(1, kernel.ENOTSUPP, nftest.Attr(1, 0))
		want(1, since(kernel.Linux4_4, kernel.EOPNOTSUPP, 0), nftest.Attr(6, 0, nflog.FlagConntrack))
		want(1, 0, nftest.Attr32(3, 1))
		want(1, kernel.ERANGE, nftest.Attr(2, 1))
		if got := m.s.Ask(uapi.NFULNLMsgPacket, 1); got != kernel.ENOTSUPP {
			t.Errorf("%v: a packet: %v", r, got)
		}
		if got := m.Sock(2000).Ask(config, 1, nftest.Attr32(5, 1)); got != kernel.EPERM {
			t.Errorf("%v: a stranger's group: %v", r, got)
		}
		want(1, 0, nftest.Attr(1, 2))
		m.Close()
	}
}

func Example() {
	m := nftest.Boot(nftest.Panic{}, kernel.Linux4_4)
	l := register(m)
	s := m.Sock(1000)
	s.Ask(config, 1, nftest.Attr(1, 1))
	s.Ring(4096, 2)
	stack := m.Inet.Stack(m.Main.Net())
	stack.AddRule(m.Main, l.Rule(1, 3, ""))
	stack.SendUDP(m.Main, 4, 100)
	fmt.Println(s.Frames())
	m.K.Advance(kernel.Second)
	fmt.Println(s.Frames())
	fmt.Println(m.K.Close())
	// Output:
	// V596 R0
	// V596 V192
	// <nil>
}
