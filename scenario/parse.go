package scenario

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// separator stands between the input of a step and its output.
const separator = "----"

// An Error tells where a scenario is malformed, and why.
type Error struct {
	File string
	Line int
	Msg  string
}

func (e *Error) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Msg) }

// Parse reads a scenario and checks every directive, argument and message line of it, so that nothing runs when
// something is wrong. The name is for error messages, which are of type *Error. Outputs may be missing: then empty
// lines separate the directives.
func Parse(name string, r io.Reader) (*File, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p := parser{name: name, lines: splitLines(string(text))}
	return p.file()
}

func splitLines(text string) []string {
	if text == "" {
		return nil
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], "\r")
	}
	return lines
}

type parser struct {
	name  string
	lines []string
	next  int // index of the line to read
}

func (p *parser) file() (*File, error) {
	f := &File{Name: p.name}
	for {
		before := p.comments()
		if len(f.Steps) == 0 {
			if line, err := checkNamespace(before); err != nil {
				return nil, p.errorf(line, "%v", err)
			}
		}
		if p.next == len(p.lines) {
			f.Trailer = before
			return f, nil
		}
		if err := p.paragraph(f, before); err != nil {
			return nil, err
		}
		if p.next < len(p.lines) {
			p.next++ // the empty line that ends a paragraph
		}
	}
}

// comments takes the comments and empty lines at the current position.
func (p *parser) comments() []string {
	start := p.next
	for p.next < len(p.lines) && (blank(p.lines[p.next]) || p.lines[p.next][0] == '#') {
		p.next++
	}
	return p.lines[start:p.next:p.next]
}

// step takes a directive, its input and its output, up to but not including the empty line.
func (p *parser) step(before []string) (Step, error) {
	s := Step{Line: p.next + 1, Before: before, Directive: p.lines[p.next]}
	if s.Directive == separator {
		return s, p.errorf(s.Line, "output without a directive: expected a directive line before %s", separator)
	}
	if err := s.bind(); err != nil {
		return s, p.errorf(s.Line, "%v", err)
	}
	p.next++
	for p.next < len(p.lines) && !blank(p.lines[p.next]) {
		line := p.lines[p.next]
		p.next++
		if line == separator {
			s.Recorded = true
			s.Output = p.output()
			break
		}
		if err := s.addInput(line); err != nil {
			return s, p.errorf(p.next, "%v", err)
		}
	}
	return s, nil
}

func (p *parser) output() string {
	var b strings.Builder
	for p.next < len(p.lines) && !blank(p.lines[p.next]) {
		b.WriteString(p.lines[p.next] + "\n")
		p.next++
	}
	return b.String()
}

func (p *parser) errorf(line int, format string, a ...any) error {
	return &Error{p.name, line, fmt.Sprintf(format, a...)}
}

func blank(line string) bool { return strings.TrimSpace(line) == "" }

// bind finds the form of the step's directive that its arguments fit.
func (s *Step) bind() error {
	words := splitWords(s.Directive)
	if words[0] == laterWord {
		return s.bindLater(words[1:])
	}
	i, a, err := bindForm(words, len(directives), func(i int) syntax { return directives[i].syntax })
	switch {
	case err == nil:
		s.form, s.args = &directives[i], a
		return nil
	case !errors.Is(err, errUnknown):
		return err
	case isMessageWord(words[0]):
		return fmt.Errorf("%s line without a directive: expected send, fill or edit on a line before it", words[0])
	}
	names := append(directiveNames(), laterWord, parallelWord, outcomesWord)
	return fmt.Errorf("unknown directive %q%s", words[0], suggest(words[0], names))
}

var errUnknown = errors.New("no form has that name")

// bindForm finds the form of n that the arguments behind the first word fit. The error tells of the form that fits best, or
// is errUnknown.
func bindForm(words []string, n int, form func(i int) syntax) (i int, a args, err error) {
	var best error
	bestMatched, usages := -1, ""
	for i := range n {
		f := form(i)
		if firstWord(f.usage) != words[0] {
			continue
		}
		a, matched, err := f.bind(words[1:])
		if err == nil {
			return i, a, nil
		}
		usages += "\n\tusage: " + f.usage
		if matched > bestMatched {
			best, bestMatched = err, matched
		}
	}
	if best == nil {
		return 0, a, errUnknown
	}
	return 0, a, fmt.Errorf("%w%s", best, usages)
}

// addInput checks one message line and appends its bytes.
func (s *Step) addInput(line string) error {
	if word := strings.Fields(line)[0]; !isMessageWord(word) {
		return fmt.Errorf("unexpected line %q: expected a message line (%s), %s, or an empty line before the next directive%s",
			shorten(line), strings.Join(messageWords(), ", "), separator, suggest(word, messageWords()))
	}
	if !s.form.messages {
		return fmt.Errorf("%s takes no message lines: expected %s or an empty line", s.form.name(), separator)
	}
	msgs, err := appendMessageLine(s.msgs, line)
	if err != nil {
		return err
	}
	s.Input = append(s.Input, line)
	s.msgs = msgs
	return nil
}

func shorten(s string) string {
	const longest = 60
	if len(s) <= longest {
		return s
	}
	return s[:longest] + "..."
}
