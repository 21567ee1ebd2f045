package gen_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"nlmmap/explore"
	"nlmmap/explore/gen"
	"nlmmap/internal/workers"
	"nlmmap/kernel/memmodel"
)

var updateOutcomes = flag.Bool("update-outcomes", false, "store the outcomes that the programs of TestOutcomes have now")

const (
	storedFile  = "testdata/outcomes/all.txt"
	storedSeeds = 500
	// A program with more is not stored.
	storedSchedules, storedOutcomes = 60, 12
)

// outcomesOf are all that a seed's program can lead to, one a line; nothing for a program that is too large to store.
func outcomesOf(t *testing.T, seed uint64) string {
	o := gen.Options(seed)
	o.FailAllocs, o.Signals = 0, 0
	o.Memory, o.Runs = memmodel.SC, storedSchedules
	set := explore.Outcomes(context.Background(), gen.New(seed, gen.Config{Tasks: 2}).Explore(), o)
	if set.Err != nil {
		t.Fatal(set.Err)
	}
	if !set.Exhausted || len(set.Outcomes) > storedOutcomes {
		return ""
	}
	var b strings.Builder
	for _, out := range set.Outcomes {
		fmt.Fprintln(&b, out)
	}
	return b.String()
}

// TestOutcomes: random programs lead to what they led to when the file was written, on all kernels, sequentially consistent.
// That says nothing of what is right: but who changes the model sees what else he has changed. After a change that is meant:
//
//	go test ./explore/gen -run TestOutcomes -update-outcomes
//
// and look at the difference.
func TestOutcomes(t *testing.T) {
	now := make([]string, storedSeeds)
	workers.Each(t.Context(), storedSeeds, 0, func(i int) { now[i] = outcomesOf(t, uint64(i)) })
	title := func(seed int) string { return fmt.Sprintf("-- %d on %v --\n", seed, gen.Options(uint64(seed)).Version) }
	if *updateOutcomes {
		var b strings.Builder
		for seed, lines := range now {
			if lines != "" {
				b.WriteString(title(seed) + lines)
			}
		}
		if err := os.WriteFile(storedFile, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(storedFile)
	if err != nil {
		t.Fatal(err)
	}
	changed := 0
	for seed, lines := range now {
		_, rest, stored := strings.Cut("\n"+string(text), "\n"+title(seed))
		want, _, _ := strings.Cut(rest, "-- ")
		if stored == (lines != "") && want == lines || !stored && lines == "" {
			continue
		}
		if changed++; changed <= 3 {
			t.Errorf("seed %d on %v\n%v%s", seed, gen.Options(uint64(seed)).Version, gen.New(uint64(seed), gen.Config{Tasks: 2}), difference(want, lines))
		}
	}
	if changed > 0 {
		t.Errorf("%d of %d programs lead elsewhere than when %s was written", changed, storedSeeds, storedFile)
	}
}

// difference shows the lines that one text has and the other does not.
func difference(want, got string) string {
	var b strings.Builder
	a, c := strings.Split(want, "\n"), strings.Split(got, "\n")
	for _, line := range a {
		if !slices.Contains(c, line) {
			fmt.Fprintf(&b, "- %s\n", line)
		}
	}
	for _, line := range c {
		if !slices.Contains(a, line) {
			fmt.Fprintf(&b, "+ %s\n", line)
		}
	}
	return b.String()
}
