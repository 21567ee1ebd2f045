// Package sockdiag is NETLINK_SOCK_DIAG for netlink sockets (spec 13.5): what sockets there are, with their groups,
// memory and rings.
//
// The figures of rings are those of the last ring request, checked or not (defect diag-ring-figures), and each
// socket's pg_vec_lock is taken for them. A request that is sent through a TX ring therefore waits for a lock that its
// sender holds, for ever (defect diag-mutex-atomic). A kernel then also holds nl_table_lock, so that the next socket
// that is opened hangs too; this is not modelled.
//
// Of other families IPv4 and IPv6 have handlers, which know TCP and find no socket.
package sockdiag

import (
	"encoding/binary"
	"slices"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/subsys/inet"
	"nlmmap/uapi"
)

// Bits of a request's show mask, types of attributes and of requests.
const (
	ShowMeminfo  = 1
	ShowGroups   = 2
	ShowRingConf = 4

	AttrMeminfo = uapi.NetlinkDiagMeminfo
	AttrGroups  = uapi.NetlinkDiagGroups
	AttrRxRing  = uapi.NetlinkDiagRxRing
	AttrTxRing  = uapi.NetlinkDiagTxRing

	tcpdiagGetsock  = 18
	dccpdiagGetsock = 19
	sockDestroy     = 21

	allProtocols = uapi.NetlinkDiagAll
	requestLen   = uapi.NetlinkDiagReqlen
	protoTCP     = 6
	// inetRequestLen is the length of a request for IPv4 and IPv6.
	inetRequestLen = 56
	answerLen      = uapi.NetlinkDiagMsglen
	oldQueryLen    = 60
	families       = 41

	// Requests for UNIX and for packet sockets. There are none to be found: see docs/not-modelled.md.
	unixRequestLen   = 24
	offUnixInode     = 8
	packetRequestLen = 20
)

// Sockdiag is the subsystem on one machine.
type Sockdiag struct {
	D  Differences
	nl *afnetlink.Netlink
}

// Register brings the subsystem up: sock_diag_init and netlink_diag_init.
func Register(nl *afnetlink.Netlink, ip *inet.Inet, differences *Differences) *Sockdiag {
	d := &Sockdiag{D: *differences, nl: nl}
	open := d.D.GroupsOpen
	if open {
		ip.Notify(inet.Notifier{Gone: d.gone})
	}
	nl.KernelCreate(uapi.NetlinkSockDiag, afnetlink.KernelCfg{NonrootRecv: open, Input: d.input})
	return d
}

// input is sock_diag_rcv.
func (d *Sockdiag) input(cur *kernel.Task, m *afnetlink.Message) { afnetlink.RcvSKB(cur, m, d.receive) }

// receive is sock_diag_rcv_msg.
//
// Errors: EINVAL for an unknown type and a short request; ENOENT for a family without handler; EOPNOTSUPP for a
// request that is no dump, and for destroying; EINTR for a dump that has started.
func (d *Sockdiag) receive(cur *kernel.Task, m *afnetlink.Message, msg afnetlink.Msg, h uapi.NLMsgHdr) error {
	payload := msg.Payload(cur)
	switch h.Type {
	case tcpdiagGetsock, dccpdiagGetsock:
		if h.Flags&uapi.NLMFDump == 0 && len(payload) >= oldQueryLen {
			return kernel.ENOENT
		}
		return d.inetDump(cur, m, msg, len(payload)-oldQueryLen, h.Type == tcpdiagGetsock)
	case uapi.SockDiagByFamily:
	case sockDestroy:
		if !d.D.Destroy {
			return kernel.EINVAL
		}
	default:
		return kernel.Errorf(kernel.EINVAL, "sock_diag type %d", h.Type)
	}
	switch {
	case len(payload) < 2 || payload[0] >= families:
		return kernel.EINVAL
	case payload[0] == uapi.AFInet || payload[0] == uapi.AFInet6:
		return d.inet(cur, m, msg, h, payload)
	case payload[0] != uapi.AFNetlink && payload[0] != uapi.AFUnix && payload[0] != uapi.AFPacket:
		return kernel.Errorf(kernel.ENOENT, "no diagnostics of address family %d", payload[0])
	case h.Type == sockDestroy:
		return kernel.EOPNOTSUPP
	case payload[0] == uapi.AFUnix:
		return d.unix(cur, m, msg, h, payload)
	case payload[0] == uapi.AFPacket:
		return d.packet(cur, m, msg, h, payload)
	case len(payload) < requestLen:
		return kernel.EINVAL
	case h.Flags&uapi.NLMFDump == 0:
		return kernel.EOPNOTSUPP
	}
	return d.nl.DumpStart(cur, m, msg, afnetlink.DumpControl{Dump: d.dump})
}

