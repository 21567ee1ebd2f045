package uapi

import (
	"fmt"
	"strconv"
	"strings"
)

// A Name is a number with what the kernel's headers call it.
type Name struct {
	Value int
	Name  string
}

// Names are the names of the values of one thing, in the order in which flags are printed.
type Names []Name

// Of returns the name of v, or the number where it has none.
func (n Names) Of(v int) string {
	for _, e := range n {
		if e.Value == v {
			return e.Name
		}
	}
	return strconv.Itoa(v)
}

// Flags returns the names of the bits of v, joined by |. Bits without name stand behind them as a number.
func (n Names) Flags(v int) string {
	var names []string
	for _, e := range n {
		if e.Value != 0 && v&e.Value == e.Value {
			names = append(names, e.Name)
			v &^= e.Value
		}
	}
	if v != 0 || len(names) == 0 {
		names = append(names, fmt.Sprintf("%#x", v))
	}
	return strings.Join(names, "|")
}

// AddressFamilies, SocketTypes and Protocols name the arguments of socket(2).
var (
	AddressFamilies = Names{{AFUnspec, "AF_UNSPEC"}, {AFUnix, "AF_UNIX"}, {AFInet, "AF_INET"}, {AFNetlink, "AF_NETLINK"},
		{AFPacket, "AF_PACKET"}}
	SocketTypes = Names{{SockStream, "SOCK_STREAM"}, {SockDgram, "SOCK_DGRAM"}, {SockRaw, "SOCK_RAW"}}
	Protocols   = Names{{NetlinkRoute, "NETLINK_ROUTE"}, {NetlinkUsersock, "NETLINK_USERSOCK"},
		{NetlinkSockDiag, "NETLINK_SOCK_DIAG"}, {NetlinkNFLog, "NETLINK_NFLOG"}, {NetlinkXFRM, "NETLINK_XFRM"},
		{NetlinkSELinux, "NETLINK_SELINUX"}, {NetlinkISCSI, "NETLINK_ISCSI"}, {NetlinkAudit, "NETLINK_AUDIT"},
		{NetlinkFIBLookup, "NETLINK_FIB_LOOKUP"}, {NetlinkConnector, "NETLINK_CONNECTOR"},
		{NetlinkNetfilter, "NETLINK_NETFILTER"}, {NetlinkKobjectUevent, "NETLINK_KOBJECT_UEVENT"},
		{NetlinkGeneric, "NETLINK_GENERIC"}, {NetlinkSCSITransport, "NETLINK_SCSITRANSPORT"},
		{NetlinkCrypto, "NETLINK_CRYPTO"}}
)

// NetlinkOptions name the socket options of level SolNetlink, SocketOptions those of level SolSocket.
var (
	NetlinkOptions = Names{{NetlinkAddMembership, "NETLINK_ADD_MEMBERSHIP"},
		{NetlinkDropMembership, "NETLINK_DROP_MEMBERSHIP"}, {NetlinkPktinfo, "NETLINK_PKTINFO"},
		{NetlinkBroadcastError, "NETLINK_BROADCAST_ERROR"}, {NetlinkNoENOBUFS, "NETLINK_NO_ENOBUFS"},
		{NetlinkRxRing, "NETLINK_RX_RING"}, {NetlinkTxRing, "NETLINK_TX_RING"},
		{NetlinkListenAllNSID, "NETLINK_LISTEN_ALL_NSID"}, {NetlinkListMemberships, "NETLINK_LIST_MEMBERSHIPS"},
		{NetlinkCapAck, "NETLINK_CAP_ACK"}}
	SocketOptions = Names{{SoType, "SO_TYPE"}, {SoError, "SO_ERROR"}, {SoSndbuf, "SO_SNDBUF"}, {SoRcvbuf, "SO_RCVBUF"},
		{SoPasscred, "SO_PASSCRED"}, {SoRcvtimeo, "SO_RCVTIMEO"}, {SoSndtimeo, "SO_SNDTIMEO"},
		{SoAttachFilter, "SO_ATTACH_FILTER"}, {SoDetachFilter, "SO_DETACH_FILTER"}, {SoSndbufforce, "SO_SNDBUFFORCE"},
		{SoRcvbufforce, "SO_RCVBUFFORCE"}, {SoProtocol, "SO_PROTOCOL"}, {SoDomain, "SO_DOMAIN"},
		{SoDebug, "SO_DEBUG"}, {SoReuseaddr, "SO_REUSEADDR"}, {SoBroadcast, "SO_BROADCAST"}, {SoPriority, "SO_PRIORITY"},
		{SoLinger, "SO_LINGER"}, {SoPeercred, "SO_PEERCRED"}, {SoTimestamp, "SO_TIMESTAMP"}, {SoMark, "SO_MARK"},
		{SoLockFilter, "SO_LOCK_FILTER"}}
)

