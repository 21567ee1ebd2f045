package afnetlink

import (
	"slices"

	"nlmmap/kernel"
	"nlmmap/uapi"
)

// A Tap sees messages on their way (struct netlink_tap).
type Tap struct {
	// Deliver gets a buffer of its own, which it must free.
	Deliver func(cur *kernel.Task, s *SKB)
}

// AddTap adds a tap: netlink_add_tap. EOPNOTSUPP where the kernel has none.
func (nl *Netlink) AddTap(cur *kernel.Task, t *Tap) error {
	if nl.tapCopy == nil {
		return kernel.Errorf(kernel.EOPNOTSUPP, "this kernel has no netlink taps")
	}
	nl.changeTaps(cur, func(taps []*Tap) []*Tap { return append(taps, t) })
	return nil
}

// RemoveTap removes a tap. Messages that are under way keep the list they began with.
func (nl *Netlink) RemoveTap(cur *kernel.Task, t *Tap) {
	nl.changeTaps(cur, func(taps []*Tap) []*Tap { return slices.DeleteFunc(taps, func(o *Tap) bool { return o == t }) })
}

func (nl *Netlink) changeTaps(cur *kernel.Task, change func([]*Tap) []*Tap) {
	for {
		before := nl.taps.Load(cur)
		var taps []*Tap
		if before != nil {
			taps = slices.Clone(*before)
		}
		if taps = change(taps); nl.taps.CompareAndSwap(cur, before, &taps) {
			return
		}
	}
}

// tapped reports whether taps see a protocol: netlink_filter_tap.
func tapped(proto int) bool {
	switch proto {
	case uapi.NetlinkRoute, uapi.NetlinkUsersock, uapi.NetlinkSockDiag, uapi.NetlinkNFLog, uapi.NetlinkXFRM,
		uapi.NetlinkFIBLookup, uapi.NetlinkNetfilter, uapi.NetlinkGeneric:
		return true
	}
	return false
}

// deliverTap shows a message to the taps: netlink_deliver_tap (spec 13.6).
func (nl *Netlink) deliverTap(cur *kernel.Task, m *SKB, proto int) {
	if !tapped(proto) || m.Len() == 0 { // a device transmits no empty packet
		return
	}
	taps := nl.taps.Load(cur)
	if taps == nil {
		return
	}
	for _, t := range *taps {
		c := nl.tapSKB(cur, m)
		if c == nil {
			continue
		}
		c.Protocol = proto
		t.Deliver(cur, c)
	}
}
