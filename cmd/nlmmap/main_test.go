package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"nlmmap/defects"
	"nlmmap/explore"
	"nlmmap/interpose"
	"nlmmap/kernel"
	"nlmmap/scenario"
	"nlmmap/scenario/boot"
	"nlmmap/scenario/live"
	"nlmmap/sys"

	"github.com/rogpeppe/go-internal/testscript"
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

// onStubs are machines on which only time passes.
func onStubs() machines {
	return machines{
		boot: func(c config) (scenario.Target, error) { return stubTarget{config: c}, nil },
		live: liveKernel{
			describe: func() boot.Kernel {
				return boot.Kernel{Release: "4.4.1-test", Why: "This kernel has no rings.", Missing: []string{"CONFIG_NLMON"}}
			},
			boot: func(c live.Config) (scenario.Target, error) {
				return stubTarget{config: config{initNet: c.InitNet}}, nil
			},
		},
	}
}

// TestMain lets the scripts run this test binary as two commands: nlmmap, and nlmmap-stub, which is nlmmap on stubs.
func TestMain(m *testing.M) {
	if interpose.IsStub() {
		interpose.Stub()
	}
	testscript.Main(m, map[string]func(){
		"nlmmap": main,
		"nlmmap-stub": func() {
			os.Exit(dispatch(context.Background(), env{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, machines: onStubs()}, os.Args[1:]))
		},
	})
}

// TestScripts runs the command lines of testdata/script. Beyond what testscript has there is
//
//	status CODE COMMAND...
//
// which runs a command and wants that exit code, $TESTDATA, the directory with the recordings, and $CI, that
// of the job for continuous integration.
func TestScripts(t *testing.T) {
	testdata, err := filepath.Abs("../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("TESTDATA", testdata)
			e.Setenv("CI", filepath.Join(filepath.Dir(testdata), "ci"))
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"status": status},
	})
}

func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var ended *exec.ExitError
		if !errors.As(err, &ended) {
			ts.Fatalf("%v", err)
		}
		got = ended.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// start runs the command on stubs.
func start(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return startWith(context.Background(), stdin, args...)
}

func startWith(ctx context.Context, stdin string, args ...string) (code int, stdout, stderr string) {
	var out, errOut bytes.Buffer
	e := env{stdin: strings.NewReader(stdin), stdout: &out, stderr: &errOut, machines: onStubs()}
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

func TestVerifyInterrupted(t *testing.T) {
	root := tree(t, map[string]string{"4.4.1/a.txt": good})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	code, stdout, _ := startWith(ctx, "", "verify", root)
	want := "4.4.1  0/0 scenarios  0/0 steps  (1 scenarios not run)\ninterrupted\n"
	if code != exitInterrupted || stdout != want {
		t.Errorf("exit code %d, printed\n%s\nwant\n%s", code, stdout, want)
	}
}

func TestCompareVersions(t *testing.T) {
	if compareVersions("3.10.4", "3.9") <= 0 || compareVersions("4.4.1", "4.4.1") != 0 || compareVersions("4.4", "4.4.1") >= 0 {
		t.Error("wrong order")
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

func TestRecord(t *testing.T) {
	root := tree(t, map[string]string{
		"in/a.txt":    "# a\nsleep ms=0\n----\nold\n",
		"in/ring.txt": "socket a route\n\nring a rx block_size=4096 block_nr=1 frame_size=1024 frame_nr=4\n",
	})
	code, stdout, stderr := start(t, "", "record", "-o", root+"/out", root+"/in")
	if code != exitOK || stdout != "# a\nsleep ms=0\n----\nok\n" {
		t.Errorf("exit code %d, printed\n%s%s", code, stdout, stderr)
	}
	if !strings.Contains(stderr, "This kernel has no rings.") || !strings.Contains(stderr, "1 of 2 scenarios use rings and are left out") ||
		strings.Count(stderr, "CONFIG_NLMON") != 1 {
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

// TestRecordNothingLost: a recording never takes the place of that of another scenario, and a scenario with a slip is none.
func TestRecordNothingLost(t *testing.T) {
	root := tree(t, map[string]string{
		"a/x.txt":         "sleep ms=0\n",
		"b/x.txt":         "sleep ms=3\n",
		"out/4.4.1/y.txt": "sleep ms=3\n----\nok\n",
		"a/y.txt":         "sleep ms=0\n",
		"slip.txt":        "socket a route\n\nrecv b\n",
	})
	tests := []struct {
		args []string
		code int
		want string
	}{
		{[]string{"a/x.txt", "b/x.txt"}, exitBadInput, "would both be stored as x.txt"},
		{[]string{"a/y.txt"}, exitBadInput, "out/4.4.1/y.txt is there and is no recording of"},
		{[]string{"a/x.txt"}, exitOK, ""},
		{[]string{"a/x.txt"}, exitOK, ""}, // once more
		{[]string{"slip.txt"}, exitBadInput, "slip.txt:3: no fd b here: no earlier step makes it"},
	}
	for _, test := range tests {
		args := []string{"record", "-o", root + "/out"}
		for _, file := range test.args {
			args = append(args, filepath.Join(root, file))
		}
		code, _, stderr := start(t, "", args...)
		if code != test.code || !strings.Contains(stderr, test.want) {
			t.Errorf("%q: exit code %d, it says\n%swant code %d, and %s", test.args, code, stderr, test.code, test.want)
		}
	}
	if text, err := os.ReadFile(root + "/out/4.4.1/y.txt"); err != nil || string(text) != "sleep ms=3\n----\nok\n" {
		t.Errorf("what was stored became %q, %v", text, err)
	}
}

// A kernel that does something else the second time is not recorded silently.
func TestRecordTwice(t *testing.T) {
	file := filepath.Join(tree(t, map[string]string{"a.txt": "sleep ms=1\n"}), "a.txt")
	runs := 0
	var out, errOut bytes.Buffer
	e := env{stdout: &out, stderr: &errOut, machines: machines{live: liveKernel{
		describe: func() boot.Kernel { return boot.Kernel{Release: "5.0", Rings: true} },
		boot: func(live.Config) (scenario.Target, error) {
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
