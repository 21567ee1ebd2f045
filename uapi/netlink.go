// Package uapi holds the numbers and layouts that userspace and the kernel share, and the views of them: walks over
// messages and attributes, the geometry of rings, the headers as structures, the names of the numbers. Nothing here
// behaves.
//
// Everything is as on x86-64: integers are little-endian unless a name says BE, sizes are in bytes. The values are
// those of spec section 1; names follow the kernel's headers.
package uapi

import "encoding/binary"

// PageSize is the page size of the modelled machines, in bytes.
const PageSize = 4096

// AFNetlink is the address family and SolNetlink the socket option level of netlink.
const (
	AFUnspec   = 0
	AFUnix     = 1
	AFInet     = 2
	AFInet6    = 10
	AFNetlink  = 16
	AFPacket   = 17
	SolSocket  = 1
	SolNetlink = 270
)

// Socket types.
const (
	SockStream = 1
	SockDgram  = 2
	SockRaw    = 3
)

// Netlink protocols, the third argument of socket(2).
const (
	NetlinkRoute         = 0
	NetlinkUsersock      = 2
	NetlinkSockDiag      = 4
	NetlinkNFLog         = 5
	NetlinkXFRM          = 6
	NetlinkSELinux       = 7
	NetlinkISCSI         = 8
	NetlinkAudit         = 9
	NetlinkFIBLookup     = 10
	NetlinkConnector     = 11
	NetlinkNetfilter     = 12
	NetlinkKobjectUevent = 15
	NetlinkGeneric       = 16
	NetlinkSCSITransport = 18
	NetlinkCrypto        = 21
	MaxLinks             = 32
)

// Socket options at level SolNetlink.
const (
	NetlinkAddMembership   = 1
	NetlinkDropMembership  = 2
	NetlinkPktinfo         = 3
	NetlinkBroadcastError  = 4
	NetlinkNoENOBUFS       = 5
	NetlinkRxRing          = 6
	NetlinkTxRing          = 7
	NetlinkListenAllNSID   = 8
	NetlinkListMemberships = 9
	NetlinkCapAck          = 10
)

// Socket options at level SolSocket.
const (
	SoDebug        = 1
	SoReuseaddr    = 2
	SoType         = 3
	SoError        = 4
	SoDontroute    = 5
	SoBroadcast    = 6
	SoSndbuf       = 7
	SoRcvbuf       = 8
	SoKeepalive    = 9
	SoOobinline    = 10
	SoNoCheck      = 11
	SoPriority     = 12
	SoLinger       = 13
	SoBsdcompat    = 14
	SoReuseport    = 15
	SoPasscred     = 16
	SoPeercred     = 17
	SoRcvlowat     = 18
	SoSndlowat     = 19
	SoRcvtimeo     = 20
	SoSndtimeo     = 21
	SoBindtodevice = 25
	SoAttachFilter = 26
	SoDetachFilter = 27
	SoPeername     = 28
	SoTimestamp    = 29
	SoAcceptconn   = 30
	SoSndbufforce  = 32
	SoRcvbufforce  = 33
	SoPasssec      = 34
	SoTimestampns  = 35
	SoMark         = 36
	SoProtocol     = 38
	SoDomain       = 39
	SoRxqOvfl      = 40
	SoWifiStatus   = 41
	SoPeekOff      = 42
	SoNofcs        = 43
	SoLockFilter   = 44

	SoSelectErrQueue      = 45
	SoBusyPoll            = 46
	SoMaxPacingRate       = 47
	SoBPFExtensions       = 48
	SoAttachBPF           = 50
	SoAttachReuseportCBPF = 51
	SoAttachReuseportEBPF = 52
)

// Control message types.
const (
	ScmRights      = 1
	ScmCredentials = 2
)

// Flags of send and receive calls.
const (
	MsgOOB      = 0x1
	MsgPeek     = 0x2
	MsgCtrunc   = 0x8
	MsgTrunc    = 0x20
	MsgDontwait = 0x40
)

// Frame states: the first word of a frame header.
const (
	NLMMapStatusUnused   = 0
	NLMMapStatusReserved = 1
	NLMMapStatusValid    = 2
	NLMMapStatusCopy     = 3
	NLMMapStatusSkip     = 4
)

// Offsets of the words of a frame header (struct nl_mmap_hdr), and its size: the message of a frame starts NLMMapHdrlen
// bytes after the start of the frame.
const (
	NMStatus     = 0
	NMLen        = 4
	NMGroup      = 8
	NMPid        = 12
	NMUID        = 16
	NMGID        = 20
	NLMMapHdrlen = 24
	// NLMMapMsgAlignment is what a frame size must be a multiple of.
	NLMMapMsgAlignment = 4
)

// Message types below NLMsgMinType are control messages.
const (
	NLMsgNoop    = 1
	NLMsgError   = 2
	NLMsgDone    = 3
	NLMsgOverrun = 4
	NLMsgMinType = 16
)

// Flags of a message header.
const (
	NLMFRequest      = 0x1
	NLMFMulti        = 0x2
	NLMFAck          = 0x4
	NLMFEcho         = 0x8
	NLMFDumpIntr     = 0x10
	NLMFDumpFiltered = 0x20
	NLMFRoot         = 0x100
	NLMFMatch        = 0x200
	NLMFAtomic       = 0x400
	NLMFDump         = NLMFRoot | NLMFMatch
	NLMFReplace      = 0x100
	NLMFExcl         = 0x200
	NLMFCreate       = 0x400
	NLMFAppend       = 0x800
)

