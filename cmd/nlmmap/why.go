package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"nlmmap/identify"
	"nlmmap/kernel"
	"nlmmap/scenario"
)

// A whyReport says why steps disagree with a model.
type whyReport struct {
	// Differences are what would have to be set in the model so that most of them agree.
	Differences []string         `json:"differences"`
	Explained   int              `json:"explained"` // steps that would agree
	Total       int              `json:"total"`     // steps that disagree
	Steps       []identify.Cause `json:"steps"`
}

// why finds out why a model does not do what is recorded. It returns nil if there is nothing to explain, or no time.
func (e env) why(ctx context.Context, v kernel.Version, recordings []*scenario.File) *whyReport {
	tell, stop := e.showStage()
	to, err := identify.Explain(ctx, v, recordings, tell)
	stop()
	if err != nil {
		return nil
	}
	causes, err := e.causes(ctx, v, to, recordings)
	if err != nil || len(causes) == 0 {
		return nil
	}
	r := &whyReport{Differences: identify.Changes(v, to), Total: len(causes), Steps: causes}
	for _, c := range causes {
		if len(c.Differences) > 0 {
			r.Explained++
		}
	}
	return r
}

// causes is identify.Attribute with progress.
func (e env) causes(ctx context.Context, from, to kernel.Version, recordings []*scenario.File) ([]identify.Cause, error) {
	done := new(atomic.Int64)
	defer e.showProgress(done, len(recordings), "scenarios explained")()
	return identify.Attribute(ctx, from, to, recordings, func() { done.Add(1) })
}

// String is one line for people.
func (r *whyReport) String() string {
	if r.Explained == 0 {
		return fmt.Sprintf("no named difference explains any step that disagrees, of %d", r.Total)
	}
	return fmt.Sprintf("%s would make %d of the %d steps agree that do not", strings.Join(r.Differences, " "), r.Explained, r.Total)
}

// of is why one step disagrees, for people; empty if it is not known to.
func (r *whyReport) of(file string, line int) string {
	if r == nil {
		return ""
	}
	i := slices.IndexFunc(r.Steps, func(c identify.Cause) bool { return c.File == file && c.Line == line })
	if i < 0 {
		return ""
	}
	return because(r.Steps[i].Differences)
}

// because is what would make a step agree.
func because(differences []string) string {
	if len(differences) == 0 {
		return "why: no named difference explains it\n"
	}
	return "why: " + strings.Join(differences, " with ") + "\n"
}
