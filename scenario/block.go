package scenario

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// A Block is the parallel block of a litmus file: threads whose steps run at once.
type Block struct {
	Line    int      // of the directive, from 1
	Before  []string // comments and further empty lines above it
	Lines   []string // the threads as written
	Threads []Thread
}

// A Thread is one thread of a Block.
type Thread struct {
	Line int
	Name string
	// Of is the task that it is a new thread of; empty where the task called Name runs the steps itself.
	Of    string
	Steps []Step // without recorded outputs
}

// Outcomes is a section of a litmus file: all that can come of its block on one kernel under one memory model.
type Outcomes struct {
	Line     int
	Before   []string
	Kernel   string
	Memory   string // sc, tso or weak
	Recorded bool   // whether there is a set, even an empty one
	Set      []string
}

// The words that are written like directives, and are the form of a litmus file.
const (
	parallelWord = "parallel"
	outcomesWord = "outcomes"
)

var (
	parallelSyntax = ofNoTask(compile("parallel"))
	threadSyntax   = ofNoTask(compile("thread NAME [of=TASK]"))
	taskSyntax     = ofNoTask(compile("task TASK"))
	outcomesSyntax = ofNoTask(compile("outcomes KERNEL sc|tso|weak"))
)

// ofNoTask is the syntax of what no task does.
func ofNoTask(s syntax) syntax {
	delete(s.named, "in")
	return s
}

// litmusHelp is the part of the reference about litmus files.
const litmusHelp = `parallel
thread NAME [of=TASK]
task TASK
    a parallel block, at most one in a file: its lines are threads, new ones of main or another task, or tasks that exist.
    Below each stand its directives, indented by two spaces, and their message lines, indented by four. All threads run
    at once, and the result is the set of outcomes over all schedules: "nlmmap explore FILE", docs/litmus.md
outcomes KERNEL sc|tso|weak
    after the last step: the set for that kernel and memory model, one outcome on a line below ----
`

// paragraph takes what stands between two empty lines.
func (p *parser) paragraph(f *File, before []string) error {
	switch firstWord(p.lines[p.next]) {
	case parallelWord:
		return p.block(f, before)
	case outcomesWord:
		return p.outcomes(f, before)
	}
	if len(f.Outcomes) > 0 {
		return p.errorf(p.next+1, "a step after the outcomes: expected all steps before them")
	}
	step, err := p.step(before)
	if err != nil {
		return err
	}
	switch {
	case f.Block == nil:
		f.Steps = append(f.Steps, step)
	case step.Recorded:
		return p.errorf(step.Line, "a step behind the parallel block has no output of its own: it is part of the outcomes")
	default:
		f.Final = append(f.Final, step)
	}
	return nil
}

// block takes the parallel directive and its threads, up to but not including the empty line.
func (p *parser) block(f *File, before []string) error {
	b := &Block{Line: p.next + 1, Before: before}
	switch {
	case f.Block != nil:
		return p.errorf(b.Line, "a second parallel block: the first one is in line %d", f.Block.Line)
	case len(f.Outcomes) > 0:
		return p.errorf(b.Line, "a parallel block after the outcomes: expected it before them")
	}
	if _, _, err := parallelSyntax.bind(strings.Fields(p.lines[p.next])[1:]); err != nil {
		return p.errorf(b.Line, "%v", err)
	}
	p.next++
	tasks := taskNames(f.Steps)
	for p.next < len(p.lines) && !blank(p.lines[p.next]) {
		line := p.lines[p.next]
		p.next++
		b.Lines = append(b.Lines, line)
		if line[0] == '#' {
			continue
		}
		if err := b.addLine(p.next, line, tasks); err != nil {
			return p.errorf(p.next, "%v", err)
		}
	}
	if len(b.Threads) == 0 {
		return p.errorf(b.Line, "a parallel block without threads: expected lines with thread NAME or task TASK")
	}
	if err := b.complete(); err != nil {
		return p.errorf(b.Threads[len(b.Threads)-1].Line, "%v", err)
	}
	f.Block = b
	return nil
}

// taskNames lists the tasks that there can be after the steps.
func taskNames(steps []Step) []string {
	names := []string{mainTask}
	for i := range steps {
		if s := &steps[i]; s.form.name() == "fork" || s.form.name() == "thread" {
			names = append(names, s.args.word(0))
		}
	}
	return names
}

// addLine takes a line of the block: of a thread, one of its directives, or a message, told apart by their indentation.
func (b *Block) addLine(number int, line string, tasks []string) error {
	text := strings.TrimLeft(line, " ")
	indent := len(line) - len(text)
	switch {
	case text == separator:
		return fmt.Errorf("a parallel block has no output: its outcomes stand in sections after the last step")
	case indent == 0:
		return b.addThread(number, text, tasks)
	case len(b.Threads) == 0:
		return fmt.Errorf("expected thread NAME or task TASK, without indentation, before the first directive")
	}
	t := &b.Threads[len(b.Threads)-1]
	switch indent {
	case 2:
		return t.addStep(number, text)
	case 4:
		if len(t.Steps) == 0 {
			return fmt.Errorf("a message line without a directive: expected send, fill or edit on a line before it")
		}
		return t.Steps[len(t.Steps)-1].addInput(text)
	}
	return fmt.Errorf("indented by %d spaces: expected none for a thread, two for a directive, four for its messages", indent)
}

