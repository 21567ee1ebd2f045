// Package genetlink is NETLINK_GENERIC (spec 13.2): families that are told apart by the message type, commands in a
// header of their own, and the controller, nlctrl, which tells what families there are.
//
// Three families exist: nlctrl, tcp_metrics, which has no metrics to tell of, and in the initial namespace TASKSTATS.
// Of TASKSTATS only the description is modelled: its commands are refused with EINVAL.
package genetlink

import (
	"bytes"
	"encoding/binary"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/uapi"
)

// IDCtrl is the message type of the controller, and GroupNotify the number of its only group.
const (
	IDCtrl      = 16
	GroupNotify = 16
)

// Commands and attributes of the controller, and flags of commands.
const (
	CmdNewFamily = 1
	CmdGetFamily = 3

	AttrFamilyID    = 1
	AttrFamilyName  = 2
	AttrVersion     = 3
	AttrHdrsize     = 4
	AttrMaxattr     = 5
	AttrOps         = 6
	AttrMcastGroups = 7

	attrOpID      = 1
	attrOpFlags   = 2
	attrGroupName = 1
	attrGroupID   = 2

	opAdminPerm = 1
	opDo        = 2
	opDump      = 4
	opHasPolicy = 8

	ctrlVersion = 2
	maxName     = 16
)

// A family of commands (struct genl_family).
type family struct {
	id      uint16
	name    string
	version uint32
	hdrsize int
	maxattr uint32
	ops     []op
	groups  []group
	// initNet says that only the initial network namespace has the family.
	initNet bool
}

