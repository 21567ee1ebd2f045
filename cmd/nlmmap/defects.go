package main

import (
	"context"
	"fmt"
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

Lists what was wrong with memory-mapped netlink in its lifetime: name, kernels that have it, how it is shown, title.
With --kernel or --set it runs the scenarios on that kernel and says of each defect that some kernel lacks whether it
behaves like a kernel that has it (has), like one that does not (no), or like neither (other).

With a NAME it tells the story of one defect and replays its scenario on a kernel that has it and on one that does
not, side by side; lines that differ are marked with |. Both run now; if one does not give what is stored in
` + defects.Dir + `, that is shown too, and the exit code is 1.

Examples:
  nlmmap defects
  nlmmap defects dump-reserve-in-frame
  nlmmap defects --kernel vendor.kernel
`,
		run: runDefects,
	}
}

func runDefects(ctx context.Context, e env, c command, args []string) int {
	flags := c.flags()
	asJSON := flags.Bool("json", false, "print as JSON")
	markdown := flags.Bool("markdown", false, "print docs/defects.md")
	out := flags.String("o", "", "with -markdown: write to this `FILE`")
	dir := flags.String("dir", defects.Dir, "where the scenarios lie")
	var k kernelFlag
	k.add(flags, "", kernelUsage)
	rest, code, ok := c.parse(e, flags, args)
	if !ok {
		return code
	}
	given := k.name != "" || len(k.sets) > 0
	if len(rest) > 1 || len(rest) == 1 && given {
		return e.bad("defects: expected one name, or --kernel and --set; see \"nlmmap defects --help\"")
	}
	if len(rest) == 1 {
		return e.replay(ctx, *dir, rest[0], *asJSON)
	}
	var err error
	switch {
	case given:
		return e.checkDefects(ctx, k, *dir, *asJSON)
	case *asJSON:
		err = writeJSON(e.stdout, defects.All())
	case *markdown:
		err = e.writeTo(*out, defects.Markdown)
	default:
		err = defects.Write(e.stdout)
	}
	if err != nil {
		return e.bad("%v", err)
	}
	return exitOK
}

// bootHeap boots a kernel for a scenario that nothing outside will look at.
func (e env) bootHeap(v kernel.Version, report func(string)) (scenario.Target, error) {
	return e.machines.boot(config{version: v, heap: true, listen: defects.Reports(report)})
}

// A replayJSON is what a replay prints with -json.
type replayJSON struct {
	Defect  defects.Defect   `json:"defect"`
	Runs    []string         `json:"runs"`    // the kernels
	Differ  []defects.Line   `json:"differ"`  // steps in which the first two differ
	Changed [][]defects.Line `json:"changed"` // per run: steps that are not as stored
}

// replay runs the scenario of one defect on its kernels.
func (e env) replay(ctx context.Context, dir, name string, asJSON bool) int {
	d, err := defects.Find(name)
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
	demo, err := defects.Load(dir, d.File, versions.All())
	if err != nil {
		return e.bad("%v", err)
	}
	now, changed := playDemo(ctx, e, demo)
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

func playDemo(ctx context.Context, e env, demo *defects.Demo) (now []defects.Run, changed [][]defects.Line) {
	for _, r := range demo.Runs {
		played := r.Play(ctx, e.bootHeap, r.Kernel)
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
	Found string `json:"found"` // has, no, other
}

// checkDefects runs all scenarios on one kernel.
func (e env) checkDefects(ctx context.Context, k kernelFlag, dir string, asJSON bool) int {
	table := versions.All()
	if k.name == "" {
		k.name = versions.Default.String()
	}
	v, err := k.version(table)
	if err != nil {
		return e.bad("%v", err)
	}
	found := []finding{}
	for _, d := range defects.All() {
		if d.File != d.Name {
			continue
		}
		demo, err := defects.Load(dir, d.File, table)
		if err != nil {
			return e.bad("%v", err)
		}
		if len(demo.Runs) > 1 {
			played := demo.Runs[0].Play(ctx, e.bootHeap, v)
			found = append(found, finding{d.Name, demo.Judge(played)})
		}
	}
	if asJSON {
		if err := writeJSON(e.stdout, found); err != nil {
			return e.bad("%v", err)
		}
		return exitOK
	}
	tw := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	for _, f := range found {
		fmt.Fprintf(tw, "%s\t%s\n", f.Name, f.Found)
	}
	if err := tw.Flush(); err != nil {
		return e.bad("%v", err)
	}
	return exitOK
}
