package rtnetlink

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

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
	const solicited, ready = 1 << 4, 1 << 31
	if d.IPv6Ready {
		flags |= ready
	}
	if d.Solicits.Asked() {
		flags |= solicited
	}
	a.put32(iflaInet6Flags, flags)
	info := make([]byte, 16)
	binary.LittleEndian.PutUint32(info, 65535)     // the longest packet that is put together
	binary.LittleEndian.PutUint32(info[8:], 30000) // until a neighbour has to be asked again; random on a kernel
	binary.LittleEndian.PutUint32(info[12:], 1000)
	a.put(iflaInet6Cacheinfo, info)
	a.put(iflaInet6Conf, r.inet6Conf(d))
	if withStats {
		// Statistics of IPv6 and of ICMPv6, by number: packets and bytes sent, those to groups of them, messages sent.
		const outPkts, outOctets, outMcastPkts, outMcastOctets = 5, 6, 24, 28
		const icmp6, icmp6OutMsgs = 6, 3
		sent := uint64(d.Solicits.Sent(r.now()))
		octets := sent * inet.SolicitLenIP6
		a.put(iflaInet6Stats, counters(r.D.IPv6Counters, map[int]uint64{outPkts: sent, outOctets: octets, outMcastPkts: sent, outMcastOctets: octets}))
		a.put(iflaInet6Icmp6stats, counters(icmp6, map[int]uint64{icmp6OutMsgs: sent}))
		a.put(iflaInet6Token, make([]byte, 16))
		if r.D.AddrGenMode {
			a.put(iflaInet6AddrGenMode, []byte{0})
		}
	}
}

// counters are n numbers of 64 bits, of which the first says how many there are. Those that are not 0 are given.
func counters(n int, values map[int]uint64) []byte {
	b := make([]byte, 8*n)
	binary.LittleEndian.PutUint64(b, uint64(n))
	for i, v := range values {
		if 8*i < len(b) {
			binary.LittleEndian.PutUint64(b[8*i:], v)
		}
	}
	return b
}

// fillRoute6 is rt6_fill_node.
func (r *Rtnetlink) fillRoute6(typ uint16, rt inet.Route) filler { return r.fillIPv6(typ, rt, rt.Dst) }

// fillIPv6 is rt6_fill_node for a route, or for one destination of it.
func (r *Rtnetlink) fillIPv6(typ uint16, rt inet.Route, dst netip.Prefix) filler {
	return func(cur *kernel.Task, s *afnetlink.SKB, h uapi.NLMsgHdr) bool {
		a, ok := begin(cur, s, h, typ, rtmsg(uapi.AFInet6, dst.Bits(), rt, rt.Flags))
		if !ok {
			return false
		}
		a.put32(rtaTable, rt.Table)
		if dst.Bits() > 0 {
			a.putIP(rtaDst, dst.Addr())
		}
		a.putIP(rtaPrefsrc, rt.PrefSrc)
		a.metrics(rt.Metrics, rt.Congestion)
		a.putIP(rtaGateway, rt.Gateway)
		a.put32(rtaOif, uint32(rt.Dev))
		a.put32(rtaPriority, rt.Priority)
		info := make([]byte, 32)
		binary.LittleEndian.PutUint32(info[12:], uint32(r.error6(rt)))
		a.put(rtaCacheinfo, info)
		if r.D.IPv6RoutePref {
			a.put(rtaPref, []byte{0})
		}
		return a.end()
	}
}

// error6 is the error that an IPv6 route is, negative, 0 for one that leads somewhere.
func (r *Rtnetlink) error6(rt inet.Route) int32 {
	switch rt.Type {
	case inet.RTNBlackhole:
		return -int32(unix.EINVAL)
	case inet.RTNProhibit:
		return -int32(inet.EACCES)
	case inet.RTNThrow:
		return -int32(unix.EAGAIN)
	case inet.RTNUnreachable:
		if rt.Table != 0 && r.D.IPv6Unreachable { // not inet.NullRoute6
			return -int32(inet.EHOSTUNREACH)
		}
		return -int32(inet.ENETUNREACH)
	}
	return 0
}

