package rtnetlink

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/subsys/inet"
	"nlmmap/uapi"
)

// Attributes of links.
const (
	iflaAddress        = 1
	iflaBroadcast      = 2
	iflaIfname         = 3
	iflaMTU            = 4
	iflaQdisc          = 6
	iflaStats          = 7
	iflaMaster         = 10
	iflaProtinfo       = 12
	iflaTxqlen         = 13
	iflaMap            = 14
	iflaOperstate      = 16
	iflaLinkmode       = 17
	iflaLinkinfo       = 18
	iflaIfalias        = 20
	iflaStats64        = 23
	iflaAfSpec         = 26
	iflaGroup          = 27
	iflaExtMask        = 29
	iflaPromiscuity    = 30
	iflaNumTxQueues    = 31
	iflaNumRxQueues    = 32
	iflaCarrier        = 33
	iflaCarrierChanges = 35
	iflaProtoDown      = 39

	iflaInfoKind = 1

	ifinfomsgLen = 16

	arphrdEther    = 1
	arphrdLoopback = 772
	arphrdNetlink  = 824

	// extSkipStats in iflaExtMask leaves the statistics of IPv6 out (RTEXT_FILTER_SKIP_STATS).
	extSkipStats = 8
)

// linkAttrs are what requests say of links: the least length of each attribute, and for names the most.
var linkAttrs = policy{
	iflaIfname: text(15), iflaAddress: most(32), iflaBroadcast: most(32), iflaMap: least(32), iflaMTU: least(4),
	iflaMaster: least(4), iflaTxqlen: least(4), iflaOperstate: least(1), iflaLinkmode: least(1), iflaIfalias: text(255),
	iflaGroup: least(4), iflaNumTxQueues: least(4), iflaNumRxQueues: least(4), iflaExtMask: least(4), iflaCarrier: least(1),
	iflaPromiscuity: least(4),
}

// fillLink is rtnl_fill_ifinfo (spec 11.7). change are the flags that have changed, mask what the request wants.
func (r *Rtnetlink) fillLink(typ uint16, d inet.Device, change, mask uint32) filler {
	return func(cur *kernel.Task, s *afnetlink.SKB, h uapi.NLMsgHdr) bool {
		a, ok := begin(cur, s, h, typ, ifinfomsg(uapi.AFUnspec, d, change))
		if !ok {
			return false
		}
		a.put(iflaIfname, cstring(d.Name))
		a.put32(iflaTxqlen, d.TxQueueLen)
		a.put(iflaOperstate, []byte{d.OperState()})
		a.put(iflaLinkmode, []byte{d.LinkMode})
		a.put32(iflaMTU, d.MTU)
		a.put32(iflaGroup, d.Group)
		a.put32(iflaPromiscuity, d.Promiscuity)
		a.put32(iflaNumTxQueues, d.Queues[0])
		a.put(iflaCarrier, []byte{carrier(d)})
		a.put(iflaQdisc, cstring(d.Qdisc))
		if d.Alias != "" {
			a.put(iflaIfalias, cstring(d.Alias))
		}
		if r.D.LinkCarrierChanges {
			a.put32(iflaCarrierChanges, d.CarrierChanges)
		}
		if r.D.LinkProtoDown {
			a.put(iflaProtoDown, []byte{0})
		}
		a.put(iflaMap, make([]byte, 32))
		if addr := linkAddress(d); addr != nil {
			a.put(iflaAddress, addr)
			a.put(iflaBroadcast, d.Broadcast[:len(addr)])
		}
		a.put(iflaStats, linkStats(4, d.Solicits.Sent(r.now())))
		a.put(iflaStats64, linkStats(8, d.Solicits.Sent(r.now())))
		if d.Kind != "" {
			a.nest(iflaLinkinfo, func() { a.put(iflaInfoKind, cstring(d.Kind)) })
		}
		a.nest(iflaAfSpec, func() {
			if d.IPv4 {
				a.nest(uapi.AFInet, func() { a.put(iflaInetConf, r.inetConf(d)) })
			}
			if d.IPv6 {
				a.nest(uapi.AFInet6, func() { r.fillInet6(&a, d, mask&extSkipStats == 0 || !r.D.LinkSkipStats) })
			}
		})
		return a.end()
	}
}

