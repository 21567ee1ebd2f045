package kernel

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"nlmmap/kernel/inspect"
	"nlmmap/kernel/memmodel"
	"nlmmap/kernel/sched"
	"nlmmap/sys"
)

// Time is a point in, or a length of, the machine's time. It starts at 0 with the boot; in Free mode it is real.
type Time = sys.Time

// Lengths of time. Forever is later than everything.
const (
	Millisecond = sys.Millisecond
	Second      = sys.Second
	Forever     = sys.Forever
)

type clock struct {
	mu     sync.Mutex
	time   Time
	start  time.Time
	timers []*Timer // in order of when, then of their making
	list   sched.Obj
	passes word // what lets time pass, against who looks at the time
}

func (c *clock) now(k *Kernel) Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k.cfg.Mode == Free {
		if c.start.IsZero() {
			c.start = time.Now()
		}
		return Time(time.Since(c.start))
	}
	return c.time
}

// Now returns the machine's time.
func (k *Kernel) Now() Time { return k.clock.now(k) }

// A Timer calls a function in softirq context when its time has come. The zero value is idle.
type Timer struct {
	Fn      func(cur *Task)
	when    Time
	pending bool
	real    *time.Timer
	obj     sched.Obj
}

// point is where whoever looks at a timer, changes it, or fires the first of all meet; t is nil when there is none.
func (c *clock) point(cur *Task, kind sched.Kind, t *Timer) {
	if cur.th == nil {
		return
	}
	if c.list == 0 {
		c.list = cur.k.cfg.Run.NewObj()
	}
	var obj sched.Obj
	if t != nil {
		if t.obj == 0 {
			t.obj = cur.k.cfg.Run.NewObj()
		}
		obj = t.obj
	}
	op := sched.Op{Kind: kind, Obj: obj, Label: "timer"}
	if kind != sched.Load {
		op.Write, op.Obj, op.Also = true, c.list, obj
	}
	cur.th.Point(op)
}

// TimerPending reports whether t is going to fire.
func (k *Kernel) TimerPending(cur *Task, t *Timer) bool {
	k.clock.point(cur, sched.Load, t)
	k.clock.mu.Lock()
	defer k.clock.mu.Unlock()
	return t.pending
}

// ModTimer lets t fire d from now.
func (k *Kernel) ModTimer(cur *Task, t *Timer, d Time) {
	now := k.now(cur)
	k.clock.point(cur, sched.Store, t)
	k.delTimer(t)
	c := &k.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	t.when, t.pending = now+d, true
	k.Count(ResTimer, 1)
	if k.cfg.Mode == Free {
		t.real = time.AfterFunc(time.Duration(d), func() { k.fire(t) })
		return
	}
	i := len(c.timers)
	for i > 0 && c.timers[i-1].when > t.when {
		i--
	}
	c.timers = slices.Insert(c.timers, i, t)
}

// DelTimer stops t and reports whether it was pending.
func (k *Kernel) DelTimer(cur *Task, t *Timer) bool {
	k.clock.point(cur, sched.Store, t)
	return k.delTimer(t)
}

func (k *Kernel) delTimer(t *Timer) bool {
	c := &k.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	if !t.pending {
		return false
	}
	t.pending = false
	k.Count(ResTimer, -1)
	if t.real != nil {
		t.real.Stop()
	}
	c.timers = slices.DeleteFunc(c.timers, func(o *Timer) bool { return o == t })
	return true
}

func (k *Kernel) fire(t *Timer) {
	if k.delTimer(t) {
		t.Fn(k.KernelTask("timer"))
	}
}

// nextTimer returns the first pending timer that fires at or before limit.
func (k *Kernel) nextTimer(limit Time) *Timer {
	k.clock.mu.Lock()
	defer k.clock.mu.Unlock()
	if len(k.clock.timers) == 0 || k.clock.timers[0].when > limit {
		return nil
	}
	return k.clock.timers[0]
}

// Advance lets time pass: timers fire in order. In Free mode it sleeps.
func (k *Kernel) Advance(d Time) {
	if k.cfg.Mode == Free {
		time.Sleep(time.Duration(d))
		return
	}
	end := k.Now() + d
	for k.pass(end) {
	}
	k.setTime(end)
}

