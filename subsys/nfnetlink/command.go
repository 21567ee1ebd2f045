package nfnetlink

import "nlmmap/uapi"

// attrCmd is the attribute with the command in the CONFIG messages of queues and logs, Cmd and so on its first byte.
const attrCmd = 1

// The commands of CONFIG messages.
const (
	NoCmd       = -1 // the message has none; 0 is one that does not exist
	CmdBind     = uapi.NFCfgCmdBind
	CmdUnbind   = uapi.NFCfgCmdUnbind
	CmdPFBind   = uapi.NFCfgCmdPFBind // of old, done by nobody any more: succeeds
	CmdPFUnbind = uapi.NFCfgCmdPFUnbind
)

// Cmd is the command of a CONFIG message, whose attribute has at least one byte by its policy.
func (r *Request) Cmd() int {
	if c := r.Attr(attrCmd); c != nil {
		return int(c[0])
	}
	return NoCmd
}
