package scenario

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"nlmmap/uapi"
)

// appendMessageLine appends the bytes of a msg or raw line to buf.
func appendMessageLine(buf []byte, line string) ([]byte, error) {
	words := strings.Fields(line)
	s := msgSyntax
	if words[0] == "raw" {
		s = rawSyntax
	}
	a, _, err := s.bind(words[1:])
	if err != nil {
		return nil, fmt.Errorf("%w\n\tusage: %s", err, s.usage)
	}
	if words[0] == "raw" {
		buf = append(buf, filled(int(a.get("bytes", 0)), byte(a.get("byte", 0)))...)
	} else if buf, err = appendMessage(buf, a); err != nil {
		return nil, err
	}
	if len(buf) > maxBuffer {
		return nil, fmt.Errorf("the messages of a directive have more than %d bytes", maxBuffer)
	}
	return buf, nil
}

// appendMessage appends a header and its payload, padded to the alignment of messages.
func appendMessage(buf []byte, a args) ([]byte, error) {
	first, _ := parseHex(a.text("hex", "")) // it was checked
	payload := filled(int(a.get("payload", int64(len(first)))), byte(a.get("byte", 0)))
	if len(first) > len(payload) {
		return nil, fmt.Errorf("hex= has %d bytes, but payload=%d", len(first), len(payload))
	}
	copy(payload, first)
	h := uapi.NLMsgHdr{
		Type:  uint16(a.get("type", 0)),
		Flags: uint16(a.get("flags", 0)),
		Seq:   uint32(a.get("seq", 0)),
		Pid:   uint32(a.get("pid", 0)),
	}
	start := len(buf)
	buf = uapi.AppendMessage(buf, h, payload)
	if a.has("len") { // that of no message, perhaps
		h.Len = uint32(a.get("len", 0))
		h.Put(buf[start:])
	}
	return buf, nil
}

func filled(n int, b byte) []byte {
	s := make([]byte, n)
	if b != 0 {
		for i := range s {
			s[i] = b
		}
	}
	return s
}

func parseHex(text string) ([]byte, error) {
	b, err := hex.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("expected pairs of hexadecimal digits")
	}
	return b, nil
}

var (
	msgSyntax = compile("msg type=TYPE [flags=FLAGS] [seq=N] [pid=N] [payload=BYTES] [byte=BYTE] [hex=HEX] [len=N]")
	rawSyntax = compile("raw bytes=BYTES [byte=BYTE]")
)

// controlTypes have the same meaning on every protocol, routeTypes only on route sockets.
var (
	controlTypes = wordsFor(uapi.ControlTypes, "NLMSG_", uapi.NLMsgNoop, uapi.NLMsgError, uapi.NLMsgDone, uapi.NLMsgOverrun)
	routeTypes   = wordsFor(uapi.RouteTypes, "RTM_", uapi.RTMNewlink, uapi.RTMDellink, uapi.RTMGetlink, uapi.RTMNewaddr,
		uapi.RTMGetaddr, uapi.RTMNewroute, uapi.RTMDelroute, uapi.RTMGetroute, uapi.RTMNewneigh, uapi.RTMDelneigh,
		uapi.RTMGetneigh, uapi.RTMNewrule, uapi.RTMGetrule)
	messageTypes = slices.Concat(controlTypes, routeTypes)
)

// messageFlags are the flags that requests have.
var messageFlags = slices.Concat(wordsFor(uapi.MessageFlags, "NLM_F_", uapi.NLMFRequest, uapi.NLMFMulti, uapi.NLMFAck,
	uapi.NLMFEcho, uapi.NLMFDump, uapi.NLMFRoot, uapi.NLMFMatch, uapi.NLMFAtomic), wordsFor(uapi.MakeFlags, "NLM_F_"))
