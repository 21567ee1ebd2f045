package rtnetlink

import "nlmmap/kernel"

// Differences are the named differences of rtnetlink. Table declares each field.
type Differences struct {
	RtmMax                int
	NetconfPositiveEinval bool
	LinkCarrierChanges    bool
	LinkProtoDown         bool
	RouteLinkdown         bool
	LinkSkipStats         bool
	LinkOperstateIPv6     bool
	LoAddress             bool
	Nlmon                 bool
	InetConf              int
	Inet6Conf             int
	IPv6Counters          int
	IPv6Privacy           bool
	AddrGenMode           bool
	IPv6RoutePref         bool
	IPv6Unreachable       bool
	NeighDumpFilter       bool
	AddrFlags             bool
	RuleSuppress          bool
	RouteMetrics          int
	NetconfProxyNeigh     bool
	NetconfIgnoreLinkdown bool
	ArpEntrySize          int
	NdiscEntrySize        int
	NeighCounters         int
	NeighReprobes         bool
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
			Name: "ipv6-route-pref", Spec: "11.3",
			Value: kernel.Switch(&d.IPv6RoutePref, kernel.Since(kernel.Linux4_1)),
			Text:  "Messages about IPv6 routes have a preference: they are 8 bytes longer.",
		},
		{
			Name: "ipv6-unreachable-error", Spec: "11.3",
			Value: kernel.Switch(&d.IPv6Unreachable, kernel.Since(kernel.Linux4_4)),
			Text: "An IPv6 route that somebody has added to make a destination unreachable says EHOSTUNREACH. Before, it said " +
				"ENETUNREACH.",
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
		{
			Name: "link-carrier-changes", Spec: "11.7",
			Value: kernel.Switch(&d.LinkCarrierChanges, kernel.Since(kernel.Linux3_19)),
			Text:  "Messages about links count how often the carrier came and went.",
		},
		{
			Name: "route-linkdown", Spec: "11.5",
			Value: kernel.Switch(&d.RouteLinkdown, kernel.Since(kernel.Linux4_4)),
			Text:  "A route over a device whose carrier is off has the flag LINKDOWN, unless it is to an address of this host.",
		},
		{
			Name: "link-proto-down", Spec: "11.7",
			Value: kernel.Switch(&d.LinkProtoDown, kernel.Since(kernel.Linux4_4)),
			Text:  "Messages about links say whether a protocol has turned the device off.",
		},
		{
			Name: "link-skip-stats", Spec: "11.7",
			Value: kernel.Switch(&d.LinkSkipStats, kernel.Since(kernel.Linux4_4)),
			Text:  "A request for links can leave the statistics of IPv6 out.",
		},
		{
			Name: "link-operstate-ipv6", Spec: "11.7",
			Value: kernel.Switch(&d.LinkOperstateIPv6, kernel.Since(kernel.Linux4_4)),
			Text:  "Messages about links in a dump for IPv6 have the operational state.",
		},
		{
			Name: "lo-address", Spec: "11.3",
			Value: kernel.Switch(&d.LoAddress, kernel.Since(kernel.Linux3_19)),
			Text:  "lo can be given a link-layer address.",
		},
		{
			Name: "inet-conf", Spec: "11.7",
			Value: kernel.Number(&d.InetConf, 1, 64, [...]int{26, 28, 28, 29, 29}),
			Text:  "How many settings of IPv4 a message about a link has.",
		},
		{
			Name: "inet6-conf", Spec: "11.7",
			Value: kernel.Number(&d.Inet6Conf, 1, 64, [...]int{30, 35, 37, 40, 40}),
			Text:  "How many settings of IPv6 it has.",
		},
		{
			Name: "ipv6-counters", Spec: "11.7",
			Value: kernel.Number(&d.IPv6Counters, 1, 64, [...]int{32, 36, 36, 36, 36}),
			Text:  "How many counters of IPv6 it has.",
		},
		{
			Name: "ipv6-privacy", Spec: "11.7",
			Value: kernel.Switch(&d.IPv6Privacy, kernel.Since(kernel.Linux3_19)),
			Text:  "The settings of IPv6 have the lifetimes of temporary addresses.",
		},
		{
			Name: "addr-gen-mode", Spec: "11.7",
			Value: kernel.Switch(&d.AddrGenMode, kernel.Since(kernel.Linux3_19)),
			Text:  "Messages about links say how IPv6 makes addresses of the device.",
		},
		{
			Name: "route-metrics", Spec: "11.5",
			Value: kernel.Number(&d.RouteMetrics, 1, 16, [...]int{14, 15, 16, 16, 16}),
			Text:  "The highest number of a metric of a route.",
		},
		{
			Name: "netconf-proxy-neigh", Spec: "11.3",
			Value: kernel.Switch(&d.NetconfProxyNeigh, kernel.Since(kernel.Linux3_19)),
			Text:  "Messages about settings say whether neighbours are answered for.",
		},
		{
			Name: "netconf-ignore-linkdown", Spec: "11.3",
			Value: kernel.Switch(&d.NetconfIgnoreLinkdown, kernel.Since(kernel.Linux4_4)),
			Text:  "Messages about settings say whether routes over devices without carrier are ignored.",
		},
		{
			Name: "arp-entry-size", Spec: "11.3",
			Value: kernel.Number(&d.ArpEntrySize, 0, 65535, [...]int{288, 296, 296, 288, 288}),
			Text:  "Bytes of an entry of the table of IPv4 neighbours.",
		},
		{
			Name: "ndisc-entry-size", Spec: "11.3",
			Value: kernel.Number(&d.NdiscEntrySize, 0, 65535, [...]int{296, 304, 304, 296, 296}),
			Text:  "Bytes of an entry of the table of IPv6 neighbours.",
		},
		{
			Name: "neigh-counters", Spec: "11.3",
			Value: kernel.Number(&d.NeighCounters, 1, 32, [...]int{10, 10, 10, 11, 11}),
			Text:  "How many counters the message about a table of neighbours has.",
		},
		{
			Name: "neigh-reprobes", Spec: "11.3",
			Value: kernel.Switch(&d.NeighReprobes, kernel.Since(kernel.Linux4_1)),
			Text:  "Messages about tables of neighbours say how often a failed one is asked for again.",
		},
		{
			Name: "nlmon-kind", Spec: "13.6",
			Value: kernel.Switch(&d.Nlmon, kernel.Since(kernel.Linux3_19)),
			Text:  "Programs can make monitoring devices.",
		},
	}
}
