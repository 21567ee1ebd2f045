// Package sched runs simulated tasks as coroutines, exactly one at a time, and lets a Scheduler choose which one goes
// on at each scheduling point. It is the controlled mode of the machine: the same choices give the same run.
//
// A thread announces what it is about to do (an Op) and stops; the operation happens when the thread is chosen again.
// So at any moment the run knows the next operation of every thread, which is what a search needs to tell which
// orders can differ. Threads whose operation cannot happen yet (a lock that is held, a sleep that nobody ended) are
// not offered to the scheduler.
package sched

import (
	"fmt"
	"iter"
	"runtime"
	"slices"
)

// Kind classifies scheduling points.
type Kind uint8

// The kinds of scheduling points.
const (
	Start   Kind = iota // first step of a thread
	Enter               // system-call entry
	Exit                // system-call exit
	Lock                // acquisition of a lock
	Unlock              // release of a lock
	Wait                // sleep on a wait queue
	Wake                // wake-up of a wait queue
	Load                // load of a shared word
	Store               // store to a shared word
	RMW                 // atomic read-modify-write
	Read                // read of shared bytes
	Write               // write of shared bytes
	Barrier             // memory barrier
	Yield               // the thread gives way, as in a spinning loop
	Drain               // a store leaves a store buffer
)

var kindNames = [...]string{"start", "enter", "exit", "lock", "unlock", "wait", "wake", "load", "store", "rmw", "read",
	"write", "barrier", "yield", "drain"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind%d", k)
}

// Obj identifies a shared object within a run; 0 is "nothing shared". The same choices give the same numbers.
type Obj uint32

// A Resource is what a thread may have to wait for.
type Resource interface {
	// Ready reports whether the announced operation can happen now.
	Ready() bool
}

// An Op is what a thread is about to do.
type Op struct {
	Kind  Kind
	Write bool     // changes Obj
	Obj   Obj      // what it touches
	Off   uint32   // the part of Obj it touches: bytes [Off, Off+Len); Len 0 is all of it
	Len   uint32   //
	Also  Obj      // a second object that it changes: the store buffer that a Drain empties
	After int      // 1 + the step that caused it: that made a Drain's store, or started the thread; 0 for none
	Since []int    // as After: other steps that had to come first, such as stores before a barrier of a Drain's
	Age   int      // of a Drain: which of the CPU's stores it is
	Res   Resource // nil: can always happen
	// Deadline, if it is not 0, is when the operation happens though Res is not ready: a timeout. A scheduler may let that
	// come at any point; Default lets it where nobody can go on, the earliest first.
	Deadline int64
	Label    string // for humans: the lock, the system call, the field
	// Counts says how it changes Obj, if that is a count.
	Counts Counting
}

// An Access is something that a step turned out to touch beside what it announced: the book that an observer keeps, in
// which what is noted depends on what was noted before, or a part of an object that an observer has looked at.
type Access struct {
	Cell  uint64 // of the book: a number that is the same in every run
	Write bool
	// Obj, Off and Len, if Obj is not 0, are the part that was read, as an Op would announce it.
	Obj      Obj
	Off, Len uint32
}

// reads reports whether the observer has read what an operation changes.
func (a Access) reads(o Op) bool {
	return a.Obj != 0 && o.Write && Op{Obj: a.Obj, Off: a.Off, Len: a.Len}.Dependent(o)
}

// clash reports whether the order of two steps can matter: for what they announced or for what they turned out to touch.
func clash(a Op, touched []Access, b Op, also []Access) bool {
	return a.Dependent(b) || conflict(a, touched, b, also)
}

// conflict reports whether the order of two steps can matter for what they turned out to touch.
func conflict(a Op, touched []Access, b Op, also []Access) bool {
	for _, x := range touched {
		if x.reads(b) {
			return true
		}
		for _, y := range also {
			if x.Obj == 0 && y.Obj == 0 && x.Cell == y.Cell && (x.Write || y.Write) {
				return true
			}
		}
	}
	for _, y := range also {
		if y.reads(a) {
			return true
		}
	}
	return false
}

// Counting is how an operation changes a count.
type Counting uint8

// The ways to change a count. Two changes commute unless both drop references: then it matters who drops the last. That
// somebody takes one does not matter to who drops one, since it can only be taken where one is held.
const (
	NoCount  Counting = iota // not a count, or the result matters
	Blindly                  // adds without looking at the result
	Dropping                 // drops a reference and looks whether it was the last
)

