package sched_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"nlmmap/kernel/sched"
)

// letters runs threads that write their letter a number of times, with a scheduling point before each, and returns what
// was written.
func letters(s sched.Scheduler, threads, times int) string {
	r := &sched.Run{Scheduler: s}
	var out strings.Builder
	obj := r.NewObj()
	for i := range threads {
		r.Go(fmt.Sprint("t", i), func(t *sched.Thread) {
			for range times {
				t.Point(sched.Op{Kind: sched.Store, Write: true, Obj: obj})
				out.WriteByte('a' + byte(i))
			}
		})
	}
	if err := r.Loop(); err != nil {
		return err.Error()
	}
	return out.String()
}

func TestRoundRobin(t *testing.T) {
	// The first step of a thread leads it to its first point, where nothing is written yet.
	for _, c := range []struct {
		quantum int
		want    string
	}{{0, "abcabcabc"}, {1, "abcabcabc"}, {2, "abcaabbcc"}, {100, "aaabbbccc"}} {
		if got := letters(&sched.RoundRobin{Quantum: c.quantum}, 3, 3); got != c.want {
			t.Errorf("quantum %d: %s, want %s", c.quantum, got, c.want)
		}
	}
}

// TestSameSeedSameRun: a seed is a run; other seeds are other runs.
func TestSameSeedSameRun(t *testing.T) {
	for name, newSched := range map[string]func(seed uint64) sched.Scheduler{
		"random": func(seed uint64) sched.Scheduler { return sched.NewRandom(seed) },
		"PCT":    func(seed uint64) sched.Scheduler { return sched.NewPCT(seed, 3, 20) },
	} {
		seen := map[string]bool{}
		for seed := range uint64(30) {
			got := letters(newSched(seed), 3, 5)
			if again := letters(newSched(seed), 3, 5); got != again {
				t.Fatalf("%s, seed %d: %s, then %s", name, seed, got, again)
			}
			seen[got] = true
		}
		if len(seen) < 15 {
			t.Errorf("%s: 30 seeds give only %d runs", name, len(seen))
		}
	}
}

// TestReplay writes random runs down as switches and repeats them from that.
func TestReplay(t *testing.T) {
	for seed := range uint64(50) {
		rec := &sched.Recorder{Scheduler: sched.NewRandom(seed)}
		got := letters(rec, 4, 6)
		if again := letters(&sched.Replay{Switches: rec.Switches}, 4, 6); again != got {
			t.Fatalf("seed %d: %s, replayed %s", seed, got, again)
		}
	}
	// Without switches each thread runs to its end; a switch that is not possible is ignored.
	want := "aaabbb"
	for _, switches := range [][]sched.Switch{nil, {{Step: 2, Pick: 77}}, {{Step: 1000, Pick: 1}}} {
		if got := letters(&sched.Replay{Switches: switches}, 2, 3); got != want {
			t.Errorf("%v: %s, want %s", switches, got, want)
		}
	}
}

// TestRandomIsFair: every order of two steps comes up.
func TestRandomIsFair(t *testing.T) {
	count := map[string]int{}
	for seed := range uint64(400) {
		count[letters(sched.NewRandom(seed), 3, 1)]++
	}
	if len(count) != 6 {
		t.Errorf("3 threads have 6 orders: %v", count)
	}
}

type gate struct{ open bool }

func (g *gate) Ready() bool { return g.open }

func TestDeadlock(t *testing.T) {
	r := &sched.Run{Scheduler: &sched.RoundRobin{}}
	g := &gate{}
	r.Go("fine", func(*sched.Thread) {})
	r.Go("stuck", func(th *sched.Thread) { th.Point(sched.Op{Kind: sched.Lock, Res: g, Label: "the gate"}) })
	err := r.Loop()
	var d *sched.Deadlock
	if !errors.As(err, &d) || len(d.Threads) != 1 || err.Error() != "deadlock: stuck waits for lock the gate;" {
		t.Error(err)
	}
}

// TestDaemon: a daemon may be left waiting; it does not keep the run alive, and is no deadlock.
func TestDaemon(t *testing.T) {
	r := &sched.Run{Scheduler: &sched.RoundRobin{}}
	unwound := false
	r.Go("daemon", func(th *sched.Thread) {
		defer func() { unwound = true }()
		th.Daemon()
		th.Point(sched.Op{Kind: sched.Wait, Res: &gate{}})
		t.Error("the gate opened")
	})
	if err := r.Loop(); err != nil || !unwound {
		t.Errorf("%v, unwound %t", err, unwound)
	}
}

// TestIdle lets something happen when nobody can go on: time passes.
func TestIdle(t *testing.T) {
	g := &gate{}
	r := &sched.Run{Scheduler: &sched.RoundRobin{}, Idle: func(bool) bool {
		was := g.open
		g.open = true
		return !was
	}}
	done := false
	r.Go("sleeper", func(th *sched.Thread) {
		th.Point(sched.Op{Kind: sched.Wait, Res: g})
		done = true
	})
	if err := r.Loop(); err != nil || !done {
		t.Errorf("%v, done %t", err, done)
	}
}

