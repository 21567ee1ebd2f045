package versions_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nlmmap/defects"
	"nlmmap/internal/long"
	"nlmmap/kernel"
	"nlmmap/scenario"
	"nlmmap/scenario/sim"
	"nlmmap/versions"
)

const testdata = "../testdata"

// A sample is a scenario with the outputs that one kernel gives.
type sample struct {
	file *scenario.File
	with []string // settings of every kernel that it runs on
}

func boot(v kernel.Version, f *scenario.File) (scenario.Target, error) {
	return sim.New(sim.Config{Version: v, InitNet: f.InitNet(), Heap: true})
}

func (s sample) play(v kernel.Version) (outputs []string, failure string) {
	return scenario.Play(context.Background(), func() (scenario.Target, error) { return boot(v, s.file) }, s.file)
}

// changes reports whether a kernel does anything else than the one that the outputs are of.
func (s sample) changes(v kernel.Version) bool {
	outputs, failure := s.play(v)
	if failure != "" {
		return true
	}
	for i, out := range outputs {
		if out != s.file.Steps[i].Output {
			return true
		}
	}
	return false
}

// A corpus has the scenarios of testdata as they run on the releases.
type corpus struct {
	t          *testing.T
	table      versions.Table
	defects    defects.List
	recordings map[kernel.Release][]sample
}

func newCorpus(t *testing.T) *corpus {
	list, err := defects.All()
	if err != nil {
		t.Fatal(err)
	}
	c := &corpus{t: t, table: versions.All(), defects: list, recordings: map[kernel.Release][]sample{}}
	for _, r := range kernel.Releases() {
		paths, err := filepath.Glob(filepath.Join(testdata, "kernels", r.String(), "*.txt"))
		if err != nil || len(paths) == 0 {
			t.Fatalf("no recordings of %v: %v", r, err)
		}
		for _, path := range paths {
			c.recordings[r] = append(c.recordings[r], sample{c.parse(path), nil})
		}
	}
	return c
}

func (c *corpus) parse(path string) *scenario.File {
	f, err := os.Open(path)
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	file, err := scenario.Parse(path, f)
	if err != nil {
		c.t.Fatal(err)
	}
	return file
}

// with returns the settings in a scenario's comment: "# with nf-init-net=off", for differences that show only together
// with another one.
func with(f *scenario.File) []string {
	for _, line := range f.Steps[0].Before {
		if sets, ok := strings.CutPrefix(line, "# with "); ok {
			return strings.Fields(sets)
		}
	}
	return nil
}

// own returns the scenario that is named after a difference, and those of the defects that consist of it.
func (c *corpus) own(d kernel.Difference) []sample {
	var own []sample
	path := filepath.Join(testdata, "differences", d.Name+".txt")
	if _, err := os.Stat(path); err == nil {
		f := c.parse(path)
		own = append(own, sample{file: f, with: with(f)})
	}
	for _, x := range c.defects.Defects {
		is := slices.ContainsFunc(x.Is, func(is defects.Condition) bool { return is.Difference == d.Name })
		if is && x.File == x.Name {
			own = append(own, sample{file: x.Runs[0].File})
		}
	}
	return own
}

// kernel is a release with some settings.
func (c *corpus) kernel(r kernel.Release, sets ...string) kernel.Version {
	v, err := c.table.Set(kernel.Version{Release: r}, sets...)
	if err != nil {
		c.t.Fatal(err)
	}
	return v
}

// on runs scenarios on a release, so that their outputs are its.
func (c *corpus) on(r kernel.Release, samples []sample) []sample {
	var recorded []sample
	for _, s := range samples {
		outputs, failure := s.play(c.kernel(r, s.with...))
		if failure != "" {
			c.t.Errorf("%s on %v: %s", s.file.Name, r, failure)
			continue
		}
		f := *s.file
		f.Steps = slices.Clone(f.Steps)
		for i := range f.Steps {
			f.Steps[i].Output = outputs[i]
		}
		recorded = append(recorded, sample{&f, s.with})
	}
	return recorded
}

// Each value of each difference that can be set changes what some scenario does on a release that has another value, or,
// where no program sees the difference, what the kernel does inside. Those that several tasks see are exercised in package
// explore.
func TestEveryDifferenceIsExercised(t *testing.T) {
	c := newCorpus(t)
	for _, d := range c.table {
		if !d.Settable() || d.Seen == kernel.SeenByConcurrency || d.Seen == kernel.SeenByWeakMemory {
			continue
		}
		t.Run(d.Name, func(t *testing.T) {
			t.Parallel()
			if testing.Short() && len(c.own(d)) == 0 {
				t.Skip("only the recordings exercise it")
			}
			for _, value := range d.Values() {
				if everywhere(d, value) {
					continue // nothing can be without it, unless another value is set: that is exercised
				}
				if where := c.exercised(d, value); where == "" {
					t.Errorf("no scenario changes when a kernel with another value is set to %s=%s: write %s/differences/%s.txt",
						d.Name, value, testdata, d.Name)
				} else {
					t.Logf("%s=%s changes %s", d.Name, value, where)
				}
			}
		})
	}
}

// everywhere reports whether all releases have a value.
func everywhere(d kernel.Difference, value string) bool {
	return !slices.ContainsFunc(kernel.Releases(), func(r kernel.Release) bool { return d.In(r) != value })
}

// exercised names a scenario that a value changes.
func (c *corpus) exercised(d kernel.Difference, value string) string {
	own := c.own(d)
	for _, ownOnly := range []bool{true, false} {
		for _, r := range kernel.Releases() {
			if d.In(r) == value || testing.Short() && !ownOnly {
				continue
			}
			samples := c.recordings[r]
			if ownOnly {
				samples = c.on(r, own)
			}
			for _, s := range samples {
				v := c.kernel(r, append(s.with, d.Name+"="+value)...)
				if d.Seen == kernel.SeenByNone && s.trace(v) != s.trace(c.kernel(r, s.with...)) ||
					d.Seen == kernel.SeenByAll && s.changes(v) {
					return s.file.Name + " on " + r.String()
				}
			}
		}
	}
	return ""
}

// trace is everything that happens in a machine that plays the scenario.
func (s sample) trace(v kernel.Version) string {
	var b strings.Builder
	_, failure := scenario.Play(context.Background(), func() (scenario.Target, error) {
		return sim.New(sim.Config{Version: v, InitNet: s.file.InitNet(), Heap: true,
			Trace: func(r kernel.Record) { fmt.Fprintln(&b, r.Event) }})
	}, s.file)
	return b.String() + failure
}

// A kernel with the least or the most that a number can be plays every recording to its end: nothing panics, hangs or
// leaks.
func TestNumbersInRange(t *testing.T) {
	c := newCorpus(t)
	for _, d := range c.table {
		if !d.IsNumber() {
			continue
		}
		least, most := d.Bounds()
		for _, value := range []int{least, most} {
			v := c.kernel(kernel.Linux4_4, fmt.Sprintf("%s=%d", d.Name, value))
			for i, s := range c.recordings[kernel.Linux4_4] {
				if i%8 != 0 && !long.Wanted() {
					continue
				}
				if _, failure := s.play(v); failure != "" {
					t.Errorf("%v: %s: %s", v, s.file.Name, failure)
				}
			}
		}
	}
}
