package rtnetlink_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/kernel/inspect"
	"nlmmap/subsys"
	"nlmmap/subsys/inet"
	"nlmmap/subsys/internal/nltest"
	"nlmmap/uapi"
)

// errnos are those of the types 16 to 96 that answer something else than EOPNOTSUPP to 20 zero bytes (spec 11.3).
func errnos(family byte, r kernel.Release) map[uint16]int {
	m := map[uint16]int{16: 19, 17: 22, 18: 22, 19: 22, 28: 22, 29: 22, 32: 97, 33: 97, 67: 22}
	if r >= kernel.Linux4_1 {
		m[88], m[90] = 22, 22
	}
	if family == uapi.AFInet6 {
		m[20], m[21], m[22], m[24], m[25], m[72], m[73], m[74] = 22, 22, 22, 19, 2, 22, 22, 22
		m[82] = -22
		if r == kernel.Linux4_5 {
			m[82] = 22
		}
	}
	if family == uapi.AFInet {
		m[20], m[21], m[24], m[25], m[32], m[33] = 22, 19, 22, 3, 0, 0
		m[82] = -22
		if r == kernel.Linux4_5 {
			m[82] = 22
		}
	}
	return m
}

func TestErrnos(t *testing.T) {
	nltest.EachRelease(t, func(t *testing.T, m *nltest.Machine) {
		s := m.Open(uapi.NetlinkRoute, 1000, 0)
		for _, family := range []byte{uapi.AFUnspec, uapi.AFInet, uapi.AFInet6} {
			want := errnos(family, m.Release())
			for typ := uint16(16); typ <= 96; typ++ {
				if typ == uapi.RTMGetroute && family != uapi.AFUnspec {
					continue
				}
				payload := make([]byte, 20)
				payload[0] = family
				code, ok := want[typ]
				if !ok {
					code = 95
				}
				if got := s.Ack(typ, 0, payload); got != -code {
					t.Errorf("family %d type %d: %d, want %d", family, typ, got, -code)
				}
			}
		}
		// Each request needs its header.
		for typ, n := range map[uint16]int{16: 16, 18: 16, 21: 8, 25: 12, 26: 12, 28: 12, 32: 12, 33: 12} {
			payload := make([]byte, n-1)
			payload[0] = uapi.AFInet
			if got := s.Ack(typ, 0, payload); got != -22 {
				t.Errorf("type %d with %d bytes: %d", typ, n-1, got)
			}
		}
		if got := s.Ack(511, 0, make([]byte, 20)); got != -95 {
			t.Errorf("type 511: %d", got)
		}
		if got := s.Ack(511, 0, nil); got != -95 {
			t.Errorf("type 511 without payload: %d", got)
		}
		if got := s.Ack(16, 0, nil); got != 0 {
			t.Errorf("no payload: %d", got)
		}
		if err := m.SetCapability(uapi.CapNetAdmin, false); err != nil {
			t.Fatal(err)
		}
		if got := s.Ack(84, 0, make([]byte, 20)); got != -1 {
			t.Errorf("unprivileged change of an unknown type: %d", got)
		}
	})
}

