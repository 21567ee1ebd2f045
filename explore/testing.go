package explore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// ReplayVariable is the environment variable with which Test runs once, as its failure says.
const ReplayVariable = "NLMMAP_REPLAY"

// Test explores setup as part of a Go test, exhaustively unless an option says otherwise, and fails the test with the
// minimised run, and the command that runs the test once more with that schedule. A search that does not come to its end
// within its budget is logged; with Options.Complete it fails.
func Test(t testing.TB, setup func(w *World), options ...Options) {
	t.Helper()
	o := Options{}
	if len(options) > 0 {
		o = options[0]
	}
	p := Program{Name: t.Name(), Setup: setup}
	if how := os.Getenv(ReplayVariable); how != "" {
		replayTest(t, p, o, how)
		return
	}
	res := Explore(context.Background(), p, o)
	switch {
	case res.Err != nil:
		t.Fatal(res.Err)
	case res.Failure != nil:
		res.Failure.inTest = true
		t.Fatalf("%v\n%s", res, printed(t, res.Failure))
	case o.Complete && !res.Exhausted:
		t.Fatalf("the search is not complete: %v", res)
	}
	t.Log(res)
}

func printed(t testing.TB, f *Failure) string {
	var b strings.Builder
	if err := f.Print(&b); err != nil {
		t.Error(err)
	}
	return b.String()
}

// replayTest runs p once. how is what testCommand has written: words KEY=VALUE, and switches; the word
// full asks for every step.
func replayTest(t testing.TB, p Program, o Options, how string) {
	t.Helper()
	var switches []string
	for _, word := range strings.Fields(how) {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "full":
			o.Full = true
		case "only":
			o.Only = strings.Split(value, ",")
		case "foresee":
			o.Foresee = value
		case "without":
			for n := range strings.SplitSeq(value, ",") {
				step, err := strconv.Atoi(n)
				if err != nil {
					t.Fatalf("%s: %q is no step", ReplayVariable, n)
				}
				o.Without = append(o.Without, step)
			}
		default:
			switches = append(switches, word)
		}
	}
	list, err := ParseSwitches(strings.Join(switches, " "))
	if err != nil {
		t.Fatalf("%s: %v", ReplayVariable, err)
	}
	v, err := Replay(p, o, list)
	if err != nil {
		t.Fatal(err)
	}
	if v == nil {
		t.Log("this schedule violates nothing")
		return
	}
	t.Fatal(printed(t, &Failure{Program: p, Options: o, Violation: *v, Switches: list, LeftOut: o.Without, inTest: true}))
}

// testCommand is what replays the failure of a test.
func (f *Failure) testCommand() string {
	how := "only=" + f.Violation.Name
	if len(f.LeftOut) > 0 {
		how += " without=" + strings.Trim(strings.ReplaceAll(fmt.Sprint(f.LeftOut), " ", ","), "[]")
	}
	if f.Options.Foresee != "" {
		how += " foresee=" + f.Options.Foresee
	}
	if len(f.Switches) > 0 {
		how += " " + FormatSwitches(f.Switches)
	}
	return fmt.Sprintf("%s=%q go test -run '^%s$'", ReplayVariable, how, strings.ReplaceAll(f.Program.Name, "/", "$/^"))
}

// Check is Test for use inside a property: it returns the failure as an error. With pgregory.net/rapid draw the
// program, or a seed for the random scheduler, and not every step:
//
//	rapid.Check(t, func(t *rapid.T) {
//		seed := rapid.Uint64().Draw(t, "seed")
//		if err := explore.Check(setup, explore.Options{Scheduler: "random", Seed: seed, Runs: 1}); err != nil {
//			t.Fatal(err)
//		}
//	})
func Check(setup func(w *World), o Options) error {
	res := Explore(context.Background(), Program{Name: "check", Setup: setup}, o)
	if res.Err != nil {
		return res.Err
	}
	if res.Failure == nil {
		return nil
	}
	var b strings.Builder
	if err := res.Failure.Print(&b); err != nil {
		return err
	}
	return errors.New(b.String())
}
