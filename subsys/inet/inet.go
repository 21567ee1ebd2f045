// Package inet is the small network stack that the netlink subsystems talk about: devices, addresses, neighbours,
// routes with their lookup, and the output path of locally generated UDP packets with a list of rules on it. Of IPv6 it
// has what comes by itself with a device that is up.
//
// There is one Stack for each network namespace; it begins with lo, which is down. What changes is told to notifiers:
// rtnetlink and uevents announce it. Nothing here speaks netlink.
//
//	AddDevice, SetUp ──► Link      AddNeigh ──► Neigh       AddRoute ──► Route       (Notifier)
//	SendUDP ──► Output ──► rule, rule, ... ──► delivered, dropped, or queued until Reinject
package inet

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"nlmmap/kernel"
)

// maxNeighs is how many neighbours there can be in all namespaces together (gc_thresh3, spec 11.4).
const maxNeighs = 1024

// ENETUNREACH is the errno of a destination without route.
const ENETUNREACH = unix.ENETUNREACH

// Tables of routes.
const (
	TableDefault = 253
	TableMain    = 254
	TableLocal   = 255
)

// Types and scopes of routes, who made them, and states of neighbours: numbers of the user API.
const (
	RTNUnicast   = 1
	RTNLocal     = 2
	RTNBroadcast = 3

	ScopeUniverse = 0
	ScopeLink     = 253
	ScopeHost     = 254

	ProtoKernel = 2
	ProtoBoot   = 3

	RTNMulticast = 5

	NUDNoARP     = 0x40
	NUDPermanent = 0x80
)

// Kinds of devices that can be made. lo has none.
const (
	KindDummy = "dummy"
	KindNlmon = "nlmon"
)

// LoIndex is the interface index of lo in every namespace.
const LoIndex = 1

// Inet is the network stack of a machine.
type Inet struct {
	k         *kernel.Kernel
	neighs    kernel.Atomic // in all namespaces together
	notifiers []Notifier
	stacks    kernel.PerNet[Stack]
}

// A Notifier is told of changes; each function may be nil.
type Notifier struct {
	Link  func(cur *kernel.Task, s *Stack, d Device, what LinkChange)
	Neigh func(cur *kernel.Task, s *Stack, n Neigh, gone bool)
	Addr  func(cur *kernel.Task, s *Stack, a Addr, gone bool)
	Route func(cur *kernel.Task, s *Stack, r RouteChange)
}

// A RouteChange is a route that was added, or is gone.
type RouteChange struct {
	Route
	Gone bool
	By   Cause
}

// A Cause is the request that asked for a change. The zero value is for what the kernel does by itself.
type Cause struct {
	Portid, Seq uint32
	// Echo asks for a copy of the notification.
	Echo bool
}

// LinkChange is what happened to a device.
type LinkChange int

// The changes of a device.
const (
	LinkAdded LinkChange = iota
	LinkUp
	LinkDown
)

// Register brings the stack up on a machine. Namespaces get theirs when it is first asked for.
func Register(k *kernel.Kernel) *Inet {
	in := &Inet{k: k}
	in.neighs.Named("neighbours", 0)
	return in
}

// Notify adds a notifier.
func (in *Inet) Notify(n Notifier) { in.notifiers = append(in.notifiers, n) }

// Stack returns the stack of a namespace.
func (in *Inet) Stack(net *kernel.Net) *Stack {
	return in.stacks.Of(net, func() *Stack {
		s := &Stack{in: in, net: net}
		s.devices.Named("devices", []Device{{Index: LoIndex, Name: "lo", Loopback: true}})
		s.addrs.Named("addresses", nil)
		s.neighs.Named("neighbours", neighs{})
		s.routes.Named("routes", nil)
		s.ipv6.Named("ipv6", ipv6{})
		s.populated.Named("populated", populated{})
		s.output.rules.Named("rules", nil)
		s.output.stats.Named("packets", Stats{})
		return s
	})
}

// A Device is a network device.
type Device struct {
	Index    int
	Name     string
	Kind     string
	MAC      [6]byte // zero for lo, and for what is no Ethernet
	Loopback bool
	Up       bool
}

// Ethernet reports whether packets on the device have link-layer addresses that mean something.
func (d Device) Ethernet() bool { return d.Kind == KindDummy }

// An Addr is an address of a device.
type Addr struct {
	Prefix netip.Prefix // the address with the length of its network
	Dev    int
	Scope  uint8
}

