package interpose

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The parts of seccomp(2) that golang.org/x/sys/unix does not have.
const (
	retAllow     = 0x7fff0000
	retNotify    = 0x7fc00000
	retErrno     = 0x00050000
	newListener  = 1 << 3
	waitKillable = 1 << 5 // a signal that does not kill leaves a call alone that the supervisor has taken (Linux 5.19)

	dataNr   = 0 // offsets in struct seccomp_data
	dataArch = 4
	dataArgs = 16

	x32Bit = 0x40000000
)

// A condition hands a call to the supervisor only when the low word of an argument, masked, is a value.
type condition struct {
	arg         int
	mask, value uint32
}

// filtered are the calls that are handed over.
var filtered = []struct {
	nr   int
	when *condition
}{
	{unix.SYS_SOCKET, &condition{arg: 0, mask: ^uint32(0), value: unix.AF_NETLINK}},
	{nr: unix.SYS_READ}, {nr: unix.SYS_WRITE}, {nr: unix.SYS_READV}, {nr: unix.SYS_WRITEV},
	{nr: unix.SYS_SENDTO}, {nr: unix.SYS_SENDMSG}, {nr: unix.SYS_SENDMMSG},
	{nr: unix.SYS_RECVFROM}, {nr: unix.SYS_RECVMSG}, {nr: unix.SYS_RECVMMSG},
	{nr: unix.SYS_BIND}, {nr: unix.SYS_CONNECT}, {nr: unix.SYS_LISTEN}, {nr: unix.SYS_ACCEPT}, {nr: unix.SYS_ACCEPT4}, {nr: unix.SYS_SHUTDOWN},
	{nr: unix.SYS_GETSOCKNAME}, {nr: unix.SYS_GETPEERNAME}, {nr: unix.SYS_SETSOCKOPT}, {nr: unix.SYS_GETSOCKOPT},
	{nr: unix.SYS_IOCTL},
	{nr: unix.SYS_POLL}, {nr: unix.SYS_PPOLL}, {nr: unix.SYS_SELECT}, {nr: unix.SYS_PSELECT6},
	{nr: unix.SYS_EPOLL_CREATE}, {nr: unix.SYS_EPOLL_CREATE1}, {nr: unix.SYS_EPOLL_CTL},
	{nr: unix.SYS_EPOLL_WAIT}, {nr: unix.SYS_EPOLL_PWAIT}, {nr: unix.SYS_EPOLL_PWAIT2},
	{unix.SYS_MMAP, &condition{arg: 3, mask: unix.MAP_ANONYMOUS, value: 0}},
	{unix.SYS_MMAP, &condition{arg: 3, mask: unix.MAP_FIXED, value: unix.MAP_FIXED}},
	{nr: unix.SYS_MUNMAP}, {nr: unix.SYS_MREMAP}, {nr: unix.SYS_MPROTECT},
	{nr: unix.SYS_CLOSE}, {nr: unix.SYS_CLOSE_RANGE}, {nr: unix.SYS_DUP}, {nr: unix.SYS_DUP2}, {nr: unix.SYS_DUP3},
	{unix.SYS_FCNTL, &condition{arg: 1, mask: ^uint32(0), value: unix.F_DUPFD}},
	{unix.SYS_FCNTL, &condition{arg: 1, mask: ^uint32(0), value: unix.F_DUPFD_CLOEXEC}},
	{unix.SYS_FCNTL, &condition{arg: 1, mask: ^uint32(0), value: unix.F_SETFL}},
	{nr: unix.SYS_CLONE}, {nr: unix.SYS_CLONE3}, {nr: unix.SYS_FORK}, {nr: unix.SYS_VFORK}, {nr: unix.SYS_EXECVE}, {nr: unix.SYS_EXECVEAT},
	{nr: unix.SYS_OPEN}, {nr: unix.SYS_OPENAT},
	{nr: unix.SYS_SETUID}, {nr: unix.SYS_SETGID}, {nr: unix.SYS_SETREUID}, {nr: unix.SYS_SETREGID},
	{nr: unix.SYS_SETRESUID}, {nr: unix.SYS_SETRESGID}, {nr: unix.SYS_CAPSET}, {nr: unix.SYS_UNSHARE}, {nr: unix.SYS_SETNS},
}

func stmt(code uint16, k uint32) unix.SockFilter { return unix.SockFilter{Code: code, K: k} }

func jump(code uint16, k uint32, jt, jf uint8) unix.SockFilter {
	return unix.SockFilter{Code: code, Jt: jt, Jf: jf, K: k}
}

// The calls of the 32-bit architecture that make a socket.
const (
	socketcall32 = 102
	socket32     = 359
)

