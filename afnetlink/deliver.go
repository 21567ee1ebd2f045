package afnetlink

import (
	"errors"
	"nlmmap/kernel"
	"nlmmap/kernel/mm"
	"nlmmap/ringmm"
	"nlmmap/skb"
	"nlmmap/uapi"
)

// sendSKB is the last step of every delivery to a user socket: netlink_sendskb (spec 7.1). It returns the length of
// the message, also when that was dropped for lack of a frame (defect copy-drop-reported-sent).
func (sk *Sock) sendSKB(cur *kernel.Task, m *skb.SKB) int {
	n := m.Len()
	sk.nl.deliverTap(cur, m, sk.Protocol)
	emit(sk, cur, DeliverEvent{sk, m})
	switch {
	case m.CB.Flags&skb.Mmaped != 0:
		sk.queueMmapedSKB(cur, m)
	case sk.rxRing.IsSet(cur):
		sk.ringSetCopied(cur, m)
	default:
		sk.ReceiveQueue.Lock.Lock(cur)
		sk.ReceiveQueue.Append(cur, m)
		sk.ReceiveQueue.Lock.Unlock(cur)
	}
	sk.DataReady(cur)
	return n
}

// header is what a frame says about a message: its group, and its sender as the socket's opener sees it. No lock is
// held: the socket may have lost its opener (dead-ring-oops), and a queued message its memory.
func (sk *Sock) header(cur *kernel.Task, m *skb.SKB) ringmm.Header {
	if sk.Dead.Load(cur) != 0 {
		sk.K.Corrupt(cur, "dead-ring-oops", "the ids of a message are mapped for a socket that is being closed")
	}
	if m.Freed(cur) {
		sk.K.Corrupt(cur, "copy-header-after-unlock", "the header of a COPY frame is made from a message that was received and freed")
	}
	return sk.headerOf(m)
}

func (sk *Sock) headerOf(m *skb.SKB) ringmm.Header {
	ns := sk.Opener.UserNS
	return ringmm.Header{Len: uint32(m.Len()), Group: m.CB.DstGroup, Pid: uint32(m.CB.Creds.Pid),
		UID: ns.FromKID(m.CB.Creds.UID), GID: ns.FromKID(m.CB.Creds.GID)}
}

// queueMmapedSKB hands the frame that a message was built in to userspace: netlink_queue_mmaped_skb (spec 7.4). No
// lock is held. VALID is visible before the frame stops being pending.
func (sk *Sock) queueMmapedSKB(cur *kernel.Task, m *skb.SKB) {
	f := frameOf(m)
	f.SetHeader(cur, sk.header(cur, m))
	sk.published(cur, f, m, uapi.NLMMapStatusValid)
	f.SetStatus(cur, uapi.NLMMapStatusValid)
	m.CB.Flags |= skb.Delivered
	m.Free(cur)
}

// ringSetCopied queues a message and announces it by a COPY frame: netlink_ring_set_copied (spec 7.3). SKIP frames
// are not passed (defect copy-ignores-skip). The header is written after the lock is gone, when others may already
// have received the message or filled later frames (defect copy-header-after-unlock).
func (sk *Sock) ringSetCopied(cur *kernel.Task, m *skb.SKB) {
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
	sk.ReceiveQueue.Append(cur, m)
	sk.ReceiveQueue.Lock.Unlock(cur)
	f.SetHeader(cur, sk.header(cur, m))
	sk.published(cur, f, m, uapi.NLMMapStatusCopy)
	f.SetStatus(cur, uapi.NLMMapStatusCopy)
}

