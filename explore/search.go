package explore

import (
	"cmp"
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"nlmmap/internal/workers"
	"nlmmap/kernel/memmodel"
	"nlmmap/kernel/sched"
	"nlmmap/subsys"
)

// A searcher makes run after run of a program and notes what came of them.
type searcher struct {
	ctx   context.Context
	p     Program
	o     Options
	visit func(ran) // is told of each run that came to its end
	start time.Time
	res   Result
	err   error
	// resolved is o with the differences of its version.
	resolved Options
}

// A ran is what came of a run.
type ran struct {
	err            error
	steps, threads int
	repeated       bool // cut short as a repetition
	again          bool // it was made before
	foresight      *memmodel.Foresight
	broken         bool // cut short because the search cannot go on
	none           bool // a read foresaw what never came
	covered        float64
	met            sched.Conflicts
	length         int // of pct: within how many steps it changes priorities
	seen           []Violation
	fail           *Violation
	reached        bool // Options.Reach
	outcome        string
	switches       []sched.Switch
}

// Schedulers are the names that Options.Scheduler can have.
func Schedulers() []string { return []string{"dfs", "pct", "random", "roundrobin", "all"} }

// search makes runs until there is nothing left, or the budget is used up.
func (s *searcher) search() Result {
	s.start = time.Now()
	s.res.Err = s.runs()
	s.res.Elapsed = time.Since(s.start)
	switch {
	case s.res.Exhausted:
		s.res.Covered = 1
	case s.res.Failure != nil || s.o.Runs > 0 && s.res.Runs >= s.o.Runs:
		s.res.Covered = 0 // it depends on who was where, and what is said of so many runs does not
	}
	return s.res
}

func (s *searcher) runs() error {
	err := s.o.Check()
	if err != nil {
		return err
	}
	s.res.Violations = map[string]int{}
	s.resolved = *s.o.asGiven()
	if s.resolved.differences, err = subsys.Resolve(s.o.Version); err != nil || !s.goesOn() {
		return err
	}
	switch s.o.Scheduler {
	case "all":
		s.turns(s.everything)
	case "pct":
		s.pct()
	case "random":
		s.each(0, func(i int) sched.Scheduler { return sched.NewRandom(s.o.Seed + uint64(i)) })
	case "roundrobin":
		if s.each(rotations, func(i int) sched.Scheduler { return &sched.RoundRobin{Quantum: i + 1} }) {
			s.res.LeftOut = fmt.Sprintf("%d rotations were tried", rotations)
		}
	default:
		switch o := &s.o; {
		case o.Deepen && o.Bound == 0:
			s.deepen(0, -1)
		case o.Deepen:
			s.deepen(0, o.Bound)
		case o.Bound > 0:
			s.deepen(o.Bound, o.Bound)
		default:
			s.turns(s.exhaust)
		}
	}
	return s.err
}

// turns makes all runs, and again as long as they show that a read can find more of what comes later than was known. The
// runs of the last turn are all there are.
func (s *searcher) turns(all func() (whole bool)) {
	s.foresee()
	for all() {
		if !s.resolved.foresight.Grow() {
			s.res.Exhausted = true
			return
		}
	}
}

// foresee lets reads of bytes be delayed, where the memory model has that.
func (s *searcher) foresee() {
	if s.resolved.foresight == nil {
		s.resolved.foresight = &memmodel.Foresight{}
	}
}

// rotations is how many schedules roundrobin has: with quanta from 1 on.
const rotations = 16

// exhaust makes all runs that can differ, and reports whether it came to its end.
func (s *searcher) exhaust() bool {
	d, whole := &sched.DFS{}, true
	sched.Each(d, max(s.o.Workers, 1), func(d *sched.DFS) ran {
		r := s.run(d, d.Repeated)
		r.repeated, r.broken, r.covered = d.Repeated(), d.Err() != nil, d.Covered()
		if r.fail != nil || s.visit != nil {
			r.switches = d.Switches()
		}
		return r
	}, func(r ran) bool {
		whole = s.take(r)
		return whole
	})
	s.err = cmp.Or(s.err, d.Err())
	return whole && s.err == nil
}

// deepen makes all runs with at most first preemptions, then with one more, and so on until last, or until there are no
// others.
func (s *searcher) deepen(first, last int) {
	s.foresee()
	for limit := first; ; limit++ {
		runs := s.res.Runs
		b, whole := s.within(limit, limit > first)
		for whole && s.resolved.foresight.Grow() {
			b, whole = s.within(limit, false)
		}
		if !whole {
			return
		}
		s.res.Bounds = append(s.res.Bounds, Bound{limit, s.res.Runs - runs})
		switch {
		case !b.Cut():
			s.res.Exhausted = true
			return
		case limit == last:
			s.res.LeftOut = fmt.Sprintf("those with more than %d preemptions were left out", limit)
			return
		}
	}
}

