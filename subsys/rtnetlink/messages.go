package rtnetlink

import (
	"encoding/binary"
	"net/netip"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/subsys/inet"
	"nlmmap/uapi"
)

// Sizes of the headers behind the message header, and types of attributes.
const (
	ifinfomsgLen = 16
	ifaddrmsgLen = 8
	ndmsgLen     = 12
	rtmsgLen     = 12
	tcmsgLen     = 20

	iflaOpaque    = 0
	iflaAddress   = 1
	iflaBroadcast = 2
	iflaIfname    = 3
	iflaMTU       = 4
	iflaTxqlen    = 13
	iflaOperstate = 16
	iflaLinkmode  = 17
	iflaLinkinfo  = 18
	iflaInfoKind  = 1

	ifaAddress   = 1
	ifaLocal     = 2
	ifaLabel     = 3
	ifaCacheinfo = 6
	ifaFlags     = 8

	ifaMulticast = 7
	ifalAddress  = 1
	ifalLabel    = 2

	netconfaIfindex = 1
	ndtaIfindex     = 1

	ndaDst       = 1
	ndaLladdr    = 2
	ndaCacheinfo = 3
	ndaProbes    = 4
	ndaIfindex   = 8
	ndaMaster    = 9

	rtaDst       = 1
	rtaOif       = 4
	rtaGateway   = 5
	rtaPriority  = 6
	rtaPrefsrc   = 7
	rtaCacheinfo = 12
	rtaTable     = 15
	rtaPref      = 20

	fraPriority          = 6
	fraSuppressPrefixlen = 14
	fraTable             = 15

	iffUp       = 0x1
	iffLoopback = 0x8
	iffRunning  = 0x40
	iffNoarp    = 0x80
	iffLowerUp  = 0x10000

	arphrdEther    = 1
	arphrdLoopback = 772
	arphrdNetlink  = 824

	rtmFCloned     = 0x200
	rtnUnreachable = 7
	ntfProxy       = 8
)

// A filler appends one message whose header has flags, sequence number and portid of h. It returns false, and leaves
// the buffer as it was, when the message does not fit.
type filler func(cur *kernel.Task, s *afnetlink.SKB, h uapi.NLMsgHdr) bool

// attrs appends attributes to a message until one does not fit.
type attrs struct {
	cur *kernel.Task
	s   *afnetlink.SKB
	b   afnetlink.Builder
	ok  bool
}

// begin appends the two headers of a message.
func begin(cur *kernel.Task, s *afnetlink.SKB, h uapi.NLMsgHdr, typ uint16, header []byte) (attrs, bool) {
	h.Type = typ
	b, ok := afnetlink.PutMsg(cur, s, h, len(header))
	if ok {
		b.Put(cur, s, header)
	}
	return attrs{cur, s, b, true}, ok
}

func (a *attrs) put(typ uint16, data []byte) { a.ok = a.ok && a.b.Attr(a.cur, a.s, typ, data) }

func (a *attrs) put32(typ uint16, v uint32) { a.ok = a.ok && a.b.Attr32(a.cur, a.s, typ, v) }

func (a *attrs) putIP(typ uint16, addr netip.Addr) {
	if addr.IsValid() {
		a.put(typ, addr.AsSlice())
	}
}

// end completes the message, or removes it if something did not fit.
func (a *attrs) end() bool {
	if !a.ok {
		a.b.Cancel(a.s)
		return false
	}
	a.b.End(a.cur, a.s)
	return true
}

func cstring(s string) []byte { return append([]byte(s), 0) }

// fillLink is rtnl_fill_ifinfo (spec 11.7).
func (r *Rtnetlink) fillLink(typ uint16, d inet.Device) filler {
	size := r.D.LinkMsgSize + longerName(d)
	if d.Kind != "" {
		size += uapi.NLAHdrlen + uapi.NLATotalSize(len(d.Kind)+1)
	}
	if !d.Loopback && !d.Ethernet() {
		size -= 2 * uapi.NLATotalSize(len(d.MAC))
	}
	return fillIfinfo(typ, uapi.AFUnspec, d, size, true)
}

