package nfqueue

import (
	"encoding/binary"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/subsys/inet"
	"nlmmap/subsys/nfnetlink"
	"nlmmap/uapi"
)

// Bits of uapi.NFQASKBInfo.
const (
	infoCsumNotReady    = 1
	infoCsumNotVerified = 4
)

// Rule is the target NFQUEUE: packets go to a queue. With bypass they are accepted when there is no such queue.
func (f *NFQueue) Rule(num uint16, bypass bool) inet.Rule {
	return inet.Rule{Name: "nfqueue", Target: func(cur *kernel.Task, p *inet.Packet) inet.Verdict {
		return f.enqueue(cur, p, num, bypass)
	}}
}

// enqueue sends a packet to the owner of a queue and keeps it: nfqnl_enqueue_packet (spec 12.4). A packet that cannot
// be queued is dropped; whoever sent it is not told.
func (f *NFQueue) enqueue(cur *kernel.Task, p *inet.Packet, num uint16, bypass bool) inet.Verdict {
	q := f.queues(p.Net()).Lookup(cur, num)
	if q == nil {
		if bypass {
			return inet.Accept
		}
		return inet.Drop
	}
	if q.mode.Load(cur) == CopyNone {
		return inet.Drop
	}
	m, id := f.build(cur, q, p)
	if m == nil {
		return inet.Drop // ENOMEM: the ring is full
	}
	q.lock.Lock(cur)
	defer q.lock.Unlock(cur)
	in := q.inside.Of(cur)
	if uint32(len(in.waiting)) >= in.maxlen {
		m.Free(cur)
		if q.flags.Load(cur)&FlagFailOpen != 0 {
			return inet.Accept
		}
		in.dropped++
		return inet.Drop
	}
	in.id++
	m.Write(cur, id, nfnetlink.BE32(in.id))
	if err := f.nf.Unicast(cur, p.Net(), m, q.portid); err != nil {
		in.userDropped++
		return inet.Drop
	}
	if in.dead {
		return inet.Drop
	}
	in.waiting = append(in.waiting, entry{in.id, p})
	return inet.Stolen
}

// baseSize is what a message with the attributes that every packet may have needs: header, packet header, two
// interfaces, mark, hardware address, SKB_INFO and CAP_LEN.
const baseSize = 20 + 12 + 2*8 + 8 + 16 + 8 + 8

// build makes the message for a packet: nfqnl_build_packet_message (spec 12.5). id is where the packet's id belongs.
// nil means that there was no frame or no memory.
func (f *NFQueue) build(cur *kernel.Task, q *queue, p *inet.Packet) (m *afnetlink.SKB, id int) {
	mode, flags := q.mode.Load(cur), q.flags.Load(cur)
	size, rest := baseSize, 0
	if p.HasTimestamp {
		size += uapi.NLATotalSize(16)
	}
	dataLen, hlen := 0, 0
	if mode == CopyPacket {
		if flags&FlagGSO == 0 {
			p.CompleteChecksum()
		}
		dataLen = f.dataLen(int(q.crange.Load(cur)), p.Len())
		hlen = headlen(p, dataLen)
		size += uapi.NLAHdrlen + hlen
		rest = dataLen - hlen
	}
	if flags&FlagUIDGID != 0 {
		size += 2 * uapi.NLATotalSize(4)
	}
	m = f.nf.AllocSKB(cur, p.Net(), size, rest, q.portid)
	if m == nil {
		return nil, 0
	}
	b, ok := nfnetlink.PutMsg(cur, m, uapi.NFQNLMsgPacket, p.Family, q.num)
	put := func(typ uint16, data []byte) { ok = ok && b.Attr(cur, m, typ, data) }
	id = m.Len() + uapi.NLAHdrlen
	put(uapi.NFQAPacketHdr, []byte{0, 0, 0, 0, byte(p.EtherType >> 8), byte(p.EtherType), p.Hook})
	if p.InDev != 0 {
		put(uapi.NFQAIfindexIndev, nfnetlink.BE32(uint32(p.InDev)))
	}
	if p.OutDev != 0 {
		put(uapi.NFQAIfindexOutdev, nfnetlink.BE32(uint32(p.OutDev)))
	}
	if p.Mark != 0 {
		put(uapi.NFQAMark, nfnetlink.BE32(p.Mark))
	}
	if p.HWAddr != nil {
		put(uapi.NFQAHwaddr, nfnetlink.HWAddr(p.HWAddr))
	}
	if p.HasTimestamp {
		put(uapi.NFQATimestamp, f.timestamp(p))
	}
	if flags&FlagUIDGID != 0 && p.HasSock {
		put(uapi.NFQAUID, nfnetlink.BE32(p.UID))
		put(uapi.NFQAGID, nfnetlink.BE32(p.GID))
	}
	if mode == CopyPacket && (f.D.CapLenAlways || dataLen < p.Len()) {
		put(uapi.NFQACapLen, nfnetlink.BE32(uint32(p.Len())))
	}
	if info := f.skbInfo(p); info != 0 {
		put(uapi.NFQASKBInfo, nfnetlink.BE32(info))
	}
	if dataLen > 0 {
		ok = ok && f.putPayload(cur, m, p, dataLen, hlen)
	}
	if !ok {
		m.Free(cur)
		return nil, 0
	}
	b.End(cur, m)
	return m, id
}

