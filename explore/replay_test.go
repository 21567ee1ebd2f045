package explore_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"nlmmap/explore"
	"nlmmap/internal/long"
	"nlmmap/kernel"
	"nlmmap/kernel/memmodel"
)

// violations are what a program breaks under some schedules, each invariant with each cause once.
func violations(t *testing.T, p explore.Program, o explore.Options) []explore.Violation {
	var all []explore.Violation
	for _, scheduler := range []string{"dfs", "random"} {
		o.Scheduler, o.Runs = scheduler, 100
		set := explore.Outcomes(context.Background(), p, o)
		if set.Err != nil {
			t.Fatal(set.Err)
		}
		for _, out := range set.Outcomes {
			for _, v := range out.Violations {
				same := func(w explore.Violation) bool { return w.Name == v.Name && w.Blame == v.Blame }
				if !slices.ContainsFunc(all, same) {
					all = append(all, v)
				}
			}
		}
	}
	return all
}

// TestEveryViolation: what the programs of the library violate on any kernel, in any memory model, is explained by a defect
// that the kernel has; and each violation is replayed by what the search returns (in a long test, minimised too).
func TestEveryViolation(t *testing.T) {
	found := 0
	for i, p := range explore.Programs() {
		for j, r := range kernel.Releases() {
			for k, m := range []memmodel.Model{memmodel.SC, memmodel.TSO, memmodel.Weak} {
				if !long.Wanted() && (i+j+k)%6 != 0 || testing.Short() && (i+j)%4 != 0 {
					continue
				}
				o := explore.Options{Version: kernel.Version{Release: r}, Memory: m}
				name := fmt.Sprintf("%s on %v, %v", p.Name, r, m)
				for _, v := range violations(t, p, o) {
					found++
					if v.Blame.Defect == "" {
						t.Errorf("%s: no known defect explains %v", name, v)
						continue
					}
					replayed(t, name, p, o, v)
				}
			}
		}
	}
	t.Logf("%d violations", found)
	if found == 0 {
		t.Error("nothing was replayed")
	}
}

// replayed checks that a violation is found again when it is asked for, and that its replay shows it.
func replayed(t *testing.T, name string, p explore.Program, o explore.Options, v explore.Violation) {
	o.Only, o.Time = []string{v.Name}, 10*time.Second
	searches := []func(context.Context, explore.Program, explore.Options) explore.Result{explore.Search, explore.Explore}
	if !long.Wanted() {
		searches = searches[:1] // minimising one takes up to 50,000 runs
	}
	for _, search := range searches {
		var res explore.Result
		for _, o.Scheduler = range []string{"dfs", "random"} {
			o.Runs = 100
			if res = search(context.Background(), p, o); res.Failure != nil {
				break
			}
		}
		if res.Failure == nil {
			t.Errorf("%s: %v is not found again: %v", name, v, res)
			return
		}
		f := res.Failure
		again := f.Options
		again.Without = f.LeftOut
		got, err := explore.Replay(p, again, f.Switches)
		if err != nil || got == nil || *got != f.Violation {
			t.Errorf("%s: the replay of %v gives %v, %v", name, f.Violation, got, err)
		}
	}
}

// TestLostSwitches: switches of another run are no replay.
func TestLostSwitches(t *testing.T) {
	p, _ := explore.Lookup("two-kicks")
	for _, text := range []string{"0:7", "3:9", "100000:1"} {
		switches, err := explore.ParseSwitches(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := explore.Replay(p, explore.Options{}, switches); err == nil {
			t.Errorf("%s was replayed", text)
		}
	}
}

// TestOptions: options that mean nothing are errors, and a search that left schedules out says so.
func TestOptions(t *testing.T) {
	p, _ := explore.Lookup("reader-and-ack")
	for _, o := range []explore.Options{{Bound: -1}, {Depth: -1}, {Runs: -1}, {Time: -1}, {MaxSteps: -1}, {Memory: 7}, {Without: []int{0}},
		{Only: []string{"nosuch"}}, {Ignore: []string{"nosuch"}}, {Scheduler: "nosuch"}} {
		if r := explore.Search(context.Background(), p, o); r.Err == nil {
			t.Errorf("%+v is accepted: %v", o, r)
		}
	}
	for _, o := range []explore.Options{{Bound: 1}, {Scheduler: "roundrobin"}} {
		if r := explore.Search(context.Background(), p, o); r.Err != nil || r.Exhausted || r.LeftOut == "" {
			t.Errorf("%+v: %v", o, r)
		}
	}
	if r := explore.Search(context.Background(), p, explore.Options{Ignore: []string{explore.Known}}); r.Err != nil || !r.Exhausted || r.LeftOut != "" {
		t.Error(r)
	}
}
