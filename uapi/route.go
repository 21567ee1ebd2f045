package uapi

// rtnetlink message types.
const (
	RTMNewlink  = 16
	RTMDellink  = 17
	RTMGetlink  = 18
	RTMNewaddr  = 20
	RTMDeladdr  = 21
	RTMGetaddr  = 22
	RTMNewroute = 24
	RTMDelroute = 25
	RTMGetroute = 26
	RTMNewneigh = 28
	RTMDelneigh = 29
	RTMGetneigh = 30
	RTMNewrule  = 32
	RTMDelrule  = 33
	RTMGetrule  = 34
)

// ENOTSUPP is the kernel-internal error number that leaks to userspace in acknowledgements.
const ENOTSUPP = 524

// SockDiagByFamily is the message type of socket statistics, request and answer.
const SockDiagByFamily = 20

// Netfilter message numbers: subsystem << 8 | message.
const (
	NFNLSubsysQueue = 3
	NFNLSubsysULog  = 4
	NFQNLMsgPacket  = NFNLSubsysQueue << 8
	NFQNLMsgVerdict = NFNLSubsysQueue<<8 | 1
	NFQNLMsgConfig  = NFNLSubsysQueue<<8 | 2
	NFQNLMsgBatch   = NFNLSubsysQueue<<8 | 3
	NFULNLMsgPacket = NFNLSubsysULog << 8
	NFULNLMsgConfig = NFNLSubsysULog<<8 | 1
)

// Attributes of NFQNLMsgPacket and NFULNLMsgPacket that carry the packet.
const (
	NFQAPacketHdr = 1
	NFQAPayload   = 10
	NFULAPayload  = 9
)
