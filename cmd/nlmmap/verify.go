package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"nlmmap/internal/workers"
	"nlmmap/kernel"
	"nlmmap/kernel/memmodel"
	"nlmmap/litmus"
	"nlmmap/scenario"
	"nlmmap/versions"
)

// defaultTree is where verify looks for recordings if it is not told.
const defaultTree = "testdata/kernels"

func verifyCommand() command {
	return command{
		name:    "verify",
		summary: "compare the model with recordings of real kernels",
		help: `Usage: nlmmap verify [-v] [-json] [-junit FILE] [--kernel K] [--set NAME=VALUE ...] [DIR|FILE ...]
       nlmmap verify -rewrite [--set NAME=VALUE ...] DIR|LITMUS-FILE ...
       nlmmap verify --boot IMAGE [-v] [-json] [-junit FILE] [--kernel K] [--set NAME=VALUE ...] [DIR|FILE ...]
       nlmmap verify --live [-v] [-json] [-junit FILE] [--kernel K] [--set NAME=VALUE ...] DIR|FILE ...
       nlmmap verify --boot IMAGE|--live [--cpus 2] --runs N [--seed S] [-json] [--kernel K] LITMUS-FILE|DIR ...
       nlmmap verify --boot IMAGE|--live --random N [--seed S] [-json] [--kernel K] [--set NAME=VALUE ...]

Runs recordings on the model and compares every output. A DIR contains VERSION/*.txt, or is itself named like a
version and contains *.txt; a FILE is a recording of the version that its directory is named after. Without arguments
the recordings are those in ` + defaultTree + `. Prints one line per version: scenarios and steps that agree, of how many.
If some do not, a second line says which named differences ("nlmmap versions") would make them agree, and with -v each
step says so.

With --kernel every FILE, and every DIR of *.txt, is compared with that kernel, whatever the directory is called. Of a
DIR with VERSION/*.txt the recordings of K, or else of the release that K is based on, are taken. --set alone changes
the kernel of every version.

A litmus file (docs/litmus.md) is compared with all schedules of the kernels and memory models that its sections name,
wherever it lies: the search must find exactly their outcomes. With -v the outcomes that are missing, or too many, are
shown, with what replays them. -rewrite writes what is found into the sections; a file without any gets them for all
releases.

With --boot the scenarios, recorded or not, run on the kernel of an image (a bzImage) in QEMU, with --live on the kernel
that nlmmap itself runs on, as root. Every step is compared with what the model does (K; without it the release that is
nearest to what uname -r says, else ` + versions.Default.String() + `). Without arguments an image runs the scenarios that are
recorded of that release. A crash agrees with a crash of the model, whatever each says.

Examples:
  nlmmap verify
  nlmmap verify -v --kernel 4.4.1
  nlmmap verify -v testdata/kernels/3.10.4/tx_basic.txt
  nlmmap verify --boot bzImage
  nlmmap verify --boot bzImage --random 100000 --seed 7
  nlmmap verify --boot bzImage --cpus 2 --runs 10000 testdata/litmus
  nlmmap verify --kernel vendor.kernel --set poll-scans-ring=on vendor-recordings
  nlmmap verify -json my-recordings >result.json
  nlmmap verify -v testdata/litmus
`,
		run: verify,
	}
}