// carrier is 1 for a device that has one.
func carrier(d inet.Device) byte {
	if d.NoCarrier {
		return 0
	}
	return 1
}

// linkStats are the statistics of a device in words of 4 or 8 bytes (struct rtnl_link_stats): it has sent router solicitations and
// nothing else.
func linkStats(word, sent int) []byte {
	const words, txPackets, txBytes = 23, 1, 3
	b := make([]byte, word*words)
	binary.LittleEndian.PutUint32(b[word*txPackets:], uint32(sent))
	binary.LittleEndian.PutUint32(b[word*txBytes:], uint32(sent*inet.SolicitLen))
	return b
}

// linkAddress is the link-layer address, nil where a device has none.
func linkAddress(d inet.Device) []byte {
	if d.Kind == inet.KindNlmon {
		return nil
	}
	return d.MAC[:]
}

// fillLink6 is inet6_fill_ifinfo: a link as IPv6 sees it.
func (r *Rtnetlink) fillLink6(d inet.Device) filler {
	return func(cur *kernel.Task, s *afnetlink.SKB, h uapi.NLMsgHdr) bool {
		a, ok := begin(cur, s, h, uapi.RTMNewlink, ifinfomsg(uapi.AFInet6, d, 0))
		if !ok {
			return false
		}
		a.put(iflaIfname, cstring(d.Name))
		if addr := linkAddress(d); addr != nil {
			a.put(iflaAddress, addr)
		}
		a.put32(iflaMTU, d.MTU)
		if r.D.LinkOperstateIPv6 {
			a.put(iflaOperstate, []byte{d.OperState()})
		}
		a.nest(iflaProtinfo, func() { r.fillInet6(&a, d, true) })
		return a.end()
	}
}

func ifinfomsg(family byte, d inet.Device, change uint32) []byte {
	le := binary.LittleEndian
	b := make([]byte, ifinfomsgLen)
	b[0] = family
	le.PutUint16(b[2:], linkType(d))
	le.PutUint32(b[4:], uint32(d.Index))
	le.PutUint32(b[8:], d.Shown())
	le.PutUint32(b[12:], change)
	return b
}

// linkType is the type of a device, which says what its addresses are.
func linkType(d inet.Device) uint16 {
	switch {
	case d.Loopback():
		return arphrdLoopback
	case d.Kind == inet.KindNlmon:
		return arphrdNetlink
	}
	return arphrdEther
}

// A linkRequest is what a request says of a link.
type linkRequest struct {
	index         int
	flags, change uint32
	attrs         attrSet
	kind          string
}

// linkRequest reads a request about a link: EINVAL for a short one, ERANGE for an attribute that is too short.
func (q *request) linkRequest() (l linkRequest, err error) {
	if q.short(ifinfomsgLen) {
		return l, kernel.EINVAL
	}
	le := binary.LittleEndian
	l.index = int(int32(le.Uint32(q.payload[4:])))
	l.flags, l.change = le.Uint32(q.payload[8:]), le.Uint32(q.payload[12:])
	if l.attrs, err = linkAttrs.parse(q.payload, ifinfomsgLen); err != nil {
		return l, err
	}
	if info, ok := l.attrs[iflaLinkinfo]; ok {
		for a := range uapi.WellFormed(uapi.Attrs(info, 0)) {
			if a.Type == iflaInfoKind {
				l.kind = gostring(a.Data)
			}
		}
	}
	return l, nil
}

// find returns the device that a request names by index or by name.
func (l *linkRequest) find(cur *kernel.Task, stack *inet.Stack) (d inet.Device, named, found bool) {
	name, hasName := l.attrs[iflaIfname]
	switch {
	case l.index > 0:
		d, found = stack.Device(cur, l.index)
		return d, true, found
	case hasName:
		d, found = stack.DeviceNamed(cur, gostring(name))
		return d, true, found
	}
	return d, false, false
}

