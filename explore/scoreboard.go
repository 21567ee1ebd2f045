package explore

import (
	"context"
	"fmt"
	"io"
	"time"

	"nlmmap/defects"
	"nlmmap/kernel"
	"nlmmap/kernel/memmodel"
)

// A Score is a defect that needs concurrency or weak memory, and how a program finds it.
type Score struct {
	Defect  string // as in docs/defects.md
	Program string
	Memory  memmodel.Model
	// Invariant is what is seen to be violated.
	Invariant string
	// At is the function of the model that has the defect, or had it: a search that does not reach it shows nothing.
	At string
	// On is a release that has the defect, Absent one that does not; Everywhere if all have it.
	On, Absent kernel.Release
}

// Everywhere is the value of Score.Absent for a defect that all kernels have.
const Everywhere kernel.Release = -1

// Scores returns what the library's programs are to find: the defects that name a program in their file.
func Scores(list defects.List) []Score {
	var scores []Score
	for _, d := range list.Defects {
		on, _, _ := d.Shown()
		absent, fixed := list.Fixed(d)
		if !fixed {
			absent = Everywhere
		}
		for _, x := range d.Explored {
			scores = append(scores, Score{d.Name, x.Program, x.Memory, x.Invariant, x.At, on, absent})
		}
	}
	return scores
}

// A ScoreResult is what became of a Score.
type ScoreResult struct {
	Score
	Found   Result
	Without *Result // the exhaustive search of the version without the defect
}

// Play searches for the defect on a version that has it and, exhaustively, on one that does not. Each search ends
// after at most budget.
func (s Score) Play(ctx context.Context, budget time.Duration) (ScoreResult, error) {
	p, ok := Lookup(s.Program)
	if !ok {
		return ScoreResult{}, fmt.Errorf("no program %q", s.Program)
	}
	o := Options{Version: kernel.Version{Release: s.On}, Memory: s.Memory, Only: []string{s.Invariant}, Time: budget, Reach: s.At}
	r := ScoreResult{Score: s, Found: Explore(ctx, p, o)}
	if s.Absent != Everywhere {
		o.Version.Release = s.Absent
		absent := Explore(ctx, p, o)
		r.Without = &absent
	}
	return r, nil
}

// Problem says in what the result falls short, empty if in nothing: the defect is found, blamed as such and in at most 4
// switches, and where it is absent the search is complete, comes to the code in question and finds nothing.
func (r ScoreResult) Problem() string {
	switch {
	case r.Found.Err != nil:
		return r.Found.Err.Error()
	case r.Found.Failure == nil:
		return "not found: " + r.Found.String()
	case r.Found.Failure.Violation.Blame.Defect != r.Defect:
		return fmt.Sprintf("blamed on %v", r.Found.Failure.Violation.Blame)
	case len(r.Found.Failure.Switches) > 4:
		return fmt.Sprintf("%d switches are needed", len(r.Found.Failure.Switches))
	case r.Found.Reached == 0:
		return "found without a step in " + r.At
	case r.Without == nil:
		return ""
	case r.Without.Err != nil:
		return r.Without.Err.Error()
	case r.Without.Failure != nil:
		return "found where it should be absent: " + r.Without.Failure.Violation.Error()
	case !r.Without.Exhausted:
		return "the search of the version without it is not complete: " + r.Without.String()
	case r.Without.Reached == 0:
		return "the search of the version without it never comes to " + r.At
	}
	return ""
}

// WriteScoreboard prints results as a Markdown table. It has no times, so that it is the same on every machine.
func WriteScoreboard(w io.Writer, results []ScoreResult) {
	fmt.Fprintln(w, "| defect | program | memory | violated | on | schedules until found | switches | code | absent on | schedules, all | of them in that code |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|---|---|")
	for _, r := range results {
		found, switches := "not found", "-"
		if f := r.Found.Failure; f != nil {
			found, switches = fmt.Sprint(r.Found.FoundAfter), fmt.Sprint(len(f.Switches))
		}
		absent, size, reached := "-", "-", "-"
		if r.Without != nil {
			absent, size, reached = r.Absent.String(), fmt.Sprint(r.Without.Runs), fmt.Sprint(r.Without.Reached)
			if !r.Without.Exhausted {
				size += " (not complete)"
			}
		}
		fmt.Fprintf(w, "| `%s` | %s | %v | %s | %v | %s | %s | `%s` | %s | %s | %s |\n", r.Defect, r.Program, r.Memory, r.Invariant, r.On,
			found, switches, r.At, absent, size, reached)
	}
}