// commute reports whether the order of two changes of the same count does not matter.
func (c Counting) commute(o Counting) bool {
	return c == Blindly && o != NoCount || o == Blindly && c != NoCount
}

// Dependent reports whether the order of a and b can matter: they touch the same part of an object and one changes it.
func (a Op) Dependent(b Op) bool {
	if a.Also != 0 && a.Also == b.Obj || b.Also != 0 && a.Obj == b.Also {
		return true
	}
	if a.Obj == 0 || a.Obj != b.Obj || !a.Write && !b.Write || a.Counts.commute(b.Counts) {
		return false
	}
	if a.Len == 0 || b.Len == 0 {
		return true
	}
	return a.Off < b.Off+b.Len && b.Off < a.Off+a.Len
}

func (a Op) String() string {
	if a.Label != "" {
		return a.Kind.String() + " " + a.Label
	}
	return a.Kind.String()
}

// A Scheduler chooses who goes on.
type Scheduler interface {
	// Next returns the thread that makes the next step. enabled is not empty and is in order of thread ids; cur is
	// the thread that made the last step, or nil, and need not be enabled. A nil result ends the run.
	Next(r *Run, cur *Thread, enabled []*Thread) *Thread
	// Choose picks one of n possible outcomes of t's step that are not a matter of order: the value that a load sees
	// on a machine with weak memory, or whether a mishap comes (Run.Mishap). 0 is what usually happens. Each choice
	// counts as a step.
	Choose(r *Run, t *Thread, n int) int
}

// A Thread is a coroutine of a Run.
type Thread struct {
	ID   int
	Name string
	Op   Op // the operation it will do when it is chosen
	run  *Run
	next func() (struct{}, bool)
	stop func()
	// yield gives control back to Run.Loop; false means that the run was abandoned.
	yield func(struct{}) bool
	done  bool
	// daemon threads may be left waiting when all others are done.
	daemon bool
	// agent is the step of a thread that is no coroutine: it does its operation when it is chosen.
	agent func()
	owner *Thread
	steps int
	asked int // mishaps that could have happened to it
	born  int // 1 + the step in which it was made, 0 before the first
}

// Done reports whether the thread's function has returned.
func (t *Thread) Done() bool { return t.done }

// Steps is the number of steps that the thread has made.
func (t *Thread) Steps() int { return t.steps }

// A Run is one controlled execution. The zero value with a Scheduler is ready to use.
type Run struct {
	Scheduler Scheduler
	// Idle is called when no thread can go on, or none but those whose timeout may come (late); it may make one ready
	// (let time pass) and then returns true.
	Idle func(late bool) bool
	// MaxSteps ends the run with ErrSteps, 0 means 1,000,000.
	MaxSteps int

	threads []*Thread
	enabled []*Thread
	chosen  *Thread
	cur     *Thread
	steps   int
	idles   int      // how often Idle did something
	touched []Access // by the present step
	known   uint64   // outcomes of the present choice that a search need not try
	mishap  Mishap   // that the present choice is about
	nextObj Obj
	err     error
	abort   bool
}

// Touch adds to what the present step touches.
func (r *Run) Touch(a Access) {
	for i := range r.touched {
		if t := &r.touched[i]; t.Cell == a.Cell && t.Obj == a.Obj && t.Off == a.Off && t.Len == a.Len {
			t.Write = t.Write || a.Write
			return
		}
	}
	r.touched = append(r.touched, a)
}

// NewObj returns an identity for a shared object.
func (r *Run) NewObj() Obj {
	r.nextObj++
	return r.nextObj
}

// Threads returns all threads in order of their ids.
func (r *Run) Threads() []*Thread { return r.threads }

// Steps is the number of steps made so far.
func (r *Run) Steps() int { return r.steps }

// Go adds a thread. It starts when it is chosen. It may be called from a running thread, whose step then is the cause
// of all that the new one does.
func (r *Run) Go(name string, fn func(*Thread)) *Thread {
	t := &Thread{ID: len(r.threads), Name: name, run: r, Op: Op{Kind: Start, After: r.steps}, born: r.steps}
	r.threads = append(r.threads, t)
	t.next, t.stop = iter.Pull(func(yield func(struct{}) bool) {
		t.yield = yield
		defer func() {
			t.done = true
			if p := recover(); p != nil {
				if _, ok := p.(abandoned); !ok {
					panic(p)
				}
			}
		}()
		reserve()
		fn(t)
	})
	return t
}

