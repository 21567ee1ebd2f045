package interpose

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"nlmmap/kernel"
)

// readFile returns the text of a file of /proc whose path is the parts.
func readFile(parts ...any) (string, error) {
	data, err := os.ReadFile(fmt.Sprint(parts...))
	return string(data), err
}

func parseOctal(text string) uint64 {
	n, _ := strconv.ParseUint(text, 8, 64)
	return n
}

const (
	msghdrSize   = 56
	mmsghdrSize  = 64
	iovecMax     = 1024
	longestCopy  = 64 << 20 // no message is longer
	controlRoom  = 4096
	sockaddrRoom = 128
)

// A header is a struct msghdr of the program.
type header struct {
	at                 uint64 // 0 for a call without one
	name, iov, control uint64
	nameLen            int32
	iovLen, controlLen uint64
	segments           []segment
}

type segment struct{ at, n uint64 }

// header reads the msghdr at an address. EFAULT, EMSGSIZE for too many segments.
func (c *call) header(at uint64) (*header, error) {
	var b [msghdrSize]byte
	if err := c.mem.read(at, b[:]); err != nil {
		return nil, err
	}
	word := func(off int) uint64 { return binary.LittleEndian.Uint64(b[off:]) }
	h := &header{at: at, name: word(0), nameLen: int32(word(8)), iov: word(16), iovLen: word(24), control: word(32), controlLen: word(40)}
	if h.nameLen < 0 {
		return nil, unix.EINVAL
	}
	return h, c.segments(h)
}

// segments reads the segments of a header.
func (c *call) segments(h *header) error {
	if h.iovLen > iovecMax {
		return unix.EMSGSIZE
	}
	b := make([]byte, 16*h.iovLen)
	if err := c.mem.read(h.iov, b); err != nil {
		return err
	}
	for ; len(b) > 0; b = b[16:] {
		h.segments = append(h.segments, segment{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])})
	}
	return nil
}

// plain is the header of a call with one buffer, or with segments.
func (c *call) plain(vector bool) (*header, error) {
	if !vector {
		return &header{segments: []segment{{c.arg(1), c.arg(2)}}}, nil
	}
	h := &header{iov: c.arg(1), iovLen: c.arg(2)}
	if h.iovLen > iovecMax {
		return nil, unix.EINVAL
	}
	return h, c.segments(h)
}

// outgoing reads what a program sends. A segment that is a bad address is left to the model: it may look at it or not.
func (c *call) outgoing(h *header) (*kernel.Msghdr, error) {
	m := &kernel.Msghdr{}
	if h.name != 0 && h.nameLen > 0 {
		addr, err := c.address(h.name, h.nameLen)
		if err != nil {
			return nil, err
		}
		m.Name = addr
	}
	if h.control != 0 && h.controlLen > 0 {
		if h.controlLen > controlRoom {
			return nil, unix.ENOBUFS
		}
		m.Control = make([]byte, h.controlLen)
		if err := c.mem.read(h.control, m.Control); err != nil {
			return nil, err
		}
	}
	left := uint64(longestCopy)
	for _, s := range h.segments {
		v := kernel.Iovec{Len: int(s.n)}
		switch {
		case s.at == 0:
		case s.n > left:
			return nil, unix.EMSGSIZE
		default:
			v.Base = make([]byte, s.n)
			if c.mem.read(s.at, v.Base) != nil {
				v.Base = []byte{}
			}
			left -= s.n
		}
		m.Iov = append(m.Iov, v)
	}
	return m, nil
}

// sendCall makes the calls that send on a netlink socket.
func (c *call) sendCall(nr int, f *file, fd int) answer {
	return c.sending(nr, restart(f.sendTimeout.Load()), func(h *header, flags int) (int, error) { return c.send(h, f, fd, flags) })
}

// sending calls send for each message of a call.
func (c *call) sending(nr int, interrupted int32, send func(h *header, flags int) (int, error)) answer {
	var h *header
	var err error
	flags := 0
	switch nr {
	case unix.SYS_WRITE, unix.SYS_WRITEV:
		h, err = c.plain(nr == unix.SYS_WRITEV)
	case unix.SYS_SENDTO:
		h, err = c.plain(false)
		h.name, h.nameLen, flags = c.arg(4), int32(c.arg(5)), int(int32(c.arg(3)))
		if h.name != 0 && h.nameLen < 0 {
			err = unix.EINVAL
		}
	case unix.SYS_SENDMSG:
		h, err = c.header(c.arg(1))
		flags = int(int32(c.arg(2)))
	case unix.SYS_SENDMMSG:
		return c.many(int(uint32(c.arg(2))), interrupted, func(at uint64) (int, error) {
			h, err := c.header(at)
			if err != nil {
				return 0, err
			}
			return send(h, int(int32(c.arg(3))))
		})
	}
	if err != nil {
		return fail(err)
	}
	n, err := send(h, flags)
	return c.ended(n, err, interrupted)
}

// restart is how an interrupted call ends on a socket with or without a timeout (sock_intr_errno).
func restart(timeout bool) int32 {
	if timeout {
		return int32(unix.EINTR)
	}
	return erestartsys
}

func (c *call) send(h *header, f *file, fd, flags int) (int, error) {
	m, err := c.outgoing(h)
	if err != nil {
		return 0, err
	}
	if len(m.Iov) > 0 && m.Iov[0].Base == nil {
		// The TX ring is sent: how depends on who else has the socket.
		c.s.refresh()
	}
	if f.nonblock.Load() {
		flags |= unix.MSG_DONTWAIT
	}
	return c.th.task.Sendmsg(fd, m, flags)
}

