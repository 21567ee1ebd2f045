package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"nlmmap/guest"
	"nlmmap/scenario"
	"nlmmap/scenario/boot"
	"nlmmap/scenario/live"
)

// A bench is a real kernel with scenarios to run on it.
type bench interface {
	kernel() boot.Kernel
	name() string // what to call it in a report
	// run runs some of the scenarios, by number, each the given number of times, and calls each with the results of one:
	// in any order, but one call at a time.
	run(ctx context.Context, which []int, times int, each func(i int, runs []boot.Run)) error
	// each calls work with the numbers below n, each once, perhaps several at a time. An error ends it.
	each(ctx context.Context, n int, work func(ctx context.Context, p player, i int) error) error
	// race runs the threads of litmus files at once, so many times each, and calls each with the outcomes of a file, perhaps
	// several at a time.
	race(ctx context.Context, files []*scenario.File, times int, seed uint64, each func(i int, seen map[string]int, failure string)) error
	close()
}

// A player runs a scenario on a real kernel, one after the other. It need not be one of the bench's.
type player func(context.Context, boot.Scenario) (boot.Run, error)

// bench prepares the kernel of an image or, without one, the kernel underneath.
func (e env) bench(ctx context.Context, image imageFlags, files []*scenario.File, initNet bool) (bench, error) {
	var scenarios []boot.Scenario
	for _, f := range files {
		scenarios = append(scenarios, boot.Scenario{File: f, InitNet: initNet || f.InitNet()})
	}
	if image.path == "" {
		return &liveBench{e.machines.live, scenarios}, image.onlyWithImage()
	}
	return e.bootBench(ctx, image, scenarios)
}

// A liveBench is the kernel that nlmmap runs on.
type liveBench struct {
	liveKernel
	scenarios []boot.Scenario
}

func (b *liveBench) kernel() boot.Kernel { return b.describe() }
func (b *liveBench) name() string        { return "live" }
func (b *liveBench) close()              {}

func (b *liveBench) run(ctx context.Context, which []int, times int, each func(i int, runs []boot.Run)) error {
	for _, i := range which {
		var runs []boot.Run
		for range times {
			run, err := b.play(ctx, b.scenarios[i])
			if err != nil {
				return err
			}
			runs = append(runs, run)
			if run.Failure != "" {
				break
			}
		}
		each(i, runs)
	}
	return nil
}

func (b *liveBench) each(ctx context.Context, n int, work func(ctx context.Context, p player, i int) error) error {
	for i := range n {
		if err := work(ctx, b.play, i); err != nil {
			return err
		}
	}
	return nil
}

