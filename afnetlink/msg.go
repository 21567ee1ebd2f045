package afnetlink

import (
	"encoding/binary"
	"errors"
	"iter"

	"nlmmap/kernel"
	"nlmmap/uapi"
)

// A Message is what a user sent to the kernel: one buffer, with one or several messages in it. It is the input function's
// until that returns.
type Message struct {
	SKB     *SKB
	From    *Sock // the sender's socket
	Kernel  *Sock // the kernel's socket that got it
	Netlink *Netlink
}

// Net is the network namespace it was sent in.
func (m *Message) Net() *kernel.Net { return m.Kernel.Net }

// Capable reports whether a message may do what needs a capability in the initial user namespace: netlink_capable. From
// cap-opener on the socket's opener must have it too, unless the message was sent with an explicit address.
func (m *Message) Capable(cur *kernel.Task, capability int) bool {
	if !cur.Capable(capability) {
		return false
	}
	if !m.Netlink.D.CapOpener || m.SKB.CB.flags&skbDst != 0 {
		return true
	}
	return m.From.Opener.Capable(capability)
}

// Msg is one message in a buffer. Its header and payload are read from the buffer each time: in a frame that is
// processed in place userspace may change them between two reads.
type Msg struct {
	SKB *SKB
	Off int
}

func (m Msg) word(cur *kernel.Task, off int) uint32 {
	var b [4]byte
	m.SKB.Read(cur, m.Off+off, b[:])
	return binary.LittleEndian.Uint32(b[:])
}

// Len is nlmsg_len.
func (m Msg) Len(cur *kernel.Task) uint32 { return m.word(cur, 0) }

// Type is nlmsg_type.
func (m Msg) Type(cur *kernel.Task) uint16 { return uint16(m.word(cur, 4)) }

// Flags is nlmsg_flags.
func (m Msg) Flags(cur *kernel.Task) uint16 { return uint16(m.word(cur, 4) >> 16) }

// Seq is nlmsg_seq.
func (m Msg) Seq(cur *kernel.Task) uint32 { return m.word(cur, 8) }

// Header reads the whole header.
func (m Msg) Header(cur *kernel.Task) uapi.NLMsgHdr {
	var b [uapi.NLMsgHdrlen]byte
	m.SKB.Read(cur, m.Off, b[:])
	return uapi.ParseNLMsgHdr(b[:])
}

// Payload reads what follows the header, at most as much as the buffer has.
func (m Msg) Payload(cur *kernel.Task) []byte {
	n := min(int(m.Len(cur)), m.SKB.Linear()-m.Off) - uapi.NLMsgHdrlen
	if n <= 0 {
		return nil
	}
	return m.SKB.Bytes(cur, m.Off+uapi.NLMsgHdrlen, n)
}

// Whole reads a message's length and reports whether it is that of a message in its buffer.
func (m Msg) Whole(cur *kernel.Task) (n int, ok bool) {
	left := m.SKB.Linear() - m.Off
	if left < uapi.NLMsgHdrlen {
		return 0, false
	}
	length := m.Len(cur)
	return int(length), uapi.NLMsgOK(length, left)
}

// Next is the message behind one of n bytes, which may be that of no message.
func (m Msg) Next(n int) Msg {
	m.Off += uapi.NLMsgNext(uint32(n), m.SKB.Linear()-m.Off)
	return m
}

// Msgs yields the messages of a buffer, up to the first whose length is not that of a message in it.
func Msgs(cur *kernel.Task, s *SKB) iter.Seq[Msg] {
	return func(yield func(Msg) bool) {
		msg := Msg{SKB: s}
		for n, ok := msg.Whole(cur); ok; n, ok = msg.Whole(cur) {
			next := msg.Next(n) // a handler may change the length in a frame
			if !yield(msg) {
				return
			}
			msg = next
		}
	}
}

// AckError is a value for the error field of an acknowledgement that is no negative errno.
type AckError int32

func (e AckError) Error() string { return "acknowledged with a value of its own" }

// RcvSKB goes through the messages of a buffer and lets handle process the requests: netlink_rcv_skb (spec 11.1).
// handle returns EINTR for a dump that has started. A message with the ACK flag, or whose handling failed, is
// acknowledged.
func RcvSKB(cur *kernel.Task, m *Message, handle func(cur *kernel.Task, m *Message, msg Msg, h uapi.NLMsgHdr) error) {
	for msg := range Msgs(cur, m.SKB) {
		h := msg.Header(cur)
		var err error
		if h.Flags&uapi.NLMFRequest != 0 && h.Type >= uapi.NLMsgMinType {
			err = handle(cur, m, msg, h)
		}
		if !errors.Is(err, kernel.EINTR) && (h.Flags&uapi.NLMFAck != 0 || err != nil) {
			m.Netlink.Ack(cur, m, msg, err)
		}
	}
}

