package sched

import (
	"errors"
	"math/bits"
	"slices"
)

// DFS goes through all schedules of a program that can differ, one run after the other: depth-first search with
// dynamic partial-order reduction (Flanagan and Godefroid 2005; source sets of Abdulla et al. 2014) and sleep sets.
//
// Each run records which steps depend on each other and which merely happened one after the other. For a step that
// could have come before an earlier one that it depends on, the other order is tried in a later run; the order of
// steps that do not depend on each other is not.
//
//	d := &sched.DFS{}
//	for d.More() {
//		r := &sched.Run{Scheduler: d}
//		... r.Go ..., r.Loop()
//	}
//
// A program may have at most 64 threads, agents included.
type DFS struct {
	stack   []node
	depth   int // steps made in the present run
	fresh   int // first step whose races are not known from an earlier run
	begun   bool
	pruned  bool
	runs    int
	err     error
	threads [][]int32 // clock of each thread: for each thread the number of its steps that came before
	counts  []int32   // steps of each thread
	touched index     // of the steps
	met     []int32   // what meets has found
	last    int       // the latest step of a thread
	open    *Run      // whose last step may still touch something, nil for none

	branch branch
}

// A node is one step of the present run and what is known about its alternatives.
type node struct {
	outcomes int // > 0: a choice of values, not of threads
	mishap   Mishap
	known    uint64
	pick     int
	usual    int // what Default picks
	op       Op
	ops      []Op // pending, by thread
	enabled  uint64
	back     uint64 // to be tried
	done     uint64 // tried
	sleep    uint64 // need not be tried
	index    int32  // the step's number among its thread's
	clock    []int32
	touched  []Access   // by the step
	would    [][]Access // by the steps of threads that were tried here or sleep, by thread
	ahead    *DFS       // goes through what probably is the next alternative here
}

// touches is what the step of a thread would touch beside what it announces: known of those that were tried or sleep.
func (n *node) touches(t int) []Access {
	if t < len(n.would) {
		return n.would[t]
	}
	return nil
}

func (n *node) setTouches(t int, list []Access) {
	if len(list) == 0 && t >= len(n.would) {
		return
	}
	for len(n.would) <= t {
		n.would = append(n.would, nil)
	}
	n.would[t] = list
}

// ErrNondeterministic means that the same choices did not give the same run.
var ErrNondeterministic = errors.New("the same choices gave another run: something besides the schedule decides")

var errManyThreads = errors.New("more than 64 threads and store buffer slots")

// Err is not nil when the search cannot go on.
func (d *DFS) Err() error { return d.err }

// Runs is the number of runs begun.
func (d *DFS) Runs() int { return d.runs }

// Repeated reports whether the last run was ended early because it only repeated others.
func (d *DFS) Repeated() bool { return d.pruned }

// Switches returns the present run as switches for Replay, from what was recorded step by step.
func (d *DFS) Switches() []Switch {
	var list []Switch
	for step := range d.stack[:d.depth] {
		n := &d.stack[step]
		if n.outcomes > 0 {
			if n.pick > 0 {
				list = append(list, switchTo(step, n.pick, n.mishap))
			}
		} else if n.pick != n.usual {
			list = append(list, Switch{step, n.pick})
		}
	}
	return list
}

// Covered estimates the share of the search that is done, the present run included: as if what is to be tried at a step
// were as much for each of the threads. What the search does not know yet that it has to try is not in it, so that it says too
// much in the beginning.
func (d *DFS) Covered() float64 {
	done, share := 0.0, 1.0 // of all, and of what the steps so far have left
	for i := range d.stack[:min(d.depth, len(d.stack))] {
		if tried, all := d.stack[i].alternatives(); all > 1 {
			share /= float64(all)
			done += share * float64(tried)
		}
	}
	return done + share
}

// alternatives is how many threads or outcomes are to be tried at a step, and how many of them were.
func (n *node) alternatives() (tried, all int) {
	if n.outcomes == 0 {
		return bits.OnesCount64(n.done &^ (1 << n.pick)), bits.OnesCount64((n.back | 1<<n.pick) &^ n.sleep)
	}
	for o := range n.outcomes {
		if o > 0 && o < 64 && n.known&(1<<o) != 0 {
			continue
		}
		if all++; o < n.pick {
			tried++
		}
	}
	return tried, all
}

