package nflog

import "nlmmap/kernel"

// Differences are the named differences of nfnetlink_log. Table declares each field.
type Differences struct {
	CfgNodev  bool
	CfgStrict bool
	DoneRoom  bool
}

// Table declares the differences, bound to d's fields.
func (d *Differences) Table() []kernel.Difference {
	return []kernel.Difference{
		{
			Name: "nflog-cfg-nodev", Spec: "12.6",
			Value: kernel.Switch(&d.CfgNodev, kernel.Since(kernel.Linux4_4)),
			Text: "A configuration message without command for a group that does not exist gets ENODEV even if it asks " +
				"for nothing, and the flag CONNTRACK exists and is refused with EOPNOTSUPP.",
		},
		{
			Name: "nflog-cfg-strict", Spec: "12.6",
			Value: kernel.Switch(&d.CfgStrict, kernel.Since(kernel.Linux4_5)),
			Text: "A configuration message with an unknown command ends with it. Without it the other attributes are " +
				"applied although the command is refused.",
		},
		{
			Name: "nflog-done-room", Spec: "12.6",
			Value: kernel.Switch(&d.DoneRoom, kernel.Since(kernel.Linux3_19)),
			Text: "A message of several packets keeps 8 bytes of room for its DONE, and one that has none for it is " +
				"freed. Without it such a message is never sent, and its frame stays reserved.",
		},
	}
}
