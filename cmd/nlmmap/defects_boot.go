package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"nlmmap/defects"
	"nlmmap/scenario"
	"nlmmap/scenario/boot"
	"nlmmap/versions"
)

// defectsOnImage replays defects on the kernel of an image, beside the model of its release: all, or the one that is
// named.
func (e env) defectsOnImage(ctx context.Context, list defects.List, image imageFlags, k kernelFlag, name string, asJSON bool) int {
	shown, err := withScenario(list, name)
	if err != nil {
		return e.bad("%v", err)
	}
	runs, err := e.playOnImage(ctx, image, shown, &k)
	if ctx.Err() != nil {
		fmt.Fprintln(e.stderr, "nlmmap: interrupted")
		return exitInterrupted
	}
	if err != nil {
		return e.bad("%v", err)
	}
	v, err := e.version(k, versions.All())
	if err != nil {
		return e.bad("%v", err)
	}
	code := exitOK
	var sightings []defects.Sighting
	var there, model defects.Run
	for _, d := range shown {
		run := runs[d.File]
		there = d.Played("the image", run.Outputs)
		model = d.Play(ctx, e.bootHeap, "the model of "+v.String(), v)
		s := d.Sight(there, model)
		if run.Death != nil && run.Death.Crash != nil {
			s.Console = run.Death.Crash.Lines
		}
		if !s.Agrees() {
			code = exitDisagree
		}
		sightings = append(sightings, s)
	}
	switch {
	case asJSON:
		err = writeJSON(e.stdout, sightings)
	case name != "":
		err = e.showOnImage(shown[0], sightings[0], there, model)
	default:
		err = defects.WriteSightings(e.stdout, sightings)
	}
	if err != nil {
		return e.bad("%v", err)
	}
	return code
}

// withScenario returns the defects that a scenario shows.
func withScenario(list defects.List, name string) ([]defects.Defect, error) {
	if name == "" {
		return slices.DeleteFunc(slices.Clone(list.Defects), func(d defects.Defect) bool { return d.File == "" }), nil
	}
	d, err := list.Find(name)
	if err == nil && d.File == "" {
		err = fmt.Errorf("%s has no scenario: one thread cannot show it", name)
	}
	return []defects.Defect{d}, err
}

// playOnImage runs the defects' scenarios, each once, and tells which release the image is nearest to if none is given.
func (e env) playOnImage(ctx context.Context, image imageFlags, shown []defects.Defect, k *kernelFlag) (map[string]boot.Run, error) {
	var files []*scenario.File
	var names []string
	for _, d := range shown {
		if slices.Contains(names, d.File) {
			continue // two defects with one scenario
		}
		names, files = append(names, d.File), append(files, d.Runs[0].File)
	}
	b, err := e.bench(ctx, image, files, false)
	if err != nil {
		return nil, err
	}
	defer b.close()
	if k.name == "" {
		k.name = nearestRelease(baseVersion(b.kernel().Release))
	}
	which := e.recordable(b.kernel(), files)
	if len(which) < len(files) {
		return nil, errors.New("defects: without mmap'ed netlink none of them can be there")
	}
	runs := map[string]boot.Run{}
	err = b.run(ctx, which, 1, func(i int, r []boot.Run) { runs[names[i]] = r[0] })
	return runs, err
}

// consoleLines is how much of a console is shown for one defect.
const consoleLines = 30

func (e env) showOnImage(d defects.Defect, s defects.Sighting, there, model defects.Run) error {
	if err := d.Explain(e.stdout); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "here     %s; %s: %s\n         %s\n\n", s.Found, model.Label, s.Model, s.Seen)
	if err := defects.SideBySide(e.stdout, there, model); err != nil {
		return err
	}
	if len(s.Console) > 0 {
		lines := s.Console[:min(consoleLines, len(s.Console))]
		fmt.Fprintf(e.stdout, "\nthe console\n    %s\n", strings.Join(lines, "\n    "))
	}
	return nil
}
