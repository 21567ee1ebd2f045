package scenario

import (
	"bufio"
	"io"
	"strings"
)

// A File is a parsed scenario: steps with the comments between them. A litmus file is one with a parallel block: Steps
// are those before it, which set the stage.
type File struct {
	Name     string
	Steps    []Step
	Block    *Block     // nil in an ordinary scenario
	Final    []Step     // after the block
	Outcomes []Outcomes // what can come of the block, where that is known
	Trailer  []string   // comments and empty lines after the last step
}

// A Step is one directive with its message lines and the output that was recorded for it.
type Step struct {
	Line      int      // of the directive, from 1
	Before    []string // comments and further empty lines above the directive
	Directive string   // the line as written
	Input     []string // the message lines as written
	Recorded  bool     // whether the file has an output (even an empty one) for this step
	Output    string   // each line ends in a newline

	form  *form
	args  args
	msgs  []byte
	later string // what a step that runs in the background is called: form and args are those of its directive
}

// Format writes the file in the form that Parse reads. For a recording that is the text it was parsed from.
func (f *File) Format(w io.Writer) error {
	b := bufio.NewWriter(w)
	paragraphs := f.paragraphs()
	b.WriteString(strings.Join(paragraphs, "\n"))
	if len(f.Trailer) > 0 && len(paragraphs) > 0 {
		b.WriteByte('\n')
	}
	writeLines(b, f.Trailer)
	return b.Flush()
}

// paragraphs returns what empty lines separate.
func (f *File) paragraphs() []string {
	var list []string
	for i := range f.Steps {
		list = append(list, f.Steps[i].String())
	}
	if f.Block != nil {
		list = append(list, f.Block.String())
	}
	for i := range f.Final {
		list = append(list, f.Final[i].String())
	}
	for i := range f.Outcomes {
		list = append(list, f.Outcomes[i].String())
	}
	return list
}

// String returns the step's lines, without the empty line that separates it from the next one.
func (s *Step) String() string {
	var b strings.Builder
	writeLines(&b, s.Before)
	b.WriteString(s.Directive + "\n")
	writeLines(&b, s.Input)
	if s.Recorded {
		b.WriteString("----\n" + s.Output)
	}
	return b.String()
}

func writeLines(w io.StringWriter, lines []string) {
	for _, line := range lines {
		w.WriteString(line + "\n")
	}
}
