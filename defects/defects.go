// Package defects lists what was wrong with memory-mapped netlink in its lifetime: what it was, which kernels have it,
// and a scenario that shows it. Each defect is one text file; which kernels have it follows from the named differences
// that it is made of.
package defects

//go:generate go run nlmmap/cmd/nlmmap defects -markdown -o ../docs/defects.md

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"nlmmap/kernel"
	"nlmmap/kernel/memmodel"
	"nlmmap/scenario"
	"nlmmap/versions"
)

// Dir is where the files of the defects lie in the module.
const Dir = "defects/list"

//go:embed list/*.txt
var embedded embed.FS

// A Kind says what it takes to see a defect.
type Kind string

// The kinds.
const (
	Deterministic Kind = "deterministic" // one thread
	Concurrency   Kind = "concurrency"   // two CPUs, or userspace while the kernel is in a call
	WeakMemory    Kind = "weak memory"
	CostOrLog     Kind = "cost or log" // no program sees it
	Elsewhere     Kind = "elsewhere"   // not in the model
)

// Releases are the modelled kernels that have a defect.
type Releases []kernel.Release

func (r Releases) String() string { return strings.Join(r.names(), " ") }

func (r Releases) names() []string {
	names := []string{}
	for _, release := range r {
		names = append(names, release.String())
	}
	return names
}

// MarshalJSON writes the names.
func (r Releases) MarshalJSON() ([]byte, error) { return json.Marshal(r.names()) }

// A Condition holds for the kernels where a named difference has one of some values.
type Condition struct {
	Difference string   `json:"difference"`
	Values     []string `json:"values"`
}

func (c Condition) String() string { return c.Difference + "=" + strings.Join(c.Values, "|") }

// Conditions hold for the kernels where all of them hold.
type Conditions []Condition

func (c Conditions) String() string {
	var all []string
	for _, c := range c {
		all = append(all, c.String())
	}
	return strings.Join(all, " ")
}

func (c Conditions) hold(v kernel.Version, table versions.Table) bool {
	return !slices.ContainsFunc(c, func(c Condition) bool { return !slices.Contains(c.Values, table.Value(v, c.Difference)) })
}

// An Exploration is how a defect is found that takes more than one thread: a program of package explore violates an
// invariant under a memory model. At is the function of the model that the defect is in: a search that does not come
// there says nothing of it.
type Exploration struct {
	Program   string         `json:"program"`
	Memory    memmodel.Model `json:"memory"`
	Invariant string         `json:"invariant"`
	At        string         `json:"at"`
}

func (e Exploration) String() string {
	return e.Program + " under " + e.Memory.String() + " violates " + e.Invariant + " at " + e.At
}

// A Defect is one of them.
type Defect struct {
	Name    string `json:"name"`
	Section string `json:"section"` // of the list of defects
	Title   string `json:"title"`
	Kind    Kind   `json:"kind"`
	// Is are the differences that the defect consists of, Unless those that make it impossible. Without them In is
	// written in the file, or the defect is in all kernels.
	Is     Conditions   `json:"is,omitempty"`
	Unless []Conditions `json:"unless,omitempty"`
	// Unseen are differences with which the scenario does not show the defect, although the kernel has it.
	Unseen  []Conditions `json:"unseen,omitempty"`
	In      Releases     `json:"in"`
	Story   string       `json:"story"`
	History string       `json:"history,omitempty"`
	// How it is shown: by the scenario of a file (its own or another defect's), by programs of "nlmmap explore", by
	// both, or not at all, and why.
	File     string        `json:"file,omitempty"`
	Explored []Exploration `json:"explored,omitempty"`
	Outside  string        `json:"outside,omitempty"`
	// Runs are the scenario on a kernel that has the defect and, if there is one, on a kernel that does not.
	Runs []Run `json:"-"`

	header []byte // of the file, as written
}

// A List is all defects in the order of the spec, and the differences that they refer to.
type List struct {
	Defects []Defect
	table   versions.Table
}

// All returns the defects.
func All() (List, error) {
	list, err := fs.Sub(embedded, "list")
	if err != nil {
		return List{}, err
	}
	return Read(list, versions.All())
}

