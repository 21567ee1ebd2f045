package inet

import "nlmmap/kernel"

// Differences are the named differences of the stack. Table declares each field.
type Differences struct {
	DummyQueueLen     int
	LoQueueLen        int
	NoQueueFlag       bool
	AddrNoPrefixRoute bool
	AddrsGoAlone      bool
	LookupErrors      bool
	RouteAppendTold   bool
	IPv6ReadyOff      bool
	InputPathOld      bool
	NeighStateTold    bool
	LinkChangesTold   bool
	IPv6LookupClones  bool
	FIBMerged         bool
}

// Table declares the differences, bound to d's fields.
func (d *Differences) Table() []kernel.Difference {
	return []kernel.Difference{
		{
			Name: "dummy-queue-len", Spec: "11.7",
			Value: kernel.Number(&d.DummyQueueLen, 0, 1<<20, [...]int{0, 0, 0, 1000, 1000}),
			Text:  "The length of the transmit queue that a new dummy device says it has, although it has none.",
		},
		{
			Name: "lo-queue-len", Spec: "11.7",
			Value: kernel.Number(&d.LoQueueLen, 0, 1<<20, [...]int{0, 0, 0, 0, 1}),
			Text:  "The same of lo.",
		},
		{
			Name: "dummy-no-queue", Spec: "11.7",
			Value: kernel.Switch(&d.NoQueueFlag, kernel.Since(kernel.Linux4_4)),
			Text: "A dummy device has no queue, whatever length it says. Before, one with a length had the default discipline, " +
				"pfifo_fast.",
		},
		{
			Name: "fib-merged", Spec: "13.7",
			Value:   kernel.Switch(&d.FIBMerged, kernel.Since(kernel.Linux4_1)),
			History: "one trie since 4.1, as long as nobody adds a rule",
			Text: "The tables local and main are one, so that a lookup in main (FIB_LOOKUP) finds local addresses; one that finds " +
				"nothing says EAGAIN. Before, it said 1.",
		},
		{
			Name: "addr-no-prefix-route", Spec: "11.3",
			Value: kernel.Switch(&d.AddrNoPrefixRoute, kernel.Since(kernel.Linux4_4)),
			Text:  "An IPv4 address can be without a route to its network (IFA_F_NOPREFIXROUTE).",
		},
		{
			Name: "addrs-go-alone", Spec: "11.3",
			Value: kernel.Switch(&d.AddrsGoAlone, kernel.Since(kernel.Linux4_5)),
			Text: "The IPv4 addresses of a device that goes away go one after the other. Before, the first of a network took the " +
				"others along, and their routes were told of.",
		},
		{
			Name: "lookup-errors", Spec: "11.3",
			Value: kernel.Switch(&d.LookupErrors, kernel.Since(kernel.Linux4_4)),
			Text: "A lookup of a route that ends at one that is an error says which: EHOSTUNREACH, EACCES or EINVAL. Before, it said " +
				"ENETUNREACH.",
		},
		{
			Name: "route-append-told", Spec: "11.5",
			Value: kernel.Switch(&d.RouteAppendTold, kernel.Since(kernel.Linux4_4)),
			Text:  "The notification of a route that was appended to others of its kind has the flag APPEND.",
		},
		{
			Name: "ipv6-ready-off", Spec: "11.7",
			Value: kernel.Switch(&d.IPv6ReadyOff, kernel.Until(kernel.Linux3_10)),
			Text:  "A device that is up says that IPv6 is ready on it also where IPv6 is switched off.",
		},
		{
			Name: "input-path-old", Spec: "11.3",
			Value: kernel.Switch(&d.InputPathOld, kernel.Until(kernel.Linux3_10)),
			Text: "The lookup of the route of a packet that has come in answers with an unreachable one where nothing is " +
				"forwarded, instead of EHOSTUNREACH, and without the interface; that of one from this host to nowhere has the " +
				"source 127.0.0.1, whatever the device.",
		},
		{
			Name: "neigh-state-told", Spec: "11.4",
			Value: kernel.Switch(&d.NeighStateTold, kernel.Since(kernel.Linux3_19)),
			Text:  "A neighbour whose state changes is announced. Before, only another link-layer address or the end of one was.",
		},
		{
			Name: "link-changes-told", Spec: "11.7",
			Value: kernel.Switch(&d.LinkChangesTold, kernel.Since(kernel.Linux3_19)),
			Text: "Every change of a device that is up is announced once more when the request is done, and a change of the MTU " +
				"before it is made.",
		},
		{
			Name: "ipv6-lookup-clones", Spec: "11.3",
			Value: kernel.Switch(&d.IPv6LookupClones, kernel.Until(kernel.Linux4_1)),
			Text: "A lookup of an IPv6 destination that is reached directly answers with a route made for it, which has the priority 0 and " +
				"says that it was made at boot.",
		},
	}
}
