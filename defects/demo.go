package defects

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"nlmmap/kernel"
	"nlmmap/scenario"
	"nlmmap/versions"
)

// Dir is where the demonstrations lie in the module.
const Dir = "testdata/defects"

// A Demo is a scenario that shows a defect, recorded on a kernel that has it and, if there is one, on a kernel that
// does not. Its file is a comment that tells the story, then for each kernel a line
//
//	-- 4.5.7 dump-reserve-in-frame=always --
//
// (a release, and what differs from it) and the whole scenario with the outputs of that kernel.
type Demo struct {
	Name  string
	Story []string // comment lines
	Runs  []Run
}

// IsDemo tells whether a text is a demonstration and not a plain scenario.
func IsDemo(text []byte) bool {
	for line := range strings.Lines(string(text)) {
		if line[0] != '#' && strings.TrimSpace(line) != "" {
			return sectionLine.MatchString(strings.TrimSpace(line))
		}
	}
	return false
}

// A Run is the scenario on one kernel.
type Run struct {
	Label  string // as written in the file
	Kernel kernel.Version
	File   *scenario.File
	// End is what the model reported: memory that a real kernel would have corrupted, what leaked.
	End []string
}

var sectionLine = regexp.MustCompile(`^-- (.+) --$`)

// endMark begins the comment lines that hold a run's reports.
const endMark = "# the model reports: "

// Load reads the demonstration of a defect from a directory.
func Load(dir, name string, table versions.Table) (*Demo, error) {
	path := filepath.Join(dir, name+".txt")
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: no such file: run in the directory of the module, or say where it is with -dir", path)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d, err := Parse(path, f, table)
	if err == nil {
		d.Name = name
	}
	return d, err
}

// Parse reads a demonstration. The path is for error messages, which have the line.
func Parse(path string, r io.Reader, table versions.Table) (*Demo, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	d := &Demo{}
	var body strings.Builder
	line, begin := 0, 0
	flush := func() error {
		if len(d.Runs) == 0 {
			return nil
		}
		// Empty lines in front keep the line numbers of the file.
		f, err := scenario.Parse(path, strings.NewReader(strings.Repeat("\n", begin)+body.String()))
		if err != nil {
			return err
		}
		return d.Runs[len(d.Runs)-1].fill(path, f)
	}
	for text := range strings.Lines(string(text)) {
		line++
		m := sectionLine.FindStringSubmatch(strings.TrimSpace(text))
		switch {
		case m != nil:
			if err := flush(); err != nil {
				return nil, err
			}
			v, err := table.Parse(m[1])
			if err != nil {
				return nil, fmt.Errorf("%s:%d: %w", path, line, err)
			}
			d.Runs = append(d.Runs, Run{Label: m[1], Kernel: v})
			body.Reset()
			begin = line
		case len(d.Runs) == 0 && strings.HasPrefix(text, "#"):
			d.Story = append(d.Story, strings.TrimSuffix(text, "\n"))
		case len(d.Runs) == 0 && strings.TrimSpace(text) != "":
			return nil, fmt.Errorf("%s:%d: expected a comment or a line like -- 4.5.7 --", path, line)
		default:
			body.WriteString(text)
		}
	}
	if len(d.Runs) == 0 {
		return nil, fmt.Errorf("%s: no scenario: expected a line like -- 4.5.7 --", path)
	}
	return d, flush()
}

// fill takes the parsed scenario apart: the empty lines around it are layout, a last comment is the machine's end.
func (r *Run) fill(path string, f *scenario.File) error {
	if len(f.Steps) == 0 {
		return fmt.Errorf("%s: no steps for %s", path, r.Label)
	}
	first := &f.Steps[0]
	for len(first.Before) > 0 && strings.TrimSpace(first.Before[0]) == "" {
		first.Before = first.Before[1:]
	}
	for _, text := range f.Trailer {
		if text, ok := strings.CutPrefix(text, endMark); ok {
			r.End = append(r.End, text)
		}
	}
	f.Trailer = nil
	r.File = f
	return nil
}

