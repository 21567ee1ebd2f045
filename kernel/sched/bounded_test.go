package sched_test

import (
	"testing"

	"pgregory.net/rapid"

	"nlmmap/kernel/sched"
)

// surprises counts those of a run, as sched.Bounded defines them.
type surprises struct {
	sched.Scheduler
	n int
}

func (s *surprises) Next(r *sched.Run, cur *sched.Thread, enabled []*sched.Thread) *sched.Thread {
	usual := sched.Default(cur, enabled)
	pick := s.Scheduler.Next(r, cur, enabled)
	if pick != usual && cur != nil && (usual == cur || usual.Owner() == cur || cur.Owner() != nil && (usual == cur.Owner() || usual.Owner() == cur.Owner())) {
		s.n++
	}
	return pick
}

func (s *surprises) Choose(r *sched.Run, t *sched.Thread, n int) int {
	pick := s.Scheduler.Choose(r, t, n)
	if pick != 0 {
		s.n++
	}
	return pick
}

// TestBounded compares searches with a limit with all runs that have no more surprises, for random programs with everything
// that a thread can wait for: they lead to the same. One that the limit did not cut has all there are.
func TestBounded(t *testing.T) {
	compared, runs, every := 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		p := drawThreads(t, 6, 1)
		all := map[int]map[string]bool{} // by surprises
		full := map[string]bool{}
		a := &sched.All{}
		n := 0
		for ; a.More(); n++ {
			if n == 4000 {
				return
			}
			s := &surprises{Scheduler: a}
			o := p.outcome(s)
			if all[s.n] == nil {
				all[s.n] = map[string]bool{}
			}
			all[s.n][o], full[o] = true, true
		}
		want := map[string]bool{}
		for limit := range 6 {
			for o := range all[limit] {
				want[o] = true
			}
			got := map[string]bool{}
			b := &sched.Bounded{Limit: limit}
			for b.More() {
				runs++
				if o := p.outcome(b); !b.Repeated() {
					got[o] = true
				}
			}
			switch {
			case b.Err() != nil:
				t.Fatalf("%v: %v", p, b.Err())
			case outcomes(got) != outcomes(want):
				t.Fatalf("%v, at most %d surprises: all runs lead to\n%s\nthe search to\n%s", p, limit, outcomes(want), outcomes(got))
			case !b.Cut() && outcomes(got) != outcomes(full):
				t.Fatalf("%v: nothing was cut at %d surprises, and there are other outcomes", p, limit)
			}
		}
		compared++
		every += n
	})
	t.Logf("%d programs compared: %d runs, %d without a limit and without equal states", compared, runs, every)
}

// TestBoundedReplays: every run can be replayed from its switches.
func TestBoundedReplays(t *testing.T) {
	p := threads{{"w0", "r1", "c"}, {"w1", "r0", "r0"}, {"S", "k"}}
	b := &sched.Bounded{Limit: 2}
	runs := 0
	for b.More() {
		got := p.outcome(b)
		if b.Repeated() {
			continue
		}
		runs++
		if again := p.outcome(&sched.Replay{Switches: b.Switches()}); again != got {
			t.Fatalf("switches %v: %q, replayed %q", b.Switches(), got, again)
		}
	}
	if runs < 10 {
		t.Errorf("only %d runs", runs)
	}
}

// TestBoundedGrows: with a limit of n the number of schedules of a longer program grows with the n-th power of its length.
func TestBoundedGrows(t *testing.T) {
	count := func(length, limit int) int {
		var p threads
		for range 2 {
			var ops []string
			for range length {
				ops = append(ops, "a0")
			}
			p = append(p, ops)
		}
		n := 0
		for b := (&sched.Bounded{Limit: limit}); b.More(); n++ {
			p.outcome(b)
		}
		return n
	}
	for limit, most := range []float64{1, 2, 4} {
		short, long := count(20, limit), count(40, limit)
		t.Logf("at most %d surprises: %d runs of 2 x 20 steps, %d of 2 x 40", limit, short, long)
		if factor := float64(long) / float64(short); factor > most*1.1 {
			t.Errorf("at most %d surprises: twice the length takes %.1f times the runs", limit, factor)
		}
	}
}
