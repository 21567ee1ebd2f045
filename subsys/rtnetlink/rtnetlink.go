// Package rtnetlink is NETLINK_ROUTE: links, addresses, neighbours and routes of package inet, asked for, changed and
// announced.
//
// All input runs under the rtnl mutex, which is also the mutex of all dumps; it is released around the start of a
// dump. A message goes to the handler of (family, type), which is a dump handler if it is a GET with one of the dump
// flags, and where the family has none to that of the unspecified family.
//
// Modelled: dumps of links, IPv4 addresses, neighbours and routes with the one IPv6 route that every namespace has;
// the requests NEWLINK (up, down, dummy devices), GETLINK, NEWNEIGH, DELNEIGH and GETROUTE; notifications of links,
// addresses, neighbours and routes. Every other type answers what a kernel answers to a request of zeros: its errno,
// or a dump without messages, even where a kernel has something to list (neighbour tables, netconf). Link
// messages have the recorded size: what is not modelled of them is one attribute of type 0.
package rtnetlink

import (
	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/subsys/inet"
	"nlmmap/uapi"
)

// Groups of notifications (1-based).
const (
	GroupLink      = 1
	GroupNeigh     = 3
	GroupIPv4Addr  = 5
	GroupIPv4Route = 7
	GroupIPv6Addr  = 9
	GroupIPv6Route = 11
)

// Rtnetlink is the subsystem on one machine.
type Rtnetlink struct {
	D Differences

	nl   *afnetlink.Netlink
	inet *inet.Inet
	rtnl kernel.Mutex
}

// Register brings the subsystem up: rtnetlink_init.
func Register(nl *afnetlink.Netlink, stack *inet.Inet, d *Differences) *Rtnetlink {
	r := &Rtnetlink{D: *d, nl: nl, inet: stack}
	r.rtnl.Name = "rtnl"
	nl.KernelCreate(uapi.NetlinkRoute, afnetlink.KernelCfg{NonrootRecv: true, Input: r.input, CbMutex: &r.rtnl})
	stack.Notify(inet.Notifier{Link: r.linkChanged, Neigh: r.neighChanged, Addr: r.addrChanged, Route: r.routeChanged})
	return r
}

// Mutex is the rtnl mutex.
func (r *Rtnetlink) Mutex() *kernel.Mutex { return &r.rtnl }

// input is rtnetlink_rcv.
func (r *Rtnetlink) input(cur *kernel.Task, m *afnetlink.Message) {
	r.rtnl.Lock(cur)
	afnetlink.RcvSKB(cur, m, r.receive)
	r.rtnl.Unlock(cur)
}

// receive dispatches one message: rtnetlink_rcv_msg (spec 11.3).
//
// Errors: EOPNOTSUPP for a type beyond rtm-max or without handler; EPERM for a change without CAP_NET_ADMIN, before it
// is known whether the type exists; EINTR for a dump that has started; those of the handler.
func (r *Rtnetlink) receive(cur *kernel.Task, m *afnetlink.Message, msg afnetlink.Msg, h uapi.NLMsgHdr) error {
	if int(h.Type) > r.D.RtmMax {
		return kernel.Errorf(kernel.EOPNOTSUPP, "rtnetlink type %d", h.Type)
	}
	payload := msg.Payload(cur)
	if len(payload) < 1 {
		return nil
	}
	const get = 2
	kind := h.Type % 4
	if kind != get && !m.Capable(cur, uapi.CapNetAdmin) {
		return kernel.Errorf(kernel.EPERM, "changes of type %d need CAP_NET_ADMIN", h.Type)
	}
	family := payload[0]
	if kind == get && h.Flags&uapi.NLMFDump != 0 {
		dump := r.dumper(family, h.Type)
		if dump == nil {
			return kernel.Errorf(kernel.EOPNOTSUPP, "no dump of type %d, family %d", h.Type, family)
		}
		r.rtnl.Unlock(cur)
		err := r.nl.DumpStart(cur, m, msg, afnetlink.DumpControl{Dump: dump})
		r.rtnl.Lock(cur)
		return err
	}
	return r.do(cur, &request{m: m, h: h, payload: payload, family: family})
}

// What is allocated for a message that is no dump: the most that it can need, not what it has, so that the receive
// buffer is charged for that (spec 14.1). Only the class of the size matters.
const (
	linkRoom  = 1600 // a link with the statistics of all families
	neighRoom = 128
	addrRoom  = 96
	routeRoom = 216 // a route with all metrics
)

