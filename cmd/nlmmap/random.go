package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"nlmmap/scenario"
	"nlmmap/scenario/random"
)

func randomCommand() command {
	return command{
		name:    "random",
		summary: "draw random scenarios over the whole language",
		help: `Usage: nlmmap random --seed N [--from K] [--count M] [-o DIR]

Prints random scenarios, without outputs: all directives, socket families, rings, tasks and messages, mostly sensible, with
a share of nonsense. The same seed gives the same scenarios; --from is the number of the first one. What would not do the
same on every run is left out. Several are printed with a line "-- NAME.txt --" before each; -o stores them in DIR.

"nlmmap verify --boot IMAGE --random N" compares a real kernel with its model on such scenarios.

Examples:
  nlmmap random --seed 7 | nlmmap run -
  nlmmap random --seed 7 --from 132
  nlmmap random --seed 7 --count 100 -o my-scenarios
`,
		run: runRandom,
	}
}

func runRandom(_ context.Context, e env, c command, args []string) int {
	flags := c.flags()
	seed := flags.Uint64("seed", 1, "which scenarios")
	from := flags.Uint64("from", 0, "the number of the first scenario")
	count := flags.Uint64("count", 1, "how many scenarios")
	dir := flags.String("o", "", "store the scenarios in this `DIR`, each in a file of its own")
	rest, code, ok := c.parse(e, flags, args)
	if !ok {
		return code
	}
	if len(rest) > 0 {
		return e.bad("random: takes no arguments but flags, got %q", rest[0])
	}
	if *dir != "" {
		if err := os.MkdirAll(*dir, 0o777); err != nil {
			return e.bad("%v", err)
		}
	}
	for i := range *count {
		name, text := random.Name(*seed, *from+i), random.Text(*seed, *from+i)
		var err error
		switch {
		case *dir != "":
			err = os.WriteFile(filepath.Join(*dir, name), []byte(text), 0o666)
		case *count > 1:
			_, err = fmt.Fprintf(e.stdout, "-- %s --\n%s", name, text)
		default:
			_, err = io.WriteString(e.stdout, text)
		}
		if err != nil {
			return e.bad("%v", err)
		}
	}
	return exitOK
}

// randomScenarios draws scenarios until they have so many steps.
func randomScenarios(seed uint64, steps int) ([]*scenario.File, error) {
	var files []*scenario.File
	for i := uint64(0); steps > 0; i++ {
		f, err := scenario.Parse(random.Name(seed, i), strings.NewReader(random.Text(seed, i)))
		if err != nil {
			return nil, err
		}
		files = append(files, f)
		steps -= len(f.Steps)
	}
	return files, nil
}
