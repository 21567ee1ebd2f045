package kernel

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Difference is one named point in which kernels disagree. It is declared once, in the table of the package whose
// code asks for it, and bound there to the field that is asked.
type Difference struct {
	Name   string // as in the spec: "poll-scans-ring"
	Absent string // of a switch: what the spec calls its absence, if that has a name: "poll-prev-frame"
	Spec   string // section of the spec
	Value  Value  // what it is in each release
	Seen   Seen   // what it takes to see it
	// History is the commits that brought it and ended it, where known.
	History string
	// Text says what it changes, for people. It is about the difference where it is on.
	Text string
}

// Seen says what it takes to see a difference.
type Seen string

// A single-threaded program sees most differences. Some take more; no program sees those that change costs, the log
// or the inside of the kernel only.
const (
	SeenByAll         Seen = ""
	SeenByConcurrency Seen = "concurrency"
	SeenByWeakMemory  Seen = "weak memory"
	SeenByNone        Seen = "nothing"
)

// A Value is what a difference is in each release, what else it can be in a composed kernel, and the field that the
// code asks. Switch, Choice, Number and Known make them.
type Value struct {
	in       [releases]int
	names    []string // by value; nil for a number
	min, max int      // of a number
	store    func(value int)
}

var offOn = []string{"off", "on"}

// Switch is the value of a difference that is there or not. in says in which releases it is.
func Switch(field *bool, in [releases]bool) Value {
	v := Known(in)
	v.store = func(value int) { *field = value == 1 }
	return v
}

// Known is a switch that no code of the model asks for: it can be looked up, but not set.
func Known(in [releases]bool) Value {
	v := Value{names: offOn}
	for r, on := range in {
		if on {
			v.in[r] = 1
		}
	}
	return v
}

// Choice is the value of a difference that is one of several things, whose names are given by value.
func Choice[T ~int](field *T, names []string, in [releases]T) Value {
	v := Value{names: names, store: func(value int) { *field = T(value) }}
	for r, value := range in {
		v.in[r] = int(value)
	}
	return v
}

// Number is the value of a difference that is a number. A composed kernel can have any from least to most.
func Number(field *int, least, most int, in [releases]int) Value {
	return Value{min: least, max: most, in: in, store: func(value int) { *field = value }}
}

// Since is true from first on.
func Since(first Release) [releases]bool { return Between(first, releases-1) }

// Until is true up to and including last.
func Until(last Release) [releases]bool { return Between(0, last) }

// Only is true for one release in the middle: what ended with the first is Until, what came with the last Since.
func Only(r Release) [releases]bool { return Between(r, r) }

// Nowhere is true for no release: for what depends on the configuration that a kernel was built with.
func Nowhere() (in [releases]bool) { return in }

// Between is true from first up to and including last, for what came and went.
func Between(first, last Release) (in [releases]bool) {
	for r := first; r <= last; r++ {
		in[r] = true
	}
	return in
}

// In returns the value that a release has.
func (d *Difference) In(r Release) string { return d.Format(d.Value.in[r]) }

// Format returns a value as Parse reads it.
func (d *Difference) Format(value int) string {
	if d.IsNumber() {
		return strconv.Itoa(value)
	}
	return d.Value.names[value]
}

// IsSwitch reports whether the difference is there or not, and nothing else.
func (d *Difference) IsSwitch() bool { return slices.Equal(d.Value.names, offOn) }

// IsNumber reports whether the difference is a number, whose values have no names.
func (d *Difference) IsNumber() bool { return d.Value.names == nil }

// Settable reports whether a composed kernel can have another value than its release.
func (d *Difference) Settable() bool { return d.Value.store != nil }

// Values returns the names of the values; of a number those that the releases have.
func (d *Difference) Values() []string {
	if !d.IsNumber() {
		return d.Value.names
	}
	var values []string
	for r := range releases {
		if v := d.In(r); !slices.Contains(values, v) {
			values = append(values, v)
		}
	}
	return values
}

// Bounds returns the least and the most that a number can be.
func (d *Difference) Bounds() (least, most int) { return d.Value.min, d.Value.max }

// Range says what the difference can be, for people.
func (d *Difference) Range() string {
	if d.IsNumber() {
		return fmt.Sprintf("a number from %d to %d", d.Value.min, d.Value.max)
	}
	return strings.Join(d.Value.names, ", ")
}

// Parse reads a value as Version.Set has it. It refuses values that the difference does not have, and all of a
// difference that is only Known.
func (d *Difference) Parse(text string) (value int, err error) {
	if !d.Settable() {
		return 0, fmt.Errorf("difference %s cannot be set: nothing in the model depends on it", d.Name)
	}
	if d.IsNumber() {
		value, err = strconv.Atoi(text)
		if err != nil || value < d.Value.min || value > d.Value.max {
			return 0, fmt.Errorf("difference %s has no value %q: it is %s", d.Name, text, d.Range())
		}
		return value, nil
	}
	if value = slices.Index(d.Value.names, text); value < 0 {
		return 0, fmt.Errorf("difference %s has no value %q: it has %s", d.Name, text, d.Range())
	}
	return value, nil
}
