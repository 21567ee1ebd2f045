package explore

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

	"nlmmap/kernel"
	"nlmmap/kernel/memmodel"
	"nlmmap/scenario"
	"nlmmap/scenario/sim"
)

// A mutantJob is what the test binary of a mutant is to do; see mutants_test.go. It passes through MUTANT_JOB.
type mutantJob struct {
	Programs   []string // "name memory"
	Recordings []string // "*.txt" patterns
	Baseline   bool     // report everything and do not stop
	Budget     time.Duration
}

// A mutantCatch is what caught it.
type mutantCatch struct {
	By        string // a program and its memory model, or a recording
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
	case "close-under-delivery":
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

func findProgram(name string) (Program, error) {
	if p, ok := Lookup(name); ok {
		return p, nil
	}
	return Program{}, fmt.Errorf("no program %q", name)
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
	for _, name := range job.Programs {
		if catch := runMutant(name, job); catch != nil && !job.Baseline {
			printCatch(catch)
			return
		}
	}
	for _, pattern := range job.Recordings {
		if catch := playMutant(t, pattern); catch != nil {
			printCatch(catch)
			if !job.Baseline {
				return
			}
		}
	}
}

func printCatch(c *mutantCatch) {
	b, _ := json.Marshal(c)
	fmt.Printf("CATCH %s\n", b)
}

// runMutant searches a program. A kernel that panics is caught too.
func runMutant(name string, job mutantJob) (catch *mutantCatch) {
	defer func() {
		if p := recover(); p != nil {
			catch = &mutantCatch{By: name, Invariant: "panic", What: fmt.Sprint(p)}
		}
	}()
	program, memory, _ := strings.Cut(name, " ")
	p, err := findProgram(program)
	m := map[string]memmodel.Model{"": memmodel.SC, "sc": memmodel.SC, "tso": memmodel.TSO, "weak": memmodel.Weak}[memory]
	o := Options{Version: kernel.Version{Release: kernel.Linux4_5}, Memory: m, Time: job.Budget, KeepGoing: job.Baseline}
	if !job.Baseline {
		o.Ignore = known(program, m)
	}
	if err != nil {
		return &mutantCatch{By: name, Invariant: "error", What: err.Error()}
	}
	r := search(context.Background(), p, o, nil)
	if r.Err == nil && r.Failure == nil && !job.Baseline {
		// Without a lock the exhaustive search does not see that what the lock guarded is shared.
		o.Scheduler, o.Time = "random", job.Budget/10
		name += ", random schedules"
		r = search(context.Background(), p, o, nil)
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
	case r.Err != nil:
		what, _, _ := strings.Cut(r.Err.Error(), "\n")
		return &mutantCatch{By: name, Invariant: "error", What: what}
	case r.Failure == nil:
		return nil
	}
	what, _, _ := strings.Cut(r.Failure.Violation.What, "\n")
	return &mutantCatch{name, r.Failure.Violation.Name, what, r.FoundAfter}
}

// playMutant compares the mutant with recordings.
func playMutant(t *testing.T, pattern string) *mutantCatch {
	paths, err := filepath.Glob(filepath.Join("..", "testdata", "kernels", "4.5.7", pattern))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no recordings %s", pattern)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(path)
		f, err := scenario.Parse(name, strings.NewReader(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		boot := func() (scenario.Target, error) {
			return sim.New(sim.Config{Version: kernel.Version{Release: kernel.Linux4_5}, Heap: true, InitNet: f.InitNet()})
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
