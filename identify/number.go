package identify

import (
	"context"
	"slices"
	"strconv"

	"nlmmap/internal/workers"
	"nlmmap/kernel"
)

// scanned is how many values of a number are tried one by one.
const scanned = 5000

// numbers lists the differences that are numbers.
func (s *search) numbers() []kernel.Difference {
	var list []kernel.Difference
	for _, d := range s.table {
		if d.IsNumber() && d.Settable() {
			list = append(list, d)
		}
	}
	return list
}

// shifts lists values that a number could have if it is to blame for the first disagreement of some scenarios, and what is
// printed there is off by as much.
func (s *search) shifts(st *state, d kernel.Difference, which []int) []change {
	now := number(s.table, st.v, d.Name)
	var values []int
	for _, i := range which {
		step := s.step(st.runs[i], i, st.runs[i].first)
		values = append(values, shifted(now, step.Got, step.Expected)...)
	}
	return inRange(d, now, values)
}

// shifted is a number changed by the differences between the numbers of two texts.
func shifted(now int, got, expected string) []int {
	var values []int
	a, b := numbersIn(got), numbersIn(expected)
	if len(a) == len(b) {
		for i := range a {
			values = append(values, now+b[i]-a[i])
		}
	}
	return values
}

// mentioned lists the numbers that a scenario's directives, messages and outputs have.
func (s *search) mentioned(i int) []int {
	var list []int
	for n := range s.files[i].Steps {
		list = append(list, numbersIn(s.files[i].Steps[n].String())...)
	}
	return list
}

// inRange makes changes of the values that a number can have, each once, and not of the one that it has.
func inRange(d kernel.Difference, now int, values []int) []change {
	least, most := d.Bounds()
	slices.Sort(values)
	var list []change
	for _, n := range slices.Compact(values) {
		if n >= least && n <= most && n != now {
			list = append(list, change{d.Name, strconv.Itoa(n)})
		}
	}
	return list
}

// scan tries all values of a number on one scenario and returns those with which the first step that disagrees agrees. Where
// there are too many it tries those that the scenario mentions, and their neighbours: the number may be a limit.
func (s *search) scan(ctx context.Context, st *state, d kernel.Difference, i int) []change {
	now := number(s.table, st.v, d.Name)
	least, most := d.Bounds()
	var values []int
	if most-least < scanned {
		for n := least; n <= most; n++ {
			values = append(values, n)
		}
	} else {
		for _, n := range s.mentioned(i) {
			values = append(values, n-1, n, n+1)
		}
	}
	changes := inRange(d, now, values)
	good := make([]bool, len(changes))
	workers.Each(ctx, len(good), 0, func(n int) {
		good[n] = play(ctx, s.with(st.v, changes[n]), s.files[i]).first > st.runs[i].first
	})
	var some []change
	for n, is := range good {
		if is {
			some = append(some, changes[n])
		}
	}
	return spread(some, 32)
}

// spread picks at most n of a list, from its whole length: the ends, and what lies between.
func spread(list []change, n int) []change {
	if len(list) <= n {
		return list
	}
	var picked []change
	for i := range n {
		picked = append(picked, list[i*(len(list)-1)/(n-1)])
	}
	return picked
}
