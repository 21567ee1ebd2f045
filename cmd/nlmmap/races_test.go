package main

import (
	"context"
	"strings"
	"testing"

	"nlmmap/kernel"
	"nlmmap/scenario"
)

// TestCompareRaces: what was seen is compared with the file's sections for the release, without what they say of
// invariants; a crash is possible where the model has one; without sections a search tells.
func TestCompareRaces(t *testing.T) {
	const block = "socket a route\n\nparallel\nthread p\n  bind a portid=5\nthread q\n  bind a portid=6\n\ngetsockname a\n"
	seen := []seenCount{{Text: "p: ok; q: EINVAL; portid=5 groups=0x0"}, {Text: "p: ok; q: ok; portid=5 groups=0x0"},
		{Text: "oops: BUG: somewhere, in netlink_bind"}}
	for _, test := range []struct {
		sections   string
		impossible string
		possible   int
	}{
		{"", "nyy", 4},
		{"\noutcomes 4.4.1 sc\n----\np: ok; q: ok; portid=5 groups=0x0; violates poll\np: ok; q: killed; oops some-defect\n", "ynn", 2},
		{"\noutcomes 4.5.7 sc\n----\np: ok; q: ok; portid=5 groups=0x0\n", "nyy", 4},
	} {
		f, err := scenario.Parse("t", strings.NewReader(block+test.sections))
		if err != nil {
			t.Fatal(err)
		}
		r := raceFile{Outcomes: append([]seenCount(nil), seen...)}
		r.compare(context.Background(), f, kernel.Version{Release: kernel.Linux4_4})
		got := ""
		for _, o := range r.Outcomes {
			got += map[bool]string{true: "y", false: "n"}[o.Impossible]
		}
		if got != test.impossible || r.Possible != test.possible || r.Failure != "" {
			t.Errorf("%q: impossible %s of %d, want %s of %d; %s", test.sections, got, r.Possible, test.impossible, test.possible, r.Failure)
		}
	}
}
