package sched_test

import (
	"fmt"
	"testing"

	"nlmmap/kernel/sched"
)

// TestMeetings: what steps have met, and in which orders, by what was tried.
func TestMeetings(t *testing.T) {
	// Both threads look at a word and store to it, one under a label of its own each time.
	run := func(s sched.Scheduler) {
		r := &sched.Run{Scheduler: s}
		word, other := r.NewObj(), r.NewObj()
		r.Go("a", func(th *sched.Thread) {
			th.Point(sched.Op{Kind: sched.Store, Write: true, Obj: word, Label: "word"})
			th.Point(sched.Op{Kind: sched.Store, Write: true, Obj: other, Label: "other"})
		})
		r.Go("b", func(th *sched.Thread) {
			th.Point(sched.Op{Kind: sched.Load, Obj: word, Label: "word"})
			th.Point(sched.Op{Kind: sched.Load, Obj: word, Label: "again"})
		})
		if err := r.Loop(); err != nil {
			t.Fatal(err)
		}
	}
	var one, all sched.Conflicts
	m := &sched.Meetings{Scheduler: &sched.Replay{}}
	run(m)
	one.Add(m.Found())
	for d := (&sched.DFS{}); d.More(); {
		m := &sched.Meetings{Scheduler: d}
		run(m)
		all.Add(m.Found())
	}
	got := ""
	for _, c := range []*sched.Conflicts{&one, &all} {
		pairs, both := c.Pairs()
		got += fmt.Sprintln(c.Kinds(), pairs, both, c.OneWay())
	}
	if want := "6 2 0 [{a: store word b: load again} {a: store word b: load word}]\n6 2 2 []\n"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