// attachSKB makes room for a message to sk or waits for it: netlink_attachskb (spec 7.2 step 5). retry means that
// the sender slept and must look the receiver up again. After an error or a retry the reference to sk is gone; after
// an error the message too.
func (sk *Sock) attachSKB(cur *kernel.Task, m *skb.SKB, deadline kernel.Time, ssk *Sock) (retry bool, err error) {
	full := func() bool { return sk.Rmem.Load(cur) > sk.Rcvbuf.Load(cur) || sk.congested.Load(cur) != 0 }
	if m.CB.Flags&skb.Mmaped != 0 || !full() {
		setOwnerR(cur, m, sk)
		return false, nil
	}
	if deadline == 0 {
		if ssk == nil || ssk.kernel {
			emit(sk, cur, LossEvent{sk, m})
			sk.overrun(cur)
		}
		sk.Put(cur)
		m.Free(cur)
		return false, kernel.Errorf(kernel.EAGAIN, "the receive buffer of portid %v is full", sk.portid.Shown())
	}
	err = cur.WaitEvent(&sk.wait, deadline, func() bool { return sk.Dead.Load(cur) != 0 || !full() })
	sk.Put(cur)
	if errors.Is(err, kernel.EINTR) {
		m.Free(cur)
		return false, err
	}
	return true, nil
}

// Unicast sends a message of ssk to the socket with a portid and returns its length: netlink_unicast (spec 7.2). The
// message is gone afterwards. deadline 0 does not wait.
//
// Errors: ECONNREFUSED when there is no receiver, or it is connected to somebody else; EAGAIN when its buffer is full
// and the sender does not wait; EINTR.
func (nl *Netlink) Unicast(cur *kernel.Task, ssk *Sock, m *skb.SKB, portid uint32, deadline kernel.Time) (int, error) {
	m.Shrink()
	for {
		sk, err := nl.getsockByPortid(cur, ssk, portid)
		if err != nil {
			m.Free(cur)
			return 0, err
		}
		if sk.kernel {
			return nl.unicastKernel(cur, sk, m, ssk)
		}
		if !sk.Accept(cur, m) {
			n := m.Len()
			m.Free(cur)
			sk.Put(cur)
			return n, nil
		}
		retry, err := sk.attachSKB(cur, m, deadline, ssk)
		if err != nil {
			return 0, err
		}
		if retry {
			if deadline != kernel.Forever && nl.k.Deadline(cur, 0) >= deadline {
				deadline = 0
			}
			continue
		}
		n := sk.sendSKB(cur, m)
		sk.Put(cur)
		return n, nil
	}
}

// unicastKernel lets the kernel process a message, at once: netlink_unicast_kernel. The result is the length before
// it was processed.
func (nl *Netlink) unicastKernel(cur *kernel.Task, sk *Sock, m *skb.SKB, ssk *Sock) (int, error) {
	input := sk.cfg().Input
	if input == nil {
		m.Free(cur)
		sk.Put(cur)
		return 0, kernel.Errorf(kernel.ECONNREFUSED, "the kernel does not listen to protocol %d", sk.Protocol)
	}
	n := m.Len()
	setOwnerR(cur, m, sk)
	msg := &Message{SKB: m, From: ssk, Netlink: nl, Kernel: sk}
	m.CB.Sk = ssk
	if !ssk.kernel {
		nl.deliverTap(cur, m, sk.Protocol)
	}
	input(cur, msg)
	m.Free(cur)
	sk.Put(cur)
	return n, nil
}

// Broadcast sends a message to all members of a group but ssk and the socket with portid: netlink_broadcast (spec
// 7.7). It never waits. The message is gone afterwards.
//
// Errors: ENOBUFS when a member with NETLINK_BROADCAST_ERROR missed it, ESRCH when nobody got it.
func (nl *Netlink) Broadcast(cur *kernel.Task, ssk *Sock, m *skb.SKB, portid, group uint32) error {
	m.Shrink()
	delivered, failed := false, false
	var c *skb.SKB // for the next member; one that could not take it leaves it to the one after, as its filter has cut it
	for _, sk := range nl.multicast(cur, ssk.Protocol, group) {
		if wants(cur, sk, ssk, portid) {
			if c == nil {
				c = nl.forMember(cur, m)
			}
			switch {
			case !sk.Accept(cur, c):
				c.Free(cur)
				c = nil
			case sk.broadcastDeliver(cur, c):
				delivered = true
				c = nil
			default:
				emit(sk, cur, LossEvent{Sock: sk})
				sk.overrun(cur)
				failed = failed || sk.has(cur, flagBroadcastError)
			}
		}
		sk.Put(cur)
	}
	m.Free(cur)
	if c != nil {
		c.Free(cur)
	}
	switch {
	case failed:
		return kernel.ENOBUFS
	case delivered:
		return nil
	}
	return kernel.ESRCH
}

