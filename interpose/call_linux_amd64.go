package interpose

import (
	"encoding/binary"
	"errors"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"nlmmap/kernel"
	"nlmmap/subsys/inet"
	"nlmmap/subsys/rtnetlink"
	"nlmmap/sys"
	"nlmmap/uapi"
)

// A call is a system call that waits for its answer.
type call struct {
	s     *Supervisor
	l     listener
	n     notification
	th    *thread
	mem   memory
	begun time.Time

	answered    bool // by a descriptor that was put into the table
	looking     sync.Mutex
	over        bool // the model has done its part
	seen        bool // a signal was pending at the last look
	interrupted atomic.Bool
	sigmask     atomic.Pointer[uint64] // what ppoll and its like block instead

	signalfds uint64 // the signals that end the wait though the thread does not take them: signalfds are read for them
}

// Errors of the kernel that no program sees: it restarts the call, unless a signal handler has run.
const (
	erestartsys    = 512
	erestartnohand = 514
)

func (c *call) arg(i int) uint64 { return c.n.Args[i] }
func (c *call) fd() int          { return int(int32(c.n.Args[0])) }

// pass lets the kernel underneath go on with the call.
func pass() answer { return answer{Flags: flagContinue} }

func result(n int64) answer { return answer{Val: n} }

// fail is the answer with an error's errno.
func fail(err error) answer {
	var errno unix.Errno
	if !errors.As(err, &errno) {
		errno = unix.EIO
	}
	return answer{Error: -int32(errno)}
}

func done(n int, err error) answer {
	if err != nil {
		return fail(err)
	}
	return result(int64(n))
}

// ended is the answer to a call that the model has made. A wait that a signal ended is restarted by the kernel underneath where
// it restarts such calls; with restart false the program sees EINTR.
func (c *call) ended(n int, err error, restart int32) answer {
	switch {
	case errors.Is(err, kernel.ErrKilled), errors.Is(err, kernel.ErrBlocks) && c.th.task.Hung():
		// An oops: the modelled kernel has killed the process, or it waits for ever for what the oops left locked.
		c.s.report("process %d: %v", c.th.proc.tgid, err)
		_ = unix.PidfdSendSignal(c.th.proc.pidfd, unix.SIGKILL, nil, 0)
		return fail(unix.EINTR)
	case errors.Is(err, sys.EINTR) && c.interrupted.Load():
		return answer{Error: -restart}
	}
	return done(n, err)
}

// lookForSignal ends the wait when the thread has a signal to take, or is dead.
func (c *call) lookForSignal() {
	c.looking.Lock()
	defer c.looking.Unlock()
	if c.over {
		return
	}
	if !c.l.valid(c.n.ID) {
		c.th.task.Interrupt()
		return
	}
	st, err := readStatus(c.th.tid)
	if err != nil {
		return
	}
	if (st.pending|st.shared)&c.signalfds != 0 {
		c.th.task.Interrupt()
		return
	}
	blocked := st.blocked
	if mask := c.sigmask.Load(); mask != nil {
		blocked = *mask
	}
	// A signal of the whole process may be another thread's to take: it is gone at the next look then.
	pending := st.pending &^ blocked
	shared := st.shared &^ blocked &^ st.ignored
	if pending == 0 && (shared == 0 || !c.seen) {
		c.seen = shared != 0
		return
	}
	c.interrupted.Store(true)
	c.th.task.Interrupt()
}

