package explore

import (
	"testing"
	"time"

	"nlmmap/internal/long"
	"nlmmap/kernel"
	"nlmmap/kernel/memmodel"
	"nlmmap/sys"
	"nlmmap/uapi"
	"nlmmap/userspace"
)

// acks is reader-and-acks with a number of messages, over a ring that has room for all.
func acks(n int) Program {
	return Program{Name: "acks", Setup: func(w *World) {
		main := w.Process("reader")
		s := w.Open(main, uapi.NetlinkRoute, userspace.Config{RX: ring(8, 512), Portid: 1000})
		w.Go(w.forked(main, "sender"), func(t sys.Task) {
			for i := range n {
				w.send(t, s.FD(), noop(uint32(i+1)), addr(0, 0))
			}
		})
		w.Go(main, func(sys.Task) {
			for range n {
				w.next(s.RX)
			}
		})
	}}
}

// TestGrowth: a message more takes the schedules that docs/exploration.md says.
func TestGrowth(t *testing.T) {
	for m, want := range map[memmodel.Model][]int{memmodel.SC: {8, 88, 1007, 11570}, memmodel.TSO: {8, 88, 1007, 11570}, memmodel.Weak: {8, 88, 1007, 11570}} {
		if !long.Wanted() {
			want = want[:3]
		}
		for i, want := range want {
			r := Search(t.Context(), acks(i+1), Options{Version: kernel.Version{Release: kernel.Linux4_4}, Memory: m})
			if !r.Exhausted || r.Runs != want {
				t.Errorf("%v, %d messages: %v, want %d schedules", m, i+1, r, want)
			}
		}
	}
}

// flow is acks over a ring of two frames: the sender waits until the frame that is next is free.
func flow(n int) Program {
	return Program{Name: "flow", Setup: func(w *World) {
		main := w.Process("reader")
		s := w.Open(main, uapi.NetlinkRoute, userspace.Config{RX: ring(2, 1024), Portid: 1000})
		w.Go(w.forked(main, "sender"), func(t sys.Task) {
			for i := range n {
				for w.status(t, s.RX.Addr(uint32(i%2))) != unused {
					t.Yield()
				}
				w.send(t, s.FD(), noop(uint32(i+1)), addr(0, 0))
			}
		})
		w.Go(main, func(sys.Task) {
			for range n {
				w.next(s.RX)
			}
		})
	}}
}

// TestGrowthWithin: within a bound of preemptions a message more takes the schedules that docs/exploration.md says, and
// nothing is found.
func TestGrowthWithin(t *testing.T) {
	for bound, models := range map[int]map[memmodel.Model][]int{
		1: {memmodel.SC: {82, 189, 277, 385, 489}, memmodel.TSO: {103, 240, 350, 488, 614}, memmodel.Weak: {170, 397, 549, 775, 943}},
		2: {memmodel.SC: {1546, 5820, 9781, 16273, 21387}, memmodel.TSO: {1876, 7215, 12397}, memmodel.Weak: {3264, 12921}},
	} {
		for m, want := range models {
			if !long.Wanted() {
				want = want[:3-bound]
			}
			for i, want := range want {
				r := Search(t.Context(), flow(i+1), Options{Version: kernel.Version{Release: kernel.Linux4_4}, Memory: m, Bound: bound, Time: 10 * time.Minute})
				if len(r.Bounds) != 1 || r.Failure != nil || r.Runs != want {
					t.Errorf("%v, bound %d, %d messages: %v, want %d schedules", m, bound, i+1, r, want)
				}
			}
		}
	}
}
