// Package audit is NETLINK_AUDIT as far as it shows how netlink behaves (spec 13.3): a loop over messages of its own,
// which handles control messages and messages without the REQUEST flag too, and answers that a kernel thread sends at
// a time of its own, beside the ring, while acknowledgements are built in it.
//
// Modelled: the status, features and rules, which a program can read and change (settings.go, rules.go), and the errors of
// everything else. Nobody acts on them: there are no audit records and no daemon, and user records are accepted and do
// nothing.
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
)

// Audit is the subsystem on one machine.
type Audit struct {
	D        Differences
	nl       *afnetlink.Netlink
	features bool // AUDIT_SET_FEATURE and AUDIT_GET_FEATURE exist

	mutex    kernel.Mutex // audit_cmd_mutex
	settings kernel.Guarded[settings]
	rules    kernel.Guarded[[]rule]
	// threads are the kernel threads that have not sent their answer yet.
	threads kernel.Shared[[]*kernel.Timer]
}

// Register brings the subsystem up: audit_init.
func Register(nl *afnetlink.Netlink, d *Differences) *Audit {
	a := &Audit{D: *d, nl: nl}
	a.mutex.Name = "audit_cmd"
	a.settings.Guard(&a.mutex)
	*a.settings.Own() = settings{failure: 1, backlogLimit: 64, backlogWaitTime: 15000}
	a.rules.Guard(&a.mutex)
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
		err := a.receive(cur, m, msg)
		if err != nil || h.Flags&uapi.NLMFAck != 0 {
			a.nl.Ack(cur, m, msg, err)
		}
	}
}

// receive is audit_receive_msg.
//
// Errors: EPERM without CAP_AUDIT_CONTROL, for user records CAP_AUDIT_WRITE; EOPNOTSUPP for the old rule messages;
// EINVAL for an unknown type; those of changes.
func (a *Audit) receive(cur *kernel.Task, m *afnetlink.Message, msg afnetlink.Msg) error {
	h := msg.Header(cur)
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
		a.answer(cur, m, h, reply{Get, 0, a.settings.Of(cur).status(a.D.StatusSize, uint32(a.D.StatusFeatures))})
	case Set:
		return a.settings.Of(cur).set(msg.Payload(cur))
	case SignalInfo:
		a.answer(cur, m, h, reply{SignalInfo, 0, make([]byte, sigInfoLen)})
	case ttyGet:
		a.answer(cur, m, h, reply{ttyGet, 0, make([]byte, ttyStatusLen)})
	case getFeature:
		a.answer(cur, m, h, reply{getFeature, 0, a.settings.Of(cur).showFeatures()})
	case setFeature:
		return a.settings.Of(cur).setFeatures(msg.Payload(cur))
	case ListRules:
		var list []reply
		for _, r := range *a.rules.Of(cur) {
			list = append(list, reply{ListRules, 0, r})
		}
		a.answer(cur, m, h, append(list, reply{uapi.NLMsgDone, uapi.NLMFMulti, nil})...)
	case addRule, delRule:
		if a.settings.Of(cur).enabled == locked {
			return kernel.Errorf(kernel.EPERM, "the settings are locked")
		}
		return changeRules(a.rules.Of(cur), msg.Payload(cur), h.Type == addRule)
	case makeEquiv:
		return kernel.Errorf(kernel.EINVAL, "trees are not modelled")
	}
	return nil
}

// A reply is a message that a request is answered with.
type reply struct {
	typ, flags uint16
	payload    []byte
}

// answer lets a kernel thread send messages to the requester: audit_send_reply, audit_send_list. They come after the call, or in
// the middle of it.
func (a *Audit) answer(cur *kernel.Task, m *afnetlink.Message, h uapi.NLMsgHdr, replies ...reply) {
	k, net, portid := a.nl.Kernel(), m.Net(), m.SKB.CB.Portid
	t := &kernel.Timer{}
	t.Fn = func(cur *kernel.Task) {
		a.forget(cur, t)
		for _, r := range replies {
			s := a.nl.NewSKB(cur, uapi.NLMsgTotalSize(len(r.payload)))
			if s == nil {
				return
			}
			b, ok := afnetlink.PutMsg(cur, s, uapi.NLMsgHdr{Type: r.typ, Flags: r.flags, Seq: h.Seq, Pid: portid}, len(r.payload))
			if !ok {
				s.Free(cur)
				return
			}
			b.Put(cur, s, r.payload)
			_, _ = a.nl.Unicast(cur, a.nl.KernelSock(net, uapi.NetlinkAudit), s, portid, 0)
		}
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