// A Neigh is a neighbour.
type Neigh struct {
	Dst   netip.Addr
	Dev   int
	MAC   [6]byte
	State uint16
	Flags uint8
}

// Valid reports whether the link-layer address means something (NUD_VALID).
func (n Neigh) Valid() bool { return n.State&0xde != 0 }

// A Route is a route.
type Route struct {
	Dst              netip.Prefix
	Table            uint8
	Type             uint8
	Scope            uint8
	Protocol         uint8
	TOS              uint8
	Priority         uint32
	PrefSrc, Gateway netip.Addr // the zero value for none
	Dev              int
}

// order is that of a dump (spec 11.5): main before local, ascending destination, longer prefix first.
func (r Route) order(o Route) int {
	return cmp.Or(cmp.Compare(r.Table, o.Table), r.Dst.Addr().Compare(o.Dst.Addr()), cmp.Compare(o.Dst.Bits(), r.Dst.Bits()),
		cmp.Compare(r.TOS, o.TOS), cmp.Compare(r.Priority, o.Priority))
}

// A Stack is the network stack of one namespace. Each list is read, or changed, in one step; what must not interleave is
// under the rtnl mutex of the caller.
type Stack struct {
	in  *Inet
	net *kernel.Net

	devices kernel.Shared[[]Device]
	addrs   kernel.Shared[[]Addr]
	neighs  kernel.Shared[neighs]
	routes  kernel.Shared[[]Route]
	ipv6    kernel.Shared[ipv6]
	output  output

	populated kernel.Shared[populated]
}

// neighs is the neighbours, in the order of their making.
type neighs struct {
	list  []Neigh
	known map[neighKey]int // index into list
}

type neighKey struct {
	dst netip.Addr
	dev int
}

// Net is the namespace.
func (s *Stack) Net() *kernel.Net { return s.net }

// Device returns the device with an index.
func (s *Stack) Device(cur *kernel.Task, index int) (d Device, ok bool) {
	s.devices.Read(cur, func(devices *[]Device) {
		if ok = index >= 1 && index <= len(*devices); ok {
			d = (*devices)[index-1]
		}
	})
	return d, ok
}

// Devices returns all devices, by index.
func (s *Stack) Devices(cur *kernel.Task) (list []Device) {
	s.devices.Read(cur, func(devices *[]Device) { list = slices.Clone(*devices) })
	return list
}

// AddDevice makes a device of a kind, which is down. An empty name stands for the kind with the first free number. EEXIST
// when the name is taken.
func (s *Stack) AddDevice(cur *kernel.Task, kind, name string) (d Device, err error) {
	s.devices.Change(cur, func(devices *[]Device) {
		taken := func(name string) bool {
			return slices.ContainsFunc(*devices, func(o Device) bool { return o.Name == name })
		}
		for n := 0; name == ""; n++ {
			if free := fmt.Sprintf("%s%d", kind, n); !taken(free) {
				name = free
			}
		}
		if taken(name) {
			err = kernel.Errorf(kernel.EEXIST, "there is a device %s", name)
			return
		}
		d = Device{Index: len(*devices) + 1, Name: name, Kind: kind}
		if d.Ethernet() {
			d.MAC = [6]byte{2, 0, 0, 0, 0, byte(d.Index)}
		}
		*devices = append(*devices, d)
	})
	if err == nil {
		s.tellLink(cur, d, LinkAdded)
	}
	return d, err
}

// SetUp brings a device up or down. lo gets 127.0.0.1/8 with its routes when it comes up first, and keeps them; IPv6 makes
// itself at home. ENODEV when there is no such device.
func (s *Stack) SetUp(cur *kernel.Task, index int, up bool) error {
	now, ok := s.Device(cur, index)
	if !ok {
		return kernel.Errorf(kernel.ENODEV, "no device %d", index)
	}
	if now.Up == up {
		return nil
	}
	changed := false
	s.devices.Change(cur, func(devices *[]Device) {
		d := &(*devices)[index-1]
		changed = d.Up != up
		d.Up = up
		now = *d
	})
	if !changed {
		return nil
	}
	if !up {
		s.tellLink(cur, now, LinkDown)
		if !now.Loopback {
			s.flush(cur, now)
		}
		return nil
	}
	s.tellLink(cur, now, LinkUp)
	hasAddr := func(a Addr) bool { return a.Dev == LoIndex }
	if now.Loopback && !slices.ContainsFunc(s.Addrs(cur), hasAddr) {
		s.AddAddr(cur, Addr{netip.MustParsePrefix("127.0.0.1/8"), LoIndex, ScopeHost})
	}
	s.ipv6Up(cur, now)
	return nil
}

