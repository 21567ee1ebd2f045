package scenario

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"nlmmap/uapi"
)

// With names on, messages of these protocols print by name. Recordings that say nothing print as they always did.
var namedTypes = map[int][]name{
	uapi.NetlinkNetfilter: {
		{"nfqueue_packet", uapi.NFQNLMsgPacket}, {"nfqueue_verdict", uapi.NFQNLMsgVerdict},
		{"nfqueue_config", uapi.NFQNLMsgConfig}, {"nfqueue_batch", uapi.NFQNLMsgBatch},
		{"nflog_packet", uapi.NFULNLMsgPacket}, {"nflog_config", uapi.NFULNLMsgConfig},
	},
	uapi.NetlinkSockDiag: {{"diag", uapi.SockDiagByFamily}},
	uapi.NetlinkAudit:    prefixed("audit_", auditTypes),
}

func prefixed(prefix string, names []name) []name {
	names = slices.Clone(names)
	for i := range names {
		names[i].text = prefix + names[i].text
	}
	return names
}

// namedDetails prints what a message says beyond its header, by name, and reports whether it could.
func (p printer) namedDetails(b *strings.Builder, protocol int, typ uint16, payload []byte) bool {
	switch {
	case protocol == uapi.NetlinkNetfilter && typ == uapi.NFQNLMsgPacket && len(payload) >= uapi.NFGenMsglen:
		fmt.Fprintf(b, " queue=%d", binary.BigEndian.Uint16(payload[2:]))
		namedAttrs(b, payload, uapi.NFGenMsglen, queuedAttrs)
	case protocol == uapi.NetlinkNetfilter && typ == uapi.NFULNLMsgPacket && len(payload) >= uapi.NFGenMsglen:
		fmt.Fprintf(b, " group=%d", binary.BigEndian.Uint16(payload[2:]))
		namedAttrs(b, payload, uapi.NFGenMsglen, loggedAttrs)
	case isSocketStatistics(protocol, uapi.NLMsgHdr{Type: typ}) && len(payload) >= uapi.NetlinkDiagMsglen:
		le := binary.LittleEndian
		fmt.Fprintf(b, " protocol=%s state=%d portid=%s dst=%s dst_group=%d", nameOf(int64(payload[2]), protocolNames), payload[3],
			p.identity(le.Uint32(payload[uapi.NetlinkDiagPortid:])), p.identity(le.Uint32(payload[8:])), le.Uint32(payload[12:]))
		namedAttrs(b, payload, uapi.NetlinkDiagMsglen, diagAttrs)
	case protocol == uapi.NetlinkAudit && typ == uapi.AuditGet:
		printWords(b, payload, "", "enabled", "failure", "daemon", "rate_limit", "backlog_limit", "lost", "backlog")
	case protocol == uapi.NetlinkAudit && typ == uapi.AuditGetFeature:
		printWords(b, payload, "version", "mask", "features", "locked")
	default:
		return false
	}
	return true
}

// printWords prints words by name; one without a name is passed over.
func printWords(b *strings.Builder, payload []byte, names ...string) {
	for i, name := range names {
		if name != "" && len(payload) >= 4*i+4 {
			fmt.Fprintf(b, " %s=%d", name, binary.LittleEndian.Uint32(payload[4*i:]))
		}
	}
}

// A namedAttr is an attribute: its name, and what prints it.
type namedAttr struct {
	name  string
	print func(b *strings.Builder, name string, data []byte)
}

// namedAttrs prints attributes in their order. Those without a name, or too short, print as aTYPE:LENGTH.
func namedAttrs(b *strings.Builder, payload []byte, header int, names map[uint16]namedAttr) {
	for a := range uapi.WellFormed(uapi.Attrs(payload, header)) {
		var text strings.Builder
		if n, ok := names[a.Type]; ok {
			n.print(&text, n.name, a.Data)
		}
		if text.Len() == 0 {
			fmt.Fprintf(&text, " a%d:%d", a.Type, len(a.Data))
		}
		b.WriteString(text.String())
	}
}

func decimalBE(b *strings.Builder, name string, data []byte) {
	if len(data) >= 4 {
		fmt.Fprintf(b, " %s=%d", name, binary.BigEndian.Uint32(data))
	}
}