// reserve makes room on a new stack: all at once, while there is nothing on it that would have to be moved, and not bit
// by bit below the calls of a program.
//
//go:noinline
func reserve() {
	var room [6 << 10]byte
	runtime.KeepAlive(&room)
}

// Agent adds a thread that is no coroutine, on behalf of owner: each time it is chosen it runs step. It is ready when
// op.Res says so; step and others may change its Op. Agents are daemons.
func (r *Run) Agent(owner *Thread, name string, op Op, step func()) *Thread {
	t := &Thread{ID: len(r.threads), Name: name, run: r, Op: op, agent: step, owner: owner, daemon: true}
	r.threads = append(r.threads, t)
	return t
}

// Owner is the thread on whose behalf an agent acts, nil for others.
func (t *Thread) Owner() *Thread { return t.owner }

// IsAgent reports whether the thread was made by Agent.
func (t *Thread) IsAgent() bool { return t.agent != nil }

// GiveWay announces that the thread turns in a loop until others do something: it goes on only after another thread
// has made a step, so that no schedule turns in the loop for ever. If nobody else can go on the run ends as a Deadlock.
func (t *Thread) GiveWay(label string) {
	t.Point(Op{Kind: Yield, Res: &turn{t: t, since: t.run.steps}, Label: label})
}

// Yield lets others go first: the thread goes on after another thread has made a step, or when nobody else can.
func (t *Thread) Yield(label string) {
	t.Point(Op{Kind: Yield, Res: &turn{t: t, since: t.run.steps, polite: true}, Label: label})
}

// turn is ready when somebody else has made a step since.
type turn struct {
	t      *Thread
	since  int
	polite bool // and when nobody else can
}

// Ready implements Resource.
func (u *turn) Ready() bool { return u.t.run.steps > u.since && u.t.run.cur != u.t }

// Choose lets the scheduler pick an outcome of the present step, from 0 to n-1.
func (t *Thread) Choose(n int) int { return t.ChooseNew(n, 0) }

// ChooseNew is Choose where a search of all schedules need not try some outcomes, since it comes to the same in another
// order of steps: those below 64 whose bit is set in known.
func (t *Thread) ChooseNew(n int, known uint64) int {
	r := t.run
	if n < 2 || r.abort {
		return 0
	}
	r.steps++
	r.known, r.mishap = known, NoMishap
	return r.Scheduler.Choose(r, t, n)
}

// A Mishap is what may happen to a thread in a step of its own though nobody does it: the scheduler chooses. The usual
// thing is that it does not.
type Mishap int

// The mishaps.
const (
	NoMishap Mishap = iota
	Fail            // an allocation finds no memory
	Signal          // a signal comes
)

var mishapNames = [...]string{"", "fail", "signal"}

func (m Mishap) String() string { return mishapNames[m] }

// ParseMishap reads what String writes.
func ParseMishap(name string) (Mishap, bool) {
	i := slices.Index(mishapNames[:], name)
	return Mishap(i), i > 0
}

// Happens lets the scheduler choose whether a mishap comes in the present step. It is asked for every one that may come;
// left tells whether the run has any left.
func (t *Thread) Happens(m Mishap, left bool) bool {
	r := t.run
	t.asked++
	if !left || r.abort {
		return false
	}
	r.steps++
	r.known, r.mishap = 0, m
	return r.Scheduler.Choose(r, t, 2) == 1
}

// Mishap is what the present choice is about: NoMishap for a choice between values.
func (r *Run) Mishap() Mishap { return r.mishap }

// Switch is the switch to an outcome of the present choice.
func (r *Run) Switch(outcome int) Switch { return switchTo(r.steps-1, outcome, r.mishap) }

func switchTo(step, outcome int, m Mishap) Switch {
	if m != NoMishap {
		return Switch{step, -int(m)}
	}
	return Switch{step, outcome}
}

// Causal is a Scheduler that knows what must come before what.
type Causal interface {
	// Caused reports whether a step that was made comes before the present one of t because of what t did or met before.
	Caused(step int, t *Thread) bool
}

// Caused is what the run's scheduler says, and true if it does not know.
func (r *Run) Caused(step int, t *Thread) bool {
	c, ok := r.Scheduler.(Causal)
	return !ok || c.Caused(step, t)
}

// Daemon marks a thread that need not finish.
func (t *Thread) Daemon() { t.daemon = true }

