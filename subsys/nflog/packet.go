package nflog

import (
	"encoding/binary"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/subsys/inet"
	"nlmmap/subsys/nfnetlink"
	"nlmmap/uapi"
)

// baseSize is what a message with the attributes that every packet may have needs: header, packet header, two
// interfaces, mark, user and group id, hardware address and timestamp. doneSize is the trailer of a
// message with several packets.
const (
	baseSize = 20 + 8 + 2*8 + 8 + 2*8 + 16 + 20
	doneSize = 20
)

// doneRoom is how a kernel provides for DONE (nflog-done-room).
type doneRoom struct {
	asked int  // for each packet
	kept  int  // of the message, when there is room for a packet
	freed bool // a message without room for DONE is freed; else it stays for ever, and so does its frame
}

// log appends a packet to the group's message, and sends that when it has enough of them: nfulnl_log_packet.
func (g *group) log(cur *kernel.Task, p *inet.Packet, threshold uint32, prefix string) {
	g.lock.Lock(cur)
	defer g.lock.Unlock(cur)
	in := g.inside.Of(cur)
	if in.dead {
		return
	}
	if threshold == 0 || threshold > in.threshold {
		threshold = in.threshold
	}
	size, dataLen := g.size(cur, p, prefix)
	if in.skb != nil && size > g.room(cur) {
		g.flush(cur)
	}
	if in.skb == nil && !g.alloc(cur, size) {
		return
	}
	in.qlen++
	g.append(cur, p, dataLen, prefix)
	switch {
	case in.qlen >= threshold:
		g.flush(cur)
	case !g.f.k.TimerPending(cur, &g.timer):
		g.f.k.ModTimer(cur, &g.timer, kernel.Time(in.timeout)*timeUnit)
	}
}

// size is what a packet's message may need, and how much of the packet it has.
func (g *group) size(cur *kernel.Task, p *inet.Packet, prefix string) (size, dataLen int) {
	in := g.inside.Of(cur)
	size = baseSize + uapi.NLATotalSize(len(prefix)+1) + g.f.done.asked
	for _, flag := range []uint16{FlagSeq, FlagSeqGlobal} {
		if in.flags&flag != 0 {
			size += uapi.NLATotalSize(4)
		}
	}
	if in.mode == CopyPacket {
		dataLen = min(int(in.crange), p.Len())
		size += uapi.NLATotalSize(dataLen)
	}
	return size, dataLen
}

// room is what is left of the message for another packet.
func (g *group) room(cur *kernel.Task) int {
	in := g.inside.Of(cur)
	return in.skb.Tailroom() - g.f.done.kept
}

// alloc begins a message: nfulnl_alloc_skb. It tries the size for many packets first and then that for one, so that a
// full ring counts two drops (nflog-double-drop).
func (g *group) alloc(cur *kernel.Task, size int) bool {
	in := g.inside.Of(cur)
	bufsiz := int(in.nlbufsiz)
	in.skb = g.f.nf.AllocSKB(cur, g.net, max(bufsiz, size), 0, g.portid)
	if in.skb == nil && bufsiz > size {
		in.skb = g.f.nf.AllocSKB(cur, g.net, size, 0, g.portid)
	}
	return in.skb != nil
}

// append adds a packet to the message: __build_packet_message.
func (g *group) append(cur *kernel.Task, p *inet.Packet, dataLen int, prefix string) {
	in := g.inside.Of(cur)
	m := in.skb
	b, ok := nfnetlink.PutMsg(cur, m, uapi.NFULNLMsgPacket, p.Family, g.num)
	if !ok {
		return
	}
	put := func(typ uint16, data []byte) { ok = ok && b.Attr(cur, m, typ, data) }
	// All five kernels write no protocol for a packet that is sent from here: the recordings named_messages show it. A
	// packet queue does.
	proto := p.EtherType
	if p.Hook == inet.HookOutput {
		proto = 0
	}
	put(uapi.NFULAPacketHdr, []byte{byte(proto >> 8), byte(proto), p.Hook, 0})
	put(uapi.NFULAPrefix, append([]byte(prefix), 0))
	if p.InDev != 0 {
		put(uapi.NFULAIfindexIndev, nfnetlink.BE32(uint32(p.InDev)))
	}
	if p.OutDev != 0 {
		put(uapi.NFULAIfindexOutdev, nfnetlink.BE32(uint32(p.OutDev)))
	}
	if p.Mark != 0 {
		put(uapi.NFULAMark, nfnetlink.BE32(p.Mark))
	}
	if p.HWAddr != nil {
		put(uapi.NFULAHwaddr, nfnetlink.HWAddr(p.HWAddr))
	}
	if p.HasTimestamp {
		t := binary.BigEndian.AppendUint64(nil, uint64(p.Timestamp/kernel.Second))
		put(uapi.NFULATimestamp, binary.BigEndian.AppendUint64(t, uint64(p.Timestamp%kernel.Second/1000)))
	}
	if p.HasSock {
		put(uapi.NFULAUID, nfnetlink.BE32(p.UID))
		put(uapi.NFULAGID, nfnetlink.BE32(p.GID))
	}
	if in.flags&FlagSeq != 0 {
		put(uapi.NFULASeq, nfnetlink.BE32(in.seq))
		in.seq++
	}
	if in.flags&FlagSeqGlobal != 0 {
		put(uapi.NFULASeqGlobal, nfnetlink.BE32(uint32(g.f.groups(g.net).seq.Add(cur, 1))))
	}
	if dataLen > 0 {
		put(uapi.NFULAPayload, p.Bytes(dataLen))
	}
	if !ok {
		b.Cancel(m)
		return
	}
	b.End(cur, m)
}

// flush sends the message, with DONE behind several packets: __nfulnl_flush and __nfulnl_send. Nobody looks at the
// result. Where no room is kept for DONE, a message that has none for it stays for ever (nflog-done-room); otherwise
// it is freed.
func (g *group) flush(cur *kernel.Task) {
	in := g.inside.Of(cur)
	g.f.k.DelTimer(cur, &g.timer)
	m := in.skb
	if m == nil {
		return
	}
	if in.qlen > 1 {
		// Nobody writes the payload of DONE.
		_, ok := afnetlink.PutMsg(cur, m, uapi.NLMsgHdr{Type: uapi.NLMsgDone}, doneSize-uapi.NLMsgHdrlen)
		switch {
		case ok:
			m.Extend(doneSize - uapi.NLMsgHdrlen)
		case g.f.done.freed:
			in.skb, in.qlen = nil, 0
			m.Free(cur)
			return
		default:
			return
		}
	}
	in.skb, in.qlen = nil, 0
	_ = g.f.nf.Unicast(cur, g.net, m, g.portid)
}

// expired is the timer: nfulnl_timer.
func (g *group) expired(cur *kernel.Task) {
	g.lock.Lock(cur)
	defer g.lock.Unlock(cur)
	g.flush(cur)
}
