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

	"nlmmap/defects"
	"nlmmap/explore"
	"nlmmap/kernel"
	"nlmmap/scenario"
	"nlmmap/sys"
)

// A stubTarget is a machine on which only time passes.
type stubTarget struct {
	scenario.Target
	config config
}

func (s stubTarget) Main() sys.Task { return stubTask{} }
func (s stubTarget) Close() error   { return nil }

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

type stubTask struct{ sys.Task }

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

func TestVerifyComposed(t *testing.T) {
	root := tree(t, map[string]string{"vendor/good.txt": good, "4.4.1/good.txt": good, "3.10.4/good.txt": good})
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"--kernel", "4.4.1", "--set", "skip-forward=off", root + "/vendor"}, "4.4.1+skip-forward=off  1/1 scenarios"},
		{[]string{"--kernel", "3.10.4", root + "/4.4.1/good.txt"}, "3.10.4  1/1 scenarios"},
		{[]string{"--set", "skip-forward=off", root + "/4.4.1", root + "/3.10.4"},
			"3.10.4  1/1 scenarios  1/1 steps\n4.4.1+skip-forward=off  1/1 scenarios"},
	}
	for _, test := range tests {
		code, stdout, stderr := start(t, "", append([]string{"verify"}, test.args...)...)
		if code != exitOK || !strings.HasPrefix(stdout, test.want) {
			t.Errorf("%q: exit code %d, printed\n%s%swant\n%s", test.args, code, stdout, stderr, test.want)
		}
	}
}

// startReal runs the command on the simulator.
func startReal(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	e := env{stdin: strings.NewReader(""), stdout: &out, stderr: &errOut, machines: simulator()}
	code = dispatch(context.Background(), e, args)
	return code, out.String(), errOut.String()
}

func TestVersions(t *testing.T) {
	file := filepath.Join(t.TempDir(), "vendor.kernel")
	tests := []struct {
		args []string
		code int
		want string
	}{
		{nil, exitOK, "poll-scans-ring "},
		{[]string{"poll-prev-frame"}, exitOK, "poll-scans-ring (section 5 of the spec)"},
		{[]string{"-json", "poll-scans-ring"}, exitOK, `"3.10.4": "off"`},
		{[]string{"-json"}, exitOK, `"name": "dump-reserve-in-frame"`},
		{[]string{"pol-scans-ring"}, exitBadInput, `did you mean "poll-scans-ring"?`},
		{[]string{"--save", file}, exitBadInput, "which kernel is it?"},
		{[]string{"--set", "dump-reserve-in-frame=nver"}, exitBadInput, `did you mean "never"?`},
		{[]string{"--set", "dump-reserve-in-frame=never"}, exitOK, "kernel 4.4.1\nset dump-reserve-in-frame=never\n"},
		{[]string{"--set", "dump-reserve-in-frame=never", "--name", "vendor", "--save", file}, exitOK, ""},
		{[]string{"--kernel", file}, exitOK, "name vendor\nkernel 4.4.1\nset dump-reserve-in-frame=never\n"},
		{[]string{"--kernel", strings.TrimSuffix(file, ".kernel"), "--set", "skip-forward=off"}, exitOK, "set skip-forward=off\n"},
	}
	for _, test := range tests {
		code, stdout, stderr := startReal(t, append([]string{"versions"}, test.args...)...)
		if code != test.code || !strings.Contains(stdout+stderr, test.want) {
			t.Errorf("%q: exit code %d, want %d; printed\n%s%s\nwant in it %s", test.args, code, test.code, stdout, stderr, test.want)
		}
	}
}

func TestDefects(t *testing.T) {
	const dir = "../../" + defects.Dir
	tests := []struct {
		args []string
		code int
		want string
	}{
		{nil, exitOK, "tx-path-dead "},
		{[]string{"-json"}, exitOK, `"name": "tx-path-dead"`},
		{[]string{"tx-path-ded"}, exitBadInput, `did you mean "tx-path-dead"?`},
		{[]string{"tx-path-dead"}, exitOK, "    4.1.18   4.4.1\n  | 0      | 16\n"},
		{[]string{"-dir", dir, "-json", "tx-path-dead"}, exitOK, `"runs": [`},
		{[]string{"tx-len-reread"}, exitOK, "nlmmap explore "},
		{[]string{"ovs-upcall-zerocopy"}, exitOK, "openvswitch is not modelled"},
		{[]string{"--kernel", "4.1.18", "--set", "tx-path-dead=off"}, exitOK,
			"skip-forward-broken          has  getsockopt a error: ENOBUFS\n"},
		{[]string{"--kernel", "4.1.18", "--set", "tx-path-ded=off"}, exitBadInput, `did you mean "tx-path-dead"?`},
		{[]string{"-dir", t.TempDir(), "tx-path-dead"}, exitBadInput, "no files of defects"},
	}
	for _, test := range tests {
		code, stdout, stderr := startReal(t, append([]string{"defects"}, test.args...)...)
		if code != test.code || !strings.Contains(stdout+stderr, test.want) {
			t.Errorf("%q: exit code %d, want %d; printed\n%s%s\nwant in it %s", test.args, code, test.code, stdout, stderr, test.want)
		}
	}
}

