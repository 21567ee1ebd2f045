package live

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"nlmmap/uapi"
)

// Release is the name of the kernel: what uname -r prints.
func Release() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// options are what scenarios may need of a kernel, by their names in its configuration, and how to find out whether they
// are there.
var options = []struct {
	name    string
	present func() bool
}{
	{"CONFIG_NETLINK_MMAP", func() bool { rings, _ := Supported(); return rings }},
	{"CONFIG_NET_NS", func() bool { return exists("/proc/self/ns/net") }},
	{"CONFIG_UNIX", func() bool { return hasSocket(unix.AF_UNIX, unix.SOCK_DGRAM, 0) }},
	{"CONFIG_PACKET", func() bool { return hasSocket(unix.AF_PACKET, unix.SOCK_RAW, 0) }},
	{"CONFIG_INET", func() bool { return hasSocket(unix.AF_INET, unix.SOCK_DGRAM, 0) }},
	{"CONFIG_IPV6", func() bool { return hasSocket(unix.AF_INET6, unix.SOCK_DGRAM, 0) }},
	{"CONFIG_EPOLL", hasEpoll},
	{"CONFIG_AUDIT", func() bool { return hasSocket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT) }},
	{"CONFIG_NETLINK_DIAG", hasNetlinkDiag},
	{"CONFIG_NETFILTER_NETLINK_QUEUE", func() bool { return exists("/proc/net/netfilter/nfnetlink_queue") }},
	{"CONFIG_NETFILTER_NETLINK_LOG", func() bool { return exists("/proc/net/netfilter/nfnetlink_log") }},
	{"CONFIG_IP_NF_IPTABLES", func() bool { return exists("/proc/net/ip_tables_names") }},
	{"CONFIG_IP_NF_FILTER", func() bool { return listed("/proc/net/ip_tables_names", "filter") }},
	{"CONFIG_NETFILTER_XT_TARGET_NFQUEUE", func() bool { return listed("/proc/net/ip_tables_targets", "NFQUEUE") }},
	{"CONFIG_NETFILTER_XT_TARGET_NFLOG", func() bool { return listed("/proc/net/ip_tables_targets", "NFLOG") }},
	{"CONFIG_DUMMY", func() bool { return hasLink("dummy") }},
	{"CONFIG_NLMON", func() bool { return hasLink("nlmon") }},
}

// Missing lists the options that scenarios may need and that this kernel lacks, or has only as modules that it cannot
// load. It needs root, and makes and removes network devices in a namespace of its own.
func Missing() []string {
	var missing []string
	for _, o := range options {
		if !o.present() {
			missing = append(missing, o.name)
		}
	}
	return missing
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// listed reports whether a file has a line that is the given word.
func listed(path, word string) bool {
	text, err := os.ReadFile(path)
	return err == nil && strings.Contains("\n"+string(text), "\n"+word+"\n")
}

func hasSocket(domain, typ, protocol int) bool {
	fd, err := unix.Socket(domain, typ|unix.SOCK_CLOEXEC, protocol)
	if err == nil {
		unix.Close(fd)
	}
	return err == nil
}

func hasEpoll() bool {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err == nil {
		unix.Close(fd)
	}
	return err == nil
}

// hasNetlinkDiag asks for the netlink sockets of the routing protocol: without a handler for the family the answer is an
// error, ENOENT.
func hasNetlinkDiag() bool {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	request := message(uapi.SockDiagByFamily, uapi.NLMFDump, netlinkDiagRequest())
	if unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}) != nil {
		return false
	}
	answer := make([]byte, 8192)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	return err == nil && n >= uapi.NLMsgHdrlen && uapi.ParseNLMsgHdr(answer).Type != uapi.NLMsgError
}

// netlinkDiagRequest is struct netlink_diag_req.
func netlinkDiagRequest() []byte {
	b := make([]byte, 20)
	b[0], b[1] = unix.AF_NETLINK, unix.NETLINK_ROUTE
	return b
}

// hasLink makes a device of a kind and removes it again. That the kernel does not let us says nothing.
func hasLink(kind string) bool {
	tr, err := newTracer(false)
	if err != nil {
		return true
	}
	defer tr.stop()
	err = tr.do(func() error {
		var a admin
		if _, err := a.addLink("probe", kind); err != nil {
			return err
		}
		return a.close()
	})
	return !errors.Is(err, unix.EOPNOTSUPP)
}
