package scenario

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"nlmmap/uapi"
)

// A messageForm is one way to write a message line.
type messageForm struct {
	syntax  syntax
	help    string
	example string
	append  func(buf []byte, a args) ([]byte, error)
}

func (f *messageForm) name() string { return firstWord(f.syntax.usage) }

// messageForms are all forms, in the order of the help text. Lines with the same first word stand in a row.
var messageForms = slices.Concat([]messageForm{
	{
		syntax:  compile("msg type=TYPE [flags=FLAGS] [seq=N] [pid=N] [payload=BYTES] [byte=BYTE] [hex=HEX] [len=N]"),
		help:    "a header, then a payload of zeros, or of byte=, the first ones from hex=; len= is what the header says of the length",
		example: "msg type=noop flags=request,ack seq=1",
		append:  appendMessage,
	},
	{
		syntax:  compile("raw bytes=BYTES [byte=BYTE]"),
		help:    "bytes without a header",
		example: "raw bytes=7 byte=0xff",
		append: func(buf []byte, a args) ([]byte, error) {
			return append(buf, filled(int(a.get("bytes", 0)), byte(a.get("byte", 0)))...), nil
		},
	},
}, netfilterForms, otherForms)

// messageWords are the first words of message lines.
func messageWords() []string {
	var words []string
	for i := range messageForms {
		words = append(words, messageForms[i].name())
	}
	return slices.Compact(words)
}

// isMessageWord reports whether message lines begin with the word.
func isMessageWord(word string) bool { return slices.Contains(messageWords(), word) }

// appendMessageLine appends the bytes of a message line to buf.
func appendMessageLine(buf []byte, line string) ([]byte, error) {
	i, a, err := bindForm(strings.Fields(line), len(messageForms), func(i int) syntax { return messageForms[i].syntax })
	if err != nil {
		return nil, err
	}
	if buf, err = messageForms[i].append(buf, a); err != nil {
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
	return a.appendMessage(buf, uint16(a.get("type", 0)), 0, payload), nil
}

// appendMessage appends a message of a type with what the arguments say of its header; flags are those without flags=.
func (a args) appendMessage(buf []byte, typ uint16, flags int64, payload []byte) []byte {
	h := uapi.NLMsgHdr{
		Type:  typ,
		Flags: uint16(a.get("flags", flags)),
		Seq:   uint32(a.get("seq", 0)),
		Pid:   uint32(a.get("pid", 0)),
	}
	start := len(buf)
	buf = uapi.AppendMessage(buf, h, payload)
	if a.has("len") { // that of no message, perhaps
		h.Len = uint32(a.get("len", 0))
		h.Put(buf[start:])
	}
	return buf
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

// headerArgs are the arguments that every message has which is written by name.
const headerArgs = " [flags=FLAGS] [seq=N] [pid=N] [len=N]"

// Flags of messages that are written by name and have no flags=.
const (
	toldAndAcked = uapi.NLMFRequest | uapi.NLMFAck
	told         = uapi.NLMFRequest
	dumped       = uapi.NLMFRequest | uapi.NLMFDump
)

func be16(v int64) []byte { return binary.BigEndian.AppendUint16(nil, uint16(v)) }
func be32(v int64) []byte { return binary.BigEndian.AppendUint32(nil, uint32(v)) }
func le32(v int64) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(v)) }

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
