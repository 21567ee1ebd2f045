package gen

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"nlmmap/explore"
	"nlmmap/internal/workers"
	"nlmmap/kernel"
	"nlmmap/kernel/memmodel"
)

// A Hunt searches random programs for violations of all invariants, beyond what the kernels are known to do wrong. Its
// zero value hunts on all kernels, in all memory models.
//
// The programs break rules on purpose: what they are to blame for themselves is overlooked, and so is a task that waits for
// what no other task does.
type Hunt struct {
	Config Config
	// Versions and Models are what programs run on, in turn.
	Versions []kernel.Version
	Models   []memmodel.Model
	// Schedules is how many the exhaustive search may try for a program, 0 means 200. Random is how many random ones
	// follow, half of them of pct, where that was not all; 0 means 40.
	Schedules, Random int
	// Only and Ignore are as in explore.Options. If both are empty, all known defects are ignored.
	Only, Ignore []string
	// FailAllocs and Signals are as in explore.Options.
	FailAllocs, Signals int
}

// A Bag is what a hunt has brought.
type Bag struct {
	Programs int
	Complete int // programs of which all schedules that can differ were run
	Runs     int
	Steps    int64
	Catches  []Catch
}

// Add adds what another hunt has brought.
func (b *Bag) Add(o Bag) {
	b.Programs += o.Programs
	b.Complete += o.Complete
	b.Runs += o.Runs
	b.Steps += o.Steps
	b.Catches = append(b.Catches, o.Catches...)
}

func (b Bag) String() string {
	return fmt.Sprintf("%d programs, %d of them under all schedules; %d schedules, %d steps; %d violations", b.Programs, b.Complete, b.Runs, b.Steps, len(b.Catches))
}

// A Catch is a program that violates an invariant, as small as it could be made.
type Catch struct {
	Seed    uint64 // of the program that it was made from
	Program Program
	Failure *explore.Failure
}

// Kind is the same for violations of one kind.
func (c Catch) Kind() string {
	v := c.Failure.Violation
	if v.Blame.Defect != "" {
		return v.Name + ", " + v.Blame.Defect
	}
	return v.Name
}

// String is the program, in a form that can be pasted, and what replays it.
func (c Catch) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "cat >%s <<'END'\n%vEND\n\n", c.Failure.Program.Name, c.Program)
	if err := c.Failure.Print(&b); err != nil {
		fmt.Fprintln(&b, err)
	}
	return b.String()
}

// Options are what the program of a seed runs under.
func (h Hunt) Options(seed uint64) explore.Options {
	o := explore.Options{Only: h.Only, Ignore: h.Ignore, FailAllocs: h.FailAllocs, Signals: h.Signals, Runs: or(h.Schedules, 200), Seed: seed}
	if len(h.Only)+len(h.Ignore) == 0 {
		o.Ignore = []string{explore.Known}
	}
	versions, models := h.Versions, h.Models
	if len(versions) == 0 {
		for _, r := range kernel.Releases() {
			versions = append(versions, kernel.Version{Release: r})
		}
	}
	if len(models) == 0 {
		models = []memmodel.Model{memmodel.SC, memmodel.TSO, memmodel.Weak}
	}
	n := uint64(len(versions))
	o.Version, o.Memory = versions[seed%n], models[seed/n%uint64(len(models))]
	return o
}

// Seeds hunts with the programs of n seeds from first on, on most goroutines at most (0: one for each processor). What it
// brings does not depend on their number, as long as ctx lives.
func (h Hunt) Seeds(ctx context.Context, first uint64, n, most int) Bag {
	bags := make([]Bag, n)
	workers.Each(ctx, n, most, func(i int) {
		seed := first + uint64(i)
		bags[i] = h.Program(ctx, New(seed, h.Config), h.Options(seed))
	})
	var all Bag
	for _, b := range bags {
		all.Add(b)
	}
	return all
}

// Program hunts with one program.
func (h Hunt) Program(ctx context.Context, p Program, o explore.Options) Bag {
	b := Bag{Programs: 1}
	r := h.search(ctx, p, o, &b)
	if ctx.Err() != nil && r.Failure == nil {
		return Bag{} // it was cut short
	}
	if r.Exhausted {
		b.Complete++
	}
	if r.Failure != nil {
		b.Catches = append(b.Catches, h.shrink(ctx, Catch{o.Seed, p, r.Failure}))
	}
	return b
}

// search runs a program under the schedules of the hunt, until one violates something.
func (h Hunt) search(ctx context.Context, p Program, o explore.Options, b *Bag) explore.Result {
	run := func(scheduler string, runs int) explore.Result {
		o.Scheduler, o.Runs = scheduler, runs
		program := p.Explore()
		program.Name = fmt.Sprintf("random-%d.txt", o.Seed)
		r := explore.Explore(ctx, program, o)
		b.Runs, b.Steps = b.Runs+r.Runs, b.Steps+r.Steps
		return r
	}
	r := run("dfs", o.Runs)
	for _, scheduler := range []string{"pct", "random"} {
		if r.Exhausted || r.Failure != nil || r.Err != nil {
			break
		}
		r = run(scheduler, or(h.Random, 40)/2)
	}
	return r
}

// shrink leaves out the operations and tasks that a violation does not need.
func (h Hunt) shrink(ctx context.Context, c Catch) Catch {
	for again := true; again && ctx.Err() == nil; {
		again = false
		for _, p := range c.Program.smaller() {
			o := c.Failure.Options
			o.Only, o.Runs = []string{c.Failure.Violation.Name}, or(h.Schedules, 200)
			r := h.search(ctx, p, o, &Bag{})
			if f := r.Failure; f != nil && f.Violation.Name == c.Failure.Violation.Name && f.Violation.Blame == c.Failure.Violation.Blame {
				c.Program, c.Failure, again = p, f, true
				break
			}
		}
	}
	return c
}

// smaller are the programs that lack one task or one operation.
func (p Program) smaller() []Program {
	var list []Program
	for i := len(p.Tasks) - 1; i > 0; i-- {
		q := p
		q.Tasks = slices.Delete(slices.Clone(p.Tasks), i, i+1)
		list = append(list, q)
	}
	for i, t := range p.Tasks {
		for k := range t.Ops {
			q := p
			q.Tasks = slices.Clone(p.Tasks)
			q.Tasks[i].Ops = slices.Delete(slices.Clone(t.Ops), k, k+1)
			list = append(list, q)
		}
	}
	for k := range p.Setup {
		q := p
		q.Setup = slices.Delete(slices.Clone(p.Setup), k, k+1)
		list = append(list, q)
	}
	return list
}

// Check returns an error for a hunt that cannot begin: unknown names, negative numbers.
func (h Hunt) Check() error {
	if h.Schedules < 0 || h.Random < 0 {
		return fmt.Errorf("a number of schedules is negative")
	}
	return explore.Options{Only: h.Only, Ignore: h.Ignore, FailAllocs: h.FailAllocs, Signals: h.Signals}.Check()
}
