package kernel

import (
	"fmt"
	"runtime"
	"strings"
)

// An Event is something observable. Each package has types of its own; listeners switch on them.
type Event interface{ String() string }

// An Observation is an event that checkers keep books by and that tells people nothing new: traces leave it out.
type Observation interface {
	Event
	Observation()
}

// A Record is an event with where and when it happened.
type Record struct {
	Seq   uint64
	Time  Time
	Task  *Task // nil outside tasks
	Event Event
}

// Tracing reports whether anybody listens to everything. Guard the making of events with it.
func (k *Kernel) Tracing() bool { return k.cfg.Trace != nil && !k.cfg.Quiet }

// Watched reports whether anybody listens at least to what checkers need.
func (k *Kernel) Watched() bool { return k.cfg.Trace != nil }

// Emit tells the listener of an event.
func (k *Kernel) Emit(cur *Task, e Event) {
	if k.cfg.Trace != nil {
		k.cfg.Trace(Record{Seq: k.seq.Add(1), Time: k.clock.now(k), Task: cur, Event: e})
	}
}

// A Warning reports a violated invariant of the simulated kernel, as WARN_ON does: it fails tests.
type Warning struct {
	What  string
	Task  string
	Time  Time
	Seed  uint64
	Stack string
}

func (w Warning) String() string { return "WARNING: " + w.What + " [" + w.Task + "]" }

// Error makes a warning usable as an error: what, where, the seed and the backtrace.
func (w Warning) Error() string {
	return fmt.Sprintf("WARNING: %s\n  task %s at %v, seed %d\n%s", w.What, w.Task, w.Time, w.Seed, w.Stack)
}

// Warn reports a violated invariant. The machine goes on.
func (k *Kernel) Warn(cur *Task, format string, args ...any) {
	if k.Tainted() {
		k.Emit(cur, Corruption{"tainted", fmt.Sprintf(format, args...)})
		return
	}
	w := Warning{What: fmt.Sprintf(format, args...), Time: k.clock.now(k), Seed: k.cfg.Seed, Stack: backtrace(3)}
	if cur != nil {
		w.Task = cur.Name
	}
	k.warnMu.Lock()
	if len(k.warns) < 100 {
		k.warns = append(k.warns, w)
	}
	k.warnMu.Unlock()
	k.Emit(cur, w)
}

// Warnings returns the warnings so far.
func (k *Kernel) Warnings() []Warning {
	k.warnMu.Lock()
	defer k.warnMu.Unlock()
	return append([]Warning(nil), k.warns...)
}

// A Corruption reports what a modelled defect would have done to a real kernel's memory. It is part of the model and
// not a violated invariant: the simulated kernel goes on unharmed.
type Corruption struct {
	Defect string // its name in docs/defects.md
	What   string // what would have been overwritten, leaked or lost
}

func (c Corruption) String() string { return "CORRUPTION " + c.Defect + ": " + c.What }

// Taint reports a Corruption after which the machine's own books are wrong: what breaks later is its consequence,
// and Close proves nothing any more.
func (k *Kernel) Taint(cur *Task, defect, format string, args ...any) {
	k.taint.Store(true)
	k.Corrupt(cur, defect, format, args...)
}

// Corrupt reports a Corruption.
func (k *Kernel) Corrupt(cur *Task, defect, format string, args ...any) {
	if k.Watched() {
		k.Emit(cur, Corruption{defect, fmt.Sprintf(format, args...)})
	}
}

// Tainted reports whether a modelled defect has made the machine's books wrong.
func (k *Kernel) Tainted() bool { return k.taint.Load() }

// An Oops ends the system call and kills the process that made it, as a fault in kernel mode does.
type Oops struct {
	Defect string
	What   string
}

func (o Oops) String() string { return "OOPS " + o.Defect + ": " + o.What }

// Oops kills the current process: it does not return.
func (k *Kernel) Oops(cur *Task, defect, format string, args ...any) {
	o := Oops{defect, fmt.Sprintf(format, args...)}
	k.taint.Store(true)
	k.Emit(cur, o)
	panic(o)
}

func backtrace(skip int) string {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(skip, pcs[:])])
	var b strings.Builder
	for {
		f, more := frames.Next()
		if f.Function == "" {
			break
		}
		fmt.Fprintf(&b, "  %s:%d\n", f.Function[strings.LastIndexByte(f.Function, '/')+1:], f.Line)
		if !more {
			break
		}
	}
	return b.String()
}
