package scenario

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"nlmmap/sys"
	"nlmmap/uapi"
)

// ErrnoName returns the name of an error number, or the number where it has no name.
func ErrnoName(errno unix.Errno) string {
	switch errno {
	case uapi.ENOTSUPP:
		return "ENOTSUPP"
	case unix.EOPNOTSUPP: // has a second name
		return "EOPNOTSUPP"
	}
	if n := unix.ErrnoName(errno); n != "" {
		return n
	}
	return strconv.Itoa(int(errno))
}

// errorText is how a failed call prints.
func errorText(err error) string {
	var errno unix.Errno
	var signal sys.Signal
	switch {
	case errors.Is(err, sys.ErrBlocks): // and EINTR
		return "blocks"
	case errors.As(err, &errno):
		return ErrnoName(errno)
	case errors.As(err, &signal):
		return signal.Error()
	}
	return strings.ReplaceAll(err.Error(), "\n", " ")
}

// errorCode prints the error field of an answer: a negative error number, or what else it may be.
func errorCode(code int32) string {
	if code < 0 {
		return ErrnoName(unix.Errno(-int64(code)))
	}
	return strconv.Itoa(int(code))
}

// A printer prints what netlink programs see.
type printer struct {
	processes map[uint32]string // names of tasks by process id
	named     bool              // messages print by name: see namedTypes
}

// identity prints a process or port id: the name of the task with that id, auto for an autobind port id (negative),
// otherwise the number.
func (p printer) identity(id uint32) string {
	if n, ok := p.processes[id]; ok {
		return n
	}
	if int32(id) < 0 {
		return "auto"
	}
	return strconv.FormatUint(uint64(id), 10)
}

func (p printer) frameHeader(h uapi.NLMMapHdr) string {
	return fmt.Sprintf("len=%d group=%d pid=%s uid=%d gid=%d", h.Len, h.Group, p.identity(h.Pid), h.UID, h.GID)
}

// withAttributes prints the messages in buf, each followed by its attributes.
func (p printer) withAttributes(protocol int, buf []byte) (lines []string) {
	for len(buf) > 0 {
		first := firstMessage(buf)
		lines = append(lines, p.messages(protocol, first, false)...)
		for m := range uapi.WellFormed(uapi.Messages(first)) {
			if protocol == uapi.NetlinkRoute && m.Header.Type >= uapi.NLMsgMinType {
				lines = append(lines, attributeLines(m.Header.Type, m.Payload)...)
			}
		}
		buf = buf[min(len(buf), uapi.NLMsgAlign(len(first))):]
	}
	return lines
}

// messages prints the messages in buf, one per line, as a socket of the given protocol understands them.
func (p printer) messages(protocol int, buf []byte, withHex bool) []string {
	var lines []string
	var run uapi.Message // of messages with the same header, not printed yet
	same := 0
	flush := func() {
		if same > 0 {
			lines = append(lines, p.message(protocol, run.Header, run.Payload, same, withHex))
		}
	}
	for m, err := range uapi.Messages(buf) {
		// Headers are compared, not messages: the last one of a run may be cut by the receiver's buffer.
		if same > 0 && m.Header == run.Header && p.folds(protocol, m.Header) {
			same++
			continue
		}
		flush()
		var bad *uapi.ParseError
		if errors.As(err, &bad) {
			left := len(buf) - bad.Offset
			if left < uapi.NLMsgHdrlen {
				return append(lines, fmt.Sprintf("trailing %d", left))
			}
			return append(lines, fmt.Sprintf("malformed len=%d left=%d", m.Header.Len, left))
		}
		run, same = m, 1
	}
	flush()
	return lines
}

// firstMessage cuts off what follows the first message of buf, if that is well-formed.
func firstMessage(buf []byte) []byte {
	for m := range uapi.WellFormed(uapi.Messages(buf)) {
		return buf[:m.Header.Len]
	}
	return buf
}

// folds reports whether a run of messages with this header prints once.
func (p printer) folds(protocol int, h uapi.NLMsgHdr) bool {
	if p.named && slices.ContainsFunc(namedTypes[protocol], func(n name) bool { return n.num == int64(h.Type) }) {
		return false // they say different things
	}
	return h.Type != uapi.NLMsgError && h.Type != uapi.NLMsgDone && !isSocketStatistics(protocol, h)
}

func isSocketStatistics(protocol int, h uapi.NLMsgHdr) bool {
	return protocol == uapi.NetlinkSockDiag && h.Type == uapi.SockDiagByFamily
}

