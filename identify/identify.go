package identify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"nlmmap/kernel"
	"nlmmap/scenario"
	"nlmmap/versions"
)

// Config says what to identify.
type Config struct {
	// Recordings are scenarios with what one kernel did in each step.
	Recordings []*scenario.File
	// Called is the name of the kernel, as uname -r prints it, if it is known. Of results that are equally good that is taken
	// which begins with the release that is nearest to the name.
	Called string
	// Kernel plays more scenarios on the kernel. It is nil if there are only the recordings; what is left is then cut down to
	// what the model says that it takes.
	Kernel Kernel
	// Untold asks for what the recordings do not tell. It takes longer than all the rest.
	Untold bool
	// Tell hears what the search is doing, if set.
	Tell func(string)
}

// A Result says which kernel it is.
type Result struct {
	Scenarios int     `json:"scenarios"`
	Steps     int     `json:"steps"`
	Releases  []Share `json:"releases"` // oldest first
	// Kernel is the nearest release with the differences that were found, in the form of versions.Table.Parse.
	Kernel      string       `json:"kernel"`
	Nearest     string       `json:"nearest"`
	Differences []Difference `json:"differences"`
	Agrees      Share        `json:"agrees"`              // how far that kernel does what is recorded
	Left        []Left       `json:"left"`                // what no difference explains
	MoreLeft    int          `json:"more_left,omitempty"` // kinds of steps beyond those in Left
	// AlsoFits are other releases that do the same in all that is recorded.
	AlsoFits []string `json:"also_fits"`
	Untold   []Untold `json:"untold"`

	Version kernel.Version `json:"-"` // the same as Kernel
}

// A Share is how much of the recordings a kernel does as recorded.
type Share struct {
	Kernel    string `json:"kernel"`
	Scenarios Count  `json:"scenarios"`
	Steps     Count  `json:"steps"`
}

// A Count is how many of how many agree.
type Count struct {
	Agree int `json:"agree"`
	Total int `json:"total"`
}

// Percent is the count in hundredths, 100 only if all agree.
func (c Count) Percent() float64 {
	if c.Total == 0 {
		return 100
	}
	return float64(c.Agree*10000/c.Total) / 100
}

// A Difference is a named difference that explains steps.
type Difference struct {
	Name  string  `json:"name"`
	Value string  `json:"value"`
	Was   string  `json:"was"`   // in the nearest release
	Proof []Place `json:"proof"` // where the kernel would disagree without it
	// Against are steps that agree without it: it explains more than it spoils, and may not be the whole truth.
	Against []Place  `json:"against,omitempty"`
	Or      []string `json:"or,omitempty"` // other single changes that explain the same
	// From and To are the range of a number within which no recording tells the values apart.
	From int `json:"from,omitempty"`
	To   int `json:"to,omitempty"`
}

// A Place is a step in a recording.
type Place struct {
	File      string `json:"file"`
	Line      int    `json:"line"`
	Directive string `json:"directive"`
}

// Left is a step that no difference explains.
type Left struct {
	Place
	Expected string  `json:"expected"`       // as recorded
	Got      string  `json:"got"`            // of the model
	Also     []Place `json:"also,omitempty"` // steps that disagree alike
	Steps    int     `json:"steps"`          // how many it takes
	Scenario string  `json:"scenario"`       // these
	Tried    bool    `json:"tried"`          // they were played on the kernel itself
	Gone     bool    `json:"gone"`           // there it agreed when it was played again: it depends on chance
}

// Untold is a difference that the recordings do not tell: other values change no output.
type Untold struct {
	Name  string      `json:"name"`
	Value string      `json:"value"`
	Or    []string    `json:"or,omitempty"`   // what it could be as well
	From  int         `json:"from,omitempty"` // of a number whose values are told apart only outside of a range
	To    int         `json:"to,omitempty"`
	Seen  kernel.Seen `json:"seen,omitempty"` // what it takes to see it
}

// Exact reports whether the kernel does all that is recorded.
func (r *Result) Exact() bool {
	return r.Agrees.Steps.Agree == r.Agrees.Steps.Total && len(r.Left) == 0
}

// Identify finds out which kernel the recordings are of. The error tells of recordings that are none, and of an end before
// its time.
func Identify(ctx context.Context, cfg Config) (*Result, error) {
	if len(cfg.Recordings) == 0 {
		return nil, errors.New("no recordings")
	}
	s := &search{files: cfg.Recordings, table: versions.All(), tell: cfg.Tell}
	if s.tell == nil {
		s.tell = func(string) {}
	}
	r := &Result{Scenarios: len(cfg.Recordings), Differences: []Difference{}, AlsoFits: []string{}, Untold: []Untold{}}
	for _, f := range cfg.Recordings {
		r.Steps += len(f.Steps)
	}
	var starts []*state
	for _, release := range kernel.Releases() {
		s.tell("comparing with " + release.String())
		st := s.all(ctx, kernel.Version{Release: release})
		r.Releases = append(r.Releases, s.share(st))
		starts = append(starts, st)
	}
	prefer(starts, cfg.Called)
	st := s.from(ctx, starts)
	st = s.minimal(ctx, kernel.Version{Release: st.v.Release}, st)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	r.Version, r.Kernel, r.Nearest, r.Agrees = st.v, notation(st.v), st.v.Release.String(), s.share(st)
	for _, release := range kernel.Releases() {
		i := slices.IndexFunc(starts, func(other *state) bool { return other.v.Release == release })
		if len(st.v.Set) == 0 && release != st.v.Release && sameOutcomes(starts[i], st) {
			r.AlsoFits = append(r.AlsoFits, release.String())
		}
	}
	for _, name := range names(st.v) {
		s.tell("what proves " + name)
		r.Differences = append(r.Differences, s.prove(ctx, st, name))
	}
	if cfg.Untold {
		r.Untold = append(r.Untold, s.untold(ctx, st)...)
	}
	var err error
	if r.Left, r.MoreLeft, err = s.describe(ctx, st, cfg.Kernel); err != nil {
		return nil, err
	}
	return r, ctx.Err()
}

// prefer orders releases: the one that is nearest to a name, then those with the fewest steps that disagree, then newer ones.
func prefer(starts []*state, name string) {
	called, err := versions.Nearest(name)
	isNot := func(st *state) int {
		if err == nil && st.v.Release == called {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(starts, func(a, b *state) int {
		return cmp.Or(isNot(a)-isNot(b), a.wrong-b.wrong, int(b.v.Release-a.v.Release))
	})
}

// notation is a kernel as versions.Table.Parse reads it: "4.4.1 skip-forward=off".
func notation(v kernel.Version) string {
	text := v.Release.String()
	for _, name := range names(v) {
		text += fmt.Sprintf(" %s=%s", name, v.Set[name])
	}
	return text
}

func sameOutcomes(a, b *state) bool { return slices.EqualFunc(a.runs, b.runs, outcome.same) }

// share counts what agrees.
func (s *search) share(st *state) Share {
	share := Share{Kernel: notation(st.v), Scenarios: Count{Total: len(s.files)}}
	for i, run := range st.runs {
		if run.wrong == 0 {
			share.Scenarios.Agree++
		}
		share.Steps.Total += len(s.files[i].Steps)
		for _, agrees := range agree(s.files[i], run) {
			if agrees {
				share.Steps.Agree++
			}
		}
	}
	return share
}
