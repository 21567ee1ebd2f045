package live

import (
	"bytes"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// A scratch is memory that the tracer shares with all tasks: the arguments of their calls are there. Neither side needs a
// system call to reach it, so the tracer can look at results while another call of the process holds the lock of its
// address space.
type scratch struct {
	file *os.File // what tasks map
	mem  []byte   // the tracer's mapping of it
	used [areas]bool
}

// The scratch has areas. All tasks use the first, since their calls are made one after the other; a job has one of its own. A
// page of it exists from its first use on.
const (
	areaSize = 64 << 20
	areas    = 16
)

func newScratch() (*scratch, error) {
	file, err := namelessFile("scratch")
	if err != nil {
		return nil, fmt.Errorf("live: no memory to share with tasks: %w", err)
	}
	s := &scratch{file: file, used: [areas]bool{0: true}}
	if err = file.Truncate(areaSize * areas); err == nil {
		s.mem, err = unix.Mmap(int(file.Fd()), 0, areaSize*areas, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_NORESERVE)
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("live: no memory to share with tasks: %w", err)
	}
	return s, nil
}

// namelessFile returns a file in memory or, where the kernel has none (before 3.17), in the directory for temporary files.
func namelessFile(name string) (*os.File, error) {
	if fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC); err == nil {
		return os.NewFile(uintptr(fd), name), nil
	}
	file, err := os.CreateTemp("", name)
	if err != nil {
		return nil, err
	}
	return file, os.Remove(file.Name())
}

func (s *scratch) close() {
	_ = unix.Munmap(s.mem)
	s.file.Close()
}

// take returns an area that nobody uses.
func (s *scratch) take() (area int, err error) {
	area = slices.Index(s.used[:], false)
	if area < 0 {
		return 0, fmt.Errorf("live: more than %d jobs at the same time: %w", areas-1, unix.EAGAIN)
	}
	s.used[area] = true
	return area, nil
}

// area returns the area of a task, and where that task finds it.
func (t *task) area() (addr uint64, mem []byte) {
	at := 0
	if t.job != nil {
		at = t.job.area * areaSize
	}
	return t.p.scratch + uint64(at), t.tr.scratch.mem[at : at+areaSize]
}

// noFd is -1 as a descriptor.
const noFd = ^uint64(0)

// An arena lays out the arguments of one system call in the task's area. fetch reads what the kernel wrote.
type arena struct {
	base uint64
	buf  []byte
}

// arena returns an empty one with room for parts whose sizes sum up to n, and 256 bytes for their alignment.
func (t *task) arena(n int) (*arena, error) {
	addr, mem := t.area()
	if n += 256; n > len(mem) {
		return nil, fmt.Errorf("live: arguments of %d bytes: %w", n, unix.ENOMEM)
	}
	return &arena{base: addr, buf: mem[:0:n]}, nil
}

// room adds n zero bytes, aligned to 8, and returns their address and themselves.
func (a *arena) room(n int) (uint64, []byte) {
	at := (len(a.buf) + 7) &^ 7
	a.buf = a.buf[:at+n]
	clear(a.buf[at:])
	return a.base + uint64(at), a.buf[at:]
}

// put adds a copy of b and returns its address.
func (a *arena) put(b []byte) uint64 {
	addr, to := a.room(len(b))
	copy(to, b)
	return addr
}

// fetch returns a copy of the n bytes at addr.
func (a *arena) fetch(addr uint64, n int) []byte {
	return bytes.Clone(a.buf[addr-a.base:][:n])
}
