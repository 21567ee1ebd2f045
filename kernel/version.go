package kernel

import (
	"fmt"
	"slices"
	"sort"
	"strings"
)

// A Release is one of the kernels that were recorded.
type Release int

// The modelled releases, oldest first.
const (
	Linux3_10 Release = iota // 3.10.4
	Linux3_19                // 3.19.8
	Linux4_1                 // 4.1.18
	Linux4_4                 // 4.4.1
	Linux4_5                 // 4.5.7
	releases
)

var releaseNames = [releases]string{"3.10.4", "3.19.8", "4.1.18", "4.4.1", "4.5.7"}

func (r Release) String() string {
	if r < 0 || r >= releases {
		return fmt.Sprintf("Release(%d)", int(r))
	}
	return releaseNames[r]
}

// Releases returns all modelled releases, oldest first.
func Releases() []Release {
	all := make([]Release, releases)
	for i := range all {
		all[i] = Release(i)
	}
	return all
}

// A Version is the kernel that is modelled: a release, and what differs from it. A vendor's kernel is a release plus
// backports, so each named difference can be set on its own. The zero Version is 3.10.4 as released.
type Version struct {
	// Name is what people call it; empty for a plain release.
	Name    string
	Release Release
	// Set holds values of named differences that differ from the release's, by name: "on" and "off" for a switch,
	// else one of the difference's values.
	Set map[string]string
}

// ParseVersion returns the plain release with the given name, "4.4.1". The error lists the names there are.
func ParseVersion(name string) (Version, error) {
	for r, n := range releaseNames {
		if n == name {
			return Version{Release: Release(r)}, nil
		}
	}
	return Version{}, fmt.Errorf("unknown kernel version %q: there are %s", name, strings.Join(releaseNames[:], ", "))
}

func (v Version) String() string {
	if v.Name != "" {
		return v.Name
	}
	if len(v.Set) == 0 {
		return v.Release.String()
	}
	var sets []string
	for name, value := range v.Set {
		sets = append(sets, name+"="+value)
	}
	sort.Strings(sets)
	return v.Release.String() + "+" + strings.Join(sets, ",")
}

// A Difference is one named point in which kernels disagree. Each package has one table of them, whose entries are
// bound to the fields that its code asks.
type Difference struct {
	Name    string // as in the spec: "poll-scans-ring"
	Also    string // what its absence, or its other value, is called
	Section string // of the spec
	Text    string // what it changes, for people
	History string // introducing and fixing commits, where known
	// Values are the names of the values: "off" and "on" for a switch.
	Values []string
	// In has the index into Values for each release.
	In [releases]int
	// Visible is empty for a difference that a single-threaded scenario shows, else what it needs: "concurrency",
	// "weak memory" or "nothing" (cost, or a log line).
	Visible string
	set     func(value int)
}

var offOn = []string{"off", "on"}

// Switch describes a difference that is there or not. in tells for which releases it is.
func Switch(field *bool, name, section string, in [releases]bool, text string) Difference {
	d := Difference{Name: name, Section: section, Text: text, Values: offOn, set: func(v int) { *field = v == 1 }}
	for r, on := range in {
		if on {
			d.In[r] = 1
		}
	}
	return d
}

// Choice describes a difference with named values. in has the value of each release, as an index into values.
func Choice[T ~int](field *T, name, section string, values []string, in [releases]T, text string) Difference {
	d := Difference{Name: name, Section: section, Text: text, Values: values, set: func(v int) { *field = T(v) }}
	for r, v := range in {
		d.In[r] = int(v)
	}
	return d
}

// Number describes a difference whose values are numbers. in has the number of each release; a composed kernel can
// have any of them.
func Number[T ~int](field *T, name, section string, in [releases]T, text string) Difference {
	d := Difference{Name: name, Section: section, Text: text}
	var numbers []T
	for _, n := range in {
		if !slices.Contains(numbers, n) {
			numbers = append(numbers, n)
			d.Values = append(d.Values, fmt.Sprint(int(n)))
		}
	}
	for r, n := range in {
		d.In[r] = slices.Index(numbers, n)
	}
	d.set = func(v int) { *field = numbers[v] }
	return d
}

// With returns the difference with its history, and what one needs to see it, filled in.
func (d Difference) With(history, visible string) Difference {
	d.History, d.Visible = history, visible
	return d
}

// Aka returns the difference with the name that its absence, or its other value, has.
func (d Difference) Aka(name string) Difference {
	d.Also = name
	return d
}

// Only is true for the given releases.
func Only(in ...Release) (set [releases]bool) {
	for _, r := range in {
		set[r] = true
	}
	return set
}

// Since is true from first on.
func Since(first Release) (set [releases]bool) {
	for r := first; r < releases; r++ {
		set[r] = true
	}
	return set
}

// Until is true up to and including last.
func Until(last Release) (set [releases]bool) {
	for r := Release(0); r <= last; r++ {
		set[r] = true
	}
	return set
}

// Resolve stores v's value of each difference of a table in the field that it is bound to. The error names a value
// that a difference does not have; names that are in no table are found by Unknown.
func (v Version) Resolve(table []Difference) error {
	for _, d := range table {
		value := d.In[v.Release]
		if name, ok := v.Set[d.Name]; ok {
			value = slices.Index(d.Values, name)
			if value < 0 {
				return fmt.Errorf("difference %s has no value %q: it has %s", d.Name, name, strings.Join(d.Values, ", "))
			}
		}
		d.set(value)
	}
	return nil
}
