// Package explore runs small programs on a simulated kernel under all schedules that can differ, or many random ones,
// with every invariant watched, and turns a failure into something a person can read and replay.
//
// A Program is a function that boots nothing and knows of no defect: it sets up sockets and rings in a World and
// starts tasks. Each run gets a fresh machine in controlled mode: tasks are coroutines, one makes a step at a time, and
// a scheduler of package sched chooses which. Ring memory follows one of the memory models of package mm.
//
//	explore.Test(t, func(w *explore.World) {
//		reader := w.Process("reader")
//		...
//		w.Go(reader, func(t sys.Task) { ... w.Assert(...) })
//	})
package explore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"nlmmap/defects"
	"nlmmap/invariant"
	"nlmmap/kernel"
	"nlmmap/kernel/inspect"
	"nlmmap/kernel/memmodel"
	"nlmmap/kernel/sched"
	"nlmmap/subsys"
	"nlmmap/sys"
)

// A Program is a situation to explore.
type Program struct {
	Name string
	Doc  string
	// Setup prepares the world and starts its tasks. It must do the same each time.
	Setup func(w *World)
}

// Options say how to explore. The zero value searches a 3.10.4 kernel exhaustively, sequentially consistent, for at
// most a minute.
type Options struct {
	Version kernel.Version
	Memory  memmodel.Model
	// Scheduler is "dfs" (or empty), "pct", "random", "roundrobin" or "all".
	Scheduler string
	// Bound limits the preemptions of dfs, 0 means none. Deepen lets dfs try all schedules without preemptions first, then
	// those with one, and so on, to the bound if there is one. An old value that a load sees counts as a preemption, and so
	// does a store that waits while its task goes on. Depth is the depth of bugs that pct looks for, 0 means 3.
	Bound, Depth int
	Deepen       bool
	Seed         uint64
	// Runs and Time end the search; 0 means no limit of runs, and a minute.
	Runs int
	Time time.Duration
	// Timeouts is how many timeouts of each task may come at any point (kernel.Config).
	Timeouts int
	// FailAllocs is how many allocations of a run may find no memory, Signals how many signals may end a sleep, at any
	// point where that can be (kernel.Config).
	FailAllocs, Signals int
	// Foresee, under the weak model, is what reads of bytes may turn out to find though it is stored later, as a Failure says that
	// has such reads: dfs and all find that themselves, and begin with it.
	Foresee string
	// MaxSteps ends a run as a livelock; 0 means 20,000.
	MaxSteps int
	// Ignore names invariants whose violation is not a failure, and defects whose effects are none; Known stands for all
	// defects that the version has. Only, if not empty, names the only ones that are. Names that nothing has are an error
	// of the search.
	Ignore, Only []string
	// KeepGoing reports no failure but counts violations by name in Result.Violations.
	KeepGoing bool
	// Coverage lets Result.Conflicts tell which steps have met. That takes about as long again as the runs.
	Coverage bool
	// Complete lets Test fail if the search did not come to its end.
	Complete bool
	// Workers is how many goroutines make runs at a time, 0 for one. The result does not depend on it. With more than one
	// Program.Setup is called on several at once: it must keep what it does to its World.
	Workers int
	// Progress is called now and then: with a failure as long as that is made smaller.
	Progress func(Result)
	// Reach is a function of the model, as "ringmm.(*Ring).Forward", for Result.Reached to count the runs that make a step in
	// it; empty for none.
	Reach string
	// Full lets the table of a failure have every step; else those that tell nothing are folded.
	Full bool
	// Without are the optional steps of the program that are left out, counted from 1.
	Without []int

	// differences are those of Version, which a search looks up once for all its runs, and foresight is Foresee with what
	// it has learnt.
	differences *subsys.Differences
	foresight   *memmodel.Foresight
}

// Known is the name in Options.Ignore that stands for all defects that the version is known to have: a search that
// ignores them reports what lies behind.
const Known = "known"

