package sched

import "math/bits"

// Bounded goes through all schedules with at most Limit surprises, one run after the other, each as DFS does. A surprise is
// a preemption, a switch away from a thread that could go on, or an outcome of Choose that is not the first; what Default
// does is none, and who goes on after a thread that waits or has come to its end is free. So the number of schedules grows
// with the Limit-th power of their length and not exponentially, and most bugs need one surprise or two.
//
// There is no partial-order reduction, which a limit would make wrong: the schedule that stands for others may have more
// surprises than they. Equal states are recognised instead. Two ways that led to the same steps, each after the same ones
// among those that it depends on, led to the same state (TestOrders): the second, if it has used up as many surprises, is
// given up. The zero value goes through the schedule without surprises, and those that are free.
type Bounded struct {
	Limit int

	stack   []surprise
	depth   int
	begun   bool
	pruned  bool
	cut     bool
	err     error
	visited map[uint64]int // the fewest surprises with which a state was come to
	past
}

// A surprise is one step of the present run: what may be picked at it.
type surprise struct {
	choice  bool // of a value, not of a thread
	pick    int
	usual   int    // what costs nothing
	left    uint64 // still to be tried
	free    bool   // nothing costs
	used    int    // surprises before it
	enabled uint64
}

// Err is not nil when the search cannot go on.
func (b *Bounded) Err() error { return b.err }

// Repeated reports whether the last run was ended early because it only repeated others.
func (b *Bounded) Repeated() bool { return b.pruned }

// Cut reports whether the limit has left schedules out.
func (b *Bounded) Cut() bool { return b.cut }

// Switches returns the present run as switches for Replay.
func (b *Bounded) Switches() []Switch {
	var list []Switch
	for step, s := range b.stack[:b.depth] {
		if s.pick != s.usual {
			list = append(list, Switch{step, s.pick})
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
	if b.visited == nil {
		b.visited = map[uint64]int{}
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
			b.cut = true
			continue
		}
		s.pick = bits.TrailingZeros64(s.left)
		s.left &= s.left - 1
		b.stack = b.stack[:i+1]
		return true
	}
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
	b.past.settle(r)
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
		state := b.past.state(r, enabled, cur, s.free)
		if least, ok := b.visited[state]; ok && least <= s.used {
			b.pruned = true
			return nil
		}
		if len(b.visited) < mostStates {
			b.visited[state] = s.used
		}
		b.stack = append(b.stack, s)
	}
	next := r.threads[b.stack[b.depth].pick]
	b.past.begin(r, next)
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
		b.stack = append(b.stack, surprise{choice: true, left: all &^ 1, used: b.used()})
	}
	s := &b.stack[b.depth]
	if !s.choice {
		b.err = ErrNondeterministic
		return 0
	}
	b.depth++
	b.past.chosen(s.pick)
	return s.pick
}
