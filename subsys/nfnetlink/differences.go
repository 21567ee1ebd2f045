package nfnetlink

import "nlmmap/kernel"

// Differences are the named differences of NETLINK_NETFILTER. Table declares each field.
type Differences struct {
	InitNet             bool
	EpermOnce           bool
	Batch               bool
	BatchBothOrders     bool
	BatchNullSk         bool
	BatchAbortMalformed bool
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
	return []kernel.Difference{
		{
			Name: "nf-init-net", Spec: "12.4",
			Value:   kernel.Switch(&d.InitNet, until(v310)),
			History: "fixed by 7433268783ed (3.13)",
			Text: "Messages of nfnetlink_queue and nfnetlink_log are built in the ring of the socket that has the " +
				"receiver's portid in the initial network namespace. In another namespace they are therefore " +
				"queued, or appear in a stranger's ring.",
		},
		{
			Name: "nfnl-eperm-once", Spec: "12.1",
			Value: kernel.Switch(&d.EpermOnce, since(v319)),
			Text: "A sender without CAP_NET_ADMIN gets one EPERM for the first message of a send, and the rest is " +
				"ignored. Without it each message gets its own.",
		},
		{
			Name: "nfnl-batch", Spec: "12.1, 12.2",
			Value:   kernel.Switch(&d.Batch, since(v319)),
			History: "3.13",
			Text: "A send that begins with a message of type 0x10 is a batch for one subsystem, and nf_tables exists. " +
				"Without it the type is refused with EINVAL.",
		},
		{
			Name: "nfnl-batch-order", Spec: "12.2",
			Value: kernel.Switch(&d.BatchBothOrders, since(v41)),
			Text: "The subsystem of a batch is big-endian, and 10 in host order is accepted too. Without it, it is in " +
				"host order.",
		},
		{
			Name: "nfnl-batch-null-sk", Spec: "12.2",
			Value:   kernel.Switch(&d.BatchNullSk, only(v44)),
			History: "introduced by bd678e09dc17 (4.4), fixed by 7c7bdf359 (4.5)",
			Text: "A batch for a subsystem that takes none is answered on behalf of a null pointer: the sender is " +
				"killed.",
		},
		{
			Name: "nfnl-batch-abort-malformed", Spec: "12.2",
			Value:   kernel.Switch(&d.BatchAbortMalformed, since(v45)),
			History: "4.5",
			Text: "A message with a wrong length ends a batch, and none of its messages is answered. Without it the " +
				"message gets EINVAL and the batch goes on.",
		},
	}
}
