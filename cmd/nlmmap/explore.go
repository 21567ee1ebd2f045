package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"nlmmap/defects"
	"nlmmap/explore"
	"nlmmap/explore/gen"
	"nlmmap/invariant"
	"nlmmap/kernel"
	"nlmmap/kernel/memmodel"
	"nlmmap/kernel/sched"
	"nlmmap/scenario"
	"nlmmap/versions"
)

func exploreCommand() command {
	return command{
		name:    "explore",
		summary: "search the schedules of a small program, or the outcomes of a litmus file",
		help: `Usage: nlmmap explore [--kernel K] [--set NAME=VALUE ...] [--memory sc|tso|weak] [--scheduler S]
                      [--budget TIME] [--only NAME,...] [--ignore NAME,...] [--fail-allocs N] [--signals N] [-json] PROGRAM
       nlmmap explore [--kernel K ...] [--memory M] --replay SWITCHES|FILE [--without STEPS] PROGRAM
       nlmmap explore [--kernel K ...] [--memory M] [--scheduler S] [--runs N] [-json] LITMUS-FILE
       nlmmap explore [--kernel K ...] [--memory M] --replay SWITCHES|FILE LITMUS-FILE
       nlmmap explore --random [--kernel K] [--memory M] [--seed N] [--programs N] [--budget TIME] [-json]
       nlmmap explore [--kernel K ...] [--memory M] [--replay SWITCHES|FILE] RANDOM-PROGRAM-FILE
       nlmmap explore --list
       nlmmap explore --scoreboard [--budget TIME]
       nlmmap explore --check-search [--budget TIME] [--seed N] [--programs N]

Runs the program on a fresh machine again and again, each time under another schedule, until an invariant is violated,
all schedules that can differ have been seen, or the budget is used up. A violation is minimised and printed as a table
with a column for each task; steps that tell nothing are folded ("--full" has them all). docs/exploration.md tells how it works, docs/invariants.md what
is watched for.

A violation whose cause is a known defect of the kernel (docs/defects.md) is printed, and the search goes on for what lies
behind it, until it is complete, the budget is used up, or something is found that no known defect explains.
"--ignore known" leaves all known defects of the kernel out, "--only" asks for one thing and ends when it is found.

--random makes up programs, from seed N on: two or three tasks that make a few system calls and accesses to ring memory each.
Without --kernel and --memory they run on all kernels and in all memory models in turn, under all schedules where these are
few. What a program violates, beyond the known defects, is made as small as it can be and printed once for each kind,
with what replays it.

A litmus file is a scenario with a parallel block (docs/litmus.md). Its result is the set of outcomes: each is printed as
one line, with the number of schedules that led to it and what replays the first of them.

--check-search puts the search itself to the test: random programs, from seed N on, on all kernels and in all memory models;
what random schedules lead to, and what every choice at every step does where that can be tried, it must have found.
Each miss is printed with its program, and if two steps are to blame with these.

--deepen tries all schedules without a preemption first, then all with one, and so on: most bugs need one, and each bound is
complete. --coverage tells which steps of different tasks have met, and which of these pairs came in one order only. Searches use all
processors, and say the same on one (--workers).

Schedulers: dfs (all schedules that can differ, the
default), pct (bugs of a --depth with a probability that it prints), random, roundrobin, all (every choice at every step, for
tiny programs). Switches are STEP:THREAD, in order; STEP:fail is an allocation that finds no memory (--fail-allocs),
STEP:signal a signal that ends a sleep (--signals). Under weak a copy may be made after a store that follows it and that nothing orders; what
it then finds is in the replay line (--foresee).

Exit codes: 0 nothing found, 1 a violation (of a litmus file: in one of its outcomes), 2 bad input.

Examples:
  nlmmap explore --list
  nlmmap explore --kernel 4.4.1 testdata/litmus/bind-bind.txt
  nlmmap explore --kernel 3.10.4 --memory weak reader-and-ack
  nlmmap explore --kernel 4.5.7 --deepen --budget 30s ack-and-teardown
  nlmmap explore --kernel 4.5.7 --scheduler pct --budget 30s two-senders
  nlmmap explore --kernel 4.5.7 --replay "14:1" two-setups
  nlmmap explore --random --kernel 4.5.7 --budget 5m
  nlmmap explore --check-search --budget 1h
`,
		run: runExplore,
	}
}

