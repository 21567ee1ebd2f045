package afnetlink

import (
	"slices"

	"nlmmap/kernel"
	"nlmmap/ringmm"
	"nlmmap/skb"
	"nlmmap/sock"
)

// DumpReserve says when the data of a dump message is moved behind so that exactly the size asked for remains.
type DumpReserve int

// The values of dump-reserve-in-frame.
const (
	ReserveNever    DumpReserve = iota
	ReserveRecvlen              // only where the message was allocated by max_recvmsg_len
	ReserveAlways               //
	ReserveNoRxRing             // only where the socket has no RX ring
)

// TapCopy says what a tap gets of a message that is built in a frame.
type TapCopy int

// The values of tap-copy.
const (
	TapNone  TapCopy = iota // there are no taps
	TapClone                // a clone, whose bookkeeping lies in the next frame
	TapFull                 // a copy of the whole room
)

// Differences are the named differences of AF_NETLINK, and of what it is made of. Table declares each field.
type Differences struct {
	Ring ringmm.Differences
	SKB  skb.Differences
	Sock sock.Differences

	TxInPlace           bool
	TxLenReread         bool
	TxIovFirstOnly      bool
	TxPathDead          bool
	PollScansRing       bool
	SkErrNegative       bool
	AllocSizeCheckFirst bool
	AllocLdiff          bool
	DumpReserveInFrame  DumpReserve
	DumpRecvlen         bool
	DumpNlhInFrame      bool
	LargeSendVmalloc    bool
	CapOpener           bool
	Opts8To10           bool
	RingCloseLocking    bool
	TapCopy             TapCopy
	ProcDumpPointer     bool
	ProcRowsRepeat      bool
	AutobindRover       bool
	BindFailedPortid    bool
	UreleaseUnbound     bool
	ConnectPortidCap    bool
	LeaveCountsUp       bool
	BindHook            bool
}

