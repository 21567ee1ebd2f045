package userspace

import (
	"encoding/binary"
	"fmt"

	"nlmmap/uapi"
)

// How much of a packet a queue or log copies.
const (
	CopyNone   = uapi.NFCopyNone
	CopyMeta   = uapi.NFCopyMeta
	CopyPacket = uapi.NFCopyPacket
)

// Verdicts on packets.
const (
	Drop   = uapi.NFDrop
	Accept = uapi.NFAccept
	Repeat = uapi.NFRepeat
	Stop   = uapi.NFStop
)

// beginNetfilter begins a message to a netfilter subsystem about a queue or group.
func beginNetfilter(b *Builder, typ, flags uint16, seq uint32, number uint16) *Builder {
	b.Begin(uapi.NLMsgHdr{Type: typ, Flags: uapi.NLMFRequest | flags, Seq: seq})
	return b.Raw(0, 0, byte(number>>8), byte(number))
}

// QueueBind appends a request to create a packet queue; QueueUnbind one to destroy it. Both ask for an
// acknowledgement.
func QueueBind(b *Builder, seq uint32, queue uint16) {
	beginNetfilter(b, uapi.NFQNLMsgConfig, uapi.NLMFAck, seq, queue).Attr(uapi.NFQACfgCmd, []byte{uapi.NFCfgCmdBind, 0, 0, 0}).End()
}

// QueueUnbind appends a request to destroy a packet queue.
func QueueUnbind(b *Builder, seq uint32, queue uint16) {
	beginNetfilter(b, uapi.NFQNLMsgConfig, uapi.NLMFAck, seq, queue).Attr(uapi.NFQACfgCmd, []byte{uapi.NFCfgCmdUnbind, 0, 0, 0}).End()
}

// QueueParams are the settings of a packet queue.
type QueueParams struct {
	Mode   uint8  // CopyMeta or CopyPacket
	Range  uint32 // bytes of each packet that are copied; 0 is as much as possible
	Maxlen uint32 // packets that wait for a verdict at most; 0 leaves the kernel's 1024
	Flags  uint32 // fail open 1, and so on; 0 changes nothing
}

// QueueSet appends a request to change the settings of a packet queue, with acknowledgement.
func QueueSet(b *Builder, seq uint32, queue uint16, p QueueParams) {
	beginNetfilter(b, uapi.NFQNLMsgConfig, uapi.NLMFAck, seq, queue)
	b.Attr(uapi.NFQACfgParams, append(binary.BigEndian.AppendUint32(nil, p.Range), p.Mode))
	if p.Maxlen != 0 {
		b.Attr32BE(uapi.NFQACfgQueueMaxlen, p.Maxlen)
	}
	if p.Flags != 0 {
		b.Attr32BE(uapi.NFQACfgMask, p.Flags).Attr32BE(uapi.NFQACfgFlags, p.Flags)
	}
	b.End()
}

func verdictHdr(verdict, id uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, verdict), id)
}

// QueueVerdict appends the verdict on one packet. It is acknowledged only when it fails.
func QueueVerdict(b *Builder, seq uint32, queue uint16, id, verdict uint32) {
	beginNetfilter(b, uapi.NFQNLMsgVerdict, 0, seq, queue).Attr(uapi.NFQAVerdictHdr, verdictHdr(verdict, id)).End()
}

// QueueVerdictBatch appends one verdict on all packets up to and including number id.
func QueueVerdictBatch(b *Builder, seq uint32, queue uint16, id, verdict uint32) {
	beginNetfilter(b, uapi.NFQNLMsgBatch, 0, seq, queue).Attr(uapi.NFQAVerdictHdr, verdictHdr(verdict, id)).End()
}

// A QueuedPacket is a packet that waits for a verdict.
type QueuedPacket struct {
	Queue       uint16
	ID          uint32 // for the verdict
	HWProto     uint16 // ethertype: 0x0800 for IPv4
	Hook        uint8
	Mark        uint32
	InDev       uint32 // interface indices, 0 for none
	OutDev      uint32
	Length      int    // of the packet; in mode CopyMeta 0
	Payload     []byte // as much as was copied
	ExtraAttrs  int    // attributes that are not among the above
	HasHardware bool   // a link-layer address came with it
}