// existingLink reads a request about a link that must be there: EINVAL when it names none, ENODEV when there is none, and the
// errors of linkRequest.
func (q *request) existingLink(cur *kernel.Task, stack *inet.Stack) (l linkRequest, d inet.Device, err error) {
	if l, err = q.linkRequest(); err != nil {
		return l, d, err
	}
	d, named, found := l.find(cur, stack)
	switch {
	case !named:
		err = kernel.EINVAL
	case !found:
		err = kernel.ENODEV
	}
	return l, d, err
}

// newLink is rtnl_newlink: it changes a device, or makes one.
//
// Errors: ENODEV when there is no such device and it is not to be made; EEXIST and EOPNOTSUPP when it is there and the
// request says that it is not, or is to be replaced; EOPNOTSUPP for another kind than dummy; those of a change.
func (r *Rtnetlink) newLink(cur *kernel.Task, q *request) error {
	l, err := q.linkRequest()
	if err != nil {
		return err
	}
	stack := q.stack(r)
	d, _, found := l.find(cur, stack)
	if err := validateLink(&l, found); err != nil {
		return err
	}
	switch {
	case found && q.h.Flags&uapi.NLMFExcl != 0:
		return kernel.EEXIST
	case found && q.h.Flags&uapi.NLMFReplace != 0:
		return kernel.EOPNOTSUPP
	case found && l.kind != "" && l.kind != d.Kind:
		return kernel.EOPNOTSUPP
	case found:
		return r.setLink(cur, stack, d, &l)
	case q.h.Flags&uapi.NLMFCreate == 0:
		if group, ok := l.attrs[iflaGroup]; ok && l.index == 0 && !l.attrs.has(iflaIfname) {
			return r.setGroup(cur, stack, &l, group)
		}
		return kernel.Errorf(kernel.ENODEV, "no such device")
	case l.kind != inet.KindDummy && (l.kind != inet.KindNlmon || !r.D.Nlmon):
		return kernel.Errorf(kernel.EOPNOTSUPP, "cannot make a device of kind %q", l.kind)
	case l.attrs.has(iflaMap) || l.attrs.has(iflaMaster):
		return kernel.EOPNOTSUPP
	}
	return r.makeLink(cur, stack, &l)
}

// validateLink is validate_linkmsg and the validation of dummy devices.
func validateLink(l *linkRequest, found bool) error {
	if addr, ok := l.attrs[iflaAddress]; ok {
		if len(addr) < 6 && (found || l.kind == inet.KindDummy) {
			return kernel.Errorf(kernel.EINVAL, "an address of %d bytes", len(addr))
		}
		if l.kind == inet.KindDummy && !unicastMAC(addr) {
			return kernel.Errorf(unix.EADDRNOTAVAIL, "no address of a device")
		}
	}
	return nil
}

// checkAddress is the check of ndo_set_mac_address: EOPNOTSUPP where the device keeps its address, EADDRNOTAVAIL for one of a group.
func (r *Rtnetlink) checkAddress(d inet.Device, addr []byte) error {
	switch {
	case d.Loopback() && !r.D.LoAddress:
		return kernel.EOPNOTSUPP
	case d.Ethernet() && !unicastMAC(addr):
		return kernel.Errorf(unix.EADDRNOTAVAIL, "no address of a device")
	}
	return nil
}

func unicastMAC(addr []byte) bool {
	return addr[0]&1 == 0 && [6]byte(addr) != [6]byte{}
}

// makeLink is rtnl_create_link.
func (r *Rtnetlink) makeLink(cur *kernel.Task, stack *inet.Stack, l *linkRequest) error {
	name := gostring(l.attrs[iflaIfname])
	if name == "" {
		name = l.kind + "%d"
	}
	d := r.inet.NewDevice(l.kind, name)
	d.Index = max(l.index, 0)
	d.MTU = l.attrs.get32(iflaMTU, d.MTU)
	copy(d.MAC[:], l.attrs[iflaAddress])
	copy(d.Broadcast[:], l.attrs[iflaBroadcast])
	d.TxQueueLen = l.attrs.get32(iflaTxqlen, d.TxQueueLen)
	d.Group = l.attrs.get32(iflaGroup, d.Group)
	d.LinkMode = l.attrs.get8(iflaLinkmode, d.LinkMode)
	d.Queues[0] = l.attrs.get32(iflaNumTxQueues, d.Queues[0])
	d.Queues[1] = l.attrs.get32(iflaNumRxQueues, d.Queues[1])
	// rtnl_configure_link: what the header says of the flags is not told before the device is.
	_, err := stack.Register(cur, d, l.combine(d))
	return err
}

