package rtnetlink

import (
	"encoding/binary"
	"net/netip"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/subsys/inet"
	"nlmmap/uapi"
)

// Types of requests whose errors are all that is modelled of them.
const (
	rtmSetlink      = 19
	rtmNewqdisc     = 36
	rtmDelqdisc     = 37
	rtmNewtclass    = 40
	rtmDeltclass    = 41
	rtmNewaction    = 48
	rtmDelaction    = 49
	rtmSetneightbl  = 67
	rtmDeladdrlabel = 73
	rtmNewnsid      = 88
)

// A request is a message that is no dump.
type request struct {
	m       *afnetlink.Message
	h       uapi.NLMsgHdr
	payload []byte
	family  byte
}

func (q *request) stack(r *Rtnetlink) *inet.Stack { return r.inet.Stack(q.m.Net()) }

// short reports whether the payload lacks its header of n bytes.
func (q *request) short(n int) bool { return len(q.payload) < n }

// do handles a request (spec 11.3): the do-handler of (family, type), or of the unspecified family. EOPNOTSUPP when
// there is none.
func (r *Rtnetlink) do(cur *kernel.Task, q *request) error {
	switch q.h.Type {
	case uapi.RTMNewlink:
		return r.newLink(cur, q)
	case uapi.RTMGetlink:
		return r.getLink(cur, q)
	case uapi.RTMNewneigh:
		return r.newNeigh(cur, q)
	case uapi.RTMDelneigh:
		return r.delNeigh(cur, q)
	}
	if q.family == uapi.AFInet || q.family == uapi.AFInet6 {
		if handled, err := r.doIP(cur, q); handled {
			return err
		}
	}
	if !r.built(q.h.Type) {
		return kernel.Errorf(kernel.EOPNOTSUPP, "there is no traffic control")
	}
	switch q.h.Type {
	case uapi.RTMDellink, rtmSetlink:
		return kernel.EINVAL
	case uapi.RTMNewrule, uapi.RTMDelrule:
		if q.short(rtmsgLen) { // the header of a rule is as long
			return kernel.EINVAL
		}
		if q.family == uapi.AFInet {
			return nil // rules are not modelled
		}
		return kernel.EAFNOSUPPORT
	case rtmNewqdisc, rtmDelqdisc, rtmGetqdisc, rtmNewtclass, rtmDeltclass, rtmGettclass:
		if q.short(tcmsgLen) {
			return kernel.EINVAL
		}
		return kernel.ENODEV
	case rtmNewaction, rtmDelaction, rtmGetaction, rtmSetneightbl, rtmNewnsid, rtmGetnsid:
		return kernel.EINVAL
	}
	return kernel.Errorf(kernel.EOPNOTSUPP, "nothing handles type %d, family %d", q.h.Type, q.family)
}

// doIP handles a request of IPv4 or IPv6; handled is false where that family has no handler. IPv6 answers as a kernel
// does to a request of zeros.
func (r *Rtnetlink) doIP(cur *kernel.Task, q *request) (handled bool, err error) {
	v4 := q.family == uapi.AFInet
	err = kernel.EINVAL
	switch q.h.Type {
	case uapi.RTMGetroute:
		switch {
		case q.short(rtmsgLen):
		case v4:
			err = r.getRoute(cur, q)
		default:
			err = r.reply(cur, q, uapi.NLMsgGoodsize, lookupHeadroom6, r.fillLookup6(q.stack(r).IPv6Addrs(cur)))
		}
	case uapi.RTMNewroute:
		switch {
		case q.short(rtmsgLen):
		case v4:
			err = r.newRoute(cur, q)
		default:
			err = kernel.ENODEV
		}
	case uapi.RTMDelroute:
		switch {
		case q.short(rtmsgLen):
		case v4:
			err = r.delRoute(cur, q)
		default:
			err = kernel.ENOENT
		}
	case uapi.RTMDeladdr:
		if v4 && !q.short(ifaddrmsgLen) {
			err = kernel.ENODEV
		}
	case rtmGetnetconf:
		if r.D.NetconfPositiveEinval {
			err = afnetlink.AckError(kernel.EINVAL)
		}
	case uapi.RTMNewaddr:
	case uapi.RTMGetaddr, rtmNewaddrlabel, rtmDeladdrlabel, rtmGetaddrlabel:
		return !v4, err
	default:
		return false, nil
	}
	return true, err
}

// findLink returns the device that a link request names by index or by name.
func (r *Rtnetlink) findLink(cur *kernel.Task, q *request) (d inet.Device, named, found bool, name, kind string) {
	index := int(int32(binary.LittleEndian.Uint32(q.payload[4:])))
	for a := range uapi.WellFormed(uapi.Attrs(q.payload, ifinfomsgLen)) {
		switch a.Type {
		case iflaIfname:
			name = gostring(a.Data)
		case iflaLinkinfo:
			for info := range uapi.WellFormed(a.Attrs()) {
				if info.Type == iflaInfoKind {
					kind = gostring(info.Data)
				}
			}
		}
	}
	stack := q.stack(r)
	if index > 0 {
		d, found = stack.Device(cur, index)
		return d, true, found, name, kind
	}
	for _, o := range stack.Devices(cur) {
		if name != "" && o.Name == name {
			return o, true, true, name, kind
		}
	}
	return d, name != "", false, name, kind
}

