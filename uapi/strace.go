package uapi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// How strace writes what is handed to system calls.

// String writes an address.
func (a SockaddrNL) String() string {
	return fmt.Sprintf("{sa_family=%s, nl_pid=%d, nl_groups=%08x}", AddressFamilies.Of(int(a.Family)), int32(a.Pid), a.Groups)
}

// String writes a request for a ring.
func (r NLMMapReq) String() string {
	return fmt.Sprintf("{nm_block_size=%d, nm_block_nr=%d, nm_frame_size=%d, nm_frame_nr=%d}", r.BlockSize, r.BlockNr,
		r.FrameSize, r.FrameNr)
}

// maxMessages is how many messages of a buffer are shown.
const maxMessages = 8

// messageTypes are those of NETLINK_ROUTE for all protocols: a system call does not say what its socket speaks.
var messageTypes = slices.Concat(ControlTypes, RouteTypes)

// FormatMessages writes the netlink messages in b, the last one also when it is cut. It works on any input.
func FormatMessages(b []byte) string {
	var list []string
	for m, err := range Messages(b) {
		var bad *ParseError
		if errors.As(err, &bad) && len(b)-bad.Offset < NLMsgHdrlen {
			break // not even a header
		}
		if len(list) == maxMessages {
			list = append(list, "...")
			break
		}
		list = append(list, formatMessage(m))
	}
	if len(list) == 0 {
		return fmt.Sprintf("%q", b[:min(len(b), 32)])
	}
	return "[" + strings.Join(list, ", ") + "]"
}

func formatMessage(m Message) string {
	h := m.Header
	s := fmt.Sprintf("{nlmsg_len=%d, nlmsg_type=%s, nlmsg_flags=%#x, nlmsg_seq=%d, nlmsg_pid=%d}", h.Len,
		messageTypes.Of(int(h.Type)), h.Flags, h.Seq, int32(h.Pid))
	if code, ok := m.Code(); ok && h.Type == NLMsgError {
		return fmt.Sprintf("{%s, {error=%d}}", s, code)
	}
	return s
}

// OptionName returns the names of the level and of the option that getsockopt and setsockopt are called with.
func OptionName(level, opt int) (string, string) {
	switch level {
	case SolNetlink:
		return "SOL_NETLINK", NetlinkOptions.Of(opt)
	case SolSocket:
		return "SOL_SOCKET", SocketOptions.Of(opt)
	}
	return fmt.Sprint(level), fmt.Sprint(opt)
}

// FormatOption writes the value of an option.
func FormatOption(level, opt int, value []byte) string {
	if level == SolNetlink && (opt == NetlinkRxRing || opt == NetlinkTxRing) && len(value) >= NLMMapReqlen {
		return ParseNLMMapReq(value).String()
	}
	if len(value) == 4 {
		return fmt.Sprintf("[%d]", int32(binary.LittleEndian.Uint32(value)))
	}
	return fmt.Sprintf("%q", value)
}
