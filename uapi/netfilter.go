package uapi

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

// Commands of NFQNLMsgConfig and NFULNLMsgConfig.
const (
	NFCfgCmdBind     = 1
	NFCfgCmdUnbind   = 2
	NFCfgCmdPFBind   = 3
	NFCfgCmdPFUnbind = 4
)

// How much of a packet a queue or log copies.
const (
	NFCopyNone   = 0
	NFCopyMeta   = 1
	NFCopyPacket = 2
)

// Verdicts on packets.
const (
	NFDrop   = 0
	NFAccept = 1
	NFQueue  = 3
	NFRepeat = 4
	NFStop   = 5
)

// Attributes of NFQNLMsgPacket and the verdicts.
const (
	NFQAPacketHdr     = 1
	NFQAVerdictHdr    = 2
	NFQAMark          = 3
	NFQATimestamp     = 4
	NFQAIfindexIndev  = 5
	NFQAIfindexOutdev = 6
	NFQAHwaddr        = 9
	NFQAPayload       = 10
	NFQACapLen        = 13
	NFQASKBInfo       = 14
	NFQAUID           = 16
	NFQAGID           = 17
)

// Attributes of NFQNLMsgConfig.
const (
	NFQACfgCmd         = 1
	NFQACfgParams      = 2
	NFQACfgQueueMaxlen = 3
	NFQACfgMask        = 4
	NFQACfgFlags       = 5
)

// Attributes of NFULNLMsgPacket.
const (
	NFULAPacketHdr     = 1
	NFULAMark          = 2
	NFULATimestamp     = 3
	NFULAIfindexIndev  = 4
	NFULAIfindexOutdev = 5
	NFULAHwaddr        = 8
	NFULAPayload       = 9
	NFULAPrefix        = 10
	NFULAUID           = 11
	NFULASeq           = 12
	NFULASeqGlobal     = 13
	NFULAGID           = 14
)

// Attributes of NFULNLMsgConfig.
const (
	NFULACfgCmd      = 1
	NFULACfgMode     = 2
	NFULACfgNlbufsiz = 3
	NFULACfgTimeout  = 4
	NFULACfgQthresh  = 5
	NFULACfgFlags    = 6
)
