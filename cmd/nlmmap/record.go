package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"nlmmap/kernel"
	"nlmmap/scenario"
	"nlmmap/versions"
)

func recordCommand() command {
	return command{
		name:    "record",
		summary: "run scenarios on the kernel nlmmap itself runs on",
		help: `Usage: nlmmap record [-o DIR] [-init-net] [-times N] FILE|DIR ...

Runs scenarios through real system calls, as root, and prints them with what the kernel did. Outputs in the files do
not matter. With -o each is stored as DIR/VERSION/NAME.txt, where VERSION is the number that uname -r begins with, so
that "nlmmap verify DIR" can compare the model with it. Every scenario runs twice: if the two runs differ, that is
shown, the exit code is 1, and what is stored is the first one. Several recordings are printed with a line
"-- NAME.txt --" before each.

Each runs in a fresh network namespace; in that of nlmmap if it begins with "# namespace: initial", and with -init-net.
On a kernel without mmap'ed netlink only scenarios without rings are recorded. docs/recording.md tells how to record in
a virtual machine whose only program is nlmmap.

Examples:
  nlmmap record my.txt
  nlmmap record -o recordings testdata/kernels/4.4.1
`,
		run: runRecord,
	}
}

func runRecord(ctx context.Context, e env, c command, args []string) int {
	flags := c.flags()
	dir := flags.String("o", "", "store the recordings below this `DIR`")
	initNet := flags.Bool("init-net", false, "run in the network namespace of nlmmap instead of fresh ones")
	times := flags.Int("times", 2, "how often to run each scenario")
	paths, code, ok := c.parse(e, flags, args)
	if !ok {
		return code
	}
	if len(paths) == 0 || *times < 1 {
		return e.bad("record: expected scenarios, and -times of at least 1; see \"nlmmap record --help\"")
	}
	files, err := e.scenarios(paths, versions.All())
	if err == nil {
		err = serial(files, unrecordable)
	}
	if err != nil {
		return e.bad("%v", err)
	}
	files = e.recordable(files)
	if len(files) == 0 {
		return e.bad("record: no scenario left that this kernel can run")
	}
	r := recorder{env: e, initNet: *initNet, times: *times, headings: len(files) > 1}
	if *dir != "" {
		r.dir = filepath.Join(*dir, baseVersion(e.machines.live.version()))
		if err := os.MkdirAll(r.dir, 0o777); err != nil {
			return e.bad("%v", err)
		}
	}
	code = exitOK
	for i, f := range files {
		if ctx.Err() != nil {
			fmt.Fprintf(e.stderr, "nlmmap: interrupted: %d of %d scenarios recorded\n", i, len(files))
			return exitDisagree
		}
		if err := r.record(ctx, f); err != nil {
			fmt.Fprintf(e.stderr, "nlmmap: %s: %v\n", f.Name, err)
			code = exitDisagree
		}
	}
	return code
}

// recordable leaves the scenarios out that need rings if the kernel has none, and says so.
func (e env) recordable(files []*scenario.File) []*scenario.File {
	rings, why := e.machines.live.supported()
	if rings {
		return files
	}
	fmt.Fprintf(e.stderr, "nlmmap: %s\n", why)
	var left []*scenario.File
	for _, f := range files {
		if !usesRings(f) {
			left = append(left, f)
		}
	}
	if n := len(files) - len(left); n > 0 {
		fmt.Fprintf(e.stderr, "nlmmap: %d of %d scenarios use rings and are left out\n", n, len(files))
	}
	return left
}

func usesRings(f *scenario.File) bool {
	for _, s := range f.Steps {
		if strings.HasPrefix(s.Directive, "ring ") {
			return true
		}
	}
	return false
}

// A recorder runs scenarios on the live kernel.
type recorder struct {
	env
	dir      string // where to store them, or empty
	headings bool   // print a line with the name before each
	initNet  bool
	times    int
}

