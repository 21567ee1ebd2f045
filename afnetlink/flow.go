package afnetlink

import (
	"errors"
	"fmt"
	"nlmmap/kernel"
)

// setOwnerR charges a message to its receiver: netlink_skb_set_owner_r.
func setOwnerR(cur *kernel.Task, m *SKB, sk *Sock) {
	m.CB.Owner = sk
	m.Destructor = skbDestructor
	sk.Charge(cur, m.Truesize)
}

// attachSKB makes room for a message to sk or waits for it: netlink_attachskb (spec 7.2 step 5). retry means that
// the sender slept and must look the receiver up again. After an error or a retry the reference to sk is gone; after
// an error the message too.
func (sk *Sock) attachSKB(cur *kernel.Task, m *SKB, deadline kernel.Time, ssk *Sock) (retry bool, err error) {
	if m.CB.flags&skbMmaped != 0 || !sk.full(cur) {
		setOwnerR(cur, m, sk)
		return false, nil
	}
	return sk.awaitRoom(cur, m, deadline, ssk)
}

// full reports whether the socket takes no ordinary message at the moment.
func (sk *Sock) full(cur *kernel.Task) bool {
	return sk.Rmem.Load(cur) > sk.Rcvbuf.Load(cur) || sk.congested.Load(cur) != 0
}

// awaitRoom is attachSKB for a socket that is full.
func (sk *Sock) awaitRoom(cur *kernel.Task, m *SKB, deadline kernel.Time, ssk *Sock) (retry bool, err error) {
	if deadline == 0 {
		if ssk == nil || ssk.kernel {
			emit(sk, cur, LossEvent{sk, m})
			sk.overrun(cur)
		}
		sk.Put(cur)
		m.Free(cur)
		return false, kernel.Errorf(kernel.EAGAIN, "the receive buffer of portid %v is full", sk.portid.Shown())
	}
	err = cur.WaitEvent(&sk.wait, deadline, func() bool { return sk.Dead.Load(cur) != 0 || !sk.full(cur) })
	sk.Put(cur)
	if errors.Is(err, kernel.EINTR) {
		m.Free(cur)
		return false, err
	}
	return true, nil
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
