package scenario

import "nlmmap/uapi"

const (
	queueArgs = " [queue=N] [copy=none|meta|packet] [range=N] [maxlen=N] [set=QFLAGS] [mask=QFLAGS]" + headerArgs
	logArgs   = " [group=N] [copy=none|meta|packet] [range=N] [nlbufsiz=N] [timeout=N] [qthresh=N] [set=LFLAGS]" + headerArgs
)

// netfilterForms are messages to netfilter's packet queues and packet logs.
var netfilterForms = []messageForm{
	{
		syntax: compile("nfqueue bind|unbind|pf_bind|pf_unbind|config" + queueArgs),
		help: "NFQNL_MSG_CONFIG: a command (none with config) and parameters of a queue (0); range= is 65535 where copy=packet stands " +
			"alone, mask= what set= says",
		example: "nfqueue bind queue=1 copy=packet maxlen=5",
		append:  appendQueueConfig,
	},
	{
		syntax:  compile("nfqueue verdict|batch VERDICT id=N [queue=N] [mark=N] [replace=HEX]" + headerArgs),
		help:    "NFQNL_MSG_VERDICT, or NFQNL_MSG_VERDICT_BATCH for all packets up to id=; replace= is what the packet becomes",
		example: "nfqueue verdict accept id=1 mark=7",
		append:  appendVerdict,
	},
	{
		syntax:  compile("nflog bind|unbind|pf_bind|pf_unbind|config" + logArgs),
		help:    "NFULNL_MSG_CONFIG: a command (none with config) and parameters of a log (0)",
		example: "nflog bind group=1 copy=packet qthresh=2 set=seq",
		append:  appendLogConfig,
	},
}

var (
	configCommands = map[string]byte{
		"bind": uapi.NFCfgCmdBind, "unbind": uapi.NFCfgCmdUnbind,
		"pf_bind": uapi.NFCfgCmdPFBind, "pf_unbind": uapi.NFCfgCmdPFUnbind,
	}
	copyModes = map[string]byte{"none": uapi.NFCopyNone, "meta": uapi.NFCopyMeta, "packet": uapi.NFCopyPacket}
	verdicts  = []name{
		{"drop", uapi.NFDrop}, {"accept", uapi.NFAccept}, {"queue", uapi.NFQueue}, {"repeat", uapi.NFRepeat}, {"stop", uapi.NFStop},
	}
	queueFlags = []name{{"fail_open", 1}, {"conntrack", 2}, {"gso", 4}, {"uid_gid", 8}, {"secctx", 16}}
	logFlags   = []name{{"seq", 1}, {"seq_global", 2}, {"conntrack", 4}}
)

// nfgen is the header of a netfilter message: of no family, for a queue or a group.
func (a args) nfgen(number string) []byte { return append([]byte{0, 0}, be16(a.get(number, 0))...) }

// copyMode returns how much of a packet is copied; nil if nothing is said of it.
func (a args) copyMode() []byte {
	if !a.has("copy") && !a.has("range") {
		return nil
	}
	mode, whole := copyModes[a.text("copy", "packet")], int64(0)
	if mode == uapi.NFCopyPacket {
		whole = 0xffff
	}
	return append(be32(a.get("range", whole)), mode)
}

// attrs appends an attribute for each argument that is there.
func (a args) attrs(b []byte, list ...argAttr) []byte {
	for _, l := range list {
		if a.has(l.name) {
			b = uapi.AppendAttr(b, l.typ, l.encode(a.get(l.name, 0)))
		}
	}
	return b
}

type argAttr struct {
	name   string
	typ    uint16
	encode func(int64) []byte
}

func appendQueueConfig(buf []byte, a args) ([]byte, error) {
	b := a.nfgen("queue")
	if command, ok := configCommands[a.word(0)]; ok {
		b = uapi.AppendAttr(b, uapi.NFQACfgCmd, append([]byte{command, 0}, be16(uapi.AFInet)...))
	}
	if mode := a.copyMode(); mode != nil {
		b = uapi.AppendAttr(b, uapi.NFQACfgParams, mode)
	}
	if a.has("set") && !a.has("mask") {
		a.named["mask"] = a.named["set"]
	}
	b = a.attrs(b, argAttr{"maxlen", uapi.NFQACfgQueueMaxlen, be32}, argAttr{"mask", uapi.NFQACfgMask, be32},
		argAttr{"set", uapi.NFQACfgFlags, be32})
	return a.appendMessage(buf, uapi.NFQNLMsgConfig, toldAndAcked, b), nil
}

func appendVerdict(buf []byte, a args) ([]byte, error) {
	typ := uint16(uapi.NFQNLMsgVerdict)
	if a.word(0) == "batch" {
		typ = uapi.NFQNLMsgBatch
	}
	b := uapi.AppendAttr(a.nfgen("queue"), uapi.NFQAVerdictHdr, append(be32(a.num(1)), be32(a.get("id", 0))...))
	b = a.attrs(b, argAttr{"mark", uapi.NFQAMark, be32})
	if a.has("replace") {
		packet, _ := parseHex(a.text("replace", "")) // it was checked
		b = uapi.AppendAttr(b, uapi.NFQAPayload, packet)
	}
	return a.appendMessage(buf, typ, told, b), nil
}

func appendLogConfig(buf []byte, a args) ([]byte, error) {
	b := a.nfgen("group")
	if command, ok := configCommands[a.word(0)]; ok {
		b = uapi.AppendAttr(b, uapi.NFULACfgCmd, []byte{command})
	}
	if mode := a.copyMode(); mode != nil {
		b = uapi.AppendAttr(b, uapi.NFULACfgMode, append(mode, 0))
	}
	b = a.attrs(b, argAttr{"nlbufsiz", uapi.NFULACfgNlbufsiz, be32}, argAttr{"timeout", uapi.NFULACfgTimeout, be32},
		argAttr{"qthresh", uapi.NFULACfgQthresh, be32}, argAttr{"set", uapi.NFULACfgFlags, be16})
	return a.appendMessage(buf, uapi.NFULNLMsgConfig, toldAndAcked, b), nil
}