// filter is the program of the filter. Calls of the 32-bit architecture pass but for those that make a socket; those of x32 do not
// exist.
func filter() []unix.SockFilter {
	const load, jeq, jge, and, ret = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K,
		unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	p := []unix.SockFilter{
		stmt(load, dataArch),
		jump(jeq, unix.AUDIT_ARCH_X86_64, 5, 0),
		stmt(load, dataNr),
		jump(jeq, socketcall32, 1, 0),
		jump(jeq, socket32, 0, 1),
		stmt(ret, retNotify),
		stmt(ret, retAllow),
		stmt(load, dataNr),
		jump(jge, x32Bit, 0, 1),
		stmt(ret, retErrno|uint32(unix.ENOSYS)),
	}
	for _, f := range filtered {
		if f.when == nil {
			p = append(p, jump(jeq, uint32(f.nr), 0, 1), stmt(ret, retNotify))
			continue
		}
		p = append(p, jump(jeq, uint32(f.nr), 0, 5),
			stmt(load, uint32(dataArgs+8*f.when.arg)), stmt(and, f.when.mask), jump(jeq, f.when.value, 0, 1), stmt(ret, retNotify),
			stmt(load, dataNr))
	}
	return append(p, stmt(ret, retAllow))
}

// stubVariable tells a command that it is to become a program under a supervisor: the descriptor of the socket over which the
// supervisor gets the listener.
const stubVariable = "NLMMAP_INTERPOSE_FD"

// IsStub reports whether this process was started by Launch or New to become a program, or a guard: main must call Stub then.
func IsStub() bool { return os.Getenv(stubVariable) != "" || os.Getenv(guardVariable) != "" }

// Stub puts the process under its supervisor and becomes the program: os.Args are its path and its arguments. Or it is the
// guard. It does not return.
func Stub() {
	if fd, err := strconv.Atoi(os.Getenv(guardVariable)); err == nil {
		beGuard(fd)
		os.Exit(0)
	}
	err := becomeProgram()
	fmt.Fprintf(os.Stderr, "nlmmap: %v\n", err)
	if errors.Is(err, os.ErrNotExist) {
		os.Exit(127)
	}
	os.Exit(126)
}

func becomeProgram() error {
	fd, err := strconv.Atoi(os.Getenv(stubVariable))
	if err != nil {
		return fmt.Errorf("%s: %w", stubVariable, err)
	}
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, stubVariable+"=") {
			env = append(env, e)
		}
	}
	unix.CloseOnExec(fd)
	// The filter is for this thread alone: it is the one that executes the program. Another one sends the listener, as a call
	// of this one would wait for the supervisor that has no listener yet.
	runtime.LockOSThread()
	listener, sent := make(chan int), make(chan error)
	go func() {
		sent <- unix.Sendmsg(fd, []byte{0}, unix.UnixRights(<-listener), nil, 0)
	}()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl(PR_SET_NO_NEW_PRIVS): %w", err)
	}
	prog := filter()
	fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	l, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, newListener|waitKillable, uintptr(unsafe.Pointer(&fprog)))
	if errno != 0 {
		return errNoSeccomp(errno)
	}
	listener <- int(l)
	if err := <-sent; err != nil {
		return fmt.Errorf("the supervisor does not answer: %w", err)
	}
	err = unix.Exec(os.Args[0], os.Args[1:], env)
	switch {
	case errors.Is(err, unix.ENOEXEC):
		err = fmt.Errorf("%w: a script begins with #! and the path of its interpreter", err)
	case errors.Is(err, unix.ENOENT) && unix.Access(os.Args[0], unix.F_OK) == nil:
		err = fmt.Errorf("%w: the file is there, but not what it names behind #!, or as its dynamic loader", err)
	}
	return fmt.Errorf("%s: %w", os.Args[0], err)
}

// errNoSeccomp says what is missing where a filter cannot be set.
func errNoSeccomp(errno unix.Errno) error {
	switch errno {
	case unix.ENOSYS:
		return fmt.Errorf("this kernel or sandbox has no seccomp(2), which catching a program's system calls needs: %w", errno)
	case unix.EINVAL:
		return fmt.Errorf("this kernel has no seccomp user notification that waits out signals, as Linux has since 5.19 (CONFIG_SECCOMP_FILTER): %w", errno)
	case unix.EBUSY:
		return fmt.Errorf("this process is already under a seccomp supervisor, and there can be only one (a container runtime with notify rules, or nlmmap exec inside nlmmap exec): %w", errno)
	case unix.EPERM, unix.EACCES:
		return fmt.Errorf("seccomp filters are not permitted here (a container's profile may forbid seccomp(2)): %w", errno)
	}
	return fmt.Errorf("seccomp: %w", errno)
}
