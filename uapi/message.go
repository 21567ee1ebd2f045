package uapi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"syscall"
)

// A ParseError says where bytes stop being netlink messages or attributes, and why.
type ParseError struct {
	Offset int    // of what is malformed, from the start of what was parsed
	What   string // for people
}

func (e *ParseError) Error() string { return fmt.Sprintf("malformed at byte %d: %s", e.Offset, e.What) }

// Malformed makes a ParseError.
func Malformed(off int, format string, args ...any) *ParseError {
	return &ParseError{off, fmt.Sprintf(format, args...)}
}

// IsParseError reports whether err comes from malformed bytes.
func IsParseError(err error) bool {
	var p *ParseError
	return errors.As(err, &p)
}

// WellFormed yields what a walk over messages or attributes finds before the first that is malformed: what a kernel,
// which ignores the rest, makes of the bytes.
func WellFormed[T any](walk iter.Seq2[T, error]) iter.Seq[T] {
	return func(yield func(T) bool) {
		for v, err := range walk {
			if err != nil || !yield(v) {
				return
			}
		}
	}
}

// NLMsgOK reports whether n can be the length of a message when left bytes, not fewer than those of a header, are
// there: NLMSG_OK.
func NLMsgOK(n uint32, left int) bool { return n >= NLMsgHdrlen && int64(n) <= int64(left) }

// NLMsgNext is how far the message behind one of n bytes is from its start, when left bytes are there: NLMSG_NEXT. The
// last message may lack its padding. For n that is NLMsgOK it is never 0, so a walk that tests first comes to an end.
func NLMsgNext(n uint32, left int) int { return int(min((int64(n)+3)&^3, int64(left))) }

// A Message is one netlink message. Payload, what follows the 16 bytes of the header, is a part of what was parsed.
type Message struct {
	Header  NLMsgHdr
	Payload []byte
}

// Messages iterates over the messages in b. Malformed bytes end the iteration with a *ParseError, and with the header
// if there are bytes enough for one; the messages before them have been seen. It works on any input.
func Messages(b []byte) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for off := 0; off < len(b); {
			left := len(b) - off
			if left < NLMsgHdrlen {
				yield(Message{}, Malformed(off, "%d bytes are no message header", left))
				return
			}
			h := ParseNLMsgHdr(b[off:])
			if !NLMsgOK(h.Len, left) {
				err := Malformed(off, "a message of %d bytes in %d", h.Len, left)
				if h.Len < NLMsgHdrlen {
					err.What = fmt.Sprintf("message length %d is below that of its header", h.Len)
				}
				yield(Message{Header: h}, err)
				return
			}
			end := off + int(h.Len)
			if !yield(Message{h, b[off+NLMsgHdrlen : end : end]}, nil) {
				return
			}
			off += NLMsgNext(h.Len, left)
		}
	}
}

// AppendMessage appends a message to buf, padded to the alignment of messages. It fills in the length of the header.
func AppendMessage(buf []byte, h NLMsgHdr, payload []byte) []byte {
	h.Len = uint32(NLMsgHdrlen + len(payload))
	start := len(buf)
	buf = append(buf, make([]byte, NLMsgTotalSize(len(payload)))...)
	h.Put(buf[start:])
	copy(buf[start+NLMsgHdrlen:], payload)
	return buf
}

// Bits of the type word of an attribute (struct nlattr). The older struct rtattr has the same layout; its types are
// small, so that one view serves both.
const (
	NLAFNested       = 0x8000
	NLAFNetByteorder = 0x4000
	NLATypeMask      = 0x3fff
)

// An Attr is one attribute. Data is a part of what was parsed.
type Attr struct {
	Type     uint16 // without the flags
	Nested   bool   // marked as having attributes; kernels of these versions often do not mark them
	NetOrder bool   // marked as being in network order
	Data     []byte
}

