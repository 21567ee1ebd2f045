package memmodel

import (
	"cmp"
	"slices"
)

// This file has the order that the weak model keeps. A load may see an old value: then it happened before the store that
// overwrote it, though its turn came later. Whether it may have is a matter of what comes before what: of barriers,
// dependencies, releases and acquires, of what loads have seen and which store to a place came first. The loads and
// stores of a run are the events of that order (the "ordered-before" of ARMv8, Pulte et al. 2018), and a load may see
// whatever leaves it without a cycle.
//
// It must not matter when a store became visible beside stores to other places: a search of schedules takes such steps
// for independent and tries one order of them.

// An event is a load, a store, or a point that others come after.
type event struct {
	after []*event // what it comes after, nil entries for nothing
	look  int      // the last look that has come by
}

// join is an event that comes after two others, either of which may be nil.
func join(a, b *event) *event {
	switch {
	case a == nil || a == b:
		return b
	case b == nil:
		return a
	}
	return &event{after: []*event{a, b}}
}

// look marks all that comes before e: isBefore tells of it until the next look.
func (b *Bus) look(e *event) {
	b.looks++
	todo := []*event{e}
	for len(todo) > 0 {
		e := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, p := range e.after {
			if p != nil && p.look != b.looks {
				p.look = b.looks
				todo = append(todo, p)
			}
		}
	}
}

func (b *Bus) isBefore(e *event) bool { return e.look == b.looks }

// A past is what a CPU's next accesses come after.
type past struct {
	loads, stores     *event // all that were made
	toLoads, toStores *event // what all later ones come after
	last              *event // the last load
}

// comesAfter orders all later accesses after e.
func (p *past) comesAfter(e *event) {
	p.toLoads, p.toStores = join(p.toLoads, e), join(p.toStores, e)
}

// all is all that the CPU has done, and what that comes after.
func (p *past) all() *event {
	return join(join(p.loads, p.stores), join(p.toLoads, p.toStores))
}

func (p *past) barrier(kind Barrier) {
	switch kind {
	case SmpMB:
		p.comesAfter(p.all())
	case SmpWMB:
		p.toStores = join(p.toStores, p.stores)
	case SmpRMB:
		p.toLoads = join(p.toLoads, p.loads)
	case Acquire:
		p.comesAfter(p.last)
	}
}

// load is the event of a new load. One of a word decides whether later stores are made; one whose address depends on the
// last load decides where they go.
func (p *past) load(depends, word bool) *event {
	e := &event{after: []*event{p.toLoads}}
	if depends {
		e.after = append(e.after, p.last)
		p.toStores = join(p.toStores, p.last)
	}
	p.loads, p.last = join(p.loads, e), e
	if word {
		p.toStores = join(p.toStores, e)
	}
	return e
}

// store gives a new store its event.
func (p *past) store(s *store, depends bool) {
	s.event = &event{after: []*event{p.toStores}}
	if s.release {
		s.event.after = append(s.event.after, p.loads, p.stores)
	}
	if depends {
		s.from = p.last
		s.event.after = append(s.event.after, s.from)
	}
	p.stores = join(p.stores, s.event)
}

// A change is a store that became visible, with what it overwrote.
type change struct {
	cpu   *CPU
	event *event
	from  *event // the load that its data depends on
	age   int    // which of its CPU's stores it is
	step  int    // in which it became visible
	off   int
	old   []byte
}

// A load of a place comes before whatever overwrites what it saw.
type load struct {
	cpu    *CPU
	event  *event
	off, n int
}

// A mark bounds from below what later loads of a place may see: it has seen, or overwritten, the first changes of the
// memory but for some.
type mark struct {
	mem     *Memory
	off, n  int
	changes int
	but     []int
}

// sees reports whether the mark keeps later loads of [off, off+n) from passing over a change.
func (k mark) sees(m *Memory, i, off, n int) bool {
	ch := &m.log[i]
	from, to := max(k.off, ch.off, off), min(k.off+k.n, ch.off+len(ch.old), off+n)
	return k.mem == m && i < k.changes && from < to && !slices.Contains(k.but, i)
}

