package uapi_test

import (
	"fmt"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"nlmmap/uapi"
)

// TestNumbersAgainstUnix compares with the numbers that the standard packages have.
func TestNumbersAgainstUnix(t *testing.T) {
	for name, pair := range map[string][2]int{
		"AF_NETLINK": {uapi.AFNetlink, unix.AF_NETLINK}, "SOL_NETLINK": {uapi.SolNetlink, unix.SOL_NETLINK},
		"NETLINK_RX_RING": {uapi.NetlinkRxRing, unix.NETLINK_RX_RING}, "NETLINK_TX_RING": {uapi.NetlinkTxRing, unix.NETLINK_TX_RING},
		"NETLINK_NO_ENOBUFS": {uapi.NetlinkNoENOBUFS, unix.NETLINK_NO_ENOBUFS}, "NETLINK_CAP_ACK": {uapi.NetlinkCapAck, unix.NETLINK_CAP_ACK},
		"NETLINK_LIST_MEMBERSHIPS": {uapi.NetlinkListMemberships, unix.NETLINK_LIST_MEMBERSHIPS},
		"SO_ATTACH_FILTER":         {uapi.SoAttachFilter, unix.SO_ATTACH_FILTER}, "SO_PASSCRED": {uapi.SoPasscred, unix.SO_PASSCRED},
		"SO_RCVTIMEO": {uapi.SoRcvtimeo, unix.SO_RCVTIMEO}, "SCM_CREDENTIALS": {uapi.ScmCredentials, unix.SCM_CREDENTIALS},
		"NLMSG_DONE": {uapi.NLMsgDone, unix.NLMSG_DONE}, "NLM_F_DUMP": {uapi.NLMFDump, unix.NLM_F_DUMP},
		"NLM_F_DUMP_INTR": {uapi.NLMFDumpIntr, unix.NLM_F_DUMP_INTR}, "RTM_GETRULE": {uapi.RTMGetrule, unix.RTM_GETRULE},
		"MADV_DONTFORK": {uapi.MadvDontfork, unix.MADV_DONTFORK}, "MADV_DOFORK": {uapi.MadvDofork, unix.MADV_DOFORK},
		"MADV_DONTNEED": {uapi.MadvDontneed, unix.MADV_DONTNEED}, "MAP_FIXED": {uapi.MapFixed, unix.MAP_FIXED},
		"CAP_AUDIT_READ": {uapi.CapAuditRead, unix.CAP_AUDIT_READ}, "CAP_NET_ADMIN": {uapi.CapNetAdmin, unix.CAP_NET_ADMIN},
		"NETLINK_CRYPTO": {uapi.NetlinkCrypto, unix.NETLINK_CRYPTO}, "NETLINK_KOBJECT_UEVENT": {uapi.NetlinkKobjectUevent, unix.NETLINK_KOBJECT_UEVENT},
		"sizeof(nlmsghdr)": {uapi.NLMsgHdrlen, unix.SizeofNlMsghdr}, "sizeof(sockaddr_nl)": {uapi.SockaddrNLlen, unix.SizeofSockaddrNetlink},
		"sizeof(ucred)": {uapi.UcredLen, unix.SizeofUcred}, "sizeof(cmsghdr)": {uapi.CmsgHdrlen, unix.SizeofCmsghdr},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s is %d, want %d", name, pair[0], pair[1])
		}
	}
}

// TestLayouts writes structures and reads them as the C structures they are.
func TestLayouts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := rapid.Make[uapi.NLMsgHdr]().Draw(t, "header")
		var buf [uapi.NLMsgHdrlen]byte
		h.Put(buf[:])
		if c := *(*unix.NlMsghdr)(unsafe.Pointer(&buf)); c != unix.NlMsghdr(h) || uapi.ParseNLMsgHdr(buf[:]) != h {
			t.Fatalf("%+v is laid out as %+v", h, c)
		}
		a := rapid.Make[uapi.SockaddrNL]().Draw(t, "address")
		raw := (*unix.RawSockaddrNetlink)(unsafe.Pointer(&a.Bytes()[0]))
		if raw.Family != a.Family || raw.Pid != a.Pid || raw.Groups != a.Groups || uapi.ParseSockaddrNL(a.Bytes()) != a {
			t.Fatalf("%+v is laid out as %+v", a, *raw)
		}
		n := rapid.IntRange(0, 12).Draw(t, "short")
		cut := append(a.Bytes()[:n:n], make([]byte, 12-n)...)
		if diff := cmp.Diff(uapi.ParseSockaddrNL(cut), uapi.ParseSockaddrNL(a.Bytes()[:n])); diff != "" {
			t.Fatalf("%d bytes of an address (-with zeros +without):\n%s", n, diff)
		}
		r := rapid.Make[uapi.NLMMapReq]().Draw(t, "request")
		if uapi.ParseNLMMapReq(r.Bytes()) != r || len(r.Bytes()) != uapi.NLMMapReqlen {
			t.Fatalf("%+v", r)
		}
		v := rapid.IntRange(0, 1<<20).Draw(t, "length")
		up := v
		for up%4 != 0 {
			up++
		}
		if uapi.NLMsgAlign(v) != up || uapi.NLMsgTotalSize(v) != up+16 || uapi.NLATotalSize(v) != up+4 {
			t.Fatalf("%d is aligned to %d", v, uapi.NLMsgAlign(v))
		}
	})
}

func Example() {
	req := uapi.NLMMapReq{BlockSize: 16384, BlockNr: 4, FrameSize: 4096, FrameNr: 16}
	fmt.Printf("%x\n", req.Bytes())
	fmt.Println(uapi.StatusName(uapi.NLMMapStatusCopy), uapi.StatusName(77))
	// Output:
	// 00400000040000000010000010000000
	// COPY 77
}
