package sched

import (
	"cmp"
	"fmt"
	"slices"
)

// Meetings is a Scheduler that does what another does and notes which steps of different threads have met: that touch
// something in common, so that their order can matter. It is for one run.
type Meetings struct {
	Scheduler
	steps []met
	open  *Run // whose last step may still touch something
	found Conflicts
}

// A Place is a kind of step: of which thread, what it does, and to which bytes if it is to memory.
type Place struct {
	Thread   string
	Kind     Kind
	Label    string
	Off, Len uint32
}

func (p Place) String() string {
	s := p.Thread + ": " + Op{Kind: p.Kind, Label: p.Label}.String()
	if p.Len > 0 {
		s += fmt.Sprintf(" bytes %d to %d", p.Off, p.Off+p.Len)
	}
	return s
}

// A Meeting is two kinds of steps that touched something in common, in the order in which they came.
type Meeting struct{ First, Second Place }

type met struct {
	place   Place
	thread  int
	op      Op
	touched []Access
}

// Next implements Scheduler.
func (m *Meetings) Next(r *Run, cur *Thread, enabled []*Thread) *Thread {
	m.settle()
	next := m.Scheduler.Next(r, cur, enabled)
	if next != nil {
		m.steps = append(m.steps, met{place: Place{next.Name, next.Op.Kind, next.Op.Label, next.Op.Off, next.Op.Len}, thread: next.ID, op: next.Op})
		m.open = r
	}
	return next
}

// settle notes whom the last step has met.
func (m *Meetings) settle() {
	if m.open == nil {
		return
	}
	at := len(m.steps) - 1
	s := &m.steps[at]
	s.touched = slices.Clone(m.open.touched)
	m.open = nil
	m.found.note(s.place)
	for i := range m.steps[:at] {
		if e := &m.steps[i]; e.thread != s.thread && clash(e.op, e.touched, s.op, s.touched) {
			m.found.meetings[Meeting{e.place, s.place}] = true
		}
	}
}

// Caused implements Causal.
func (m *Meetings) Caused(step int, t *Thread) bool {
	c, ok := m.Scheduler.(Causal)
	return !ok || c.Caused(step, t)
}

// Found is what the run has met so far.
func (m *Meetings) Found() Conflicts {
	m.settle()
	return m.found
}

// Conflicts is what runs have met. The zero value is nothing.
type Conflicts struct {
	meetings map[Meeting]bool
	places   map[Place]bool
}

// note adds a kind of step.
func (c *Conflicts) note(p Place) {
	if c.places == nil {
		c.meetings, c.places = map[Meeting]bool{}, map[Place]bool{}
	}
	c.places[p] = true
}

// Add adds what another run has met.
func (c *Conflicts) Add(o Conflicts) {
	for p := range o.places {
		c.note(p)
	}
	for m := range o.meetings {
		c.meetings[m] = true
	}
}

// Kinds is how many kinds of steps there were.
func (c *Conflicts) Kinds() int { return len(c.places) }

// Pairs is how many pairs of kinds have met, and how many of them in both orders. A kind that meets itself, in two threads of
// one name, does so in both.
func (c *Conflicts) Pairs() (all, both int) {
	for k := range c.meetings {
		switch {
		case !c.meetings[Meeting{k.Second, k.First}]:
			all += 2
		case k.First == k.Second:
			all, both = all+2, both+2
		default: // is met twice
			all, both = all+1, both+1
		}
	}
	return all / 2, both / 2
}

// OneWay are the pairs that have met in one order only, sorted.
func (c *Conflicts) OneWay() []Meeting {
	var list []Meeting
	for k := range c.meetings {
		if !c.meetings[Meeting{k.Second, k.First}] {
			list = append(list, k)
		}
	}
	slices.SortFunc(list, func(a, b Meeting) int {
		return cmp.Or(cmp.Compare(a.First.String(), b.First.String()), cmp.Compare(a.Second.String(), b.Second.String()))
	})
	return list
}
