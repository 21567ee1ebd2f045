package kernel_test

import (
	"fmt"
	"strings"
	"testing"

	"nlmmap/kernel"
	"nlmmap/sys"
	"nlmmap/uapi"
)

// TestCallsAsStraceWritesThem has one line for each system call, and for each kind of result.
func TestCallsAsStraceWritesThem(t *testing.T) {
	segment := []kernel.Iovec{kernel.Iov([]byte("abcd"))}
	fds := []kernel.PollFD{{FD: 3, Events: uapi.PollIn, Revents: uapi.PollIn}, {FD: 4, Events: uapi.PollOut}}
	address := uapi.SockaddrNL{Family: uapi.AFNetlink, Pid: 7}.Bytes()
	for _, c := range []struct {
		call kernel.Call
		want string
	}{
		{kernel.ForkCall{}, "fork()"},
		{kernel.CloneCall{Flags: sys.SharedAll}, "clone(CLONE_VM|CLONE_FILES|CLONE_THREAD)"},
		{kernel.CapsetCall{Capability: uapi.CapNetAdmin}, "capset(12)"},
		{kernel.SeteuidCall{UID: 5}, "seteuid(5)"},
		{kernel.CloseCall{FD: 3}, "close(3)"},
		{kernel.DupCall{FD: 3}, "dup(3)"},
		{kernel.FstatCall{FD: 3}, "fstat(3)"},
		{kernel.SocketCall{Domain: uapi.AFNetlink, Type: uapi.SockRaw, Protocol: 77}, "socket(AF_NETLINK, SOCK_RAW, 77)"},
		{kernel.BindCall{FD: 3, Addr: address}, "bind(3, {sa_family=AF_NETLINK, nl_pid=7, nl_groups=00000000}, 12)"},
		{kernel.ConnectCall{FD: 3}, "connect(3, {sa_family=AF_UNSPEC, nl_pid=0, nl_groups=00000000}, 0)"},
		{kernel.GetsocknameCall{FD: 3}, "getsockname(3)"},
		{kernel.GetpeernameCall{FD: 3}, "getpeername(3)"},
		{kernel.SendmsgCall{FD: 3, Msg: &kernel.Msghdr{Iov: segment}, Flags: uapi.MsgDontwait},
			`sendmsg(3, {msg_name=NULL, msg_iov=[{iov_base="abcd", iov_len=4}]}, MSG_DONTWAIT)`},
		{kernel.RecvmsgCall{FD: 3, Msg: &kernel.Msghdr{Iov: segment, Flags: uapi.MsgTrunc}},
			`recvmsg(3, {msg_name=NULL, msg_iov=[{iov_base="ab", iov_len=4}], msg_flags=MSG_TRUNC}, 0x0)`},
		{kernel.SetsockoptCall{FD: 3, Level: uapi.SolNetlink, Option: uapi.NetlinkAddMembership, Value: []byte{5, 0, 0, 0}},
			"setsockopt(3, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, [5], 4)"},
		{kernel.GetsockoptCall{FD: 3, Level: uapi.SolSocket, Option: uapi.SoError, Len: 4}, "getsockopt(3, SOL_SOCKET, SO_ERROR, 4)"},
		{kernel.SocketpairCall{Domain: uapi.AFUnix, Type: uapi.SockDgram}, "socketpair(AF_UNIX, SOCK_DGRAM)"},
		{kernel.SendFDCall{Over: 3}, "sendmsg(3, {SCM_RIGHTS})"},
		{kernel.RecvFDCall{Over: 3}, "recvmsg(3, {SCM_RIGHTS})"},
		{kernel.MunmapCall{Addr: 0x1000, Length: 4096}, "munmap(0x1000, 4096)"},
		{kernel.MprotectCall{Addr: 0x1000, Length: 4096}, "mprotect(0x1000, 4096, PROT_NONE)"},
		{kernel.MadviseCall{Addr: 0x1000, Length: 4096, Advice: uapi.MadvDontneed}, "madvise(0x1000, 4096, MADV_DONTNEED)"},
		{kernel.PollCall{FDs: fds, Timeout: 20 * kernel.Millisecond},
			"poll([{fd=3, events=POLLIN, revents=POLLIN}, {fd=4, events=POLLOUT}], 2, 20)"},
		{kernel.SelectCall{FDs: fds[1:], Timeout: -1}, "select([{fd=4, events=POLLOUT}], -1)"},
		{kernel.EpollCreateCall{}, "epoll_create1(0)"},
		{kernel.EpollCtlCall{EpFD: 4, Op: kernel.EpollAdd, FD: 3, Events: uapi.PollIn}, "epoll_ctl(4, EPOLL_CTL_ADD, 3, POLLIN)"},
		{kernel.EpollWaitCall{EpFD: 4, Limit: 8, Timeout: 0}, "epoll_wait(4, 8, 0)"},
	} {
		if got := (kernel.SyscallEvent{Call: c.call, Done: true, N: 2}).String(); got != c.want+" = 2" {
			t.Errorf("%s\nwant %s = 2", got, c.want)
		}
	}
	for _, c := range []struct {
		event kernel.SyscallEvent
		want  string
	}{
		{kernel.SyscallEvent{Call: kernel.CloseCall{FD: 3}}, "close(3)"},
		{kernel.SyscallEvent{Call: kernel.CloseCall{FD: 3}, Done: true, Err: kernel.EBADF}, "close(3) = -1 EBADF (bad file descriptor)"},
		{kernel.SyscallEvent{Call: kernel.CloseCall{FD: 3}, Done: true, Err: kernel.Errorf(kernel.EBADF, "why")}, "close(3) = -1 EBADF (why)"},
		{kernel.SyscallEvent{Call: kernel.CloseCall{FD: 3}, Done: true, Err: kernel.ErrKilled}, "close(3) = ? (the process was killed)"},
		{kernel.SyscallEvent{Call: kernel.MmapCall{Length: 4096, Prot: 3, Flags: uapi.MapPrivate, FD: 3}, Done: true},
			"mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE, 3, 0) = 0x..."},
		{kernel.SyscallEvent{Call: kernel.MremapCall{Addr: 0x1000, OldLength: 4096, NewLength: 8192}, Done: true},
			"mremap(0x1000, 4096, 8192) = 0x..."},
	} {
		if got := c.event.String(); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}

// TestBadSegments: what a program says of its buffers need not be true.
func TestBadSegments(t *testing.T) {
	for _, n := range []int{-1, 5, 1 << 40} {
		msg := &kernel.Msghdr{Iov: []kernel.Iovec{{Base: make([]byte, 4), Len: n}}}
		for _, call := range []kernel.Call{kernel.SendmsgCall{Msg: msg}, kernel.RecvmsgCall{Msg: msg}} {
			text := kernel.SyscallEvent{Call: call, N: 100, Done: true}.String()
			if !strings.Contains(text, fmt.Sprintf("iov_len=%d}", n)) {
				t.Error(text)
			}
		}
	}
}

// TestCallsCostNothingUnwatched: a system call is described only to who listens.
func TestCallsCostNothingUnwatched(t *testing.T) {
	for _, watched := range []bool{false, true} {
		events := 0
		cfg := kernel.Config{}
		if watched {
			cfg.Trace = func(kernel.Record) { events++ }
		}
		k, err := kernel.Boot(cfg)
		if err != nil {
			t.Fatal(err)
		}
		p := k.NewProcess("main", k.InitNet())
		allocs := testing.AllocsPerRun(100, func() { _ = p.Close(-1) })
		if watched != (events > 0) || watched != (allocs > 0) {
			t.Errorf("watched %v: %v allocations for a call, %d events", watched, allocs, events)
		}
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	}
}
