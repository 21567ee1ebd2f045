package scenario

import (
	"bufio"
	"io"
	"strings"
)

// A File is a parsed scenario: steps with the comments between them.
type File struct {
	Name    string
	Steps   []Step
	Trailer []string // comments and empty lines after the last step
}

// A Step is one directive with its message lines and the output that was recorded for it.
type Step struct {
	Line      int      // of the directive, from 1
	Before    []string // comments and further empty lines above the directive
	Directive string   // the line as written
	Input     []string // the message lines as written
	Recorded  bool     // whether the file has an output (even an empty one) for this step
	Output    string   // each line ends in a newline

	form *form
	args args
	msgs []byte
}

// Format writes the file in the form that Parse reads. For a recording that is the text it was parsed from.
func (f *File) Format(w io.Writer) error {
	b := bufio.NewWriter(w)
	for i := range f.Steps {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(f.Steps[i].String())
	}
	if len(f.Trailer) > 0 && len(f.Steps) > 0 {
		b.WriteByte('\n')
	}
	writeLines(b, f.Trailer)
	return b.Flush()
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