// many makes one call after the other, as sendmmsg and recvmmsg do: an error after the first is none.
func (c *call) many(n int, interrupted int32, each func(at uint64) (int, error)) answer {
	for i := range min(n, iovecMax) {
		at := c.arg(1) + uint64(i*mmsghdrSize)
		length, err := each(at)
		if err == nil {
			err = c.mem.setWord(at+msghdrSize, uint32(length))
		}
		if err != nil {
			if i > 0 {
				return result(int64(i))
			}
			return c.ended(0, err, interrupted)
		}
	}
	return result(int64(min(n, iovecMax)))
}

// receive makes the calls that receive.
func (c *call) receive(nr int, f *file, fd int) answer {
	var h *header
	var err error
	flags := 0
	switch nr {
	case unix.SYS_READ, unix.SYS_READV:
		if h, err = c.plain(nr == unix.SYS_READV); err == nil && h.length() == 0 {
			return result(0)
		}
	case unix.SYS_RECVFROM:
		h, err = c.plain(false)
		flags = int(int32(c.arg(3)))
	case unix.SYS_RECVMSG:
		h, err = c.header(c.arg(1))
		flags = int(int32(c.arg(2)))
	case unix.SYS_RECVMMSG:
		return c.recvmmsg(f, fd)
	}
	if err != nil {
		return fail(err)
	}
	m, n, err := c.recv(h, f, fd, flags)
	if err == nil && nr == unix.SYS_RECVFROM && c.arg(4) != 0 {
		err = c.giveSized(m.Name, c.arg(4), c.arg(5))
	}
	return c.ended(n, err, restart(f.recvTimeout.Load()))
}

func (c *call) recvmmsg(f *file, fd int) answer {
	flags := int(int32(c.arg(3)))
	first := true
	return c.many(int(uint32(c.arg(2))), restart(f.recvTimeout.Load()), func(at uint64) (int, error) {
		h, err := c.header(at)
		if err != nil {
			return 0, err
		}
		each := flags &^ unix.MSG_WAITFORONE
		if !first && flags&unix.MSG_WAITFORONE != 0 {
			each |= unix.MSG_DONTWAIT
		}
		first = false
		_, n, err := c.recv(h, f, fd, each)
		return n, err
	})
}

func (h *header) length() uint64 {
	var n uint64
	for _, s := range h.segments {
		n += s.n
	}
	return n
}

// recv receives one message and writes it where the header says.
func (c *call) recv(h *header, f *file, fd, flags int) (*kernel.Msghdr, int, error) {
	if f.nonblock.Load() {
		flags |= unix.MSG_DONTWAIT
	}
	m := &kernel.Msghdr{WantControl: h.at != 0}
	buf := c.th.room(min(h.length(), longestCopy))
	var whole []byte = buf
	for _, s := range h.segments {
		n := min(s.n, uint64(len(buf)))
		m.Iov = append(m.Iov, kernel.Iovec{Base: buf[:n:n], Len: int(n)})
		buf = buf[n:]
	}
	n, err := c.th.task.Recvmsg(fd, m, flags)
	if err != nil {
		return m, n, err
	}
	left := min(n, len(whole))
	for _, s := range h.segments {
		part := min(left, int(min(s.n, longestCopy)))
		if err := c.mem.write(s.at, whole[:part]); err != nil {
			return m, n, err
		}
		whole, left = whole[part:], left-part
	}
	if h.at == 0 {
		return m, n, nil
	}
	return m, n, c.giveHeader(h, m)
}

// room returns a buffer that the thread's calls use one after the other.
func (th *thread) room(n uint64) []byte {
	if uint64(cap(th.buf)) < n {
		th.buf = make([]byte, n)
	}
	return th.buf[:n]
}

// giveHeader writes what recvmsg says in a msghdr: the source, control messages and flags.
func (c *call) giveHeader(h *header, m *kernel.Msghdr) error {
	if h.name != 0 {
		if err := c.mem.write(h.name, m.Name[:min(len(m.Name), int(h.nameLen))]); err != nil {
			return err
		}
		if err := c.mem.setWord(h.at+8, uint32(len(m.Name))); err != nil {
			return err
		}
	}
	control, flags := m.Control, m.Flags
	if uint64(len(control)) > h.controlLen {
		control, flags = fitControl(control, int(h.controlLen)), flags|unix.MSG_CTRUNC
	}
	if err := c.mem.write(h.control, control); err != nil {
		return err
	}
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], uint64(len(control)))
	binary.LittleEndian.PutUint32(b[8:], uint32(flags))
	// msg_controllen and msg_flags; the padding behind is the program's.
	return c.mem.write(h.at+40, b[:12])
}

// fitControl cuts control messages to the room that there is, as put_cmsg does: the last one is shorter than it says it would
// be, and what has no room for its header is left out.
func fitControl(control []byte, room int) []byte {
	const head = 16
	var out []byte
	for len(control) >= head {
		n := int(binary.LittleEndian.Uint64(control))
		if n < head || n > len(control) || room-len(out) < head {
			break
		}
		fits := min(n, room-len(out))
		cut := append([]byte(nil), control[:fits]...)
		binary.LittleEndian.PutUint64(cut, uint64(fits))
		out = append(out, cut...)
		next := min((n+7)&^7, len(control))
		for pad := fits; pad < next && len(out) < room; pad++ {
			out = append(out, 0)
		}
		control = control[next:]
	}
	return out
}
