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

// Attributes of routes.
const (
	rtaDst       = 1
	rtaSrc       = 2
	rtaIif       = 3
	rtaOif       = 4
	rtaGateway   = 5
	rtaPriority  = 6
	rtaPrefsrc   = 7
	rtaMetrics   = 8
	rtaMultipath = 9
	rtaFlow      = 11
	rtaCacheinfo = 12
	rtaTable     = 15
	rtaMark      = 16
	rtaPref      = 20

	rtmsgLen = 12

	rtmFNotify = 0x100
	rtmFCloned = 0x200

	// tableCompat stands in the header of a message for a table whose number is too large for it.
	tableCompat = 252
)

var routeAttrs = policy{
	rtaDst: least(4), rtaSrc: least(4), rtaIif: least(4), rtaOif: least(4), rtaGateway: least(4), rtaPriority: least(4),
	rtaPrefsrc: least(4), rtaMultipath: least(8), rtaFlow: least(4),
}

func rtmsg(family byte, bits int, r inet.Route, flags uint32) []byte {
	table := byte(r.Table)
	if r.Table > 255 {
		table = tableCompat
	}
	b := []byte{family, byte(bits), 0, r.TOS, table, r.Protocol, r.Scope, r.Type}
	return binary.LittleEndian.AppendUint32(b, flags)
}

// fillRoute is fib_dump_info (spec 11.5).
func fillRoute(typ uint16, r inet.Route) filler {
	return func(cur *kernel.Task, s *afnetlink.SKB, h uapi.NLMsgHdr) bool {
		a, ok := begin(cur, s, h, typ, rtmsg(uapi.AFInet, r.Dst.Bits(), r, r.Flags))
		if !ok {
			return false
		}
		a.put32(rtaTable, r.Table)
		if r.Dst.Bits() > 0 {
			a.putIP(rtaDst, r.Dst.Addr())
		}
		if r.Priority != 0 {
			a.put32(rtaPriority, r.Priority)
		}
		a.metrics(r.Metrics, r.Congestion)
		a.putIP(rtaPrefsrc, r.PrefSrc)
		a.putIP(rtaGateway, r.Gateway)
		if r.Dev != 0 {
			a.put32(rtaOif, uint32(r.Dev))
		}
		return a.end()
	}
}

// metrics is rtnetlink_put_metrics: nothing for a route that has none.
func (a *attrs) metrics(m inet.Metrics, congestion string) {
	if m == (inet.Metrics{}) && congestion == "" {
		return
	}
	a.nest(rtaMetrics, func() {
		for i, v := range m {
			if v != 0 {
				a.put32(uint16(i), v)
			}
		}
		if congestion != "" {
			a.put(inet.Congestion, cstring(congestion))
		}
	})
}

// routeRequest is rtm_to_fib_config: EINVAL for a prefix of more than 32 bits, a type of service with other bits, several
// next hops, and for a metric that there is not.
func (r *Rtnetlink) routeRequest(q *request) (rt inet.Route, err error) {
	set, err := routeAttrs.parse(q.payload, rtmsgLen)
	if err != nil {
		return rt, err
	}
	h := q.payload
	bits := int(h[1])
	if bits > 32 || h[3]&^0x1f != 0 || set.has(rtaMultipath) {
		return rt, kernel.Errorf(kernel.EINVAL, "a prefix of %d bits, type of service %#x", bits, h[3])
	}
	dst := netip.IPv4Unspecified()
	if a := set.ip(rtaDst, 4); a.IsValid() {
		dst = a
	}
	rt = inet.Route{
		Dst: netip.PrefixFrom(dst, bits), TOS: h[3], Table: uint32(h[4]), Protocol: h[5], Scope: h[6], Type: h[7],
		Flags: binary.LittleEndian.Uint32(h[8:]), Dev: int(int32(set.get32(rtaOif, 0))), Gateway: set.ip(rtaGateway, 4),
		Priority: set.get32(rtaPriority, 0), PrefSrc: set.ip(rtaPrefsrc, 4),
	}
	rt.Table = set.get32(rtaTable, rt.Table)
	if rt.Table == 0 {
		rt.Table = inet.TableMain
	}
	unspecified := netip.IPv4Unspecified()
	if rt.Gateway == unspecified {
		rt.Gateway = netip.Addr{}
	}
	if rt.PrefSrc == unspecified {
		rt.PrefSrc = netip.Addr{}
	}
	err = r.parseMetrics(&rt, set)
	return rt, err
}

// parseMetrics reads the metrics of a route: EINVAL for one that there is not.
func (r *Rtnetlink) parseMetrics(rt *inet.Route, set attrSet) error {
	return rt.ParseMetrics(set[rtaMetrics], r.D.RouteMetrics)
}

// newRoute is inet_rtm_newroute.
func (r *Rtnetlink) newRoute(cur *kernel.Task, q *request) error {
	rt, err := r.routeRequest(q)
	if err != nil {
		return err
	}
	return q.stack(r).AddRoute(cur, q.cause(), rt, q.h.Flags)
}

