package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"nlmmap/explore"
	"nlmmap/internal/workers"
	"nlmmap/kernel"
	"nlmmap/kernel/memmodel"
	"nlmmap/litmus"
	"nlmmap/scenario"
)

// isFile reports whether the argument of explore names a litmus file and not a program.
func isFile(name string) bool {
	if _, ok := explore.Lookup(name); ok {
		return false
	}
	info, err := os.Stat(name)
	return err == nil && !info.IsDir() || filepath.Ext(name) == ".txt" || strings.ContainsRune(name, filepath.Separator) || name == "-"
}

// serial refuses litmus files where the steps of a scenario are needed one after the other.
func serial(files []*scenario.File, why string) error {
	for _, f := range files {
		if f.Block != nil {
			return &scenario.Error{File: f.Name, Line: f.Block.Line, Msg: why}
		}
	}
	return nil
}

// unrecordable is why record and verify --live refuse litmus files.
const unrecordable = "a parallel block has no output but a set of outcomes: --runs N runs its threads at once, N times"

// litmusProgram reads a litmus file.
func (e env) litmusProgram(path string) (explore.Program, error) {
	f, err := e.open(path)
	if err != nil {
		return explore.Program{}, err
	}
	if f.Block == nil {
		return explore.Program{}, fmt.Errorf("%s has no parallel block: \"nlmmap run\" runs it", path)
	}
	return litmus.Program(f), nil
}

// outcomes searches a litmus file and prints the set.
func (e env) outcomes(ctx context.Context, p explore.Program, o explore.Options, asJSON bool) int {
	stop := e.searchProgress(&o)
	set := explore.Outcomes(ctx, p, o)
	stop()
	if set.Err != nil {
		return e.bad("%v", set.Err)
	}
	schedules := set.Runs - set.Pruned
	if asJSON {
		err := writeJSON(e.stdout, struct {
			File      string           `json:"file"`
			Kernel    string           `json:"kernel"`
			Memory    string           `json:"memory"`
			Scheduler string           `json:"scheduler"`
			Complete  bool             `json:"complete"`
			Schedules int              `json:"schedules"`
			Outcomes  []litmus.Outcome `json:"outcomes"`
		}{p.Name, o.Version.String(), o.Memory.String(), o.Scheduler, set.Exhausted, schedules, litmus.Outcomes(set)})
		if err != nil {
			return e.bad("%v", err)
		}
	} else {
		how := "not all schedules, the budget was used up"
		switch {
		case set.Exhausted:
			how = "all schedules that can differ"
		case set.LeftOut != "":
			how = "not all schedules: " + set.LeftOut
		case o.Scheduler != "dfs" && o.Scheduler != "all":
			how = "those that " + o.Scheduler + " drew, which need not be all"
		}
		fmt.Fprintf(e.stdout, "%s on %v, memory %v: outcomes %d, schedules %d, steps %d, %v: %s\n", p.Name, o.Version, o.Memory,
			len(set.Outcomes), schedules, set.Steps, set.Elapsed.Round(time.Millisecond), how)
		if ctx.Err() != nil {
			fmt.Fprintln(e.stdout, "interrupted: the figures are of what was covered until then")
		}
		for _, out := range litmus.Outcomes(set) {
			fmt.Fprintf(e.stdout, "%8d  %s\n%10s--replay %q\n", out.Schedules, out.Text, "", out.Replay)
		}
	}
	switch {
	case len(set.Violations) > 0:
		return exitDisagree
	case ctx.Err() != nil:
		return exitInterrupted
	}
	return exitOK
}

// replayOutcome runs a litmus file once and prints every step.
func (e env) replayOutcome(p explore.Program, o explore.Options, text string) int {
	switches, err := switchesOf(text)
	if err != nil {
		return e.bad("%v", err)
	}
	if err := explore.PrintOutcome(e.stdout, p, o, switches); err != nil {
		return e.bad("%v", err)
	}
	return exitOK
}

// sectionJobs returns a job for each section of a litmus file.
func (p planner) sectionJobs(f *scenario.File) ([]job, error) {
	if len(f.Outcomes) == 0 {
		return nil, &scenario.Error{File: f.Name, Line: f.Block.Line,
			Msg: "no outcomes to compare with: expected sections after the last step, which -rewrite makes"}
	}
	var jobs []job
	for i := range f.Outcomes {
		s := &f.Outcomes[i]
		if p.given != nil && s.Kernel != p.given.Release.String() {
			continue
		}
		memory, err := memmodel.ParseModel(s.Memory)
		if err != nil {
			return nil, err
		}
		j := p.job(s.Kernel, f.Name)
		j.file, j.section, j.memory = f, s, memory
		jobs = append(jobs, j)
	}
	return jobs, nil
}

// verifySection returns nothing for a section that could not be searched, or if that was interrupted.
func verifySection(ctx context.Context, j job) *litmus.Result {
	if !j.built {
		return nil
	}
	r := litmus.Check(ctx, j.file, *j.section, explore.Options{Version: j.kernel, Memory: j.memory})
	if ctx.Err() != nil && !r.OK() {
		return nil
	}
	return &r
}

