package afnetlink

import "nlmmap/kernel"

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

// Differences are the named differences of AF_NETLINK. Table documents each field.
type Differences struct {
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
	DumpStartHook       bool
	LargeSendVmalloc    bool
	CapOpener           bool
	Opts8To10           bool
	RingCloseLocking    bool
	SockFreeRCU         bool
	BcastNSID           bool
	TapCopy             TapCopy
	ProcDumpPointer     bool
	ProcRowsRepeat      bool
	AutobindRandom      bool
	BindFailedPortid    bool
	UreleaseUnbound     bool
	ConnectPortidCap    bool
	BindHook            bool
}

// Table lists the differences, bound to d's fields.
func (d *Differences) Table() []kernel.Difference {
	only, since, until := kernel.Only, kernel.Since, kernel.Until
	const (
		v310 = kernel.Linux3_10
		v319 = kernel.Linux3_19
		v41  = kernel.Linux4_1
		v44  = kernel.Linux4_4
		v45  = kernel.Linux4_5
	)
	return []kernel.Difference{
		kernel.Switch(&d.TxInPlace, "tx-in-place", "8.4.1", only(v310),
			"A frame of the TX ring that goes to the kernel is processed where it lies, in memory that userspace can still "+
				"write, if nobody else seems to have it: at most 2 references to the open file and at most one mapping. "+
				"Without it every frame is copied first.").
			With("introduced by 5fd96123ee19 (3.10), ended by 4682a0358639 (3.19)", "").Aka("tx-always-copy"),
		kernel.Switch(&d.TxLenReread, "tx-len-reread", "8.4, 16.2", only(v310),
			"nm_len of a TX frame is read from the frame again after it was checked: once for the length of the message, "+
				"and where the frame is copied once more for the number of bytes.").
			With("5fd96123ee19 (3.10), ended by 4682a0358639 (3.19)", "concurrency"),
		kernel.Switch(&d.TxIovFirstOnly, "tx-iov-first-only", "8.3", until(v319),
			"A send uses the TX ring when the first segment's base is NULL, however many segments follow. Without it there "+
				"must be exactly one segment.").
			With("since 3.10, fixed by a8866ff6a5bc (4.0)", ""),
		kernel.Switch(&d.TxPathDead, "tx-path-dead", "8.3", only(v41),
			"No send ever uses the TX ring: the test compares an iterator's type with a value it cannot have. A send without "+
				"a buffer sends an empty message.").
			With("introduced by a8866ff6a5bc (4.0), fixed by c953e23936f9 (4.3)", ""),
		kernel.Switch(&d.PollScansRing, "poll-scans-ring", "5", since(v44),
			"poll reports IN when any frame of the ring is VALID, and looks only when the receive queue is empty. Without it "+
				"poll reports IN when the frame before head is anything but UNUSED.").
			With("previous frame since 3.10, scan by 0ef70770 (4.3)", "").Aka("poll-prev-frame"),
		kernel.Switch(&d.SkErrNegative, "sk-err-negative", "5, 9", only(v310),
			"A dump continuation that fails stores its negative errno in sk_err: the next recvmsg returns +105 as if 105 "+
				"bytes had come, or SO_ERROR gives -105.").
			With("introduced by b44d211e166b, fixed by ac30ef832e6a (3.16)", ""),
		kernel.Switch(&d.AllocSizeCheckFirst, "alloc-size-check-first", "6.1", since(v319),
			"A message that cannot fit a frame is allocated as an ordinary one at once. Without it the size is tested only "+
				"under the lock, after a buffer head was allocated.").
			With("aae9f0e22c07 (3.14)", "nothing"),
		kernel.Switch(&d.AllocLdiff, "alloc-ldiff", "6.1", since(v44),
			"nfnetlink_queue says how many bytes of a packet it will attach as page fragments, and a frame is taken only if "+
				"they would fit too. Without it (nfq-frag-overflow) the fragments' table is written into the next frame.").
			With("zero copy by ae08ce002108 (3.10), fixed by 6bb0fef489f6 (4.3)", "").Aka("nfq-frag-overflow"),
		kernel.Choice(&d.DumpReserveInFrame, "dump-reserve-in-frame", "10.3",
			[]string{"never", "recvlen", "always", "no-rx-ring"},
			[...]DumpReserve{ReserveNever, ReserveRecvlen, ReserveAlways, ReserveAlways, ReserveNoRxRing},
			"When the start of a dump message is moved so that exactly the size asked for remains: never, only for messages "+
				"allocated by max_recvmsg_len (recvlen), always, or only for sockets without RX ring. In a frame the data is "+
				"then not where the reader looks. With no-rx-ring queued dump messages of ring sockets are not cut to the "+
				"size asked for (copy-dump-untrimmed).").
			With("9063e21fb026 (3.15), made general by db65a3aaf29e (4.4, 4.1.18), fixed by aa3a022094fa (4.5)", ""),
		kernel.Switch(&d.DumpRecvlen, "dump-recvlen", "9, 10.2", since(v319),
			"The socket remembers the largest buffer a message was received with, up to 16384, and dumps ask for messages of "+
				"that size first. If it exceeds a frame's room they are queued.").
			With("9063e21fb026 (3.15)", ""),
		kernel.Switch(&d.DumpNlhInFrame, "dump-nlh-in-frame", "10.1", only(v310),
			"A dump that was requested in place keeps reading the request from the TX frame: rewriting the frame changes the "+
				"sequence number and the filter of the messages that follow.").
			With("with tx-in-place", ""),
		kernel.Switch(&d.DumpStartHook, "dump-start-hook", "10.1", only(v45),
			"Dumps may have a hook that runs before their first message. No modelled dump has one.").With("", "nothing"),
		kernel.Switch(&d.LargeSendVmalloc, "large-send-vmalloc", "8.1, 14.2", since(v319),
			"A user message of more than 3776 bytes without group is put into virtually contiguous memory, with another "+
				"truesize.").With("3.11", ""),
		kernel.Switch(&d.CapOpener, "cap-opener", "8.5", since(v319),
			"A privileged request needs the capability also in the credentials of whoever opened the socket, unless it was "+
				"sent with an explicit address. TX-ring messages never count as sent with an address.").
			With("2d7a85f4b06e (3.16)", ""),
		kernel.Switch(&d.Opts8To10, "opts-8-10", "1.2", since(v44),
			"The socket options NETLINK_LISTEN_ALL_NSID, NETLINK_LIST_MEMBERSHIPS and NETLINK_CAP_ACK exist.").With("", ""),
		kernel.Switch(&d.RingCloseLocking, "ring-close-locking", "2.2", until(v319),
			"The destructor of a socket takes pg_vec_lock to clear its rings.").
			With("0470eb99b472 (4.2, 4.1.18)", "nothing"),
		kernel.Switch(&d.SockFreeRCU, "sock-free-rcu", "3.4", since(v41),
			"The last reference to a released socket goes after an RCU grace period.").With("21e4902aea80 (4.0)", "nothing"),
		kernel.Switch(&d.BcastNSID, "bcast-nsid", "7.7", since(v44),
			"A socket with NETLINK_LISTEN_ALL_NSID gets group messages of other network namespaces.").
			With("4.2", "nothing"),
		kernel.Choice(&d.TapCopy, "tap-copy", "13.6", []string{"none", "clone", "full"},
			[...]TapCopy{TapNone, TapClone, TapFull, TapFull, TapFull},
			"What a tap (nlmon) gets of a message that is built in a frame: there are no taps (none), a clone whose "+
				"bookkeeping lies in the next frame (tap-copy-clone), or a copy of the whole room (tap-copy-whole).").
			With("bcbde0d449ed (3.11), 1853c9496460 (4.3, 4.1.18)", ""),
		kernel.Switch(&d.ProcDumpPointer, "proc-dump-pointer", "13.5", only(v310),
			"/proc/net/netlink shows a running dump as a kernel pointer, none as (null), instead of 1 and 0.").
			With("16b304f3404f (3.12)", ""),
		kernel.Switch(&d.ProcRowsRepeat, "proc-rows-repeat", "13.5", only(v319),
			"A read of /proc/net/netlink shows sockets twice.").With("", ""),
		kernel.Switch(&d.AutobindRandom, "autobind-rover", "15.3", since(v44),
			"When the process id is taken, autobind starts its search at a random negative number in each call. Without it it "+
				"counts down from -4097, for all sockets together.").With("", ""),
		kernel.Switch(&d.BindFailedPortid, "bind-failed-portid", "15.3", since(v41),
			"A bind that fails with EADDRINUSE leaves the refused number as the socket's portid.").With("", ""),
		kernel.Switch(&d.UreleaseUnbound, "urelease-unbound", "15.6", only(v41, v44),
			"Closing a socket that kept the portid of a failed bind announces the release of that portid: nfnetlink_queue and "+
				"nfnetlink_log destroy the instances of the rightful owner.").With("", ""),
		kernel.Switch(&d.ConnectPortidCap, "connect-portid-cap", "15.5", since(v319),
			"connect to a portid needs the permission to send, not only connect to a group.").With("", ""),
		kernel.Switch(&d.BindHook, "genl-bind-enoent", "13.2, 15.5", since(v319),
			"Protocols are asked when a group is joined: generic netlink refuses a group that no family owns with ENOENT.").
			With("", ""),
	}
}
