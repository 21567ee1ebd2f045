package random

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// messages returns message lines for a socket: mostly one.
func (m *maker) messages(d fd) string {
	lines := []string{m.message(d)}
	for m.one(6) && len(lines) < 4 {
		lines = append(lines, m.message(d))
	}
	if m.one(40) {
		lines = append(lines, fmt.Sprintf("raw bytes=%d byte=%d", 1+m.IntN(40), m.IntN(256)))
	}
	return strings.Join(lines, "\n")
}

// message returns one message line: what means something to the protocol or, once in a while, to none.
func (m *maker) message(d fd) string {
	m.seq++
	line := ""
	switch kind := m.IntN(10); {
	case kind < 3:
		line = fmt.Sprintf("msg type=noop flags=%s", pick(m, "request,ack", "request,ack", "request,ack", "ack", "request"))
	case kind < 4:
		line = m.nonsense(d)
	default:
		line = m.request(d)
	}
	return line + fmt.Sprintf(" seq=%d", m.seq) + m.option(60, " pid=%d", pick(m, 1, 1000)) +
		m.option(60, " len=%d", pick(m, 0, 15, 16, 17, 5000, 1<<31))
}

// nonsense is a message of any type. Audit has types that change the whole machine.
func (m *maker) nonsense(d fd) string {
	if d.protocol() == "audit" {
		return fmt.Sprintf("msg type=%d flags=%s payload=%d", pick(m, 16, 999, 1300), m.flags(), m.IntN(20))
	}
	if d.protocol() == "xfrm" {
		return fmt.Sprintf("msg type=%d flags=%s payload=%d", 16+m.IntN(30), pick(m, "request", "request,ack", "ack"), m.IntN(300))
	}
	typ := fmt.Sprint(16 + m.IntN(80))
	if m.one(4) {
		typ = pick(m, "error", "done", "overrun", "5", "511", "0x300", "0x400", "0x404", "0x501", "0xffff")
	}
	payload := pick(m, " payload=1", " payload=4", " payload=12", " payload=16", " payload=20", " payload=500", " payload=3000",
		" payload=4000") + m.option(3, " hex=02")
	return fmt.Sprintf("msg type=%s flags=%s%s", typ, m.flags(), pick(m, payload, payload, payload, ""))
}

func (m *maker) flags() string {
	return pick(m, "request", "request", "request,ack", "request,ack", "request,dump", "request,dump", "request,dump,ack", "request,root",
		"request,match", "ack", "0", "request,echo", "request,create,ack", "request,multi", "0xffff")
}

// request is a message that the protocol knows.
func (m *maker) request(d fd) string {
	switch d.protocol() {
	case "route":
		return m.routeRequest()
	case "netfilter":
		return m.netfilterRequest()
	case "generic":
		return m.genericRequest()
	case "sock_diag":
		return m.diagRequest()
	case "audit":
		return m.auditRequest(d)
	case "10":
		return m.lookup()
	case "xfrm":
		return fmt.Sprintf("msg type=%d flags=request,ack payload=%d", pick(m, 18, 21, 29, 35, 37), pick(m, 0, 4, 24))
	}
	return fmt.Sprintf("msg type=%d flags=%s payload=%d", 16+m.IntN(4), m.flags(), pick(m, 0, 8, 100, 1000, 2000, 4000))
}

// withPayload is a message with the given bytes.
func withPayload(typ any, flags string, payload []byte) string {
	line := fmt.Sprintf("msg type=%v flags=%s", typ, flags)
	if len(payload) == 0 {
		return line
	}
	return line + fmt.Sprintf(" payload=%d hex=%s", len(payload), hex.EncodeToString(payload))
}

// attr appends an attribute, padded.
func attr(b []byte, typ int, data []byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(4+len(data)))
	b = binary.LittleEndian.AppendUint16(b, uint16(typ))
	b = append(b, data...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func le32(v int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(v)) }

