// Package litmus runs litmus files on the model: scenarios with one parallel block, whose result is the set of outcomes
// over all schedules. docs/litmus.md tells of the files.
//
//	f, err := scenario.Parse("bind.txt", text)
//	set := explore.Outcomes(ctx, litmus.Program(f), explore.Options{Version: v})
//	for _, o := range set.Outcomes {
//		fmt.Println(o) // p: ok; q: EINVAL; portid=5 groups=0x0
//	}
package litmus

import (
	"nlmmap/explore"
	"nlmmap/kernel"
	"nlmmap/scenario"
	"nlmmap/scenario/sim"
	"nlmmap/sys"
)

// Program returns the program of a file: each run makes its first steps, lets the threads of its block run, and makes
// the final steps. The outcome is as scenario.Outcome writes it.
func Program(f *scenario.File) explore.Program {
	return explore.Program{Name: f.Name, Setup: func(w *explore.World) {
		setup(w, f, func(*scenario.Step, string) {})
	}}
}

// setup sets a run up. did is told of every step before the block.
func setup(w *explore.World, f *scenario.File, did func(s *scenario.Step, output string)) {
	w.Unruly()
	if f.InitNet() {
		w.InInitNet()
	}
	m := sim.On(w.Machine())
	runner := scenario.NewRunner(m)
	for i := range f.Steps {
		did(&f.Steps[i], runner.Step(&f.Steps[i]))
	}
	parts, err := runner.Begin(f.Block)
	w.Must(err)
	b := &block{world: w, parts: parts}
	for _, p := range parts {
		if p.Task == nil {
			p.Run(nil)
			continue
		}
		t := p.Task.(*kernel.Task)
		w.Go(t, func(sys.Task) {
			p.On(m.By(t))
			p.Run(t.Dead)
		})
	}
	w.WhenStuck(b.stuck)
	w.Outcome(func() string {
		runner.End(parts)
		var final []string
		for i := range f.Final {
			final = append(final, runner.Step(&f.Final[i]))
		}
		return scenario.Outcome(parts, final)
	})
}

// A block is a parallel block that runs.
type block struct {
	world   *explore.World
	parts   []*scenario.Part
	stopped bool
	left    []*waiter
}

// A waiter is a part that waits though nobody will wake it.
type waiter struct {
	*scenario.Part
	task        *kernel.Task
	message     bool // there was one when it was nudged
	nudged      bool
	interrupted bool
}

// stuck is called when no thread can go on. What its threads are in has blocked then. Each is woken for nothing, and a
// reader that goes on had been forgotten, if there was a message: else its own look may have let a dump go on. Then it is
// interrupted, so that the final steps find nobody in the kernel.
func (b *block) stuck() bool {
	if !b.stopped {
		b.stop()
	}
	for len(b.left) > 0 {
		w := b.left[0]
		switch {
		case w.Left():
			if w.nudged && !w.interrupted && w.message && w.reads() {
				b.world.Violate("poll", "%s waits in %s and nobody wakes it, though it could go on", w.Name, w.Present())
			}
			b.left = b.left[1:]
		case !w.nudged:
			w.nudged, w.message = true, b.world.MessageWaits()
			w.task.Nudge()
			return true
		case !w.interrupted:
			w.interrupted = true
			w.task.Interrupt()
			return true
		default: // it waits for a lock
			b.left = b.left[1:]
		}
	}
	return false
}

// reads reports whether the waiter is in a call that waits for a message.
func (w *waiter) reads() bool {
	switch w.Present() {
	case "recv", "poll", "epoll_wait":
		return true
	}
	return false
}

func (b *block) stop() {
	b.stopped = true
	for _, p := range b.parts {
		if !p.Done() {
			p.Stop()
			b.left = append(b.left, &waiter{Part: p, task: p.Task.(*kernel.Task)})
		}
	}
}
