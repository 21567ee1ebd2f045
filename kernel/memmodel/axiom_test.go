package memmodel_test

import (
	"fmt"
	"slices"
	"sort"
	"strings"
)

// This file says what the memory models allow without running anything: all ways in which the loads of a small program
// can take their values from stores and the stores to a place can follow each other, less those that the axioms of a
// model forbid. It is the slow, independent answer that TestLitmus compares the machine with.
//
// The axioms are those of the published models: sequential consistency; x86-TSO (Owens, Sarkar, Sewell 2009); and for
// the weak model the multi-copy atomic one of ARMv8 (Pulte et al. 2018) with the kernel's names: wmb orders stores, rmb
// loads, mb everything; a release comes after everything before it and an acquire before everything after it.

// An event is an instruction of a thread. As text, instructions look like
//
//	Wx1  store 1 to x        Vx1  store-release
//	Rx   read bytes of x     Lx   load a word that later stores depend on (a branch)      Ax  load-acquire
//	mb wmb rmb
//
// with a d in front for one that depends on the load before it.
type event struct {
	thread, index int
	op            byte // W V R L A, or m w r for barriers
	place         byte
	value         int
	depends       bool
}

func (e event) load() bool  { return strings.IndexByte("RLA", e.op) >= 0 }
func (e event) store() bool { return strings.IndexByte("WV", e.op) >= 0 }

// parse reads a program: threads are separated by |.
func parse(text string) [][]event {
	var threads [][]event
	for i, t := range strings.Split(text, "|") {
		var list []event
		for j, word := range strings.Fields(t) {
			e := event{thread: i, index: j}
			if word[0] == 'd' {
				e.depends, word = true, word[1:]
			}
			e.op = word[0]
			if strings.IndexByte("mwr", e.op) < 0 {
				e.place = word[1]
				if len(word) > 2 {
					fmt.Sscan(word[2:], &e.value)
				}
			}
			list = append(list, e)
		}
		threads = append(threads, list)
	}
	return threads
}

// An edge set over events, by number.
type relation [][]bool

func newRelation(n int) relation {
	r := make(relation, n)
	for i := range r {
		r[i] = make([]bool, n)
	}
	return r
}

func (r relation) acyclic() bool {
	state := make([]int, len(r))
	var visit func(int) bool
	visit = func(i int) bool {
		state[i] = 1
		for j, edge := range r[i] {
			if edge && (state[j] == 1 || state[j] == 0 && !visit(j)) {
				return false
			}
		}
		state[i] = 2
		return true
	}
	for i := range r {
		if state[i] == 0 && !visit(i) {
			return false
		}
	}
	return true
}

// axioms returns all outcomes that a model allows.
func axioms(threads [][]event, model string) []string {
	var events []event
	for _, t := range threads {
		events = append(events, t...)
	}
	places := map[byte][]int{} // stores by place
	var loads []int
	for i, e := range events {
		if e.store() {
			places[e.place] = append(places[e.place], i)
		}
		if e.load() {
			loads = append(loads, i)
		}
	}
	fixed := ordered(events, model)
	found := map[string]bool{}
	// rf[i] is the store that load i reads from, -1 for the first value; co[p] is the order of the stores to p.
	rf := map[int]int{}
	co := map[byte][]int{}
	var names []byte
	for p := range places {
		names = append(names, p)
	}
	slices.Sort(names)
	var chooseLoads func(int)
	chooseLoads = func(k int) {
		if k == len(loads) {
			if consistent(events, fixed, rf, co, model) {
				found[outcomeOf(events, rf, co)] = true
			}
			return
		}
		for _, w := range append([]int{-1}, places[events[loads[k]].place]...) {
			rf[loads[k]] = w
			chooseLoads(k + 1)
		}
	}
	var choosePlaces func(int)
	choosePlaces = func(k int) {
		if k == len(names) {
			chooseLoads(0)
			return
		}
		permute(places[names[k]], func(order []int) {
			co[names[k]] = order
			choosePlaces(k + 1)
		})
	}
	choosePlaces(0)
	var list []string
	for o := range found {
		list = append(list, o)
	}
	sort.Strings(list)
	return list
}

func permute(list []int, use func([]int)) {
	list = slices.Clone(list)
	var rec func(int)
	rec = func(k int) {
		if k == len(list) {
			use(slices.Clone(list))
			return
		}
		for i := k; i < len(list); i++ {
			list[k], list[i] = list[i], list[k]
			rec(k + 1)
			list[k], list[i] = list[i], list[k]
		}
	}
	rec(0)
}

