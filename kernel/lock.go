package kernel

import (
	"fmt"
	"sync"
	"sync/atomic"

	"nlmmap/kernel/inspect"
	"nlmmap/kernel/memmodel"
	"nlmmap/kernel/sched"
)

// A Mutex is a lock that its holder may sleep with, as struct mutex. The zero value is unlocked; Name is its class.
type Mutex struct {
	Name  string
	mu    sync.Mutex // Free mode
	owner atomic.Pointer[Task]
	// going is set from when the holder has given the lock back until others see that.
	going bool
	obj   sched.Obj
	sync  memmodel.Sync
}

// A Spinlock is a lock that is held only for a moment, as spinlock_t.
type Spinlock struct{ Mutex }

// Unlock gives the lock back with a store, which others see after the stores before it: it waits for nothing.
func (l *Spinlock) Unlock(cur *Task) {
	if cur.cpu == nil { // without the function below, which is made on the heap
		l.Mutex.Unlock(cur)
		return
	}
	if l.going = cur.cpu.GiveBack(l.id(cur), l.Name, &l.sync, func() { l.going = false }); !l.going {
		l.Mutex.Unlock(cur)
		return
	}
	l.leave(cur)
	cur.k.lockdp.release(cur, &l.Mutex)
	l.owner.Store(nil)
}

// Lock takes the lock. An inline task that would wait for it waits for ever: it is left in that state and its call
// reports ErrBlocks.
func (l *Mutex) Lock(cur *Task) {
	switch {
	case cur.k.cfg.Mode == Free:
		l.mu.Lock()
	case cur.th != nil:
		cur.cpu.BeforeLock()
		cur.th.Point(sched.Op{Kind: sched.Lock, Write: true, Obj: l.id(cur), Res: l, Label: l.Name})
	default:
		l.lockInline(cur)
	}
	if cur.k.cfg.Mode != Free {
		cur.k.lockdp.acquire(cur, l)
	}
	cur.cpu.Acquire(&l.sync)
	l.owner.Store(cur)
	if cur.k.Tracing() {
		cur.k.Emit(cur, LockEvent{l.Name, true})
	}
}

// lockInline waits for the lock as long as others can go on.
func (l *Mutex) lockInline(cur *Task) {
	for !l.Ready() {
		if cur.beside != nil && cur.beside.lock(l) || cur.beside == nil && cur.k.RunBeside() {
			continue
		}
		cur.hang("waits for %s, which %s holds", l.Name, l.owner.Load().Name)
	}
}

// leave tells of the end of a critical section.
func (l *Mutex) leave(cur *Task) {
	if cur.k.Tracing() {
		cur.k.Emit(cur, LockEvent{l.Name, false})
	}
	if l.owner.Load() != cur && !cur.unwinding {
		cur.k.Warn(cur, "unlock of %s, which the task does not hold", l.Name)
	}
}

// Unlock gives the lock back with an atomic operation: when the stores before it are visible.
func (l *Mutex) Unlock(cur *Task) {
	l.leave(cur)
	if cur.k.cfg.Mode != Free {
		cur.k.lockdp.release(cur, l)
		cur.cpu.Settle()
		cur.point(sched.Unlock, l.id(cur), true, l.Name)
		cur.cpu.Release(&l.sync)
	}
	l.owner.Store(nil)
	if cur.k.cfg.Mode == Free {
		l.mu.Unlock()
	}
}

// Held reports whether cur holds the lock.
func (l *Mutex) Held(cur *Task) bool { return l.owner.Load() == cur }

// Owner is the name of the task that holds the lock, empty when it is free.
func (l *Mutex) Owner(inspect.Key) string {
	if t := l.owner.Load(); t != nil {
		return t.Name
	}
	return ""
}

// Ready implements sched.Resource.
func (l *Mutex) Ready() bool { return l.owner.Load() == nil && !l.going }

func (l *Mutex) id(cur *Task) sched.Obj {
	if l.obj == 0 && cur.th != nil {
		l.obj = cur.k.cfg.Run.NewObj()
	}
	return l.obj
}

// A LockEvent tells of a lock taken or given back.
type LockEvent struct {
	Name  string
	Taken bool
}

func (e LockEvent) String() string {
	if e.Taken {
		return "lock " + e.Name
	}
	return "unlock " + e.Name
}

// lockOrder remembers which classes of locks were taken while which were held, and reports a cycle: lockdep.
type lockOrder struct {
	after map[[2]string]bool // [outer, inner]
}

func (o *lockOrder) acquire(cur *Task, l *Mutex) {
	for _, outer := range cur.held {
		if outer.Name == l.Name || o.after[[2]string{outer.Name, l.Name}] {
			continue
		}
		if o.reaches(l.Name, outer.Name) {
			cur.k.Emit(cur, LockOrder{outer.Name, l.Name})
		}
		if o.after == nil {
			o.after = map[[2]string]bool{}
		}
		o.after[[2]string{outer.Name, l.Name}] = true
	}
	cur.held = append(cur.held, l)
}

func (o *lockOrder) reaches(from, to string) bool {
	if from == to {
		return true
	}
	for edge := range o.after {
		if edge[0] == from && o.reaches(edge[1], to) {
			return true
		}
	}
	return false
}

func (o *lockOrder) release(cur *Task, l *Mutex) {
	for i := len(cur.held) - 1; i >= 0; i-- {
		if cur.held[i] == l {
			cur.held = append(cur.held[:i], cur.held[i+1:]...)
			return
		}
	}
}

// LockOrder is emitted when two classes of locks are taken in both orders.
type LockOrder struct{ Outer, Inner string }

func (e LockOrder) String() string {
	return fmt.Sprintf("lock order: %s taken under %s, and elsewhere the other way round", e.Inner, e.Outer)
}