// TestDumpable: which types can be dumped in an empty namespace, and what comes (spec 11.3, 11.7).
func TestDumpable(t *testing.T) {
	nltest.EachRelease(t, func(t *testing.T, m *nltest.Machine) {
		s := m.Open(uapi.NetlinkRoute, 1000, 0)
		r := m.Release()
		lo := []uint32{1064, 1140, 1148, 1172, 1172}[r]
		lo6 := []uint32{548, 608, 616, 636, 636}[r]
		route6 := []uint32{88, 88, 96, 96, 96}[r]
		for _, family := range []byte{0, 2, 10, 7, 99} {
			dumpable := []uint16{18, 22, 26, 30, 34, 66}
			if r >= kernel.Linux4_1 {
				dumpable = append(dumpable, 90)
			}
			if family == 2 || family == 10 {
				dumpable = append(dumpable, 82)
			}
			if family == 10 {
				dumpable = append(dumpable, 58, 62, 74)
			}
			for typ := uint16(18); typ <= 94; typ += 4 {
				payload := make([]byte, 16)
				payload[0] = family
				buffers, code := s.Dump(typ, payload)
				want := 0
				switch {
				case !slices.Contains(dumpable, typ):
					want = -95
				case typ == 34 && family != 0 && family != 2:
					want = -97
				}
				if code != want {
					t.Errorf("family %d type %d: %d, want %d", family, typ, code, want)
				}
				if want != 0 {
					continue
				}
				var size uint32
				switch {
				case typ == 18 && family == 10:
					size = lo6
				case typ == 18 && family != 7:
					size = lo
				case typ == 26 && family != 2:
					size = route6
				case typ == 58:
					size = 64
				case typ == 66 && family != 7 && family != 99:
					size = []uint32{348, 348, 356, 364, 364}[r]
				case typ == 74:
					size = 56
				case typ == 82 && family == 2:
					size = []uint32{52, 60, 60, 68, 68}[r]
				case typ == 82:
					size = []uint32{36, 44, 44, 52, 52}[r]
				case typ == 34:
					size = []uint32{36, 44, 44, 44, 44}[r]
					if len(buffers) != 0 && len(buffers[0]) != 3 {
						t.Errorf("family %d: %d rules", family, len(buffers[0]))
					}
				}
				if size == 0 && len(buffers) != 1 {
					t.Errorf("family %d type %d: %v", family, typ, buffers)
				}
				if size != 0 && (len(buffers) != 2 || buffers[0][0].Len != size || buffers[0][0].Flags != uapi.NLMFMulti) {
					t.Errorf("family %d type %d: want one message of %d bytes: %v", family, typ, size, buffers)
				}
			}
		}
	})
}

// TestDumpSizes: messages as long as they fit (spec 11.6).
func TestDumpSizes(t *testing.T) {
	nltest.EachRelease(t, func(t *testing.T, m *nltest.Machine) {
		stack := m.Inet(m.Task.Net())
		admin := m.Task.Kernel().KernelTask("admin")
		if err := stack.PopulateNeigh(admin, 120); err != nil {
			t.Fatal(err)
		}
		if err := stack.PopulateRoute(admin, 100); err != nil {
			t.Fatal(err)
		}
		s := m.Open(uapi.NetlinkRoute, 1000, 0)
		neighs, _ := s.Dump(uapi.RTMGetneigh, append([]byte{uapi.AFInet}, make([]byte, 11)...))
		if len(neighs[0]) != 49 || neighs[0][0].Len != 76 {
			t.Errorf("%d neighbours of %d bytes", len(neighs[0]), neighs[0][0].Len)
		}
		n := 0
		for _, b := range neighs[:len(neighs)-1] {
			n += len(b)
		}
		if n != 120 {
			t.Errorf("%d neighbours", n)
		}
		r := m.Open(uapi.NetlinkRoute, 1001, 0)
		routes, _ := r.Dump(uapi.RTMGetroute, append([]byte{2}, make([]byte, 11)...))
		if len(routes[0]) != 72 || routes[0][0].Len != 52 {
			t.Errorf("%d routes of %d bytes", len(routes[0]), routes[0][0].Len)
		}
		cloned := make([]byte, 12)
		cloned[9] = 0x02
		if routes, code := r.Dump(uapi.RTMGetroute, cloned); len(routes) != 1 || code != 0 {
			t.Errorf("a dump of the cache: %v %d", routes, code)
		}
	})
}