// A Result says what a search has seen.
type Result struct {
	Runs, Pruned int
	Steps        int64
	Elapsed      time.Duration
	// Exhausted tells that there is no other schedule. A search that came to its end and left schedules out on purpose is
	// not Exhausted; LeftOut then says which.
	Exhausted bool
	LeftOut   string
	// Covered is the share of the schedules that was seen: 1 if all were, an estimate for dfs when its time was over, else 0.
	Covered float64
	// Conflicts are the steps of different tasks that have met in the runs, and in which orders; nil without
	// Options.Coverage.
	Conflicts *sched.Conflicts
	// Bounds are the limits of preemptions within which all schedules were tried, one after the other.
	Bounds []Bound
	// Failure is the first violation, minimised; nil if there was none.
	Failure *Failure
	// FoundAfter is the number of runs until then.
	FoundAfter int
	// Reached is the number of runs with a step in Options.Reach.
	Reached int
	// Length is the most steps that a run had, Threads the most threads, store buffers included.
	Length, Threads int
	// Chance is what pct promises: the least probability that one run finds a bug of the depth that it looks for, 0 for
	// other schedulers.
	Chance float64
	// Violations counts by name, with KeepGoing.
	Violations map[string]int
	// Err is not nil when the search itself went wrong.
	Err error
}

// A Bound is a limit of preemptions, and how many runs all schedules within it took.
type Bound struct {
	Preemptions int `json:"preemptions"`
	Runs        int `json:"runs"`
}

func (r Result) String() string {
	s := fmt.Sprintf("%d schedules (%d cut short as repetitions), %d steps, %v", r.Runs, r.Pruned, r.Steps, r.Elapsed.Round(time.Millisecond))
	switch {
	case r.Err != nil:
		s += ": " + r.Err.Error()
	case r.Failure != nil:
		s += fmt.Sprintf(": %s violated in schedule %d", r.Failure.Violation.Name, r.FoundAfter)
	case r.Exhausted:
		s += ": all schedules, nothing found"
	case r.LeftOut != "":
		s += ": nothing found, and not all schedules: " + r.LeftOut
	case len(r.Bounds) > 0:
		s += fmt.Sprintf(": nothing found within the budget, in which there was time for all schedules with at most %d preemptions",
			r.Bounds[len(r.Bounds)-1].Preemptions)
	default:
		s += ": nothing found within the budget"
		if r.Covered > 0 {
			s += ", about " + Percent(r.Covered) + " of all schedules"
		}
		if r.Chance > 0 {
			s += fmt.Sprintf(" (a bug of the depth looked for is found by one schedule in %.0f at least)", 1/r.Chance)
		}
	}
	return s
}

// Percent writes a share that was estimated.
func Percent(share float64) string {
	if share < 0.01 {
		return "less than 1 %"
	}
	return fmt.Sprintf("%.0f %%", 100*share)
}

// A Violation is an invariant that a run broke, with who is to blame.
type Violation = invariant.Violation

// A World is one run of a program: a machine, its tasks and the watch on its invariants.
type World struct {
	k      *kernel.Kernel
	system *subsys.System
	net    *kernel.Net // where programs run

	opts     *Options
	run      *sched.Run
	watch    *watch
	met      *sched.Meetings // nil: nobody asks
	tasks    []*kernel.Task
	finally  []func()
	report   func() string
	outcome  string // what report told
	stuck    func() bool
	over     bool // the scheduler chooses no more
	optional int
	// foresight is what reads of this run may foresee, nil for nothing.
	foresight *memmodel.Foresight

	fail    *Violation
	seen    []Violation
	unruly  bool
	calm    bool
	crashed bool // something has panicked
	reached bool // a step was made in Options.Reach
	mishaps int  // allocations that failed, and signals
	broken  bool // the run is none: a read was delayed, and what it found never came
	gaveUp  bool // a task ended because of one
}

