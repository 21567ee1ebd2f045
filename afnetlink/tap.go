package afnetlink

import (
	"slices"

	"nlmmap/kernel"
	"nlmmap/skb"
	"nlmmap/uapi"
)

// A Tap sees messages on their way (struct netlink_tap).
type Tap struct {
	// Deliver gets a buffer of its own, which it must free.
	Deliver func(cur *kernel.Task, s *skb.SKB)
}

// AddTap adds a tap: netlink_add_tap. EOPNOTSUPP where the kernel has none.
func (nl *Netlink) AddTap(cur *kernel.Task, t *Tap) error {
	if nl.D.TapCopy == TapNone {
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
func (nl *Netlink) deliverTap(cur *kernel.Task, m *skb.SKB, proto int) {
	if !tapped(proto) {
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

// tapSKB makes what a tap gets of a message: a clone where the data is ordinary memory.
func (nl *Netlink) tapSKB(cur *kernel.Task, m *skb.SKB) *skb.SKB {
	if !m.Ring() && !m.Vmalloc() {
		return m.Clone(cur)
	}
	if nl.D.TapCopy == TapClone {
		release := nl.tapClone(cur, m)
		c := skb.New(nl.k, m.Len())
		if c == nil {
			release(cur)
			return nil
		}
		c.Put(cur, m.Message(cur))
		c.Destructor = func(cur *kernel.Task, _ *skb.SKB) { release(cur) }
		return c
	}
	// The whole room is copied from the start of the data on, not the message (tap-copy-whole).
	n := m.Capacity() + m.Headroom()
	c := skb.New(nl.k, n)
	if c == nil {
		return nil
	}
	if beyond := m.Headroom(); m.Ring() && beyond > 0 {
		nl.k.Corrupt(cur, "tap-copy-whole", "a tap is shown %d bytes behind the frame", beyond)
	}
	c.Put(cur, m.DataToEnd(cur, n))
	return c
}

// tapClone is what cloning a ring message or virtually contiguous memory does (tap-copy-clone): the clone is counted in
// the next frame as long as it lives, and if the word there becomes 0 the kernel frees memory that it did not allocate.
func (nl *Netlink) tapClone(cur *kernel.Task, m *skb.SKB) (release func(cur *kernel.Task)) {
	if m.Vmalloc() {
		nl.k.Oops(cur, "tap-copy-clone", "virtually contiguous memory of a tapped message is freed as heap memory")
	}
	count, ok := nl.addSharedInfoRef(cur, m, 1)
	if !ok {
		return func(*kernel.Task) {}
	}
	if count == 1 {
		nl.k.Oops(cur, "tap-copy-clone", "a ring page is freed as heap memory when the tap's clone goes")
	}
	mem, off := nl.sharedInfo(m)
	return func(cur *kernel.Task) {
		if !mem.Freed() {
			mem.Store32(cur.CPU(), off, mem.Load32(cur.CPU(), off)-1)
		}
	}
}
