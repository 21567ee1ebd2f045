package sched

import (
	"runtime"
	"slices"
	"sync"
)

// This file lets several goroutines go through the schedules of one DFS. What a search finds in a part of the tree depends
// on how it came there, and not on what else it has to try on the way; what it learns there about the way, that other
// threads should be tried at a step, can be told later. So the part that a search probably comes to next is gone through
// ahead of time. When the search comes there it takes over what was found and learnt, or throws it away if by then
// something else comes first. Whoever looks at the runs in the order of the tree sees no difference.

// A branch is what a DFS has that goes through a part of another's tree. The zero value is of one that has its own.
type branch struct {
	base   int           // the steps before this one are given
	first  node          // the last of them, as it was in the beginning
	wishes []wish        // for given steps
	wished map[wish]bool // the same
	// await returns when a part of this one has been gone through, and reports whether it has been so to its end; drop is
	// told of a part that this one does not come to.
	await func(part *DFS) bool
	drop  func(part *DFS)
}

// note keeps a wish for a given step.
func (b *branch) note(w wish) {
	if b.wished[w] {
		return
	}
	if b.wished == nil {
		b.wished = map[wish]bool{}
	}
	b.wished[w] = true
	b.wishes = append(b.wishes, w)
}

// split begins a search of the part of the tree that d probably comes to next, if it leaves the longest possible part of
// its present run: an alternative at the earliest step that has one. It returns nil if there is none. It must be called
// after More and before the run.
func (d *DFS) split() *DFS {
	// What the last step touches is known after the run.
	for i := d.branch.base; i < len(d.stack)-1; i++ {
		if d.stack[i].ahead != nil {
			continue
		}
		pick := d.next(i)
		if pick < 0 {
			continue
		}
		part := &DFS{fresh: i, branch: branch{base: i + 1}}
		for k := range d.stack[:i+1] {
			part.stack = append(part.stack, d.stack[k].given())
		}
		// The last step of a thread says what sleeps after it.
		last := i
		for last > 0 && d.stack[last].outcomes > 0 {
			last--
		}
		from, to := &d.stack[last], &part.stack[last]
		to.ops, to.would = slices.Clone(from.ops), slices.Clone(from.would)
		n := &part.stack[i]
		n.tried(d.stack[i].touched)
		n.pick = pick
		part.branch.first = *n
		d.stack[i].ahead = part
		return part
	}
	return nil
}

// given is a step as it is on the way to a part of the tree: what a run does not find out again.
func (n *node) given() node {
	return node{outcomes: n.outcomes, known: n.known, mishap: n.mishap, pick: n.pick, usual: n.usual, op: n.op, enabled: n.enabled,
		back: n.back, done: n.done, sleep: n.sleep}
}

// leadsTo reports whether the part begins with what step n of its parent tries now.
func (b *branch) leadsTo(n *node) bool { return b.first.pick == n.pick && b.first.done == n.done }

// meet takes over what was found in a part of the tree, and reports whether the search can go on.
func (d *DFS) meet(part *DFS) bool {
	if !d.branch.await(part) {
		return false
	}
	d.runs += part.runs
	if d.err = part.err; d.err != nil {
		return false
	}
	for _, w := range part.branch.wishes {
		d.ask(w)
	}
	return true
}

// Each goes through the schedules of d on at most most goroutines (0 for as many as there are processors). run makes one
// run under a DFS, on any of them; take is told what came of the runs, in the order of the tree and in one goroutine at a
// time, until it returns false. What it is told does not depend on the number of goroutines. With one, nothing runs ahead.
func Each[T any](d *DFS, most int, run func(d *DFS) T, take func(T) bool) {
	if most <= 0 {
		most = runtime.GOMAXPROCS(0)
	}
	if most == 1 {
		for d.More() && take(run(d)) {
		}
		return
	}
	c := &crew[T]{run: run, busy: make(chan struct{}, most)}
	c.changed.L = &c.mu
	c.busy <- struct{}{}
	all := c.begin(d, nil)
	defer c.all.Wait()
	defer c.end()
	c.each(all, take)
}

// A crew is the goroutines of Each.
type crew[T any] struct {
	run  func(d *DFS) T
	busy chan struct{} // holds an element for each goroutine that works and does not wait for another
	all  sync.WaitGroup

	mu      sync.Mutex // what is below, and all finds
	changed sync.Cond
	over    bool
	kept    int // results that nobody has taken yet
}

