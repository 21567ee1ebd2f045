package memmodel

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"nlmmap/kernel/sched"
)

// A Model says in which order accesses to shared memory become visible to others.
type Model uint8

// The memory models. None of them is the full Linux memory model: see docs/exploration.md for what they miss.
const (
	// SC: every access happens at once, in program order.
	SC Model = iota
	// TSO: stores wait in a buffer of their CPU and leave it in order; loads see their own CPU's buffer. Full barriers
	// and whoever takes a lock wait until the buffer is empty; that a spinlock is given back is a store as others. This is x86.
	TSO
	// Weak: stores to different places leave the buffer in any order between write barriers, a load may see any value
	// that the place had as long as nothing orders it after what overwrote that (order.go), and bytes that are read
	// without deciding anything may be those of a store that comes later, as long as nothing orders the read
	// (Foresight). A store that has become visible is so for all CPUs at once, as on ARMv8.
	Weak
)

var modelNames = [...]string{"sc", "tso", "weak"}

func (m Model) String() string { return modelNames[m] }

// ParseModel returns the memory model with the given name. The error lists the names there are.
func ParseModel(name string) (Model, error) {
	if i := slices.Index(modelNames[:], name); i >= 0 {
		return Model(i), nil
	}
	return 0, fmt.Errorf("no memory model %q: there are %s", name, strings.Join(modelNames[:], ", "))
}

// MarshalText writes the name.
func (m Model) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// A Bus connects the CPUs of one run.
type Bus struct {
	Run   *sched.Run
	Model Model
	// Foresight has the contents that delayed reads may find; nil delays none. Only for Weak.
	Foresight *Foresight

	drains  int        // stores that have become visible
	cpus    []*CPU     // that have read what may be delayed
	delayed []*delayed // reads that have not happened yet
	looks   int        // into the past of an event
}

// Broken reports whether a read was foreseen to find what never came: the run is then none that could have happened.
func (b *Bus) Broken() bool { return len(b.delayed) > 0 }

// A CPU is how one task sees shared memory in controlled mode: its accesses are scheduling points of its thread.
type CPU struct {
	Thread *sched.Thread
	Bus    *Bus
	// Probe, if it is set, is told of the CPU's accesses; each store remembers the probe that it was made under.
	Probe Probe

	obj    sched.Obj // the store buffer
	buffer []*store  // oldest first
	slots  []*slot
	stores int      // made so far
	epoch  int      // number of write barriers so far
	left   int      // stores that have left the buffer since the CPU last waited for all
	gone   []*store // Weak: these
	freed  int      // locks given back since the CPU last waited for that

	past    past     // Weak
	marks   []mark   // Weak
	skipped []*event // Weak: what loads have not seen since the last CatchUp, though it was visible
	drains  int      // what Bus.drains was at the last CatchUp

	lastRead *read    // the last load, if it was one of bytes
	ahead    *delayed // the last load, if it is delayed
	release  bool     // the next store is a store-release
	depends  bool     // the next access depends on the last load
	reads    []*read
	known    bool // to the bus
}

// A Probe is told of an access when it happens: of a load, which may be a delayed one, with what it has seen, of a store when others can see it, or when
// CPU.TellWaiting says so. It gets a copy of the data.
type Probe func(kind Access, off int, data []byte)

// An Access is what a Probe is told of.
type Access uint8

// The kinds of accesses.
const (
	Loaded  Access = iota
	Stored         // others can see it
	Waiting        // a store that only the CPU itself sees
)

// tell tells the probe of an access.
func (p Probe) tell(kind Access, off int, data []byte) {
	if p != nil {
		p(kind, off, append([]byte(nil), data...))
	}
}

// TellWaiting tells the probes of the CPU's waiting stores to a place already, oldest first, because the CPU goes on with
// what it stored. They are not told again.
func (c *CPU) TellWaiting(m *Memory, off, n int) {
	if c == nil {
		return
	}
	for _, s := range c.buffer {
		if s.mem == m && s.off < off+n && off < s.off+len(s.data) {
			s.probe.tell(Waiting, s.off, s.data)
			s.probe = nil
		}
	}
}

