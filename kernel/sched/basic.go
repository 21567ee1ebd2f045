package sched

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

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

// Choose implements Scheduler.
func (s *RoundRobin) Choose(*Run, *Thread, int) int { return 0 }

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

// Choose implements Scheduler.
func (s *Random) Choose(r *Run, _ *Thread, n int) int { return draw(r, s.rng, n) }

// draw draws an outcome. A mishap is not as likely as none: else the first ones of a run would be all that is tried.
func draw(r *Run, rng *rand.Rand, n int) int {
	if r.mishap != NoMishap && rng.IntN(4) != 0 {
		return 0
	}
	return rng.IntN(n)
}

// A Switch says that at step Step (counted from 0) thread Pick makes the step, or where the step is a choice that
// outcome Pick is taken. A negative Pick is a mishap that comes there: -Pick is the Mishap.
type Switch struct{ Step, Pick int }

func (s Switch) String() string {
	if m := -s.Pick; m > 0 && m < len(mishapNames) {
		return fmt.Sprintf("%d:%v", s.Step, Mishap(m))
	}
	return fmt.Sprintf("%d:%d", s.Step, s.Pick)
}

// Replay makes the Default step except at the given switches. A switch that is not possible at its step is passed over:
// see Lost. It is the sparse form in which runs are written down.
type Replay struct {
	Switches []Switch // in order of Step
	pos      int
	lost     []Switch
}

// Lost returns the switches that were not made: not possible at their step, or of a step that the run did not come to.
func (s *Replay) Lost() []Switch { return slices.Concat(s.lost, s.Switches[s.pos:]) }

// at makes the switch for a step, if there is one. Where it is not possible it is lost.
func (s *Replay) at(step int, try func(pick int) (possible bool)) {
	for ; s.pos < len(s.Switches) && s.Switches[s.pos].Step <= step; s.pos++ {
		if sw := s.Switches[s.pos]; sw.Step == step && try(sw.Pick) {
			s.pos++
			return
		}
		s.lost = append(s.lost, s.Switches[s.pos])
	}
}

// Next implements Scheduler.
func (s *Replay) Next(r *Run, cur *Thread, enabled []*Thread) *Thread {
	var next *Thread
	s.at(r.Steps(), func(pick int) bool {
		i := slices.IndexFunc(enabled, func(t *Thread) bool { return t.ID == pick })
		if i >= 0 {
			next = enabled[i]
		}
		return i >= 0
	})
	if next != nil {
		return next
	}
	return Default(cur, enabled)
}

// Choose implements Scheduler.
func (s *Replay) Choose(r *Run, _ *Thread, n int) int {
	outcome := 0
	s.at(r.Steps()-1, func(pick int) bool {
		for i := 1; i < n; i++ {
			if r.Switch(i).Pick == pick {
				outcome = i
			}
		}
		return outcome > 0
	})
	return outcome
}

// Default is the step that is no switch: the thread that made the last one goes on, when its stores have left its
// buffer in their order; else the lowest enabled thread does so. Timeouts come when nobody else can go on, the earliest
// first. It is what a machine without surprises does.
func Default(cur *Thread, enabled []*Thread) *Thread {
	time := int64(0)
	for _, t := range enabled {
		if !t.late() {
			time = 0
			break
		}
		if time == 0 || t.Op.Deadline < time {
			time = t.Op.Deadline
		}
	}
	if cur != nil {
		if cur.owner != nil {
			cur = cur.owner
		}
		if t := own(cur, enabled, time); t != nil {
			return t
		}
	}
	var agent *Thread
	for _, t := range enabled {
		switch {
		case !t.goesOn(time):
		case !t.IsAgent():
			return own(t, enabled, time)
		case agent == nil:
			agent = t
		}
	}
	return own(agent.owner, enabled, time)
}

// goesOn reports whether a thread that is enabled need not wait for its timeout, or waits until time.
func (t *Thread) goesOn(time int64) bool { return !t.late() || t.Op.Deadline == time }

// own returns the oldest store of t that can leave its buffer, else t itself, nil if neither can.
func own(t *Thread, enabled []*Thread, time int64) *Thread {
	var best *Thread
	for _, e := range enabled {
		switch {
		case e == t && best == nil && t.goesOn(time):
			best = e
		case e.owner == t && t != nil && (best == nil || !best.IsAgent() || e.Op.Age < best.Op.Age):
			best = e
		}
	}
	return best
}

