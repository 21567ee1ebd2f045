package main

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"nlmmap/kernel"
	"nlmmap/scenario"
	"nlmmap/scenario/boot"
	"nlmmap/versions"
)

// A randomReport is what comparing a real kernel with its model on random scenarios gave.
type randomReport struct {
	Kernel    string `json:"kernel"`
	Seed      uint64 `json:"seed"`
	Scenarios tally  `json:"scenarios"` // that agree to the last step, of those that ran
	Steps     tally  `json:"steps"`
	// Unsteady are scenarios that disagreed and did something else when they ran again on the real kernel. They count as
	// none.
	Unsteady      []string       `json:"unsteady"`
	Disagreements []disagreement `json:"disagreements"`
	Interrupted   bool           `json:"interrupted"`
}

// A disagreement is what one or more scenarios first disagree in.
type disagreement struct {
	Scenarios []string              `json:"scenarios"`
	Shortest  string                `json:"shortest"` // the first of them, with as few steps as possible and the model's outputs
	Step      scenario.Disagreement `json:"step"`     // the last of those steps: expected is what the model does
	Failure   string                `json:"failure,omitempty"`
}

// A comparison compares a real kernel with a model.
type comparison struct {
	env
	model kernel.Version
	play  player // on the real kernel
}

// run runs a scenario on both, and returns what the real kernel did.
func (c comparison) run(ctx context.Context, f *scenario.File) (boot.Run, scenario.Result, error) {
	said := c.listen(ctx, c.model, f)
	run, err := c.play(ctx, boot.Scenario{File: f, InitNet: f.InitNet(), Damages: said.damage})
	if err != nil {
		return run, scenario.Result{}, err
	}
	return run, said.compare(f, run), nil
}

// steady reports whether the real kernel does the same when it runs a scenario again.
func (c comparison) steady(ctx context.Context, f *scenario.File, run boot.Run) (bool, error) {
	s := boot.Scenario{File: f, InitNet: f.InitNet(), Damages: c.listen(ctx, c.model, f).damage}
	again, err := c.play(ctx, s)
	return slices.Equal(run.Outputs, again.Outputs), err
}

// shrink returns the shortest scenario that it finds that disagrees in the same directive as f, and how it does.
func (c comparison) shrink(ctx context.Context, f *scenario.File, first scenario.Result) (*scenario.File, scenario.Result, error) {
	if first.First == nil { // something failed that is no step's output
		return f, first, nil
	}
	last := slices.IndexFunc(f.Steps, func(s scenario.Step) bool { return s.Line == first.First.Line })
	short := *f
	short.Steps, short.Trailer = f.Steps[:last+1:last+1], nil
	var failed error
	small := scenario.Shrink(&short, func(f *scenario.File) bool {
		s := f.Steps[len(f.Steps)-1]
		if failed != nil || s.Line != first.First.Line {
			return false
		}
		_, r, err := c.run(ctx, f)
		if err != nil {
			failed = err
		}
		if err != nil || r.First == nil || r.First.Line != s.Line {
			return false
		}
		first = r
		return true
	})
	return small, first, failed
}

// verifyRandom compares a real kernel with its model on random scenarios that have so many steps together.
func (e env) verifyRandom(ctx context.Context, k kernelFlag, image imageFlags, seed uint64, steps int) (randomReport, error) {
	report := randomReport{Seed: seed, Unsteady: []string{}, Disagreements: []disagreement{}}
	files, err := randomScenarios(seed, steps)
	if err != nil {
		return report, err
	}
	b, err := e.bench(ctx, image, nil, false)
	if err != nil {
		report.Interrupted = ctx.Err() != nil
		return report, err
	}
	defer b.close()
	release := baseVersion(b.kernel().Release)
	if k.name == "" {
		k.name = nearestRelease(release)
	}
	v, err := e.version(k, versions.All())
	if err != nil {
		return report, err
	}
	report.Kernel = fmt.Sprintf("%s (%s) as %s", release, b.name(), v)
	which := e.recordable(b.kernel(), files)
	compare := func(p player) comparison { return comparison{e, v, p} }
	results, unsteady, err := e.runRandom(ctx, b, files, which, compare)
	if err == nil || ctx.Err() != nil {
		report.count(files, results, unsteady)
		report.Disagreements, err = e.shortest(ctx, b, files, results, compare)
	}
	report.Interrupted = ctx.Err() != nil
	if report.Interrupted {
		err = nil
	}
	return report, err
}

// runRandom runs the scenarios. One that disagrees runs again: it is unsteady if the real kernel then does something else.
func (e env) runRandom(ctx context.Context, b bench, files []*scenario.File, which []int, compare func(player) comparison) (results []*scenario.Result, unsteady []bool, err error) {
	results, unsteady = make([]*scenario.Result, len(files)), make([]bool, len(files))
	done := new(atomic.Int64)
	stopProgress := e.showProgress(done, len(which), "scenarios")
	defer stopProgress()
	err = b.each(ctx, len(which), func(ctx context.Context, p player, n int) error {
		i := which[n]
		c := compare(p)
		run, result, err := c.run(ctx, files[i])
		if err == nil && !result.OK() {
			var steady bool
			steady, err = c.steady(ctx, files[i], run)
			unsteady[i] = !steady
		}
		if err != nil {
			return err
		}
		results[i] = &result
		done.Add(1)
		return nil
	})
	return results, unsteady, err
}

