package nlmmap_test

import (
	"testing"

	"pgregory.net/rapid"

	"nlmmap/explore/gen"
)

// concurrentProgram is the property that the invariants hold on every release and in every memory model, whatever two or
// three tasks do at once, except for what the release is known to do wrong. Rapid draws the program; the schedules are all
// that can differ, or many.
func concurrentProgram(t *rapid.T) {
	h := gen.Hunt{Config: gen.Config{Tasks: num(t, 2, 3), Ops: num(t, 1, 4)}}
	seed := rapid.Uint64().Draw(t, "seed")
	b := h.Program(t.Context(), gen.New(seed, h.Config), h.Options(seed))
	for _, c := range b.Catches {
		t.Errorf("seed %d:\n%v", seed, c)
	}
}

func TestConcurrentPrograms(t *testing.T) { rapid.Check(t, concurrentProgram) }

func FuzzConcurrentPrograms(f *testing.F) { f.Fuzz(rapid.MakeFuzz(concurrentProgram)) }
