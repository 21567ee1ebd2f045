package live

import (
	"golang.org/x/sys/unix"
)

// reserve makes the scratch area at least n bytes large.
func (t *task) reserve(n uint64) error {
	m := t.memory()
	if n <= m.size {
		return nil
	}
	size := (n + 0xffff) &^ 0xffff
	addr, err := t.syscall(unix.SYS_MMAP, 0, size, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, noFd, 0)
	if err != nil {
		return err
	}
	if m.size > 0 {
		if _, err := t.syscall(unix.SYS_MUNMAP, m.scratch, m.size); err != nil {
			return err
		}
	}
	m.scratch, m.size = addr, size
	return nil
}

// memory is where the task's arguments are: in an area of its own while it has a job, since others of the process make
// calls meanwhile.
func (t *task) memory() *memory {
	if t.job != nil {
		return &t.job.memory
	}
	return t.p.mem
}

// noFd is -1 as a descriptor.
const noFd = ^uint64(0)

// poke writes to the scratch area. process_vm_writev is one call for all bytes but may be left out of a kernel;
// ptrace moves a word at a time.
func (t *task) poke(addr uint64, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	local, remote := spans(addr, data)
	if n, err := unix.ProcessVMWritev(t.p.tgid, local, remote, 0); err == nil && n == len(data) {
		return nil
	}
	_, err := unix.PtracePokeData(t.tid, uintptr(addr), data)
	return err
}

// peek reads from the scratch area.
func (t *task) peek(addr uint64, buf []byte) error {
	if len(buf) == 0 {
		return nil
	}
	local, remote := spans(addr, buf)
	if n, err := unix.ProcessVMReadv(t.p.tgid, local, remote, 0); err == nil && n == len(buf) {
		return nil
	}
	_, err := unix.PtracePeekData(t.tid, uintptr(addr), buf)
	return err
}

func spans(addr uint64, b []byte) ([]unix.Iovec, []unix.RemoteIovec) {
	local := unix.Iovec{Base: &b[0]}
	local.SetLen(len(b))
	return []unix.Iovec{local}, []unix.RemoteIovec{{Base: uintptr(addr), Len: len(b)}}
}

// An arena lays out the arguments of one system call in the scratch area. Its bytes are written with store before
// the call; fetch reads what the kernel wrote.
type arena struct {
	t    *task
	base uint64
	buf  []byte
}

// arena returns an empty one with room for parts whose sizes sum up to n, and 256 bytes for their alignment.
func (t *task) arena(n int) (*arena, error) {
	n += 256
	if err := t.reserve(uint64(n)); err != nil {
		return nil, err
	}
	return &arena{t: t, base: t.memory().scratch, buf: make([]byte, 0, n)}, nil
}

// room adds n zero bytes, aligned to 8, and returns their address and themselves.
func (a *arena) room(n int) (uint64, []byte) {
	at := (len(a.buf) + 7) &^ 7
	a.buf = a.buf[:at+n]
	return a.base + uint64(at), a.buf[at:]
}

// put adds a copy of b and returns its address.
func (a *arena) put(b []byte) uint64 {
	addr, to := a.room(len(b))
	copy(to, b)
	return addr
}

func (a *arena) store() error { return a.t.poke(a.base, a.buf) }

// fetch reads n bytes at addr.
func (a *arena) fetch(addr uint64, n int) ([]byte, error) {
	b := make([]byte, n)
	return b, a.t.peek(addr, b)
}
