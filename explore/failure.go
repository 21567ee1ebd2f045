package explore

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"nlmmap/invariant"
	"nlmmap/kernel/memmodel"
	"nlmmap/kernel/sched"
	"nlmmap/subsys"
)

// A Failure is a run that violates an invariant, in a form that can be replayed.
type Failure struct {
	Program   Program
	Options   Options
	Violation Violation
	Switches  []sched.Switch
	// LeftOut are the optional steps that the failure does not need.
	LeftOut []int

	inTest bool // Test has found it: the program is no other than the test
}

// A minimiser looks for a run with fewer switches and fewer steps of the program that violates the same invariant.
type minimiser struct {
	*Failure
	options Options // with the differences of the version
	tried   func()  // is called for each run
	steps   int     // of all runs so far
}

// most is how many steps the runs make that delete switches, and as many again those that look for fewer: long runs, such
// as those of a livelock, are not made small at any price.
const most = 20_000_000

func (f *Failure) minimise(ctx context.Context, tried func()) {
	f.Options.Only = []string{f.Violation.Name}
	m := minimiser{Failure: f, options: *f.Options.asGiven(), tried: tried}
	var err error
	if m.options.differences, err = subsys.Resolve(f.Options.Version); err == nil {
		m.minimise(ctx)
	}
}

func (f *minimiser) minimise(ctx context.Context) {
	if !f.fails(f.Switches, f.LeftOut) {
		return
	}
	f.dropMany(ctx)
	for again := true; again && ctx.Err() == nil && f.steps < most; {
		again = f.dropSwitch() || f.dropStep()
	}
	f.fewest(ctx, 50_000)
}

// dropMany deletes parts of a long list of switches, half of it first: one by one would take as many runs as its square.
func (f *minimiser) dropMany(ctx context.Context) {
	const few = 50
	for size := len(f.Switches) / 2; len(f.Switches) > few && size > 1; size /= 2 {
		for i := 0; i < len(f.Switches); {
			if ctx.Err() != nil || f.steps > most {
				return
			}
			if !f.fails(slices.Concat(f.Switches[:i], f.Switches[min(i+size, len(f.Switches)):]), f.LeftOut) {
				i += size
			}
		}
	}
}

// fewest goes through all runs with one switch, then with two and so on, at most budget of them, until one violates the
// invariant: what deleting cannot reach.
func (f *minimiser) fewest(ctx context.Context, budget int) {
	f.steps = 0
	level := [][]sched.Switch{nil}
	for n := 0; n < len(f.Switches); n++ {
		var next [][]sched.Switch
		for _, list := range level {
			if budget--; ctx.Err() != nil || budget < 0 || f.steps > most {
				return
			}
			alt := &alternatives{Scheduler: &sched.Replay{Switches: list}, after: -1}
			if n > 0 {
				alt.after = list[n-1].Step
			}
			w, err := f.run(alt, f.LeftOut)
			if err != nil {
				return
			}
			if w.fail != nil && f.same(*w.fail) {
				f.fails(list, f.LeftOut)
				return
			}
			for _, s := range alt.found {
				next = append(next, append(list[:n:n], s))
			}
		}
		level = next
	}
}

// alternatives notes what a run could have done otherwise after a step.
type alternatives struct {
	sched.Scheduler
	after int
	found []sched.Switch
}

// Next implements sched.Scheduler.
func (a *alternatives) Next(r *sched.Run, cur *sched.Thread, enabled []*sched.Thread) *sched.Thread {
	pick := a.Scheduler.Next(r, cur, enabled)
	if r.Steps() > a.after {
		for _, t := range enabled {
			if t != pick {
				a.found = append(a.found, sched.Switch{Step: r.Steps(), Pick: t.ID})
			}
		}
	}
	return pick
}

// Choose implements sched.Scheduler.
func (a *alternatives) Choose(r *sched.Run, t *sched.Thread, n int) int {
	pick := a.Scheduler.Choose(r, t, n)
	if r.Steps()-1 > a.after {
		for i := 1; i < n; i++ {
			a.found = append(a.found, r.Switch(i))
		}
	}
	return pick
}

func (f *minimiser) dropSwitch() bool {
	for i := range f.Switches {
		if f.steps > most {
			return false
		}
		fewer := append(append([]sched.Switch(nil), f.Switches[:i]...), f.Switches[i+1:]...)
		if f.fails(fewer, f.LeftOut) {
			return true
		}
	}
	return false
}

