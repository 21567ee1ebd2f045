package kernel

import (
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"nlmmap/kernel/inspect"
	"nlmmap/kernel/memmodel"
	"nlmmap/kernel/sched"
)

// This file has the cells that shared state lives in. Every word that two tasks can reach is in one: a search of
// schedules sees what touches it, and knows what cannot matter.
//
//	Atomic       a number: atomic_t, or a plain word that is read racily
//	Pointer[T]   a pointer that is read without a lock (RCU)
//	Ref          a count of references
//	Index[K, V]  a table that is searched without a lock (RCU)
//	Shared[T]    a value that is read, or changed, in one step
//	Guarded[T]   a value that is touched under its lock only
//
// Whoever holds a lock under which alone a word changes (Guard) reads it without a scheduling point.

// word is what the search knows of a cell.
type word struct {
	obj    sched.Obj
	name   string
	guards [2]*Mutex // held by who changes it; nil for none
}

// id gives the word its identity when a controlled task first touches it.
func (w *word) id(cur *Task) sched.Obj {
	if w.obj == 0 {
		w.obj = cur.k.cfg.Run.NewObj()
	}
	return w.obj
}

// Guard names the locks, at most two, that all must be held to change the word; who holds one of them reads it without a
// scheduling point.
func (w *word) Guard(locks ...*Mutex) { copy(w.guards[:], locks) }

// kept reports whether cur keeps all writers out.
func (w *word) kept(cur *Task) bool {
	return w.guards[0] != nil && w.guards[0].Held(cur) || w.guards[1] != nil && w.guards[1].Held(cur)
}

// load is the point of a read. There is none for who keeps all writers out.
func (w *word) load(cur *Task) {
	if cur.th != nil && !w.kept(cur) {
		cur.point(sched.Load, w.id(cur), false, w.name)
	}
}

// change is the point of a write, which needs all guards.
func (w *word) change(cur *Task, kind sched.Kind) {
	w.check(cur)
	if cur.th != nil {
		cur.cpu.BeforeChange()
		cur.point(kind, w.id(cur), true, w.name)
	}
}

// check warns of a change by who does not hold the guards.
func (w *word) check(cur *Task) {
	for _, l := range w.guards {
		if l != nil && !l.Held(cur) && !cur.unwinding {
			cur.k.Warn(cur, "%s is changed without %s", w.name, l.Name)
		}
	}
}

// An Atomic is a number that tasks share without a lock, as atomic_t, or a plain word that is read racily. The zero
// value is 0.
type Atomic struct {
	v atomic.Int64
	word
}

// Named gives a first value and a name for the tables of explorations.
func (a *Atomic) Named(name string, v int64) {
	a.name = name
	a.v.Store(v)
}

// Init sets the value of an object that nobody else can see yet, or any more.
func (a *Atomic) Init(v int64) { a.v.Store(v) }

// Load returns the value.
func (a *Atomic) Load(cur *Task) int64 {
	a.load(cur)
	return a.v.Load()
}

// Store sets the value.
func (a *Atomic) Store(cur *Task, v int64) {
	a.change(cur, sched.Store)
	a.v.Store(v)
}

// Add changes the value and returns the new one.
func (a *Atomic) Add(cur *Task, delta int64) int64 {
	a.change(cur, sched.RMW)
	return a.v.Add(delta)
}

// Count changes the value and does not look at it: the order of two such changes does not matter.
func (a *Atomic) Count(cur *Task, delta int64) {
	a.check(cur)
	if cur.th != nil {
		cur.cpu.BeforeChange()
		cur.th.Point(sched.Op{Kind: sched.RMW, Obj: a.id(cur), Write: true, Counts: sched.Blindly, Label: a.name})
	}
	a.v.Add(delta)
}

// Swap sets the value and returns the old one; it is a full memory barrier.
func (a *Atomic) Swap(cur *Task, v int64) int64 {
	cur.cpu.Barrier(memmodel.SmpMB)
	a.change(cur, sched.RMW)
	return a.v.Swap(v)
}

// Inspect returns the value without being a scheduling point.
func (a *Atomic) Inspect(inspect.Key) int64 { return a.v.Load() }

// Shown returns the value for a trace.
func (a *Atomic) Shown() Shown { return Shown{v: a.v.Load()} }

// Shown is a number that kernel code puts into an event: it can be printed, and only who has a key can decide by it.
type Shown struct {
	v int64
	_ [0]func() // cannot be compared
}