// ordered is the part of each model's order that the program alone gives.
func ordered(events []event, model string) relation {
	r := newRelation(len(events))
	for i, a := range events {
		for j, b := range events {
			if a.thread != b.thread || a.index >= b.index || a.place == 0 || b.place == 0 {
				continue
			}
			between := func(op byte) bool {
				return slices.ContainsFunc(events, func(e event) bool {
					return e.op == op && e.thread == a.thread && e.index > a.index && e.index < b.index
				})
			}
			lastLoad := func(e event) int { // the load that e depends on
				at := -1
				for k, o := range events {
					if o.thread == e.thread && o.load() && o.index < e.index {
						at = k
					}
				}
				return at
			}
			switch model {
			case "sc":
				r[i][j] = true
			case "tso":
				r[i][j] = !(a.store() && b.load()) || between('m')
			case "weak":
				r[i][j] = between('m') ||
					a.store() && b.store() && between('w') ||
					a.load() && b.load() && between('r') ||
					a.op == 'A' || b.op == 'V' || b.store() && overwrites(events, b, func(e event) bool { return e.op == 'V' && e.index > a.index }) ||
					a.op == 'L' && b.store() ||
					b.depends && lastLoad(b) == i ||
					b.store() && overwrites(events, b, func(e event) bool { return e.depends && lastLoad(e) == i })
				// What comes after an access whose address is not known yet: a store waits for the address.
				if a.load() && b.store() {
					for _, e := range events {
						if e.thread == a.thread && e.load() && e.depends && e.index < b.index && lastLoad(e) == i {
							r[i][j] = true
						}
					}
				}
			}
		}
	}
	return r
}

// overwrites reports whether a store follows one of the thread to the same place that is as wanted: what comes before
// that one comes before the store too.
func overwrites(events []event, e event, wanted func(event) bool) bool {
	for _, o := range events {
		if o.store() && o.thread == e.thread && o.place == e.place && o.index < e.index && wanted(o) {
			return true
		}
	}
	return false
}

// consistent reports whether an execution is one of the model's.
func consistent(events []event, fixed relation, rf map[int]int, co map[byte][]int, model string) bool {
	n := len(events)
	global, local := newRelation(n), newRelation(n)
	for i := range n {
		copy(global[i], fixed[i])
		for j := range n {
			if a, b := events[i], events[j]; a.thread == b.thread && a.index < b.index && a.place != 0 && a.place == b.place {
				local[i][j] = true
			}
		}
	}
	external := func(i, j int) bool { return events[i].thread != events[j].thread }
	add := func(i, j int, always bool) {
		local[i][j] = true
		if always || external(i, j) {
			global[i][j] = true
		}
	}
	for _, order := range co {
		for i := range order {
			for j := i + 1; j < len(order); j++ {
				add(order[i], order[j], model != "weak")
			}
		}
	}
	for load, store := range rf {
		after := co[events[load].place]
		if store >= 0 {
			add(store, load, model == "sc")
			after = after[slices.Index(after, store)+1:]
			// A load that finds a store of its own thread comes after what that store's data depends on.
			if model == "weak" && !external(store, load) && events[store].depends {
				for k := range n {
					if events[k].load() && fixed[k][store] && isSource(events, k, store) {
						global[k][load] = true
					}
				}
			}
		}
		for _, later := range after {
			add(load, later, model != "weak")
		}
	}
	return local.acyclic() && global.acyclic()
}

func isSource(events []event, load, store int) bool {
	at := -1
	for k, o := range events {
		if o.thread == events[store].thread && o.load() && o.index < events[store].index {
			at = k
		}
	}
	return at == load
}

// outcomeOf is what the loads have seen, thread by thread, and what memory has at the end.
func outcomeOf(events []event, rf map[int]int, co map[byte][]int) string {
	var parts []string
	last := -1
	for i, e := range events {
		for last < e.thread {
			parts = append(parts, "")
			last++
		}
		if e.load() {
			v := 0
			if w := rf[i]; w >= 0 {
				v = events[w].value
			}
			parts[e.thread] += fmt.Sprint(v)
		}
	}
	end := ""
	for _, p := range []byte("xyz") {
		v := 0
		if order := co[p]; len(order) > 0 {
			v = events[order[len(order)-1]].value
		}
		end += fmt.Sprint(v)
	}
	return strings.Join(parts, "/") + ";" + end
}
