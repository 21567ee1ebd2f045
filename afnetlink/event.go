package afnetlink

import (
	"fmt"

	"nlmmap/kernel"
	"nlmmap/ringmm"
	"nlmmap/uapi"
)

// The events below are what the protocol's invariants observe of the kernel, beside system calls and the accesses of
// programs (package invariant). They are emitted at the step they tell of, without a scheduling point in between.

// A SocketEvent tells of a socket that was made, or of one whose last reference is gone.
type SocketEvent struct {
	Sock *Sock
	Gone bool
}

// Observation implements kernel.Observation.
func (SocketEvent) Observation() {}

func (e SocketEvent) String() string {
	if e.Gone {
		return fmt.Sprintf("socket of portid %v is gone", e.Sock.portid.Shown())
	}
	return fmt.Sprintf("socket of protocol %d is made", e.Sock.Protocol)
}

// A RingEvent tells of a ring that was set, or cleared by a request without blocks, with the queued messages that went
// away with the old one.
type RingEvent struct {
	Sock   *Sock
	TX     bool
	Ring   *ringmm.Ring
	Req    uapi.NLMMapReq
	Purged []*SKB
}

// Observation implements kernel.Observation.
func (RingEvent) Observation() {}

func (e RingEvent) String() string {
	return fmt.Sprintf("%s ring of portid %v has %d frames", e.Ring.Name(), e.Sock.portid.Shown(), e.Req.FrameNr)
}

// A ClaimEvent tells of a free RX frame that the kernel takes for a message, built in it or queued.
type ClaimEvent struct {
	Sock   *Sock
	Portid kernel.Shown
	Pos    uint32
	SKB    *SKB
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
	SKB    *SKB
	Status uint32
	Header ringmm.Header
	Data   []byte // the message of a VALID frame
	Shift  int    // of the message in the frame, by dump-reserve-in-frame
	// TX tells of a frame of the TX ring that a clone of its request publishes (tx-fib-lookup-resend).
	TX bool
}

func (e PublishEvent) String() string {
	return fmt.Sprintf("publish rx[%d] of portid %v as %s", e.Pos, e.Portid, uapi.StatusName(e.Status))
}

// A LossEvent tells of a message to a socket for which there is no room.
type LossEvent struct {
	Sock *Sock
	SKB  *SKB // nil for one that was still to be built
}

// Observation implements kernel.Observation.
func (LossEvent) Observation() {}

func (e LossEvent) String() string {
	return fmt.Sprintf("no room for a message to portid %v", e.Sock.portid.Shown())
}

// A DeliverEvent tells of a message that is handed to a socket.
type DeliverEvent struct {
	Sock *Sock
	SKB  *SKB
}

// Observation implements kernel.Observation.
func (DeliverEvent) Observation() {}

func (e DeliverEvent) String() string {
	return fmt.Sprintf("deliver %d bytes to portid %v", e.SKB.Len(), e.Sock.portid.Shown())
}

// A ReceiveEvent tells of a message that recvmsg takes out of the receive queue, which it has locked: the order of the
// events is that of the queue.
type ReceiveEvent struct {
	Sock *Sock
	SKB  *SKB
}

// Observation implements kernel.Observation.
func (ReceiveEvent) Observation() {}

func (e ReceiveEvent) String() string {
	return fmt.Sprintf("receive %d bytes from portid %v's queue", e.SKB.Len(), e.Sock.portid.Shown())
}

// A TxEvent tells of a VALID frame of the TX ring that the kernel has made a message of. Checked is the length that it
// found good, Data the message that it goes on with.
type TxEvent struct {
	Sock    *Sock
	Pos     uint32
	Checked uint32
	Data    []byte
}

// Observation implements kernel.Observation.
func (TxEvent) Observation() {}

func (e TxEvent) String() string {
	return fmt.Sprintf("send tx[%d] of portid %v, %d bytes", e.Pos, e.Sock.portid.Shown(), len(e.Data))
}

