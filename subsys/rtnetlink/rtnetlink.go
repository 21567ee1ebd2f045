// Package rtnetlink is NETLINK_ROUTE: links, addresses, neighbours and routes of package inet, asked for, changed and
// announced.
//
// All input runs under the rtnl mutex, which is also the mutex of all dumps; it is released around the start of a
// dump. A message goes to the handler of (family, type), which is a dump handler if it is a GET with one of the dump
// flags, and where the family has none to that of the unspecified family.
//
// Each kind of object has a file: its attributes, the requests about it, its dump and its notification. What a package
// like this one reads and writes is a header and attributes; attrs.go has both directions.
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
	GroupIPv4Rule  = 8
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

// now is the time of the machine.
func (r *Rtnetlink) now() kernel.Time { return r.nl.Kernel().Now() }

// Register brings the subsystem up: rtnetlink_init.
func Register(nl *afnetlink.Netlink, stack *inet.Inet, d *Differences) *Rtnetlink {
	r := &Rtnetlink{D: *d, nl: nl, inet: stack}
	r.rtnl.Name = "rtnl"
	nl.KernelCreate(uapi.NetlinkRoute, afnetlink.KernelCfg{NonrootRecv: true, Input: r.input, CbMutex: &r.rtnl})
	stack.Notify(inet.Notifier{Link: r.linkChanged, Neigh: r.neighChanged, Addr: r.addrChanged, Route: r.routeChanged,
		Rule: r.ruleChanged})
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
	ruleRoom  = 128

	netconfRoom = 128
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
	s := r.nl.NewSKB(cur, room)
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

// notify sends a message, for which room bytes are allocated, to the members of a group: rtnl_notify. It is broadcast
// and therefore no ring message. A requester that wants an echo gets a message of its own, before the acknowledgement.
func (r *Rtnetlink) notify(cur *kernel.Task, net *kernel.Net, group uint32, room int, by inet.Cause, fill filler) {
	if !by.Echo && !r.nl.HasListeners(cur, uapi.NetlinkRoute, int(group)) {
		return
	}
	message := func() *afnetlink.SKB {
		s := r.nl.NewSKB(cur, room)
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
	sender := r.nl.KernelSock(net, uapi.NetlinkRoute)
	except := uint32(0)
	if by.Echo {
		except = by.Portid
	}
	if s := message(); s != nil {
		_ = r.nl.Broadcast(cur, sender, s, except, group)
	}
	if by.Echo {
		if s := message(); s != nil {
			_, _ = r.nl.Unicast(cur, sender, s, by.Portid, 0)
		}
	}
}