// fillAddr6 is inet6_fill_ifaddr, as an answer or a notification of an IPv6 address.
func (r *Rtnetlink) fillAddr6(typ uint16, addr inet.Addr) filler {
	return func(cur *kernel.Task, s *afnetlink.SKB, h uapi.NLMsgHdr) bool {
		header := []byte{uapi.AFInet6, byte(addr.Prefix.Bits()), byte(addr.Flags), addr.Scope}
		a, ok := begin(cur, s, h, typ, binary.LittleEndian.AppendUint32(header, uint32(addr.Dev)))
		if !ok {
			return false
		}
		if addr.Peer.IsValid() {
			a.putIP(ifaLocal, addr.Prefix.Addr())
			a.putIP(ifaAddress, addr.Peer)
		} else {
			a.putIP(ifaAddress, addr.Prefix.Addr())
		}
		a.put(ifaCacheinfo, lifetimes(addr))
		r.putAddrFlags(&a, addr.Flags)
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
	const some = 256
	down := r.linkdown(cur, r.inet.Stack(cb.Net))
	var routes []inet.Route // from begin on
	begin, last := 0, false
	return each(cur, s, cb, 0, func(i int) (filler, bool) {
		if i >= begin+len(routes) && !last {
			begin, routes = i, r.inet.Stack(cb.Net).IPv6Routes(cur, i, some)
			if last = len(routes) < some; last {
				routes = append(routes, inet.NullRoute6)
			}
		}
		if i -= begin; i < len(routes) {
			return r.fillRoute6(uapi.RTMNewroute, down.marked(routes[i])), true
		}
		return nil, false
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

// route6Attrs are what a request for an IPv6 route may have.
var route6Attrs = policy{rtaOif: least(4), rtaIif: least(4), rtaPriority: least(4), rtaGateway: least(16)}

// route6Request is rtm_to_fib6_config: EINVAL for prefixes of more than 128 bits, for one of a source, and for an address that is
// shorter than its prefix.
func (r *Rtnetlink) route6Request(q *request) (rt inet.Route, err error) {
	set, err := route6Attrs.parse(q.payload, rtmsgLen)
	if err != nil {
		return rt, err
	}
	h := q.payload
	bits := int(h[1])
	dst, err := prefix6(set[rtaDst], bits)
	if err != nil || h[2] != 0 {
		return rt, kernel.Errorf(kernel.EINVAL, "prefixes of %d and %d bits", bits, h[2])
	}
	rt = inet.Route{Dst: dst, Protocol: h[5], Type: h[7], Dev: int(int32(set.get32(rtaOif, 0))), Gateway: set.ip(rtaGateway, 16),
		Priority: set.get32(rtaPriority, 0), PrefSrc: set.ip(rtaPrefsrc, 16)}
	err = r.parseMetrics(&rt, set)
	return rt, err
}

// prefix6 is an address of which the first bits count; those that are not there are 0.
func prefix6(addr []byte, bits int) (netip.Prefix, error) {
	if bits > 128 || len(addr) < (bits+7)/8 {
		return netip.Prefix{}, kernel.EINVAL
	}
	var b [16]byte
	copy(b[:], addr)
	return netip.PrefixFrom(netip.AddrFrom16(b), bits), nil
}

// newRoute6 is inet6_rtm_newroute.
func (r *Rtnetlink) newRoute6(cur *kernel.Task, q *request) error {
	rt, err := r.route6Request(q)
	if err != nil {
		return err
	}
	return q.stack(r).AddRoute6(cur, q.cause(), rt, q.h.Flags)
}

// delRoute6 is inet6_rtm_delroute.
func (r *Rtnetlink) delRoute6(cur *kernel.Task, q *request) error {
	rt, err := r.route6Request(q)
	if err != nil {
		return err
	}
	return q.stack(r).DelRoute6(cur, q.cause(), rt)
}

// addr6Attrs are what a request for an IPv6 address may have.
var addr6Attrs = policy{ifaAddress: least(16), ifaLocal: least(16), ifaCacheinfo: least(16), ifaFlags: least(4)}

// addr6Request reads what NEWADDR and DELADDR say: EINVAL without an address, or for a local one and another that is no peer.
func (r *Rtnetlink) addr6Request(q *request) (a inet.Addr, set attrSet, err error) {
	if set, err = addr6Attrs.parse(q.payload, ifaddrmsgLen); err != nil {
		return a, set, err
	}
	addr, local := set.ip(ifaAddress, 16), set.ip(ifaLocal, 16)
	switch {
	case local.IsValid() && addr.IsValid() && local != addr:
		a.Peer = addr
	case !local.IsValid():
		local = addr
	}
	if !local.IsValid() {
		return a, set, kernel.Errorf(kernel.EINVAL, "no address")
	}
	bits := int(q.payload[1])
	if bits > 128 {
		return a, set, kernel.Errorf(kernel.EINVAL, "a prefix of %d bits", bits)
	}
	a.Prefix, a.Dev = netip.PrefixFrom(local, bits), int(int32(binary.LittleEndian.Uint32(q.payload[4:])))
	return a, set, nil
}

// settable6 are the flags of IPv6 addresses that a request can set: NODAD, HOMEADDRESS, and where they are known MANAGETEMPADDR and
// NOPREFIXROUTE.
const settable6 = 0x02 | 0x10 | 0x100 | inet.AddrNoPrefixRoute

// newAddr6 is inet6_rtm_newaddr: beside the errors of the request ENODEV, EINVAL for lifetimes that contradict each other, and
// EEXIST for an address that is there, unless it is to be replaced.
func (r *Rtnetlink) newAddr6(cur *kernel.Task, q *request) error {
	a, set, err := r.addr6Request(q)
	if err != nil {
		return err
	}
	a.Preferred, a.Valid = inet.Forever, inet.Forever
	if info, ok := set[ifaCacheinfo]; ok {
		a.Preferred, a.Valid = binary.LittleEndian.Uint32(info), binary.LittleEndian.Uint32(info[4:])
	}
	stack := q.stack(r)
	if _, ok := stack.Device(cur, a.Dev); !ok {
		return kernel.Errorf(kernel.ENODEV, "no device %d", a.Dev)
	}
	if a.Valid == 0 || a.Preferred > a.Valid {
		return kernel.Errorf(kernel.EINVAL, "lifetimes %d and %d", a.Preferred, a.Valid)
	}
	a.Flags = uint32(q.payload[2])
	if r.hasAddrFlags() {
		a.Flags = set.get32(ifaFlags, a.Flags)
	}
	a.Flags &= settable6
	if a.Valid == inet.Forever {
		a.Flags |= inet.AddrPermanent
	}
	if q.h.Flags&uapi.NLMFExcl == 0 && q.h.Flags&uapi.NLMFReplace != 0 && stack.ChangeAddr6(cur, a) {
		return nil
	}
	return stack.AddAddr6(cur, a)
}

// delAddr6 is inet6_rtm_deladdr: ENODEV, ENXIO for a device without IPv6, EADDRNOTAVAIL.
func (r *Rtnetlink) delAddr6(cur *kernel.Task, q *request) error {
	a, _, err := r.addr6Request(q)
	if err != nil {
		return err
	}
	d, ok := q.stack(r).Device(cur, a.Dev)
	switch {
	case !ok:
		return kernel.Errorf(kernel.ENODEV, "no device %d", a.Dev)
	case !d.IPv6:
		return kernel.Errorf(unix.ENXIO, "%s has no IPv6", d.Name)
	}
	return q.stack(r).DelAddr6(cur, a.Dev, a.Prefix)
}
