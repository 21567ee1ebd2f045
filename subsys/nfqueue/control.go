package nfqueue

import (
	"encoding/binary"

	"nlmmap/kernel"
	"nlmmap/subsys/inet"
	"nlmmap/subsys/nfnetlink"
	"nlmmap/uapi"
)

// Message numbers.
const (
	msgPacket = iota
	msgVerdict
	msgConfig
	msgVerdictBatch
)

func (f *NFQueue) subsystem() *nfnetlink.Subsystem {
	// Nobody looks at how long maxlen, mask and flags are.
	config := []int{uapi.NFQACfgCmd: 4, uapi.NFQACfgParams: 5, uapi.NFQACfgQueueMaxlen: 0, uapi.NFQACfgMask: 0,
		uapi.NFQACfgFlags: 0}
	call := f.config
	if f.D.CfgStrict {
		call = f.configStrict
	}
	verdict := []int{uapi.NFQAVerdictHdr: 8, uapi.NFQAMark: 4, uapi.NFQAPayload: 0}
	return &nfnetlink.Subsystem{Name: "nf_queue", ID: nfnetlink.SubsysQueue, Handlers: []nfnetlink.Handler{
		msgPacket:       {CallRCU: func(*kernel.Task, *nfnetlink.Request) error { return kernel.ENOTSUPP }},
		msgVerdict:      {CallRCU: f.verdict, Policy: verdict},
		msgConfig:       {Call: call, Policy: config},
		msgVerdictBatch: {CallRCU: f.verdictBatch, Policy: verdict},
	}}
}

// config makes, changes and removes queues: nfqnl_recv_config (spec 12.3), where it is not configStrict. What comes
// before an error is done.
//
// Errors, in this order: EPERM for the queue of somebody else; EBUSY when a queue to make exists; ENODEV when there is
// none to remove or to change; those of the flags; ENOTSUPP for another command.
func (f *NFQueue) config(cur *kernel.Task, r *nfnetlink.Request) error {
	cmd := r.Cmd()
	if cmd == nfnetlink.CmdPFBind || cmd == nfnetlink.CmdPFUnbind {
		return nil
	}
	q, err := f.own(cur, r)
	if err != nil {
		return err
	}
	var result error
	switch cmd {
	case nfnetlink.NoCmd:
	case nfnetlink.CmdBind:
		q, err = f.bind(cur, r, q)
	case nfnetlink.CmdUnbind:
		err = f.unbind(cur, r, q) // what else the message asks for is done to a queue that is gone
	default:
		result = kernel.Errorf(kernel.ENOTSUPP, "command %d", cmd)
	}
	if err != nil {
		return err
	}
	if r.Attr(uapi.NFQACfgParams) == nil && r.Attr(uapi.NFQACfgQueueMaxlen) == nil && r.Attr(uapi.NFQACfgFlags) == nil {
		return result
	}
	if q == nil {
		return kernel.Errorf(kernel.ENODEV, "no queue %d", r.ResID)
	}
	f.change(cur, r, q)
	if err := f.checkFlags(r, FlagSecctx); err != nil {
		return err
	}
	q.setFlags(cur, r)
	return result
}

// configStrict is nfqnl_recv_config with nfq-cfg-strict: a message is judged before anything is done, and one that
// removes a queue does nothing else.
//
// Errors, in this order: those of the flags; EPERM, EBUSY and ENODEV as for config; ENOTSUPP for another command; ENODEV
// when there is no queue, even for a message that asks for nothing.
func (f *NFQueue) configStrict(cur *kernel.Task, r *nfnetlink.Request) error {
	cmd := r.Cmd()
	if cmd == nfnetlink.CmdPFBind || cmd == nfnetlink.CmdPFUnbind {
		return nil
	}
	if err := f.checkFlags(r, FlagSecctx|FlagConntrack); err != nil {
		return err
	}
	q, err := f.own(cur, r)
	if err != nil {
		return err
	}
	switch cmd {
	case nfnetlink.NoCmd:
	case nfnetlink.CmdBind:
		if q, err = f.bind(cur, r, q); err != nil {
			return err
		}
	case nfnetlink.CmdUnbind:
		return f.unbind(cur, r, q)
	default:
		return kernel.Errorf(kernel.ENOTSUPP, "command %d", cmd)
	}
	if q == nil {
		return kernel.Errorf(kernel.ENODEV, "no queue %d", r.ResID)
	}
	f.change(cur, r, q)
	q.setFlags(cur, r)
	return nil
}

