package rtnetlink

import "nlmmap/kernel"

// Differences are the named differences of rtnetlink. Table declares each field.
type Differences struct {
	RtmMax                int
	NetconfPositiveEinval bool
	LinkMsgSize           int
	LinkMsgSizeIPv6       int
	IPv6RoutePref         bool
	NeighDumpFilter       bool
	AddrFlags             bool
	RuleSuppress          bool
}

// Table declares the differences, bound to d's fields.
func (d *Differences) Table() []kernel.Difference {
	return []kernel.Difference{
		{
			Name: "rtm-max", Spec: "1.2",
			Value: kernel.Number(&d.RtmMax, 15, 65535, [...]int{87, 87, 91, 91, 91}),
			Text: "The highest message type that rtnetlink knows; higher ones get EOPNOTSUPP before anything else is " +
				"looked at.",
		},
		{
			Name: "netconf-positive-einval", Spec: "11.3",
			Value: kernel.Switch(&d.NetconfPositiveEinval, kernel.Until(kernel.Linux4_4)),
			Text:  "A malformed GETNETCONF request is acknowledged with +22 instead of -22.",
		},
		{
			Name: "link-msg-size", Spec: "11.7",
			Value: kernel.Number(&d.LinkMsgSize, 112, 3072, [...]int{1064, 1140, 1148, 1172, 1172}),
			Text: "Bytes of the link message of lo; that of a dummy device is 16 longer. Messages end at a multiple of " +
				"4 bytes.",
		},
		{
			Name: "link-msg-size-ipv6", Spec: "11.7",
			Value: kernel.Number(&d.LinkMsgSizeIPv6, 80, 3072, [...]int{548, 608, 616, 636, 636}),
			Text:  "Bytes of the link message of lo in a dump for IPv6. Messages end at a multiple of 4 bytes.",
		},
		{
			Name: "ipv6-route-pref", Spec: "11.3",
			Value: kernel.Switch(&d.IPv6RoutePref, kernel.Since(kernel.Linux4_1)),
			Text: "Messages about the IPv6 default route, which says unreachable, have a preference: they are 8 bytes " +
				"longer.",
		},
		{
			Name: "neigh-dump-filter", Spec: "11.4",
			Value: kernel.Switch(&d.NeighDumpFilter, kernel.Since(kernel.Linux4_4)),
			Text:  "A neighbour dump can be asked for one interface; all its messages then have the flag DUMP_FILTERED.",
		},
		{
			Name: "addr-flags", Spec: "11.3",
			Value:   kernel.Switch(&d.AddrFlags, kernel.Since(kernel.Linux3_19)),
			History: "3.14",
			Text:    "Messages about addresses have an attribute for flags of 32 bits: they are 8 bytes longer.",
		},
		{
			Name: "rule-suppress", Spec: "11.3",
			Value:   kernel.Switch(&d.RuleSuppress, kernel.Since(kernel.Linux3_19)),
			History: "3.12",
			Text:    "Messages about routing rules say which prefix lengths they suppress: they are 8 bytes longer.",
		},
	}
}
