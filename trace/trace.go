// Package trace prints what a machine does, for people: system calls in the dialect of strace, and below each one, in
// order, what the kernel did in it.
package trace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"nlmmap/kernel"
	"nlmmap/uapi"
)

// A Printer writes the records it is given. Locks are left out unless Locks is set.
type Printer struct {
	W     io.Writer
	Locks bool
	inner map[*kernel.Task][]string // events of system calls that have not ended
}

// Record prints one record: give it to kernel.Config.Trace.
func (p *Printer) Record(r kernel.Record) {
	name := "-"
	if r.Task != nil {
		name = r.Task.Name
	}
	call, isCall := r.Event.(kernel.SyscallEvent)
	switch e := r.Event.(type) {
	case kernel.Observation:
		return
	case kernel.LockEvent:
		if !p.Locks {
			return
		}
	case kernel.WakeEvent:
		if e.Sleepers == 0 {
			return
		}
	}
	switch {
	case isCall && !call.Done:
		if p.inner == nil {
			p.inner = map[*kernel.Task][]string{}
		}
		p.inner[r.Task] = []string{}
	case isCall:
		fmt.Fprintf(p.W, "%v %-8s %s\n", r.Time, name, Syscall(call))
		for _, line := range p.inner[r.Task] {
			fmt.Fprintln(p.W, line)
		}
		delete(p.inner, r.Task)
	default:
		line := fmt.Sprintf("%v %-8s     %v", r.Time, name, r.Event)
		if lines, open := p.inner[r.Task]; open {
			p.inner[r.Task] = append(lines, line)
		} else {
			fmt.Fprintln(p.W, line)
		}
	}
}

// Syscall formats a system call that has ended as strace does.
func Syscall(e kernel.SyscallEvent) string {
	return fmt.Sprintf("%s(%s) = %s", e.Call.Name, strings.Join(arguments(e), ", "), result(e))
}