// Machine is the machine, and the network namespace in which programs run: for who plays the administrator of it or the
// network around it. Programs have their tasks, and nothing else of it.
func (w *World) Machine() (*subsys.System, *kernel.Net) { return w.system, w.net }

// InInitNet lets the programs run in the initial network namespace instead of one of their own.
func (w *World) InInitNet() { w.net = w.k.InitNet() }

// Process makes a process; drive it during Setup directly and with Go after.
func (w *World) Process(name string) sys.Task {
	t := w.k.NewProcess(name, w.net)
	w.tasks = append(w.tasks, t)
	return t
}

// Go lets fn, which is a program, drive a task of this world concurrently with the others.
func (w *World) Go(t sys.Task, fn func(t sys.Task)) {
	task := modelled(t)
	if !slices.Contains(w.tasks, task) {
		w.tasks = append(w.tasks, task)
	}
	task.Go(func(task *kernel.Task) {
		defer w.catch("task " + task.Name)
		fn(task)
	})
}

// modelled is the task as the machine has it: all tasks of a world are of its machine.
func modelled(t sys.Task) *kernel.Task { return t.(*kernel.Task) }

// Softirq lets fn run as the kernel does beside all processes: packet delivery, a timer.
func (w *World) Softirq(name string, fn func(t *kernel.Task)) {
	t := w.k.KernelTask(name)
	w.tasks = append(w.tasks, t)
	t.Go(func(t *kernel.Task) {
		defer w.catch("softirq " + t.Name)
		fn(t)
	})
}

// Unruly says that the program breaks the rules for programs on purpose: violations that it is to blame for are
// overlooked.
func (w *World) Unruly() { w.unruly = true }

// Calm says that what the program asserts itself holds only where no mishap comes (Options.FailAllocs, Signals): after one
// its assertions are overlooked, and the invariants are not.
func (w *World) Calm() { w.calm = true }

// Finally adds a check for when all tasks are done.
func (w *World) Finally(fn func()) { w.finally = append(w.finally, fn) }

// Outcome sets what tells the outcome of a run for Outcomes: one text, in which nothing may stand that the program
// cannot observe. It is asked when no task makes steps any more, because all are done or because those that are not
// wait for ever, and may make system calls on any task.
func (w *World) Outcome(report func() string) { w.report = report }

// WhenStuck sets what is called when no task can go on and no time can pass that would help one. If it reports true, it
// has woken somebody; else the run is a deadlock.
func (w *World) WhenStuck(wake func() bool) { w.stuck = wake }

// MessageWaits reports whether there is a message, in a ring or a queue, that nobody has taken.
func (w *World) MessageWaits() bool {
	_, ok := w.watch.Readable()
	return ok
}

// Optional runs step, unless the search for a smaller failing program leaves it out.
func (w *World) Optional(step func()) {
	w.optional++
	if !slices.Contains(w.opts.Without, w.optional) {
		step()
	}
}

// Assert fails the run with the invariant "assertion" if ok is false.
func (w *World) Assert(ok bool, format string, args ...any) {
	if !ok {
		w.Violate("assertion", format, args...)
	}
}

// Must fails the run if a step of the program that cannot fail did. Where a mishap of the run made it fail
// (Options.FailAllocs, Signals) that is no mistake of the program: it gives up, and nobody is blamed for waiting for it.
func (w *World) Must(err error) {
	switch {
	case err == nil:
	case w.mishaps > 0 && (errors.Is(err, sys.ENOMEM) || errors.Is(err, sys.ENOBUFS) || errors.Is(err, sys.EINTR)):
		panic(givesUp{})
	default:
		w.Violate("assertion", "the program's own step failed: %v", err)
	}
}

// Violate fails the run. Who is to blame is who has broken a rule before, if somebody has.
func (w *World) Violate(name, format string, args ...any) {
	if w.overlooks() {
		return
	}
	w.found(name, format, args...)
}