func (f *minimiser) dropStep() bool {
	w, err := f.run(&sched.Replay{Switches: f.Switches}, f.LeftOut)
	if err != nil {
		return false
	}
	needed := !f.always(f.LeftOut)
	for i := 1; i <= w.optional; i++ {
		if slices.Contains(f.LeftOut, i) {
			continue
		}
		fewer := append(f.LeftOut[:len(f.LeftOut):len(f.LeftOut)], i)
		if needed && f.always(fewer) {
			continue // others wait for that step: without it the program is another one
		}
		if f.fails(f.Switches, fewer) {
			return true
		}
	}
	return false
}

// always reports whether the program violates the invariant without any switch.
func (f *minimiser) always(leftOut []int) bool {
	w, err := f.run(&sched.Replay{}, leftOut)
	return err == nil && w.fail != nil && f.same(*w.fail)
}

// same reports whether a violation is the failure's: of the same invariant, with the same cause.
func (f *Failure) same(v Violation) bool {
	return v.Name == f.Violation.Name && v.Blame == f.Violation.Blame
}

// run runs the program once without some of its optional steps.
func (f *minimiser) run(s sched.Scheduler, leftOut []int) (*World, error) {
	f.tried()
	o := f.options
	o.Without = leftOut
	w, err := once(f.Program, &o, s, nil, nil)
	if w != nil {
		f.steps += w.run.Steps()
	}
	return w, err
}

// fails tries switches, and takes them over, as they were really made, if the same invariant is violated.
func (f *minimiser) fails(switches []sched.Switch, leftOut []int) bool {
	rec := &sched.Recorder{Scheduler: &sched.Replay{Switches: switches}}
	w, err := f.run(rec, leftOut)
	if err != nil || w.fail == nil || !f.same(*w.fail) {
		return false
	}
	f.Violation, f.Switches, f.LeftOut = *w.fail, rec.Switches, leftOut
	return true
}

// FormatSwitches writes switches as ParseSwitches reads them: "12:1 30:0 41:fail", at step 12 thread 1, at step 30 thread
// 0, and at step 41 an allocation finds no memory.
func FormatSwitches(switches []sched.Switch) string {
	words := make([]string, len(switches))
	for i, s := range switches {
		words[i] = s.String()
	}
	return strings.Join(words, " ")
}

// ParseSwitches reads what FormatSwitches writes.
func ParseSwitches(text string) ([]sched.Switch, error) {
	var list []sched.Switch
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' || r == '\n' }) {
		step, pick, ok := strings.Cut(word, ":")
		s, err1 := strconv.Atoi(step)
		p, err2 := strconv.Atoi(pick)
		mishap, named := sched.ParseMishap(pick)
		if !ok || err1 != nil || err2 != nil && !named || s < 0 || p < 0 {
			return nil, fmt.Errorf("%q is no switch: expected STEP:THREAD, STEP:fail or STEP:signal, for example 12:1", word)
		}
		if named {
			p = -int(mishap)
		}
		if n := len(list); n > 0 && list[n-1].Step >= s {
			return nil, fmt.Errorf("switch %q is not after the one before it", word)
		}
		list = append(list, sched.Switch{Step: s, Pick: p})
	}
	return list, nil
}

// Print writes the failure, or a run without a violation, for people: the invariant, a table with a column for each task and a row for each step that
// tells something, the frames where they change, and how to replay it.
func (f *Failure) Print(out io.Writer) error {
	threads, rows, err := f.rows()
	if err != nil {
		return err
	}
	if f.Violation.Name == "" {
		fmt.Fprintf(out, "nothing is violated: the run violates no invariant\n")
		f.table(out, threads, rows)
		return nil
	}
	fmt.Fprintf(out, "violated: %s\n", f.Violation.Name)
	if inv, ok := invariant.Lookup(f.Violation.Name); ok {
		fmt.Fprintf(out, "  rule: %s\n", inv.Statement)
	}
	fmt.Fprintf(out, "  here: %s\n", f.Violation.What)
	switch v := f.Violation; {
	case v.Name == "assertion":
	case v.Blame == invariant.Blame{} && (v.Name == "deadlock" || v.Name == "livelock"):
		fmt.Fprintf(out, "  blame: the program, if nobody was to end this; else the kernel, by no known defect\n")
	default:
		fmt.Fprintf(out, "  blame: %v\n", v.Blame)
	}
	f.table(out, threads, rows)
	replay := []string{f.Snippet()}
	if f.inTest || f.named() {
		replay = []string{f.Command(), f.Snippet()}
	}
	fmt.Fprintf(out, "\nreplay: %s\n", strings.Join(replay, "\n    or: "))
	return nil
}

