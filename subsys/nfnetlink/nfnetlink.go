// Package nfnetlink is the protocol NETLINK_NETFILTER: it finds the subsystem and the handler of a message, checks its
// attributes, and has the batches of nf_tables (spec 12.1, 12.2).
//
// A message's type is subsystem << 8 | number. Its payload begins with a nfgenmsg, whose res_id is the number of a
// queue, a log group or, in a batch, a subsystem. Subsystems register with Family.Register; nfqueue and nflog are two
// of them.
package nfnetlink

import (
	"encoding/binary"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/uapi"
)

// Numbers of subsystems.
const (
	SubsysQueue    = uapi.NFNLSubsysQueue
	SubsysULog     = uapi.NFNLSubsysULog
	SubsysNFTables = 10
	subsystems     = 12
)

// Family is NETLINK_NETFILTER on one machine.
type Family struct {
	D Differences

	nl      *afnetlink.Netlink
	k       *kernel.Kernel
	subsys  [subsystems]*Subsystem
	onBatch func(cur *kernel.Task, m *afnetlink.Message) // rcvBatch, nil where there are no batches
	batches BatchStats
}

// Register brings the protocol up.
func Register(nl *afnetlink.Netlink, d *Differences) *Family {
	f := &Family{D: *d, nl: nl, k: nl.Kernel()}
	nl.KernelCreate(uapi.NetlinkNetfilter, afnetlink.KernelCfg{Groups: groups, Input: f.rcv})
	if f.D.Batch {
		f.Register(nfTables(f))
		f.onBatch = f.rcvBatch
	}
	return f
}

// groups is how many multicast groups the protocol has; no modelled subsystem sends to one.
const groups = 7

// Kernel returns the machine.
func (f *Family) Kernel() *kernel.Kernel { return f.k }

// A Subsystem handles the messages of one number (struct nfnetlink_subsystem).
type Subsystem struct {
	Name string
	ID   uint8
	// Handlers by message number.
	Handlers []Handler
	// Commit and Abort end a batch; a subsystem without them takes none.
	Commit, Abort func(cur *kernel.Task, net *kernel.Net)

	mutex kernel.Mutex
}

// A Handler handles one kind of message (struct nfnl_callback). Nil functions refuse it.
type Handler struct {
	// Call runs under the subsystem's mutex, CallRCU without it, CallBatch in a batch, under the mutex.
	Call, CallRCU, CallBatch func(cur *kernel.Task, r *Request) error
	// Policy has the smallest length of each attribute, by type; unknown types are ignored.
	Policy []int
}

// A Request is a message to a subsystem.
type Request struct {
	*afnetlink.Message
	Header uapi.NLMsgHdr
	Family uint8
	ResID  uint16
	attrs  [][]byte
}

// Portid is who sent the message.
func (r *Request) Portid() uint32 { return r.SKB.CB.Portid }

// Attr returns an attribute, the last where there are several; nil where there is none.
func (r *Request) Attr(typ int) []byte { return r.attrs[typ] }

// Uint32 returns a big-endian word of an attribute that must have at least 4 bytes by its policy; ok is false when the
// message lacks it.
func (r *Request) Uint32(typ int) (v uint32, ok bool) {
	b := r.attrs[typ]
	if b == nil {
		return 0, false
	}
	// A shorter attribute, where nobody looks at its length, goes on with what lies behind it: zeros here.
	var v4 [4]byte
	copy(v4[:], b)
	return binary.BigEndian.Uint32(v4[:]), true
}

// Register makes a subsystem known: nfnetlink_subsys_register.
func (f *Family) Register(s *Subsystem) {
	s.mutex.Name = "nfnl"
	f.subsys[s.ID] = s
}

// handler finds who handles a type of messages: nfnetlink_get_subsys and nfnetlink_find_client.
func (f *Family) handler(typ uint16) (*Subsystem, *Handler) {
	id, n := int(typ>>8), int(typ&0xff)
	if id >= subsystems || f.subsys[id] == nil || n >= len(f.subsys[id].Handlers) {
		return nil, nil
	}
	return f.subsys[id], &f.subsys[id].Handlers[n]
}

// rcv handles what a user sent: nfnetlink_rcv (spec 12.1).
func (f *Family) rcv(cur *kernel.Task, m *afnetlink.Message) {
	first := afnetlink.Msg{SKB: m.SKB}
	handle := f.rcvPermitted
	if f.D.EpermOnce {
		handle = f.rcvMsg
		if _, ok := first.Whole(cur); !ok {
			return
		}
		if !m.Capable(cur, uapi.CapNetAdmin) {
			f.nl.Ack(cur, m, first, kernel.EPERM)
			return
		}
	}
	if f.onBatch != nil {
		if _, ok := first.Whole(cur); ok && first.Type(cur) == typeBatchBegin {
			f.onBatch(cur, m)
			return
		}
	}
	afnetlink.RcvSKB(cur, m, handle)
}