// overlooks reports whether what the program asserts itself need not hold any more.
func (w *World) overlooks() bool { return w.calm && w.mishaps > 0 }

// found is Violate for what the run itself shows.
func (w *World) found(name, format string, args ...any) {
	w.violate(Violation{Name: name, What: fmt.Sprintf(format, args...), Blame: w.watch.Blame()})
}

func (w *World) violate(v Violation) {
	if d := v.Blame.Defect; d != "" && !w.opts.has(d) {
		v.Blame.Defect = "" // what looks like a defect that this kernel does not have is something else
	}
	if (w.unruly || w.gaveUp) && v.Blame.Program != "" && v.Name != "assertion" {
		return
	}
	if !w.opts.matters(v) {
		return
	}
	w.seen = append(w.seen, v)
	if w.fail == nil && !w.opts.KeepGoing {
		w.fail = &v
	}
}

// guard ends a run that has failed.
type guard struct {
	sched.Scheduler
	w *World
}

// Next implements sched.Scheduler.
func (g guard) Next(r *sched.Run, cur *sched.Thread, enabled []*sched.Thread) *sched.Thread {
	if f := g.w.opts.Reach; f != "" && !g.w.reached {
		g.w.reached = within(f)
	}
	if g.w.fail != nil && !g.w.k.Foresees(inspect.Key{}) || g.w.crashed {
		return nil
	}
	return g.Scheduler.Next(r, cur, enabled)
}

// Caused implements sched.Causal.
func (g guard) Caused(step int, t *sched.Thread) bool {
	c, ok := g.Scheduler.(sched.Causal)
	return !ok || c.Caused(step, t)
}

// once runs a program once under a scheduler and returns the world as it was at the end. cut reports whether the
// scheduler gave the run up as a repetition.
func once(p Program, o *Options, s sched.Scheduler, cut func() bool, observe func(*World, sched.Scheduler) sched.Scheduler) (*World, error) {
	w := &World{opts: o}
	w.run = &sched.Run{MaxSteps: o.MaxSteps}
	if w.run.MaxSteps == 0 {
		w.run.MaxSteps = 20_000
	}
	w.watch = newWatch(w)
	if o.Memory == memmodel.Weak && o.foresight != nil {
		w.foresight = o.foresight.Beside()
	}
	k, err := kernel.Boot(kernel.Config{Version: o.Version, Mode: kernel.Controlled, Run: w.run, Memory: o.Memory, Foresight: w.foresight, Timeouts: o.Timeouts,
		FailAllocs: o.FailAllocs, Signals: o.Signals, Seed: o.Seed, Trace: w.watch.record, Quiet: observe == nil})
	if err != nil {
		return nil, err
	}
	w.k = k
	if o.differences != nil {
		w.system = subsys.RegisterWith(k, o.differences)
	} else if w.system, err = subsys.Register(k); err != nil {
		return nil, err
	}
	w.net = k.NewNet()
	idle := w.run.Idle
	w.run.Idle = func(late bool) bool {
		if idle(late) || !late && w.stuck != nil && w.stuck() {
			return true
		}
		if !late {
			w.watch.lookAtSleepers()
		}
		return false
	}
	if observe != nil {
		s = observe(w, s)
	}
	w.run.Scheduler = guard{s, w}
	if o.Coverage {
		w.met = &sched.Meetings{Scheduler: w.run.Scheduler}
		w.run.Scheduler = w.met
	}
	w.safely("the set-up", func() { p.Setup(w) })
	if !w.crashed {
		err = w.loop()
	}
	w.over = true
	for _, t := range slices.Concat(w.tasks, k.Tasks()) {
		t.Attach(nil)
	}
	if w.broken = k.Foresees(inspect.Key{}); w.broken {
		w.fail, w.seen = nil, nil
	}
	if w.fail != nil || w.crashed || w.broken || cut != nil && cut() {
		return w, nil
	}
	if d, ok := s.(interface{ Err() error }); ok && d.Err() != nil {
		return w, nil
	}
	w.safely("a check at the end", func() { w.end(err) })
	return w, nil
}

