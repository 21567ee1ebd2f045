// Package invariant has the rules that a machine with memory-mapped netlink keeps whatever runs on it: one list, which
// explorations, tests of random programs, stress tests and the commands all watch.
//
// A Watch listens to the events of a machine and keeps books of its own about every ring, frame and message. It observes
// what the kernel does (package afnetlink's events), system calls, and the loads and stores of programs to ring memory
// (kernel.AccessEvent), and not what helpers of a program say: a consumer may be written in any way. What a program does
// with the bytes that Task.RawMem returns cannot be seen; the rules that depend on it are not judged for that socket.
//
//	w := invariant.Watch{Report: func(v invariant.Violation) { ... }}
//	k, err := kernel.Boot(kernel.Config{Trace: w.Record, Quiet: true})
//	...
//	w.Rest(k) // when no task runs
//
// A Violation says who is to blame: a program, by the name of the task whose access it was; the kernel, with the name of
// the defect where its cause is a known one (docs/defects.md); or nothing but the model. What follows from a violation
// or from a reported defect is blamed on the same.
package invariant

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"nlmmap/kernel"
)

// An Invariant is a rule that every run is watched for. docs/invariants.md has one section for each.
type Invariant struct {
	Name      string
	Statement string
	Why       string
	// Checked says what is observed, and when.
	Checked string
	// ByProgram marks rules for programs. The others are rules for the kernel.
	ByProgram bool

	on    func(c check) // an event of those that it hears, before the books know of it
	hears events
	rest  func(c check) // what holds when no task runs
}

// events are the zero values of types of events.
type events []kernel.Event

// listeners are the invariants that hear of an event, by its type.
var listeners = func() map[reflect.Type][]*Invariant {
	by := map[reflect.Type][]*Invariant{}
	for i := range list {
		for _, e := range list[i].hears {
			by[reflect.TypeOf(e)] = append(by[reflect.TypeOf(e)], &list[i])
		}
	}
	return by
}()

// A Violation is an invariant that a run broke.
type Violation struct {
	Name  string // of the invariant
	What  string
	Blame Blame
	Oops  bool `json:",omitempty"` // a real kernel would have crashed
}

func (v Violation) Error() string { return v.Name + ": " + v.What }

// Called reports whether a name stands for the violation: that of the invariant, or of the defect that is to blame.
func (v Violation) Called(name string) bool { return v.Name == name || v.Blame.Defect == name }

// A Blame says whose fault a violation is. The zero Blame is the kernel's, by no known defect.
type Blame struct {
	Program string `json:",omitempty"` // the task
	Defect  string `json:",omitempty"` // the known defect of the kernel
}

func (b Blame) String() string {
	switch {
	case b.Program != "":
		return "the program, task " + b.Program
	case b.Defect != "":
		return "the kernel, defect " + b.Defect
	}
	return "the kernel, by no known defect"
}

// Kernel reports whether the kernel is to blame, by no known defect: the model is wrong, or it was changed.
func (b Blame) Kernel() bool { return b == Blame{} }

// Lookup returns the invariant with a name.
func Lookup(name string) (Invariant, bool) {
	i := slices.IndexFunc(list, func(i Invariant) bool { return i.Name == name })
	if i < 0 {
		return Invariant{}, false
	}
	return list[i], true
}

// All returns all invariants.
func All() []Invariant { return slices.Clone(list) }

// CheckNames returns an error for the first name that is neither that of an invariant nor one of others, which are the
// names of defects. It lists the invariants.
func CheckNames(names, others []string) error {
	for _, name := range names {
		if _, ok := Lookup(name); ok || slices.Contains(others, name) {
			continue
		}
		var known []string
		for _, i := range list {
			known = append(known, i.Name)
		}
		return fmt.Errorf("no invariant and no defect is called %q: there are the invariants %s, and the defects of docs/defects.md",
			name, strings.Join(known, ", "))
	}
	return nil
}
