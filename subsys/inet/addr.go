package inet

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"nlmmap/kernel"
)

// Flags of addresses (IFA_F_*).
const (
	AddrSecondary = 0x01
	AddrPermanent = 0x80

	AddrNoPrefixRoute = 0x200
)

// Forever is a lifetime without end.
const Forever = 1<<32 - 1

// EADDRNOTAVAIL is the errno of an address that no device has.
const EADDRNOTAVAIL = unix.EADDRNOTAVAIL

// An Addr is an address of a device.
type Addr struct {
	Prefix           netip.Prefix // the address with the length of its network
	Peer             netip.Addr   // the address at the other end, whose network it is; invalid for none
	Broadcast        netip.Addr   // invalid for none
	Dev              int
	Scope            uint8
	Flags            uint32
	Label            string // for IPv4, the name of the device where there is no other
	Preferred, Valid uint32 // lifetimes in seconds
}

// network is the network that the address is in.
func (a Addr) network() netip.Prefix {
	if a.Peer.IsValid() {
		return netip.PrefixFrom(a.Peer, a.Prefix.Bits()).Masked()
	}
	return a.Prefix.Masked()
}

// sameNetwork is whether one of two addresses of a device is in the other's network, which has the same mask.
func (a Addr) sameNetwork(o Addr) bool {
	return a.Prefix.Bits() == o.Prefix.Bits() && a.network() == o.network()
}

func (a Addr) secondary() bool { return a.Flags&AddrSecondary != 0 }

// Addrs returns all IPv4 addresses, by device, and of a device in the order of a dump: primary ones by falling scope, then
// secondary ones.
func (s *Stack) Addrs(cur *kernel.Task) (list []Addr) {
	s.addrs.Read(cur, func(addrs *[]Addr) { list = slices.Clone(*addrs) })
	slices.SortStableFunc(list, func(a, b Addr) int { return cmp.Compare(a.Dev, b.Dev) })
	return list
}

// AddrsOf returns the IPv4 addresses of a device.
func (s *Stack) AddrsOf(cur *kernel.Task, dev int) []Addr {
	return slices.DeleteFunc(s.Addrs(cur), func(a Addr) bool { return a.Dev != dev })
}

// AddAddr gives a device an IPv4 address: inet_insert_ifa. In a network where the device has one already it is a secondary
// one. EEXIST for one that it has, EINVAL for one of another scope than the first of its network.
func (s *Stack) AddAddr(cur *kernel.Task, by Cause, a Addr) error {
	a.Flags &^= AddrSecondary
	var err error
	s.addrs.Change(cur, func(addrs *[]Addr) {
		at := 0 // behind the last primary address of this scope or a wider one
		for i, o := range *addrs {
			if o.Dev != a.Dev {
				continue
			}
			if !o.secondary() && a.Scope <= o.Scope {
				at = i + 1
			}
			if a.sameNetwork(o) {
				switch {
				case o.Prefix.Addr() == a.Prefix.Addr():
					err = kernel.Errorf(kernel.EEXIST, "the device has %v", a.Prefix)
					return
				case o.Scope != a.Scope:
					err = kernel.Errorf(kernel.EINVAL, "%v has another scope", o.Prefix)
					return
				}
				a.Flags |= AddrSecondary
			}
		}
		if a.secondary() {
			at = len(*addrs)
		}
		*addrs = slices.Insert(slices.Clone(*addrs), at, a)
	})
	if err != nil {
		return err
	}
	s.tellAddr(cur, a, false, by)
	s.addrRoutes(cur, a)
	return nil
}

// ChangeAddr replaces what can change of an address: its lifetimes and flags.
func (s *Stack) ChangeAddr(cur *kernel.Task, by Cause, a Addr) {
	s.addrs.Change(cur, func(addrs *[]Addr) {
		*addrs = slices.Clone(*addrs)
		for i, o := range *addrs {
			if o.Dev == a.Dev && o.Prefix == a.Prefix {
				(*addrs)[i] = a
			}
		}
	})
	s.tellAddr(cur, a, false, by)
}