func (s Shown) String() string { return strconv.FormatInt(s.v, 10) }

// Value returns the number.
func (s Shown) Value(inspect.Key) int64 { return s.v }

// A Pointer is a pointer that tasks share without a lock (RCU): what it points to does not change any more. The zero
// value is nil.
type Pointer[T any] struct {
	p atomic.Pointer[T]
	word
}

// Named gives a name for the tables of explorations.
func (p *Pointer[T]) Named(name string) { p.name = name }

// Init sets the pointer of an object that nobody else can see yet, or any more.
func (p *Pointer[T]) Init(v *T) { p.p.Store(v) }

// Load returns the pointer.
func (p *Pointer[T]) Load(cur *Task) *T {
	p.load(cur)
	return p.p.Load()
}

// Store sets the pointer.
func (p *Pointer[T]) Store(cur *Task, v *T) {
	p.change(cur, sched.Store)
	p.p.Store(v)
}

// Swap sets the pointer and returns the old one.
func (p *Pointer[T]) Swap(cur *Task, v *T) *T {
	p.change(cur, sched.RMW)
	return p.p.Swap(v)
}

// CompareAndSwap sets the pointer if it is old, and reports whether it was.
func (p *Pointer[T]) CompareAndSwap(cur *Task, old, v *T) bool {
	p.change(cur, sched.RMW)
	return p.p.CompareAndSwap(old, v)
}

// Inspect returns the pointer without being a scheduling point.
func (p *Pointer[T]) Inspect(inspect.Key) *T { return p.p.Load() }

// A Ref counts references. Taking one never matters to others who take or drop one, since whoever takes it has one
// already, or found the object where a reference is held for it: only a look at the number tells (kref).
type Ref struct {
	v atomic.Int64
	// late are references of lookups whose raising of the count has not been seen yet: see Found.
	late int64
	word
}

// Named gives a first value and a name for the tables of explorations.
func (r *Ref) Named(name string, v int64) {
	r.name = name
	r.v.Store(v)
}

func (r *Ref) point(cur *Task, how sched.Counting) {
	cur.cpu.BeforeChange()
	cur.th.Point(sched.Op{Kind: sched.RMW, Obj: r.id(cur), Write: true, Counts: how, Label: r.name})
}

// Get takes a reference for who has one.
func (r *Ref) Get(cur *Task) {
	if cur.th != nil {
		r.point(cur, sched.Blindly)
	}
	r.v.Add(1)
}

// Found takes a reference for who has just found the object in a table, and reports whether the object is still alive
// (atomic_inc_not_zero). The object stays from the step of the lookup on; others see the count a step later.
func (r *Ref) Found(cur *Task) bool {
	if !r.hold() {
		return false
	}
	r.settle(cur)
	return true
}

