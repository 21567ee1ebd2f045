package others

import (
	"slices"

	"golang.org/x/sys/unix"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/uapi"
)

// Message types of XFRM.
const (
	xfrmGetSA       = 18
	xfrmDelPolicy   = 20
	xfrmGetPolicy   = 21
	xfrmExpire      = 24
	xfrmPolExpire   = 27
	xfrmFlushSA     = 28
	xfrmFlushPolicy = 29
	xfrmGetAE       = 31
	xfrmMigrate     = 33
	xfrmNewSADInfo  = 34
	xfrmGetSADInfo  = 35
	xfrmNewSPDInfo  = 36
	xfrmGetSPDInfo  = 37
	xfrmMax         = 38 // in the oldest kernel
)

// xfrmLen is the length of a request's own header; types that are not there are refused whatever they have.
var xfrmLen = map[uint16]int{
	xfrmDelPolicy:   64,  // struct xfrm_userpolicy_id
	xfrmGetPolicy:   64,  // struct xfrm_userpolicy_id
	xfrmExpire:      232, // struct xfrm_user_expire
	xfrmPolExpire:   176, // struct xfrm_user_polexpire
	xfrmFlushSA:     1,   // struct xfrm_usersa_flush
	xfrmFlushPolicy: 0,
	xfrmGetAE:       48, // struct xfrm_aevent_id
	xfrmMigrate:     64, // struct xfrm_userpolicy_id
	xfrmGetSADInfo:  4,
	xfrmNewSPDInfo:  4,
	xfrmGetSPDInfo:  4,
}

// xfrm is NETLINK_XFRM where there are neither states nor policies.
type xfrm struct {
	nl *afnetlink.Netlink
	// thresholds are the attributes that tell those of the hash table of policies, nil where it has none.
	thresholds []byte
}

// input is xfrm_netlink_rcv.
func (x *xfrm) input(cur *kernel.Task, m *afnetlink.Message) { afnetlink.RcvSKB(cur, m, x.receive) }

// receive is xfrm_user_rcv_msg.
//
// Errors: EINVAL for a type that does not exist or is not modelled, and for a short message; EPERM; ENOENT and ESRCH for
// what is not there; ENOPROTOOPT for migration, which is not built in; EINTR for a dump that has started.
func (x *xfrm) receive(cur *kernel.Task, m *afnetlink.Message, msg afnetlink.Msg, h uapi.NLMsgHdr) error {
	switch {
	case h.Type > xfrmMax:
		return kernel.Errorf(kernel.EINVAL, "XFRM has no type %d", h.Type)
	case !m.Capable(cur, uapi.CapNetAdmin):
		return kernel.Errorf(kernel.EPERM, "XFRM needs CAP_NET_ADMIN")
	case (h.Type == xfrmGetSA || h.Type == xfrmGetPolicy) && h.Flags&uapi.NLMFDump != 0:
		nothing := func(_ *kernel.Task, s *afnetlink.SKB, _ *afnetlink.Callback) int { return s.Len() }
		return m.Netlink.DumpStart(cur, m, msg, afnetlink.DumpControl{Dump: nothing})
	}
	payload := msg.Payload(cur)
	if n, modelled := xfrmLen[h.Type]; !modelled || len(payload) < n {
		return kernel.Errorf(kernel.EINVAL, "type %d of XFRM with %d bytes", h.Type, len(payload))
	}
	switch h.Type {
	case xfrmDelPolicy, xfrmGetPolicy, xfrmExpire, xfrmPolExpire:
		return kernel.Errorf(kernel.ENOENT, "there are neither states nor policies")
	case xfrmGetAE:
		return kernel.Errorf(unix.ESRCH, "there are no states")
	case xfrmMigrate:
		return kernel.Errorf(kernel.ENOPROTOOPT, "states cannot migrate")
	case xfrmNewSPDInfo:
		if x.thresholds == nil {
			return kernel.Errorf(kernel.EINVAL, "the hash table has no thresholds")
		}
	case xfrmGetSADInfo:
		const count, hash = 1, 2 // attributes
		attrs := uapi.AppendAttr(nil, count, make([]byte, 4))
		return x.answer(cur, m, h, xfrmNewSADInfo, payload[:4], uapi.AppendAttr(attrs, hash, make([]byte, 8)))
	case xfrmGetSPDInfo:
		const counts, hash = 1, 2 // attributes
		attrs := uapi.AppendAttr(nil, counts, make([]byte, 24))
		attrs = uapi.AppendAttr(attrs, hash, make([]byte, 8))
		return x.answer(cur, m, h, xfrmNewSPDInfo, payload[:4], append(attrs, x.thresholds...))
	}
	return nil
}

// answer sends what was asked for, with the flags of the request in front.
func (x *xfrm) answer(cur *kernel.Task, m *afnetlink.Message, h uapi.NLMsgHdr, typ uint16, flags, attrs []byte) error {
	payload := append(slices.Clip(flags), attrs...)
	s := x.nl.NewSKB(cur, uapi.NLMsgTotalSize(len(payload)))
	if s == nil {
		return kernel.ENOBUFS
	}
	portid := m.SKB.CB.Portid
	b, ok := afnetlink.PutMsg(cur, s, uapi.NLMsgHdr{Type: typ, Seq: h.Seq, Pid: portid}, len(payload))
	if !ok {
		s.Free(cur)
		return kernel.EMSGSIZE
	}
	b.Put(cur, s, payload)
	b.End(cur, s)
	_, err := x.nl.Unicast(cur, m.Kernel, s, portid, 0)
	return err
}