// loop runs the tasks.
func (w *World) loop() (err error) {
	defer w.catch("the machine")
	return w.run.Loop()
}

// end makes the checks of a finished run.
func (w *World) end(err error) {
	var dead *sched.Deadlock
	switch {
	case errors.As(err, &dead):
		w.watch.deadlock(dead)
		w.tell()
		return
	case errors.Is(err, sched.ErrSteps):
		w.Violate("livelock", "%d steps and no end: a loop that waits for others has to call Yield in it, and a run that is really so long needs a larger MaxSteps", w.run.Steps())
		w.tell()
		return
	}
	w.watch.Rest(w.k, true)
	w.tell()
	if w.gaveUp {
		w.finally = nil // what they look for may not have been done
	}
	for _, fn := range w.finally {
		fn()
	}
	if w.fail != nil {
		return
	}
	if err := w.k.Close(); err != nil {
		w.found("accounting", "%v", err)
	}
}

// tell asks for the run's outcome.
func (w *World) tell() {
	if w.report != nil {
		w.outcome = w.report()
	}
}

// Search searches for a schedule of a program that violates an invariant, and returns the first one as it was found.
func Search(ctx context.Context, p Program, o Options) Result { return search(ctx, p, o, nil) }

// Explore is Search that also minimises what it finds.
func Explore(ctx context.Context, p Program, o Options) Result {
	res := Search(ctx, p, o)
	if res.Failure == nil {
		return res
	}
	start, runs := time.Now(), 0
	res.Failure.minimise(ctx, func() {
		if runs++; runs%64 == 0 && o.Progress != nil {
			now := res
			now.Elapsed += time.Since(start)
			o.Progress(now)
		}
	})
	return res
}

// search runs p again and again. visit, if not nil, is told of each run that came to its end.
func search(ctx context.Context, p Program, o Options, visit func(ran)) Result {
	limit := o.Time
	if limit == 0 {
		limit = time.Minute
	}
	s := searcher{ctx: ctx, p: p, o: o, visit: visit}
	return bounded(limit+patience, s.search)
}

// Check returns an error for options that mean nothing: names that nothing has, negative numbers.
func (o Options) Check() error {
	for _, n := range []struct {
		name  string
		value int64
	}{{"bound", int64(o.Bound)}, {"depth", int64(o.Depth)}, {"number of schedules", int64(o.Runs)}, {"budget", int64(o.Time)},
		{"number of steps", int64(o.MaxSteps)}, {"number of workers", int64(o.Workers)},
		{"number of allocations that fail", int64(o.FailAllocs)}, {"number of signals", int64(o.Signals)}} {
		if n.value < 0 {
			return fmt.Errorf("the %s is negative: 0 means the usual one", n.name)
		}
	}
	if o.Scheduler != "" && !slices.Contains(Schedulers(), o.Scheduler) {
		return fmt.Errorf("no scheduler %q: there are %s", o.Scheduler, strings.Join(Schedulers(), ", "))
	}
	if (o.Deepen || o.Bound > 0) && o.Scheduler != "" && o.Scheduler != "dfs" {
		return fmt.Errorf("scheduler %s knows no bound of preemptions: dfs does", o.Scheduler)
	}
	if o.Memory < memmodel.SC || o.Memory > memmodel.Weak {
		return fmt.Errorf("there is no memory model %d: there are sc, tso and weak", o.Memory)
	}
	if o.Timeouts < -1 {
		return fmt.Errorf("there cannot be %d timeouts: -1 means none", o.Timeouts)
	}
	for _, step := range o.Without {
		if step < 1 {
			return fmt.Errorf("optional steps are counted from 1, there is no step %d", step)
		}
	}
	if o.Foresee != "" && o.Memory != memmodel.Weak {
		return fmt.Errorf("under %v no read finds what comes later: weak has such reads", o.Memory)
	}
	if _, err := memmodel.ParseForesight(o.Foresee); err != nil {
		return err
	}
	names := slices.Concat(o.Only, o.Ignore)
	if invariant.CheckNames(names, nil) == nil {
		return nil
	}
	list, err := allDefects()
	if err != nil {
		return err
	}
	known := []string{Known}
	for _, d := range list.Defects {
		known = append(known, d.Name)
	}
	return invariant.CheckNames(names, known)
}

