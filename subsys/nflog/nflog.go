// Package nflog is nfnetlink_log: packets are logged to numbered groups, several to a message, for a program to read
// (spec 12.6).
//
// The path to read first, top to bottom: a packet comes to a Rule → log → the message that collects, in a frame →
// append → flush, by the number of packets or by the timer → the socket. While a message collects, its frame is
// RESERVED.
//
// Not modelled: conntrack attributes, hardware headers.
package nflog

import (
	"fmt"
	"strings"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/subsys/inet"
	"nlmmap/subsys/nfnetlink"
	"nlmmap/uapi"
)

// Modes of a group: what its messages have of a packet.
const (
	CopyNone   = uapi.NFCopyNone
	CopyMeta   = uapi.NFCopyMeta
	CopyPacket = uapi.NFCopyPacket
)

// Flags of a group.
const (
	FlagSeq       = 1
	FlagSeqGlobal = 2
	FlagConntrack = 4
)

// Defaults and bounds of a group. No message has more than maxRange bytes of a packet: 3.10 says 65535, which no
// attribute can hold.
const (
	maxRange         = 65535 - uapi.NLAHdrlen
	minBufsiz        = uapi.NLMsgGoodsize
	maxBufsiz        = 131072
	defaultTimeout   = 100 // in 1/100 s
	defaultThreshold = 100
)

// timeUnit is the unit of a group's timeout.
const timeUnit = 10 * kernel.Millisecond

// NFLog is nfnetlink_log on one machine.
type NFLog struct {
	D Differences

	nf   *nfnetlink.Family
	k    *kernel.Kernel
	nets kernel.PerNet[groups]
	done doneRoom
}

// Register brings nfnetlink_log up.
func Register(nf *nfnetlink.Family, d *Differences) *NFLog {
	f := &NFLog{D: *d, nf: nf, k: nf.Kernel(), done: doneRoom{kept: uapi.NLAHdrlen}}
	if d.DoneRoom {
		f.done = doneRoom{asked: 8, freed: true}
	}
	nf.Register(f.subsystem())
	nf.OnRelease(f.release)
	f.k.RegisterProc("/proc/net/netfilter/nfnetlink_log", f.proc)
	return f
}

// groups is the groups of one namespace.
type groups struct {
	*nfnetlink.Instances[group]
	seq kernel.Atomic // of all groups together
}

// group is one group (struct nfulnl_instance). What is above the lock does not change.
type group struct {
	f      *NFLog
	net    *kernel.Net
	num    uint16
	portid uint32 // the owner's

	lock   kernel.Spinlock
	inside kernel.Guarded[contents]
	timer  kernel.Timer
}

// contents is what the lock of a group guards.
type contents struct {
	mode      uint8
	crange    uint32
	nlbufsiz  uint32
	timeout   uint32
	threshold uint32
	flags     uint16
	seq       uint32
	skb       *afnetlink.SKB // the message that collects packets
	qlen      uint32         // how many it has
	dead      bool
}

func (f *NFLog) groups(net *kernel.Net) *groups {
	return f.nets.Of(net, func() *groups { return &groups{Instances: nfnetlink.NewInstances[group]("nflog instances")} })
}

// create makes a group: instance_create. EEXIST when somebody was faster.
func (f *NFLog) create(cur *kernel.Task, net *kernel.Net, num uint16, portid uint32) (*group, error) {
	g := &group{f: f, net: net, num: num, portid: portid}
	g.lock.Name = "nflog"
	g.inside.Guard(&g.lock.Mutex)
	*g.inside.Own() = contents{mode: CopyPacket, crange: maxRange, nlbufsiz: minBufsiz, timeout: defaultTimeout,
		threshold: defaultThreshold}
	g.timer.Fn = g.expired
	if err := f.groups(net).Add(cur, num, g); err != nil {
		return nil, err
	}
	return g, nil
}

// destroy removes the groups for which match is true. What they have collected is sent, which fails when the owner has
// gone: then its frame comes back with length 0 (instance_destroy).
func (f *NFLog) destroy(cur *kernel.Task, net *kernel.Net, match func(g *group) bool) {
	for _, g := range f.groups(net).Remove(cur, match) {
		g.lock.Lock(cur)
		g.flush(cur)
		in := g.inside.Of(cur)
		in.dead = true
		if in.skb != nil {
			f.k.Taint(cur, "nflog-done-room", "a message of %d packets is forgotten with its frame", in.qlen)
		}
		g.lock.Unlock(cur)
	}
}

// release destroys the groups of a closed socket: nfulnl_rcv_nl_event.
func (f *NFLog) release(cur *kernel.Task, net *kernel.Net, portid uint32) {
	f.destroy(cur, net, func(g *group) bool { return g.portid == portid })
}

// proc is the text of /proc/net/netfilter/nfnetlink_log: a line for each group, whose last number counts the references: that of
// the table, and that of the timer. A kernel has them in the order of a hash table.
func (f *NFLog) proc(cur *kernel.Task) string {
	var b strings.Builder
	for _, g := range f.groups(cur.Net()).All(cur) {
		g.lock.Lock(cur)
		in := g.inside.Of(cur)
		refs := 1
		if f.k.TimerPending(cur, &g.timer) {
			refs++
		}
		fmt.Fprintf(&b, "%5d %6d %5d %1d %5d %6d %2d\n", g.num, g.portid, in.qlen, in.mode, in.crange, in.timeout, refs)
		g.lock.Unlock(cur)
	}
	return b.String()
}

// Rule is the target NFLOG: packets are logged to a group, with a prefix, and go on. A threshold that is not 0 flushes the
// group's message after that many packets, if the group itself does not do it earlier.
func (f *NFLog) Rule(num uint16, threshold uint32, prefix string) inet.Rule {
	return inet.Rule{Name: "nflog", Target: func(cur *kernel.Task, p *inet.Packet) inet.Verdict {
		if g := f.groups(p.Net()).Lookup(cur, num); g != nil {
			g.log(cur, p, threshold, prefix)
		}
		return inet.Continue
	}}
}