// count fills in the shares.
func (r *randomReport) count(files []*scenario.File, results []*scenario.Result, unsteady []bool) {
	for i, one := range results {
		switch {
		case one == nil:
			continue
		case unsteady[i]:
			r.Unsteady = append(r.Unsteady, files[i].Name)
			results[i] = nil
			continue
		case one.OK():
			r.Scenarios.Agreed++
		}
		r.Scenarios.Total++
		r.Steps.Total += one.Steps
		r.Steps.Agreed += one.Agreed
	}
}

// shortest sorts the disagreements by what they look like, and finds the fewest steps that show one of each kind.
func (e env) shortest(ctx context.Context, b bench, files []*scenario.File, results []*scenario.Result, compare func(player) comparison) ([]disagreement, error) {
	var firsts []int // the first scenario of each kind
	kinds := map[string][]string{}
	for i, one := range results {
		if one == nil || one.OK() {
			continue
		}
		kind := kindOf(one)
		if kinds[kind] == nil {
			firsts = append(firsts, i)
		}
		kinds[kind] = append(kinds[kind], files[i].Name)
	}
	list := make([]disagreement, len(firsts))
	for n, i := range firsts { // what is told if there is no time for more
		list[n] = newDisagreement(files[i], *results[i], nil)
	}
	var mu sync.Mutex
	done := new(atomic.Int64)
	stopProgress := e.showProgress(done, len(firsts), "disagreements minimised")
	defer stopProgress()
	err := b.each(ctx, len(firsts), func(ctx context.Context, p player, n int) error {
		c := compare(p)
		small, result, err := c.shrink(ctx, files[firsts[n]], *results[firsts[n]])
		if err != nil {
			return err
		}
		outputs, _ := e.play(ctx, c.model, small)
		mu.Lock()
		defer mu.Unlock()
		list[n] = newDisagreement(small, result, outputs)
		done.Add(1)
		return nil
	})
	for n, i := range firsts {
		list[n].Scenarios = kinds[kindOf(results[i])]
	}
	return fold(list), err
}

func newDisagreement(f *scenario.File, r scenario.Result, outputs []string) disagreement {
	d := disagreement{Failure: r.Failure}
	if r.First != nil {
		d.Step = *r.First
	}
	recording := *f
	if outputs != nil {
		recording = *recordingOf(f, outputs)
	}
	var text strings.Builder
	_ = recording.Format(&text) // to memory
	d.Shortest = text.String()
	return d
}

// fold makes one of disagreements that came down to the same steps. Those of most scenarios come first.
func fold(list []disagreement) []disagreement {
	folded := []disagreement{}
	for _, d := range list {
		same := slices.IndexFunc(folded, func(o disagreement) bool { return alike(o.Shortest) == alike(d.Shortest) })
		if same < 0 {
			folded = append(folded, d)
			continue
		}
		folded[same].Scenarios = append(folded[same].Scenarios, d.Scenarios...)
	}
	slices.SortStableFunc(folded, func(a, b disagreement) int { return len(b.Scenarios) - len(a.Scenarios) })
	return folded
}

var (
	numbers  = regexp.MustCompile(`[0-9]+`)
	comments = regexp.MustCompile(`(?m)^#.*\n`)
)

// alike is a text with nothing that differs by chance only.
func alike(text string) string {
	return numbers.ReplaceAllString(comments.ReplaceAllString(text, ""), "")
}

// kindOf is what a disagreement looks like: the directive, and the lines that differ.
func kindOf(r *scenario.Result) string {
	if r.First == nil {
		return r.Failure
	}
	kind, _, _ := strings.Cut(r.First.Directive, " ")
	for line := range strings.Lines(r.First.String()) {
		if line[0] == '+' || line[0] == '-' {
			kind += alike(line)
		}
	}
	return kind
}

func (r randomReport) exitCode() int {
	switch {
	case len(r.Disagreements) > 0:
		return exitDisagree
	case r.Interrupted:
		return exitInterrupted
	}
	return exitOK
}

func (r randomReport) write(w io.Writer) error {
	var b strings.Builder
	for _, d := range r.Disagreements {
		const some = 5
		names := d.Scenarios[:min(some, len(d.Scenarios))]
		fmt.Fprintf(&b, "%d scenarios: %s", len(d.Scenarios), strings.Join(names, " "))
		if len(names) < len(d.Scenarios) {
			b.WriteString(" ...")
		}
		fmt.Fprintf(&b, "\n%s", indented(d.Shortest))
		if d.Step.Directive != "" {
			fmt.Fprintf(&b, "  in its last step (- the model, + the kernel):\n%s", indented(d.Step.String()))
		}
		if d.Failure != "" {
			fmt.Fprintf(&b, "  %s\n", strings.TrimSuffix(d.Failure, "\n"))
		}
		b.WriteByte('\n')
	}
	if len(r.Unsteady) > 0 {
		fmt.Fprintf(&b, "did something else when they ran again, and do not count: %s\n", strings.Join(r.Unsteady, " "))
	}
	fmt.Fprintf(&b, "%s  seed %d  %d/%d scenarios right to the last step (%s)  %d/%d steps (%s)\n", r.Kernel, r.Seed,
		r.Scenarios.Agreed, r.Scenarios.Total, r.Scenarios.share(), r.Steps.Agreed, r.Steps.Total, r.Steps.share())
	if r.Interrupted {
		b.WriteString("interrupted\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// share is the part that agrees, in percent.
func (t tally) share() string {
	if t.Total == 0 {
		return "none ran"
	}
	return fmt.Sprintf("%.2f %%", 100*float64(t.Agreed)/float64(t.Total))
}