func verify(ctx context.Context, e env, c command, args []string) int {
	flags := c.flags()
	verbose := flags.Bool("v", false, "show the first step that disagrees in each scenario")
	asJSON := flags.Bool("json", false, "print the result as JSON")
	junitFile := flags.String("junit", "", junitUsage)
	why := flags.Bool("why", true, "say which named differences would make steps agree; -why=false is quicker where many do not")
	rewrite := flags.Bool("rewrite", false, "write the outcomes that the search finds into litmus files")
	onLive := flags.Bool("live", false, "compare the kernel nlmmap runs on with the model")
	steps := flags.Int("random", 0, "compare a real kernel on random scenarios of `N` steps together")
	seed := flags.Uint64("seed", 1, "which random scenarios, or random delays of --runs")
	runs := flags.Int("runs", 0, "run the threads of litmus files at once on a real kernel, `N` times")
	var k kernelFlag
	k.add(flags, "", kernelUsage)
	var image imageFlags
	image.add(flags)
	paths, code, ok := c.parse(e, flags, args)
	if !ok {
		return code
	}
	var r report
	var err error
	if (*rewrite || *steps != 0) && *junitFile != "" {
		return e.bad("verify: -junit is for recordings, images and litmus files, not for -rewrite and --random")
	}
	if *rewrite {
		return e.rewrite(ctx, k, paths)
	}
	if *runs != 0 {
		if !*onLive && image.path == "" {
			return e.bad("verify --runs N: on a real kernel: expected --boot IMAGE or --live")
		}
		return e.runRaces(ctx, k, image, paths, *runs, *seed, true, *asJSON)
	}
	if *steps != 0 {
		if !*onLive && image.path == "" || len(paths) > 0 || *steps < 0 {
			return e.bad("verify --random N: N steps on a real kernel: expected --boot IMAGE or --live, N above 0, and no files")
		}
		return e.runVerifyRandom(ctx, k, image, *seed, *steps, *asJSON)
	}
	if *onLive || image.path != "" {
		r, err = e.verifyReal(ctx, k, image, paths, *why)
	} else {
		r, err = e.verifyModel(ctx, k, paths, *why)
	}
	if err != nil {
		return e.bad("%v", err)
	}
	if *asJSON {
		err = writeJSON(e.stdout, r)
	} else {
		err = r.write(e.stdout, *verbose)
	}
	if err == nil {
		err = e.writeJUnit(*junitFile, r.junit()...)
	}
	if err != nil {
		return e.bad("%v", err)
	}
	return r.exitCode()
}

func (e env) runVerifyRandom(ctx context.Context, k kernelFlag, image imageFlags, seed uint64, steps int, asJSON bool) int {
	r, err := e.verifyRandom(ctx, k, image, seed, steps)
	switch {
	case err != nil:
	case asJSON:
		err = writeJSON(e.stdout, r)
	default:
		err = r.write(e.stdout)
	}
	if err != nil {
		return e.bad("%v", err)
	}
	return r.exitCode()
}

func (e env) verifyModel(ctx context.Context, k kernelFlag, paths []string, why bool) (report, error) {
	p, err := e.newPlan(k)
	if err != nil {
		return report{}, err
	}
	if len(paths) == 0 {
		if paths, err = ofModule(defaultTree); err != nil {
			return report{}, err
		}
	}
	jobs, err := e.plan(p, paths)
	if err != nil {
		return report{}, err
	}
	r := e.verifyAll(ctx, jobs)
	for i := range r.Versions {
		if why {
			e.attribute(ctx, &r.Versions[i], jobs)
		}
	}
	return r, nil
}

// attribute says why recordings of a version disagree, if some do.
func (e env) attribute(ctx context.Context, v *versionReport, jobs []job) {
	if len(v.Failures) == 0 {
		return
	}
	var of kernel.Version
	var recordings []*scenario.File
	for _, j := range jobs {
		if j.file != nil && j.version == v.Version {
			of, recordings = j.kernel, append(recordings, j.file)
		}
	}
	v.Why = e.why(ctx, of, recordings)
}

// ofModule returns what a command reads when nothing is named: folders of the module.
func ofModule(paths ...string) ([]string, error) {
	for _, path := range paths {
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("no %s here: run in the directory of the module, or name files", path)
		}
	}
	return paths, nil
}

// A job is one recording to verify.
type job struct {
	version string // what to call the kernel
	built   bool   // the model has that version
	kernel  kernel.Version
	path    string
	file    *scenario.File // only if it is built
	unnamed error          // the directory does not tell the version, which a litmus file does not need

	section *scenario.Outcomes // of a litmus file: what to compare with its search
	memory  memmodel.Model
}

// hint says how to compare a recording of a version that the model lacks.
func (j job) hint() string {
	if j.built {
		return ""
	}
	near, err := versions.Nearest(j.version)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%s is the nearest release: \"nlmmap verify --kernel %s %s\" compares them with it",
		near, near, filepath.Dir(j.path))
}