// HasStored reports whether a store of the CPU to a place waits, so that others do not see it yet.
func (c *CPU) HasStored(m *Memory, off, n int) bool {
	return c != nil && slices.ContainsFunc(c.buffer, func(s *store) bool { return s.mem == m && overlap(off, n, s.off, len(s.data)) })
}

// A store waits in a store buffer. One without memory gives a lock back.
type store struct {
	lock  *givenBack
	mem   *Memory
	off   int
	data  []byte
	probe Probe
	epoch int
	after int // for sched.Op.After
	age   int // for sched.Op.Age
	step  int // 1 + that in which it has left the buffer
	// release stores leave after all older ones, and a store after the delayed reads that it needs; source is the one
	// that its data comes from.
	release bool
	needs   []*delayed
	source  *delayed
	// Weak: the store's place in the order, the load that its data comes from, and the CPU's loads that have found it here.
	event, from *event
	readers     []*event
}

// A slot of a store buffer is an agent of the run: each time it is chosen, its store becomes visible.
type slot struct {
	cpu    *CPU
	thread *sched.Thread
	store  *store
	left   bool // a store has left it since the CPU last waited for that
}

// obj gives m its identity when it is first accessed.
func (b *Bus) obj(m *Memory) sched.Obj {
	if m.obj == 0 {
		m.obj = b.Run.NewObj()
	}
	return m.obj
}

func (c *CPU) point(kind sched.Kind, m *Memory, off, n int, write bool) {
	c.Thread.Point(sched.Op{Kind: kind, Write: write, Obj: c.Bus.obj(m), Off: uint32(off), Len: uint32(n)})
}