// DelAddr takes the first address away that match accepts: inet_del_ifa. The first of a network takes the others along.
// EADDRNOTAVAIL when there is none.
func (s *Stack) DelAddr(cur *kernel.Task, by Cause, dev int, match func(Addr) bool) error {
	all := s.AddrsOf(cur, dev)
	i := slices.IndexFunc(all, match)
	if i < 0 {
		return kernel.Errorf(EADDRNOTAVAIL, "no such address")
	}
	a := all[i]
	if !a.secondary() {
		for _, o := range all[i+1:] {
			if o.secondary() && a.sameNetwork(o) {
				s.removeAddr(cur, by, o)
			}
		}
	}
	s.removeAddr(cur, by, a)
	return nil
}

func (s *Stack) removeAddr(cur *kernel.Task, by Cause, a Addr) {
	s.addrs.Change(cur, func(addrs *[]Addr) {
		*addrs = slices.DeleteFunc(slices.Clone(*addrs), func(o Addr) bool { return o.Dev == a.Dev && o.Prefix == a.Prefix && o.Peer == a.Peer })
	})
	s.tellAddr(cur, a, true, by)
	s.delAddrRoutes(cur, a)
}

// addrsUp is what IPv4 does when a device comes up: lo gets its address, and each address its routes.
func (s *Stack) addrsUp(cur *kernel.Task, d Device) {
	if !d.IPv4 {
		return
	}
	all := s.AddrsOf(cur, d.Index)
	if d.Loopback() && len(all) == 0 {
		_ = s.AddAddr(cur, Cause{}, Addr{Prefix: netip.MustParsePrefix("127.0.0.1/8"), Dev: d.Index, Scope: ScopeHost,
			Flags: AddrPermanent, Label: d.Name, Preferred: Forever, Valid: Forever})
		return
	}
	for _, a := range all {
		s.addrRoutes(cur, a)
	}
}

// addrsGone takes all addresses of a device away: inetdev_destroy.
func (s *Stack) addrsGone(cur *kernel.Task, d Device) {
	for {
		all := s.AddrsOf(cur, d.Index)
		if len(all) == 0 {
			break
		}
		if s.in.D.AddrsGoAlone {
			s.removeAddr(cur, Cause{}, all[0])
			continue
		}
		_ = s.DelAddr(cur, Cause{}, d.Index, func(Addr) bool { return true })
	}
	s.routesDown(cur, d.Index, true)
}

func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// last is the highest address of a network.
func last(p netip.Prefix) netip.Addr {
	low := p.Masked().Addr().As4()
	bits := binary.BigEndian.Uint32(low[:]) | uint32(uint64(1)<<(32-p.Bits())-1)
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, bits)))
}

// first is the primary address that a secondary one belongs to, otherwise the address itself.
func (s *Stack) first(cur *kernel.Task, a Addr) Addr {
	if a.secondary() {
		for _, o := range s.AddrsOf(cur, a.Dev) {
			if !o.secondary() && o.sameNetwork(a) {
				return o
			}
		}
	}
	return a
}

// addrRoutes makes the routes that come with an address: fib_add_ifaddr. The address itself is local; if the device is up
// the network is on it, and its first and last address are for all. A secondary address has only its own and that to its
// broadcast address.
func (s *Stack) addrRoutes(cur *kernel.Task, a Addr) {
	prim := s.first(cur, a).Prefix.Addr()
	add := func(dst netip.Prefix, typ uint8) { _ = s.magic(cur, false, dst, typ, prim, a.Dev) }
	add(host(a.Prefix.Addr()), RTNLocal)
	d, _ := s.Device(cur, a.Dev)
	if !d.Up() {
		return
	}
	if a.Broadcast.IsValid() && a.Broadcast != netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		add(host(a.Broadcast), RTNBroadcast)
	}
	network := a.network()
	if network.Addr().As4()[0] == 0 || a.secondary() || network.Addr() == a.Prefix.Addr() && network.Bits() == 32 {
		return
	}
	typ := uint8(RTNUnicast)
	if d.Loopback() {
		typ = RTNLocal
	}
	if !s.withoutNetwork(a) {
		add(network, typ)
	}
	if network.Bits() < 31 {
		add(host(network.Addr()), RTNBroadcast)
		add(host(last(network)), RTNBroadcast)
	}
}

// withoutNetwork reports whether an address has no route to its network.
func (s *Stack) withoutNetwork(a Addr) bool {
	return a.Flags&AddrNoPrefixRoute != 0 && s.in.D.AddrNoPrefixRoute
}

