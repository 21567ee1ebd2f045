package explore_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"nlmmap/explore"
	"nlmmap/explore/gen"
	"nlmmap/kernel"
	"nlmmap/kernel/memmodel"
	"nlmmap/litmus"
	"nlmmap/scenario"
	"nlmmap/scenario/sim"
)

// A mutantJob is what the test binary of a mutant is to do; see mutants_test.go. It passes through MUTANT_JOB.
type mutantJob struct {
	Tried    []string // as in a mutant's file, without tests
	Baseline bool     // report everything and do not stop
	Budget   time.Duration
	Runs     int // if it is not 0: at most so many schedules of a program, and nothing that the kernel is known to have
}

// A mutantCatch is what caught it.
type mutantCatch struct {
	By        string // one of what was tried
	Invariant string
	What      string
	Schedules int
}

// known is what the library's programs find on 4.5.7 as it is, defects and invariants: that catches no mutant.
func known(program string, m memmodel.Model) []string {
	switch program {
	case "ring-torn-down", "two-setups":
		return []string{"set-ring-races", "copy-header-after-unlock"}
	case "ack-and-teardown":
		return []string{"memory", "frame-ownership"}
	case "copy-and-reader", "full-ring-copies", "two-senders-one-frame":
		return []string{"copy-header-after-unlock"}
	case "close-under-delivery", "queue-goes", "log-goes":
		return []string{"dead-ring-oops"}
	case "nfqueue-two-cpus":
		return []string{"nfq-id-order"}
	case "tx-writer":
		if m == memmodel.Weak {
			return []string{"get-status-barrier"}
		}
	}
	return nil
}

func findProgram(name string) (explore.Program, error) {
	if p, ok := explore.Lookup(name); ok {
		return p, nil
	}
	return explore.Program{}, fmt.Errorf("no program %q", name)
}

// TestMutantJob does a job of TestMutants, in the binary of a mutant.
func TestMutantJob(t *testing.T) {
	text := os.Getenv("MUTANT_JOB")
	if text == "" {
		t.Skip("only for TestMutants")
	}
	var job mutantJob
	if err := json.Unmarshal([]byte(text), &job); err != nil {
		t.Fatal(err)
	}
	for _, by := range job.Tried {
		if catch := tryMutant(t, by, job); catch != nil {
			printCatch(catch)
			if !job.Baseline {
				return
			}
		}
	}
}

// tryMutant does one thing that may catch a mutant. A kernel that panics is caught too.
func tryMutant(t *testing.T, by string, job mutantJob) (catch *mutantCatch) {
	defer func() {
		if p := recover(); p != nil {
			catch = &mutantCatch{By: by, Invariant: "panic", What: fmt.Sprint(p)}
		}
	}()
	what, file, _ := strings.Cut(by, " ")
	switch {
	case by == "random":
		return huntMutant()
	case by == "programs":
		for _, p := range explore.Programs() {
			for _, m := range []string{"", " weak"} {
				if c := runMutant(p.Name+m, mutantJob{Runs: 300}); c != nil {
					return c
				}
			}
		}
		return nil
	case what == "litmus":
		return litmusMutant(t, file)
	case strings.HasSuffix(by, ".txt"):
		return playMutant(t, by)
	}
	return runMutant(by, job)
}

func printCatch(c *mutantCatch) {
	b, _ := json.Marshal(c)
	fmt.Printf("CATCH %s\n", b)
}

// runMutant searches a program.
func runMutant(name string, job mutantJob) *mutantCatch {
	program, memory, _ := strings.Cut(name, " ")
	p, err := findProgram(program)
	m := map[string]memmodel.Model{"": memmodel.SC, "sc": memmodel.SC, "tso": memmodel.TSO, "weak": memmodel.Weak}[memory]
	o := explore.Options{Version: kernel.Version{Release: kernel.Linux4_5}, Memory: m, Time: job.Budget, KeepGoing: job.Baseline}
	if !job.Baseline {
		o.Ignore = known(program, m)
	}
	if job.Runs > 0 {
		o.Ignore, o.Runs, o.Time = []string{explore.Known}, job.Runs, 0
	}
	if err != nil {
		return &mutantCatch{By: name, Invariant: "error", What: err.Error()}
	}
	r := explore.Search(context.Background(), p, o)
	if r.Err == nil && r.Failure == nil && !job.Baseline {
		// Without a lock the exhaustive search does not see that what the lock guarded is shared.
		o.Scheduler, o.Time, o.Runs = "random", job.Budget/10, job.Runs/10
		name += ", random schedules"
		r = explore.Search(context.Background(), p, o)
	}
	if job.Baseline {
		for v, n := range r.Violations {
			if !slices.Contains(known(program, m), v) {
				printCatch(&mutantCatch{By: name, Invariant: v, Schedules: n})
			}
		}
		fmt.Printf("%-22s %-5v %v %v\n", program, m, r, r.Violations)
	}
	switch {
	case r.Err != nil && job.Runs > 0 && strings.HasPrefix(r.Err.Error(), "a step does not end"):
		return nil // on a machine that has other work to do
	case r.Err != nil:
		what, _, _ := strings.Cut(r.Err.Error(), "\n")
		return &mutantCatch{By: name, Invariant: "error", What: what}
	case r.Failure == nil:
		return nil
	}
	what, _, _ := strings.Cut(r.Failure.Violation.What, "\n")
	return &mutantCatch{name, r.Failure.Violation.Name, what, r.FoundAfter}
}

