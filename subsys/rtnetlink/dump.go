package rtnetlink

import (
	"encoding/binary"

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
	rtmGetneightbl  = 66
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
			return dumpNothing
		}
	case uapi.AFInet6:
		switch typ {
		case uapi.RTMGetlink:
			return r.dumpLinks6
		case uapi.RTMGetroute:
			return r.dumpRoutes6
		case uapi.RTMGetaddr, rtmGetmulticast, rtmGetanycast, rtmGetaddrlabel, rtmGetnetconf:
			return dumpNothing
		}
	case afBridge:
		if typ == uapi.RTMGetlink {
			return dumpNothing
		}
	}
	switch typ {
	case uapi.RTMGetlink:
		return r.dumpLinks
	case uapi.RTMGetaddr:
		return r.dumpAddrs
	case uapi.RTMGetroute:
		return inTurn(r.dumpRoutes, r.dumpRoutes6)
	case uapi.RTMGetneigh:
		return r.dumpNeighs
	case uapi.RTMGetrule:
		return r.dumpRules
	case rtmGetqdisc, rtmGettclass, rtmGetaction, rtmGetneightbl, rtmGetnsid:
		return dumpNothing
	}
	return nil
}

// dumpNothing is a dump of what an empty namespace does not have, or is not modelled.
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

// inTurn dumps one family after the other: rtnl_dump_all. A message that has something of one family has nothing of
// the next.
func inTurn(dumps ...dumpFunc) dumpFunc {
	return func(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int {
		const family = 5 // Args
		for ; int(cb.Args[family]) < len(dumps); cb.Args[family]++ {
			if n := dumps[cb.Args[family]](cur, s, cb); n != 0 {
				return n
			}
			cb.Args[0], cb.Seq, cb.PrevSeq = 0, 0, 0
		}
		return 0
	}
}

// each appends the messages of entries from Args[0] on, until one does not fit; it is the first of the next message
// (spec 11.6). fill returns ok = false behind the last entry, and no filler for one that is left out.
func each(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback, flags uint16, fill func(i int) (f filler, ok bool)) int {
	for ; ; cb.Args[0]++ {
		f, ok := fill(int(cb.Args[0]))
		if !ok {
			break
		}
		h := uapi.NLMsgHdr{Flags: uapi.NLMFMulti | flags, Pid: cb.Portid}
		if f == nil {
			continue
		}
		h.Seq = cb.Nlh.Seq(cur)
		if !f(cur, s, h) {
			break
		}
		if cb.PrevSeq != 0 && cb.Seq != cb.PrevSeq {
			// The mark goes to the first message of the buffer.
			first := cb.Nlh
			first.SKB, first.Off = s, 0
			s.Write32(cur, 4, uint32(first.Type(cur))|uint32(first.Flags(cur)|uapi.NLMFDumpIntr)<<16)
		}
		cb.PrevSeq = cb.Seq
	}
	return s.Len()
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
	return each(cur, s, cb, 0, func(i int) (filler, bool) {
		if i >= len(all) {
			return nil, false
		}
		d, _ := stack.Device(cur, all[i].Dev)
		return r.fillAddr(all[i], d.Name), true
	})
}

// dumpRoutes is inet_dump_fib (spec 11.5). With RTM_F_CLONED it lists a cache that is empty or does not exist.
func (r *Rtnetlink) dumpRoutes(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int {
	if clonedOnly(cur, cb) {
		return s.Len()
	}
	stack := r.inet.Stack(cb.Net)
	return each(cur, s, cb, 0, func(i int) (filler, bool) {
		rt, ok := stack.RouteAt(cur, i)
		return fillRoute(uapi.RTMNewroute, rt), ok
	})
}

// dumpRoutes6 is inet6_dump_fib.
func (r *Rtnetlink) dumpRoutes6(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int {
	if clonedOnly(cur, cb) {
		return s.Len()
	}
	return each(cur, s, cb, 0, func(i int) (filler, bool) { return r.fillIPv6(false), i == 0 })
}

func clonedOnly(cur *kernel.Task, cb *afnetlink.Callback) bool {
	p := cb.Nlh.Payload(cur)
	return len(p) >= rtmsgLen && binary.LittleEndian.Uint32(p[8:])&rtmFCloned != 0
}

// dumpNeighs is neigh_dump_info (spec 11.4). The request is read for every message: where a dump is requested in
// place userspace can change the filter in between.
func (r *Rtnetlink) dumpNeighs(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int {
	p := cb.Nlh.Payload(cur)
	if len(p) > 0 && p[0] != uapi.AFUnspec && p[0] != uapi.AFInet {
		return s.Len()
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
	stack := r.inet.Stack(cb.Net)
	return each(cur, s, cb, flags, func(i int) (filler, bool) {
		n, ok := stack.NeighAt(cur, i)
		if master != 0 || ifindex != 0 && uint32(n.Dev) != ifindex { // no device has a master
			return nil, ok
		}
		return fillNeigh(uapi.RTMNewneigh, n), ok
	})
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
