package others

import "nlmmap/kernel"

// Differences are the named differences of XFRM. Table declares each field.
type Differences struct {
	XfrmThresholds bool
}

// Table declares the differences, bound to d's fields.
func (d *Differences) Table() []kernel.Difference {
	return []kernel.Difference{
		{
			Name: "xfrm-thresholds", Spec: "13.4",
			Value:   kernel.Switch(&d.XfrmThresholds, kernel.Since(kernel.Linux3_19)),
			History: "3.18",
			Text: "The thresholds of the hash table of policies can be set with a message of type 36, and type 37 tells " +
				"them: its answer is 16 bytes longer.",
		},
	}
}