// hold is the first half of Found, settle the second.
func (r *Ref) hold() bool {
	for {
		n := r.v.Load()
		if n <= 0 {
			return false
		}
		if r.v.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (r *Ref) settle(cur *Task) {
	if cur.th != nil {
		r.late++
		r.point(cur, sched.Blindly)
		r.late--
	}
}

// Put drops a reference and returns how many are left: with 0 the object goes, less is a mistake. It is a full memory
// barrier.
func (r *Ref) Put(cur *Task) (left int64) {
	cur.cpu.Barrier(memmodel.SmpMB)
	if cur.th != nil {
		r.point(cur, sched.Dropping)
	}
	return r.v.Add(-1)
}

// Load returns the number of references.
func (r *Ref) Load(cur *Task) int64 {
	r.load(cur)
	return r.v.Load() - r.late
}

// Inspect returns the number without being a scheduling point.
func (r *Ref) Inspect(inspect.Key) int64 { return r.v.Load() }

// An Index is a table that is searched without a lock and changed under one (an RCU hash table). Each key is an object
// of its own for the search of schedules. The zero value is empty.
type Index[K comparable, V any] struct {
	mu    sync.RWMutex // Free mode: the map; never held at a scheduling point
	m     map[K]V
	order []K // oldest first
	keys  map[K]sched.Obj
	all   word
}

// Named gives a name for the tables of explorations, and the lock under which the table is changed, if it has one.
func (x *Index[K, V]) Named(name string, lock ...*Mutex) {
	x.all.name = name
	x.all.Guard(lock...)
}

// key is what searches for a key and changes of it meet at.
func (x *Index[K, V]) key(cur *Task, k K) sched.Obj {
	o := x.keys[k]
	if o == 0 {
		if x.keys == nil {
			x.keys = map[K]sched.Obj{}
		}
		o = cur.k.cfg.Run.NewObj()
		x.keys[k] = o
	}
	return o
}

func (x *Index[K, V]) changes(cur *Task, k K) {
	x.all.check(cur)
	if cur.th == nil {
		return
	}
	cur.cpu.BeforeChange()
	cur.th.Point(sched.Op{Kind: sched.Store, Obj: x.key(cur, k), Write: true, Also: x.all.id(cur), Label: x.all.name})
}

// Load returns what has a key, the zero value for nothing.
func (x *Index[K, V]) Load(cur *Task, k K) V {
	if cur.th != nil && !x.all.kept(cur) {
		cur.point(sched.Load, x.key(cur, k), false, x.all.name)
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.m[k]
}

// Store gives v a key.
func (x *Index[K, V]) Store(cur *Task, k K, v V) {
	x.changes(cur, k)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.put(k, v)
}

func (x *Index[K, V]) put(k K, v V) {
	if _, ok := x.m[k]; !ok {
		x.order = append(x.order, k)
	}
	if x.m == nil {
		x.m = map[K]V{}
	}
	x.m[k] = v
}

// Delete takes a key out.
func (x *Index[K, V]) Delete(cur *Task, k K) {
	x.changes(cur, k)
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.m, k)
	x.order = slices.DeleteFunc(x.order, func(o K) bool { return o == k })
}

// All returns everything, oldest first.
func (x *Index[K, V]) All(cur *Task) []V {
	x.all.load(cur)
	return x.list()
}

func (x *Index[K, V]) list() []V {
	x.mu.RLock()
	defer x.mu.RUnlock()
	list := make([]V, 0, len(x.order))
	for _, k := range x.order {
		list = append(list, x.m[k])
	}
	return list
}

// Inspect returns everything, oldest first, without being a scheduling point.
func (x *Index[K, V]) Inspect(inspect.Key) []V { return x.list() }

// A Shared is a value that is read, or changed, in one step: what a lock guards that is held only between two scheduling
// points. The zero value has the zero value of T.
type Shared[T any] struct {
	mu sync.RWMutex // Free mode; never held at a scheduling point
	v  T
	word
}

// Named gives a first value and a name for the tables of explorations.
func (s *Shared[T]) Named(name string, v T) { s.name, s.v = name, v }

// Read lets look see the value. It must not change it, nor meet a scheduling point.
func (s *Shared[T]) Read(cur *Task, look func(*T)) {
	s.load(cur)
	s.mu.RLock()
	defer s.mu.RUnlock()
	look(&s.v)
}

// Get returns a copy of the value.
func (s *Shared[T]) Get(cur *Task) (v T) {
	s.Read(cur, func(now *T) { v = *now })
	return v
}

// Change lets change do so. It must not meet a scheduling point.
func (s *Shared[T]) Change(cur *Task, change func(*T)) {
	s.change(cur, sched.RMW)
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.v)
}

// Count lets change add to numbers that it does not look at: the order of two such changes does not matter.
func (s *Shared[T]) Count(cur *Task, change func(*T)) {
	if cur.th != nil {
		cur.cpu.BeforeChange()
		cur.th.Point(sched.Op{Kind: sched.RMW, Obj: s.id(cur), Write: true, Counts: sched.Blindly, Label: s.name})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.v)
}

// Inspect lets look see the value without being a scheduling point.
func (s *Shared[T]) Inspect(_ inspect.Key, look func(*T)) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	look(&s.v)
}

// A Guarded is a value that is touched only under its lock: touching it without is a warning of the machine.
type Guarded[T any] struct {
	v    T
	lock *Mutex
}

// Guard names the lock.
func (g *Guarded[T]) Guard(lock *Mutex) { g.lock = lock }

// Of returns the value to who holds the lock.
func (g *Guarded[T]) Of(cur *Task) *T {
	if g.lock != nil && !g.lock.Held(cur) {
		g.warn(cur)
	}
	return &g.v
}

func (g *Guarded[T]) warn(cur *Task) {
	if !cur.unwinding {
		cur.k.Warn(cur, "%T is touched without %s", g.v, g.lock.Name)
	}
}

// Own returns the value of an object that nobody else can see yet, or any more.
func (g *Guarded[T]) Own() *T { return &g.v }

// Inspect returns the value without the lock.
func (g *Guarded[T]) Inspect(inspect.Key) T { return g.v }
