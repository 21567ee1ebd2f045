package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"nlmmap/guest"
	"nlmmap/identify"
	"nlmmap/scenario"
	"nlmmap/scenario/boot"
	"nlmmap/versions"
)

func identifyCommand() command {
	return command{
		name:    "identify",
		summary: "find out which kernel recordings, or an image, are of: the release and what is changed in it",
		help: `Usage: nlmmap identify [-json] [-junit FILE] [--save FILE] [--name NAME] DIR|FILE ...
       nlmmap identify --boot IMAGE [-json] [-junit FILE] [--save FILE] [--name NAME] [FILE|DIR ...]

Finds the release that is nearest to a kernel, and the fewest named differences ("nlmmap versions") with which that release
does what the kernel does: numbers can have any value. Prints for each release how many steps agree; for each difference
the steps that prove it, which disagree without it; what no difference explains, cut down to the fewest steps; and which
differences the recordings do not tell. --save stores the kernel that is found as a file for --kernel.

A DIR has the recordings of one kernel, *.txt, or one directory that has them. With --boot the scenarios run on the kernel
of an image (a bzImage) in QEMU: those that are named, else those recorded of the release that it is called like. What is
left is then cut down on the kernel itself.

Exit code 0 if the kernel that is found does all that was recorded, 1 if something is left. docs/identify.md tells more.

Examples:
  nlmmap identify testdata/kernels/4.1.18
  nlmmap identify --boot bzImage --name vendor-4.4 --save vendor.kernel
  nlmmap identify -json recordings/4.4.198 >result.json
`,
		run: runIdentify,
	}
}

func runIdentify(ctx context.Context, e env, c command, args []string) int {
	flags := c.flags()
	asJSON := flags.Bool("json", false, "print the result as JSON")
	junitFile := flags.String("junit", "", junitUsage)
	name := flags.String("name", "", "what to call the kernel that is found")
	save := flags.String("save", "", "store the kernel that is found in this `FILE`")
	var image imageFlags
	image.add(flags)
	paths, code, ok := c.parse(e, flags, args)
	if !ok {
		return code
	}
	r, names, err := e.identify(ctx, image, paths)
	if ctx.Err() != nil {
		fmt.Fprintln(e.stderr, "nlmmap: interrupted")
		return exitInterrupted
	}
	if err != nil {
		return e.bad("%v", err)
	}
	r.Version.Name = *name
	if *asJSON {
		err = writeJSON(e.stdout, r)
	} else {
		err = r.Write(e.stdout)
	}
	if err == nil {
		err = e.writeJUnit(*junitFile, identifySuite(r, names))
	}
	if err == nil && *save != "" {
		err = e.writeTo(*save, func(w io.Writer) error { return versions.Write(w, r.Version) })
	}
	if err != nil {
		return e.bad("%v", err)
	}
	if !r.Exact() {
		return exitDisagree
	}
	return exitOK
}

// identify returns the names of what was compared, too.
func (e env) identify(ctx context.Context, image imageFlags, paths []string) (r *identify.Result, names []string, err error) {
	cfg := identify.Config{Untold: true}
	if image.path != "" {
		var b bench
		if b, err = e.recordImage(ctx, image, paths, &cfg); b != nil {
			defer b.close()
		}
	} else if err = image.onlyWithImage(); err == nil {
		err = e.readRecordings(paths, &cfg)
	}
	if err != nil {
		return nil, nil, err
	}
	for _, f := range cfg.Recordings {
		names = append(names, f.Name)
	}
	var stop func()
	cfg.Tell, stop = e.showStage()
	defer stop()
	r, err = identify.Identify(ctx, cfg)
	return r, names, err
}

// showStage shows on the terminal what a command is doing, from the third second on, until the function it returns is
// called.
func (e env) showStage() (tell func(string), stop func()) {
	if !e.terminal {
		return func(string) {}, func() {}
	}
	begin, shown := time.Now(), false
	tell = func(text string) {
		if shown || time.Since(begin) > 2*time.Second {
			fmt.Fprintf(e.stderr, "\r\033[K%s", text)
			shown = true
		}
	}
	return tell, func() {
		if shown {
			fmt.Fprint(e.stderr, "\r\033[K")
		}
	}
}

