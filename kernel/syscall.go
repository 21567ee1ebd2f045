package kernel

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"golang.org/x/sys/unix"

	"nlmmap/uapi"
)

// A Call is a system call with its arguments. Each has a type of its own.
type Call interface {
	// Name is what the manual calls it.
	Name() string
	// args are its arguments as strace writes them, where it has returned n.
	args(n int) []any
}

// SyscallEvent tells of a system call that begins (Done false) or has ended.
type SyscallEvent struct {
	Call Call
	Done bool
	N    int
	Err  error
}

// String writes the call in the dialect of strace.
func (e SyscallEvent) String() string {
	var b strings.Builder
	b.WriteString(e.Call.Name())
	b.WriteByte('(')
	for i, a := range e.Call.args(e.N) {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprint(&b, a)
	}
	b.WriteByte(')')
	if e.Done {
		b.WriteString(" = " + e.result())
	}
	return b.String()
}

func (e SyscallEvent) result() string {
	if e.Err == nil {
		switch e.Call.(type) {
		case MmapCall, MremapCall:
			return "0x..."
		}
		return fmt.Sprint(e.N)
	}
	var errno unix.Errno
	if !errors.As(e.Err, &errno) {
		return "? (" + e.Err.Error() + ")"
	}
	why := errno.Error()
	if text := e.Err.Error(); text != why {
		why = strings.TrimPrefix(text, why+": ")
	}
	return fmt.Sprintf("-1 %s (%s)", unix.ErrnoName(errno), why)
}

// syscall runs a system call as Task.sys does. The call becomes a value of its own, which costs an allocation, only
// where somebody hears of it.
func syscall[C Call](t *Task, call C, fn func() (int, error)) (int, error) {
	if t.th == nil && !t.k.Watched() {
		return t.sys(nil, fn)
	}
	return t.sys(call, fn)
}

// The calls of a task's life, and of what it may do.
type (
	ForkCall    struct{}
	CloneCall   struct{ Flags int }
	CapsetCall  struct{ Capability int }
	SeteuidCall struct{ UID uint32 }
)

// The calls on descriptors and sockets.
type (
	CloseCall  struct{ FD int }
	DupCall    struct{ FD int }
	FstatCall  struct{ FD int }
	SocketCall struct{ Domain, Type, Protocol int }
	BindCall   struct {
		FD   int
		Addr []byte
	}
	ConnectCall struct {
		FD   int
		Addr []byte
	}
	GetsocknameCall struct{ FD int }
	GetpeernameCall struct{ FD int }
	SendmsgCall     struct {
		FD    int
		Msg   *Msghdr
		Flags int
	}
	RecvmsgCall struct {
		FD    int
		Msg   *Msghdr
		Flags int
	}
	SetsockoptCall struct {
		FD, Level, Option int
		Value             []byte
	}
	GetsockoptCall struct{ FD, Level, Option, Len int }
	SocketpairCall struct{ Domain, Type int }
	SendFDCall     struct{ Over int } // sendmsg with a descriptor
	RecvFDCall     struct{ Over int }
)

// The calls that change an address space.
type (
	MmapCall struct {
		Length          uint64
		Prot, Flags, FD int
		Offset          uint64
	}
	MunmapCall   struct{ Addr, Length uint64 }
	MprotectCall struct {
		Addr, Length uint64
		Prot         int
	}
	MremapCall  struct{ Addr, OldLength, NewLength uint64 }
	MadviseCall struct {
		Addr, Length uint64
		Advice       int
	}
)

// The calls that wait for events.
type (
	PollCall struct {
		FDs     []PollFD
		Timeout Time
	}
	SelectCall struct {
		FDs     []PollFD // of the three sets
		Timeout Time
	}
	EpollCreateCall struct{}
	EpollCtlCall    struct {
		EpFD, Op, FD int
		Events       uint32
	}
	EpollWaitCall struct {
		EpFD, Limit int
		Timeout     Time
	}
)

func (ForkCall) Name() string        { return "fork" }
func (CloneCall) Name() string       { return "clone" }
func (CapsetCall) Name() string      { return "capset" }
func (SeteuidCall) Name() string     { return "seteuid" }
func (CloseCall) Name() string       { return "close" }
func (DupCall) Name() string         { return "dup" }
func (FstatCall) Name() string       { return "fstat" }
func (SocketCall) Name() string      { return "socket" }
func (BindCall) Name() string        { return "bind" }
func (ConnectCall) Name() string     { return "connect" }
func (GetsocknameCall) Name() string { return "getsockname" }
func (GetpeernameCall) Name() string { return "getpeername" }
func (SendmsgCall) Name() string     { return "sendmsg" }
func (RecvmsgCall) Name() string     { return "recvmsg" }
func (SetsockoptCall) Name() string  { return "setsockopt" }
func (GetsockoptCall) Name() string  { return "getsockopt" }
func (SocketpairCall) Name() string  { return "socketpair" }
func (SendFDCall) Name() string      { return "sendmsg" }
func (RecvFDCall) Name() string      { return "recvmsg" }
func (MmapCall) Name() string        { return "mmap" }
func (MunmapCall) Name() string      { return "munmap" }
func (MprotectCall) Name() string    { return "mprotect" }
func (MremapCall) Name() string      { return "mremap" }
func (MadviseCall) Name() string     { return "madvise" }
func (PollCall) Name() string        { return "poll" }
func (SelectCall) Name() string      { return "select" }
func (EpollCreateCall) Name() string { return "epoll_create1" }
func (EpollCtlCall) Name() string    { return "epoll_ctl" }
func (EpollWaitCall) Name() string   { return "epoll_wait" }

