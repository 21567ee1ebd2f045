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
		var outputs []string
		for n := range files[i].Steps {
			outputs = append(outputs, o.at(n))
		}
		list[i] = with(files[i], outputs)
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

// check wants a kernel to be identified: as one that does the same in all scenarios and differs from a release in no more
// than the kernel itself does.
func check(t *testing.T, text string, files []*scenario.File) {
	t.Helper()
	v := composed(t, text)
	r, err := Identify(t.Context(), Config{Recordings: recorded(t, v, files), Called: v.Release.String()})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %s", text, r.Kernel)
	if !r.Exact() || len(r.Differences) > len(v.Set) {
		t.Errorf("%s is taken for %s: %d of %d steps", text, r.Kernel, r.Agrees.Steps.Agree, r.Agrees.Steps.Total)
	}
	for _, d := range r.Differences {
		if len(d.Proof) == 0 || len(d.Against) > 0 {
			t.Errorf("%s: %d steps prove %s=%s, %d are against it", text, len(d.Proof), d.Name, d.Value, len(d.Against))
		}
		if n, err := strconv.Atoi(v.Set[d.Name]); err == nil && r.Nearest == v.Release.String() && (n < d.From || n > d.To) {
			t.Errorf("%s: a value of %s from %d to %d", text, d.Name, d.From, d.To)
		}
	}
}

// TestReleases: each set of recordings is of its release, without differences, and nothing is left.
func TestReleases(t *testing.T) {
	for _, release := range kernel.Releases() {
		if testing.Short() && release != kernel.Linux4_1 {
			continue
		}
		r, err := Identify(t.Context(), Config{Recordings: recordings(t, release), Called: "4.4.1"})
		if err != nil {
			t.Fatal(err)
		}
		if r.Kernel != release.String() || !r.Exact() || len(r.Differences)+len(r.AlsoFits)+len(r.Left) > 0 {
			t.Errorf("%v is taken for %s: %+v", release, r.Kernel, r.Agrees)
		}
	}
}

// singles lists kernels that differ from a release in one difference: every value of each, and of numbers also the ends and
// two odd ones.
func singles(release kernel.Release) []string {
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

// TestSingles: every difference is found where it is the only one. All of them on all releases take ten minutes.
func TestSingles(t *testing.T) {
	every := 422
	if long.Wanted() {
		every = 1
	}
	n := 0
	for _, release := range kernel.Releases() {
		files := scenarios(t, release)
		for _, text := range singles(release) {
			if n++; n%every == 0 && (!testing.Short() || n%(8*every) == 0) {
				check(t, text, files)
			}
		}
	}
}

// TestSeveral: two or three differences at once are found.
func TestSeveral(t *testing.T) {
	tries := 1
	if long.Wanted() {
		tries = 60
	} else if testing.Short() {
		t.Skip("TestSingles is enough")
	}
	rnd := rand.New(rand.NewPCG(7, 7))
	for range tries {
		release := kernel.Releases()[rnd.IntN(len(kernel.Releases()))]
		text, all := release.String(), singles(release)
		for range 2 + rnd.IntN(2) {
			_, set, _ := strings.Cut(all[rnd.IntN(len(all))], " ")
			text += " " + set
		}
		check(t, text, scenarios(t, release))
	}
}

// some are a few scenarios of 4.4.1, as a kernel does them.
func some(t testing.TB, text, pattern string) []*scenario.File {
	t.Helper()
	var files []*scenario.File
	for _, f := range scenarios(t, kernel.Linux4_4) {
		if ok, _ := filepath.Match(pattern, filepath.Base(f.Name)); ok {
			files = append(files, f)
		}
	}
	return recorded(t, composed(t, text), files)
}

// TestFewRecordings: what the recordings do not tell is said: releases that fit alike, differences, values of numbers, and
// changes that explain the same.
func TestFewRecordings(t *testing.T) {
	r, err := Identify(t.Context(), Config{Recordings: some(t, "4.4.1", "bind_rules.txt"), Called: "4.1.18", Untold: true})
	if err != nil {
		t.Fatal(err)
	}
	if r.Kernel != "4.1.18" || !r.Exact() || !slices.Contains(r.AlsoFits, "4.4.1") {
		t.Errorf("%s, also %q", r.Kernel, r.AlsoFits)
	}
	untold := map[string]string{}
	for _, u := range r.Untold {
		untold[u.Name] = u.String()
	}
	for name, want := range map[string]string{"skip-forward": "skip-forward", "tap-copy": "tap-copy=full (none, clone)",
		"nfq-flags": "nfq-flags=16 (any)"} {
		if untold[name] != want {
			t.Errorf("not told: %q, want %q", untold[name], want)
		}
	}

	r, err = Identify(t.Context(), Config{Recordings: some(t, "4.4.1 inet6-conf=44", "dump_link.txt"), Called: "4.4.1"})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Differences) != 1 || !r.Exact() {
		t.Fatalf("%s", r.Kernel)
	}
	// The recording shows only that messages about links are 16 bytes longer: 4 settings of either protocol, or 2 counters.
	d := r.Differences[0]
	want := map[string][2]string{"inet-conf": {"29", "33"}, "inet6-conf": {"40", "44"}, "ipv6-counters": {"36", "38"}}[d.Name]
	if d.Was != want[0] || fmt.Sprint(d.From) != want[1] || d.To != d.From {
		t.Errorf("%+v", d)
	}
}