type op struct {
	cmd   byte
	flags uint32
	do    func(g *Genetlink, cur *kernel.Task, q *request) error
	dump  func(g *Genetlink, cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int
}

type group struct {
	id   int
	name string
}

// families returns the table of families, in the order of a dump.
func families(firstID uint16, metricsMax uint32) []family {
	refuse := func(*Genetlink, *kernel.Task, *request) error {
		return kernel.Errorf(kernel.EINVAL, "TASKSTATS is not modelled")
	}
	return []family{
		{id: IDCtrl, name: "nlctrl", version: ctrlVersion, maxattr: 7,
			ops: []op{{cmd: CmdGetFamily, flags: opDo | opDump | opHasPolicy, do: (*Genetlink).getFamily,
				dump: (*Genetlink).dumpFamilies}},
			groups: []group{{GroupNotify, "notify"}}},
		{id: firstID, name: "tcp_metrics", version: 1, maxattr: metricsMax,
			ops: []op{{cmd: 1, flags: opDo | opDump | opHasPolicy, do: getMetrics, dump: noMetrics},
				{cmd: 2, flags: opAdminPerm | opDo | opHasPolicy, do: delMetrics}}},
		{id: firstID + 1, name: "TASKSTATS", version: 1, maxattr: 4, initNet: true,
			ops: []op{{cmd: 1, flags: opAdminPerm | opDo | opHasPolicy, do: refuse},
				{cmd: 4, flags: opDo | opHasPolicy, do: refuse}}},
	}
}

// getMetrics is tcp_metrics_nl_cmd_get. EAFNOSUPPORT for a request without an address, whatever else it has.
func getMetrics(*Genetlink, *kernel.Task, *request) error {
	return kernel.Errorf(kernel.EAFNOSUPPORT, "no address")
}

// delMetrics is tcp_metrics_nl_cmd_del: without an address all metrics go, of which there are none.
func delMetrics(*Genetlink, *kernel.Task, *request) error { return nil }

// noMetrics is tcp_metrics_nl_dump of an empty cache.
func noMetrics(_ *Genetlink, _ *kernel.Task, s *afnetlink.SKB, _ *afnetlink.Callback) int {
	return s.Len()
}

// Genetlink is the subsystem on one machine.
type Genetlink struct {
	D Differences

	nl       *afnetlink.Netlink
	genl     kernel.Mutex
	families []family
}

// Register brings the subsystem up: genl_init.
func Register(nl *afnetlink.Netlink, d *Differences) *Genetlink {
	g := &Genetlink{D: *d, nl: nl}
	g.families = families(uint16(g.D.FirstID), uint32(g.D.MetricsMax))
	g.genl.Name = "genl"
	nl.KernelCreate(uapi.NetlinkGeneric, afnetlink.KernelCfg{Groups: g.D.Groups, NonrootRecv: true, Input: g.input, Bind: g.bind})
	return g
}

// bind is genl_bind: ENOENT for a group that no family owns. Only kernels with genl-bind-enoent ask.
func (g *Genetlink) bind(_ *kernel.Task, _ *kernel.Net, number int) error {
	for _, f := range g.families {
		for _, gr := range f.groups {
			if gr.id == number {
				return nil
			}
		}
	}
	return kernel.Errorf(kernel.ENOENT, "no family owns group %d", number)
}

// input is genl_rcv.
func (g *Genetlink) input(cur *kernel.Task, m *afnetlink.Message) {
	g.genl.Lock(cur)
	afnetlink.RcvSKB(cur, m, g.receive)
	g.genl.Unlock(cur)
}

// A request is a message that is no dump.
type request struct {
	m     *afnetlink.Message
	h     uapi.NLMsgHdr
	attrs []byte
}

// family finds the family that match is true for in a namespace, nil for none.
func (g *Genetlink) family(net *kernel.Net, match func(f *family) bool) *family {
	for i := range g.families {
		if f := &g.families[i]; f.in(net) && match(f) {
			return f
		}
	}
	return nil
}

func (g *Genetlink) byID(net *kernel.Net, id uint16) *family {
	return g.family(net, func(f *family) bool { return f.id == id })
}

// in reports whether a namespace has the family.
func (f *family) in(net *kernel.Net) bool { return !f.initNet || net.IsInit() }

// receive is genl_rcv_msg.
//
// Errors: ENOENT for an unknown family; EINVAL for a message without its headers; EOPNOTSUPP for an unknown command,
// and one that cannot be dumped or only be dumped; EPERM; EINTR for a dump that has started; those of the command.
func (g *Genetlink) receive(cur *kernel.Task, m *afnetlink.Message, msg afnetlink.Msg, h uapi.NLMsgHdr) error {
	f := g.byID(m.Net(), h.Type)
	if f == nil {
		return kernel.Errorf(kernel.ENOENT, "no generic family %d", h.Type)
	}
	payload := msg.Payload(cur)
	if len(payload) < uapi.GENLHdrlen+f.hdrsize {
		return kernel.Errorf(kernel.EINVAL, "a message of %d bytes", h.Len)
	}
	var o *op
	for i := range f.ops {
		if f.ops[i].cmd == payload[0] {
			o = &f.ops[i]
		}
	}
	if o == nil {
		return kernel.Errorf(kernel.EOPNOTSUPP, "%s has no command %d", f.name, payload[0])
	}
	if o.flags&opAdminPerm != 0 && !m.Capable(cur, uapi.CapNetAdmin) {
		return kernel.Errorf(kernel.EPERM, "command %d of %s needs CAP_NET_ADMIN", o.cmd, f.name)
	}
	asked := h.Flags & uapi.NLMFDump
	if asked == uapi.NLMFDump || asked != 0 && g.D.DumpAnyBit {
		if o.dump == nil {
			return kernel.EOPNOTSUPP
		}
		dump := func(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int { return o.dump(g, cur, s, cb) }
		g.genl.Unlock(cur)
		err := g.nl.DumpStart(cur, m, msg, afnetlink.DumpControl{Dump: dump})
		g.genl.Lock(cur)
		return err
	}
	if o.do == nil {
		return kernel.EOPNOTSUPP
	}
	return o.do(g, cur, &request{m, h, payload[uapi.GENLHdrlen+f.hdrsize:]})
}

// getFamily is ctrl_getfamily: a family by name, else by id. It answers with a message that is not built in a frame
// (spec 13.1).
//
// Errors: EINVAL without name and id, or with a name that does not end in 16 bytes; ERANGE for an id that is too short
// or a name with more behind it; ENOENT; EAGAIN when the requester is congested.
func (g *Genetlink) getFamily(cur *kernel.Task, q *request) error {
	var f *family
	var err error = kernel.EINVAL
	var id, name []byte
	for a := range uapi.WellFormed(uapi.Attrs(q.attrs, 0)) {
		switch a.Type {
		case AttrFamilyID:
			id = a.Data
		case AttrFamilyName:
			name = a.Data
		}
	}
	if id != nil {
		if len(id) < 2 {
			return kernel.ERANGE
		}
		f, err = g.byID(q.m.Net(), binary.LittleEndian.Uint16(id)), kernel.ENOENT
	}
	if name != nil {
		text, _, ended := bytes.Cut(name[:min(len(name), maxName)], []byte{0})
		switch {
		case !ended:
			return kernel.EINVAL
		case len(bytes.TrimSuffix(name, []byte{0})) >= maxName:
			return kernel.ERANGE // whatever follows the name counts too
		}
		f, err = g.family(q.m.Net(), func(f *family) bool { return f.name == string(text) }), kernel.ENOENT
	}
	if f == nil {
		return err
	}
	s := g.nl.NewSKB(cur, uapi.NLMsgGoodsize)
	if s == nil {
		return kernel.ENOBUFS
	}
	portid := q.m.SKB.CB.Portid
	if !f.fill(cur, s, uapi.NLMsgHdr{Seq: q.h.Seq, Pid: portid}) {
		s.Free(cur)
		return kernel.EMSGSIZE
	}
	_, err = g.nl.Unicast(cur, q.m.Kernel, s, portid, 0)
	return err
}

// dumpFamilies is ctrl_dumpfamily.
func (g *Genetlink) dumpFamilies(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int {
	for ; int(cb.Args[0]) < len(g.families); cb.Args[0]++ {
		if !g.families[cb.Args[0]].in(cb.Net) {
			continue
		}
		h := uapi.NLMsgHdr{Flags: uapi.NLMFMulti, Seq: cb.Nlh.Seq(cur), Pid: cb.Portid}
		if !g.families[cb.Args[0]].fill(cur, s, h) {
			break
		}
	}
	return s.Len()
}

// fill appends the description of a family: ctrl_fill_info. It returns false, and leaves s as it was, when it does
// not fit.
func (f *family) fill(cur *kernel.Task, s *afnetlink.SKB, h uapi.NLMsgHdr) bool {
	h.Type = IDCtrl
	b, ok := afnetlink.PutMsg(cur, s, h, uapi.GENLHdrlen)
	if !ok {
		return false
	}
	b.Put(cur, s, []byte{CmdNewFamily, ctrlVersion, 0, 0})
	if !f.attrs(cur, s, b) {
		b.Cancel(s)
		return false
	}
	b.End(cur, s)
	return true
}

func (f *family) attrs(cur *kernel.Task, s *afnetlink.SKB, b afnetlink.Builder) bool {
	ok := b.Attr(cur, s, AttrFamilyName, append([]byte(f.name), 0)) &&
		b.Attr(cur, s, AttrFamilyID, binary.LittleEndian.AppendUint16(nil, f.id)) &&
		b.Attr32(cur, s, AttrVersion, f.version) &&
		b.Attr32(cur, s, AttrHdrsize, uint32(f.hdrsize)) &&
		b.Attr32(cur, s, AttrMaxattr, f.maxattr)
	return ok && nest(cur, s, b, AttrOps, len(f.ops), func(i int) bool {
		return b.Attr32(cur, s, attrOpID, uint32(f.ops[i].cmd)) && b.Attr32(cur, s, attrOpFlags, f.ops[i].flags)
	}) && nest(cur, s, b, AttrMcastGroups, len(f.groups), func(i int) bool {
		return b.Attr32(cur, s, attrGroupID, uint32(f.groups[i].id)) &&
			b.Attr(cur, s, attrGroupName, append([]byte(f.groups[i].name), 0))
	})
}

// nest appends a list of n nested attributes, numbered from 1; nothing for an empty list.
func nest(cur *kernel.Task, s *afnetlink.SKB, b afnetlink.Builder, typ uint16, n int, entry func(i int) bool) bool {
	if n == 0 {
		return true
	}
	outer, ok := b.Nest(cur, s, typ)
	if !ok {
		return false
	}
	for i := range n {
		inner, ok := b.Nest(cur, s, uint16(i+1))
		if !ok || !entry(i) {
			return false
		}
		b.EndNest(cur, s, inner)
	}
	b.EndNest(cur, s, outer)
	return true
}
