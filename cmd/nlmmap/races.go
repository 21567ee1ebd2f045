package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"nlmmap/explore"
	"nlmmap/kernel"
	"nlmmap/kernel/memmodel"
	"nlmmap/litmus"
	"nlmmap/scenario"
	"nlmmap/versions"
)

// A raceReport is what litmus files came to on the processors of a real kernel.
type raceReport struct {
	Kernel      string     `json:"kernel"`
	Runs        int        `json:"runs"` // of each file
	Files       []raceFile `json:"files"`
	Interrupted bool       `json:"interrupted"`
}

// A raceFile has the outcomes of one file, the most frequent first.
type raceFile struct {
	File     string      `json:"file"`
	Outcomes []seenCount `json:"outcomes"`
	// Possible is how many outcomes the model has, 0 if it was not asked.
	Possible int    `json:"possible,omitempty"`
	Failure  string `json:"failure,omitempty"`
}

type seenCount struct {
	Text  string `json:"text"`
	Count int    `json:"count"`
	// Impossible tells that the model says it cannot be.
	Impossible bool `json:"impossible,omitempty"`
}

// races runs the threads of litmus files at once on a real kernel, so many times each. With compare each outcome must be
// one of the model's.
func (e env) races(ctx context.Context, k kernelFlag, image imageFlags, paths []string, runs int, seed uint64, compare bool) (raceReport, error) {
	report := raceReport{Runs: runs, Files: []raceFile{}}
	table := versions.All()
	if len(paths) == 0 || runs < 0 {
		return report, errors.New("--runs N: expected litmus files, and N of at least 1")
	}
	files, err := e.scenarios(paths, table)
	if err != nil {
		return report, err
	}
	for _, f := range files {
		if f.Block == nil {
			return report, fmt.Errorf("%s has no parallel block: --runs is for litmus files", f.Name)
		}
	}
	b, err := e.bench(ctx, image, nil, false)
	if err != nil {
		return report, err
	}
	defer b.close()
	release := baseVersion(b.kernel().Release)
	if k.name == "" {
		k.name = nearestRelease(release)
	}
	v, err := e.version(k, table)
	if err != nil {
		return report, err
	}
	report.Kernel = fmt.Sprintf("%s (%s)", release, b.name())
	if compare {
		report.Kernel += " as " + v.String()
	}
	found := make([]*raceFile, len(files))
	var mu sync.Mutex
	done := new(atomic.Int64)
	stopProgress := e.showProgress(done, len(files), "litmus files")
	err = b.race(ctx, files, runs, seed, func(i int, seen map[string]int, failure string) {
		one := raceFile{File: files[i].Name, Outcomes: []seenCount{}, Failure: failure}
		for _, text := range slices.Sorted(maps.Keys(seen)) {
			one.Outcomes = append(one.Outcomes, seenCount{Text: text, Count: seen[text]})
		}
		slices.SortStableFunc(one.Outcomes, func(a, b seenCount) int { return cmp.Compare(b.Count, a.Count) })
		if compare {
			one.compare(ctx, files[i], v)
		}
		mu.Lock()
		found[i] = &one
		mu.Unlock()
		done.Add(1)
	})
	stopProgress()
	for _, one := range found {
		if one != nil {
			report.Files = append(report.Files, *one)
		}
	}
	if report.Interrupted = ctx.Err() != nil; report.Interrupted {
		err = nil
	}
	return report, err
}

// compare marks what the model says cannot be.
func (r *raceFile) compare(ctx context.Context, f *scenario.File, v kernel.Version) {
	possible, err := possibleOutcomes(ctx, f, v)
	if err != nil {
		r.Failure = strings.TrimPrefix(r.Failure+"; "+err.Error(), "; ")
		return
	}
	r.Possible = len(possible)
	crashes := slices.ContainsFunc(slices.Collect(maps.Keys(possible)), func(text string) bool { return strings.Contains(text, "; oops ") })
	for i := range r.Outcomes {
		text := r.Outcomes[i].Text
		died := strings.HasPrefix(text, scenario.Crashed) || text == scenario.Hangs || text == scenario.Resets
		r.Outcomes[i].Impossible = !possible[text] && !(died && crashes)
	}
}

// possibleOutcomes is what the model says can be on processors of x86-64: the sections of the file for its memory model and
// for a stronger one, or what a search finds. What an outcome says of invariants no real kernel says.
func possibleOutcomes(ctx context.Context, f *scenario.File, v kernel.Version) (map[string]bool, error) {
	possible := map[string]bool{}
	add := func(text string) {
		text, _, _ = strings.Cut(text, "; violates ")
		possible[text] = true
	}
	for _, memory := range []memmodel.Model{memmodel.SC, memmodel.TSO} {
		if memory != memmodel.SC && !f.Block.TouchesFrames() {
			continue
		}
		section := slices.IndexFunc(f.Outcomes, func(o scenario.Outcomes) bool {
			return o.Recorded && o.Kernel == v.String() && o.Memory == memory.String()
		})
		if section >= 0 {
			for _, text := range f.Outcomes[section].Set {
				add(text)
			}
			continue
		}
		set := explore.Outcomes(ctx, litmus.Program(f), explore.Options{Version: v, Memory: memory})
		switch {
		case set.Err != nil:
			return nil, set.Err
		case !set.Exhausted:
			return nil, fmt.Errorf("the model's search of %v schedules did not come to its end", memory)
		}
		for _, out := range litmus.Outcomes(set) {
			add(out.Text)
		}
	}
	return possible, nil
}

func (r raceReport) exitCode() int {
	if r.Interrupted {
		return exitInterrupted
	}
	for _, f := range r.Files {
		if f.Failure != "" || slices.ContainsFunc(f.Outcomes, func(o seenCount) bool { return o.Impossible }) {
			return exitDisagree
		}
	}
	return exitOK
}

func (r raceReport) write(w io.Writer) error {
	var b strings.Builder
	good, possible, seen := 0, 0, 0
	for _, f := range r.Files {
		fmt.Fprintf(&b, "%s\n", f.File)
		bad := f.Failure != ""
		for _, o := range f.Outcomes {
			fmt.Fprintf(&b, "%8d  %s", o.Count, o.Text)
			if o.Impossible {
				bad = true
				b.WriteString("\n          which the model says cannot be")
			} else {
				seen++
			}
			b.WriteByte('\n')
		}
		possible += f.Possible
		if f.Failure != "" {
			fmt.Fprintf(&b, "    %s\n", f.Failure)
		}
		if !bad {
			good++
		}
	}
	fmt.Fprintf(&b, "%s  %d runs of each file  ", r.Kernel, r.Runs)
	if possible > 0 {
		fmt.Fprintf(&b, "%d/%d files do only what the model can, %d of its %d outcomes were seen\n", good, len(r.Files), seen, possible)
	} else {
		fmt.Fprintf(&b, "%d files\n", len(r.Files))
	}
	if r.Interrupted {
		b.WriteString("interrupted\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// runRaces is what record and verify do with --runs.
func (e env) runRaces(ctx context.Context, k kernelFlag, image imageFlags, paths []string, runs int, seed uint64, compare, asJSON bool) int {
	r, err := e.races(ctx, k, image, paths, runs, seed, compare)
	switch {
	case err != nil:
	case asJSON:
		err = writeJSON(e.stdout, r)
	default:
		err = r.write(e.stdout)
	}
	if err != nil {
		return e.bad("%v", err)
	}
	return r.exitCode()
}
