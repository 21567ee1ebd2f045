package kernel

import (
	"encoding/binary"

	"nlmmap/sys"
	"nlmmap/uapi"
)

// The arguments of sendmsg and recvmsg.
type (
	Iovec  = sys.Iovec
	Msghdr = sys.Msghdr
)

// Iov returns the segment that is b.
func Iov(b []byte) Iovec { return sys.Iov(b) }

// checkIovec is what rw_copy_check_uvector does: EINVAL for a negative length, of one segment or of all together.
func checkIovec(m *Msghdr) error {
	sum := 0
	for _, v := range m.Iov {
		if sum += v.Len; v.Len < 0 || sum < 0 {
			return Errorf(EINVAL, "a segment of %d bytes", v.Len)
		}
	}
	return nil
}

// segment is the memory of a segment: EFAULT where its length goes beyond it.
func segment(v Iovec) ([]byte, error) {
	if v.Len > len(v.Base) {
		return nil, Errorf(EFAULT, "%d bytes of memory for a segment of %d", len(v.Base), v.Len)
	}
	return v.Base[:v.Len], nil
}

// Gather copies all segments, one behind the other, into a buffer that holds them: memcpy_from_msg. EFAULT at a segment
// that is a bad address.
func Gather(buf []byte, m *Msghdr) error {
	for _, v := range m.Iov {
		b, err := segment(v)
		if err != nil {
			return err
		}
		buf = buf[copy(buf, b):]
	}
	return nil
}

// Scatter copies data into the segments and returns how much fitted: copy_to_iter. EFAULT at a segment
// that is a bad address.
func Scatter(m *Msghdr, data []byte) (int, error) {
	n := 0
	for _, v := range m.Iov {
		if n == len(data) {
			break
		}
		b, err := segment(v)
		if err != nil {
			return n, err
		}
		n += copy(b, data[n:])
	}
	return n, nil
}

// SocketOps is what an address family does for its sockets (proto_ops).
type SocketOps interface {
	Bind(cur *Task, addr []byte) error
	Connect(cur *Task, addr []byte) error
	Getname(cur *Task, peer bool) ([]byte, error)
	// Sendmsg is called with the open file that the call is made on.
	Sendmsg(cur *Task, f *File, m *Msghdr, flags int) (int, error)
	Recvmsg(cur *Task, m *Msghdr, flags int) (int, error)
	// Setsockopt gets the optlen bytes of the option. Getsockopt gets optlen and returns what is written, at most
	// that much.
	Setsockopt(cur *Task, level, name int, val []byte) error
	Getsockopt(cur *Task, level, name, optlen int) ([]byte, error)
	FileOps
}

// Socket makes a socket and returns its descriptor. EAFNOSUPPORT for a family that nobody registered, ENOMEM.
func (t *Task) Socket(domain, typ, protocol int) (int, error) {
	return syscall(t, SocketCall{domain, typ, protocol}, func() (int, error) {
		if domain < 0 || domain >= len(t.k.families) || t.k.families[domain] == nil {
			return -1, Errorf(EAFNOSUPPORT, "no address family %d", domain)
		}
		if t.NoMemory("socket") {
			return -1, ENOMEM
		}
		ops, err := t.k.families[domain].Create(t, typ, protocol)
		if err != nil {
			return -1, err
		}
		return t.files.install(t, t.k.newFile(ops))
	})
}

// An openSocket is a socket and the open file that a call is made on (struct socket).
type openSocket struct {
	SocketOps
	file *File
}

// onSocket runs fn on the socket behind a descriptor.
func onSocket[C Call](t *Task, call C, fd int, fn func(openSocket) (int, error)) (int, error) {
	return syscall(t, call, func() (int, error) {
		f, err := t.fdget(fd)
		if err != nil {
			return -1, err
		}
		defer f.fdput(t)
		s, ok := f.ops.(SocketOps)
		if !ok {
			return -1, Errorf(ENOTSOCK, "descriptor %d is no socket", fd)
		}
		return fn(openSocket{s, f.File})
	})
}