// A TxEndEvent tells of the frame that is not VALID, at which a send of the TX ring ends.
type TxEndEvent struct {
	Sock *Sock
	Pos  uint32
}

// Observation implements kernel.Observation.
func (TxEndEvent) Observation() {}

func (e TxEndEvent) String() string {
	return fmt.Sprintf("sending of portid %v ends at tx[%d]", e.Sock.portid.Shown(), e.Pos)
}

// A PollEvent tells of one look at a socket that poll(2) or epoll takes: where it begins, after it has continued a dump, and
// what it answers.
type PollEvent struct {
	Sock *Sock
	Done bool
	Mask uint32 // the answer
}

// Observation implements kernel.Observation.
func (PollEvent) Observation() {}

func (e PollEvent) String() string {
	if e.Done {
		return fmt.Sprintf("a look at portid %v finds %#x", e.Sock.portid.Shown(), e.Mask)
	}
	return fmt.Sprintf("a look at portid %v", e.Sock.portid.Shown())
}

// A DumpStep is where a dump stands.
type DumpStep uint8

// The steps of a dump.
const (
	DumpBegins DumpStep = iota
	DumpLooks           // poll looks whether the ring has room to go on
	DumpPart            // a message is handed over
	DumpEnds
)

// A DumpStepEvent tells of a dump. Data is the message of a part.
type DumpStepEvent struct {
	Sock *Sock
	Step DumpStep
	Data []byte
}

// Observation implements kernel.Observation.
func (DumpStepEvent) Observation() {}

func (e DumpStepEvent) String() string {
	return fmt.Sprintf("dump of portid %v %s", e.Sock.portid.Shown(), [...]string{"begins", "looks for room", "has a part", "ends"}[e.Step])
}

// emit tells of an event that an invariant observes. Its type is a parameter so that nothing is allocated when nobody
// listens.
func emit[T kernel.Event](sk *Sock, cur *kernel.Task, e T) {
	if sk.K.Watched() {
		sk.K.Emit(cur, e)
	}
}

func (sk *Sock) taken(cur *kernel.Task, m *SKB) { emit(sk, cur, ReceiveEvent{sk, m}) }

func (sk *Sock) claimed(cur *kernel.Task, f ringmm.Frame, m *SKB) {
	emit(sk, cur, ClaimEvent{sk, sk.portid.Shown(), f.Pos, m})
}

func (sk *Sock) published(cur *kernel.Task, f ringmm.Frame, m *SKB, status uint32) {
	if !sk.K.Watched() {
		return
	}
	e := PublishEvent{Sock: sk, Portid: sk.portid.Shown(), Pos: f.Pos, SKB: m, Status: status}
	if m != nil {
		e.Header, e.TX = sk.headerOf(m), m.CB.flags&skbTX != 0
	}
	if m != nil && m.Ring() {
		e.Data, e.Shift = m.Peek(cur), m.Headroom()
	}
	sk.K.Emit(cur, e)
}

// sends tells of a message that was made of a TX frame. The sender may have seen stores to it that still wait in its own
// store buffer: they are told of before.
func (sk *Sock) sends(cur *kernel.Task, f ringmm.Frame, checked uint32, data []byte) {
	mem, off := f.Data()
	cur.CPU().TellWaiting(mem, off-uapi.NLMMapHdrlen, uapi.NLMMapHdrlen+len(data))
	sk.K.Emit(cur, TxEvent{sk, f.Pos, checked, data})
}

// dumps tells of a step of a dump.
func (sk *Sock) dumps(cur *kernel.Task, step DumpStep, m *SKB) {
	if !sk.K.Watched() {
		return
	}
	e := DumpStepEvent{Sock: sk, Step: step}
	if step == DumpPart {
		e.Data = m.Peek(cur)
	}
	sk.K.Emit(cur, e)
}
