package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"nlmmap/defects"
	"nlmmap/identify"
	"nlmmap/internal/workers"
	"nlmmap/kernel"
	"nlmmap/scenario"
	"nlmmap/versions"
)

// defaultScenarios is where diff looks for scenarios if it is not told.
var defaultScenarios = []string{"testdata", defects.Dir}

func diffCommand() command {
	return command{
		name:    "diff",
		summary: "show where userspace would see a difference between two kernels",
		help: `Usage: nlmmap diff [-s | -json] [-junit FILE] [--set NAME=VALUE ...] K1 K2 [FILE|DIR ...]

Runs scenarios on two models and shows every step whose output differs: - is K1, + is K2. K1 and K2 are releases or
files of composed kernels; --set changes K2. Outputs in the files do not matter. Every step says why: which named
differences ("nlmmap versions") make K1 do there what K2 does. How many steps each explains is counted at the end. Without
files all scenarios below ` + strings.Join(defaultScenarios, " and ") + ` run, those with the same name once. Exit code 0 if
there is no difference, 1 if there is one.

Examples:
  nlmmap diff 3.10.4 4.4.1 testdata/kernels/4.4.1/tx_exclusive.txt
  nlmmap diff -s 4.4.1 vendor.kernel
  nlmmap diff 4.4.1 4.4.1 --set skip-forward=off
`,
		run: runDiff,
	}
}

// A fileDiff is what differs in one scenario.
type fileDiff struct {
	File  string     `json:"file"`
	Steps int        `json:"steps"`
	Lines []diffLine `json:"differ"`
}

type diffLine struct {
	Line      int    `json:"line"`
	Directive string `json:"directive"`
	First     string `json:"first"`
	Second    string `json:"second"`
	// Why are the differences that make the first kernel do here what the second does: one, or as few as it takes.
	Why []string `json:"why,omitempty"`
}

type diffReport struct {
	First  string     `json:"first"`
	Second string     `json:"second"`
	Files  int        `json:"files"`
	Steps  int        `json:"steps"`
	Differ []fileDiff `json:"differ"`

	names []string // of all files
}

func runDiff(ctx context.Context, e env, c command, args []string) int {
	flags := c.flags()
	asJSON := flags.Bool("json", false, "print as JSON")
	junitFile := flags.String("junit", "", junitUsage)
	summary := flags.Bool("s", false, "only the names of the scenarios that differ")
	var sets settings
	flags.Var(&sets, "set", "`NAME=VALUE`: change a named difference of K2; may be repeated")
	rest, code, ok := c.parse(e, flags, args)
	if !ok {
		return code
	}
	if len(rest) < 2 {
		return e.bad("diff: expected two kernels; see \"nlmmap diff --help\"")
	}
	table := versions.All()
	first, err := e.kernel(rest[0], table)
	if err != nil {
		return e.bad("%v", err)
	}
	second, err := e.version(kernelFlag{rest[1], sets}, table)
	if err != nil {
		return e.bad("%v", err)
	}
	files, err := e.scenarios(rest[2:], table)
	if err == nil {
		err = serial(files, "diff compares outputs step by step: \"nlmmap explore\" prints the outcomes of a parallel block")
	}
	if err != nil {
		return e.bad("%v", err)
	}
	r := e.diffAll(ctx, first, second, files)
	if ctx.Err() != nil {
		fmt.Fprintln(e.stderr, "nlmmap: interrupted")
		return exitInterrupted
	}
	if *asJSON {
		err = writeJSON(e.stdout, r)
	} else {
		_, err = fmt.Fprint(e.stdout, r.text(*summary))
	}
	if err == nil {
		err = e.writeJUnit(*junitFile, r.junit())
	}
	if err != nil {
		return e.bad("%v", err)
	}
	if len(r.Differ) > 0 {
		return exitDisagree
	}
	return exitOK
}

// scenarios reads the files, and those of directories. Without any it takes all scenarios of the module, each name
// once, and no litmus files.
func (e env) scenarios(paths []string, table versions.Table) ([]*scenario.File, error) {
	once := len(paths) == 0
	if once {
		var err error
		if paths, err = ofModule(defaultScenarios...); err != nil {
			return nil, err
		}
	}
	var all []*scenario.File
	seen := map[string]bool{}
	for _, path := range paths {
		found, err := textFiles(path)
		if err != nil {
			return nil, err
		}
		if once {
			slices.Reverse(found) // the newest kernel first
		}
		for _, path := range found {
			if once && seen[filepath.Base(path)] {
				continue
			}
			seen[filepath.Base(path)] = true
			f, err := e.scenarioIn(path, table)
			if err != nil {
				return nil, err
			}
			if f != nil && !(once && f.Block != nil) {
				all = append(all, f)
			}
		}
	}
	return all, nil
}

// textFiles lists the scenarios that a path names.
func textFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%s: no such file or directory", path)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	var found []string
	err = filepath.WalkDir(path, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && filepath.Ext(path) == ".txt" {
			found = append(found, path)
		}
		return err
	})
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("%s: no scenarios (*.txt) in it", path)
	}
	return found, err
}