// withAddress is onSocket for calls with an address: EINVAL when that is longer than any (move_addr_to_kernel).
func withAddress[C Call](t *Task, call C, fd int, addr []byte, fn func(openSocket) (int, error)) (int, error) {
	return onSocket(t, call, fd, func(s openSocket) (int, error) {
		const sockaddrStorage = 128
		if len(addr) > sockaddrStorage {
			return 0, Errorf(EINVAL, "an address of %d bytes", len(addr))
		}
		return fn(s)
	})
}

// Bind gives a socket an address.
func (t *Task) Bind(fd int, addr []byte) error {
	_, err := withAddress(t, BindCall{fd, addr}, fd, addr, func(s openSocket) (int, error) { return 0, s.Bind(t, addr) })
	return err
}

// Connect sets the peer of a socket.
func (t *Task) Connect(fd int, addr []byte) error {
	_, err := withAddress(t, ConnectCall{fd, addr}, fd, addr, func(s openSocket) (int, error) { return 0, s.Connect(t, addr) })
	return err
}

// Getsockname returns a socket's own address.
func (t *Task) Getsockname(fd int) (addr []byte, err error) {
	return getname(t, GetsocknameCall{fd}, fd, false)
}

// Getpeername returns the address that the socket is connected to.
func (t *Task) Getpeername(fd int) (addr []byte, err error) {
	return getname(t, GetpeernameCall{fd}, fd, true)
}

func getname[C Call](t *Task, call C, fd int, peer bool) (addr []byte, err error) {
	_, err = onSocket(t, call, fd, func(s openSocket) (int, error) {
		addr, err = s.Getname(t, peer)
		return 0, err
	})
	return addr, err
}

// Sendmsg sends a message and returns the number of bytes sent.
func (t *Task) Sendmsg(fd int, m *Msghdr, flags int) (int, error) {
	return withAddress(t, SendmsgCall{fd, m, flags}, fd, m.Name, func(s openSocket) (int, error) {
		if err := checkIovec(m); err != nil {
			return 0, err
		}
		return s.Sendmsg(t, s.file, m, flags)
	})
}

// Recvmsg receives a message and returns the number of bytes received.
func (t *Task) Recvmsg(fd int, m *Msghdr, flags int) (int, error) {
	return onSocket(t, RecvmsgCall{fd, m, flags}, fd, func(s openSocket) (int, error) {
		if err := checkIovec(m); err != nil {
			return 0, err
		}
		return s.Recvmsg(t, m, flags)
	})
}

// Sendto sends buf; addr nil sends no address.
func (t *Task) Sendto(fd int, buf []byte, flags int, addr []byte) (int, error) {
	if !t.k.Recycles() {
		return t.Sendmsg(fd, &Msghdr{Name: addr, Iov: []Iovec{Iov(buf)}}, flags)
	}
	t.to.iov[0] = Iov(buf)
	t.to.msg = Msghdr{Name: addr, Iov: t.to.iov[:]}
	n, err := t.Sendmsg(fd, &t.to.msg, flags)
	t.to.msg, t.to.iov[0] = Msghdr{}, Iovec{}
	return n, err
}

// Setsockopt sets an option. EINVAL for a negative length is left to callers that can have one.
func (t *Task) Setsockopt(fd, level, name int, val []byte) error {
	call := SetsockoptCall{fd, level, name, val}
	_, err := onSocket(t, call, fd, func(s openSocket) (int, error) { return 0, s.Setsockopt(t, level, name, val) })
	return err
}

// Getsockopt returns at most optlen bytes of an option.
func (t *Task) Getsockopt(fd, level, name, optlen int) (val []byte, err error) {
	_, err = onSocket(t, GetsockoptCall{fd, level, name, optlen}, fd, func(s openSocket) (int, error) {
		if optlen < 0 {
			return -1, EINVAL
		}
		val, err = s.Getsockopt(t, level, name, optlen)
		return 0, err
	})
	return val, err
}