// Results that wait at most: of one part, and of all before no more parts are begun.
const (
	mostOfPart = 1 << 14
	mostOfAll  = 1 << 18
)

// finds is what came of the runs of a part of the tree, in its order.
type finds[T any] struct {
	list   []find[T]
	parts  map[*DFS]*finds[T] // that the search has not come to yet
	unused bool               // nobody comes to the part
	ended  bool
	whole  bool // it was gone through to its end
	panic  any
}

// A find is what came of one run, or of all runs of a part.
type find[T any] struct {
	result T
	part   *finds[T]
}

// begin starts a goroutine that goes through a part of the tree, of which a part of it is.
func (c *crew[T]) begin(d *DFS, of *finds[T]) *finds[T] {
	f := &finds[T]{parts: map[*DFS]*finds[T]{}}
	d.branch.await = func(part *DFS) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		p := f.parts[part]
		delete(f.parts, part)
		f.list = append(f.list, find[T]{part: p})
		c.changed.Broadcast()
		c.idle(func() bool { return p.ended })
		return p.whole
	}
	d.branch.drop = func(part *DFS) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.forget(f.parts[part])
		delete(f.parts, part)
		c.changed.Broadcast()
	}
	if of != nil {
		c.mu.Lock()
		of.parts[d], f.unused = f, of.unused
		c.mu.Unlock()
	}
	c.all.Go(func() { c.work(d, f) })
	return f
}

// forget throws away what was found in a part.
func (c *crew[T]) forget(f *finds[T]) {
	f.unused = true
	for _, x := range f.list {
		if x.part != nil {
			c.forget(x.part)
		} else {
			c.kept--
		}
	}
	f.list = nil
	for _, p := range f.parts {
		c.forget(p)
	}
}

// work goes through a part of the tree, and lets others do so ahead of it when there are idle ones.
func (c *crew[T]) work(d *DFS, f *finds[T]) {
	whole := false
	defer func() {
		failed := recover() // goes on, as runtime.Goexit does, in the goroutine that takes the results
		c.mu.Lock()
		defer c.mu.Unlock()
		f.ended, f.whole, f.panic = true, whole, failed
		c.changed.Broadcast()
		<-c.busy
	}()
	for d.More() {
		c.help(d, f)
		if !c.put(f, c.run(d)) {
			return
		}
	}
	whole = true
}

// help lets another goroutine, if one is idle, begin with the part that d comes to next.
func (c *crew[T]) help(d *DFS, f *finds[T]) {
	c.mu.Lock()
	enough := c.kept >= mostOfAll
	c.mu.Unlock()
	if enough {
		return
	}
	select {
	case c.busy <- struct{}{}:
		if part := d.split(); part != nil {
			c.begin(part, f)
		} else {
			<-c.busy
		}
	default:
	}
}

// put adds what came of a run, and reports whether somebody needs more. It waits where too many results do.
func (c *crew[T]) put(f *finds[T], result T) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over || f.unused {
		return false
	}
	f.list = append(f.list, find[T]{result: result})
	c.kept++
	c.changed.Broadcast()
	if len(f.list) >= mostOfPart {
		c.idle(func() bool { return len(f.list) < mostOfPart || c.over || f.unused })
	}
	return true
}

// idle waits until done, and lets another goroutine work meanwhile. It is called, and done is, with c.mu held.
func (c *crew[T]) idle(done func() bool) {
	<-c.busy
	for !done() {
		c.changed.Wait()
	}
	c.mu.Unlock()
	c.busy <- struct{}{}
	c.mu.Lock()
}

// end lets the goroutines come to their end.
func (c *crew[T]) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	c.changed.Broadcast()
}

// each calls take with every result as it comes, and reports whether take wants more.
func (c *crew[T]) each(f *finds[T], take func(T) bool) bool {
	for {
		c.mu.Lock()
		for len(f.list) == 0 && !f.ended {
			c.changed.Wait()
		}
		list := f.list
		f.list = nil
		for _, x := range list {
			if x.part == nil {
				c.kept--
			}
		}
		c.changed.Broadcast()
		c.mu.Unlock()
		if len(list) == 0 {
			break
		}
		for _, x := range list {
			if x.part == nil && !take(x.result) || x.part != nil && !c.each(x.part, take) {
				return false
			}
		}
	}
	if f.panic != nil {
		panic(f.panic)
	}
	if !f.whole {
		runtime.Goexit() // as a run has done
	}
	return true
}