func gostring(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// newLink is rtnl_newlink: it brings a device up or down, or makes a dummy device.
//
// Errors: EINVAL for a short message; ENODEV when there is no such device and it is not to be made; EEXIST;
// EOPNOTSUPP for other kinds than dummy.
func (r *Rtnetlink) newLink(cur *kernel.Task, q *request) error {
	if len(q.payload) < ifinfomsgLen {
		return kernel.EINVAL
	}
	d, _, found, name, kind := r.findLink(cur, q)
	flags := binary.LittleEndian.Uint32(q.payload[8:])
	change := binary.LittleEndian.Uint32(q.payload[12:])
	switch {
	case found && q.h.Flags&uapi.NLMFExcl != 0:
		return kernel.EEXIST
	case !found && q.h.Flags&uapi.NLMFCreate == 0:
		return kernel.Errorf(kernel.ENODEV, "no such device")
	case !found && kind != inet.KindDummy:
		return kernel.Errorf(kernel.EOPNOTSUPP, "cannot make a device of kind %q", kind)
	case !found:
		var err error
		if d, err = q.stack(r).AddDevice(cur, kind, name); err != nil {
			return err
		}
	}
	if change == 0 && flags != 0 || change&iffUp != 0 {
		return q.stack(r).SetUp(cur, d.Index, flags&iffUp != 0)
	}
	return nil
}

// getLink is rtnl_getlink: EINVAL for a message that is short or names no device, ENODEV when there is none.
func (r *Rtnetlink) getLink(cur *kernel.Task, q *request) error {
	if len(q.payload) < ifinfomsgLen {
		return kernel.EINVAL
	}
	d, named, found, _, _ := r.findLink(cur, q)
	switch {
	case !named:
		return kernel.EINVAL
	case !found:
		return kernel.ENODEV
	}
	return r.reply(cur, q, linkRoom, 0, r.fillLink(uapi.RTMNewlink, d))
}

// neighRequest reads NEWNEIGH and DELNEIGH: EINVAL without destination, device, or with a link-layer address of
// less than 6 bytes; ENODEV; EAFNOSUPPORT for another family than IPv4.
func (r *Rtnetlink) neighRequest(cur *kernel.Task, q *request) (inet.Neigh, error) {
	var n inet.Neigh
	if len(q.payload) < ndmsgLen {
		return n, kernel.EINVAL
	}
	var dst, mac []byte
	for a := range uapi.WellFormed(uapi.Attrs(q.payload, ndmsgLen)) {
		switch a.Type {
		case ndaDst:
			dst = a.Data
		case ndaLladdr:
			mac = a.Data
		}
	}
	le := binary.LittleEndian
	n.Dev, n.State, n.Flags = int(int32(le.Uint32(q.payload[4:]))), le.Uint16(q.payload[8:]), q.payload[10]
	if dst == nil {
		return n, kernel.Errorf(kernel.EINVAL, "no destination")
	}
	if n.Dev != 0 {
		if _, ok := q.stack(r).Device(cur, n.Dev); !ok {
			return n, kernel.Errorf(kernel.ENODEV, "no device %d", n.Dev)
		}
	}
	if mac != nil && len(mac) < len(n.MAC) {
		return n, kernel.Errorf(kernel.EINVAL, "a link-layer address of %d bytes", len(mac))
	}
	if q.family != uapi.AFInet {
		return n, kernel.EAFNOSUPPORT
	}
	if len(dst) < 4 || n.Dev == 0 {
		return n, kernel.EINVAL
	}
	copy(n.MAC[:], mac)
	n.Dst = netip.AddrFrom4([4]byte(dst))
	return n, nil
}

// newNeigh is neigh_add: beside the errors of the request ENOENT when the neighbour is not to be made, EEXIST when it
// is not to be changed, ENOBUFS when there are too many.
func (r *Rtnetlink) newNeigh(cur *kernel.Task, q *request) error {
	n, err := r.neighRequest(cur, q)
	if err != nil {
		return err
	}
	_, exists := q.stack(r).FindNeigh(cur, n.Dev, n.Dst)
	switch {
	case !exists && q.h.Flags&uapi.NLMFCreate == 0:
		return kernel.ENOENT
	case exists && q.h.Flags&uapi.NLMFExcl != 0:
		return kernel.EEXIST
	}
	return q.stack(r).AddNeigh(cur, n)
}

// delNeigh is neigh_delete: ENOENT when there is no such neighbour.
func (r *Rtnetlink) delNeigh(cur *kernel.Task, q *request) error {
	n, err := r.neighRequest(cur, q)
	if err != nil {
		return err
	}
	return q.stack(r).DelNeigh(cur, n.Dev, n.Dst)
}

// getRoute is inet_rtm_getroute: the route to a destination, that to this host for none. ENETUNREACH without route.
func (r *Rtnetlink) getRoute(cur *kernel.Task, q *request) error {
	dst := netip.IPv4Unspecified()
	for a := range uapi.WellFormed(uapi.Attrs(q.payload, rtmsgLen)) {
		if a.Type == rtaDst && len(a.Data) >= 4 {
			dst = netip.AddrFrom4([4]byte(a.Data))
		}
	}
	route := inet.Route{Type: inet.RTNLocal, PrefSrc: netip.AddrFrom4([4]byte{127, 0, 0, 1}), Dev: inet.LoIndex}
	if dst != netip.IPv4Unspecified() {
		var err error
		if route, err = q.stack(r).Lookup(cur, dst, 0); err != nil {
			return err
		}
	}
	return r.reply(cur, q, uapi.NLMsgGoodsize, lookupHeadroom, fillLookup(dst, route))
}