// ControlTypes name the types of messages that every protocol has, RouteTypes those of NETLINK_ROUTE.
var (
	ControlTypes = Names{{NLMsgNoop, "NLMSG_NOOP"}, {NLMsgError, "NLMSG_ERROR"}, {NLMsgDone, "NLMSG_DONE"},
		{NLMsgOverrun, "NLMSG_OVERRUN"}}
	RouteTypes = Names{{RTMNewlink, "RTM_NEWLINK"}, {RTMDellink, "RTM_DELLINK"}, {RTMGetlink, "RTM_GETLINK"},
		{RTMNewaddr, "RTM_NEWADDR"}, {RTMDeladdr, "RTM_DELADDR"}, {RTMGetaddr, "RTM_GETADDR"},
		{RTMNewroute, "RTM_NEWROUTE"}, {RTMDelroute, "RTM_DELROUTE"}, {RTMGetroute, "RTM_GETROUTE"},
		{RTMNewneigh, "RTM_NEWNEIGH"}, {RTMDelneigh, "RTM_DELNEIGH"}, {RTMGetneigh, "RTM_GETNEIGH"},
		{RTMNewrule, "RTM_NEWRULE"}, {RTMDelrule, "RTM_DELRULE"}, {RTMGetrule, "RTM_GETRULE"}}
)

// MessageFlags name the flags of a message header. Four of the bits mean something else in requests that make something:
// MakeFlags.
var (
	MessageFlags = Names{{NLMFRequest, "NLM_F_REQUEST"}, {NLMFMulti, "NLM_F_MULTI"}, {NLMFAck, "NLM_F_ACK"},
		{NLMFEcho, "NLM_F_ECHO"}, {NLMFDumpIntr, "NLM_F_DUMP_INTR"}, {NLMFDumpFiltered, "NLM_F_DUMP_FILTERED"},
		{NLMFDump, "NLM_F_DUMP"}, {NLMFRoot, "NLM_F_ROOT"}, {NLMFMatch, "NLM_F_MATCH"}, {NLMFAtomic, "NLM_F_ATOMIC"}}
	MakeFlags = Names{{NLMFReplace, "NLM_F_REPLACE"}, {NLMFExcl, "NLM_F_EXCL"}, {NLMFCreate, "NLM_F_CREATE"},
		{NLMFAppend, "NLM_F_APPEND"}}
)

// FrameStates name the states of a frame, without NL_MMAP_STATUS_.
var FrameStates = Names{{NLMMapStatusUnused, "UNUSED"}, {NLMMapStatusReserved, "RESERVED"}, {NLMMapStatusValid, "VALID"},
	{NLMMapStatusCopy, "COPY"}, {NLMMapStatusSkip, "SKIP"}}

// StatusName returns the name of a frame state, or its number where it has none.
func StatusName(status uint32) string { return FrameStates.Of(int(status)) }

// MsgFlags name the flags of send and receive calls, MapFlags and Protections the arguments of mmap(2), Advices those
// of madvise(2), CloneFlags those of clone(2), PollEvents those of poll(2), in the order in which people list them.
var (
	MsgFlags = Names{{MsgOOB, "MSG_OOB"}, {MsgPeek, "MSG_PEEK"}, {MsgCtrunc, "MSG_CTRUNC"}, {MsgTrunc, "MSG_TRUNC"},
		{MsgDontwait, "MSG_DONTWAIT"}}
	MapFlags    = Names{{MapShared, "MAP_SHARED"}, {MapPrivate, "MAP_PRIVATE"}, {MapFixed, "MAP_FIXED"}}
	Protections = Names{{ProtRead, "PROT_READ"}, {ProtWrite, "PROT_WRITE"}}
	Advices     = Names{{MadvDontneed, "MADV_DONTNEED"}, {MadvDontfork, "MADV_DONTFORK"}, {MadvDofork, "MADV_DOFORK"}}
	CloneFlags  = Names{{CloneVM, "CLONE_VM"}, {CloneFiles, "CLONE_FILES"}, {CloneThread, "CLONE_THREAD"}}
	PollEvents  = Names{{PollIn, "POLLIN"}, {PollOut, "POLLOUT"}, {PollErr, "POLLERR"}, {PollHup, "POLLHUP"},
		{PollNval, "POLLNVAL"}, {PollPri, "POLLPRI"}, {PollRdnorm, "POLLRDNORM"}, {PollRdband, "POLLRDBAND"},
		{PollWrnorm, "POLLWRNORM"}, {PollWrband, "POLLWRBAND"}}
)
