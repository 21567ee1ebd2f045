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
	"nlmmap/internal/workers"
	"nlmmap/scenario"
)

// An Accel says who runs the guests' instructions.
type Accel string

// KVM is the processor's virtualization, TCG is QEMU itself, which works everywhere and is slower. Auto is KVM where a guest
// comes up with it.
const (
	Auto Accel = ""
	KVM  Accel = "kvm"
	TCG  Accel = "tcg"
)

// Config says how a Lab boots its guests.
type Config struct {
	Accel  Accel
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
		text, err := bareText(s.File)
		if err != nil {
			return nil, err
		}
		files = append(files, guest.File{Path: scenarioPath(i), Text: text})
	}
	text, err := json.MarshalIndent(p, "", "\t")
	return append(files, guest.File{Path: planPath, Text: string(text)}), err
}

// bareText is a file without outputs.
func bareText(f *scenario.File) (string, error) {
	bare := *f
	bare.Outcomes = nil
	bare.Steps = append([]scenario.Step(nil), f.Steps...)
	for i := range bare.Steps {
		bare.Steps[i].Recorded, bare.Steps[i].Output = false, ""
	}
	var text strings.Builder
	err := bare.Format(&text)
	return text.String(), err
}

// headStart is how much earlier a guest with KVM starts. One that works is up by then.
const headStart = time.Second

// first boots a guest as Accel says. If that leaves it open, with KVM if that works, else without: on some hosts KVM is there
// and a guest hangs with it, so both are tried at the same time.
func (l *Lab) first(ctx context.Context) (*guest.Machine, error) {
	switch {
	case l.cfg.Accel == KVM && !guest.HasKVM():
		return nil, errors.New("there is no /dev/kvm that can be opened: leave --accel out, or say tcg")
	case l.cfg.Accel == KVM:
		l.cfg.Guest.KVM = true
		return l.boot(ctx, l.cfg.Guest)
	case l.cfg.Accel == TCG || !guest.HasKVM():
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
	var mu sync.Mutex
	return l.Each(ctx, len(which), func(ctx context.Context, g *Guest, n int) error {
		i := which[n]
		var runs []Run
		for range times {
			run, err := g.run(ctx, request{Scenario: i}, l.scenarios[i].File)
			if err != nil {
				return err
			}
			runs = append(runs, run)
		}
		mu.Lock()
		defer mu.Unlock()
		each(i, runs)
		return nil
	})
}

// Each calls work with the numbers below n, each once, on as many guests at the same time as the lab may have. An error ends
// it.
func (l *Lab) Each(ctx context.Context, n int, work func(ctx context.Context, g *Guest, i int) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	workers.Each(ctx, n, l.cfg.Guests, func(i int) {
		g := &Guest{lab: l}
		defer g.rest()
		if err := work(ctx, g, i); err != nil {
			stop(err)
		}
	})
	return context.Cause(ctx)
}

// A Guest is one of a lab's. When it dies another one takes its place.
type Guest struct {
	lab     *Lab
	machine *guest.Machine // from the first scenario on
}

// rest gives the machine back.
func (g *Guest) rest() {
	if g.machine != nil {
		g.lab.mu.Lock()
		g.lab.idle = append(g.lab.idle, g.machine)
		g.lab.mu.Unlock()
	}
}

// ready makes sure that there is a machine.
func (g *Guest) ready(ctx context.Context) error {
	l := g.lab
	l.mu.Lock()
	if n := len(l.idle); g.machine == nil && n > 0 {
		g.machine, l.idle = l.idle[n-1], l.idle[:n-1]
	}
	l.mu.Unlock()
	if g.machine != nil {
		return nil
	}
	m, err := l.boot(ctx, l.cfg.Guest)
	g.machine = m
	return err
}

// Play runs a scenario once. It need not be one of the lab's. A kernel that it damages is not used again.
func (g *Guest) Play(ctx context.Context, s Scenario) (Run, error) {
	text, err := bareText(s.File)
	if err != nil {
		return Run{}, err
	}
	run, err := g.run(ctx, request{Other: &sent{planned{Name: s.File.Name, InitNet: s.InitNet}, text}}, s.File)
	if s.Damages && g.machine != nil {
		g.machine.Close()
		g.machine = nil
	}
	return run, err
}

// Race runs the threads of a litmus file at once, so many times, and counts the outcomes. Where the kernel died that is one,
// and the rest goes on in a new guest. Failure tells of what is no outcome.
func (g *Guest) Race(ctx context.Context, s Scenario, times int, seed uint64) (seen map[string]int, failure string, err error) {
	seen = map[string]int{}
	text, err := bareText(s.File)
	if err != nil {
		return nil, "", err
	}
	ask := request{Other: &sent{planned{Name: s.File.Name, InitNet: s.InitNet}, text}}
	for done := 0; done < times; {
		if err := g.ready(ctx); err != nil {
			return nil, "", err
		}
		ask.Races, ask.Seed = times-done, seed+uint64(done)
		if err := g.machine.Send(ask); err != nil {
			return nil, "", err
		}
		for dead := false; !dead; {
			var r reply
			err := g.machine.Receive(ctx.Done(), g.lab.cfg.Limit, &r)
			var death *guest.Death
			switch {
			case errors.As(err, &death):
				g.machine, dead = nil, true
				r.Output = deathText(death)
				g.lab.cfg.Tell(fmt.Sprintf("%s: %v", s.File.Name, death))
			case err != nil:
				g.machine = nil
				return nil, "", err
			case r.End:
				return seen, r.Failure, nil
			}
			seen[r.Output]++
			done++
		}
	}
	return seen, "", nil
}

// run runs a scenario once. The error is one that ends everything; that the guest died does not.
func (g *Guest) run(ctx context.Context, ask request, f *scenario.File) (Run, error) {
	var run Run
	if err := g.ready(ctx); err != nil {
		return run, err
	}
	if err := g.machine.Send(ask); err != nil {
		return run, err
	}
	for {
		var r reply
		err := g.machine.Receive(ctx.Done(), g.lab.cfg.Limit, &r)
		var death *guest.Death
		switch {
		case errors.As(err, &death):
			g.machine = nil
			run.die(death, len(f.Steps))
			g.lab.cfg.Tell(fmt.Sprintf("%s: %v", f.Name, death))
			return run, nil
		case err != nil:
			g.machine = nil
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