// A lookup of a route goes through the routing code with a packet that has room for the headers of links and of IPv4 or
// IPv6. The answer is made of it, and keeps that room.
const (
	lookupHeadroom  = 32 + 20
	lookupHeadroom6 = 32 + 40
)

// reply sends an answer to the requester, for which room bytes are allocated, of which some are left free before it:
// rtnl_unicast. It is no ring message (spec 13.1).
func (r *Rtnetlink) reply(cur *kernel.Task, q *request, room, headroom int, fill filler) error {
	s := r.nl.NewSKB(room)
	if s == nil {
		return kernel.ENOBUFS
	}
	s.Reserve(headroom)
	if !fill(cur, s, uapi.NLMsgHdr{Seq: q.h.Seq, Pid: q.m.SKB.CB.Portid}) {
		s.Free(cur)
		return kernel.EMSGSIZE
	}
	_, err := r.nl.Unicast(cur, q.m.Kernel, s, q.m.SKB.CB.Portid, 0)
	return err
}

// notify tells the members of a group of what the kernel did by itself.
func (r *Rtnetlink) notify(cur *kernel.Task, net *kernel.Net, group uint32, room int, fill filler) {
	r.notifyOf(cur, net, group, room, fill, inet.Cause{})
}

// notifyOf sends a message, for which room bytes are allocated, to the members of a group: rtnl_notify. It is broadcast
// and therefore no ring message. Who has asked for an echo gets it by itself, before the acknowledgement of the request.
func (r *Rtnetlink) notifyOf(cur *kernel.Task, net *kernel.Net, group uint32, room int, fill filler, by inet.Cause) {
	kernelSock := r.nl.KernelSock(net, uapi.NetlinkRoute)
	notification := func() *afnetlink.SKB {
		s := r.nl.NewSKB(room)
		if s == nil {
			return nil
		}
		if !fill(cur, s, uapi.NLMsgHdr{Seq: by.Seq, Pid: by.Portid}) {
			s.Free(cur)
			return nil
		}
		s.CB.DstGroup = group
		return s
	}
	var exclude uint32
	if by.Echo {
		exclude = by.Portid
	}
	if r.nl.HasListeners(cur, uapi.NetlinkRoute, int(group)) {
		if s := notification(); s != nil {
			_ = r.nl.Broadcast(cur, kernelSock, s, exclude, group)
		}
	}
	if by.Echo {
		if s := notification(); s != nil {
			_, _ = r.nl.Unicast(cur, kernelSock, s, by.Portid, 0)
		}
	}
}

func (r *Rtnetlink) linkChanged(cur *kernel.Task, s *inet.Stack, d inet.Device, _ inet.LinkChange) {
	r.notify(cur, s.Net(), GroupLink, linkRoom, r.fillLink(uapi.RTMNewlink, d))
}

func (r *Rtnetlink) neighChanged(cur *kernel.Task, s *inet.Stack, n inet.Neigh, gone bool) {
	typ := uint16(uapi.RTMNewneigh)
	if gone {
		typ = uapi.RTMDelneigh
	}
	r.notify(cur, s.Net(), GroupNeigh, neighRoom, fillNeigh(typ, n))
}

func (r *Rtnetlink) addrChanged(cur *kernel.Task, s *inet.Stack, a inet.Addr, gone bool) {
	if a.Prefix.Addr().Is6() {
		typ := uint16(uapi.RTMNewaddr)
		if gone {
			typ = uapi.RTMDeladdr
		}
		r.notify(cur, s.Net(), GroupIPv6Addr, addrRoom, r.fillAddr6(typ, a))
		return
	}
	d, _ := s.Device(cur, a.Dev)
	r.notify(cur, s.Net(), GroupIPv4Addr, addrRoom, r.fillAddr(a, d.Name))
}

func (r *Rtnetlink) routeChanged(cur *kernel.Task, s *inet.Stack, c inet.RouteChange) {
	typ := uint16(uapi.RTMNewroute)
	if c.Gone {
		typ = uapi.RTMDelroute
	}
	group, fill := uint32(GroupIPv4Route), fillRoute(typ, c.Route)
	if c.Dst.Addr().Is6() {
		group, fill = GroupIPv6Route, r.fillRoute6(typ, c.Route)
	}
	r.notifyOf(cur, s.Net(), group, routeRoom, fill, c.By)
}