// arrive puts a store that becomes visible behind what it overwrites and behind the loads of that by others.
func (c *CPU) arrive(s *store) {
	m, e := s.mem, s.event
	for i := len(m.log) - 1; i >= 0; i-- {
		ch := &m.log[i]
		if !overlap(s.off, len(s.data), ch.off, len(ch.old)) {
			continue
		}
		e.after = append(e.after, ch.event)
		if ch.off <= s.off && s.off+len(s.data) <= ch.off+len(ch.old) {
			break // it comes after all before
		}
	}
	m.loads = slices.DeleteFunc(m.loads, func(l load) bool {
		if l.cpu == c || !overlap(s.off, len(s.data), l.off, l.n) {
			return false
		}
		e.after = append(e.after, l.event)
		return s.off <= l.off && l.off+l.n <= s.off+len(s.data)
	})
	for _, r := range s.readers {
		m.loads = append(m.loads, load{c, r, s.off, len(s.data)})
	}
	m.log = append(m.log, change{c, e, s.from, s.age, c.Bus.Run.Steps() - 1, s.off, slices.Clone(m.buf[s.off : s.off+len(s.data)])})
	c.marks = append(c.marks, mark{mem: m, off: s.off, n: len(s.data), changes: len(m.log)})
}

// seeOther lets the scheduler choose which of the changes of a place that came before, or are foreseen, a load sees. It reports
// whether that is one that is foreseen.
func (c *CPU) seeOther(m *Memory, off int, dst []byte, bytes bool) (delayed bool) {
	depends := c.depends
	if c.own(m, off, len(dst)) {
		// It finds the CPU's own stores, whatever others have stored.
		c.depends = false
		c.forward(c.past.load(depends, !bytes), m, off, len(dst))
		c.lastRead, c.ahead = nil, nil
		return false
	}
	var coming []content
	if bytes {
		coming = c.foreseen(m, off, dst)
	}
	before := c.past
	e := c.past.load(depends, !bytes)
	old := c.passable(e, m, off, len(dst))
	pick := c.Thread.ChooseNew(len(old)+len(coming), c.earlier(m, old))
	if later := pick - len(old); later >= 0 {
		c.past = before
		c.delay(m, off, dst, coming[later])
		c.depends = false
		return true
	}
	c.depends = false
	for _, i := range old[pick] {
		ch := &m.log[i]
		for j, b := range ch.old {
			if at := ch.off + j - off; at >= 0 && at < len(dst) {
				dst[at] = b
			}
		}
		ch.event.after = append(ch.event.after, e)
		c.skipped = append(c.skipped, ch.event)
	}
	c.saw(e, m, off, len(dst), old[pick])
	c.forward(e, m, off, len(dst))
	c.lastRead, c.ahead = nil, nil
	if bytes {
		c.remember(m, off, dst)
	}
	return false
}

// earlier has a bit for each set with a change that the load need not pass over: in another order of steps it comes first.
func (c *CPU) earlier(m *Memory, sets [][]int) (known uint64) {
	for k, set := range sets {
		if slices.ContainsFunc(set, func(i int) bool { return !c.Bus.Run.Caused(m.log[i].step, c.Thread) }) {
			known |= 1 << k
		}
	}
	return known
}

// own reports whether the CPU's store buffer has all of a place.
func (c *CPU) own(m *Memory, off, n int) bool {
	for n > 0 {
		i := slices.IndexFunc(c.buffer, func(s *store) bool { return s.mem == m && s.off <= off && off < s.off+len(s.data) })
		if i < 0 {
			return false
		}
		end := c.buffer[i].off + len(c.buffer[i].data)
		off, n = end, off+n-end
	}
	return true
}

// forward notes that a load has found the stores of the store buffer in a place: it comes after what their data depends
// on, and before what others store there after them.
func (c *CPU) forward(e *event, m *Memory, off, n int) {
	for _, s := range c.buffer {
		if s.mem == m && overlap(off, n, s.off, len(s.data)) {
			e.after = append(e.after, s.from)
			s.readers = append(s.readers, e)
		}
	}
}

