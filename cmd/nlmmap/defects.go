package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"nlmmap/defects"
	"nlmmap/kernel"
	"nlmmap/scenario"
	"nlmmap/versions"
)

func defectsCommand() command {
	return command{
		name:    "defects",
		summary: "list the defects of the real kernels, or replay one",
		help: `Usage: nlmmap defects [-json | -markdown] [--kernel K] [--set NAME=VALUE ...]
       nlmmap defects [-json] NAME
       nlmmap defects --boot IMAGE [-json] [--kernel K] [--set NAME=VALUE ...] [NAME]

Lists what was wrong with memory-mapped netlink in its lifetime: name, kernels that have it, how it is shown, title.
With --kernel or --set it says of each defect whether that kernel has it. Where there is a scenario it runs on that
kernel, and the step that decides is shown with a line of its output; else the kernel's differences decide.

With a NAME it tells the story of one defect and replays its scenario on a kernel that has it and on one that does
not, side by side; lines that differ are marked with |. Both run now; if one does not give what is stored in the
defect's file (` + defects.Dir + `), that is shown too, and the exit code is 1.

With --boot every defect that one thread can show, or the one that is named, is replayed on the kernel of an image (a
bzImage) in QEMU, beside the model of its release (or K): what the kernel prints in the step that decides is the defect
(shown), or what kernels without it print (absent), or neither (differs). A crash shows with the first lines of the
console. The exit code is 1 if the model says otherwise.

Examples:
  nlmmap defects
  nlmmap defects dump-reserve-in-frame
  nlmmap defects --kernel vendor.kernel
  nlmmap defects --boot bzImage
`,
		run: runDefects,
	}
}

func runDefects(ctx context.Context, e env, c command, args []string) int {
	flags := c.flags()
	asJSON := flags.Bool("json", false, "print as JSON")
	markdown := flags.Bool("markdown", false, "print docs/defects.md")
	out := flags.String("o", "", "with -markdown: write to this `FILE`")
	dir := flags.String("dir", "", "read the defects' files from this `DIRECTORY` instead of those that are built in")
	var k kernelFlag
	k.add(flags, "", kernelUsage)
	var image imageFlags
	image.add(flags)
	rest, code, ok := c.parse(e, flags, args)
	if !ok {
		return code
	}
	given := (k.name != "" || len(k.sets) > 0) && image.path == ""
	if len(rest) > 1 || len(rest) == 1 && given {
		return e.bad("defects: expected one name, or --kernel and --set; see \"nlmmap defects --help\"")
	}
	list, err := readDefects(*dir)
	if err != nil {
		return e.bad("%v", err)
	}
	if err := image.onlyWithImage(); err != nil {
		return e.bad("%v", err)
	}
	switch {
	case image.path != "":
		return e.defectsOnImage(ctx, list, image, k, strings.Join(rest, ""), *asJSON)
	case len(rest) == 1:
		return e.replay(ctx, list, rest[0], *asJSON)
	case given:
		return e.checkDefects(ctx, list, k, *asJSON)
	case *asJSON:
		err = writeJSON(e.stdout, list.Defects)
	case *markdown:
		err = e.writeTo(*out, list.Markdown)
	default:
		err = list.Write(e.stdout)
	}
	if err != nil {
		return e.bad("%v", err)
	}
	return exitOK
}

func readDefects(dir string) (defects.List, error) {
	if dir == "" {
		return defects.All()
	}
	list, err := defects.Read(os.DirFS(dir), versions.All())
	if err != nil {
		err = fmt.Errorf("%s: %w", dir, err)
	}
	return list, err
}

// bootHeap boots a kernel for a scenario that nothing outside will look at.
func (e env) bootHeap(v kernel.Version, initNet bool, report func(string)) (scenario.Target, error) {
	return e.machines.boot(config{version: v, initNet: initNet, heap: true, listen: defects.Reports(report)})
}

// A replayJSON is what a replay prints with -json.
type replayJSON struct {
	Defect  defects.Defect   `json:"defect"`
	Runs    []string         `json:"runs"`    // the kernels
	Differ  []defects.Line   `json:"differ"`  // steps in which the first two differ
	Changed [][]defects.Line `json:"changed"` // per run: steps that are not as stored
}

