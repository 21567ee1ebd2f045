package afnetlink

import (
	"nlmmap/kernel"
	"nlmmap/uapi"
)

// Poll implements kernel.FileOps: netlink_poll and datagram_poll (spec 5). On a socket with an RX ring it first
// continues a dump while the ring has room; releasing frames wakes nobody, so a dump goes on only when somebody polls.
func (sk *Sock) Poll(cur *kernel.Task, pt *kernel.PollTable) uint32 {
	hasRing := sk.rxRing.IsSet(cur)
	if hasRing {
		sk.dumps(cur, DumpLooks, nil)
		for sk.cb.running.Load(cur) != 0 && sk.rxRing.DumpSpace(cur) {
			if err := sk.dump(cur); err != nil {
				sk.dumpFailed(cur, err)
				break
			}
			sk.dumps(cur, DumpLooks, nil)
		}
		sk.rcvWake(cur)
	}
	pt.Wait(&sk.Wait)
	emit(sk, cur, PollEvent{Sock: sk})
	// Sending charges nothing to a netlink socket: there is always room, whatever the TX ring looks like
	// (pollout-constant).
	mask := uint32(uapi.PollOut | uapi.PollWrnorm | uapi.PollWrband)
	if sk.Err.Load(cur) != 0 {
		mask |= uapi.PollErr
	}
	if sk.ReceiveQueue.Len(cur) > 0 {
		mask |= uapi.PollIn | uapi.PollRdnorm
	}
	if hasRing && sk.nl.pollRx(cur, sk, mask&uapi.PollIn != 0) {
		mask |= uapi.PollIn | uapi.PollRdnorm
	}
	if sk.txRing.IsSet(cur) {
		sk.WriteQueue.Lock.Lock(cur)
		if _, unused := sk.txRing.Current(cur, uapi.NLMMapStatusUnused); unused {
			mask |= uapi.PollOut | uapi.PollWrnorm
		}
		sk.WriteQueue.Lock.Unlock(cur)
	}
	emit(sk, cur, PollEvent{sk, true, mask})
	return mask
}

// pollScan is poll-scans-ring: a VALID frame anywhere, looked for only when the receive queue is empty.
func pollScan(cur *kernel.Task, sk *Sock, queued bool) bool {
	if queued {
		return false
	}
	sk.ReceiveQueue.Lock.Lock(cur)
	defer sk.ReceiveQueue.Lock.Unlock(cur)
	return sk.rxRing.IsSet(cur) && sk.rxRing.HasValidFrame(cur)
}

// pollPrevious is poll-prev-frame: the frame before head is anything but UNUSED.
func pollPrevious(cur *kernel.Task, sk *Sock, _ bool) bool {
	sk.ReceiveQueue.Lock.Lock(cur)
	defer sk.ReceiveQueue.Lock.Unlock(cur)
	if !sk.rxRing.IsSet(cur) {
		return false
	}
	sk.rxRing.Forward(cur)
	return sk.rxRing.Status(cur, sk.rxRing.Previous(cur)) != uapi.NLMMapStatusUnused
}
