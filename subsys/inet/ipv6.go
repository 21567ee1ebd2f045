package inet

import (
	"net/netip"
	"slices"
	"strings"

	"nlmmap/kernel"
)

// ipv6 is what IPv6 has in a namespace: nobody asks for it, it comes with devices that come up (addrconf).
type ipv6 struct {
	off    bool // new devices begin without it
	addrs  []Addr
	routes leaves
	neighs []Neigh
}

// IPv6 addresses that IPv6 itself chooses.
var (
	ipv6Loopback   = netip.MustParsePrefix("::1/128")
	ipv6LinkLocal  = netip.MustParsePrefix("fe80::/64")
	ipv6Multicast  = netip.MustParsePrefix("ff00::/8")
	ipv6AllRouters = netip.MustParseAddr("ff02::2")
)

// ipv6Up is addrconf_notify for a device that has come up: lo gets ::1, an Ethernet device a link-local address with its
// routes, and asks for routers, which leaves a neighbour behind. Other devices get nothing.
func (s *Stack) ipv6Up(cur *kernel.Task, d Device) {
	if d.IPv6Off || !d.IPv6 {
		return
	}
	switch {
	case d.Loopback():
		a := Addr{Prefix: ipv6Loopback, Dev: d.Index, Scope: ScopeHost, Flags: AddrPermanent, Preferred: Forever, Valid: Forever}
		s.ipv6Addr(cur, a)
		s.ipv6Route(cur, hostRoute6(a.Prefix.Addr()))
	case d.Ethernet():
		a := Addr{Prefix: netip.PrefixFrom(linkLocal(d.MAC), ipv6LinkLocal.Bits()), Dev: d.Index, Scope: ScopeLink,
			Flags: AddrPermanent, Preferred: Forever, Valid: Forever}
		s.ipv6Route(cur, multicastRoute6(d.Index))
		s.ipv6Route(cur, a.networkRoute6())
		s.ipv6Addr(cur, a)
		s.ipv6Route(cur, hostRoute6(a.Prefix.Addr()))
		s.change(cur, d.Index, func(d *Device) { d.Solicits.begin(s.in.k.Now()) })
		group := ipv6AllRouters.As16()
		n := Neigh{Dst: ipv6AllRouters, Dev: d.Index, State: NUDNoARP,
			MAC: [6]byte{0x33, 0x33, group[12], group[13], group[14], group[15]}}
		s.ipv6.Change(cur, func(six *ipv6) {
			if !slices.ContainsFunc(six.neighs, func(o Neigh) bool { return o.Dev == n.Dev }) {
				six.neighs = append(six.neighs, n)
			}
		})
	}
}

// Solicits are the packets in which IPv6 asks for routers on a device (rs_timer): one when the device comes up, and as nobody
// answers two more. Nothing else is ever sent on a device that is no lo.
type Solicits struct {
	before int // since the device was there, without those since it is up
	asking bool
	since  kernel.Time
}

// Times and lengths of router solicitations: a header of Ethernet, one of IPv6, and 16 bytes of ICMPv6.
const (
	solicits        = 3
	solicitInterval = 4 * kernel.Second

	SolicitLen    = 70
	SolicitLenIP6 = 56
)

func (s *Solicits) begin(now kernel.Time) {
	s.end(now)
	s.asking, s.since = true, now
}

func (s *Solicits) end(now kernel.Time) { s.before, s.asking = s.Sent(now), false }

// Sent returns how many were sent by now.
func (s Solicits) Sent(now kernel.Time) int {
	if !s.asking {
		return s.before
	}
	return s.before + min(solicits, 1+int((now-s.since)/solicitInterval))
}

// Asked reports whether one was sent since the device is up.
func (s Solicits) Asked() bool { return s.asking }

// linkLocal is the address that a device makes of its link-layer address.
func linkLocal(mac [6]byte) netip.Addr {
	b := ipv6LinkLocal.Addr().As16()
	copy(b[8:], []byte{mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]})
	return netip.AddrFrom16(b)
}

