package nfqueue

import "nlmmap/kernel"

// Differences are the named differences of nfnetlink_queue. Table documents each field. That the frames of page
// fragments are not counted (nfq-frag-overflow) is the difference alloc-ldiff of afnetlink.
type Differences struct {
	CapLenAlways bool
	RangeZero    bool
	Flags        int
	CsumInfo     bool
	TstampZero   bool
	CfgStrict    bool
}

// Table lists the differences, bound to d's fields.
func (d *Differences) Table() []kernel.Difference {
	only, since := kernel.Only, kernel.Since
	const (
		v310 = kernel.Linux3_10
		v319 = kernel.Linux3_19
		v44  = kernel.Linux4_4
		v45  = kernel.Linux4_5
	)
	return []kernel.Difference{
		kernel.Switch(&d.CapLenAlways, "nfq-cap-len-always", "12.5", only(v310),
			"Messages with payload always say how long the packet is (CAP_LEN), not only where it was cut: they are 8 bytes "+
				"longer.").With("", ""),
		kernel.Switch(&d.RangeZero, "nfq-range-zero", "12.3", only(v310),
			"A copy range of 0 is the whole packet, and the range of a new queue is 65535. Without it both are 65531.").
			With("", ""),
		kernel.Number(&d.Flags, "nfq-flags", "12.3", [...]int{8, 16, 16, 32, 32},
			"Queue flags from this number on are refused with EOPNOTSUPP: 8 (user and group id) exists where it is 16 or "+
				"more, 16 (security context) where it is 32, but is not supported.").With("", ""),
		kernel.Switch(&d.CsumInfo, "nfq-csum-info", "12.5", since(v319),
			"SKB_INFO says of a received packet that its checksum was not verified.").With("", ""),
		kernel.Switch(&d.TstampZero, "nfq-tstamp-zero", "12.5", since(v44),
			"The timestamp of a packet shows as zeros: it is that of the netlink message.").With("", ""),
		kernel.Switch(&d.CfgStrict, "nfq-cfg-strict", "12.3", only(v45),
			"A configuration message is refused for its flags before anything is done, and with ENODEV for a queue that "+
				"does not exist even if it asks for nothing; removing a queue, or an unknown command, ends it. Without it "+
				"what precedes the flags is done first.").With("", ""),
	}
}
