package mm

import (
	"sync/atomic"

	"nlmmap/kernel/sched"
)

// A CPU is how one task sees shared memory in controlled mode: every access is a scheduling point of its thread.
//
// The accesses are sequentially consistent: each happens at once when its thread is chosen.
type CPU struct {
	Thread *sched.Thread
	Run    *sched.Run
}

// obj gives m its identity when it is first accessed.
func (c *CPU) obj(m *Memory) sched.Obj {
	if m.obj == 0 {
		m.obj = c.Run.NewObj()
	}
	return m.obj
}

func (c *CPU) point(kind sched.Kind, m *Memory, off, n int, write bool) {
	c.Thread.Point(sched.Op{Kind: kind, Write: write, Obj: c.obj(m), Off: uint32(off), Len: uint32(n)})
}

func (c *CPU) load32(m *Memory, off int) uint32 {
	c.point(sched.Load, m, off, 4, false)
	if !m.check(off, 4, "load") {
		return 0
	}
	return atomic.LoadUint32(m.word(off))
}

func (c *CPU) store32(m *Memory, off int, val uint32) {
	c.point(sched.Store, m, off, 4, true)
	if m.check(off, 4, "store") {
		atomic.StoreUint32(m.word(off), val)
	}
}

func (c *CPU) read(m *Memory, off int, dst []byte) {
	c.chunks(sched.Read, m, off, len(dst), false, func(from, to int) {
		if !m.check(off+from, to-from, "read") {
			clear(dst[from:to])
			return
		}
		copy(dst[from:to], m.buf[off+from:])
	})
}

func (c *CPU) write(m *Memory, off int, src []byte) {
	c.chunks(sched.Write, m, off, len(src), true, func(from, to int) {
		if m.check(off+from, to-from, "write") {
			copy(m.buf[off+from:], src[from:to])
		}
	})
}

// chunks makes a copy of n bytes in two steps where it has more than a word, so that another task can run between.
func (c *CPU) chunks(kind sched.Kind, m *Memory, off, n int, write bool, step func(from, to int)) {
	half := n
	if n > 8 {
		half = n / 2 &^ 3
	}
	if half > 0 {
		c.point(kind, m, off, half, write)
		step(0, half)
	}
	if half < n {
		c.point(kind, m, off+half, n-half, write)
		step(half, n)
	}
}

// Barrier orders the CPU's accesses. Where they are sequentially consistent there is nothing to do.
func (c *CPU) Barrier(Barrier) {}

// Barrier names a memory barrier as the kernel does.
type Barrier uint8

// The barriers.
const (
	SmpMB   Barrier = iota // full: all earlier accesses before all later ones
	SmpWMB                 // earlier stores before later stores
	SmpRMB                 // earlier loads before later loads
	Acquire                // an earlier load before all later accesses
	Release                // all earlier accesses before a later store
)

func (b Barrier) String() string {
	return [...]string{"smp_mb", "smp_wmb", "smp_rmb", "load_acquire", "store_release"}[b]
}
