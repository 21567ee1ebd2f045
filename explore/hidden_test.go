package explore_test

import (
	"strings"
	"testing"

	"nlmmap/explore"
	"nlmmap/kernel"
	"nlmmap/kernel/sched"
	"nlmmap/sys"
)

// TestFindHidden: a word that tasks share behind the scheduler's back is found, with the steps that touch it.
func TestFindHidden(t *testing.T) {
	shared := func(w *explore.World) {
		word := 0
		var seen [2]int
		for i, name := range []string{"p", "q"} {
			w.Go(w.Process(name), func(t sys.Task) {
				_, _ = t.Getsockname(3)
				word++
				seen[i] = word
				_, _ = t.Getsockname(3)
			})
		}
		w.Outcome(func() string { return string(rune('0'+seen[0])) + string(rune('0'+seen[1])) })
	}
	found := 0
	for seed := range uint64(20) {
		h, err := explore.FindHidden(explore.Program{Setup: shared}, explore.Options{Seed: seed}, sched.NewRandom(seed), 3)
		if err != nil {
			t.Fatal(err)
		}
		if h == nil {
			continue
		}
		found++
		for _, s := range []string{h.First.From, h.Second.To} {
			if !strings.Contains(s, "explore_test.TestFindHidden") {
				t.Errorf("seed %d: the step is not one of the tasks' own:\n%v", seed, h)
			}
		}
		for i := range h.Outcomes {
			got, err := explore.ReplayOutcome(explore.Program{Setup: shared}, explore.Options{}, h.Switches[i])
			if err != nil || got.String() != h.Outcomes[i] {
				t.Errorf("seed %d: run %d led to %q, its replay to %q, %v", seed, i+1, h.Outcomes[i], got, err)
			}
		}
	}
	if found == 0 {
		t.Error("nothing found")
	}
}

// TestFindHiddenFindsNothing where tasks meet at scheduling points only.
func TestFindHiddenFindsNothing(t *testing.T) {
	for seed := range uint64(50) {
		h, err := explore.FindHidden(explore.Program{Setup: twoSends}, explore.Options{Seed: seed}, sched.NewRandom(seed), 3)
		if h != nil || err != nil {
			t.Fatalf("seed %d: %v, %v", seed, h, err)
		}
	}
}

// TestVerdictsAreFound: a verdict that follows from the order of two events which share nothing in the kernel, a message
// received and its COPY header written, is found by the search as by random schedules.
func TestVerdictsAreFound(t *testing.T) {
	p, _ := explore.Lookup("copy-and-reader")
	o := explore.Options{Version: kernel.Version{Release: kernel.Linux4_4}}
	all := explore.Outcomes(t.Context(), p, o)
	if !all.Exhausted || len(all.Outcomes) < 2 {
		t.Fatalf("%v, %d outcomes", all.Result, len(all.Outcomes))
	}
	o.Scheduler, o.Runs = "random", 2000
	if missing := all.Missing(explore.Outcomes(t.Context(), p, o)); len(missing) > 0 {
		t.Errorf("the search of %d schedules does not find %v", all.Runs, missing[0])
	}
}
