package boot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"nlmmap/guest"
	"nlmmap/scenario"
)

// Config says how a Lab boots its guests.
type Config struct {
	Guest  guest.Config           // Init, Files and KVM are set by Open
	Guests int                    // how many at the same time; 1 if not set
	Limit  time.Duration          // how long a step may take; DefaultLimit if not set
	Tell   func(text string)      // hears what happens to guests, if set
	Init   func() ([]byte, error) // the program that calls Serve; guest.Self if not set
}

// DefaultLimit is how long a step may take. A call that waits for ever is one after two seconds; the rest is for busy hosts.
const DefaultLimit = 30 * time.Second

// bootLimit is the least that booting may take. On a processor of its own it takes two seconds.
const bootLimit = time.Minute

// A Lab runs scenarios on one image.
type Lab struct {
	Kernel Kernel // what the first guest said

	cfg       Config
	scenarios []Scenario
	mu        sync.Mutex
	idle      []*guest.Machine
	booted    int // guests so far

	console sync.Mutex // guards what all guests write their consoles to
}

// labelled puts a label in front of every line, since several guests write to one file.
type labelled struct {
	to    *sync.Mutex
	w     io.Writer
	label string
	line  []byte // that is not whole yet
}

func (l *labelled) Write(b []byte) (int, error) {
	l.line = append(l.line, b...)
	end := bytes.LastIndexByte(l.line, '\n') + 1
	l.to.Lock()
	defer l.to.Unlock()
	for line := range bytes.Lines(l.line[:end]) {
		if _, err := fmt.Fprintf(l.w, "%s%s", l.label, line); err != nil {
			return 0, err
		}
	}
	l.line = append([]byte(nil), l.line[end:]...)
	return len(b), nil
}

// A Run is what one run of a scenario gave.
type Run struct {
	// Outputs are those of the scenario's steps. If the guest died the output of the step it died in says how (see
	// Crashed), and those behind it are NotRun.
	Outputs []string
	Failure string // what is no step's output
	// Death is set if the guest died.
	Death *guest.Death
}

// Open boots the first guest and asks it what it is.
func Open(ctx context.Context, cfg Config, scenarios []Scenario) (*Lab, error) {
	cfg.Guests = max(cfg.Guests, 1)
	if cfg.Limit == 0 {
		cfg.Limit = DefaultLimit
	}
	if cfg.Tell == nil {
		cfg.Tell = func(string) {}
	}
	if cfg.Init == nil {
		cfg.Init = guest.Self
	}
	if _, err := guest.FindQEMU(cfg.Guest.QEMU); err != nil {
		return nil, err
	}
	var err error
	if cfg.Guest.Init, err = cfg.Init(); err != nil {
		return nil, err
	}
	if cfg.Guest.Files, err = pack(scenarios); err != nil {
		return nil, err
	}
	l := &Lab{cfg: cfg, scenarios: scenarios}
	m, err := l.first(ctx)
	if err != nil {
		return nil, err
	}
	l.idle = append(l.idle, m)
	return l, nil
}

// pack makes the files that a guest needs.
func pack(scenarios []Scenario) ([]guest.File, error) {
	var p plan
	var files []guest.File
	for i, s := range scenarios {
		p.Scenarios = append(p.Scenarios, planned{Name: s.File.Name, InitNet: s.InitNet})
		bare := *s.File
		bare.Steps = append([]scenario.Step(nil), s.File.Steps...)
		for i := range bare.Steps {
			bare.Steps[i].Recorded, bare.Steps[i].Output = false, ""
		}
		var text strings.Builder
		if err := bare.Format(&text); err != nil {
			return nil, err
		}
		files = append(files, guest.File{Path: scenarioPath(i), Text: text.String()})
	}
	text, err := json.MarshalIndent(p, "", "\t")
	return append(files, guest.File{Path: planPath, Text: string(text)}), err
}

// headStart is how much earlier a guest with KVM starts. One that works is up by then.
const headStart = time.Second

// first boots a guest with KVM if that works, else without. On some hosts KVM is there and a guest hangs with it, so both
// are tried at the same time.
func (l *Lab) first(ctx context.Context) (*guest.Machine, error) {
	if !guest.HasKVM() {
		return l.boot(ctx, l.cfg.Guest)
	}
	type result struct {
		m   *guest.Machine
		err error
	}
	withKVM := make(chan result, 1)
	kvmCtx, stop := context.WithCancel(ctx)
	defer stop()
	fast := l.cfg.Guest
	fast.KVM = true
	go func() {
		m, err := l.boot(kvmCtx, fast)
		withKVM <- result{m, err}
	}()
	select {
	case r := <-withKVM:
		if r.err == nil {
			l.cfg.Guest.KVM = true
			return r.m, nil
		}
	case <-time.After(headStart):
		defer func() {
			stop()
			if r := <-withKVM; r.err == nil {
				r.m.Close()
			}
		}()
	}
	m, err := l.boot(ctx, l.cfg.Guest)
	if err == nil {
		l.cfg.Tell("KVM is there, but a guest does not come up with it: going on without")
	}
	return m, err
}

