package nfqueue

import "nlmmap/kernel"

// Differences are the named differences of nfnetlink_queue. Table declares each field. That the frames of page
// fragments are not counted (nfq-frag-overflow) is the difference alloc-ldiff of afnetlink.
type Differences struct {
	CapLenAlways bool
	RangeZero    bool
	Flags        int
	CsumInfo     bool
	TstampZero   bool
	CfgStrict    bool
}

// Table declares the differences, bound to d's fields.
func (d *Differences) Table() []kernel.Difference {
	since, until := kernel.Since, kernel.Until
	const (
		v310 = kernel.Linux3_10
		v319 = kernel.Linux3_19
		v44  = kernel.Linux4_4
		v45  = kernel.Linux4_5
	)
	return []kernel.Difference{
		{
			Name: "nfq-cap-len-always", Spec: "12.5",
			Value: kernel.Switch(&d.CapLenAlways, until(v310)),
			Text: "Messages with payload always say how long the packet is (CAP_LEN), not only where it was cut: they " +
				"are 8 bytes longer.",
		},
		{
			Name: "nfq-range-zero", Spec: "12.3",
			Value: kernel.Switch(&d.RangeZero, until(v310)),
			Text: "A copy range of 0 is the whole packet, and the range of a new queue is 65535. Without it both are " +
				"65531.",
		},
		{
			Name: "nfq-flags", Spec: "12.3",
			Value: kernel.Number(&d.Flags, 0, 256, [...]int{8, 16, 16, 32, 32}),
			Text: "Queue flags from this number on are refused with EOPNOTSUPP: 8 (user and group id) exists where it " +
				"is 16 or more, 16 (security context) where it is 32, but is not supported.",
		},
		{
			Name: "nfq-csum-info", Spec: "12.5",
			Value: kernel.Switch(&d.CsumInfo, since(v319)),
			Text:  "SKB_INFO says of a received packet that its checksum was not verified.",
		},
		{
			Name: "nfq-tstamp-zero", Spec: "12.5",
			Value: kernel.Switch(&d.TstampZero, since(v44)),
			Text:  "The timestamp of a packet shows as zeros: it is that of the netlink message.",
		},
		{
			Name: "nfq-cfg-strict", Spec: "12.3",
			Value: kernel.Switch(&d.CfgStrict, since(v45)),
			Text: "A configuration message is refused for its flags before anything is done, and with ENODEV for a " +
				"queue that does not exist even if it asks for nothing; removing a queue, or an unknown command, " +
				"ends it. Without it what precedes the flags is done first.",
		},
	}
}