func (p printer) message(protocol int, h uapi.NLMsgHdr, payload []byte, same int, withHex bool) string {
	var b strings.Builder
	b.WriteString(p.messageHeader(protocol, h))
	if same > 1 {
		fmt.Fprintf(&b, " x%d", same)
	}
	switch {
	case p.named && p.namedDetails(&b, protocol, h.Type, payload):
	case h.Type == uapi.NLMsgError:
		p.errorDetails(&b, protocol, payload)
	case h.Type == uapi.NLMsgDone && len(payload) >= 4:
		fmt.Fprintf(&b, " error=%s", errorCode(int32(binary.LittleEndian.Uint32(payload))))
	case protocol == uapi.NetlinkNetfilter && h.Type == uapi.NFQNLMsgPacket:
		packetDetails(&b, payload, uapi.NFQAPacketHdr, uapi.NFQAPayload)
	case protocol == uapi.NetlinkNetfilter && h.Type == uapi.NFULNLMsgPacket:
		packetDetails(&b, payload, 0, uapi.NFULAPayload)
	case isSocketStatistics(protocol, h):
		p.statisticsDetails(&b, payload)
	}
	if withHex {
		b.WriteString(" hex=" + hex.EncodeToString(payload))
	}
	return b.String()
}

func (p printer) messageHeader(protocol int, h uapi.NLMsgHdr) string {
	return fmt.Sprintf("%s len=%d flags=0x%x seq=%d pid=%s",
		p.messageTypeName(protocol, h.Type), h.Len, h.Flags, h.Seq, p.identity(h.Pid))
}

func (p printer) messageTypeName(protocol int, typ uint16) string {
	names := controlTypes
	switch {
	case protocol == uapi.NetlinkRoute:
		names = messageTypes
	case p.named:
		names = slices.Concat(controlTypes, namedTypes[protocol])
	}
	return nameOf(int64(typ), names)
}

// errorDetails prints the result in an answer and the header of the message that it answers.
func (p printer) errorDetails(b *strings.Builder, protocol int, payload []byte) {
	if len(payload) < 4 {
		return
	}
	fmt.Fprintf(b, " error=%s", errorCode(int32(binary.LittleEndian.Uint32(payload))))
	if request := payload[4:]; len(request) >= uapi.NLMsgHdrlen {
		b.WriteString(" to=" + p.messageHeader(protocol, uapi.ParseNLMsgHdr(request)))
	}
}

// packetDetails prints the attributes of a queued or logged packet. packetHdr is 0 where the packets have no number.
func packetDetails(b *strings.Builder, payload []byte, packetHdr, packetPayload uint16) {
	for a := range uapi.WellFormed(uapi.Attrs(payload, uapi.NFGenMsglen)) {
		switch {
		case packetHdr != 0 && a.Type == packetHdr && len(a.Data) >= 4:
			fmt.Fprintf(b, " packet=%d", binary.BigEndian.Uint32(a.Data))
		case a.Type == packetPayload:
			fmt.Fprintf(b, " payload=%d", len(a.Data))
		default:
			fmt.Fprintf(b, " a%d:%d", a.Type, len(a.Data))
		}
	}
}

func (p printer) statisticsDetails(b *strings.Builder, payload []byte) {
	if len(payload) < uapi.NetlinkDiagMsglen {
		return
	}
	fmt.Fprintf(b, " portid=%s", p.identity(binary.LittleEndian.Uint32(payload[uapi.NetlinkDiagPortid:])))
	for a := range uapi.WellFormed(uapi.Attrs(payload, uapi.NetlinkDiagMsglen)) {
		if len(a.Data) < uapi.NLMMapReqlen || a.Type != uapi.NetlinkDiagRxRing && a.Type != uapi.NetlinkDiagTxRing {
			fmt.Fprintf(b, " a%d:%d", a.Type, len(a.Data))
			continue
		}
		ring := "rx"
		if a.Type == uapi.NetlinkDiagTxRing {
			ring = "tx"
		}
		r := uapi.ParseNLMMapReq(a.Data)
		fmt.Fprintf(b, " %s_ring=%d,%d,%d,%d", ring, r.BlockSize, r.BlockNr, r.FrameSize, r.FrameNr)
	}
}

// revents prints poll events by name, or 0.
func revents(events uint32) string {
	var names []string
	for _, e := range pollEvents {
		if events&uint32(e.num) != 0 {
			names = append(names, e.text)
			events &^= uint32(e.num)
		}
	}
	if events != 0 {
		names = append(names, fmt.Sprintf("0x%x", events))
	}
	if len(names) == 0 {
		return "0"
	}
	return strings.Join(names, ",")
}

// words prints bytes in groups of four.
func words(b []byte) string {
	var groups []string
	for len(b) > 0 {
		n := min(4, len(b))
		groups = append(groups, hex.EncodeToString(b[:n]))
		b = b[n:]
	}
	return strings.Join(groups, " ")
}

func indent(lines []string) []string {
	for i := range lines {
		lines[i] = "  " + lines[i]
	}
	return lines
}
