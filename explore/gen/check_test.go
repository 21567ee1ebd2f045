package gen_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nlmmap/explore/gen"
	"nlmmap/internal/long"
)

// TestKept checks programs with which the search was wrong once, or could be, on all kernels and in all memory models.
func TestKept(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d programs, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p, err := gen.Parse(string(text))
			if err != nil {
				t.Fatal(err)
			}
			check := gen.Check{Schedules: 20000, Random: 60, Orders: 10}
			for seed := range uint64(15) {
				if testing.Short() && seed%4 != 0 {
					continue
				}
				r := check.Program(context.Background(), p, gen.Options(seed))
				for _, m := range r.Misses {
					t.Error(m)
				}
				if r.Skipped > 0 {
					t.Errorf("more than %d schedules", check.Schedules)
				}
			}
		})
	}
}

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
	n := 1000
	switch {
	case long.Wanted():
		n = 3000
	case testing.Short():
		n = 400
	}
	check(t, gen.Check{}, 0, n)
}

// TestSearchIsEnumeration: on programs that are small enough it finds what every choice at every step leads to, no more
// and no less.
func TestSearchIsEnumeration(t *testing.T) {
	n := 200
	if testing.Short() {
		n = 40
	}
	check(t, gen.Check{Config: gen.Config{Tasks: 2, Ops: 1}, Every: 5000}, 1<<32, n)
}
