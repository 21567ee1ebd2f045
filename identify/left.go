package identify

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"nlmmap/kernel"
	"nlmmap/scenario"
)

// A Player plays a scenario on the kernel that is identified and returns the outputs.
type Player func(ctx context.Context, f *scenario.File) ([]string, error)

// A Kernel is the kernel that is identified. It calls work with the numbers below n, each once, perhaps several at a time.
// An error ends it.
type Kernel func(ctx context.Context, n int, work func(ctx context.Context, play Player, i int) error) error

// kindsLeft is how many kinds of steps that are left are reported.
const kindsLeft = 50

// A leftover is a step that no difference explains, of those that disagree alike the one in front of which least happens.
type leftover struct {
	scenario, step int
	also           []Place // the others: the first in each scenario
}

// leftovers groups what disagrees with a kernel.
func (s *search) leftovers(st *state) []leftover {
	type place struct{ scenario, step, before int }
	groups := map[string][]place{}
	var kinds []string
	for i, run := range st.runs {
		if run.wrong == 0 {
			continue
		}
		agrees := append(agree(s.files[i], run), run.failure == "") // the end is a step here
		before := 0                                                 // how many disagree in front of it
		for n, good := range agrees {
			if good {
				continue
			}
			kind := s.kind(run, i, n)
			if groups[kind] == nil {
				kinds = append(kinds, kind)
			}
			groups[kind] = append(groups[kind], place{i, n, before})
			before++
		}
	}
	var list []leftover
	for _, kind := range kinds {
		places := groups[kind]
		best := slices.MinFunc(places, func(a, b place) int {
			if c := a.before - b.before; c != 0 {
				return c
			}
			return a.step - b.step
		})
		l := leftover{scenario: best.scenario, step: best.step}
		last := best.scenario
		for _, p := range places {
			if p.scenario == best.scenario || p.scenario == last {
				continue
			}
			last = p.scenario
			l.also = append(l.also, s.place(st.runs[p.scenario], p.scenario, p.step))
		}
		list = append(list, l)
	}
	return list
}

// describe makes leftovers into what is reported. Each is cut down to the steps that it takes. If there are too many kinds of
// them the others are only counted.
func (s *search) describe(ctx context.Context, st *state, on Kernel) (left []Left, more int, _ error) {
	left = []Left{}
	list := s.leftovers(st)
	more = max(0, len(list)-kindsLeft)
	list = list[:len(list)-more]
	cuts := make([]*scenario.File, len(list))
	for n, l := range list {
		s.tell(fmt.Sprintf("the fewest steps that show what is left: %d of %d", n+1, len(list)))
		cuts[n] = s.slice(ctx, st, l)
		d := s.step(st.runs[l.scenario], l.scenario, l.step)
		left = append(left, Left{Place: s.place(st.runs[l.scenario], l.scenario, l.step), Expected: d.Expected, Got: d.Got,
			Also: l.also})
	}
	if on != nil {
		s.tell(fmt.Sprintf("the fewest steps that show what is left, on the kernel itself: %d kinds", len(list)))
		err := on(ctx, len(list), func(ctx context.Context, play Player, n int) error {
			whole := s.until(list[n])
			small, tried, err := s.shrink(ctx, st.v, play, cuts[n], whole)
			cuts[n], left[n].Tried, left[n].Gone = small, tried, !tried
			return err
		})
		if err != nil {
			return nil, 0, err
		}
	}
	for n := range left {
		left[n].Steps, left[n].Scenario = len(cuts[n].Steps), text(cuts[n])
	}
	return left, more, nil
}

// until is the scenario up to the step that is left.
func (s *search) until(l leftover) *scenario.File {
	f := *s.files[l.scenario]
	f.Steps, f.Trailer = slices.Clone(f.Steps[:min(l.step+1, len(f.Steps))]), nil
	return &f
}

// slice takes steps out of a scenario without which the model does the same in all that are left: what is recorded of these
// stands as it is.
func (s *search) slice(ctx context.Context, st *state, l leftover) *scenario.File {
	o := st.runs[l.scenario]
	whole := s.until(l)
	atEnd := l.step == len(s.files[l.scenario].Steps)
	did := map[int]string{} // by line
	for n, step := range whole.Steps {
		did[step.Line] = o.at(n)
	}
	last := whole.Steps[len(whole.Steps)-1].Line
	return scenario.Shrink(whole, func(f *scenario.File) bool {
		if !atEnd && f.Steps[len(f.Steps)-1].Line != last {
			return false
		}
		less := play(ctx, st.v, f)
		for n, step := range f.Steps {
			if less.at(n) != did[step.Line] {
				return false
			}
		}
		return !atEnd || less.failure != ""
	})
}

// shrink takes more steps out of a scenario as long as the kernel and the model still disagree in the last one. It begins
// with what the model says that it takes, or with all steps if that does not show it; tried is false if these do not either.
func (s *search) shrink(ctx context.Context, v kernel.Version, on Player, small, whole *scenario.File) (_ *scenario.File, tried bool, _ error) {
	var failed error
	did := map[*scenario.File][]string{}
	still := func(f *scenario.File) bool {
		if failed != nil || f.Steps[len(f.Steps)-1].Line != whole.Steps[len(whole.Steps)-1].Line {
			return false
		}
		outputs, err := on(ctx, f)
		if failed = err; err != nil || len(outputs) < len(f.Steps) {
			return false
		}
		did[f] = outputs
		agrees := agree(with(f, outputs), play(ctx, v, f))
		return !agrees[len(agrees)-1]
	}
	for _, f := range []*scenario.File{small, whole} {
		if still(f) {
			least := scenario.Shrink(f, still)
			return with(least, did[least]), true, failed
		}
	}
	return small, false, failed
}

// with is a scenario with outputs.
func with(f *scenario.File, outputs []string) *scenario.File {
	recording := *f
	recording.Steps = slices.Clone(f.Steps)
	for i := range recording.Steps {
		recording.Steps[i].Output, recording.Steps[i].Recorded = outputs[i], true
	}
	return &recording
}

func agree(f *scenario.File, o outcome) []bool { return scenario.Agree(f, o.outputs) }

// text is a scenario as a file has it.
func text(f *scenario.File) string {
	var b strings.Builder
	_ = f.Format(&b) // a strings.Builder takes everything
	return b.String()
}