func runExplore(ctx context.Context, e env, c command, args []string) int {
	flags := c.flags()
	var k kernelFlag
	k.add(flags, versions.Default.String(), kernelUsage)
	memory := flags.String("memory", "sc", "memory model of ring memory: sc, tso or weak")
	scheduler := flags.String("scheduler", "dfs", "who chooses the schedules: "+strings.Join(explore.Schedulers(), ", "))
	budget := flags.Duration("budget", time.Minute, "how long to search, for example 30s or 5m")
	runs := flags.Int("runs", 0, "how many schedules to run at most, 0 for no limit")
	seed := flags.Uint64("seed", 0, "seed of the random schedulers")
	depth := flags.Int("depth", 0, "depth of the bugs that pct looks for: how many pairs of steps must come in a certain order; 0 for 3")
	timeouts := flags.Int("timeouts", 0, "timeouts of each task that may come at any point, 0 for 1, -1 for none")
	failAllocs := flags.Int("fail-allocs", 0, "allocations of the kernel that may fail in a run, at any point where one is made")
	signals := flags.Int("signals", 0, "signals that may come in a run, at any point where a task sleeps in a system call")
	bound := flags.Int("bound", 0, "preemptions that dfs allows at most, 0 for no limit")
	deepen := flags.Bool("deepen", false, "let dfs try all schedules without preemptions first, then all with one, and so on")
	coverage := flags.Bool("coverage", false, "tell which steps of different tasks have met, and how many of these pairs in both orders")
	cores := flags.Int("workers", 0, "how many schedules to run at a time, 0 for as many as there are processors: the result is the same")
	only := flags.String("only", "", "invariants and defects to look for, separated by commas")
	ignore := flags.String("ignore", "", "invariants and defects to overlook, separated by commas")
	replay := flags.String("replay", "", "run once with these `SWITCHES`, or those in a file")
	without := flags.String("without", "", "optional `STEPS` of the program to leave out, for example 1,3")
	foresee := flags.String("foresee", "", "`CONTENTS` that a delayed read may find under weak, as a replay line says; searches of all schedules find them themselves")
	full := flags.Bool("full", false, "print every step of a failure, and not only those that tell something")
	list := flags.Bool("list", false, "list the programs and the invariants")
	scoreboard := flags.Bool("scoreboard", false, "search for every known defect that needs concurrency, print a table")
	random := flags.Bool("random", false, "search random programs, from --seed on")
	programs := flags.Int("programs", 0, "how many random programs to search at most, 0 for no limit")
	checkSearch := flags.Bool("check-search", false, "compare the search with random schedules of random programs")
	asJSON := flags.Bool("json", false, "print the result as JSON")
	rest, code, ok := c.parse(e, flags, args)
	if !ok {
		return code
	}
	model, err := memmodel.ParseModel(*memory)
	if err != nil {
		return e.bad("%v", err)
	}
	version, err := e.version(k, versions.All())
	if err != nil {
		return e.bad("%v", err)
	}
	if *cores == 0 {
		*cores = runtime.GOMAXPROCS(0)
	}
	if *budget <= 0 {
		return e.bad("explore: the budget is %v: it must be longer than nothing", *budget)
	}
	o := explore.Options{Version: version, Memory: model, Scheduler: *scheduler, Bound: *bound, Deepen: *deepen, Coverage: *coverage, Depth: *depth, Timeouts: *timeouts, Seed: *seed, Runs: *runs,
		Time: *budget, Workers: *cores, Only: words(*only), Ignore: words(*ignore), FailAllocs: *failAllocs, Signals: *signals, Foresee: *foresee, Full: *full}
	mode, takes := "a program", "kernel set memory scheduler budget runs seed depth timeouts fail-allocs signals bound deepen coverage workers only ignore without foresee full json"
	switch {
	case *list:
		mode, takes = "--list", ""
	case *random:
		mode, takes = "--random", "kernel set memory seed programs budget runs fail-allocs signals only ignore workers full json"
	case *scoreboard:
		mode, takes = "--scoreboard", "budget workers"
	case *checkSearch:
		mode, takes = "--check-search", "seed programs budget workers"
	case flagGiven(flags, "replay"):
		mode, takes = "--replay", "kernel set memory seed budget timeouts fail-allocs signals only ignore without foresee workers full"
	}
	if extra := extraFlag(flags, strings.TrimPrefix(mode, "--"), strings.Fields(takes)); extra != "" {
		return e.bad("explore: --%s means nothing for %s", extra, mode)
	}
	if mode[0] == '-' && mode != "--replay" && len(rest) > 0 {
		return e.bad("explore: %s takes no program, and %q is one too many", mode, rest[0])
	}
	switch {
	case *depth != 0 && *scheduler != "pct":
		return e.bad("explore: only pct looks for bugs of a --depth, not %s", *scheduler)
	case (*bound != 0 || *deepen) && *scheduler != "dfs":
		return e.bad("explore: only dfs has a --bound and --deepen, not %s", *scheduler)
	case *list:
		return e.listPrograms()
	case *random:
		h := gen.Hunt{Schedules: *runs, Only: o.Only, Ignore: o.Ignore, FailAllocs: *failAllocs, Signals: *signals}
		if flagGiven(flags, "kernel") || flagGiven(flags, "set") {
			h.Versions = []kernel.Version{version}
		}
		if flagGiven(flags, "memory") {
			h.Models = []memmodel.Model{model}
		}
		return e.hunt(ctx, h, *seed, *programs, *budget, *asJSON)
	case *scoreboard:
		return e.scoreboard(ctx, *budget)
	case *checkSearch:
		return e.checkSearch(ctx, *seed, *programs, *budget)
	case len(rest) != 1:
		return e.bad("explore: expected one program or litmus file, got %d; \"nlmmap explore --list\" lists the programs", len(rest))
	}
	p, ok := randomProgram(rest[0])
	file := !ok && isFile(rest[0])
	switch {
	case ok:
	case file:
		p, err = e.litmusProgram(rest[0])
	default:
		p, err = program(rest[0])
	}
	if err != nil {
		return e.bad("%v", err)
	}
	for _, w := range words(*without) {
		step, err := strconv.Atoi(w)
		if err != nil {
			return e.bad("explore: --without takes numbers of optional steps, not %q", w)
		}
		o.Without = append(o.Without, step)
	}
	switch {
	case file && flagGiven(flags, "replay"):
		return e.replayOutcome(p, o, *replay)
	case file:
		return e.outcomes(ctx, p, o, *asJSON)
	case flagGiven(flags, "replay"):
		return e.replayProgram(p, o, *replay)
	}
	return e.explore(ctx, p, o, *asJSON)
}

