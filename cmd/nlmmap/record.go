package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"nlmmap/guest"
	"nlmmap/kernel"
	"nlmmap/scenario"
	"nlmmap/scenario/boot"
	"nlmmap/versions"
)

func recordCommand() command {
	return command{
		name:    "record",
		summary: "run scenarios on a real kernel: an image, or the one nlmmap itself runs on",
		help: `Usage: nlmmap record [--boot IMAGE] [-o DIR] [-init-net] [-times N] FILE|DIR ...
       nlmmap record [--boot IMAGE --cpus 2] --runs N LITMUS-FILE|DIR ...

Runs scenarios through real system calls and prints them with what the kernel did: the kernel of IMAGE (a bzImage),
which is booted in QEMU, or else the one that nlmmap itself runs on, as root. Outputs in the files do not matter. With -o
each is stored as DIR/VERSION/NAME.txt, where VERSION is the number that uname -r begins with, so that "nlmmap verify DIR"
can compare the model with it; a file there that records another scenario is never replaced. Every scenario runs twice:
if the two runs differ, that is shown, the exit code is 1, and what is stored is the first one. Several recordings are
printed with a line "-- NAME.txt --" before each.

If an image crashes, hangs or restarts in a step, that is the step's output, and the other scenarios go on in a new guest.

Each scenario runs in a fresh network namespace; in the initial one if it begins with "# namespace: initial", and with
-init-net. On a kernel without mmap'ed netlink only scenarios without rings are recorded. docs/recording.md tells more.

With --runs the threads of litmus files run at once, on different processors and with random delays, and the outcomes are
printed with how often each was seen.

Examples:
  nlmmap record my.txt
  nlmmap record --boot bzImage -o recordings testdata/kernels/4.4.1
`,
		run: runRecord,
	}
}