// ipv6Addr adds an address that is not there yet.
func (s *Stack) ipv6Addr(cur *kernel.Task, a Addr) {
	known := false
	s.ipv6.Change(cur, func(six *ipv6) {
		if known = slices.Contains(six.addrs, a); !known {
			six.insertAddr(a)
		}
	})
	if !known {
		s.tellAddr(cur, a, false, Cause{})
	}
}

// ipv6Route adds a route that is not there yet.
func (s *Stack) ipv6Route(cur *kernel.Task, r Route) {
	known := false
	s.ipv6.Change(cur, func(six *ipv6) {
		if known = slices.Contains(six.routes.get(r.Dst), r); !known {
			six.insert(r)
		}
	})
	if !known {
		s.tellRoute(cur, r, false, 0, Cause{})
	}
}

// IPv6Addrs returns the IPv6 addresses, by device, wider scopes first, and then the newest first.
func (s *Stack) IPv6Addrs(cur *kernel.Task) []Addr { return slices.Clone(s.ipv6.Get(cur).addrs) }

// IPv6Routes returns at most n IPv6 routes in the order of a dump, without the first few. Where none fits, destinations are
// unreachable: see NullRoute6.
func (s *Stack) IPv6Routes(cur *kernel.Task, skip, n int) (list []Route) {
	s.ipv6.Read(cur, func(six *ipv6) {
		for r := range six.routes.all(skip) {
			if len(list) == n {
				return
			}
			list = append(list, r)
		}
	})
	return list
}

// IPv6Neighs returns the IPv6 neighbours, oldest first.
func (s *Stack) IPv6Neighs(cur *kernel.Task) []Neigh { return slices.Clone(s.ipv6.Get(cur).neighs) }

// ipv6Down is addrconf_ifdown: what a device has of IPv6 goes when it goes down, in the order in which it is told. With lo the routes
// to all own addresses go, which lead over it.
func (s *Stack) ipv6Down(cur *kernel.Task, d Device) {
	s.change(cur, d.Index, func(d *Device) { d.Solicits.end(s.in.k.Now()) })
	var gone []Neigh
	s.ipv6.Change(cur, func(six *ipv6) {
		rest := make([]Neigh, 0, len(six.neighs))
		for _, n := range six.neighs {
			if n.Dev == d.Index {
				gone = append(gone, n)
			} else {
				rest = append(rest, n)
			}
		}
		six.neighs = rest
	})
	for _, n := range gone {
		s.tellNeigh(cur, n, true)
	}
	s.routes6Gone(cur, d.Index)
	s.addrs6Gone(cur, d.Index)
}

// Sysctl sets what an administrator can set below /proc/sys, with a key with dots: ENOENT for what is not modelled. That is
// net.ipv6.conf.DEVICE.disable_ipv6; default stands for new devices, all for these and for those that are there.
func (s *Stack) Sysctl(cur *kernel.Task, key string, value int64) error {
	rest, found := strings.CutPrefix(key, "net.ipv6.conf.")
	name, ok := strings.CutSuffix(rest, ".disable_ipv6")
	if !found || !ok {
		return kernel.Errorf(kernel.ENOENT, "no setting %s", key)
	}
	off := value != 0
	if name == "all" || name == "default" {
		s.ipv6.Change(cur, func(six *ipv6) { six.off = off })
		if name == "default" {
			return nil
		}
	}
	for _, d := range s.Devices(cur) {
		if name == "all" || name == d.Name {
			ok = false
			now := s.change(cur, d.Index, func(d *Device) { d.IPv6Off = off })
			switch {
			case !off && d.IPv6Off && d.Up():
				s.ipv6Up(cur, now)
			case off && !d.IPv6Off:
				s.ipv6Down(cur, now)
			}
		}
	}
	if ok && name != "all" {
		return kernel.Errorf(kernel.ENOENT, "no device %s", name)
	}
	return nil
}
