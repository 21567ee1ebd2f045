package genetlink

import "nlmmap/kernel"

// Differences are the named differences of generic netlink. Table documents each field.
//
// genl-bind-enoent is one of afnetlink: until 3.10 no protocol is asked about groups.
type Differences struct {
	DumpAnyBit bool
}

// Table lists the differences, bound to d's fields.
func (d *Differences) Table() []kernel.Difference {
	return []kernel.Difference{
		kernel.Switch(&d.DumpAnyBit, "genl-dump-any-bit", "13.2", kernel.Only(kernel.Linux3_10),
			"A request with any of the flags ROOT and MATCH asks for a dump. Without it both are needed.").
			With("", ""),
	}
}
