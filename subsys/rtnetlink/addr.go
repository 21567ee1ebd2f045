package rtnetlink

import (
	"encoding/binary"
	"net/netip"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/subsys/inet"
	"nlmmap/uapi"
)

// Attributes of addresses.
const (
	ifaAddress   = 1
	ifaLocal     = 2
	ifaLabel     = 3
	ifaBroadcast = 4
	ifaCacheinfo = 6
	ifaMulticast = 7
	ifaFlags     = 8

	ifaddrmsgLen = 8
)

var addrAttrs = policy{
	ifaAddress: least(4), ifaLocal: least(4), ifaBroadcast: least(4), ifaLabel: text(15), ifaCacheinfo: least(16), ifaFlags: least(4),
}

// fillAddr is inet_fill_ifaddr, as an answer or a notification of an IPv4 address.
func (r *Rtnetlink) fillAddr(typ uint16, addr inet.Addr) filler {
	return func(cur *kernel.Task, s *afnetlink.SKB, h uapi.NLMsgHdr) bool {
		header := []byte{uapi.AFInet, byte(addr.Prefix.Bits()), byte(addr.Flags), addr.Scope}
		header = binary.LittleEndian.AppendUint32(header, uint32(addr.Dev))
		a, ok := begin(cur, s, h, typ, header)
		if !ok {
			return false
		}
		peer := addr.Prefix.Addr()
		if addr.Peer.IsValid() {
			peer = addr.Peer
		}
		if peer != netip.IPv4Unspecified() {
			a.putIP(ifaAddress, peer)
		}
		if addr.Prefix.Addr() != netip.IPv4Unspecified() {
			a.putIP(ifaLocal, addr.Prefix.Addr())
		}
		a.putIP(ifaBroadcast, addr.Broadcast)
		if addr.Label != "" {
			a.put(ifaLabel, cstring(addr.Label))
		}
		r.putAddrFlags(&a, addr.Flags)
		a.put(ifaCacheinfo, lifetimes(addr))
		return a.end()
	}
}

// putAddrFlags says once more which flags an address has, with more room for them.
func (r *Rtnetlink) putAddrFlags(a *attrs, flags uint32) {
	if r.hasAddrFlags() {
		a.put32(ifaFlags, flags)
	}
}

// hasAddrFlags reports whether requests and messages have flags of 32 bits.
func (r *Rtnetlink) hasAddrFlags() bool { return r.D.AddrFlags }

// lifetimes is struct ifa_cacheinfo.
func lifetimes(addr inet.Addr) []byte {
	b := binary.LittleEndian.AppendUint32(nil, addr.Preferred)
	b = binary.LittleEndian.AppendUint32(b, addr.Valid)
	return append(b, make([]byte, 8)...)
}

