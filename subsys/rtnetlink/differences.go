package rtnetlink

import "nlmmap/kernel"

// Differences are the named differences of rtnetlink. Table documents each field.
type Differences struct {
	RtmMax                int
	NetconfPositiveEinval bool
	LinkMsgSize           int
	LinkMsgSizeIPv6       int
	IPv6DefaultRouteSize  int
	NeighDumpFilter       bool
	AddrFlags             bool
	RuleSuppress          bool
}

// Table lists the differences, bound to d's fields.
func (d *Differences) Table() []kernel.Difference {
	return []kernel.Difference{
		kernel.Number(&d.RtmMax, "rtm-max", "1.2", [...]int{87, 87, 91, 91, 91},
			"The highest message type that rtnetlink knows; higher ones get EOPNOTSUPP before anything else is looked at.").
			With("", ""),
		kernel.Switch(&d.NetconfPositiveEinval, "netconf-positive-einval", "11.3", kernel.Until(kernel.Linux4_4),
			"A malformed GETNETCONF request is acknowledged with +22 instead of -22.").With("", ""),
		kernel.Number(&d.LinkMsgSize, "link-msg-size", "11.7", [...]int{1064, 1140, 1148, 1172, 1172},
			"Bytes of the link message of lo; that of a dummy device is 16 longer.").With("", ""),
		kernel.Number(&d.LinkMsgSizeIPv6, "link-msg-size-ipv6", "11.7", [...]int{548, 608, 616, 636, 636},
			"Bytes of the link message of lo in a dump for IPv6.").With("", ""),
		kernel.Number(&d.IPv6DefaultRouteSize, "ipv6-default-route-size", "11.3", [...]int{88, 88, 96, 96, 96},
			"Bytes of the message of the IPv6 default route, which says unreachable: from 96 on it has a preference.").
			With("", ""),
		kernel.Switch(&d.NeighDumpFilter, "neigh-dump-filter", "11.4", kernel.Since(kernel.Linux4_4),
			"A neighbour dump can be asked for one interface; all its messages then have the flag DUMP_FILTERED.").
			With("", ""),
		kernel.Switch(&d.AddrFlags, "addr-flags", "11.3", kernel.Since(kernel.Linux3_19),
			"Messages about addresses have an attribute for flags of 32 bits: they are 8 bytes longer.").With("3.14", ""),
		kernel.Switch(&d.RuleSuppress, "rule-suppress", "11.3", kernel.Since(kernel.Linux3_19),
			"Messages about routing rules say which prefix lengths they suppress: they are 8 bytes longer.").
			With("3.12", ""),
	}
}
