package sockdiag

import "nlmmap/kernel"

// Differences are the named differences of socket diagnostics. Table declares each field.
type Differences struct {
	McTwice       bool
	CookieCounter bool
	Destroy       bool
	GroupsOpen    bool
}

// Table declares the differences, bound to d's fields.
func (d *Differences) Table() []kernel.Difference {
	return []kernel.Difference{
		{
			Name: "diag-mc-twice", Spec: "13.5",
			Value: kernel.Switch(&d.McTwice, kernel.Since(kernel.Linux3_19)),
			Text:  "Sockets with subscriptions are listed twice.",
		},
		{
			Name: "diag-cookie", Spec: "13.5",
			Value: kernel.Switch(&d.CookieCounter, kernel.Since(kernel.Linux4_1)),
			Text:  "The cookie of a socket is a counter. Without it it is the address of the socket in the kernel.",
		},
		{
			Name: "diag-destroy", Spec: "13.5",
			Value: kernel.Switch(&d.Destroy, kernel.Since(kernel.Linux4_5)),
			Text: "Requests of type 21, to destroy sockets, are known: netlink answers EOPNOTSUPP. Without it they get " +
				"EINVAL.",
		},
		{
			Name: "diag-groups-open", Spec: "15.4",
			Value: kernel.Switch(&d.GroupsOpen, kernel.Since(kernel.Linux4_4)),
			Text: "Everybody may join the groups, and group 2 is told of UDP sockets that go. Without it joining takes a " +
				"right, and nothing is sent.",
		},
	}
}