// make makes the call.
func (c *call) make() answer {
	c.restore()
	if c.th.tid == c.th.proc.tgid && c.th.proc.changed.Load() { // no other thread is left
		c.s.afterExec(c.th.proc)
	}
	if c.n.Arch != unix.AUDIT_ARCH_X86_64 {
		return c.socket32()
	}
	nr := int(c.n.Nr)
	switch nr {
	case unix.SYS_SOCKET:
		return c.socket()
	case unix.SYS_POLL, unix.SYS_PPOLL:
		return c.poll()
	case unix.SYS_SELECT, unix.SYS_PSELECT6:
		return c.selectCall()
	case unix.SYS_EPOLL_CREATE, unix.SYS_EPOLL_CREATE1:
		return c.epollCreate()
	case unix.SYS_EPOLL_CTL:
		return c.epollCtl()
	case unix.SYS_EPOLL_WAIT, unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_PWAIT2:
		return c.epollWait()
	case unix.SYS_MMAP:
		return c.mmap()
	case unix.SYS_MUNMAP, unix.SYS_MREMAP, unix.SYS_MPROTECT:
		return c.remapped()
	case unix.SYS_OPEN, unix.SYS_OPENAT:
		return c.open()
	case unix.SYS_FORK, unix.SYS_VFORK, unix.SYS_CLONE, unix.SYS_CLONE3:
		return c.fork()
	case unix.SYS_EXECVE, unix.SYS_EXECVEAT:
		c.th.proc.changes()
		c.th.proc.mu.Lock()
		c.th.proc.execed = true
		c.th.proc.mu.Unlock()
		c.th.proc.changed.Store(true)
		return pass()
	case unix.SYS_CLOSE, unix.SYS_CLOSE_RANGE, unix.SYS_DUP, unix.SYS_DUP2, unix.SYS_DUP3:
		c.th.proc.changes()
		return pass()
	case unix.SYS_SETUID, unix.SYS_SETGID, unix.SYS_SETREUID, unix.SYS_SETREGID, unix.SYS_SETRESUID, unix.SYS_SETRESGID,
		unix.SYS_CAPSET, unix.SYS_UNSHARE, unix.SYS_SETNS:
		c.th.identity = true
		return pass()
	case unix.SYS_FCNTL:
		if cmd := int(int32(c.arg(1))); cmd != unix.F_SETFL {
			c.th.proc.changes()
			return pass()
		}
	}
	f, fd := c.s.lookup(c.th.proc, c.fd())
	if f == nil || f.isEpoll() {
		switch nr {
		case unix.SYS_IOCTL:
			if c.s.devices != nil && rtnetlink.IsDeviceRequest(uint32(c.arg(1))) && c.th.isSocket(c.fd()) {
				return c.deviceIoctl()
			}
		case unix.SYS_RECVMSG, unix.SYS_RECVMMSG:
			c.th.proc.changes() // descriptors may come
		case unix.SYS_WRITE, unix.SYS_WRITEV, unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_SENDMMSG:
			if f == nil && c.stack().Filtered(c.s.cur) {
				return c.datagram(nr)
			}
		}
		return pass()
	}
	c.s.hangups()
	c.follow()
	return c.onSocket(nr, f, fd)
}

// deviceIoctl answers a request about a device, of which there are those of the model.
func (c *call) deviceIoctl() answer {
	c.follow()
	var ifr [rtnetlink.IfreqLen]byte
	if err := c.mem.read(c.arg(2), ifr[:]); err != nil {
		return fail(err)
	}
	if err := c.s.devices.DeviceIoctl(c.th.task, c.th.task.Net(), uint32(c.arg(1)), &ifr); err != nil {
		return fail(err)
	}
	return done(0, c.mem.write(c.arg(2), ifr[:]))
}

// follow gives the model's task the identity and the namespace that the thread has, if they may have changed.
func (c *call) follow() {
	if !c.th.identity {
		return
	}
	c.th.identity = false
	if st, err := readStatus(c.th.tid); err == nil {
		c.th.task.SetCredentials(st.cred)
	}
	if net := c.s.netOf(c.th.tid); net != nil {
		c.th.task.SetNet(net)
	}
}

// stack is the IP stack of the thread's namespace.
func (c *call) stack() *inet.Stack {
	c.follow()
	return c.s.inet.Stack(c.th.task.Net())
}

// fork lets a process have a child, or a thread.
func (c *call) fork() answer {
	var flags uint32
	switch c.n.Nr {
	case unix.SYS_CLONE:
		flags = uint32(c.arg(0))
	case unix.SYS_CLONE3:
		flags, _ = c.mem.word(c.arg(0)) // what cannot be read makes clone3 fail
	}
	if flags&unix.CLONE_THREAD != 0 {
		c.th.task.Threads()
		return pass()
	}
	p := c.th.proc
	c.s.mu.Lock()
	full := len(c.s.processes) >= c.s.limit
	c.s.mu.Unlock()
	if full {
		return fail(unix.EAGAIN)
	}
	p.changes()
	p.mu.Lock()
	p.forked = true
	p.mu.Unlock()
	return pass()
}

