package explore

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"nlmmap/kernel/sched"
)

// A Hidden is a pair of steps of different tasks that the search takes for independent, since they touch no object in
// common, and whose order matters all the same: they share something that no scheduling point tells of.
type Hidden struct {
	// First and Second are the steps as they followed each other in the first run; in the second one they were swapped.
	First, Second sched.Step
	// Outcomes and Switches are those of the two runs.
	Outcomes [2]string
	Switches [2][]sched.Switch
}

func (h *Hidden) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "two steps that touch nothing in common, in this order and the other:\n")
	for _, s := range []sched.Step{h.First, h.Second} {
		fmt.Fprintf(&b, "  %v\n", s)
		if s.From != "" || s.To != "" { // a store buffer runs no code
			fmt.Fprintf(&b, "    from %s\n    to   %s\n", s.From, s.To)
		}
	}
	for i, o := range h.Outcomes {
		fmt.Fprintf(&b, "  outcome %d: %s\n    replay %s\n", i+1, o, FormatSwitches(h.Switches[i]))
	}
	return b.String()
}

// Where names the code that runs in the two steps, the same for all pairs of steps there.
func (h *Hidden) Where() string {
	place := func(s sched.Step) string { return inner(s.From) + " .. " + inner(s.To) }
	first, second := place(h.First), place(h.Second)
	return min(first, second) + " and " + max(first, second)
}

// inner has the two innermost functions of a stack that are not the scheduling point's own.
func inner(stack string) string {
	list := strings.Split(stack, " < ")
	for len(list) > 1 && (strings.HasPrefix(list[0], "kernel.(*Atomic)") || strings.HasPrefix(list[0], "kernel.(*Mutex)")) {
		list = list[1:]
	}
	return strings.Join(list[:min(len(list), 2)], " < ")
}

// FindHidden runs p under a schedule, and tries times again with the same steps in other orders that the search takes for
// the same; o.Seed draws them. If one leads to another outcome it finds the two steps that are to blame.
func FindHidden(p Program, o Options, schedule sched.Scheduler, tries int) (*Hidden, error) {
	o.KeepGoing = true
	f := finder{p: p, o: o}
	f.trace = &sched.Trace{Scheduler: schedule}
	w, err := once(p, &o, f.trace, nil, f.idle)
	if err != nil || w.run.Steps() == 0 {
		return nil, err
	}
	f.outcome = Outcome{Text: w.outcome, Violations: distinct(w.seen)}.String()
	rng := rand.New(rand.NewPCG(o.Seed, 0x5417))
	for range tries {
		order := f.trace.Shuffled(rng)
		if len(order) != len(f.trace.Steps) {
			return nil, fmt.Errorf("%d of %d steps could be put in order", len(order), len(f.trace.Steps))
		}
		if f.same(order) {
			continue
		}
		return f.blame(order)
	}
	return nil, nil
}

type finder struct {
	p       Program
	o       Options
	trace   *sched.Trace
	outcome string
}

// idle lets the trace know of time that passes.
func (f *finder) idle(w *World, s sched.Scheduler) sched.Scheduler {
	idle := w.run.Idle
	w.run.Idle = func(late bool) bool {
		if !idle(late) {
			return false
		}
		f.trace.Idle()
		return true
	}
	return s
}

// run makes the steps of the trace in an order. Where that cannot be done, but shows in nothing, the outcome is that of
// the trace.
func (f *finder) run(order []int, places bool) (outcome string, steps []sched.Step, switches []sched.Switch) {
	follow := &sched.Follow{Steps: f.trace.Steps, Order: order}
	rec := &sched.Recorder{Scheduler: follow}
	var s sched.Scheduler = rec
	var trace *sched.Trace
	if places {
		trace = &sched.Trace{Scheduler: rec, Places: true}
		s = trace
	}
	w, err := once(f.p, &f.o, s, nil, nil)
	switch {
	case err != nil:
		outcome = err.Error()
	case follow.Idly:
		outcome = f.outcome
	case follow.Lost != "":
		outcome = "lost: " + follow.Lost
	default:
		outcome = Outcome{Text: w.outcome, Violations: distinct(w.seen)}.String()
	}
	if places {
		steps = trace.Steps
	}
	return outcome, steps, rec.Switches
}

func (f *finder) same(order []int) bool {
	outcome, _, _ := f.run(order, false)
	return outcome == f.outcome
}

// blame goes from the order of the trace to another one by swapping neighbours, and finds a swap that changes the
// outcome.
func (f *finder) blame(order []int) (*Hidden, error) {
	rank := make([]int, len(order))
	for i, step := range order {
		rank[step] = i
	}
	at := make([]int, len(order))
	for i := range at {
		at[i] = i
	}
	var swaps []int
	for sorted := false; !sorted; {
		sorted = true
		for i := range len(at) - 1 {
			if rank[at[i]] > rank[at[i+1]] {
				at[i], at[i+1] = at[i+1], at[i]
				swaps = append(swaps, i)
				sorted = false
			}
		}
	}
	after := func(n int) []int {
		list := make([]int, len(order))
		for i := range list {
			list[i] = i
		}
		for _, i := range swaps[:n] {
			list[i], list[i+1] = list[i+1], list[i]
		}
		return list
	}
	good, bad := 0, len(swaps)
	for bad-good > 1 {
		if mid := (good + bad) / 2; f.same(after(mid)) {
			good = mid
		} else {
			bad = mid
		}
	}
	if good == bad {
		return nil, fmt.Errorf("the same schedule led to another outcome")
	}
	h := &Hidden{}
	var steps []sched.Step
	h.Outcomes[0], steps, h.Switches[0] = f.run(after(good), true)
	h.Outcomes[1], _, h.Switches[1] = f.run(after(bad), false)
	i := swaps[good]
	if i+1 < len(steps) {
		h.First, h.Second = steps[i], steps[i+1]
	} else { // the order could not be followed so far, which showed in nothing
		order := after(good)
		h.First, h.Second = f.trace.Steps[order[i]], f.trace.Steps[order[i+1]]
	}
	h.Switches[0], h.Switches[1] = slices.Clone(h.Switches[0]), slices.Clone(h.Switches[1])
	return h, nil
}