// scenarioIn reads a scenario, or the first one of a defect's file; nil if that has none.
func (e env) scenarioIn(path string, table versions.Table) (*scenario.File, error) {
	if path == "-" {
		return e.open(path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if !defects.IsFile(text) {
		return e.open(path)
	}
	d, err := defects.Parse(path, text, table)
	if err != nil || len(d.Runs) == 0 {
		return nil, err
	}
	return d.Runs[0].File, nil
}

// diffAll runs the scenarios on all processors; the report is in their order.
func (e env) diffAll(ctx context.Context, first, second kernel.Version, files []*scenario.File) diffReport {
	diffs := make([]fileDiff, len(files))
	recorded := make([]*scenario.File, len(files)) // of those that differ, what the second kernel does
	workers.Each(ctx, len(files), 0, func(i int) { diffs[i], recorded[i] = e.diffFile(ctx, first, second, files[i]) })
	r := diffReport{First: first.String(), Second: second.String(), Files: len(files), Differ: []fileDiff{}}
	var differ []*scenario.File
	for i, d := range diffs {
		r.names = append(r.names, d.File)
		r.Steps += d.Steps
		if len(d.Lines) > 0 {
			r.Differ = append(r.Differ, d)
			differ = append(differ, recorded[i])
		}
	}
	if causes, err := e.causes(ctx, first, second, differ); err == nil {
		r.attribute(causes)
	}
	return r
}

// attribute stores why steps differ.
func (r *diffReport) attribute(causes []identify.Cause) {
	why := map[identify.Place][]string{}
	for _, c := range causes {
		why[c.Place] = c.Differences
	}
	for _, f := range r.Differ {
		for i, l := range f.Lines {
			f.Lines[i].Why = why[identify.Place{File: f.File, Line: l.Line, Directive: l.Directive}]
		}
	}
}

// diffFile compares two kernels in one scenario. It returns the scenario with what the second does, too.
func (e env) diffFile(ctx context.Context, first, second kernel.Version, f *scenario.File) (fileDiff, *scenario.File) {
	d := fileDiff{File: f.Name, Steps: len(f.Steps)}
	a, endA := e.play(ctx, first, f)
	b, endB := e.play(ctx, second, f)
	for i, s := range f.Steps {
		if x, y := at(a, i), at(b, i); x != y {
			d.Lines = append(d.Lines, diffLine{Line: s.Line, Directive: s.Directive, First: x, Second: y})
		}
	}
	if endA != endB {
		d.Lines = append(d.Lines, diffLine{Directive: "at the end", First: endA + "\n", Second: endB + "\n"})
	}
	return d, recordingOf(f, b)
}

func (e env) play(ctx context.Context, v kernel.Version, f *scenario.File) (outputs []string, failure string) {
	return scenario.Play(ctx, func() (scenario.Target, error) {
		return e.machines.boot(config{version: v, initNet: f.InitNet(), heap: true})
	}, f)
}

// at is the output of a step, which may not have come.
func at(outputs []string, i int) string {
	if i < len(outputs) {
		return outputs[i]
	}
	return "(not run)\n"
}

func (r diffReport) text(summary bool) string {
	var b strings.Builder
	steps := 0
	for _, f := range r.Differ {
		steps += len(f.Lines)
		if summary {
			fmt.Fprintf(&b, "%s: %d of %d steps\n", f.File, len(f.Lines), f.Steps)
			continue
		}
		for _, l := range f.Lines {
			l.write(&b, f.File)
		}
	}
	for _, c := range r.counts() {
		fmt.Fprintf(&b, "%4d steps  %s\n", c.steps, c.why)
	}
	fmt.Fprintf(&b, "%s and %s: %d of %d scenarios differ, in %d of %d steps\n",
		r.First, r.Second, len(r.Differ), r.Files, steps, r.Steps)
	return b.String()
}

// A whyCount is how many steps differ for one reason.
type whyCount struct {
	why   string
	steps int
}

// counts are the reasons, those of most steps first.
func (r diffReport) counts() []whyCount {
	var list []whyCount
	for _, f := range r.Differ {
		for _, l := range f.Lines {
			if len(l.Why) == 0 {
				continue
			}
			why := strings.Join(l.Why, " with ")
			i := slices.IndexFunc(list, func(c whyCount) bool { return c.why == why })
			if i < 0 {
				i, list = len(list), append(list, whyCount{why: why})
			}
			list[i].steps++
		}
	}
	slices.SortStableFunc(list, func(a, b whyCount) int { return b.steps - a.steps })
	return list
}

// write shows a step in which the kernels differ.
func (l diffLine) write(b *strings.Builder, file string) {
	fmt.Fprintf(b, "%s:%d:\n%s", file, l.Line, indented(l.step().String()))
	if len(l.Why) > 0 {
		b.WriteString(indented(because(l.Why)))
	}
	b.WriteByte('\n')
}

func (l diffLine) step() *scenario.Disagreement {
	return &scenario.Disagreement{Line: l.Line, Directive: l.Directive, Expected: l.First, Got: l.Second}
}

func indented(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("    " + line)
	}
	return b.String()
}
