package scenario

import (
	"slices"

	"nlmmap/uapi"
)

// otherForms are messages to sock_diag and to the audit subsystem.
var otherForms = []messageForm{
	{
		syntax: compile("diag [protocol=DIAGPROTO] [show=SHOW] [family=BYTE] [ino=N] [type=N]" + headerArgs),
		help: "a request for the statistics of sockets: of a protocol or all, with what show= names (groups, meminfo, rings, joined " +
			"by commas); family= 16, netlink, and type= 20 if not given",
		example: "diag protocol=route show=groups,rings",
		append:  appendDiag,
	},
	{
		syntax:  compile("audit AUDIT [enabled=N] [failure=N] [daemon=N] [rate_limit=N] [backlog_limit=N] [hex=HEX]" + headerArgs),
		help:    "a request to the audit subsystem; the figures are what set changes, hex= is another payload",
		example: "audit get seq=1",
		append:  appendAudit,
	},
}

var (
	diagProtocols = append(slices.Clone(protocolNames), name{"all", uapi.NetlinkDiagAll})
	diagShow      = []name{{"meminfo", 1}, {"groups", 2}, {"rings", 4}}
	auditTypes    = wordsFor(uapi.AuditTypes, "AUDIT_")
)

func appendDiag(buf []byte, a args) ([]byte, error) {
	b := []byte{byte(a.get("family", uapi.AFNetlink)), byte(a.get("protocol", uapi.NetlinkDiagAll)), 0, 0}
	b = append(b, le32(a.get("ino", 0))...)
	b = append(b, le32(a.get("show", 0))...)
	b = append(b, make([]byte, uapi.NetlinkDiagReqlen-len(b))...) // the cookie
	return a.appendMessage(buf, uint16(a.get("type", uapi.SockDiagByFamily)), dumped, b), nil
}

// appendAudit appends a request. A status has a mask of the figures that it sets: a bit for each, in their order.
func appendAudit(buf []byte, a args) ([]byte, error) {
	payload, _ := parseHex(a.text("hex", "")) // it was checked
	figures := []string{"enabled", "failure", "daemon", "rate_limit", "backlog_limit"}
	if slices.ContainsFunc(figures, a.has) {
		mask, words := int64(0), []byte(nil)
		for i, f := range figures {
			if a.has(f) {
				mask |= 1 << i
			}
			words = append(words, le32(a.get(f, 0))...)
		}
		payload = append(le32(mask), words...)
		payload = append(payload, make([]byte, uapi.AuditStatusLen-len(payload))...)
	}
	return a.appendMessage(buf, uint16(a.num(0)), told, payload), nil
}
