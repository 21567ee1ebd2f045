package sched

import "math/rand/v2"

// RoundRobin lets each thread make Quantum steps (at least one) and goes on to the next.
type RoundRobin struct {
	Quantum int
	used    int
}

// Next implements Scheduler.
func (s *RoundRobin) Next(_ *Run, cur *Thread, enabled []*Thread) *Thread {
	if cur == nil {
		return enabled[0]
	}
	s.used++
	for _, t := range enabled {
		if t == cur && s.used < s.Quantum {
			return t
		}
	}
	s.used = 0
	for _, t := range enabled {
		if t.ID > cur.ID {
			return t
		}
	}
	return enabled[0]
}

// Random chooses uniformly among the enabled threads at each point.
type Random struct{ rng *rand.Rand }

// NewRandom returns the walk that belongs to seed.
func NewRandom(seed uint64) *Random {
	return &Random{rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))}
}

// Next implements Scheduler.
func (s *Random) Next(_ *Run, _ *Thread, enabled []*Thread) *Thread {
	return enabled[s.rng.IntN(len(enabled))]
}

// A Switch says that before step Step (counted from 0) thread Thread is chosen.
type Switch struct{ Step, Thread int }

// Replay runs each thread until it cannot go on and then takes the lowest enabled one, except at the given switches.
// A switch to a thread that cannot run at that step is ignored. It is the sparse form in which runs are written down.
type Replay struct {
	Switches []Switch // in order of Step
	pos      int
}

// Next implements Scheduler.
func (s *Replay) Next(r *Run, cur *Thread, enabled []*Thread) *Thread {
	want := -1
	for s.pos < len(s.Switches) && s.Switches[s.pos].Step <= r.Steps() {
		if s.Switches[s.pos].Step == r.Steps() {
			want = s.Switches[s.pos].Thread
		}
		s.pos++
	}
	var stay *Thread
	for _, t := range enabled {
		if t.ID == want {
			return t
		}
		if t == cur {
			stay = t
		}
	}
	if stay != nil {
		return stay
	}
	return enabled[0]
}
