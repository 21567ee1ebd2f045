package sockdiag

import "nlmmap/kernel"

// Differences are the named differences of socket diagnostics. Table documents each field.
type Differences struct {
	McTwice       bool
	CookieCounter bool
	Destroy       bool
	GroupsOpen    bool
}

// Table lists the differences, bound to d's fields.
func (d *Differences) Table() []kernel.Difference {
	return []kernel.Difference{
		kernel.Switch(&d.McTwice, "diag-mc-twice", "13.5", kernel.Since(kernel.Linux3_19),
			"Sockets with subscriptions are listed twice.").With("", ""),
		kernel.Switch(&d.CookieCounter, "diag-cookie", "13.5", kernel.Since(kernel.Linux4_1),
			"The cookie of a socket is a counter. Without it it is the address of the socket in the kernel.").With("", ""),
		kernel.Switch(&d.Destroy, "diag-destroy", "13.5", kernel.Only(kernel.Linux4_5),
			"Requests of type 21, to destroy sockets, are known: netlink answers EOPNOTSUPP. Without it they get EINVAL.").
			With("", ""),
		kernel.Switch(&d.GroupsOpen, "diag-groups-open", "15.4", kernel.Since(kernel.Linux4_4),
			"Everybody may join the groups, to which nothing modelled is sent.").With("", ""),
	}
}