// stopAfter ends the run after some steps.
type stopAfter struct {
	sched.RoundRobin
	steps int
}

func (s *stopAfter) Next(r *sched.Run, cur *sched.Thread, enabled []*sched.Thread) *sched.Thread {
	if s.steps--; s.steps < 0 {
		return nil
	}
	return s.RoundRobin.Next(r, cur, enabled)
}

// TestAbandonedRunUnwinds: threads that do not finish run their deferred functions, which may meet scheduling points.
func TestAbandonedRunUnwinds(t *testing.T) {
	for steps := range 12 {
		r := &sched.Run{Scheduler: &stopAfter{steps: steps}}
		started, unwound := 0, 0
		for i := range 3 {
			r.Go(fmt.Sprint(i), func(th *sched.Thread) {
				started++
				defer func() {
					th.Point(sched.Op{Kind: sched.Unlock})
					unwound++
				}()
				for {
					th.Point(sched.Op{Kind: sched.Yield})
				}
			})
		}
		if err := r.Loop(); err != nil {
			t.Error(err)
		}
		if started != min(steps, 3) || unwound != started {
			t.Errorf("%d steps: %d threads started, %d unwound", steps, started, unwound)
		}
	}
}

func TestStepLimit(t *testing.T) {
	r := &sched.Run{Scheduler: &sched.RoundRobin{}, MaxSteps: 100}
	r.Go("spins", func(th *sched.Thread) {
		for {
			th.Point(sched.Op{Kind: sched.Yield})
		}
	})
	if err := r.Loop(); err != sched.ErrSteps || r.Steps() != 100 {
		t.Errorf("%v after %d steps", err, r.Steps())
	}
}

// TestYield: a thread that yields lets another one go first, and goes on by itself when there is none.
func TestYield(t *testing.T) {
	r := &sched.Run{Scheduler: &sched.Replay{}}
	var out strings.Builder
	for i, name := range []string{"a", "b"} {
		r.Go(name, func(th *sched.Thread) {
			for range 2 + 2*i {
				out.WriteString(name)
				th.Yield("loop")
			}
		})
	}
	if err := r.Loop(); err != nil || out.String() != "ababbb" {
		t.Errorf("%s, %v", out.String(), err)
	}
	r = &sched.Run{Scheduler: &sched.Replay{}}
	r.Go("alone", func(th *sched.Thread) { th.GiveWay("loop") })
	if err := r.Loop(); !errors.As(err, new(*sched.Deadlock)) {
		t.Errorf("a thread that gives way has nobody to wait for: %v", err)
	}
}

// TestGiveWay: a loop that waits for others cannot starve them, whatever the scheduler prefers.
func TestGiveWay(t *testing.T) {
	r := &sched.Run{Scheduler: &sched.Replay{}, MaxSteps: 1000} // would run the first thread for ever
	flag := false
	turns := 0
	r.Go("spins", func(th *sched.Thread) {
		for !flag {
			th.GiveWay("flag")
			turns++
		}
	})
	r.Go("sets", func(th *sched.Thread) {
		th.Point(sched.Op{Kind: sched.Store})
		flag = true
	})
	if err := r.Loop(); err != nil || turns > 3 {
		t.Errorf("%v after %d turns", err, turns)
	}
}

// TestAgents: an agent makes its step each time it is chosen, and does not keep the run alive.
func TestAgents(t *testing.T) {
	r := &sched.Run{Scheduler: &sched.RoundRobin{}}
	n := 0
	g := &gate{open: true}
	agent := r.Agent(nil, "agent", sched.Op{Res: g}, func() {
		n++
		g.open = n < 5
	})
	r.Go("thread", func(th *sched.Thread) {
		for range 10 {
			th.Point(sched.Op{Kind: sched.Yield})
		}
	})
	if err := r.Loop(); err != nil || n != 5 || agent.Steps() != 5 || !agent.IsAgent() {
		t.Errorf("%v, %d steps", err, n)
	}
}

// TestThreadsStartThreads: Go may be called by a running thread, and ids count up.
func TestThreadsStartThreads(t *testing.T) {
	r := &sched.Run{Scheduler: &sched.RoundRobin{}}
	var order []string
	r.Go("parent", func(th *sched.Thread) {
		r.Go("child", func(th *sched.Thread) { order = append(order, th.Name) })
		th.Point(sched.Op{Kind: sched.Yield})
		order = append(order, th.Name)
	})
	if err := r.Loop(); err != nil || !slices.Equal(order, []string{"child", "parent"}) || r.Threads()[1].ID != 1 || !r.Threads()[1].Done() {
		t.Error(err, order)
	}
}