// Attrs iterates over the attributes in b that follow a fixed header of hdrlen bytes, 0 where there is none. Malformed
// bytes, or too few for the header, end the iteration with a *ParseError. Up to 3 trailing bytes are padding. It works
// on any input.
func Attrs(b []byte, hdrlen int) iter.Seq2[Attr, error] {
	return func(yield func(Attr, error) bool) {
		if hdrlen < 0 || hdrlen > len(b) {
			yield(Attr{}, Malformed(0, "%d bytes have no room for a header of %d", len(b), hdrlen))
			return
		}
		for off := NLMsgAlign(hdrlen); len(b)-off >= NLAHdrlen; {
			left := len(b) - off
			n := int(binary.LittleEndian.Uint16(b[off:]))
			typ := binary.LittleEndian.Uint16(b[off+2:])
			switch {
			case n < NLAHdrlen:
				yield(Attr{}, Malformed(off, "attribute length %d is below that of its header", n))
				return
			case n > left:
				yield(Attr{}, Malformed(off, "an attribute of %d bytes in %d", n, left))
				return
			}
			end := off + n
			a := Attr{typ & NLATypeMask, typ&NLAFNested != 0, typ&NLAFNetByteorder != 0, b[off+NLAHdrlen : end : end]}
			if !yield(a, nil) {
				return
			}
			off += NLMsgAlign(n)
		}
	}
}

// Attrs iterates over the attributes of a message behind a fixed header of the given size.
func (m Message) Attrs(hdrlen int) iter.Seq2[Attr, error] { return Attrs(m.Payload, hdrlen) }

// Attrs iterates over the attributes that an attribute has, marked as nested or not.
func (a Attr) Attrs() iter.Seq2[Attr, error] { return Attrs(a.Data, 0) }

// Uint32 is the attribute as a word in the machine's order, Uint32BE as one in network order. The error is a
// *ParseError when it has fewer than 4 bytes.
func (a Attr) Uint32() (uint32, error) {
	if len(a.Data) < 4 {
		return 0, Malformed(0, "attribute %d has %d bytes, a word has 4", a.Type, len(a.Data))
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

// AppendAttr appends an attribute to buf, padded. typ may have flags. Data beyond what the 16 bits of the length can
// say, 65531 bytes, make an attribute that says less than it has: a program that builds one finds out.
func AppendAttr(buf []byte, typ uint16, data []byte) []byte {
	buf = binary.LittleEndian.AppendUint16(buf, uint16(NLAHdrlen+len(data)))
	buf = binary.LittleEndian.AppendUint16(buf, typ)
	buf = append(buf, data...)
	return append(buf, make([]byte, NLMsgAlign(len(data))-len(data))...)
}

// An Ack is the payload of an NLMSG_ERROR message.
type Ack struct {
	// Code is the error field: 0, a negative errno, or what else a kernel wrote there.
	Code int32
	// Request is the header of the message that is acknowledged, Quoted the rest of it as far as it came back.
	Request NLMsgHdr
	Quoted  []byte
}

// Err is the outcome of the request: nil, or an error that wraps the errno.
func (a Ack) Err() error { return codeError(a.Code) }

func codeError(code int32) error {
	switch {
	case code == 0:
		return nil
	case code < 0 && code > -4096:
		return syscall.Errno(-code)
	}
	// A few handlers forget the minus sign.
	return fmt.Errorf("acknowledged with %d, which is no error number", code)
}

// Code is the word with which the payloads of NLMSG_ERROR and NLMSG_DONE start. ok is false for other messages, and for
// a payload without it.
func (m Message) Code() (code int32, ok bool) {
	if m.Header.Type != NLMsgError && m.Header.Type != NLMsgDone || len(m.Payload) < 4 {
		return 0, false
	}
	return int32(binary.LittleEndian.Uint32(m.Payload)), true
}

// ParseAck reads an acknowledgement. The error says that m is something else, or too short.
func ParseAck(m Message) (Ack, error) {
	if m.Header.Type != NLMsgError {
		return Ack{}, fmt.Errorf("a message of type %d is no acknowledgement", m.Header.Type)
	}
	code, _ := m.Code()
	if len(m.Payload) < NLMsgErrlen {
		return Ack{}, Malformed(0, "an acknowledgement with %d bytes, it has at least %d", len(m.Payload), NLMsgErrlen)
	}
	return Ack{code, ParseNLMsgHdr(m.Payload[4:]), m.Payload[NLMsgErrlen:]}, nil
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
	if m.Header.Type != NLMsgDone {
		return Done{}, fmt.Errorf("a message of type %d is not the end of a dump", m.Header.Type)
	}
	code, ok := m.Code()
	if !ok {
		return Done{}, Malformed(0, "the end of a dump with %d bytes, it has 4", len(m.Payload))
	}
	return Done{code, m.Header.Flags&NLMFDumpIntr != 0}, nil
}