// record runs one scenario, prints it and stores it. The error tells of runs that differ.
func (r recorder) record(ctx context.Context, f *scenario.File) error {
	first, err := r.run(ctx, f)
	if err != nil {
		return err
	}
	recording := *f
	recording.Steps = append([]scenario.Step(nil), f.Steps...)
	for i := range recording.Steps {
		recording.Steps[i].Output, recording.Steps[i].Recorded = first[i], true
	}
	var text strings.Builder
	if err := recording.Format(&text); err != nil {
		return err
	}
	if r.headings {
		fmt.Fprintf(r.stdout, "-- %s --\n", filepath.Base(f.Name))
	}
	if _, err := fmt.Fprint(r.stdout, text.String()); err != nil {
		return err
	}
	if r.dir != "" {
		if err := os.WriteFile(filepath.Join(r.dir, filepath.Base(f.Name)), []byte(text.String()), 0o666); err != nil {
			return err
		}
	}
	return r.again(ctx, &recording)
}

// again runs a recording further times and compares.
func (r recorder) again(ctx context.Context, recording *scenario.File) error {
	for n := 2; n <= r.times; n++ {
		result := scenario.Verify(ctx, func() (scenario.Target, error) { return r.boot(recording) }, recording)
		if result.Failure != "" {
			return errors.New(result.Failure)
		}
		if d := result.First; d != nil {
			return fmt.Errorf("run %d differs from the first one at line %d:\n%s", n, d.Line, indented(d.String()))
		}
	}
	return nil
}

func (r recorder) boot(f *scenario.File) (scenario.Target, error) {
	return r.machines.live.boot(r.initNet || f.InitNet())
}

func (r recorder) run(ctx context.Context, f *scenario.File) ([]string, error) {
	outputs, failure := scenario.Play(ctx, func() (scenario.Target, error) { return r.boot(f) }, f)
	if failure != "" {
		return nil, errors.New(failure)
	}
	return outputs, nil
}

// baseVersion is the number that a kernel's name begins with: 4.4.1 of 4.4.1-generic.
func baseVersion(name string) string {
	end := strings.IndexFunc(name, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end < 0 {
		end = len(name)
	}
	return strings.TrimRight(name[:end], ".")
}

// verifyLive compares the live kernel with a model, step by step.
func (e env) verifyLive(ctx context.Context, k kernelFlag, paths []string) (report, error) {
	if len(paths) == 0 {
		return report{}, errors.New("verify --live: expected scenarios; see \"nlmmap verify --help\"")
	}
	table := versions.All()
	if k.name == "" {
		k.name = e.nearestRelease()
	}
	v, err := k.version(table)
	if err != nil {
		return report{}, err
	}
	files, err := e.scenarios(paths, table)
	if err == nil {
		err = serial(files, unrecordable)
	}
	if err != nil {
		return report{}, err
	}
	runnable := e.recordable(files)
	r := recorder{env: e}
	name := fmt.Sprintf("%s (live) as %s", baseVersion(e.machines.live.version()), v)
	result := versionReport{Version: name, Built: true, NotRun: len(files) - len(runnable), Failures: []scenario.Result{}}
	for _, f := range runnable {
		if ctx.Err() != nil {
			return report{Versions: []versionReport{result}, Interrupted: true}, nil
		}
		one := r.compare(ctx, v, f)
		result.add(&one)
	}
	return report{Versions: []versionReport{result}}, nil
}

// nearestRelease is the modelled release that the live kernel is, if it is one.
func (e env) nearestRelease() string {
	if v, err := kernel.ParseVersion(baseVersion(e.machines.live.version())); err == nil {
		return v.String()
	}
	return versions.Default.String()
}

// compare runs a scenario on the model and then, as if that were a recording, on the live kernel.
func (r recorder) compare(ctx context.Context, v kernel.Version, f *scenario.File) scenario.Result {
	outputs, failure := r.play(ctx, v, f)
	if failure != "" {
		return scenario.Result{Name: f.Name, Steps: len(f.Steps), Failure: "on the model: " + failure}
	}
	expected := *f
	expected.Steps = append([]scenario.Step(nil), f.Steps...)
	for i := range expected.Steps {
		expected.Steps[i].Output, expected.Steps[i].Recorded = outputs[i], true
	}
	return scenario.Verify(ctx, func() (scenario.Target, error) { return r.boot(f) }, &expected)
}
