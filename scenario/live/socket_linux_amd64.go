package live

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"nlmmap/sys"
	"nlmmap/uapi"
)

// Room for an address and for control messages: more than any socket of a scenario returns.
const (
	addrRoom    = 128
	controlRoom = 1024
)

func (t *task) Socket(domain, typ, protocol int) (int, error) {
	return t.callFd(unix.SYS_SOCKET, uint64(domain), uint64(typ), uint64(protocol))
}

func (t *task) Socketpair() (a, b int, err error) {
	err = t.do(func() error {
		fds, _, err := t.wait1(unix.SYS_SOCKETPAIR, make([]byte, 8), 0, func(at uint64) []uint64 {
			return []uint64{unix.AF_UNIX, unix.SOCK_DGRAM, 0, at}
		})
		if err == nil {
			a, b = int(le.Uint32(fds)), int(le.Uint32(fds[4:]))
		}
		return err
	})
	return a, b, err
}

// withAddr makes a call whose arguments are a descriptor, an address and its length.
func (t *task) withAddr(nr uint64, fd int, addr []byte) error {
	return t.do(func() error {
		_, _, err := t.wait1(nr, addr, 0, func(at uint64) []uint64 {
			return []uint64{uint64(fd), at, uint64(len(addr))}
		})
		return err
	})
}

func (t *task) Bind(fd int, addr []byte) error    { return t.withAddr(unix.SYS_BIND, fd, addr) }
func (t *task) Connect(fd int, addr []byte) error { return t.withAddr(unix.SYS_CONNECT, fd, addr) }

// readInto makes a call that fills a buffer of n bytes and keeps its length in a word behind it.
func (t *task) readInto(nr uint64, n int, args func(buf, length uint64) []uint64) (b []byte, err error) {
	if n < 0 {
		return nil, fmt.Errorf("live: a buffer of %d bytes: %w", n, unix.EINVAL)
	}
	err = t.do(func() error {
		a, err := t.arena(n + 4)
		if err != nil {
			return err
		}
		var length [4]byte
		le.PutUint32(length[:], uint32(n))
		at, _ := a.room(n)
		lengthAt := a.put(length[:])
		if _, err := t.syscall(nr, args(at, lengthAt)...); err != nil {
			return err
		}
		b = a.fetch(at, min(n, int(le.Uint32(a.fetch(lengthAt, 4)))))
		return nil
	})
	return b, err
}

func (t *task) Getsockname(fd int) ([]byte, error) {
	return t.readInto(unix.SYS_GETSOCKNAME, addrRoom, func(buf, length uint64) []uint64 {
		return []uint64{uint64(fd), buf, length}
	})
}

func (t *task) Inode(fd int) (ino uint64, err error) {
	err = t.tr.do(func() error {
		name, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", t.tid, fd))
		if errors.Is(err, os.ErrNotExist) {
			return unix.EBADF
		}
		if number, ok := strings.CutPrefix(name, "socket:["); err == nil && ok {
			ino, err = strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 64)
		}
		return err
	})
	return ino, err
}

func (t *task) Getpeername(fd int) ([]byte, error) {
	return t.readInto(unix.SYS_GETPEERNAME, addrRoom, func(buf, length uint64) []uint64 {
		return []uint64{uint64(fd), buf, length}
	})
}

func (t *task) Getsockopt(fd, level, name, optlen int) ([]byte, error) {
	return t.readInto(unix.SYS_GETSOCKOPT, optlen, func(buf, length uint64) []uint64 {
		return []uint64{uint64(fd), uint64(level), uint64(name), buf, length}
	})
}

func (t *task) Setsockopt(fd, level, name int, val []byte) error {
	if level == uapi.SolSocket && name == uapi.SoAttachFilter {
		return t.attachFilter(fd, val)
	}
	return t.do(func() error {
		_, _, err := t.wait1(unix.SYS_SETSOCKOPT, val, 0, func(at uint64) []uint64 {
			return []uint64{uint64(fd), uint64(level), uint64(name), at, uint64(len(val))}
		})
		return err
	})
}

// attachFilter passes a program by a struct sock_fprog, which points to it.
func (t *task) attachFilter(fd int, program []byte) error {
	return t.do(func() error {
		a, err := t.arena(len(program) + 16)
		if err != nil {
			return err
		}
		var fprog [16]byte // number of instructions, and where they are
		le.PutUint16(fprog[:], uint16(len(program)/8))
		le.PutUint64(fprog[8:], a.put(program))
		at := a.put(fprog[:])
		_, err = t.syscall(unix.SYS_SETSOCKOPT, uint64(fd), uapi.SolSocket, uapi.SoAttachFilter, at, uint64(len(fprog)))
		return err
	})
}

// Sendmsg uses sendto for one segment, as programs do, and sendmsg for more.
func (t *task) Sendmsg(fd int, m *sys.Msghdr, flags int) (n int, err error) {
	err = t.do(func() error {
		n, err = t.sendmsg(fd, m, flags)
		return err
	})
	return n, err
}