// TestPanicsAreNotSwallowed: a bug in a thread is not taken for its end.
func TestPanicsAreNotSwallowed(t *testing.T) {
	defer func() {
		if p := recover(); p != "bug" {
			t.Errorf("recovered %v", p)
		}
	}()
	r := &sched.Run{Scheduler: &sched.RoundRobin{}}
	r.Go("buggy", func(*sched.Thread) { panic("bug") })
	_ = r.Loop()
	t.Error("no panic")
}

// TestDependent compares with bytes that are listed one by one.
func TestDependent(t *testing.T) {
	touch := func(o sched.Op) map[int]bool {
		set := map[int]bool{}
		n := o.Len
		if n == 0 {
			o.Off, n = 0, 16
		}
		for i := o.Off; i < o.Off+n; i++ {
			set[int(o.Obj)*100+int(i)] = true
		}
		return set
	}
	var ops []sched.Op
	for obj := range sched.Obj(3) {
		for _, write := range []bool{false, true} {
			for _, r := range [][2]uint32{{0, 0}, {0, 4}, {2, 4}, {4, 4}} {
				ops = append(ops, sched.Op{Obj: obj, Write: write, Off: r[0], Len: r[1]})
			}
		}
	}
	for _, a := range ops {
		for _, b := range ops {
			want := false
			for i := range touch(a) {
				want = want || a.Obj != 0 && touch(b)[i] && (a.Write || b.Write)
			}
			if a.Dependent(b) != want || b.Dependent(a) != want {
				t.Errorf("%+v and %+v: %t, want %t", a, b, a.Dependent(b), want)
			}
		}
	}
}

// Example shows a lost update that only some schedules have, and how to write such a schedule down.
func Example() {
	counter := func(s sched.Scheduler) int {
		r := &sched.Run{Scheduler: s}
		n, obj := 0, r.NewObj()
		for range 2 {
			r.Go("adder", func(t *sched.Thread) {
				t.Point(sched.Op{Kind: sched.Load, Obj: obj})
				old := n
				t.Point(sched.Op{Kind: sched.Store, Obj: obj, Write: true})
				n = old + 1
			})
		}
		if err := r.Loop(); err != nil {
			panic(err)
		}
		return n
	}
	fmt.Println("one after the other:", counter(&sched.Replay{}))
	for seed := uint64(1); ; seed++ {
		rec := &sched.Recorder{Scheduler: sched.NewRandom(seed)}
		if n := counter(rec); n != 2 {
			fmt.Println("found:", n)
			fmt.Println("replayed:", counter(&sched.Replay{Switches: rec.Switches}))
			break
		}
	}
	// Output:
	// one after the other: 2
	// found: 1
	// replayed: 1
}

func benchmarkPoints(b *testing.B, threads int, s sched.Scheduler) {
	r := &sched.Run{Scheduler: s, MaxSteps: 1 << 62}
	left := b.N
	for range threads {
		r.Go("t", func(t *sched.Thread) {
			for left > 0 {
				left--
				t.Point(sched.Op{Kind: sched.Load, Obj: 1})
			}
		})
	}
	if err := r.Loop(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "points/s")
}

// The cost of a scheduling point where the same thread goes on, and where another does.
func BenchmarkPointStay(b *testing.B)    { benchmarkPoints(b, 2, &sched.Replay{}) }
func BenchmarkPointSwitch(b *testing.B)  { benchmarkPoints(b, 2, &sched.RoundRobin{}) }
func BenchmarkPointRandom4(b *testing.B) { benchmarkPoints(b, 4, sched.NewRandom(1)) }

// TestPCTChance measures how often PCT finds bugs of a known depth in a program of two threads: as often as it promises.
func TestPCTChance(t *testing.T) {
	const times, runs = 4, 8000
	steps := 2 * (times + 1) // each thread has a first step more
	for _, bug := range []struct {
		depth int
		order string // of the first steps
	}{{1, "b"}, {2, "aab"}, {3, "aabba"}} {
		found := 0
		for seed := range uint64(runs) {
			if strings.HasPrefix(letters(sched.NewPCT(seed, bug.depth, steps), 2, times), bug.order) {
				found++
			}
		}
		measured, promised := float64(found)/runs, sched.Chance(2, steps, bug.depth)
		t.Logf("depth %d: measured %.4f, promised %.4f", bug.depth, measured, promised)
		if measured < promised*0.8 {
			t.Errorf("%q is found in %.4f of the runs, promised are %.4f", bug.order, measured, promised)
		}
	}
}

// TestStepOfStoreBuffer: the step of a store buffer says which place it stores to.
func TestStepOfStoreBuffer(t *testing.T) {
	s := sched.Step{Thread: "t's store buffer", Op: sched.Op{Kind: sched.Drain, Obj: 5, Off: 8, Len: 4}}
	if got, want := s.String(), "t's store buffer: drain to bytes 8 to 12 of memory 5"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