func (ForkCall) args(int) []any      { return nil }
func (c CloneCall) args(int) []any   { return []any{uapi.CloneFlags.Flags(c.Flags)} }
func (c CapsetCall) args(int) []any  { return []any{c.Capability} }
func (c SeteuidCall) args(int) []any { return []any{c.UID} }

func (c CloseCall) args(int) []any { return []any{c.FD} }
func (c DupCall) args(int) []any   { return []any{c.FD} }
func (c FstatCall) args(int) []any { return []any{c.FD} }

func (c SocketCall) args(int) []any {
	return []any{uapi.AddressFamilies.Of(c.Domain), uapi.SocketTypes.Of(c.Type), uapi.Protocols.Of(c.Protocol)}
}

func (c BindCall) args(int) []any        { return []any{c.FD, address(c.Addr), len(c.Addr)} }
func (c ConnectCall) args(int) []any     { return []any{c.FD, address(c.Addr), len(c.Addr)} }
func (c GetsocknameCall) args(int) []any { return []any{c.FD} }
func (c GetpeernameCall) args(int) []any { return []any{c.FD} }

func (c SendmsgCall) args(int) []any {
	return []any{c.FD, fmt.Sprintf("{%s}", message(c.Msg, math.MaxInt)), uapi.MsgFlags.Flags(c.Flags)}
}

func (c RecvmsgCall) args(n int) []any {
	header := fmt.Sprintf("{%s, msg_flags=%s}", message(c.Msg, n), uapi.MsgFlags.Flags(c.Msg.Flags))
	return []any{c.FD, header, uapi.MsgFlags.Flags(c.Flags)}
}

func (c SetsockoptCall) args(int) []any {
	level, opt := uapi.OptionName(c.Level, c.Option)
	return []any{c.FD, level, opt, uapi.FormatOption(c.Level, c.Option, c.Value), len(c.Value)}
}

func (c GetsockoptCall) args(int) []any {
	level, opt := uapi.OptionName(c.Level, c.Option)
	return []any{c.FD, level, opt, c.Len}
}

func (c SocketpairCall) args(int) []any {
	return []any{uapi.AddressFamilies.Of(c.Domain), uapi.SocketTypes.Of(c.Type)}
}

func (c SendFDCall) args(int) []any { return []any{c.Over, "{SCM_RIGHTS}"} }
func (c RecvFDCall) args(int) []any { return []any{c.Over, "{SCM_RIGHTS}"} }

func (c MmapCall) args(int) []any {
	return []any{"NULL", c.Length, protection(c.Prot), uapi.MapFlags.Flags(c.Flags), c.FD, c.Offset}
}

func (c MunmapCall) args(int) []any   { return []any{pointer(c.Addr), c.Length} }
func (c MprotectCall) args(int) []any { return []any{pointer(c.Addr), c.Length, protection(c.Prot)} }
func (c MremapCall) args(int) []any   { return []any{pointer(c.Addr), c.OldLength, c.NewLength} }
func (c MadviseCall) args(int) []any {
	return []any{pointer(c.Addr), c.Length, uapi.Advices.Of(c.Advice)}
}

func (c PollCall) args(int) []any      { return []any{polled(c.FDs), len(c.FDs), milliseconds(c.Timeout)} }
func (c SelectCall) args(int) []any    { return []any{polled(c.FDs), milliseconds(c.Timeout)} }
func (EpollCreateCall) args(int) []any { return []any{0} }

func (c EpollCtlCall) args(int) []any {
	return []any{c.EpFD, epollOps.Of(c.Op), c.FD, uapi.PollEvents.Flags(int(c.Events))}
}

func (c EpollWaitCall) args(int) []any { return []any{c.EpFD, c.Limit, milliseconds(c.Timeout)} }

var epollOps = uapi.Names{{Value: EpollAdd, Name: "EPOLL_CTL_ADD"}, {Value: EpollDel, Name: "EPOLL_CTL_DEL"},
	{Value: EpollMod, Name: "EPOLL_CTL_MOD"}}

func pointer(addr uint64) string { return fmt.Sprintf("%#x", addr) }

// milliseconds is a timeout as poll(2) has it.
func milliseconds(t Time) int64 {
	if t < 0 {
		return -1
	}
	return int64(t / Millisecond)
}

func protection(p int) string {
	if p == 0 {
		return "PROT_NONE"
	}
	return uapi.Protections.Flags(p)
}

func polled(fds []PollFD) string {
	list := make([]string, len(fds))
	for i, p := range fds {
		list[i] = fmt.Sprintf("{fd=%d, events=%s", p.FD, uapi.PollEvents.Flags(int(p.Events)))
		if p.Revents != 0 {
			list[i] += ", revents=" + uapi.PollEvents.Flags(int(p.Revents))
		}
		list[i] += "}"
	}
	return "[" + strings.Join(list, ", ") + "]"
}

// message writes a message header with the first n bytes of its segments. What a program says of its segments need not
// be true.
func message(m *Msghdr, n int) string {
	var iov []string
	for _, v := range m.Iov {
		base := "NULL"
		if v.Base != nil {
			has := max(0, min(n, v.Len, len(v.Base)))
			base = uapi.FormatMessages(v.Base[:has])
			n -= has
		}
		iov = append(iov, fmt.Sprintf("{iov_base=%s, iov_len=%d}", base, v.Len))
	}
	name := "NULL"
	if m.Name != nil {
		name = address(m.Name)
	}
	return fmt.Sprintf("msg_name=%s, msg_iov=[%s]", name, strings.Join(iov, ", "))
}

func address(b []byte) string { return uapi.ParseSockaddrNL(b).String() }
