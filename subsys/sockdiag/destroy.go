package sockdiag

import (
	"encoding/binary"
	"net/netip"

	"nlmmap/kernel"
	"nlmmap/subsys/inet"
	"nlmmap/uapi"
)

// What is said of a socket that goes: struct inet_diag_msg, and the attribute with the directions that were shut down.
const (
	groupUDPDestroy  = 2
	inetDiagMsglen   = 72
	destroyRoom      = 256 // is allocated for it: recorded is more than 192 and at most 704
	inetDiagShutdown = 8
	tcpClose         = 7
)

// gone tells the group of a UDP socket that has been destroyed: sock_diag_broadcast_destroy.
func (d *Sockdiag) gone(cur *kernel.Task, s *inet.Stack, from netip.AddrPort) {
	if !d.nl.HasListeners(cur, uapi.NetlinkSockDiag, groupUDPDestroy) {
		return
	}
	b := make([]byte, inetDiagMsglen)
	b[0], b[1] = uapi.AFInet, tcpClose
	binary.BigEndian.PutUint16(b[4:], from.Port())
	copy(b[8:], from.Addr().AsSlice())
	b = uapi.AppendAttr(b, inetDiagShutdown, []byte{0})
	m := d.nl.NewSKB(cur, destroyRoom)
	if m == nil {
		return
	}
	m.Put(cur, uapi.AppendMessage(nil, uapi.NLMsgHdr{Type: uapi.SockDiagByFamily}, b))
	m.CB.DstGroup = groupUDPDestroy
	_ = d.nl.Broadcast(cur, d.nl.KernelSock(s.Net(), uapi.NetlinkSockDiag), m, 0, groupUDPDestroy)
}
