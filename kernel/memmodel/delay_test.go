package memmodel_test

import (
	"strings"
	"testing"

	"nlmmap/kernel/memmodel"
	"nlmmap/kernel/sched"
)

// TestForesight: what a search has foreseen can be written down, and a search that begins with it needs no other turn.
func TestForesight(t *testing.T) {
	program := parse("Rx Wy1 | Ly Wx1")
	f := &memmodel.Foresight{}
	turns := 0
	for more := true; more; more = f.Grow() {
		turns++
		for d := (&sched.DFS{}); d.More(); {
			machine(program, memmodel.Weak, f, d)
		}
	}
	if turns != 2 || f.String() != "0:01000000" {
		t.Fatalf("after %d turns %v is foreseen, want 2 and the store to x", turns, f)
	}
	again, err := memmodel.ParseForesight(f.String())
	if err != nil || again.String() != f.String() {
		t.Fatalf("%v is read as %v: %v", f, again, err)
	}
	seen := map[string]bool{}
	for d := (&sched.DFS{}); d.More(); {
		if o, ok := machine(program, memmodel.Weak, again, d); ok {
			seen[o] = true
		}
	}
	if again.Grow() || !seen["1/1;110"] {
		t.Errorf("with what was foreseen it leads to %v", seen)
	}
	for _, wrong := range []string{"x:01", "5", "5:", "-1:00", "5:0"} {
		if _, err := memmodel.ParseForesight(wrong); err == nil || !strings.Contains(err.Error(), wrong) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}
