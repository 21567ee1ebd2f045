package gen_test

import (
	"testing"

	"nlmmap/explore"
	"nlmmap/explore/gen"
	"nlmmap/internal/long"
	"nlmmap/internal/workers"
)

// TestBounded compares searches that allow more and more preemptions, and recognise equal states, with the one that
// reduces partial orders: what they find within a bound it finds too, and when no bound is left both find the same.
func TestBounded(t *testing.T) {
	seeds := 30
	if long.Wanted() {
		seeds = 20_000
	}
	whole := make([]bool, seeds)
	workers.Each(t.Context(), seeds, 0, func(i int) {
		p, o := gen.New(uint64(i), gen.Config{}), gen.Options(uint64(i))
		o.Runs = 200
		all := explore.Outcomes(t.Context(), p.Explore(), o)
		if !all.Exhausted {
			return
		}
		o.Runs, o.Deepen = 1500, true
		bounded := explore.Outcomes(t.Context(), p.Explore(), o)
		whole[i] = bounded.Exhausted
		for _, out := range all.Missing(bounded) {
			t.Errorf("seed %d: a search with a bound leads where the search without does not: %v\n%v", i, out, p)
		}
		if !whole[i] {
			return
		}
		for _, out := range bounded.Missing(all) {
			t.Errorf("seed %d: the search leads where the one with every bound does not: %v\n%v", i, out, p)
		}
	})
	n := 0
	for _, w := range whole {
		if w {
			n++
		}
	}
	t.Logf("%d of %d programs were run to the last bound", n, seeds)
	if n < seeds/4 {
		t.Error("that is too few to say something")
	}
}