// combine is rtnl_dev_combine_flags: the flags that a device is to have. Without a mask all are meant.
func (l *linkRequest) combine(d inet.Device) uint32 {
	change := l.change
	if change == 0 {
		if l.flags == 0 {
			return d.IfFlags
		}
		change = 1<<32 - 1
	}
	return d.IfFlags&^change | l.flags&change
}

// setGroup is rtnl_group_changelink: a request for all devices of a group.
func (r *Rtnetlink) setGroup(cur *kernel.Task, stack *inet.Stack, l *linkRequest, group []byte) error {
	delete(l.attrs, iflaGroup)
	for _, d := range stack.Devices(cur) {
		if d.Group == binary.LittleEndian.Uint32(group) {
			if err := r.setLink(cur, stack, d, l); err != nil {
				return err
			}
		}
	}
	return nil
}

// setlink is rtnl_setlink: EINVAL when the request names no device, ENODEV when there is none.
func (r *Rtnetlink) setlink(cur *kernel.Task, q *request) error {
	stack := q.stack(r)
	l, d, err := q.existingLink(cur, stack)
	if err != nil {
		return err
	}
	if err := validateLink(&l, true); err != nil {
		return err
	}
	return r.setLink(cur, stack, d, &l)
}

// setLink is do_setlink. What comes before an error stays changed. A change of what nobody else would tell is told at the
// end.
func (r *Rtnetlink) setLink(cur *kernel.Task, stack *inet.Stack, d inet.Device, l *linkRequest) error {
	tell, carrierEvent := false, false
	defer func() {
		if tell {
			stack.Done(cur, d.Index)
		}
		if carrierEvent {
			stack.CarrierEvent(cur, d.Index)
		}
	}()
	set := func(f func(d *inet.Device)) { stack.Set(cur, d.Index, f); tell = true }
	if l.attrs.has(iflaMap) {
		return kernel.EOPNOTSUPP
	}
	if addr, ok := l.attrs[iflaAddress]; ok {
		if err := r.checkAddress(d, addr); err != nil {
			return err
		}
		set(func(d *inet.Device) { copy(d.MAC[:], addr) })
		stack.AddressChanged(cur, d.Index)
	}
	if l.attrs.has(iflaMTU) {
		tell = stack.SetMTU(cur, d.Index, l.attrs.get32(iflaMTU, 0)) || tell
	}
	if l.attrs.has(iflaGroup) {
		set(func(d *inet.Device) { d.Group = l.attrs.get32(iflaGroup, 0) })
	}
	if name := gostring(l.attrs[iflaIfname]); name != "" && l.index > 0 {
		changed, err := stack.Rename(cur, d.Index, name)
		if err != nil {
			return err
		}
		tell = tell || changed
		if changed {
			stack.Renamed(cur, d)
		}
	}
	if alias, ok := l.attrs[iflaIfalias]; ok {
		set(func(d *inet.Device) { d.Alias = gostring(alias) })
	}
	if brd, ok := l.attrs[iflaBroadcast]; ok {
		set(func(d *inet.Device) { copy(d.Broadcast[:], brd) })
		tell = false
		stack.Changed(cur, d.Index)
	}
	if l.flags != 0 || l.change != 0 {
		now, _ := stack.Device(cur, d.Index)
		stack.SetFlags(cur, d.Index, l.combine(now))
	}
	if l.attrs.has(iflaMaster) && l.attrs.get32(iflaMaster, 0) != 0 {
		if _, ok := stack.Device(cur, int(l.attrs.get32(iflaMaster, 0))); !ok {
			return kernel.EINVAL
		}
		return kernel.EOPNOTSUPP
	}
	if l.attrs.has(iflaCarrier) {
		if d.Kind != inet.KindDummy {
			return kernel.EOPNOTSUPP
		}
		carrierEvent = stack.SetCarrier(cur, d.Index, l.attrs.get8(iflaCarrier, 0) != 0)
		tell = true
	}
	if l.attrs.has(iflaTxqlen) {
		n := l.attrs.get32(iflaTxqlen, 0)
		if n != d.TxQueueLen {
			set(func(d *inet.Device) { d.TxQueueLen = n })
		}
	}
	if l.attrs.has(iflaOperstate) {
		if stack.SetOperstate(cur, d.Index, l.attrs.get8(iflaOperstate, 0)) {
			stack.Changed(cur, d.Index)
		}
	}
	if l.attrs.has(iflaLinkmode) {
		set(func(d *inet.Device) { d.LinkMode = l.attrs.get8(iflaLinkmode, 0) })
	}
	return nil
}