func (m *maker) routeRequest() string {
	family := pick(m, 0, 2, 2, 2, 2, 7, 10)
	switch m.IntN(12) {
	case 0, 1, 2, 3, 4:
		return fmt.Sprintf("msg type=getneigh flags=request,dump payload=%d hex=02", pick(m, 12, 12, 1, 16))
	case 5, 6:
		return fmt.Sprintf("msg type=getroute flags=request,dump payload=12 hex=%02x", pick(m, 2, 2, family))
	case 7:
		return fmt.Sprintf("msg type=%s flags=%s payload=%d hex=%02x", pick(m, "getlink", "getaddr", "getrule", "getneigh", "getroute"),
			pick(m, "request,dump", "request,root", "request,ack"), pick(m, 1, 12, 16, 20), family)
	case 8:
		return withPayload("newneigh", pick(m, "request,create,ack", "request,create", "request,create,excl,ack", "request,create,echo,ack"),
			m.neighbor())
	case 9:
		if !m.single {
			break
		}
		return withPayload("delneigh", "request,ack", m.neighbor())
	case 10:
		return fmt.Sprintf("msg type=getlink flags=request,ack payload=16 hex=00000000%x", le32(pick(m, 0, 1, 2, 9)))
	}
	return fmt.Sprintf("msg type=%d flags=request,ack payload=20 hex=%02x", 16+m.IntN(80), family)
}

// neighbor is the payload of a request about a permanent neighbour of the first device beside lo, or of one that there is not.
func (m *maker) neighbor() []byte {
	device, address := 2, 1+m.IntN(4)
	if m.initial {
		device = 9
	}
	if m.single {
		address = 1
	}
	b := append([]byte{2, 0, 0, 0}, le32(device)...)
	b = append(b, 0x80, 0, 0, 0)
	b = attr(b, 1, []byte{10, 0, 0, byte(address)})
	if m.one(4) {
		return b
	}
	return attr(b, 2, []byte{2, 0, 0, 0, 0, byte(m.IntN(256))})
}

func (m *maker) netfilterRequest() string {
	number := m.IntN(3)
	flags := m.option(3, " flags=request")
	switch m.IntN(12) {
	case 0, 1, 2:
		command := pick(m, "bind", "bind", "bind", "unbind", "pf_bind", "pf_unbind", "config", "config", "config")
		return fmt.Sprintf("nfqueue %s queue=%d%s%s%s%s", command, number, m.copyMode(2), m.option(4, " maxlen=%d", pick(m, 0, 1, 2, 5)),
			m.option(4, " set=%d%s", m.IntN(33), m.option(2, " mask=%d", m.IntN(33))), flags)
	case 3, 4, 5, 6:
		verdict := pick(m, "drop", "accept", "accept", "accept", "queue", "0x10003", "repeat", "stop", "2", "6")
		return fmt.Sprintf("nfqueue %s %s id=%d queue=%d%s flags=request,ack", pick(m, "verdict", "verdict", "batch"), verdict,
			m.packetID(), number, m.option(4, " mark=%d", m.IntN(10)))
	case 7, 8, 9:
		// Thresholds above one would wait for the timer.
		command := pick(m, "bind", "bind", "bind", "unbind", "pf_bind", "config", "config", "config")
		return fmt.Sprintf("nflog %s group=%d%s%s%s%s%s", command, number, m.copyMode(2), m.option(4, " qthresh=%d", m.IntN(2)),
			m.option(4, " set=%d", m.IntN(4)), m.option(4, " nlbufsiz=%d", pick(m, 0, 3776, 5000, 131072, 131073)), flags)
	case 10:
		return withPayload(pick(m, "0x301", "0x302", "0x303", "0x401"), "request,ack", attr([]byte{0, 0, 0, byte(number)},
			1+m.IntN(5), make([]byte, m.IntN(9))))
	}
	return withPayload(pick(m, "0x300", "0x304", "0x400", "0x402", "0x100", "0xa00"), pick(m, "request,ack", "request"),
		[]byte{0, 0, 0, byte(number)})
}