// Options are what a socket has of level SOL_SOCKET. Package sock has them for all families.
type Options interface {
	Setsockopt(cur *Task, name int, val []byte) error
	Getsockopt(cur *Task, name, optlen int) ([]byte, error)
}

// UnixOptions says what gives UNIX sockets their options. Without any they have none.
func (k *Kernel) UnixOptions(options func(cur *Task) Options) { k.unixOptions = options }

// unixSock is one end of a pair of UNIX datagram sockets: enough to have descriptors in flight, and to refuse what is meant
// for netlink. Its options are kept and change nothing.
type unixSock struct {
	k       *Kernel
	options Options // nil for none
	peer    *unixSock
	lock    Spinlock
	inside  Guarded[unixState]
	wait    WaitQueue
}

// unixState is what the lock of a UNIX socket guards.
type unixState struct {
	queue []unixMsg
	dead  bool
	told  bool // a send of the peer has found this end dead: to the next one there is no peer any more
}

// unixMsg is a datagram: bytes, or a descriptor with a byte that nobody looks at.
type unixMsg struct {
	data []byte
	file *File // nil for none
}

func (t *Task) newUnixSock() *unixSock {
	u := &unixSock{k: t.k}
	if t.k.unixOptions != nil {
		u.options = t.k.unixOptions(t)
	}
	u.lock.Name = "unix_sock"
	u.inside.Guard(&u.lock.Mutex)
	return u
}

// Socketpair makes two connected UNIX datagram sockets, which carry descriptors.
func (t *Task) Socketpair() (a, b int, err error) {
	a, err = syscall(t, SocketpairCall{uapi.AFUnix, uapi.SockDgram}, func() (int, error) {
		ua, ub := t.newUnixSock(), t.newUnixSock()
		ua.peer, ub.peer = ub, ua
		a, err := t.files.install(t, t.k.newFile(ua))
		if err != nil {
			t.k.newFile(ub).put(t)
			return -1, err
		}
		b, err = t.files.install(t, t.k.newFile(ub))
		return a, err
	})
	return a, b, err
}

// SendFD sends a descriptor over a UNIX socket (SCM_RIGHTS): until it is received, or the other end is closed, it is
// in flight and counts as a reference. ECONNREFUSED when nobody can receive it, ENOTCONN from then on.
func (t *Task) SendFD(over, fd int) error {
	_, err := onUnix(t, SendFDCall{over}, over, func(u *unixSock) (int, error) {
		f, err := t.fdget(fd)
		if err != nil {
			return -1, err
		}
		defer f.fdput(t)
		return 0, u.send(t, unixMsg{data: make([]byte, 1), file: f.File})
	})
	return err
}

// send queues a datagram for the peer, with a reference of its own to the file.
func (u *unixSock) send(cur *Task, m unixMsg) error {
	u.peer.lock.Lock(cur)
	to := u.peer.inside.Of(cur)
	if to.dead {
		err := error(ECONNREFUSED)
		if to.told {
			err = ENOTCONN
		}
		to.told = true
		u.peer.lock.Unlock(cur)
		return err
	}
	if m.file != nil {
		m.file.get(cur)
	}
	to.queue = append(to.queue, m)
	u.peer.lock.Unlock(cur)
	u.peer.wait.Wake(cur, uapi.PollIn)
	return nil
}

// Bind implements SocketOps. A netlink address is none of this family.
func (u *unixSock) Bind(*Task, []byte) error { return EINVAL }

// Connect implements SocketOps.
func (u *unixSock) Connect(*Task, []byte) error { return EINVAL }

// Getname implements SocketOps: neither end has a name.
func (u *unixSock) Getname(*Task, bool) ([]byte, error) {
	return binary.LittleEndian.AppendUint16(nil, uapi.AFUnix), nil
}

// Sendmsg implements SocketOps: a datagram to the peer. EINVAL for another destination.
func (u *unixSock) Sendmsg(cur *Task, _ *File, m *Msghdr, flags int) (int, error) {
	switch {
	case flags&uapi.MsgOOB != 0:
		return 0, EOPNOTSUPP
	case m.Name != nil:
		return 0, EINVAL
	}
	data := make([]byte, m.Len())
	if err := Gather(data, m); err != nil {
		return 0, err
	}
	return len(data), u.send(cur, unixMsg{data: data})
}