func TestNeighFilter(t *testing.T) {
	nltest.EachRelease(t, func(t *testing.T, m *nltest.Machine) {
		stack := m.Inet(m.Task.Net())
		admin := m.Task.Kernel().KernelTask("admin")
		for range 2 {
			d, err := stack.AddDevice(admin, inet.KindDummy, "")
			for i := range byte(3) { // both devices get the same addresses
				n := inet.Neigh{Dst: netip.AddrFrom4([4]byte{10, 0, 0, i}), Dev: d.Index, State: inet.NUDPermanent}
				err = errors.Join(err, stack.AddNeigh(admin, n))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		s := m.Open(uapi.NetlinkRoute, 1000, 0)
		payload := append(make([]byte, 12), 8, 0, 8, 0, 3, 0, 0, 0)
		got, _ := s.Dump(uapi.RTMGetneigh, payload)
		want, flags := 6, uint16(uapi.NLMFMulti)
		if m.Release() >= kernel.Linux4_4 {
			want, flags = 3, uapi.NLMFMulti|uapi.NLMFDumpFiltered
		}
		if len(got[0]) != want || got[0][0].Flags != flags {
			t.Errorf("%d neighbours, flags %#x", len(got[0]), got[0][0].Flags)
		}
	})
}

func TestNotifications(t *testing.T) {
	nltest.EachRelease(t, func(t *testing.T, m *nltest.Machine) {
		s := m.Open(uapi.NetlinkRoute, 1000, 0x5)
		if err := m.Inet(m.Task.Net()).PopulateNeigh(m.Task.Kernel().KernelTask("admin"), 1); err != nil {
			t.Fatal(err)
		}
		link := []uint32{1080, 1156, 1164, 1188, 1188}[m.Release()]
		for i, want := range []uapi.NLMsgHdr{{Len: link, Type: 16}, {Len: link, Type: 16}, {Len: 76, Type: 28}} {
			got := s.Recv()
			if len(got) != 1 || got[0].NLMsgHdr != want {
				t.Errorf("notification %d: %+v, want %+v", i, got, want)
			}
		}
		if err := m.Inet(m.Task.Net()).PopulateNeigh(m.Task.Kernel().KernelTask("admin"), 1); err != nil {
			t.Fatal(err)
		}
		// A neighbour is charged as what was allocated for it. The device is there already.
		if got := int(sk(m, s.FD).Rmem.Inspect(inspect.Key{})); got != 768 {
			t.Errorf("%d bytes are charged", got)
		}
	})
}

func sk(m *nltest.Machine, fd int) *afnetlink.Sock {
	return afnetlink.SockOf(m.Task.FileOf(inspect.Key{}, fd))
}

// TestInterruptedDump: a device that is made while links are dumped marks the end. It is not shown: the dump has seen the
// end of the list already.
func TestInterruptedDump(t *testing.T) {
	nltest.EachRelease(t, func(t *testing.T, m *nltest.Machine) {
		s := m.Open(uapi.NetlinkRoute, 1000, 0)
		s.Send(uapi.RTMGetlink, uapi.NLMFDump, make([]byte, 16))
		admin := m.Task.Kernel().KernelTask("admin")
		if _, err := m.Inet(m.Task.Net()).AddDevice(admin, inet.KindDummy, ""); err != nil {
			t.Fatal(err)
		}
		for _, want := range []uint16{uapi.NLMFMulti, uapi.NLMFMulti | uapi.NLMFDumpIntr} {
			if got := s.Recv(); len(got) == 0 || got[0].Flags != want {
				t.Errorf("%+v, want flags %#x", got, want)
			}
		}
	})
}

// TestAddrs: the address that lo gets when it comes up.
func TestAddrs(t *testing.T) {
	nltest.EachRelease(t, func(t *testing.T, m *nltest.Machine) {
		m.Inet(m.Task.Net()).LoUp(m.Task.Kernel().KernelTask("admin"))
		buffers, code := m.Open(uapi.NetlinkRoute, 1000, 0).Dump(uapi.RTMGetaddr, append([]byte{2}, make([]byte, 7)...))
		want := uint32(76)
		if m.Release() == kernel.Linux3_10 {
			want = 68
		}
		if code != 0 || len(buffers) != 2 || buffers[0][0].Len != want {
			t.Errorf("%v %d", buffers, code)
		}
	})
}

// TestRequests: a dummy device and neighbours, by netlink.
func TestRequests(t *testing.T) {
	nltest.EachRelease(t, func(t *testing.T, m *nltest.Machine) {
		s := m.Open(uapi.NetlinkRoute, 1000, 0)
		link := make([]byte, 16)
		link[8], link[12] = 1, 1
		link = append(link, 16, 0, 18, 0, 10, 0, 1, 0, 'd', 'u', 'm', 'm', 'y', 0, 0, 0)
		create := uint16(uapi.NLMFCreate | uapi.NLMFExcl)
		if code := s.Ack(uapi.RTMNewlink, create, link); code != 0 {
			t.Fatalf("NEWLINK: %d", code)
		}
		get := make([]byte, 16)
		get[4] = 2
		s.Send(uapi.RTMGetlink, 0, get)
		if got := s.Recv(); len(got) != 1 || binary.LittleEndian.Uint32(got[0].Payload[8:])&1 == 0 {
			t.Fatalf("GETLINK: %v", got)
		}
		get[4] = 9
		if code := s.Ack(uapi.RTMGetlink, 0, get); code != -19 {
			t.Errorf("GETLINK of nothing: %d", code)
		}
		neigh := make([]byte, 12)
		neigh[0], neigh[4], neigh[8] = 2, 2, 0x80
		neigh = append(neigh, 8, 0, 1, 0, 10, 0, 0, 1, 10, 0, 2, 0, 2, 0, 0, 0, 0, 1, 0, 0)
		for _, step := range []struct {
			typ, flags uint16
			code       int
		}{
			{uapi.RTMNewneigh, 0, -2}, {uapi.RTMNewneigh, create, 0}, {uapi.RTMNewneigh, create, -17},
			{uapi.RTMDelneigh, 0, 0}, {uapi.RTMDelneigh, 0, 0}, // it stays as one that has failed
		} {
			if code := s.Ack(step.typ, step.flags, neigh); code != step.code {
				t.Errorf("type %d flags %#x: %d, want %d", step.typ, step.flags, code, step.code)
			}
		}
		s.Send(uapi.RTMGetroute, 0, append([]byte{2}, make([]byte, 19)...))
		if got := s.Recv(); len(got) != 1 || got[0].Len != 96 {
			t.Errorf("GETROUTE: %v", got)
		}
		s.Send(uapi.RTMGetroute, 0, append([]byte{10}, make([]byte, 19)...))
		if got := s.Recv(); len(got) != 1 || got[0].Len != []uint32{128, 128, 136, 136, 136}[m.Release()] {
			t.Errorf("GETROUTE of IPv6: %v", got)
		}
	})
}

// The links of a namespace, by a dump: lo, then DONE.
func Example() {
	k, err := kernel.Boot(kernel.Config{Version: kernel.Version{Release: kernel.Linux4_4}})
	if err != nil {
		panic(err)
	}
	if _, err := subsys.Register(k); err != nil {
		panic(err)
	}
	task := k.NewProcess("main", k.NewNet())
	fd, _ := task.Socket(uapi.AFNetlink, uapi.SockRaw, uapi.NetlinkRoute)
	request := nltest.Msg(uapi.RTMGetlink, uapi.NLMFDump, make([]byte, 16))
	_, _ = task.Sendto(fd, request, 0, uapi.SockaddrNL{Family: uapi.AFNetlink}.Bytes())
	for range 2 {
		buf := make([]byte, 8192)
		n, _ := task.Recvmsg(fd, &kernel.Msghdr{Iov: []kernel.Iovec{kernel.Iov(buf)}}, 0)
		fmt.Println("type", uapi.ParseNLMsgHdr(buf).Type, "length", n)
	}
	fmt.Println(k.Close())
	// Output:
	// type 16 length 1172
	// type 3 length 20
	// <nil>
}