func runRecord(ctx context.Context, e env, c command, args []string) int {
	flags := c.flags()
	dir := flags.String("o", "", "store the recordings below this `DIR`")
	initNet := flags.Bool("init-net", false, "run in the initial network namespace instead of fresh ones")
	times := flags.Int("times", 2, "how often to run each scenario")
	runs := flags.Int("runs", 0, "run the threads of litmus files at once, `N` times, and count the outcomes")
	seed := flags.Uint64("seed", 1, "of the random delays of --runs")
	var image imageFlags
	image.add(flags)
	paths, code, ok := c.parse(e, flags, args)
	if !ok {
		return code
	}
	if *runs != 0 {
		if *dir != "" {
			return e.bad("record --runs: -o stores outputs, and a litmus file has none")
		}
		return e.runRaces(ctx, kernelFlag{}, image, paths, *runs, *seed, false, false)
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
	if err := checkFiles(files, *dir != ""); err != nil {
		return e.bad("%v", err)
	}
	b, err := e.bench(ctx, image, files, *initNet)
	if ctx.Err() != nil {
		fmt.Fprintln(e.stderr, "nlmmap: interrupted: nothing was recorded")
		return exitInterrupted
	}
	if err != nil {
		return e.bad("%v", err)
	}
	defer b.close()
	which := e.recordable(b.kernel(), files)
	if len(which) == 0 {
		return e.bad("record: no scenario left that this kernel can run")
	}
	r := recorder{env: e, files: files, headings: len(which) > 1}
	if *dir != "" {
		r.dir = filepath.Join(*dir, baseVersion(b.kernel().Release))
		if err := r.checkStored(which); err != nil {
			return e.bad("%v", err)
		}
		if err := os.MkdirAll(r.dir, 0o777); err != nil {
			return e.bad("%v", err)
		}
	}
	return r.recordAll(ctx, b, which, *times)
}

// checkFiles refuses scenarios with names that nothing makes and, if they are to be stored, those that have the same file
// name: one would replace the other.
func checkFiles(files []*scenario.File, stored bool) error {
	var errs []error
	first := map[string]string{}
	for _, f := range files {
		errs = append(errs, f.CheckNames())
		base := filepath.Base(f.Name)
		if other, twice := first[base]; stored && twice {
			errs = append(errs, fmt.Errorf("record: %s and %s would both be stored as %s: rename one, or record them one "+
				"after the other with another -o", other, f.Name, base))
		}
		first[base] = f.Name
	}
	return errors.Join(errs...)
}

// recordable returns the scenarios that a kernel can run, by number: those that need rings are left out if it has none. It
// says what the kernel lacks.
func (e env) recordable(k boot.Kernel, files []*scenario.File) []int {
	if !k.Rings {
		fmt.Fprintf(e.stderr, "nlmmap: %s\n", k.Why)
	}
	if len(k.Missing) > 0 {
		fmt.Fprintf(e.stderr, "nlmmap: %s lacks what some scenarios need, which then print an error: %s\n", k.Release,
			strings.Join(k.Missing, " "))
	}
	var which []int
	for i, f := range files {
		if k.Rings || !usesRings(f) {
			which = append(which, i)
		}
	}
	if n := len(files) - len(which); n > 0 {
		fmt.Fprintf(e.stderr, "nlmmap: %d of %d scenarios use rings and are left out\n", n, len(files))
	}
	return which
}

func usesRings(f *scenario.File) bool {
	for _, s := range f.Steps {
		if strings.HasPrefix(s.Directive, "ring ") {
			return true
		}
	}
	return false
}

// A recorder prints and stores what a real kernel did.
type recorder struct {
	env
	files    []*scenario.File
	dir      string // where to store them, or empty
	headings bool   // print a line with the name before each
}

// checkStored refuses to replace the recording of another scenario that has the same name.
func (r recorder) checkStored(which []int) error {
	var errs []error
	for _, i := range which {
		path := r.path(r.files[i])
		old, err := r.open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil || !slices.EqualFunc(old.Steps, r.files[i].Steps, sameInput) {
			errs = append(errs, fmt.Errorf("record: %s is there and is no recording of %s: remove it, or choose another -o",
				path, r.files[i].Name))
		}
	}
	return errors.Join(errs...)
}

func sameInput(a, b scenario.Step) bool {
	return a.Directive == b.Directive && slices.Equal(a.Input, b.Input)
}

func (r recorder) path(f *scenario.File) string { return filepath.Join(r.dir, filepath.Base(f.Name)) }

// recordAll runs the scenarios. What is printed is in their order, whatever comes to an end first.
func (r recorder) recordAll(ctx context.Context, b bench, which []int, times int) (code int) {
	done, printed := new(atomic.Int64), 0
	stopProgress := r.showProgress(done, len(which), "scenarios")
	ready := map[int][]boot.Run{}
	err := b.run(ctx, which, times, func(i int, runs []boot.Run) {
		ready[i] = runs
		done.Add(1)
		for printed < len(which) && ready[which[printed]] != nil {
			i := which[printed]
			if err := r.record(r.files[i], ready[i]); err != nil {
				fmt.Fprintf(r.stderr, "nlmmap: %s: %v\n", r.files[i].Name, err)
				code = exitDisagree
			}
			delete(ready, i)
			printed++
		}
	})
	stopProgress()
	switch {
	case ctx.Err() != nil:
		fmt.Fprintf(r.stderr, "nlmmap: interrupted: %d of %d scenarios recorded\n", printed, len(which))
		return exitInterrupted
	case err != nil:
		return r.bad("%v", err)
	}
	return code
}

// record prints the first run of a scenario and stores it. The error tells of runs that differ.
func (r recorder) record(f *scenario.File, runs []boot.Run) error {
	first := runs[0]
	if first.Failure != "" && first.Death == nil {
		return errors.New(first.Failure)
	}
	recording := recordingOf(f, first.Outputs)
	if first.Failure != "" {
		recording.Trailer = append(recording.Trailer, "# "+first.Failure)
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
		if err := os.WriteFile(r.path(f), []byte(text.String()), 0o666); err != nil {
			return err
		}
	}
	for n, run := range runs[1:] {
		if d := scenario.Compare(recording, run.Outputs).First; d != nil {
			return fmt.Errorf("run %d differs from the first one at line %d:\n%s", n+2, d.Line, indented(d.String()))
		}
		if run.Failure != first.Failure {
			return fmt.Errorf("run %d differs from the first one: %s", n+2, run.Failure)
		}
	}
	return nil
}

// recordingOf is the scenario with outputs.
func recordingOf(f *scenario.File, outputs []string) *scenario.File {
	recording := *f
	recording.Steps = slices.Clone(f.Steps)
	for i := range recording.Steps {
		recording.Steps[i].Output, recording.Steps[i].Recorded = at(outputs, i), true
	}
	return &recording
}

// baseVersion is the number that a kernel's name begins with: 4.4.1 of 4.4.1-generic.
func baseVersion(name string) string {
	end := strings.IndexFunc(name, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end < 0 {
		end = len(name)
	}
	return strings.TrimRight(name[:end], ".")
}

// verifyReal compares a real kernel with a model, step by step.
func (e env) verifyReal(ctx context.Context, k kernelFlag, image imageFlags, paths []string, why bool) (report, error) {
	table := versions.All()
	if len(paths) == 0 && image.path == "" {
		return report{}, errors.New("verify --live: expected scenarios; see \"nlmmap verify --help\"")
	}
	if len(paths) == 0 {
		// The recordings of the release that the image is, as far as its header tells.
		header, err := guest.OpenImage(image.path)
		if err != nil {
			return report{}, err
		}
		paths, err = ofModule(filepath.Join(defaultTree, nearestRelease(baseVersion(header.Release))))
		if err != nil {
			return report{}, err
		}
	}
	files, err := e.scenarios(paths, table)
	if err == nil {
		err = serial(files, unrecordable)
	}
	if err != nil {
		return report{}, err
	}
	if err := checkFiles(files, false); err != nil {
		return report{}, err
	}
	b, err := e.bench(ctx, image, files, false)
	if ctx.Err() != nil {
		return report{Interrupted: true}, nil
	}
	if err != nil {
		return report{}, err
	}
	defer b.close()
	release := baseVersion(b.kernel().Release)
	if k.name == "" {
		k.name = nearestRelease(release)
	}
	v, err := e.version(k, table)
	if err != nil {
		return report{}, err
	}
	which := e.recordable(b.kernel(), files)
	results := make([]*scenario.Result, len(files))
	var recordings []*scenario.File
	done := new(atomic.Int64)
	stopProgress := e.showProgress(done, len(which), "scenarios")
	err = b.run(ctx, which, 1, func(i int, runs []boot.Run) {
		one := e.compare(ctx, v, files[i], runs[0])
		results[i] = &one
		if runs[0].Failure == "" || runs[0].Death != nil {
			recordings = append(recordings, recordingOf(files[i], runs[0].Outputs))
		}
		done.Add(1)
	})
	stopProgress()
	if err != nil && ctx.Err() == nil {
		return report{}, err
	}
	name := fmt.Sprintf("%s (%s) as %s", release, b.name(), v)
	result := versionReport{Version: name, Built: true, Failures: []scenario.Result{}}
	for i, one := range results {
		result.add(files[i].Name, one)
	}
	if why && len(result.Failures) > 0 {
		slices.SortFunc(recordings, func(a, b *scenario.File) int { return strings.Compare(a.Name, b.Name) }) // they came in any order
		result.Why = e.why(ctx, v, recordings)
	}
	return report{Versions: []versionReport{result}, Interrupted: ctx.Err() != nil}, nil
}

// nearestRelease is the modelled release that is nearest to a real kernel, if that can have mmap'ed netlink.
func nearestRelease(version string) string {
	if r, err := versions.Nearest(version); err == nil {
		return r.String()
	}
	return versions.Default.String()
}

// compare runs a scenario on the model and compares a run on a real kernel with that, as if it were a recording.
func (e env) compare(ctx context.Context, v kernel.Version, f *scenario.File, run boot.Run) scenario.Result {
	return e.listen(ctx, v, f).compare(f, run)
}

// A said is what a model does in a scenario.
type said struct {
	outputs []string
	failure string
	damage  bool // a defect has changed memory that is not its own, and with it what the kernel does from then on
}

// listen runs a scenario on the model.
func (e env) listen(ctx context.Context, v kernel.Version, f *scenario.File) (s said) {
	s.outputs, s.failure = scenario.Play(ctx, func() (scenario.Target, error) {
		return e.machines.boot(config{version: v, initNet: f.InitNet(), heap: true, listen: func(r kernel.Record) {
			if _, ok := r.Event.(kernel.Corruption); ok {
				s.damage = true
			}
		}})
	}, f)
	return s
}

// compare compares a run on a real kernel with what the model did.
func (s said) compare(f *scenario.File, run boot.Run) scenario.Result {
	if s.failure != "" {
		return scenario.Result{Name: f.Name, Steps: len(f.Steps), Failure: "on the model: " + s.failure}
	}
	result := scenario.Compare(recordingOf(f, s.outputs), run.Outputs)
	result.Failure = run.Failure
	return result
}
