package sched

// Races is a Scheduler that lets another one choose and finds the accesses that race: two steps of different threads that
// touch the same thing, one of which changes it, and that nothing orders. The other order was possible.
type Races struct {
	Scheduler
	// Most is how many steps are looked at, 0 for all.
	Most int

	steps []access
	last  map[int]int // by thread: its last step
	pairs [][2]int
}

// Pairs are the steps that race, by number, the earlier one first.
func (c *Races) Pairs() [][2]int { return c.pairs }

// An access is a step with its causes: of each thread how many of its steps come before it.
type access struct {
	number int
	thread int
	owner  int // whose step it is, be it of a store buffer
	op     Op
	index  int32
	clock  []int32
}

// Next implements Scheduler.
func (c *Races) Next(r *Run, cur *Thread, enabled []*Thread) *Thread {
	t := c.Scheduler.Next(r, cur, enabled)
	if t == nil || c.Most > 0 && len(c.steps) == c.Most {
		return t
	}
	a := access{number: r.Steps(), thread: t.ID, owner: t.ID, op: t.Op}
	if t.owner != nil {
		a.owner = t.owner.ID
	}
	c.steps = append(c.steps, a)
	c.look(len(c.steps) - 1)
	return t
}

// look finds what a step races with, and what comes before it.
func (c *Races) look(at int) {
	a := &c.steps[at]
	if c.last == nil {
		c.last = map[int]int{}
	}
	past := []int32(nil) // what comes before it though it touches nothing in common
	if last, ok := c.last[a.thread]; ok {
		past, a.index = join(past, c.steps[last].clock), c.steps[last].index
	}
	for _, cause := range append(a.op.Since[:len(a.op.Since):len(a.op.Since)], a.op.After) {
		for i := at - 1; i >= 0 && cause > 0; i-- {
			if c.steps[i].number < cause {
				past = join(past, c.steps[i].clock)
				break
			}
		}
	}
	a.clock = join(a.clock, past)
	for i := at - 1; i >= 0; i-- {
		e := &c.steps[i]
		if !e.op.Dependent(a.op) {
			continue
		}
		// The latest come first: what an earlier one is ordered by has been joined already.
		if e.owner != a.owner && !e.before(a.clock) && e.op.data() && a.op.data() {
			c.pairs = append(c.pairs, [2]int{e.number, a.number})
		}
		a.clock = join(a.clock, e.clock)
	}
	a.index++
	for len(a.clock) <= a.thread {
		a.clock = append(a.clock, 0)
	}
	a.clock[a.thread] = a.index
	c.last[a.thread] = at
}

// before reports whether a step is among those that a clock counts.
func (a *access) before(clock []int32) bool {
	return a.thread < len(clock) && clock[a.thread] >= a.index
}

// data reports whether a step is an access, and not one that puts threads in order.
func (o Op) data() bool {
	switch o.Kind {
	case Load, Store, RMW, Read, Write, Drain:
		return true
	}
	return false
}
