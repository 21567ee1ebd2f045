package scenario_test

import (
	"context"
	"flag"
	"os"
	"strings"
	"testing"

	"nlmmap/kernel"
	"nlmmap/scenario"
	"nlmmap/scenario/sim"
)

var rewrite = flag.Bool("rewrite", false, "write the outputs that the tests see into their files")

// boot makes the machine that the tests run on.
func boot() (scenario.Target, error) {
	return sim.New(sim.Config{Version: kernel.Version{Release: kernel.Linux4_4}})
}

func TestRunner(t *testing.T) {
	const path = "testdata/runner.txt"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := scenario.Parse(path, strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	target, err := boot()
	if err != nil {
		t.Fatal(err)
	}
	for i, out := range scenario.Run(target, f) {
		s := &f.Steps[i]
		if out != s.Output && !*rewrite {
			d := scenario.Disagreement{Line: s.Line, Directive: s.Directive, Expected: s.Output, Got: out}
			t.Errorf("%s:%d: %v", path, s.Line, &d)
		}
		s.Output, s.Recorded = out, true
	}
	if err := target.Close(); err != nil {
		t.Error(err)
	}
	if *rewrite {
		var b strings.Builder
		if err := f.Format(&b); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(b.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

func TestVerify(t *testing.T) {
	const text = "socket a route\n----\nok\n\ngetsockname a\n----\nportid=7 groups=0x0\n\nclose a\n----\nok\n"
	f, err := scenario.Parse("t", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	r := scenario.Verify(context.Background(), boot, f)
	if r.OK() || r.Steps != 3 || r.Agreed != 2 || r.Failure != "" {
		t.Errorf("result %+v", r)
	}
	want := "getsockname a\n- portid=7 groups=0x0\n+ portid=0 groups=0x0\n"
	if r.First == nil || r.First.Line != 5 || r.First.String() != want {
		t.Errorf("first disagreement %+v", r.First)
	}
}