// segments puts the segments of a message into the arena, with their bytes if fill is set, and returns their iovec
// structures. A segment with less memory than its length is a bad address: NULL.
func (a *arena) segments(iov []sys.Iovec, fill bool) []byte {
	var vec []byte
	for _, v := range iov {
		var base uint64
		if v.Base != nil && v.Len >= 0 && v.Len <= len(v.Base) {
			var to []byte
			base, to = a.room(v.Len)
			if fill {
				copy(to, v.Base)
			}
		}
		vec = le.AppendUint64(le.AppendUint64(vec, base), uint64(v.Len))
	}
	return vec
}

// messageArena has room for a message, the parts of which are aligned to 8.
func (t *task) messageArena(iov []sys.Iovec, more int) (*arena, error) {
	for _, v := range iov {
		more += len(v.Base) + 24
	}
	return t.arena(more + msghdrLen)
}

func (t *task) sendmsg(fd int, m *sys.Msghdr, flags int) (int, error) {
	a, err := t.messageArena(m.Iov, len(m.Name)+len(m.Control))
	if err != nil {
		return 0, err
	}
	vec := a.segments(m.Iov, true)
	var name uint64
	if m.Name != nil {
		name = a.put(m.Name)
	}
	if len(m.Iov) == 1 && m.Control == nil {
		n, err := t.syscall(unix.SYS_SENDTO, uint64(fd), le.Uint64(vec), le.Uint64(vec[8:]), uint64(flags), name,
			uint64(len(m.Name)))
		return int(n), err
	}
	hdr := msghdr{name: name, namelen: len(m.Name), iov: a.put(vec), iovlen: len(m.Iov), controllen: len(m.Control)}
	if m.Control != nil {
		hdr.control = a.put(m.Control)
	}
	at := a.put(hdr.bytes())
	n, err := t.syscall(unix.SYS_SENDMSG, uint64(fd), at, uint64(flags))
	return int(n), err
}

func (t *task) Recvmsg(fd int, m *sys.Msghdr, flags int) (n int, err error) {
	err = t.do(func() error {
		n, err = t.recvmsg(fd, m, flags)
		return err
	})
	return n, err
}

func (t *task) recvmsg(fd int, m *sys.Msghdr, flags int) (int, error) {
	a, err := t.messageArena(m.Iov, addrRoom+controlRoom)
	if err != nil {
		return 0, err
	}
	vec := a.segments(m.Iov, false)
	hdr := msghdr{iov: a.put(vec), iovlen: len(m.Iov), namelen: addrRoom}
	hdr.name, _ = a.room(addrRoom)
	if m.WantControl {
		hdr.control, _ = a.room(controlRoom)
		hdr.controllen = controlRoom
	}
	at := a.put(hdr.bytes())
	n, err := t.syscall(unix.SYS_RECVMSG, uint64(fd), at, uint64(flags))
	if err != nil {
		return 0, err
	}
	after := a.fetch(at, msghdrLen)
	m.Flags = int(le.Uint32(after[48:]))
	m.Name = a.fetch(hdr.name, min(addrRoom, int(le.Uint32(after[8:]))))
	m.Control = nil
	if m.WantControl {
		m.Control = a.fetch(hdr.control, min(controlRoom, int(le.Uint64(after[40:]))))
	}
	rest := int(n) // more than all segments with MSG_TRUNC
	for i, v := range m.Iov {
		part := min(rest, v.Len)
		if part <= 0 {
			break
		}
		copy(v.Base[:part], a.fetch(le.Uint64(vec[16*i:]), part))
		rest -= part
	}
	return int(n), nil
}

// msghdr is struct msghdr with addresses of the task.
type msghdr struct {
	name       uint64
	namelen    int
	iov        uint64
	iovlen     int
	control    uint64
	controllen int
}

const msghdrLen = 56

func (h msghdr) bytes() []byte {
	b := make([]byte, msghdrLen)
	le.PutUint64(b, h.name)
	le.PutUint32(b[8:], uint32(h.namelen))
	le.PutUint64(b[16:], h.iov)
	le.PutUint64(b[24:], uint64(h.iovlen))
	le.PutUint64(b[32:], h.control)
	le.PutUint64(b[40:], uint64(h.controllen))
	return b
}

// SendFD and RecvFD do not wait: a scenario passes descriptors one at a time.

func (t *task) SendFD(over, fd int) error {
	return t.do(func() error {
		m := &sys.Msghdr{Iov: []sys.Iovec{sys.Iov([]byte{0})}, Control: unix.UnixRights(fd)}
		_, err := t.sendmsg(over, m, uapi.MsgDontwait)
		return err
	})
}

func (t *task) RecvFD(over int) (fd int, err error) {
	fd = -1
	err = t.do(func() error {
		m := &sys.Msghdr{Iov: []sys.Iovec{sys.Iov([]byte{0})}, WantControl: true}
		if _, err := t.recvmsg(over, m, uapi.MsgDontwait); err != nil {
			return err
		}
		messages, err := unix.ParseSocketControlMessage(m.Control)
		if err != nil {
			return err
		}
		for i := range messages {
			if fds, err := unix.ParseUnixRights(&messages[i]); err == nil && len(fds) > 0 {
				fd = fds[0]
				return nil
			}
		}
		return unix.ENOMSG
	})
	return fd, err
}