// newAddr is inet_rtm_newaddr: it gives a device an address, or with REPLACE changes what can change of one.
//
// Errors: EINVAL for a prefix of more than 32 bits, no local address, or lifetimes that contradict each other; ENODEV;
// EEXIST.
func (r *Rtnetlink) newAddr(cur *kernel.Task, q *request) error {
	attrs, err := addrAttrs.parse(q.payload, ifaddrmsgLen)
	if err != nil {
		return err
	}
	bits, index := int(q.payload[1]), int(int32(binary.LittleEndian.Uint32(q.payload[4:])))
	local := attrs.ip(ifaLocal, 4)
	if bits > 32 || !local.IsValid() {
		return kernel.Errorf(kernel.EINVAL, "no address, or a prefix of %d bits", bits)
	}
	stack := q.stack(r)
	d, ok := stack.Device(cur, index)
	if !ok {
		return kernel.Errorf(kernel.ENODEV, "no device %d", index)
	}
	if !d.IPv4 {
		return kernel.ENOBUFS
	}
	a := inet.Addr{Prefix: netip.PrefixFrom(local, bits), Broadcast: attrs.ip(ifaBroadcast, 4), Dev: index, Scope: q.payload[3],
		Label: d.Name, Preferred: inet.Forever, Valid: inet.Forever}
	if peer := attrs.ip(ifaAddress, 4); peer.IsValid() && peer != local {
		a.Peer = peer
	}
	if label := gostring(attrs[ifaLabel]); attrs.has(ifaLabel) {
		a.Label = label
	}
	a.Flags = uint32(q.payload[2])
	if r.hasAddrFlags() {
		a.Flags = attrs.get32(ifaFlags, a.Flags)
	}
	a.Flags |= inet.AddrPermanent
	hasLife := attrs.has(ifaCacheinfo)
	if hasLife {
		info := attrs[ifaCacheinfo]
		a.Preferred, a.Valid = binary.LittleEndian.Uint32(info), binary.LittleEndian.Uint32(info[4:])
		if a.Valid == 0 || a.Preferred > a.Valid {
			return kernel.Errorf(kernel.EINVAL, "lifetimes %d and %d", a.Preferred, a.Valid)
		}
		if a.Valid != inet.Forever {
			a.Flags &^= inet.AddrPermanent
		}
	}
	if q.h.Flags&uapi.NLMFReplace != 0 && q.h.Flags&uapi.NLMFExcl == 0 {
		for _, o := range stack.AddrsOf(cur, index) {
			if o.Prefix.Addr() == a.Prefix.Addr() && o.Prefix.Bits() == bits && samePeer(o, a) {
				o.Preferred, o.Valid = a.Preferred, a.Valid
				o.Flags = o.Flags&^inet.AddrPermanent | a.Flags&inet.AddrPermanent
				stack.ChangeAddr(cur, q.cause(), o)
				return nil
			}
		}
	}
	if local == netip.IPv4Unspecified() {
		return nil
	}
	const unsettable = 0x08 | 0x20 | 0x40 | 0x10 // IFA_F_DADFAILED, DEPRECATED, TENTATIVE, HOMEADDRESS
	a.Flags &^= unsettable
	return stack.AddAddr(cur, q.cause(), a)
}

func samePeer(a, b inet.Addr) bool { return a.Peer == b.Peer }

// delAddr is inet_rtm_deladdr: ENODEV, EADDRNOTAVAIL when the device has no such address.
func (r *Rtnetlink) delAddr(cur *kernel.Task, q *request) error {
	attrs, err := addrAttrs.parse(q.payload, ifaddrmsgLen)
	if err != nil {
		return err
	}
	stack := q.stack(r)
	index := int(int32(binary.LittleEndian.Uint32(q.payload[4:])))
	if d, ok := stack.Device(cur, index); !ok || !d.IPv4 {
		return kernel.Errorf(kernel.ENODEV, "no device %d", index)
	}
	bits := int(q.payload[1])
	local, peer := attrs.ip(ifaLocal, 4), attrs.ip(ifaAddress, 4)
	label, hasLabel := attrs[ifaLabel]
	return stack.DelAddr(cur, q.cause(), index, func(a inet.Addr) bool {
		at := a.Prefix.Addr()
		if a.Peer.IsValid() {
			at = a.Peer
		}
		return (!local.IsValid() || local == a.Prefix.Addr()) && (!hasLabel || gostring(label) == a.Label) &&
			(!peer.IsValid() || bits == a.Prefix.Bits() && netip.PrefixFrom(at, bits).Contains(peer))
	})
}

// dumpAddrs is inet_dump_ifaddr.
func (r *Rtnetlink) dumpAddrs(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int {
	stack := r.inet.Stack(cb.Net)
	all := stack.Addrs(cur)
	cb.Seq = uint32(len(all)) ^ linkSeq(cur, stack)
	return list(cur, s, cb, all, func(a inet.Addr) filler { return r.fillAddr(uapi.RTMNewaddr, a) })
}

// addrChanged announces an address: rtmsg_ifa.
func (r *Rtnetlink) addrChanged(cur *kernel.Task, s *inet.Stack, a inet.Addr, gone bool, by inet.Cause) {
	typ := uint16(uapi.RTMNewaddr)
	if gone {
		typ = uapi.RTMDeladdr
	}
	if a.Prefix.Addr().Is6() {
		r.notify(cur, s.Net(), GroupIPv6Addr, addrRoom, by, r.fillAddr6(typ, a))
		return
	}
	r.notify(cur, s.Net(), GroupIPv4Addr, addrRoom, by, r.fillAddr(typ, a))
}
