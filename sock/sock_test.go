package sock_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/bpf"
	"pgregory.net/rapid"

	"nlmmap/kernel"
	"nlmmap/kernel/inspect"
	"nlmmap/skb"
	"nlmmap/sock"
	"nlmmap/uapi"
)

// newSock returns a socket of a kernel with a release; it is dropped, and the machine closed, when the test ends.
func newSock(t testing.TB, r kernel.Release) (*sock.Sock[struct{}], *kernel.Task) {
	t.Helper()
	k, err := kernel.Boot(kernel.Config{Version: kernel.Version{Release: r}})
	if err != nil {
		t.Fatal(err)
	}
	var d sock.Differences
	if err := k.Config().Version.Resolve(d.Table()); err != nil {
		t.Fatal(err)
	}
	p := k.NewProcess("main", k.InitNet())
	s := &sock.Sock[struct{}]{}
	destructed := 0
	s.Init(p, uapi.AFNetlink, uapi.SockRaw, 3, &d, func(cur *kernel.Task) {
		destructed++
		s.PurgeReceiveQueue(cur)
	})
	t.Cleanup(func() {
		s.Hold(p)
		s.Put(p)
		if destructed != 0 {
			t.Error("destructed with a reference left")
		}
		s.Put(p)
		if err := k.Close(); err != nil || destructed != 1 {
			t.Error(err, destructed)
		}
	})
	return s, p
}

func word(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }

func get(t testing.TB, s *sock.Sock[struct{}], cur *kernel.Task, name int) int64 {
	t.Helper()
	b, err := s.Getsockopt(cur, name, 4)
	if err != nil {
		t.Fatal(err)
	}
	return int64(int32(binary.LittleEndian.Uint32(b)))
}

// TestBufferLimits has spec 14.4, for every value that anybody sets.
func TestBufferLimits(t *testing.T) {
	for _, r := range kernel.Releases() {
		t.Run(r.String(), func(t *testing.T) {
			s, cur := newSock(t, r)
			minRcv, minSnd := int64(2304), int64(4608)
			if r == kernel.Linux3_10 {
				minRcv, minSnd = 2280, 2048
			}
			if get(t, s, cur, uapi.SoRcvbuf) != 212992 || get(t, s, cur, uapi.SoSndbuf) != 212992 {
				t.Error("wrong defaults")
			}
			rapid.Check(t, func(rt *rapid.T) {
				v := rapid.OneOf(rapid.Uint32(), rapid.Uint32Range(0, 10000), rapid.SampledFrom([]uint32{212991, 212992, 212993, 1<<31 - 1, 1 << 31})).Draw(rt, "value")
				capped := min(int64(v), 212992) // as unsigned: -1 is large
				for name, want := range map[int]int64{uapi.SoRcvbuf: max(2*capped, minRcv), uapi.SoSndbuf: max(2*capped, minSnd)} {
					if err := s.Setsockopt(cur, name, word(v)); err != nil || get(t, s, cur, name) != want {
						rt.Fatalf("option %d set to %d: %d, want %d (%v)", name, v, get(t, s, cur, name), want, err)
					}
				}
			})
			if err := s.Setsockopt(cur, uapi.SoRcvbufforce, word(1<<20)); err != nil || get(t, s, cur, uapi.SoRcvbuf) != 2<<20 {
				t.Errorf("by force: %d %v", get(t, s, cur, uapi.SoRcvbuf), err)
			}
			if err := cur.SetCapability(uapi.CapNetAdmin, false); err != nil {
				t.Fatal(err)
			}
			for _, name := range []int{uapi.SoRcvbufforce, uapi.SoSndbufforce} {
				if err := s.Setsockopt(cur, name, word(1)); !errors.Is(err, kernel.EPERM) {
					t.Errorf("by force without the capability: %v", err)
				}
			}
		})
	}
}

func send(s *sock.Sock[struct{}], cur *kernel.Task, text string) {
	m := skb.New[struct{}](s.K, len(text))
	m.Put(cur, []byte(text))
	s.ReceiveQueue.Lock.Lock(cur)
	s.ReceiveQueue.Append(cur, m)
	s.ReceiveQueue.Lock.Unlock(cur)
	s.DataReady(cur)
}

