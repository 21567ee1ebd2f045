package rtnetlink

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/subsys/inet"
	"nlmmap/uapi"
)

// More types that can be dumped.
const (
	rtmGetqdisc     = 38
	rtmGettclass    = 42
	rtmGetaction    = 50
	rtmGetmulticast = 58
	rtmGetanycast   = 62
	rtmNewneightbl  = 64
	rtmGetneightbl  = 66
	rtmNewaddrlabel = 72
	rtmNewnetconf   = 80
	rtmGetaddrlabel = 74
	rtmGetnetconf   = 82
	rtmGetnsid      = 90

	afBridge = 7
)

type dumpFunc = func(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int

// dumper returns the dump handler of (family, type), or of the unspecified family; nil for none (spec 11.3).
func (r *Rtnetlink) dumper(family byte, typ uint16) dumpFunc {
	switch family {
	case uapi.AFInet:
		switch typ {
		case uapi.RTMGetaddr:
			return r.dumpAddrs
		case uapi.RTMGetroute:
			return r.dumpRoutes
		case rtmGetnetconf:
			return r.dumpNetconf(uapi.AFInet, r.D.NetconfSize)
		}
	case uapi.AFInet6:
		switch typ {
		case uapi.RTMGetlink:
			return r.dumpLinks6
		case uapi.RTMGetaddr:
			return r.dumpAddrs6
		case uapi.RTMGetroute:
			return r.dumpRoutes6
		case rtmGetmulticast:
			return r.dumpMulticast6
		case rtmGetaddrlabel:
			return r.dumpAddrlabels
		case rtmGetanycast:
			return dumpNothing
		case rtmGetnetconf:
			return r.dumpNetconf(uapi.AFInet6, r.D.NetconfSizeIPv6)
		}
	case afBridge:
		switch typ {
		case uapi.RTMGetlink:
			return dumpNothing
		case uapi.RTMGetneigh:
			return r.dumpFDB
		}
	}
	switch typ {
	case uapi.RTMGetlink:
		return r.dumpLinks
	case uapi.RTMGetaddr:
		return inTurn(r.dumpAddrs, r.dumpAddrs6)
	case uapi.RTMGetroute:
		return inTurn(r.dumpRoutes, r.dumpRoutes6)
	case uapi.RTMGetneigh:
		return r.dumpNeighs
	case uapi.RTMGetrule:
		return r.dumpRules
	case rtmGetneightbl:
		return r.dumpNeightbl
	case rtmGetnsid:
		return dumpNothing
	case rtmGetqdisc, rtmGettclass, rtmGetaction:
		if r.built(typ) {
			return dumpNothing
		}
	}
	return nil
}

// built reports whether the kernel has the handlers of a type built in, which all but those of traffic control are.
func (r *Rtnetlink) built(typ uint16) bool {
	return r.D.TrafficControl || typ < rtmNewqdisc || typ > rtmGetaction
}

// dumpNothing is a dump of what no namespace here has.
func dumpNothing(*kernel.Task, *afnetlink.SKB, *afnetlink.Callback) int { return 0 }

// defaultRules are the rules that every namespace begins with: priority and table. Others are not modelled.
var defaultRules = [...][2]uint32{{0, inet.TableLocal}, {0x7ffe, inet.TableMain}, {0x7fff, inet.TableDefault}}

// dumpRules is fib_nl_dumprule: EAFNOSUPPORT for the families without policy routing.
func (r *Rtnetlink) dumpRules(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int {
	if p := cb.Nlh.Payload(cur); len(p) > 0 && p[0] != uapi.AFUnspec && p[0] != uapi.AFInet {
		return -int(kernel.EAFNOSUPPORT)
	}
	return each(cur, s, cb, 0, func(i int) (filler, bool) {
		if i >= len(defaultRules) {
			return nil, false
		}
		return r.fillRule(defaultRules[i][0], defaultRules[i][1]), true
	})
}

// Places of Args, the memory of a dump from message to message.
const (
	argNext   = 0 // the entry that comes next
	argEnded  = 1 // the dump has seen the end of what it lists
	argFamily = 5 // of inTurn
)

// inTurn dumps one family after the other: rtnl_dump_all. A message that has something of one family has nothing of
// the next.
func inTurn(dumps ...dumpFunc) dumpFunc {
	return func(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int {
		for ; int(cb.Args[argFamily]) < len(dumps); cb.Args[argFamily]++ {
			if n := dumps[cb.Args[argFamily]](cur, s, cb); n != 0 {
				return n
			}
			cb.Args[argNext], cb.Args[argEnded], cb.State, cb.Seq, cb.PrevSeq = 0, 0, nil, 0, 0
		}
		return 0
	}
}

// each appends the messages of entries from Args[argNext] on, until one does not fit; it is the first of the next message
// (spec 11.6). fill returns ok = false behind the last entry, and no filler for one that is left out. A dump that has come
// to its end stays there, whatever is added meanwhile.
func each(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback, flags uint16, fill func(i int) (f filler, ok bool)) int {
	for ; cb.Args[argEnded] == 0; cb.Args[argNext]++ {
		f, ok := fill(int(cb.Args[argNext]))
		if !ok {
			cb.Args[argEnded] = 1
			break
		}
		if f == nil {
			continue
		}
		if !put(cur, s, cb, flags, f) {
			break
		}
	}
	return s.Len()
}

// put appends one message of a dump. It reports whether that fits.
func put(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback, flags uint16, fill filler) bool {
	if !fill(cur, s, uapi.NLMsgHdr{Flags: uapi.NLMFMulti | flags, Seq: cb.Nlh.Seq(cur), Pid: cb.Portid}) {
		return false
	}
	if cb.PrevSeq != 0 && cb.Seq != cb.PrevSeq {
		// The mark goes to the first message of the buffer.
		first := cb.Nlh
		first.SKB, first.Off = s, 0
		s.Write32(cur, 4, uint32(first.Type(cur))|uint32(first.Flags(cur)|uapi.NLMFDumpIntr)<<16)
	}
	cb.PrevSeq = cb.Seq
	return true
}

// list is a dump of a slice.
func list[T any](cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback, all []T, fill func(T) filler) int {
	return each(cur, s, cb, 0, func(i int) (filler, bool) {
		if i >= len(all) {
			return nil, false
		}
		return fill(all[i]), true
	})
}

// linkSeq changes with the devices of a namespace, so that a dump can tell that they changed meanwhile (DUMP_INTR).
func linkSeq(cur *kernel.Task, stack *inet.Stack) uint32 { return uint32(1 + len(stack.Devices(cur))) }

// dumpLinks is rtnl_dump_ifinfo. Its messages would be allocated with more than 3776 bytes only for devices that need
// it, of which there are none.
func (r *Rtnetlink) dumpLinks(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int {
	stack := r.inet.Stack(cb.Net)
	cb.Seq = linkSeq(cur, stack)
	return each(cur, s, cb, 0, func(i int) (filler, bool) {
		d, ok := stack.Device(cur, i+1)
		return r.fillLink(uapi.RTMNewlink, d), ok
	})
}

// dumpLinks6 is inet6_dump_ifinfo.
func (r *Rtnetlink) dumpLinks6(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int {
	stack := r.inet.Stack(cb.Net)
	return each(cur, s, cb, 0, func(i int) (filler, bool) {
		d, ok := stack.Device(cur, i+1)
		return r.fillLink6(d), ok
	})
}

// dumpAddrs is inet_dump_ifaddr.
func (r *Rtnetlink) dumpAddrs(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int {
	stack := r.inet.Stack(cb.Net)
	all := stack.Addrs(cur)
	cb.Seq = uint32(len(all)) ^ linkSeq(cur, stack)
	return list(cur, s, cb, all, func(a inet.Addr) filler {
		d, _ := stack.Device(cur, a.Dev)
		return r.fillAddr(a, d.Name)
	})
}

// dumpAddrs6 is inet6_dump_ifaddr.
func (r *Rtnetlink) dumpAddrs6(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int {
	stack := r.inet.Stack(cb.Net)
	all := stack.IPv6Addrs(cur)
	cb.Seq = uint32(len(all)) ^ linkSeq(cur, stack)
	return list(cur, s, cb, all, func(a inet.Addr) filler { return r.fillAddr6(uapi.RTMNewaddr, a) })
}

// dumpRoutes is inet_dump_fib (spec 11.5). With RTM_F_CLONED it lists a cache that is empty or does not exist. The dump
// goes on with the destination that did not fit, so that it misses what is added before and sees what is added behind.
func (r *Rtnetlink) dumpRoutes(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int {
	if clonedOnly(cur, cb) {
		return s.Len()
	}
	stack := r.inet.Stack(cb.Net)
	from, _ := cb.State.(inet.Route)
	rt, ok := stack.RouteFrom(cur, from)
	for ; ok && cb.Args[argEnded] == 0; rt, ok = stack.RouteAfter(cur, rt) {
		if !put(cur, s, cb, 0, fillRoute(uapi.RTMNewroute, rt)) {
			cb.State = rt
			return s.Len()
		}
	}
	cb.Args[argEnded] = 1
	return s.Len()
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

func clonedOnly(cur *kernel.Task, cb *afnetlink.Callback) bool {
	p := cb.Nlh.Payload(cur)
	return len(p) >= rtmsgLen && binary.LittleEndian.Uint32(p[8:])&rtmFCloned != 0
}

// dumpNeighs is neigh_dump_info (spec 11.4): the table of a family, or all of them. The request is read for every
// message: where a dump is requested in place userspace can change the filter in between.
func (r *Rtnetlink) dumpNeighs(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int {
	p := cb.Nlh.Payload(cur)
	var family byte
	if len(p) > 0 {
		family = p[0]
	}
	var ifindex, master uint32
	var flags uint16
	if len(p) >= ndmsgLen {
		if p[10] == ntfProxy {
			return s.Len() // there are no proxy entries
		}
		if r.D.NeighDumpFilter {
			ifindex, master = neighFilter(p)
		}
	}
	if ifindex != 0 || master != 0 {
		flags = uapi.NLMFDumpFiltered
	}
	at := r.neighTables(cur, r.inet.Stack(cb.Net), family)
	return each(cur, s, cb, flags, func(i int) (filler, bool) {
		n, ok := at(i)
		if master != 0 || ifindex != 0 && uint32(n.Dev) != ifindex { // no device has a master
			return nil, ok
		}
		return fillNeigh(uapi.RTMNewneigh, n), ok
	})
}

// neighFamilies are the families whose tables a dump for one family shows, 0 for all, in the order in which it does.
func (r *Rtnetlink) neighFamilies(family byte) []byte {
	families := []byte{uapi.AFInet, uapi.AFInet6}
	if r.D.NeighTablesNewest {
		slices.Reverse(families)
	}
	return slices.DeleteFunc(families, func(f byte) bool { return family != uapi.AFUnspec && f != family })
}

// neighTables numbers the neighbours of a family, 0 for all, in the order of a dump.
func (r *Rtnetlink) neighTables(cur *kernel.Task, stack *inet.Stack, family byte) (at func(i int) (inet.Neigh, bool)) {
	var tables []func(i int) (inet.Neigh, bool)
	var sizes []int
	for _, f := range r.neighFamilies(family) {
		if f == uapi.AFInet {
			sizes = append(sizes, stack.NumNeighs(cur))
			tables = append(tables, func(i int) (inet.Neigh, bool) { return stack.NeighAt(cur, i) })
			continue
		}
		six := stack.IPv6Neighs(cur)
		sizes = append(sizes, len(six))
		tables = append(tables, func(i int) (inet.Neigh, bool) { return six[i], true })
	}
	return func(i int) (n inet.Neigh, ok bool) {
		for t, size := range sizes {
			if i < size {
				return tables[t](i)
			}
			i -= size
		}
		return n, false
	}
}

// dumpFDB is rtnl_fdb_dump: the link-layer addresses that devices listen to beside their own.
func (r *Rtnetlink) dumpFDB(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int {
	type entry struct {
		dev int
		mac [6]byte
	}
	var all []entry
	for _, d := range r.inet.Stack(cb.Net).Devices(cur) {
		if d.Ethernet() && d.Up { // the groups of all hosts, of IPv6 and IPv4
			all = append(all, entry{d.Index, [6]byte{0x33, 0x33, 0, 0, 0, 1}}, entry{d.Index, [6]byte{1, 0, 0x5e, 0, 0, 1}})
		}
	}
	return list(cur, s, cb, all, func(e entry) filler { return fillFDB(e.dev, e.mac) })
}

// dumpNeightbl is neightbl_dump_info: each table of neighbours, and what it has for each device.
func (r *Rtnetlink) dumpNeightbl(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int {
	family := byte(uapi.AFUnspec)
	if p := cb.Nlh.Payload(cur); len(p) > 0 {
		family = p[0]
	}
	var all []filler
	for _, family := range r.neighFamilies(family) {
		all = append(all, fillNeightbl(family, 0, r.D.NeightblSize))
		for _, d := range r.inet.Stack(cb.Net).Devices(cur) {
			all = append(all, fillNeightbl(family, d.Index, r.D.NeightblParmsSize))
		}
	}
	return list(cur, s, cb, all, func(f filler) filler { return f })
}

// dumpNetconf is inet_netconf_dump_devconf and inet6_netconf_dump_devconf: each device, then what holds for all of them
// and for new ones.
func (r *Rtnetlink) dumpNetconf(family byte, size int) dumpFunc {
	return func(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int {
		const all, others = -1, -2
		indexes := []int32{all, others}
		for i, d := range r.inet.Stack(cb.Net).Devices(cur) {
			indexes = slices.Insert(indexes, i, int32(d.Index))
		}
		return list(cur, s, cb, indexes, func(i int32) filler { return fillNetconf(family, i, size) })
	}
}

// dumpMulticast6 is inet6_dump_ifmcaddr: every device is in the groups of all nodes, those of the link and its own.
func (r *Rtnetlink) dumpMulticast6(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int {
	var all []inet.Addr
	for _, d := range r.inet.Stack(cb.Net).Devices(cur) {
		for _, group := range []string{"ff02::1", "ff01::1"} {
			all = append(all, inet.Addr{Prefix: netip.PrefixFrom(netip.MustParseAddr(group), 128), Dev: d.Index})
		}
	}
	return list(cur, s, cb, all, fillMulticast6)
}

// dumpAddrlabels is ip6addrlbl_dump: the policy that every namespace begins with.
func (r *Rtnetlink) dumpAddrlabels(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int {
	return list(cur, s, cb, defaultLabels[:], fillAddrlabel)
}

// An addrlabel says which label a destination has when a source address is chosen for it.
type addrlabel struct {
	prefix netip.Prefix
	label  uint32
}

var defaultLabels = [...]addrlabel{
	{netip.MustParsePrefix("::1/128"), 0},
	{netip.MustParsePrefix("::ffff:0:0/96"), 4},
	{netip.MustParsePrefix("::/96"), 3},
	{netip.MustParsePrefix("2001::/32"), 6},
	{netip.MustParsePrefix("2001:10::/28"), 7},
	{netip.MustParsePrefix("3ffe::/16"), 12},
	{netip.MustParsePrefix("2002::/16"), 2},
	{netip.MustParsePrefix("fec0::/10"), 11},
	{netip.MustParsePrefix("fc00::/7"), 5},
	{netip.MustParsePrefix("::/0"), 1},
}

func neighFilter(p []byte) (ifindex, master uint32) {
	for a := range uapi.WellFormed(uapi.Attrs(p, ndmsgLen)) {
		if len(a.Data) != 4 {
			continue
		}
		switch a.Type {
		case ndaIfindex:
			ifindex = binary.LittleEndian.Uint32(a.Data)
		case ndaMaster:
			master = binary.LittleEndian.Uint32(a.Data)
		}
	}
	return ifindex, master
}