// explore searches a program. Beyond what a known defect of the kernel explains it searches on.
func (e env) explore(ctx context.Context, p explore.Program, o explore.Options, asJSON bool) int {
	stop := e.searchProgress(&o)
	var results []explore.Result
	code := exitOK
	for deadline := time.Now().Add(o.Time); ; {
		r := explore.Explore(ctx, p, o)
		if r.Err != nil {
			stop()
			return e.bad("%v", r.Err)
		}
		results = append(results, r)
		if !asJSON {
			stop()
			if err := e.printResult(p, o, r); err != nil {
				return e.bad("%v", err)
			}
		}
		if r.Failure == nil {
			break
		}
		code = exitDisagree
		defect := r.Failure.Violation.Blame.Defect
		o.Time = time.Until(deadline)
		if defect == "" || len(o.Only) > 0 || ctx.Err() != nil || o.Time <= 0 {
			break
		}
		o.Ignore = append(slices.Clone(o.Ignore), defect)
		if !asJSON {
			fmt.Fprintf(e.stdout, "\n%s is a known defect of this kernel. Beyond it:\n\n", defect)
		}
	}
	stop()
	if asJSON {
		e.resultJSON(p, o, results)
	}
	if ctx.Err() != nil {
		fmt.Fprintln(e.stderr, "interrupted: the figures are of what was covered until then")
		if code == exitOK {
			code = exitInterrupted
		}
	}
	return code
}

