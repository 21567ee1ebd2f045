package explore_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nlmmap/defects"
	"nlmmap/explore"
	"nlmmap/internal/long"
	"nlmmap/kernel"
	"nlmmap/kernel/memmodel"
	"nlmmap/kernel/sched"
	"nlmmap/sys"
	"nlmmap/uapi"
	"nlmmap/userspace"
)

// TestScores finds every defect that needs concurrency or weak memory, and shows that it is absent where it was
// fixed.
func TestScores(t *testing.T) {
	list, err := defects.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range explore.Scores(list) {
		t.Run(s.Defect+"/"+s.Program, func(t *testing.T) {
			if testing.Short() && s.Program == "reader-and-acks" {
				t.Skip("reader-and-ack shows the same defect in fewer schedules")
			}
			r, err := s.Play(context.Background(), time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			t.Log(r.Found)
			if r.Without != nil {
				t.Log(r.Without)
			}
			if problem := r.Problem(); problem != "" {
				t.Fatal(problem)
			}
			f := r.Found.Failure
			v, err := explore.Replay(f.Program, f.Options, f.Switches)
			if err != nil || v == nil || len(f.LeftOut) == 0 && v.Name != s.Invariant {
				t.Errorf("the replay gives %v, %v", v, err)
			}
		})
	}
}

// TestProgramsAreClean searches programs that no defect of the newest kernel concerns: nothing may be found. Those with
// the most schedules are left out in short mode.
func TestProgramsAreClean(t *testing.T) {
	for _, tt := range []struct {
		program string
		memory  memmodel.Model
	}{
		{"reader-and-ack", memmodel.Weak}, {"reader-and-acks", memmodel.SC}, {"reader-and-acks", memmodel.TSO}, {"reader-and-acks", memmodel.Weak},
		{"two-senders", memmodel.SC}, {"skipping-reader", memmodel.SC}, {"dump-and-close", memmodel.SC}, {"dump-acks-reader", memmodel.SC},
		{"tx-second-thread", memmodel.Weak}, {"tx-shared-memory", memmodel.Weak}, {"tx-writer", memmodel.TSO}, {"two-mappers", memmodel.Weak},
		{"fork-exit-tx", memmodel.Weak}, {"locks", memmodel.SC}, {"nflog-batch", memmodel.SC},
		{"queue-judge", memmodel.SC}, {"queue-judge", memmodel.Weak}, {"queue-batch", memmodel.Weak}, {"queue-tx-ring", memmodel.SC}, {"queue-tx-ring", memmodel.Weak}, {"logger", memmodel.Weak}, {"dumper", memmodel.SC}, {"dumper", memmodel.Weak}, {"diag-dumper", memmodel.SC},
		{"epoll-level", memmodel.Weak}, {"epoll-edge", memmodel.Weak}, {"epoll-two-waiters", memmodel.SC}, {"epoll-late-add", memmodel.SC},
		{"so-error-readers", memmodel.SC}, {"error-and-receive", memmodel.SC}, {"receive-timeout", memmodel.SC}, {"exit-while-waiting", memmodel.Weak},
		{"multicast", memmodel.SC}, {"multicast-join", memmodel.Weak}, {"multicast-close", memmodel.Weak}, {"congestion", memmodel.SC},
		{"filter-change", memmodel.SC}, {"counters", memmodel.Weak}, {"header-words", memmodel.SC}, {"writer-and-reader", memmodel.Weak}, {"keeping-reader", memmodel.Weak},
		{"two-dumps", memmodel.Weak}, {"queue-unbind", memmodel.Weak},
	} {
		t.Run(fmt.Sprintf("%s/%v", tt.program, tt.memory), func(t *testing.T) {
			p, ok := explore.Lookup(tt.program)
			if !ok {
				t.Fatal("no such program")
			}
			if testing.Short() && (p.Name == "two-senders" || p.Name == "nflog-batch" || p.Name == "dumper" || p.Name == "header-words") {
				t.Skip("has many or long schedules")
			}
			if (p.Name == "dumper" || p.Name == "queue-batch") && tt.memory == memmodel.Weak {
				long.Only(t, "has long schedules")
			}
			o := explore.Options{Version: kernel.Version{Release: kernel.Linux4_5}, Memory: tt.memory, Time: time.Hour}
			if tt.memory == memmodel.Weak {
				o.Timeouts = -1 // the library's servers poll with a timeout in a loop
			}
			r := explore.Explore(context.Background(), p, o)
			if r.Err != nil || r.Failure != nil || !r.Exhausted {
				t.Fatal(r)
			}
			t.Log(r)
		})
	}
}

// TestSchedulersAgree: what the exhaustive search finds the random schedulers find too, given time. A random walk keeps
// two tasks abreast: it would take too long to let the owner of ring-torn-down make all of its call in the sender's gap.
func TestSchedulersAgree(t *testing.T) {
	for _, c := range []struct{ program, scheduler string }{
		{"ring-torn-down", "dfs"}, {"ring-torn-down", "pct"},
		{"ack-and-teardown", "dfs"}, {"ack-and-teardown", "pct"}, {"ack-and-teardown", "random"},
	} {
		p, _ := explore.Lookup(c.program)
		o := explore.Options{Version: kernel.Version{Release: kernel.Linux4_5}, Scheduler: c.scheduler, Only: []string{"memory"}, Runs: 20000}
		r := explore.Explore(context.Background(), p, o)
		if r.Failure == nil {
			t.Errorf("%v: %v", c, r)
		} else if n := len(r.Failure.Switches); n > 4 {
			t.Errorf("%v: minimised to %d switches", c, n)
		}
	}
	p, _ := explore.Lookup("ring-torn-down")
	r := explore.Explore(context.Background(), p, explore.Options{Scheduler: "best"})
	if r.Err == nil || !strings.Contains(r.Err.Error(), "pct") {
		t.Errorf("unknown scheduler: %v", r.Err)
	}
}

// TestProgressOfMinimising: whoever watches a search is told also while what it found is made smaller.
func TestProgressOfMinimising(t *testing.T) {
	p, _ := explore.Lookup("ack-and-teardown")
	told := 0
	r := explore.Explore(context.Background(), p, explore.Options{Scheduler: "random", Runs: 20000, Progress: func(r explore.Result) {
		if r.Failure != nil {
			told++
		}
	}})
	if r.Failure == nil || told == 0 {
		t.Errorf("%v: told %d times", r, told)
	}
}

func TestDeterminism(t *testing.T) {
	for _, p := range explore.Programs() {
		for seed := range uint64(20) {
			for _, m := range []memmodel.Model{memmodel.SC, memmodel.TSO, memmodel.Weak} {
				o := explore.Options{Version: kernel.Version{Release: kernel.Linux4_4}, Memory: m, Seed: seed}
				if err := explore.CheckDeterminism(p, o); err != nil {
					t.Errorf("%s, %v: %v", p.Name, m, err)
				}
			}
		}
	}
}

func TestSwitches(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		steps := rapid.SliceOfDistinct(rapid.IntRange(0, 1000), rapid.ID[int]).Draw(t, "steps")
		var list []sched.Switch
		last := -1
		for _, s := range steps {
			if s > last {
				list = append(list, sched.Switch{Step: s, Pick: rapid.IntRange(0, 9).Draw(t, "pick")})
				last = s
			}
		}
		back, err := explore.ParseSwitches(explore.FormatSwitches(list))
		if err != nil || fmt.Sprint(back) != fmt.Sprint(list) {
			t.Fatalf("%v became %v, %v", list, back, err)
		}
	})
	for _, bad := range []string{"1", "a:b", "2:1 1:0", "-1:0"} {
		if _, err := explore.ParseSwitches(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

// TestRandomSeeds uses the explorer inside a property.
func TestRandomSeeds(t *testing.T) {
	p, _ := explore.Lookup("reader-and-acks")
	rapid.Check(t, func(t *rapid.T) {
		o := explore.Options{Version: kernel.Version{Release: kernel.Linux4_5}, Scheduler: "random",
			Seed: rapid.Uint64().Draw(t, "seed"), Runs: 1}
		if err := explore.Check(p.Setup, o); err != nil {
			t.Fatal(err)
		}
	})
}

// lossy is a program of somebody's own: a counter of acknowledgements that two tasks change without care.
func lossy(w *explore.World) {
	main := w.Process("main")
	s := w.Open(main, uapi.NetlinkRoute, userspace.Config{TX: userspace.RingRequest(512, 8), Portid: 1000})
	second, err := sys.Thread(main, "second")
	w.Must(err)
	status := func(t sys.Task) uint32 {
		v, err := t.Load32(s.TX.Addr(0))
		w.Must(err)
		return v
	}
	count := func(t sys.Task) { w.Must(t.Store32(s.TX.Addr(0), status(t)+1)) }
	w.Go(main, count)
	w.Go(second, count)
	w.Finally(func() { w.Assert(status(main) == 2, "the counter is %d and not 2", status(main)) })
}

func Example() {
	r := explore.Explore(context.Background(), explore.Program{Name: "lossy", Setup: lossy}, explore.Options{})
	fmt.Println(r.Failure.Violation)
	fmt.Println(len(r.Failure.Switches), "switch")
	// Output:
	// assertion: the counter is 1 and not 2
	// 1 switch
}

func BenchmarkSchedules(b *testing.B) {
	p, _ := explore.Lookup("reader-and-ack")
	o := explore.Options{Version: kernel.Version{Release: kernel.Linux4_5}, Scheduler: "random", Runs: b.N, Time: time.Hour}
	b.ReportAllocs()
	r := explore.Explore(context.Background(), p, o)
	b.ReportMetric(float64(r.Runs)/b.Elapsed().Seconds(), "schedules/s")
	b.ReportMetric(float64(r.Steps)/b.Elapsed().Seconds(), "points/s")
	b.ReportMetric(float64(r.Steps)/float64(r.Runs), "points/schedule")
}

func BenchmarkExhaustive(b *testing.B) {
	p, _ := explore.Lookup("two-senders")
	o := explore.Options{Version: kernel.Version{Release: kernel.Linux4_5}, Runs: b.N, Time: time.Hour}
	r := explore.Explore(context.Background(), p, o)
	b.ReportMetric(float64(r.Runs)/b.Elapsed().Seconds(), "schedules/s")
	b.ReportMetric(float64(r.Steps)/b.Elapsed().Seconds(), "points/s")
}

// TestReach: that nothing is found where the code in question is never at work shows nothing. 4.1.18 reads no TX ring.
func TestReach(t *testing.T) {
	s := explore.Score{Defect: "tx-error-loses-progress", Program: "tx-refill", Invariant: "tx-bounded", At: "afnetlink.(*Sock).mmapSendmsg",
		On: kernel.Linux4_5, Absent: kernel.Linux4_1}
	r, err := s.Play(context.Background(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if problem := r.Problem(); !strings.Contains(problem, "never comes to") || r.Found.Reached == 0 {
		t.Errorf("%q, %v", problem, r.Found)
	}
}