// A planner says which kernel a recording is compared with.
type planner struct {
	table versions.Table
	given *kernel.Version // by --kernel
	name  string          // what --kernel says
	sets  []string
}

func (e env) newPlan(k kernelFlag) (planner, error) {
	p := planner{table: versions.All(), name: k.name, sets: k.sets}
	if k.name == "" {
		_, err := p.table.Set(kernel.Version{}, k.sets...) // whatever is verified, the settings must be good
		return p, err
	}
	v, err := e.version(k, p.table)
	p.given = &v
	return p, err
}

// job returns the job for a recording of the named version.
func (p planner) job(version, path string) job {
	if p.given != nil {
		return job{version: p.given.String(), built: true, kernel: *p.given, path: path}
	}
	v, err := kernel.ParseVersion(version)
	if err != nil {
		return job{version: version, path: path}
	}
	v, err = p.table.Set(v, p.sets...)
	return job{version: v.String(), built: err == nil, kernel: v, path: path}
}

// plan finds and parses all recordings, so that nothing runs when one of them is malformed.
func (e env) plan(p planner, paths []string) ([]job, error) {
	var jobs []job
	for _, path := range paths {
		found, err := p.find(path)
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, found...)
	}
	slices.SortFunc(jobs, func(a, b job) int {
		if c := compareVersions(a.version, b.version); c != 0 {
			return c
		}
		return strings.Compare(a.path, b.path)
	})
	jobs = slices.CompactFunc(jobs, func(a, b job) bool { return a.version == b.version && a.path == b.path })
	return e.parseAll(p, jobs)
}

