package nflog

import "nlmmap/kernel"

// Differences are the named differences of nfnetlink_log. Table documents each field.
type Differences struct {
	CfgNodev  bool
	CfgStrict bool
	DoneRoom  bool
}

// Table lists the differences, bound to d's fields.
func (d *Differences) Table() []kernel.Difference {
	return []kernel.Difference{
		kernel.Switch(&d.CfgNodev, "nflog-cfg-nodev", "12.6", kernel.Since(kernel.Linux4_4),
			"A configuration message without command for a group that does not exist gets ENODEV even if it asks for nothing, "+
				"and the flag CONNTRACK exists and is refused with EOPNOTSUPP.").With("", ""),
		kernel.Switch(&d.CfgStrict, "nflog-cfg-strict", "12.6", kernel.Only(kernel.Linux4_5),
			"A configuration message with an unknown command ends with it. Without it the other attributes are applied "+
				"although the command is refused.").With("", ""),
		kernel.Switch(&d.DoneRoom, "nflog-done-room", "12.6", kernel.Since(kernel.Linux3_19),
			"A message of several packets keeps 8 bytes of room for its DONE, and one that has none for it is freed. Without "+
				"it such a message is never sent, and its frame stays reserved.").With("", ""),
	}
}