// Table declares the differences, bound to d's fields.
func (d *Differences) Table() []kernel.Difference {
	only, since, until := kernel.Only, kernel.Since, kernel.Until
	const (
		v310 = kernel.Linux3_10
		v319 = kernel.Linux3_19
		v41  = kernel.Linux4_1
		v44  = kernel.Linux4_4
		v45  = kernel.Linux4_5
	)
	own := []kernel.Difference{
		{
			Name: "tx-in-place", Absent: "tx-always-copy", Spec: "8.4.1",
			Value:   kernel.Switch(&d.TxInPlace, until(v310)),
			History: "introduced by 5fd96123ee19 (3.10), ended by 4682a0358639 (3.19)",
			Text: "A frame of the TX ring that goes to the kernel is processed where it lies, in memory that userspace " +
				"can still write, if nobody else seems to have it: at most 2 references to the open file and at " +
				"most one mapping. Without it every frame is copied first.",
		},
		{
			Name: "tx-len-reread", Spec: "8.4, 16.2", Seen: kernel.SeenByConcurrency,
			Value:   kernel.Switch(&d.TxLenReread, until(v310)),
			History: "5fd96123ee19 (3.10), ended by 4682a0358639 (3.19)",
			Text: "nm_len of a TX frame is read from the frame again after it was checked: once for the length of the " +
				"message, and where the frame is copied once more for the number of bytes.",
		},
		{
			Name: "tx-iov-first-only", Spec: "8.3",
			Value:   kernel.Switch(&d.TxIovFirstOnly, until(v319)),
			History: "since 3.10, fixed by a8866ff6a5bc (4.0)",
			Text: "A send uses the TX ring when the first segment's base is NULL, however many segments follow. " +
				"Without it there must be exactly one segment.",
		},
		{
			Name: "tx-path-dead", Spec: "8.3",
			Value:   kernel.Switch(&d.TxPathDead, only(v41)),
			History: "introduced by a8866ff6a5bc (4.0), fixed by c953e23936f9 (4.3)",
			Text: "No send ever uses the TX ring: the test compares an iterator's type with a value it cannot have. A " +
				"send without a buffer sends an empty message.",
		},
		{
			Name: "poll-scans-ring", Absent: "poll-prev-frame", Spec: "5",
			Value:   kernel.Switch(&d.PollScansRing, since(v44)),
			History: "previous frame since 3.10, scan by 0ef70770 (4.3)",
			Text: "poll reports IN when any frame of the ring is VALID, and looks only when the receive queue is " +
				"empty. Without it poll reports IN when the frame before head is anything but UNUSED.",
		},
		{
			Name: "sk-err-negative", Spec: "5, 9",
			Value:   kernel.Switch(&d.SkErrNegative, until(v310)),
			History: "introduced by b44d211e166b, fixed by ac30ef832e6a (3.16)",
			Text: "A dump continuation that fails stores its negative errno in sk_err: the next recvmsg returns +105 " +
				"as if 105 bytes had come, or SO_ERROR gives -105.",
		},
		{
			Name: "alloc-size-check-first", Spec: "6.1", Seen: kernel.SeenByNone,
			Value:   kernel.Switch(&d.AllocSizeCheckFirst, since(v319)),
			History: "aae9f0e22c07 (3.14)",
			Text: "A message that cannot fit a frame is allocated as an ordinary one at once. Without it the size is " +
				"tested only under the lock, after a buffer head was allocated.",
		},
		{
			Name: "alloc-ldiff", Absent: "nfq-frag-overflow", Spec: "6.1",
			Value:   kernel.Switch(&d.AllocLdiff, since(v44)),
			History: "zero copy by ae08ce002108 (3.10), fixed by 6bb0fef489f6 (4.3)",
			Text: "nfnetlink_queue says how many bytes of a packet it will attach as page fragments, and a frame is " +
				"taken only if they would fit too. Without it (nfq-frag-overflow) the fragments' table is written " +
				"into the next frame.",
		},
		{
			Name: "dump-reserve-in-frame", Spec: "10.3",
			Value: kernel.Choice(&d.DumpReserveInFrame, []string{"never", "recvlen", "always", "no-rx-ring"},
				[...]DumpReserve{ReserveNever, ReserveRecvlen, ReserveAlways, ReserveAlways, ReserveNoRxRing}),
			History: "9063e21fb026 (3.15), made general by db65a3aaf29e (4.4, 4.1.18), fixed by aa3a022094fa (4.5)",
			Text: "When the start of a dump message is moved so that exactly the size asked for remains: never, only " +
				"for messages allocated by max_recvmsg_len (recvlen), always, or only for sockets without RX ring. " +
				"In a frame the data is then not where the reader looks. With no-rx-ring queued dump messages of " +
				"ring sockets are not cut to the size asked for (copy-dump-untrimmed).",
		},
		{
			Name: "dump-recvlen", Spec: "9, 10.2",
			Value:   kernel.Switch(&d.DumpRecvlen, since(v319)),
			History: "9063e21fb026 (3.15)",
			Text: "The socket remembers the largest buffer a message was received with, up to 16384, and dumps ask for " +
				"messages of that size first. If it exceeds a frame's room they are queued.",
		},
		{
			Name: "dump-nlh-in-frame", Spec: "10.1",
			Value:   kernel.Switch(&d.DumpNlhInFrame, until(v310)),
			History: "with tx-in-place",
			Text: "A dump that was requested in place keeps reading the request from the TX frame: rewriting the frame " +
				"changes the sequence number and the filter of the messages that follow.",
		},
		{
			Name: "dump-start-hook", Spec: "10.1", Seen: kernel.SeenByNone,
			Value: kernel.Known(since(v45)),
			Text:  "Dumps may have a hook that runs before their first message. No modelled dump has one.",
		},
		{
			Name: "large-send-vmalloc", Spec: "8.1, 14.2",
			Value:   kernel.Switch(&d.LargeSendVmalloc, since(v319)),
			History: "3.11",
			Text: "A user message of more than 3776 bytes without group is put into virtually contiguous memory, with " +
				"another truesize.",
		},
		{
			Name: "cap-opener", Spec: "8.5",
			Value:   kernel.Switch(&d.CapOpener, since(v319)),
			History: "2d7a85f4b06e (3.16)",
			Text: "A privileged request needs the capability also in the credentials of whoever opened the socket, " +
				"unless it was sent with an explicit address. TX-ring messages never count as sent with an address.",
		},
		{
			Name: "opts-8-10", Spec: "1.2",
			Value: kernel.Switch(&d.Opts8To10, since(v44)),
			Text:  "The socket options NETLINK_LISTEN_ALL_NSID, NETLINK_LIST_MEMBERSHIPS and NETLINK_CAP_ACK exist.",
		},
		{
			Name: "ring-close-locking", Spec: "2.2", Seen: kernel.SeenByNone,
			Value:   kernel.Switch(&d.RingCloseLocking, until(v319)),
			History: "0470eb99b472 (4.2, 4.1.18)",
			Text:    "The destructor of a socket takes pg_vec_lock to clear its rings.",
		},
		{
			Name: "sock-free-rcu", Spec: "3.4", Seen: kernel.SeenByNone,
			Value:   kernel.Known(since(v41)),
			History: "21e4902aea80 (4.0)",
			Text:    "The last reference to a released socket goes after an RCU grace period.",
		},
		{
			Name: "bcast-nsid", Spec: "7.7", Seen: kernel.SeenByNone,
			Value:   kernel.Known(since(v44)),
			History: "4.2",
			Text:    "A socket with NETLINK_LISTEN_ALL_NSID gets group messages of other network namespaces.",
		},
		{
			Name: "tap-copy", Spec: "13.6",
			Value: kernel.Choice(&d.TapCopy, []string{"none", "clone", "full"},
				[...]TapCopy{TapNone, TapClone, TapFull, TapFull, TapFull}),
			History: "bcbde0d449ed (3.11), 1853c9496460 (4.3, 4.1.18)",
			Text: "What a tap (nlmon) gets of a message that is built in a frame: there are no taps (none), a clone " +
				"whose bookkeeping lies in the next frame (tap-copy-clone), or a copy of the whole room " +
				"(tap-copy-whole).",
		},
		{
			Name: "proc-dump-pointer", Spec: "13.5",
			Value:   kernel.Switch(&d.ProcDumpPointer, until(v310)),
			History: "16b304f3404f (3.12)",
			Text:    "/proc/net/netlink shows a running dump as a kernel pointer, none as 16 zeros, instead of 1 and 0.",
		},
		{
			Name: "proc-rows-repeat", Spec: "13.5",
			Value: kernel.Switch(&d.ProcRowsRepeat, only(v319)),
			Text:  "A read of /proc/net/netlink shows sockets twice.",
		},
		{
			Name: "autobind-rover", Spec: "15.3",
			Value: kernel.Switch(&d.AutobindRover, until(v41)),
			Text: "When the process id is taken, autobind counts down from -4097, with one rover for all sockets " +
				"together. Without it each call starts its search at a random negative number.",
		},
		{
			Name: "bind-failed-portid", Spec: "15.3",
			Value: kernel.Switch(&d.BindFailedPortid, since(v41)),
			Text:  "A bind that fails with EADDRINUSE leaves the refused number as the socket's portid.",
		},
		{
			Name: "urelease-unbound", Spec: "15.6",
			Value: kernel.Switch(&d.UreleaseUnbound, kernel.Between(v41, v44)),
			Text: "Closing a socket that kept the portid of a failed bind announces the release of that portid: " +
				"nfnetlink_queue and nfnetlink_log destroy the instances of the rightful owner.",
		},
		{
			Name: "connect-portid-cap", Spec: "15.5",
			Value: kernel.Switch(&d.ConnectPortidCap, since(v319)),
			Text:  "connect to a portid needs the permission to send, not only connect to a group.",
		},
		{
			Name: "leave-counts-up", Spec: "7.7",
			Value: kernel.Switch(&d.LeaveCountsUp, kernel.Until(kernel.Linux4_5)),
			Text: "A group that is left, or joined again, counts as a further subscription: the bit that was set is -1 and " +
				"not 1 where test_bit is one instruction, on x86. A socket that has left its groups one by one stays " +
				"among the subscribers, shown by socket diagnostics and with its place in the order of delivery, until " +
				"a bind makes the count 0.",
		},
		{
			Name: "genl-bind-enoent", Spec: "13.2, 15.5",
			Value: kernel.Switch(&d.BindHook, since(v319)),
			Text: "Protocols are asked when a group is joined: generic netlink refuses a group that no family owns " +
				"with ENOENT.",
		},
	}
	return slices.Concat(own, d.Ring.Table(), d.SKB.Table(), d.Sock.Table())
}
