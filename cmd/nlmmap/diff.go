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
		help: `Usage: nlmmap diff [-s | -json] [--set NAME=VALUE ...] K1 K2 [FILE|DIR ...]

Runs scenarios on two models and shows every step whose output differs: - is K1, + is K2. K1 and K2 are releases or
files of composed kernels; --set changes K2. Outputs in the files do not matter. Without files all scenarios below
` + strings.Join(defaultScenarios, " and ") + ` run, those with the same name once. Exit code 0 if there is no difference,
1 if there is one.

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
}

type diffReport struct {
	First  string     `json:"first"`
	Second string     `json:"second"`
	Files  int        `json:"files"`
	Steps  int        `json:"steps"`
	Differ []fileDiff `json:"differ"`
}

func runDiff(ctx context.Context, e env, c command, args []string) int {
	flags := c.flags()
	asJSON := flags.Bool("json", false, "print as JSON")
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
		return exitDisagree
	}
	if *asJSON {
		err = writeJSON(e.stdout, r)
	} else {
		_, err = fmt.Fprint(e.stdout, r.text(*summary))
	}
	if err != nil {
		return e.bad("%v", err)
	}
	if len(r.Differ) > 0 {
		return exitDisagree
	}
	return exitOK
}

// scenarios reads the files, and those of directories. Without any it takes all scenarios of the module, each name once.
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
			if f != nil {
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
	workers.Each(ctx, len(files), 0, func(i int) { diffs[i] = e.diffFile(ctx, first, second, files[i]) })
	r := diffReport{First: first.String(), Second: second.String(), Files: len(files), Differ: []fileDiff{}}
	for _, d := range diffs {
		r.Steps += d.Steps
		if len(d.Lines) > 0 {
			r.Differ = append(r.Differ, d)
		}
	}
	return r
}

func (e env) diffFile(ctx context.Context, first, second kernel.Version, f *scenario.File) fileDiff {
	d := fileDiff{File: f.Name, Steps: len(f.Steps)}
	a, endA := e.play(ctx, first, f)
	b, endB := e.play(ctx, second, f)
	for i, s := range f.Steps {
		if x, y := at(a, i), at(b, i); x != y {
			d.Lines = append(d.Lines, diffLine{s.Line, s.Directive, x, y})
		}
	}
	if endA != endB {
		d.Lines = append(d.Lines, diffLine{0, "at the end", endA + "\n", endB + "\n"})
	}
	return d
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
			fmt.Fprintf(&b, "%s:%d:\n%s\n", f.File, l.Line, indented(l.step().String()))
		}
	}
	fmt.Fprintf(&b, "%s and %s: %d of %d scenarios differ, in %d of %d steps\n",
		r.First, r.Second, len(r.Differ), r.Files, steps, r.Steps)
	return b.String()
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
