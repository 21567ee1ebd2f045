package gen_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"nlmmap/explore"
	"nlmmap/explore/gen"
	"nlmmap/internal/long"
	"nlmmap/kernel"
	"nlmmap/kernel/memmodel"
)

// TestHunt: random programs violate nothing on any kernel, in any memory model, but what its known defects explain.
func TestHunt(t *testing.T) {
	n := 3000
	switch {
	case long.Wanted():
		n = 60_000
	case testing.Short():
		n = 1000
	}
	b := gen.Hunt{}.Seeds(t.Context(), 0, n, 0)
	for _, c := range b.Catches {
		t.Errorf("seed %d:\n%v", c.Seed, c)
	}
	if t.Log(b); b.Programs != n || b.Complete < n*9/10 {
		t.Errorf("%v: of nine in ten all schedules should be run", b)
	}
}

// TestHuntCatches: what kernels are known to do wrong is caught when it is not ignored, blamed on defects that the kernel
// has, made small, and replayed by what was printed.
func TestHuntCatches(t *testing.T) {
	versions := []kernel.Version{{Release: kernel.Linux4_5}}
	h := gen.Hunt{Versions: versions, Models: []memmodel.Model{memmodel.SC}, Ignore: []string{"assertion"}}
	b := h.Seeds(t.Context(), 0, 1500, 0)
	var kinds []string
	for _, c := range b.Catches {
		f := c.Failure
		if kinds = append(kinds, c.Kind()); f.Violation.Blame.Defect == "" {
			t.Errorf("no known defect explains %v", f.Violation)
		}
		p, err := gen.Parse(c.Program.String())
		if err != nil {
			t.Fatal(err)
		}
		v, err := explore.Replay(p.Explore(), f.Options, f.Switches)
		if err != nil || v == nil || v.Name != f.Violation.Name || v.Blame != f.Violation.Blame {
			t.Errorf("the replay of %v gives %v, %v", f.Violation, v, err)
		}
		if s := c.String(); !strings.Contains(s, "--replay") || !strings.Contains(s, "END\n") {
			t.Errorf("nothing replays\n%s", s)
		}
	}
	slices.Sort(kinds)
	kinds = slices.Compact(kinds)
	for _, want := range []string{"memory, set-ring-races", "copy-pairs, copy-header-after-unlock", "frame-ownership, copy-header-after-unlock"} {
		if !slices.Contains(kinds, want) {
			t.Errorf("%q is not among %q", want, kinds)
		}
	}
}

// TestHuntIsCut: a hunt that is interrupted counts only what it has seen to its end.
func TestHuntIsCut(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if b := (gen.Hunt{}).Seeds(ctx, 0, 10, 1); b.Programs != 0 {
		t.Error(b)
	}
	if (gen.Hunt{Only: []string{"nosuch"}}).Check() == nil || (gen.Hunt{Random: -1}).Check() == nil {
		t.Error("a hunt for nothing")
	}
}
