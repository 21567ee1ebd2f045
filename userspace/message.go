package userspace

import (
	"encoding/binary"
	"fmt"
	"math"

	"nlmmap/uapi"
)

// A Builder appends messages with attributes to a buffer, aligned as netlink wants it. The zero value is ready.
//
// Errors stick: after the first one nothing is appended any more, and Bytes reports it.
type Builder struct {
	buf   []byte
	open  bool // a message is being built
	start int  // where it starts
	nests []int
	err   error
}

// NewBuilder returns a builder that appends to buf[:0] and so reuses its memory.
func NewBuilder(buf []byte) *Builder { return &Builder{buf: buf[:0]} }

// Reset forgets everything but the memory.
func (b *Builder) Reset() { *b = Builder{buf: b.buf[:0]} }

// Len is the number of bytes so far.
func (b *Builder) Len() int { return len(b.buf) }

func (b *Builder) fail(format string, args ...any) *Builder {
	if b.err == nil {
		b.err = fmt.Errorf("message at byte %d: "+format, append([]any{b.start}, args...)...)
	}
	return b
}

func (b *Builder) align() {
	for len(b.buf)%4 != 0 {
		b.buf = append(b.buf, 0)
	}
}

// Begin ends the message before and starts a new one. h.Len is ignored: End fills it in.
func (b *Builder) Begin(h uapi.NLMsgHdr) *Builder {
	b.End()
	if b.err != nil {
		return b
	}
	b.align()
	b.start, b.open = len(b.buf), true
	var hdr [uapi.NLMsgHdrlen]byte
	h.Put(hdr[:])
	b.buf = append(b.buf, hdr[:]...)
	return b
}

// Raw appends payload bytes as they are: a fixed header such as nfgenmsg. It pads before, not after.
func (b *Builder) Raw(data ...byte) *Builder {
	if b.err != nil {
		return b
	}
	if !b.open {
		return b.fail("payload without a message")
	}
	b.align()
	b.buf = append(b.buf, data...)
	return b
}

// Attr appends an attribute. At most 65531 bytes fit one.
func (b *Builder) Attr(typ uint16, data []byte) *Builder {
	if b.err != nil {
		return b
	}
	if len(data) > math.MaxUint16-uapi.NLAHdrlen {
		return b.fail("attribute %d with %d bytes is longer than an attribute can be", typ, len(data))
	}
	if b.Raw(); b.err != nil {
		return b
	}
	b.buf = binary.LittleEndian.AppendUint16(b.buf, uint16(uapi.NLAHdrlen+len(data)))
	b.buf = binary.LittleEndian.AppendUint16(b.buf, typ)
	b.buf = append(b.buf, data...)
	return b
}

// Attr32 appends an attribute with a word in the machine's order; Attr32BE one in network order, as netfilter has
// them.
func (b *Builder) Attr32(typ uint16, v uint32) *Builder {
	return b.Attr(typ, binary.LittleEndian.AppendUint32(nil, v))
}

// Attr32BE appends an attribute with a word in network order.
func (b *Builder) Attr32BE(typ uint16, v uint32) *Builder {
	return b.Attr(typ, binary.BigEndian.AppendUint32(nil, v))
}

// Nest appends an attribute, marked as nested, whose payload is the attributes up to EndNest.
func (b *Builder) Nest(typ uint16) *Builder {
	if b.err != nil {
		return b
	}
	if b.Raw(); b.err != nil {
		return b
	}
	b.nests = append(b.nests, len(b.buf))
	return b.Attr(typ|uapi.NLAFNested, nil)
}

// EndNest ends the innermost nest.
func (b *Builder) EndNest() *Builder {
	if b.err != nil {
		return b
	}
	if len(b.nests) == 0 {
		return b.fail("no nest to end")
	}
	start := b.nests[len(b.nests)-1]
	b.nests = b.nests[:len(b.nests)-1]
	b.align()
	n := len(b.buf) - start
	if n > math.MaxUint16 {
		return b.fail("a nest of %d bytes is longer than an attribute can be", n)
	}
	binary.LittleEndian.PutUint16(b.buf[start:], uint16(n))
	return b
}

// End fills in the length of the message, if one is open. Trailing padding does not count.
func (b *Builder) End() *Builder {
	if b.err != nil || !b.open {
		return b
	}
	if len(b.nests) > 0 {
		return b.fail("%d nests are not ended", len(b.nests))
	}
	binary.LittleEndian.PutUint32(b.buf[b.start:], uint32(len(b.buf)-b.start))
	b.open = false
	return b
}

// Bytes ends the last message and returns all of them. The bytes are valid until the builder is used again.
func (b *Builder) Bytes() ([]byte, error) {
	b.End()
	if b.err != nil {
		return nil, b.err
	}
	return b.buf, nil
}
