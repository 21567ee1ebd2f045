package scenario

import (
	"fmt"
	"io"
	"slices"
)

// A form is one way to write a directive. The table of forms drives parsing, checking, running and the help text.
type form struct {
	syntax   syntax
	help     string
	example  string // one directive line
	messages bool   // message lines may follow
	quiet    bool   // what it changes in the rings is taken as shown
	touches  bool   // userspace reads or writes frames
	serial   bool   // not for a parallel block: it concerns the machine, or what nobody else may do meanwhile
	run      func(c *call) (string, error)
}

func (f *form) name() string { return firstWord(f.syntax.usage) }

// directives are all forms, in the order of the help text. A directive with several forms has them in a row.
var directives = slices.Concat(
	taskDirectives,
	descriptorDirectives,
	socketDirectives,
	mappingDirectives,
	frameDirectives,
	trafficDirectives,
	networkDirectives,
)

func directiveNames() []string {
	var names []string
	for i := range directives {
		names = append(names, directives[i].name())
	}
	return slices.Compact(names)
}

// Help writes the reference of the language: every directive with its arguments and an example.
func Help(w io.Writer) error {
	const head = "Every directive takes in=TASK (default main). Message lines follow send, fill and edit:\n" +
		"  %s\n  %s\n\n"
	if _, err := fmt.Fprintf(w, head, msgSyntax.usage, rawSyntax.usage); err != nil {
		return err
	}
	for i := range directives {
		f := &directives[i]
		if _, err := fmt.Fprintf(w, "%s\n    %s\n    e.g. %s\n", f.syntax.usage, f.help, f.example); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, litmusHelp)
	return err
}

func firstWord(s string) string {
	for i, r := range s {
		if r == ' ' {
			return s[:i]
		}
	}
	return s
}