// Format writes the demonstration as Parse reads it.
func (d *Demo) Format(w io.Writer) error {
	var b strings.Builder
	for _, text := range d.Story {
		b.WriteString(text + "\n")
	}
	for _, r := range d.Runs {
		fmt.Fprintf(&b, "\n-- %s --\n", r.Label)
		if err := r.File.Format(&b); err != nil {
			return err
		}
		for i, text := range r.End {
			if i == 0 {
				b.WriteByte('\n')
			}
			b.WriteString(endMark + text + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// A Boot makes a machine with the given kernel, which tells of memory that a real kernel would have corrupted.
type Boot func(v kernel.Version, report func(what string)) (scenario.Target, error)

// Reports returns what Config.Trace needs to hear of corrupted memory.
func Reports(report func(what string)) func(kernel.Record) {
	return func(r kernel.Record) {
		switch e := r.Event.(type) {
		case kernel.Corruption:
			report(e.String())
		case kernel.Warning:
			report(e.String())
		}
	}
}

// Play runs the scenario of a run on a kernel and returns what it gives.
func (r Run) Play(ctx context.Context, boot Boot, v kernel.Version) Run {
	var reports []string
	outputs, failure := scenario.Play(ctx, func() (scenario.Target, error) {
		return boot(v, func(what string) { reports = append(reports, what) })
	}, r.File)
	played := Run{Label: r.Label, Kernel: v, File: &scenario.File{Name: r.File.Name}, End: reports}
	for i, s := range r.File.Steps {
		s.Recorded, s.Output = i < len(outputs), ""
		if s.Recorded {
			s.Output = outputs[i]
		}
		played.File.Steps = append(played.File.Steps, s)
	}
	if failure != "" {
		played.End = append(played.End, strings.Split(strings.TrimSuffix(failure, "\n"), "\n")...)
	}
	return played
}

// A Line is a line of a step in which two runs differ, or a stored run and the one now.
type Line struct {
	Number    int    `json:"line"` // in the file; 0 for the end
	Directive string `json:"directive"`
	Was       string `json:"was"`
	Is        string `json:"is"`
}

// String shows both outputs as one, with marked lines.
func (l Line) String() string {
	d := scenario.Disagreement{Line: l.Number, Directive: l.Directive, Expected: l.Was, Got: l.Is}
	return fmt.Sprintf("line %d: %s", l.Number, d.String())
}

// Compare returns the steps in which two runs of one scenario differ.
func Compare(a, b Run) []Line {
	var lines []Line
	for i, s := range a.File.Steps {
		if t := b.File.Steps[i]; t.Output != s.Output || t.Recorded != s.Recorded {
			lines = append(lines, Line{s.Line, s.Directive, s.Output, t.Output})
		}
	}
	was, is := strings.Join(a.End, "\n"), strings.Join(b.End, "\n")
	if was != is {
		lines = append(lines, Line{0, "the model reports", was + "\n", is + "\n"})
	}
	return lines
}

// Judge says whether a run on some other kernel shows the defect: "has", "no", or "other" if it is like neither of the
// stored runs. What decides is the first step in which those differ.
func (d *Demo) Judge(played Run) string {
	if len(d.Runs) < 2 {
		return "other"
	}
	has, not := d.Runs[0].File.Steps, d.Runs[1].File.Steps
	for i, s := range played.File.Steps {
		switch {
		case has[i].Output == not[i].Output:
		case s.Output == has[i].Output:
			return "has"
		case s.Output == not[i].Output:
			return "no"
		default:
			return "other"
		}
	}
	return "other"
}

// SideBySide prints two runs of one scenario: what both gave once, what differs in two columns with a mark between.
func SideBySide(w io.Writer, a, b Run) error {
	var out strings.Builder
	for i, s := range a.File.Steps {
		for _, text := range s.Before {
			out.WriteString(text + "\n")
		}
		out.WriteString(s.Directive + "\n")
		for _, text := range s.Input {
			out.WriteString(text + "\n")
		}
		columns(&out, a.Label, b.Label, s.Output, b.File.Steps[i].Output)
		out.WriteByte('\n')
	}
	if len(a.End)+len(b.End) > 0 {
		out.WriteString("the model reports\n")
		columns(&out, a.Label, b.Label, joined(a.End), joined(b.End))
	}
	_, err := io.WriteString(w, strings.TrimSuffix(out.String(), "\n")+"\n")
	return err
}

func joined(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\n") + "\n"
}

func columns(out *strings.Builder, labelA, labelB, a, b string) {
	rows := scenario.SideBySide(a, b)
	width, same := len(labelA), true
	for _, r := range rows {
		width = max(width, len(r.Left))
		same = same && r.Same
	}
	if same {
		for _, r := range rows {
			out.WriteString("    " + r.Left + "\n")
		}
		return
	}
	fmt.Fprintf(out, "    %-*s   %s\n", width, labelA, labelB)
	for _, r := range rows {
		mark := "|"
		if r.Same {
			mark = " "
		}
		out.WriteString(strings.TrimRight(fmt.Sprintf("  %s %-*s %s %s", mark, width, r.Left, mark, r.Right), " ") + "\n")
	}
}