// delRoute is inet_rtm_delroute.
func (r *Rtnetlink) delRoute(cur *kernel.Task, q *request) error {
	rt, err := r.routeRequest(q)
	if err != nil {
		return err
	}
	return q.stack(r).DelRoute(cur, q.cause(), rt)
}

// getRoute is inet_rtm_getroute: the route that a packet would take.
func (r *Rtnetlink) getRoute(cur *kernel.Task, q *request) error {
	set, err := routeAttrs.parse(q.payload, rtmsgLen)
	if err != nil {
		return err
	}
	ask := inet.Flow{Dst: set.ip(rtaDst, 4), Src: set.ip(rtaSrc, 4), TOS: q.payload[3], Mark: set.get32(rtaMark, 0),
		In: int(int32(set.get32(rtaIif, 0))), Out: int(int32(set.get32(rtaOif, 0)))}
	path, err := q.stack(r).Route(cur, ask, binary.LittleEndian.Uint32(q.payload[8:])&rtmFNotify != 0)
	if err != nil {
		return err
	}
	return r.reply(cur, q, uapi.NLMsgGoodsize, lookupHeadroom, fillPath(ask, path))
}

// fillPath is rt_fill_info: the answer to GETROUTE (spec 11.3), which is about one destination.
func fillPath(ask inet.Flow, p inet.Path) filler {
	return func(cur *kernel.Task, s *afnetlink.SKB, h uapi.NLMsgHdr) bool {
		flags := p.Flags&^0xffff | rtmFCloned
		if p.Flags&inet.PathNotify != 0 {
			flags |= rtmFNotify
		}
		header := rtmsg(uapi.AFInet, 32, inet.Route{Table: inet.TableMain, TOS: ask.TOS, Type: p.Type}, flags)
		if ask.Src.IsValid() {
			header[2] = 32
		}
		a, ok := begin(cur, s, h, uapi.RTMNewroute, header)
		if !ok {
			return false
		}
		a.put32(rtaTable, inet.TableMain)
		dst := ask.Dst
		if !dst.IsValid() {
			dst = netip.IPv4Unspecified()
		}
		a.putIP(rtaDst, dst)
		a.putIP(rtaSrc, ask.Src)
		a.put32(rtaOif, uint32(p.Dev))
		if ask.In == 0 && p.Src != ask.Src {
			a.putIP(rtaPrefsrc, p.Src)
		}
		a.putIP(rtaGateway, p.Gateway)
		a.metrics(p.Metrics, p.Congestion)
		if ask.Mark != 0 {
			a.put32(rtaMark, ask.Mark)
		}
		if ask.In != 0 {
			a.put32(rtaIif, uint32(p.In))
		}
		a.put(rtaCacheinfo, make([]byte, 32))
		return a.end()
	}
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
	down := r.linkdown(cur, stack)
	for ; ok && cb.Args[argEnded] == 0; rt, ok = stack.RouteAfter(cur, rt) {
		if !put(cur, s, cb, 0, fillRoute(uapi.RTMNewroute, down.marked(rt))) {
			cb.State = rt
			return s.Len()
		}
	}
	cb.Args[argEnded] = 1
	return s.Len()
}

// linkdown are the indexes of the devices over which routes are marked, since they have no carrier: mostly none.
type linkdown []int

func (r *Rtnetlink) linkdown(cur *kernel.Task, stack *inet.Stack) (l linkdown) {
	if !r.D.RouteLinkdown {
		return nil
	}
	for _, d := range stack.Devices(cur) {
		if d.NoCarrier {
			l = append(l, d.Index)
		}
	}
	return l
}

// marked returns a route with the flag LINKDOWN if it leads over such a device.
func (l linkdown) marked(rt inet.Route) inet.Route {
	const rtnhLinkdown = 16
	if rt.Type != inet.RTNLocal && slices.Contains(l, rt.Dev) {
		rt.Flags |= rtnhLinkdown
	}
	return rt
}

func clonedOnly(cur *kernel.Task, cb *afnetlink.Callback) bool {
	p := cb.Nlh.Payload(cur)
	return len(p) >= rtmsgLen && binary.LittleEndian.Uint32(p[8:])&rtmFCloned != 0
}

// routeChanged announces a route: rtmsg_fib.
func (r *Rtnetlink) routeChanged(cur *kernel.Task, s *inet.Stack, rt inet.Route, gone bool, flags uint16, by inet.Cause) {
	typ := uint16(uapi.RTMNewroute)
	if gone {
		typ = uapi.RTMDelroute
	}
	rt = r.linkdown(cur, s).marked(rt)
	if rt.Dst.Addr().Is6() {
		r.notify(cur, s.Net(), GroupIPv6Route, routeRoom, by, r.fillRoute6(typ, rt))
		return
	}
	fill := fillRoute(typ, rt)
	r.notify(cur, s.Net(), GroupIPv4Route, routeRoom, by, func(cur *kernel.Task, s *afnetlink.SKB, h uapi.NLMsgHdr) bool {
		h.Flags = flags
		return fill(cur, s, h)
	})
}