// rcvPermitted is rcvMsg where each message needs CAP_NET_ADMIN.
func (f *Family) rcvPermitted(cur *kernel.Task, m *afnetlink.Message, msg afnetlink.Msg, h uapi.NLMsgHdr) error {
	if !m.Capable(cur, uapi.CapNetAdmin) {
		return kernel.EPERM
	}
	return f.rcvMsg(cur, m, msg, h)
}

// rcvMsg handles one message: nfnetlink_rcv_msg.
//
// Errors: EINVAL for a subsystem or a message that nobody handles; ERANGE for a short attribute; the handler's.
func (f *Family) rcvMsg(cur *kernel.Task, m *afnetlink.Message, msg afnetlink.Msg, h uapi.NLMsgHdr) error {
	payload := msg.Payload(cur)
	if len(payload) < uapi.NFGenMsglen {
		return nil
	}
	s, handler := f.handler(h.Type)
	if s == nil {
		return kernel.Errorf(kernel.EINVAL, "nobody handles type %#x", h.Type)
	}
	r, err := parse(m, h, payload, handler.Policy)
	if err != nil {
		return err
	}
	switch {
	case handler.CallRCU != nil:
		return handler.CallRCU(cur, r)
	case handler.Call != nil:
		s.mutex.Lock(cur)
		defer s.mutex.Unlock(cur)
		return handler.Call(cur, r)
	}
	return kernel.Errorf(kernel.EINVAL, "%s takes message %d only in a batch", s.Name, h.Type&0xff)
}

// parse reads a payload: nla_parse. ERANGE for an attribute that is shorter than the policy says.
func parse(m *afnetlink.Message, h uapi.NLMsgHdr, payload []byte, policy []int) (*Request, error) {
	r := &Request{Message: m, Header: h, Family: payload[0], ResID: binary.BigEndian.Uint16(payload[2:]),
		attrs: make([][]byte, len(policy))}
	for a := range uapi.WellFormed(uapi.Attrs(payload, uapi.NFGenMsglen)) {
		if int(a.Type) >= len(policy) || a.Type == 0 {
			continue
		}
		if len(a.Data) < policy[a.Type] {
			return r, kernel.Errorf(kernel.ERANGE, "attribute %d has %d bytes and not %d", a.Type, len(a.Data), policy[a.Type])
		}
		r.attrs[a.Type] = a.Data
	}
	return r, nil
}

// AllocSKB allocates a message to the socket with a portid in a namespace: nfnetlink_alloc_skb. Where nf-init-net the
// socket whose ring it is built in is looked up in the initial namespace.
func (f *Family) AllocSKB(cur *kernel.Task, net *kernel.Net, size, ldiff int, portid uint32) *afnetlink.SKB {
	if f.D.InitNet {
		net = f.k.InitNet()
	}
	return f.nl.AllocSKB(cur, f.nl.KernelSock(net, uapi.NetlinkNetfilter), size, ldiff, portid)
}

// Unicast sends a message without waiting: nfnetlink_unicast. The message is gone afterwards.
func (f *Family) Unicast(cur *kernel.Task, net *kernel.Net, s *afnetlink.SKB, portid uint32) error {
	_, err := f.nl.Unicast(cur, f.nl.KernelSock(net, uapi.NetlinkNetfilter), s, portid, 0)
	return err
}

// PutMsg appends the header of a message of a subsystem, with its nfgenmsg: ok is false when it does not fit.
func PutMsg(cur *kernel.Task, s *afnetlink.SKB, typ uint16, family uint8, resID uint16) (b afnetlink.Builder, ok bool) {
	b, ok = afnetlink.PutMsg(cur, s, uapi.NLMsgHdr{Type: typ}, uapi.NFGenMsglen)
	if ok {
		b.Put(cur, s, []byte{family, 0, byte(resID >> 8), byte(resID)})
	}
	return b, ok
}

// OnRelease adds fn to what is told of closed sockets of the protocol.
func (f *Family) OnRelease(fn func(cur *kernel.Task, net *kernel.Net, portid uint32)) {
	f.nl.OnRelease(func(cur *kernel.Task, r afnetlink.Release) {
		if r.Protocol == uapi.NetlinkNetfilter {
			fn(cur, r.Net, r.Portid)
		}
	})
}

// BE32 returns a word as attributes have it.
func BE32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

// HWAddr returns a link-layer address as attributes have it: its length, and room for 8 bytes.
func HWAddr(addr []byte) []byte {
	b := make([]byte, 12)
	binary.BigEndian.PutUint16(b, uint16(len(addr)))
	copy(b[4:], addr)
	return b
}
