package live

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"

	"nlmmap/scenario"
)

var le = binary.LittleEndian

// A task is one thread of a traced process. The exported methods, which are those of scenario.Task, may be called from
// any goroutine; all others run on the tracer's thread.
type task struct {
	tr   *tracer
	p    *process
	tid  int
	dead bool
	regs unix.PtraceRegs // what every line starts from
	last unix.PtraceRegs // what the last one ended with
	born int             // the task that the last line made
}

var _ scenario.Task = (*task)(nil)

func (t *task) Tgid() int { return t.p.tgid }

// call makes one system call whose arguments need no memory.
func (t *task) call(nr uint64, args ...uint64) (ret uint64, err error) {
	err = t.tr.do(func() error {
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

func (t *task) Fork(string) (scenario.Task, error) {
	// With CLONE_PARENT the child is a child of the program, so that nobody but the tracer has to wait for it.
	return t.newTask(uint64(unix.CLONE_PARENT) | uint64(unix.SIGCHLD))
}

func (t *task) Thread(string) (scenario.Task, error) {
	return t.newTask(unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD)
}

func (t *task) newTask(flags uint64) (scenario.Task, error) {
	var c *task
	err := t.tr.do(func() (err error) {
		c, err = t.clone(flags)
		return err
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Exit ends the process; of a task made by Thread only that thread ends.
func (t *task) Exit() error {
	return t.tr.do(func() error {
		if t.tid != t.p.tgid {
			return t.exit(unix.SYS_EXIT)
		}
		return t.exit(unix.SYS_EXIT_GROUP)
	})
}

func (t *task) Capability(cap int, raise bool) error {
	return t.tr.do(func() error {
		a, err := t.arena(8 + 24)
		if err != nil {
			return err
		}
		var header [8]byte // of version 3, for the calling thread
		le.PutUint32(header[:], unix.LINUX_CAPABILITY_VERSION_3)
		hdr := a.put(header[:])
		sets, _ := a.room(24) // twice: effective, permitted, inheritable
		if err := a.store(); err != nil {
			return err
		}
		if _, err := t.syscall(unix.SYS_CAPGET, hdr, sets); err != nil {
			return err
		}
		b, err := a.fetch(sets, 24)
		if err != nil {
			return err
		}
		effective := b[cap/32*12:]
		bits, bit := le.Uint32(effective), uint32(1)<<(cap%32)
		if raise {
			bits |= bit
		} else {
			bits &^= bit
		}
		le.PutUint32(effective, bits)
		if err := t.poke(sets, b); err != nil {
			return err
		}
		_, err = t.syscall(unix.SYS_CAPSET, hdr, sets)
		return err
	})
}

func (t *task) Seteuid(uid int) error {
	const unchanged = 1<<32 - 1
	_, err := t.call(unix.SYS_SETRESUID, unchanged, uint64(uint32(uid)), unchanged)
	return err
}

func (t *task) Close(fd int) error {
	_, err := t.call(unix.SYS_CLOSE, uint64(fd))
	return err
}

func (t *task) Dup(fd int) (int, error) { return t.callFd(unix.SYS_DUP, uint64(fd)) }

func (t *task) Poll(fd, events, timeout int) (revents int, err error) {
	err = t.tr.do(func() error {
		var pollfd [8]byte
		le.PutUint32(pollfd[:], uint32(fd))
		le.PutUint16(pollfd[4:], uint16(events))
		b, _, err := t.wait1(unix.SYS_POLL, pollfd[:], timeout, func(at uint64) []uint64 {
			return []uint64{at, 1, uint64(timeout)}
		})
		if err == nil {
			revents = int(le.Uint16(b[6:]))
		}
		return err
	})
	return revents, err
}

func (t *task) EpollCreate() (int, error) { return t.callFd(unix.SYS_EPOLL_CREATE1, 0) }

func (t *task) EpollAdd(ep, fd int, events uint32) error {
	return t.tr.do(func() error {
		var event [12]byte // packed: events, then what epoll_wait gives back
		le.PutUint32(event[:], events)
		le.PutUint32(event[4:], uint32(fd))
		_, _, err := t.wait1(unix.SYS_EPOLL_CTL, event[:], 0, func(at uint64) []uint64 {
			return []uint64{uint64(ep), unix.EPOLL_CTL_ADD, uint64(fd), at}
		})
		return err
	})
}

func (t *task) EpollWait(ep, timeout int) (events uint32, err error) {
	err = t.tr.do(func() error {
		b, n, err := t.wait1(unix.SYS_EPOLL_WAIT, make([]byte, 12), timeout, func(at uint64) []uint64 {
			return []uint64{uint64(ep), at, 1, uint64(timeout)}
		})
		if err == nil && n > 0 {
			events = le.Uint32(b)
		}
		return err
	})
	return events, err
}

// wait1 makes a call that may wait for timeout milliseconds and has one argument in memory: args gets its address, and
// what the call left there is returned together with its result.
func (t *task) wait1(nr uint64, mem []byte, timeout int, args func(at uint64) []uint64) ([]byte, uint64, error) {
	a, err := t.arena(len(mem))
	if err != nil {
		return nil, 0, err
	}
	at := a.put(mem)
	if err := a.store(); err != nil {
		return nil, 0, err
	}
	limit := blockLimit
	if timeout > 0 {
		limit += time.Duration(timeout) * time.Millisecond
	}
	n, err := t.syscallLimit(limit, nr, args(at)...)
	if err != nil {
		return nil, 0, err
	}
	b, err := a.fetch(at, len(mem))
	return b, n, err
}

func (t *task) Mmap(fd int, length, offset uint64, prot, flags int) (uint64, error) {
	return t.call(unix.SYS_MMAP, 0, length, uint64(prot), uint64(flags), uint64(fd), offset)
}

func (t *task) Munmap(addr, length uint64) error {
	_, err := t.call(unix.SYS_MUNMAP, addr, length)
	return err
}

func (t *task) Mprotect(addr, length uint64, prot int) error {
	_, err := t.call(unix.SYS_MPROTECT, addr, length, uint64(prot))
	return err
}

func (t *task) MadviseDontneed(addr, length uint64) error {
	_, err := t.call(unix.SYS_MADVISE, addr, length, unix.MADV_DONTNEED)
	return err
}

// Mremap finds a free range by mapping something there, because a mapping that keeps its size moves only to an address
// that is given.
func (t *task) Mremap(addr, length uint64) (to uint64, err error) {
	err = t.tr.do(func() error {
		free, err := t.syscall(unix.SYS_MMAP, 0, length, unix.PROT_NONE,
			unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, noFd, 0)
		if err != nil {
			return err
		}
		to, err = t.syscall(unix.SYS_MREMAP, addr, length, length, unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED, free)
		if err != nil {
			_, _ = t.syscall(unix.SYS_MUNMAP, free, length)
		}
		return err
	})
	return to, err
}

func (t *task) Load32(addr uint64) (val uint32, err error) {
	err = t.tr.do(func() error {
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
	return t.tr.do(func() error {
		_, err := t.exec(lineStore, 0, func(r *unix.PtraceRegs) { r.Rdi, r.Rsi = addr, uint64(val) })
		return err
	})
}

// copy makes the task copy bytes from one of its addresses to another.
func (t *task) copy(to, from uint64, n int) error {
	_, err := t.exec(lineCopy, 0, func(r *unix.PtraceRegs) { r.Rdi, r.Rsi, r.Rcx = to, from, uint64(n) })
	return err
}

func (t *task) Read(addr uint64, buf []byte) error {
	return t.tr.do(func() error {
		if err := t.reserve(uint64(len(buf))); err != nil {
			return err
		}
		if err := t.copy(t.p.scratch, addr, len(buf)); err != nil {
			return err
		}
		return t.peek(t.p.scratch, buf)
	})
}

func (t *task) Write(addr uint64, buf []byte) error {
	return t.tr.do(func() error {
		if err := t.reserve(uint64(len(buf))); err != nil {
			return err
		}
		if err := t.poke(t.p.scratch, buf); err != nil {
			return err
		}
		return t.copy(addr, t.p.scratch, len(buf))
	})
}