func (b *Block) addThread(number int, text string, tasks []string) error {
	if err := b.complete(); err != nil {
		return err
	}
	t := Thread{Line: number}
	words := strings.Fields(text)
	switch words[0] {
	case "thread":
		a, _, err := threadSyntax.bind(words[1:])
		if err != nil {
			return fmt.Errorf("%w\n\tusage: %s", err, threadSyntax.usage)
		}
		t.Name, t.Of = a.word(0), a.text("of", mainTask)
		if !slices.Contains(tasks, t.Of) {
			return fmt.Errorf("of=%s: no step before makes a task of that name%s", t.Of, suggest(t.Of, tasks))
		}
		if slices.Contains(tasks, t.Name) {
			return fmt.Errorf("%s is a task already: \"task %s\" lets it run its part itself", t.Name, t.Name)
		}
	case "task":
		a, _, err := taskSyntax.bind(words[1:])
		if err != nil {
			return fmt.Errorf("%w\n\tusage: %s", err, taskSyntax.usage)
		}
		t.Name = a.word(0)
		if !slices.Contains(tasks, t.Name) {
			return fmt.Errorf("no step before makes a task %s%s", t.Name, suggest(t.Name, tasks))
		}
	default:
		return fmt.Errorf("expected thread NAME [of=TASK] or task TASK; the directives of a thread are indented by two spaces")
	}
	if slices.ContainsFunc(b.Threads, func(o Thread) bool { return o.Name == t.Name }) {
		return fmt.Errorf("%s is there twice", t.Name)
	}
	b.Threads = append(b.Threads, t)
	return nil
}

// complete reports a last thread that does nothing.
func (b *Block) complete() error {
	if n := len(b.Threads); n > 0 && len(b.Threads[n-1].Steps) == 0 {
		return fmt.Errorf("%s has no directives: expected some, indented by two spaces", b.Threads[n-1].Name)
	}
	return nil
}

func (t *Thread) addStep(number int, text string) error {
	s := Step{Line: number, Directive: text}
	if err := s.bind(); err != nil {
		return err
	}
	switch name := s.form.name(); {
	case s.later != "":
		return fmt.Errorf("%s is not allowed in a parallel block: its threads run at once as it is", laterWord)
	case s.form.serial:
		return fmt.Errorf("%s is not allowed in a parallel block", name)
	case s.args.has("in"):
		return fmt.Errorf("in= is not allowed in a parallel block: a thread's directives are its own")
	case s.args.get("timeout", 0) > 0:
		return fmt.Errorf("timeout=%d: in a parallel block a call waits for ever (timeout=-1) or not at all",
			s.args.get("timeout", 0))
	}
	t.Steps = append(t.Steps, s)
	return nil
}

// outcomes takes a section.
func (p *parser) outcomes(f *File, before []string) error {
	o := Outcomes{Line: p.next + 1, Before: before}
	a, _, err := outcomesSyntax.bind(strings.Fields(p.lines[p.next])[1:])
	if err != nil {
		return p.errorf(o.Line, "%v\n\tusage: %s", err, outcomesSyntax.usage)
	}
	o.Kernel, o.Memory = a.word(0), a.word(1)
	if f.Block == nil {
		return p.errorf(o.Line, "outcomes without a parallel block before them")
	}
	for _, other := range f.Outcomes {
		if o.Kernel == other.Kernel && o.Memory == other.Memory {
			return p.errorf(o.Line, "the outcomes of %s %s are there twice: before in line %d", o.Kernel, o.Memory, other.Line)
		}
	}
	p.next++
	if p.next < len(p.lines) && !blank(p.lines[p.next]) {
		if p.lines[p.next] != separator {
			return p.errorf(p.next+1, "expected %s or an empty line after %s", separator, outcomesWord)
		}
		p.next++
		o.Recorded = true
		o.Set = splitLines(p.output())
	}
	f.Outcomes = append(f.Outcomes, o)
	return nil
}

// TouchesFrames reports whether a thread of the block reads or writes ring memory itself: then the outcomes can depend on
// the memory model.
func (b *Block) TouchesFrames() bool {
	for _, t := range b.Threads {
		for i := range t.Steps {
			if t.Steps[i].form.touches {
				return true
			}
		}
	}
	return false
}

// String returns the block's lines, without the empty line that separates it from what follows.
func (b *Block) String() string {
	var s strings.Builder
	writeLines(&s, b.Before)
	writeLines(&s, []string{parallelWord})
	writeLines(&s, b.Lines)
	return s.String()
}

// String returns the section's lines, without the empty line that separates it from the next one.
func (o *Outcomes) String() string {
	var s strings.Builder
	writeLines(&s, o.Before)
	fmt.Fprintf(&s, "%s %s %s\n", outcomesWord, o.Kernel, o.Memory)
	if o.Recorded {
		io.WriteString(&s, separator+"\n")
		writeLines(&s, o.Set)
	}
	return s.String()
}
