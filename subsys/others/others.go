// Package others makes sockets of those protocols possible that the modelled kernels have but of which only the shape
// of the answers is known: XFRM, iSCSI, SCSI transport and the connector.
//
// Nothing is behind them. A request to XFRM, iSCSI or SCSI transport is answered with an error acknowledgement, which
// is built in a frame like every acknowledgement (spec 13.4): EPERM without CAP_NET_ADMIN, else EINVAL. Dumps of XFRM's
// states and policies list none. The connector
// acknowledges nothing and ignores what it gets. None of them sends events. All but XFRM listen only in the initial
// network namespace.
package others

import (
	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/uapi"
)

// Register brings the protocols up.
func Register(nl *afnetlink.Netlink) {
	nl.KernelCreate(uapi.NetlinkXFRM, afnetlink.KernelCfg{Input: xfrm})
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

// Requests of XFRM that can be dumps, and its highest type in the oldest kernel.
const (
	xfrmGetSA     = 18
	xfrmGetPolicy = 21
	xfrmMax       = 38
)

// xfrm is xfrm_user_rcv_msg where there are neither states nor policies.
func xfrm(cur *kernel.Task, m *afnetlink.Message) {
	afnetlink.RcvSKB(cur, m, func(cur *kernel.Task, m *afnetlink.Message, msg afnetlink.Msg, h uapi.NLMsgHdr) error {
		switch {
		case h.Type > xfrmMax:
			return kernel.Errorf(kernel.EINVAL, "XFRM has no type %d", h.Type)
		case !m.Capable(cur, uapi.CapNetAdmin):
			return kernel.Errorf(kernel.EPERM, "XFRM needs CAP_NET_ADMIN")
		case (h.Type == xfrmGetSA || h.Type == xfrmGetPolicy) && h.Flags&uapi.NLMFDump != 0:
			nothing := func(_ *kernel.Task, s *afnetlink.SKB, _ *afnetlink.Callback) int { return s.Len() }
			return m.Netlink.DumpStart(cur, m, msg, afnetlink.DumpControl{Dump: nothing})
		}
		return kernel.Errorf(kernel.EINVAL, "type %d of XFRM is not modelled", h.Type)
	})
}

// ignore does nothing.
func ignore(*kernel.Task, *afnetlink.Message) {}