// FireTimer lets time pass until the first timer and fires it on the calling task; false if there is none. A task of
// an exploration calls it to be the timer interrupt.
func (k *Kernel) FireTimer(cur *Task) bool {
	t := k.nextTimer(Forever)
	for {
		k.clock.point(cur, sched.RMW, t)
		// Another one may have become the first meanwhile.
		first := k.nextTimer(Forever)
		if first == t {
			break
		}
		t = first
	}
	if t == nil || !k.delTimer(t) {
		return false
	}
	k.clock.passes.change(cur, sched.Store)
	k.setTime(max(t.when, k.Now()))
	t.Fn(cur)
	return true
}

// now is Now for a task.
func (k *Kernel) now(cur *Task) Time {
	k.clock.passes.load(cur)
	return k.Now()
}

func (k *Kernel) setTime(t Time) {
	k.clock.mu.Lock()
	k.clock.time = t
	k.clock.mu.Unlock()
}

// A WaitQueue is where tasks sleep, and where poll and epoll leave word of whom to tell. The zero value is ready.
type WaitQueue struct {
	mu      sync.Mutex
	entries []*WaitEntry
	obj     sched.Obj
	sync    memmodel.Sync
}

// A WaitEntry is one sleeper of a WaitQueue. With Fn it is told instead of woken; key says what happened, as poll
// events, 0 for anything.
type WaitEntry struct {
	task *Task
	Fn   func(cur *Task, key uint32)
	q    *WaitQueue
}

// point is where sleepers and those who wake them meet: a full memory barrier on both sides.
func (q *WaitQueue) point(cur *Task, kind sched.Kind) {
	if cur.th == nil {
		return
	}
	if q.obj == 0 {
		q.obj = cur.k.cfg.Run.NewObj()
	}
	cur.cpu.Settle()
	cur.point(kind, q.obj, true, "wait queue")
	cur.cpu.Release(&q.sync)
	cur.cpu.Acquire(&q.sync)
}

// Add puts an entry on the queue.
func (q *WaitQueue) Add(cur *Task, e *WaitEntry) {
	q.point(cur, sched.Store)
	q.mu.Lock()
	e.q = q
	q.entries = append(q.entries, e)
	q.mu.Unlock()
	cur.k.Count(ResWaiter, 1)
}

// Remove takes an entry off its queue. For a sleeper that is no scheduling point: a wake-up that is under way passes over
// it, and one before the next prepareToSleep has no effect.
func (e *WaitEntry) Remove(cur *Task) {
	q := e.q
	if q == nil {
		return
	}
	if e.Fn != nil {
		q.point(cur, sched.Store)
	}
	q.mu.Lock()
	q.entries = slices.DeleteFunc(q.entries, func(o *WaitEntry) bool { return o == e })
	e.q = nil
	q.mu.Unlock()
	cur.k.Count(ResWaiter, -1)
}

// has reports whether an entry is still on the queue.
func (q *WaitQueue) has(e *WaitEntry) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Contains(q.entries, e)
}

// Wake wakes all sleepers. key says what happened.
func (q *WaitQueue) Wake(cur *Task, key uint32) {
	q.point(cur, sched.Wake)
	q.mu.Lock()
	var few [4]*WaitEntry
	entries := append(few[:0], q.entries...)
	q.mu.Unlock()
	if cur.k.Tracing() {
		cur.k.Emit(cur, WakeEvent{len(entries), key})
	}
	for _, e := range entries {
		if e.Fn != nil {
			e.Fn(cur, key)
			continue
		}
		e.task.sleepPoint(cur, sched.Wake)
		if q.has(e) {
			e.task.wake()
		}
	}
}

// A WakeEvent tells of a wake-up.
type WakeEvent struct {
	Sleepers int
	Key      uint32
}

func (e WakeEvent) String() string {
	return fmt.Sprintf("wake %d sleepers, key %#x", e.Sleepers, e.Key)
}

