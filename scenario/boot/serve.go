package boot

import (
	"encoding/json"
	"fmt"
	"os"

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
		if err := play(line, &p.Scenarios[r.Scenario], scenarioPath(r.Scenario)); err != nil {
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

// play runs one scenario. Each output has left the guest before the next step begins, since that may be the kernel's last.
func play(line *guest.Line, s *planned, path string) error {
	f, err := parse(s.Name, path)
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

func parse(name, path string) (*scenario.File, error) {
	r, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return scenario.Parse(name, r)
}