// within makes all runs with at most limit preemptions, and reports whether it came to its end. Those with fewer are known if
// the limit before was gone through.
func (s *searcher) within(limit int, fewerKnown bool) (b *sched.Bounded, whole bool) {
	b = &sched.Bounded{Limit: limit}
	for b.More() {
		r := s.run(b, b.Repeated)
		r.repeated, r.broken, r.switches = b.Repeated(), b.Err() != nil, b.Switches()
		r.again = r.again || fewerKnown && b.Surprises() < limit
		if !s.take(r) {
			return b, false
		}
	}
	s.err = b.Err()
	return b, s.err == nil
}

// everything makes every choice at every step, and reports whether it came to its end.
func (s *searcher) everything() bool {
	for all := (&sched.All{}); all.More(); {
		if !s.take(s.recorded(all)) {
			return false
		}
	}
	return true
}

// pct makes runs that change priorities at steps within the longest run before them. The first has none to change at.
func (s *searcher) pct() {
	run := func(i, length int) ran {
		r := s.recorded(sched.NewPCT(s.o.Seed+uint64(i), s.o.depth(), length))
		r.length = length
		return r
	}
	var length atomic.Int64
	workers.InOrder(s.o.Workers, 0, func(i int) ran { return run(i, int(length.Load())) }, func(i int, r ran) bool {
		if r.length != s.res.Length { // it was made too early to know
			r = run(i, s.res.Length)
		}
		more := s.take(r)
		length.Store(int64(s.res.Length))
		s.res.Chance = sched.Chance(s.res.Threads, s.res.Length, s.o.depth())
		return more
	})
}

// depth is the depth of the bugs that pct looks for.
func (o *Options) depth() int {
	if o.Depth == 0 {
		return 3
	}
	return o.Depth
}

// each makes n runs, 0 for no limit, and reports whether it came to their end.
func (s *searcher) each(n int, scheduler func(i int) sched.Scheduler) bool {
	return workers.InOrder(s.o.Workers, n, func(i int) ran { return s.recorded(scheduler(i)) }, func(_ int, r ran) bool { return s.take(r) })
}

// recorded makes a run and writes down its switches.
func (s *searcher) recorded(by sched.Scheduler) ran {
	rec := &sched.Recorder{Scheduler: by}
	r := s.run(rec, nil)
	r.switches = rec.Switches
	return r
}

// run makes a run.
func (s *searcher) run(by sched.Scheduler, cut func() bool) ran {
	w, err := once(s.p, &s.resolved, by, cut, nil)
	if err == nil && w.fail == nil && !w.broken && (cut == nil || !cut()) {
		err = w.hasSteps() // a run that was cut short may not have come to all
	}
	if err != nil {
		return ran{err: err}
	}
	r := ran{steps: w.run.Steps(), threads: len(w.run.Threads()), seen: w.seen, fail: w.fail, reached: w.reached, outcome: w.outcome,
		foresight: w.foresight, none: w.broken, again: w.foresight != nil && w.foresight.Known()}
	if w.met != nil {
		r.met = w.met.Found()
	}
	return r
}

// take notes what came of a run, and reports whether the search goes on.
func (s *searcher) take(r ran) bool {
	if s.err = r.err; s.err != nil {
		return false
	}
	res := &s.res
	res.Runs++
	res.Steps += int64(r.steps)
	res.Covered = r.covered
	if s.o.Coverage {
		if res.Conflicts == nil {
			res.Conflicts = &sched.Conflicts{}
		}
		res.Conflicts.Add(r.met)
	}
	res.Length, res.Threads = max(res.Length, r.steps), max(res.Threads, r.threads)
	if r.foresight != nil {
		s.resolved.foresight.Add(r.foresight)
	}
	if r.repeated || r.none {
		res.Pruned++
	}
	if r.reached {
		res.Reached++
	}
	if r.again {
		return s.goesOn()
	}
	for _, v := range r.seen {
		res.Violations[v.Name]++
	}
	if r.fail != nil {
		res.FoundAfter = res.Runs
		res.Failure = &Failure{Program: s.p, Options: s.o, Violation: *r.fail, Switches: r.switches}
		res.Failure.Options.Foresee = s.resolved.foresight.String()
		return false
	}
	if s.visit != nil && !r.repeated && !r.broken && !r.none {
		s.visit(r)
	}
	return s.goesOn()
}

// goesOn reports whether another run is within the budget.
func (s *searcher) goesOn() bool {
	res := &s.res
	if s.ctx.Err() != nil || s.o.Runs > 0 && res.Runs >= s.o.Runs {
		return false
	}
	if res.Runs%64 != 0 {
		return true
	}
	res.Elapsed = time.Since(s.start)
	if s.o.Progress != nil && res.Runs > 0 {
		s.o.Progress(*res)
	}
	limit := s.o.Time
	if limit == 0 {
		limit = time.Minute
	}
	return res.Elapsed <= limit
}
