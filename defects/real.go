package defects

import (
	"bufio"
	"embed"
	"fmt"
	"io"
	"regexp"
	"strings"
	"text/tabwriter"

	"nlmmap/kernel"
)

// What a real kernel does in the scenario of a defect.
const (
	ShownThere  = "shown"   // what the scenario's marked steps print is the defect
	AbsentThere = "absent"  // it is what kernels print that do not have it
	Differs     = "differs" // it is neither
	NotRun      = "not run" // the scenario has a step that no real machine can do
)

// A Sighting says whether a real kernel shows a defect, beside the model of its release.
type Sighting struct {
	Name  string `json:"name"`
	Found string `json:"found"` // shown, absent, differs, not run
	Model string `json:"model"` // shown, absent
	Seen  string `json:"seen"`  // the step that decided, and a line of its output
	// Console is what the kernel wrote first, if it crashed.
	Console []string `json:"console,omitempty"`
}

// Agrees reports whether the real kernel and the model are at one, as far as can be seen.
func (s Sighting) Agrees() bool { return s.Found == s.Model || s.Found == NotRun }

// Sight judges a real kernel's run of the defect's scenario. model is the run on the model of its release.
func (d Defect) Sight(there, model Run) Sighting {
	verdict, expected := d.Judge(there), d.Judge(model)
	s := Sighting{Name: d.Name, Found: Differs, Model: AbsentThere, Seen: verdict.Seen}
	if expected.Has {
		s.Model = ShownThere
	}
	if text := simulatorOnly(there); text != "" {
		s.Found, s.Seen = NotRun, text
		return s
	}
	if verdict.Has {
		s.Found = ShownThere
		return s
	}
	step := d.decides(there)
	without := []Run{model}
	if expected.Has {
		without = nil
	}
	without = append(without, d.Runs[1:]...)
	for _, run := range without {
		if run.File.Steps[step].Output == there.File.Steps[step].Output {
			s.Found = AbsentThere
		}
	}
	return s
}

// decides is the first marked step whose output does not look like the defect.
func (d Defect) decides(r Run) int {
	for _, m := range d.Runs[0].marks {
		if !m.pattern.MatchString(r.File.Steps[m.step].Output) {
			return m.step
		}
	}
	return d.Runs[0].marks[0].step
}

// simulatorOnly finds a step that a real machine cannot do.
func simulatorOnly(r Run) string {
	for _, s := range r.File.Steps {
		if strings.Contains(s.Output, "exist on the simulator only") {
			return s.Directive + ": " + strings.TrimSuffix(s.Output, "\n")
		}
	}
	return ""
}

// firstLines is how many lines of a console a list shows.
const firstLines = 2

// WriteSightings prints a list of them.
func WriteSightings(w io.Writer, sightings []Sighting) error {
	var rows strings.Builder
	tw := tabwriter.NewWriter(&rows, 0, 0, 2, ' ', 0)
	for _, s := range sightings {
		seen := s.Seen
		if !s.Agrees() {
			seen += " (the model: " + s.Model + ")"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\n", s.Name, s.Found, seen)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	out := bufio.NewWriter(w)
	lines := bufio.NewScanner(strings.NewReader(rows.String()))
	for i := 0; lines.Scan(); i++ {
		fmt.Fprintln(out, strings.TrimRight(lines.Text(), " "))
		for n, text := range sightings[i].Console {
			if n < firstLines {
				fmt.Fprintln(out, "    "+text)
			}
		}
	}
	return out.Flush()
}

// realFiles are lists that WriteSightings printed, one for each release that was looked at.
//
//go:embed real/*.txt
var realFiles embed.FS

// sightingLine is a line of such a list: a defect, what was found, what decided.
var sightingLine = regexp.MustCompile(`^(\S+) +(\w+( \w+)?)  `)

// readReal returns what was found on real kernels, by defect and release.
func readReal() (map[string]map[kernel.Release]string, error) {
	found := map[string]map[kernel.Release]string{}
	for _, r := range kernel.Releases() {
		text, err := realFiles.ReadFile("real/" + r.String() + ".txt")
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			m := sightingLine.FindStringSubmatch(line)
			if m == nil {
				continue // of a console
			}
			if found[m[1]] == nil {
				found[m[1]] = map[kernel.Release]string{}
			}
			found[m[1]][r] = m[2]
		}
	}
	return found, nil
}

// writeReal writes the table of what real kernels showed. What the list says otherwise is in bold.
func (l List) writeReal(b *strings.Builder) error {
	found, err := readReal()
	if err != nil {
		return err
	}
	b.WriteString("\n## On real kernels\n\n`nlmmap defects --boot IMAGE` runs the scenarios on a real kernel (see " +
		"[recording.md](recording.md)). This is what it found on five of them: *shown*, what the scenario prints is the defect; *absent*, " +
		"it prints what kernels without it print; *differs*, neither; *not run*, a step needs what only a driver can do. What the table above does not say is in bold; the lines that " +
		"decided are in `defects/real`.\n\n| defect |")
	for _, r := range kernel.Releases() {
		fmt.Fprintf(b, " %v |", r)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(kernel.Releases())) + "\n")
	for _, d := range l.Defects {
		if found[d.Name] == nil {
			continue
		}
		fmt.Fprintf(b, "| [`%s`](#%s) |", d.Name, d.Name)
		for _, r := range kernel.Releases() {
			cell := found[d.Name][r]
			if listed := d.Has(r); cell != NotRun && listed != (cell == ShownThere) || cell == Differs {
				cell = "**" + cell + "**"
			}
			fmt.Fprintf(b, " %s |", cell)
		}
		b.WriteString("\n")
	}
	return nil
}
