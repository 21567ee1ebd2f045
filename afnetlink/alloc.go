package afnetlink

import (
	"nlmmap/kernel"
	"nlmmap/uapi"
)

// AllocSKB allocates a message of size bytes from ssk to the socket with a portid, in a frame of that socket's RX
// ring if it has one and the message fits: netlink_alloc_skb (spec 6.1). ldiff is how much of the message will be
// attached behind those bytes.
//
// It returns nil when there is no memory, and when the frame at head is not free: then the message is lost, counted
// and reported to the receiver (overrun). There is no falling back to an ordinary message.
func (nl *Netlink) AllocSKB(cur *kernel.Task, ssk *Sock, size, ldiff int, portid uint32) *SKB {
	if !nl.D.AllocLdiff {
		ldiff = 0
	}
	sk, err := nl.getsockByPortid(cur, ssk, portid)
	if err != nil {
		return nl.NewSKB(cur, size)
	}
	fits := func() bool { return sk.rxRing.Maxlen(cur) >= uint32(size+ldiff) }
	if !sk.rxRing.IsSet(cur) || nl.D.AllocSizeCheckFirst && !fits() {
		sk.Put(cur)
		return nl.NewSKB(cur, size)
	}
	m := nl.allocHead(cur)
	if m == nil {
		sk.Put(cur)
		return nil
	}
	sk.ReceiveQueue.Lock.Lock(cur)
	if !sk.rxRing.IsSet(cur) || !fits() {
		sk.ReceiveQueue.Lock.Unlock(cur)
		m.Free(cur)
		sk.Put(cur)
		return nl.NewSKB(cur, size)
	}
	sk.rxRing.Forward(cur)
	f, free := sk.rxRing.Current(cur, uapi.NLMMapStatusUnused)
	if !free {
		emit(sk, cur, LossEvent{Sock: sk})
		sk.ReceiveQueue.Lock.Unlock(cur)
		m.Free(cur)
		sk.overrun(cur)
		sk.Put(cur)
		return nil
	}
	ringSetupSKB(cur, m, sk, &sk.rxRing, f)
	sk.claimed(cur, f, m)
	f.SetStatus(cur, uapi.NLMMapStatusReserved)
	sk.rxRing.Pending.Add(cur, 1)
	sk.rxRing.Advance(cur)
	sk.ReceiveQueue.Lock.Unlock(cur)
	return m
}

// NewSKB allocates an ordinary message with room for at least size bytes: nlmsg_new. It returns nil when there is no
// memory.
func (nl *Netlink) NewSKB(cur *kernel.Task, size int) *SKB {
	if cur.NoMemory("message") {
		return nil
	}
	return nl.slab.New(size)
}

// allocHead allocates a message without room of its own, for one in a frame, nil when there is no memory.
func (nl *Netlink) allocHead(cur *kernel.Task) *SKB {
	if cur.NoMemory("head of a message") {
		return nil
	}
	return nl.slab.AllocHead(nl.D.SKB.HeadSize)
}

// allocLarge allocates a message of a user: netlink_alloc_large_skb.
func (nl *Netlink) allocLarge(cur *kernel.Task, size int, broadcast bool) *SKB {
	if size > uapi.NLMsgGoodsize && !broadcast && nl.D.LargeSendVmalloc {
		if cur.NoMemory("large message") {
			return nil
		}
		return nl.slab.NewVmalloc(size)
	}
	return nl.NewSKB(cur, size)
}

// trim gives the room behind the message of an ordinary buffer back where that is at least half of what the buffer
// weighs: netlink_trim (spec 14.3).
func trim(m *SKB) {
	if room := m.Capacity() - m.Linear(); !m.Ring() && !m.Vmalloc() && 2*room >= m.Truesize {
		m.Shrink()
	}
}