func (b *liveBench) race(ctx context.Context, files []*scenario.File, times int, seed uint64, each func(i int, seen map[string]int, failure string)) error {
	for i, f := range files {
		seen, failure := map[string]int{}, ""
		random := rand.New(rand.NewPCG(seed, 0))
		for n := 0; n < times && failure == "" && ctx.Err() == nil; n++ {
			outcome, err := live.Race(live.Config{InitNet: f.InitNet(), Avoid: f.Numbers()}, f, random)
			if err != nil {
				failure = err.Error()
				continue
			}
			seen[outcome]++
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		each(i, seen, failure)
	}
	return nil
}

func (b *liveBench) play(ctx context.Context, s boot.Scenario) (boot.Run, error) {
	target := func() (scenario.Target, error) {
		return b.boot(live.Config{InitNet: s.InitNet, Avoid: s.File.Numbers()})
	}
	outputs, failure := scenario.Play(ctx, target, s.File)
	return boot.Run{Outputs: outputs, Failure: failure}, ctx.Err()
}

func (b *bootBench) race(ctx context.Context, files []*scenario.File, times int, seed uint64, each func(i int, seen map[string]int, failure string)) error {
	return b.Each(ctx, len(files), func(ctx context.Context, g *boot.Guest, i int) error {
		seen, failure, err := g.Race(ctx, boot.Scenario{File: files[i], InitNet: files[i].InitNet()}, times, seed)
		if err == nil {
			each(i, seen, failure)
		}
		return err
	})
}

// imageFlags say which image to boot, and how.
type imageFlags struct {
	path, qemu, append, console string
	accel                       string
	cpus, memory, guests        int
	timeout                     time.Duration
	keep                        bool
}

func (f *imageFlags) add(flags *flag.FlagSet) {
	flags.StringVar(&f.path, "boot", "", "run on the kernel of this `IMAGE`, a bzImage, in QEMU")
	flags.StringVar(&f.qemu, "qemu", "", "QEMU's `PROGRAM` (default qemu-system-x86_64)")
	flags.StringVar(&f.accel, "accel", "auto", "who runs the guests' instructions: kvm, tcg (QEMU itself), or auto, which is kvm where that works")
	flags.IntVar(&f.cpus, "cpus", 1, "processors of a guest")
	flags.IntVar(&f.memory, "memory", 512, "memory of a guest in `MIB`")
	flags.IntVar(&f.guests, "guests", max(1, runtime.NumCPU()), "how many guests run at the same time")
	flags.DurationVar(&f.timeout, "timeout", boot.DefaultLimit, "how long a step may take")
	flags.StringVar(&f.append, "append", "", "`TEXT` to add to the guest kernel's command line")
	flags.StringVar(&f.console, "console", "", "write what the guests' kernels say to this `FILE`")
	flags.BoolVar(&f.keep, "keep", false, "leave the files of the guests in a new directory, and say where")
}

// onlyWithImage refuses flags that mean nothing without an image.
func (f *imageFlags) onlyWithImage() error {
	if f.path == "" && (f.qemu != "" || f.append != "" || f.console != "" || f.keep || f.accel != "auto" && f.accel != "") {
		return errors.New("--qemu, --accel, --append, --console and --keep say how to boot an image: give --boot IMAGE too")
	}
	return nil
}

// A bootBench is a kernel image.
type bootBench struct {
	*boot.Lab
	image string
	done  []func() // what is left to do at the end
}

func (b *bootBench) kernel() boot.Kernel { return b.Kernel }
func (b *bootBench) name() string        { return filepath.Base(b.image) }

func (b *bootBench) run(ctx context.Context, which []int, times int, each func(i int, runs []boot.Run)) error {
	return b.Run(ctx, which, times, each)
}

func (b *bootBench) each(ctx context.Context, n int, work func(ctx context.Context, p player, i int) error) error {
	return b.Each(ctx, n, func(ctx context.Context, g *boot.Guest, i int) error {
		return work(ctx, g.Play, i)
	})
}

func (b *bootBench) close() {
	b.Close()
	for _, f := range b.done {
		f()
	}
}

func (e env) bootBench(ctx context.Context, f imageFlags, scenarios []boot.Scenario) (bench, error) {
	if f.cpus < 1 || f.memory < 1 || f.guests < 1 || f.timeout <= 0 {
		return nil, errors.New("--cpus, --memory, --guests and --timeout must be more than 0")
	}
	accel, known := map[string]boot.Accel{"": boot.Auto, "auto": boot.Auto, "kvm": boot.KVM, "tcg": boot.TCG}[f.accel]
	if !known {
		return nil, fmt.Errorf("--accel %s: expected auto, kvm or tcg", f.accel)
	}
	image, err := guest.OpenImage(f.path)
	if err != nil {
		return nil, err
	}
	b := &bootBench{image: f.path}
	cfg := boot.Config{
		Guest:  guest.Config{Image: image, QEMU: f.qemu, CPUs: f.cpus, Memory: f.memory, Append: f.append},
		Accel:  accel,
		Guests: f.guests,
		Limit:  f.timeout,
		Tell:   func(text string) { fmt.Fprintf(e.stderr, "nlmmap: %s\n", text) },
	}
	if f.console != "" {
		file, err := os.Create(f.console)
		if err != nil {
			return nil, err
		}
		cfg.Guest.Console = file
		b.done = append(b.done, func() { file.Close() })
	}
	if f.keep {
		dir, err := os.MkdirTemp("", "nlmmap-")
		if err != nil {
			return nil, err
		}
		cfg.Guest.Keep = dir
		fmt.Fprintf(e.stderr, "nlmmap: the files of the guests stay in %s\n", dir)
	}
	if b.Lab, err = boot.Open(ctx, cfg, scenarios); err != nil {
		for _, f := range b.done {
			f()
		}
		return nil, err
	}
	return b, nil
}
