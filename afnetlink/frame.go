package afnetlink

import (
	"nlmmap/kernel"
	"nlmmap/ringmm"
	"nlmmap/uapi"
)

// ringSetupSKB points a buffer into a frame: netlink_ring_setup_skb. The buffer takes over a reference to sk.
func ringSetupSKB(cur *kernel.Task, m *SKB, sk *Sock, ring *ringmm.Ring, f ringmm.Frame) {
	mem, off := f.Data()
	m.SetRing(mem, off, int(ring.Maxlen(cur)))
	m.CB.flags |= skbMmaped
	m.CB.Sk, m.CB.framePos = sk, f.Pos
	m.Destructor = skbDestructor
}

// frameOf is the frame that a ring message lies in: the header right before the start of its head.
func frameOf(m *SKB) ringmm.Frame {
	sk := m.CB.Sk
	ring := &sk.rxRing
	if m.CB.flags&skbTX != 0 {
		ring = &sk.txRing
	}
	mem, off := m.RingHead()
	return ring.FrameOf(mem, off, m.CB.framePos)
}

// header is what a frame says about a message: its group, and its sender as the socket's opener sees it. No lock is
// held: the socket may have lost its opener (dead-ring-oops), and a queued message its memory.
func (sk *Sock) header(cur *kernel.Task, m *SKB) ringmm.Header {
	if sk.Dead.Load(cur) != 0 {
		sk.K.Corrupt(cur, "dead-ring-oops", "the ids of a message are mapped for a socket that is being closed")
	}
	if m.Freed(cur) {
		sk.K.Corrupt(cur, "copy-header-after-unlock", "the header of a COPY frame is made from a message that was received and freed")
	}
	return sk.headerOf(m)
}

// queueMmapedSKB hands the frame that a message was built in to userspace: netlink_queue_mmaped_skb (spec 7.4). No
// lock is held. VALID is visible before the frame stops being pending.
func (sk *Sock) queueMmapedSKB(cur *kernel.Task, m *SKB) {
	f := frameOf(m)
	f.SetHeader(cur, sk.header(cur, m))
	sk.published(cur, f, m, uapi.NLMMapStatusValid)
	f.SetStatus(cur, uapi.NLMMapStatusValid)
	m.CB.flags |= skbDelivered
	m.Free(cur)
}

// ringSetCopied queues a message and announces it by a COPY frame: netlink_ring_set_copied (spec 7.3). SKIP frames
// are not passed (defect copy-ignores-skip). The header is written after the lock is gone, when others may already
// have received the message or filled later frames (defect copy-header-after-unlock).
func (sk *Sock) ringSetCopied(cur *kernel.Task, m *SKB) {
	sk.ReceiveQueue.Lock.Lock(cur)
	f, free := sk.rxRing.Current(cur, uapi.NLMMapStatusUnused)
	if !free {
		emit(sk, cur, LossEvent{sk, m})
		sk.ReceiveQueue.Lock.Unlock(cur)
		m.Free(cur)
		sk.overrun(cur)
		return
	}
	sk.claimed(cur, f, m)
	sk.rxRing.Advance(cur)
	m.Keep() // for its header
	sk.ReceiveQueue.Append(cur, m)
	sk.ReceiveQueue.Lock.Unlock(cur)
	f.SetHeader(cur, sk.header(cur, m))
	sk.published(cur, f, m, uapi.NLMMapStatusCopy)
	f.SetStatus(cur, uapi.NLMMapStatusCopy)
}

// skbDestructor gives a frame back and ends the charge: netlink_skb_destructor (spec 7.5).
//
// A frame of the RX ring that was not delivered comes back VALID with length 0, since only userspace may release it.
// The reference to the frame's owner goes before the charge ends (defect destructor-put-before-rfree).
func skbDestructor(cur *kernel.Task, m *SKB) {
	if m.CB.flags&skbMmaped != 0 {
		sk := m.CB.Sk
		ring := &sk.rxRing
		f := frameOf(m)
		if m.CB.flags&skbTX != 0 {
			ring = &sk.txRing
			f.SetStatus(cur, uapi.NLMMapStatusUnused)
		} else if m.CB.flags&skbDelivered == 0 {
			f.SetLen(cur, 0)
			sk.published(cur, f, nil, uapi.NLMMapStatusValid)
			f.SetStatus(cur, uapi.NLMMapStatusValid)
		}
		if ring.Pending.Add(cur, -1) < 0 {
			sk.K.Taint(cur, "tx-fib-lookup-resend", "the %s ring's count of reserved frames falls below zero", ring.Name())
		}
		sk.Put(cur)
	}
	if owner := m.CB.Owner; owner != nil {
		m.CB.Owner = nil
		owner.Uncharge(cur, m.Truesize)
	}
}

// txInPlace makes a message of the n bytes in a frame whose data is the frame: only where tx-in-place. It returns nil
// without memory; the frame then stays.
func (sk *Sock) txInPlace(cur *kernel.Task, f ringmm.Frame, n uint32) *SKB {
	s := sk.nl.allocHead(cur)
	if s == nil {
		return nil
	}
	sk.Hold(cur)
	ringSetupSKB(cur, s, sk, &sk.txRing, f)
	s.CB.flags |= skbTX
	if beyond := s.SetLen(int(sk.nl.txLen(cur, f, n))); beyond > 0 {
		sk.K.Corrupt(cur, "tx-in-place", "the length was read again: the message extends %d bytes beyond frame %d", beyond, f.Pos)
	}
	if sk.K.Watched() {
		sk.sends(cur, f, n, s.Peek(cur))
	}
	f.SetStatus(cur, uapi.NLMMapStatusReserved)
	sk.txRing.Pending.Add(cur, 1)
	return s
}

// txCopy makes a private copy of the n bytes in a frame and releases the frame. It returns nil without memory; the
// frame then stays.
func (sk *Sock) txCopy(cur *kernel.Task, f ringmm.Frame, n uint32) *SKB {
	s := sk.nl.NewSKB(cur, int(min(sk.nl.txLen(cur, f, n), 1<<30)))
	if s == nil {
		return nil
	}
	length := sk.nl.txLen(cur, f, n)
	copied := sk.nl.txLen(cur, f, n)
	mem, off := f.Data()
	data := int(min(copied, sk.txRing.Maxlen(cur)))
	s.Fill(cur, int(length), mem, off, data)
	if int(copied) > s.Len() {
		sk.K.Corrupt(cur, "tx-len-reread", "the length was read again: %d bytes are written behind the message's buffer", int(copied)-s.Len())
	}
	if sk.K.Watched() {
		sk.sends(cur, f, n, s.Peek(cur)[:min(data, s.Len())])
	}
	f.SetStatus(cur, uapi.NLMMapStatusUnused)
	return s
}
