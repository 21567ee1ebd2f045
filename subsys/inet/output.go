package inet

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"nlmmap/kernel"
	"nlmmap/kernel/inspect"
)

// HookOutput is the number of the OUTPUT hook (NF_INET_LOCAL_OUT), EtherIP what link layers call IPv4, and FamilyIPv4
// what netfilter does.
const (
	HookOutput = 3
	EtherIP    = 0x0800
	FamilyIPv4 = 2
)

// The packets of SendUDP.
const (
	ipHdrlen   = 20
	udpHdrlen  = 8
	protoUDP   = 17
	maxPacket  = 65535
	SourcePort = 4000
	DestPort   = 9
)

// A Packet is an IP packet on its way through the OUTPUT hook.
type Packet struct {
	Data  []byte   // the linear part: the IP header and what follows
	Frags [][]byte // page fragments behind it
	// CsumNotReady says that the UDP checksum is only that of the pseudo header (CHECKSUM_PARTIAL);
	// CompleteChecksum makes it whole.
	CsumNotReady bool
	// Timestamp is when the packet was seen, if HasTimestamp; locally generated packets have none.
	Timestamp    kernel.Time
	HasTimestamp bool
	Mark         uint32
	// HasSock says that UID and GID are those of a sending socket's opener.
	HasSock  bool
	UID, GID uint32
	// InDev and OutDev are interface indexes, 0 for none.
	InDev, OutDev int
	// HWAddr is the link-layer address that the packet came from; locally generated packets have none.
	HWAddr    []byte
	Family    uint8  // FamilyIPv4
	Hook      uint8  // HookOutput
	EtherType uint16 // EtherIP
	// Done, if there is one, is called when the packet has left the hook, accepted or not.
	Done func(p *Packet, accepted bool)

	stack  *Stack
	sender *Sender // whose send buffer the packet is charged to, nil for none
	charge int
}

// Len is the length of the packet, fragments included.
func (p *Packet) Len() int {
	n := len(p.Data)
	for _, f := range p.Frags {
		n += len(f)
	}
	return n
}

// Bytes returns the first n bytes of the packet, all for a packet that is shorter.
func (p *Packet) Bytes(n int) []byte {
	b := p.Data[:min(n, len(p.Data)):min(n, len(p.Data))]
	for _, f := range p.Frags {
		b = append(b, f[:min(n-len(b), len(f))]...)
	}
	return b
}

// Stack is the stack that the packet is in, and Net its namespace.
func (p *Packet) Stack() *Stack    { return p.stack }
func (p *Packet) Net() *kernel.Net { return p.stack.net }

// CompleteChecksum computes the UDP checksum, once: skb_checksum_help.
func (p *Packet) CompleteChecksum() {
	if !p.CsumNotReady {
		return
	}
	p.CsumNotReady = false
	ihl := int(p.Data[0]&15) * 4
	field := p.Data[ihl+6 : ihl+8]
	// The field holds the sum of the pseudo header, which the checksum continues.
	check := ^fold(sum(0, p.Bytes(p.Len())[ihl:]))
	if check == 0 {
		check = 0xffff
	}
	binary.BigEndian.PutUint16(field, check)
}

// sum adds 16-bit numbers, with the carries at the end (csum_partial): four bytes at a time, since 2^16 is 1 there.
func sum(start uint32, b []byte) uint32 {
	s := uint64(start)
	for ; len(b) >= 4; b = b[4:] {
		s += uint64(binary.BigEndian.Uint32(b))
	}
	if len(b) >= 2 {
		s += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		s += uint64(b[0]) << 8
	}
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	return uint32(s)
}

