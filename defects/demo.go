package defects

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"

	"nlmmap/kernel"
	"nlmmap/scenario"
)

// A Run is the scenario of a defect on one kernel.
type Run struct {
	Label  string // as written in the file
	Kernel kernel.Version
	File   *scenario.File
	// End is what the model reported: memory that a real kernel would have corrupted, what leaked.
	End []string

	marks []sign
}

// A sign is what the output of a step looks like where the defect is.
type sign struct {
	step    int
	pattern *regexp.Regexp
}

// A Boot makes a machine with the given kernel, which tells of memory that a real kernel would have corrupted. initNet
// reports whether the scenario runs in the initial network namespace.
type Boot func(v kernel.Version, initNet bool, report func(what string)) (scenario.Target, error)

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

// Play runs the defect's scenario on a kernel and returns what it gives. The label is that of the run.
func (d Defect) Play(ctx context.Context, boot Boot, label string, v kernel.Version) Run {
	r := d.Runs[0]
	var reports []string
	outputs, failure := scenario.Play(ctx, func() (scenario.Target, error) {
		return boot(v, r.File.InitNet(), func(what string) { reports = append(reports, what) })
	}, r.File)
	played := d.Played(label, outputs)
	played.Kernel, played.End = v, reports
	if failure != "" {
		played.End = append(played.End, strings.Split(strings.TrimSuffix(failure, "\n"), "\n")...)
	}
	return played
}

// Played is the defect's scenario with the outputs of some kernel.
func (d Defect) Played(label string, outputs []string) Run {
	r := d.Runs[0]
	played := Run{Label: label, File: &scenario.File{Name: r.File.Name}}
	for i, s := range r.File.Steps {
		s.Recorded, s.Output = i < len(outputs), ""
		if s.Recorded {
			s.Output = outputs[i]
		}
		played.File.Steps = append(played.File.Steps, s)
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

// A Verdict says whether a kernel shows a defect.
type Verdict struct {
	Has bool
	// Seen is what decided: a step and a line of its output.
	Seen string
}

// Judge reports whether a run of the defect's scenario shows it: whether the output of each marked step looks as the
// file says that it does where the defect is. A real kernel that crashes there shows a crash, whatever it writes, and
// one that hangs a call that waits for ever.
func (d Defect) Judge(played Run) Verdict {
	var first Verdict
	for i, m := range d.Runs[0].marks {
		s := played.File.Steps[m.step]
		v := Verdict{true, s.Directive + ": "}
		at := m.pattern.FindStringIndex(s.Output)
		stored := d.Runs[0].File.Steps[m.step].Output
		switch {
		case scenario.SameDeath(s.Output, stored):
			v.Seen += strings.TrimSuffix(s.Output, "\n")
			if i == 0 {
				first = v
			}
			continue
		case !s.Recorded:
			return Verdict{false, fmt.Sprintf("the scenario ends before line %d: %s", s.Line, s.Directive)}
		case at == nil:
			text, _, _ := strings.Cut(s.Output, "\n")
			return Verdict{false, v.Seen + text}
		}
		begin, end := strings.LastIndexByte(s.Output[:at[0]], '\n')+1, strings.IndexByte(s.Output[at[0]:], '\n')
		v.Seen += strings.TrimSpace(s.Output[begin : at[0]+end])
		if i == 0 {
			first = v
		}
	}
	return first
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