func markBE(b *strings.Builder, name string, data []byte) {
	if len(data) >= 4 {
		fmt.Fprintf(b, " %s=0x%x", name, binary.BigEndian.Uint32(data))
	}
}

func byteCount(b *strings.Builder, name string, data []byte) {
	fmt.Fprintf(b, " %s=%d", name, len(data))
}

// present prints the name only: what it says differs each time.
func present(b *strings.Builder, name string, _ []byte) { b.WriteString(" " + name) }

func quoted(b *strings.Builder, name string, data []byte) {
	fmt.Fprintf(b, " %s=%q", name, strings.TrimRight(string(data), "\x00"))
}

// queueHeader is struct nfqnl_msg_packet_hdr: the packet's number, its protocol and the hook.
func queueHeader(b *strings.Builder, name string, data []byte) {
	if len(data) >= 7 {
		fmt.Fprintf(b, " %s=%d proto=0x%x hook=%d", name, binary.BigEndian.Uint32(data), binary.BigEndian.Uint16(data[4:]), data[6])
	}
}

// logHeader is struct nfulnl_msg_packet_hdr.
func logHeader(b *strings.Builder, _ string, data []byte) {
	if len(data) >= 3 {
		fmt.Fprintf(b, " proto=0x%x hook=%d", binary.BigEndian.Uint16(data), data[2])
	}
}

func memoryFigures(b *strings.Builder, name string, data []byte) {
	var words []string
	for ; len(data) >= 4; data = data[4:] {
		words = append(words, fmt.Sprint(binary.LittleEndian.Uint32(data)))
	}
	fmt.Fprintf(b, " %s=%s", name, strings.Join(words, ","))
}

func groupMask(b *strings.Builder, name string, data []byte) {
	if len(data) >= 8 {
		fmt.Fprintf(b, " %s=0x%x", name, binary.LittleEndian.Uint64(data))
	}
}

func ringFigures(b *strings.Builder, name string, data []byte) {
	if len(data) >= uapi.NLMMapReqlen {
		r := uapi.ParseNLMMapReq(data)
		fmt.Fprintf(b, " %s=%d,%d,%d,%d", name, r.BlockSize, r.BlockNr, r.FrameSize, r.FrameNr)
	}
}

var (
	queuedAttrs = map[uint16]namedAttr{
		uapi.NFQAPacketHdr: {"packet", queueHeader}, uapi.NFQAMark: {"mark", markBE}, uapi.NFQATimestamp: {"timestamp", present},
		uapi.NFQAIfindexIndev: {"indev", decimalBE}, uapi.NFQAIfindexOutdev: {"outdev", decimalBE}, uapi.NFQAHwaddr: {"hwaddr", present},
		uapi.NFQAPayload: {"payload", byteCount}, uapi.NFQACapLen: {"cap_len", decimalBE}, uapi.NFQASKBInfo: {"skb_info", decimalBE},
		uapi.NFQAUID: {"uid", decimalBE}, uapi.NFQAGID: {"gid", decimalBE},
	}
	loggedAttrs = map[uint16]namedAttr{
		uapi.NFULAPacketHdr: {"", logHeader}, uapi.NFULAMark: {"mark", markBE}, uapi.NFULATimestamp: {"timestamp", present},
		uapi.NFULAIfindexIndev: {"indev", decimalBE}, uapi.NFULAIfindexOutdev: {"outdev", decimalBE}, uapi.NFULAHwaddr: {"hwaddr", present},
		uapi.NFULAPayload: {"payload", byteCount}, uapi.NFULAPrefix: {"prefix", quoted}, uapi.NFULAUID: {"uid", decimalBE},
		uapi.NFULASeq: {"seq", decimalBE}, uapi.NFULASeqGlobal: {"seq_global", decimalBE}, uapi.NFULAGID: {"gid", decimalBE},
	}
	diagAttrs = map[uint16]namedAttr{
		uapi.NetlinkDiagMeminfo: {"meminfo", memoryFigures}, uapi.NetlinkDiagGroups: {"groups", groupMask},
		uapi.NetlinkDiagRxRing: {"rx_ring", ringFigures}, uapi.NetlinkDiagTxRing: {"tx_ring", ringFigures},
	}
)
