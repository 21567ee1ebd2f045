package sched_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nlmmap/kernel/sched"
)

// found is what Each takes from a search of a program by a number of goroutines, until it has taken most results.
func (p threads) found(workers, most int) []string {
	var list []string
	d := &sched.DFS{}
	sched.Each(d, workers, func(d *sched.DFS) string {
		out := p.outcome(d)
		return fmt.Sprint(out, d.Repeated(), d.Switches())
	}, func(s string) bool {
		list = append(list, s)
		return len(list) < most
	})
	if err := d.Err(); err != nil {
		list = append(list, err.Error())
	}
	return list
}

// TestEach: more goroutines find the same in the same order.
func TestEach(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawThreads(t, 12, 1)
		most := 3000
		if rapid.IntRange(0, 3).Draw(t, "stops early") == 0 {
			most = rapid.IntRange(1, 50).Draw(t, "most")
		}
		want := p.found(1, most)
		for _, workers := range []int{2, 4, 9} {
			if got := p.found(workers, most); !slices.Equal(got, want) {
				t.Fatalf("%v: %d goroutines find\n%q\none finds\n%q", p, workers, got, want)
			}
		}
	})
}

// TestEachIsUsed: several goroutines share the work. All runs but the first wait until two are made at a time.
func TestEachIsUsed(t *testing.T) {
	p := threads{{"w0", "r1", "w1"}, {"w1", "r0", "w0"}, {"r0", "w1", "a0"}}
	var now, runs atomic.Int32
	together := make(chan struct{})
	meet := sync.OnceFunc(func() { close(together) })
	sched.Each(&sched.DFS{}, 2, func(d *sched.DFS) string {
		if now.Add(1) > 1 {
			meet()
		}
		defer now.Add(-1)
		if runs.Add(1) > 1 {
			select {
			case <-together:
			case <-time.After(10 * time.Second):
				t.Error("no other goroutine comes")
				meet()
			}
		}
		return p.outcome(d)
	}, func(string) bool { return true })
}

// TestEachPanics: what a run panics with comes out of Each, at its place in the order of runs.
func TestEachPanics(t *testing.T) {
	p := threads{{"w0", "r1", "w1"}, {"w1", "r0", "w0"}}
	for _, workers := range []int{1, 3} {
		var taken []string
		func() {
			defer func() {
				if r := recover(); r != "the bug" {
					t.Errorf("%d goroutines: recovered %v", workers, r)
				}
			}()
			sched.Each(&sched.DFS{}, workers, func(d *sched.DFS) string {
				out := p.outcome(d)
				if s := d.Switches(); len(s) > 0 && s[0].Step == 1 {
					panic("the bug")
				}
				return out
			}, func(s string) bool {
				taken = append(taken, s)
				return true
			})
			t.Errorf("%d goroutines: no panic", workers)
		}()
		if len(taken) == 0 {
			t.Errorf("%d goroutines: nothing was taken before", workers)
		}
	}
}
