package litmus_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nlmmap/explore"
	"nlmmap/kernel"
	"nlmmap/kernel/memmodel"
	"nlmmap/litmus"
	"nlmmap/scenario"
)

// files are the litmus files of the module.
func files(t *testing.T) []*scenario.File {
	t.Helper()
	paths, err := filepath.Glob("../testdata/litmus/*.txt")
	if err != nil || len(paths) < 60 {
		t.Fatalf("%d litmus files, %v", len(paths), err)
	}
	var list []*scenario.File
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := scenario.Parse(path, strings.NewReader(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		var formatted strings.Builder
		if err := f.Format(&formatted); err != nil || formatted.String() != string(text) {
			t.Errorf("%s: parsed and formatted it is another text, %v", path, err)
		}
		list = append(list, f)
	}
	return list
}

// options are what a section was established for.
func options(t *testing.T, section scenario.Outcomes) explore.Options {
	t.Helper()
	version, err := kernel.ParseVersion(section.Kernel)
	if err != nil {
		t.Fatal(err)
	}
	memory, err := memmodel.ParseModel(section.Memory)
	if err != nil {
		t.Fatal(err)
	}
	return explore.Options{Version: version, Memory: memory}
}

// TestFiles: every search finds exactly the outcomes that its section has. To store what is found after a change of the
// model, and then to look at the difference: go run ./cmd/nlmmap verify -rewrite testdata/litmus.
func TestFiles(t *testing.T) {
	for i, f := range files(t) {
		t.Run(strings.TrimSuffix(filepath.Base(f.Name), ".txt"), func(t *testing.T) {
			for j, section := range f.Outcomes {
				if testing.Short() && (i%4 != 0 || j != i/4%len(f.Outcomes)) {
					continue
				}
				r := litmus.Check(context.Background(), f, section, options(t, section))
				if !r.OK() {
					t.Errorf("%s:%d: outcomes %s %s\nmissing %q\nextra %q\n%v %s",
						r.File, r.Line, section.Kernel, section.Memory, r.Missing, r.Extra, r.First, r.Failure)
				}
			}
		})
	}
}

// TestRandomSchedules: what random schedules lead to, violations included, the search has found. Each file is asked on one
// kernel. Of a wrong answer of poll the search may miss that it was one (docs/exploration.md).
func TestRandomSchedules(t *testing.T) {
	for i, f := range files(t) {
		if testing.Short() && i%4 != 0 {
			continue
		}
		section := f.Outcomes[i%len(f.Outcomes)]
		o := options(t, section)
		o.Scheduler, o.Runs, o.Seed = "random", 60, uint64(i)
		set := explore.Outcomes(context.Background(), litmus.Program(f), o)
		if set.Err != nil {
			t.Fatal(set.Err)
		}
		for _, out := range litmus.Outcomes(set) {
			same := func(found string) bool { return answered(found) == answered(out.Text) }
			if !slices.ContainsFunc(section.Set, same) {
				t.Errorf("%s:%d: not among the outcomes %s %s:\n%s\n--replay %q", f.Name, section.Line, section.Kernel, section.Memory,
					out.Text, out.Replay)
			}
		}
	}
}

// answered is an outcome without what is said of the answers of poll.
func answered(outcome string) string { return strings.ReplaceAll(outcome, "; violates poll", "") }

// TestFilesAreComplete: each file says what it asks, and has its outcomes on all kernels, under all memory models that can
// matter.
func TestFilesAreComplete(t *testing.T) {
	for _, f := range files(t) {
		if first := slices.Concat(f.Steps[:1], []scenario.Step{{}})[0]; len(first.Before) == 0 {
			t.Errorf("%s: a comment must say what is asked", f.Name)
		}
		have := map[string]bool{}
		for _, section := range f.Outcomes {
			have[section.Kernel+" "+section.Memory] = true
			if !slices.IsSorted(section.Set) {
				t.Errorf("%s:%d: the outcomes are not sorted", f.Name, section.Line)
			}
		}
		for _, release := range kernel.Releases() {
			for _, model := range litmus.Models(f) {
				if key := release.String() + " " + model.String(); !have[key] {
					t.Errorf("%s: no outcomes %s", f.Name, key)
				}
			}
		}
	}
}
