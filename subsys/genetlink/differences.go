package genetlink

import "nlmmap/kernel"

// Differences are the named differences of generic netlink. Table declares each field.
//
// genl-bind-enoent is one of afnetlink: until 3.10 no protocol is asked about groups.
type Differences struct {
	DumpAnyBit bool
	FirstID    int
	Groups     int
	MetricsMax int
}

// Table declares the differences, bound to d's fields.
func (d *Differences) Table() []kernel.Difference {
	return []kernel.Difference{
		{
			Name: "genl-dump-any-bit", Spec: "13.2",
			Value: kernel.Switch(&d.DumpAnyBit, kernel.Until(kernel.Linux3_10)),
			Text:  "A request with any of the flags ROOT and MATCH asks for a dump. Without it both are needed.",
		},
		{
			Name: "genl-first-id", Spec: "13.2",
			Value:   kernel.Number(&d.FirstID, IDCtrl+1, 1022, [...]int{17, 19, 19, 19, 19}),
			History: "17 and 18 reserved since 3.13",
			Text:    "The id of the first family that asks for any: tcp_metrics. TASKSTATS has the one behind it.",
		},
		{
			Name: "genl-groups", Spec: "13.2",
			Value: kernel.Number(&d.Groups, 32, 1024, [...]int{64, 32, 32, 32, 32}),
			Text:  "How many groups there are, whether families own them or not.",
		},
		{
			Name: "genl-metrics-attrs", Spec: "13.2",
			Value:   kernel.Number(&d.MetricsMax, 0, 64, [...]int{10, 12, 12, 12, 12}),
			History: "source addresses since 3.15",
			Text:    "The highest attribute of the family tcp_metrics, as the controller describes it.",
		},
	}
}
