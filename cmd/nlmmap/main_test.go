package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nlmmap/kernel"
	"nlmmap/scenario"
)

// A stubTarget is a machine on which only time passes.
type stubTarget struct {
	scenario.Target
	config config
}

func (s stubTarget) Main() scenario.Task { return stubTask{} }
func (s stubTarget) Close() error        { return nil }

func (s stubTarget) Sleep(ms int) error {
	if s.config.listen != nil {
		s.config.listen(kernel.Record{Event: kernel.Corruption{Defect: "sleep", What: "slept"}})
	}
	switch {
	case ms == 1 && !s.config.initNet:
		return errors.New("no such sleep")
	case ms == 2:
		panic("cannot sleep")
	}
	return nil
}

type stubTask struct{ scenario.Task }

func (stubTask) Tgid() int { return 1 }

// start runs the command on stubs.
func start(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return startWith(context.Background(), stdin, args...)
}

func startWith(ctx context.Context, stdin string, args ...string) (code int, stdout, stderr string) {
	var out, errOut bytes.Buffer
	e := env{stdin: strings.NewReader(stdin), stdout: &out, stderr: &errOut, machines: machines{
		boot: func(c config) (scenario.Target, error) { return stubTarget{config: c}, nil },
		live: liveKernel{
			version:   func() string { return "4.4.1-test" },
			supported: func() (bool, string) { return false, "This kernel has no rings." },
			boot:      func(initNet bool) (scenario.Target, error) { return stubTarget{config: config{initNet: initNet}}, nil },
		},
	}}
	code = dispatch(ctx, e, args)
	return code, out.String(), errOut.String()
}

// tree writes files below a new directory and returns it.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

const (
	good = "sleep ms=0\n----\nok\n"
	bad  = "sleep ms=0\n----\nok\n\nsleep ms=1\n----\nok\n"
)

func TestUsage(t *testing.T) {
	tests := []struct {
		args []string
		code int
		want string // in what is printed
	}{
		{nil, exitBadInput, "Usage: nlmmap COMMAND"},
		{[]string{"help"}, exitOK, "Usage: nlmmap COMMAND"},
		{[]string{"--help"}, exitOK, "verify"},
		{[]string{"help", "run"}, exitOK, "Usage: nlmmap run"},
		{[]string{"verify", "--help"}, exitOK, "Examples:"},
		{[]string{"vreify"}, exitBadInput, `unknown command "vreify": did you mean "verify"?`},
		{[]string{"run"}, exitBadInput, "expected one file"},
		{[]string{"run", "--kernal", "4.4.1", "-"}, exitBadInput, "flag provided but not defined: -kernal"},
		{[]string{"run", "--kernel", "4.4", "-"}, exitBadInput, `unknown kernel version "4.4": did you mean "4.4.1"? There are 3.10.4, 3.19.8`},
		{[]string{"run", "nosuch.txt"}, exitBadInput, "nosuch.txt: no such file"},
		{[]string{"verify", "nosuch"}, exitBadInput, "nosuch: no such file or directory"},
		{[]string{"verify", "--kernel", "9"}, exitBadInput, `unknown kernel version "9"`},
		{[]string{"language"}, exitOK, "ring FD rx|tx"},
	}
	for _, test := range tests {
		code, stdout, stderr := start(t, "", test.args...)
		if code != test.code || !strings.Contains(stdout+stderr, test.want) {
			t.Errorf("%q: exit code %d, want %d; printed\n%s%s\nwant in it %s",
				test.args, code, test.code, stdout, stderr, test.want)
		}
	}
}

func TestRun(t *testing.T) {
	code, stdout, stderr := start(t, "# a\nsleep ms=0\n\nsleep ms=1\n----\nold\n\n# end\n", "run", "-", "--trace")
	const want = "# a\nsleep ms=0\n----\nok\n\nsleep ms=1\n----\nno such sleep\n\n# end\n"
	if code != exitOK || stdout != want || strings.Count(stderr, "slept\n") != 2 {
		t.Errorf("exit code %d, printed\n%s\nand\n%s\nwant\n%s", code, stdout, stderr, want)
	}
	code, stdout, stderr = start(t, "sleep ms=0\n\nsleep ms=2\n", "run", "-")
	if code != exitDisagree || stdout != "sleep ms=0\n----\nok\n" || !strings.Contains(stderr, "panic at line 3: cannot sleep") {
		t.Errorf("panic: exit code %d, printed\n%s\nand\n%s", code, stdout, stderr)
	}
	code, _, stderr = start(t, "sleep ms=0\n\nslep ms=2\n", "run", "-")
	if code != exitBadInput || !strings.Contains(stderr, `<stdin>:3: unknown directive "slep": did you mean "sleep"?`) {
		t.Errorf("malformed: exit code %d, printed\n%s", code, stderr)
	}
}

