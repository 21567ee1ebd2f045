package sched

import (
	"math/bits"
	"slices"
)

// Bounded goes through all schedules with at most Limit surprises, one run after the other, each as DFS does. A surprise is
// a preemption, a switch away from a thread that could go on, or an outcome of Choose that is not the usual one; what Default
// does is none, and who goes on after a thread that waits or has come to its end is free. So the number of schedules grows
// with the Limit-th power of their length and not exponentially, and most bugs need one surprise or two.
//
// There is no partial-order reduction, which a limit would make wrong: the schedule that stands for others may have more
// surprises than they. Equal states are recognised instead. Two ways that led to the same steps, each after the same ones
// among those that it depends on, led to the same state (TestOrders): the second, if it has used up as many surprises, is
// given up. The zero value goes through the schedule without surprises, and those that are free.
type Bounded struct {
	Limit int

	stack  []surprise
	depth  int
	begun  bool
	pruned bool
	cut    bool
	err    error
	states map[uint64]int // with how many surprises one may be passed over: those with which it was come to before
	past
}

// A surprise is one step of the present run: what may be picked at it.
type surprise struct {
	choice  bool // of an outcome, not of a thread
	mishap  Mishap
	pick    int
	usual   int    // what costs nothing
	left    uint64 // still to be tried
	free    bool   // nothing costs
	used    int    // surprises before it
	enabled uint64
	leads   []uint64 // to which states, in the order of the bits of left that were there first
	from    uint64   // these bits
}

// Err is not nil when the search cannot go on.
func (b *Bounded) Err() error { return b.err }

// Repeated reports whether the last run was ended early because it only repeated others.
func (b *Bounded) Repeated() bool { return b.pruned }

// Cut reports whether the limit has left schedules out.
func (b *Bounded) Cut() bool { return b.cut }

// Surprises is how many the present run has.
func (b *Bounded) Surprises() int { return b.used() }

// Switches returns the present run as switches for Replay.
func (b *Bounded) Switches() []Switch {
	var list []Switch
	for step, s := range b.stack[:b.depth] {
		if s.pick != s.usual {
			list = append(list, switchTo(step, s.pick, s.mishap))
		}
	}
	return list
}

// More prepares the next run and reports whether there is one.
func (b *Bounded) More() bool {
	if b.err != nil {
		return false
	}
	if b.begun && !b.advance() {
		return false
	}
	if b.states == nil {
		b.states = map[uint64]int{}
	}
	b.begun, b.pruned, b.depth = true, false, 0
	b.past.reset()
	return true
}

// advance changes the last step that has an alternative within the limit and forgets those after it.
func (b *Bounded) advance() bool {
	for i := b.depth - 1; i >= 0; i-- {
		s := &b.stack[i]
		if s.left == 0 {
			continue
		}
		if !s.free && s.used == b.Limit {
			b.cut = b.cut || slices.ContainsFunc(s.tries(), func(pick int) bool { return !b.known(s, pick) })
			continue
		}
		for _, pick := range s.tries() {
			s.left &^= 1 << pick
			if !b.known(s, pick) {
				s.pick = pick
				b.stack = b.stack[:i+1]
				return true
			}
		}
	}
	return false
}

// tries is what is still to be tried at a step.
func (s *surprise) tries() []int {
	var list []int
	for left := s.left; left != 0; left &= left - 1 {
		list = append(list, bits.TrailingZeros64(left))
	}
	return list
}

// known reports whether it is known before a thread is picked that the state to which it leads need not be gone through.
func (b *Bounded) known(s *surprise, pick int) bool {
	if s.choice {
		return false
	}
	used := s.used
	if !s.free {
		used++
	}
	least, ok := b.states[s.leads[bits.OnesCount64(s.from&(1<<pick-1))]]
	return ok && least <= used
}

// visit notes a state, which has two names, and reports whether it was gone through with as few surprises before.
func (b *Bounded) visit(arrived, anyhow uint64, used int, free bool) (again bool) {
	for _, name := range [...]uint64{arrived, anyhow} {
		if least, ok := b.states[name]; ok && least <= used {
			return true
		}
	}
	if len(b.states) >= mostStates {
		return false
	}
	b.states[arrived] = used
	if !free {
		used++ // whoever comes here otherwise needs one surprise more than who comes in this way, at most
	}
	b.states[anyhow] = used
	return false
}

// used is the number of surprises before the next step.
func (b *Bounded) used() int {
	if b.depth == 0 {
		return 0
	}
	s := &b.stack[b.depth-1]
	if s.pick == s.usual || s.free {
		return s.used
	}
	return s.used + 1
}

// Next implements Scheduler.
func (b *Bounded) Next(r *Run, cur *Thread, enabled []*Thread) *Thread {
	if len(r.threads) > 64 {
		b.err = errManyThreads
		return nil
	}
	arrived := b.past.settle(r)
	var set uint64
	for _, t := range enabled {
		set |= 1 << t.ID
	}
	if b.depth < len(b.stack) {
		if s := &b.stack[b.depth]; s.choice || s.enabled != set {
			b.err = ErrNondeterministic
			return nil
		}
	} else {
		usual := Default(cur, enabled)
		s := surprise{usual: usual.ID, pick: usual.ID, left: set &^ (1 << usual.ID), enabled: set, used: b.used(), free: !goesOn(cur, usual)}
		if b.visit(arrived, b.past.state(r, enabled), s.used, s.free) {
			b.pruned = true
			return nil
		}
		for _, t := range enabled {
			if t != usual {
				s.leads = append(s.leads, b.past.after(t))
			}
		}
		s.from = s.left
		b.stack = append(b.stack, s)
	}
	next := r.threads[b.stack[b.depth].pick]
	b.past.begin(next)
	b.depth++
	return next
}

// mostStates is how many states are remembered. Those after it are gone through again when they are met again.
const mostStates = 1 << 22

// goesOn reports whether usual, which goes on after cur, is cur, or its store buffer, or whose store buffer it is.
func goesOn(cur, usual *Thread) bool {
	return cur != nil && (usual == cur || usual.owner == cur || cur.owner != nil && (usual == cur.owner || usual.owner == cur.owner))
}

// Choose implements Scheduler.
func (b *Bounded) Choose(r *Run, _ *Thread, outcomes int) int {
	if b.depth == len(b.stack) {
		all := ^uint64(0)
		if outcomes < 64 {
			all = 1<<outcomes - 1
		}
		b.stack = append(b.stack, surprise{choice: true, mishap: r.mishap, left: all &^ 1, used: b.used()})
	}
	s := &b.stack[b.depth]
	if !s.choice || s.mishap != r.mishap {
		b.err = ErrNondeterministic
		return 0
	}
	b.depth++
	b.past.chosen(s.pick)
	return s.pick
}
