package identify

import (
	"cmp"
	"context"
	"slices"

	"nlmmap/internal/workers"
	"nlmmap/kernel"
	"nlmmap/scenario"
	"nlmmap/versions"
)

// A Cause says why a step disagrees with a model.
type Cause struct {
	Place
	// Differences are what would make it agree: one NAME=VALUE, or as few as it takes. There are none if nothing does.
	Differences []string `json:"differences"`
}

// Explain finds the kernel that does most of what is recorded and differs from another in the least, as Identify does. It
// looks at the releases first: what is far from that kernel may be one of them.
func Explain(ctx context.Context, from kernel.Version, recordings []*scenario.File, tell func(string)) (kernel.Version, error) {
	s := &search{files: recordings, table: versions.All(), tell: tell}
	from.Name = ""
	start := s.all(ctx, from)
	var far []*state
	for _, r := range kernel.Releases() {
		s.tell("comparing with " + r.String())
		far = append(far, s.all(ctx, s.with(from, s.between(from, kernel.Version{Release: r})...)))
	}
	found := nearest(far)
	if found.wrong > 0 {
		if near := s.from(ctx, []*state{start}); near.wrong <= found.wrong {
			found = near
		} else {
			found = s.from(ctx, []*state{found})
		}
	}
	return s.minimal(ctx, from, found).v, ctx.Err()
}

// between lists the changes that lead from one kernel to another.
func (s *search) between(from, to kernel.Version) []change {
	var list []change
	for _, d := range s.table {
		if value := s.table.Value(to, d.Name); d.Settable() && value != s.table.Value(from, d.Name) {
			list = append(list, change{d.Name, value})
		}
	}
	return list
}

// Changes lists what leads from one kernel to another, as NAME=VALUE.
func Changes(from, to kernel.Version) []string {
	s := &search{table: versions.All()}
	list := []string{}
	for _, c := range s.between(from, to) {
		list = append(list, c.String())
	}
	return list
}

// Attribute says of each step in which a kernel does not do what is recorded which of the changes that lead from it to
// another one would make it agree. The causes are in the order of the recordings and their steps. done is called for each
// recording, from several goroutines.
func Attribute(ctx context.Context, from, to kernel.Version, recordings []*scenario.File, done func()) ([]Cause, error) {
	s := &search{files: recordings, table: versions.All()}
	changes := s.between(from, to)
	causes := make([][]Cause, len(recordings))
	workers.Each(ctx, len(recordings), 0, func(i int) {
		causes[i] = s.causes(ctx, from, changes, i)
		done()
	})
	return slices.Concat(causes...), ctx.Err()
}

// causes is Attribute for one scenario.
func (s *search) causes(ctx context.Context, from kernel.Version, changes []change, i int) []Cause {
	f := s.files[i]
	now := play(ctx, from, f)
	if now.wrong == 0 {
		return nil
	}
	agrees := func(changes ...change) []bool { return agree(f, play(ctx, s.with(from, changes...), f)) }
	type single struct {
		change
		agrees []bool
		n      int
	}
	var singles []single
	for _, c := range changes {
		one := single{change: c, agrees: agrees(c)}
		for n, was := range agree(f, now) {
			if one.agrees[n] && !was {
				one.n++
			}
		}
		singles = append(singles, one)
	}
	slices.SortStableFunc(singles, func(a, b single) int { return cmp.Compare(b.n, a.n) }) // what explains most is preferred
	all := agrees(changes...)
	var last []change // the changes that it took for the step before
	var list []Cause
	for n, was := range agree(f, now) {
		if was {
			continue
		}
		cause := Cause{Place: s.place(now, i, n), Differences: []string{}}
		one := slices.IndexFunc(singles, func(one single) bool { return one.agrees[n] })
		switch {
		case one >= 0:
			cause.Differences = append(cause.Differences, singles[one].String())
		case all[n]:
			if last == nil || !agrees(last...)[n] {
				last = changes
			}
			last = fewest(last, func(some []change) bool { return agrees(some...)[n] })
			for _, c := range last {
				cause.Differences = append(cause.Differences, c.String())
			}
		}
		list = append(list, cause)
	}
	return list
}

// fewest takes changes out of a list as long as it is enough without them.
func fewest(list []change, enough func([]change) bool) []change {
	for i := len(list) - 1; i >= 0; i-- {
		if less := slices.Delete(slices.Clone(list), i, i+1); enough(less) {
			list = less
		}
	}
	return list
}
