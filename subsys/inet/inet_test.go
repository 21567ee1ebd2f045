package inet_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"nlmmap/kernel"
	"nlmmap/kernel/inspect"
	"nlmmap/subsys/inet"
)

func boot(t *testing.T) (*inet.Inet, *kernel.Kernel, *kernel.Task) {
	k, err := kernel.Boot(kernel.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return inet.Register(k, &inet.Differences{}), k, k.KernelTask("admin")
}

func TestNeighLimit(t *testing.T) {
	in, k, cur := boot(t)
	a, b := in.Stack(k.NewNet()), in.Stack(k.NewNet())
	if err := a.PopulateNeigh(cur, 1000); err != nil {
		t.Fatal(err)
	}
	if err := b.PopulateNeigh(cur, 25); !errors.Is(err, kernel.ENOBUFS) {
		t.Errorf("1025 neighbours: %v", err)
	}
	if err := a.DelNeigh(cur, 2, netip.MustParseAddr("10.0.0.1")); err != nil {
		t.Fatal(err)
	}
	n, _ := a.NeighAt(cur, 0)
	if n.State != inet.NUDFailed {
		t.Errorf("%v is deleted", n)
	}
	if err := a.PopulateNeigh(cur, 1); err != nil {
		t.Errorf("one that has failed makes room: %v", err)
	}
	if n, _ := a.NeighAt(cur, 0); n.Dst != netip.MustParseAddr("10.0.0.2") {
		t.Errorf("%v", n)
	}
	if err := a.DelNeigh(cur, 2, netip.MustParseAddr("10.0.0.2")); err != nil {
		t.Fatal(err)
	}
	if err := a.AddNeigh(cur, inet.Neigh{Dst: netip.MustParseAddr("10.9.9.8"), Dev: 2}); err != nil {
		t.Error(err)
	}
	if found, ok := a.FindNeigh(cur, 2, netip.MustParseAddr("10.0.3.232")); !ok || found.Dev != 2 {
		t.Errorf("%v %t", found, ok)
	}
	if err := b.AddNeigh(cur, inet.Neigh{Dst: netip.MustParseAddr("10.9.9.9"), Dev: 2}); !errors.Is(err, kernel.ENOBUFS) {
		t.Errorf("1025 neighbours again: %v", err)
	}
}

func TestRoutes(t *testing.T) {
	in, k, cur := boot(t)
	s := in.Stack(k.InitNet())
	if _, err := s.LookupIn(cur, netip.MustParseAddr("127.0.0.1"), 0); kernel.ErrnoOf(err) != inet.ENETUNREACH {
		t.Error(err)
	}
	s.LoUp(cur)
	s.LoUp(cur)
	if err := s.PopulateRoute(cur, 2); err != nil {
		t.Fatal(err)
	}
	want := []string{"254 10.0.0.0/24", "254 10.0.1.0/24", "255 127.0.0.0/32", "255 127.0.0.0/8", "255 127.0.0.1/32",
		"255 127.255.255.255/32"}
	var got []string
	for r, ok := s.RouteFrom(cur, inet.Route{}); ok; r, ok = s.RouteAfter(cur, r) {
		got = append(got, fmt.Sprint(r.Table, " ", r.Dst))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	r, err := s.LookupIn(cur, netip.MustParseAddr("127.9.9.9"), 0)
	if err != nil || r.Dst.Bits() != 8 || r.Type != inet.RTNLocal {
		t.Errorf("%v %v", r, err)
	}
	if _, err := s.LookupIn(cur, netip.MustParseAddr("127.0.0.1"), inet.TableMain); err == nil {
		t.Error("127.0.0.1 is in the main table")
	}
}

func TestOutput(t *testing.T) {
	in, k, cur := boot(t)
	s := in.Stack(k.InitNet())
	var queued []*inet.Packet
	logged := 0
	s.AddRule(cur, inet.Rule{Name: "log", Target: func(*kernel.Task, *inet.Packet) inet.Verdict { logged++; return inet.Continue }})
	s.AddRule(cur, inet.Rule{Name: "queue", Target: func(_ *kernel.Task, p *inet.Packet) inet.Verdict {
		queued = append(queued, p)
		return inet.Stolen
	}})
	if sent, failed := s.SendUDP(cur, 2, 100); sent != 2 || failed != 0 {
		t.Errorf("%d %d", sent, failed)
	}
	if sent, failed := s.SendUDP(cur, 1, 65508); sent != 0 || failed != 1 {
		t.Errorf("too long: %d %d", sent, failed)
	}
	s.Reinject(cur, queued[0], inet.Accept)
	s.Reinject(cur, queued[1], inet.Repeat)
	s.Reinject(cur, queued[2], inet.Drop)
	if got, want := s.Inspect(inspect.Key{}), (inet.Stats{Sent: 2, Delivered: 1, Dropped: 1}); got != want || logged != 3 {
		t.Errorf("%+v, logged %d", got, logged)
	}
	s.FlushRules(cur)
	s.SendUDP(cur, 1, 0)
	if got := s.Inspect(inspect.Key{}).Delivered; got != 2 {
		t.Errorf("%d delivered", got)
	}
}

// TestChecksum: the sum over pseudo header and datagram is 0 when the checksum is complete.
func TestChecksum(t *testing.T) {
	in, k, cur := boot(t)
	for _, size := range []int{0, 1, 100, 1001} {
		p, err := in.Stack(k.InitNet()).NewUDP(cur, size)
		if err != nil {
			t.Fatal(err)
		}
		for i := range size {
			p.Data[28+i] = byte(i * 7)
		}
		p.CompleteChecksum()
		p.CompleteChecksum()
		sum := uint32(17 + 8 + size)
		add := func(b []byte) {
			for i := 0; i < len(b); i += 2 {
				v := uint32(b[i]) << 8
				if i+1 < len(b) {
					v |= uint32(b[i+1])
				}
				sum += v
			}
		}
		add(p.Data[12:])
		for sum > 0xffff {
			sum = sum&0xffff + sum>>16
		}
		if sum != 0xffff {
			t.Errorf("size %d: %#x, checksum %#x", size, sum, binary.BigEndian.Uint16(p.Data[26:]))
		}
	}
}

// A rule that drops every packet; the sender does not notice.
func Example() {
	k, err := kernel.Boot(kernel.Config{})
	if err != nil {
		panic(err)
	}
	admin := k.KernelTask("admin")
	stack := inet.Register(k, &inet.Differences{}).Stack(k.InitNet())
	stack.AddRule(admin, inet.Rule{Name: "drop", Target: func(_ *kernel.Task, p *inet.Packet) inet.Verdict {
		fmt.Println("a packet of", p.Len(), "bytes")
		return inet.Drop
	}})
	fmt.Println(stack.SendUDP(admin, 1, 100))
	fmt.Println(stack.Inspect(inspect.Key{}))
	fmt.Println(k.Close())
	// Output:
	// a packet of 128 bytes
	// 1 0
	// {1 0 1 0}
	// <nil>
}

// TestTables: a dump goes through tables by their number modulo 256, the newest first where that is the same, and goes on where a
// route was that is gone.
func TestTables(t *testing.T) {
	in, k, cur := boot(t)
	s := in.Stack(k.InitNet())
	s.LoUp(cur)
	route := func(table uint32, dst string) inet.Route {
		return inet.Route{Dst: netip.MustParsePrefix(dst), Table: table, Type: inet.RTNUnicast, Scope: inet.ScopeLink, Dev: inet.LoIndex}
	}
	for _, r := range []inet.Route{route(7, "10.0.0.0/8"), route(263, "10.0.0.0/8"), route(519, "10.1.0.0/16"), route(6, "11.0.0.0/8"),
		route(263, "10.0.0.0/16"), route(263, "9.0.0.0/8")} {
		if err := s.AddRoute(cur, inet.Cause{}, r, inet.RouteCreate|inet.RouteExcl); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"6 11.0.0.0/8", "519 10.1.0.0/16", "263 9.0.0.0/8", "263 10.0.0.0/16", "263 10.0.0.0/8", "7 10.0.0.0/8"}
	var got []string
	r, ok := s.RouteFrom(cur, inet.Route{})
	for ok && r.Table < inet.TableLocal || r.Table > 256 {
		got = append(got, fmt.Sprint(r.Table, " ", r.Dst))
		if err := s.DelRoute(cur, inet.Cause{}, r); err != nil {
			t.Fatal(err)
		}
		if next, found := s.RouteFrom(cur, r); found && next == r {
			t.Fatalf("%v is still there", r)
		}
		r, ok = s.RouteAfter(cur, r)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if s.HasTable(cur, 263) || !s.HasTable(cur, inet.TableLocal) {
		t.Error("which tables have routes")
	}
}
