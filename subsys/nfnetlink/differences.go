package nfnetlink

import "nlmmap/kernel"

// Differences are the named differences of NETLINK_NETFILTER. Table documents each field.
type Differences struct {
	InitNet             bool
	EpermOnce           bool
	Batch               bool
	BatchBothOrders     bool
	BatchNullSk         bool
	BatchAbortMalformed bool
}

// Table lists the differences, bound to d's fields.
func (d *Differences) Table() []kernel.Difference {
	only, since := kernel.Only, kernel.Since
	const (
		v310 = kernel.Linux3_10
		v319 = kernel.Linux3_19
		v41  = kernel.Linux4_1
		v44  = kernel.Linux4_4
		v45  = kernel.Linux4_5
	)
	return []kernel.Difference{
		kernel.Switch(&d.InitNet, "nf-init-net", "12.4", only(v310),
			"Messages of nfnetlink_queue and nfnetlink_log are built in the ring of the socket that has the receiver's "+
				"portid in the initial network namespace. In another namespace they are therefore queued, or appear in a "+
				"stranger's ring.").
			With("fixed by 7433268783ed (3.13)", ""),
		kernel.Switch(&d.EpermOnce, "nfnl-eperm-once", "12.1", since(v319),
			"A sender without CAP_NET_ADMIN gets one EPERM for the first message of a send, and the rest is ignored. "+
				"Without it each message gets its own.").With("", ""),
		kernel.Switch(&d.Batch, "nfnl-batch", "12.1, 12.2", since(v319),
			"A send that begins with a message of type 0x10 is a batch for one subsystem, and nf_tables exists. Without it "+
				"the type is refused with EINVAL.").With("3.13", ""),
		kernel.Switch(&d.BatchBothOrders, "nfnl-batch-order", "12.2", since(v41),
			"The subsystem of a batch is big-endian, and 10 in host order is accepted too. Without it, it is in host "+
				"order.").With("", ""),
		kernel.Switch(&d.BatchNullSk, "nfnl-batch-null-sk", "12.2", only(v44),
			"A batch for a subsystem that takes none is answered on behalf of a null pointer: the sender is killed.").
			With("introduced by bd678e09dc17 (4.4), fixed by 7c7bdf359 (4.5)", ""),
		kernel.Switch(&d.BatchAbortMalformed, "nfnl-batch-abort-malformed", "12.2", only(v45),
			"A message with a wrong length ends a batch, and none of its messages is answered. Without it the message gets "+
				"EINVAL and the batch goes on.").With("4.5", ""),
	}
}
