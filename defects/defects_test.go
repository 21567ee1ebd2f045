package defects_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nlmmap/defects"
	"nlmmap/kernel"
	"nlmmap/scenario"
	"nlmmap/scenario/sim"
	"nlmmap/versions"
)

var update = flag.Bool("update", false, "rewrite the outputs in "+defects.Dir)

func boot(v kernel.Version, initNet bool, report func(string)) (scenario.Target, error) {
	return sim.New(sim.Config{Version: v, InitNet: initNet, Heap: true, Trace: defects.Reports(report)})
}

func all(t *testing.T) defects.List {
	list, err := defects.All()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Each scenario gives what is stored, on a kernel that has the defect and on one that does not, and the two differ.
func TestScenarios(t *testing.T) {
	for _, d := range all(t).Defects {
		if d.File != d.Name {
			continue
		}
		t.Run(d.Name, func(t *testing.T) {
			t.Parallel()
			if *update {
				rewrite(t, d)
				return
			}
			check(t, d)
		})
	}
}

func check(t *testing.T, d defects.Defect) {
	for i, r := range d.Runs {
		played := d.Play(context.Background(), boot, r.Label, r.Kernel)
		for _, l := range defects.Compare(r, played) {
			t.Errorf("%s: not as stored: %s", r.Label, l)
		}
		if v := d.Judge(played); v.Has != (i == 0) {
			t.Errorf("run %d is on %s, which shows the defect: %v (%s)", i, r.Label, v.Has, v.Seen)
		}
	}
	if has := len(d.In) == len(kernel.Releases()); has != (len(d.Runs) == 1) {
		t.Errorf("%d runs; do all kernels have it? %v", len(d.Runs), has)
	}
}

// What a defect's scenario shows on each release is what its differences say.
func TestReleases(t *testing.T) {
	for _, d := range all(t).Defects {
		if d.File == "" {
			continue
		}
		for _, r := range kernel.Releases() {
			v := d.Judge(d.Play(context.Background(), boot, r.String(), kernel.Version{Release: r}))
			if v.Has != d.Has(r) {
				t.Errorf("%s on %v: the scenario says %v (%s), the list %v", d.Name, r, v.Has, v.Seen, d.Has(r))
			}
		}
	}
}

// A release with one difference changed shows a defect if the list says so: what a defect's file does not name does not
// decide.
func TestComposed(t *testing.T) {
	list, table := all(t), versions.All()
	for _, d := range list.Defects {
		if d.File == "" {
			continue
		}
		t.Run(d.Name, func(t *testing.T) {
			t.Parallel()
			for _, of := range table {
				named := slices.ContainsFunc(d.Is, func(c defects.Condition) bool { return c.Difference == of.Name })
				if of.Settable() && (named || !testing.Short()) {
					composed(t, list, table, d, of)
				}
			}
		})
	}
}

func composed(t *testing.T, list defects.List, table versions.Table, d defects.Defect, of kernel.Difference) {
	for _, r := range kernel.Releases() {
		for _, value := range of.Values() {
			v, err := table.Set(kernel.Version{Release: r}, of.Name+"="+value)
			if err != nil {
				t.Fatal(err)
			}
			if len(v.Set) == 0 {
				continue
			}
			if got := d.Judge(d.Play(context.Background(), boot, "", v)); got.Has != list.Shows(d, v) {
				t.Errorf("%v: the scenario says %v (%s), the list %v", v, got.Has, got.Seen, list.Shows(d, v))
			}
		}
	}
}

// Every defect is shown by a scenario or a program, or it says why not.
func TestList(t *testing.T) {
	list := all(t)
	for _, d := range list.Defects {
		if shown := d.File != "" || len(d.Explored) > 0; shown == (d.Outside != "") {
			t.Errorf("%s: shown %v, and not shown because of %q", d.Name, shown, d.Outside)
		}
	}
	if _, err := list.Find("tap-copy-whol"); err == nil || !strings.Contains(err.Error(), `did you mean "tap-copy-whole"?`) {
		t.Errorf("misspelt: %v", err)
	}
}

func TestBadFiles(t *testing.T) {
	const head = "title: x\nsection: 1\nkind: deterministic\n"
	for text, want := range map[string]string{
		"title: x\n\nstory\n":                                    "f: title, section, kind or story is missing",
		"title x\n":                                              "f:1: expected KEY: VALUE",
		"kind: nasty\n":                                          `f:1: unknown kind "nasty"`,
		"title: x\nis: nosuch=on\n":                              `f:2: unknown difference "nosuch"`,
		"is: tap-copy=all\n":                                     `f:1: difference tap-copy has no value "all"`,
		"in: 4.5.6\n":                                            `f:1: unknown kernel version "4.5.6"`,
		"explore: x\n":                                           `f:1: "x": expected PROGRAM under MEMORY violates INVARIANT at FUNCTION`,
		"explore: x under so violates y at z\n":                  `f:1: no memory model "so"`,
		head + "\nstory\n-- 4.5.6 --\nsleep ms=0\n":              `f:6: unknown kernel version "4.5.6"`,
		head + "\nstory\n-- 4.5.7 a=b --\nsleep ms=0\n":          `f:6: unknown difference "a"`,
		head + "\nstory\n-- 4.5.7 --\n":                          "f: no steps for 4.5.7",
		head + "\nstory\n-- 4.5.7 --\n\n# x\nslep ms=0\n":        `f:9: unknown directive "slep"`,
		head + "\nstory\n-- 4.5.7 --\nsleep ms=0\n":              "f: no step of the first run has a comment",
		head + "\nstory\n-- 4.5.7 --\n# defect: (\nsleep ms=0\n": "f:8: error parsing regexp",
	} {
		_, err := defects.Parse("f", []byte(text), versions.All())
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// docs/defects.md is what "go generate ./..." writes.
func TestDocs(t *testing.T) {
	var want bytes.Buffer
	if err := all(t).Markdown(&want); err != nil {
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
	list, err := defects.All()
	if err != nil {
		panic(err)
	}
	d, err := list.Find("tx-path-dead")
	if err != nil {
		panic(err)
	}
	fmt.Println(d.Title, "in", d.In)
	// Output: The TX ring is never read in 4.1.18
}

// rewrite stores what the first scenario gives now, on all kernels of the file.
func rewrite(t *testing.T, d defects.Defect) {
	var runs []defects.Run
	for _, r := range d.Runs {
		runs = append(runs, d.Play(context.Background(), boot, r.Label, r.Kernel))
	}
	d.Runs = runs
	f, err := os.Create(filepath.Join("..", defects.Dir, d.Name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := d.Format(f); err != nil {
		t.Fatal(err)
	}
}

// TestNamesHaveOnePolarity: a defect with the name of a difference is that difference where it is on. The specification
// names a few after what is missing; their text says so.
func TestNamesHaveOnePolarity(t *testing.T) {
	for _, d := range all(t).Defects {
		for _, is := range d.Is {
			opposite := is.Difference == d.Name && slices.Contains(is.Values, "off")
			if says := strings.Contains(d.Story, "The name is that of what is missing"); is.Difference == d.Name && says != opposite {
				t.Errorf("%s is %v: its text says %t that the name is that of what is missing", d.Name, is, says)
			}
		}
	}
}
