package invariant

import (
	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/ringmm"
)

// list has all invariants: first those of the kernel, then those of programs, then what ends a run.
var list = []Invariant{
	{
		Name:      "frame-ownership",
		Statement: "The kernel takes only frames that are free, and no two messages share a frame.",
		Why:       "A frame that is written for two messages shows the reader a mixture, or hides one of them.",
		Checked:   "at every frame that the kernel takes or publishes, against what programs have stored in its status",
		on:        frameOwnership,
		hears:     events{afnetlink.ClaimEvent{}, afnetlink.PublishEvent{}},
	},
	{
		Name: "publication",
		Statement: "What a program reads in a frame that it has is what the kernel published: header and message, until it " +
			"releases the frame or writes to it.",
		Why: "The status word is all that tells a reader that the rest of the frame is complete.",
		Checked: "at every load of a header word or of message bytes by any task, against what the kernel published last; and at every " +
			"load of a status that shows a frame ready, and at rest, for every word and every byte of the frame",
		on:    publication,
		hears: events{kernel.AccessEvent{}},
		rest:  readyFrames,
	},
	{
		Name: "no-silent-loss",
		Statement: "Every message that was handed to a socket is published in a frame, queued, or counted as lost; and none " +
			"is received twice.",
		Why: "A reader that was told of a loss can ask again; one that was not waits for ever or acts on half of the truth.",
		Checked: "at every recvmsg; at rest for messages that were handed over, against the queue, and for messages without " +
			"room, against the socket's count of drops",
		on:    receivedOnce,
		hears: events{afnetlink.ReceiveEvent{}},
		rest:  nothingLost,
	},
	{
		Name: "order",
		Statement: "Frames are taken in ring order, passing over none but those that a program kept; a queue gives the messages " +
			"of one task in the order in which it sent them; the packets of a queue lie in the ring in the order of their ids.",
		Why:     "Readers follow the ring, and apply changes one after the other.",
		Checked: "at every frame that the kernel takes, at every recvmsg, and at every frame with a queued packet",
		on:      order,
		hears:   events{afnetlink.ClaimEvent{}, afnetlink.ReceiveEvent{}, afnetlink.PublishEvent{}},
	},
	{
		Name: "copy-pairs",
		Statement: "A COPY frame announces a message that waits in the queue, with its length, and the queue gives announced " +
			"messages in the order of their frames.",
		Why:     "Frame header and message are tied by order only.",
		Checked: "at every COPY frame that the kernel publishes and at every recvmsg",
		on:      copyPairs,
		hears:   events{afnetlink.PublishEvent{}, afnetlink.ReceiveEvent{}},
	},
	{
		Name:      "pending",
		Statement: "At rest, the number of frames that the kernel says it holds is the number it has reserved.",
		Why:       "The number decides whether the ring can be changed.",
		Checked:   "at rest, for both rings of every socket",
		rest:      pending,
	},
	{
		Name: "accounting",
		Statement: "A socket is charged for the messages in its queue, those that are being built for it and the requests of dumps that " +
			"go on, and no others; when all tasks have ended nothing is left: no socket, message, reference, mapping, page or charge.",
		Why:     "A leak in a kernel lasts until the next boot.",
		Checked: "at rest, when the machine is closed, and at every warning of the model",
		on:      warnings,
		hears:   events{kernel.Warning{}, kernel.Corruption{}},
		rest:    charges,
	},
	{
		Name:      "mapped",
		Statement: "At rest, the number of mappings that the kernel counts is the number of live mappings.",
		Why:       "A ring that is freed while it is mapped gives userspace memory that belongs to others.",
		Checked:   "at rest, for every socket",
		rest:      mapped,
	},
	{
		Name:      "dump-complete",
		Statement: "A dump shows no entry twice, unless it is one of sockets, which has two lists of them, has nothing behind its DONE and no more than one, and does not end without it.",
		Why:       "That is what a dump is for.",
		Checked:   "at every message of a dump and at its end; that no entry is missing only programs know that count them",
		on:        dumpComplete,
		hears:     events{afnetlink.DumpStepEvent{}},
	},
	{
		Name:      "dump-overrun",
		Statement: "poll continues a dump only while the frame for its next message is free.",
		Why:       "Flow control is the point of dumps that are continued by poll.",
		Checked:   "at every message of a dump for which there was no frame, if the frame was taken before poll looked",
		on:        dumpOverrun,
		hears:     events{kernel.SyscallEvent{}, afnetlink.LossEvent{}},
	},
	{
		Name: "tx-once",
		Statement: "A TX frame that a program made VALID is sent once, in ring order, and released once; a send ends at the frame " +
			"behind the last one.",
		Why: "A request that runs twice, or never, is not what was asked.",
		Checked: "at every TX frame that the kernel sends or releases, at the end of every send, and at rest; what a task still has in " +
			"its store buffer counts as made when it sends it itself",
		on:    txOnce,
		hears: events{afnetlink.TxEvent{}, ringmm.FrameEvent{}, afnetlink.TxEndEvent{}},
		rest:  txReleased,
	},
	{
		Name:      "tx-bounded",
		Statement: "One send processes at most as many frames as the TX ring has.",
		Why:       "A call that others can prolong at will holds its locks for ever.",
		Checked:   "at every TX frame that the kernel sends",
		on:        txBounded,
		hears:     events{afnetlink.TxEvent{}},
	},
	{
		Name: "validated-is-executed",
		Statement: "What the kernel sends of a TX frame is the message that was there when it became VALID, as long as nobody " +
			"wrote to it since; and has the length that was checked, whoever did.",
		Why:     "A length that changes between check and use is a buffer overflow.",
		Checked: "at every TX frame that the kernel sends",
		on:      validatedIsExecuted,
		hears:   events{afnetlink.TxEvent{}},
	},
	{
		Name:      "integrity",
		Statement: "The kernel damages none of its memory and never crashes.",
		Why:       "Whatever a program does, only the program may suffer.",
		Checked:   "at every damage and crash that the model reports; the defect that it names is to blame",
		on:        integrity,
		hears:     events{kernel.Corruption{}, kernel.Oops{}},
	},
	{
		Name:      "memory",
		Statement: "No access of the kernel goes outside a ring or to one that was removed.",
		Why:       "It would be somebody else's memory.",
		Checked:   "at every access to ring memory; at rest for the position of each ring",
		on:        memory,
		hears:     events{kernel.Corruption{}},
		rest:      heads,
	},
	{
		Name:      "lock-order",
		Statement: "No two classes of locks are taken in both orders.",
		Why:       "Two tasks that do so at the same time wait for each other for ever.",
		Checked:   "at every lock",
		on:        lockOrder,
		hears:     events{kernel.LockOrder{}},
	},
	{
		Name:      "release-own",
		ByProgram: true,
		Statement: "A program gives back only a frame that it has: one that it saw to be ready, or one that it kept. While the " +
			"kernel holds a frame nobody else writes to it.",
		Why:     "Released twice, the frame may be the next message's already.",
		Checked: "at every store to an RX frame, when it becomes visible",
		on:      releaseOwn,
		hears:   events{kernel.AccessEvent{}},
	},
	{
		Name:      "read-own",
		ByProgram: true,
		Statement: "A task reads header and message of an RX frame only between a load of the status of its own that showed the " +
			"frame ready, and the release.",
		Why:     "Before, the message may not be visible yet; after, it may be the next one.",
		Checked: "at every load of an RX frame beyond its status",
		on:      readOwn,
		hears:   events{kernel.AccessEvent{}},
	},
	{
		Name:      "read-length",
		ByProgram: true,
		Statement: "A task reads as much of a message as nm_len says, which it has loaded since it has the frame.",
		Why:       "A length that it remembers belongs to another message.",
		Checked:   "at every load of message bytes of an RX frame",
		on:        readLength,
		hears:     events{kernel.AccessEvent{}},
	},
	{
		Name:      "copy-received",
		ByProgram: true,
		Statement: "A COPY frame is given back after its message was received.",
		Why:       "Every later COPY frame would be taken for the message before it.",
		Checked:   "at every store of UNUSED to a COPY frame",
		on:        copyReceived,
		hears:     events{kernel.AccessEvent{}},
	},
	{
		Name:      "skip-returned",
		ByProgram: true,
		Statement: "A frame that a program keeps (SKIP) comes back to the kernel before the program ends.",
		Why:       "Before 4.4 the ring stalls at it, later kernels lose what they would copy.",
		Checked:   "at rest after the last step of a program, for every ring that is still mapped",
		rest:      skipReturned,
	},
	{
		Name: "poll",
		Statement: "poll finds a message that is there, and none that is not; who sleeps is woken when what it waits for has come: a " +
			"message, room, an error, the end of the other side.",
		Why: "A lost wake-up is a program that hangs.",
		Checked: "at every look of poll and epoll at a socket, for what was there from its beginning to its end (in weak memory " +
			"for the queue alone); and when all tasks wait for ever: each sleeper looks again, and nothing may be there; no message may wait for a " +
			"sleeping reader",
		on:    pollAnswers,
		hears: events{afnetlink.PollEvent{}},
	},
	{
		Name:      "deadlock",
		Statement: "No task waits for ever for something that nobody will do.",
		Why:       "It cannot be killed.",
		Checked:   "when all tasks wait for ever",
	},
	{
		Name:      "livelock",
		Statement: "Every run ends.",
		Why:       "A task that turns in the kernel for ever cannot be killed either.",
		Checked:   "after 20,000 steps of an exploration",
	},
	{
		Name:      "panic",
		Statement: "The model never panics.",
		Why:       "It is what everything else here rests on.",
		Checked:   "in every run",
	},
	{
		Name:      "assertion",
		ByProgram: true,
		Statement: "What the program itself asserts.",
		Why:       "It knows best.",
		Checked:   "by World.Assert",
	},
}