// huntMutant hunts with random programs, on all kernels.
func huntMutant() *mutantCatch {
	h := gen.Hunt{}
	runs := 0
	for seed, end := uint64(0), time.Now().Add(20*time.Second); time.Now().Before(end) && seed < 3000 || seed < 1000; seed++ {
		r := explore.Search(context.Background(), gen.New(seed, h.Config).Explore(), h.Options(seed))
		runs += r.Runs
		switch {
		case r.Err != nil:
			what, _, _ := strings.Cut(r.Err.Error(), "\n")
			return &mutantCatch{"random", "error", what, runs}
		case r.Failure != nil:
			what, _, _ := strings.Cut(r.Failure.Violation.What, "\n")
			return &mutantCatch{"random", r.Failure.Violation.Name, what, runs}
		}
	}
	return nil
}

// litmusMutant asks for the outcomes of a litmus file on 4.5.7.
func litmusMutant(t *testing.T, name string) *mutantCatch {
	if name == "*" {
		all, err := filepath.Glob(filepath.Join("..", "testdata", "litmus", "*.txt"))
		if err != nil || len(all) == 0 {
			t.Fatalf("no litmus files: %v", err)
		}
		for _, path := range all {
			if c := litmusMutant(t, filepath.Base(path)); c != nil {
				return c
			}
		}
		return nil
	}
	f := parseFile(t, filepath.Join("..", "testdata", "litmus", name))
	for _, section := range f.Outcomes {
		memory, err := memmodel.ParseModel(section.Memory)
		if err != nil {
			t.Fatal(err)
		}
		if section.Kernel != "4.5.7" {
			continue
		}
		o := explore.Options{Version: kernel.Version{Release: kernel.Linux4_5}, Memory: memory, Time: 20 * time.Second}
		if r := litmus.Check(context.Background(), f, section, o); len(r.Extra)+len(r.Missing) > 0 || r.First != nil {
			return &mutantCatch{By: "litmus " + name, Invariant: "outcomes", What: fmt.Sprintf("extra %v, missing %q", r.Extra, r.Missing)}
		}
	}
	return nil
}

func parseFile(t *testing.T, path string) *scenario.File {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := scenario.Parse(filepath.Base(path), strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// playMutant compares the mutant with recordings: of 4.5.7, or of another kernel, RELEASE/NAME.
func playMutant(t *testing.T, pattern string) *mutantCatch {
	release := kernel.Linux4_5
	if dir, _, ok := strings.Cut(pattern, "/"); ok {
		v, err := kernel.ParseVersion(dir)
		if err != nil {
			t.Fatal(err)
		}
		release = v.Release
	} else {
		pattern = "4.5.7/" + pattern
	}
	paths, err := filepath.Glob(filepath.Join("..", "testdata", "kernels", pattern))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no recordings %s", pattern)
	}
	for _, path := range paths {
		f := parseFile(t, path)
		name := f.Name
		if release != kernel.Linux4_5 {
			name = release.String() + "/" + name
		}
		boot := func() (scenario.Target, error) {
			return sim.New(sim.Config{Version: kernel.Version{Release: release}, Heap: true, InitNet: f.InitNet()})
		}
		r := scenario.Verify(context.Background(), boot, f)
		switch {
		case r.First != nil:
			return &mutantCatch{By: name, Invariant: "recording", What: r.First.Directive}
		case r.Failure != "":
			return &mutantCatch{By: name, Invariant: "recording", What: strings.SplitN(r.Failure, "\n", 2)[0]}
		}
	}
	return nil
}
