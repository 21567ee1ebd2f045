// Package others makes sockets of those protocols possible that the modelled kernels have but of which only the shape
// of the answers is known: XFRM, iSCSI, SCSI transport and the connector.
//
// Nothing is behind them. A request to iSCSI or SCSI transport is answered with an error acknowledgement, which
// is built in a frame like every acknowledgement (spec 13.4): EPERM without CAP_NET_ADMIN, else EINVAL. XFRM (xfrm.go)
// answers as where there are neither states nor policies. The connector acknowledges nothing and ignores what it gets.
// None of them sends events. All but XFRM listen only in the initial network namespace.
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
	nl.KernelCreate(uapi.NetlinkISCSI, afnetlink.KernelCfg{Input: refuse, InitNetOnly: true})
	nl.KernelCreate(uapi.NetlinkSCSITransport, afnetlink.KernelCfg{Input: refuse, InitNetOnly: true})
	nl.KernelCreate(uapi.NetlinkConnector, afnetlink.KernelCfg{Input: ignore, InitNetOnly: true})
}

// refuse answers every request with an error.
func refuse(cur *kernel.Task, m *afnetlink.Message) {
	afnetlink.RcvSKB(cur, m, func(cur *kernel.Task, m *afnetlink.Message, _ afnetlink.Msg, h uapi.NLMsgHdr) error {
		if !m.Capable(cur, uapi.CapNetAdmin) {
			return kernel.Errorf(kernel.EPERM, "requests of protocol %d need CAP_NET_ADMIN", m.Kernel.Protocol)
		}
		return kernel.Errorf(kernel.EINVAL, "type %d of protocol %d is not modelled", h.Type, m.Kernel.Protocol)
	})
}

// ignore does nothing.
func ignore(*kernel.Task, *afnetlink.Message) {}