// asGiven is the options with what Foresee says, which Check has found right.
func (o Options) asGiven() *Options {
	if o.Foresee != "" {
		o.foresight, _ = memmodel.ParseForesight(o.Foresee)
	}
	return &o
}

// allDefects is the list of defects, read once.
var allDefects = sync.OnceValues(defects.All)

// has reports whether the version is known to have a defect.
func (o *Options) has(name string) bool {
	list, err := allDefects()
	if err != nil {
		return true // the list says so itself where it is used
	}
	d, err := list.Find(name)
	return err == nil && list.Has(d, o.Version)
}

// matters reports whether a violation is a failure of the run.
func (o *Options) matters(v Violation) bool {
	ignored := func(name string) bool { return v.Called(name) || name == Known && v.Blame.Defect != "" }
	return !slices.ContainsFunc(o.Ignore, ignored) && (len(o.Only) == 0 || slices.ContainsFunc(o.Only, v.Called))
}

// Replay runs a program once with the given switches and returns the violation, nil for none.
func Replay(p Program, o Options, switches []sched.Switch) (*Violation, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	replay := &sched.Replay{Switches: switches}
	w, err := once(p, o.asGiven(), replay, nil, nil)
	if err != nil {
		return nil, err
	}
	return w.fail, w.followed(replay)
}

// followed returns an error for a replay with switches or optional steps that the run does not have.
func (w *World) followed(replay *sched.Replay) error {
	if lost := replay.Lost(); lost != nil {
		return fmt.Errorf("%w: %v", ErrSwitch, FormatSwitches(lost[:1]))
	}
	return w.hasSteps()
}

// hasSteps returns an error if a step is to be left out that the program does not have.
func (w *World) hasSteps() error {
	for _, step := range w.opts.Without {
		if step > w.optional {
			return fmt.Errorf("the program has %d optional steps, there is no step %d to leave out", w.optional, step)
		}
	}
	return nil
}

// ErrSwitch is what Replay returns for a switch that the run does not come to, or to a thread that cannot go on there:
// the switches are not those of this program, kernel and memory model, or something has changed since.
var ErrSwitch = errors.New("the run does not have this switch")

// CheckDeterminism runs the schedule that belongs to seed twice and compares every event of the two runs.
func CheckDeterminism(p Program, o Options) error {
	var logs [2][]string
	for i := range logs {
		_, err := once(p, &o, sched.NewRandom(o.Seed), nil, func(w *World, s sched.Scheduler) sched.Scheduler {
			w.watch.log = func(r kernel.Record) {
				name := ""
				if r.Task != nil {
					name = r.Task.Name
				}
				logs[i] = append(logs[i], fmt.Sprintf("%d %v %s %v", w.run.Steps(), r.Time, name, r.Event))
			}
			return s
		})
		if err != nil {
			return err
		}
	}
	for i := range min(len(logs[0]), len(logs[1])) {
		if logs[0][i] != logs[1][i] {
			return fmt.Errorf("event %d differs between two runs of seed %d:\n  %s\n  %s", i, o.Seed, logs[0][i], logs[1][i])
		}
	}
	if len(logs[0]) != len(logs[1]) {
		return fmt.Errorf("two runs of seed %d have %d and %d events", o.Seed, len(logs[0]), len(logs[1]))
	}
	return nil
}
