package inet

import (
	"net/netip"
	"slices"

	"nlmmap/kernel"
)

// Priorities of IPv6 routes: of those that a request does not give one, of those that come with addresses, and of the last one,
// which makes every other destination unreachable.
const (
	priorityUser     = 1024
	priorityAddrconf = 256
)

// NullRoute6 is the last IPv6 route of every namespace (ip6_null_entry), which is in no table.
var NullRoute6 = Route{Dst: netip.PrefixFrom(netip.IPv6Unspecified(), 0), Protocol: ProtoKernel, Type: RTNUnreachable, Dev: LoIndex,
	Priority: 1<<32 - 1}

// insert enters a route behind those to its destination that have no higher priority number.
func (six *ipv6) insert(r Route) {
	all := six.routes.get(r.Dst)
	at := slices.IndexFunc(all, func(o Route) bool { return o.Priority > r.Priority })
	if at < 0 {
		at = len(all)
	}
	six.routes.insert(at, r)
}

// remove removes the first route to a destination of which something is true, and returns it.
func (six *ipv6) remove(dst netip.Prefix, is func(Route) bool) (gone Route, ok bool) {
	all := six.routes.get(dst)
	i := slices.IndexFunc(all, is)
	if i < 0 {
		return Route{}, false
	}
	gone = all[i]
	six.routes.delete(dst, i)
	return gone, true
}

// reject reports whether a route is an error.
func (r Route) reject() bool { return r.Type >= RTNBlackhole && r.Type <= RTNThrow }

// AddRoute6 adds an IPv6 route, changes one (RouteReplace), or adds one more to the same destination: ip6_route_add.
//
// Errors: ENODEV for a device that there is not, EINVAL for a gateway that cannot be one, EHOSTUNREACH for one that is not
// reached directly, EEXIST, ENOENT when there is nothing to change.
func (s *Stack) AddRoute6(cur *kernel.Task, by Cause, r Route, flags uint16) error {
	d, known := s.Device(cur, r.Dev)
	if r.Dev != 0 && (!known || !d.IPv6) {
		return kernel.Errorf(kernel.ENODEV, "no device %d", r.Dev)
	}
	r.Table, r.Dst = TableMain, r.Dst.Masked()
	if r.Priority == 0 {
		r.Priority = priorityUser
	}
	if r.Type == RTNUnicast && known && d.Loopback() && !r.Dst.Addr().IsLoopback() {
		r.Type = RTNUnreachable
	}
	switch {
	case r.reject():
		r.Dev, r.Gateway = LoIndex, netip.Addr{}
	case r.Gateway.IsValid():
		if err := s.gateway6(cur, &r); err != nil {
			return err
		}
	}
	if r.Dev == 0 {
		return kernel.Errorf(kernel.ENODEV, "no device")
	}
	if r.PrefSrc.IsValid() && !slices.ContainsFunc(s.IPv6Addrs(cur), func(a Addr) bool { return a.Prefix.Addr() == r.PrefSrc }) {
		return kernel.Errorf(kernel.EINVAL, "%v is no address of this host", r.PrefSrc)
	}
	var err error
	s.ipv6.Change(cur, func(six *ipv6) { err = six.add(r, flags) })
	if err == nil {
		s.tellRoute(cur, r, false, 0, by)
	}
	return err
}

// gateway6 looks whether a gateway is reached directly, and over which device.
func (s *Stack) gateway6(cur *kernel.Task, r *Route) error {
	gw := r.Gateway
	if slices.ContainsFunc(s.IPv6Addrs(cur), func(a Addr) bool { return a.Prefix.Addr() == gw }) || gw.IsMulticast() || gw.IsLoopback() {
		return kernel.Errorf(kernel.EINVAL, "%v cannot be a gateway", gw)
	}
	if !gw.IsLinkLocalUnicast() {
		hop, ok := s.lookup6(cur, gw, r.Dev)
		if !ok || hop.reject() || hop.Gateway.IsValid() {
			return kernel.Errorf(EHOSTUNREACH, "%v is not reached directly", gw)
		}
		r.Dev = hop.Dev
	}
	if r.Dev == 0 || r.Dev == LoIndex {
		return kernel.Errorf(kernel.EINVAL, "no device for the gateway %v", gw)
	}
	return nil
}

