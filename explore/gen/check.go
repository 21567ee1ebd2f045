package gen

import (
	"context"
	"fmt"
	"strings"

	"nlmmap/explore"
	"nlmmap/internal/workers"
	"nlmmap/kernel"
	"nlmmap/kernel/memmodel"
	"nlmmap/kernel/sched"
)

// A Check measures the exhaustive search with random programs. Each program is run
//
//   - under all schedules that the search takes for different;
//   - under random schedules, whose outcomes must be among those;
//   - where it is small enough, with every choice at every step, which must lead to the same outcomes;
//   - under a random schedule and again with its steps in other orders that the search takes for the same: the outcome
//     must be the same;
//   - twice under one schedule: the same again.
//
// The zero value has sizes that suit the programs that New draws.
type Check struct {
	Config Config
	// Schedules is how many the search may try for a program before it is left out; 0 means 200.
	Schedules int
	// Random is the number of random schedules of a program, 0 means 16; Orders that of other orders of one, 0 means 2.
	Random, Orders int
	// Every is how many runs a program may take with every choice at every step, by estimate; 0 means that none is run so.
	Every int
}

// A Report counts what a Check has done.
type Report struct {
	Programs int
	Skipped  int // programs for which the search did not come to an end
	Every    int // programs that were run with every choice at every step
	Runs     int
	Misses   []Miss
}

func (r *Report) add(o Report) {
	r.Programs += o.Programs
	r.Skipped += o.Skipped
	r.Every += o.Every
	r.Runs += o.Runs
	r.Misses = append(r.Misses, o.Misses...)
}

func (r Report) String() string {
	return fmt.Sprintf("%d programs, %d of them with more schedules than were tried and %d with every choice at every step; %d runs, %d misses",
		r.Programs, r.Skipped, r.Every, r.Runs, len(r.Misses))
}

// A Miss is a program with which the search is wrong.
type Miss struct {
	Program Program
	Options explore.Options
	// What is wrong, in words that are the same for all misses of one kind.
	What string
	// Outcome is one that the search should have found, or that one schedule does not always lead to; its switches
	// replay it.
	Outcome *explore.Outcome
	// Hidden are two steps that are to blame, if two are.
	Hidden *explore.Hidden
}

func (m Miss) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d, kernel %v, memory %v: %s\n%v", m.Options.Seed, m.Options.Version, m.Options.Memory, m.What, m.Program)
	if m.Outcome != nil {
		fmt.Fprintf(&b, "outcome %v\n  replay %s\n", m.Outcome, explore.FormatSwitches(m.Outcome.Switches))
	}
	if m.Hidden != nil {
		fmt.Fprint(&b, m.Hidden)
	}
	return b.String()
}

// Options are the release and the memory model that a seed's program is checked on, and whether an allocation may fail and
// a signal come: all of them in turn. Of the invariants only poll is left out, see docs/exploration.md.
func Options(seed uint64) explore.Options {
	releases := kernel.Releases()
	n := uint64(len(releases))
	mishaps := int(seed / n / 3 % 4)
	return explore.Options{FailAllocs: mishaps % 2, Signals: mishaps / 2, Version: kernel.Version{Release: releases[seed%n]}, Memory: memmodel.Model(seed / n % 3), Seed: seed, Timeouts: 3, Ignore: []string{"poll"}}
}

// Seeds checks the programs of n seeds from first on, on most goroutines at most (0: one for each processor). What it
// reports does not depend on their number, as long as ctx lives.
func (c Check) Seeds(ctx context.Context, first uint64, n, most int) Report {
	reports := make([]Report, n)
	workers.Each(ctx, n, most, func(i int) {
		seed := first + uint64(i)
		reports[i] = c.Program(ctx, New(seed, c.Config), Options(seed))
	})
	var all Report
	for _, r := range reports {
		all.add(r)
	}
	return all
}

// Program checks one program.
func (c Check) Program(ctx context.Context, p Program, o explore.Options) Report {
	one := checked{c: c, ctx: ctx, p: p, o: o, r: Report{Programs: 1}}
	one.orders(sched.NewRandom(o.Seed), or(c.Orders, 2))
	all := one.outcomes("dfs", or(c.Schedules, 200))
	random := one.outcomes("random", or(c.Random, 16)/2)
	one.again(random)
	if !all.Exhausted {
		one.r.Skipped++
		return one.r
	}
	one.within(random, all, "a random schedule leads where the search does not")
	one.within(one.outcomes("pct", or(c.Random, 16)/2), all, "a random schedule leads where the search does not")
	if all.Runs > 0 && interleavings(len(p.Tasks), int(all.Steps)/all.Runs) <= c.Every {
		if every := one.outcomes("all", 4*c.Every); every.Exhausted {
			one.r.Every++
			one.within(every, all, "a choice leads where the search does not")
			one.within(all, every, "the search leads where no choice does")
		}
	}
	return one.r
}

// checked is the check of one program.
type checked struct {
	c   Check
	ctx context.Context
	p   Program
	o   explore.Options
	r   Report
}

func (k *checked) miss(what string, out *explore.Outcome, h *explore.Hidden) {
	if h != nil {
		what = "steps that touch nothing in common: " + h.Where()
	}
	k.r.Misses = append(k.r.Misses, Miss{k.p, k.o, what, out, h})
}

func (k *checked) outcomes(scheduler string, runs int) explore.OutcomeSet {
	o := k.o
	o.Scheduler, o.Runs = scheduler, runs
	set := explore.Outcomes(k.ctx, k.p.Explore(), o)
	if k.r.Runs += set.Runs; set.Err != nil {
		k.miss(set.Err.Error(), nil, nil)
	}
	return set
}

// orders looks for steps that cannot be swapped, and reports whether there are any.
func (k *checked) orders(s sched.Scheduler, tries int) bool {
	h, err := explore.FindHidden(k.p.Explore(), k.o, s, tries)
	if k.r.Runs += 1 + tries; err != nil {
		k.miss(err.Error(), nil, nil)
	} else if h != nil {
		k.miss("", nil, h)
	}
	return h != nil || err != nil
}

// again runs what led to two of the outcomes once more.
func (k *checked) again(set explore.OutcomeSet) {
	for _, out := range set.Outcomes[:min(2, len(set.Outcomes))] {
		got, err := explore.ReplayOutcome(k.p.Explore(), k.o, out.Switches)
		if k.r.Runs++; err != nil || got.String() != out.String() {
			k.miss("the same schedule leads elsewhere", &out, nil)
		}
	}
}

// within checks that all has what some has. For an outcome that it has not, steps are looked for that explain it: in the
// run that led there, and in those of the search.
func (k *checked) within(some, all explore.OutcomeSet, what string) {
	missing := all.Missing(some)
	if len(missing) == 0 {
		return
	}
	for _, out := range append(missing[:1:1], all.Outcomes[:min(4, len(all.Outcomes))]...) {
		if k.orders(&sched.Replay{Switches: out.Switches}, 20) {
			return
		}
	}
	k.miss(what, &missing[0], nil)
}

// interleavings is about how many orders the steps of some threads have, which make as many each: at most a million.
func interleavings(threads, steps int) int {
	n := 1.0
	for t := range threads {
		// Those of thread t among all before it and its own: a binomial coefficient.
		each := steps / threads
		for i := range each {
			n *= float64(t*each+i+1) / float64(i+1)
		}
	}
	return int(min(n, 1e6))
}

func or(n, usual int) int {
	if n == 0 {
		return usual
	}
	return n
}