// boot starts a guest and waits until it is up.
func (l *Lab) boot(ctx context.Context, cfg guest.Config) (*guest.Machine, error) {
	l.mu.Lock()
	l.booted++
	name := fmt.Sprintf("guest-%d", l.booted)
	l.mu.Unlock()
	if cfg.Keep != "" {
		cfg.Keep = filepath.Join(cfg.Keep, name)
	}
	if cfg.Console != nil {
		cfg.Console = &labelled{to: &l.console, w: cfg.Console, label: name + ": "}
	}
	m, err := guest.Start(cfg)
	if err != nil {
		return nil, err
	}
	var k Kernel
	if err := m.Receive(ctx.Done(), max(bootLimit, l.cfg.Limit), &k); err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.Image.Path, guest.Explain(err))
	}
	l.mu.Lock()
	l.Kernel = k
	l.mu.Unlock()
	return m, nil
}

// Close ends all guests.
func (l *Lab) Close() {
	for _, m := range l.idle {
		m.Close()
	}
	l.idle = nil
}

// Run runs some of the scenarios, each the given number of times, and calls each with the results of a scenario as soon as
// they are there: in any order, but one call at a time.
func (l *Lab) Run(ctx context.Context, which []int, times int, each func(i int, runs []Run)) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var (
		mu      sync.Mutex
		next    int
		workers sync.WaitGroup
	)
	take := func() (i int, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		if next == len(which) || ctx.Err() != nil {
			return 0, false
		}
		next++
		return which[next-1], true
	}
	for range min(l.cfg.Guests, len(which)) {
		workers.Go(func() {
			w := worker{lab: l}
			defer w.rest()
			for i, ok := take(); ok; i, ok = take() {
				runs, err := w.runs(ctx, i, times)
				if err != nil {
					stop(err)
					return
				}
				mu.Lock()
				each(i, runs)
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	return context.Cause(ctx)
}

// A worker has a guest of its own, from the first scenario on.
type worker struct {
	lab     *Lab
	machine *guest.Machine
}

// rest gives the guest back.
func (w *worker) rest() {
	if w.machine != nil {
		w.lab.mu.Lock()
		w.lab.idle = append(w.lab.idle, w.machine)
		w.lab.mu.Unlock()
	}
}

// ready makes sure that there is a guest.
func (w *worker) ready(ctx context.Context) error {
	l := w.lab
	l.mu.Lock()
	if n := len(l.idle); w.machine == nil && n > 0 {
		w.machine, l.idle = l.idle[n-1], l.idle[:n-1]
	}
	l.mu.Unlock()
	if w.machine != nil {
		return nil
	}
	m, err := l.boot(ctx, l.cfg.Guest)
	w.machine = m
	return err
}

func (w *worker) runs(ctx context.Context, i, times int) ([]Run, error) {
	var runs []Run
	for range times {
		if err := w.ready(ctx); err != nil {
			return nil, err
		}
		run, err := w.run(ctx, i)
		if err != nil {
			return nil, err
		}
		runs = append(runs, run)
	}
	return runs, nil
}

// run runs a scenario once. The error is one that ends everything; that the guest died does not.
func (w *worker) run(ctx context.Context, i int) (Run, error) {
	var run Run
	if err := w.machine.Send(request{i}); err != nil {
		return run, err
	}
	s := w.lab.scenarios[i].File
	for {
		var r reply
		err := w.machine.Receive(ctx.Done(), w.lab.cfg.Limit, &r)
		var death *guest.Death
		switch {
		case errors.As(err, &death):
			w.machine = nil
			run.die(death, len(s.Steps))
			w.lab.cfg.Tell(fmt.Sprintf("%s: %v", s.Name, death))
			return run, nil
		case err != nil:
			w.machine = nil
			return run, err
		case r.End:
			run.Failure = r.Failure
			return run, nil
		}
		run.Outputs = append(run.Outputs, r.Output)
	}
}

// die completes a run whose guest died.
func (r *Run) die(d *guest.Death, steps int) {
	r.Death = d
	text := deathText(d)
	if len(r.Outputs) == steps {
		r.Failure = "at the end: " + text
		return
	}
	r.Outputs = append(r.Outputs, text+"\n")
	for len(r.Outputs) < steps {
		r.Outputs = append(r.Outputs, scenario.NotRun+"\n")
	}
}

// deathText is the output of a step during which a guest died.
func deathText(d *guest.Death) string {
	switch d.Why {
	case guest.Crashed:
		return scenario.Crashed + d.Crash.String()
	case guest.Hung:
		return scenario.Hangs
	}
	return scenario.Resets
}
