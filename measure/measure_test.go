package measure_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"nlmmap/kernel"
	"nlmmap/measure"
)

// little is enough to see that every case runs.
var little = measure.Effort{Rounds: 2, Round: 100 * time.Microsecond}

// TestSuite runs every case at two sizes: on the live kernel what the caller may.
func TestSuite(t *testing.T) {
	for _, release := range kernel.Releases() {
		cfg := measure.Config{Version: kernel.Version{Release: release}, Effort: little, Sizes: []int{64, 16384}, Routes: 300, Sockets: 20}
		cfg.Live = release == kernel.Linux4_4
		r, err := measure.Suite(t.Context(), cfg)
		if err != nil {
			t.Fatalf("%v: %v", release, err)
		}
		for _, row := range r.Rows {
			if len(row.Rounds) != 2 || row.Ns <= 0 || row.Low > row.Ns || row.High < row.Ns {
				t.Errorf("%v: %s: %+v", release, row.Name(), row)
			}
		}
		for _, want := range []measure.Key{
			{Operation: "pass", Side: measure.Bare, Way: "floor", Size: 64}, {Operation: "pass", Side: measure.Model, Way: "ring", Size: 16384},
			{Operation: "message", Side: measure.Model, Way: "tx-ring", Size: 64}, {Operation: "verdict", Side: measure.Model, Way: "rings", Size: 64},
			{Operation: "verdict batch", Side: measure.Model, Way: "recvmsg", Size: 16384}, {Operation: "dump of 300 routes", Side: measure.Model, Way: "ring"},
		} {
			tx := want.Way == "tx-ring" || want.Way == "rings"
			if _, ok := r.Find(want); ok == (tx && release == kernel.Linux4_1) {
				t.Errorf("%v: row %s: %t", release, want.Name(), ok)
			}
		}
		if !cfg.Live {
			continue
		}
		t.Log(r.Notes)
		if _, ok := r.Find(measure.Key{Operation: "ack", Side: measure.Live, Way: "recvmsg", Size: 64}); !ok && runtime.GOOS+runtime.GOARCH == "linuxamd64" {
			t.Errorf("nothing of the live kernel: %v", r.Notes)
		}
	}
}

// A report is the same after it was written and read; benchmark lines are what benchstat takes.
func TestFormats(t *testing.T) {
	r, err := measure.Suite(t.Context(), measure.Config{Effort: little, Sizes: []int{64}, Routes: 100,
		Only: func(name string) bool { return strings.HasPrefix(name, "BenchmarkPass/") }})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "report.json")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := measure.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range again.Compare(r) {
		if c.Ratio != 1 || c.Sure {
			t.Errorf("%s changed by %v between a report and itself", c.Name(), c.Ratio)
		}
	}
	if n := len(again.Compare(r)); n != 4 {
		t.Errorf("%d rows in common, there are floor, memcpy, ring and recvmsg", n)
	}
	var b bytes.Buffer
	if err := r.Benchstat(&b); err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^Benchmark\S+-\d+\s+\d+\s+[\d.]+ ns/op\s+\d+ B/op\s+[\d.]+ allocs/op$`)
	if lines := line.FindAllString(b.String(), -1); len(lines) != 8 {
		t.Errorf("%d benchmark lines of 4 rows with 2 rounds:\n%s", len(lines), &b)
	}
	b.Reset()
	if err := r.Table(&b); err != nil || !strings.Contains(b.String(), "a message through the ring, beside the bare protocol, 64 bytes") {
		t.Errorf("%v\n%s", err, &b)
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "other.json")
	if err := os.WriteFile(path, []byte(`{"versions": []}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := measure.Load(path); err == nil || !strings.Contains(err.Error(), "expected a report") {
		t.Errorf("another JSON file: %v", err)
	}
}

// Slower rounds are seen, and what is called sure does not touch.
func TestCompare(t *testing.T) {
	row := func(ns float64) []measure.Row {
		return []measure.Row{{Key: measure.Key{Operation: "ack", Side: measure.Model}, Ns: ns, Low: ns * 0.9, High: ns * 1.1}}
	}
	for _, test := range []struct {
		now  float64
		sure bool
	}{{110, false}, {130, true}, {70, true}} {
		c := (&measure.Report{Rows: row(test.now)}).Compare(&measure.Report{Rows: row(100)})
		if len(c) != 1 || c[0].Sure != test.sure || c[0].Ratio != test.now/100 {
			t.Errorf("%v after 100: %+v", test.now, c)
		}
	}
}

// The cases take turns; what a case does more often in a round is faster; an error names its case.
func TestRun(t *testing.T) {
	var order []string
	sleeps := func(name string, d time.Duration) measure.Case {
		return measure.Case{Key: measure.Key{Operation: name}, Run: func(n int) error {
			order = append(order, name)
			time.Sleep(time.Duration(n) * d)
			return nil
		}}
	}
	cases := []measure.Case{sleeps("a", time.Millisecond), sleeps("b", 4*time.Millisecond)}
	rows, err := measure.Run(t.Context(), measure.Effort{Rounds: 3, Round: 8 * time.Millisecond}, cases, nil)
	if err != nil {
		t.Fatal(err)
	}
	if last := order[len(order)-6:]; !slices.Equal(last, []string{"a", "b", "a", "b", "a", "b"}) {
		t.Errorf("the rounds are %v", last)
	}
	if rows[0].Ns < 1e6 || rows[1].Ns < 4e6 {
		t.Errorf("operations that sleep 1 and 4 ms take %.0f and %.0f ns", rows[0].Ns, rows[1].Ns)
	}
	broken := errors.New("broken")
	cases[1].Run = func(int) error { return broken }
	if _, err := measure.Run(t.Context(), little, cases, nil); !errors.Is(err, broken) || !strings.Contains(err.Error(), "BenchmarkB") {
		t.Errorf("the error of a case: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := measure.Run(ctx, little, cases[:1], nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a run that is ended: %v", err)
	}
}

// What the heap is asked for, for one operation of several that a case does at once.
func ExampleRun() {
	sink := make([][]byte, 0, 10)
	make10 := measure.Case{Key: measure.Key{Operation: "make"}, Per: 10, Run: func(n int) error {
		for range n {
			sink = sink[:0]
			for range 10 {
				sink = append(sink, make([]byte, 64))
			}
		}
		return nil
	}}
	rows, err := measure.Run(context.Background(), measure.Effort{Rounds: 5, Round: time.Millisecond}, []measure.Case{make10}, nil)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s: %.0f allocation\n", rows[0].Name(), rows[0].Allocs)
	// Output: BenchmarkMake: 1 allocation
}