// sleep is a task's sleeping state.
type sleep struct {
	woken    atomic.Bool
	ch       chan struct{} // Free mode
	deadline Time
	until    func() bool // what a sleeper of a controlled run waits for
	expired  bool        // a deadline that nobody chose to come has
	timeouts int         // that have come
	obj      sched.Obj
	sync     memmodel.Sync
}

func (t *Task) wake() {
	t.sleep.woken.Store(true)
	if t.sleep.ch != nil {
		select {
		case t.sleep.ch <- struct{}{}:
		default:
		}
	}
}

// Ready implements sched.Resource: the sleep is over.
func (t *Task) Ready() bool { return t.sleep.woken.Load() || t.sleep.expired }

// prepareToSleep must come before the condition is tested that the task is going to wait for: a wake-up after it is
// not lost. It reports whether a signal is pending, which wakes too if it comes later.
func (t *Task) prepareToSleep() (signal bool) {
	t.sleepPoint(t, sched.Store)
	t.sleep.woken.Store(false)
	return t.signal.Load()
}

// sleepPoint is where the sleeper t and those who wake it meet.
func (t *Task) sleepPoint(cur *Task, kind sched.Kind) {
	if cur.th == nil {
		return
	}
	if t.sleep.obj == 0 {
		t.sleep.obj = t.k.cfg.Run.NewObj()
	}
	cur.cpu.Settle()
	cur.point(kind, t.sleep.obj, true, "sleep")
	cur.cpu.Release(&t.sleep.sync)
	cur.cpu.Acquire(&t.sleep.sync)
}

// schedule sleeps until somebody wakes the task, deadline has come or a signal is pending. until is what it waits for.
func (t *Task) schedule(deadline Time, until func() bool) {
	switch {
	case t.k.cfg.Mode == Free:
		t.scheduleFree(deadline)
	case t.th != nil:
		t.sleep.until = until
		t.scheduleControlled(deadline)
		t.sleep.until = nil
	default:
		t.scheduleInline(deadline)
	}
}

// scheduleControlled lets the scheduler choose when a timeout comes. That is a step of the sleeper, which meets those
// who wake it and those who look at the time.
func (t *Task) scheduleControlled(deadline Time) {
	s := &t.sleep
	if s.obj == 0 {
		s.obj = t.k.cfg.Run.NewObj()
	}
	s.deadline, s.expired = deadline, false
	op := sched.Op{Kind: sched.Wait, Write: true, Obj: s.obj, Res: t, Label: "sleep"}
	signal := t.signalComes()
	if signal { // as a timeout that is long over: no time passes before it
		s.deadline, op.Deadline = 0, 1
	} else if deadline != Forever {
		op.Also = t.k.clock.passes.id(t)
		if s.timeouts < t.k.cfg.Timeouts {
			op.Deadline = int64(max(deadline, 1))
		}
	}
	t.th.Point(op)
	t.cpu.Acquire(&s.sync)
	switch {
	case s.woken.Load() || t.abandoned():
	case signal:
		t.signal.Store(true)
		t.k.Emit(t, MishapEvent{sched.Signal, "sleep"})
	default:
		s.timeouts++
		t.k.setTime(max(deadline, t.k.Now()))
	}
}

func (t *Task) scheduleFree(deadline Time) {
	var timeout <-chan time.Time
	if deadline != Forever {
		timer := time.NewTimer(time.Duration(deadline - t.k.Now()))
		defer timer.Stop()
		timeout = timer.C
	}
	for !t.sleep.woken.Load() && !t.signal.Load() {
		select {
		case <-t.sleep.ch:
		case <-timeout:
			return
		}
	}
}

// scheduleInline lets work go on that is beside this, and time pass: nobody else can run. A wait without end is interrupted
// when patience is over. Work beside others gives way to them.
func (t *Task) scheduleInline(deadline Time) {
	k := t.k
	if t.beside != nil {
		t.beside.sleep(deadline, func() bool { return t.sleep.woken.Load() || t.signal.Load() })
		return
	}
	limit, patience := deadline, deadline == Forever
	if patience {
		limit = k.Now() + k.cfg.Patience
	}
	for !t.sleep.woken.Load() && !t.signal.Load() {
		if k.RunBeside() || k.pass(limit) {
			continue
		}
		k.setTime(max(limit, k.Now()))
		if patience {
			t.blocked = true
			t.signal.Store(true)
		}
		return
	}
}

