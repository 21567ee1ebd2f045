package main

import (
	"errors"

	"nlmmap/scenario"
)

// A config says which machine a scenario runs on.
type config struct {
	version string
	initNet bool // the initial network namespace instead of a fresh one
	trace   func(line string)
}

// machines makes them. It stands between the command and the simulator, so that tests can do without.
type machines struct {
	versions func() []string
	boot     func(config) (scenario.Target, error)
}

// simulator is the machine that the command runs scenarios on.
func simulator() machines {
	return machines{
		versions: func() []string { return nil },
		boot:     func(config) (scenario.Target, error) { return nil, errors.New("no simulator yet") },
	}
}
