package explore_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"nlmmap/defects"
	"nlmmap/explore"
	"nlmmap/kernel"
	"nlmmap/kernel/memmodel"
	"nlmmap/sys"
	"nlmmap/uapi"
)

// TestWorkers: what a search says does not depend on how many goroutines make its runs.
func TestWorkers(t *testing.T) {
	for _, name := range []string{"reader-and-acks", "set-ring-races", "two-setups", "full-ring-acks", "copy-and-reader", "nfqueue-two-cpus", "two-dumps"} {
		p, ok := explore.Lookup(name)
		if !ok {
			continue
		}
		for _, o := range []explore.Options{
			{Version: kernel.Version{Release: kernel.Linux3_10}, Memory: memmodel.Weak},
			{Version: kernel.Version{Release: kernel.Linux4_5}, Runs: 150},
			{Version: kernel.Version{Release: kernel.Linux4_5}, Bound: 1, KeepGoing: true, Runs: 300},
			{Version: kernel.Version{Release: kernel.Linux4_5}, Scheduler: "random", Runs: 100, KeepGoing: true},
			{Version: kernel.Version{Release: kernel.Linux3_10}, Memory: memmodel.Weak, Scheduler: "pct", Runs: 100},
			{Version: kernel.Version{Release: kernel.Linux4_5}, Scheduler: "roundrobin"},
		} {
			want := ""
			for _, o.Workers = range []int{1, 2, 4} {
				got := said(explore.Search(t.Context(), p, o))
				if want == "" {
					want = got
				}
				if got != want {
					t.Errorf("%s, %+v:\n%s\nwith one worker\n%s", name, o, got, want)
				}
			}
		}
	}
}

// said is all that a result says but times.
func said(r explore.Result) string {
	r.Elapsed = 0
	s := fmt.Sprint(r.Length, r.Threads, r.Chance, r.Exhausted, r.FoundAfter, r.Violations, " ", r)
	if r.Failure != nil {
		s += fmt.Sprint(r.Failure.Violation, explore.FormatSwitches(r.Failure.Switches))
	}
	return s
}

// TestOutcomesOfWorkers: the same of sets of outcomes.
func TestOutcomesOfWorkers(t *testing.T) {
	p := explore.Program{Name: "two-sends", Setup: twoSends}
	want := ""
	for _, workers := range []int{1, 2, 4} {
		set := explore.Outcomes(t.Context(), p, explore.Options{Workers: workers})
		set.Elapsed = 0
		got := fmt.Sprint(set.Result, set.Outcomes)
		if want == "" {
			want = got
		}
		if got != want {
			t.Errorf("%d workers: %s\none: %s", workers, got, want)
		}
	}
}

// TestWorkersFail: a task that ends its test does so with several workers too.
func TestWorkersFail(t *testing.T) {
	for _, workers := range []int{1, 3} {
		ended := make(chan bool)
		go func() {
			through := false
			defer func() { ended <- !through }()
			explore.Search(t.Context(), explore.Program{Setup: func(w *explore.World) {
				main := w.Process("main")
				w.Socket(main, uapi.NetlinkUsersock, 1000)
				w.Go(main, func(sys.Task) { runtime.Goexit() })
			}}, explore.Options{Workers: workers})
			through = true
		}()
		if !<-ended {
			t.Errorf("%d workers: the search goes on", workers)
		}
	}
}

// TestDeepen: every defect that needs concurrency is found with few preemptions, and with fewer all was tried before.
func TestDeepen(t *testing.T) {
	list, err := defects.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range explore.Scores(list) {
		p, _ := explore.Lookup(s.Program)
		o := explore.Options{Version: kernel.Version{Release: s.On}, Memory: s.Memory, Only: []string{s.Invariant}, Deepen: true, Bound: 2}
		r := explore.Search(t.Context(), p, o)
		if r.Failure == nil || r.Failure.Violation.Blame.Defect != s.Defect {
			t.Errorf("%s with %s: %v", s.Defect, s.Program, r)
			continue
		}
		if v, err := explore.Replay(p, o, r.Failure.Switches); err != nil || v == nil || *v != r.Failure.Violation {
			t.Errorf("%s with %s: the replay gives %v, %v", s.Defect, s.Program, v, err)
		}
		t.Logf("%s with %s: %d preemptions, schedule %d", s.Defect, s.Program, len(r.Bounds), r.FoundAfter)
	}
}

// TestCovered: a search that was cut short by its budget says about how much of it is done, one that was not all.
func TestCovered(t *testing.T) {
	p, _ := explore.Lookup("two-senders")
	o := explore.Options{Version: kernel.Version{Release: kernel.Linux4_4}, Time: 20 * time.Millisecond}
	for _, o.Workers = range []int{1, 2} {
		if r := explore.Search(t.Context(), p, o); r.Exhausted || r.Covered <= 0 || r.Covered >= 1 || !strings.Contains(r.String(), "% of all schedules") {
			t.Errorf("%v, %f is covered", r, r.Covered)
		}
	}
	p, _ = explore.Lookup("reader-and-ack")
	if r := explore.Search(t.Context(), p, explore.Options{}); r.Covered != 1 {
		t.Errorf("%v, %f is covered", r, r.Covered)
	}
}

// TestCoverage: what runs have met does not depend on how many goroutines make them, and more runs meet more of it.
func TestCoverage(t *testing.T) {
	p, _ := explore.Lookup("reader-and-acks")
	o := explore.Options{Version: kernel.Version{Release: kernel.Linux4_4}, Coverage: true}
	pairs := map[int]int{} // in both orders, by runs
	for _, o.Runs = range []int{1, 0} {
		want := ""
		for _, o.Workers = range []int{1, 3} {
			c := explore.Search(t.Context(), p, o).Conflicts
			all, both := c.Pairs()
			pairs[o.Runs] = both
			got := fmt.Sprint(c.Kinds(), all, both, c.OneWay())
			if want == "" {
				want = got
			}
			if got != want || len(c.OneWay()) != all-both {
				t.Errorf("%d workers: %s\none: %s", o.Workers, got, want)
			}
		}
	}
	if pairs[1] >= pairs[0] {
		t.Errorf("one run meets %d pairs in both orders, all meet %d", pairs[1], pairs[0])
	}
}