// lookup6 returns the most specific route to an address, over a device if that is not 0.
func (s *Stack) lookup6(cur *kernel.Task, dst netip.Addr, dev int) (r Route, ok bool) {
	s.ipv6.Read(cur, func(six *ipv6) {
		for l := range six.routes.covering(dst) {
			i := slices.IndexFunc(l.routes, func(o Route) bool { return dev == 0 || o.Dev == dev || o.Type == RTNLocal })
			if i >= 0 {
				r, ok = l.routes[i], true
				return
			}
		}
	})
	if !ok {
		return NullRoute6, false
	}
	return r, true
}

// Route6 is the route that a packet to an address takes, over a device if that is not 0, with the address that it comes from:
// ip6_route_output.
func (s *Stack) Route6(cur *kernel.Task, dst netip.Addr, dev int) Route {
	r, ok := s.lookup6(cur, dst, dev)
	if ok && !r.Gateway.IsValid() && r.Dev != LoIndex && s.in.D.IPv6LookupClones {
		r.Priority, r.Protocol = 0, ProtoBoot
	}
	if !r.PrefSrc.IsValid() {
		r.PrefSrc = s.source6(cur, dst, r.Dev)
	}
	return r
}

// source6 chooses the source for a destination over a device (ipv6_dev_get_saddr): the destination itself if it is an own address,
// else of the addresses of the device, or of all if the route is none of a device, one with the narrowest scope that is wide
// enough, else with the widest; then that with the longest prefix in common.
func (s *Stack) source6(cur *kernel.Task, dst netip.Addr, dev int) (best netip.Addr) {
	wanted := scope6(dst)
	if dst.IsMulticast() {
		wanted = int(dst.As16()[1] & 0xf)
	}
	better := func(a netip.Addr) bool {
		old, own := scope6(best), scope6(a)
		if own != old {
			return own < old == (min(own, old) >= wanted)
		}
		return common(a, dst) > common(best, dst)
	}
	for _, a := range s.IPv6Addrs(cur) {
		addr := a.Prefix.Addr()
		switch {
		case addr == dst:
			return dst
		case dev != LoIndex && a.Dev != dev:
		case !best.IsValid() || better(addr):
			best = addr
		}
	}
	return best
}

// common is how many bits two addresses begin with that are the same.
func common(a, b netip.Addr) int {
	for n := range 128 {
		if p, _ := a.Prefix(n + 1); !p.Contains(b) { // there is none for an address that is too short
			return n
		}
	}
	return 128
}

// add is fib6_add.
func (six *ipv6) add(r Route, flags uint16) error {
	replace := flags&RouteReplace != 0
	all := six.routes.get(r.Dst)
	for i, o := range all {
		switch {
		case o.Priority != r.Priority:
			continue
		case flags&RouteExcl != 0:
			return kernel.Errorf(kernel.EEXIST, "there is a route to %v", r.Dst)
		case replace:
			all[i] = r
			return nil
		case o.Dev == r.Dev && o.Gateway == r.Gateway:
			return kernel.Errorf(kernel.EEXIST, "there is this route to %v", r.Dst)
		}
	}
	if replace && flags&RouteCreate == 0 {
		return kernel.Errorf(kernel.ENOENT, "no route to %v", r.Dst)
	}
	six.insert(r)
	return nil
}

// DelRoute6 removes the first IPv6 route to a destination that has the priority, the gateway and the device of r, where that says
// them: ip6_route_del. ESRCH when there is none, ENOENT for the last one, which stays.
func (s *Stack) DelRoute6(cur *kernel.Task, by Cause, r Route) error {
	r.Dst = r.Dst.Masked()
	fits := func(o Route) bool {
		return o.Dst == r.Dst && (r.Dev == 0 || o.Dev == r.Dev) && (!r.Gateway.IsValid() || o.Gateway == r.Gateway) &&
			(r.Priority == 0 || o.Priority == r.Priority)
	}
	var gone Route
	found := false
	s.ipv6.Change(cur, func(six *ipv6) { gone, found = six.remove(r.Dst, fits) })
	switch {
	case found:
		s.tellRoute(cur, gone, true, 0, by)
		return nil
	case fits(NullRoute6):
		return kernel.Errorf(kernel.ENOENT, "the last route stays")
	}
	return kernel.Errorf(kernel.ESRCH, "no route to %v", r.Dst)
}

// routes6Gone removes the IPv6 routes over a device: rt6_ifdown.
func (s *Stack) routes6Gone(cur *kernel.Task, dev int) {
	var gone []Route
	s.ipv6.Change(cur, func(six *ipv6) { gone = six.routes.drop(func(r Route) bool { return r.Dev == dev }) })
	for _, r := range gone {
		s.tellRoute(cur, r, true, 0, Cause{})
	}
}
