package afnetlink

import (
	"nlmmap/kernel"
	"nlmmap/ringmm"
)

// sendSKB is the last step of every delivery to a user socket: netlink_sendskb (spec 7.1). It returns the length of
// the message, also when that was dropped for lack of a frame (defect copy-drop-reported-sent).
func (sk *Sock) sendSKB(cur *kernel.Task, m *SKB) int {
	n := m.Len()
	sk.nl.deliverTap(cur, m, sk.Protocol)
	emit(sk, cur, DeliverEvent{sk, m})
	switch {
	case m.CB.flags&skbMmaped != 0:
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

func (sk *Sock) headerOf(m *SKB) ringmm.Header {
	ns := sk.Opener.UserNS
	return ringmm.Header{Len: uint32(m.Len()), Group: m.CB.DstGroup, Pid: uint32(m.CB.Creds.Pid),
		UID: ns.FromKID(m.CB.Creds.UID), GID: ns.FromKID(m.CB.Creds.GID)}
}

// Unicast sends a message of ssk to the socket with a portid and returns its length: netlink_unicast (spec 7.2). The
// message is gone afterwards. deadline 0 does not wait.
//
// Errors: ECONNREFUSED when there is no receiver, or it is connected to somebody else; EAGAIN when its buffer is full
// and the sender does not wait; EINTR.
func (nl *Netlink) Unicast(cur *kernel.Task, ssk *Sock, m *SKB, portid uint32, deadline kernel.Time) (int, error) {
	trim(m)
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
func (nl *Netlink) unicastKernel(cur *kernel.Task, sk *Sock, m *SKB, ssk *Sock) (int, error) {
	input := sk.cfg().Input
	if input == nil {
		m.Free(cur)
		sk.Put(cur)
		return 0, kernel.Errorf(kernel.ECONNREFUSED, "the kernel does not listen to protocol %d", sk.Protocol)
	}
	n := m.Len()
	setOwnerR(cur, m, sk)
	m.CB.Sk = ssk
	if !ssk.kernel {
		nl.deliverTap(cur, m, sk.Protocol)
	}
	msg := nl.messages.Get()
	*msg = Message{SKB: m, From: ssk, Netlink: nl, Kernel: sk}
	input(cur, msg)
	if nl.k.Recycles() {
		*msg = Message{}
		nl.messages.Put(msg)
	}
	m.Free(cur)
	sk.Put(cur)
	return n, nil
}

// Broadcast sends a message to all members of a group but ssk and the socket with portid: netlink_broadcast (spec
// 7.7). It never waits. The message is gone afterwards.
//
// Errors: ENOBUFS when a member with NETLINK_BROADCAST_ERROR missed it, ESRCH when nobody got it.
func (nl *Netlink) Broadcast(cur *kernel.Task, ssk *Sock, m *SKB, portid, group uint32) error {
	trim(m)
	delivered, failed, noMemory := false, false, false
	var c *SKB // for the next member; one that could not take it leaves it to the one after, as its filter has cut it
	for _, sk := range nl.multicast(cur, ssk.Protocol, group) {
		if wants(cur, sk, ssk, portid) {
			if c == nil && !noMemory {
				if c = nl.forMember(cur, m); c != nil {
					c.CB.NSID, c.CB.HasNSID = ownNSID, true
				}
			}
			switch {
			case c == nil: // from then on the others get nothing either
				noMemory = true
				emit(sk, cur, LossEvent{Sock: sk})
				sk.overrun(cur)
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

// ownNSID is the id of a socket's own network namespace: none.
const ownNSID = -1

// forMember returns what a member of a group gets: the message itself if nobody else holds it, which is then no longer
// charged to who may have had it before, or a clone, nil without memory.
func (nl *Netlink) forMember(cur *kernel.Task, m *SKB) *SKB {
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
func (sk *Sock) broadcastDeliver(cur *kernel.Task, m *SKB) bool {
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