// flush removes what a device that is down cannot have: neighbours, routes and what IPv6 made by itself. Of IPv4 routes
// nobody is told.
func (s *Stack) flush(cur *kernel.Task, d Device) {
	var gone []Neigh
	s.neighs.Read(cur, func(t *neighs) {
		for _, n := range t.list {
			if n.Dev == d.Index {
				gone = append(gone, n)
			}
		}
	})
	for _, n := range gone {
		_ = s.DelNeigh(cur, n.Dev, n.Dst)
	}
	s.routes.Change(cur, func(routes *[]Route) {
		*routes = slices.DeleteFunc(*routes, func(r Route) bool { return r.Dev == d.Index && r.Table != TableLocal })
	})
	s.ipv6Down(cur, d)
}

// LoUp brings lo up if it is not.
func (s *Stack) LoUp(cur *kernel.Task) { _ = s.SetUp(cur, LoIndex, true) }

func (s *Stack) tellLink(cur *kernel.Task, d Device, what LinkChange) {
	for _, n := range s.in.notifiers {
		if n.Link != nil {
			n.Link(cur, s, d, what)
		}
	}
}

// Addrs returns all addresses, oldest first.
func (s *Stack) Addrs(cur *kernel.Task) (list []Addr) {
	s.addrs.Read(cur, func(addrs *[]Addr) { list = slices.Clone(*addrs) })
	return list
}

// AddAddr gives a device an address, with the routes that come with it: the address itself and the broadcast
// addresses of its network in the local table, and the network, which is in the local table for lo and in the main
// table for others.
func (s *Stack) AddAddr(cur *kernel.Task, a Addr) {
	s.addrs.Change(cur, func(addrs *[]Addr) { *addrs = append(*addrs, a) })
	s.tellAddr(cur, a, false)
	ip, network := a.Prefix.Addr(), a.Prefix.Masked()
	first := network.Addr()
	low := first.As4()
	bits := binary.BigEndian.Uint32(low[:]) | uint32(uint64(1)<<(32-a.Prefix.Bits())-1)
	last := netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, bits)))

	one := func(addr netip.Addr) netip.Prefix { return netip.PrefixFrom(addr, 32) }
	route := Route{Table: TableLocal, Protocol: ProtoKernel, PrefSrc: ip, Dev: a.Dev}
	add := func(dst netip.Prefix, table, typ, scope uint8) {
		r := route
		r.Dst, r.Table, r.Type, r.Scope = dst, table, typ, scope
		_ = s.AddRoute(cur, r, Cause{})
	}
	add(one(ip), TableLocal, RTNLocal, ScopeHost)
	if network.Bits() == 32 {
		return
	}
	if a.Dev == LoIndex {
		add(network, TableLocal, RTNLocal, ScopeHost)
	} else {
		add(network, TableMain, RTNUnicast, ScopeLink)
	}
	if network.Bits() < 31 {
		add(one(first), TableLocal, RTNBroadcast, ScopeLink)
		add(one(last), TableLocal, RTNBroadcast, ScopeLink)
	}
}

