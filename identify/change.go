package identify

import (
	"context"
	"slices"
	"strconv"

	"nlmmap/internal/workers"
	"nlmmap/kernel"
	"nlmmap/versions"
)

// A change sets one difference of a kernel to another value.
type change struct {
	name, value string
}

func (c change) String() string { return c.name + "=" + c.value }

// with is a kernel with some changes. Changes come from the table of differences, so it has them.
func (s *search) with(v kernel.Version, changes ...change) kernel.Version {
	var sets []string
	for _, c := range changes {
		sets = append(sets, c.String())
	}
	v.Name = ""
	changed, err := s.table.Set(v, sets...)
	if err != nil {
		panic(err) // a change that is not from the table
	}
	return changed
}

// without is a kernel in which a difference is what it is in the release.
func (s *search) without(v kernel.Version, name string) kernel.Version {
	d := s.difference(name)
	return s.with(v, change{name, d.In(v.Release)})
}

// difference returns an entry of the table.
func (s *search) difference(name string) kernel.Difference {
	i := slices.IndexFunc(s.table, func(d kernel.Difference) bool { return d.Name == name })
	return s.table[i]
}

// changes lists the values that one difference of a kernel could have instead. Of a number they are samples: those of the
// releases, and the ends of its range.
func (s *search) changes(v kernel.Version) []change {
	var list []change
	for _, d := range s.table {
		if !d.Settable() {
			continue
		}
		for _, value := range samples(d) {
			if value != s.table.Value(v, d.Name) {
				list = append(list, change{d.Name, value})
			}
		}
	}
	return list
}

// samples are all values of a difference, or some of a number.
func samples(d kernel.Difference) []string {
	values := slices.Clone(d.Values())
	if d.IsNumber() {
		least, most := d.Bounds()
		for _, n := range []int{least, most} {
			if value := strconv.Itoa(n); !slices.Contains(values, value) {
				values = append(values, value)
			}
		}
	}
	return values
}

// number is the value that a number has in a kernel.
func number(t versions.Table, v kernel.Version, name string) int {
	n, _ := strconv.Atoi(t.Value(v, name)) // the table has numbers only
	return n
}

// A trial is what one change does to one scenario.
type trial struct {
	wrong, first int
	helps        bool // more steps agree, or the first that does not comes later
	touches      bool // it changes something no later than at the first step that disagrees
}

// try plays scenarios on a kernel with each of some changes: the results by change, then scenario.
func (s *search) try(ctx context.Context, st *state, changes []change, which []int) [][]trial {
	trials := make([][]trial, len(changes))
	kernels := make([]kernel.Version, len(changes))
	for c := range changes {
		trials[c] = make([]trial, len(which))
		kernels[c] = s.with(st.v, changes[c])
	}
	workers.Each(ctx, len(changes)*len(which), 0, func(n int) {
		c, w := n/len(which), n%len(which)
		i := which[w]
		trials[c][w] = s.compare(st, i, play(ctx, kernels[c], s.files[i]))
	})
	return trials
}

// compare compares what another kernel did in a scenario with what st's did.
func (s *search) compare(st *state, i int, o outcome) trial {
	was := st.runs[i]
	t := trial{wrong: o.wrong, first: o.first, helps: o.wrong < was.wrong || o.first > was.first}
	for n := range min(was.first+1, len(s.files[i].Steps)) {
		t.touches = t.touches || o.at(n) != was.at(n)
	}
	t.touches = t.touches || o.failure != was.failure
	return t
}
