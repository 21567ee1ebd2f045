package scenario

import (
	"strings"
	"testing"
)

// TestDeath: a real kernel that dies where the model does agrees with it, and what could come then does not count.
func TestDeath(t *testing.T) {
	const file = `socket a route
----
ok

send a
----
%

recv a
----
ESRCH
`
	const oops, model = "oops: BUG: something, in f\n", "the process was killed: OOPS name: why\n"
	tests := []struct {
		stored, got string
		agreed      int
	}{
		{model, oops, 3},
		{oops, model, 3},
		{"blocks\nrx[0] UNUSED->VALID\n", "hangs\n", 3},
		{"ok\n", oops, 1},
		{model, "hangs\n", 1},
		{"blocks\n", oops, 1},
		{"resets\n", "resets\n", 2}, // nothing is known of a reset, so the last step counts
	}
	for _, test := range tests {
		f, err := Parse("x", strings.NewReader(strings.Replace(file, "%\n", test.stored, 1)))
		if err != nil {
			t.Fatal(err)
		}
		r := Compare(f, []string{"ok\n", test.got, NotRun + "\n"})
		if r.Agreed != test.agreed {
			t.Errorf("%q and %q: %d steps agree, want %d", test.stored, test.got, r.Agreed, test.agreed)
		}
	}
}