// A Recorder writes down what another scheduler does, as switches for Replay.
type Recorder struct {
	Scheduler
	Switches []Switch
}

// Next implements Scheduler.
func (s *Recorder) Next(r *Run, cur *Thread, enabled []*Thread) *Thread {
	usual := Default(cur, enabled)
	t := s.Scheduler.Next(r, cur, enabled)
	if t != nil && t != usual {
		s.Switches = append(s.Switches, Switch{r.Steps(), t.ID})
	}
	return t
}

// Choose implements Scheduler.
func (s *Recorder) Choose(r *Run, t *Thread, n int) int {
	pick := s.Scheduler.Choose(r, t, n)
	if pick != 0 {
		s.Switches = append(s.Switches, r.Switch(pick))
	}
	return pick
}

// All makes every choice at every step, one run after the other, with no reduction: the truth that DFS is measured
// against. It is for programs of a few steps. Its zero value is ready; use it as DFS.
type All struct {
	picks, widths []int
	depth         int
	begun         bool
}

// More prepares the next run and reports whether there is one.
func (a *All) More() bool {
	if !a.begun {
		a.begun = true
		return true
	}
	for i := a.depth - 1; i >= 0; i-- {
		if a.picks[i]+1 < a.widths[i] {
			a.picks[i]++
			a.picks, a.widths, a.depth = a.picks[:i+1], a.widths[:i+1], 0
			return true
		}
	}
	return false
}

// Next implements Scheduler.
func (a *All) Next(_ *Run, _ *Thread, enabled []*Thread) *Thread {
	return enabled[a.pick(len(enabled))]
}

// Choose implements Scheduler.
func (a *All) Choose(_ *Run, _ *Thread, n int) int { return a.pick(n) }

func (a *All) pick(width int) int {
	if a.depth == len(a.picks) {
		a.picks, a.widths = append(a.picks, 0), append(a.widths, width)
	}
	a.depth++
	return a.picks[a.depth-1]
}

// PCT is the scheduler of Burckhardt et al. (2010): threads have random priorities, the highest enabled one runs, and at
// depth-1 random steps the running thread gets one of depth-1 priorities below all those, drawn too. See Chance.
type PCT struct {
	rng     *rand.Rand
	changes map[int]int // by step: the new priority
	prio    map[int]int // by thread, of a timeout by ^thread
	low     int
}

// NewPCT returns the run that belongs to seed, for bugs of a depth in about steps steps.
func NewPCT(seed uint64, depth, steps int) *PCT {
	s := &PCT{rng: rand.New(rand.NewPCG(seed, 0x51ab)), changes: map[int]int{}, prio: map[int]int{}, low: -depth}
	for i := range depth - 1 {
		s.changes[s.rng.IntN(max(steps, 1))] = -i - 1
	}
	return s
}

// Chance is the least probability with which a run of PCT finds a bug of a depth, which is the number of pairs of steps
// whose order makes it happen, in a program of so many threads and steps: 1/(n k^(d-1)).
func Chance(threads, steps, depth int) float64 {
	return 1 / (float64(threads) * math.Pow(float64(steps), float64(depth-1)))
}

// Next implements Scheduler.
func (s *PCT) Next(r *Run, cur *Thread, enabled []*Thread) *Thread {
	if cur != nil {
		if prio, ok := s.changes[r.Steps()]; ok {
			s.prio[cur.ID] = prio
		} else if cur.Op.Kind == Yield {
			s.low--
			s.prio[cur.ID] = s.low
		}
	}
	best := enabled[0]
	for _, t := range enabled {
		if s.priority(t) > s.priority(best) {
			best = t
		}
	}
	return best
}

// priority is that of a thread, drawn when it is first asked for. That a timeout comes has one of its own, so that who
// sleeps first need not wake first.
func (s *PCT) priority(t *Thread) int {
	key := t.ID
	if t.late() {
		key = ^key
	}
	if _, ok := s.prio[key]; !ok {
		s.prio[key] = 1 + s.rng.IntN(1<<30)
	}
	return s.prio[key]
}

// Choose implements Scheduler.
func (s *PCT) Choose(r *Run, _ *Thread, n int) int { return draw(r, s.rng, n) }