// Ack answers a message: netlink_ack (spec 11.2). An acknowledgement for which there is no frame is lost, and the
// requester's pending error is ENOBUFS whatever its options say (ack-lost-full-ring).
func (nl *Netlink) Ack(cur *kernel.Task, m *Message, msg Msg, err error) {
	portid := m.SKB.CB.Portid
	payload := uapi.NLMsgErrlen
	quoted := 0 // bytes behind the quoted header
	if err != nil && !m.From.has(cur, flagCapAck) {
		quoted = int(msg.Len(cur)) - uapi.NLMsgHdrlen
	}
	s := nl.AllocSKB(cur, m.Kernel, uapi.NLMsgTotalSize(payload+quoted), 0, portid)
	if s == nil {
		if sk := nl.lookup(cur, m.Kernel.Net, m.Kernel.Protocol, portid); sk != nil {
			sk.Err.Store(cur, int64(kernel.ENOBUFS))
			sk.ErrorReport(cur)
			sk.Put(cur)
		}
		return
	}
	answer, ok := PutMsg(cur, s, uapi.NLMsgHdr{Type: uapi.NLMsgError, Seq: msg.Seq(cur), Pid: portid}, payload+quoted)
	if !ok {
		nl.k.Warn(cur, "an acknowledgement does not fit what was allocated for it")
		s.Free(cur)
		return
	}
	code := -int32(kernel.ErrnoOf(err))
	if value, ok := err.(AckError); ok {
		code = int32(value)
	}
	answer.Put(cur, s, binary.LittleEndian.AppendUint32(nil, uint32(code)))
	n := uapi.NLMsgHdrlen + quoted
	if quoted > 0 {
		// The length is read once more: in a frame it may have grown since the answer was sized.
		if again := int(msg.Len(cur)); again > n {
			nl.k.Corrupt(cur, "tx-in-place", "the length was read again: an answer is written %d bytes beyond its buffer", again-n)
		} else {
			n = max(again, uapi.NLMsgHdrlen)
		}
	}
	quote := make([]byte, n)
	msg.SKB.Read(cur, msg.Off, quote)
	answer.Put(cur, s, quote)
	answer.Pad(cur, s)
	_, _ = nl.Unicast(cur, m.Kernel, s, portid, 0)
}

// A Builder is a message that is being appended to a buffer. Its length is that of PutMsg until End.
type Builder struct {
	Off int // of the message in the buffer
}

// PutMsg appends a header for a message with room for payload bytes, whose length it fills in: nlmsg_put. ok is false
// when the aligned message does not fit.
func PutMsg(cur *kernel.Task, s *SKB, h uapi.NLMsgHdr, payload int) (Builder, bool) {
	if s.Tailroom() < uapi.NLMsgTotalSize(payload) {
		return Builder{}, false
	}
	b := Builder{Off: s.Len()}
	h.Len = uint32(uapi.NLMsgHdrlen + payload)
	var buf [uapi.NLMsgHdrlen]byte
	h.Put(buf[:])
	s.Put(cur, buf[:])
	return b, true
}

// Put appends payload.
func (b Builder) Put(cur *kernel.Task, s *SKB, data []byte) bool { return s.Put(cur, data) }

// Pad appends zeros up to the next multiple of 4.
func (b Builder) Pad(cur *kernel.Task, s *SKB) {
	var zeros [4]byte
	s.Put(cur, zeros[:uapi.NLMsgAlign(s.Len())-s.Len()])
}

// Attr appends an attribute, padded: nla_put. It returns false, and appends nothing, when it does not fit.
func (b Builder) Attr(cur *kernel.Task, s *SKB, typ uint16, data []byte) bool {
	if s.Tailroom() < uapi.NLATotalSize(len(data)) {
		return false
	}
	return s.Put(cur, uapi.AppendAttr(make([]byte, 0, uapi.NLATotalSize(len(data))), typ, data))
}

// Attr32 appends an attribute with one word.
func (b Builder) Attr32(cur *kernel.Task, s *SKB, typ uint16, v uint32) bool {
	return b.Attr(cur, s, typ, binary.LittleEndian.AppendUint32(nil, v))
}

// Nest begins an attribute that has attributes; EndNest ends it.
func (b Builder) Nest(cur *kernel.Task, s *SKB, typ uint16) (start int, ok bool) {
	start = s.Len()
	return start, b.Attr(cur, s, typ, nil)
}

// EndNest fills in the length of a nest.
func (b Builder) EndNest(cur *kernel.Task, s *SKB, start int) {
	s.Write(cur, start, binary.LittleEndian.AppendUint16(nil, uint16(s.Len()-start)))
}

// End fills in the message's length: nlmsg_end.
func (b Builder) End(cur *kernel.Task, s *SKB) { s.Write32(cur, b.Off, uint32(s.Len()-b.Off)) }

// Cancel removes the message again: nlmsg_cancel. The bytes stay in the memory behind.
func (b Builder) Cancel(s *SKB) { s.Trim(b.Off) }