// fillLink6 is inet6_fill_ifinfo.
func (r *Rtnetlink) fillLink6(d inet.Device) filler {
	size := r.D.LinkMsgSizeIPv6 + longerName(d)
	if !d.Loopback && !d.Ethernet() {
		size -= uapi.NLATotalSize(len(d.MAC))
	}
	return fillIfinfo(uapi.RTMNewlink, uapi.AFInet6, d, size, false)
}

// longerName is by how much the name of a device makes its messages longer than those of lo.
func longerName(d inet.Device) int {
	return uapi.NLATotalSize(len(d.Name)+1) - uapi.NLATotalSize(len("lo")+1)
}

// fillIfinfo makes a link message of size bytes.
func fillIfinfo(typ uint16, family byte, d inet.Device, size int, full bool) filler {
	return func(cur *kernel.Task, s *afnetlink.SKB, h uapi.NLMsgHdr) bool {
		start := s.Len()
		a, ok := begin(cur, s, h, typ, ifinfomsg(family, d))
		if !ok {
			return false
		}
		mtu := uint32(1500)
		if d.Loopback {
			mtu = 65536
		}
		a.put(iflaIfname, cstring(d.Name))
		if full {
			a.put32(iflaTxqlen, 0)
			a.put(iflaOperstate, []byte{0})
			a.put(iflaLinkmode, []byte{0})
		}
		a.put32(iflaMTU, mtu)
		addressed := d.Loopback || d.Ethernet()
		if addressed {
			a.put(iflaAddress, d.MAC[:])
		}
		if full && addressed {
			broadcast := [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
			if d.Loopback {
				broadcast = [6]byte{}
			}
			a.put(iflaBroadcast, broadcast[:])
		}
		if full && d.Kind != "" && a.ok {
			nest, ok := a.b.Nest(cur, s, iflaLinkinfo)
			a.ok = ok
			a.put(iflaInfoKind, cstring(d.Kind))
			if a.ok {
				a.b.EndNest(cur, s, nest)
			}
		}
		if a.ok {
			a.put(iflaOpaque, make([]byte, max(0, size-(s.Len()-start)-uapi.NLAHdrlen)))
		}
		return a.end()
	}
}

func ifinfomsg(family byte, d inet.Device) []byte {
	le := binary.LittleEndian
	b := make([]byte, ifinfomsgLen)
	b[0] = family
	typ, flags := uint16(arphrdEther), uint32(iffNoarp)
	switch {
	case d.Loopback:
		typ, flags = arphrdLoopback, iffLoopback
	case !d.Ethernet():
		typ = arphrdNetlink
	}
	if d.Up {
		flags |= iffUp | iffRunning | iffLowerUp
	}
	le.PutUint16(b[2:], typ)
	le.PutUint32(b[4:], uint32(d.Index))
	le.PutUint32(b[8:], flags)
	return b
}

// fillAddr is inet_fill_ifaddr, as an answer or a notification of an IPv4 address.
func (r *Rtnetlink) fillAddr(addr inet.Addr, label string) filler {
	return func(cur *kernel.Task, s *afnetlink.SKB, h uapi.NLMsgHdr) bool {
		const permanent = 0x80
		header := []byte{uapi.AFInet, byte(addr.Prefix.Bits()), permanent, addr.Scope}
		header = binary.LittleEndian.AppendUint32(header, uint32(addr.Dev))
		a, ok := begin(cur, s, h, uapi.RTMNewaddr, header)
		if !ok {
			return false
		}
		a.putIP(ifaAddress, addr.Prefix.Addr())
		a.putIP(ifaLocal, addr.Prefix.Addr())
		a.put(ifaLabel, cstring(label))
		r.putAddrFlags(&a, permanent)
		const forever = 1<<32 - 1
		info := binary.LittleEndian.AppendUint32(nil, forever)
		info = binary.LittleEndian.AppendUint32(info, forever)
		a.put(ifaCacheinfo, append(info, make([]byte, 8)...))
		return a.end()
	}
}

// putAddrFlags says once more which flags an address has, with more room for them.
func (r *Rtnetlink) putAddrFlags(a *attrs, flags uint32) {
	if r.D.AddrFlags {
		a.put32(ifaFlags, flags)
	}
}

// fillNeigh is neigh_fill_info (spec 11.4).
func fillNeigh(typ uint16, n inet.Neigh) filler {
	return func(cur *kernel.Task, s *afnetlink.SKB, h uapi.NLMsgHdr) bool {
		header := make([]byte, ndmsgLen)
		header[0] = uapi.AFInet
		header[11] = inet.RTNUnicast
		if n.Dst.Is6() {
			header[0], header[11] = uapi.AFInet6, inet.RTNMulticast // there are no others
		}
		binary.LittleEndian.PutUint32(header[4:], uint32(n.Dev))
		binary.LittleEndian.PutUint16(header[8:], n.State)
		header[10] = n.Flags
		a, ok := begin(cur, s, h, typ, header)
		if !ok {
			return false
		}
		a.putIP(ndaDst, n.Dst)
		if n.Valid() {
			a.put(ndaLladdr, n.MAC[:])
		}
		a.put32(ndaProbes, 0)
		a.put(ndaCacheinfo, make([]byte, 16))
		return a.end()
	}
}

func rtmsg(family byte, bits int, r inet.Route, flags uint32) []byte {
	b := []byte{family, byte(bits), 0, r.TOS, r.Table, r.Protocol, r.Scope, r.Type}
	return binary.LittleEndian.AppendUint32(b, flags)
}

// fillRoute is fib_dump_info (spec 11.5).
func fillRoute(typ uint16, r inet.Route) filler {
	return func(cur *kernel.Task, s *afnetlink.SKB, h uapi.NLMsgHdr) bool {
		a, ok := begin(cur, s, h, typ, rtmsg(uapi.AFInet, r.Dst.Bits(), r, 0))
		if !ok {
			return false
		}
		a.put32(rtaTable, uint32(r.Table))
		if r.Dst.Bits() > 0 {
			a.putIP(rtaDst, r.Dst.Addr())
		}
		if r.Priority != 0 {
			a.put32(rtaPriority, r.Priority)
		}
		a.putIP(rtaPrefsrc, r.PrefSrc)
		a.putIP(rtaGateway, r.Gateway)
		if r.Dev != 0 {
			a.put32(rtaOif, uint32(r.Dev))
		}
		return a.end()
	}
}

// fillRule is fib_nl_fill_rule, for a rule that looks at nothing and goes to a table.
func (r *Rtnetlink) fillRule(priority, table uint32) filler {
	return func(cur *kernel.Task, s *afnetlink.SKB, h uapi.NLMsgHdr) bool {
		const toTable = 1
		header := []byte{uapi.AFInet, 0, 0, 0, byte(table), 0, 0, toTable, 0, 0, 0, 0}
		a, ok := begin(cur, s, h, uapi.RTMNewrule, header)
		if !ok {
			return false
		}
		a.put32(fraTable, table)
		if r.D.RuleSuppress {
			a.put32(fraSuppressPrefixlen, 1<<32-1)
		}
		if priority != 0 {
			a.put32(fraPriority, priority)
		}
		return a.end()
	}
}

// fillLookup is rt_fill_info: the answer to GETROUTE (spec 11.3), which is about one destination.
func fillLookup(dst netip.Addr, r inet.Route) filler {
	return func(cur *kernel.Task, s *afnetlink.SKB, h uapi.NLMsgHdr) bool {
		r.Table, r.Protocol, r.Scope = inet.TableMain, 0, inet.ScopeUniverse
		a, ok := begin(cur, s, h, uapi.RTMNewroute, rtmsg(uapi.AFInet, 32, r, rtmFCloned))
		if !ok {
			return false
		}
		a.put32(rtaTable, uint32(r.Table))
		a.putIP(rtaDst, dst)
		a.put32(rtaOif, uint32(r.Dev))
		a.putIP(rtaPrefsrc, r.PrefSrc)
		a.putIP(rtaGateway, r.Gateway)
		a.put(rtaCacheinfo, make([]byte, 32))
		return a.end()
	}
}

// unreachable is the IPv6 route of what no other is for.
var unreachable = inet.Route{Dst: netip.PrefixFrom(netip.IPv6Unspecified(), 0), Protocol: inet.ProtoKernel,
	Type: rtnUnreachable, Dev: inet.LoIndex, Priority: 1<<32 - 1}

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
		a.put32(rtaTable, uint32(rt.Table))
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
		if rt.Type == rtnUnreachable {
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
		const permanent = 0x80
		header := []byte{uapi.AFInet6, byte(addr.Prefix.Bits()), permanent, addr.Scope}
		a, ok := begin(cur, s, h, typ, binary.LittleEndian.AppendUint32(header, uint32(addr.Dev)))
		if !ok {
			return false
		}
		a.putIP(ifaAddress, addr.Prefix.Addr())
		a.put(ifaCacheinfo, forever())
		r.putAddrFlags(&a, permanent)
		return a.end()
	}
}

