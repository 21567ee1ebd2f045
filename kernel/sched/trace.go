package sched

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
)

// A Trace is a Scheduler that lets another one choose and writes down the steps and what they must come after: the
// partial order of which a search tries one sequence only. What a thread does and what its store buffer does are kept in
// their order, though that may not matter: whether a thread comes to wait for its buffer depends on it.
type Trace struct {
	Scheduler
	Steps []Step
	// Places keeps where in the code each step begins and ends.
	Places bool

	announced map[int]string // by thread: where its pending operation was announced
	barrier   int            // steps before this one come before all after it
	index     []int          // by number of the run's steps
	open      *Run           // whose last step may still touch something
}

// A Step is one step of a recorded run.
type Step struct {
	Thread  string // a name that is the same in every run
	Op      Op
	Choices []int // the outcomes that were picked in it
	among   []int // of how many each
	Mishaps []int // that came in it, by how many could have come to the thread until then
	From    string
	To      string
	home    string // the thread, or whose store buffer it is
	touched []Access
	after   []int
}

func (s Step) String() string {
	text := s.Thread + ": " + s.Op.String()
	if s.Op.Kind == Drain {
		text += fmt.Sprintf(" to bytes %d to %d of memory %d", s.Op.Off, s.Op.Off+s.Op.Len, s.Op.Obj)
	}
	return text
}

// Idle must be called when time has passed because no thread could go on.
func (t *Trace) Idle() { t.barrier = len(t.Steps) }

// Next implements Scheduler.
func (t *Trace) Next(r *Run, cur *Thread, enabled []*Thread) *Thread {
	t.settle()
	if t.Places {
		t.place(cur)
	}
	next := t.Scheduler.Next(r, cur, enabled)
	if next == nil {
		return nil
	}
	for len(t.index) <= r.Steps() {
		t.index = append(t.index, len(t.Steps))
	}
	s := Step{Thread: r.Key(next), Op: next.Op}
	s.home = s.Thread
	if next.owner != nil {
		s.home = r.Key(next.owner)
	}
	if t.Places {
		s.From = t.announced[next.ID]
	}
	for i := range t.Steps {
		e := &t.Steps[i]
		if i < t.barrier || e.home == s.home || e.Op.Dependent(s.Op) || s.Op.After > 0 && t.index[s.Op.After-1] == i {
			s.after = append(s.after, i)
		}
	}
	t.Steps, t.open = append(t.Steps, s), r
	return next
}

// settle notes what the last step has touched.
func (t *Trace) settle() {
	if t.open == nil {
		return
	}
	at := len(t.Steps) - 1
	s := &t.Steps[at]
	s.touched = slices.Clone(t.open.touched)
	t.open = nil
	for i := range t.Steps[:at] {
		if e := &t.Steps[i]; conflict(e.Op, e.touched, s.Op, s.touched) && !slices.Contains(s.after, i) {
			s.after = append(s.after, i)
		}
	}
}

// Choose implements Scheduler.
func (t *Trace) Choose(r *Run, th *Thread, n int) int {
	pick := t.Scheduler.Choose(r, th, n)
	s := &t.Steps[len(t.Steps)-1]
	switch {
	case r.mishap == NoMishap:
		s.Choices, s.among = append(s.Choices, pick), append(s.among, n)
	case pick > 0:
		s.Mishaps = append(s.Mishaps, th.asked)
	}
	for len(t.index) < r.Steps() {
		t.index = append(t.index, len(t.Steps)-1)
	}
	return pick
}

// place notes where cur, which has just come to its next point, or the caller of Loop is.
func (t *Trace) place(cur *Thread) {
	if t.announced == nil {
		t.announced = map[int]string{}
	}
	if cur == nil || cur.IsAgent() || len(t.Steps) == 0 {
		return
	}
	where := "its end"
	if !cur.Done() {
		where = callers()
	}
	for i := len(t.Steps) - 1; i >= 0; i-- {
		if s := &t.Steps[i]; s.To == "" && s.Thread == cur.run.Key(cur) {
			s.To = where
			break
		}
	}
	t.announced[cur.ID] = where
}

// callers is the stack above the scheduling point that is announced, the innermost eight functions.
func callers() string {
	var pcs [40]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	var list []string
	below := true // in the functions that lead from the point to the scheduler
	for f, more := frames.Next(); more && len(list) < 8; f, more = frames.Next() {
		name := f.Function[strings.LastIndexByte(f.Function, '/')+1:]
		if below = below && name != "sched.(*Thread).Point"; below || strings.HasPrefix(name, "sched.") || strings.HasSuffix(name, ").point") {
			continue
		}
		list = append(list, fmt.Sprintf("%s:%d", name, f.Line))
	}
	return strings.Join(list, " < ")
}