// dataLen is how much of a packet its message has.
func (f *NFQueue) dataLen(crange, n int) int {
	if crange == 0 && f.zeroRange == 0 {
		return n
	}
	return min(crange, n)
}

// headlen is how much of that is copied; the rest is in page fragments, which are attached: skb_zerocopy_headlen.
func headlen(p *inet.Packet, dataLen int) int {
	if len(p.Frags) == 0 {
		return dataLen
	}
	return min(len(p.Data), dataLen)
}

func (f *NFQueue) timestamp(p *inet.Packet) []byte {
	b := make([]byte, 16)
	if !f.D.TstampZero {
		binary.BigEndian.PutUint64(b, uint64(p.Timestamp/kernel.Second))
		binary.BigEndian.PutUint64(b[8:], uint64(p.Timestamp%kernel.Second/1000))
	}
	return b
}

func (f *NFQueue) skbInfo(p *inet.Packet) uint32 {
	switch {
	case p.CsumNotReady:
		return infoCsumNotReady
	case f.D.CsumInfo && p.InDev != 0: // nothing verifies the checksums of received packets here
		return infoCsumNotVerified
	}
	return 0
}

// putPayload appends the packet without padding: skb_zerocopy. Where all of it fits behind the attributes it is
// copied, else only the head, and the rest is attached as page fragments.
func (f *NFQueue) putPayload(cur *kernel.Task, m *afnetlink.SKB, p *inet.Packet, dataLen, hlen int) bool {
	if m.Tailroom() < uapi.NLAHdrlen+hlen {
		return false
	}
	hdr := binary.LittleEndian.AppendUint16(nil, uint16(uapi.NLAHdrlen+dataLen))
	m.Put(cur, binary.LittleEndian.AppendUint16(hdr, uapi.NFQAPayload))
	data := p.Bytes(dataLen)
	if dataLen <= m.Tailroom() {
		return m.Put(cur, data)
	}
	m.Put(cur, data[:hlen])
	left := dataLen - hlen
	var sizes []int
	for _, frag := range p.Frags {
		n := min(len(frag), left)
		if n == 0 {
			break
		}
		m.AddFrag(frag[:n])
		sizes = append(sizes, n)
		left -= n
	}
	if m.Ring() {
		f.overflow(cur, m, sizes)
	}
	return true
}

// Where the table of page fragments begins behind a buffer's room, and the size of its entries; the number of
// fragments is the first byte.
const (
	fragTable = 48
	fragSize  = 16
	// fragPage stands for the address of a page's structure in the kernel.
	fragPage = 0xffff88001ec78e00
)

// overflow writes what a kernel writes behind a frame when it attaches page fragments to a message in it: the table of
// fragments of a ring message lies in the next frame (nfq-frag-overflow, defects 3.11).
func (f *NFQueue) overflow(cur *kernel.Task, m *afnetlink.SKB, sizes []int) {
	mem, head := m.RingHead()
	next := head + m.Headroom() + m.Capacity()
	// Behind a block lies memory that is not the ring's.
	end := mem.Size()
	if bs := int(m.CB.Sk.RxRing().Request(cur).BlockSize); bs > 0 {
		end = min(end, (head/bs+1)*bs)
	}
	write := func(off int, b []byte) {
		if next+off+len(b) <= end {
			mem.Write(cur.CPU(), next+off, b)
		}
	}
	write(0, []byte{byte(len(sizes))})
	for i, n := range sizes {
		b := binary.LittleEndian.AppendUint64(nil, fragPage)
		b = binary.LittleEndian.AppendUint32(b, 0)
		write(fragTable+fragSize*i, binary.LittleEndian.AppendUint32(b, uint32(n)))
	}
	where := "in the next frame"
	if next >= end {
		where = "behind the block"
	}
	f.k.Corrupt(cur, "nfq-frag-overflow", "%d page fragments are written %s: 1 byte at 0 and %d bytes at %d", len(sizes),
		where, fragSize*len(sizes), fragTable)
}