// own returns the queue that a CONFIG message is about, nil for none. EPERM for somebody else's.
func (f *NFQueue) own(cur *kernel.Task, r *nfnetlink.Request) (*queue, error) {
	q := f.queues(r.Net()).Lookup(cur, r.ResID)
	if q != nil && q.portid != r.Portid() {
		return nil, kernel.Errorf(kernel.EPERM, "queue %d is that of portid %d", q.num, q.portid)
	}
	return q, nil
}

// bind makes the queue of a CONFIG message; q is the one that there is already.
func (f *NFQueue) bind(cur *kernel.Task, r *nfnetlink.Request, q *queue) (*queue, error) {
	if q != nil {
		return nil, kernel.Errorf(kernel.EBUSY, "queue %d exists", q.num)
	}
	return f.create(cur, f.queues(r.Net()), r.ResID, r.Portid())
}

func (f *NFQueue) unbind(cur *kernel.Task, r *nfnetlink.Request, q *queue) error {
	if q == nil {
		return kernel.Errorf(kernel.ENODEV, "no queue %d", r.ResID)
	}
	destroy(cur, f.queues(r.Net()), func(o *queue) bool { return o == q })
	return nil
}

// change sets the mode and the length that a CONFIG message asks for.
func (f *NFQueue) change(cur *kernel.Task, r *nfnetlink.Request, q *queue) {
	if p := r.Attr(uapi.NFQACfgParams); p != nil {
		f.setMode(cur, q, binary.BigEndian.Uint32(p), p[4])
	}
	if n, ok := r.Uint32(uapi.NFQACfgQueueMaxlen); ok {
		q.lock.Lock(cur)
		q.inside.Of(cur).maxlen = n
		q.lock.Unlock(cur)
	}
}

// checkFlags judges the flags of a CONFIG message. EINVAL without a mask, EOPNOTSUPP for flags that do not exist or are
// not supported. Those that are not supported can be named if they are not changed.
func (f *NFQueue) checkFlags(r *nfnetlink.Request, unsupported uint32) error {
	flags, ok := r.Uint32(uapi.NFQACfgFlags)
	if !ok {
		return nil
	}
	if r.Attr(uapi.NFQACfgMask) == nil {
		return kernel.Errorf(kernel.EINVAL, "flags without a mask")
	}
	mask, _ := r.Uint32(uapi.NFQACfgMask)
	if int64(flags) >= int64(f.D.Flags) || flags&mask&unsupported != 0 {
		return kernel.Errorf(kernel.EOPNOTSUPP, "flags %#x", flags)
	}
	return nil
}

// setFlags changes the flags that a CONFIG message names.
func (q *queue) setFlags(cur *kernel.Task, r *nfnetlink.Request) {
	flags, ok := r.Uint32(uapi.NFQACfgFlags)
	if !ok {
		return
	}
	mask, _ := r.Uint32(uapi.NFQACfgMask)
	q.lock.Lock(cur)
	q.flags.Store(cur, int64(uint32(q.flags.Load(cur))&^mask|flags&mask))
	q.lock.Unlock(cur)
}

// setMode is nfqnl_set_mode. Modes that do not exist are ignored.
func (f *NFQueue) setMode(cur *kernel.Task, q *queue, crange uint32, mode uint8) {
	q.lock.Lock(cur)
	defer q.lock.Unlock(cur)
	switch mode {
	case CopyNone, CopyMeta:
		crange = 0
	case CopyPacket:
		if crange = min(crange, maxRange); crange == 0 {
			crange = f.zeroRange
		}
	default:
		return
	}
	q.mode.Store(cur, int64(mode))
	q.crange.Store(cur, int64(crange))
}

