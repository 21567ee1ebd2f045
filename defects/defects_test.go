package defects_test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nlmmap/defects"
	"nlmmap/kernel"
	"nlmmap/scenario"
	"nlmmap/scenario/sim"
	"nlmmap/versions"
)

var update = flag.Bool("update", false, "rewrite the outputs and stories in "+defects.Dir)

const dir = "../" + defects.Dir

func boot(v kernel.Version, report func(string)) (scenario.Target, error) {
	return sim.New(sim.Config{Version: v, Heap: true, Trace: defects.Reports(report)})
}

// Each demonstration gives what is stored, on a kernel that has the defect and on one that does not, and the two differ.
func TestDemos(t *testing.T) {
	table := versions.All()
	for _, d := range defects.All() {
		if d.File != d.Name {
			continue
		}
		t.Run(d.Name, func(t *testing.T) {
			t.Parallel()
			demo, err := defects.Load(dir, d.File, table)
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				rewrite(t, d, demo)
				return
			}
			check(t, d, demo)
		})
	}
}

func check(t *testing.T, d defects.Defect, demo *defects.Demo) {
	if got, want := strings.Join(demo.Story, "\n"), strings.Join(story(d), "\n"); got != want {
		t.Errorf("the comment is\n%s\nwant\n%s", got, want)
	}
	for i, r := range demo.Runs {
		for _, l := range defects.Compare(r, r.Play(context.Background(), boot, r.Kernel)) {
			t.Errorf("%s: not as stored: %s", r.Label, l)
		}
		if has := d.Has(r.Kernel.Release); len(r.Kernel.Set) == 0 && has != (i == 0) {
			t.Errorf("run %d is on %s; has that kernel the defect? %v", i, r.Label, has)
		}
	}
	switch {
	case len(demo.Runs) == 1 && len(d.In) < len(kernel.Releases()):
		t.Errorf("some kernels do not have the defect, but it is not shown on one of them")
	case len(demo.Runs) > 1 && len(defects.Compare(demo.Runs[0], demo.Runs[1])) == 0:
		t.Errorf("%s and %s do the same", demo.Runs[0].Label, demo.Runs[1].Label)
	}
}

// The list of kernels that have a defect agrees with what the kernels do, where a run looks like one of the stored ones.
func TestJudge(t *testing.T) {
	table := versions.All()
	for _, d := range defects.All() {
		if d.File != d.Name {
			continue
		}
		demo, err := defects.Load(dir, d.File, table)
		if err != nil {
			t.Fatal(err)
		}
		if len(demo.Runs) < 2 {
			continue
		}
		for _, r := range kernel.Releases() {
			v := kernel.Version{Release: r}
			want := "no"
			if d.Has(r) {
				want = "has"
			}
			if d.Name == "dump-reserve-in-frame" && r == kernel.Linux3_19 {
				continue // it needs a large receive before
			}
			if got := demo.Judge(demo.Runs[0].Play(context.Background(), boot, v)); got != want && got != "other" {
				t.Errorf("%s on %v: %s, but the list says %s", d.Name, r, got, want)
			}
		}
	}
}

func rewrite(t *testing.T, d defects.Defect, demo *defects.Demo) {
	demo.Story = story(d)
	for i, r := range demo.Runs {
		demo.Runs[i] = r.Play(context.Background(), boot, r.Kernel)
	}
	f, err := os.Create(filepath.Join(dir, d.File+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := demo.Format(f); err != nil {
		t.Fatal(err)
	}
}

// story is the comment that begins the file.
func story(d defects.Defect) []string {
	text := d.Name + ": " + d.Title + ".\n\n" + versions.Fold(d.Story, 116)
	if len(d.In) == len(kernel.Releases()) {
		text += "\n\nAll modelled kernels have it, so there is only one run."
	}
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		lines = append(lines, strings.TrimRight("# "+line, " "))
	}
	return lines
}
