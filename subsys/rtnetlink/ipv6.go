package rtnetlink

import (
	"encoding/binary"
	"net/netip"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/subsys/inet"
	"nlmmap/uapi"
)

// Types of messages that only IPv6 has, and their attributes.
const (
	rtmGetmulticast = 58
	rtmGetanycast   = 62
	rtmNewaddrlabel = 72
	rtmDeladdrlabel = 73
	rtmGetaddrlabel = 74

	ifalAddress = 1
	ifalLabel   = 2

	iflaInet6Flags       = 1
	iflaInet6Conf        = 2
	iflaInet6Stats       = 3
	iflaInet6Cacheinfo   = 5
	iflaInet6Icmp6stats  = 6
	iflaInet6Token       = 7
	iflaInet6AddrGenMode = 8
)

// fillInet6 is inet6_fill_ifla6_attrs: what IPv6 says of a device.
func (r *Rtnetlink) fillInet6(a *attrs, d inet.Device, withStats bool) {
	flags := uint32(0)
	if d.IPv6Ready {
		const ready = 1 << 31
		flags = ready
	}
	a.put32(iflaInet6Flags, flags)
	info := make([]byte, 16)
	binary.LittleEndian.PutUint32(info, 65535)     // the longest packet that is put together
	binary.LittleEndian.PutUint32(info[8:], 30000) // until a neighbour has to be asked again; random on a kernel
	binary.LittleEndian.PutUint32(info[12:], 1000)
	a.put(iflaInet6Cacheinfo, info)
	a.put(iflaInet6Conf, r.inet6Conf(d))
	if withStats {
		a.put(iflaInet6Stats, counters(r.D.IPv6Counters))
		const icmp6 = 6
		a.put(iflaInet6Icmp6stats, counters(icmp6))
		a.put(iflaInet6Token, make([]byte, 16))
		if r.D.AddrGenMode {
			a.put(iflaInet6AddrGenMode, []byte{0})
		}
	}
}

// counters are n numbers of 64 bits, of which the first says how many there are.
func counters(n int) []byte {
	b := make([]byte, 8*n)
	binary.LittleEndian.PutUint64(b, uint64(n))
	return b
}

// unreachable is the IPv6 route of what no other is for.
var unreachable = inet.Route{Dst: netip.PrefixFrom(netip.IPv6Unspecified(), 0), Protocol: inet.ProtoKernel,
	Type: inet.RTNUnreachable, Dev: inet.LoIndex, Priority: 1<<32 - 1}

// ipv6Priority is the priority of routes that IPv6 makes by itself (IP6_RT_PRIO_ADDRCONF); that to an own address has 0.
const ipv6Priority = 256

// fillRoute6 is rt6_fill_node.
func (r *Rtnetlink) fillRoute6(typ uint16, rt inet.Route) filler { return r.fillIPv6(typ, rt, rt.Dst) }

// fillLookup6 is the answer to a request for an IPv6 route: nothing is reachable, and it is about the unspecified address
// (spec 11.3), from one of the own addresses if there are any.
func (r *Rtnetlink) fillLookup6(own []inet.Addr) filler {
	rt := unreachable
	if len(own) > 0 {
		rt.PrefSrc = own[0].Prefix.Addr()
	}
	return r.fillIPv6(uapi.RTMNewroute, rt, netip.PrefixFrom(netip.IPv6Unspecified(), 128))
}

func (r *Rtnetlink) fillIPv6(typ uint16, rt inet.Route, dst netip.Prefix) filler {
	return func(cur *kernel.Task, s *afnetlink.SKB, h uapi.NLMsgHdr) bool {
		a, ok := begin(cur, s, h, typ, rtmsg(uapi.AFInet6, dst.Bits(), rt, 0))
		if !ok {
			return false
		}
		a.put32(rtaTable, rt.Table)
		if dst.Bits() > 0 {
			a.putIP(rtaDst, dst.Addr())
		}
		a.putIP(rtaPrefsrc, rt.PrefSrc)
		a.put32(rtaOif, uint32(rt.Dev))
		priority := rt.Priority
		if priority == 0 && rt.Type == inet.RTNUnicast {
			priority = ipv6Priority
		}
		a.put32(rtaPriority, priority)
		info := make([]byte, 32)
		if rt.Type == inet.RTNUnreachable {
			code := -int32(inet.ENETUNREACH)
			binary.LittleEndian.PutUint32(info[12:], uint32(code))
		}
		a.put(rtaCacheinfo, info)
		if r.D.IPv6RoutePref {
			a.put(rtaPref, []byte{0})
		}
		return a.end()
	}
}