func fold(s uint32) uint16 {
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

// A Verdict is what happens to a packet.
type Verdict int

// The verdicts. Drop to Repeat have netfilter's numbers. Continue, for targets that only look (logging), goes on
// with the next rule; Accept ends the rules.
const (
	Drop     Verdict = 0
	Accept   Verdict = 1
	Stolen   Verdict = 2 // somebody keeps the packet, and will Reinject or forget it
	Repeat   Verdict = 4 // only for Reinject: all rules once more
	Continue Verdict = -1
)

// A Target decides on a packet. The targets of nfnetlink_queue and nfnetlink_log are functions of their packages.
type Target func(cur *kernel.Task, p *Packet) Verdict

// A Rule on the OUTPUT hook gives UDP packets to a port, 9 if it is 0, to its target.
type Rule struct {
	Name   string
	Port   uint16
	Target Target
}

func (r Rule) matches(p *Packet) bool {
	if len(p.Data) < ipHdrlen {
		return false // a verdict has replaced the packet
	}
	ihl := int(p.Data[0]&15) * 4
	if p.Data[9] != protoUDP || len(p.Data) < ihl+udpHdrlen {
		return false
	}
	port := r.Port
	if port == 0 {
		port = DestPort
	}
	return binary.BigEndian.Uint16(p.Data[ihl+2:]) == port
}

// Stats counts packets.
type Stats struct{ Sent, Delivered, Dropped, Queued int }

type output struct {
	rules kernel.Shared[[]Rule]
	stats kernel.Shared[Stats]
}

// AddRule appends a rule; lo is brought up for it.
func (s *Stack) AddRule(cur *kernel.Task, r Rule) {
	s.LoUp(cur)
	// Packets that are under way keep the list they began with.
	s.output.rules.Change(cur, func(rules *[]Rule) { *rules = append(slices.Clip(*rules), r) })
}

// FlushRules removes all rules.
func (s *Stack) FlushRules(cur *kernel.Task) {
	s.output.rules.Change(cur, func(rules *[]Rule) { *rules = nil })
}

// Inspect returns what happened to the packets so far.
func (s *Stack) Inspect(key inspect.Key) (now Stats) {
	s.output.stats.Inspect(key, func(t *Stats) { now = *t })
	return now
}

// count changes the statistics.
func (s *Stack) count(cur *kernel.Task, change func(*Stats)) { s.output.stats.Count(cur, change) }

// Output sends a packet through the rules (ip_local_out). A packet that is dropped or queued was sent as well.
func (s *Stack) Output(cur *kernel.Task, p *Packet) {
	p.stack = s
	s.count(cur, func(t *Stats) { t.Sent++ })
	s.traverse(cur, p)
}

func (s *Stack) traverse(cur *kernel.Task, p *Packet) {
	verdict := Accept
	for _, r := range s.output.rules.Get(cur) {
		if !r.matches(p) {
			continue
		}
		v := r.Target(cur, p)
		if v == Continue {
			continue
		}
		verdict = v
		break
	}
	s.finish(cur, p, verdict)
}

func (s *Stack) finish(cur *kernel.Task, p *Packet, verdict Verdict) {
	if verdict != Stolen {
		p.sender.sent(cur, p)
		if p.Done != nil {
			p.Done(p, verdict == Accept)
		}
	}
	switch verdict {
	case Accept:
		s.count(cur, func(t *Stats) { t.Delivered++ })
		s.loNeigh(cur)
	case Stolen:
		s.count(cur, func(t *Stats) { t.Queued++ })
	default:
		s.count(cur, func(t *Stats) { t.Dropped++ })
	}
}

// loNeigh is what a packet that leaves through lo finds or makes: the neighbour that it is for, as all packets of the
// stack are for 127.0.0.1 (ip_finish_output). Nobody is told, since there is nothing to be resolved.
func (s *Stack) loNeigh(cur *kernel.Task) {
	n := Neigh{Dst: netip.AddrFrom4([4]byte{127, 0, 0, 1}), Dev: LoIndex, State: NUDNoARP}
	if _, known := s.FindNeigh(cur, n.Dev, n.Dst); !known {
		_ = s.setNeigh(cur, n)
	}
}

// Reinject lets a stolen packet go on (nf_reinject): Accept leaves the hook, as the rules are one table; Repeat goes
// through the rules again; Drop and others drop it. Packets without stack are those of tests and vanish.
func (s *Stack) Reinject(cur *kernel.Task, p *Packet, v Verdict) {
	s.count(cur, func(t *Stats) { t.Queued-- })
	if v == Repeat {
		s.traverse(cur, p)
		return
	}
	if v == Stolen {
		v = Drop
	}
	s.finish(cur, p, v)
}

// SendUDP sends count datagrams with size bytes of zeros from 127.0.0.1:4000 to 127.0.0.1:9 on a UDP socket of cur.
// lo is brought up for it. failed counts sends that returned an error: EMSGSIZE for more than an IP packet can hold.
// It is no error when packets are dropped or queued.
func (s *Stack) SendUDP(cur *kernel.Task, count, size int) (sent, failed int) {
	s.LoUp(cur)
	for range count {
		p, err := s.NewUDP(cur, size)
		if err != nil {
			failed++
			continue
		}
		s.Output(cur, p)
		sent++
	}
	return sent, failed
}

// NewUDP makes a packet as SendUDP sends it: EMSGSIZE when it is too long.
func (s *Stack) NewUDP(cur *kernel.Task, size int) (*Packet, error) {
	lo := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if size < 0 || size > maxPacket {
		return nil, kernel.Errorf(kernel.EMSGSIZE, "a datagram of %d bytes", size)
	}
	return s.Datagram(cur, netip.AddrPortFrom(lo, SourcePort), netip.AddrPortFrom(lo, DestPort), make([]byte, size))
}

// Datagram makes the packet that a UDP socket of cur sends between two IPv4 addresses: EMSGSIZE when it is too long.
func (s *Stack) Datagram(cur *kernel.Task, from, to netip.AddrPort, payload []byte) (*Packet, error) {
	total := ipHdrlen + udpHdrlen + len(payload)
	if total > maxPacket {
		return nil, kernel.Errorf(kernel.EMSGSIZE, "an IP packet of %d bytes", total)
	}
	b := make([]byte, total)
	be := binary.BigEndian
	b[0] = 0x45
	be.PutUint16(b[2:], uint16(total))
	be.PutUint16(b[6:], 0x4000) // don't fragment
	b[8], b[9] = 64, protoUDP
	copy(b[12:], from.Addr().AsSlice())
	copy(b[16:], to.Addr().AsSlice())
	be.PutUint16(b[10:], ^fold(sum(0, b[:ipHdrlen])))
	udp := b[ipHdrlen:]
	be.PutUint16(udp, from.Port())
	be.PutUint16(udp[2:], to.Port())
	be.PutUint16(udp[4:], uint16(udpHdrlen+len(payload)))
	be.PutUint16(udp[6:], fold(sum(protoUDP+uint32(udpHdrlen+len(payload)), b[12:20])))
	copy(udp[udpHdrlen:], payload)
	c := cur.Cred()
	return &Packet{Data: b, CsumNotReady: true, HasSock: true, UID: c.EUID, GID: c.EGID, OutDev: LoIndex,
		Family: FamilyIPv4, Hook: HookOutput, EtherType: EtherIP, stack: s}, nil
}

// Filtered reports whether there are rules.
func (s *Stack) Filtered(cur *kernel.Task) bool { return len(s.output.rules.Get(cur)) > 0 }

// Payload is what a UDP packet carries, as it is now; nil for what a verdict has made into something else.
func (p *Packet) Payload() []byte {
	b := p.Bytes(p.Len())
	if len(b) < ipHdrlen || b[9] != protoUDP {
		return nil
	}
	if ihl := int(b[0]&15) * 4; len(b) >= ihl+udpHdrlen {
		return b[ihl+udpHdrlen:]
	}
	return nil
}
