package afnetlink

import (
	"encoding/binary"
	"fmt"

	"nlmmap/kernel"
	"nlmmap/uapi"
)

// DumpControl says how a dump is made (struct netlink_dump_control).
type DumpControl struct {
	// Dump appends messages to s and returns a positive number while there are more to come, 0 at the end, or a
	// negative errno.
	Dump func(cur *kernel.Task, s *SKB, cb *Callback) int
	// Done is told when the dump ends, however it does.
	Done func(cur *kernel.Task, cb *Callback)
	// MinDumpAlloc is the least size that a message is allocated with, if it is above 3776.
	MinDumpAlloc int
}

// A Callback is a running dump (struct netlink_callback). Seq and flags of its messages come from Nlh, which the dump
// reads each time.
type Callback struct {
	DumpControl
	// SKB is the request, Nlh the message in it; where dump-nlh-in-frame the message can still be changed by
	// userspace.
	SKB *SKB
	Nlh Msg
	// Portid is the requester's.
	Portid uint32
	Net    *kernel.Net
	// Args is the callback's memory from message to message, State more of it.
	Args  [6]int64
	State any
	// Seq and PrevSeq are the callback's consistency counter: a change marks DONE with DUMP_INTR.
	Seq, PrevSeq uint32
}

// dumpState is the dump of a socket, guarded by its cb_mutex; running may be read without.
type dumpState struct {
	running kernel.Atomic
	cb      kernel.Guarded[*Callback]
}

func (d *dumpState) init(cbMutex *kernel.Mutex) {
	d.running.Named("cb_running", 0)
	d.running.Guard(cbMutex)
	d.cb.Guard(cbMutex)
}

// drop ends the dump of a socket that is gone, without telling anybody. Who still has the socket in hand, as a reader of
// /proc, sees it as running.
func (d *dumpState) drop(cur *kernel.Task) {
	if d.running.Load(cur) == 0 {
		return
	}
	cb := *d.cb.Own()
	if cb.Done != nil {
		cb.Done(cur, cb)
	}
	cb.SKB.Free(cur)
	*d.cb.Own() = nil
}

// DumpStart starts a dump and produces its first message: __netlink_dump_start (spec 10.1). It returns EINTR when the
// dump has started, which means that there is no acknowledgement.
//
// Errors: ECONNREFUSED when the requester is gone, EBUSY while another dump of the socket runs, and those of the first
// message; the dump then stays (dump-start-full-ring).
func (nl *Netlink) DumpStart(cur *kernel.Task, m *Message, msg Msg, control DumpControl) error {
	request := m.SKB
	if request.CB.flags&skbMmaped != 0 {
		// The copy keeps the marks of a ring message but owns no frame.
		request = copied(cur, m.SKB)
		if request == nil {
			return kernel.ENOBUFS
		}
		request.CB.flags &^= skbMmaped | skbTX
		if !nl.D.DumpNlhInFrame {
			msg.SKB = request
		}
		msg.SKB.Keep()
	} else {
		request.Get(cur)
	}
	sk := nl.lookup(cur, m.Kernel.Net, m.Kernel.Protocol, request.CB.Portid)
	if sk == nil {
		request.Free(cur)
		return kernel.ECONNREFUSED
	}
	sk.cbMutex.Lock(cur)
	if sk.cb.running.Load(cur) != 0 {
		sk.cbMutex.Unlock(cur)
		request.Free(cur)
		sk.Put(cur)
		return kernel.Errorf(kernel.EBUSY, "a dump is running on portid %v", sk.portid.Shown())
	}
	*sk.cb.cb.Of(cur) = &Callback{DumpControl: control, SKB: request, Nlh: msg, Portid: request.CB.Portid, Net: sk.Net}
	sk.cb.running.Store(cur, 1)
	sk.dumps(cur, DumpBegins, nil)
	sk.cbMutex.Unlock(cur)
	err := sk.dump(cur)
	sk.Put(cur)
	if err != nil {
		return err
	}
	return kernel.EINTR
}