// Deadline returns when a timeout that starts now is over; negative is never.
func (k *Kernel) Deadline(cur *Task, timeout Time) Time {
	if timeout < 0 || timeout == Forever {
		return Forever
	}
	return k.now(cur) + timeout
}

// WaitEvent sleeps on q until done returns true. It returns EINTR when a signal came and EAGAIN when deadline has
// passed: wait_event_interruptible_timeout.
func (t *Task) WaitEvent(q *WaitQueue, deadline Time, done func() bool) error {
	e := WaitEntry{task: t}
	q.Add(t, &e)
	defer e.Remove(t)
	for {
		signal := t.prepareToSleep()
		if done() {
			return nil
		}
		if signal {
			return EINTR
		}
		if deadline != Forever && t.k.now(t) >= deadline {
			return EAGAIN
		}
		t.schedule(deadline, done)
	}
}

// Interrupt sends the task a signal: a sleeping call ends with EINTR. It may be called from any goroutine.
func (t *Task) Interrupt() {
	t.signal.Store(true)
	t.wake()
}

// Nudge wakes the task though nothing has happened, as a kernel may: a task that still has to wait sleeps again, and
// one that does not was forgotten by whoever had to wake it.
func (t *Task) Nudge() { t.wake() }

// Forgotten reports whether the task of a controlled run sleeps for ever though what it waits for has come: somebody
// has not woken it. It looks as the task itself would, so that nothing may run when it is called.
func (t *Task) Forgotten(inspect.Key) (forgotten bool) {
	if t.sleep.until == nil || t.sleep.deadline != Forever || t.sleep.woken.Load() {
		return false
	}
	th, cpu := t.th, t.cpu
	t.th, t.cpu = nil, nil
	defer func() {
		t.th, t.cpu = th, cpu
		if p := recover(); p != nil {
			if _, ok := p.(hung); !ok {
				panic(p)
			}
			forgotten = false // it would wait for a lock
		}
	}()
	return t.sleep.until()
}

// SignalPending reports whether a signal waits for the task.
func (t *Task) SignalPending() bool { return t.signal.Load() }

// Spin is one turn of a loop that waits for others without sleeping and without looking at signals. An inline task
// that spins does so for ever: its call reports ErrBlocks and never returns.
func (t *Task) Spin(why string) {
	if t.k.cfg.Mode == Inline {
		t.hang("spins in %s", why)
	}
	t.GiveWay(why)
}

// GiveWay is for loops of userspace that look again and again: a controlled task goes on when others have done
// something.
func (t *Task) GiveWay(why string) {
	t.turn((*sched.Thread).GiveWay, why)
}

// turn lets other threads go first. What they did does not stay invisible for ever.
func (t *Task) turn(wait func(*sched.Thread, string), why string) {
	if t.th != nil && !t.cpu.CatchUp() {
		wait(t.th, why)
		t.cpu.CatchUp()
	}
}

// Yield lets others run: sched_yield(2). Inline nobody else can.
func (t *Task) Yield() {
	if t.k.cfg.Mode == Free {
		runtime.Gosched()
		return
	}
	t.turn((*sched.Thread).Yield, "sched_yield")
}

// idle fires the next timer, for a run in which no thread can go on before its time comes. If none but those can whose
// timeouts are no choice of the scheduler any more it lets the first of these come. It returns false when it has done
// nothing.
func (k *Kernel) idle(late bool) bool {
	var first *Task
	next := Forever
	for _, t := range k.tasks {
		if t.th != nil && t.th.Op.Kind == sched.Wait && t.sleep.deadline < next {
			first, next = t, t.sleep.deadline
		}
	}
	if timer := k.nextTimer(next); timer != nil {
		k.setTime(max(timer.when, k.Now()))
		k.fire(timer)
		return true
	}
	if late || first == nil {
		return false
	}
	first.sleep.expired = true
	return true
}