// named reports whether the command line can name the program: one of the library, of a seed, or in a file.
func (f *Failure) named() bool {
	_, ok := Lookup(f.Program.Name)
	return ok || strings.HasPrefix(f.Program.Name, "random-") || strings.HasSuffix(f.Program.Name, ".txt") || strings.Contains(f.Program.Name, "/")
}

// PrintOutcome replays a run of a program whose outcome is asked for, and writes it as Failure.Print does a failure.
func PrintOutcome(out io.Writer, p Program, o Options, switches []sched.Switch) error {
	o.KeepGoing = true
	led, err := ReplayOutcome(p, o, switches)
	if err != nil {
		return err
	}
	f := Failure{Program: p, Options: o, Switches: switches}
	threads, rows, err := f.rows()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "outcome: %v\n", led)
	for _, v := range led.Violations {
		fmt.Fprintf(out, "  %s: %s\n    blame: %v\n", v.Name, v.What, v.Blame)
	}
	f.table(out, threads, rows)
	fmt.Fprintf(out, "\nreplay: %s\n", f.Command())
	return nil
}

// Snippet is the Go call that replays the failure.
func (f *Failure) Snippet() string {
	o := f.Options
	major, minor, _ := strings.Cut(o.Version.Release.String(), ".")
	minor, _, _ = strings.Cut(minor, ".")
	version := fmt.Sprintf("kernel.Version{Release: kernel.Linux%s_%s", major, minor)
	if len(o.Version.Set) > 0 {
		version += fmt.Sprintf(", Set: %#v", o.Version.Set)
	}
	var list []string
	for _, s := range f.Switches {
		list = append(list, fmt.Sprintf("{%d, %d}", s.Step, s.Pick))
	}
	options := fmt.Sprintf("Version: %s}, Memory: memmodel.%s", version, map[memmodel.Model]string{memmodel.SC: "SC", memmodel.TSO: "TSO", memmodel.Weak: "Weak"}[o.Memory])
	for _, x := range []struct {
		name  string
		given bool
		value any
	}{{"Seed", o.Seed != 0, o.Seed}, {"MaxSteps", o.MaxSteps != 0, o.MaxSteps}, {"Timeouts", o.Timeouts != 0, o.Timeouts},
		{"FailAllocs", o.FailAllocs != 0, o.FailAllocs}, {"Signals", o.Signals != 0, o.Signals}, {"Only", len(o.Only) > 0, o.Only},
		{"Ignore", len(o.Ignore) > 0, o.Ignore}, {"Foresee", o.Foresee != "", o.Foresee}, {"Without", len(f.LeftOut) > 0, f.LeftOut}} {
		if x.given {
			options += fmt.Sprintf(", %s: %#v", x.name, x.value)
		}
	}
	return fmt.Sprintf("explore.Replay(p, explore.Options{%s}, []sched.Switch{%s}) // p is %q",
		options, strings.Join(list, ", "), f.Program.Name)
}

// Command is what replays the failure.
func (f *Failure) Command() string {
	if f.inTest {
		return f.testCommand()
	}
	o := f.Options
	c := "nlmmap explore --kernel " + o.Version.Release.String()
	for _, name := range slices.Sorted(maps.Keys(o.Version.Set)) {
		c += fmt.Sprintf(" --set %s=%s", name, o.Version.Set[name])
	}
	c += fmt.Sprintf(" --memory %v", o.Memory)
	if o.Seed != 0 {
		c += fmt.Sprintf(" --seed %d", o.Seed) // the machine's seed too
	}
	if o.Timeouts != 0 {
		c += fmt.Sprintf(" --timeouts %d", o.Timeouts)
	}
	if o.FailAllocs != 0 {
		c += fmt.Sprintf(" --fail-allocs %d", o.FailAllocs)
	}
	if o.Signals != 0 {
		c += fmt.Sprintf(" --signals %d", o.Signals)
	}
	if len(o.Only) > 0 {
		c += " --only " + strings.Join(o.Only, ",")
	}
	if len(o.Ignore) > 0 {
		c += " --ignore " + strings.Join(o.Ignore, ",")
	}
	if o.Foresee != "" {
		c += " --foresee " + o.Foresee
	}
	if len(f.LeftOut) > 0 {
		c += " --without " + strings.Trim(strings.ReplaceAll(fmt.Sprint(f.LeftOut), " ", ","), "[]")
	}
	return c + fmt.Sprintf(" --replay %q %s", FormatSwitches(f.Switches), f.Program.Name)
}