// copyMode says, once in n times, how much of a packet a queue or a log copies.
func (m *maker) copyMode(n int) string {
	if !m.one(n) {
		return ""
	}
	return " copy=" + pick(m, "none", "meta", "packet", "packet", "packet") + m.option(2, " range=%d", pick(m, 0, 1, 20, 100, 1000, 1<<20))
}

// packetID is the number of a packet that may wait.
func (m *maker) packetID() int {
	if m.packets == 0 || m.one(10) {
		return m.IntN(4)
	}
	return 1 + m.IntN(m.packets)
}

// bindQueue asks for a queue or a log and says how much to copy, on a netfilter socket.
func (m *maker) bindQueue(d fd) {
	if d.protocol() != "netfilter" {
		return
	}
	number := m.IntN(2)
	m.seq++
	if m.one(3) {
		m.step("send %s\nnflog bind group=%d qthresh=1%s seq=%d", d.name, number, m.copyMode(2), m.seq)
		m.step("nfrule nflog group=%d threshold=1", number)
		return
	}
	m.step("send %s\nnfqueue bind queue=%d%s seq=%d", d.name, number, m.copyMode(1), m.seq)
	m.step("nfrule nfqueue num=%d", number)
}

func (m *maker) genericRequest() string {
	flags := pick(m, "request,ack", "request,ack", "request", "request,dump", "request,root")
	switch m.IntN(4) {
	case 0:
		id := pick(m, 16, 16, 17, 18, 19, 20, 30)
		return withPayload(16, flags, attr([]byte{3, 1, 0, 0}, 1, []byte{byte(id), 0}))
	case 1:
		name := pick(m, "nlctrl", "nlctrl", "TASKSTATS", "tcp_metrics", "nothing", "")
		return withPayload(16, flags, attr([]byte{3, 1, 0, 0}, 2, append([]byte(name), 0)))
	case 2:
		return withPayload(16, "request,dump", []byte{3, 1, 0, 0})
	}
	return withPayload(pick(m, 16, 17, 18, 19, 20, 21), flags, []byte{byte(m.IntN(5)), 1, 0, 0}[:pick(m, 4, 4, 4, 2)])
}

func (m *maker) diagRequest() string {
	if m.one(10) {
		return withPayload(20, "request,dump", make([]byte, m.IntN(20)))
	}
	protocol := "32"
	for _, p := range []string{"usersock", "route", "generic", "netfilter"} {
		// A second row would stand before or behind the first by chance. All but one have a row of the kernel's.
		if m.opened[p] == 0 || m.opened[p] == 1 && p == "usersock" {
			protocol = pick(m, protocol, p, p)
		}
	}
	return fmt.Sprintf("diag protocol=%s%s%s%s%s", protocol,
		m.option(2, " show=%s", pick(m, "groups", "rings", "groups,rings")), m.option(8, " family=%d", pick(m, 1, 2, 17, 40, 41)),
		m.option(10, " type=%d", pick(m, 18, 21, 22)), m.option(4, " flags=%s", pick(m, "request,dump,ack", "request,ack", "request,root")))
}

// auditRequest asks for something: without a ring only, whose frames would show when the kernel thread came to answer.
func (m *maker) auditRequest(d fd) string {
	if d.sock.rx != (ring{}) || d.sock.tx != (ring{}) {
		return fmt.Sprintf("msg type=%d flags=request,ack", pick(m, 16, 999, 1002))
	}
	return "audit " + pick(m, "get", "get", "list_rules", "get_feature", "signal_info")
}

// lookup is a request to FIB_LOOKUP.
func (m *maker) lookup() string {
	b := append([]byte{pick[byte](m, 127, 10, 10), 0, byte(m.IntN(3)), 1}, make([]byte, 16)...)
	return withPayload(pick(m, 0, 16, 30), pick(m, "request", "0", "request,ack"), b[:pick(m, 20, 20, 20, 16, 4)])
}
