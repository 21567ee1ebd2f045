package sched_test

import (
	"fmt"
	"sort"
	"strings"
	"testing"

	"nlmmap/kernel/sched"
)

// program is a set of threads, each a list of accesses to variables: "w0" writes variable 0, "r1" reads variable 1.
type program [][]string

// run runs a program under a scheduler and returns what it observed: the values read and the final values.
func (p program) run(s sched.Scheduler) string {
	r := &sched.Run{Scheduler: s}
	var vars [4]int
	objs := [4]sched.Obj{}
	for i := range objs {
		objs[i] = r.NewObj()
	}
	reads := make([]string, len(p))
	for id, ops := range p {
		r.Go(fmt.Sprint("t", id), func(t *sched.Thread) {
			for n, op := range ops {
				v := op[1] - '0'
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

// all is the slow search: every choice at every step.
type all struct {
	picks, widths []int
	depth         int
}

func (a *all) Next(_ *sched.Run, _ *sched.Thread, enabled []*sched.Thread) *sched.Thread {
	if a.depth == len(a.picks) {
		a.picks = append(a.picks, 0)
		a.widths = append(a.widths, len(enabled))
	}
	a.depth++
	return enabled[a.picks[a.depth-1]]
}

func (a *all) Choose(*sched.Run, *sched.Thread, int) int { return 0 }

func (a *all) more() bool {
	a.depth = 0
	for i := len(a.picks) - 1; i >= 0; i-- {
		if a.picks[i]+1 < a.widths[i] {
			a.picks[i]++
			a.picks, a.widths = a.picks[:i+1], a.widths[:i+1]
			return true
		}
	}
	return false
}

func outcomes(set map[string]bool) string {
	var list []string
	for o := range set {
		list = append(list, o)
	}
	sort.Strings(list)
	return strings.Join(list, "\n")
}

// TestDFSFindsWhatFullSearchFinds compares the reduced search with the one that tries everything.
func TestDFSFindsWhatFullSearchFinds(t *testing.T) {
	for _, p := range []program{
		{{"w0", "w1"}, {"r1", "r0"}},
		{{"w0", "r1"}, {"w1", "r0"}},
		{{"w0"}, {"w0"}, {"r0"}},
		{{"w0", "w1"}, {"r0", "w2"}, {"r2", "r1"}},
		{{"r0", "w0"}, {"r0", "w0"}, {"w0"}},
		{{"w0", "w1", "w2"}, {"r2", "r1", "r0"}},
		{{"w0", "w0"}, {"w1", "r0"}, {"r1", "w0"}},
	} {
		full, fullRuns := map[string]bool{}, 0
		a := &all{}
		for {
			full[p.run(a)] = true
			fullRuns++
			if !a.more() {
				break
			}
		}
		reduced := map[string]bool{}
		d := &sched.DFS{}
		for d.More() {
			if o := p.run(d); !d.Repeated() {
				reduced[o] = true
			}
		}
		if d.Err() != nil {
			t.Fatal(d.Err())
		}
		if outcomes(full) != outcomes(reduced) {
			t.Errorf("%v:\nfull search (%d runs)\n%s\nreduced search (%d runs)\n%s", p, fullRuns, outcomes(full), d.Runs(), outcomes(reduced))
		}
		if d.Runs() > fullRuns {
			t.Errorf("%v: the reduced search needs %d runs, the full one %d", p, d.Runs(), fullRuns)
		}
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
