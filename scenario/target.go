package scenario

import "errors"

// A Target is a machine that scenarios run on: the simulator or the live kernel. One Target serves one scenario.
type Target interface {
	// Main returns the task that exists from the start.
	Main() Task
	// Sleep lets the given time pass.
	Sleep(ms int) error
	// PopulateNeigh and PopulateRoute are what the administrator does: count permanent IPv4 neighbours, or count
	// link-scope routes, on a dummy device made for it.
	PopulateNeigh(count int) error
	PopulateRoute(count int) error
	// NFQueueRule, NFLogRule and FlushRules change the rules for UDP packets to port 9 on the output path.
	NFQueueRule(num int, bypass bool) error
	NFLogRule(group, threshold int) error
	FlushRules() error
	// Packet sends UDP datagrams from 127.0.0.1:4000 to 127.0.0.1:9.
	Packet(p Datagrams) (sent, failed int, err error)
	// Tap makes an nlmon device with a packet socket on it.
	Tap() (Tap, error)
	// Netlink returns the text of /proc/net/netlink as the main task reads it.
	Netlink() (string, error)
	// Close ends all tasks. On the simulator its error tells what leaked.
	Close() error
}

// Datagrams are what Target.Packet sends.
type Datagrams struct {
	Count int
	Size  int // of the payload
	// What follows only a driver can do, so it exists on the simulator only.
	Fragmented bool // only Linear bytes of a packet, headers included, lie in one piece, the rest in page fragments
	Linear     int
	Stamped    bool // the packets have a time stamp
	Received   bool // they seem to have come in over lo
}

// A Tap is a packet socket on an nlmon device.
type Tap interface {
	// Read returns the next packet, or false when there is none.
	Read() (Packet, bool, error)
}

// A Packet is what a Tap reads.
type Packet struct {
	Type     int    // sll_pkttype: 4 outgoing, 6 to-user, 7 to-kernel
	Protocol int    // netlink protocol
	Len      int    // as MSG_TRUNC reports it
	Data     []byte // at most 4096 bytes of it
}

// A Task makes system calls and touches memory. Errors are unix.Errno values (possibly wrapped, so use errors.As);
// accesses to memory that fault return ErrSIGSEGV or ErrSIGBUS; a call that would wait for ever returns ErrBlocks.
type Task interface {
	// Tgid is the process id: pid of the task's thread group.
	Tgid() int
	// Fork makes a child process: copies of the descriptors and mappings. Thread makes a second thread, which
	// shares both and then sleeps.
	Fork(name string) (Task, error)
	Thread(name string) (Task, error)
	Exit() error
	// Capability raises or drops one effective capability (a uapi.Cap number); Seteuid sets the effective user id.
	Capability(cap int, raise bool) error
	Seteuid(uid int) error

	Socket(domain, typ, protocol int) (fd int, err error)
	Close(fd int) error
	Dup(fd int) (int, error)
	// Socketpair makes a pair of connected UNIX datagram sockets; SendFD and RecvFD pass a descriptor over it.
	Socketpair() (a, b int, err error)
	SendFD(over, fd int) error
	RecvFD(over int) (fd int, err error)

	Bind(fd int, addr []byte) error
	Connect(fd int, addr []byte) error
	Getsockname(fd int) ([]byte, error)
	// Setsockopt passes optlen = len(val). Getsockopt passes a buffer of optlen bytes and returns what was written.
	Setsockopt(fd, level, name int, val []byte) error
	Getsockopt(fd, level, name, optlen int) ([]byte, error)
	// AttachFilter attaches a classic BPF program that returns ret.
	AttachFilter(fd int, ret uint32) error
	DetachFilter(fd int) error

	// Sendmsg sends the segments of iov. A nil segment has a NULL base and length 0. A nil addr sends no address.
	Sendmsg(fd int, iov [][]byte, addr []byte, flags int) (int, error)
	// Recvmsg receives into a buffer of size bytes, with room for an address and control messages.
	Recvmsg(fd, size, flags int) (Received, error)
	// Poll waits at most timeout milliseconds, for ever if it is negative, and returns revents.
	Poll(fd, events, timeout int) (revents int, err error)
	EpollCreate() (fd int, err error)
	EpollAdd(ep, fd int, events uint32) error
	// EpollWait returns the events of the first ready descriptor, 0 if none became ready in timeout milliseconds.
	EpollWait(ep, timeout int) (events uint32, err error)

	// Mmap maps the descriptor and returns an address; prot and flags are uapi.Prot and uapi.Map values.
	Mmap(fd int, length, offset uint64, prot, flags int) (addr uint64, err error)
	Munmap(addr, length uint64) error
	Mprotect(addr, length uint64, prot int) error
	// Mremap moves the mapping to another address of the kernel's choice.
	Mremap(addr, length uint64) (newaddr uint64, err error)
	MadviseDontneed(addr, length uint64) error

	// Load32 and Store32 access one aligned word as userspace does: atomically, with acquire and release order.
	Load32(addr uint64) (uint32, error)
	Store32(addr uint64, val uint32) error
	// Read and Write copy bytes.
	Read(addr uint64, buf []byte) error
	Write(addr uint64, buf []byte) error
}

// Received is the result of Task.Recvmsg.
type Received struct {
	N       int    // the call's return value: bytes copied, or with MSG_TRUNC asked for the whole length
	Data    []byte // the bytes copied
	From    []byte // source address
	Control []byte // control messages as the kernel wrote them
	Flags   int    // msg_flags
}

// What a Task returns where no errno fits.
var (
	ErrBlocks  = errors.New("blocks")
	ErrSIGSEGV = errors.New("SIGSEGV")
	ErrSIGBUS  = errors.New("SIGBUS")
)