// More prepares the next run and reports whether there is one.
func (d *DFS) More() bool {
	if d.err != nil {
		return false
	}
	if d.begun {
		d.settle()
		d.finish()
		if !d.advance() {
			return false
		}
	}
	d.begun = true
	d.runs++
	d.depth, d.pruned = 0, false
	d.threads, d.counts = d.threads[:0], d.counts[:0]
	d.touched.reset()
	return true
}

// advance changes the last step that has an alternative and forgets those after it.
func (d *DFS) advance() bool {
	for i := d.depth - 1; i >= d.branch.base; i-- {
		n := &d.stack[i]
		d.fresh = i
		n.tried(n.touched)
		for pick := d.next(i); ; pick = d.next(i) {
			ahead := n.ahead
			n.ahead = nil
			if pick >= 0 {
				n.pick = pick
			}
			if ahead != nil && (pick < 0 || !ahead.branch.leadsTo(n)) {
				d.branch.drop(ahead)
				ahead = nil
			}
			if pick < 0 {
				break
			}
			if ahead == nil {
				d.stack = d.stack[:i+1]
				return true
			}
			if !d.meet(ahead) {
				return false
			}
			n.tried(ahead.stack[i].touched)
		}
	}
	return false
}

// tried notes that what a step does now has been tried, and what that touched.
func (n *node) tried(touched []Access) {
	if n.outcomes == 0 {
		n.done |= 1 << n.pick
		n.setTouches(n.pick, slices.Clone(touched))
	}
}

// next is what step i tries after what it tries now, as far as that is known; -1 for nothing.
func (d *DFS) next(i int) int {
	n := &d.stack[i]
	if n.outcomes > 0 {
		for pick := n.pick + 1; pick < n.outcomes; pick++ {
			if pick >= 64 || n.known&(1<<pick) == 0 {
				return pick
			}
		}
		return -1
	}
	if left := n.back &^ n.done &^ n.sleep &^ (1 << n.pick); left != 0 {
		return bits.TrailingZeros64(left)
	}
	return -1
}

// push makes room for a step, reusing what earlier runs have allocated.
func (d *DFS) push() *node {
	if len(d.stack) < cap(d.stack) {
		d.stack = d.stack[:len(d.stack)+1]
	} else {
		d.stack = append(d.stack, node{})
	}
	n := &d.stack[len(d.stack)-1]
	*n = node{ops: n.ops[:0], clock: n.clock[:0], touched: n.touched[:0], would: n.would[:0]}
	return n
}

// Next implements Scheduler.
func (d *DFS) Next(r *Run, cur *Thread, enabled []*Thread) *Thread {
	if len(r.threads) > 64 {
		d.err = errManyThreads
		return nil
	}
	d.settle()
	var set uint64
	for _, t := range enabled {
		set |= 1 << t.ID
	}
	if d.depth < len(d.stack) {
		n := &d.stack[d.depth]
		kind := n.op.Kind
		if d.depth == len(d.stack)-1 && n.outcomes == 0 {
			kind = n.ops[n.pick].Kind
		}
		if n.outcomes > 0 || n.enabled != set || kind != r.threads[n.pick].Op.Kind {
			d.err = ErrNondeterministic
			return nil
		}
	} else {
		n := d.push()
		n.enabled = set
		n.usual = Default(cur, enabled).ID
		for _, t := range r.threads {
			n.ops = append(n.ops, t.Op)
		}
		d.inherit(n)
		n.pick = n.first()
		if n.pick < 0 {
			d.stack = d.stack[:len(d.stack)-1]
			d.pruned = true
			return nil
		}
		n.back = 1 << n.pick
	}
	n := &d.stack[d.depth]
	n.op = r.threads[n.pick].Op
	d.last, d.open = d.depth, r
	d.depth++
	return r.threads[n.pick]
}

