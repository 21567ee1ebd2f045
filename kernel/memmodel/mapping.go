package memmodel

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Segment is the first Size bytes of a Memory.
type Segment struct {
	Mem  *Memory
	Size int
}

// A Mapping is a real mapping of memfd memory into this process, with its own protection: what a simulated mapping is
// made of. Methods of a nil Mapping do nothing, for machines whose memory is on the heap.
type Mapping struct {
	mem     *Memory // view of the mapped range
	base    uintptr
	size    int
	prot    int
	private bool
	segs    []Segment
	off     int // of the range in the segments
}

func realProt(prot int) uintptr { return uintptr(prot & (unix.PROT_READ | unix.PROT_WRITE)) }

// Map maps the segments one after the other.
func Map(segs []Segment, prot int, private bool) (*Mapping, error) {
	size := 0
	for _, s := range segs {
		size += s.Size
	}
	m := &Mapping{size: size, prot: prot, private: private, segs: segs}
	return m, m.mapRange()
}

func rawMmap(addr, size, prot, flags uintptr, fd int, off int) (uintptr, error) {
	p, _, errno := unix.Syscall6(unix.SYS_MMAP, addr, size, prot, flags, uintptr(fd), uintptr(off))
	if errno != 0 {
		return 0, fmt.Errorf("mmap: %w", errno)
	}
	return p, nil
}

// mapRange maps bytes [off, off+size) of the segments at a fresh place; what lies behind the segments is anonymous.
func (m *Mapping) mapRange() error {
	base, err := rawMmap(0, uintptr(m.size), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, -1, 0)
	if err != nil {
		return err
	}
	m.base = base
	flags := uintptr(unix.MAP_SHARED)
	if m.private {
		flags = unix.MAP_PRIVATE
	}
	start := 0
	for _, s := range m.segs {
		lo, hi := max(start, m.off), min(start+s.Size, m.off+m.size)
		if lo < hi {
			_, err := rawMmap(base+uintptr(lo-m.off), uintptr(hi-lo), realProt(m.prot), flags|unix.MAP_FIXED, s.Mem.fd, s.Mem.at+lo-start)
			if err != nil {
				m.Unmap()
				return err
			}
		}
		start += s.Size
	}
	m.view()
	return nil
}

// view makes the Memory through which the range is accessed.
func (m *Mapping) view() {
	report := func(string) {}
	if len(m.segs) > 0 {
		report = m.segs[0].Mem.report
	}
	m.mem = &Memory{buf: m.Bytes(), fd: -1, report: report}
}

// Bytes is the mapped range. It is valid until the mapping is changed.
func (m *Mapping) Bytes() []byte {
	// The address comes from mmap and is no Go pointer: the conversion goes through a pointer to it.
	p := *(*unsafe.Pointer)(unsafe.Pointer(&m.base))
	return unsafe.Slice((*byte)(p), m.size)
}

// Memory is the mapped range as memory to access.
func (m *Mapping) Memory() *Memory { return m.mem }

// FD is the memfd of the first segment.
func (m *Mapping) FD() int { return m.segs[0].Mem.fd }

// Unmap removes the mapping.
func (m *Mapping) Unmap() {
	if m == nil || m.base == 0 {
		return
	}
	_, _, _ = unix.Syscall(unix.SYS_MUNMAP, m.base, uintptr(m.size), 0)
	m.base = 0
}

// Protect changes the protection.
func (m *Mapping) Protect(prot int) {
	if m == nil {
		return
	}
	m.prot = prot
	_, _, _ = unix.Syscall(unix.SYS_MPROTECT, m.base, uintptr(m.size), realProt(prot))
}

// Split cuts the mapping at byte at: both parts see their bytes in place, and page offsets of the upper part keep
// counting from the lower one's start through the shared view.
func (m *Mapping) Split(at int) (lower, upper *Mapping) {
	if m == nil {
		return nil, nil
	}
	lo, up := *m, *m
	lo.size = at
	up.base, up.size, up.off = m.base+uintptr(at), m.size-at, m.off+at
	return &lo, &up
}

// Fork returns the child's copy; own lists the byte offsets of pages that are private copies.
func (m *Mapping) Fork(own []int) (*Mapping, error) {
	if m == nil {
		return nil, nil
	}
	return m.again(0, m.size, own)
}

const pageSize = 4096

// Move returns a new mapping of bytes [off, off+size) of this one, with the private copies among own.
func (m *Mapping) Move(off, size int, own []int) (*Mapping, error) {
	if m == nil {
		return nil, nil
	}
	return m.again(off, size, own)
}

// Grow returns a mapping with by more bytes, which have no pages behind them.
func (m *Mapping) Grow(by int, own []int) (*Mapping, error) {
	if m == nil {
		return nil, nil
	}
	return m.again(0, m.size+by, own)
}

// again maps bytes [off, off+size) of the range at a fresh place. Private copies do not come along by themselves: their
// bytes are copied.
func (m *Mapping) again(off, size int, own []int) (*Mapping, error) {
	c := *m
	c.off, c.size = m.off+off, size
	if len(own) == 0 {
		return &c, c.mapRange()
	}
	c.prot = unix.PROT_READ | unix.PROT_WRITE
	if err := c.mapRange(); err != nil {
		return nil, err
	}
	prot := m.prot
	if prot&unix.PROT_READ == 0 {
		m.Protect(unix.PROT_READ) // what the program may not read must still be copied
	}
	from, to := m.Bytes(), c.Bytes()
	for _, at := range own {
		if at >= off && at < off+size {
			copy(to[at-off:at-off+pageSize], from[at:at+pageSize])
		}
	}
	if m.prot != prot {
		m.Protect(prot)
	}
	c.Protect(prot)
	return &c, nil
}