// Recvmsg implements SocketOps. It never waits: EAGAIN where nothing is there. A descriptor is lost.
func (u *unixSock) Recvmsg(cur *Task, m *Msghdr, flags int) (int, error) {
	if flags&uapi.MsgOOB != 0 {
		return 0, EOPNOTSUPP
	}
	u.lock.Lock(cur)
	in := u.inside.Of(cur)
	if len(in.queue) == 0 {
		u.lock.Unlock(cur)
		return 0, EAGAIN
	}
	got := in.queue[0]
	if flags&uapi.MsgPeek == 0 {
		in.queue = in.queue[1:]
		if got.file != nil {
			defer got.file.put(cur)
		}
	}
	u.lock.Unlock(cur)
	m.Flags, m.Name, m.Control = 0, nil, nil
	n, err := Scatter(m, got.data)
	if n < len(got.data) {
		m.Flags |= uapi.MsgTrunc
		if flags&uapi.MsgTrunc != 0 && err == nil {
			n = len(got.data)
		}
	}
	return n, err
}

// Setsockopt implements SocketOps: the family has no options of its own.
func (u *unixSock) Setsockopt(cur *Task, level, name int, val []byte) error {
	switch {
	case level != uapi.SolSocket:
		return EOPNOTSUPP
	case u.options == nil:
		return ENOPROTOOPT
	}
	return u.options.Setsockopt(cur, name, val)
}

// Getsockopt implements SocketOps. There is never a pending error.
func (u *unixSock) Getsockopt(cur *Task, level, name, optlen int) ([]byte, error) {
	switch {
	case level != uapi.SolSocket:
		return nil, EOPNOTSUPP
	case u.options == nil:
		return nil, ENOPROTOOPT
	}
	return u.options.Getsockopt(cur, name, optlen)
}

// RecvFD receives a descriptor. EAGAIN when none is in flight.
func (t *Task) RecvFD(over int) (int, error) {
	return onUnix(t, RecvFDCall{over}, over, func(u *unixSock) (int, error) {
		u.lock.Lock(t)
		in := u.inside.Of(t)
		if len(in.queue) == 0 {
			u.lock.Unlock(t)
			return -1, EAGAIN
		}
		got := in.queue[0]
		in.queue = in.queue[1:]
		u.lock.Unlock(t)
		if got.file == nil {
			return -1, Errorf(EAGAIN, "a datagram without a descriptor")
		}
		return t.files.install(t, got.file)
	})
}

func onUnix[C Call](t *Task, call C, fd int, fn func(*unixSock) (int, error)) (int, error) {
	return syscall(t, call, func() (int, error) {
		f, err := t.fdget(fd)
		if err != nil {
			return -1, err
		}
		defer f.fdput(t)
		u, ok := f.ops.(*unixSock)
		if !ok {
			return -1, Errorf(EOPNOTSUPP, "descriptor %d is no UNIX socket", fd)
		}
		return fn(u)
	})
}

// Poll implements FileOps.
func (u *unixSock) Poll(cur *Task, pt *PollTable) uint32 {
	pt.Wait(&u.wait)
	u.lock.Lock(cur)
	defer u.lock.Unlock(cur)
	if len(u.inside.Of(cur).queue) > 0 {
		return uapi.PollIn | uapi.PollRdnorm | uapi.PollOut
	}
	return uapi.PollOut
}

// Mmap implements FileOps.
func (u *unixSock) Mmap(*Task, *VMA) error { return ENODEV }

// Release implements FileOps: descriptors in flight to this end are dropped.
func (u *unixSock) Release(cur *Task) {
	u.lock.Lock(cur)
	in := u.inside.Of(cur)
	in.dead = true
	queue := in.queue
	in.queue = nil
	u.lock.Unlock(cur)
	for _, m := range queue {
		if m.file != nil {
			m.file.put(cur)
		}
	}
}
