package audit

import "nlmmap/kernel"

// Differences are the named differences of audit. Table declares each field.
type Differences struct {
	Netns          bool
	StatusSize     int
	StatusFeatures int
}

// Table declares the differences, bound to d's fields.
func (d *Differences) Table() []kernel.Difference {
	return []kernel.Difference{
		{
			Name: "audit-netns", Spec: "13.3",
			Value: kernel.Switch(&d.Netns, kernel.Since(kernel.Linux3_19)),
			Text:  "Every network namespace has an audit socket. Without it only the initial one has.",
		},
		{
			Name: "audit-status-size", Spec: "13.3",
			Value: kernel.Number(&d.StatusSize, 0, 4096, [...]int{32, 40, 40, 40, 40}),
			Text:  "Bytes of the status that AUDIT_GET answers.",
		},
		{
			Name: "audit-status-features", Spec: "13.3",
			Value: kernel.Number(&d.StatusFeatures, 0, 1<<30, [...]int{0, 3, 3, 7, 7}),
			Text:  "The bitmap in the status that says what else can be asked for: the limit of the backlog 1, how long it is waited for 2, the paths of programs in rules 4.",
		},
	}
}