// forMember returns what a member of a group gets: the message itself if nobody else holds it, which is then no longer
// charged to who may have had it before, or a clone.
func (nl *Netlink) forMember(cur *kernel.Task, m *skb.SKB) *skb.SKB {
	if m.Shared(cur) {
		return nl.Clone(cur, m)
	}
	m.Get(cur)
	m.Orphan(cur)
	return m
}

// wants reports whether a member of the group gets what ssk sends to it: not the sender, and not who gets the message as
// its receiver.
func wants(cur *kernel.Task, sk, ssk *Sock, portid uint32) bool {
	if sk == ssk || sk.Portid(cur) == portid {
		return false
	}
	// Namespaces have no ids for each other here, so that LISTEN_ALL_NSID adds no receivers (bcast-nsid).
	return sk.Net == ssk.Net
}

// broadcastDeliver gives a member a message, unless its buffer is full: netlink_broadcast_deliver.
func (sk *Sock) broadcastDeliver(cur *kernel.Task, m *skb.SKB) bool {
	if sk.Rmem.Load(cur) > sk.Rcvbuf.Load(cur) || sk.congested.Load(cur) != 0 {
		return false
	}
	setOwnerR(cur, m, sk)
	sk.sendSKB(cur, m)
	return true
}

// SetErr gives the members of a group an error: netlink_set_err. Those with NETLINK_NO_ENOBUFS do not get ENOBUFS.
func (nl *Netlink) SetErr(cur *kernel.Task, ssk *Sock, portid, group uint32, code int64) {
	for _, sk := range nl.multicast(cur, ssk.Protocol, group) {
		if wants(cur, sk, ssk, portid) && !(code == int64(kernel.ENOBUFS) && sk.has(cur, flagNoENOBUFS)) {
			sk.Err.Store(cur, code)
			sk.ErrorReport(cur)
		}
		sk.Put(cur)
	}
}

// sharedInfoRef is where, in the memory behind a ring message's room, a kernel counts the users of the message's
// data: the word lies in the next frame.
func (nl *Netlink) sharedInfoRef() int {
	if nl.D.TxInPlace {
		return 36
	}
	return 32
}

// Clone makes a buffer that shares the message. For a ring message a kernel then counts a second user of the data in
// memory that is not the message's: the next frame (defects tx-fib-lookup-resend, tap-copy-clone).
func (nl *Netlink) Clone(cur *kernel.Task, m *skb.SKB) *skb.SKB {
	if m.Ring() {
		nl.addSharedInfoRef(cur, m, 1)
	}
	return m.Clone(cur)
}

// sharedInfo returns where the count for a ring message is.
func (nl *Netlink) sharedInfo(m *skb.SKB) (mem *mm.Memory, off int) {
	mem, off = m.RingHead()
	return mem, off + m.Headroom() + m.Capacity() + nl.sharedInfoRef()
}

// addSharedInfoRef changes the count and returns its new value; ok is false where the word lies behind the ring.
func (nl *Netlink) addSharedInfoRef(cur *kernel.Task, m *skb.SKB, delta uint32) (count uint32, ok bool) {
	mem, off := nl.sharedInfo(m)
	if off+4 > mem.Size() {
		nl.k.Corrupt(cur, "tap-copy-clone", "the user count of a ring message lies %d bytes behind the ring", off+4-mem.Size())
		return 0, false
	}
	count = mem.Load32(cur.CPU(), off) + delta
	mem.Store32(cur.CPU(), off, count)
	nl.k.Corrupt(cur, "tap-copy-clone", "the word at offset %d of the next frame is changed by %d", nl.sharedInfoRef(), int32(delta))
	return count, true
}