// inet is inet_diag_handler_dump.
func (d *Sockdiag) inet(cur *kernel.Task, m *afnetlink.Message, msg afnetlink.Msg, h uapi.NLMsgHdr, payload []byte) error {
	tcp := payload[1] == protoTCP
	switch {
	case len(payload) < inetRequestLen:
		return kernel.EINVAL
	case h.Type == sockDestroy && tcp:
		return kernel.EOPNOTSUPP
	case h.Type == sockDestroy || h.Flags&uapi.NLMFDump == 0:
		return kernel.Errorf(kernel.ENOENT, "no socket")
	}
	return d.inetDump(cur, m, msg, len(payload)-inetRequestLen, tcp)
}

// inetDump starts a dump that lists nothing; of other protocols than TCP it ends with ENOENT. EINVAL when the request is
// short, and when it has more than its header, which would be a filter.
func (d *Sockdiag) inetDump(cur *kernel.Task, m *afnetlink.Message, msg afnetlink.Msg, rest int, tcp bool) error {
	if rest != 0 {
		return kernel.EINVAL
	}
	nothing := func(_ *kernel.Task, s *afnetlink.SKB, _ *afnetlink.Callback) int {
		if !tcp {
			return -int(kernel.ENOENT)
		}
		return s.Len()
	}
	return d.nl.DumpStart(cur, m, msg, afnetlink.DumpControl{Dump: nothing})
}

// nothing is the dump of a list in which there is nothing.
func nothing(_ *kernel.Task, s *afnetlink.SKB, _ *afnetlink.Callback) int { return s.Len() }

// unix is unix_diag_handler_dump. No request asks for a socket by a number that there is.
func (d *Sockdiag) unix(cur *kernel.Task, m *afnetlink.Message, msg afnetlink.Msg, h uapi.NLMsgHdr, payload []byte) error {
	switch {
	case len(payload) < unixRequestLen:
		return kernel.EINVAL
	case h.Flags&uapi.NLMFDump == 0:
		if binary.LittleEndian.Uint32(payload[offUnixInode:]) == 0 {
			return kernel.EINVAL
		}
		return kernel.ENOENT
	}
	return d.nl.DumpStart(cur, m, msg, afnetlink.DumpControl{Dump: nothing})
}

// packet is packet_diag_handler_dump.
func (d *Sockdiag) packet(cur *kernel.Task, m *afnetlink.Message, msg afnetlink.Msg, h uapi.NLMsgHdr, payload []byte) error {
	switch {
	case len(payload) < packetRequestLen || payload[1] != 0:
		return kernel.EINVAL
	case h.Flags&uapi.NLMFDump == 0:
		return kernel.EOPNOTSUPP
	}
	return d.nl.DumpStart(cur, m, msg, afnetlink.DumpControl{Dump: nothing})
}

