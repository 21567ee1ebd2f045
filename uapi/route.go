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

// Attributes of the statistics of a netlink socket, behind NetlinkDiagMsglen bytes with its portid at
// NetlinkDiagPortid.
const (
	NetlinkDiagMeminfo = 0
	NetlinkDiagGroups  = 1
	NetlinkDiagRxRing  = 2
	NetlinkDiagTxRing  = 3

	NetlinkDiagPortid = 4
	NetlinkDiagMsglen = 28
)

// The request for them: family, protocol (or all), and which attributes to show.
const (
	NetlinkDiagAll    = 255
	NetlinkDiagShow   = 8
	NetlinkDiagReqlen = 20
)
