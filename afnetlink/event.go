package afnetlink

import (
	"fmt"

	"nlmmap/kernel"
	"nlmmap/ringmm"
	"nlmmap/skb"
	"nlmmap/uapi"
)

// A ClaimEvent tells of a free RX frame that the kernel takes for a message, built in it or queued.
type ClaimEvent struct {
	Sock   *Sock
	Portid kernel.Shown
	Pos    uint32
	SKB    *skb.SKB
}

func (e ClaimEvent) String() string {
	return fmt.Sprintf("claim rx[%d] of portid %v", e.Pos, e.Portid)
}

// A PublishEvent tells of an RX frame that is about to be handed to userspace, as VALID or COPY. SKB is nil for a frame
// that comes back without a message (VALID with length 0).
type PublishEvent struct {
	Sock   *Sock
	Portid kernel.Shown
	Pos    uint32
	SKB    *skb.SKB
	Status uint32
	Data   []byte // the message of a VALID frame
}

func (e PublishEvent) String() string {
	return fmt.Sprintf("publish rx[%d] of portid %v as %s", e.Pos, e.Portid, uapi.StatusName(e.Status))
}

func (sk *Sock) claimed(cur *kernel.Task, f ringmm.Frame, m *skb.SKB) {
	if sk.K.Watched() {
		sk.K.Emit(cur, ClaimEvent{sk, sk.portid.Shown(), f.Pos, m})
	}
}

func (sk *Sock) published(cur *kernel.Task, f ringmm.Frame, m *skb.SKB, status uint32) {
	if !sk.K.Watched() {
		return
	}
	e := PublishEvent{Sock: sk, Portid: sk.portid.Shown(), Pos: f.Pos, SKB: m, Status: status}
	if m != nil && m.Ring() {
		e.Data = m.Peek(cur)
	}
	sk.K.Emit(cur, e)
}