// addSection adds a result to those of its kernel and memory model.
func (r *report) addSection(j job, result *litmus.Result) {
	memory := j.memory.String()
	if n := len(r.Litmus); n == 0 || r.Litmus[n-1].Version != j.version || r.Litmus[n-1].Memory != memory {
		r.Litmus = append(r.Litmus, litmusReport{Version: j.version, Memory: memory, Built: j.built, Failures: []litmus.Result{}})
	}
	v := &r.Litmus[len(r.Litmus)-1]
	v.all = append(v.all, verified[litmus.Result]{fmt.Sprintf("%s:%d", j.path, j.section.Line), result})
	v.add(result)
}

// litmusReport is what verify found of all sections for one kernel and memory model.
type litmusReport struct {
	Version  string          `json:"version"`
	Memory   string          `json:"memory"`
	Built    bool            `json:"built"`
	Sets     tally           `json:"sets"`
	NotRun   int             `json:"not_run"`
	Failures []litmus.Result `json:"failures"`

	all []verified[litmus.Result]
}

func (v *litmusReport) add(r *litmus.Result) {
	switch {
	case r == nil:
		v.NotRun++
		return
	case r.OK():
		v.Sets.Agreed++
	default:
		v.Failures = append(v.Failures, *r)
	}
	v.Sets.Total++
}

func (v litmusReport) write(b *strings.Builder) {
	if !v.Built {
		fmt.Fprintf(b, "%s %s  the model has no such version: %d sets not searched\n", v.Version, v.Memory, v.NotRun)
		return
	}
	fmt.Fprintf(b, "%s %s  %d/%d sets of outcomes", v.Version, v.Memory, v.Sets.Agreed, v.Sets.Total)
	if v.NotRun > 0 {
		fmt.Fprintf(b, "  (%d not searched)", v.NotRun)
	}
	b.WriteByte('\n')
}

// writeSetFailure shows what a set lacks and what it has too much, with what replays that.
func writeSetFailure(b *strings.Builder, v litmusReport, r *litmus.Result) {
	fmt.Fprintf(b, "%s:%d: outcomes %s %s", r.File, r.Line, v.Version, v.Memory)
	if r.Failure != "" {
		fmt.Fprintf(b, ": %s\n\n", r.Failure)
		return
	}
	b.WriteString(" (- expected and cannot be, + can be and is not expected)\n")
	if d := r.First; d != nil {
		fmt.Fprintf(b, "    line %d is not as recorded:\n", d.Line)
		for line := range strings.Lines(d.String()) {
			b.WriteString("    " + line)
		}
	}
	for _, line := range r.Missing {
		fmt.Fprintf(b, "    - %s\n", line)
	}
	for _, out := range r.Extra {
		fmt.Fprintf(b, "    + %s\n      --replay %q\n", out.Text, out.Replay)
	}
	b.WriteByte('\n')
}

// rewrite searches the sections of litmus files and writes what was found into them. A file without sections gets one
// for each release, under each memory model that it depends on.
func (e env) rewrite(ctx context.Context, k kernelFlag, paths []string) int {
	p, err := e.newPlan(k)
	if err != nil {
		return e.bad("%v", err)
	}
	if len(paths) == 0 {
		return e.bad("verify -rewrite: expected litmus files; see \"nlmmap verify --help\"")
	}
	var names []string
	for _, path := range paths {
		found, err := textFiles(path)
		if err != nil {
			return e.bad("%v", err)
		}
		names = append(names, found...)
	}
	errs := make([]error, len(names))
	workers.Each(ctx, len(names), 0, func(i int) { errs[i] = e.rewriteFile(ctx, p, names[i]) })
	if err := errors.Join(append(errs, ctx.Err())...); err != nil {
		return e.bad("%v", err)
	}
	return exitOK
}

func (e env) rewriteFile(ctx context.Context, p planner, path string) error {
	f, err := e.open(path)
	if err != nil {
		return err
	}
	if f.Block == nil {
		return fmt.Errorf("%s has no parallel block: -rewrite fills in outcomes, \"nlmmap record\" makes recordings", path)
	}
	if len(f.Outcomes) == 0 {
		for _, r := range kernel.Releases() {
			for _, m := range litmus.Models(f) {
				f.Outcomes = append(f.Outcomes, scenario.Outcomes{Kernel: r.String(), Memory: m.String()})
			}
		}
	}
	jobs, err := p.sectionJobs(f)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		if !j.built {
			return fmt.Errorf("%s: outcomes %s %s: the model has no such version", path, j.section.Kernel, j.section.Memory)
		}
		set, err := litmus.Fill(ctx, f, explore.Options{Version: j.kernel, Memory: j.memory})
		if err != nil {
			return fmt.Errorf("%s: outcomes %s %s: %w", path, j.section.Kernel, j.section.Memory, err)
		}
		j.section.Set, j.section.Recorded = set, true
	}
	var text strings.Builder
	if err := f.Format(&text); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text.String()), 0o666)
}
