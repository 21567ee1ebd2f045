package explore

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"nlmmap/kernel"
	"nlmmap/sys"
)

// TestEndlessStep: a task that loops without a scheduling point ends the search with its stack.
func TestEndlessStep(t *testing.T) {
	var stop atomic.Bool
	defer stop.Store(true)
	spins := func(w *World) {
		w.Go(w.Process("main"), func(sys.Task) {
			for !stop.Load() {
			}
		})
	}
	o := Options{Version: kernel.Version{Release: kernel.Linux4_5}}
	for _, o.Workers = range []int{1, 2} {
		s := searcher{ctx: t.Context(), p: Program{Setup: spins}, o: o}
		r := bounded(100*time.Millisecond, s.search)
		if r.Err == nil || !strings.Contains(r.Err.Error(), "a step does not end") || !strings.Contains(r.Err.Error(), "TestEndlessStep.func") {
			t.Error(r)
		}
	}
}