// Abandoned reports whether the run has ended before the thread did: what the thread still does is its stack unwinding.
func (t *Thread) Abandoned() bool { return t.run.abort }

type abandoned struct{}

// IsAbandoned reports whether what a thread has recovered is the end of its run, which must go on: panic with it again.
func IsAbandoned(p any) bool {
	_, ok := p.(abandoned)
	return ok
}

// Point announces op and returns when the thread has been chosen to do it.
func (t *Thread) Point(op Op) {
	r := t.run
	if r.abort {
		return
	}
	t.Op = op
	next := r.pick()
	if next != t {
		r.chosen = next
		if !t.yield(struct{}{}) {
			panic(abandoned{})
		}
	}
	t.Op.Kind, t.Op.Res, t.Op.Deadline = Start, nil, 0
	t.steps++
}

// pick asks the scheduler, and lets agents make their steps on the way; nil ends the run.
func (r *Run) pick() *Thread {
	limit := r.MaxSteps
	if limit == 0 {
		limit = 1_000_000
	}
	for {
		if r.steps >= limit {
			r.err = ErrSteps
			return nil
		}
		waiting := r.findEnabled()
		late := len(r.enabled) > 0 && r.enabled[0].late() && !slices.ContainsFunc(r.enabled, func(t *Thread) bool { return !t.late() })
		if (late || len(r.enabled) == 0) && r.Idle != nil && r.Idle(late) {
			r.idles++
			continue
		}
		if len(r.enabled) == 0 {
			if waiting {
				r.err = &Deadlock{Threads: r.stuck()}
			}
			return nil
		}
		next := r.Scheduler.Next(r, r.cur, r.enabled)
		if next == nil {
			return nil
		}
		r.steps++
		r.cur, r.touched = next, r.touched[:0]
		if next.agent == nil {
			return next
		}
		next.steps++
		next.agent()
	}
}

// findEnabled lists the threads that can go on, and reports whether one waits that must not be left waiting.
func (r *Run) findEnabled() (waiting bool) {
	r.enabled = r.enabled[:0]
	alone := true // those who give way are: whoever can go on waits for its time
	for _, t := range r.threads {
		switch {
		case t.done:
		case t.Op.Res == nil || t.Op.Res.Ready():
			r.enabled = append(r.enabled, t)
			alone = false
		case t.Op.Deadline != 0:
			r.enabled = append(r.enabled, t)
		case !t.daemon:
			waiting = true
		}
	}
	if !alone {
		return waiting
	}
	late := len(r.enabled)
	for _, t := range r.threads {
		if u, ok := t.Op.Res.(*turn); ok && u.polite && !t.done {
			r.enabled = append(r.enabled, t)
		}
	}
	if late > 0 && late < len(r.enabled) {
		slices.SortFunc(r.enabled, func(a, b *Thread) int { return a.ID - b.ID })
	}
	return waiting
}

// late reports whether the thread can only go on because its time comes.
func (t *Thread) late() bool { return t.Op.Deadline != 0 && !t.Op.Res.Ready() && !t.done }

func (r *Run) stuck() []*Thread {
	var stuck []*Thread
	for _, t := range r.threads {
		if !t.done && !t.daemon {
			stuck = append(stuck, t)
		}
	}
	return stuck
}

// ErrSteps ends a run that made MaxSteps steps: a livelock, or a limit that is too low.
var ErrSteps = fmt.Errorf("step limit reached")

// A Deadlock ends a run in which threads wait and nothing can wake them.
type Deadlock struct{ Threads []*Thread }

func (d *Deadlock) Error() string {
	s := "deadlock:"
	for _, t := range d.Threads {
		s += fmt.Sprintf(" %s waits for %v;", t.Name, t.Op)
	}
	return s
}

// Loop runs the threads to their end, or until the scheduler returns nil. It returns nil, ErrSteps or a *Deadlock.
// Threads that are not done are abandoned: their stacks unwind, and scheduling points they meet do nothing.
func (r *Run) Loop() error {
	r.chosen = r.pick()
	for r.chosen != nil {
		t := r.chosen
		r.chosen = nil
		if _, ok := t.next(); !ok {
			// The thread's function returned without choosing a successor.
			r.chosen = r.pick()
		}
	}
	r.abort = true
	for _, t := range r.threads {
		if t.stop != nil {
			t.stop()
		}
	}
	return r.err
}
