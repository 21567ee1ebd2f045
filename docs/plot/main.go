// Command plot draws what nlmmap bench -json has measured, for docs/performance.md: the processor time of a message over its
// size, one picture for each operation.
//
//	go run . report.json ../performance
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

// A row is what a report has of a case, as far as it is drawn.
type row struct {
	Operation, Side, Way string
	Size                 int
	Ns, CPU              float64
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: plot REPORT.json DIRECTORY")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "plot:", err)
		os.Exit(1)
	}
}

func run(report, dir string) error {
	raw, err := os.ReadFile(report)
	if err != nil {
		return err
	}
	var r struct{ Rows []row }
	if err := json.Unmarshal(raw, &r); err != nil {
		return fmt.Errorf("%s: %w", report, err)
	}
	// The lines of each operation: side and way, in the order of the report.
	operations, lines := []string{}, map[string][]string{}
	points := map[string]plotter.XYs{}
	for _, row := range r.Rows {
		if row.Size == 0 {
			continue
		}
		line := row.Side + " " + row.Way
		if lines[row.Operation] == nil {
			operations = append(operations, row.Operation)
		}
		if !slices.Contains(lines[row.Operation], line) {
			lines[row.Operation] = append(lines[row.Operation], line)
		}
		key := row.Operation + "/" + line
		points[key] = append(points[key], plotter.XY{X: float64(row.Size), Y: cmp.Or(row.CPU, row.Ns)})
	}
	drawn := 0
	for _, operation := range operations {
		p := plot.New()
		p.Title.Text = operation
		p.X.Label.Text, p.Y.Label.Text = "bytes of a message", "ns of processor time"
		p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
		p.X.Tick.Marker, p.Y.Tick.Marker = plot.LogTicks{Prec: -1}, plot.LogTicks{Prec: -1}
		p.Legend.Top, p.Legend.Left = true, true
		var args []any
		for _, line := range lines[operation] {
			if xys := points[operation+"/"+line]; len(xys) > 1 {
				args = append(args, line, xys)
			}
		}
		if len(args) == 0 {
			continue
		}
		if err := plotutil.AddLinePoints(p, args...); err != nil {
			return err
		}
		name := strings.ReplaceAll(operation, " ", "-") + ".svg"
		if err := p.Save(14*vg.Centimeter, 9*vg.Centimeter, filepath.Join(dir, name)); err != nil {
			return err
		}
		drawn++
	}
	if drawn == 0 {
		return errors.New("the report has no operation with several sizes")
	}
	return nil
}
