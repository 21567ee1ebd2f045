package userspace

import (
	"encoding/binary"
	"fmt"

	"nlmmap/uapi"
)

// DiagRequest returns a request that dumps the statistics of netlink sockets: of one protocol, or of all with
// uapi.NetlinkDiagAll. show says what beside the socket itself, as bits 1<<uapi.NetlinkDiagMeminfo and so on. It is sent to a
// socket of protocol uapi.NetlinkSockDiag, by a Dumper with DumpConfig.Request for example.
func DiagRequest(proto uint8, show, seq uint32) []byte {
	payload := make([]byte, uapi.NetlinkDiagReqlen)
	payload[0], payload[1] = uapi.AFNetlink, proto
	binary.LittleEndian.PutUint32(payload[uapi.NetlinkDiagShow:], show)
	h := uapi.NLMsgHdr{Type: uapi.SockDiagByFamily, Flags: uapi.NLMFRequest | uapi.NLMFDump, Seq: seq}
	return uapi.AppendMessage(nil, h, payload)
}

// A SocketStat is what the statistics say of one netlink socket.
type SocketStat struct {
	Type, Protocol uint8
	Connected      bool
	Portid         uint32
	PeerPortid     uint32
	PeerGroup      uint32
	Inode          uint32
	// RX and TX are the last ring requests, if they were asked for.
	RX, TX uapi.NLMMapReq
}

// connected is the state of a socket that has a peer (NETLINK_CONNECTED). One that lost it has state 0, one that never had
// one another.
const connected = 1

// ParseSocketStat reads one message of the dump. The error says that m is something else, or malformed.
func ParseSocketStat(m uapi.Message) (SocketStat, error) {
	if m.Header.Type != uapi.SockDiagByFamily || len(m.Payload) < uapi.NetlinkDiagMsglen || m.Payload[0] != uapi.AFNetlink {
		return SocketStat{}, fmt.Errorf("a message of type %d with %d bytes is no statistics of a netlink socket", m.Header.Type, len(m.Payload))
	}
	word := func(off int) uint32 { return binary.LittleEndian.Uint32(m.Payload[off:]) }
	s := SocketStat{
		Type: m.Payload[1], Protocol: m.Payload[2], Connected: m.Payload[3] == connected,
		Portid: word(uapi.NetlinkDiagPortid), PeerPortid: word(8), PeerGroup: word(12), Inode: word(16),
	}
	for a, err := range m.Attrs(uapi.NetlinkDiagMsglen) {
		if err != nil {
			return s, err
		}
		if len(a.Data) < uapi.NLMMapReqlen {
			continue
		}
		switch a.Type {
		case uapi.NetlinkDiagRxRing:
			s.RX = uapi.ParseNLMMapReq(a.Data)
		case uapi.NetlinkDiagTxRing:
			s.TX = uapi.ParseNLMMapReq(a.Data)
		}
	}
	return s, nil
}