// parseAll parses the files. A litmus file has a job for each of its sections.
func (e env) parseAll(p planner, jobs []job) ([]job, error) {
	var parsed []job
	var errs []error
	for _, j := range jobs {
		f, err := e.open(j.path)
		switch {
		case err != nil:
		case f.Block != nil:
			var sections []job
			sections, err = p.sectionJobs(f)
			parsed = append(parsed, sections...)
		case j.unnamed != nil:
			err = j.unnamed
		default:
			err = recorded(f)
			if j.built {
				j.file = f
			}
			parsed = append(parsed, j)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	slices.SortStableFunc(parsed, func(a, b job) int {
		return cmp.Or(compareVersions(a.version, b.version), cmp.Compare(a.memory, b.memory))
	})
	return parsed, errors.Join(errs...)
}

// recorded checks that every step of a file has an output.
func recorded(f *scenario.File) error {
	for _, s := range f.Steps {
		if !s.Recorded {
			return &scenario.Error{File: f.Name, Line: s.Line, Msg: "no recorded output: expected ---- after the directive"}
		}
	}
	return nil
}

// find lists the recordings that a path names.
func (p planner) find(path string) ([]job, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: no such file or directory", path)
	}
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		v, err := p.versionOf(filepath.Dir(path))
		j := p.job(v, path)
		j.unnamed = err
		return []job{j}, nil
	}
	files, err := filepath.Glob(filepath.Join(globQuote(path), "*.txt"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return p.findInTree(path)
	}
	v, err := p.versionOf(path)
	var jobs []job
	for _, file := range files {
		j := p.job(v, file)
		j.unnamed = err
		jobs = append(jobs, j)
	}
	return jobs, nil
}

func (p planner) findInTree(root string) ([]job, error) {
	files, err := filepath.Glob(filepath.Join(globQuote(root), "*", "*.txt"))
	if err != nil {
		return nil, err
	}
	wanted := p.directory(root)
	var jobs []job
	var others []string // directories that hold recordings of other kernels
	for _, path := range files {
		dir := filepath.Dir(path)
		v := filepath.Base(dir)
		if !versions.IsRelease(v) {
			return nil, fmt.Errorf("%s: the directory %q is not named like a kernel version", path, v)
		}
		switch {
		case p.given == nil || v == wanted:
			jobs = append(jobs, p.job(v, path))
		case !slices.Contains(others, dir):
			others = append(others, dir)
		}
	}
	if len(jobs) == 0 && p.given != nil {
		err := fmt.Errorf("%s: no recordings of %s: expected %s/*.txt in it", root, wanted, wanted)
		if len(others) == 1 {
			err = fmt.Errorf("%w; \"nlmmap verify --kernel %s %s\" compares those that are there", err, p.name, others[0])
		}
		return nil, err
	}
	if len(jobs) == 0 {
		return nil, fmt.Errorf("%s: no recordings: expected VERSION/*.txt or, in a directory named like a version, *.txt", root)
	}
	return jobs, nil
}

// directory is the one of a tree that has the recordings of the given kernel: named like it, as record names directories, or
// else like its release.
func (p planner) directory(root string) string {
	if p.given == nil {
		return ""
	}
	for _, name := range []string{p.name, baseVersion(p.name)} {
		if info, err := os.Stat(filepath.Join(root, name)); err == nil && info.IsDir() && versions.IsRelease(name) {
			return name
		}
	}
	return p.given.Release.String()
}

// versionOf is the version that the files in a directory are recordings of, by its name. It does not matter when a
// kernel is given.
func (p planner) versionOf(dir string) (string, error) {
	if p.given != nil {
		return "", nil
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if v := filepath.Base(abs); versions.IsRelease(v) {
		return v, nil
	}
	return "", fmt.Errorf("%s: cannot tell the kernel version from the directory's name: give --kernel", dir)
}

// globQuote makes a path mean itself in a pattern.
func globQuote(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// compareVersions orders 3.10 after 3.9.
func compareVersions(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "."), strings.Split(b, "."), func(x, y string) int {
		if len(x) != len(y) {
			return len(x) - len(y)
		}
		return strings.Compare(x, y)
	})
}

// verifyAll runs the jobs on all processors. The report does not depend on the order in which they end.
func (e env) verifyAll(ctx context.Context, jobs []job) report {
	results := make([]result, len(jobs))
	done := new(atomic.Int64)
	stopProgress := e.showProgress(done, len(jobs), "scenarios")
	workers.Each(ctx, len(jobs), 0, func(i int) {
		results[i] = e.verifyOne(ctx, jobs[i])
		done.Add(1)
	})
	stopProgress()
	return newReport(jobs, results, ctx.Err() != nil)
}

// A result is what comes of a job: of a recording or of a section of a litmus file, nil where it could not run or was
// interrupted.
type result struct {
	recording *scenario.Result
	section   *litmus.Result
}

func (e env) verifyOne(ctx context.Context, j job) result {
	switch {
	case !j.built:
		return result{}
	case j.section != nil:
		return result{section: verifySection(ctx, j)}
	}
	return result{recording: e.verifyRecording(ctx, j)}
}

func (e env) verifyRecording(ctx context.Context, j job) *scenario.Result {
	boot := func() (scenario.Target, error) {
		return e.machines.boot(config{version: j.kernel, initNet: j.file.InitNet(), watch: true})
	}
	r := scenario.Verify(ctx, boot, j.file)
	if ctx.Err() != nil && !r.OK() {
		return nil
	}
	return &r
}

// showProgress counts what is done on the terminal, from the third second on, until the function it returns is called.
func (e env) showProgress(done *atomic.Int64, total int, what string) (stop func()) {
	if !e.terminal {
		return func() {}
	}
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		wait := 2 * time.Second
		for shown := false; ; shown = true {
			select {
			case <-quit:
				if shown {
					fmt.Fprint(e.stderr, "\r\033[K")
				}
				return
			case <-time.After(wait):
				fmt.Fprintf(e.stderr, "\r%d/%d %s", done.Load(), total, what)
				wait = 200 * time.Millisecond
			}
		}
	}()
	return func() { close(quit); <-ended }
}

// A report is the result of verify.
type report struct {
	Versions    []versionReport `json:"versions"`
	Litmus      []litmusReport  `json:"litmus,omitempty"`
	Interrupted bool            `json:"interrupted"`
}

