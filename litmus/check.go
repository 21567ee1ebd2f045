package litmus

import (
	"context"
	"fmt"
	"slices"
	"time"

	"nlmmap/explore"
	"nlmmap/kernel/memmodel"
	"nlmmap/scenario"
)

// A Result is what comparing a section of a file with the model gave.
type Result struct {
	File    string    `json:"file"`
	Line    int       `json:"line"`              // of the section
	Missing []string  `json:"missing,omitempty"` // outcomes that the model cannot have
	Extra   []Outcome `json:"extra,omitempty"`   // outcomes that it can have besides
	// First is the first step before the block whose output is not as recorded.
	First *scenario.Disagreement `json:"first,omitempty"`
	// Failure tells why there is nothing to compare.
	Failure string `json:"failure,omitempty"`
}

// An Outcome is a line with what replays it.
type Outcome struct {
	Text      string `json:"text"`
	Schedules int    `json:"schedules"` // that lead to it
	Replay    string `json:"replay"`
}

// OK reports whether the section has exactly the outcomes that the model can have.
func (r Result) OK() bool {
	return len(r.Missing) == 0 && len(r.Extra) == 0 && r.First == nil && r.Failure == ""
}

// Outcomes returns the outcomes of a search with their lines.
func Outcomes(set explore.OutcomeSet) []Outcome {
	list := []Outcome{}
	for _, o := range set.Outcomes {
		list = append(list, Outcome{o.String(), o.Runs, explore.FormatSwitches(o.Switches)})
	}
	return list
}

// Check searches all schedules of a file and compares their outcomes with those of a section.
func Check(ctx context.Context, f *scenario.File, want scenario.Outcomes, o explore.Options) Result {
	r := Result{File: f.Name, Line: want.Line}
	set, first, err := search(ctx, f, o)
	switch {
	case err != nil:
		r.Failure = err.Error()
		return r
	case !want.Recorded:
		r.Failure = "the section has no outcomes yet"
		return r
	}
	r.First = first
	for _, line := range want.Set {
		if _, ok := set.Find(line); !ok {
			r.Missing = append(r.Missing, line)
		}
	}
	for _, out := range Outcomes(set) {
		if !slices.Contains(want.Set, out.Text) {
			r.Extra = append(r.Extra, out)
		}
	}
	return r
}

// Fill searches all schedules of a file and returns the lines of its section.
func Fill(ctx context.Context, f *scenario.File, o explore.Options) ([]string, error) {
	set, first, err := search(ctx, f, o)
	if err != nil {
		return nil, err
	}
	if first != nil {
		return nil, fmt.Errorf("line %d is not as recorded:\n%v", first.Line, first)
	}
	var lines []string
	for _, out := range set.Outcomes {
		lines = append(lines, out.String())
	}
	return lines, nil
}

// patience is how long one search may take. It is far more than any file needs: what a section has is not to depend on how
// busy the machine is.
const patience = 10 * time.Minute

// search returns the set of a search that is complete, and the first step before the block that is not as recorded.
func search(ctx context.Context, f *scenario.File, o explore.Options) (explore.OutcomeSet, *scenario.Disagreement, error) {
	var first *scenario.Disagreement
	p := explore.Program{Name: f.Name, Setup: func(w *explore.World) {
		setup(w, f, func(s *scenario.Step, output string) {
			if s.Recorded && s.Output != output && first == nil {
				first = &scenario.Disagreement{Line: s.Line, Directive: s.Directive, Expected: s.Output, Got: output}
			}
		})
	}}
	if o.Time == 0 {
		o.Time = patience
	}
	set := explore.Outcomes(ctx, p, o)
	switch {
	case set.Err != nil:
		return set, first, set.Err
	case ctx.Err() != nil:
		return set, first, ctx.Err()
	case !set.Exhausted:
		return set, first, fmt.Errorf("the search is not complete after %d schedules", set.Runs)
	}
	return set, first, nil
}

// Models returns the memory models that a file's outcomes are asked for: all where a thread of its block reads or writes
// frames itself, else only the sequentially consistent one.
func Models(f *scenario.File) []memmodel.Model {
	if f.Block.TouchesFrames() {
		return []memmodel.Model{memmodel.SC, memmodel.TSO, memmodel.Weak}
	}
	return []memmodel.Model{memmodel.SC}
}
