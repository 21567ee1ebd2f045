package gen_test

import (
	"context"
	"testing"
	"time"

	"nlmmap/explore/gen"
)

// check fails the test with the first three misses of each kind.
func check(t *testing.T, c gen.Check, first uint64, n int) {
	t.Helper()
	start := time.Now()
	r := c.Seeds(context.Background(), first, n, 0)
	kinds := map[string]int{}
	for _, m := range r.Misses {
		if kinds[m.What]++; kinds[m.What] <= 3 {
			t.Error(m)
		}
	}
	t.Logf("%v in %v", r, time.Since(start).Round(time.Millisecond))
	for what, n := range kinds {
		t.Logf("%d times %s", n, what)
	}
}

// TestSearch: the exhaustive search finds what random schedules find, on all kernels and in all memory models.
func TestSearch(t *testing.T) {
	n := 3000
	if testing.Short() {
		n = 400
	}
	// What others map and unmap under a task's feet is not declared yet.
	check(t, gen.Check{Config: gen.Config{Without: []string{"mmap", "munmap", "mremap", "mprotect"}}}, 0, n)
}

// TestSearchIsEnumeration: on programs that are small enough it finds what every choice at every step leads to, no more
// and no less.
func TestSearchIsEnumeration(t *testing.T) {
	n := 600
	if testing.Short() {
		n = 60
	}
	check(t, gen.Check{Config: gen.Config{Tasks: 2, Ops: 1}, Every: 5000}, 1<<32, n)
}
