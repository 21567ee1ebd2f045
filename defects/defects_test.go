package defects_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
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

// Every defect is shown by a scenario or a program, or it says why not; and every file is one of a defect.
func TestList(t *testing.T) {
	known := map[string]bool{}
	for _, d := range defects.All() {
		shown := d.File != "" || d.Explored != ""
		if shown == (d.Outside != "") || d.Story == "" || d.Title == "" || d.Section == "" || known[d.Name] {
			t.Errorf("bad entry: %+v", d)
		}
		known[d.Name] = true
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		if name := strings.TrimSuffix(filepath.Base(path), ".txt"); !known[name] {
			t.Errorf("%s: no defect is called that", path)
		}
	}
	if _, err := defects.Find("tap-copy-whol"); err == nil || !strings.Contains(err.Error(), `did you mean "tap-copy-whole"?`) {
		t.Errorf("misspelt: %v", err)
	}
}

func TestBadDemos(t *testing.T) {
	table := versions.All()
	for text, want := range map[string]string{
		"# only a story\n":                "f: no scenario",
		"sleep ms=0\n":                    "f:1: expected a comment or a line like -- 4.5.7 --",
		"# x\n-- 4.5.6 --\nsleep ms=0\n":  `f:2: unknown kernel version "4.5.6"`,
		"-- 4.5.7 a=b --\nsleep ms=0\n":   `f:1: unknown difference "a"`,
		"-- 4.5.7 --\n":                   "f: no steps for 4.5.7",
		"-- 4.5.7 --\n\n# x\nslep ms=0\n": `f:4: unknown directive "slep"`,
	} {
		_, err := defects.Parse("f", strings.NewReader(text), table)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// docs/defects.md is what "go generate ./..." writes.
func TestDocs(t *testing.T) {
	var want bytes.Buffer
	if err := defects.Markdown(&want); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../docs/defects.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Error("docs/defects.md is stale: run \"go generate ./...\"")
	}
}

func Example() {
	d, err := defects.Find("tx-path-dead")
	if err != nil {
		panic(err)
	}
	fmt.Println(d.Title, "in", d.In)
	// Output: The TX ring is never read in 4.1.18
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