func (e env) printResult(p explore.Program, o explore.Options, r explore.Result) error {
	fmt.Fprintf(e.stdout, "%s on %v, memory %v: %v\n", p.Name, o.Version, o.Memory, r)
	if c := r.Conflicts; c != nil {
		all, both := c.Pairs()
		fmt.Fprintf(e.stdout, "  %d kinds of steps; %d pairs of them have met, %d in both orders\n", c.Kinds(), all, both)
		for _, m := range c.OneWay() {
			fmt.Fprintf(e.stdout, "  always before: %-50v %v\n", m.First, m.Second)
		}
	}
	for _, b := range r.Bounds {
		fmt.Fprintf(e.stdout, "  at most %d preemptions: %d schedules, complete\n", b.Preemptions, b.Runs)
	}
	if r.Failure == nil {
		return nil
	}
	fmt.Fprintln(e.stdout)
	return r.Failure.Print(e.stdout)
}

// searchProgress counts on the terminal until the function it returns is called.
func (e env) searchProgress(o *explore.Options) (stop func()) {
	if !e.terminal {
		return func() {}
	}
	last := time.Now()
	o.Progress = func(r explore.Result) {
		if time.Since(last) > time.Second {
			last = time.Now()
			fmt.Fprintf(e.stderr, "\r%d schedules, %v ", r.Runs, r.Elapsed.Round(time.Second))
			if r.Covered > 0 && r.Failure == nil {
				fmt.Fprintf(e.stderr, "(about %s) ", explore.Percent(r.Covered))
			}
			if n := len(r.Bounds); n > 0 {
				fmt.Fprintf(e.stderr, "(nothing with at most %d preemptions) ", r.Bounds[n-1].Preemptions)
			}
			if r.Failure != nil {
				fmt.Fprintf(e.stderr, "(found, looking for fewer switches than %d) ", len(r.Failure.Switches))
			}
		}
	}
	return func() { fmt.Fprint(e.stderr, "\r") }
}

// A violationFound is a violation in the output for programs.
type violationFound struct {
	Violation explore.Violation `json:"violation"`
	Switches  string            `json:"switches"`
	Replay    string            `json:"replay"`
}

func violationOf(f *explore.Failure) violationFound {
	return violationFound{f.Violation, explore.FormatSwitches(f.Switches), f.Command()}
}

// conflicts are what steps have met, in the output for programs.
type conflicts struct {
	Kinds      int      `json:"kinds"`
	Pairs      int      `json:"pairs"`
	BothOrders int      `json:"bothOrders"`
	OneOrder   []string `json:"oneOrder"`
}

func conflictsOf(c *sched.Conflicts) *conflicts {
	if c == nil {
		return nil
	}
	out := &conflicts{Kinds: c.Kinds(), OneOrder: []string{}}
	out.Pairs, out.BothOrders = c.Pairs()
	for _, m := range c.OneWay() {
		out.OneOrder = append(out.OneOrder, fmt.Sprintf("%v, then %v", m.First, m.Second))
	}
	return out
}

// resultJSON writes what became of the searches: the first violation and, where it was a known defect, what lay behind it.
func (e env) resultJSON(p explore.Program, o explore.Options, results []explore.Result) {
	out := struct {
		Program   string             `json:"program"`
		Kernel    string             `json:"kernel"`
		Memory    string             `json:"memory"`
		Schedules int                `json:"schedules"`
		Steps     int64              `json:"steps"`
		Exhausted bool               `json:"exhausted"`
		LeftOut   string             `json:"leftOut,omitempty"`
		Bounds    []explore.Bound    `json:"bounds,omitempty"`
		Covered   float64            `json:"covered,omitempty"`
		Conflicts *conflicts         `json:"conflicts,omitempty"`
		Violation *explore.Violation `json:"violation,omitempty"`
		Switches  string             `json:"switches,omitempty"`
		Found     []violationFound   `json:"found,omitempty"`
	}{Program: p.Name, Kernel: o.Version.String(), Memory: o.Memory.String()}
	for _, r := range results {
		out.Schedules, out.Steps, out.Exhausted, out.LeftOut = out.Schedules+r.Runs, out.Steps+r.Steps, r.Exhausted, r.LeftOut
		out.Bounds, out.Covered, out.Conflicts = r.Bounds, r.Covered, conflictsOf(r.Conflicts)
		if r.Failure != nil {
			out.Found = append(out.Found, violationOf(r.Failure))
		}
	}
	if len(out.Found) > 0 {
		out.Violation, out.Switches = &out.Found[0].Violation, out.Found[0].Switches
	}
	_ = writeJSON(e.stdout, out)
}

