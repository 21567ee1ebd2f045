package trace_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/trace"
	"nlmmap/uapi"
)

// run makes a few calls on a machine whose records go to record.
func run(record func(kernel.Record)) error {
	k, err := kernel.Boot(kernel.Config{Version: kernel.Version{Release: kernel.Linux4_4}, Trace: record})
	if err != nil {
		return err
	}
	nl, err := afnetlink.Register(k)
	if err != nil {
		return err
	}
	nl.KernelCreate(uapi.NetlinkUsersock, afnetlink.KernelCfg{Input: func(cur *kernel.Task, m *afnetlink.Message) {
		afnetlink.RcvSKB(cur, m, func(*kernel.Task, *afnetlink.Message, afnetlink.Msg, uapi.NLMsgHdr) error { return kernel.EEXIST })
	}})
	p := k.NewProcess("main", k.InitNet())
	fd, err := p.Socket(uapi.AFNetlink, uapi.SockRaw, uapi.NetlinkUsersock)
	if err != nil {
		return err
	}
	req := uapi.NLMMapReq{BlockSize: 4096, BlockNr: 1, FrameSize: 2048, FrameNr: 2}
	_ = p.Setsockopt(fd, uapi.SolNetlink, uapi.NetlinkRxRing, req.Bytes())
	_, _ = p.Mmap(0, 4096, uapi.ProtRead|uapi.ProtWrite, uapi.MapShared, fd, 0)
	_ = p.Bind(fd, uapi.SockaddrNL{Family: uapi.AFNetlink, Pid: 1}.Bytes())
	msg := make([]byte, uapi.NLMsgHdrlen)
	uapi.NLMsgHdr{Len: 16, Type: uapi.RTMGetlink, Flags: uapi.NLMFRequest, Seq: 7}.Put(msg)
	_, _ = p.Sendto(fd, msg, 0, uapi.SockaddrNL{Family: uapi.AFNetlink}.Bytes())
	_, _ = p.Recvmsg(fd, &kernel.Msghdr{Iov: []kernel.Iovec{kernel.Iov(make([]byte, 100))}}, uapi.MsgDontwait)
	return k.Close()
}

// What a machine does, as a log.
func Example() {
	p := trace.Printer{W: os.Stdout}
	if err := run(p.Record); err != nil {
		fmt.Println(err)
	}
	// Output:
	// 0.000000s main     socket(AF_NETLINK, SOCK_RAW, NETLINK_USERSOCK) = 3
	// 0.000000s main     setsockopt(3, SOL_NETLINK, NETLINK_RX_RING, {nm_block_size=4096, nm_block_nr=1, nm_frame_size=2048, nm_frame_nr=2}, 16) = 0
	// 0.000000s main     mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 3, 0) = 0x...
	// 0.000000s main     bind(3, {sa_family=AF_NETLINK, nl_pid=1, nl_groups=00000000}, 12) = 0
	// 0.000000s main     sendmsg(3, {msg_name={sa_family=AF_NETLINK, nl_pid=0, nl_groups=00000000}, msg_iov=[{iov_base=[{nlmsg_len=16, nlmsg_type=RTM_GETLINK, nlmsg_flags=0x1, nlmsg_seq=7, nlmsg_pid=0}], iov_len=16}]}, 0x0) = 16
	// 0.000000s main         claim rx[0] of portid 1
	// 0.000000s main         rx[0] UNUSED->RESERVED len=0
	// 0.000000s main         publish rx[0] of portid 1 as VALID
	// 0.000000s main         rx[0] RESERVED->VALID len=36
	// 0.000000s main     recvmsg(3, {msg_name=NULL, msg_iov=[{iov_base="", iov_len=100}], msg_flags=0x0}, MSG_DONTWAIT) = -1 EAGAIN (resource temporarily unavailable)
}

// TestLocks: locks are shown on demand, and every one that is taken is given back.
func TestLocks(t *testing.T) {
	var quiet, full strings.Builder
	a, b := trace.Printer{W: &quiet}, trace.Printer{W: &full, Locks: true}
	if err := run(func(r kernel.Record) { a.Record(r); b.Record(r) }); err != nil {
		t.Fatal(err)
	}
	locks, unlocks := strings.Count(full.String(), " lock "), strings.Count(full.String(), " unlock ")
	if strings.Contains(quiet.String(), "lock ") || locks == 0 || locks != unlocks {
		t.Errorf("%d locks, %d unlocks:\n%s", locks, unlocks, quiet.String())
	}
	for _, line := range strings.Split(strings.TrimSpace(quiet.String()), "\n") {
		if !strings.Contains(full.String(), line) {
			t.Errorf("only without locks: %s", line)
		}
	}
}
