package defects

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/tools/txtar"

	"nlmmap/kernel"
	"nlmmap/kernel/memmodel"
	"nlmmap/scenario"
	"nlmmap/versions"
)

// The file of a defect is a txtar archive. It begins with a header, lines "key: value", and after an empty line what
// the defect is about, in prose. The keys:
//
//	title      what is wrong
//	section    of the spec
//	kind       what it takes to see it
//	is         NAME=VALUE|VALUE ...: the differences that the defect consists of
//	unless     NAME=VALUE|VALUE ...: differences that together make it impossible; may be repeated
//	unseen     NAME=VALUE|VALUE ...: differences with which the scenario does not show it; may be repeated
//	in         releases, or none: where no difference decides and not all kernels have it
//	history    commits; by default those of the first difference
//	explore    PROGRAM under MEMORY violates INVARIANT: how a search finds it; may be repeated
//	scenario   another defect, whose scenario shows this one too
//	outside    why nothing shows it
//
// Then come the runs of a scenario, each in a file of the archive that is named like the kernel,
//
//	-- 4.5.7 dump-reserve-in-frame=always --
//
// with the outputs of that kernel: the first has the defect, the second, if there is one, does not. In the first a
// comment before the step that decides says what its output looks like where the defect is:
//
//	# defect: ^EINVAL

// signMark begins the comment line that says how a step shows the defect.
const signMark = "# defect: "

// endMark begins the comment lines that hold a run's reports.
const endMark = "# the model reports: "

// IsFile reports whether a text is the file of a defect and not a plain scenario.
func IsFile(text []byte) bool { return bytes.HasPrefix(text, []byte("title: ")) }

// Parse reads the file of a defect. The path is for error messages, which have the line, and names the defect.
func Parse(path string, text []byte, table versions.Table) (Defect, error) {
	archive := txtar.Parse(text)
	name := path[strings.LastIndexByte(path, '/')+1:]
	d := Defect{Name: strings.TrimSuffix(name, ".txt"), header: archive.Comment}
	header, story, _ := strings.Cut(string(archive.Comment), "\n\n")
	releases := Releases(kernel.Releases())
	line := 0
	for text := range strings.Lines(header) {
		line++
		key, value, ok := strings.Cut(strings.TrimSpace(text), ": ")
		err := errors.New("expected KEY: VALUE")
		if ok {
			err = d.set(key, value, &releases, table)
		}
		if err != nil {
			return d, fmt.Errorf("%s:%d: %w", path, line, err)
		}
	}
	d.Story = strings.Join(strings.Fields(story), " ")
	if d.Title == "" || d.Section == "" || d.Kind == "" || d.Story == "" {
		return d, fmt.Errorf("%s: title, section, kind or story is missing", path)
	}
	d.In = releases
	if len(d.Is)+len(d.Unless) > 0 {
		d.In = slices.DeleteFunc(kernel.Releases(), func(r kernel.Release) bool {
			return !d.has(kernel.Version{Release: r}, table)
		})
	}
	if d.History == "" && len(d.Is) > 0 {
		if of, err := table.Find(d.Is[0].Difference); err == nil {
			d.History = of.History
		}
	}
	line = bytes.Count(archive.Comment, []byte("\n"))
	for _, f := range archive.Files {
		line++
		r, err := parseRun(path, f, line, table)
		if err != nil {
			return d, err
		}
		d.Runs = append(d.Runs, r)
		line += bytes.Count(f.Data, []byte("\n"))
	}
	if len(d.Runs) > 0 {
		if d.File != "" {
			return d, fmt.Errorf("%s: a scenario, and one of %s", path, d.File)
		}
		d.File = d.Name
		if len(d.Runs[0].marks) == 0 {
			return d, fmt.Errorf("%s: no step of the first run has a comment %sREGEXP", path, signMark)
		}
	}
	return d, nil
}