func result(e kernel.SyscallEvent) string {
	if e.Err == nil {
		if e.Call.Name == "mmap" || e.Call.Name == "mremap" {
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

func arguments(e kernel.SyscallEvent) []string {
	c := &e.Call
	var args []string
	if c.HasFD {
		args = append(args, fmt.Sprint(c.FD))
	}
	ints := c.Ints[:c.NInts]
	switch c.Name {
	case "socket":
		return []string{uapi.AddressFamilies.Of(int(ints[0])), uapi.SocketTypes.Of(int(ints[1])), uapi.Protocols.Of(int(ints[2]))}
	case "bind", "connect":
		return append(args, Address(c.Data), fmt.Sprint(len(c.Data)))
	case "sendmsg", "recvmsg":
		if c.Msg == nil {
			return append(args, "{SCM_RIGHTS}")
		}
		return append(args, msghdr(e), uapi.MsgFlags.Flags(int(ints[0])))
	case "setsockopt":
		level, opt := option(int(ints[0]), int(ints[1]))
		return append(args, level, opt, value(int(ints[0]), int(ints[1]), c.Data), fmt.Sprint(len(c.Data)))
	case "getsockopt":
		level, opt := option(int(ints[0]), int(ints[1]))
		return append(args, level, opt, fmt.Sprint(ints[2]))
	case "mmap":
		return []string{"NULL", fmt.Sprint(ints[0]), prot(int(ints[1])), uapi.MapFlags.Flags(int(ints[2])), args[0], fmt.Sprint(ints[3])}
	case "munmap", "mremap":
		args = append(args, fmt.Sprintf("%#x", ints[0]))
		ints = ints[1:]
	case "mprotect":
		return []string{fmt.Sprintf("%#x", ints[0]), fmt.Sprint(ints[1]), prot(int(ints[2]))}
	}
	for _, i := range ints {
		args = append(args, fmt.Sprint(i))
	}
	return args
}

func msghdr(e kernel.SyscallEvent) string {
	m := e.Call.Msg
	var iov []string
	left := e.N
	for _, v := range m.Iov {
		base := "NULL"
		switch {
		case v.Base == nil:
		case e.Call.Name == "sendmsg":
			base = Messages(v.Base[:max(0, min(len(v.Base), v.Len))])
		default:
			n := max(0, min(left, v.Len, len(v.Base)))
			base = Messages(v.Base[:n])
			left -= n
		}
		iov = append(iov, fmt.Sprintf("{iov_base=%s, iov_len=%d}", base, v.Len))
	}
	addr := "NULL"
	if m.Name != nil {
		addr = Address(m.Name)
	}
	s := fmt.Sprintf("{msg_name=%s, msg_iov=[%s]", addr, strings.Join(iov, ", "))
	if e.Call.Name == "recvmsg" {
		s += ", msg_flags=" + uapi.MsgFlags.Flags(m.Flags)
	}
	return s + "}"
}

// Address formats a socket address.
func Address(b []byte) string {
	a := uapi.ParseSockaddrNL(b)
	return fmt.Sprintf("{sa_family=%s, nl_pid=%d, nl_groups=%08x}", uapi.AddressFamilies.Of(int(a.Family)), int32(a.Pid), a.Groups)
}

// maxMessages is how many messages of a buffer are shown.
const maxMessages = 8

// messageTypes are those of NETLINK_ROUTE for all protocols: a system call does not say what its socket speaks.
var messageTypes = slices.Concat(uapi.ControlTypes, uapi.RouteTypes)

// Messages formats the netlink messages in b, the last one also when it is cut.
func Messages(b []byte) string {
	var list []string
	for m, err := range uapi.Messages(b) {
		var bad *uapi.ParseError
		if errors.As(err, &bad) && len(b)-bad.Offset < uapi.NLMsgHdrlen {
			break // not even a header
		}
		if len(list) == maxMessages {
			list = append(list, "...")
			break
		}
		list = append(list, message(m))
	}
	if len(list) == 0 {
		return fmt.Sprintf("%q", b[:min(len(b), 32)])
	}
	return "[" + strings.Join(list, ", ") + "]"
}

func message(m uapi.Message) string {
	h := m.Header
	s := fmt.Sprintf("{nlmsg_len=%d, nlmsg_type=%s, nlmsg_flags=%#x, nlmsg_seq=%d, nlmsg_pid=%d}", h.Len,
		messageTypes.Of(int(h.Type)), h.Flags, h.Seq, int32(h.Pid))
	if code, ok := m.Code(); ok && h.Type == uapi.NLMsgError {
		return fmt.Sprintf("{%s, {error=%d}}", s, code)
	}
	return s
}

func value(level, opt int, data []byte) string {
	if level == uapi.SolNetlink && (opt == uapi.NetlinkRxRing || opt == uapi.NetlinkTxRing) && len(data) >= uapi.NLMMapReqlen {
		r := uapi.ParseNLMMapReq(data)
		return fmt.Sprintf("{nm_block_size=%d, nm_block_nr=%d, nm_frame_size=%d, nm_frame_nr=%d}", r.BlockSize, r.BlockNr, r.FrameSize, r.FrameNr)
	}
	if len(data) == 4 {
		return fmt.Sprintf("[%d]", int32(binary.LittleEndian.Uint32(data)))
	}
	return fmt.Sprintf("%q", data)
}

func option(level, opt int) (string, string) {
	switch level {
	case uapi.SolNetlink:
		return "SOL_NETLINK", uapi.NetlinkOptions.Of(opt)
	case uapi.SolSocket:
		return "SOL_SOCKET", uapi.SocketOptions.Of(opt)
	}
	return fmt.Sprint(level), fmt.Sprint(opt)
}

func prot(p int) string {
	if p == 0 {
		return "PROT_NONE"
	}
	return uapi.Protections.Flags(p)
}
