package rtnetlink

import (
	"net/netip"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/subsys/inet"
	"nlmmap/uapi"
)

// Types of requests that have no answers, or only errors.
const (
	rtmSetlink   = 19
	rtmNewqdisc  = 36
	rtmDelqdisc  = 37
	rtmGetqdisc  = 38
	rtmNewtclass = 40
	rtmDeltclass = 41
	rtmGettclass = 42
	rtmNewaction = 48
	rtmDelaction = 49
	rtmGetaction = 50
	rtmNewnsid   = 88
	rtmGetnsid   = 90

	afBridge = 7

	tcmsgLen = 20
)

// A request is a message that is no dump.
type request struct {
	m       *afnetlink.Message
	h       uapi.NLMsgHdr
	payload []byte
	family  byte
}

func (q *request) stack(r *Rtnetlink) *inet.Stack { return r.inet.Stack(q.m.Net()) }

// short reports whether the payload lacks its header of n bytes.
func (q *request) short(n int) bool { return len(q.payload) < n }

// cause is what notifications of the change say of the request.
func (q *request) cause() inet.Cause {
	return inet.Cause{Portid: q.m.SKB.CB.Portid, Seq: q.h.Seq, Echo: q.h.Flags&uapi.NLMFEcho != 0}
}

type doFunc = func(r *Rtnetlink, cur *kernel.Task, q *request) error

// A handler is what rtnl_register enters.
type handler struct {
	family byte
	typ    uint16
}

// handlers are the do-handlers by family and type.
var handlers map[handler]doFunc

func init() {
	handlers = map[handler]doFunc{
		{uapi.AFUnspec, uapi.RTMNewlink}:  (*Rtnetlink).newLink,
		{uapi.AFUnspec, uapi.RTMDellink}:  (*Rtnetlink).delLink,
		{uapi.AFUnspec, uapi.RTMGetlink}:  (*Rtnetlink).getLink,
		{uapi.AFUnspec, rtmSetlink}:       (*Rtnetlink).setlink,
		{uapi.AFUnspec, uapi.RTMNewneigh}: (*Rtnetlink).newNeigh,
		{uapi.AFUnspec, uapi.RTMDelneigh}: (*Rtnetlink).delNeigh,
		{uapi.AFUnspec, uapi.RTMNewrule}:  (*Rtnetlink).newRule,
		{uapi.AFUnspec, uapi.RTMDelrule}:  (*Rtnetlink).delRule,
		{uapi.AFUnspec, rtmSetneightbl}:   invalid,
		{uapi.AFUnspec, rtmNewnsid}:       invalid,
		{uapi.AFUnspec, rtmGetnsid}:       invalid,

		{uapi.AFUnspec, rtmNewqdisc}:  trafficControl,
		{uapi.AFUnspec, rtmDelqdisc}:  trafficControl,
		{uapi.AFUnspec, rtmGetqdisc}:  trafficControl,
		{uapi.AFUnspec, rtmNewtclass}: trafficControl,
		{uapi.AFUnspec, rtmDeltclass}: trafficControl,
		{uapi.AFUnspec, rtmGettclass}: trafficControl,
		{uapi.AFUnspec, rtmNewaction}: trafficControl,
		{uapi.AFUnspec, rtmDelaction}: trafficControl,
		{uapi.AFUnspec, rtmGetaction}: trafficControl,

		{uapi.AFInet, uapi.RTMNewaddr}:  (*Rtnetlink).newAddr,
		{uapi.AFInet, uapi.RTMDeladdr}:  (*Rtnetlink).delAddr,
		{uapi.AFInet, uapi.RTMNewroute}: (*Rtnetlink).newRoute,
		{uapi.AFInet, uapi.RTMDelroute}: (*Rtnetlink).delRoute,
		{uapi.AFInet, uapi.RTMGetroute}: (*Rtnetlink).getRoute,
		{uapi.AFInet, rtmGetnetconf}:    (*Rtnetlink).getNetconf,

		{uapi.AFInet6, uapi.RTMNewaddr}:  (*Rtnetlink).newAddr6,
		{uapi.AFInet6, uapi.RTMDeladdr}:  (*Rtnetlink).delAddr6,
		{uapi.AFInet6, uapi.RTMGetaddr}:  invalid,
		{uapi.AFInet6, uapi.RTMNewroute}: (*Rtnetlink).newRoute6,
		{uapi.AFInet6, uapi.RTMDelroute}: (*Rtnetlink).delRoute6,
		{uapi.AFInet6, uapi.RTMGetroute}: (*Rtnetlink).getRoute6,
		{uapi.AFInet6, rtmNewaddrlabel}:  invalid,
		{uapi.AFInet6, rtmDeladdrlabel}:  invalid,
		{uapi.AFInet6, rtmGetaddrlabel}:  invalid,
		{uapi.AFInet6, rtmGetnetconf}:    (*Rtnetlink).getNetconf,
	}
}

// do handles a request (spec 11.3): the do-handler of (family, type), or of the unspecified family. EOPNOTSUPP when
// there is none.
func (r *Rtnetlink) do(cur *kernel.Task, q *request) error {
	h, ok := handlers[handler{q.family, q.h.Type}]
	if !ok {
		h, ok = handlers[handler{uapi.AFUnspec, q.h.Type}]
	}
	if !ok {
		return kernel.Errorf(kernel.EOPNOTSUPP, "nothing handles type %d, family %d", q.h.Type, q.family)
	}
	return h(r, cur, q)
}

// invalid stands for handlers that say EINVAL to what programs have asked so far.
func invalid(*Rtnetlink, *kernel.Task, *request) error { return kernel.EINVAL }

// trafficControl answers as a kernel with traffic control, of which nothing is modelled, does to a request of zeros.
func trafficControl(r *Rtnetlink, _ *kernel.Task, q *request) error {
	switch {
	case !r.built(q.h.Type):
		return kernel.Errorf(kernel.EOPNOTSUPP, "there is no traffic control")
	case q.h.Type >= rtmNewaction || q.short(tcmsgLen):
		return kernel.EINVAL
	}
	return kernel.ENODEV
}

// getRoute6 is inet6_rtm_getroute: the route that a packet would take, to the unspecified address where none is given. EINVAL for
// an address that is too short.
func (r *Rtnetlink) getRoute6(cur *kernel.Task, q *request) error {
	set, err := route6Attrs.parse(q.payload, rtmsgLen)
	if err != nil {
		return err
	}
	dst := netip.IPv6Unspecified()
	if b, ok := set[rtaDst]; ok {
		if len(b) < 16 {
			return kernel.Errorf(kernel.EINVAL, "an address of %d bytes", len(b))
		}
		dst = netip.AddrFrom16([16]byte(b))
	}
	rt := q.stack(r).Route6(cur, dst, int(int32(set.get32(rtaOif, 0))))
	return r.reply(cur, q, uapi.NLMsgGoodsize, lookupHeadroom6, r.fillIPv6(uapi.RTMNewroute, rt, netip.PrefixFrom(dst, 128)))
}
