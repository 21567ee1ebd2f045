package scenario_test

import (
	"strings"
	"testing"

	"nlmmap/scenario"
)

// TestNamespaceHeader: the header decides, then the name; what is no namespace is refused.
func TestNamespaceHeader(t *testing.T) {
	for _, c := range []struct {
		name, text string
		initial    bool
	}{
		{"a.txt", "sleep ms=1\n", false},
		{"dir/init_a.txt", "sleep ms=1\n", true},
		{"init_dir/a.txt", "sleep ms=1\n", false},
		{"a.txt", "# What it shows.\n# namespace: initial\n\nsleep ms=1\n", true},
		{"init_a.txt", "# namespace: fresh\nsleep ms=1\n", false},
		{"a.txt", "sleep ms=1\n\n# namespace: initial\nsleep ms=1\n", false}, // too late: only a comment
		{"a.txt", "# namespace: initial\n", true},
	} {
		f, err := scenario.Parse(c.name, strings.NewReader(c.text))
		if err != nil || f.InitNet() != c.initial {
			t.Errorf("%s %q: %v, want %t", c.name, c.text, err, c.initial)
		}
	}
	const want = `a.txt:2: unknown namespace "inital": expected fresh or initial`
	if _, err := scenario.Parse("a.txt", strings.NewReader("# x\n# namespace: inital\nsleep ms=1\n")); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
