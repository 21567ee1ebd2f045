package explore

import (
	"context"
	"slices"
	"strings"

	"nlmmap/kernel/sched"
)

// An Outcome is what runs of a program led to.
type Outcome struct {
	// Text is what World.Outcome told; without it all runs have the same one, the empty text.
	Text string
	// Violations are the invariants that these runs broke, each once, sorted by name.
	Violations []Violation
	// Runs counts the schedules that led here. Two schedules of dfs differ in something; two random ones need not.
	Runs int
	// Switches replay the first of them.
	Switches []sched.Switch
}

// String is the outcome as one line: "; violates NAME" and "; oops DEFECT" follow the text.
func (o Outcome) String() string {
	s := o.Text
	for _, v := range o.Violations {
		if v.Oops {
			s += "; oops " + v.Blame.Defect
		} else {
			s += "; violates " + v.Name
		}
	}
	return s
}

// An OutcomeSet is all outcomes that a search has seen, sorted, with what the search itself has to say.
type OutcomeSet struct {
	Result
	Outcomes []Outcome
}

// Find returns the outcome with a line, as Outcome.String has it.
func (s OutcomeSet) Find(line string) (Outcome, bool) {
	i := slices.IndexFunc(s.Outcomes, func(o Outcome) bool { return o.String() == line })
	if i < 0 {
		return Outcome{}, false
	}
	return s.Outcomes[i], true
}

// Missing returns the outcomes of other that s does not have.
func (s OutcomeSet) Missing(other OutcomeSet) []Outcome {
	var list []Outcome
	for _, o := range other.Outcomes {
		if _, ok := s.Find(o.String()); !ok {
			list = append(list, o)
		}
	}
	return list
}

// Outcomes runs p under the schedules that o asks for, none of which ends at a violation, and collects what they led
// to. With the schedulers dfs and all and a Result that is Exhausted these are all outcomes that p can have.
func Outcomes(ctx context.Context, p Program, o Options) OutcomeSet {
	o.KeepGoing = true
	found := map[string]*Outcome{}
	res := search(ctx, p, o, func(r ran) {
		out := Outcome{Text: r.outcome, Violations: distinct(r.seen), Runs: 1, Switches: r.switches}
		line := out.String()
		if have := found[line]; have != nil {
			have.Runs++
			return
		}
		found[line] = &out
	})
	set := OutcomeSet{Result: res}
	for _, out := range found {
		set.Outcomes = append(set.Outcomes, *out)
	}
	slices.SortFunc(set.Outcomes, func(a, b Outcome) int { return strings.Compare(a.String(), b.String()) })
	return set
}

// ReplayOutcome runs p once with the given switches and returns what that led to.
func ReplayOutcome(p Program, o Options, switches []sched.Switch) (Outcome, error) {
	if err := o.Check(); err != nil {
		return Outcome{}, err
	}
	o.KeepGoing = true
	replay := &sched.Replay{Switches: switches}
	w, err := once(p, o.asGiven(), replay, nil, nil)
	if err == nil {
		err = w.followed(replay)
	}
	if err != nil {
		return Outcome{}, err
	}
	return Outcome{Text: w.outcome, Violations: distinct(w.seen), Runs: 1, Switches: switches}, nil
}

// distinct has the first violation of each name, sorted.
func distinct(seen []Violation) []Violation {
	list := slices.Clone(seen)
	slices.SortStableFunc(list, func(a, b Violation) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(list, func(a, b Violation) bool { return a.Name == b.Name })
}
