package sched_test

import (
	"fmt"
	"testing"

	"nlmmap/kernel/sched"
)

// TestRaces: accesses race that nothing orders; those under one lock do not, nor those behind a store that was read.
func TestRaces(t *testing.T) {
	for name, tt := range map[string]struct {
		first, second string // a step for each letter: r, w access x; R, W access y; l, u take and give back a lock
		want          string
	}{
		"store and store":                     {"w", "w", "[[1 3]]"},
		"load and load":                       {"r", "r", "[]"},
		"different places":                    {"w", "W", "[]"},
		"under a lock":                        {"lwu", "lwu", "[]"},
		"before a lock":                       {"wlu", "wlu", "[[1 5]]"},
		"a flag orders what lies before it":   {"wW", "Rr", "[[2 4]]"},
		"the last of two, which are in order": {"ww", "r", "[[2 4]]"},
	} {
		races := &sched.Races{Scheduler: &sched.Replay{}}
		r := &sched.Run{Scheduler: races}
		x, y, lock := r.NewObj(), r.NewObj(), r.NewObj()
		ops := map[rune]sched.Op{
			'r': {Kind: sched.Load, Obj: x}, 'w': {Kind: sched.Store, Obj: x, Write: true},
			'R': {Kind: sched.Load, Obj: y}, 'W': {Kind: sched.Store, Obj: y, Write: true},
			'l': {Kind: sched.Lock, Obj: lock, Write: true, Res: free{new(bool)}}, 'u': {Kind: sched.Unlock, Obj: lock, Write: true},
		}
		for i, steps := range []string{tt.first, tt.second} {
			r.Go(fmt.Sprint("t", i), func(th *sched.Thread) {
				for _, s := range steps {
					th.Point(ops[s])
				}
			})
		}
		if err := r.Loop(); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(races.Pairs()); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}