// Choose implements Scheduler.
func (d *DFS) Choose(r *Run, _ *Thread, outcomes int) int {
	if d.depth == len(d.stack) {
		n := d.push()
		n.outcomes, n.known, n.mishap = outcomes, r.known, r.mishap
	} else if n := &d.stack[d.depth]; n.outcomes != outcomes || n.mishap != r.mishap {
		d.err = ErrNondeterministic
		return 0
	}
	d.depth++
	return d.stack[d.depth-1].pick
}

// Caused implements Causal.
func (d *DFS) Caused(step int, t *Thread) bool {
	return t.ID < len(d.threads) && before(&d.stack[step], d.threads[t.ID])
}

// inherit gives a new step its sleep set: what slept before it, and was tried there, and does not depend on what was
// done instead.
func (d *DFS) inherit(n *node) {
	for i := d.depth - 1; i >= 0; i-- {
		p := &d.stack[i]
		if p.outcomes > 0 {
			continue
		}
		for s := (p.sleep | p.done) &^ (1 << p.pick); s != 0; s &= s - 1 {
			t := bits.TrailingZeros64(s)
			if !clash(p.ops[t], p.touches(t), p.op, p.touched) {
				n.sleep |= 1 << t
				n.setTouches(t, p.touches(t))
			}
		}
		return
	}
}

// first picks what a new step does: the usual thing unless that sleeps. -1 means that everything does.
func (n *node) first() int {
	if n.sleep&(1<<n.usual) == 0 {
		return n.usual
	}
	if awake := n.enabled &^ n.sleep; awake != 0 {
		return bits.TrailingZeros64(awake)
	}
	return -1
}

// settle records the last step, when all that it touched is known: its place in the order of causes, and the earlier
// steps that it races with.
func (d *DFS) settle() {
	if d.open == nil {
		return
	}
	at := d.last
	n := &d.stack[at]
	n.touched = append(n.touched[:0], d.open.touched...)
	d.open = nil
	for len(d.threads) <= n.pick {
		d.threads = append(d.threads, nil)
		d.counts = append(d.counts, 0)
	}
	n.clock = d.forced(at, n.pick, n, n.clock[:0])
	met := d.meets(n, n.clock)
	n.clock = d.joined(n.clock, met)
	if at >= d.fresh {
		d.races(at, n.pick, n, met, n.clock)
	}
	d.counts[n.pick]++
	n.index = d.counts[n.pick]
	for len(n.clock) <= n.pick {
		n.clock = append(n.clock, 0)
	}
	n.clock[n.pick] = n.index
	d.threads[n.pick] = append(d.threads[n.pick][:0], n.clock...)
	d.touched.add(int32(at), n.op, n.touched)
}

// forced adds up what comes before step at of thread t whatever it touches: the thread's own past, and the steps that caused it.
func (d *DFS) forced(at, t int, n *node, clock []int32) []int32 {
	clock = append(clock, d.past(t)...)
	for i := min(n.op.After, at) - 1; i >= 0; i-- {
		if d.stack[i].outcomes == 0 { // else a choice within the step that caused it
			clock = join(clock, d.stack[i].clock)
			break
		}
	}
	for _, step := range n.op.Since {
		clock = join(clock, d.stack[step-1].clock)
	}
	return clock
}

// joined adds the steps that are met, and what comes before them.
func (d *DFS) joined(clock, met []int32) []int32 {
	for _, i := range met {
		if e := &d.stack[i]; !before(e, clock) {
			clock = join(clock, e.clock)
		}
	}
	return clock
}

// past is what comes before all that a thread does next.
func (d *DFS) past(t int) []int32 {
	if t < len(d.threads) {
		return d.threads[t]
	}
	return nil
}

// meets finds the earlier steps that step n depends on and that are not in its past anyway, the latest of each object first.
// Those that are could not have come after it: a load of the thread whose store then leaves its buffer. The list is valid until the
// next call.
func (d *DFS) meets(n *node, past []int32) []int32 {
	d.met = d.met[:0]
	for list := range d.touched.lists(n.op, n.touched) {
		for _, i := range slices.Backward(list) {
			if e := &d.stack[i]; !before(e, past) && clash(e.op, e.touched, n.op, n.touched) {
				d.met = append(d.met, i)
			}
		}
	}
	return d.met
}

func join(a, b []int32) []int32 {
	for i, v := range b {
		if i == len(a) {
			a = append(a, v)
		} else {
			a[i] = max(a[i], v)
		}
	}
	return a
}

