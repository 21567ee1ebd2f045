package measure

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"text/tabwriter"
)

// A Report is what one run has measured.
type Report struct {
	Machine Machine  `json:"machine"`
	Kernel  string   `json:"kernel"` // the modelled one
	Rows    []Row    `json:"rows"`
	Notes   []string `json:"notes,omitempty"` // what could not be measured, and why
}

// A Machine is what times were taken on.
type Machine struct {
	OS     string `json:"os"`
	Arch   string `json:"arch"`
	CPUs   int    `json:"cpus"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
}

// Find returns the row with a key; ok is false when it was not measured.
func (r *Report) Find(k Key) (row Row, ok bool) {
	i := slices.IndexFunc(r.Rows, func(row Row) bool { return row.Key == k })
	if i < 0 {
		return Row{}, false
	}
	return r.Rows[i], true
}

// Load reads a report that was written as JSON.
func Load(path string) (*Report, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var r Report
	if err := json.Unmarshal(raw, &r); err != nil {
		return nil, fmt.Errorf("%s is no report of nlmmap bench -json: %w", path, err)
	}
	if len(r.Rows) == 0 {
		return nil, fmt.Errorf("%s has no rows: expected a report of nlmmap bench -json", path)
	}
	return &r, nil
}

// method tells what the table's columns can be compared with.
const method = `Times are medians of %d rounds after one that is not counted, in turns over all rows; +- is half of what the middle half
of the rounds spans; cpu is the processor time of the program and the kernel under it. Compare within this table: model and live with the same operation, way and size do the same for the
same loop of Go, with the difference that a call of the model crosses no border into a kernel. bare is no kernel at all:
floor passes a frame to and fro by its status, with the two copies of memcpy. Times of different runs do not compare,
unless the machine was idle.
`

// Table writes the report for people.
func (r *Report) Table(w io.Writer) error {
	rounds := 0
	if len(r.Rows) > 0 {
		rounds = len(r.Rows[0].Rounds)
	}
	fmt.Fprintf(w, "Linux %s modelled, on %s/%s with %d CPUs, Linux %s, %s.\n", r.Kernel, r.Machine.OS, r.Machine.Arch, r.Machine.CPUs,
		r.Machine.Kernel, r.Machine.Go)
	fmt.Fprintf(w, method+"\n", rounds)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "operation\tside\tway\tsize\ttime\t+-\tcpu\tallocs\tbytes\tbandwidth\t")
	for _, row := range r.sorted() {
		size, bandwidth := "", ""
		if row.Size > 0 {
			size = fmt.Sprint(row.Size)
			bandwidth = fmt.Sprintf("%.0f MB/s", float64(row.Size)/row.Ns*1e3)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%.0f %%\t%s\t%.2f\t%.0f\t%s\t\n", row.Operation, row.Side, row.Way, size, duration(row.Ns),
			row.spread()*100, duration(row.CPU), row.Allocs, row.Bytes, bandwidth)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return r.writeGoals(w)
}

// spread is half of what the middle half of the rounds spans, as a part of the median.
func (r Row) spread() float64 {
	if r.Ns == 0 {
		return 0
	}
	return (r.High - r.Low) / 2 / r.Ns
}

func duration(ns float64) string {
	switch {
	case ns < 1e3:
		return fmt.Sprintf("%.1f ns", ns)
	case ns < 1e6:
		return fmt.Sprintf("%.2f us", ns/1e3)
	}
	return fmt.Sprintf("%.2f ms", ns/1e6)
}

// sorted are the rows with the same operation and size together.
func (r *Report) sorted() []Row {
	var operations []string
	for _, row := range r.Rows {
		if !slices.Contains(operations, row.Operation) {
			operations = append(operations, row.Operation)
		}
	}
	rows := slices.Clone(r.Rows)
	slices.SortStableFunc(rows, func(a, b Row) int {
		if d := slices.Index(operations, a.Operation) - slices.Index(operations, b.Operation); d != 0 {
			return d
		}
		return a.Size - b.Size
	})
	return rows
}

// Benchstat writes each round as a line of Go's benchmark format, for benchstat.
func (r *Report) Benchstat(w io.Writer) error {
	_, err := fmt.Fprintf(w, "goos: %s\ngoarch: %s\npkg: nlmmap\n", r.Machine.OS, r.Machine.Arch)
	errs := []error{err}
	for _, row := range r.Rows {
		for _, ns := range row.Rounds {
			_, err := fmt.Fprintf(w, "%s-%d\t1\t%.2f ns/op\t%.0f B/op\t%.2f allocs/op\n", row.Name(), r.Machine.CPUs, ns, row.Bytes, row.Allocs)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// A Change is a row beside the same row of an earlier report.
type Change struct {
	Row
	Before Row
	// Ratio is the time now by the time before. Sure tells that the middle halves of the rounds do not touch.
	Ratio float64
	Sure  bool
}

// Compare puts the rows beside those of an earlier report that have the same key.
func (r *Report) Compare(before *Report) []Change {
	var changes []Change
	for _, row := range r.sorted() {
		old, ok := before.Find(row.Key)
		if !ok || old.Ns == 0 {
			continue
		}
		changes = append(changes, Change{row, old, row.Ns / old.Ns, row.High < old.Low || row.Low > old.High})
	}
	return changes
}

// WriteChanges writes a comparison for people.
func WriteChanges(w io.Writer, changes []Change) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "operation\tside\tway\tsize\tbefore\tnow\tnow/before\tallocs\t")
	for _, c := range changes {
		size, allocs, mark := "", "", "~"
		if c.Size > 0 {
			size = fmt.Sprint(c.Size)
		}
		if c.Sure {
			mark = fmt.Sprintf("%.2f", c.Ratio)
		}
		if math.Abs(c.Allocs-c.Before.Allocs) >= 0.05 {
			allocs = fmt.Sprintf("%.2f -> %.2f", c.Before.Allocs, c.Allocs)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", c.Operation, c.Side, c.Way, size, duration(c.Before.Ns), duration(c.Ns), mark, allocs)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, "\n~: the middle halves of the rounds touch. The rows of side bare tell how far the machine itself was another.")
	return err
}
