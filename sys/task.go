// Package sys is what a program knows of a kernel: the system calls that it can make, its memory and the time.
//
// A Task is a process or a thread that somebody drives. The model's kernel implements it (kernel.Task), and so does the
// kernel underneath (package scenario/live), with the same arguments and the same errors. What is written over a Task
// runs on both: the library of package userspace, the steps of scenarios, the programs of package explore. None of
// them can reach what lies behind the calls.
//
// Errors are errnos, possibly wrapped with an explanation: compare with errors.Is, or take them out with ErrnoOf. Every
// call can report beside its own errors:
//
//   - ErrBlocks, when it would wait for ever and nobody is there who could end that
//   - ErrKilled, when the kernel ended the process in the middle of it
//   - ESRCH, when the task has exited
package sys

import "nlmmap/uapi"

// A Task is a process or a thread. One goroutine uses it at a time.
type Task interface {
	// Tgid is the process id, which threads of a process share: getpid(2).
	Tgid() int
	// Clone makes a task with a copy of the descriptors and of the memory, or shares them: clone(2). flags is 0 for a
	// child process, uapi.CloneVM for one that shares memory only, or SharedAll for a thread; EINVAL for others. The
	// new task does nothing until somebody drives it. The name is for people.
	Clone(name string, flags int) (Task, error)
	// ExitGroup ends the process with all its threads: exit_group(2). The kernel has no error for it.
	ExitGroup() error
	// SetCapability raises or drops one effective capability, a uapi.Cap number: capset(2). EPERM for one that is not
	// permitted, EINVAL for one that does not exist.
	SetCapability(capability int, raise bool) error
	// Seteuid sets the effective user id: setresuid(-1, uid, -1). EPERM for an id of others without CAP_SETUID.
	Seteuid(uid uint32) error

	// Socket makes a socket: EAFNOSUPPORT, ESOCKTNOSUPPORT and EPROTONOSUPPORT for what does not exist, EMFILE.
	Socket(domain, typ, protocol int) (fd int, err error)
	// Close closes a descriptor; EBADF when it is not open. All calls below report that too.
	Close(fd int) error
	// Dup makes a second descriptor of the same file. EMFILE.
	Dup(fd int) (int, error)
	// Socketpair makes two connected UNIX datagram sockets. SendFD sends a descriptor over one, RecvFD receives it on
	// the other, and neither waits: EAGAIN when nothing is there; ECONNREFUSED, then ENOTCONN, when the other end is
	// closed.
	Socketpair() (a, b int, err error)
	SendFD(over, fd int) error
	RecvFD(over int) (fd int, err error)

	// Bind gives a socket an address, Connect a peer. ENOTSOCK, EINVAL for an address that is none, EADDRINUSE, EPERM,
	// ECONNREFUSED.
	Bind(fd int, addr []byte) error
	Connect(fd int, addr []byte) error
	// Getsockname returns the socket's own address, Getpeername that of its peer.
	Getsockname(fd int) ([]byte, error)
	Getpeername(fd int) ([]byte, error)
	// Setsockopt sets an option to the bytes of val: ENOPROTOOPT, EINVAL for a value that is too short or not valid,
	// EPERM. An option whose value is a pointer is passed what it points to: uapi.SoAttachFilter takes the instructions
	// of a classic BPF program, 8 bytes each.
	Setsockopt(fd, level, name int, val []byte) error
	// Getsockopt returns at most optlen bytes of an option: ENOPROTOOPT, EINVAL for a length that is too small.
	Getsockopt(fd, level, name, optlen int) ([]byte, error)

	// Sendmsg sends a message and returns how many bytes were sent. A message that is one NULL segment of no bytes
	// lets a netlink socket with a TX ring send that: see the package userspace. EFAULT for memory that does not
	// exist, EMSGSIZE, ECONNREFUSED, EAGAIN, ENOBUFS, EINTR.
	Sendmsg(fd int, m *Msghdr, flags int) (int, error)
	// Recvmsg receives a message into m's segments and returns how many bytes it has. EAGAIN with uapi.MsgDontwait when
	// there is none, ENOBUFS when messages were lost, EINTR, EFAULT.
	Recvmsg(fd int, m *Msghdr, flags int) (int, error)

	// Inode is the number of the file that a descriptor stands for (fstat), by which /proc names sockets. EBADF.
	Inode(fd int) (uint64, error)

	// Poll fills in Revents and returns how many descriptors have some. It waits at most timeout for the first: not at
	// all when it is 0, for ever when it is negative. With no descriptors it sleeps. EINTR.
	Poll(fds []PollFD, timeout Time) (int, error)
	// EpollCreate makes an epoll descriptor. EpollCtl adds, changes or removes a descriptor that it watches: EEXIST,
	// ENOENT, EINVAL and ELOOP when it would watch itself.
	EpollCreate() (fd int, err error)
	EpollCtl(epfd, op, fd int, events uint32) error
	// EpollWait returns the events of at most limit descriptors, waiting for the first as Poll does. EINTR, EINVAL.
	EpollWait(epfd, limit int, timeout Time) ([]EpollEvent, error)

	// Mmap maps a file at an address of the kernel's choice (addr 0) and returns that: EINVAL, ENODEV for a file that
	// cannot be mapped, ENOMEM.
	Mmap(addr, length uint64, prot, flags, fd int, offset uint64) (uint64, error)
	// Munmap removes the pages of a range from the memory. EINVAL for a range that cannot exist.
	Munmap(addr, length uint64) error
	// Mprotect changes what may be done with a range: ENOMEM where part of it is not mapped.
	Mprotect(addr, length uint64, prot int) error
	// Mremap changes the size of a mapping, or moves it: to newaddr when fixed is set; without it, when move is set, to
	// a place of the kernel's choice that is always another one. EFAULT for a range that is not in one mapping.
	Mremap(addr, oldlen, newlen uint64, move, fixed bool, newaddr uint64) (uint64, error)
	// Madvise says what will be done with a range, uapi.MadvDontneed for example: ENOMEM where it is not mapped.
	Madvise(addr, length uint64, advice int) error

	// Load32 reads the aligned word at addr in one piece, before all accesses that follow (acquire order). Accesses to
	// memory fault with SIGSEGV where nothing is mapped or the protection forbids it, with SIGBUS where a mapping has no
	// page; the signal is the error.
	Load32(addr uint64) (uint32, error)
	// Store32 writes the aligned word at addr in one piece, after all accesses before it (release order).
	Store32(addr uint64, val uint32) error
	// ReadMem and WriteMem copy bytes, in no particular order.
	ReadMem(addr uint64, buf []byte) error
	WriteMem(addr uint64, buf []byte) error

	// Now is the time since some moment before the task began: clock_gettime(CLOCK_MONOTONIC).
	Now() Time
	// Yield lets others run: sched_yield(2). A loop that looks at memory again and again without a call that waits must
	// yield in each turn: where one task runs at a time nobody else would ever change what it waits for.
	Yield()
}