func (c *CPU) load32(m *Memory, off int) uint32 {
	if len(c.Bus.delayed) > 0 {
		c.await(m, off, 4)
	}
	c.point(sched.Load, m, off, 4, false)
	if !m.check(off, 4, "load") {
		return 0
	}
	var b [4]byte
	if c.Bus.Model == SC {
		val := atomic.LoadUint32(m.word(off))
		binary.LittleEndian.PutUint32(b[:], val)
		c.Probe.tell(Loaded, off, b[:])
		return val
	}
	c.see(m, off, b[:], false)
	c.Probe.tell(Loaded, off, b[:])
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

func (c *CPU) store32(m *Memory, off int, val uint32) {
	if c.Bus.Model != SC {
		c.hold(m, off, []byte{byte(val), byte(val >> 8), byte(val >> 16), byte(val >> 24)})
		return
	}
	c.point(sched.Store, m, off, 4, true)
	if m.check(off, 4, "store") {
		atomic.StoreUint32(m.word(off), val)
		if c.Probe != nil {
			c.Probe(Stored, off, binary.LittleEndian.AppendUint32(nil, val))
		}
	}
}

func (c *CPU) read(m *Memory, off int, dst []byte) {
	from := 0
	for _, to := range chunks(len(dst)) {
		if c.Bus.Model == Weak && len(c.Bus.delayed) > 0 {
			if c.together(m, off+from, dst[from:to]) {
				from = to
				continue
			}
			c.await(m, off+from, to-from)
		}
		c.point(sched.Read, m, off+from, to-from, false)
		switch {
		case !m.check(off+from, to-from, "read"):
			clear(dst[from:to])
		case c.Bus.Model == SC:
			copy(dst[from:to], m.buf[off+from:])
		default:
			if c.see(m, off+from, dst[from:to], true) {
				from = to
				continue
			}
		}
		c.Probe.tell(Loaded, off+from, dst[from:to])
		from = to
	}
}

func (c *CPU) write(m *Memory, off int, src []byte) {
	from := 0
	for _, to := range chunks(len(src)) {
		if c.Bus.Model != SC {
			c.hold(m, off+from, append([]byte(nil), src[from:to]...))
		} else {
			c.point(sched.Write, m, off+from, to-from, true)
			if m.check(off+from, to-from, "write") {
				copy(m.buf[off+from:], src[from:to])
				c.Probe.tell(Stored, off+from, src[from:to])
			}
		}
		from = to
	}
}

// chunks returns the ends of the pieces in which n bytes are copied: two where there is more than a word or two, so
// that another task can run between them.
func chunks(n int) []int {
	switch {
	case n == 0:
		return nil
	case n <= 8:
		return []int{n}
	}
	return []int{n / 2 &^ 3, n}
}

// hold puts a store into the buffer.
func (c *CPU) hold(m *Memory, off int, data []byte) {
	release, depends := c.release, c.depends
	c.release, c.depends = false, false
	// Whether the memory is freed by then shows when the store leaves the buffer.
	if !m.inside(off, len(data), "store") {
		return
	}
	sl := c.room()
	s := &store{mem: m, off: off, data: data, probe: c.Probe, release: release}
	s.needs = c.needed(s, depends)
	if c.Bus.Model == Weak {
		c.past.store(s, depends)
	}
	c.buffers(s, sl)
}

// room waits for the slot that the next store takes.
func (c *CPU) room() *slot {
	if len(c.slots) == 0 {
		c.makeSlots()
	}
	// Each store has a fixed slot, so that the same choices name the same stores.
	sl := c.slots[c.stores%len(c.slots)]
	c.stores++
	// Whether the room is there already or not: what left it comes before, and a search must know that.
	if r := (room{c, sl}); !r.Ready() || sl.left || c.Bus.Model == TSO && len(c.buffer)+c.left >= bufferSize {
		c.Thread.Point(sched.Op{Kind: sched.Barrier, Obj: c.obj, Res: r, Label: "room in the store buffer"})
		sl.left = false
	}
	return sl
}

// buffers lets a store wait in its slot.
func (c *CPU) buffers(s *store, sl *slot) {
	s.epoch, s.after, s.age = c.epoch, c.Bus.Run.Steps(), c.stores
	c.buffer = append(c.buffer, s)
	if sl.store == nil {
		sl.fill(s)
	}
}

// makeSlots makes the agents of the store buffer. On TSO only the oldest store can leave: one is enough.
func (c *CPU) makeSlots() {
	c.obj = c.Bus.Run.NewObj()
	n := bufferSize
	if c.Bus.Model == TSO {
		n = 1
	}
	for range n {
		sl := &slot{cpu: c}
		sl.thread = c.Bus.Run.Agent(c.Thread, c.Thread.Name+"'s store buffer", sl.idle(), sl.drain)
		c.slots = append(c.slots, sl)
	}
}

// idle is what a slot without a store announces: nothing that meets anything.
func (sl *slot) idle() sched.Op { return sched.Op{Kind: sched.Drain, Res: sl} }

func (sl *slot) fill(s *store) {
	sl.store = s
	op := sched.Op{Kind: sched.Drain, Write: true, Also: sl.cpu.obj, After: s.after, Age: s.age, Res: sl}
	for _, older := range sl.cpu.gone {
		if s.follows(older) {
			op.Since = append(op.Since, older.step)
		}
	}
	if s.lock != nil {
		op.Kind, op.Obj, op.Label = sched.Unlock, s.lock.obj, s.lock.name
	} else {
		op.Obj, op.Off, op.Len = sl.cpu.Bus.obj(s.mem), uint32(s.off), uint32(len(s.data))
	}
	sl.thread.Op = op
}

// Ready implements sched.Resource: the slot has a store, and no older one must become visible before.
func (sl *slot) Ready() bool {
	if sl.store == nil || slices.ContainsFunc(sl.store.needs, (*delayed).waits) {
		return false
	}
	for _, older := range sl.cpu.buffer {
		if older == sl.store {
			return true
		}
		if sl.store.follows(older) {
			return false
		}
	}
	return false
}

// follows reports whether a store leaves the buffer after an older one.
func (s *store) follows(older *store) bool {
	return s.release || older.epoch < s.epoch || older.mem == s.mem && overlap(older.off, len(older.data), s.off, len(s.data))
}

// drain makes the slot's store visible.
func (sl *slot) drain() {
	c, s := sl.cpu, sl.store
	sl.store, sl.thread.Op = nil, sl.idle()
	at := slices.Index(c.buffer, s)
	c.buffer = slices.Delete(c.buffer, at, at+1)
	s.step = c.Bus.Run.Steps()
	for _, later := range c.slots {
		if later.store != nil && later.store.age > s.age && later.store.follows(s) {
			later.thread.Op.Since = append(later.thread.Op.Since, s.step)
		}
	}
	if c.Bus.Model == Weak { // else the slot's own steps are in this order
		c.gone = append(c.gone, s)
	}
	c.left, sl.left = c.left+1, true
	if s.lock != nil {
		s.lock.leave()
	} else if c.Bus.drains++; s.mem.check(s.off, len(s.data), "store") {
		if c.Bus.Model == Weak {
			c.arrive(s)
		}
		copy(s.mem.buf[s.off:], s.data)
		s.probe.tell(Stored, s.off, s.data)
		c.Bus.arrived(c, s)
	}
	if c.Bus.Model == TSO && len(c.buffer) > 0 {
		sl.fill(c.buffer[0])
	}
}

// see reads what the CPU sees at a place: what memory has, or had or is going to have (Weak), and over it the CPU's own
// stores. Bytes may be read later than now, words decide what comes next and may not. It reports whether it is a read that
// has not happened yet.
func (c *CPU) see(m *Memory, off int, dst []byte, bytes bool) (delayed bool) {
	copy(dst, m.buf[off:])
	if c.Bus.Model == Weak {
		delayed = c.seeOther(m, off, dst, bytes)
	}
	c.overlay(m, off, dst)
	return delayed
}

// overlay puts the CPU's own waiting stores over what it sees.
func (c *CPU) overlay(m *Memory, off int, dst []byte) {
	for _, s := range c.buffer {
		if s.mem != m {
			continue
		}
		for i, b := range s.data {
			if at := s.off + i - off; at >= 0 && at < len(dst) {
				dst[at] = b
			}
		}
	}
}

// Free gives memory back: a write to all of it, so that the order of it and any access matters. What the CPU has stored
// there is there by then.
func (c *CPU) Free(m *Memory) {
	if c != nil {
		c.Settle()
		c.point(sched.Write, m, 0, 0, true)
	}
	m.Free()
}

// Barrier orders the CPU's accesses.
func (c *CPU) Barrier(kind Barrier) {
	if c == nil || c.Bus.Model == SC {
		return
	}
	if kind == SmpMB {
		c.flush()
	}
	if c.Bus.Model == Weak {
		c.past.barrier(kind)
	}
	switch kind {
	case SmpWMB:
		c.epoch++
	case SmpRMB:
		c.fence()
	case Release:
		c.release = true
	case Dependency:
		c.depends = true
	}
}

// A Sync is something through which CPUs meet: a lock, a wait queue. What came before a Release of one CPU comes
// before what follows a later Acquire of another. The zero value is ready.
type Sync struct{ past *event }

// Acquire comes after taking a lock.
func (c *CPU) Acquire(s *Sync) {
	if c != nil {
		c.past.comesAfter(s.past)
	}
}

// Settle comes before giving a lock back with an atomic operation: it waits until all stores are visible.
func (c *CPU) Settle() {
	if c != nil && c.Bus.Model != SC {
		c.flush()
	}
}

// Release comes with giving a lock back, after Settle. It is part of that step, so that whoever meets the CPU there
// before does not come after it.
func (c *CPU) Release(s *Sync) {
	if c != nil && c.Bus.Model == Weak {
		s.past = join(s.past, c.past.all())
	}
}

// A givenBack is a lock that is free when a store leaves its buffer.
type givenBack struct {
	obj  sched.Obj
	name string
	sync *Sync
	past *event // Weak: what comes before
	free func()
}

// leave lets others see that the lock is free.
func (l *givenBack) leave() {
	l.sync.past = join(l.sync.past, l.past)
	l.free()
}

// GiveBack gives a lock back with a store-release, as a spinlock is: free is called when that leaves the store buffer, after
// all that was stored before. It reports false, and does nothing, if nothing was stored since the CPU last waited for
// its stores. Then it is the same to give the lock back at once: nobody can tell one that is given back late from coming
// late himself.
func (c *CPU) GiveBack(obj sched.Obj, name string, s *Sync, free func()) bool {
	if c == nil || c.Bus.Model == SC || c.left == 0 && (empty{c}).Ready() || c.Thread.Abandoned() {
		return false
	}
	sl := c.room()
	st := &store{lock: &givenBack{obj: obj, name: name, sync: s, free: free}, release: true}
	st.needs = c.needed(st, false)
	if c.Bus.Model == Weak {
		st.lock.past = c.past.all()
	}
	c.freed++
	c.buffers(st, sl)
	return true
}

// BeforeLock comes before the atomic operation that takes a lock: on TSO it empties the store buffer, on Weak it comes after
// the locks that the CPU has given back (an acquire comes after the releases before it).
func (c *CPU) BeforeLock() {
	switch {
	case c == nil:
	case c.Bus.Model == TSO:
		c.flush()
	case c.freed > 0:
		c.Thread.Point(sched.Op{Kind: sched.Barrier, Obj: c.obj, Res: allFree{c}, Label: "locks are given back"})
		c.freed = 0
	}
}

// BeforeChange comes before a store to what is in no Memory, which others see at once: on TSO no store passes an earlier one.
func (c *CPU) BeforeChange() {
	if c != nil && c.Bus.Model == TSO {
		c.flush()
	}
}

// CatchUp lets the CPU see from now on what its loads have passed over, and reports whether there was something that it
// may not have seen since it last caught up.
func (c *CPU) CatchUp() bool {
	behind := len(c.skipped) > 0 || c.drains != c.Bus.drains
	for _, e := range c.skipped {
		c.past.toLoads = join(c.past.toLoads, e)
	}
	c.skipped, c.drains = c.skipped[:0], c.Bus.drains
	return behind
}

// flush waits until the store buffer is empty and no read is delayed.
func (c *CPU) flush() {
	c.reads = c.reads[:0]
	// A buffer that is empty already is waited for as well: what left it comes before whatever follows in every order of
	// steps, and a search must know that.
	if c.left > 0 || !(empty{c}).Ready() {
		c.Thread.Point(sched.Op{Kind: sched.Barrier, Obj: c.obj, Res: empty{c}, Label: "store buffer is empty"})
		c.left, c.freed, c.gone = 0, 0, c.gone[:0]
		for _, sl := range c.slots {
			sl.left = false
		}
	}
}

// bufferSize is how many stores wait at most.
const bufferSize = 8

type room struct {
	c  *CPU
	sl *slot
}

// Ready implements sched.Resource.
func (r room) Ready() bool {
	return len(r.c.buffer) < bufferSize && (r.c.Bus.Model == TSO || r.sl.store == nil)
}

type empty struct{ c *CPU }

// Ready implements sched.Resource.
func (e empty) Ready() bool { return len(e.c.buffer) == 0 && !e.c.delays() }

type allFree struct{ c *CPU }

// Ready implements sched.Resource.
func (a allFree) Ready() bool {
	return !slices.ContainsFunc(a.c.buffer, func(s *store) bool { return s.lock != nil })
}

// Barrier names a memory barrier as the kernel does.
type Barrier uint8

// The barriers.
const (
	SmpMB   Barrier = iota // full: all earlier accesses before all later ones
	SmpWMB                 // earlier stores before later stores
	SmpRMB                 // earlier loads before later loads
	Acquire                // makes the last load a load-acquire: it comes before all later accesses
	Release                // makes the next store a store-release: all earlier accesses come before it
	// Dependency says that the next access depends on what was read before it: its address or, of a store, its data.
	// That a store comes after a word that was loaded before it needs no saying: programs branch on words.
	Dependency
)

func (b Barrier) String() string {
	return [...]string{"smp_mb", "smp_wmb", "smp_rmb", "load_acquire", "store_release", "dependency"}[b]
}