// verdictHdr reads verdict and id. EINVAL where they are missing or the verdict is none.
func verdictHdr(r *nfnetlink.Request) (verdict, id uint32, err error) {
	h := r.Attr(uapi.NFQAVerdictHdr)
	if h == nil {
		return 0, 0, kernel.Errorf(kernel.EINVAL, "no verdict")
	}
	verdict, id = binary.BigEndian.Uint32(h), binary.BigEndian.Uint32(h[4:])
	if v := verdict & 0xff; v > uapi.NFStop || v == uint32(inet.Stolen) {
		return 0, 0, kernel.Errorf(kernel.EINVAL, "verdict %d", v)
	}
	return verdict, id, nil
}

// verdict decides on one packet: nfqnl_recv_verdict. The owner of the queue is not asked for.
//
// Errors: ENODEV without the queue, EINVAL, ENOENT when no packet with that id waits.
func (f *NFQueue) verdict(cur *kernel.Task, r *nfnetlink.Request) error {
	q := f.queues(r.Net()).Lookup(cur, r.ResID)
	if q == nil {
		return kernel.Errorf(kernel.ENODEV, "no queue %d", r.ResID)
	}
	verdict, id, err := verdictHdr(r)
	if err != nil {
		return err
	}
	taken := q.take(cur, func(i uint32) bool { return i == id })
	if len(taken) == 0 {
		return kernel.Errorf(kernel.ENOENT, "no packet %d", id)
	}
	if payload := r.Attr(uapi.NFQAPayload); payload != nil {
		mangle(taken[0].p, payload)
	}
	f.reinject(cur, r, taken, verdict)
	return nil
}

// verdictBatch decides on all packets from the front of the queue up to an id: nfqnl_recv_verdict_batch.
//
// Errors: ENODEV without the queue, EPERM for that of somebody else, EINVAL, ENOENT when there is no such packet.
func (f *NFQueue) verdictBatch(cur *kernel.Task, r *nfnetlink.Request) error {
	q := f.queues(r.Net()).Lookup(cur, r.ResID)
	if q == nil {
		return kernel.Errorf(kernel.ENODEV, "no queue %d", r.ResID)
	}
	if q.portid != r.Portid() {
		return kernel.Errorf(kernel.EPERM, "queue %d is that of portid %d", q.num, q.portid)
	}
	verdict, last, err := verdictHdr(r)
	if err != nil {
		return err
	}
	passed := false
	taken := q.take(cur, func(id uint32) bool {
		passed = passed || int32(id-last) > 0
		return !passed
	})
	if len(taken) == 0 {
		return kernel.Errorf(kernel.ENOENT, "no packet up to %d", last)
	}
	f.reinject(cur, r, taken, verdict)
	return nil
}

// take removes the packets for which match is true.
func (q *queue) take(cur *kernel.Task, match func(id uint32) bool) (taken []entry) {
	q.lock.Lock(cur)
	defer q.lock.Unlock(cur)
	in := q.inside.Of(cur)
	var left []entry
	for _, e := range in.waiting {
		if match(e.id) {
			taken = append(taken, e)
		} else {
			left = append(left, e)
		}
	}
	in.waiting = left
	return taken
}

// mangle gives a packet another content: nfqnl_mangle. Whoever did it has computed the checksum.
func mangle(p *inet.Packet, payload []byte) {
	p.Data = append([]byte(nil), payload...)
	p.Frags = nil
	p.CsumNotReady = false
}

// verdictBypass is the flag of NFQueue, whose queue is in the upper half, that accepts a packet when there is no such
// queue.
const verdictBypass = 0x8000

// reinject applies a mark and lets packets go on as decided: nf_reinject.
func (f *NFQueue) reinject(cur *kernel.Task, r *nfnetlink.Request, taken []entry, verdict uint32) {
	mark, marked := r.Uint32(uapi.NFQAMark)
	for _, e := range taken {
		if marked {
			e.p.Mark = mark
		}
		v := inet.Verdict(verdict & 0xff)
		switch v {
		case uapi.NFQueue:
			v = f.enqueue(cur, e.p, uint16(verdict>>16), verdict&verdictBypass != 0)
			if v == inet.Stolen {
				continue
			}
		case uapi.NFStop:
			v = inet.Accept
		}
		e.p.Stack().Reinject(cur, e.p, v)
	}
}
