// Package afnetlink is the protocol family AF_NETLINK: sockets and their names, messages between them and the kernel,
// dumps, acknowledgements, and the two rings of memory-mapped netlink.
//
// The paths to read first, top to bottom:
//
//	an answer built in a frame   AllocSKB → Unicast → sendSKB → queueMmapedSKB
//	an answer beside the ring    AllocSKB → Unicast → attachSKB → sendSKB → ringSetCopied
//	a dump                       DumpStart → dump → (Poll or recvmsg) → dump ...
//	sending through the TX ring  Sendmsg → mmapSendmsg → Unicast
//
// The files go by what is done: ring (set, map, remove), frame (a message in a frame: set up, published, given back),
// alloc (memory for a message), flow (receivers that are full), deliver, clone and tap (messages that several get), send,
// recv, poll, dump, msg (what messages say), table and sock (names, groups, the life of a socket), sockopt.
//
// Functions are named after the kernel functions they model. What differs between kernels is a field of Differences.
package afnetlink

import (
	"fmt"

	"nlmmap/kernel"
	"nlmmap/ringmm"
	"nlmmap/skb"
	"nlmmap/sock"
	"nlmmap/uapi"
)

// Netlink is the address family on one machine.
type Netlink struct {
	D Differences

	k    *kernel.Kernel
	slab *skb.Slab[CB]
	// messages are those that input functions have seen.
	messages kernel.Cache[Message]
	table    table
	taps     kernel.Pointer[[]*Tap]
	release  []func(cur *kernel.Task, r Release)

	// Where kernels differ in the shape of a function, RegisterWith chooses one.
	claim func(cur *kernel.Task, sk *Sock, portid uint32, taken bool) (claimed bool, err error)
	rover func(cur *kernel.Task) (next func() int32)
	txLen func(cur *kernel.Task, f ringmm.Frame, checked uint32) uint32
	// pollRx reports whether the RX ring makes the socket readable; queued is whether its receive queue does.
	pollRx func(cur *kernel.Task, sk *Sock, queued bool) bool
	// tapCopy makes what a tap gets of a message that is no ordinary memory; nil where there are no taps.
	tapCopy func(cur *kernel.Task, m *SKB) *SKB
}

// Register brings the family up on a machine. The error names a value that a difference does not have.
func Register(k *kernel.Kernel) (*Netlink, error) {
	var d Differences
	if err := k.Config().Version.Resolve(d.Table()); err != nil {
		return nil, err
	}
	return RegisterWith(k, &d), nil
}

// RegisterWith is Register for a caller that has resolved the differences of the machine's version.
func RegisterWith(k *kernel.Kernel, d *Differences) *Netlink {
	nl := &Netlink{D: *d, k: k, slab: skb.NewSlab[CB](k), claim: claimChecked, txLen: lenOnce, pollRx: pollPrevious}
	if d.BindFailedPortid {
		nl.claim = claimKept
	}
	nl.rover = nl.randomRover
	if d.AutobindRover {
		nl.rover = nl.sharedRover
	}
	if d.TxLenReread {
		nl.txLen = lenAgain
	}
	if d.PollScansRing {
		nl.pollRx = pollScan
	}
	switch d.TapCopy {
	case TapClone:
		nl.tapCopy = nl.tapCloned
	case TapFull:
		nl.tapCopy = nl.tapCopied
	}
	sock.ServeUnix(k, &nl.D.Sock)
	nl.table.init()
	nl.taps.Named("netlink_tap_all")
	k.Register(uapi.AFNetlink, nl)
	k.RegisterProc("/proc/net/netlink", nl.proc)
	return nl
}

// Kernel returns the machine.
func (nl *Netlink) Kernel() *kernel.Kernel { return nl.k }

// A Release tells of a closed socket (NETLINK_URELEASE).
type Release struct {
	Net      *kernel.Net
	Protocol int
	Portid   uint32
}

// OnRelease adds fn to what is told of closed sockets.
func (nl *Netlink) OnRelease(fn func(cur *kernel.Task, r Release)) {
	nl.release = append(nl.release, fn)
}

// proc is the text of /proc/net/netlink (spec 13.5).
func (nl *Netlink) proc(cur *kernel.Task) string {
	text := "sk       Eth Pid    Groups   Rmem     Wmem     Dump     Locks     Drops     Inode\n"
	for proto := range nl.table.proto {
		for _, sk := range nl.Bound(cur, cur.Net(), proto, true) {
			row := sk.procRow(cur)
			text += row
			if nl.D.ProcRowsRepeat {
				text += row
			}
		}
	}
	return text
}

func (sk *Sock) procRow(cur *kernel.Task) string {
	var group uint32
	if g := sk.Groups(cur); len(g) > 0 {
		group = g[0]
	}
	none, some := "0", "1"
	if sk.nl.D.ProcDumpPointer {
		none, some = "0000000000000000", fmt.Sprintf("%x", 0xffff880000000000+sk.Inode*0x400)
	}
	dump := none
	if sk.cb.running.Load(cur) != 0 {
		dump = some
	}
	return fmt.Sprintf("%016x %-3d %-6d %08x %-8d %-8d %s %-8d %-8d %-8d\n", 0xffff880010000000+sk.Inode*0x800,
		sk.Protocol, sk.Portid(cur), group, sk.Rmem.Load(cur), 0, dump, sk.Refs(cur), sk.Drops.Load(cur), sk.Inode)
}