// set takes one line of the header.
func (d *Defect) set(key, value string, in *Releases, table versions.Table) error {
	switch key {
	case "title":
		d.Title = value
	case "section":
		d.Section = value
	case "kind":
		d.Kind = Kind(value)
		if !slices.Contains([]Kind{Deterministic, Concurrency, WeakMemory, CostOrLog, Elsewhere}, d.Kind) {
			return fmt.Errorf("unknown kind %q", value)
		}
	case "is", "unless", "unseen":
		var all Conditions
		for text := range strings.FieldsSeq(value) {
			c, err := parseCondition(text, table)
			if err != nil {
				return err
			}
			all = append(all, c)
		}
		switch key {
		case "is":
			d.Is = append(d.Is, all...)
		case "unless":
			d.Unless = append(d.Unless, all)
		default:
			d.Unseen = append(d.Unseen, all)
		}
	case "in":
		*in = nil
		for name := range strings.FieldsSeq(value) {
			if name == "none" {
				continue
			}
			v, err := versions.Release(name)
			if err != nil {
				return err
			}
			*in = append(*in, v.Release)
		}
	case "history":
		d.History = value
	case "explore":
		words := strings.Fields(value)
		if len(words) != 7 || words[1] != "under" || words[3] != "violates" || words[5] != "at" {
			return fmt.Errorf("%q: expected PROGRAM under MEMORY violates INVARIANT at FUNCTION", value)
		}
		memory, err := memmodel.ParseModel(words[2])
		if err != nil {
			return err
		}
		d.Explored = append(d.Explored, Exploration{words[0], memory, words[4], words[6]})
	case "scenario":
		d.File = value
	case "outside":
		d.Outside = value
	default:
		return fmt.Errorf("unknown key %q", key)
	}
	return nil
}

func parseCondition(text string, table versions.Table) (Condition, error) {
	name, values, _ := strings.Cut(text, "=")
	c := Condition{name, strings.Split(values, "|")}
	d, err := table.Find(name)
	if err != nil {
		return c, err
	}
	for _, v := range c.Values {
		if d.Name != name || !slices.Contains(d.Values(), v) {
			return c, fmt.Errorf("difference %s has no value %q: it has %s", d.Name, v, d.Range())
		}
	}
	return c, nil
}

// parseRun reads the scenario of one kernel, whose header is in the given line.
func parseRun(path string, f txtar.File, line int, table versions.Table) (Run, error) {
	r := Run{Label: f.Name}
	var err error
	if r.Kernel, err = table.Parse(f.Name); err != nil {
		return r, fmt.Errorf("%s:%d: %w", path, line, err)
	}
	// Empty lines in front keep the line numbers of the file.
	r.File, err = scenario.Parse(path, io.MultiReader(strings.NewReader(strings.Repeat("\n", line)), bytes.NewReader(f.Data)))
	if err != nil {
		return r, err
	}
	if len(r.File.Steps) == 0 {
		return r, fmt.Errorf("%s: no steps for %s", path, r.Label)
	}
	// The empty lines around the scenario are layout, a last comment is the machine's end.
	first := &r.File.Steps[0]
	for len(first.Before) > 0 && strings.TrimSpace(first.Before[0]) == "" {
		first.Before = first.Before[1:]
	}
	for _, text := range r.File.Trailer {
		if text, ok := strings.CutPrefix(text, endMark); ok {
			r.End = append(r.End, text)
		}
	}
	r.File.Trailer = nil
	for i, s := range r.File.Steps {
		for _, text := range s.Before {
			pattern, ok := strings.CutPrefix(text, signMark)
			if !ok {
				continue
			}
			re, err := regexp.Compile("(?m)" + pattern)
			if err != nil {
				return r, fmt.Errorf("%s:%d: %w", path, s.Line, err)
			}
			r.marks = append(r.marks, sign{i, re})
		}
	}
	return r, nil
}

// Format writes the defect as Parse reads it.
func (d Defect) Format(w io.Writer) error {
	archive := txtar.Archive{Comment: d.header}
	if d.File == d.Name {
		for i, r := range d.Runs {
			var b bytes.Buffer
			if err := r.format(&b); err != nil {
				return err
			}
			if i+1 < len(d.Runs) {
				b.WriteByte('\n')
			}
			archive.Files = append(archive.Files, txtar.File{Name: r.Label, Data: b.Bytes()})
		}
	}
	_, err := w.Write(txtar.Format(&archive))
	return err
}

func (r Run) format(b *bytes.Buffer) error {
	if err := r.File.Format(b); err != nil {
		return err
	}
	for i, text := range r.End {
		if i == 0 {
			b.WriteByte('\n')
		}
		b.WriteString(endMark + text + "\n")
	}
	return nil
}
