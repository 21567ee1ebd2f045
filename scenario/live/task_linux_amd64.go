package live

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"nlmmap/sys"
	"nlmmap/uapi"
)

var le = binary.LittleEndian

// A task is one thread of a traced process. The exported methods, which are those of sys.Task, may be called from
// any goroutine; all others run on the tracer's thread.
type task struct {
	tr   *tracer
	p    *process
	tid  int
	dead bool
	regs unix.PtraceRegs // what every line starts from
	last unix.PtraceRegs // what the last one ended with
	born int             // the task that the last line made

	job *job // set while it runs beside others
}

var _ sys.Task = (*task)(nil)

func (t *task) Tgid() int { return t.p.tgid }

// call makes one system call whose arguments need no memory.
func (t *task) call(nr uint64, args ...uint64) (ret uint64, err error) {
	err = t.do(func() error {
		ret, err = t.syscall(nr, args...)
		return err
	})
	return ret, err
}

// callFd is a call that returns a descriptor or a count.
func (t *task) callFd(nr uint64, args ...uint64) (int, error) {
	ret, err := t.call(nr, args...)
	if err != nil {
		return -1, err
	}
	return int(ret), nil
}

// Clone implements sys.Task. With CLONE_PARENT a child is a child of the program, so that nobody but the tracer has to
// wait for it.
func (t *task) Clone(_ string, flags int) (sys.Task, error) {
	const child = uint64(unix.CLONE_PARENT) | uint64(unix.SIGCHLD)
	switch flags {
	case 0:
		return t.newTask(child)
	case uapi.CloneVM:
		return t.newTask(child | unix.CLONE_VM)
	case sys.SharedAll:
		return t.newTask(unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD)
	}
	return nil, fmt.Errorf("live: clone with flags %#x: %w", flags, unix.EINVAL)
}

