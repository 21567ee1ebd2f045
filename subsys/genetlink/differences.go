package genetlink

import "nlmmap/kernel"

// Differences are the named differences of generic netlink. Table declares each field.
//
// genl-bind-enoent is one of afnetlink: until 3.10 no protocol is asked about groups.
type Differences struct {
	DumpAnyBit bool
}

// Table declares the differences, bound to d's fields.
func (d *Differences) Table() []kernel.Difference {
	return []kernel.Difference{
		{
			Name: "genl-dump-any-bit", Spec: "13.2",
			Value: kernel.Switch(&d.DumpAnyBit, kernel.Until(kernel.Linux3_10)),
			Text:  "A request with any of the flags ROOT and MATCH asks for a dump. Without it both are needed.",
		},
	}
}
