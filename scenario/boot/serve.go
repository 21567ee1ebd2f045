package boot

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"

	"nlmmap/guest"
	"nlmmap/scenario"
	"nlmmap/scenario/live"
)

// Serve is the guest's side: it runs what the host asks for until the line ends.
func Serve(line *guest.Line) error {
	text, err := os.ReadFile(planPath)
	if err != nil {
		return err
	}
	var p plan
	if err := json.Unmarshal(text, &p); err != nil {
		return fmt.Errorf("%s: %w", planPath, err)
	}
	if err := line.Send(Underneath()); err != nil {
		return err
	}
	for {
		var r request
		if err := line.Receive(&r); err != nil {
			return err
		}
		s := r.Other
		if s == nil {
			if s, err = p.load(r.Scenario); err != nil {
				return err
			}
		}
		if r.Races > 0 {
			err = race(line, s, r.Races, r.Seed)
		} else {
			err = play(line, s)
		}
		if err != nil {
			return err
		}
	}
}

// Underneath describes the kernel that this program runs on.
func Underneath() Kernel {
	rings, why := live.Supported()
	return Kernel{Release: live.Release(), Rings: rings, Why: why, Missing: live.Missing()}
}

func scenarioPath(i int) string { return fmt.Sprintf("/scenarios/%d.txt", i) }

// load reads a scenario of the plan.
func (p *plan) load(i int) (*sent, error) {
	text, err := os.ReadFile(scenarioPath(i))
	return &sent{p.Scenarios[i], string(text)}, err
}

// play runs one scenario. Each output has left the guest before the next step begins, since that may be the kernel's last.
func play(line *guest.Line, s *sent) error {
	f, err := scenario.Parse(s.Name, strings.NewReader(s.Text))
	if err != nil {
		return err
	}
	target, err := live.New(live.Config{InitNet: s.InitNet, Avoid: f.Numbers()})
	if err != nil {
		return line.Send(reply{End: true, Failure: "cannot make the machine: " + err.Error()})
	}
	runner := scenario.NewRunner(target)
	for i := range f.Steps {
		if err := line.Send(reply{Output: runner.Step(&f.Steps[i])}); err != nil {
			return err
		}
	}
	end := reply{End: true}
	if err := target.Close(); err != nil {
		end.Failure = err.Error()
	}
	return line.Send(end)
}

// race runs a litmus file many times and sends each outcome.
func race(line *guest.Line, s *sent, times int, seed uint64) error {
	f, err := scenario.Parse(s.Name, strings.NewReader(s.Text))
	if err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(seed, 0))
	for range times {
		outcome, err := live.Race(live.Config{InitNet: s.InitNet, Avoid: f.Numbers()}, f, random)
		if err != nil {
			return line.Send(reply{End: true, Failure: err.Error()})
		}
		if err := line.Send(reply{Output: outcome}); err != nil {
			return err
		}
	}
	return line.Send(reply{End: true})
}
