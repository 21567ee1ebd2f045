package identify

import (
	"context"
	"fmt"
	"math"
	"slices"

	"nlmmap/internal/workers"
	"nlmmap/kernel"
	"nlmmap/scenario"
	"nlmmap/versions"
)

// How wide the search is.
const (
	chunkSize = 8  // scenarios that disagree and are looked at together
	together  = 32 // scenarios that are played before their sum is looked at
	branches  = 4  // changes of one kernel that are followed
	beamWidth = 4  // kernels that are kept from one round to the next
	glances   = 2  // how often kernels are looked at that are not the best
	patience  = 2  // rounds that find nothing better
	pairsFor  = 8  // scenarios for which pairs of changes are tried
)

// A search has what does not change while it goes on.
type search struct {
	files []*scenario.File
	table versions.Table
	tell  func(string)
}

// from finds the kernel with the fewest steps that disagree and, of those, the fewest changes. The starts are in the order
// in which they are preferred.
func (s *search) from(ctx context.Context, starts []*state) *state {
	best := nearest(starts)
	stale := 0
	for beam := starts; best.wrong > 0 && len(beam) > 0 && stale < patience && ctx.Err() == nil; {
		s.tell(fmt.Sprintf("%s: %d steps disagree", best.v, best.wrong))
		beam = s.round(ctx, beam, best.wrong)
		if len(beam) == 0 || stale == patience-1 {
			if both := s.pair(ctx, best); both != nil {
				beam = []*state{both}
			}
		}
		stale++
		if len(beam) > 0 && beam[0].wrong < best.wrong {
			best, stale = beam[0], 0
		}
	}
	return best
}

// nearest is the first of the states with the fewest steps that disagree.
func nearest(states []*state) *state {
	return slices.MinFunc(states, func(a, b *state) int { return a.wrong - b.wrong })
}

// round makes one change in each of some kernels, in every way that helps, and returns the best results, best first. It looks
// more closely at those in which no more than least steps disagree.
func (s *search) round(ctx context.Context, beam []*state, least int) []*state {
	var next []*state
	for _, st := range beam {
		most, looks := st.wrong-1, len(s.files)
		if st.wrong > least {
			looks = glances
		}
		if len(next) == beamWidth {
			most = min(most, next[beamWidth-1].wrong-1)
		}
		for _, child := range s.expand(ctx, st, most, looks) {
			if !slices.ContainsFunc(next, func(other *state) bool { return other.v.String() == child.v.String() }) {
				next = append(next, child)
			}
		}
		slices.SortStableFunc(next, func(a, b *state) int { return a.wrong - b.wrong })
		next = next[:min(beamWidth, len(next))]
		if len(next) > 0 && next[0].wrong == 0 {
			break
		}
	}
	return next
}

// expand returns kernels with one more change in which at most most steps disagree. It looks at some of the scenarios that
// disagree and, as long as nothing helps these, at others, so often; then at all values of numbers. If it is most that
// excludes what helps, one look is enough.
func (s *search) expand(ctx context.Context, st *state, most, looks int) []*state {
	which := s.disagreeing(st)
	changes := s.changes(st.v)
	touched := map[string][]int{} // by number: the scenarios that it could explain
	for n, chunk := range chunks(which, chunkSize) {
		if n == looks {
			return nil
		}
		list, trials := changes, s.try(ctx, st, changes, chunk)
		for _, d := range s.numbers() {
			if scenarios := touches(d, changes, trials, chunk); len(scenarios) > 0 {
				shifts := s.shifts(st, d, scenarios)
				list, trials = slices.Concat(list, shifts), slices.Concat(trials, s.try(ctx, st, shifts, chunk))
				touched[d.Name] = append(touched[d.Name], scenarios...)
			}
		}
		if children := s.follow(ctx, st, helpful(list, trials), which, most); len(children) > 0 {
			return children
		}
		if most < st.wrong-1 || ctx.Err() != nil {
			return nil
		}
	}
	for _, d := range s.numbers() {
		for _, i := range touched[d.Name][:min(2, len(touched[d.Name]))] {
			values := s.scan(ctx, st, d, i)
			chunk := touched[d.Name][:min(chunkSize, len(touched[d.Name]))]
			good := helpful(values, s.try(ctx, st, values, chunk))
			if children := s.follow(ctx, st, good, which, most); len(children) > 0 {
				return children
			}
		}
	}
	return nil
}

// touches lists the scenarios in which a sample of a number changes something that could be what disagrees.
func touches(d kernel.Difference, changes []change, trials [][]trial, chunk []int) []int {
	var list []int
	for w, i := range chunk {
		for c := range changes {
			if changes[c].name == d.Name && trials[c][w].touches {
				list = append(list, i)
				break
			}
		}
	}
	return list
}

// helpful lists the changes that help some scenario, those first that help most.
func helpful(changes []change, trials [][]trial) []change {
	var good []change
	wrong := map[change]int{}
	for c := range changes {
		helps := false
		for _, t := range trials[c] {
			wrong[changes[c]] += t.wrong
			helps = helps || t.helps
		}
		if helps && !slices.Contains(good, changes[c]) {
			good = append(good, changes[c])
		}
	}
	slices.SortStableFunc(good, func(a, b change) int { return wrong[a] - wrong[b] })
	return good
}

// follow plays all scenarios on a kernel with each of some changes, and returns the first few in which at most most steps
// disagree.
func (s *search) follow(ctx context.Context, st *state, changes []change, which []int, most int) []*state {
	var children []*state
	for _, c := range changes {
		if child, ok := s.evaluate(ctx, s.with(st.v, c), which, most); ok {
			children = append(children, child)
		}
		if len(children) == branches {
			break
		}
	}
	return children
}

// pair looks for two changes that help only together. One of them does something in the scenario on its own.
func (s *search) pair(ctx context.Context, st *state) *state {
	which := s.disagreeing(st)
	changes := s.changes(st.v)
	for _, i := range which[:min(pairsFor, len(which))] {
		s.tell(fmt.Sprintf("%s: %d steps disagree; pairs of differences", st.v, st.wrong))
		trials := s.try(ctx, st, changes, []int{i})
		var pairs [][]change
		for c, one := range changes {
			if !trials[c][0].touches {
				continue
			}
			for _, other := range changes {
				if other.name != one.name {
					pairs = append(pairs, []change{one, other})
				}
			}
		}
		good := make([]bool, len(pairs))
		workers.Each(ctx, len(pairs), 0, func(n int) {
			good[n] = s.compare(st, i, play(ctx, s.with(st.v, pairs[n]...), s.files[i])).helps
		})
		tried := 0
		for n, pair := range pairs {
			if !good[n] || tried == 4*branches {
				continue
			}
			tried++
			if child, ok := s.evaluate(ctx, s.with(st.v, pair...), which, st.wrong-1); ok {
				return child
			}
		}
	}
	return nil
}

// all plays all scenarios on a kernel.
func (s *search) all(ctx context.Context, v kernel.Version) *state {
	st, ok := s.evaluate(ctx, v, nil, math.MaxInt)
	if !ok {
		st = &state{v: v, runs: make([]outcome, len(s.files))} // interrupted
	}
	return st
}
