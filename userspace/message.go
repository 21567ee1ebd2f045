package userspace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"

	"golang.org/x/sys/unix"

	"nlmmap/uapi"
)

// Bits of an attribute's type word.
const (
	attrNested   = 0x8000
	attrNetOrder = 0x4000
	attrTypeMask = 0x3fff
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
	return b.Attr(typ|attrNested, nil)
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

// A ParseError says where bytes stop being netlink messages or attributes, and why.
type ParseError struct {
	Offset int    // of what is malformed, from the start of what was parsed
	What   string // for people
}

func (e *ParseError) Error() string { return fmt.Sprintf("malformed at byte %d: %s", e.Offset, e.What) }

func malformed(off int, format string, args ...any) *ParseError {
	return &ParseError{off, fmt.Sprintf(format, args...)}
}

// A Message is one netlink message. Payload, what follows the 16 bytes of the header, is a part of what was parsed.
type Message struct {
	Header  uapi.NLMsgHdr
	Payload []byte
}

// Messages iterates over the messages in b. Malformed bytes end the iteration with a *ParseError; the messages before
// them have been seen. It works on any input.
func Messages(b []byte) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for off := 0; off < len(b); {
			left := len(b) - off
			if left < uapi.NLMsgHdrlen {
				yield(Message{}, malformed(off, "%d bytes are no message header", left))
				return
			}
			h := uapi.ParseNLMsgHdr(b[off:])
			switch {
			case h.Len < uapi.NLMsgHdrlen:
				yield(Message{}, malformed(off, "message length %d is below that of its header", h.Len))
				return
			case uint64(h.Len) > uint64(left):
				yield(Message{}, malformed(off, "a message of %d bytes in %d", h.Len, left))
				return
			}
			n := int(h.Len)
			if !yield(Message{h, b[off+uapi.NLMsgHdrlen : off+n : off+n]}, nil) {
				return
			}
			off += min(uapi.NLMsgAlign(n), left)
		}
	}
}

// An Attr is one attribute. Data is a part of what was parsed.
type Attr struct {
	Type     uint16 // without the flags
	Nested   bool   // marked as having attributes; kernels of these versions often do not mark them
	NetOrder bool   // marked as being in network order
	Data     []byte
}

// Attrs iterates over the attributes in b. Malformed bytes end the iteration with a *ParseError. Up to 3 trailing
// bytes are padding. It works on any input.
func Attrs(b []byte) iter.Seq2[Attr, error] {
	return func(yield func(Attr, error) bool) {
		for off := 0; len(b)-off >= uapi.NLAHdrlen; {
			left := len(b) - off
			n := int(binary.LittleEndian.Uint16(b[off:]))
			typ := binary.LittleEndian.Uint16(b[off+2:])
			switch {
			case n < uapi.NLAHdrlen:
				yield(Attr{}, malformed(off, "attribute length %d is below that of its header", n))
				return
			case n > left:
				yield(Attr{}, malformed(off, "an attribute of %d bytes in %d", n, left))
				return
			}
			a := Attr{typ & attrTypeMask, typ&attrNested != 0, typ&attrNetOrder != 0, b[off+uapi.NLAHdrlen : off+n : off+n]}
			if !yield(a, nil) {
				return
			}
			off += min(uapi.NLMsgAlign(n), left)
		}
	}
}

// Uint32 is the attribute as a word in the machine's order, Uint32BE as one in network order. The error is a
// *ParseError when it has fewer than 4 bytes.
func (a Attr) Uint32() (uint32, error) {
	if len(a.Data) < 4 {
		return 0, malformed(0, "attribute %d has %d bytes, a word has 4", a.Type, len(a.Data))
	}
	return binary.LittleEndian.Uint32(a.Data), nil
}

// Uint32BE is the attribute as a word in network order.
func (a Attr) Uint32BE() (uint32, error) {
	if _, err := a.Uint32(); err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(a.Data), nil
}

// Attrs iterates over the attributes of a message behind a fixed header of the given size. A message too short for
// the header is a *ParseError.
func (m Message) Attrs(fixed int) iter.Seq2[Attr, error] {
	if fixed < 0 || fixed > len(m.Payload) {
		return func(yield func(Attr, error) bool) {
			yield(Attr{}, malformed(0, "a payload of %d bytes has no room for a header of %d", len(m.Payload), fixed))
		}
	}
	return Attrs(m.Payload[min(uapi.NLMsgAlign(fixed), len(m.Payload)):])
}

// An Ack is the payload of an NLMSG_ERROR message.
type Ack struct {
	// Code is the error field: 0, a negative errno, or what else a kernel wrote there.
	Code int32
	// Request is the header of the message that is acknowledged, Quoted the rest of it as far as it came back.
	Request uapi.NLMsgHdr
	Quoted  []byte
}

// Err is the outcome of the request: nil, or an error that wraps the errno.
func (a Ack) Err() error { return codeError(a.Code) }

func codeError(code int32) error {
	switch {
	case code == 0:
		return nil
	case code < 0 && code > -4096:
		return unix.Errno(-code)
	}
	// A few handlers forget the minus sign.
	return fmt.Errorf("acknowledged with %d, which is no error number", code)
}

// ParseAck reads an acknowledgement. The error says that m is something else, or too short.
func ParseAck(m Message) (Ack, error) {
	if m.Header.Type != uapi.NLMsgError {
		return Ack{}, fmt.Errorf("a message of type %d is no acknowledgement", m.Header.Type)
	}
	if len(m.Payload) < uapi.NLMsgErrlen {
		return Ack{}, malformed(0, "an acknowledgement with %d bytes, it has at least %d", len(m.Payload), uapi.NLMsgErrlen)
	}
	return Ack{int32(binary.LittleEndian.Uint32(m.Payload)), uapi.ParseNLMsgHdr(m.Payload[4:]), m.Payload[uapi.NLMsgErrlen:]}, nil
}

// A Done is the NLMSG_DONE message at the end of a dump.
type Done struct {
	Code        int32 // 0, or a negative errno when the dump failed
	Interrupted bool  // NLM_F_DUMP_INTR: what was dumped changed meanwhile
}

// Err is how the dump ended: nil, or an error that wraps the errno.
func (d Done) Err() error { return codeError(d.Code) }

// ParseDone reads the end of a dump. The error says that m is something else, or too short.
func ParseDone(m Message) (Done, error) {
	if m.Header.Type != uapi.NLMsgDone {
		return Done{}, fmt.Errorf("a message of type %d is not the end of a dump", m.Header.Type)
	}
	if len(m.Payload) < 4 {
		return Done{}, malformed(0, "the end of a dump with %d bytes, it has 4", len(m.Payload))
	}
	code := int32(binary.LittleEndian.Uint32(m.Payload))
	return Done{code, m.Header.Flags&uapi.NLMFDumpIntr != 0}, nil
}

// IsParseError tells whether err comes from malformed bytes.
func IsParseError(err error) bool {
	var p *ParseError
	return errors.As(err, &p)
}
