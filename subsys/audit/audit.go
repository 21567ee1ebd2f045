// Package audit is NETLINK_AUDIT as far as it shows how netlink behaves (spec 13.3): a loop over messages of its own,
// which handles control messages and messages without the REQUEST flag too, and answers that a kernel thread sends at
// a time of its own, beside the ring, while acknowledgements are built in it.
//
// Modelled: AUDIT_GET (a status that says disabled), AUDIT_SIGNAL_INFO and AUDIT_LIST_RULES (there are none), and the
// errors of everything else. There are no audit records, rules, or daemon; AUDIT_SET and user records are accepted and
// do nothing.
package audit

import (
	"slices"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/uapi"
)

// Types of messages.
const (
	Get        = uapi.AuditGet
	Set        = uapi.AuditSet
	list       = 1002
	add        = 1003
	del        = 1004
	user       = uapi.AuditUser
	SignalInfo = uapi.AuditSignalInfo
	addRule    = 1011
	delRule    = 1012
	ListRules  = uapi.AuditListRules
	trim       = 1014
	makeEquiv  = 1015
	ttyGet     = 1016
	ttySet     = 1017
	setFeature = uapi.AuditSetFeature
	getFeature = uapi.AuditGetFeature
	firstUser  = 1100
	lastUser   = 1199
	firstUser2 = 2100
	lastUser2  = 2999

	capAuditWrite = 29
	sigInfoLen    = 8
	ttyStatusLen  = 8
	featuresLen   = 16
)

// Audit is the subsystem on one machine.
type Audit struct {
	D        Differences
	nl       *afnetlink.Netlink
	features bool // AUDIT_SET_FEATURE and AUDIT_GET_FEATURE exist

	mutex kernel.Mutex // audit_cmd_mutex
	// threads are the kernel threads that have not sent their answer yet.
	threads kernel.Shared[[]*kernel.Timer]
}

// status is struct audit_status of a kernel that nobody has set anything of: what is not zero are failure, "print it", and
// the length of the backlog. A size that has no room for them cuts it.
func (a *Audit) status() []byte {
	const (
		failure      = 8
		backlogLimit = 20
	)
	size := a.D.StatusSize
	b := make([]byte, max(size, uapi.AuditStatusLen))
	b[failure], b[backlogLimit] = 1, 64
	return b[:size]
}

// Register brings the subsystem up: audit_init.
func Register(nl *afnetlink.Netlink, d *Differences) *Audit {
	a := &Audit{D: *d, nl: nl}
	a.mutex.Name = "audit_cmd"
	a.threads.Named("audit threads", nil)
	cfg := afnetlink.KernelCfg{Groups: 1, InitNetOnly: true, Input: a.input, Bind: bind}
	if d.Netns { // with the namespaces came the group of readers, and the features
		cfg.InitNetOnly, cfg.NonrootRecv, a.features = false, true, true
	}
	nl.KernelCreate(uapi.NetlinkAudit, cfg)
	nl.Kernel().OnExit(a.exit)
	return a
}

// bind is audit_bind: readers need CAP_AUDIT_READ.
func bind(cur *kernel.Task, _ *kernel.Net, _ int) error {
	if !cur.Capable(uapi.CapAuditRead) {
		return kernel.Errorf(kernel.EPERM, "the group needs CAP_AUDIT_READ")
	}
	return nil
}

// input is audit_receive: neither flags nor type decide whether a message is handled. A length that is inconsistent
// ends the loop.
func (a *Audit) input(cur *kernel.Task, m *afnetlink.Message) {
	a.mutex.Lock(cur)
	defer a.mutex.Unlock(cur)
	for msg := range afnetlink.Msgs(cur, m.SKB) {
		h := msg.Header(cur)
		err := a.receive(cur, m, h)
		if err != nil || h.Flags&uapi.NLMFAck != 0 {
			a.nl.Ack(cur, m, msg, err)
		}
	}
}

// receive is audit_receive_msg.
//
// Errors: EPERM without CAP_AUDIT_CONTROL, for user records CAP_AUDIT_WRITE; EOPNOTSUPP for the old rule messages;
// EINVAL for an unknown type and for rules.
func (a *Audit) receive(cur *kernel.Task, m *afnetlink.Message, h uapi.NLMsgHdr) error {
	capability := uapi.CapAuditControl
	switch {
	case h.Type == list || h.Type == add || h.Type == del:
		return kernel.EOPNOTSUPP
	case h.Type == user || h.Type >= firstUser && h.Type <= lastUser || h.Type >= firstUser2 && h.Type <= lastUser2:
		capability = capAuditWrite
	case h.Type == Get, h.Type == Set, h.Type >= SignalInfo && h.Type <= ttySet:
	case a.features && (h.Type == setFeature || h.Type == getFeature):
	default:
		return kernel.Errorf(kernel.EINVAL, "audit type %d", h.Type)
	}
	if !m.Capable(cur, capability) {
		return kernel.Errorf(kernel.EPERM, "audit type %d needs capability %d", h.Type, capability)
	}
	switch h.Type {
	case Get:
		a.answer(cur, m, h, Get, 0, a.status())
	case SignalInfo:
		a.answer(cur, m, h, SignalInfo, 0, make([]byte, sigInfoLen))
	case ttyGet:
		a.answer(cur, m, h, ttyGet, 0, make([]byte, ttyStatusLen))
	case getFeature:
		a.answer(cur, m, h, getFeature, 0, make([]byte, featuresLen))
	case ListRules:
		a.answer(cur, m, h, uapi.NLMsgDone, uapi.NLMFMulti, nil)
	case addRule, delRule, makeEquiv:
		return kernel.Errorf(kernel.EINVAL, "audit rules are not modelled")
	}
	return nil
}

// answer lets a kernel thread send a message to the requester: audit_send_reply. It comes after the call, or in the
// middle of it.
func (a *Audit) answer(cur *kernel.Task, m *afnetlink.Message, h uapi.NLMsgHdr, typ, flags uint16, payload []byte) {
	k, net, portid := a.nl.Kernel(), m.Net(), m.SKB.CB.Portid
	t := &kernel.Timer{}
	t.Fn = func(cur *kernel.Task) {
		a.forget(cur, t)
		s := a.nl.NewSKB(cur, uapi.NLMsgTotalSize(len(payload)))
		if s == nil {
			return
		}
		b, ok := afnetlink.PutMsg(cur, s, uapi.NLMsgHdr{Type: typ, Flags: flags, Seq: h.Seq, Pid: portid}, len(payload))
		if !ok {
			s.Free(cur)
			return
		}
		b.Put(cur, s, payload)
		_, _ = a.nl.Unicast(cur, a.nl.KernelSock(net, uapi.NetlinkAudit), s, portid, 0)
	}
	a.threads.Change(cur, func(threads *[]*kernel.Timer) { *threads = append(*threads, t) })
	k.ModTimer(cur, t, 0)
}

func (a *Audit) forget(cur *kernel.Task, t *kernel.Timer) {
	a.threads.Change(cur, func(threads *[]*kernel.Timer) {
		*threads = slices.DeleteFunc(*threads, func(o *kernel.Timer) bool { return o == t })
	})
}

// exit ends the threads.
func (a *Audit) exit(cur *kernel.Task) {
	for _, t := range a.threads.Get(cur) {
		a.nl.Kernel().DelTimer(cur, t)
	}
}
