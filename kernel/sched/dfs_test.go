package sched_test

import (
	"fmt"
	"sort"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"nlmmap/kernel/sched"
)

// program is a set of threads, each a list of accesses to variables: "w0" writes variable 0, "r1" reads variable 1.
type program [][]string

type free struct{ held *bool }

func (f free) Ready() bool { return !*f.held }

// run runs a program under a scheduler and returns what it observed: the values read and the final values.
func (p program) run(s sched.Scheduler) string {
	r := &sched.Run{Scheduler: s}
	var vars [4]int
	objs := [4]sched.Obj{}
	for i := range objs {
		objs[i] = r.NewObj()
	}
	mutex, held := r.NewObj(), false
	reads := make([]string, len(p))
	for id, ops := range p {
		r.Go(fmt.Sprint("t", id), func(t *sched.Thread) {
			for n, op := range ops {
				v := op[1] - '0'
				switch op[0] {
				case 'l':
					t.Point(sched.Op{Kind: sched.Lock, Obj: mutex, Write: true, Res: free{&held}})
					held = true
					continue
				case 'u':
					t.Point(sched.Op{Kind: sched.Unlock, Obj: mutex, Write: true})
					held = false
					continue
				}
				t.Point(sched.Op{Kind: sched.Load, Obj: objs[v], Write: op[0] == 'w'})
				if op[0] == 'w' {
					vars[v] = 10*id + n + 1
				} else {
					reads[id] += fmt.Sprint(vars[v], " ")
				}
			}
		})
	}
	if err := r.Loop(); err != nil {
		return err.Error()
	}
	return strings.Join(reads, "/") + fmt.Sprint(vars)
}

func outcomes(set map[string]bool) string {
	var list []string
	for o := range set {
		list = append(list, o)
	}
	sort.Strings(list)
	return strings.Join(list, "\n")
}

// compare demands that the reduced search finds exactly what the one finds that tries everything.
func compare(t interface{ Fatalf(string, ...any) }, p program) {
	full, fullRuns := map[string]bool{}, 0
	a := &sched.All{}
	for a.More() {
		full[p.run(a)] = true
		fullRuns++
	}
	reduced := map[string]bool{}
	d := &sched.DFS{}
	for d.More() {
		if o := p.run(d); !d.Repeated() {
			reduced[o] = true
		}
	}
	switch {
	case d.Err() != nil:
		t.Fatalf("%v: %v", p, d.Err())
	case outcomes(full) != outcomes(reduced):
		t.Fatalf("%v:\nfull search (%d runs)\n%s\nreduced search (%d runs)\n%s", p, fullRuns, outcomes(full), d.Runs(), outcomes(reduced))
	case d.Runs() > fullRuns:
		t.Fatalf("%v: the reduced search needs %d runs, the full one %d", p, d.Runs(), fullRuns)
	}
}

// TestDFSRandomPrograms compares the searches on random programs, with a lock.
func TestDFSRandomPrograms(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p program
		left := 6 // steps in all: the full search has a run for each of their orders
		for range rapid.IntRange(2, 3).Draw(t, "threads") {
			n := min(left, rapid.IntRange(1, 4).Draw(t, "ops"))
			left -= n
			var ops []string
			for range n {
				ops = append(ops, rapid.SampledFrom([]string{"r0", "w0", "r1", "w1", "r2", "w2"}).Draw(t, "op"))
			}
			if len(ops) > 0 && n < 4 && rapid.Bool().Draw(t, "locked") {
				at := rapid.IntRange(0, len(ops)-1).Draw(t, "at")
				ops = append(ops[:at:at], append([]string{"l0", ops[at], "u0"}, ops[at+1:]...)...)
			}
			p = append(p, ops)
		}
		compare(t, p)
	})
}

// TestDFSFindsWhatFullSearchFinds compares the reduced search with the one that tries everything.
func TestDFSFindsWhatFullSearchFinds(t *testing.T) {
	for _, p := range []program{
		{{"w0"}, {"r0", "w1"}, {"r1", "r0"}},
		{{"w0", "w1"}, {"r1", "r0"}},
		{{"w0", "r1"}, {"w1", "r0"}},
		{{"w0"}, {"w0"}, {"r0"}},
		{{"w0", "w1"}, {"r0", "w2"}, {"r2", "r1"}},
		{{"r0", "w0"}, {"r0", "w0"}, {"w0"}},
		{{"w0", "w1", "w2"}, {"r2", "r1", "r0"}},
		{{"w0", "w0"}, {"w1", "r0"}, {"r1", "w0"}},
	} {
		compare(t, p)
	}
}

// TestDFSSwitchesReplay replays every schedule from its sparse form.
func TestDFSSwitchesReplay(t *testing.T) {
	p := program{{"w0", "r1", "w2"}, {"w1", "r0", "r2"}, {"w0", "r2"}}
	d := &sched.DFS{}
	for d.More() {
		got := p.run(d)
		if d.Repeated() {
			continue
		}
		if again := p.run(&sched.Replay{Switches: d.Switches()}); again != got {
			t.Fatalf("switches %v: %q, replayed %q", d.Switches(), got, again)
		}
	}
	if d.Runs() < 10 {
		t.Errorf("only %d runs", d.Runs())
	}
}

// TestCovered: the share that is done is about the runs that were made among all there are, once a few were, and in the end
// it is 1.
func TestCovered(t *testing.T) {
	for _, p := range []threads{
		{{"a0", "a0", "a0", "a0", "a0"}, {"a0", "a0", "a0", "a0", "a0"}}, // 252: all orders
		{{"a0", "a0", "a0"}, {"a0", "a0"}, {"a0", "a0"}},                 // 210
		{{"a0", "r1", "a1"}, {"a1", "r0", "a0"}, {"r0", "c", "r1"}},
		{{"c", "c", "c", "c"}, {"r1"}}, // 16: nothing but choices
	} {
		var covered []float64
		d := &sched.DFS{}
		for d.More() {
			p.outcome(d)
			covered = append(covered, d.Covered())
		}
		if last := covered[len(covered)-1]; last < 0.999 || last > 1.001 {
			t.Errorf("%v: at the end %.3f is covered", p, last)
		}
		for i := len(covered) / 10; i < len(covered); i++ {
			if truly := float64(i+1) / float64(len(covered)); covered[i] > 5*truly || covered[i] < truly/5 {
				t.Errorf("%v: after %d of %d runs %.3f is said to be covered", p, i+1, len(covered), covered[i])
				break
			}
		}
		t.Logf("%v: %d runs; of a tenth %.3f, of a half %.3f is said to be covered", p, len(covered), covered[len(covered)/10], covered[len(covered)/2])
	}
}
