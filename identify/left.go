package identify

import (
	"context"
	"slices"
	"strings"

	"nlmmap/scenario"
)

// A Kernel plays scenarios on the kernel that is identified, and returns the outputs of each.
type Kernel func(ctx context.Context, files []*scenario.File) ([][]string, error)

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
			d := s.step(st.runs[p.scenario], p.scenario, p.step)
			l.also = append(l.also, Place{s.files[p.scenario].Name, d.Line, d.Directive})
		}
		list = append(list, l)
	}
	return list
}

// describe makes leftovers into what is reported. Each is cut down to the steps that it takes.
func (s *search) describe(ctx context.Context, st *state, run Kernel) ([]Left, error) {
	list := s.leftovers(st)
	cuts := make([]*cut, len(list))
	for n, l := range list {
		s.tell("the fewest steps that show what is left")
		cuts[n] = s.slice(ctx, st, l)
	}
	if run != nil {
		if err := s.shrink(ctx, st, cuts, run); err != nil {
			return nil, err
		}
	}
	var left []Left
	for n, l := range list {
		o := st.runs[l.scenario]
		d := s.step(o, l.scenario, l.step)
		left = append(left, Left{Place: Place{s.files[l.scenario].Name, d.Line, d.Directive}, Expected: d.Expected,
			Got: d.Got, Also: l.also, Steps: len(cuts[n].file.Steps), Scenario: text(cuts[n].file), Tried: cuts[n].tried})
	}
	return left, nil
}

// A cut is a scenario of which steps were taken out. Its last step is the one that disagrees.
type cut struct {
	file  *scenario.File
	whole *scenario.File // before steps were taken out that the model does not need
	tried bool           // on the kernel itself

	variants []*scenario.File // to try
	shown    []*scenario.File // the same, with what the kernel did, nil where the last step agrees
}

// part is a scenario with some of a file's steps. What stands in front of the first one stays there.
func part(f *scenario.File, keep func(n int) bool) *scenario.File {
	p := &scenario.File{Name: f.Name}
	for n, step := range f.Steps {
		if keep(n) {
			p.Steps = append(p.Steps, step)
		}
	}
	if len(p.Steps) > 0 && len(f.Steps) > 0 {
		p.Steps[0].Before = f.Steps[0].Before
	}
	return p
}

// slice takes steps out of a scenario without which the model does the same in all that are left: what is recorded of these
// stands as it is.
func (s *search) slice(ctx context.Context, st *state, l leftover) *cut {
	o := st.runs[l.scenario]
	f := part(s.files[l.scenario], func(n int) bool { return n <= l.step })
	whole, atEnd := f, l.step == len(f.Steps)
	want := slices.Clone(o.outputs[:min(len(f.Steps), len(o.outputs))])
	for n := min(l.step, len(f.Steps)) - 1; n >= 0 && ctx.Err() == nil; n-- {
		less := part(f, func(at int) bool { return at != n })
		rest := slices.Delete(slices.Clone(want), min(n, len(want)), min(n+1, len(want)))
		if less.CheckNames() != nil {
			continue
		}
		if does := play(ctx, st.v, less); slices.Equal(does.outputs, rest) && (!atEnd || does.failure == o.failure) {
			f, want = less, rest
		}
	}
	return &cut{file: f, whole: whole}
}

// shrink takes more steps out as long as the kernel and the model still do not agree in the last one: first one by one, to
// learn which can go, then as many of these as can go together. All cuts are tried at once, since a kernel takes long to boot.
func (s *search) shrink(ctx context.Context, st *state, cuts []*cut, run Kernel) error {
	t := trier{s, st, run}
	for _, c := range cuts {
		c.variants = []*scenario.File{c.file, c.whole}
	}
	if err := t.show(ctx, cuts); err != nil {
		return err
	}
	var open []*cut
	for _, c := range cuts {
		if c.take() {
			c.tried = true
			open = append(open, c)
		}
	}
	for len(open) > 0 && ctx.Err() == nil {
		for _, c := range open {
			c.singles()
		}
		if err := t.show(ctx, open); err != nil {
			return err
		}
		open = slices.DeleteFunc(open, func(c *cut) bool { return !c.combine() })
		if err := t.show(ctx, open); err != nil {
			return err
		}
		for _, c := range open {
			c.take()
		}
	}
	return nil
}

// singles are the variants that lack one step.
func (c *cut) singles() {
	c.variants = nil
	for n := range len(c.file.Steps) - 1 {
		c.variants = append(c.variants, part(c.file, func(at int) bool { return at != n }))
	}
}

// combine makes variants that lack several of the steps that can go one by one, those first that lack most. It reports
// whether there are any.
func (c *cut) combine() bool {
	var can []int
	for n, f := range c.shown {
		if f != nil {
			can = append(can, n)
		}
	}
	c.variants = nil
	for n := range can {
		c.variants = append(c.variants, part(c.file, func(at int) bool { return !slices.Contains(can[n:], at) }))
	}
	return len(can) > 0
}

// take makes the cut its first variant that shows the disagreement, if there is one.
func (c *cut) take() bool {
	n := slices.IndexFunc(c.shown, func(f *scenario.File) bool { return f != nil })
	if n >= 0 {
		c.file = c.shown[n]
	}
	return n >= 0
}

// A trier compares the kernel itself with a model of it.
type trier struct {
	*search
	st  *state
	run Kernel
}

// show plays the variants of cuts and stores those of which the last step disagrees, with what the kernel did.
func (t trier) show(ctx context.Context, cuts []*cut) error {
	var files []*scenario.File
	for _, c := range cuts {
		for _, f := range c.variants {
			if f.CheckNames() == nil {
				files = append(files, f)
			}
		}
	}
	outputs, err := t.run(ctx, files)
	if err != nil {
		return err
	}
	for _, c := range cuts {
		c.shown = nil
		for _, f := range c.variants {
			var shown *scenario.File
			if f.CheckNames() == nil {
				shown, outputs = t.disagrees(ctx, f, outputs[0]), outputs[1:]
			}
			c.shown = append(c.shown, shown)
		}
	}
	return nil
}

// disagrees returns a scenario with the outputs of the kernel if the model has another one in the last step, or nil.
func (t trier) disagrees(ctx context.Context, f *scenario.File, outputs []string) *scenario.File {
	if len(outputs) < len(f.Steps) {
		return nil
	}
	recording := part(f, func(int) bool { return true })
	for i := range recording.Steps {
		recording.Steps[i].Output, recording.Steps[i].Recorded = outputs[i], true
	}
	agrees := agree(recording, play(ctx, t.st.v, f))
	if agrees[len(agrees)-1] {
		return nil
	}
	return recording
}

func agree(f *scenario.File, o outcome) []bool { return scenario.Agree(f, o.outputs) }

// text is a scenario as a file has it.
func text(f *scenario.File) string {
	var b strings.Builder
	_ = f.Format(&b) // a strings.Builder takes everything
	return b.String()
}