// Read reads the files of a directory.
func Read(dir fs.FS, table versions.Table) (List, error) {
	paths, err := fs.Glob(dir, "*.txt")
	if err != nil {
		return List{}, err
	}
	if len(paths) == 0 {
		return List{}, fmt.Errorf("no files of defects (*.txt)")
	}
	l := List{table: table}
	for _, path := range paths {
		text, err := fs.ReadFile(dir, path)
		if err != nil {
			return List{}, err
		}
		d, err := Parse(path, text, table)
		if err != nil {
			return List{}, err
		}
		l.Defects = append(l.Defects, d)
	}
	for i, d := range l.Defects {
		if d.File == "" || d.File == d.Name {
			continue
		}
		other, err := l.Find(d.File)
		if err != nil {
			return List{}, fmt.Errorf("%s.txt: scenario: %w", d.Name, err)
		}
		l.Defects[i].Runs = other.Runs
	}
	slices.SortStableFunc(l.Defects, func(a, b Defect) int { return slices.Compare(section(a), section(b)) })
	return l, nil
}

// section is the number of a defect's section, to sort by.
func section(d Defect) []int {
	var numbers []int
	for part := range strings.SplitSeq(d.Section, ".") {
		n, _ := strconv.Atoi(part) // sections that are no numbers come first
		numbers = append(numbers, n)
	}
	return numbers
}

// Find returns the defect with the given name. The error suggests the nearest one.
func (l List) Find(name string) (Defect, error) {
	var names []string
	for _, d := range l.Defects {
		if d.Name == name {
			return d, nil
		}
		names = append(names, d.Name)
	}
	if near := scenario.Nearest(name, names); near != "" {
		return Defect{}, fmt.Errorf("unknown defect %q: did you mean %q?", name, near)
	}
	return Defect{}, fmt.Errorf("unknown defect %q: \"nlmmap defects\" lists them", name)
}

// Has reports whether a kernel has a defect, as far as that follows from its differences.
func (l List) Has(d Defect, v kernel.Version) bool { return d.has(v, l.table) }

func (d *Defect) has(v kernel.Version, table versions.Table) bool {
	if len(d.Is)+len(d.Unless) == 0 {
		return slices.Contains(d.In, v.Release)
	}
	return d.Is.hold(v, table) && !anyHolds(d.Unless, v, table)
}

func anyHolds(all []Conditions, v kernel.Version, table versions.Table) bool {
	return slices.ContainsFunc(all, func(c Conditions) bool { return c.hold(v, table) })
}

// Shows reports whether a defect's scenario is to show it on a kernel.
func (l List) Shows(d Defect, v kernel.Version) bool {
	return l.Has(d, v) && !anyHolds(d.Unseen, v, l.table)
}

// Has reports whether a release has the defect.
func (d Defect) Has(r kernel.Release) bool { return slices.Contains(d.In, r) }

// Fixed returns the release on which a search can show that the defect is gone: the next newer one than the last that has it,
// or the newest that is older. Where another difference makes it impossible (Unless) it is not gone. ok is false if there
// is none.
func (l List) Fixed(d Defect) (fixed kernel.Release, ok bool) {
	on, _, _ := d.Shown()
	for _, r := range kernel.Releases() {
		if d.Has(r) || anyHolds(d.Unless, kernel.Version{Release: r}, l.table) {
			continue
		}
		if fixed, ok = r, true; r > on {
			break
		}
	}
	return fixed, ok
}

// Shown returns the releases on which a search for the defect is worth while: the newest that has it, and the next
// newer one that does not, or the newest such if all that lack it are older. ok is false if all have it, or none.
func (d Defect) Shown() (on, absent kernel.Release, ok bool) {
	if len(d.In) == 0 {
		return 0, 0, false
	}
	on = d.In[len(d.In)-1]
	for _, r := range kernel.Releases() {
		if !d.Has(r) {
			absent, ok = r, true
			if r > on {
				break
			}
		}
	}
	return on, absent, ok
}