// forever is the age of an address that has no end (struct ifa_cacheinfo).
func forever() []byte {
	b := make([]byte, 16)
	binary.LittleEndian.PutUint64(b, 1<<64-1)
	return b
}

// fillMulticast6 is inet6_fill_ifmcaddr: a group that a device is in.
func fillMulticast6(addr inet.Addr) filler {
	return func(cur *kernel.Task, s *afnetlink.SKB, h uapi.NLMsgHdr) bool {
		const permanent = 0x80
		header := []byte{uapi.AFInet6, byte(addr.Prefix.Bits()), permanent, inet.ScopeLink}
		a, ok := begin(cur, s, h, rtmGetmulticast, binary.LittleEndian.AppendUint32(header, uint32(addr.Dev)))
		if !ok {
			return false
		}
		a.putIP(ifaMulticast, addr.Prefix.Addr())
		a.put(ifaCacheinfo, forever())
		return a.end()
	}
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
		a.putIP(ifalAddress, l.prefix.Addr())
		a.put32(ifalLabel, l.label)
		return a.end()
	}
}

// fillFDB is nlmsg_populate_fdb_fill: a link-layer address that a device listens to.
func fillFDB(dev int, mac [6]byte) filler {
	return func(cur *kernel.Task, s *afnetlink.SKB, h uapi.NLMsgHdr) bool {
		const ntfSelf = 2
		header := make([]byte, ndmsgLen)
		header[0] = afBridge
		binary.LittleEndian.PutUint32(header[4:], uint32(dev))
		binary.LittleEndian.PutUint16(header[8:], inet.NUDPermanent)
		header[10] = ntfSelf
		a, ok := begin(cur, s, h, uapi.RTMNewneigh, header)
		if !ok {
			return false
		}
		a.put(ndaLladdr, mac[:])
		return a.end()
	}
}

// fillNetconf is inet_netconf_fill_devconf: the settings of a device.
func fillNetconf(family byte, index int32, size int) filler {
	return fillSettings(rtmNewnetconf, family, netconfaIfindex, uint32(index), size)
}

// fillNeightbl is neightbl_fill_info, or neightbl_fill_param_info for what a table has for a device.
func fillNeightbl(family byte, dev, size int) filler {
	return fillSettings(rtmNewneightbl, family, ndtaIfindex, uint32(dev), size)
}

// fillSettings makes a message of size bytes about a family on a device. What is not modelled of it is one attribute of
// type 0.
func fillSettings(typ uint16, family byte, attr uint16, index uint32, size int) filler {
	return func(cur *kernel.Task, s *afnetlink.SKB, h uapi.NLMsgHdr) bool {
		start := s.Len()
		a, ok := begin(cur, s, h, typ, []byte{family, 0, 0, 0})
		if !ok {
			return false
		}
		a.put32(attr, index)
		if opaque := size - (s.Len() - start) - uapi.NLAHdrlen; a.ok && opaque >= 0 {
			a.put(iflaOpaque, make([]byte, opaque))
		}
		return a.end()
	}
}