// dump produces one message of the running dump: netlink_dump (spec 10.2).
//
// Errors: EINVAL when no dump runs; ENOBUFS when the receive buffer of a socket without ring is full, when there is no
// free frame, or when DONE does not fit.
func (sk *Sock) dump(cur *kernel.Task) error {
	sk.cbMutex.Lock(cur)
	cb := *sk.cb.cb.Of(cur)
	if sk.cb.running.Load(cur) == 0 {
		sk.cbMutex.Unlock(cur)
		return kernel.Errorf(kernel.EINVAL, "no dump is running")
	}
	if !sk.rxRing.IsSet(cur) && sk.Rmem.Load(cur) >= sk.Rcvbuf.Load(cur) {
		sk.cbMutex.Unlock(cur)
		return kernel.Errorf(kernel.ENOBUFS, "the receive buffer is full")
	}
	s := sk.dumpAlloc(cur, cb)
	if s == nil {
		sk.cbMutex.Unlock(cur)
		return kernel.Errorf(kernel.ENOBUFS, "no free frame for the next message of the dump")
	}
	setOwnerR(cur, s, sk)
	n := cb.Dump(cur, s, cb)
	if n > 0 {
		sk.dumps(cur, DumpPart, s)
		sk.cbMutex.Unlock(cur)
		sk.dumpDeliver(cur, s)
		return nil
	}
	if !sk.putDone(cur, s, cb, n) {
		sk.cbMutex.Unlock(cur)
		s.Free(cur)
		return kernel.Errorf(kernel.ENOBUFS, "NLMSG_DONE does not fit")
	}
	sk.dumps(cur, DumpPart, s)
	sk.dumpDeliver(cur, s)
	if cb.Done != nil {
		cb.Done(cur, cb)
	}
	sk.dumps(cur, DumpEnds, nil)
	sk.cb.running.Store(cur, 0)
	*sk.cb.cb.Of(cur) = nil
	sk.cbMutex.Unlock(cur)
	cb.SKB.Free(cur)
	return nil
}

// dumpAlloc allocates the next message of a dump, with its data where the kernel puts it (spec 10.2 steps 3 and 4,
// 10.3). The sender is the socket itself: one that is connected elsewhere gets ordinary messages
// (dump-copy-when-connected).
func (sk *Sock) dumpAlloc(cur *kernel.Task, cb *Callback) *SKB {
	nl := sk.nl
	least := max(cb.MinDumpAlloc, uapi.NLMsgGoodsize)
	size, byRecvlen := least, false
	var s *SKB
	if recvlen := sk.dumpRecvlen(cur); recvlen > least {
		size = recvlen
		s = nl.AllocSKB(cur, sk, size, 0, sk.Portid(cur))
		byRecvlen = s != nil
	}
	if s == nil {
		size = least
		s = nl.AllocSKB(cur, sk, size, 0, sk.Portid(cur))
	}
	if s == nil {
		return nil
	}
	var reserve bool
	switch nl.D.DumpReserveInFrame {
	case ReserveRecvlen:
		reserve = byRecvlen
	case ReserveAlways:
		reserve = true
	case ReserveNoRxRing:
		reserve = !sk.rxRing.IsSet(cur)
	}
	if reserve {
		s.Reserve(s.Tailroom() - size)
	}
	if nl.k.Tracing() {
		nl.k.Emit(cur, DumpEvent{sk.portid.Shown(), size, s.Ring(), s.Headroom()})
	}
	return s
}

// dumpRecvlen is how large the messages of a dump are for the sake of its reader's buffers, 0 where those do not matter.
func (sk *Sock) dumpRecvlen(cur *kernel.Task) int {
	most := sk.recvlen()
	if most == nil {
		return 0
	}
	return int(most.Load(cur))
}

// recvlen is the largest buffer that a message was received with (max_recvmsg_len), nil where the kernel does not
// remember it.
func (sk *Sock) recvlen() *kernel.Atomic {
	if !sk.nl.D.DumpRecvlen {
		return nil
	}
	return &sk.maxRecvmsgLen
}

// A DumpEvent tells of a dump message that was allocated.
type DumpEvent struct {
	Portid  kernel.Shown
	Size    int // asked for
	InFrame bool
	Shift   int // of the data, by dump-reserve-in-frame
}

func (e DumpEvent) String() string {
	return fmt.Sprintf("dump for portid %v: %d bytes, in a frame %t, shifted %d", e.Portid, e.Size, e.InFrame, e.Shift)
}

// putDone appends NLMSG_DONE with the callback's result.
func (sk *Sock) putDone(cur *kernel.Task, s *SKB, cb *Callback, result int) bool {
	flags := uint16(uapi.NLMFMulti)
	if cb.PrevSeq != 0 && cb.Seq != cb.PrevSeq {
		flags |= uapi.NLMFDumpIntr
	}
	cb.PrevSeq = cb.Seq
	nlh, ok := PutMsg(cur, s, uapi.NLMsgHdr{Type: uapi.NLMsgDone, Flags: flags, Seq: cb.Nlh.Seq(cur), Pid: cb.Portid}, 4)
	if !ok {
		return false
	}
	nlh.Put(cur, s, binary.LittleEndian.AppendUint32(nil, uint32(int32(result))))
	nlh.End(cur, s)
	return true
}

func (sk *Sock) dumpDeliver(cur *kernel.Task, s *SKB) {
	if sk.Accept(cur, s) {
		sk.sendSKB(cur, s)
	} else {
		s.Free(cur)
	}
}
