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
	NetconfSize           int
	NetconfSizeIPv6       int
	NeightblSize          int
	NeightblParmsSize     int
	NeighTablesNewest     bool
	TrafficControl        bool
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
			Text:  "Messages about IPv6 routes have a preference: they are 8 bytes longer.",
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
		{
			Name: "netconf-msg-size", Spec: "11.3",
			Value: kernel.Number(&d.NetconfSize, 20, 1024, [...]int{52, 60, 60, 68, 68}),
			Text:  "Bytes of a message about IPv4 settings of a device, 8 for each setting. They end at a multiple of 4 bytes.",
		},
		{
			Name: "netconf-msg-size-ipv6", Spec: "11.3",
			Value: kernel.Number(&d.NetconfSizeIPv6, 20, 1024, [...]int{36, 44, 44, 52, 52}),
			Text:  "The same for IPv6.",
		},
		{
			Name: "neightbl-msg-size", Spec: "11.3",
			Value: kernel.Number(&d.NeightblSize, 32, 1024, [...]int{348, 348, 356, 364, 364}),
			Text:  "Bytes of the message about a table of neighbours. They end at a multiple of 4 bytes.",
		},
		{
			Name: "neightbl-parms-msg-size", Spec: "11.3",
			Value: kernel.Number(&d.NeightblParmsSize, 32, 1024, [...]int{200, 200, 208, 208, 208}),
			Text:  "Bytes of the message about what such a table has for one device. They end at a multiple of 4 bytes.",
		},
		{
			Name: "neigh-tables-newest", Spec: "11.4",
			Value: kernel.Switch(&d.NeighTablesNewest, kernel.Until(kernel.Linux3_10)),
			Text:  "Dumps of all neighbours begin with the table that was made last, that of IPv6.",
		},
		{
			Name: "traffic-control", Spec: "11.3",
			Value: kernel.Switch(&d.TrafficControl, kernel.Nowhere()),
			Text: "The kernel is built with traffic control, so that types 36 to 50 have handlers. The images that were " +
				"recorded last are not.",
		},
	}
}