// onSocket makes a call on a netlink socket that the model's task has as fd.
func (c *call) onSocket(nr int, f *file, fd int) answer {
	t := c.th.task
	switch nr {
	case unix.SYS_BIND, unix.SYS_CONNECT:
		addr, err := c.address(c.arg(1), int32(c.arg(2)))
		if err != nil {
			return fail(err)
		}
		if nr == unix.SYS_BIND {
			return done(0, t.Bind(fd, addr))
		}
		return done(0, t.Connect(fd, addr))
	case unix.SYS_GETSOCKNAME, unix.SYS_GETPEERNAME:
		name := t.Getsockname
		if nr == unix.SYS_GETPEERNAME {
			name = t.Getpeername
		}
		addr, err := name(fd)
		if err != nil {
			return fail(err)
		}
		return done(0, c.giveSized(addr, c.arg(1), c.arg(2)))
	case unix.SYS_SETSOCKOPT:
		return c.setsockopt(f, fd)
	case unix.SYS_GETSOCKOPT:
		return c.getsockopt(fd)
	case unix.SYS_READ, unix.SYS_READV, unix.SYS_RECVFROM, unix.SYS_RECVMSG, unix.SYS_RECVMMSG:
		return c.receive(nr, f, fd)
	case unix.SYS_WRITE, unix.SYS_WRITEV, unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_SENDMMSG:
		return c.sendCall(nr, f, fd)
	case unix.SYS_IOCTL:
		switch uint32(c.arg(1)) {
		case fionbio:
			on, err := c.mem.word(c.arg(2))
			if err == nil {
				f.nonblock.Store(on != 0)
			}
			return pass()
		case fioclex, fionclex, fioasync:
			return pass()
		}
		return fail(unix.EOPNOTSUPP)
	case unix.SYS_FCNTL:
		f.nonblock.Store(c.arg(2)&unix.O_NONBLOCK != 0)
		return pass()
	}
	return fail(unix.EOPNOTSUPP) // listen, accept, shutdown
}

// socket makes a netlink socket and puts a placeholder into the program's table.
func (c *call) socket() answer {
	c.s.hangups()
	c.follow()
	typ := int(int32(c.arg(1)))
	flags := typ & (unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC)
	fd, err := c.th.task.Socket(uapi.AFNetlink, typ&^(unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC), int(int32(c.arg(2))))
	if err != nil {
		return fail(err)
	}
	f := &file{epoll: -1, memfds: map[uint64]bool{}}
	f.nonblock.Store(flags&unix.SOCK_NONBLOCK != 0)
	near, far, inode, err := placeholder(f.nonblock.Load())
	if err != nil {
		_ = c.th.task.Close(fd)
		return fail(unix.ENFILE)
	}
	f.far, f.inode = far, inode
	err = c.install(f, fd, near, flags&unix.SOCK_CLOEXEC != 0)
	_ = unix.Close(near)
	if err != nil {
		_ = unix.Close(far)
		return fail(err)
	}
	return answer{}
}

// socket32 refuses netlink sockets to calls of the 32-bit architecture: the model does not know the layouts of what follows.
func (c *call) socket32() answer {
	family := uint32(c.arg(0))
	if c.n.Nr == socketcall32 {
		const makesSocket = 1
		var err error
		if family != makesSocket {
			return pass()
		}
		if family, err = c.mem.word(c.arg(1)); err != nil {
			return pass()
		}
	}
	if family != unix.AF_NETLINK {
		return pass()
	}
	c.s.report("process %d asks for a netlink socket as a 32-bit program, which cannot have one here", c.th.proc.tgid)
	return fail(unix.EAFNOSUPPORT)
}

// install answers the call with a new descriptor: own, of this process, goes into the program's table, where it stands for a file
// that the model's task has as fd. When there is no room (EMFILE) the model's goes again.
func (c *call) install(f *file, fd, own int, cloexec bool) error {
	p := c.th.proc
	p.mu.Lock()
	defer p.mu.Unlock()
	n, err := c.l.add(c.n.ID, own, -1, cloexec, true)
	if err != nil {
		_ = c.th.task.Close(fd)
		return err
	}
	c.answered = true
	if _, ok := p.fds[n]; ok {
		c.s.drop(p, n)
	}
	delete(p.others, n)
	p.fds[n] = descriptor{f, fd}
	if err := c.s.enter(f, p.task, fd); err != nil {
		c.s.report("%v", err)
	}
	return nil
}

// address reads a socket address.
func (c *call) address(at uint64, length int32) ([]byte, error) {
	const longest = 128
	if length < 0 || length > longest {
		return nil, unix.EINVAL
	}
	buf := make([]byte, length)
	return buf, c.mem.read(at, buf)
}

// giveSized writes what the program asked for with a pointer to its room: at most that much, and then how much there was.
func (c *call) giveSized(data []byte, at, lenAt uint64) error {
	room, err := c.mem.word(lenAt)
	if err != nil {
		return err
	}
	if int32(room) < 0 {
		return unix.EINVAL
	}
	if err := c.mem.write(at, data[:min(len(data), int(room))]); err != nil {
		return err
	}
	return c.mem.setWord(lenAt, uint32(len(data)))
}