// saw notes what a load has seen in memory: all changes but some.
func (c *CPU) saw(e *event, m *Memory, off, n int, but []int) {
	left := [][2]int{{off, off + n}} // what later changes have not overwritten
	for i := len(m.log) - 1; i >= 0 && len(left) > 0; i-- {
		ch := &m.log[i]
		if slices.Contains(but, i) || !overlap(off, n, ch.off, len(ch.old)) {
			continue
		}
		rest := without(left, ch.off, ch.off+len(ch.old))
		switch {
		case slices.Equal(rest, left):
			continue
		case ch.cpu != c:
			e.after = append(e.after, ch.event)
		default:
			e.after = append(e.after, ch.from)
		}
		left = rest
	}
	m.loads = append(m.loads, load{c, e, off, n})
	c.marks = append(c.marks, mark{m, off, n, len(m.log), but})
}

// without takes [from, to) out of a list of ranges.
func without(ranges [][2]int, from, to int) (rest [][2]int) {
	for _, r := range ranges {
		if low := (min(r[1], from)); r[0] < low {
			rest = append(rest, [2]int{r[0], low})
		}
		if high := max(r[0], to); high < r[1] {
			rest = append(rest, [2]int{high, r[1]})
		}
	}
	return rest
}

// maxSights is how many ways to see a place a load has at most.
const maxSights = 64

// passable returns the sets of changes that a load may pass over, each newest change first; the first set is empty. With
// a change all are passed over that come after it.
func (c *CPU) passable(e *event, m *Memory, off, n int) [][]int {
	var list []int
	for i := len(m.log) - 1; i >= 0; i-- {
		ch := &m.log[i]
		if !overlap(off, n, ch.off, len(ch.old)) {
			continue
		}
		if ch.cpu != c && !slices.ContainsFunc(c.marks, func(k mark) bool { return k.sees(m, i, off, n) }) {
			list = append(list, i)
		} else if ch.off <= off && off+n <= ch.off+len(ch.old) {
			break // and so it has seen all before
		}
	}
	if len(list) == 0 {
		return [][]int{nil}
	}
	c.Bus.look(e)
	list = slices.DeleteFunc(list, func(i int) bool { return c.Bus.isBefore(m.log[i].event) })
	if len(list) < 2 {
		return [][]int{nil, list}[:1+len(list)]
	}
	return c.Bus.sights(m, list)
}

// sights returns the sets that have with each change of a list all that come after it.
func (b *Bus) sights(m *Memory, list []int) (sets [][]int) {
	later := map[int][]int{}
	for _, i := range list {
		b.look(m.log[i].event)
		for _, j := range list {
			if i != j && b.isBefore(m.log[j].event) {
				later[j] = append(later[j], i)
			}
		}
	}
	// Their numbers in the log depend on the order in which unrelated ones came: who comes first in the sets must not.
	slices.SortFunc(list, func(i, j int) int {
		x, y := &m.log[i], &m.log[j]
		return cmp.Or(cmp.Compare(b.Run.Key(x.cpu.Thread), b.Run.Key(y.cpu.Thread)), cmp.Compare(x.age, y.age))
	})
	var order []int
	for len(order) < len(list) {
		for _, i := range list {
			last := func(j int) bool { return slices.Contains(order, j) }
			if !last(i) && !slices.ContainsFunc(later[i], func(j int) bool { return !last(j) }) {
				order = append(order, i)
				break
			}
		}
	}
	var choose func(k int, set []int)
	choose = func(k int, set []int) {
		switch {
		case len(sets) == maxSights:
			return
		case k == len(order):
			set = slices.Clone(set)
			slices.SortFunc(set, func(i, j int) int { return j - i })
			sets = append(sets, set)
			return
		}
		choose(k+1, set)
		if !slices.ContainsFunc(later[order[k]], func(j int) bool { return !slices.Contains(set, j) }) {
			choose(k+1, append(set, order[k]))
		}
	}
	choose(0, nil)
	return sets
}
