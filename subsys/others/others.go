// Package others makes sockets of those protocols possible that the modelled kernels have but of which only the shape
// of the answers is known: XFRM and the connector.
//
// Nothing is behind them. XFRM (xfrm.go) answers as where there are neither states nor policies. The connector
// acknowledges nothing, ignores what it gets, and listens only in the initial network namespace. Neither sends events.
package others

import (
	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/uapi"
)

// Register brings the protocols up.
func Register(nl *afnetlink.Netlink, d *Differences) {
	x := &xfrm{nl: nl}
	if d.XfrmThresholds {
		const ipv4, ipv6 = 3, 4 // attributes
		x.thresholds = uapi.AppendAttr(uapi.AppendAttr(nil, ipv4, []byte{32, 32}), ipv6, []byte{128, 128})
	}
	nl.KernelCreate(uapi.NetlinkXFRM, afnetlink.KernelCfg{Input: x.input})
	nl.KernelCreate(uapi.NetlinkConnector, afnetlink.KernelCfg{Input: ignore, InitNetOnly: true})
}

// ignore does nothing.
func ignore(*kernel.Task, *afnetlink.Message) {}