// replayProgram runs a program once and prints every step.
func (e env) replayProgram(p explore.Program, o explore.Options, text string) int {
	switches, err := switchesOf(text)
	if err != nil {
		return e.bad("%v", err)
	}
	v, err := explore.Replay(p, o, switches)
	if err != nil {
		return e.bad("%v", err)
	}
	f := explore.Failure{Program: p, Options: o, Switches: switches, LeftOut: o.Without}
	if v != nil {
		f.Violation = *v
	}
	if err := f.Print(e.stdout); err != nil {
		return e.bad("%v", err)
	}
	if v != nil {
		return exitDisagree
	}
	return exitOK
}

// switchesOf reads what --replay names: switches, or a file with some.
func switchesOf(text string) ([]sched.Switch, error) {
	if data, err := os.ReadFile(text); err == nil {
		text = string(data)
	}
	return explore.ParseSwitches(text)
}

func (e env) listPrograms() int {
	fmt.Fprintln(e.stdout, "Programs:")
	for _, p := range explore.Programs() {
		fmt.Fprintf(e.stdout, "  %-22s %s\n", p.Name, p.Doc)
	}
	fmt.Fprintln(e.stdout, "\nInvariants:")
	for _, i := range invariant.All() {
		fmt.Fprintf(e.stdout, "  %-22s %s\n", i.Name, i.Statement)
	}
	return exitOK
}

func (e env) scoreboard(ctx context.Context, budget time.Duration) int {
	list, err := defects.All()
	if err != nil {
		return e.bad("%v", err)
	}
	var results []explore.ScoreResult
	code := exitOK
	for _, s := range explore.Scores(list) {
		if ctx.Err() != nil {
			fmt.Fprintln(e.stderr, "interrupted: the table is not complete")
			code = exitDisagree
			break
		}
		if e.terminal {
			fmt.Fprintf(e.stderr, "%s with %s ...\n", s.Defect, s.Program)
		}
		r, err := s.Play(ctx, budget)
		if err != nil {
			return e.bad("%v", err)
		}
		if problem := r.Problem(); problem != "" {
			fmt.Fprintf(e.stderr, "nlmmap: %s with %s: %s\n", s.Defect, s.Program, problem)
			code = exitDisagree
		}
		results = append(results, r)
	}
	explore.WriteScoreboard(e.stdout, results)
	return code
}

func program(name string) (explore.Program, error) {
	if p, ok := explore.Lookup(name); ok {
		return p, nil
	}
	var names []string
	for _, p := range explore.Programs() {
		names = append(names, p.Name)
	}
	if near := scenario.Nearest(name, names); near != "" {
		return explore.Program{}, fmt.Errorf("no program %q: did you mean %q?", name, near)
	}
	return explore.Program{}, fmt.Errorf("no program %q; \"nlmmap explore --list\" lists them", name)
}

// extraFlag returns a flag that was set though it is neither what a mode is called nor one that it takes, empty for none.
func extraFlag(flags *flag.FlagSet, mode string, takes []string) (extra string) {
	flags.Visit(func(f *flag.Flag) {
		if f.Name != mode && !slices.Contains(takes, f.Name) {
			extra = f.Name
		}
	})
	return extra
}

// flagGiven reports whether a flag was set, be it to nothing.
func flagGiven(flags *flag.FlagSet, name string) bool {
	given := false
	flags.Visit(func(f *flag.Flag) { given = given || f.Name == name })
	return given
}

// words splits a list of names at commas.
func words(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}
