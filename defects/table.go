package defects

import "nlmmap/kernel"

// All returns the defects in the order of the spec.
func All() []Defect {
	const (
		v310 = kernel.Linux3_10
		v319 = kernel.Linux3_19
		v41  = kernel.Linux4_1
		v44  = kernel.Linux4_4
		v45  = kernel.Linux4_5
	)
	all, notIn41 := Releases(kernel.Releases()), Releases{v310, v319, v44, v45}
	return []Defect{
		{
			Name: "tx-in-place", Section: "3.1", Kind: Deterministic, In: Releases{v310},
			Title:    "TX frames are used where they lie",
			File:     "tx-in-place",
			Explored: "tx-shared-memory",
			History:  "introduced by 5fd96123ee19 (3.10), fixed by 4682a0358639 (3.19): always copy",
			Story: "A request in the TX ring that goes to the kernel is not copied if nobody else seems to have the ring: at " +
				"most two references to the file, at most one mapping. The sender can still write the frame while, and after, " +
				"the kernel checked it. A dump keeps reading its request from the frame, so rewriting the sequence number " +
				"after the send changes all later messages of the answer.",
		},
		{
			Name: "dump-nlh-in-frame", Section: "3.1", Kind: Deterministic, In: Releases{v310},
			Title:   "A dump keeps its request in the TX frame",
			File:    "tx-in-place",
			History: "with tx-in-place",
			Story: "The part of tx-in-place that outlives the call: sequence number, type, flags and filter of a running dump " +
				"are read from a frame that userspace owns again, and that goes away with the ring.",
		},
		{
			Name: "tx-len-reread", Section: "3.1", Kind: Concurrency, In: Releases{v310},
			Title:    "Lengths are read again after they were checked",
			Explored: "tx-second-thread",
			History:  "5fd96123ee19 (3.10), fixed by 4682a0358639 (3.19)",
			Story: "nm_len of a TX frame, and nlmsg_len of a message processed in place, are read from shared memory several " +
				"times. A writer in another thread, or one that evades the test for exclusive use, makes the kernel write " +
				"behind a buffer by the difference of two reads.",
		},
		{
			Name: "tx-fib-lookup-resend", Section: "3.2", Kind: Deterministic, In: Releases{v310},
			Title:   "FIB_LOOKUP answers into the TX ring",
			File:    "tx-fib-lookup-resend",
			History: "3.10 to 3.18, ended by 4682a0358639 (3.19)",
			Story: "The FIB lookup service clones the request and sends the clone back. The clone of a request processed in " +
				"place still counts as a message built in a ring frame, so it is delivered into the header of the TX frame, " +
				"and the bookkeeping of clones is written into the next TX frame. The frame is then given back twice: the " +
				"count of frames in flight becomes -1, the ring can never be changed again, and the socket loses a reference " +
				"that it did not have.",
		},
		{
			Name: "set-status-barrier", Section: "3.3", Kind: WeakMemory, In: Releases{v310},
			Title:    "The status of a frame may overtake its data",
			Explored: "reader-and-ack",
			History:  "fixed by a18e6a186f53 (3.19)",
			Story: "The status word is stored first and the write barrier follows, so a reader that sees VALID can read an old " +
				"length or old data, and a writer that sees UNUSED can change bytes that the kernel still reads.",
		},
		{
			Name: "sk-err-negative", Section: "3.4", Kind: Deterministic, In: Releases{v310},
			Title:   "A failed dump is reported as 105 received bytes",
			File:    "sk-err-negative",
			History: "introduced by b44d211e166b, fixed by ac30ef832e6a (3.16)",
			Story: "A dump continuation that fails leaves -ENOBUFS in the socket's error instead of ENOBUFS. The next recvmsg " +
				"negates it and returns 105, as if 105 bytes had come, with an untouched buffer; or SO_ERROR gives -105.",
		},
		{
			Name: "nf-init-net", Section: "3.5", Kind: Deterministic, In: Releases{v310},
			Title:   "Packets of other namespaces never use the ring",
			File:    "nf-init-net",
			History: "3.10 to 3.12, fixed by 7433268783ed and e817961048ec (3.13)",
			Story: "nfnetlink_queue and nfnetlink_log look for the receiver's ring in the initial network namespace. In any " +
				"other one every packet is queued and announced by a COPY frame; and if a socket with the same portid exists " +
				"in the initial namespace, its frame is taken for a stranger's packet.",
		},
		{
			Name: "tx-iov-first-only", Section: "3.6", Kind: Deterministic, In: Releases{v310, v319},
			Title:   "A NULL first segment hides the others",
			File:    "tx-iov-first-only",
			History: "since 3.10, fixed by a8866ff6a5bc (4.0)",
			Story: "Whether a send uses the TX ring is decided by the base of the first segment alone. A program that gathers a " +
				"message from several segments, the first of them empty, sends whatever lies in the ring, and its own message " +
				"is lost.",
		},
		{
			Name: "tx-path-dead", Section: "3.7", Kind: Deterministic, In: Releases{v41},
			Title:   "The TX ring is never read",
			File:    "tx-path-dead",
			History: "introduced by a8866ff6a5bc (4.0), fixed by c953e23936f9 (4.3)",
			Story: "The test for a send without buffer compares the iterator's type with a value it cannot have. Such a send is " +
				"an ordinary send of an empty message, returns 0, and nobody is told that the ring was not looked at.",
		},
		{
			Name: "skip-forward-broken", Section: "3.8", Kind: Deterministic, In: Releases{v310, v319, v41},
			Title:    "A SKIP frame blocks the ring",
			File:     "skip-forward-broken",
			Explored: "skipping-reader",
			History:  "since 3.10, fixed by 7084a315 (4.3)",
			Story: "Readers may mark frames SKIP to keep them, and the kernel should pass over them. Its search looks at the " +
				"same frame in every round, so one SKIP frame at the kernel's position loses every message until the reader " +
				"releases it.",
		},
		{
			Name: "poll-prev-frame", Section: "3.9", Kind: Deterministic, In: Releases{v310, v319, v41},
			Title:   "poll looks at one frame only",
			File:    "poll-prev-frame",
			History: "since 3.10, fixed by 0ef70770 (4.3)",
			Story: "poll reports IN exactly if the frame before the kernel's position is not UNUSED. Older messages are missed " +
				"once the newest was released, and a frame that the reader keeps makes poll return at once for ever.",
		},
		{
			Name: "poll-walk-always", Section: "3.10", Kind: CostOrLog, In: nil,
			Title:   "The ring is scanned although messages are queued",
			Outside: "in none of the five kernels",
			History: "fixed by a66e3656 (4.3)",
			Story: "Between two commits of the 4.3 cycle poll scanned the ring even when the receive queue alone decided. It " +
				"cost time only.",
		},
		{
			Name: "nfq-frag-overflow", Section: "3.11", Kind: Deterministic, In: Releases{v310, v319, v41},
			Title:   "Page fragments of a packet overwrite the next frame",
			File:    "nfq-frag-overflow",
			History: "introduced by ae08ce002108 (3.10), fixed by 6bb0fef489f6 (4.3)",
			Story: "The frame for a queued packet is chosen by the size of the part that is copied. If the rest of the packet " +
				"does not fit, its page fragments are attached, and the table of fragments begins behind the frame: their " +
				"number overwrites the lowest byte of the next frame's status, and each one writes 16 bytes, among them a " +
				"kernel address, at offset 48 of that frame. The reader sees a length larger than the frame, and the data is " +
				"not there.",
		},
		{
			Name: "tap-copy-clone", Section: "3.12", Kind: Deterministic, In: Releases{v319},
			Title:   "Taps clone messages that lie in frames",
			File:    "tap-copy-clone",
			History: "introduced by bcbde0d449ed (3.11), fixed by 1853c9496460 (4.3, 4.1.18)",
			Story: "A tap (nlmon) gets a clone of a message built in a frame. The count of clones lies behind the data, in the " +
				"next frame: 1 is added to the word at offset 32 of it. If the word was 0 the kernel frees the ring's page " +
				"when the clone goes, and crashes.",
		},
		{
			Name: "rcu-release-mutex", Section: "3.13", Kind: CostOrLog, In: nil,
			Title:   "A mutex is taken in an RCU callback",
			Outside: "in none of the five kernels",
			History: "introduced by 21e4902aea80 (4.0), fixed by 0470eb99b472 (4.2, 4.1.18)",
			Story: "Releasing a ring socket from an RCU callback took a mutex where sleeping is not allowed. It left a warning " +
				"in the log.",
		},
		{
			Name: "dump-reserve-in-frame", Section: "3.14", Kind: Deterministic, In: Releases{v319, v41, v44},
			Title:   "Dump messages are moved inside their frames",
			File:    "dump-reserve-in-frame",
			History: "9063e21fb026 (3.15), made general by db65a3aaf29e (4.4, 4.1.18), fixed by aa3a022094fa (4.5)",
			Story: "So that receivers with small buffers do not get truncated messages, the start of a dump message is moved " +
				"until exactly the size asked for remains. In a ring frame the whole room is free, so the message begins " +
				"somewhere in the middle while the reader looks at the beginning and finds whatever lay there before: zeros, " +
				"or an old message. In 3.19.8 it happens only for messages whose size was learned from a large receive " +
				"buffer.",
		},
		{
			Name: "nfnl-batch-null-sk", Section: "3.15", Kind: Deterministic, In: Releases{v44},
			Title:   "A refused netfilter batch kills its sender",
			File:    "nfnl-batch-null-sk",
			History: "introduced by bd678e09dc17 (4.4), fixed by 7c7bdf359 (4.5)",
			Story: "A batch is processed on a clone of the message that has no socket. The error answer looks the receiver's " +
				"ring up through that socket. A batch for a subsystem that knows no batches is enough to crash, with or " +
				"without a ring.",
		},
		{
			Name: "alloc-size-check-first", Section: "3.16", Kind: CostOrLog, In: Releases{v310},
			Title:   "A frame is tried although the message cannot fit",
			Outside: "costs only; the named difference of the same name marks the version with the early test",
			History: "fixed by aae9f0e22c07 (3.14)",
			Story: "The size is compared with the frame only after a buffer head was allocated and the lock was taken. It cost " +
				"time only.",
		},
		{
			Name: "tap-copy-whole", Section: "3.17", Kind: Deterministic, In: Releases{v41, v44, v45},
			Title:   "Taps see the whole frame",
			File:    "tap-copy-whole",
			History: "since 1853c9496460 (4.3, 4.1.18)",
			Story: "The copy of a frame-built message that a tap gets has the length of the frame's room, not that of the " +
				"message: a packet socket reads what is left of older messages.",
		},
		{
			Name: "dump-space-wrap", Section: "4.1", Kind: Deterministic, In: all,
			Title: "Dump flow control looks at the wrong frame after a wrap",
			File:  "dump-space-wrap",
			Story: "A dump goes on if the frame at the kernel's position and the one half a ring ahead are UNUSED. When that " +
				"position wraps around the end it is one too far: here frame 1 is tested where frame 0 should be, so a dump " +
				"stops with room left, or goes on when half the ring is not free.",
		},
		{
			Name: "copy-ignores-skip", Section: "4.2", Kind: Deterministic, In: all,
			Title: "Queued messages and dumps do not pass SKIP frames",
			File:  "copy-ignores-skip",
			Story: "Only messages built in frames pass over SKIP frames. A queued message that finds one at the kernel's " +
				"position is dropped, and a dump stops there without an error.",
		},
		{
			Name: "copy-drop-reported-sent", Section: "4.3", Kind: Deterministic, In: all,
			Title: "A dropped message counts as sent",
			File:  "copy-drop-reported-sent",
			Story: "When no frame is left for a queued message it is freed, but the sender is told its length. Only the " +
				"receiver's error and its count of drops know.",
		},
		{
			Name: "copy-header-after-unlock", Section: "4.4", Kind: Concurrency, In: all,
			Title:    "The header of a COPY frame is written after the lock was dropped",
			Explored: "copy-and-reader",
			Story: "The message is queued, the lock is dropped, then the frame's header is written. In between another task can " +
				"receive the message, fill later frames, take the same frame again, or remove the ring.",
		},
		{
			Name: "dump-copy-when-connected", Section: "4.5", Kind: Deterministic, In: all,
			Title: "Connected sockets get dumps beside the ring",
			File:  "dump-copy-when-connected",
			Story: "A dump message is allocated as if the socket had sent it to itself. A socket that is connected to the kernel " +
				"does not accept messages from itself, so no frame is used; acknowledgements go into the ring as before.",
		},
		{
			Name: "dump-recvlen", Section: "4.6", Kind: Deterministic, In: Releases{v319, v41, v44, v45},
			Title:   "A large receive moves dumps out of the ring",
			File:    "dump-recvlen",
			History: "since 9063e21fb026 (3.15)",
			Story: "The socket remembers the largest buffer it received with, and dumps ask for messages of that size. If that " +
				"is more than a frame holds every later dump message is queued.",
		},
		{
			Name: "recv-drives-dump", Section: "4.7", Kind: Deterministic, In: all,
			Title: "recvmsg continues a dump without looking at the ring",
			File:  "recv-drives-dump",
			Story: "poll continues a dump only while frames are free. recvmsg, even with MSG_PEEK, continues it in any case: " +
				"every receive fills one more frame, and when none is left a message is lost.",
		},
		{
			Name: "dump-start-full-ring", Section: "4.8", Kind: Deterministic, In: all,
			Title: "A dump starts on a full ring and gets stuck",
			File:  "dump-start-full-ring",
			Story: "The first message of the dump finds no frame, but the dump stays installed. The error answer finds none " +
				"either. Once frames are free a second request is refused as busy, and poll then delivers the first dump.",
		},
		{
			Name: "ring-removed-mid-dump", Section: "4.9", Kind: Deterministic, In: all,
			Title: "A dump stalls when its ring is removed",
			File:  "ring-removed-mid-dump",
			Story: "poll continues dumps only for sockets with a ring, and recvmsg only after it received something. After the " +
				"ring is gone nothing comes until some other message arrives.",
		},
		{
			Name: "pollout-constant", Section: "4.10", Kind: Deterministic, In: all,
			Title: "OUT says nothing about the TX ring",
			File:  "pollout-constant",
			Story: "poll reports OUT while half of the send buffer is free, which for netlink it always is. Waiting for a free " +
				"TX frame, as the documentation has it, is not possible.",
		},
		{
			Name: "tx-error-loses-progress", Section: "4.11", Kind: Deterministic, In: notIn41,
			Title:    "An error in the TX ring loses what was done",
			File:     "tx-error-loses-progress",
			Explored: "tx-refill",
			Story: "A frame with a bad length stops the call with EINVAL although earlier frames were sent, and stays there, so " +
				"that every later call fails too. A message that cannot be delivered is consumed and lost, with the count of " +
				"those before it. And a second thread that keeps filling keeps the sender in the kernel.",
		},
		{
			Name: "cap-opener", Section: "4.12", Kind: Deterministic, In: Releases{v319, v44, v45},
			Title:   "The TX ring loses the mark of an explicit address",
			File:    "cap-opener",
			History: "since 2d7a85f4b06e (3.16)",
			Story: "A privileged request needs the capability in the credentials of whoever opened the socket too, unless it was " +
				"sent with an explicit address. TX-ring messages never count as such, so a request that works with a buffer " +
				"is refused through the ring.",
		},
		{
			Name: "diag-mutex-atomic", Section: "4.13", Kind: Deterministic, In: notIn41,
			Title: "Socket diagnostics sleep under a spin lock",
			File:  "diag-mutex-atomic",
			Story: "Statistics with ring figures take each socket's ring mutex while the table of sockets is locked. A " +
				"statistics request sent through the TX ring of its own socket waits for a mutex that the sender holds: the " +
				"task hangs for ever, with the table locked.",
		},
		{
			Name: "diag-ring-figures", Section: "4.14", Kind: Deterministic, In: all,
			Title: "Statistics of rings that do not exist",
			File:  "diag-ring-figures",
			Story: "The number of frames is reported as the last index plus one, so a ring that was never configured has one " +
				"frame. After a removal the figures of the removal request are reported.",
		},
		{
			Name: "set-ring-purges-queue", Section: "4.15", Kind: Deterministic, In: all,
			Title: "Ring requests throw unread messages away",
			File:  "set-ring-purges-queue",
			Story: "Every successful ring request empties the queue of its direction, removal of a ring that does not exist " +
				"included.",
		},
		{
			Name: "set-ring-races", Section: "4.16", Kind: Concurrency, In: all,
			Title:    "Set-up and removal race with delivery",
			Explored: "ring-torn-down",
			Story: "The counts that should forbid changes of a ring are tested before the lock is taken. A message being built " +
				"meanwhile is delivered into freed pages, and poll, sends and deliveries use the block table without testing " +
				"it again.",
		},
		{
			Name: "ring-size-arithmetic", Section: "4.17", Kind: Deterministic, In: all,
			Title: "Sizes that are accepted and surprise",
			File:  "ring-size-arithmetic",
			Story: "A block of 12288 bytes is accepted and 16384 are allocated; frames that do not divide a block leave a gap, " +
				"so that adding the frame size modulo the ring size, as the documentation has it, misses frames; a frame of " +
				"24 bytes has no room, and every message is queued.",
		},
		{
			Name: "valid-len-zero", Section: "4.18", Kind: Deterministic, In: all,
			Title: "Frames without a message",
			File:  "valid-len-zero",
			Story: "A frame that was taken for a message that is then not delivered is published with length 0, without a " +
				"wake-up; the rest of its header and its data is old. Here a socket filter drops one acknowledgement and " +
				"trims another.",
		},
		{
			Name: "ring-lock-order", Section: "4.19", Kind: Concurrency, In: all,
			Title:   "Lock order of mmap and send",
			Outside: "the cycle closes only through copies from user memory under the same mutexes elsewhere in a kernel; the order itself is watched (lock-order)",
			Story: "mmap takes the address space, then the ring's mutex; a send holds the ring's mutex and takes subsystem " +
				"mutexes, under which others copy from user memory. A deadlock is possible in principle, and mmap waits " +
				"without limit while a send blocks.",
		},
		{
			Name: "dead-ring-oops", Section: "4.20", Kind: Concurrency, In: all,
			Title:    "Delivery to a socket that is being closed",
			Explored: "close-under-delivery",
			Story: "Delivery translates user ids with the credentials of the socket's file, which a socket that is being closed " +
				"does not have any more: the kernel crashes.",
		},
		{
			Name: "ovs-notify-ring-skb", Section: "4.21", Kind: Elsewhere, In: Releases{v319, v41, v44, v45},
			Title:   "openvswitch notifications are built in ring frames",
			Outside: "openvswitch is not modelled",
			History: "since 3.14",
			Story: "A notification is allocated for the requester, perhaps in its ring, and then sent to a group: the frame is " +
				"published empty, and the kernel writes a header to address -24.",
		},
		{
			Name: "ovs-upcall-zerocopy", Section: "4.22", Kind: Elsewhere, In: Releases{v319, v41, v44, v45},
			Title:   "openvswitch upcalls attach fragments",
			Outside: "openvswitch is not modelled",
			History: "bda56f143c9d (3.14)",
			Story:   "As nfq-frag-overflow, for packets that openvswitch sends up.",
		},
		{
			Name: "get-status-barrier", Section: "4.23", Kind: WeakMemory, In: all,
			Title:    "The barrier before a status is read",
			Explored: "tx-writer",
			Story: "The read barrier stands before the load of the status, so after VALID was seen the loads of length and data " +
				"may be older.",
		},
		{
			Name: "flush-dcache-arithmetic", Section: "4.24", Kind: Elsewhere, In: all,
			Title:   "Cache flushing runs past the frame",
			Outside: "no effect on x86",
			Story:   "On architectures that flush the data cache explicitly the loop over a frame's pages advances too far.",
		},
		{
			Name: "reserved-frame-busy-poll", Section: "4.25", Kind: Deterministic, In: all,
			Title: "A kept frame makes poll spin",
			File:  "reserved-frame-busy-poll",
			Story: "A reader that keeps one frame RESERVED while later ones are VALID gets IN at once, always. And a frame that " +
				"it sets RESERVED at the kernel's position makes the next message an overrun.",
		},
		{
			Name: "nfq-id-order", Section: "4.26", Kind: Concurrency, In: all,
			Title:    "Packet ids out of frame order",
			Explored: "nfqueue-two-cpus",
			Story: "The frame of a queued packet is chosen when the message is built, its id later under the queue lock. With " +
				"two CPUs ids are out of frame order, and a batch verdict hits packets that the reader has not seen.",
		},
		{
			Name: "congested-sticks", Section: "4.27", Kind: Deterministic, In: all,
			Title: "Congestion outlasts its cause",
			File:  "congested-sticks",
			Story: "After an overrun the socket counts as congested until it polls or receives. Until then every further message " +
				"from another socket is refused although the ring is free again, and further overruns are only counted.",
		},
		{
			Name: "copy-frame-queue-skew", Section: "4.27", Kind: Deterministic, In: all,
			Title: "Queue and ring out of step",
			File:  "copy-frame-queue-skew",
			Story: "Nothing ties a COPY frame to its message. A reader that gets the pending error instead of the message and " +
				"releases the frame pairs every later COPY frame with the message before.",
		},
		{
			Name: "frame-pid-is-process", Section: "4.28", Kind: Deterministic, In: all,
			Title: "nm_pid is a process id",
			File:  "frame-pid-is-process",
			Story: "The frame header has the id of the sending process where the documentation says the sender's portid, which " +
				"is nowhere; nm_uid is the real user id.",
		},
		{
			Name: "ring-opts-unreadable", Section: "4.29", Kind: Deterministic, In: all,
			Title: "Ring options cannot be read",
			File:  "ring-opts-unreadable",
			Story: "getsockopt does not know the ring options: a program that receives a descriptor cannot learn the layout of " +
				"its rings.",
		},
		{
			Name: "mapping-rules", Section: "4.30", Kind: Deterministic, In: all,
			Title: "What counts as a mapping",
			File:  "mapping-rules",
			Story: "The ring can be changed only when no mapping is left, and what counts are kernel mappings: a split counts " +
				"twice, and half of a mapping still counts. A private mapping is accepted and detaches from the ring at the " +
				"first write.",
		},
		{
			Name: "copy-dump-untrimmed", Section: "4.31", Kind: Deterministic, In: Releases{v45},
			Title:   "Queued dump messages are larger than asked for",
			File:    "copy-dump-untrimmed",
			History: "aa3a022094fa (4.5)",
			Story: "The fix of dump-reserve-in-frame asks whether the socket has a ring, not whether the message lies in it. " +
				"Queued dump messages of such sockets fill their whole buffer, and are truncated by a receiver that asks for " +
				"less.",
		},
		{
			Name: "nflog-small-frames-copy", Section: "4.32", Kind: Deterministic, In: all,
			Title: "nflog needs frames of a page",
			File:  "nflog-small-frames-copy",
			Story: "nfnetlink_log asks for at least 3776 bytes, so with smaller frames every packet is queued.",
		},
		{
			Name: "nflog-pending-ebusy", Section: "4.32", Kind: Deterministic, In: all,
			Title: "An open log batch holds the ring",
			File:  "nflog-pending-ebusy",
			Story: "A batch that waits for its threshold keeps its frame RESERVED, up to a second. Until then the ring cannot be " +
				"changed, and an in-order reader waits. (In 3.10.4 outside the initial namespace no frame is taken, see " +
				"nf-init-net.)",
		},
		{
			Name: "nflog-double-drop", Section: "4.32", Kind: Deterministic, In: all,
			Title: "A lost log message counts twice",
			File:  "nflog-double-drop",
			Story: "When the ring is full the allocation is tried a second time, with the smallest size, and each attempt counts " +
				"a drop.",
		},
		{
			Name: "nflog-done-room", Section: "4.32", Kind: Deterministic, In: Releases{v310},
			Title:   "A log batch without room for its end is never sent",
			Outside: "it needs a log prefix of some length, which the rules of the scenario language do not have",
			History: "fixed by 3.19",
			Story: "No room is kept for the message that ends a batch. If a batch fills its frame exactly it stays RESERVED for " +
				"ever, and the instance logs nothing more.",
		},
		{
			Name: "ack-lost-full-ring", Section: "4.33", Kind: Deterministic, In: all,
			Title: "An acknowledgement is lost for good",
			File:  "ack-lost-full-ring",
			Story: "An acknowledgement that finds no frame is not queued and not repeated. The send succeeds; the error is set " +
				"even if the program asked for NETLINK_NO_ENOBUFS.",
		},
		{
			Name: "epollet-stalls-dump", Section: "4.35", Kind: Deterministic, In: all,
			Title: "Edge-triggered epoll stalls a dump",
			File:  "epollet-stalls-dump",
			Story: "Dump messages are made inside poll, and releasing a frame is no event. Edge-triggered epoll never asks " +
				"again, so the dump stands still until somebody polls.",
		},
		{
			Name: "tx-dump-copy-shinfo", Section: "4.36", Kind: Elsewhere, In: Releases{v310},
			Title:   "The copy of a dump request takes fields from the next frame",
			Outside: "it has no effect that anybody could see",
			Story: "A dump request that is processed in place is copied together with the fields behind its data, which lie in " +
				"the next TX frame. Nobody reads them.",
		},
		{
			Name: "destructor-put-before-rfree", Section: "4.37", Kind: Concurrency, In: all,
			Title:   "The socket reference is dropped too early",
			Outside: "the model reports no use of a socket between these two steps",
			Story: "The destructor of a message in a frame drops its reference to the socket before it gives the memory charge " +
				"back: a use after free if it was the last one.",
		},
		{
			Name: "dump-done-softirq", Section: "4.38", Kind: Concurrency, In: Releases{v41, v44, v45},
			Title:   "A dump's end is called in softirq",
			Outside: "no dump of the model has a hook that may not run there",
			History: "fixed after removal by 707693c8a498 (4.9)",
			Story:   "A socket closed with a running dump calls the dump's done hook from an RCU callback.",
		},
		{
			Name: "ring-dump-ignores-rcvbuf", Section: "4.39", Kind: Deterministic, In: all,
			Title: "A dump exceeds the receive buffer",
			File:  "ring-dump-ignores-rcvbuf",
			Story: "With frames too small for dump messages one poll queues a message for each frame, whatever the receive " +
				"buffer allows. Afterwards the socket is over its limit: group messages are dropped and others refused.",
		},
		{
			Name: "tx-ignores-sndbuf", Section: "4.40", Kind: Deterministic, In: notIn41,
			Title: "The TX ring ignores the send buffer",
			File:  "tx-ignores-sndbuf",
			Story: "The size of a message is compared with the send buffer only after the branch to the TX ring: what is refused " +
				"with a buffer goes through the ring.",
		},
		{
			Name: "fault-anon", Section: "4.41", Kind: Deterministic, In: Releases{v310, v319},
			Title:   "Ring pages that were thrown away come back as others",
			File:    "fault-anon",
			History: "fixed by 6b7339f4c31a (4.2, CVE-2015-3288)",
			Story: "Ring mappings have no fault handler. After MADV_DONTNEED the next read maps the page of zeros that all " +
				"processes see, writable, and a write then changes it for everybody. Kernel and reader no longer share the " +
				"frame. Later kernels send SIGBUS.",
		},
		{
			Name: "frame-writable-while-built", Section: "4.42", Kind: Elsewhere, In: all,
			Title:   "Frames are writable while they are built",
			Outside: "no effect beyond the message was found",
			Story: "The kernel reads some values back from a frame that userspace can write, while it builds a message there. " +
				"They only flow into the same message, and a socket filter can be cheated.",
		},
	}
}
