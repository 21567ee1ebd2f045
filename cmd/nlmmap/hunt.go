package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"nlmmap/explore"
	"nlmmap/explore/gen"
)

// hunt searches random programs until the budget is used up or there were so many, and prints what is found, once for
// each kind of violation.
func (e env) hunt(ctx context.Context, h gen.Hunt, seed uint64, programs int, budget time.Duration, asJSON bool) int {
	const batch = 250
	if programs < 0 {
		return e.bad("explore: %d programs are fewer than none", programs)
	}
	if err := h.Check(); err != nil {
		return e.bad("explore: %v", err)
	}
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	start := time.Now()
	var all gen.Bag
	kinds := map[string]int{}
	first := []huntCatch{}
	for last := start; ctx.Err() == nil && (programs == 0 || all.Programs < programs); {
		n := batch
		if programs > 0 {
			n = min(n, programs-all.Programs)
		}
		b := h.Seeds(ctx, seed, n, 0)
		seed += uint64(n)
		all.Add(b)
		for _, c := range b.Catches {
			if kinds[c.Kind()]++; kinds[c.Kind()] > 1 {
				continue
			}
			first = append(first, huntCatch{c.Seed, c.Failure.Options.Version.String(), c.Failure.Options.Memory.String(), c.Program.String(), violationOf(c.Failure)})
			if !asJSON {
				fmt.Fprintln(e.stdout, c)
			}
		}
		if e.terminal && time.Since(last) > time.Second {
			last = time.Now()
			fmt.Fprintf(e.stderr, "\rup to seed %d: %v, %v ", seed-1, all, time.Since(start).Round(time.Second))
		}
	}
	if e.terminal {
		fmt.Fprintln(e.stderr)
	}
	if asJSON {
		err := writeJSON(e.stdout, struct {
			Programs   int            `json:"programs"`
			Complete   int            `json:"complete"` // of which all schedules were run
			Schedules  int            `json:"schedules"`
			Steps      int64          `json:"steps"`
			Violations map[string]int `json:"violations"` // by kind
			First      []huntCatch    `json:"first"`      // of each kind
		}{all.Programs, all.Complete, all.Runs, all.Steps, kinds, first})
		if err != nil {
			return e.bad("%v", err)
		}
	} else {
		fmt.Fprintln(e.stdout, all)
		for _, kind := range slices.Sorted(maps.Keys(kinds)) {
			fmt.Fprintf(e.stdout, "%6d times %s\n", kinds[kind], kind)
		}
	}
	if len(kinds) > 0 {
		return exitDisagree
	}
	return exitOK
}

// A huntCatch is the first violation of a kind in the output for programs.
type huntCatch struct {
	Seed    uint64 `json:"seed"`
	Kernel  string `json:"kernel"`
	Memory  string `json:"memory"`
	Program string `json:"program"`
	violationFound
}

// randomProgram returns the program of package gen that an argument names: a file with one, or random-SEED.
func randomProgram(name string) (explore.Program, bool) {
	var p gen.Program
	if text, err := os.ReadFile(name); err == nil {
		if p, err = gen.Parse(string(text)); err != nil {
			return explore.Program{}, false
		}
	} else {
		seed, err := strconv.ParseUint(strings.TrimPrefix(name, "random-"), 10, 64)
		if err != nil || !strings.HasPrefix(name, "random-") {
			return explore.Program{}, false
		}
		p = gen.New(seed, gen.Config{})
	}
	e := p.Explore()
	e.Name = name
	return e, true
}