type versionReport struct {
	Version   string            `json:"version"`
	Built     bool              `json:"built"`          // the model has this version
	Hint      string            `json:"hint,omitempty"` // how to compare it all the same
	Scenarios tally             `json:"scenarios"`
	Steps     tally             `json:"steps"`
	NotRun    int               `json:"not_run"` // scenarios without a result
	Failures  []scenario.Result `json:"failures"`
	Why       *whyReport        `json:"why,omitempty"` // the steps disagree

	all []verified[scenario.Result]
}

type tally struct {
	Agreed int `json:"agreed"`
	Total  int `json:"total"`
}

func newReport(jobs []job, results []result, interrupted bool) report {
	r := report{Interrupted: interrupted}
	for i, j := range jobs {
		if j.section != nil {
			r.addSection(j, results[i].section)
			continue
		}
		if n := len(r.Versions); n == 0 || r.Versions[n-1].Version != j.version {
			r.Versions = append(r.Versions,
				versionReport{Version: j.version, Built: j.built, Hint: j.hint(), Failures: []scenario.Result{}})
		}
		r.Versions[len(r.Versions)-1].add(j.path, results[i].recording)
	}
	return r
}

func (v *versionReport) add(name string, r *scenario.Result) {
	v.all = append(v.all, verified[scenario.Result]{name, r})
	if r == nil {
		v.NotRun++
		return
	}
	v.Scenarios.Total++
	v.Steps.Total += r.Steps
	v.Steps.Agreed += r.Agreed
	if r.OK() {
		v.Scenarios.Agreed++
	} else {
		v.Failures = append(v.Failures, *r)
	}
}

func (r report) exitCode() int {
	code := exitOK
	for _, v := range r.Versions {
		if !v.Built {
			return exitBadInput
		}
		if len(v.Failures) > 0 {
			code = exitDisagree
		}
	}
	for _, v := range r.Litmus {
		if !v.Built {
			return exitBadInput
		}
		if len(v.Failures) > 0 {
			code = exitDisagree
		}
	}
	if r.Interrupted && code == exitOK {
		return exitInterrupted
	}
	return code
}

func (r report) write(w io.Writer, verbose bool) error {
	var b strings.Builder
	for _, v := range r.Versions {
		if verbose {
			for i := range v.Failures {
				writeFailure(&b, &v.Failures[i], v.Why)
			}
		}
	}
	for _, v := range r.Litmus {
		if verbose {
			for i := range v.Failures {
				writeSetFailure(&b, v, &v.Failures[i])
			}
		}
	}
	for _, v := range r.Versions {
		writeVersion(&b, v)
	}
	for _, v := range r.Litmus {
		v.write(&b)
	}
	if r.Interrupted {
		b.WriteString("interrupted\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeVersion(b *strings.Builder, v versionReport) {
	if !v.Built {
		fmt.Fprintf(b, "%s  the model has no such version: %d scenarios not run\n", v.Version, v.NotRun)
		if v.Hint != "" {
			fmt.Fprintf(b, "    %s\n", v.Hint)
		}
		return
	}
	fmt.Fprintf(b, "%s  %d/%d scenarios  %d/%d steps", v.Version,
		v.Scenarios.Agreed, v.Scenarios.Total, v.Steps.Agreed, v.Steps.Total)
	if v.NotRun > 0 {
		fmt.Fprintf(b, "  (%d scenarios not run)", v.NotRun)
	}
	b.WriteByte('\n')
	if v.Why != nil {
		fmt.Fprintf(b, "    %s\n", v.Why)
	}
}

func writeFailure(b *strings.Builder, r *scenario.Result, why *whyReport) {
	if d := r.First; d != nil {
		fmt.Fprintf(b, "%s:%d: (%d of %d steps agree; - expected, + got)\n", r.Name, d.Line, r.Agreed, r.Steps)
		for line := range strings.Lines(d.String()) {
			b.WriteString("    " + line)
		}
		b.WriteString(indented(why.of(r.Name, d.Line)))
	}
	if r.Failure != "" {
		fmt.Fprintf(b, "%s: %s\n", r.Name, strings.TrimSuffix(r.Failure, "\n"))
	}
	b.WriteByte('\n')
}
