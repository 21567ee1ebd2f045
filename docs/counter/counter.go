// Package counter is an example of a subsystem, small and complete: docs/new-subsystem.md goes through it. It speaks
// a netlink protocol that no kernel has.
//
// There are four numbers in each network namespace. A program asks for one (Get), asks for all (Get with a dump flag)
// or adds to one (Add, with CAP_NET_ADMIN). Whoever is in the group Changes is told of each addition.
//
// A request has 8 bytes behind the header: which number, and how much to add. So have answers: which, and its value.
package counter

import (
	"encoding/binary"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/kernel/inspect"
	"nlmmap/uapi"
)

// Protocol is the third argument of socket(2), Changes the only group (1-based).
const (
	Protocol = 31
	Changes  = 1
)

// Types of messages.
const (
	Get   = 16 // which is asked for
	Add   = 17 // how much is to be added
	Value = 18 // an answer or an event
)

const (
	numbers    = 4
	payloadLen = 8
)

// Differences are the named differences of the subsystem. Table declares each field.
type Differences struct {
	AddEvents bool
}

// Table declares the differences, bound to d's fields.
func (d *Differences) Table() []kernel.Difference {
	return []kernel.Difference{
		{
			Name:  "counter-add-events",
			Value: kernel.Switch(&d.AddEvents, kernel.Since(kernel.Linux3_19)),
			Text:  "An addition is announced to the group Changes. Without it the group is silent.",
		},
	}
}

// Counter is the subsystem on one machine.
type Counter struct {
	D  Differences
	nl *afnetlink.Netlink

	mutex kernel.Mutex // makes the read and the write of an addition one step
	nets  kernel.PerNet[[numbers]kernel.Atomic]
}

// Register brings the subsystem up. The error names a value that its difference does not have.
func Register(nl *afnetlink.Netlink) (*Counter, error) {
	c := &Counter{nl: nl}
	c.mutex.Name = "counter"
	if err := nl.Kernel().Config().Version.Resolve(c.D.Table()); err != nil {
		return nil, err
	}
	nl.KernelCreate(Protocol, afnetlink.KernelCfg{Groups: Changes, NonrootRecv: true, Input: c.input})
	return c, nil
}

// input gets a buffer of a user. RcvSKB finds the requests in it and acknowledges those that want it or fail.
func (c *Counter) input(cur *kernel.Task, m *afnetlink.Message) {
	afnetlink.RcvSKB(cur, m, c.receive)
}

// receive handles one request.
//
// Errors: EOPNOTSUPP for an unknown type; EINVAL for a payload that is too short or a number that does not exist;
// EPERM for an addition without CAP_NET_ADMIN; EINTR for a dump that has started, which is no error.
func (c *Counter) receive(cur *kernel.Task, m *afnetlink.Message, msg afnetlink.Msg, h uapi.NLMsgHdr) error {
	if h.Type == Get && h.Flags&uapi.NLMFDump != 0 {
		return c.nl.DumpStart(cur, m, msg, afnetlink.DumpControl{Dump: c.dump})
	}
	// Read the payload once. It may lie in memory that userspace can still write.
	p := msg.Payload(cur)
	if len(p) < payloadLen {
		return kernel.Errorf(kernel.EINVAL, "a payload of %d bytes", len(p))
	}
	which, much := binary.LittleEndian.Uint32(p), binary.LittleEndian.Uint32(p[4:])
	if which >= numbers {
		return kernel.Errorf(kernel.EINVAL, "number %d of %d", which, numbers)
	}
	switch h.Type {
	case Get:
		return c.answer(cur, m, h, which)
	case Add:
		if !m.Capable(cur, uapi.CapNetAdmin) {
			return kernel.Errorf(kernel.EPERM, "additions need CAP_NET_ADMIN")
		}
		c.add(cur, m.Net(), which, much)
		return nil
	}
	return kernel.Errorf(kernel.EOPNOTSUPP, "type %d", h.Type)
}

// answer sends one number to whoever asked, in a frame of its ring if it has one.
func (c *Counter) answer(cur *kernel.Task, m *afnetlink.Message, h uapi.NLMsgHdr, which uint32) error {
	to := m.SKB.CB.Portid
	s := c.nl.AllocSKB(cur, m.Kernel, uapi.NLMsgTotalSize(payloadLen), 0, to)
	if s == nil {
		return kernel.ENOBUFS // no memory, or no free frame: then the loss is counted already
	}
	value := c.numbers(m.Net())[which].Load(cur)
	if !put(cur, s, uapi.NLMsgHdr{Type: Value, Seq: h.Seq, Pid: to}, which, value) {
		s.Free(cur) // gives the frame back, VALID and empty
		return kernel.EMSGSIZE
	}
	_, err := c.nl.Unicast(cur, m.Kernel, s, to, 0) // the message is gone, whatever the result is
	return err
}

// add changes a number and tells the group. An event goes to many sockets, so it is never built in a frame.
func (c *Counter) add(cur *kernel.Task, net *kernel.Net, which, much uint32) {
	n := &c.numbers(net)[which]
	c.mutex.Lock(cur)
	value := n.Load(cur) + int64(much)
	n.Store(cur, value)
	c.mutex.Unlock(cur)
	if !c.D.AddEvents || !c.nl.HasListeners(cur, Protocol, Changes) {
		return
	}
	s := c.nl.NewSKB(cur, uapi.NLMsgTotalSize(payloadLen))
	if s == nil {
		return
	}
	put(cur, s, uapi.NLMsgHdr{Type: Value}, which, value)
	s.CB.DstGroup = Changes
	_ = c.nl.Broadcast(cur, c.nl.KernelSock(net, Protocol), s, 0, Changes)
}

// dump appends the numbers from Args[0] on, until one does not fit. It is called once for each message of the dump. A
// result above 0 says that there may be more, 0 that everything was in earlier messages.
func (c *Counter) dump(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int {
	all := c.numbers(cb.Net)
	for ; cb.Args[0] < numbers; cb.Args[0]++ {
		which := uint32(cb.Args[0])
		h := uapi.NLMsgHdr{Type: Value, Flags: uapi.NLMFMulti, Seq: cb.Nlh.Seq(cur), Pid: cb.Portid}
		if !put(cur, s, h, which, all[which].Load(cur)) {
			break
		}
	}
	return s.Len()
}

// put appends one message, or nothing when it does not fit.
func put(cur *kernel.Task, s *afnetlink.SKB, h uapi.NLMsgHdr, which uint32, value int64) bool {
	b, ok := afnetlink.PutMsg(cur, s, h, payloadLen)
	if !ok {
		return false
	}
	payload := binary.LittleEndian.AppendUint32(nil, which)
	b.Put(cur, s, binary.LittleEndian.AppendUint32(payload, uint32(value)))
	b.End(cur, s)
	return true
}

// Inspect returns a number, for tests: whoever has the key is no kernel code, and needs no scheduling point.
func (c *Counter) Inspect(key inspect.Key, net *kernel.Net, which int) int64 {
	return c.numbers(net)[which].Inspect(key)
}

// numbers returns the numbers of a namespace, which begin at 0.
func (c *Counter) numbers(net *kernel.Net) *[numbers]kernel.Atomic {
	return c.nets.Of(net, func() *[numbers]kernel.Atomic { return new([numbers]kernel.Atomic) })
}
