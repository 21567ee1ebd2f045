// Package gen draws small concurrent programs: a machine is set up, and then two or three tasks make a few system calls and
// accesses to ring memory each, drawn from a grammar over everything that a program can do. A program is a value and a
// readable text, so that one that shows something can be kept.
//
//	p := gen.New(17, gen.Config{})
//	fmt.Print(p)
//	set := explore.Outcomes(ctx, p.Explore(), explore.Options{})
//
// The outcome of a run is what every operation returned and what can be observed when all is over.
package gen

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"nlmmap/explore"
)

// A Program is a concurrent program. Its zero value does nothing.
type Program struct {
	Setup []Op // made by the first task before the others exist
	Tasks []Task
}

// A Task is one task and what it does beside the others. The first task of a program is main, which also makes the set-up.
type Task struct {
	Kind Kind
	Ops  []Op
}

// A Kind says what a task shares with main.
type Kind string

// The kinds of tasks.
const (
	Main    Kind = "main"
	Thread  Kind = "thread"  // descriptors and memory
	Fork    Kind = "fork"    // copies of both, as they are after the set-up
	VM      Kind = "vm"      // memory, and a copy of the descriptors
	Softirq Kind = "softirq" // nothing: the kernel at work beside all processes
)

// An Op is a verb of the table in verbs.go with its arguments.
type Op struct {
	Verb string
	Args []string
}

func (o Op) String() string { return strings.Join(append([]string{o.Verb}, o.Args...), " ") }

// String is the program as text: a paragraph for the set-up and one for each task, one operation a line.
func (p Program) String() string {
	var b strings.Builder
	paragraph := func(title string, ops []Op) {
		b.WriteString(title + "\n")
		for _, o := range ops {
			b.WriteString("  " + o.String() + "\n")
		}
	}
	paragraph("setup", p.Setup)
	for _, t := range p.Tasks {
		paragraph(string(t.Kind), t.Ops)
	}
	return b.String()
}

// Parse reads what String writes. Empty lines and lines that begin with # do not count.
func Parse(text string) (Program, error) {
	var p Program
	var ops *[]Op
	for i, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || words[0][0] == '#':
		case line[0] != ' ' && len(words) == 1 && words[0] == "setup":
			ops = &p.Setup
		case line[0] != ' ' && len(words) == 1 && slices.Contains([]Kind{Main, Thread, Fork, VM, Softirq}, Kind(words[0])):
			p.Tasks = append(p.Tasks, Task{Kind: Kind(words[0])})
			ops = &p.Tasks[len(p.Tasks)-1].Ops
		case line[0] != ' ' || ops == nil:
			return p, fmt.Errorf("line %d: %q is neither setup nor a kind of task", i+1, line)
		default:
			o := Op{words[0], words[1:]}
			if err := o.check(); err != nil {
				return p, fmt.Errorf("line %d: %w", i+1, err)
			}
			*ops = append(*ops, o)
		}
	}
	if len(p.Tasks) > 0 && p.Tasks[0].Kind != Main {
		return p, fmt.Errorf("the first task is %s and not main", p.Tasks[0].Kind)
	}
	return p, nil
}

// check tells what is wrong with an operation: a verb that does not exist, or arguments that it does not have.
func (o Op) check() error {
	v, ok := verbs[o.Verb]
	if !ok {
		return fmt.Errorf("no verb %q", o.Verb)
	}
	if len(o.Args) != len(v.args) {
		return fmt.Errorf("%s has %d arguments, not %d", o.Verb, len(v.args), len(o.Args))
	}
	for i, a := range o.Args {
		if !slices.Contains(v.args[i], a) {
			return fmt.Errorf("%s: %q is none of %s", o.Verb, a, strings.Join(v.args[i], ", "))
		}
	}
	return nil
}

// Config bounds what New draws. Its zero value means two or three tasks of one to three operations.
type Config struct {
	Tasks int // at most; 0 means 3
	Ops   int // at most, for each task; 0 means 3
	// Without are verbs that the tasks do not have.
	Without []string
}

// New draws the program that belongs to seed.
func New(seed uint64, cfg Config) Program {
	d := draw{rand.New(rand.NewPCG(seed, 0x6e6c6d6d6170)), cfg}
	if cfg.Tasks == 0 {
		d.cfg.Tasks = 3
	}
	if cfg.Ops == 0 {
		d.cfg.Ops = 3
	}
	return d.program()
}

type draw struct {
	*rand.Rand
	cfg Config
}

func (d draw) program() Program {
	var p Program
	scene := scenes[d.IntN(len(scenes))]
	for _, step := range scene {
		if o, ok := d.step(step); ok {
			p.Setup = append(p.Setup, o)
		}
	}
	n := 2
	if d.cfg.Tasks > 2 && d.IntN(3) == 0 {
		n = 3
	}
	for i := range n {
		t := Task{Kind: Main}
		if i > 0 {
			t.Kind = []Kind{Thread, Thread, Thread, Fork, Fork, VM, Softirq}[d.IntN(7)]
		}
		if t.Kind == Softirq {
			for range 1 + d.IntN(2) {
				t.Ops = append(t.Ops, Op{[]string{"packet", "packet", "timer", "neighbour"}[d.IntN(4)], nil})
			}
		} else {
			// Short programs are searched to their end, and there are more of them in an hour.
			for range 1 + min(d.IntN(d.cfg.Ops), d.IntN(d.cfg.Ops)) {
				t.Ops = append(t.Ops, d.op())
			}
		}
		p.Tasks = append(p.Tasks, t)
	}
	return p
}

// step draws a step of a scene: a trailing ? means perhaps, a|b one of them, * any argument that the verb has.
func (d draw) step(text string) (Op, bool) {
	text, perhaps := strings.CutSuffix(text, "?")
	if perhaps && d.IntN(2) == 0 {
		return Op{}, false
	}
	words := strings.Fields(text)
	for i, w := range words[1:] {
		choice := strings.Split(w, "|")
		if w == "*" {
			choice = verbs[words[0]].args[i]
		}
		words[i+1] = choice[d.IntN(len(choice))]
	}
	return Op{words[0], words[1:]}, true
}

func (d draw) op() Op {
	for {
		at := d.IntN(weightSum)
		for _, name := range weighted {
			v := verbs[name]
			if at -= v.weight; at >= 0 {
				continue
			}
			if slices.Contains(d.cfg.Without, name) {
				break
			}
			o := Op{Verb: name}
			for _, choice := range v.args {
				// What comes first in a list comes often: programs whose tasks do not meet show nothing.
				o.Args = append(o.Args, choice[min(d.IntN(len(choice)), d.IntN(len(choice)))])
			}
			return o
		}
	}
}

// Explore is the program as package explore runs it.
func (p Program) Explore() explore.Program {
	return explore.Program{Name: "gen", Doc: p.String(), Setup: p.run}
}
