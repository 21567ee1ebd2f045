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
	// Sending charges nothing to a netlink socket: there is always room, whatever the TX ring looks like
	// (pollout-constant).
	mask := uint32(uapi.PollOut | uapi.PollWrnorm | uapi.PollWrband)
	if sk.Err.Load(cur) != 0 {
		mask |= uapi.PollErr
	}
	if sk.ReceiveQueue.Len(cur) > 0 {
		mask |= uapi.PollIn | uapi.PollRdnorm
	}
	if hasRing && sk.pollRx(cur, mask) {
		mask |= uapi.PollIn | uapi.PollRdnorm
	}
	if sk.txRing.IsSet(cur) {
		sk.WriteQueue.Lock.Lock(cur)
		if _, unused := sk.txRing.Current(cur, uapi.NLMMapStatusUnused); unused {
			mask |= uapi.PollOut | uapi.PollWrnorm
		}
		sk.WriteQueue.Lock.Unlock(cur)
	}
	return mask
}

// pollRx reports whether the RX ring makes the socket readable.
func (sk *Sock) pollRx(cur *kernel.Task, mask uint32) bool {
	if sk.nl.D.PollScansRing && mask&uapi.PollIn != 0 {
		return false
	}
	sk.ReceiveQueue.Lock.Lock(cur)
	defer sk.ReceiveQueue.Lock.Unlock(cur)
	if !sk.rxRing.IsSet(cur) {
		return false
	}
	if sk.nl.D.PollScansRing {
		return sk.rxRing.HasValidFrame(cur)
	}
	sk.rxRing.Forward(cur)
	return sk.rxRing.Status(cur, sk.rxRing.Previous(cur)) != uapi.NLMMapStatusUnused
}
