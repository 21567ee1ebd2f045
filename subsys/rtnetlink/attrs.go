package rtnetlink

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/uapi"
)

// A length is what a policy says of an attribute: its least length, and for names (an optional zero byte at the end does
// not count) and addresses its greatest.
type length struct {
	least, most int
	text        bool
}

func least(n int) length { return length{least: n} }
func most(n int) length  { return length{most: n} }
func text(n int) length  { return length{most: n, text: true} }

// A policy says how long the attributes of a request may be (struct nla_policy). Others are not looked at.
type policy map[uint16]length

// An attrSet is the attributes of a request by type: the last of each.
type attrSet map[uint16][]byte

// parse is nlmsg_parse: EINVAL for a header that is not whole, ERANGE for an attribute that is too short or too long. What
// is malformed ends the attributes.
func (p policy) parse(payload []byte, hdrlen int) (attrSet, error) {
	if len(payload) < hdrlen {
		return nil, kernel.Errorf(kernel.EINVAL, "%d bytes of a header of %d", len(payload), hdrlen)
	}
	set := attrSet{}
	for a := range uapi.WellFormed(uapi.Attrs(payload, hdrlen)) {
		want, n := p[a.Type], len(a.Data)
		if want.text && n > 0 && a.Data[n-1] == 0 {
			n--
		}
		if n < want.least || want.most > 0 && n > want.most {
			return nil, kernel.Errorf(unix.ERANGE, "attribute %d has %d bytes", a.Type, len(a.Data))
		}
		set[a.Type] = a.Data
	}
	return set, nil
}

func (s attrSet) has(typ uint16) bool { _, ok := s[typ]; return ok }

func (s attrSet) get32(typ uint16, def uint32) uint32 {
	if b := s[typ]; len(b) >= 4 {
		return binary.LittleEndian.Uint32(b)
	}
	return def
}

func (s attrSet) get8(typ uint16, def uint8) uint8 {
	if b := s[typ]; len(b) >= 1 {
		return b[0]
	}
	return def
}

// ip returns an address of the family of size bytes, the zero value for none.
func (s attrSet) ip(typ uint16, size int) netip.Addr {
	if b := s[typ]; len(b) >= size {
		a, _ := netip.AddrFromSlice(b[:size])
		return a
	}
	return netip.Addr{}
}

// gostring is a C string's text.
func gostring(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

func cstring(s string) []byte { return append([]byte(s), 0) }

// A filler appends one message whose header has flags, sequence number and portid of h. It returns false, and leaves
// the buffer as it was, when the message does not fit.
type filler func(cur *kernel.Task, s *afnetlink.SKB, h uapi.NLMsgHdr) bool

// attrs appends attributes to a message until one does not fit.
type attrs struct {
	cur *kernel.Task
	s   *afnetlink.SKB
	b   afnetlink.Builder
	ok  bool
}

// begin appends the two headers of a message.
func begin(cur *kernel.Task, s *afnetlink.SKB, h uapi.NLMsgHdr, typ uint16, header []byte) (attrs, bool) {
	h.Type = typ
	b, ok := afnetlink.PutMsg(cur, s, h, len(header))
	if ok {
		b.Put(cur, s, header)
	}
	return attrs{cur, s, b, true}, ok
}

func (a *attrs) put(typ uint16, data []byte) { a.ok = a.ok && a.b.Attr(a.cur, a.s, typ, data) }

func (a *attrs) put32(typ uint16, v uint32) { a.ok = a.ok && a.b.Attr32(a.cur, a.s, typ, v) }

func (a *attrs) put64(typ uint16, v uint64) {
	a.put(typ, binary.LittleEndian.AppendUint64(nil, v))
}

func (a *attrs) putIP(typ uint16, addr netip.Addr) {
	if addr.IsValid() {
		a.put(typ, addr.AsSlice())
	}
}

// nest appends an attribute with what fill appends.
func (a *attrs) nest(typ uint16, fill func()) {
	start, ok := 0, false
	if a.ok {
		start, ok = a.b.Nest(a.cur, a.s, typ)
	}
	a.ok = a.ok && ok
	fill()
	if a.ok {
		a.b.EndNest(a.cur, a.s, start)
	}
}

// end completes the message, or removes it if something did not fit.
func (a *attrs) end() bool {
	if !a.ok {
		a.b.Cancel(a.s)
		return false
	}
	a.b.End(a.cur, a.s)
	return true
}