// getLink is rtnl_getlink: EINVAL for a message that is short or names no device, ENODEV when there is none.
func (r *Rtnetlink) getLink(cur *kernel.Task, q *request) error {
	l, d, err := q.existingLink(cur, q.stack(r))
	if err != nil {
		return err
	}
	return r.reply(cur, q, linkRoom, 0, r.fillLink(uapi.RTMNewlink, d, 0, l.attrs.get32(iflaExtMask, 0)))
}

// delLink is rtnl_dellink: EINVAL for a message that names no device, ENODEV when there is none, EOPNOTSUPP for lo.
func (r *Rtnetlink) delLink(cur *kernel.Task, q *request) error {
	_, d, err := q.existingLink(cur, q.stack(r))
	if err != nil {
		return err
	}
	return q.stack(r).Unregister(cur, d.Index)
}

// linkSeq changes with the devices of a namespace, so that a dump can tell that they changed meanwhile (DUMP_INTR).
func linkSeq(cur *kernel.Task, stack *inet.Stack) uint32 { return stack.DeviceSeq(cur) }

// dumpLinks is rtnl_dump_ifinfo. Its messages would be allocated with more than 3776 bytes only for devices that need
// it, of which there are none.
func (r *Rtnetlink) dumpLinks(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int {
	stack := r.inet.Stack(cb.Net)
	cb.Seq = linkSeq(cur, stack)
	var mask uint32
	if p := cb.Nlh.Payload(cur); len(p) >= ifinfomsgLen {
		attrs, _ := linkAttrs.parse(p, ifinfomsgLen)
		mask = attrs.get32(iflaExtMask, 0)
	}
	return byIndex(cur, s, cb, stack, func(d inet.Device) filler { return r.fillLink(uapi.RTMNewlink, d, 0, mask) })
}

// dumpLinks6 is inet6_dump_ifinfo.
func (r *Rtnetlink) dumpLinks6(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int {
	return byIndex(cur, s, cb, r.inet.Stack(cb.Net), func(d inet.Device) filler {
		if !d.IPv6 {
			return nil
		}
		return r.fillLink6(d)
	})
}

// byIndex is a dump of devices.
func byIndex(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback, stack *inet.Stack, fill func(inet.Device) filler) int {
	all := stack.Devices(cur)
	return each(cur, s, cb, 0, func(i int) (filler, bool) {
		if i >= len(all) {
			return nil, false
		}
		return fill(all[i]), true
	})
}

// linkChanged announces a change of a device: rtmsg_ifinfo.
func (r *Rtnetlink) linkChanged(cur *kernel.Task, s *inet.Stack, d inet.Device, what inet.LinkChange, flags uint32) {
	typ := uint16(uapi.RTMNewlink)
	switch what {
	case inet.LinkRegistered:
		return
	case inet.LinkRemoved:
		typ = uapi.RTMDellink
	}
	r.notify(cur, s.Net(), GroupLink, linkRoom, inet.Cause{}, r.fillLink(typ, d, flags, 0))
}
