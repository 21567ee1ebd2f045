package invariant

import (
	"slices"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/kernel/inspect"
	"nlmmap/ringmm"
)

// hung reports whether a task waits in the kernel for ever: what it holds stays held.
func hung(k *kernel.Kernel) bool { return slices.ContainsFunc(k.Tasks(), (*kernel.Task).Hung) }

func pending(c check) {
	for _, s := range c.sockets {
		held := int64(0)
		for _, f := range s.rx.frames {
			if f.owner == taken && !f.queue {
				held++
			}
		}
		now := s.sk.Inspect(key)
		if n := now.RxRing.Pending; n != held {
			c.blame(s, "", "portid %d says that the kernel holds %d RX frames, it holds %d", now.Portid, n, held)
		}
		if n := now.TxRing.Pending; n != 0 && !hung(c.kernel) {
			c.blame(s, "", "portid %d says that the kernel holds %d TX frames, and nothing runs", now.Portid, n)
		}
	}
}

func mapped(c check) {
	vmas := map[*afnetlink.Sock]int{}
	seen := map[*kernel.AddressSpace]bool{}
	for _, t := range c.kernel.Tasks() {
		if t.Dead() || seen[t.Memory()] {
			continue
		}
		seen[t.Memory()] = true
		for _, v := range t.VMAs(inspect.Key{}) {
			vmas[afnetlink.SockOf(v.File)]++
		}
	}
	for _, s := range c.sockets {
		if now, n := s.sk.Inspect(key), vmas[s.sk]; now.Mapped != n {
			c.blame(s, "", "portid %d counts %d mappings, there are %d", now.Portid, now.Mapped, n)
		}
	}
}

func charges(c check) {
	requests := map[*afnetlink.Sock]int{} // of dumps that go on: they stay charged to whom they were sent
	for _, s := range c.sockets {
		if m := s.sk.DumpRequest(key); m != nil {
			requests[m.CB.Owner] += m.Truesize
		}
	}
	for _, s := range c.sockets {
		charged := requests[s.sk]
		for _, m := range s.sk.ReceiveQueue.Inspect(key) {
			if m.CB.Owner == s.sk {
				charged += m.Truesize
			}
		}
		for _, f := range s.rx.frames {
			if f.owner == taken && !f.queue && f.skb.CB.Owner == s.sk {
				charged += f.skb.Truesize // built over several calls
			}
		}
		if n := s.sk.Rmem.Inspect(key); n != int64(charged) && !hung(c.kernel) {
			c.blame(s, "", "portid %d is charged for %d bytes, its messages have %d", s.sk.Inspect(key).Portid, n, charged)
		}
	}
}

func nothingLost(c check) {
	for _, s := range c.sockets {
		if n := s.sk.Drops.Inspect(key); n != s.lost {
			c.blame(s, "", "there was no room for %d messages to portid %d, %d are counted as lost", s.lost, s.sk.Inspect(key).Portid, n)
		}
		queue := s.sk.ReceiveQueue.Inspect(key)
		for _, m := range s.coming {
			if !slices.ContainsFunc(queue, func(q *afnetlink.SKB) bool { return q == m.skb }) && !hung(c.kernel) {
				c.blame(s, "", "a message of %d bytes to portid %d is neither in the ring nor in the queue", m.n, s.sk.Inspect(key).Portid)
			}
		}
	}
}

func txReleased(c check) {
	for _, s := range c.sockets {
		for pos := range s.tx.req.FrameNr {
			if f := s.tx.frames[pos]; f != nil && f.owner == taken && !hung(c.kernel) {
				c.blame(s, "", "tx[%d] was sent and not released", pos)
			}
		}
	}
}

func heads(c check) {
	for _, s := range c.sockets {
		now := s.sk.Inspect(key)
		for _, r := range []ringmm.State{now.RxRing, now.TxRing} {
			if r.Set && r.Head >= r.Frames {
				c.blame(s, "", "the position of portid %d's %s ring lies behind its frames", now.Portid, r.Name)
			}
		}
	}
}
