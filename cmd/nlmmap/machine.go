package main

import (
	"errors"
	"flag"
	"fmt"
	"strings"

	"nlmmap/invariant"
	"nlmmap/kernel"
	"nlmmap/scenario"
	"nlmmap/scenario/boot"
	"nlmmap/scenario/live"
	"nlmmap/scenario/sim"
	"nlmmap/versions"
)

// A config says which machine a scenario runs on.
type config struct {
	version kernel.Version
	initNet bool // the initial network namespace instead of a fresh one
	heap    bool // ring memory on the heap: faster to boot, but no other process could map it
	// listen hears of everything observable; nil is faster.
	listen func(kernel.Record)
	// watch watches the invariants.
	watch bool
}

// machines makes them. It stands between the command and the simulator, so that tests can do without.
type machines struct {
	boot func(config) (scenario.Target, error)
	live liveKernel
}

// A watched machine is one whose invariants are watched: what its kernel breaks, by no known defect, is an error when it
// is closed.
type watched struct {
	*sim.Machine
	watch  invariant.Watch
	broken []error
}

func newWatched(cfg sim.Config) (scenario.Target, error) {
	w := &watched{}
	w.watch.Report = func(v invariant.Violation) {
		if v.Blame.Kernel() && len(w.broken) < 10 {
			w.broken = append(w.broken, v)
		}
	}
	listen := cfg.Trace
	cfg.Quiet = listen == nil
	cfg.Trace = func(r kernel.Record) {
		w.watch.Record(r)
		if listen != nil {
			listen(r)
		}
	}
	var err error
	w.Machine, err = sim.New(cfg)
	return w, err
}

// Close implements scenario.Target.
func (w *watched) Close() error {
	w.watch.Rest(w.Kernel, false)
	err := w.Machine.Close()
	return errors.Join(append(w.broken, err)...)
}

// A liveKernel is the kernel that the command itself runs on.
type liveKernel struct {
	describe func() boot.Kernel
	boot     func(live.Config) (scenario.Target, error)
}

// simulator is what the command uses.
func simulator() machines {
	return machines{
		boot: func(c config) (scenario.Target, error) {
			cfg := sim.Config{Version: c.version, InitNet: c.initNet, Heap: c.heap, Trace: c.listen}
			if c.watch {
				return newWatched(cfg)
			}
			return sim.New(cfg)
		},
		live: liveKernel{
			describe: boot.Underneath,
			boot:     live.New,
		},
	}
}

// A kernelFlag is which kernel a command is to boot: --kernel and --set.
type kernelFlag struct {
	name string
	sets settings
}

// settings collects the values of a flag that may be given several times.
type settings []string

func (s *settings) String() string { return strings.Join(*s, " ") }

func (s *settings) Set(text string) error {
	*s = append(*s, text)
	return nil
}

const kernelUsage = "a release (3.10.4, 3.19.8, 4.1.18, 4.4.1, 4.5.7; another version is taken as the nearest one) or the file of a composed kernel"

// add declares the flags. Without a default --kernel may be left out.
func (k *kernelFlag) add(flags *flag.FlagSet, def, usage string) {
	flags.StringVar(&k.name, "kernel", def, usage)
	flags.Var(&k.sets, "set", "`NAME=VALUE`: change a named difference of the kernel, see \"nlmmap versions\"; may be repeated")
}

// version returns the kernel that the flags describe.
func (e env) version(k kernelFlag, t versions.Table) (kernel.Version, error) {
	v, err := e.kernel(k.name, t)
	if err != nil {
		return v, err
	}
	return t.Set(v, k.sets...)
}

// kernel returns the kernel of a name, and says so if it is not that one but the nearest release.
func (e env) kernel(name string, t versions.Table) (kernel.Version, error) {
	v, exact, err := t.Load(name)
	if err == nil && !exact {
		fmt.Fprintf(e.stderr, "nlmmap: %s is not modelled: taking %s, the nearest release\n", name, v)
	}
	return v, err
}
