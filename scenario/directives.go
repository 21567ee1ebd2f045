package scenario

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// A form is one way to write a directive. The table of forms drives parsing, checking, running and the help text.
type form struct {
	syntax   syntax
	help     string
	example  string // one directive line
	messages bool   // message lines may follow
	quiet    bool   // what it changes in the rings is taken as shown
	touches  bool   // userspace reads or writes frames
	waits    bool   // it may wait for others, so that it makes sense in the background
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
	routeDirectives,
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
	var b strings.Builder
	entry := func(usage, help, example string) { fmt.Fprintf(&b, "%s\n    %s\n    e.g. %s\n", usage, help, example) }
	b.WriteString("Every directive takes in=TASK (default main).\n\n")
	for i := range directives {
		entry(directives[i].syntax.usage, directives[i].help, directives[i].example)
	}
	b.WriteString(laterHelp + litmusHelp + "\nMessage lines follow send, fill and edit:\n\n")
	for i := range messageForms {
		entry(messageForms[i].syntax.usage, messageForms[i].help, messageForms[i].example)
	}
	_, err := io.WriteString(w, b.String())
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
