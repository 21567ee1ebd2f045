package afnetlink

import (
	"nlmmap/kernel"
	"nlmmap/kernel/memmodel"
)

// sharedInfo returns where a kernel counts the users of a ring message's data: behind the message's room, in the next
// frame.
func (nl *Netlink) sharedInfo(m *SKB) (mem *memmodel.Memory, off int) {
	mem, off = m.RingHead()
	return mem, off + m.Headroom() + m.Capacity() + nl.D.SKB.Dataref
}

// addSharedInfoRef changes the count and returns its new value; ok is false where the word lies behind the ring.
func (nl *Netlink) addSharedInfoRef(cur *kernel.Task, m *SKB, delta uint32) (count uint32, ok bool) {
	mem, off := nl.sharedInfo(m)
	if off+4 > mem.Size() {
		nl.k.Corrupt(cur, "tap-copy-clone", "the user count of a ring message lies %d bytes behind the ring", off+4-mem.Size())
		return 0, false
	}
	count = mem.Load32(cur.CPU(), off) + delta
	mem.Store32(cur.CPU(), off, count)
	_, base := m.RingHead()
	behind := off - base - m.Headroom() - m.Capacity()
	nl.k.Corrupt(cur, "tap-copy-clone", "the word at offset %d of the next frame is changed by %d", behind, int32(delta))
	return count, true
}

// Clone makes a buffer that shares the message, nil without memory. For a ring message a kernel then counts a second user of the data in
// memory that is not the message's: the next frame (defects tx-fib-lookup-resend, tap-copy-clone).
func (nl *Netlink) Clone(cur *kernel.Task, m *SKB) *SKB {
	c := clone(cur, m)
	if c != nil && m.Ring() {
		nl.addSharedInfoRef(cur, m, 1)
	}
	return c
}

// tapSKB makes what a tap gets of a message: a clone where the data is ordinary memory.
func (nl *Netlink) tapSKB(cur *kernel.Task, m *SKB) *SKB {
	if !m.Ring() && !m.Vmalloc() {
		return clone(cur, m)
	}
	return nl.tapCopy(cur, m)
}

// tapCloned makes a clone of a message in a frame, whose data are counted in the next frame.
func (nl *Netlink) tapCloned(cur *kernel.Task, m *SKB) *SKB {
	release := nl.tapClone(cur, m)
	c := nl.NewSKB(cur, m.Len())
	if c == nil {
		release(cur)
		return nil
	}
	c.Put(cur, m.Message(cur))
	c.Destructor = func(cur *kernel.Task, _ *SKB) { release(cur) }
	return c
}

// tapCopied makes a copy of a message in a frame. The whole room is copied from the start of the data on, not the
// message (tap-copy-whole).
func (nl *Netlink) tapCopied(cur *kernel.Task, m *SKB) *SKB {
	n := m.Capacity() + m.Headroom()
	c := nl.NewSKB(cur, n)
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
func (nl *Netlink) tapClone(cur *kernel.Task, m *SKB) (release func(cur *kernel.Task)) {
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
