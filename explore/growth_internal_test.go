package explore

import (
	"testing"

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
	for m, want := range map[memmodel.Model][]int{memmodel.SC: {8, 88, 1007}, memmodel.TSO: {17, 197, 2250}, memmodel.Weak: {17, 230, 2991}} {
		if !long.Wanted() {
			want = want[:2]
		}
		for i, want := range want {
			r := Search(t.Context(), acks(i+1), Options{Version: kernel.Version{Release: kernel.Linux4_4}, Memory: m})
			if !r.Exhausted || r.Runs != want {
				t.Errorf("%v, %d messages: %v, want %d schedules", m, i+1, r, want)
			}
		}
	}
}