// SharedAll are the flags of Clone for a thread.
const SharedAll = uapi.CloneVM | uapi.CloneFiles | uapi.CloneThread

// Fork makes a child process.
func Fork(t Task, name string) (Task, error) { return t.Clone(name, 0) }

// Thread makes a second thread of the process.
func Thread(t Task, name string) (Task, error) { return t.Clone(name, SharedAll) }

// Sendto sends one buffer; addr nil sends no address: sendto(2). buf nil is the NULL pointer.
func Sendto(t Task, fd int, buf []byte, flags int, addr []byte) (int, error) {
	return t.Sendmsg(fd, &Msghdr{Name: addr, Iov: []Iovec{Iov(buf)}}, flags)
}

// An Iovec is one segment of a message. Memory ends behind Base, and nil is a NULL pointer: with a larger Len the
// segment is a bad address.
type Iovec struct {
	Base []byte
	Len  int
}

// Iov returns the segment that is b.
func Iov(b []byte) Iovec { return Iovec{b, len(b)} }

// A Msghdr is the argument of sendmsg and recvmsg.
type Msghdr struct {
	// Name is the address: the destination, nil for none, or where recvmsg puts the source.
	Name []byte
	Iov  []Iovec
	// Control is what sendmsg passes along. recvmsg puts what it has to say there when WantControl is set.
	Control     []byte
	WantControl bool
	// Flags is msg_flags as recvmsg returns it.
	Flags int
}

// Len is the total length of the segments.
func (m *Msghdr) Len() int {
	n := 0
	for _, v := range m.Iov {
		n += v.Len
	}
	return n
}

// A PollFD is one descriptor of a poll call.
type PollFD struct {
	FD      int
	Events  uint32
	Revents uint32
}

// Operations of EpollCtl.
const (
	EpollAdd = 1
	EpollDel = 2
	EpollMod = 3
)

// An EpollEvent is what EpollWait returns of one descriptor.
type EpollEvent struct {
	FD     int
	Events uint32
}
