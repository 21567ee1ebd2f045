package inet

import (
	"net/netip"
	"slices"

	"nlmmap/kernel"
)

// scope6 is the scope of an IPv6 address, wider ones being larger (ipv6_addr_src_scope).
func scope6(a netip.Addr) int {
	switch {
	case a.IsLoopback():
		return 1
	case a.IsLinkLocalUnicast():
		return 2
	}
	return 14
}

// Scope6 is the scope of an IPv6 address as messages have it (rt_scope).
func Scope6(a netip.Addr) uint8 {
	switch scope6(a) {
	case 1:
		return ScopeHost
	case 2:
		return ScopeLink
	}
	return ScopeUniverse
}

// insertAddr enters an address before those of its device that have no wider scope: ipv6_link_dev_addr.
func (six *ipv6) insertAddr(a Addr) {
	at := slices.IndexFunc(six.addrs, func(o Addr) bool {
		return o.Dev > a.Dev || o.Dev == a.Dev && scope6(a.Prefix.Addr()) >= scope6(o.Prefix.Addr())
	})
	if at < 0 {
		at = len(six.addrs)
	}
	six.addrs = slices.Insert(slices.Clone(six.addrs), at, a)
}

// AddAddr6 gives a device an IPv6 address with its routes: inet6_addr_add. A device that resolves nothing does not look whether
// somebody else has it.
//
// Errors: EACCES where IPv6 is switched off, EADDRNOTAVAIL for an address that none can be, EEXIST.
func (s *Stack) AddAddr6(cur *kernel.Task, a Addr) error {
	d, ok := s.Device(cur, a.Dev)
	addr := a.Prefix.Addr()
	switch {
	case !ok:
		return kernel.Errorf(kernel.ENODEV, "no device %d", a.Dev)
	case !d.IPv6:
		return kernel.ENOBUFS
	case d.IPv6Off:
		return kernel.Errorf(EACCES, "IPv6 is switched off on %s", d.Name)
	case addr.IsUnspecified(), addr.IsMulticast(), addr.IsLoopback() && !d.Loopback():
		return kernel.Errorf(EADDRNOTAVAIL, "%v cannot be an address of %s", addr, d.Name)
	}
	if slices.ContainsFunc(s.IPv6Addrs(cur), func(o Addr) bool { return o.Dev == a.Dev && o.Prefix.Addr() == addr }) {
		return kernel.Errorf(kernel.EEXIST, "%s has %v", d.Name, addr)
	}
	a.Scope = Scope6(addr)
	if !d.Loopback() {
		s.ipv6Route(cur, multicastRoute6(d.Index))
	}
	if a.Flags&AddrNoPrefixRoute == 0 {
		s.ipv6Route(cur, a.networkRoute6())
	}
	s.ipv6Addr(cur, a)
	s.ipv6Route(cur, hostRoute6(addr))
	return nil
}

// DelAddr6 takes an IPv6 address from a device, with its routes: inet6_addr_del. That to its network stays as long as another
// address is in it. EADDRNOTAVAIL when the device has no such address.
func (s *Stack) DelAddr6(cur *kernel.Task, dev int, prefix netip.Prefix) error {
	var gone Addr
	found, shared := false, false
	s.ipv6.Change(cur, func(six *ipv6) {
		i := slices.IndexFunc(six.addrs, func(o Addr) bool { return o.Dev == dev && o.Prefix == prefix })
		if i < 0 {
			return
		}
		gone, found = six.addrs[i], true
		six.addrs = slices.Delete(slices.Clone(six.addrs), i, i+1)
		shared = slices.ContainsFunc(six.addrs, func(o Addr) bool {
			return o.Dev == dev && o.Prefix.Bits() == prefix.Bits() && o.network() == gone.network()
		})
	})
	if !found {
		return kernel.Errorf(EADDRNOTAVAIL, "the device has no %v", prefix)
	}
	s.tellAddr(cur, gone, true, Cause{})
	s.dropRoute6(cur, hostRoute6(prefix.Addr()))
	if !shared && gone.Flags&AddrNoPrefixRoute == 0 {
		s.dropRoute6(cur, gone.networkRoute6())
	}
	return nil
}

// dropRoute6 removes a route that came with an address.
func (s *Stack) dropRoute6(cur *kernel.Task, r Route) {
	found := false
	s.ipv6.Change(cur, func(six *ipv6) { _, found = six.remove(r.Dst, func(o Route) bool { return o == r }) })
	if found {
		s.tellRoute(cur, r, true, 0, Cause{})
	}
}

// hostRoute6 leads to an own address, networkRoute6 to the network of an address, multicastRoute6 to all groups on a device.
func hostRoute6(a netip.Addr) Route {
	return Route{Table: TableMain, Dst: netip.PrefixFrom(a, 128), Type: RTNLocal, Dev: LoIndex}
}

func (a Addr) networkRoute6() Route {
	return Route{Table: TableMain, Dst: a.network(), Type: RTNUnicast, Protocol: ProtoKernel, Priority: priorityAddrconf, Dev: a.Dev}
}

func multicastRoute6(dev int) Route {
	return Route{Table: TableMain, Dst: ipv6Multicast, Type: RTNUnicast, Protocol: ProtoBoot, Priority: priorityAddrconf, Dev: dev}
}

// ChangeAddr6 changes lifetimes and flags of an address of a device, and reports whether there is one.
func (s *Stack) ChangeAddr6(cur *kernel.Task, a Addr) (found bool) {
	s.ipv6.Change(cur, func(six *ipv6) {
		i := slices.IndexFunc(six.addrs, func(o Addr) bool { return o.Dev == a.Dev && o.Prefix.Addr() == a.Prefix.Addr() })
		if found = i >= 0; found {
			six.addrs = slices.Clone(six.addrs)
			a.Scope, a.Prefix, a.Peer = six.addrs[i].Scope, six.addrs[i].Prefix, six.addrs[i].Peer
			six.addrs[i] = a
		}
	})
	if found {
		s.tellAddr(cur, a, false, Cause{})
	}
	return found
}

// addrs6Gone removes the IPv6 addresses of a device that goes down, each with the route to it: addrconf_ifdown.
func (s *Stack) addrs6Gone(cur *kernel.Task, dev int) {
	var gone []Addr
	s.ipv6.Change(cur, func(six *ipv6) {
		gone, six.addrs = apart(six.addrs, func(a Addr) bool { return a.Dev == dev })
	})
	for _, a := range gone {
		s.tellAddr(cur, a, true, Cause{})
		s.dropRoute6(cur, hostRoute6(a.Prefix.Addr()))
	}
}

// apart takes a list apart, which stays as it is: those of which something is true, and the rest.
func apart[T any](list []T, is func(T) bool) (those, rest []T) {
	rest = make([]T, 0, len(list))
	for _, x := range list {
		if is(x) {
			those = append(those, x)
		} else {
			rest = append(rest, x)
		}
	}
	return those, rest
}
