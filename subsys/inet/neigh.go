package inet

import (
	"net/netip"
	"slices"

	"nlmmap/kernel"
)

// States of neighbours (NUD_*).
const (
	NUDIncomplete = 0x01
	NUDReachable  = 0x02
	NUDStale      = 0x04
	NUDDelay      = 0x08
	NUDProbe      = 0x10
	NUDFailed     = 0x20
	NUDNoARP      = 0x40
	NUDPermanent  = 0x80

	// nudConnected are the states in which the link-layer address is known to be right, nudValid those in which it means
	// something.
	nudConnected = NUDPermanent | NUDNoARP | NUDReachable
	nudValid     = nudConnected | NUDProbe | NUDStale | NUDDelay
)

// maxNeighs is how many neighbours there can be in all namespaces together (gc_thresh3, spec 11.4).
const maxNeighs = 1024

// A Neigh is a neighbour.
type Neigh struct {
	Dst   netip.Addr
	Dev   int
	MAC   [6]byte
	Bare  bool // the device has no link-layer addresses
	State uint16
	Flags uint8
	Type  uint8 // that of a route to it (RTN_*)
}

// Valid reports whether the link-layer address means something (NUD_VALID).
func (n Neigh) Valid() bool { return n.State&nudValid != 0 }

// neighs is the neighbours, in the order of their making.
type neighs struct {
	list    []Neigh
	known   map[neighKey]int // index into list
	proxies []Neigh
}

type neighKey struct {
	dst netip.Addr
	dev int
}

// AddNeigh makes or changes a neighbour (neigh_add). ENODEV when there is no such device, ENOBUFS when the table,
// which all namespaces share, is full.
func (s *Stack) AddNeigh(cur *kernel.Task, n Neigh) error {
	if _, ok := s.Device(cur, n.Dev); !ok {
		return kernel.Errorf(kernel.ENODEV, "no device %d", n.Dev)
	}
	if err := s.setNeigh(cur, n); err != nil {
		return err
	}
	s.tellNeigh(cur, n, false)
	return nil
}

// setNeigh makes or changes a neighbour and tells nobody.
func (s *Stack) setNeigh(cur *kernel.Task, n Neigh) error {
	if n.Type == 0 {
		n.Type = s.neighType(cur, n)
	}
	if int(s.in.neighs.Load(cur)) >= maxNeighs { // neigh_forced_gc
		s.forgetNeighs(cur, func(o Neigh) bool { return o.State == NUDFailed && (o.Dst != n.Dst || o.Dev != n.Dev) })
	}
	// A place is taken before the table is looked at, and given back where it was not needed.
	full := s.in.neighs.Add(cur, 1) > maxNeighs
	key := neighKey{n.Dst, n.Dev}
	known := false
	s.neighs.Change(cur, func(t *neighs) {
		i, ok := t.known[key]
		switch {
		case ok:
			known = true
			t.list[i] = n
		case !full:
			if t.known == nil {
				t.known = map[neighKey]int{}
			}
			t.known[key] = len(t.list)
			t.list = append(t.list, n)
		}
	})
	if known || full {
		s.in.neighs.Count(cur, -1)
	}
	if full && !known {
		return kernel.Errorf(kernel.ENOBUFS, "there are %d neighbours", maxNeighs)
	}
	return nil
}

// neighType is what arp_constructor finds.
func (s *Stack) neighType(cur *kernel.Task, n Neigh) uint8 {
	if !n.Dst.Is4() {
		return RTNUnicast
	}
	return s.addrType(cur, n.Dst)
}

// UpdateNeigh is neigh_update for a request: a neighbour that is made begins without ARP on a device that has none. With
// override another link-layer address than the known one is taken; without it such a request changes nothing. EINVAL when
// there is no address to be had.
func (s *Stack) UpdateNeigh(cur *kernel.Task, n Neigh, hasMAC, override bool) error {
	d, _ := s.Device(cur, n.Dev)
	n.Bare = !d.Addressed()
	if n.Bare {
		n.MAC = [6]byte{}
	}
	old, known := s.FindNeigh(cur, n.Dev, n.Dst)
	if !known {
		old = Neigh{Dst: n.Dst, Dev: n.Dev, MAC: d.MAC, Type: s.neighType(cur, n)}
		switch {
		case old.Type == RTNMulticast && n.Dst.Is4():
			group := n.Dst.As4()
			old.State, old.MAC = NUDNoARP, [6]byte{1, 0, 0x5e, group[1] & 0x7f, group[2], group[3]}
		case d.IfFlags&(FlagNoARP|FlagLoopback) != 0:
			old.State = NUDNoARP
		}
	}
	n.Type = old.Type
	switch {
	case n.State&nudValid == 0:
		n.MAC = old.MAC
		if known && old.State == n.State {
			return nil
		}
	case !hasMAC && old.State&nudValid == 0:
		return kernel.Errorf(kernel.EINVAL, "no link-layer address")
	case !hasMAC:
		n.MAC = old.MAC
	case n.MAC != old.MAC && old.State&nudValid != 0 && !override:
		return nil
	}
	told := n.MAC != old.MAC || n.State&nudValid == 0
	if s.in.D.NeighStateTold {
		told = told || n.State != old.State
	}
	if err := s.setNeigh(cur, n); err != nil {
		return err
	}
	if told {
		s.tellNeigh(cur, n, false)
	}
	return nil
}

