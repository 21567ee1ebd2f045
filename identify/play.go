package identify

import (
	"context"
	"slices"

	"nlmmap/internal/workers"
	"nlmmap/kernel"
	"nlmmap/scenario"
	"nlmmap/scenario/sim"
)

// An outcome is what a model did in one scenario, beside what is recorded.
type outcome struct {
	outputs []string
	failure string // of the model: it could not be made, panicked, hung or leaked
	wrong   int    // how many steps disagree; a failure counts as one
	first   int    // the first step that does, or how many there are
}

// same reports whether two models did the same.
func (o outcome) same(other outcome) bool {
	return o.failure == other.failure && slices.Equal(o.outputs, other.outputs)
}

// play runs one scenario on a model.
func play(ctx context.Context, v kernel.Version, f *scenario.File) outcome {
	var o outcome
	o.outputs, o.failure = scenario.Play(ctx, func() (scenario.Target, error) {
		return sim.New(sim.Config{Version: v, InitNet: f.InitNet(), Heap: true})
	}, f)
	o.first = len(f.Steps)
	for i, agrees := range scenario.Agree(f, o.outputs) {
		if agrees {
			continue
		}
		o.wrong++
		o.first = min(o.first, i)
	}
	if o.failure != "" {
		o.wrong++
	}
	return o
}

// A state is a kernel, and what it does in all scenarios.
type state struct {
	v     kernel.Version
	runs  []outcome
	wrong int // steps that disagree
}

// evaluate plays all scenarios on a kernel, those in order first. If more than most steps disagree it gives up.
func (s *search) evaluate(ctx context.Context, v kernel.Version, order []int, most int) (*state, bool) {
	st := &state{v: v, runs: make([]outcome, len(s.files))}
	for _, chunk := range chunks(s.ordered(order), together) {
		workers.Each(ctx, len(chunk), 0, func(n int) {
			i := chunk[n]
			st.runs[i] = play(ctx, v, s.files[i])
		})
		for _, i := range chunk {
			st.wrong += st.runs[i].wrong
		}
		if st.wrong > most || ctx.Err() != nil {
			return nil, false
		}
	}
	return st, true
}

// ordered is all scenarios, by number, those of first before the others.
func (s *search) ordered(first []int) []int {
	order := slices.Clone(first)
	listed := make([]bool, len(s.files))
	for _, i := range first {
		listed[i] = true
	}
	for i := range s.files {
		if !listed[i] {
			order = append(order, i)
		}
	}
	return order
}

// chunks cuts a list into pieces of at most n.
func chunks(list []int, n int) [][]int { return slices.Collect(slices.Chunk(list, n)) }

// disagreeing lists the scenarios in which some step disagrees, by number: one for each kind of disagreement first, and
// before others those in which little happens until then.
func (s *search) disagreeing(st *state) []int {
	var list []int
	for i, run := range st.runs {
		if run.wrong > 0 {
			list = append(list, i)
		}
	}
	slices.SortStableFunc(list, func(a, b int) int { return st.runs[a].first - st.runs[b].first })
	seen := map[string]bool{}
	var kinds, more []int
	for _, i := range list {
		kind := s.kind(st.runs[i], i, st.runs[i].first)
		if seen[kind] {
			more = append(more, i)
		} else {
			seen[kind] = true
			kinds = append(kinds, i)
		}
	}
	return append(kinds, more...)
}