// Every program that the list of defects points to exists.
func TestDefectsExplored(t *testing.T) {
	list, err := defects.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range list.Defects {
		for _, x := range d.Explored {
			if _, ok := explore.Lookup(x.Program); !ok {
				t.Errorf("%s: no program %s", d.Name, x.Program)
			}
		}
	}
}

// A demonstration that is not as stored is shown, and the exit code says so.
func TestDefectsChanged(t *testing.T) {
	text, err := os.ReadFile("../../" + defects.Dir + "/tx-path-dead.txt")
	if err != nil {
		t.Fatal(err)
	}
	dir := tree(t, map[string]string{"tx-path-dead.txt": strings.Replace(string(text), "----\n0\n", "----\n17\n", 1)})
	code, stdout, stderr := startReal(t, "defects", "-dir", dir, "tx-path-dead")
	if code != exitDisagree || !strings.Contains(stdout, "The model of 4.1.18 no longer gives what is stored") || !strings.Contains(stdout, "- 17\n+ 0\n") {
		t.Errorf("exit code %d, printed\n%s%s", code, stdout, stderr)
	}
}

func TestDiff(t *testing.T) {
	const file = "../../testdata/kernels/4.4.1/rx_skip.txt"
	code, stdout, stderr := startReal(t, "diff", "4.1.18", "4.4.1", file)
	if code != exitDisagree || !strings.Contains(stdout, "4.1.18 and 4.4.1: 1 of 1 scenarios differ") || !strings.Contains(stdout, "    + rx[3] UNUSED->VALID") {
		t.Errorf("exit code %d, printed\n%s%s", code, stdout, stderr)
	}
	code, stdout, stderr = startReal(t, "diff", "4.4.1", "4.4.1", "--set", "skip-forward=on", file)
	if code != exitOK || !strings.HasPrefix(stdout, "4.4.1 and 4.4.1: 0 of 1 scenarios differ, in 0 of ") {
		t.Errorf("exit code %d, printed\n%s%s", code, stdout, stderr)
	}
	code, stdout, _ = startReal(t, "diff", "-json", "4.4.1", "4.4.1", "--set", "skip-forward=off", file)
	var r diffReport
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || code != exitDisagree || len(r.Differ) != 1 || r.Second != "4.4.1+skip-forward=off" {
		t.Errorf("exit code %d, %v, report %+v", code, err, r)
	}
	for _, args := range [][]string{{"diff", "4.4.1"}, {"diff", "4.4.1", "4.4.2", file}, {"diff", "4.4.1", "4.5.7", "nosuch"}} {
		if code, _, stderr := startReal(t, args...); code != exitBadInput {
			t.Errorf("%q: exit code %d, printed\n%s", args, code, stderr)
		}
	}
}

func TestRecord(t *testing.T) {
	root := tree(t, map[string]string{
		"in/a.txt":    "# a\nsleep ms=0\n----\nold\n",
		"in/ring.txt": "ring a rx block_size=4096 block_nr=1 frame_size=1024 frame_nr=4\n",
	})
	code, stdout, stderr := start(t, "", "record", "-o", root+"/out", root+"/in")
	if code != exitOK || stdout != "# a\nsleep ms=0\n----\nok\n" {
		t.Errorf("exit code %d, printed\n%s%s", code, stdout, stderr)
	}
	if !strings.Contains(stderr, "This kernel has no rings.") || !strings.Contains(stderr, "1 of 2 scenarios use rings and are left out") {
		t.Errorf("it says\n%s", stderr)
	}
	if text, err := os.ReadFile(root + "/out/4.4.1/a.txt"); err != nil || string(text) != stdout {
		t.Errorf("stored %q, %v", text, err)
	}
	code, stdout, stderr = start(t, "", "verify", "--live", "-v", root+"/in")
	if code != exitOK || stdout != "4.4.1 (live) as 4.4.1  1/1 scenarios  1/1 steps  (1 scenarios not run)\n" {
		t.Errorf("verify --live: exit code %d, printed\n%s%s", code, stdout, stderr)
	}
	if code, _, _ := start(t, "", "record", root+"/in/ring.txt"); code != exitBadInput {
		t.Errorf("only rings: exit code %d", code)
	}
	if code, _, _ := start(t, "", "verify", "--live"); code != exitBadInput {
		t.Errorf("verify --live without files: exit code %d", code)
	}
}

// A kernel that does something else the second time is not recorded silently.
func TestRecordTwice(t *testing.T) {
	file := filepath.Join(tree(t, map[string]string{"a.txt": "sleep ms=1\n"}), "a.txt")
	runs := 0
	var out, errOut bytes.Buffer
	e := env{stdout: &out, stderr: &errOut, machines: machines{live: liveKernel{
		version:   func() string { return "5.0" },
		supported: func() (bool, string) { return true, "" },
		boot: func(bool) (scenario.Target, error) {
			runs++
			return stubTarget{config: config{initNet: runs > 1}}, nil
		},
	}}}
	code := dispatch(context.Background(), e, []string{"record", file})
	if code != exitDisagree || runs != 2 || !strings.Contains(errOut.String(), "run 2 differs from the first one at line 1") {
		t.Errorf("exit code %d after %d runs, it says\n%s", code, runs, errOut.String())
	}
}

func TestBaseVersion(t *testing.T) {
	for name, want := range map[string]string{"4.4.1": "4.4.1", "4.4.1-generic": "4.4.1", "6.1.0+": "6.1.0", "3.10.4.": "3.10.4"} {
		if got := baseVersion(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