// DelNeigh makes a neighbour one that cannot be reached (neigh_delete); the table forgets it when it needs the room.
// ENOENT when there is none.
func (s *Stack) DelNeigh(cur *kernel.Task, dev int, dst netip.Addr) error {
	n, found := s.FindNeigh(cur, dev, dst)
	if !found {
		return kernel.Errorf(kernel.ENOENT, "no neighbour %v on device %d", dst, dev)
	}
	if n.State == NUDFailed {
		return nil
	}
	n.State = NUDFailed
	if err := s.setNeigh(cur, n); err != nil {
		return err
	}
	s.tellNeigh(cur, n, false)
	return nil
}

// forgetNeighs removes neighbours and returns them.
func (s *Stack) forgetNeighs(cur *kernel.Task, gone func(Neigh) bool) (list []Neigh) {
	s.neighs.Change(cur, func(t *neighs) {
		rest := make([]Neigh, 0, len(t.list))
		for _, n := range t.list {
			if gone(n) {
				list = append(list, n)
				delete(t.known, neighKey{n.Dst, n.Dev})
				continue
			}
			t.known[neighKey{n.Dst, n.Dev}] = len(rest)
			rest = append(rest, n)
		}
		t.list = rest
	})
	s.in.neighs.Count(cur, -int64(len(list)))
	return list
}

// neighsDown forgets the neighbours on a device that is down: neigh_ifdown.
func (s *Stack) neighsDown(cur *kernel.Task, dev int) {
	for _, n := range s.forgetNeighs(cur, func(n Neigh) bool { return n.Dev == dev }) {
		s.tellNeigh(cur, n, true)
	}
	s.neighs.Change(cur, func(t *neighs) {
		t.proxies = slices.DeleteFunc(slices.Clone(t.proxies), func(n Neigh) bool { return n.Dev == dev })
	})
}

// AddProxy makes this host answer for an address on a device, or on all for device 0.
func (s *Stack) AddProxy(cur *kernel.Task, n Neigh) {
	s.neighs.Change(cur, func(t *neighs) {
		same := func(o Neigh) bool { return o.Dst == n.Dst && o.Dev == n.Dev }
		if !slices.ContainsFunc(t.proxies, same) {
			t.proxies = append(slices.Clip(t.proxies), n)
		}
	})
}

// DelProxy ends that: ENOENT when it does not.
func (s *Stack) DelProxy(cur *kernel.Task, dev int, dst netip.Addr) error {
	found := false
	s.neighs.Change(cur, func(t *neighs) {
		n := len(t.proxies)
		t.proxies = slices.DeleteFunc(slices.Clone(t.proxies), func(o Neigh) bool { return o.Dst == dst && o.Dev == dev })
		found = len(t.proxies) < n
	})
	if !found {
		return kernel.Errorf(kernel.ENOENT, "this host does not answer for %v", dst)
	}
	return nil
}

// Proxies returns the addresses that this host answers for.
func (s *Stack) Proxies(cur *kernel.Task) (list []Neigh) {
	s.neighs.Read(cur, func(t *neighs) { list = slices.Clone(t.proxies) })
	return list
}

func (s *Stack) tellNeigh(cur *kernel.Task, n Neigh, gone bool) {
	if n.Type == 0 {
		n.Type = s.neighType(cur, n)
	}
	for _, o := range s.in.notifiers {
		if o.Neigh != nil {
			o.Neigh(cur, s, n, gone)
		}
	}
}

// FindNeigh returns a neighbour.
func (s *Stack) FindNeigh(cur *kernel.Task, dev int, dst netip.Addr) (n Neigh, ok bool) {
	s.neighs.Read(cur, func(t *neighs) {
		var i int
		if i, ok = t.known[neighKey{dst, dev}]; ok {
			n = t.list[i]
		}
	})
	return n, ok
}

// NumNeighs returns how many neighbours there are.
func (s *Stack) NumNeighs(cur *kernel.Task) (n int) {
	s.neighs.Read(cur, func(t *neighs) { n = len(t.list) })
	return n
}

// NeighAt returns the neighbour with a position in the order of a dump, which is that of their making. The order of a
// kernel is that of a hash table and cannot be foretold.
func (s *Stack) NeighAt(cur *kernel.Task, i int) (n Neigh, ok bool) {
	s.neighs.Read(cur, func(t *neighs) {
		if ok = i >= 0 && i < len(t.list); ok {
			n = t.list[i]
		}
	})
	return n, ok
}
