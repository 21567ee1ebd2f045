package identify

import (
	"context"
	"slices"
	"strconv"
	"sync"

	"nlmmap/internal/workers"
	"nlmmap/kernel"
)

// minimal takes back changes that lead from one kernel to another without which no more steps disagree.
func (s *search) minimal(ctx context.Context, from kernel.Version, st *state) *state {
	for again := true; again && ctx.Err() == nil; {
		again = false
		for _, c := range s.between(from, st.v) {
			back := change{c.name, s.table.Value(from, c.name)}
			if less, ok := s.evaluate(ctx, s.with(st.v, back), nil, st.wrong); ok {
				st, again = less, true // and perhaps now others that were tried before
			}
		}
	}
	return st
}

// names lists what a kernel differs in from its release.
func names(v kernel.Version) []string {
	var list []string
	for name := range v.Set {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// prove shows that a difference is needed: the first step of each scenario that disagrees without it and agrees with it.
func (s *search) prove(ctx context.Context, st *state, name string) Difference {
	d := s.difference(name)
	found := Difference{Name: name, Value: st.v.Set[name], Was: d.In(st.v.Release)}
	without := s.all(ctx, s.without(st.v, name))
	var which []int
	for i, run := range without.runs {
		if p, worse := s.firstWorse(st.runs[i], run, i); worse {
			found.Proof = append(found.Proof, p)
			which = append(which, i)
		}
		if p, worse := s.firstWorse(run, st.runs[i], i); worse {
			found.Against = append(found.Against, p)
		}
	}
	found.Or = s.instead(ctx, st, without, name, which)
	if d.IsNumber() {
		found.From, found.To = s.alike(ctx, st, d)
	}
	return found
}

// firstWorse is the first step of a scenario that agrees with one model and not with another, or the end.
func (s *search) firstWorse(good, bad outcome, i int) (p Place, worse bool) {
	f := s.files[i]
	a, b := agree(f, good), agree(f, bad)
	for n := range f.Steps {
		if a[n] && !b[n] {
			return s.place(bad, i, n), true
		}
	}
	return s.place(bad, i, len(f.Steps)), good.failure == "" && bad.failure != ""
}

// instead lists single changes that explain as much as the one that is missing from a kernel.
func (s *search) instead(ctx context.Context, st, without *state, name string, which []int) []string {
	if len(which) == 0 {
		return nil
	}
	slices.SortStableFunc(which, func(a, b int) int { return len(s.files[a].Steps) - len(s.files[b].Steps) })
	few := which[:min(3, len(which))]
	changes := slices.DeleteFunc(s.changes(without.v), func(c change) bool {
		return c == change{name, st.v.Set[name]} || c.name == name && s.isNumber(name)
	})
	trials := s.try(ctx, without, changes, few)
	var others []string
	for c, change := range changes {
		good := true
		for w, i := range few {
			good = good && trials[c][w].wrong <= st.runs[i].wrong
		}
		if !good {
			continue
		}
		if _, ok := s.evaluate(ctx, s.with(without.v, change), which, st.wrong); ok {
			others = append(others, change.String())
		}
	}
	return others
}

func (s *search) isNumber(name string) bool {
	d := s.difference(name)
	return d.IsNumber()
}

// untold lists what the recordings do not tell: differences of which another value changes no output.
func (s *search) untold(ctx context.Context, st *state) []Untold {
	var list []Untold
	told := newTeller(s, st)
	for _, d := range s.table {
		if !d.Settable() {
			continue
		}
		s.tell("what the recordings do not tell: " + d.Name)
		now := s.table.Value(st.v, d.Name)
		u := Untold{Name: d.Name, Value: now, Seen: d.Seen}
		if _, found := st.v.Set[d.Name]; found && d.IsNumber() {
			continue // that was told when it was proved
		}
		if d.IsNumber() {
			from, to := s.alike(ctx, st, d)
			if least, most := d.Bounds(); from == to || ctx.Err() != nil {
				continue
			} else if from > least || to < most {
				u.From, u.To = from, to
			}
			list = append(list, u)
			continue
		}
		for _, value := range samples(d) {
			if value != now && !told.apart(ctx, s.with(st.v, change{d.Name, value})) {
				u.Or = append(u.Or, value)
			}
		}
		if len(u.Or) > 0 {
			list = append(list, u)
		}
	}
	return list
}

// A teller tells kernels from one that it knows by what they do in the scenarios. It begins with scenarios that told others
// apart, which finds the same sooner.
type teller struct {
	s     *search
	st    *state
	order []int
}

func newTeller(s *search, st *state) *teller { return &teller{s, st, s.ordered(nil)} }

// apart reports whether a kernel does something else in some scenario.
func (t *teller) apart(ctx context.Context, v kernel.Version) bool {
	for _, chunk := range chunks(t.order, chunkSize) {
		var mu sync.Mutex
		var apart []int
		workers.Each(ctx, len(chunk), 0, func(n int) {
			i := chunk[n]
			if !play(ctx, v, t.s.files[i]).same(t.st.runs[i]) {
				mu.Lock()
				apart = append(apart, i)
				mu.Unlock()
			}
		})
		if len(apart) > 0 {
			slices.Sort(apart)
			t.order = append(apart[:1:1], slices.DeleteFunc(t.order, func(i int) bool { return i == apart[0] })...)
			return true
		}
	}
	return false
}

// alike returns the range of values around a number's within which no output changes.
func (s *search) alike(ctx context.Context, st *state, d kernel.Difference) (from, to int) {
	now := number(s.table, st.v, d.Name)
	least, most := d.Bounds()
	sensitive := s.sensitive(ctx, st, d)
	same := func(n int) bool {
		v := s.with(st.v, change{d.Name, strconv.Itoa(n)})
		return !slices.ContainsFunc(sensitive, func(i int) bool { return !play(ctx, v, s.files[i]).same(st.runs[i]) })
	}
	return edge(now, least, same), edge(now, most, same)
}

// edge is the last number on the way from one to another of which same is true, as it is of the first.
func edge(in, out int, same func(int) bool) int {
	if same(out) {
		return out
	}
	for max(in-out, out-in) > 1 {
		if middle := (in + out) / 2; same(middle) {
			in = middle
		} else {
			out = middle
		}
	}
	return in
}

// sensitive lists the scenarios in which a sample of a number, or a neighbour, changes an output.
func (s *search) sensitive(ctx context.Context, st *state, d kernel.Difference) []int {
	now := number(s.table, st.v, d.Name)
	least, most := d.Bounds()
	changes := inRange(d, now, []int{least, most})
	for _, value := range d.Values() {
		if value != s.table.Value(st.v, d.Name) {
			changes = append(changes, change{d.Name, value})
		}
	}
	differs := make([]bool, len(s.files))
	workers.Each(ctx, len(s.files), 0, func(i int) {
		for _, c := range changes {
			if !differs[i] {
				differs[i] = !play(ctx, s.with(st.v, c), s.files[i]).same(st.runs[i])
			}
		}
	})
	var list []int
	for i, does := range differs {
		if does {
			list = append(list, i)
		}
	}
	return list
}