// longestOption bounds what is read of an option: a filter's instructions are the longest.
const longestOption = 4096 * 8

func (c *call) setsockopt(f *file, fd int) answer {
	level, name, n := int(int32(c.arg(1))), int(int32(c.arg(2))), int32(c.arg(4))
	if n < 0 {
		return fail(unix.EINVAL)
	}
	var val []byte
	if level == unix.SOL_SOCKET && name == unix.SO_ATTACH_FILTER {
		var fprog [16]byte
		if int(n) != len(fprog) {
			return fail(unix.EINVAL)
		}
		if err := c.mem.read(c.arg(3), fprog[:]); err != nil {
			return fail(err)
		}
		at := binary.LittleEndian.Uint64(fprog[8:])
		if at == 0 {
			return fail(unix.EINVAL)
		}
		val = make([]byte, 8*int(binary.LittleEndian.Uint16(fprog[:])))
		if err := c.mem.read(at, val); err != nil {
			return fail(err)
		}
	} else {
		val = make([]byte, min(n, longestOption))
		if err := c.mem.read(c.arg(3), val); err != nil {
			return fail(err)
		}
	}
	if level == uapi.SolNetlink && (name == uapi.NetlinkRxRing || name == uapi.NetlinkTxRing) {
		c.s.refresh() // a ring that is mapped cannot be set
	}
	err := c.th.task.Setsockopt(fd, level, name, val)
	if err == nil && level == unix.SOL_SOCKET {
		switch finite := slices.ContainsFunc(val, func(b byte) bool { return b != 0 }); name {
		case unix.SO_RCVTIMEO:
			f.recvTimeout.Store(finite)
		case unix.SO_SNDTIMEO:
			f.sendTimeout.Store(finite)
		}
	}
	return done(0, err)
}

func (c *call) getsockopt(fd int) answer {
	room, err := c.mem.word(c.arg(4))
	if err != nil {
		return fail(err)
	}
	val, err := c.th.task.Getsockopt(fd, int(int32(c.arg(1))), int(int32(c.arg(2))), int(int32(room)))
	if err != nil {
		return fail(err)
	}
	written := val
	if int32(c.arg(1)) == uapi.SolNetlink && len(val) == 4 && int32(c.arg(2)) != uapi.NetlinkListMemberships {
		written = val[:1] // netlink_getsockopt writes one byte of a flag, and says 4
	}
	if err := c.mem.write(c.arg(3), written); err != nil {
		return fail(err)
	}
	return done(0, c.mem.setWord(c.arg(4), uint32(len(val))))
}

var procNet = regexp.MustCompile(`^/proc/(?:(?:self|thread-self|[0-9]+)/)?net/(.*)$`)

