// Package nfqueue is nfnetlink_queue: packets wait in numbered queues for the verdicts of a program (spec 12.3 to
// 12.5).
//
// The path to read first, top to bottom: a packet comes to a Rule → enqueue → build (the message, in a frame) → the
// id, under the queue's lock → the socket; and back: verdict or verdictBatch → reinject.
//
// A frame is taken when the message is built, an id only later, under the lock: two packets at once may get their ids
// in the other order (nfq-id-order).
//
// Not modelled: conntrack attributes, security contexts, segmentation offload, vlan tags.
package nfqueue

import (
	"fmt"
	"math"
	"strings"

	"nlmmap/kernel"
	"nlmmap/subsys/inet"
	"nlmmap/subsys/nfnetlink"
	"nlmmap/uapi"
)

// Modes of a queue: what its messages have of a packet.
const (
	CopyNone   = uapi.NFCopyNone
	CopyMeta   = uapi.NFCopyMeta
	CopyPacket = uapi.NFCopyPacket
)

// Flags of a queue.
const (
	FlagFailOpen  = 1
	FlagConntrack = 2
	FlagGSO       = 4
	FlagUIDGID    = 8
	FlagSecctx    = 16
)

// Defaults of a new queue, and the most that a message can have of a packet.
const (
	defaultMaxlen = 1024
	maxRange      = math.MaxUint16 - uapi.NLAHdrlen
)

// NFQueue is nfnetlink_queue on one machine.
type NFQueue struct {
	D Differences

	nf   *nfnetlink.Family
	k    *kernel.Kernel
	nets kernel.PerNet[queues]

	// What the copy range of a new queue is, and what a range of 0 is taken for: 0 itself is the whole packet, whatever
	// its size.
	newRange, zeroRange uint32
}

// Register brings nfnetlink_queue up.
func Register(nf *nfnetlink.Family, d *Differences) *NFQueue {
	f := &NFQueue{D: *d, nf: nf, k: nf.Kernel(), newRange: maxRange, zeroRange: maxRange}
	if d.RangeZero {
		f.newRange, f.zeroRange = math.MaxUint16, 0
	}
	nf.Register(f.subsystem())
	nf.OnRelease(f.release)
	f.k.RegisterProc("/proc/net/netfilter/nfnetlink_queue", f.proc)
	return f
}

// queues is the queues of one namespace.
type queues = nfnetlink.Instances[queue]

// queue is one queue (struct nfqnl_instance). num and portid do not change.
type queue struct {
	num    uint16
	portid uint32 // the owner's

	lock   kernel.Spinlock
	mode   kernel.Atomic // these three change under the lock and are read without
	crange kernel.Atomic
	flags  kernel.Atomic
	inside kernel.Guarded[contents]
}

// contents is what the lock of a queue guards.
type contents struct {
	maxlen      uint32
	id          uint32
	dropped     uint32 // the queue was full
	userDropped uint32 // the owner did not get the message
	waiting     []entry
	dead        bool
}

// entry is a packet that waits for its verdict.
type entry struct {
	id uint32
	p  *inet.Packet
}

func (f *NFQueue) queues(net *kernel.Net) *queues {
	return f.nets.Of(net, func() *queues { return nfnetlink.NewInstances[queue]("nfqueue instances") })
}

// create makes a queue: instance_create. EEXIST when somebody was faster.
func (f *NFQueue) create(cur *kernel.Task, qs *queues, num uint16, portid uint32) (*queue, error) {
	q := &queue{num: num, portid: portid}
	q.lock.Name = "nfqueue"
	q.inside.Guard(&q.lock.Mutex)
	q.inside.Own().maxlen = defaultMaxlen
	q.mode.Named("copy_mode", CopyNone)
	q.crange.Named("copy_range", int64(f.newRange))
	q.flags.Named("queue flags", 0)
	for _, w := range []*kernel.Atomic{&q.mode, &q.crange, &q.flags} {
		w.Guard(&q.lock.Mutex)
	}
	if err := qs.Add(cur, num, q); err != nil {
		return nil, err
	}
	return q, nil
}

// destroy removes the queues for which match is true, and drops their packets: instance_destroy.
func destroy(cur *kernel.Task, qs *queues, match func(q *queue) bool) {
	for _, q := range qs.Remove(cur, match) {
		q.lock.Lock(cur)
		in := q.inside.Of(cur)
		in.dead = true
		waiting := in.waiting
		in.waiting = nil
		q.lock.Unlock(cur)
		for _, e := range waiting {
			e.p.Stack().Reinject(cur, e.p, inet.Drop)
		}
	}
}

// release destroys the queues of a closed socket: nfqnl_rcv_nl_event.
func (f *NFQueue) release(cur *kernel.Task, net *kernel.Net, portid uint32) {
	destroy(cur, f.queues(net), func(q *queue) bool { return q.portid == portid })
}

// Stats is what /proc shows of a queue.
type Stats struct {
	Num                  uint16
	Portid               uint32
	Total                int // packets that wait
	Mode, Range          int
	Dropped, UserDropped uint32
	ID                   uint32 // the last one given
}

// Stats returns the queues of a namespace, by number.
func (f *NFQueue) Stats(cur *kernel.Task, net *kernel.Net) []Stats {
	var stats []Stats
	for _, q := range f.queues(net).All(cur) {
		q.lock.Lock(cur)
		in := q.inside.Of(cur)
		stats = append(stats, Stats{Num: q.num, Portid: q.portid, Total: len(in.waiting), Mode: int(q.mode.Load(cur)),
			Range: int(q.crange.Load(cur)), Dropped: in.dropped, UserDropped: in.userDropped, ID: in.id})
		q.lock.Unlock(cur)
	}
	return stats
}

// proc is the text of /proc/net/netfilter/nfnetlink_queue: a line for each queue. A kernel has them in the order of a
// hash table.
func (f *NFQueue) proc(cur *kernel.Task) string {
	var b strings.Builder
	for _, s := range f.Stats(cur, cur.Net()) {
		fmt.Fprintf(&b, "%5d %6d %5d %1d %5d %5d %5d %8d %2d\n", s.Num, s.Portid, s.Total, s.Mode, s.Range, s.Dropped,
			s.UserDropped, s.ID, 1)
	}
	return b.String()
}