// TestLeft: what no difference explains is told, each kind once and with the fewest steps, and does not hide what one does
// explain. With the kernel at hand it is cut down there.
func TestLeft(t *testing.T) {
	const text = "4.4.1 skip-forward=off"
	patched := func(outputs []string) []string {
		var changed []string
		for _, output := range outputs {
			changed = append(changed, strings.ReplaceAll(output, "ENOBUFS", "ENOMEM"))
		}
		return changed
	}
	var files []*scenario.File
	for _, f := range some(t, text, "rx_[so]*.txt") {
		var outputs []string
		for _, step := range f.Steps {
			outputs = append(outputs, step.Output)
		}
		files = append(files, with(f, patched(outputs)))
	}
	on := func(ctx context.Context, n int, work func(context.Context, Player, int) error) error {
		for i := range n {
			err := work(ctx, func(ctx context.Context, f *scenario.File) ([]string, error) {
				return patched(play(ctx, composed(t, text), f).outputs), nil
			}, i)
			if err != nil {
				return err
			}
		}
		return nil
	}
	steps := map[bool]int{}
	for tried, on := range map[bool]Kernel{false: nil, true: on} {
		r, err := Identify(t.Context(), Config{Recordings: files, Called: "4.4.1", Kernel: on})
		if err != nil {
			t.Fatal(err)
		}
		if r.Kernel != text || r.Exact() || len(r.Left) == 0 {
			t.Errorf("%s, %d left", r.Kernel, len(r.Left))
		}
		for _, l := range r.Left {
			if !strings.Contains(l.Expected, "ENOMEM") || !strings.Contains(l.Got, "ENOBUFS") || l.Tried != tried {
				t.Errorf("%+v", l)
			}
			if !strings.HasSuffix(l.Scenario, l.Expected) {
				t.Errorf("the scenario does not end with what disagrees:\n%s", l.Scenario)
			}
			steps[tried] += l.Steps
		}
	}
	if steps[true] >= steps[false] {
		t.Errorf("%d steps on the kernel, %d without", steps[true], steps[false])
	}
}

// TestGone: what the kernel does not do a second time is said to depend on chance.
func TestGone(t *testing.T) {
	files := some(t, "4.4.1", "bind_rules.txt")
	files[0].Steps[0].Output = "odd\n"
	on := func(ctx context.Context, n int, work func(context.Context, Player, int) error) error {
		return work(ctx, func(ctx context.Context, f *scenario.File) ([]string, error) {
			return play(ctx, composed(t, "4.4.1"), f).outputs, nil
		}, 0)
	}
	r, err := Identify(t.Context(), Config{Recordings: files, Called: "4.4.1", Kernel: on})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Left) != 1 || r.Left[0].Tried || !r.Left[0].Gone || r.Left[0].Steps != 1 {
		t.Errorf("%+v", r.Left)
	}
}

// TestForeign: recordings that are of no such kernel come to an end, and not everything that is left is told.
func TestForeign(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	files := some(t, "4.4.1", "[!dginrst]*.txt")
	for i, f := range files {
		var outputs []string
		for _, step := range f.Steps {
			outputs = append(outputs, digits.ReplaceAllString(step.Output, "7"))
		}
		files[i] = with(f, outputs)
	}
	r, err := Identify(t.Context(), Config{Recordings: files})
	if err != nil {
		t.Fatal(err)
	}
	if r.Exact() || len(r.Left) != kindsLeft || r.MoreLeft == 0 {
		t.Errorf("%s, %d and %d more kinds left", r.Kernel, len(r.Left), r.MoreLeft)
	}
}

// TestAttribute: each step that disagrees is explained by the one difference that makes it, or by two where it takes two; a
// step that nothing explains has none.
func TestAttribute(t *testing.T) {
	from, to := composed(t, "3.10.4"), composed(t, "3.10.4 nfnl-batch=on nfnl-batch-order=on skip-forward=on")
	files := recorded(t, to, slices.Concat(some(t, "4.4.1", "rx_s*.txt"), some(t, "4.4.1", "poll*.txt"), some(t, "4.4.1", "nf*.txt")))
	odd := slices.IndexFunc(files, func(f *scenario.File) bool { return filepath.Base(f.Name) == "poll_tx.txt" })
	files[odd].Steps[0].Output = "odd\n"
	found, err := Explain(t.Context(), from, files, func(string) {})
	if err != nil || notation(found) != notation(to) {
		t.Errorf("explained by %s, %v", notation(found), err)
	}
	causes, err := Attribute(t.Context(), from, found, files, func() {})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for _, c := range causes {
		file := filepath.Base(c.File)
		got[file] = append(got[file], strings.Join(c.Differences, " "))
	}
	for file, want := range map[string]string{"rx_skip.txt": "skip-forward=on", "nfnl-batch-order.txt": "nfnl-batch=on nfnl-batch-order=on",
		"poll_tx.txt": ""} {
		if !slices.Contains(got[file], want) {
			t.Errorf("%s: because of %q, want %q", file, got[file], want)
		}
	}
	if changes := Changes(from, to); len(changes) != 3 || len(Changes(to, to)) != 0 {
		t.Errorf("changes %q", changes)
	}
}

// TestSame: two runs find the same, byte for byte.
func TestSame(t *testing.T) {
	files := some(t, "3.19.8 tx-path-dead=on inet6-conf=50", "tx_b*.txt")
	var texts []string
	for range 2 {
		r, err := Identify(t.Context(), Config{Recordings: files, Called: "4.4.1", Untold: true})
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := r.Write(&b); err != nil {
			t.Fatal(err)
		}
		texts = append(texts, b.String())
	}
	if texts[0] != texts[1] {
		t.Errorf("not the same:\n%s\n%s", texts[0], texts[1])
	}
}
