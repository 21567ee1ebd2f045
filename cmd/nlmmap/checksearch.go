package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"nlmmap/explore/gen"
)

// checkSearch measures the exhaustive search with random programs until the budget is used up or there were as many as were
// asked for (0: no limit), and prints every miss.
func (e env) checkSearch(ctx context.Context, seed uint64, most int, budget time.Duration) int {
	const shown = 3
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	start := time.Now()
	check := gen.Check{Every: 100}
	kinds := map[string]int{}
	var programs, skipped, every, runs, misses int
	figures := func() string {
		return fmt.Sprintf("%d programs (%d with more schedules than were tried, %d also with every choice at every step), %d runs, %d misses, %v",
			programs, skipped, every, runs, misses, time.Since(start).Round(time.Second))
	}
	batch := 250
	for last := start; ctx.Err() == nil && (most == 0 || programs < most); seed += uint64(batch) {
		if most > 0 {
			batch = min(batch, most-programs)
		}
		r := check.Seeds(ctx, seed, batch, 0)
		if ctx.Err() != nil {
			break // programs that were cut short prove nothing
		}
		programs, skipped, every, runs, misses = programs+r.Programs, skipped+r.Skipped, every+r.Every, runs+r.Runs, misses+len(r.Misses)
		for _, m := range r.Misses {
			if kinds[m.What]++; kinds[m.What] <= shown {
				fmt.Fprintln(e.stdout, m)
			}
		}
		if time.Since(last) > time.Minute || e.terminal {
			last = time.Now()
			fmt.Fprintf(e.stderr, "up to seed %d: %s\n", seed+uint64(batch)-1, figures())
		}
	}
	fmt.Fprintln(e.stdout, figures())
	for _, what := range slices.Sorted(maps.Keys(kinds)) {
		fmt.Fprintf(e.stdout, "%6d times %s\n", kinds[what], what)
	}
	if misses > 0 {
		return exitDisagree
	}
	return exitOK
}
