package trace

import "nlmmap/uapi"

var families = map[int]string{uapi.AFUnspec: "AF_UNSPEC", uapi.AFUnix: "AF_UNIX", uapi.AFInet: "AF_INET",
	uapi.AFNetlink: "AF_NETLINK", uapi.AFPacket: "AF_PACKET"}

var types = map[int]string{uapi.SockStream: "SOCK_STREAM", uapi.SockDgram: "SOCK_DGRAM", uapi.SockRaw: "SOCK_RAW"}

// Protocols are the names of the netlink protocols.
var Protocols = map[int]string{uapi.NetlinkRoute: "NETLINK_ROUTE", uapi.NetlinkUsersock: "NETLINK_USERSOCK",
	uapi.NetlinkSockDiag: "NETLINK_SOCK_DIAG", uapi.NetlinkNFLog: "NETLINK_NFLOG", uapi.NetlinkXFRM: "NETLINK_XFRM",
	uapi.NetlinkSELinux: "NETLINK_SELINUX", uapi.NetlinkISCSI: "NETLINK_ISCSI", uapi.NetlinkAudit: "NETLINK_AUDIT",
	uapi.NetlinkFIBLookup: "NETLINK_FIB_LOOKUP", uapi.NetlinkConnector: "NETLINK_CONNECTOR",
	uapi.NetlinkNetfilter: "NETLINK_NETFILTER", uapi.NetlinkKobjectUevent: "NETLINK_KOBJECT_UEVENT",
	uapi.NetlinkGeneric: "NETLINK_GENERIC", uapi.NetlinkSCSITransport: "NETLINK_SCSITRANSPORT",
	uapi.NetlinkCrypto: "NETLINK_CRYPTO"}

var netlinkOptions = map[int]string{uapi.NetlinkAddMembership: "NETLINK_ADD_MEMBERSHIP",
	uapi.NetlinkDropMembership: "NETLINK_DROP_MEMBERSHIP", uapi.NetlinkPktinfo: "NETLINK_PKTINFO",
	uapi.NetlinkBroadcastError: "NETLINK_BROADCAST_ERROR", uapi.NetlinkNoENOBUFS: "NETLINK_NO_ENOBUFS",
	uapi.NetlinkRxRing: "NETLINK_RX_RING", uapi.NetlinkTxRing: "NETLINK_TX_RING",
	uapi.NetlinkListenAllNSID: "NETLINK_LISTEN_ALL_NSID", uapi.NetlinkListMemberships: "NETLINK_LIST_MEMBERSHIPS",
	uapi.NetlinkCapAck: "NETLINK_CAP_ACK"}

var socketOptions = map[int]string{uapi.SoType: "SO_TYPE", uapi.SoError: "SO_ERROR", uapi.SoSndbuf: "SO_SNDBUF",
	uapi.SoRcvbuf: "SO_RCVBUF", uapi.SoPasscred: "SO_PASSCRED", uapi.SoRcvtimeo: "SO_RCVTIMEO",
	uapi.SoSndtimeo: "SO_SNDTIMEO", uapi.SoAttachFilter: "SO_ATTACH_FILTER", uapi.SoDetachFilter: "SO_DETACH_FILTER",
	uapi.SoSndbufforce: "SO_SNDBUFFORCE", uapi.SoRcvbufforce: "SO_RCVBUFFORCE", uapi.SoProtocol: "SO_PROTOCOL",
	uapi.SoDomain: "SO_DOMAIN"}

var messageTypes = map[int]string{uapi.NLMsgNoop: "NLMSG_NOOP", uapi.NLMsgError: "NLMSG_ERROR", uapi.NLMsgDone: "NLMSG_DONE",
	uapi.NLMsgOverrun: "NLMSG_OVERRUN", uapi.RTMNewlink: "RTM_NEWLINK", uapi.RTMDellink: "RTM_DELLINK",
	uapi.RTMGetlink: "RTM_GETLINK", uapi.RTMNewaddr: "RTM_NEWADDR", uapi.RTMGetaddr: "RTM_GETADDR",
	uapi.RTMNewroute: "RTM_NEWROUTE", uapi.RTMDelroute: "RTM_DELROUTE", uapi.RTMGetroute: "RTM_GETROUTE",
	uapi.RTMNewneigh: "RTM_NEWNEIGH", uapi.RTMDelneigh: "RTM_DELNEIGH", uapi.RTMGetneigh: "RTM_GETNEIGH"}

var msgFlags = []bit{{uapi.MsgOOB, "MSG_OOB"}, {uapi.MsgPeek, "MSG_PEEK"}, {uapi.MsgCtrunc, "MSG_CTRUNC"},
	{uapi.MsgTrunc, "MSG_TRUNC"}, {uapi.MsgDontwait, "MSG_DONTWAIT"}}

var mapFlags = []bit{{uapi.MapShared, "MAP_SHARED"}, {uapi.MapPrivate, "MAP_PRIVATE"}, {uapi.MapFixed, "MAP_FIXED"}}

var prots = []bit{{uapi.ProtRead, "PROT_READ"}, {uapi.ProtWrite, "PROT_WRITE"}}