// TestRecvDatagram: the pending error comes first, then the messages in order; peeking takes nothing.
func TestRecvDatagram(t *testing.T) {
	s, cur := newSock(t, kernel.Linux4_4)
	recv := func(flags int) string {
		m, err := s.RecvDatagram(cur, flags)
		if err != nil {
			return err.Error()
		}
		defer m.Free(cur)
		return string(m.Message(cur))
	}
	send(s, cur, "")
	send(s, cur, "b")
	s.Err.Store(cur, int64(kernel.ENOBUFS))
	var got []string
	for _, flags := range []int{0, uapi.MsgPeek, uapi.MsgPeek, 0, uapi.MsgPeek, 0, uapi.MsgDontwait} {
		got = append(got, recv(flags))
	}
	// The empty message is peeked once; after that peeking passes it.
	if want := "pending socket error,,b,,b,b,resource temporarily unavailable"; strings.Join(got, ",") != want {
		t.Errorf("%q, want %q", strings.Join(got, ","), want)
	}
}

// TestTimeouts: SO_RCVTIMEO ends a wait in simulated time, 0 is for ever, MSG_DONTWAIT not at all.
func TestTimeouts(t *testing.T) {
	s, cur := newSock(t, kernel.Linux4_4)
	timeval := func(sec, usec int64) []byte {
		b := binary.LittleEndian.AppendUint64(nil, uint64(sec))
		return binary.LittleEndian.AppendUint64(b, uint64(usec))
	}
	if s.RecvTimeout(cur, 0) != kernel.Forever || s.SendTimeout(cur, 0) != kernel.Forever || s.SendTimeout(cur, uapi.MsgDontwait) != 0 {
		t.Error("wrong defaults")
	}
	if err := s.Setsockopt(cur, uapi.SoRcvtimeo, timeval(1, 500000)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.RecvDatagram(cur, 0); !errors.Is(err, kernel.EAGAIN) || s.K.Now() != 1500*kernel.Millisecond {
		t.Errorf("%v at %v", err, s.K.Now())
	}
	if s.SendTimeout(cur, 0) != kernel.Forever {
		t.Error("the timeout for receiving is one for sending")
	}
	if err := s.Setsockopt(cur, uapi.SoRcvtimeo, timeval(0, 0)); err != nil || s.RecvTimeout(cur, 0) != kernel.Forever {
		t.Errorf("0 is %v, %v", s.RecvTimeout(cur, 0), err)
	}
	for _, bad := range [][]byte{timeval(0, 1000000), timeval(0, -1), timeval(-1, 0), make([]byte, 15)} {
		if err := s.Setsockopt(cur, uapi.SoSndtimeo, bad); !errors.Is(err, kernel.EINVAL) {
			t.Errorf("%x: %v", bad, err)
		}
	}
}

func program(t testing.TB, insns ...bpf.Instruction) []byte {
	t.Helper()
	raw, err := bpf.Assemble(insns)
	if err != nil {
		t.Fatal(err)
	}
	var b []byte
	for _, i := range raw {
		b = binary.LittleEndian.AppendUint16(b, i.Op)
		b = append(b, i.Jt, i.Jf)
		b = binary.LittleEndian.AppendUint32(b, i.K)
	}
	return b
}

// TestFilter: a filter passes, cuts or rejects.
func TestFilter(t *testing.T) {
	s, cur := newSock(t, kernel.Linux4_4)
	if err := s.Setsockopt(cur, uapi.SoDetachFilter, word(0)); !errors.Is(err, kernel.ENOENT) {
		t.Errorf("nothing to detach: %v", err)
	}
	// Messages that start with 'x' are rejected, others cut to 3 bytes.
	prog := program(t, bpf.LoadAbsolute{Off: 0, Size: 1}, bpf.JumpIf{Cond: bpf.JumpEqual, Val: 'x', SkipTrue: 1},
		bpf.RetConstant{Val: 3}, bpf.RetConstant{Val: 0})
	if err := s.Setsockopt(cur, uapi.SoAttachFilter, prog); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{"xabc": "", "abcdef": "abc", "ab": "ab", "": ""} {
		m := skb.New[struct{}](s.K, 10)
		m.Put(cur, []byte(text))
		got := ""
		if s.Accept(cur, m) {
			got = string(m.Message(cur))
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
		m.Free(cur)
	}
	for _, bad := range [][]byte{nil, prog[:9], program(t, bpf.LoadConstant{Val: 1})} {
		if err := s.Setsockopt(cur, uapi.SoAttachFilter, bad); !errors.Is(err, kernel.EINVAL) {
			t.Errorf("a filter of %d bytes: %v", len(bad), err)
		}
	}
	if err := s.Setsockopt(cur, uapi.SoDetachFilter, word(0)); err != nil {
		t.Error(err)
	}
}

func TestOptions(t *testing.T) {
	s, cur := newSock(t, kernel.Linux4_4)
	for name, want := range map[int]int64{uapi.SoType: uapi.SockRaw, uapi.SoProtocol: 3, uapi.SoDomain: uapi.AFNetlink, uapi.SoPasscred: 0, uapi.SoError: 0} {
		if got := get(t, s, cur, name); got != want {
			t.Errorf("option %d is %d, want %d", name, got, want)
		}
	}
	if err := s.Setsockopt(cur, uapi.SoPasscred, word(5)); err != nil || get(t, s, cur, uapi.SoPasscred) != 1 {
		t.Error("SO_PASSCRED")
	}
	if err := s.Setsockopt(cur, uapi.SoPasscred, []byte{1}); !errors.Is(err, kernel.EINVAL) {
		t.Error(err)
	}
	if b, err := s.Getsockopt(cur, uapi.SoType, 2); len(b) != 2 || err != nil {
		t.Error(b, err)
	}
	for _, name := range []int{uapi.SoDetachFilter, 999} {
		if _, err := s.Getsockopt(cur, name, 4); !errors.Is(err, kernel.ENOPROTOOPT) {
			t.Error(err)
		}
	}
	// A negative pending error, which 3.10 can store, is shown with its sign.
	s.Err.Store(cur, -105)
	if e := get(t, s, cur, uapi.SoError); e != -105 || get(t, s, cur, uapi.SoError) != 0 {
		t.Errorf("SO_ERROR %d", e)
	}
}

// What a socket accepts is decided by what it holds already: rmem against rcvbuf.
func Example() {
	k, err := kernel.Boot(kernel.Config{Version: kernel.Version{Release: kernel.Linux3_19}})
	if err != nil {
		panic(err)
	}
	p := k.NewProcess("main", k.InitNet())
	var d sock.Differences
	if err := k.Config().Version.Resolve(d.Table()); err != nil {
		panic(err)
	}
	var s sock.Sock[struct{}]
	s.Init(p, uapi.AFNetlink, uapi.SockRaw, 0, &d, func(*kernel.Task) {})
	if err := s.Setsockopt(p, uapi.SoRcvbuf, []byte{0, 0, 0, 0}); err != nil {
		panic(err)
	}
	fmt.Println("rcvbuf", s.Rcvbuf.Load(p))
	s.Charge(p, 2304)
	fmt.Println("full:", s.Rmem.Load(p) > s.Rcvbuf.Load(p))
	s.Charge(p, 2304)
	fmt.Println("full:", s.Rmem.Load(p) > s.Rcvbuf.Load(p))
	s.Uncharge(p, 2*2304)
	s.Put(p)
	fmt.Println(k.Close())
	// Output:
	// rcvbuf 2304
	// full: false
	// full: true
	// <nil>
}

// TestForcedLimits: a forced value of half the range or more becomes a negative limit.
func TestForcedLimits(t *testing.T) {
	s, cur := newSock(t, kernel.Linux4_5)
	for v, want := range map[uint32]int64{^uint32(0): -2, 1 << 30: -1 << 31, 1 << 31: 2304, 0: 2304, 1 << 20: 1 << 21} {
		if err := s.Setsockopt(cur, uapi.SoRcvbufforce, word(v)); err != nil {
			t.Fatal(err)
		}
		if got := s.Rcvbuf.Inspect(inspect.Key{}); got != want {
			t.Errorf("SO_RCVBUFFORCE %d gives %d, want %d", int32(v), got, want)
		}
	}
}