// before reports whether a step is among the causes of what a thread with this clock does next.
func before(e *node, clock []int32) bool { return e.pick < len(clock) && clock[e.pick] >= e.index }

// races finds the steps among those it meets that step at of thread t could have come before, and lets the other order be
// tried. clock is what comes before it.
//
// A step races if nothing else that comes before n comes after it: then the two could have been neighbours. Locks are
// special: whoever holds one keeps others out, so it is the acquisitions that race.
func (d *DFS) races(at, t int, n *node, met, clock []int32) {
	locked := false // the race for the lock is found
	for _, i := range met {
		e := &d.stack[i]
		announced := e.op.Dependent(n.op)
		if announced && (!coEnabled(e.op, n.op) || locked) {
			continue
		}
		if announced && n.op.Kind == Lock {
			d.reverse(at, int(i), t, clock)
			locked = true
			continue
		}
		between := func(k int32) bool { return k > i && before(e, d.stack[k].clock) }
		if !slices.ContainsFunc(met, between) {
			d.reverse(at, int(i), t, clock)
		}
	}
}

// coEnabled reports whether two dependent steps of different threads can be possible at the same moment.
func coEnabled(a, b Op) bool {
	switch {
	case a.Kind == Unlock || b.Kind == Unlock: // whoever holds the lock keeps the other out
		return false
	case a.Kind == Wait && a.Deadline == 0 || b.Kind == Wait && b.Deadline == 0: // ended by the other
		return false
	case a.Kind == Barrier || b.Kind == Barrier: // waits until the buffer is drained
		return false
	}
	return true
}

// reverse lets step at, the next of thread t, with all that must come before it but without step i, be tried at step i.
// One of the threads that can begin it is enough (source sets; Abdulla, Aronis, Jonsson, Sagonas 2014).
func (d *DFS) reverse(at, i, t int, clock []int32) {
	n := &d.stack[i]
	begin, seen := uint64(0), uint64(0)
	first := -1
	for j := i + 1; j <= at; j++ {
		pick, past := t, clock
		if j < at {
			e := &d.stack[j]
			if e.outcomes > 0 || before(n, e.clock) {
				continue // comes after step i: not part of it
			}
			pick, past = e.pick, e.clock
		}
		if seen&(1<<pick) != 0 {
			continue
		}
		seen |= 1 << pick
		if d.begins(i, j, pick, past) && n.enabled&(1<<pick) != 0 {
			begin |= 1 << pick
			if first < 0 || pick == t {
				first = pick
			}
		}
	}
	d.ask(wish{i, begin, first})
}

// A wish is that one of the threads that begin, preferably first, be tried at a step; that all are if none begins.
type wish struct {
	step  int
	begin uint64
	first int
}

// ask adds a wish to what is going to be tried.
func (d *DFS) ask(w wish) {
	n := &d.stack[w.step]
	add := n.enabled
	if w.begin != 0 {
		if w.begin&(n.back|n.sleep) != 0 {
			return
		}
		add = 1 << w.first
	}
	if w.step < d.branch.base {
		d.branch.note(w)
		return
	}
	n.back |= add
}

// begins reports whether no other step between i and j that does not come after step i comes before step j of a thread.
func (d *DFS) begins(i, j, thread int, past []int32) bool {
	n := &d.stack[i]
	for k := i + 1; k < j; k++ {
		e := &d.stack[k]
		if e.outcomes == 0 && e.pick != thread && !before(n, e.clock) && before(e, past) {
			return false
		}
	}
	return true
}

// finish finds the races of steps that the last run did not come to: of threads that wait for ever.
func (d *DFS) finish() {
	if d.pruned || d.depth == 0 || d.depth > len(d.stack) {
		return
	}
	last := &d.stack[d.depth-1]
	if last.outcomes > 0 {
		return
	}
	for t, op := range last.ops {
		if t != last.pick && op.Res != nil {
			n := &node{pick: t, op: op}
			past := d.forced(d.depth, t, n, nil)
			met := d.meets(n, past)
			d.races(d.depth, t, n, met, d.joined(past, met))
		}
	}
}
