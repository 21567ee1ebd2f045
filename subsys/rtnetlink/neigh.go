package rtnetlink

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/subsys/inet"
	"nlmmap/uapi"
)

// Attributes of neighbours.
const (
	ndaDst       = 1
	ndaLladdr    = 2
	ndaCacheinfo = 3
	ndaProbes    = 4
	ndaIfindex   = 8
	ndaMaster    = 9

	ndmsgLen = 12

	ntfSelf  = 2
	ntfProxy = 8
)

// fillNeigh is neigh_fill_info (spec 11.4).
func fillNeigh(typ uint16, n inet.Neigh) filler {
	return func(cur *kernel.Task, s *afnetlink.SKB, h uapi.NLMsgHdr) bool {
		a, ok := begin(cur, s, h, typ, ndmsg(n, n.State, n.Flags, n.Type))
		if !ok {
			return false
		}
		a.putIP(ndaDst, n.Dst)
		switch {
		case n.Valid() && n.Bare:
			a.put(ndaLladdr, nil)
		case n.Valid():
			a.put(ndaLladdr, n.MAC[:])
		}
		a.put32(ndaProbes, 0)
		a.put(ndaCacheinfo, make([]byte, 16))
		return a.end()
	}
}

// fillProxy is pneigh_fill_info: an address that this host answers for.
func fillProxy(n inet.Neigh) filler {
	return func(cur *kernel.Task, s *afnetlink.SKB, h uapi.NLMsgHdr) bool {
		a, ok := begin(cur, s, h, uapi.RTMNewneigh, ndmsg(n, 0, n.Flags|ntfProxy, inet.RTNUnicast))
		if !ok {
			return false
		}
		a.putIP(ndaDst, n.Dst)
		return a.end()
	}
}

func ndmsg(n inet.Neigh, state uint16, flags, typ uint8) []byte {
	b := make([]byte, ndmsgLen)
	b[0] = uapi.AFInet
	if n.Dst.Is6() {
		b[0] = uapi.AFInet6
	}
	binary.LittleEndian.PutUint32(b[4:], uint32(n.Dev))
	binary.LittleEndian.PutUint16(b[8:], state)
	b[10], b[11] = flags, typ
	return b
}

// neighRequest reads NEWNEIGH and DELNEIGH: EINVAL without destination, device, or with a link-layer address of
// less than 6 bytes; ENODEV; EAFNOSUPPORT for a family without neighbours.
func (r *Rtnetlink) neighRequest(cur *kernel.Task, q *request) (n inet.Neigh, hasMAC bool, err error) {
	set, err := policy{}.parse(q.payload, ndmsgLen)
	if err != nil {
		return n, false, err
	}
	le := binary.LittleEndian
	n.Dev, n.State, n.Flags = int(int32(le.Uint32(q.payload[4:]))), le.Uint16(q.payload[8:]), q.payload[10]
	dst, ok := set[ndaDst]
	if !ok {
		return n, false, kernel.Errorf(kernel.EINVAL, "no destination")
	}
	addressed := true
	if n.Dev != 0 {
		d, ok := q.stack(r).Device(cur, n.Dev)
		if !ok {
			return n, false, kernel.Errorf(kernel.ENODEV, "no device %d", n.Dev)
		}
		addressed = d.Addressed()
	}
	mac, hasMAC := set[ndaLladdr]
	if hasMAC && addressed && len(mac) < len(n.MAC) {
		return n, false, kernel.Errorf(kernel.EINVAL, "a link-layer address of %d bytes", len(mac))
	}
	size := 4
	switch q.family {
	case uapi.AFInet:
	case uapi.AFInet6:
		size = 16
	default:
		return n, false, kernel.EAFNOSUPPORT
	}
	if len(dst) < size || n.Dev == 0 && n.Flags&ntfProxy == 0 {
		return n, false, kernel.EINVAL
	}
	copy(n.MAC[:], mac)
	n.Dst, _ = netip.AddrFromSlice(dst[:size])
	return n, hasMAC, nil
}

// newNeigh is neigh_add: beside the errors of the request ENOENT when the neighbour is not to be made, EEXIST when it
// is not to be changed, ENOBUFS when there are too many. An address that is known changes with REPLACE only.
func (r *Rtnetlink) newNeigh(cur *kernel.Task, q *request) error {
	n, hasMAC, err := r.neighRequest(cur, q)
	if err != nil {
		return err
	}
	stack := q.stack(r)
	if n.Flags&ntfProxy != 0 {
		n.Flags &^= ntfProxy
		stack.AddProxy(cur, n)
		return nil
	}
	n.Flags = 0
	_, exists := stack.FindNeigh(cur, n.Dev, n.Dst)
	switch {
	case !exists && q.h.Flags&uapi.NLMFCreate == 0:
		return kernel.ENOENT
	case exists && q.h.Flags&uapi.NLMFExcl != 0:
		return kernel.EEXIST
	}
	return stack.UpdateNeigh(cur, n, hasMAC, !exists || q.h.Flags&uapi.NLMFReplace != 0)
}

