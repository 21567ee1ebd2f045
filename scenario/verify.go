package scenario

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"
	"time"
)

// hangLimit is how long one step may take. The longest that a scenario asks for is far below.
const hangLimit = 30 * time.Second

// A Result is what comparing a file with a machine gave.
type Result struct {
	Name   string        `json:"file"`
	Steps  int           `json:"steps"`
	Agreed int           `json:"agreed"`          // steps whose output is as recorded
	First  *Disagreement `json:"first,omitempty"` // the first step that is not
	// Failure tells of what is no step's output: the machine could not be made, panicked, hung or leaked.
	Failure string `json:"failure,omitempty"`

	so comparison
}

// OK reports whether everything agreed.
func (r Result) OK() bool { return r.Agreed == r.Steps && r.Failure == "" }

// A Disagreement is a step whose output differs from the recorded one.
type Disagreement struct {
	Line      int    `json:"line"`
	Directive string `json:"directive"`
	Expected  string `json:"expected"`
	Got       string `json:"got"`
}

// String shows the directive and both outputs as one: "-" marks expected lines that are missing, "+" lines that are
// there instead.
func (d *Disagreement) String() string {
	return d.Directive + "\n" + diff(d.Expected, d.Got)
}

// Verify runs a file on a fresh machine and compares every output with the recorded one. It goes on after a
// disagreement. A panic or a hang ends the scenario and counts the remaining steps as disagreeing; a step that hangs
// keeps its goroutine.
func Verify(ctx context.Context, boot func() (Target, error), f *File) Result {
	return verify(ctx, boot, f, hangLimit)
}

func verify(ctx context.Context, boot func() (Target, error), f *File, limit time.Duration) Result {
	r := Result{Name: f.Name, Steps: len(f.Steps)}
	r.Failure = follow(ctx, boot, f, limit, func(i int, output string) { r.compare(&f.Steps[i], output) })
	return r
}

// Compare compares outputs that a machine gave with those of a file. A step without an output disagrees.
func Compare(f *File, outputs []string) Result {
	r := Result{Name: f.Name, Steps: len(f.Steps)}
	for i := range f.Steps {
		got := NotRun + "\n"
		if i < len(outputs) {
			got = outputs[i]
		}
		r.compare(&f.Steps[i], got)
	}
	return r
}

// Agree reports for each step of a file whether a machine's output agrees with the recorded one, as Compare counts them.
func Agree(f *File, outputs []string) []bool {
	agrees := make([]bool, len(f.Steps))
	var so comparison
	for i := range f.Steps {
		agrees[i] = i < len(outputs) && so.agrees(&f.Steps[i], outputs[i]) || so.over
	}
	return agrees
}

// Play runs a file on a fresh machine as Verify does and returns the outputs of the steps that came to an end. Failure
// tells what Result.Failure does.
func Play(ctx context.Context, boot func() (Target, error), f *File) (outputs []string, failure string) {
	failure = follow(ctx, boot, f, hangLimit, func(_ int, output string) { outputs = append(outputs, output) })
	return outputs, failure
}

// follow calls each with every step's output as soon as it is there, and returns what failed.
func follow(ctx context.Context, boot func() (Target, error), f *File, limit time.Duration, each func(int, string)) string {
	progress := make(chan outcome, len(f.Steps)+1) // room for all, so that an abandoned run can end
	go runSteps(ctx, boot, f, progress)
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for i := 0; ; {
		timer.Reset(limit)
		select {
		case o := <-progress:
			if o.end {
				return o.text
			}
			each(i, o.text)
			i++
		case <-ctx.Done():
			return "interrupted"
		case <-timer.C:
			return hung(f, i, limit)
		}
	}
}

// An outcome is a step's output or, at the end, what failed.
type outcome struct {
	text string
	end  bool
}

func runSteps(ctx context.Context, boot func() (Target, error), f *File, progress chan<- outcome) {
	step := 0
	defer func() {
		if p := recover(); p != nil {
			progress <- outcome{fmt.Sprintf("panic%s: %v\n%s", during(f, step), p, debug.Stack()), true}
		}
	}()
	target, err := boot()
	if err != nil {
		progress <- outcome{"cannot make the machine: " + err.Error(), true}
		return
	}
	runner := NewRunner(target)
	for ; step < len(f.Steps) && ctx.Err() == nil; step++ {
		progress <- outcome{runner.Step(&f.Steps[step]), false}
	}
	if err := target.Close(); err != nil {
		progress <- outcome{err.Error(), true}
		return
	}
	progress <- outcome{"", true}
}

// A comparison is how far the outputs of two machines were compared.
type comparison struct {
	over bool // both came to the same end: what would come does not count
}

func (c *comparison) agrees(s *Step, got string) bool {
	c.over = c.over || SameDeath(got, s.Output)
	return c.over || got == s.Output
}

func (r *Result) compare(s *Step, got string) {
	if r.so.agrees(s, got) {
		r.Agreed++
		return
	}
	if r.First == nil {
		r.First = &Disagreement{s.Line, s.Directive, s.Output, got}
	}
}

func hung(f *File, step int, limit time.Duration) string {
	return fmt.Sprintf("hangs%s: no result within %v", during(f, step), limit)
}

// during tells at which step something happened, if it was at one.
func during(f *File, step int) string {
	if step >= len(f.Steps) {
		return " at the end"
	}
	s := &f.Steps[step]
	return fmt.Sprintf(" at %s:%d: %s", f.Name, s.Line, s.Directive)
}

// diff shows two texts as one, with the lines that only one of them has marked.
func diff(expected, got string) string {
	var out strings.Builder
	align(expected, got, func(sign, line string) { out.WriteString(sign + line + "\n") })
	return out.String()
}

// align calls mark for each line of two texts: with "  " for those that both have, "- " for those that only a has, and
// "+ " for those that only b has.
func align(textA, textB string, mark func(sign, line string)) {
	a, b := splitLines(textA), splitLines(textB)
	common := commonLines(a, b)
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			mark("  ", a[i])
			i, j = i+1, j+1
		case i < len(a) && (j == len(b) || common[i+1][j] >= common[i][j+1]):
			mark("- ", a[i])
			i++
		default:
			mark("+ ", b[j])
			j++
		}
	}
}

// A Row is a line of two texts side by side. Where only one of them has a line the other side is empty.
type Row struct {
	Left, Right string
	Same        bool
}

// SideBySide pairs the lines of two texts.
func SideBySide(left, right string) []Row {
	var rows []Row
	free := 0 // the first row whose right side can still be filled
	align(left, right, func(sign, line string) {
		switch {
		case sign == "  ":
			rows = append(rows, Row{line, line, true})
			free = len(rows)
		case sign == "- ":
			rows = append(rows, Row{Left: line})
		case free < len(rows):
			rows[free].Right = line
			free++
		default:
			rows = append(rows, Row{Right: line})
			free = len(rows)
		}
	})
	return rows
}

// commonLines returns, for each pair of positions, the length of the longest common subsequence of what follows.
func commonLines(a, b []string) [][]int {
	n := make([][]int, len(a)+1)
	for i := range n {
		n[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				n[i][j] = n[i+1][j+1] + 1
			} else {
				n[i][j] = max(n[i+1][j], n[i][j+1])
			}
		}
	}
	return n
}