func (s *Stack) tellAddr(cur *kernel.Task, a Addr, gone bool) {
	for _, n := range s.in.notifiers {
		if n.Addr != nil {
			n.Addr(cur, s, a, gone)
		}
	}
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

// DelNeigh removes a neighbour (neigh_delete). ENOENT when there is none.
func (s *Stack) DelNeigh(cur *kernel.Task, dev int, dst netip.Addr) error {
	key := neighKey{dst, dev}
	var n Neigh
	found := false
	s.neighs.Change(cur, func(t *neighs) {
		i, ok := t.known[key]
		if found = ok; !ok {
			return
		}
		n = t.list[i]
		t.list = slices.Delete(t.list, i, i+1)
		delete(t.known, key)
		for j := i; j < len(t.list); j++ {
			t.known[neighKey{t.list[j].Dst, t.list[j].Dev}] = j
		}
	})
	if !found {
		return kernel.Errorf(kernel.ENOENT, "no neighbour %v on device %d", dst, dev)
	}
	s.in.neighs.Count(cur, -1)
	s.tellNeigh(cur, n, true)
	return nil
}

func (s *Stack) tellNeigh(cur *kernel.Task, n Neigh, gone bool) {
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

// AddRoute adds a route. EEXIST when there is one with the same table, destination, TOS and priority; ENODEV when
// there is no such device. Routes that lead nowhere have none.
func (s *Stack) AddRoute(cur *kernel.Task, r Route, by Cause) error {
	if _, ok := s.Device(cur, r.Dev); !ok && r.Dev != 0 {
		return kernel.Errorf(kernel.ENODEV, "no device %d", r.Dev)
	}
	r.Dst = r.Dst.Masked()
	exists := false
	s.routes.Change(cur, func(routes *[]Route) {
		i, found := slices.BinarySearchFunc(*routes, r, Route.order)
		if exists = found; !found {
			*routes = slices.Insert(*routes, i, r)
		}
	})
	if exists {
		return kernel.Errorf(kernel.EEXIST, "there is a route to %v", r.Dst)
	}
	s.tellRoute(cur, RouteChange{Route: r, By: by})
	return nil
}

// DelRoute removes the first route that match is true for. ESRCH when there is none.
func (s *Stack) DelRoute(cur *kernel.Task, match func(Route) bool, by Cause) error {
	var gone Route
	found := false
	s.routes.Change(cur, func(routes *[]Route) {
		i := slices.IndexFunc(*routes, match)
		if found = i >= 0; found {
			gone = (*routes)[i]
			*routes = slices.Delete(*routes, i, i+1)
		}
	})
	if !found {
		return kernel.Errorf(kernel.ESRCH, "no such route")
	}
	s.tellRoute(cur, RouteChange{Route: gone, Gone: true, By: by})
	return nil
}

func (s *Stack) tellRoute(cur *kernel.Task, r RouteChange) {
	for _, n := range s.in.notifiers {
		if n.Route != nil {
			n.Route(cur, s, r)
		}
	}
}

// RouteFrom returns the first route that is not before from in the order of a dump (spec 11.5). The zero Route is before
// all others.
func (s *Stack) RouteFrom(cur *kernel.Task, from Route) (r Route, ok bool) {
	s.routes.Read(cur, func(routes *[]Route) {
		i, _ := slices.BinarySearchFunc(*routes, from, Route.order)
		if ok = i < len(*routes); ok {
			r = (*routes)[i]
		}
	})
	return r, ok
}

// RouteAfter returns the first route behind r in the order of a dump.
func (s *Stack) RouteAfter(cur *kernel.Task, r Route) (next Route, ok bool) {
	s.routes.Read(cur, func(routes *[]Route) {
		i, found := slices.BinarySearchFunc(*routes, r, Route.order)
		if found {
			i++
		}
		if ok = i < len(*routes); ok {
			next = (*routes)[i]
		}
	})
	return next, ok
}

// HasRoute reports whether match is true for some route.
func (s *Stack) HasRoute(cur *kernel.Task, match func(Route) bool) (has bool) {
	s.routes.Read(cur, func(routes *[]Route) { has = slices.ContainsFunc(*routes, match) })
	return has
}

// HasTable reports whether a table has routes; 0 stands for any.
func (s *Stack) HasTable(cur *kernel.Task, table uint8) (has bool) {
	s.routes.Read(cur, func(routes *[]Route) {
		has = slices.ContainsFunc(*routes, func(r Route) bool { return table == 0 || r.Table == table })
	})
	return has
}

// Lookup finds the route to a destination, in the local table before the main one, or only in the given table if that
// is not 0: the longest prefix wins. ENETUNREACH when there is none.
func (s *Stack) Lookup(cur *kernel.Task, dst netip.Addr, table uint8) (best Route, err error) {
	found := false
	s.routes.Read(cur, func(routes *[]Route) {
		for _, t := range [...]uint8{TableLocal, TableMain} {
			if table != 0 && table != t || found {
				continue
			}
			for _, r := range *routes {
				if r.Table == t && r.Dst.Contains(dst) && (!found || r.Dst.Bits() > best.Dst.Bits()) {
					best, found = r, true
				}
			}
		}
	})
	if !found {
		return Route{}, kernel.Errorf(ENETUNREACH, "no route to %v", dst)
	}
	return best, nil
}