// magic is fib_magic: a route that the kernel makes, or takes away, for an address.
func (s *Stack) magic(cur *kernel.Task, gone bool, dst netip.Prefix, typ uint8, src netip.Addr, dev int) error {
	r := Route{Dst: dst, Table: TableLocal, Type: typ, Scope: ScopeLink, Protocol: ProtoKernel, PrefSrc: src, Dev: dev}
	switch typ {
	case RTNUnicast:
		r.Table = TableMain
	case RTNLocal:
		r.Scope = ScopeHost
	}
	if gone {
		return s.DelRoute(cur, Cause{}, r)
	}
	return s.AddRoute(cur, Cause{}, r, RouteCreate|RouteAppend)
}

// delAddrRoutes takes the routes of an address away that is gone, as far as no other address needs them:
// fib_del_ifaddr. With the last address of a device all its routes go, and with an address those that name it as source.
func (s *Stack) delAddrRoutes(cur *kernel.Task, a Addr) {
	rest := s.AddrsOf(cur, a.Dev)
	prim := a
	if a.secondary() {
		if prim = s.first(cur, a); prim.secondary() {
			return // the primary address is gone
		}
	}
	del := func(dst netip.Prefix, typ uint8) { _ = s.magic(cur, true, dst, typ, prim.Prefix.Addr(), a.Dev) }
	network := a.network()
	if !a.secondary() && network.Addr() != a.Prefix.Addr() || network.Bits() < 32 && !a.secondary() {
		typ := uint8(RTNUnicast)
		if d, _ := s.Device(cur, a.Dev); d.Loopback() {
			typ = RTNLocal
		}
		others := slices.ContainsFunc(rest, func(o Addr) bool { return !o.secondary() && o.sameNetwork(a) })
		if !others && !s.withoutNetwork(a) {
			del(network, typ)
		}
	}
	// Others may have the same broadcast addresses.
	var local, brd, low, high bool
	for _, o := range rest {
		local = local || o.Prefix.Addr() == a.Prefix.Addr()
		brd = brd || o.Broadcast.IsValid() && o.Broadcast == a.Broadcast
		if o.secondary() || o.network().Bits() >= 31 {
			continue
		}
		n := o.network()
		for _, x := range []netip.Addr{n.Addr(), last(n)} {
			brd = brd || x == a.Broadcast
			low = low || x == network.Addr()
			high = high || network.Bits() < 32 && x == last(network)
		}
	}
	for _, o := range rest {
		low = low || o.Broadcast.IsValid() && o.Broadcast == network.Addr()
		high = high || o.Broadcast.IsValid() && o.Broadcast == last(network)
	}
	if a.Broadcast.IsValid() && !brd {
		del(host(a.Broadcast), RTNBroadcast)
	}
	if !a.secondary() && network.Bits() < 31 {
		if !high {
			del(host(last(network)), RTNBroadcast)
		}
		if !low {
			del(host(network.Addr()), RTNBroadcast)
		}
	}
	if !local {
		del(host(a.Prefix.Addr()), RTNLocal)
		// What names the address as its source goes without a word.
		if !slices.ContainsFunc(s.Addrs(cur), func(o Addr) bool { return o.Prefix.Addr() == a.Prefix.Addr() }) {
			s.dropRoutes(cur, func(r Route) bool { return r.PrefSrc == a.Prefix.Addr() })
		}
	}
	if len(rest) == 0 {
		s.routesDown(cur, a.Dev, true)
	}
}

// selectAddr is inet_select_addr: the address that packets from a device have by themselves, none of a narrower scope.
func (s *Stack) selectAddr(cur *kernel.Task, dev int, dst netip.Addr, scope uint8) (best netip.Addr) {
	all := s.Addrs(cur)
	for _, a := range all {
		if a.Dev != dev || a.secondary() || a.Scope > scope {
			continue
		}
		if !dst.IsValid() || a.network().Contains(dst) {
			return a.Prefix.Addr()
		}
		if !best.IsValid() {
			best = a.Prefix.Addr()
		}
	}
	if best.IsValid() {
		return best
	}
	for _, a := range all {
		if !a.secondary() && a.Scope != ScopeLink && a.Scope <= scope {
			return a.Prefix.Addr()
		}
	}
	return netip.IPv4Unspecified()
}

func (s *Stack) tellAddr(cur *kernel.Task, a Addr, gone bool, by Cause) {
	for _, n := range s.in.notifiers {
		if n.Addr != nil {
			n.Addr(cur, s, a, gone, by)
		}
	}
}
