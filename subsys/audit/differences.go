package audit

import "nlmmap/kernel"

// Differences are the named differences of audit. Table documents each field.
type Differences struct {
	Netns      bool
	StatusSize int
}

// Table lists the differences, bound to d's fields.
func (d *Differences) Table() []kernel.Difference {
	return []kernel.Difference{
		kernel.Switch(&d.Netns, "audit-netns", "13.3", kernel.Since(kernel.Linux3_19),
			"Every network namespace has an audit socket. Without it only the initial one has.").With("", ""),
		kernel.Number(&d.StatusSize, "audit-status-size", "13.3", [...]int{32, 40, 40, 40, 40},
			"Bytes of the status that AUDIT_GET answers.").With("", ""),
	}
}
