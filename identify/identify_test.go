package identify

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"nlmmap/internal/long"
	"nlmmap/internal/workers"
	"nlmmap/kernel"
	"nlmmap/scenario"
	"nlmmap/versions"
)

// recordings reads what is recorded of a release.
func recordings(t testing.TB, release kernel.Release) []*scenario.File {
	return parse(t, filepath.Join("../testdata/kernels", release.String()))
}

// scenarios are those that are recorded of a release, and those that were written to show one difference each.
func scenarios(t testing.TB, release kernel.Release) []*scenario.File {
	return append(recordings(t, release), parse(t, "../testdata/differences")...)
}

func parse(t testing.TB, dir string) []*scenario.File {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no scenarios in %s: %v", dir, err)
	}
	var files []*scenario.File
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		file, err := scenario.Parse(path, f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

// recorded is what a composed kernel would be recorded with.
func recorded(t testing.TB, v kernel.Version, files []*scenario.File) []*scenario.File {
	t.Helper()
	list := make([]*scenario.File, len(files))
	workers.Each(t.Context(), len(files), 0, func(i int) {
		o := play(context.Background(), v, files[i])
		f := part(files[i], func(int) bool { return true })
		for n := range f.Steps {
			f.Steps[n].Output = o.at(n)
		}
		list[i] = f
	})
	return list
}

// composed is a kernel with settings.
func composed(t testing.TB, text string) kernel.Version {
	t.Helper()
	v, err := versions.All().Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// check wants a kernel to be identified: as one that does the same in all recordings and differs from a release in no more
// than the kernel itself does.
func check(t *testing.T, text string, files []*scenario.File) {
	t.Helper()
	v := composed(t, text)
	r, err := Identify(t.Context(), Config{Recordings: recorded(t, v, files), Called: v.Release})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Exact() || len(r.Differences) > len(v.Set) {
		t.Errorf("%s is taken for %s: %d of %d steps", text, r.Kernel, r.Agrees.Steps.Agree, r.Agrees.Steps.Total)
	}
	t.Logf("%s: %s", text, r.Kernel)
	for _, d := range r.Differences {
		if len(d.Proof) == 0 {
			t.Errorf("%s: nothing proves %s=%s", text, d.Name, d.Value)
		}
		told := v.Set[d.Name] == d.Value || slices.Contains(d.Or, d.Name+"="+v.Set[d.Name]) || r.Nearest != v.Release.String()
		if n, err := strconv.Atoi(v.Set[d.Name]); err == nil && n >= d.From && n <= d.To {
			told = true
		}
		if !told && len(r.Differences) == len(v.Set) {
			t.Logf("    %s=%s explains it too", d.Name, d.Value)
		}
	}
}

// TestReleases: each set of recordings is of its release, without differences, and nothing is left.
func TestReleases(t *testing.T) {
	for _, release := range kernel.Releases() {
		r, err := Identify(t.Context(), Config{Recordings: recordings(t, release)})
		if err != nil {
			t.Fatal(err)
		}
		if r.Kernel != release.String() || !r.Exact() || len(r.AlsoFits) > 0 {
			t.Errorf("%v is taken for %s: %+v", release, r.Kernel, r.Agrees)
		}
		var b strings.Builder
		r.Write(&b)
		t.Log(b.String())
	}
}

// singles lists kernels that differ from a release in one difference.
func singles(t testing.TB, release kernel.Release) []string {
	var list []string
	rnd := rand.New(rand.NewPCG(uint64(release), 1))
	for _, d := range versions.All() {
		if !d.Settable() {
			continue
		}
		values := samples(d)
		if d.IsNumber() {
			least, most := d.Bounds()
			values = append(values, strconv.Itoa(least+rnd.IntN(most-least+1)), strconv.Itoa(least+rnd.IntN(100)))
		}
		for _, value := range values {
			if d.In(release) != value {
				list = append(list, fmt.Sprintf("%v %s=%s", release, d.Name, value))
			}
		}
	}
	return list
}

func TestSingles(t *testing.T) {
	releases := []kernel.Release{kernel.Linux4_4}
	if long.Wanted() {
		releases = kernel.Releases()
	}
	for _, release := range releases {
		files := scenarios(t, release)
		for _, text := range singles(t, release) {
			check(t, text, files)
		}
	}
}

// TestSeveral: two or three differences at once.
func TestSeveral(t *testing.T) {
	tries := 2
	if long.Wanted() {
		tries = 40
	}
	rnd := rand.New(rand.NewPCG(7, 7))
	for range tries {
		release := kernel.Releases()[rnd.IntN(len(kernel.Releases()))]
		text := release.String()
		all := singles(t, release)
		for range 2 + rnd.IntN(2) {
			_, set, _ := strings.Cut(all[rnd.IntN(len(all))], " ")
			text += " " + set
		}
		check(t, text, scenarios(t, release))
	}
}