func TestVerify(t *testing.T) {
	root := tree(t, map[string]string{
		"4.4.1/good.txt":   good,
		"4.4.1/bad.txt":    bad,
		"4.4.1/init_b.txt": bad,
		"3.10.4/good.txt":  good,
	})
	code, stdout, _ := start(t, "", "verify", "-v", root)
	want := root + `/4.4.1/bad.txt:5: (1 of 2 steps agree; - expected, + got)
    sleep ms=1
    - ok
    + no such sleep

3.10.4  1/1 scenarios  1/1 steps
4.4.1  2/3 scenarios  4/5 steps
`
	if code != exitDisagree || stdout != want {
		t.Errorf("exit code %d, printed\n%s\nwant\n%s", code, stdout, want)
	}
	for _, args := range [][]string{
		{"verify", "--kernel", "3.10.4", root},
		{"verify", root + "/3.10.4"},
		{"verify", root + "/3.10.4/good.txt", root + "/3.10.4"},
	} {
		code, stdout, stderr := start(t, "", args...)
		if code != exitOK || stdout != "3.10.4  1/1 scenarios  1/1 steps\n" {
			t.Errorf("%q: exit code %d, printed\n%s%s", args, code, stdout, stderr)
		}
	}
}

func TestVerifyJSON(t *testing.T) {
	root := tree(t, map[string]string{"4.4.1/bad.txt": bad, "5.0/a.txt": good})
	code, stdout, _ := start(t, "", "verify", root, "-json")
	var r report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatal(err)
	}
	if code != exitBadInput || len(r.Versions) != 2 || r.Versions[1].Built || r.Versions[1].NotRun != 1 {
		t.Errorf("exit code %d, report %+v", code, r)
	}
	if f := r.Versions[0].Failures; len(f) != 1 || f[0].First.Line != 5 || f[0].First.Got != "no such sleep\n" {
		t.Errorf("failures %+v", f)
	}
}

func TestVerifyBadInput(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"malformed", map[string]string{"4.4.1/a.txt": good, "4.4.1/b.txt": good + "\nslep\n"}, `b.txt:5: unknown directive "slep"`},
		{"no outputs", map[string]string{"4.4.1/a.txt": "sleep ms=0\n"}, "a.txt:1: no recorded output"},
		{"version unknown to the model", map[string]string{"2.6.32/a.txt": good}, "2.6.32  the model has no such version: 1 scenarios not run"},
		{"no recordings", map[string]string{"readme.md": ""}, "no recordings"},
		{"no version", map[string]string{"a.txt": good}, "cannot tell the kernel version"},
		{"no version below", map[string]string{"x/a.txt": good}, `"x" is not named like a kernel version`},
	}
	for _, test := range tests {
		// A directory whose name is no version: that of the test's is a number.
		root := filepath.Join(tree(t, prefixed("recordings", test.files)), "recordings")
		code, stdout, stderr := start(t, "", "verify", root)
		if code != exitBadInput || !strings.Contains(stdout+stderr, test.want) {
			t.Errorf("%s: exit code %d, printed\n%s%s\nwant in it %s", test.name, code, stdout, stderr, test.want)
		}
	}
}

func prefixed(dir string, files map[string]string) map[string]string {
	m := map[string]string{}
	for name, text := range files {
		m[dir+"/"+name] = text
	}
	return m
}

func TestVerifyInterrupted(t *testing.T) {
	root := tree(t, map[string]string{"4.4.1/a.txt": good})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	code, stdout, _ := startWith(ctx, "", "verify", root)
	want := "4.4.1  0/0 scenarios  0/0 steps  (1 scenarios not run)\ninterrupted\n"
	if code != exitDisagree || stdout != want {
		t.Errorf("exit code %d, printed\n%s\nwant\n%s", code, stdout, want)
	}
}

func TestCompareVersions(t *testing.T) {
	if compareVersions("3.10.4", "3.9") <= 0 || compareVersions("4.4.1", "4.4.1") != 0 || compareVersions("4.4", "4.4.1") >= 0 {
		t.Error("wrong order")
	}
}
