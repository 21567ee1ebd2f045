package live

import (
	"golang.org/x/sys/unix"

	"nlmmap/scenario"
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
	err = t.tr.do(func() error {
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
	return t.tr.do(func() error {
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
	err = t.tr.do(func() error {
		a, err := t.arena(n + 4)
		if err != nil {
			return err
		}
		var length [4]byte
		le.PutUint32(length[:], uint32(n))
		at, _ := a.room(n)
		lengthAt := a.put(length[:])
		if err := a.store(); err != nil {
			return err
		}
		if _, err := t.syscall(nr, args(at, lengthAt)...); err != nil {
			return err
		}
		word, err := a.fetch(lengthAt, 4)
		if err != nil {
			return err
		}
		b, err = a.fetch(at, min(n, int(le.Uint32(word))))
		return err
	})
	return b, err
}

func (t *task) Getsockname(fd int) ([]byte, error) {
	return t.readInto(unix.SYS_GETSOCKNAME, addrRoom, func(buf, length uint64) []uint64 {
		return []uint64{uint64(fd), buf, length}
	})
}

func (t *task) Getsockopt(fd, level, name, optlen int) ([]byte, error) {
	return t.readInto(unix.SYS_GETSOCKOPT, optlen, func(buf, length uint64) []uint64 {
		return []uint64{uint64(fd), uint64(level), uint64(name), buf, length}
	})
}

func (t *task) Setsockopt(fd, level, name int, val []byte) error {
	return t.tr.do(func() error {
		_, _, err := t.wait1(unix.SYS_SETSOCKOPT, val, 0, func(at uint64) []uint64 {
			return []uint64{uint64(fd), uint64(level), uint64(name), at, uint64(len(val))}
		})
		return err
	})
}

func (t *task) AttachFilter(fd int, ret uint32) error {
	return t.tr.do(func() error {
		a, err := t.arena(8 + 16)
		if err != nil {
			return err
		}
		var program [8]byte // one instruction: return a constant
		le.PutUint16(program[:], unix.BPF_RET|unix.BPF_K)
		le.PutUint32(program[4:], ret)
		var fprog [16]byte // number of instructions, and where they are
		le.PutUint16(fprog[:], 1)
		le.PutUint64(fprog[8:], a.put(program[:]))
		at := a.put(fprog[:])
		if err := a.store(); err != nil {
			return err
		}
		_, err = t.syscall(unix.SYS_SETSOCKOPT, uint64(fd), uapi.SolSocket, uapi.SoAttachFilter, at, uint64(len(fprog)))
		return err
	})
}

func (t *task) DetachFilter(fd int) error {
	return t.Setsockopt(fd, uapi.SolSocket, uapi.SoDetachFilter, make([]byte, 4))
}

// Sendmsg uses sendto for one segment, as programs do, and sendmsg for more.
func (t *task) Sendmsg(fd int, iov [][]byte, addr []byte, flags int) (n int, err error) {
	err = t.tr.do(func() error {
		n, err = t.sendmsg(fd, iov, addr, nil, flags)
		return err
	})
	return n, err
}

func (t *task) sendmsg(fd int, iov [][]byte, addr, control []byte, flags int) (int, error) {
	room := len(addr) + len(control) + 24*len(iov) + 64
	for _, segment := range iov {
		room += len(segment)
	}
	a, err := t.arena(room)
	if err != nil {
		return 0, err
	}
	var vec []byte
	for _, segment := range iov {
		var base uint64
		if segment != nil {
			base = a.put(segment)
		}
		vec = le.AppendUint64(vec, base)
		vec = le.AppendUint64(vec, uint64(len(segment)))
	}
	var name uint64
	if addr != nil {
		name = a.put(addr)
	}
	if len(iov) == 1 && control == nil {
		if err := a.store(); err != nil {
			return 0, err
		}
		n, err := t.syscall(unix.SYS_SENDTO, uint64(fd), le.Uint64(vec), le.Uint64(vec[8:]), uint64(flags), name,
			uint64(len(addr)))
		return int(n), err
	}
	hdr := msghdr{name: name, namelen: len(addr), iov: a.put(vec), iovlen: len(iov), controllen: len(control)}
	if control != nil {
		hdr.control = a.put(control)
	}
	at := a.put(hdr.bytes())
	if err := a.store(); err != nil {
		return 0, err
	}
	n, err := t.syscall(unix.SYS_SENDMSG, uint64(fd), at, uint64(flags))
	return int(n), err
}

func (t *task) Recvmsg(fd, size, flags int) (r scenario.Received, err error) {
	err = t.tr.do(func() error {
		r, err = t.recvmsg(fd, size, flags)
		return err
	})
	return r, err
}

func (t *task) recvmsg(fd, size, flags int) (r scenario.Received, err error) {
	a, err := t.arena(size + addrRoom + controlRoom + 16 + msghdrLen)
	if err != nil {
		return r, err
	}
	data, _ := a.room(size)
	vec := le.AppendUint64(le.AppendUint64(nil, data), uint64(size))
	hdr := msghdr{iov: a.put(vec), iovlen: 1, namelen: addrRoom, controllen: controlRoom}
	hdr.name, _ = a.room(addrRoom)
	hdr.control, _ = a.room(controlRoom)
	at := a.put(hdr.bytes())
	if err := a.store(); err != nil {
		return r, err
	}
	n, err := t.syscall(unix.SYS_RECVMSG, uint64(fd), at, uint64(flags))
	if err != nil {
		return r, err
	}
	after, err := a.fetch(at, msghdrLen)
	if err != nil {
		return r, err
	}
	r.N = int(n)
	r.Flags = int(le.Uint32(after[48:]))
	if r.From, err = a.fetch(hdr.name, min(addrRoom, int(le.Uint32(after[8:])))); err != nil {
		return r, err
	}
	if r.Control, err = a.fetch(hdr.control, min(controlRoom, int(le.Uint64(after[40:])))); err != nil {
		return r, err
	}
	r.Data, err = a.fetch(data, min(size, r.N))
	return r, err
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
	return t.tr.do(func() error {
		_, err := t.sendmsg(over, [][]byte{{0}}, nil, unix.UnixRights(fd), uapi.MsgDontwait)
		return err
	})
}

func (t *task) RecvFD(over int) (fd int, err error) {
	fd = -1
	err = t.tr.do(func() error {
		r, err := t.recvmsg(over, 1, uapi.MsgDontwait)
		if err != nil {
			return err
		}
		messages, err := unix.ParseSocketControlMessage(r.Control)
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