// replay runs the scenario of one defect on its kernels.
func (e env) replay(ctx context.Context, list defects.List, name string, asJSON bool) int {
	d, err := list.Find(name)
	if err != nil {
		return e.bad("%v", err)
	}
	if d.File == "" {
		if asJSON {
			err = writeJSON(e.stdout, replayJSON{Defect: d, Runs: []string{}})
		} else {
			err = d.Explain(e.stdout)
		}
		if err != nil {
			return e.bad("%v", err)
		}
		return exitOK
	}
	now, changed := e.playRuns(ctx, d)
	if asJSON {
		err = writeJSON(e.stdout, newReplay(d, now, changed))
	} else {
		err = e.showReplay(d, now, changed)
	}
	if err != nil {
		return e.bad("%v", err)
	}
	for _, lines := range changed {
		if len(lines) > 0 {
			return exitDisagree
		}
	}
	return exitOK
}

// playRuns runs a defect's scenario on the kernels of its file, and compares with what is stored there.
func (e env) playRuns(ctx context.Context, d defects.Defect) (now []defects.Run, changed [][]defects.Line) {
	for _, r := range d.Runs {
		played := d.Play(ctx, e.bootHeap, r.Label, r.Kernel)
		now = append(now, played)
		changed = append(changed, defects.Compare(r, played))
	}
	return now, changed
}

func newReplay(d defects.Defect, now []defects.Run, changed [][]defects.Line) replayJSON {
	r := replayJSON{Defect: d, Changed: changed}
	for _, run := range now {
		r.Runs = append(r.Runs, run.Label)
	}
	if len(now) > 1 {
		r.Differ = defects.Compare(now[0], now[1])
	}
	return r
}

func (e env) showReplay(d defects.Defect, now []defects.Run, changed [][]defects.Line) error {
	if err := d.Explain(e.stdout); err != nil {
		return err
	}
	fmt.Fprintln(e.stdout)
	other := now[0] // a defect that every kernel has
	if len(now) > 1 {
		other = now[1]
	}
	if err := defects.SideBySide(e.stdout, now[0], other); err != nil {
		return err
	}
	for i, lines := range changed {
		if len(lines) > 0 {
			fmt.Fprintf(e.stdout, "\nThe model of %s no longer gives what is stored (- stored, + now):\n", now[i].Label)
		}
		for _, l := range lines {
			fmt.Fprintf(e.stdout, "\n%s\n", l)
		}
	}
	return nil
}

// A finding says whether a kernel has a defect.
type finding struct {
	Name  string `json:"name"`
	Found string `json:"found"` // has, no
	// Scenario tells that the defect's scenario has run, and Seen what decided. Else the kernel's differences did.
	Scenario bool   `json:"scenario"`
	Seen     string `json:"seen,omitempty"`
	// Listed is not empty where the differences say something else than the scenario.
	Listed string `json:"listed,omitempty"`
}

func found(has bool) string {
	if has {
		return "has"
	}
	return "no"
}

// checkDefects looks for all defects in one kernel.
func (e env) checkDefects(ctx context.Context, list defects.List, k kernelFlag, asJSON bool) int {
	if k.name == "" {
		k.name = versions.Default.String()
	}
	v, err := e.version(k, versions.All())
	if err != nil {
		return e.bad("%v", err)
	}
	findings := []finding{}
	for _, d := range list.Defects {
		f := finding{Name: d.Name, Found: found(list.Has(d, v)), Scenario: d.File != ""}
		if f.Scenario {
			verdict := d.Judge(d.Play(ctx, e.bootHeap, v.String(), v))
			if list.Shows(d, v) != verdict.Has {
				f.Listed = f.Found
			}
			f.Found, f.Seen = found(verdict.Has), verdict.Seen
		}
		findings = append(findings, f)
	}
	if asJSON {
		err = writeJSON(e.stdout, findings)
	} else {
		err = e.writeFindings(findings)
	}
	if err != nil {
		return e.bad("%v", err)
	}
	return exitOK
}

func (e env) writeFindings(findings []finding) error {
	tw := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	for _, f := range findings {
		why := f.Seen
		switch {
		case !f.Scenario:
			why = "(no scenario: from the kernel's differences)"
		case f.Listed != "":
			why += " (from the kernel's differences: " + f.Listed + ")"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\n", f.Name, f.Found, why)
	}
	return tw.Flush()
}