// Sizes of the fixed headers.
const (
	NLMsgHdrlen     = 16
	NLMsgErrlen     = 20
	NLAHdrlen       = 4
	NFGenMsglen     = 4
	GENLHdrlen      = 4
	SockaddrNLlen   = 12
	NLMMapReqlen    = 16
	NLPktinfolen    = 4
	UcredLen        = 12
	CmsgHdrlen      = 16
	NLMsgGoodsize   = 3776
	NLMsgDefaultLen = NLMsgGoodsize - NLMsgHdrlen
)

// NLMsgAlign rounds n up to the alignment of messages, 4.
func NLMsgAlign(n int) int { return (n + 3) &^ 3 }

// NLMsgTotalSize is what a message with n bytes of payload occupies.
func NLMsgTotalSize(n int) int { return NLMsgAlign(NLMsgHdrlen + n) }

// NLATotalSize is what an attribute with n bytes of payload occupies.
func NLATotalSize(n int) int { return NLMsgAlign(NLAHdrlen + n) }

// NLMsgHdr is struct nlmsghdr.
type NLMsgHdr struct {
	Len   uint32
	Type  uint16
	Flags uint16
	Seq   uint32
	Pid   uint32
}

// Put writes h into the first 16 bytes of b.
func (h NLMsgHdr) Put(b []byte) {
	le := binary.LittleEndian
	le.PutUint32(b, h.Len)
	le.PutUint16(b[4:], h.Type)
	le.PutUint16(b[6:], h.Flags)
	le.PutUint32(b[8:], h.Seq)
	le.PutUint32(b[12:], h.Pid)
}

// ParseNLMsgHdr reads a header from the first 16 bytes of b.
func ParseNLMsgHdr(b []byte) NLMsgHdr {
	le := binary.LittleEndian
	return NLMsgHdr{le.Uint32(b), le.Uint16(b[4:]), le.Uint16(b[6:]), le.Uint32(b[8:]), le.Uint32(b[12:])}
}

// NLMMapReq is struct nl_mmap_req, the argument of NetlinkRxRing and NetlinkTxRing.
type NLMMapReq struct {
	BlockSize, BlockNr, FrameSize, FrameNr uint32
}

// Bytes returns the request as setsockopt takes it.
func (r NLMMapReq) Bytes() []byte {
	b := make([]byte, NLMMapReqlen)
	le := binary.LittleEndian
	le.PutUint32(b, r.BlockSize)
	le.PutUint32(b[4:], r.BlockNr)
	le.PutUint32(b[8:], r.FrameSize)
	le.PutUint32(b[12:], r.FrameNr)
	return b
}

// ParseNLMMapReq reads a request from the first 16 bytes of b.
func ParseNLMMapReq(b []byte) NLMMapReq {
	le := binary.LittleEndian
	return NLMMapReq{le.Uint32(b), le.Uint32(b[4:]), le.Uint32(b[8:]), le.Uint32(b[12:])}
}

// SockaddrNL is struct sockaddr_nl.
type SockaddrNL struct {
	Family uint16
	Pid    uint32
	Groups uint32
}

// Bytes returns the address as bind, connect and sendto take it.
func (a SockaddrNL) Bytes() []byte { return a.Append(make([]byte, 0, SockaddrNLlen)) }

// Append appends the address to b.
func (a SockaddrNL) Append(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, uint32(a.Family)) // and two bytes of padding
	b = le.AppendUint32(b, a.Pid)
	return le.AppendUint32(b, a.Groups)
}

// ParseSockaddrNL reads an address; bytes that a short one lacks count as zero.
func ParseSockaddrNL(b []byte) SockaddrNL {
	var full [SockaddrNLlen]byte
	copy(full[:], b)
	le := binary.LittleEndian
	return SockaddrNL{le.Uint16(full[:]), le.Uint32(full[4:]), le.Uint32(full[8:])}
}

// poll(2) events.
const (
	PollIn     = 0x1
	PollPri    = 0x2
	PollOut    = 0x4
	PollErr    = 0x8
	PollHup    = 0x10
	PollNval   = 0x20
	PollRdnorm = 0x40
	PollRdband = 0x80
	PollWrnorm = 0x100
	PollWrband = 0x200
	EpollET    = 1 << 31
)

// Protections and flags of mmap(2), and the advice of madvise(2) that matters here.
const (
	ProtNone     = 0
	ProtRead     = 1
	ProtWrite    = 2
	MapShared    = 1
	MapPrivate   = 2
	MapFixed     = 0x10
	MadvDontneed = 4
	MadvDontfork = 10
	MadvDofork   = 11
)

// What a new task shares with the one that makes it.
const (
	CloneVM     = 0x100
	CloneFiles  = 0x400
	CloneThread = 0x10000 // and everything else that threads share
)

// Capabilities.
const (
	CapSetgid       = 6
	CapSetuid       = 7
	CapNetBroadcast = 11
	CapNetAdmin     = 12
	CapSysAdmin     = 21
	CapAuditControl = 30
	CapAuditRead    = 37
)