// fillAddr6 is inet6_fill_ifaddr, as an answer or a notification of an IPv6 address.
func (r *Rtnetlink) fillAddr6(typ uint16, addr inet.Addr) filler {
	return func(cur *kernel.Task, s *afnetlink.SKB, h uapi.NLMsgHdr) bool {
		header := []byte{uapi.AFInet6, byte(addr.Prefix.Bits()), inet.AddrPermanent, addr.Scope}
		a, ok := begin(cur, s, h, typ, binary.LittleEndian.AppendUint32(header, uint32(addr.Dev)))
		if !ok {
			return false
		}
		a.putIP(ifaAddress, addr.Prefix.Addr())
		a.put(ifaCacheinfo, forever())
		r.putAddrFlags(&a, inet.AddrPermanent)
		return a.end()
	}
}

// forever is the age of an address that has no end (struct ifa_cacheinfo).
func forever() []byte {
	b := make([]byte, 16)
	binary.LittleEndian.PutUint64(b, 1<<64-1)
	return b
}

// dumpAddrs6 is inet6_dump_ifaddr.
func (r *Rtnetlink) dumpAddrs6(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int {
	stack := r.inet.Stack(cb.Net)
	all := stack.IPv6Addrs(cur)
	cb.Seq = uint32(len(all)) ^ linkSeq(cur, stack)
	return list(cur, s, cb, all, func(a inet.Addr) filler { return r.fillAddr6(uapi.RTMNewaddr, a) })
}

// dumpRoutes6 is inet6_dump_fib. The last route makes every other destination unreachable.
func (r *Rtnetlink) dumpRoutes6(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int {
	if clonedOnly(cur, cb) {
		return s.Len()
	}
	return list(cur, s, cb, append(r.inet.Stack(cb.Net).IPv6Routes(cur), unreachable), func(rt inet.Route) filler {
		return r.fillRoute6(uapi.RTMNewroute, rt)
	})
}

// dumpMulticast6 is inet6_dump_ifmcaddr: every device is in the groups of all nodes, those of the link and its own.
func (r *Rtnetlink) dumpMulticast6(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int {
	var all []inet.Addr
	for _, d := range r.inet.Stack(cb.Net).Devices(cur) {
		if !d.IPv6 {
			continue
		}
		for _, group := range []string{"ff02::1", "ff01::1"} {
			all = append(all, inet.Addr{Prefix: netip.PrefixFrom(netip.MustParseAddr(group), 128), Dev: d.Index})
		}
	}
	return list(cur, s, cb, all, fillMulticast6)
}

// fillMulticast6 is inet6_fill_ifmcaddr: a group that a device is in.
func fillMulticast6(addr inet.Addr) filler {
	return func(cur *kernel.Task, s *afnetlink.SKB, h uapi.NLMsgHdr) bool {
		scope := byte(inet.ScopeUniverse)
		if addr.Prefix.Addr().IsLinkLocalMulticast() && false {
			scope = inet.ScopeLink
		}
		header := []byte{uapi.AFInet6, byte(addr.Prefix.Bits()), inet.AddrPermanent, scope}
		a, ok := begin(cur, s, h, rtmGetmulticast, binary.LittleEndian.AppendUint32(header, uint32(addr.Dev)))
		if !ok {
			return false
		}
		a.putIP(ifaMulticast, addr.Prefix.Addr())
		a.put(ifaCacheinfo, forever())
		return a.end()
	}
}

// An addrlabel says which label a destination has when a source address is chosen for it.
type addrlabel struct {
	prefix netip.Prefix
	label  uint32
}

// defaultLabels are those that every namespace begins with.
var defaultLabels = [...]addrlabel{
	{netip.MustParsePrefix("::1/128"), 0},
	{netip.MustParsePrefix("::/96"), 3},
	{netip.PrefixFrom(netip.MustParseAddr("::ffff:0:0"), 96), 4},
	{netip.MustParsePrefix("2001::/32"), 6},
	{netip.MustParsePrefix("2001:10::/28"), 7},
	{netip.MustParsePrefix("3ffe::/16"), 12},
	{netip.MustParsePrefix("2002::/16"), 2},
	{netip.MustParsePrefix("fec0::/10"), 11},
	{netip.MustParsePrefix("fc00::/7"), 5},
	{netip.MustParsePrefix("::/0"), 1},
}

// dumpAddrlabels is ip6addrlbl_dump: the policy that every namespace begins with.
func (r *Rtnetlink) dumpAddrlabels(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int {
	return list(cur, s, cb, defaultLabels[:], fillAddrlabel)
}

// fillAddrlabel is ip6addrlbl_fill.
func fillAddrlabel(l addrlabel) filler {
	return func(cur *kernel.Task, s *afnetlink.SKB, h uapi.NLMsgHdr) bool {
		header := make([]byte, 12) // struct ifaddrlblmsg
		header[0], header[2] = uapi.AFInet6, byte(l.prefix.Bits())
		a, ok := begin(cur, s, h, rtmNewaddrlabel, header)
		if !ok {
			return false
		}
		addr := l.prefix.Addr().As16()
		a.put(ifalAddress, addr[:])
		a.put32(ifalLabel, l.label)
		return a.end()
	}
}
