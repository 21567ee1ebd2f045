package kernel

import (
	"iter"
	"slices"
)

// A Beside is work of an inline task that goes on beside that of others: a coroutine. It runs when it begins and, whenever
// something has come for which it sleeps, in RunBeside, where somebody else sleeps, and where time passes; never in the
// middle of what others do.
type Beside struct {
	t         *Task
	next      func() (struct{}, bool)
	stop      func()
	yield     func(struct{}) bool
	ready     func() bool // whether what it sleeps for has come
	deadline  Time
	deaf      bool // it waits for a lock, and no signal ends that
	running   bool
	abandoned bool
	done      bool
}

// Beside begins work that makes calls of t and of no other task, on an inline machine. Until it is done nobody else may
// drive t.
func (k *Kernel) Beside(t *Task, fn func()) *Beside {
	b := &Beside{t: t}
	b.next, b.stop = iter.Pull(func(yield func(struct{}) bool) {
		b.yield = yield
		defer func() { t.beside, b.done = nil, true }()
		fn()
	})
	t.beside = b
	k.beside = append(k.beside, b)
	b.run()
	return b
}

// Kernel returns the machine.
func (b *Beside) Kernel() *Kernel { return b.t.k }

// Done reports whether the work has come to its end.
func (b *Beside) Done() bool { return b.done }

func (b *Beside) run() {
	b.running = true
	b.next()
	b.running = false
}

// sleep gives way until ready returns true or deadline has come. It reports whether the work goes on at all.
func (b *Beside) sleep(deadline Time, ready func() bool) bool {
	b.ready, b.deadline = ready, deadline
	return b.yield(struct{}{}) && !b.abandoned
}

// lock waits for a lock, and reports whether it is free.
func (b *Beside) lock(l *Mutex) bool {
	b.deaf = true
	defer func() { b.deaf = false }()
	return b.sleep(Forever, l.Ready)
}

// RunBeside lets all work go on that can, until none can, and reports whether any did.
func (k *Kernel) RunBeside() (some bool) {
	for again := true; again; {
		again = false
		for _, b := range slices.Clone(k.beside) { // work that runs may make others run
			if !b.done && !b.running && (b.ready() || b.deadline <= k.Now()) {
				b.run()
				again, some = true, true
			}
		}
		k.beside = slices.DeleteFunc(k.beside, func(b *Beside) bool { return b.done })
	}
	return some
}

// besideDeadline is when the first of such work wakes up by itself, limit if none does before.
func (k *Kernel) besideDeadline(limit Time) Time {
	for _, b := range k.beside {
		if !b.done && !b.running {
			limit = min(limit, b.deadline)
		}
	}
	return limit
}

// pass lets time pass up to the next thing that happens, a timer or work that wakes up, if that is not after limit. It
// reports whether something did.
func (k *Kernel) pass(limit Time) bool {
	wake := k.besideDeadline(limit + 1)
	if t := k.nextTimer(min(limit, wake)); t != nil {
		k.setTime(max(t.when, k.Now()))
		k.fire(t)
		return true
	}
	if wake > limit {
		return false
	}
	k.setTime(max(wake, k.Now()))
	return k.RunBeside()
}

// Join lets time pass until the work is done. A sleep without end is interrupted when patience is over.
func (b *Beside) Join() {
	k := b.t.k
	patience := k.Now() + k.cfg.Patience
	for !b.done {
		if k.RunBeside() {
			continue
		}
		limit := b.deadline
		if limit == Forever {
			limit = patience
		}
		if k.pass(limit) {
			continue
		}
		k.setTime(max(limit, k.Now()))
		if b.deadline == Forever {
			b.t.blocked = true
			b.Abandon()
		}
	}
}

// Abandon interrupts the work in its sleep, if it is not done. If that is not enough the task hangs in its call.
func (b *Beside) Abandon() {
	if b.done {
		return
	}
	k := b.t.k
	b.t.signal.Store(true)
	k.RunBeside()
	if !b.done && b.deaf {
		b.abandoned = true
		b.run()
	}
}