// open gives the program the model's files of /proc/net.
func (c *call) open() answer {
	at, flagsAt := 0, 1
	if c.n.Nr == unix.SYS_OPENAT {
		at, flagsAt = 1, 2
	}
	path, err := c.mem.text(c.arg(at), 256)
	if err != nil || !strings.HasPrefix(path, "/proc/") {
		return pass()
	}
	m := procNet.FindStringSubmatch(filepath.Clean(path))
	if m == nil {
		return pass()
	}
	c.s.refresh()
	c.follow()
	text, err := c.th.task.ReadProc("/proc/net/" + m[1])
	if err != nil {
		return pass()
	}
	if c.arg(flagsAt)&unix.O_ACCMODE != unix.O_RDONLY {
		return fail(unix.EACCES)
	}
	fd, err := unix.MemfdCreate("proc", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return fail(err)
	}
	defer unix.Close(fd)
	if _, err := unix.Pwrite(fd, []byte(text), 0); err != nil {
		return fail(err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		return fail(err)
	}
	c.th.proc.changes()
	if _, err := c.l.add(c.n.ID, fd, -1, c.arg(flagsAt)&unix.O_CLOEXEC != 0, true); err != nil {
		return fail(err)
	}
	c.answered = true
	return answer{}
}

// mmap lets a program map rings: the model first, and then the kernel underneath, which finds a memfd in the placeholder's
// place.
func (c *call) mmap() answer {
	p := c.th.proc
	flags := int(int32(c.arg(3)))
	if flags&unix.MAP_FIXED != 0 {
		c.unmapped(c.arg(0), c.arg(1))
	}
	if flags&unix.MAP_ANONYMOUS != 0 {
		return pass()
	}
	at := int(int32(c.arg(4)))
	f, fd := c.s.lookup(p, at)
	if f == nil || f.isEpoll() {
		return pass()
	}
	c.s.hangups()
	length := c.arg(1)
	model, err := c.th.task.Mmap(0, length, int(c.arg(2)), flags&^(unix.MAP_FIXED|unix.MAP_FIXED_NOREPLACE), fd, c.arg(5))
	if err != nil {
		return c.ended(0, err, erestartsys)
	}
	placeholder, err := unix.PidfdGetfd(p.pidfd, at, 0)
	if err != nil {
		return fail(err)
	}
	memfd, err := c.th.task.RingFD(model)
	if err != nil {
		return fail(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(memfd, &st); err != nil {
		return fail(err)
	}
	cloexec, _ := c.descriptorFlags(at)
	if _, err := c.l.add(c.n.ID, memfd, at, cloexec, false); err != nil {
		return fail(err)
	}
	c.th.replaced.Store(&replacement{at, placeholder})
	c.s.mu.Lock()
	c.s.memfds[st.Ino] = f
	f.memfds[st.Ino] = true
	c.s.mu.Unlock()
	p.mu.Lock()
	p.rings = append(p.rings, ringMap{model: model, size: (length + 4095) &^ 4095, inode: st.Ino})
	if p.over {
		c.th.dropPlaceholder()
	}
	p.mu.Unlock()
	return pass()
}

// descriptorFlags reports whether a descriptor of the program is closed by exec.
func (c *call) descriptorFlags(fd int) (cloexec bool, err error) {
	text, err := readFile("/proc/", c.th.proc.tgid, "/fdinfo/", fd)
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(text) {
		if flags, ok := strings.CutPrefix(line, "flags:"); ok {
			return parseOctal(strings.TrimSpace(flags))&unix.O_CLOEXEC != 0, nil
		}
	}
	return false, nil
}

// restore puts the placeholder back after an mmap call of the thread.
func (c *call) restore() {
	r := c.th.replaced.Swap(nil)
	if r == nil {
		return
	}
	defer unix.Close(r.placeholder)
	if f, _ := c.s.lookup(c.th.proc, r.at); f != nil {
		cloexec, _ := c.descriptorFlags(r.at)
		_, _ = c.l.add(c.n.ID, r.placeholder, r.at, cloexec, false)
	}
	c.th.proc.mu.Lock()
	c.s.remap(c.th.proc)
	c.th.proc.mu.Unlock()
}

// remapped tells the model of a change of memory that is about to be made.
func (c *call) remapped() answer {
	at, size := c.arg(0), c.arg(1)
	switch c.n.Nr {
	case unix.SYS_MUNMAP:
		c.unmapped(at, size)
	case unix.SYS_MPROTECT:
		c.overlapping(at, size, func(r *ringMap, from, n uint64) bool {
			_ = c.th.task.Mprotect(from, n, int(c.arg(2)))
			return true
		})
	case unix.SYS_MREMAP:
		newSize, flags := c.arg(2), c.arg(3)
		if flags&unix.MREMAP_FIXED != 0 {
			c.unmapped(c.arg(4), newSize)
		}
		c.overlapping(at, size, func(r *ringMap, from, n uint64) bool {
			to, err := c.th.task.Mremap(from, n, newSize, flags&unix.MREMAP_MAYMOVE != 0 && newSize > n || flags&unix.MREMAP_FIXED != 0, false, 0)
			if err != nil {
				return true
			}
			// Where it went the kernel underneath decides.
			*r = ringMap{model: to, size: newSize, inode: r.inode}
			return true
		})
	}
	return pass()
}

// overlapping calls fn for the mappings of rings that a range touches, with the range in the model's memory. fn reports whether
// the mapping stays.
func (c *call) overlapping(at, size uint64, fn func(r *ringMap, from, n uint64) bool) {
	p := c.th.proc
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.rings) == 0 {
		return
	}
	c.s.remap(p)
	var kept []ringMap
	for _, r := range p.rings {
		from, to := max(at, r.at), min(at+(size+4095)&^4095, r.at+r.size)
		if r.at == 0 || from >= to || fn(&r, r.model+from-r.at, to-from) {
			kept = append(kept, r)
			continue
		}
		if from > r.at {
			lower := r
			lower.size = from - r.at
			kept = append(kept, lower)
		}
		if end := r.at + r.size; to < end {
			upper := r
			upper.at, upper.model, upper.size = to, r.model+to-r.at, end-to
			kept = append(kept, upper)
		}
	}
	p.rings = kept
}

func (c *call) unmapped(at, size uint64) {
	c.overlapping(at, size, func(r *ringMap, from, n uint64) bool {
		_ = c.th.task.Munmap(from, n)
		return false
	})
}