// Shuffled returns another order of the steps in which every step still comes after those that it must come after: one in
// which whole threads are early or late, or one that is chosen step by step.
func (t *Trace) Shuffled(rng *rand.Rand) []int {
	t.settle()
	prio := map[string]int{}
	pick := func(ready []int) int { return rng.IntN(len(ready)) }
	if rng.IntN(2) == 0 {
		pick = func(ready []int) int {
			best := 0
			for i, step := range ready {
				name := t.Steps[step].Thread
				if _, ok := prio[name]; !ok {
					prio[name] = rng.IntN(1 << 30)
				}
				if prio[name] > prio[t.Steps[ready[best]].Thread] {
					best = i
				}
			}
			return best
		}
	}
	waits := make([]int, len(t.Steps))
	followers := make([][]int, len(t.Steps))
	var ready []int
	for i, s := range t.Steps {
		waits[i] = len(s.after)
		for _, e := range s.after {
			followers[e] = append(followers[e], i)
		}
		if waits[i] == 0 {
			ready = append(ready, i)
		}
	}
	var order []int
	for len(ready) > 0 {
		at := pick(ready)
		i := ready[at]
		ready = append(ready[:at], ready[at+1:]...)
		order = append(order, i)
		for _, f := range followers[i] {
			if waits[f]--; waits[f] == 0 {
				ready = append(ready, f)
			}
		}
	}
	return order
}

// Key names a thread in a way that is the same in every run: threads that are made on the way have ids that depend on
// who comes first, but each makes its own in order.
func (r *Run) Key(t *Thread) string {
	n := 0
	for _, o := range r.threads[:t.ID] {
		if o.Name == t.Name {
			n++
		}
	}
	if n == 0 {
		return t.Name
	}
	return fmt.Sprintf("%s %d", t.Name, n)
}

// A Follow is a Scheduler that makes recorded steps in a given order, and ends the run where that is not possible.
type Follow struct {
	Steps []Step
	Order []int
	// Lost says where the run could not go on as it should; empty if it could. Idly is set where that was a thread that
	// gives way, or a wake-up of one that has left its queue: whether these steps are made depends on others, but shows in
	// nothing. And where a load has another number of values to choose from: what one of two loads does not choose any more the
	// other did, in every order the same pairs, but their numbers are others.
	Lost string
	Idly bool

	pos            int
	choices, among []int
	mishaps        []int
}

// Next implements Scheduler.
func (f *Follow) Next(r *Run, _ *Thread, enabled []*Thread) *Thread {
	if f.pos == len(f.Order) {
		f.lost(enabled[0].Op, "after all steps %s can go on: %v", enabled[0].Name, enabled[0].Op)
		return nil
	}
	want := f.Steps[f.Order[f.pos]]
	for _, t := range enabled {
		if r.Key(t) != want.Thread {
			continue
		}
		if t.Op.Kind != want.Op.Kind || t.Op.Label != want.Op.Label || t.Op.Off != want.Op.Off || t.Op.Len != want.Op.Len {
			if f.lost(want.Op, "%v comes to %v", want, t.Op); t.Op.Kind == Wake {
				f.Idly = true
			}
			return nil
		}
		f.pos++
		f.choices, f.among, f.mishaps = want.Choices, want.among, want.Mishaps
		return t
	}
	f.lost(want.Op, "%v is not possible", want)
	return nil
}

func (f *Follow) lost(op Op, format string, args ...any) {
	f.Lost, f.Idly = fmt.Sprintf(format, args...), op.Kind == Yield || op.Kind == Wake
}

// Choose implements Scheduler.
func (f *Follow) Choose(r *Run, t *Thread, n int) int {
	if r.mishap != NoMishap {
		if slices.Contains(f.mishaps, t.asked) {
			return 1
		}
		return 0
	}
	if len(f.choices) == 0 {
		f.Lost = fmt.Sprintf("%s has a choice of %d that it had not", t.Name, n)
		return 0
	}
	pick, among := f.choices[0], f.among[0]
	f.choices, f.among = f.choices[1:], f.among[1:]
	if n != among {
		f.Lost = fmt.Sprintf("%s has a choice of %d where it had one of %d", t.Name, n, among)
		f.Idly = true
		return 0
	}
	return pick
}
