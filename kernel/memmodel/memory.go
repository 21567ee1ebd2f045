// Package memmodel is the memory that simulated kernels and userspace share, and the order in which accesses to it become
// visible.
//
// A Memory is the pages of one ring: a memfd that is mapped once for the kernel and once more for every userspace
// mapping, or plain heap memory where booting must be cheap or the race detector must see the accesses. All accesses
// go through a CPU, which decides what the running task sees: nil is the sequentially consistent machine without
// scheduling points.
package memmodel

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"nlmmap/kernel/sched"
)

// Memory is a run of zeroed pages.
type Memory struct {
	buf    []byte
	fd     int     // memfd, -1 for heap memory
	at     int     // where in the memfd
	home   *Memory // in whose memfd it lies after Join; nil for its own
	freed  atomic.Bool
	obj    sched.Obj
	log    []change // Weak: what became visible, oldest first
	loads  []load   // Weak: those that what becomes visible next comes after
	report func(what string)
	unmap  runtime.Cleanup
}

// NewHeap returns size bytes of heap memory. report is told of accesses that a real kernel would have made outside it
// or after it was freed; they read zeros and write nothing.
func NewHeap(size int, report func(what string)) *Memory {
	// Words are accessed atomically: allocate them as words, so that they are aligned.
	words := make([]uint64, (size+7)/8)
	var buf []byte
	if size > 0 {
		buf = unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), size)
	}
	return &Memory{buf: buf, fd: -1, report: report}
}

// NewMemfd returns size bytes of memory that other processes can map: see FD. The error wraps the errno of the system
// call that failed.
func NewMemfd(size int, report func(what string)) (*Memory, error) {
	fd, err := unix.MemfdCreate("netlink-ring", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		return nil, errors.Join(fmt.Errorf("ftruncate of a memfd: %w", err), unix.Close(fd))
	}
	buf, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("mmap of a memfd: %w", err), unix.Close(fd))
	}
	m := &Memory{buf: buf, fd: fd, report: report}
	// A late access of a buggy kernel must find memory, not a fault of this process: unmap when nobody can look.
	m.unmap = runtime.AddCleanup(m, func(buf []byte) { _ = unix.Munmap(buf) }, buf)
	return m, nil
}

// FD is the memfd that holds the memory, or -1 for heap memory. It is open until Free. The memory is at its start, unless
// Join has moved it.
func (m *Memory) FD() int { return m.fd }

// Join puts the segments one behind the other into the memfd of the first, so that another process can map all of them in
// one piece. A segment that is moved must not be written meanwhile. The error wraps the errno of the call that failed.
func Join(segs []Segment) error {
	end := 0
	for i, s := range segs {
		m, first := s.Mem, segs[0].Mem
		switch {
		case i == 0 && m.at != 0: // what it was joined to is gone
			fd, err := unix.MemfdCreate("netlink-ring", unix.MFD_CLOEXEC)
			if err != nil {
				return fmt.Errorf("memfd_create: %w", err)
			}
			if err := m.move(fd, 0); err != nil {
				return errors.Join(err, unix.Close(fd))
			}
			m.home = nil
		case i > 0 && (m.home != first || m.at != end):
			fd, err := unix.FcntlInt(uintptr(first.fd), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("dup of a memfd: %w", err)
			}
			if err := m.move(fd, end); err != nil {
				return errors.Join(err, unix.Close(fd))
			}
			m.home = first
		}
		end += s.Size
	}
	return nil
}

// move makes byte at of another memfd the place of the memory. Its address in this process stays.
func (m *Memory) move(fd, at int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("fstat of a memfd: %w", err)
	}
	if end := int64(at + len(m.buf)); end > st.Size {
		if err := unix.Ftruncate(fd, end); err != nil {
			return fmt.Errorf("ftruncate of a memfd: %w", err)
		}
	}
	if _, err := unix.Pwrite(fd, m.buf, int64(at)); err != nil {
		return fmt.Errorf("write to a memfd: %w", err)
	}
	base := uintptr(unsafe.Pointer(&m.buf[0]))
	if _, err := rawMmap(base, uintptr(len(m.buf)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_FIXED, fd, at); err != nil {
		return err
	}
	old := m.fd
	m.fd, m.at = fd, at
	return unix.Close(old)
}

// Size is the number of bytes.
func (m *Memory) Size() int { return len(m.buf) }

// Free gives the memory back. Later accesses are reported as uses after free.
func (m *Memory) Free() {
	if m.freed.Swap(true) {
		m.report("memory freed twice")
		return
	}
	if m.fd >= 0 {
		_ = unix.Close(m.fd)
	}
}

// Obj is the memory's identity in a controlled run, 0 before its first access.
func (m *Memory) Obj() sched.Obj { return m.obj }

// Freed reports whether Free was called.
func (m *Memory) Freed() bool { return m.freed.Load() }

// check reports whether [off, off+n) may be accessed and reports it where not.
func (m *Memory) check(off, n int, what string) bool {
	if m.freed.Load() {
		m.report(fmt.Sprintf("%s of %d bytes at offset %d of freed memory", what, n, off))
		return false
	}
	return m.inside(off, n, what)
}

// inside reports whether [off, off+n) is inside the memory, freed or not, and reports it where not.
func (m *Memory) inside(off, n int, what string) bool {
	if off < 0 || n < 0 || off > len(m.buf)-n {
		m.report(fmt.Sprintf("%s of %d bytes at offset %d outside memory of %d bytes", what, n, off, len(m.buf)))
		return false
	}
	return true
}

func (m *Memory) word(off int) *uint32 { return (*uint32)(unsafe.Pointer(&m.buf[off])) }

// Load32 reads the aligned word at off.
func (m *Memory) Load32(cpu *CPU, off int) uint32 {
	if cpu != nil {
		return cpu.load32(m, off)
	}
	if !m.check(off, 4, "load") {
		return 0
	}
	return atomic.LoadUint32(m.word(off))
}

// Store32 writes the aligned word at off.
func (m *Memory) Store32(cpu *CPU, off int, val uint32) {
	if cpu != nil {
		cpu.store32(m, off, val)
		return
	}
	if m.check(off, 4, "store") {
		atomic.StoreUint32(m.word(off), val)
	}
}

// Read copies len(dst) bytes at off. Bytes that may not be read are zero.
func (m *Memory) Read(cpu *CPU, off int, dst []byte) {
	if cpu != nil {
		cpu.read(m, off, dst)
		return
	}
	if !m.check(off, len(dst), "read") {
		clear(dst)
		return
	}
	copy(dst, m.buf[off:])
}

// Peek is Read without being a scheduling point and without a choice: what the CPU last wrote, else what memory has.
func (m *Memory) Peek(cpu *CPU, off int, dst []byte) {
	m.Read(nil, off, dst)
	if cpu != nil {
		cpu.overlay(m, off, dst)
	}
}

// Write copies src to off.
func (m *Memory) Write(cpu *CPU, off int, src []byte) {
	if cpu != nil {
		cpu.write(m, off, src)
		return
	}
	if m.check(off, len(src), "write") {
		copy(m.buf[off:], src)
	}
}