func (t *task) newTask(flags uint64) (sys.Task, error) {
	var c *task
	err := t.do(func() (err error) {
		start := func() (*task, error) { return t.clone(flags) }
		if flags&unix.CLONE_THREAD != 0 {
			c, err = start() // it has its process's id
		} else {
			c, err = t.tr.another(start)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (t *task) ExitGroup() error {
	return t.do(func() error {
		if err := t.exit(); !errors.Is(err, unix.ESRCH) {
			return err
		}
		return nil
	})
}

func (t *task) SetCapability(capability int, raise bool) error {
	if capability < 0 || capability > 63 {
		return fmt.Errorf("live: no capability %d: %w", capability, unix.EINVAL)
	}
	return t.do(func() error {
		a, err := t.arena(8 + 24)
		if err != nil {
			return err
		}
		var header [8]byte // of version 3, for the calling thread
		le.PutUint32(header[:], unix.LINUX_CAPABILITY_VERSION_3)
		hdr := a.put(header[:])
		sets, set := a.room(24) // twice: effective, permitted, inheritable
		if _, err := t.syscall(unix.SYS_CAPGET, hdr, sets); err != nil {
			return err
		}
		effective := set[capability/32*12:]
		bits, bit := le.Uint32(effective), uint32(1)<<(capability%32)
		if raise {
			bits |= bit
		} else {
			bits &^= bit
		}
		le.PutUint32(effective, bits)
		_, err = t.syscall(unix.SYS_CAPSET, hdr, sets)
		return err
	})
}

func (t *task) Seteuid(uid uint32) error {
	const unchanged = 1<<32 - 1
	_, err := t.call(unix.SYS_SETRESUID, unchanged, uint64(uid), unchanged)
	return err
}

func (t *task) Close(fd int) error {
	_, err := t.call(unix.SYS_CLOSE, uint64(fd))
	return err
}

func (t *task) Dup(fd int) (int, error) { return t.callFd(unix.SYS_DUP, uint64(fd)) }

func (t *task) Poll(fds []sys.PollFD, timeout sys.Time) (n int, err error) {
	const size = 8 // of struct pollfd
	mem := make([]byte, size*len(fds))
	for i, fd := range fds {
		le.PutUint32(mem[size*i:], uint32(fd.FD))
		le.PutUint16(mem[size*i+4:], uint16(fd.Events))
	}
	err = t.do(func() error {
		b, ready, err := t.wait1(unix.SYS_POLL, mem, timeout, func(at uint64) []uint64 {
			return []uint64{at, uint64(len(fds)), milliseconds(timeout)}
		})
		if err != nil {
			return err
		}
		n = int(ready)
		for i := range fds {
			fds[i].Revents = uint32(le.Uint16(b[size*i+6:]))
		}
		return nil
	})
	return n, err
}

// milliseconds is a timeout as the calls take it, rounded up; -1 is for ever.
func milliseconds(timeout sys.Time) uint64 {
	if timeout < 0 || timeout == sys.Forever {
		return ^uint64(0)
	}
	return uint64((timeout + sys.Millisecond - 1) / sys.Millisecond)
}

func (t *task) EpollCreate() (int, error) { return t.callFd(unix.SYS_EPOLL_CREATE1, 0) }

// epollEventLen is the size of struct epoll_event, which is packed: events, then what epoll_wait gives back.
const epollEventLen = 12

func (t *task) EpollCtl(epfd, op, fd int, events uint32) error {
	return t.do(func() error {
		var event [epollEventLen]byte
		le.PutUint32(event[:], events)
		le.PutUint32(event[4:], uint32(fd))
		_, _, err := t.wait1(unix.SYS_EPOLL_CTL, event[:], 0, func(at uint64) []uint64 {
			return []uint64{uint64(epfd), uint64(op), uint64(fd), at}
		})
		return err
	})
}

func (t *task) EpollWait(epfd, limit int, timeout sys.Time) (events []sys.EpollEvent, err error) {
	limit = min(limit, 1024)
	room := limit
	if room < 0 {
		room = 0 // the kernel refuses it
	}
	err = t.do(func() error {
		mem := make([]byte, epollEventLen*room)
		b, n, err := t.wait1(unix.SYS_EPOLL_WAIT, mem, timeout, func(at uint64) []uint64 {
			return []uint64{uint64(epfd), at, uint64(limit), milliseconds(timeout)}
		})
		if err != nil {
			return err
		}
		for i := range int(n) {
			event := b[epollEventLen*i:]
			events = append(events, sys.EpollEvent{FD: int(le.Uint32(event[4:])), Events: le.Uint32(event)})
		}
		return nil
	})
	return events, err
}

// wait1 makes a call that may wait for timeout and has one argument in memory: args gets its address, and
// what the call left there is returned together with its result.
func (t *task) wait1(nr uint64, mem []byte, timeout sys.Time, args func(at uint64) []uint64) ([]byte, uint64, error) {
	a, err := t.arena(len(mem))
	if err != nil {
		return nil, 0, err
	}
	at := a.put(mem)
	limit := blockLimit
	if timeout > 0 && timeout < sys.Forever {
		limit += time.Duration(timeout)
	}
	n, err := t.syscallLimit(limit, nr, args(at)...)
	if err != nil {
		return nil, 0, err
	}
	return a.fetch(at, len(mem)), n, nil
}

func (t *task) Mmap(addr, length uint64, prot, flags, fd int, offset uint64) (uint64, error) {
	return t.call(unix.SYS_MMAP, addr, length, uint64(prot), uint64(flags), uint64(fd), offset)
}

func (t *task) Munmap(addr, length uint64) error {
	_, err := t.call(unix.SYS_MUNMAP, addr, length)
	return err
}

func (t *task) Mprotect(addr, length uint64, prot int) error {
	_, err := t.call(unix.SYS_MPROTECT, addr, length, uint64(prot))
	return err
}

func (t *task) Madvise(addr, length uint64, advice int) error {
	_, err := t.call(unix.SYS_MADVISE, addr, length, uint64(advice))
	return err
}

func (t *task) Mremap(addr, oldlen, newlen uint64, move, fixed bool, newaddr uint64) (to uint64, err error) {
	err = t.do(func() error {
		var err error
		switch {
		case fixed:
			to, err = t.syscall(unix.SYS_MREMAP, addr, oldlen, newlen, unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED, newaddr)
		case move:
			to, err = t.moveAway(addr, oldlen, newlen)
		default:
			to, err = t.syscall(unix.SYS_MREMAP, addr, oldlen, newlen, 0)
		}
		return err
	})
	return to, err
}

// moveAway moves a mapping to a free range, which it finds by mapping something there: a mapping that keeps its size
// moves only to an address that is given.
func (t *task) moveAway(addr, oldlen, newlen uint64) (uint64, error) {
	reserve := func() (uint64, error) {
		return t.syscall(unix.SYS_MMAP, 0, newlen, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, noFd, 0)
	}
	free, err := reserve()
	if err != nil {
		return 0, err
	}
	if free < addr+oldlen && addr < free+newlen {
		// Part of the mapping is gone, and its place was taken: a range that overlaps the old one is no use.
		taken := free
		free, err = reserve()
		_, _ = t.syscall(unix.SYS_MUNMAP, taken, newlen)
		if err != nil {
			return 0, err
		}
	}
	to, err := t.syscall(unix.SYS_MREMAP, addr, oldlen, newlen, unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED, free)
	if err != nil {
		_, _ = t.syscall(unix.SYS_MUNMAP, free, newlen)
	}
	return to, err
}

func (t *task) Load32(addr uint64) (val uint32, err error) {
	err = t.do(func() error {
		regs, err := t.exec(lineLoad, 0, func(r *unix.PtraceRegs) { r.Rdi = addr })
		val = uint32(regs.Rax)
		return err
	})
	if err != nil {
		return 0, err
	}
	return val, nil
}

func (t *task) Store32(addr uint64, val uint32) error {
	return t.do(func() error {
		_, err := t.exec(lineStore, 0, func(r *unix.PtraceRegs) { r.Rdi, r.Rsi = addr, uint64(val) })
		return err
	})
}

// copy makes the task copy bytes from one of its addresses to another.
func (t *task) copy(to, from uint64, n int) error {
	_, err := t.exec(lineCopy, 0, func(r *unix.PtraceRegs) { r.Rdi, r.Rsi, r.Rcx = to, from, uint64(n) })
	return err
}

func (t *task) ReadMem(addr uint64, buf []byte) error {
	return t.do(func() error {
		a, err := t.arena(len(buf))
		if err != nil {
			return err
		}
		to, mem := a.room(len(buf))
		if err := t.copy(to, addr, len(buf)); err != nil {
			return err
		}
		copy(buf, mem)
		return nil
	})
}

// Gather copies size bytes from each of the addresses into buf. Every stop of a task costs much more than the bytes do.
func (t *task) Gather(addrs []uint64, size int, buf []byte) error {
	if len(addrs) == 0 {
		return nil
	}
	return t.do(func() error {
		a, err := t.arena(len(addrs)*8 + len(buf))
		if err != nil {
			return err
		}
		list, mem := a.room(len(addrs) * 8)
		for i, addr := range addrs {
			le.PutUint64(mem[i*8:], addr)
		}
		to, gathered := a.room(len(addrs) * size)
		_, err = t.exec(lineGather, 0, func(r *unix.PtraceRegs) {
			r.Rbx, r.R8, r.Rdi, r.Rdx = list, uint64(len(addrs)), to, uint64(size)
		})
		copy(buf, gathered)
		return err
	})
}

func (t *task) WriteMem(addr uint64, buf []byte) error {
	return t.do(func() error {
		a, err := t.arena(len(buf))
		if err != nil {
			return err
		}
		return t.copy(addr, a.put(buf), len(buf))
	})
}

// Now is the time since the tracer was started.
func (t *task) Now() sys.Time { return sys.Time(time.Since(t.tr.start)) }

// Yield has nobody to yield to but the kernel: the other tasks stand still until they are asked for something.
func (t *task) Yield() { _, _ = t.call(unix.SYS_SCHED_YIELD) }
