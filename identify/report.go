package identify

import (
	"fmt"
	"io"
	"strings"

	"nlmmap/kernel"
	"nlmmap/scenario"
	"nlmmap/versions"
)

// places is how many of the steps that show something are listed.
const places = 5

// Write prints the result for people.
func (r *Result) Write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s\n\n", count(r.Scenarios, "scenario"), count(r.Steps, "step"))
	for _, share := range r.Releases {
		fmt.Fprintf(&b, "%-7s %6.2f %%  %d/%d steps  %d/%d scenarios\n", share.Kernel, share.Steps.Percent(), share.Steps.Agree,
			share.Steps.Total, share.Scenarios.Agree, share.Scenarios.Total)
	}
	b.WriteByte('\n')
	r.writeKernel(&b)
	for _, d := range r.Differences {
		d.write(&b, r.Nearest)
	}
	r.writeLeft(&b)
	r.writeUntold(&b)
	if len(r.Differences) > 0 {
		b.WriteString("The kernel, for --kernel:\n\n")
		var file strings.Builder
		if err := versions.Write(&file, r.Version); err != nil {
			return err
		}
		b.WriteString(indent(file.String(), "    "))
	}
	_, err := io.WriteString(w, strings.TrimRight(b.String(), "\n")+"\n")
	return err
}

func (r *Result) writeKernel(b *strings.Builder) {
	var wrong int
	for _, share := range r.Releases {
		if share.Kernel == r.Nearest {
			wrong = share.Steps.Total - share.Steps.Agree
		}
	}
	left := r.Agrees.Steps.Total - r.Agrees.Steps.Agree
	switch {
	case wrong == 0 && len(r.AlsoFits) > 0:
		fmt.Fprintf(b, "It is %s, or %s: these recordings do not tell them apart.\n\n", r.Nearest, strings.Join(r.AlsoFits, " or "))
	case wrong == 0:
		fmt.Fprintf(b, "It is %s: no differences, nothing is left.\n\n", r.Nearest)
	case len(r.Differences) == 0:
		fmt.Fprintf(b, "The nearest release is %s. No named difference explains any of the %s that it does otherwise.\n\n",
			r.Nearest, count(wrong, "step"))
	case left == 0:
		fmt.Fprintf(b, "It is %s with %s: that explains all of the %s that the release does otherwise.\n\n",
			r.Nearest, count(len(r.Differences), "difference"), count(wrong, "step"))
	default:
		fmt.Fprintf(b, "The nearest release is %s. With %s it does %d of the %s as recorded that it does otherwise; %s left.\n\n",
			r.Nearest, count(len(r.Differences), "difference"), wrong-left, count(wrong, "step"), isLeft(left))
	}
}

func isLeft(n int) string {
	if n == 1 {
		return "1 is"
	}
	return fmt.Sprintf("%d are", n)
}

func (d *Difference) write(b *strings.Builder, nearest string) {
	fmt.Fprintf(b, "%s=%s  (%s has %s)\n", d.Name, d.Value, nearest, d.Was)
	if d.From != d.To {
		fmt.Fprintf(b, "    no recording tells the values from %d to %d apart\n", d.From, d.To)
	}
	for _, other := range d.Or {
		fmt.Fprintf(b, "    %s would explain the same\n", other)
	}
	writePlaces(b, d.Proof)
	if len(d.Against) > 0 {
		b.WriteString("  it may not be the whole truth: these agree without it\n")
		writePlaces(b, d.Against)
	}
	b.WriteByte('\n')
}

// writePlaces lists the first of some steps.
func writePlaces(b *strings.Builder, list []Place) {
	for n, p := range list {
		if n == places && len(list) > places+1 {
			fmt.Fprintf(b, "    and in %d more scenarios\n", len(list)-places)
			break
		}
		fmt.Fprintf(b, "    %s\n", p)
	}
}

// String is the place as compilers print one.
func (p Place) String() string {
	if p.Line == 0 {
		return fmt.Sprintf("%s: %s", p.File, p.Directive)
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Directive)
}

func (r *Result) writeLeft(b *strings.Builder) {
	if len(r.Left) == 0 {
		return
	}
	b.WriteString("No difference explains (- as recorded, + the model):\n\n")
	for _, l := range r.Left {
		d := scenario.Disagreement{Line: l.Line, Directive: l.Directive, Expected: l.Expected, Got: l.Got}
		fmt.Fprintf(b, "%s:%d:\n%s", l.File, l.Line, indent(d.String(), "    "))
		writePlaces(b, l.Also)
		how := "the model says that it takes"
		switch {
		case l.Tried:
			how = "on the kernel itself it takes"
		case l.Gone:
			how = "when it was played again the kernel agreed, so it depends on chance; the model says that it takes"
		}
		fmt.Fprintf(b, "  %s %s:\n\n%s\n", how, count(l.Steps, "step"), indent(l.Scenario, "    | "))
	}
	if r.MoreLeft > 0 {
		fmt.Fprintf(b, "and %s more.\n\n", count(r.MoreLeft, "kind"))
	}
}

func (r *Result) writeUntold(b *strings.Builder) {
	var single, hidden []string
	for _, u := range r.Untold {
		if u.Seen == kernel.SeenByAll {
			single = append(single, u.String())
		} else {
			hidden = append(hidden, u.String())
		}
	}
	writeList(b, "No recording tells these apart from other values:", single)
	writeList(b, "Nor these, which no single thread sees:", hidden)
}

func writeList(b *strings.Builder, title string, list []string) {
	if len(list) > 0 {
		fmt.Fprintf(b, "%s\n\n%s\n\n", title, indent(versions.Fold(strings.Join(list, ", "), 96), "    "))
	}
}

// String is the value, and what it could be as well.
func (u Untold) String() string {
	switch {
	case u.From != u.To:
		return fmt.Sprintf("%s=%s (%d to %d)", u.Name, u.Value, u.From, u.To)
	case len(u.Or) > 0 && (u.Value == "on" || u.Value == "off"):
		return u.Name
	case len(u.Or) > 0:
		return fmt.Sprintf("%s=%s (%s)", u.Name, u.Value, strings.Join(u.Or, ", "))
	}
	return fmt.Sprintf("%s=%s (any)", u.Name, u.Value)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func indent(text, with string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(with + line)
	}
	return b.String()
}