// dump is netlink_diag_dump. Args[0] is the protocol, Args[1] the position in its list. A protocol that cannot exist
// ends with ENOENT.
func (d *Sockdiag) dump(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int {
	p := cb.Nlh.Payload(cur)
	if len(p) < requestLen {
		return s.Len()
	}
	show := binary.LittleEndian.Uint32(p[8:])
	first, last := int(p[1]), int(p[1])
	if p[1] == allProtocols {
		first, last = 0, uapi.MaxLinks-1
	} else if first >= uapi.MaxLinks {
		return -int(kernel.ENOENT)
	}
	for cb.Args[0] = max(cb.Args[0], int64(first)); int(cb.Args[0]) <= last; cb.Args[0]++ {
		socks := d.list(cur, cb.Net, int(cb.Args[0]))
		for ; int(cb.Args[1]) < len(socks); cb.Args[1]++ {
			if !d.fill(cur, s, cb, socks[cb.Args[1]], show) {
				return s.Len()
			}
		}
		cb.Args[1] = 0
	}
	return s.Len()
}

// list returns the sockets of a protocol in the order of a dump: all bound ones, then the subscribers, where not
// diag-mc-twice only those that are not bound.
func (d *Sockdiag) list(cur *kernel.Task, net *kernel.Net, proto int) []*afnetlink.Sock {
	all := d.nl.Bound(cur, net, proto, true)
	bound := len(all)
	for _, sk := range d.nl.Subscribers(cur, net, proto) {
		if d.D.McTwice || !slices.Contains(all[:bound], sk) {
			all = append(all, sk)
		}
	}
	return all
}

// fill appends one answer: sk_diag_fill. It returns false, and leaves s as it was, when it does not fit.
func (d *Sockdiag) fill(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback, sk *afnetlink.Sock, show uint32) bool {
	h := uapi.NLMsgHdr{Type: uapi.SockDiagByFamily, Flags: uapi.NLMFMulti, Seq: cb.Nlh.Seq(cur), Pid: cb.Portid}
	b, ok := afnetlink.PutMsg(cur, s, h, answerLen)
	if !ok {
		return false
	}
	b.Put(cur, s, d.header(cur, sk))
	ok = true
	if groups := sk.Groups(cur); show&ShowGroups != 0 && len(groups) > 0 {
		// The bitmap consists of longs.
		ok = b.Attr(cur, s, AttrGroups, words(append(slices.Clip(groups), make([]uint32, len(groups)%2)...)...))
	}
	if show&ShowMeminfo != 0 {
		ok = ok && b.Attr(cur, s, AttrMeminfo, words(uint32(sk.Rmem.Load(cur)), uint32(sk.Rcvbuf.Load(cur)), 0,
			uint32(sk.Sndbuf.Load(cur)), 0, 0, 0, 0))
	}
	if show&ShowRingConf != 0 {
		ok = ok && putRings(cur, s, b, sk)
	}
	if !ok {
		b.Cancel(s)
		return false
	}
	b.End(cur, s)
	return true
}

// putRings is sk_diag_put_rings_cfg.
func putRings(cur *kernel.Task, s *afnetlink.SKB, b afnetlink.Builder, sk *afnetlink.Sock) bool {
	if sk.PgVecLock().Held(cur) {
		cur.Kernel().Taint(cur, "diag-mutex-atomic", "the task waits for ever for the pg_vec_lock that it holds, and keeps what it has")
	}
	sk.PgVecLock().Lock(cur)
	rx, tx := sk.RxRing().Request(cur), sk.TxRing().Request(cur)
	ok := b.Attr(cur, s, AttrRxRing, rx.Bytes()) && b.Attr(cur, s, AttrTxRing, tx.Bytes())
	sk.PgVecLock().Unlock(cur)
	return ok
}

func (d *Sockdiag) header(cur *kernel.Task, sk *afnetlink.Sock) []byte {
	state, portid, group := sk.Peer(cur)
	b := []byte{uapi.AFNetlink, byte(sk.Type), byte(sk.Protocol), state}
	cookie := 0xffff880010000000 + sk.Inode*0x800
	if d.D.CookieCounter {
		cookie = sk.Inode // counts sockets too
	}
	return append(b, words(sk.Portid(cur), portid, group, uint32(sk.Inode), uint32(cookie), uint32(cookie>>32))...)
}

func words(w ...uint32) []byte {
	b := make([]byte, 0, 4*len(w))
	for _, v := range w {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}