// readRecordings reads the recordings of one kernel.
func (e env) readRecordings(paths []string, cfg *identify.Config) error {
	if len(paths) == 0 {
		return errors.New("identify: expected recordings, or --boot IMAGE; see \"nlmmap identify --help\"")
	}
	called := ""
	for _, path := range paths {
		dir, files, err := recordingsIn(path)
		if err != nil {
			return err
		}
		name := filepath.Base(dir)
		if abs, err := filepath.Abs(dir); err == nil {
			name = filepath.Base(abs)
		}
		if called != "" && called != name && versions.IsRelease(called) && versions.IsRelease(name) {
			return fmt.Errorf("identify: recordings of %s and of %s: expected those of one kernel", called, name)
		}
		called = name
		for _, path := range files {
			f, err := e.open(path)
			if err == nil {
				err = serial([]*scenario.File{f}, "identify compares outputs step by step: leave litmus files out")
			}
			if err == nil {
				err = recorded(f)
			}
			if err != nil {
				return err
			}
			cfg.Recordings = append(cfg.Recordings, f)
		}
	}
	cfg.Called = called
	return nil
}

// recordingsIn lists the recordings that a path names, and the directory that they are in: itself, or the one below it.
func recordingsIn(path string) (dir string, files []string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", nil, fmt.Errorf("%s: no such file or directory", path)
	}
	if !info.IsDir() {
		return filepath.Dir(path), []string{path}, nil
	}
	if files, err = filepath.Glob(filepath.Join(globQuote(path), "*.txt")); err != nil || len(files) > 0 {
		return path, files, err
	}
	if files, err = filepath.Glob(filepath.Join(globQuote(path), "*", "*.txt")); err != nil {
		return "", nil, err
	}
	var below []string
	for _, file := range files {
		if dir := filepath.Dir(file); len(below) == 0 || below[len(below)-1] != dir {
			below = append(below, dir)
		}
	}
	switch len(below) {
	case 0:
		return "", nil, fmt.Errorf("%s: no recordings: expected *.txt in it, or one directory that has them", path)
	case 1:
		return below[0], files, nil
	}
	return "", nil, fmt.Errorf("%s has recordings of several kernels: choose one of %s", path, strings.Join(below, ", "))
}

// recordImage records scenarios on the kernel of an image. Who calls it closes the bench.
func (e env) recordImage(ctx context.Context, image imageFlags, paths []string, cfg *identify.Config) (bench, error) {
	header, err := guest.OpenImage(image.path)
	if err != nil {
		return nil, err
	}
	cfg.Called = header.Release
	release := nearestRelease(header.Release)
	if len(paths) == 0 {
		if paths, err = ofModule(filepath.Join(defaultTree, release)); err != nil {
			return nil, err
		}
	}
	files, err := e.scenarios(paths, versions.All())
	if err == nil {
		err = serial(files, unrecordable)
	}
	if err == nil {
		err = checkFiles(files, false)
	}
	if err != nil {
		return nil, err
	}
	b, err := e.bench(ctx, image, files, false)
	if err != nil {
		return nil, err
	}
	which := e.recordable(b.kernel(), files)
	runs := make([]boot.Run, len(files))
	done := new(atomic.Int64)
	stopProgress := e.showProgress(done, len(which), "scenarios")
	err = b.run(ctx, which, 1, func(i int, r []boot.Run) {
		runs[i] = r[0]
		done.Add(1)
	})
	stopProgress()
	if err != nil {
		return b, err
	}
	for _, i := range which {
		if runs[i].Failure != "" && runs[i].Death == nil {
			fmt.Fprintf(e.stderr, "nlmmap: %s: %s: left out\n", files[i].Name, runs[i].Failure)
			continue
		}
		cfg.Recordings = append(cfg.Recordings, recordingOf(files[i], runs[i].Outputs))
	}
	if len(cfg.Recordings) == 0 {
		return b, errors.New("identify: no scenario left that this kernel can run")
	}
	cfg.Kernel = func(ctx context.Context, n int, work func(context.Context, identify.Player, int) error) error {
		return b.each(ctx, n, func(ctx context.Context, p player, i int) error {
			return work(ctx, func(ctx context.Context, f *scenario.File) ([]string, error) {
				run, err := p(ctx, boot.Scenario{File: f, InitNet: f.InitNet()})
				return run.Outputs, err
			}, i)
		})
	}
	return b, nil
}
