package afnetlink

import (
	"fmt"

	"nlmmap/kernel"
	"nlmmap/skb"
	"nlmmap/uapi"
)

// AllocSKB allocates a message of size bytes from ssk to the socket with a portid, in a frame of that socket's RX
// ring if it has one and the message fits: netlink_alloc_skb (spec 6.1). ldiff is how much of the message will be
// attached behind those bytes.
//
// It returns nil when there is no memory, and when the frame at head is not free: then the message is lost, counted
// and reported to the receiver (overrun). There is no falling back to an ordinary message.
func (nl *Netlink) AllocSKB(cur *kernel.Task, ssk *Sock, size, ldiff int, portid uint32) *skb.SKB {
	if !nl.D.AllocLdiff {
		ldiff = 0
	}
	sk, err := nl.getsockByPortid(cur, ssk, portid)
	if err != nil {
		return skb.New(nl.k, size)
	}
	fits := func() bool { return sk.rxRing.Maxlen(cur) >= uint32(size+ldiff) }
	if !sk.rxRing.IsSet(cur) || nl.D.AllocSizeCheckFirst && !fits() {
		sk.Put(cur)
		return skb.New(nl.k, size)
	}
	m := skb.AllocHead(nl.k, nl.D.SKB.HeadSize)
	sk.ReceiveQueue.Lock.Lock(cur)
	if !sk.rxRing.IsSet(cur) || !fits() {
		sk.ReceiveQueue.Lock.Unlock(cur)
		m.Free(cur)
		sk.Put(cur)
		return skb.New(nl.k, size)
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

// overrun counts a lost message and tells the receiver once per congestion: netlink_overrun (spec 7.6).
func (sk *Sock) overrun(cur *kernel.Task) {
	if !sk.has(cur, flagNoENOBUFS) && sk.congested.Swap(cur, 1) == 0 {
		sk.Err.Store(cur, int64(kernel.ENOBUFS))
		sk.ErrorReport(cur)
	}
	sk.Drops.Count(cur, 1)
	if sk.K.Tracing() {
		sk.K.Emit(cur, OverrunEvent{sk.portid.Shown(), sk.Drops.Shown()})
	}
}

// An OverrunEvent tells of a message that was lost for lack of a frame or of buffer space.
type OverrunEvent struct {
	Portid kernel.Shown
	Drops  kernel.Shown
}

func (e OverrunEvent) String() string {
	return fmt.Sprintf("overrun of portid %v, %v drops", e.Portid, e.Drops)
}

// rcvWake ends the congestion when the reader has taken all queued messages, and lets senders go on:
// netlink_rcv_wake.
func (sk *Sock) rcvWake(cur *kernel.Task) {
	if sk.ReceiveQueue.Len(cur) == 0 {
		sk.congested.Store(cur, 0)
	}
	if sk.congested.Load(cur) == 0 {
		sk.wait.Wake(cur, 0)
	}
}