// ParseQueuedPacket reads a packet message of a queue. The error says that m is something else, or malformed.
func ParseQueuedPacket(m uapi.Message) (QueuedPacket, error) {
	var p QueuedPacket
	if m.Header.Type != uapi.NFQNLMsgPacket {
		return p, fmt.Errorf("a message of type %#x is no queued packet", m.Header.Type)
	}
	found := false
	for a, err := range m.Attrs(uapi.NFGenMsglen) {
		if err != nil {
			return p, err
		}
		switch a.Type {
		case uapi.NFQAPacketHdr:
			if len(a.Data) < 7 {
				return p, uapi.Malformed(0, "a packet header with %d bytes, it has 7", len(a.Data))
			}
			p.ID, p.HWProto, p.Hook = binary.BigEndian.Uint32(a.Data), binary.BigEndian.Uint16(a.Data[4:]), a.Data[6]
			found = true
		case uapi.NFQAMark:
			p.Mark, err = a.Uint32BE()
		case uapi.NFQAIfindexIndev:
			p.InDev, err = a.Uint32BE()
		case uapi.NFQAIfindexOutdev:
			p.OutDev, err = a.Uint32BE()
		case uapi.NFQACapLen:
			var n uint32
			n, err = a.Uint32BE()
			p.Length = int(n)
		case uapi.NFQAPayload:
			p.Payload = a.Data
		case uapi.NFQAHwaddr:
			p.HasHardware = true
		default:
			p.ExtraAttrs++
		}
		if err != nil {
			return p, err
		}
	}
	if !found {
		return p, uapi.Malformed(0, "a queued packet without number")
	}
	p.Queue = binary.BigEndian.Uint16(m.Payload[2:])
	p.Length = max(p.Length, len(p.Payload))
	return p, nil
}

// LogBind appends a request to create a log group; LogUnbind one to destroy it. Both ask for an acknowledgement.
func LogBind(b *Builder, seq uint32, group uint16) {
	beginNetfilter(b, uapi.NFULNLMsgConfig, uapi.NLMFAck, seq, group).Attr(uapi.NFULACfgCmd, []byte{uapi.NFCfgCmdBind}).End()
}

// LogUnbind appends a request to destroy a log group, which flushes it first.
func LogUnbind(b *Builder, seq uint32, group uint16) {
	beginNetfilter(b, uapi.NFULNLMsgConfig, uapi.NLMFAck, seq, group).Attr(uapi.NFULACfgCmd, []byte{uapi.NFCfgCmdUnbind}).End()
}

// LogParams are the settings of a log group; a zero field leaves the kernel's.
type LogParams struct {
	Mode      uint8  // CopyMeta or CopyPacket
	Range     uint32 // bytes of each packet that are copied; 0 is all
	Nlbufsiz  uint32 // bytes of a message that collects packets, 3776 to 131072
	Timeout   uint32 // hundredths of a second until collected packets are sent
	Threshold uint32 // packets that are collected at most
	Flags     uint16 // number packets: of the group 1, of all groups 2
}

// LogSet appends a request to change the settings of a log group, with acknowledgement.
func LogSet(b *Builder, seq uint32, group uint16, p LogParams) {
	beginNetfilter(b, uapi.NFULNLMsgConfig, uapi.NLMFAck, seq, group)
	if p.Mode != 0 {
		b.Attr(uapi.NFULACfgMode, append(binary.BigEndian.AppendUint32(nil, p.Range), p.Mode, 0))
	}
	for _, a := range []struct {
		typ uint16
		val uint32
	}{{uapi.NFULACfgNlbufsiz, p.Nlbufsiz}, {uapi.NFULACfgTimeout, p.Timeout}, {uapi.NFULACfgQthresh, p.Threshold}} {
		if a.val != 0 {
			b.Attr32BE(a.typ, a.val)
		}
	}
	if p.Flags != 0 {
		b.Attr(uapi.NFULACfgFlags, binary.BigEndian.AppendUint16(nil, p.Flags))
	}
	b.End()
}

// A LoggedPacket is one packet of a log.
type LoggedPacket struct {
	Group   uint16
	HWProto uint16 // ethertype
	Hook    uint8
	Prefix  string
	Seq     uint32 // number in the group, from 0; only if HasSeq
	HasSeq  bool
	Payload []byte
}

// ParseLoggedPacket reads a packet message of a log. The error says that m is something else, or malformed.
func ParseLoggedPacket(m uapi.Message) (LoggedPacket, error) {
	var p LoggedPacket
	if m.Header.Type != uapi.NFULNLMsgPacket {
		return p, fmt.Errorf("a message of type %#x is no logged packet", m.Header.Type)
	}
	for a, err := range m.Attrs(uapi.NFGenMsglen) {
		if err != nil {
			return p, err
		}
		switch a.Type {
		case uapi.NFULAPacketHdr:
			if len(a.Data) < 4 {
				return p, uapi.Malformed(0, "a packet header with %d bytes, it has 4", len(a.Data))
			}
			p.HWProto, p.Hook = binary.BigEndian.Uint16(a.Data), a.Data[2]
		case uapi.NFULAPrefix:
			for i, c := range a.Data {
				if c == 0 {
					a.Data = a.Data[:i]
					break
				}
			}
			p.Prefix = string(a.Data)
		case uapi.NFULASeq:
			p.Seq, err = a.Uint32BE()
			p.HasSeq = true
		case uapi.NFULAPayload:
			p.Payload = a.Data
		}
		if err != nil {
			return p, err
		}
	}
	p.Group = binary.BigEndian.Uint16(m.Payload[2:])
	return p, nil
}