// delNeigh is neigh_delete: ENOENT when there is no such neighbour.
func (r *Rtnetlink) delNeigh(cur *kernel.Task, q *request) error {
	n, _, err := r.neighRequest(cur, q)
	if err != nil {
		return err
	}
	if n.Flags&ntfProxy != 0 {
		return q.stack(r).DelProxy(cur, n.Dev, n.Dst)
	}
	return q.stack(r).DelNeigh(cur, n.Dev, n.Dst)
}

// dumpNeighs is neigh_dump_info (spec 11.4): the table of a family, or all of them. The request is read for every
// message: where a dump is requested in place userspace can change the filter in between.
func (r *Rtnetlink) dumpNeighs(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int {
	p := cb.Nlh.Payload(cur)
	var family byte
	if len(p) > 0 {
		family = p[0]
	}
	stack := r.inet.Stack(cb.Net)
	var ifindex, master uint32
	var flags uint16
	if len(p) >= ndmsgLen {
		if p[10] == ntfProxy {
			return list(cur, s, cb, proxies(stack.Proxies(cur), family), fillProxy)
		}
		if r.D.NeighDumpFilter {
			ifindex, master = neighFilter(p)
		}
	}
	if ifindex != 0 || master != 0 {
		flags = uapi.NLMFDumpFiltered
	}
	at := r.neighTables(cur, stack, family)
	return each(cur, s, cb, flags, func(i int) (filler, bool) {
		n, ok := at(i)
		if master != 0 || ifindex != 0 && uint32(n.Dev) != ifindex { // no device has a master
			return nil, ok
		}
		return fillNeigh(uapi.RTMNewneigh, n), ok
	})
}

func proxies(all []inet.Neigh, family byte) (list []inet.Neigh) {
	for _, n := range all {
		if family == uapi.AFUnspec || n.Dst.Is6() == (family == uapi.AFInet6) {
			list = append(list, n)
		}
	}
	return list
}

func neighFilter(p []byte) (ifindex, master uint32) {
	for a := range uapi.WellFormed(uapi.Attrs(p, ndmsgLen)) {
		if len(a.Data) != 4 {
			continue
		}
		switch a.Type {
		case ndaIfindex:
			ifindex = binary.LittleEndian.Uint32(a.Data)
		case ndaMaster:
			master = binary.LittleEndian.Uint32(a.Data)
		}
	}
	return ifindex, master
}

// neighFamilies are the families whose tables a dump for one family shows, 0 for all, in the order in which it does.
func (r *Rtnetlink) neighFamilies(family byte) []byte {
	families := []byte{uapi.AFInet, uapi.AFInet6}
	if r.D.NeighTablesNewest {
		slices.Reverse(families)
	}
	return slices.DeleteFunc(families, func(f byte) bool { return family != uapi.AFUnspec && f != family })
}

// neighTables numbers the neighbours of a family, 0 for all, in the order of a dump.
func (r *Rtnetlink) neighTables(cur *kernel.Task, stack *inet.Stack, family byte) (at func(i int) (inet.Neigh, bool)) {
	var all []inet.Neigh
	for _, f := range r.neighFamilies(family) {
		for i := 0; ; i++ {
			n, ok := stack.NeighAt(cur, i)
			if !ok {
				break
			}
			if n.Dst.Is6() == (f == uapi.AFInet6) {
				all = append(all, n)
			}
		}
		if f == uapi.AFInet6 {
			all = append(all, stack.IPv6Neighs(cur)...)
		}
	}
	return func(i int) (n inet.Neigh, ok bool) {
		if i < len(all) {
			return all[i], true
		}
		return n, false
	}
}

// dumpFDB is rtnl_fdb_dump: the link-layer addresses that devices listen to beside their own.
func (r *Rtnetlink) dumpFDB(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int {
	type entry struct {
		dev int
		mac [6]byte
	}
	var all []entry
	for _, d := range r.inet.Stack(cb.Net).Devices(cur) {
		if d.Ethernet() && d.IPv6Hosts {
			all = append(all, entry{d.Index, [6]byte{0x33, 0x33, 0, 0, 0, 1}})
		}
		if d.Ethernet() && d.Up() { // the group of all hosts of IPv4
			all = append(all, entry{d.Index, [6]byte{1, 0, 0x5e, 0, 0, 1}})
		}
	}
	return list(cur, s, cb, all, func(e entry) filler { return fillFDB(e.dev, e.mac) })
}

// fillFDB is nlmsg_populate_fdb_fill: a link-layer address that a device listens to.
func fillFDB(dev int, mac [6]byte) filler {
	return func(cur *kernel.Task, s *afnetlink.SKB, h uapi.NLMsgHdr) bool {
		header := ndmsg(inet.Neigh{Dev: dev}, inet.NUDPermanent, ntfSelf, 0)
		header[0] = afBridge
		a, ok := begin(cur, s, h, uapi.RTMNewneigh, header)
		if !ok {
			return false
		}
		a.put(ndaLladdr, mac[:])
		return a.end()
	}
}

// neighChanged announces a neighbour: __neigh_notify.
func (r *Rtnetlink) neighChanged(cur *kernel.Task, s *inet.Stack, n inet.Neigh, gone bool) {
	typ := uint16(uapi.RTMNewneigh)
	if gone {
		typ = uapi.RTMDelneigh
	}
	r.notify(cur, s.Net(), GroupNeigh, neighRoom, inet.Cause{}, fillNeigh(typ, n))
}
