package explore_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"nlmmap/explore"
	"nlmmap/kernel"
	"nlmmap/sys"
)

func searched(setup func(w *explore.World)) explore.Result {
	return explore.Explore(context.Background(), explore.Program{Name: "panics", Setup: setup}, explore.Options{Time: time.Second, MaxSteps: 500})
}

// TestPanics: a panic of a program is the program's, with its line, wherever it happens; one of the model is the model's,
// with a schedule; and the search survives both.
func TestPanics(t *testing.T) {
	var none []int
	for name, tt := range map[string]struct {
		setup     func(w *explore.World)
		violation string
		what      string
	}{
		"a task":     {func(w *explore.World) { w.Go(w.Process("main"), func(sys.Task) { none[3] = 1 }) }, "assertion", `task main panics at panic_test\.go:\d+: .*index out of range`},
		"the set-up": {func(*explore.World) { panic("no") }, "assertion", `the set-up panics at panic_test\.go:\d+: no`},
		"the end": {func(w *explore.World) {
			w.Go(w.Process("main"), func(sys.Task) {})
			w.Finally(func() { panic("no") })
		}, "assertion", `a check at the end panics at panic_test\.go:\d+: no`},
		"a kernel that unlocks nothing": {func(w *explore.World) {
			w.Softirq("cpu", func(cpu *kernel.Task) { (*kernel.Mutex)(nil).Lock(cpu) })
		}, "panic", `nil pointer dereference in softirq cpu`},
		"a task that holds a lock": {func(w *explore.World) {
			var l kernel.Mutex
			w.Softirq("other", func(cpu *kernel.Task) { l.Lock(cpu); l.Unlock(cpu) })
			w.Softirq("cpu", func(cpu *kernel.Task) { l.Lock(cpu); panic("no") })
		}, "assertion", `softirq cpu panics at panic_test\.go:\d+: no`},
	} {
		r := searched(tt.setup)
		if r.Failure == nil || r.Failure.Violation.Name != tt.violation || !regexp.MustCompile(tt.what).MatchString(r.Failure.Violation.What) {
			t.Errorf("%s: %v %+v", name, r, r.Failure)
		}
	}
}

// TestEndsOfRuns: runs that do not end well are violations of the rules that say so.
func TestEndsOfRuns(t *testing.T) {
	var flag kernel.Atomic
	for name, tt := range map[string]struct {
		setup     func(w *explore.World)
		violation string
	}{
		"two locks in both orders": {func(w *explore.World) {
			var a, b kernel.Mutex
			both := func(first, second *kernel.Mutex) func(*kernel.Task) {
				return func(cpu *kernel.Task) { first.Lock(cpu); second.Lock(cpu); second.Unlock(cpu); first.Unlock(cpu) }
			}
			w.Softirq("a", both(&a, &b))
			w.Softirq("b", both(&b, &a))
		}, "deadlock"},
		"a wake-up that is forgotten": {func(w *explore.World) { sleeper(w, &flag, false) }, "poll"},
		"a wake-up":                   {func(w *explore.World) { sleeper(w, &flag, true) }, ""},
		"a sleeper for whom nothing comes": {func(w *explore.World) {
			var q kernel.WaitQueue
			w.Softirq("sleeper", func(cpu *kernel.Task) { _ = cpu.WaitEvent(&q, kernel.Forever, func() bool { return false }) })
		}, "deadlock"},
		"a loop": {func(w *explore.World) {
			w.Go(w.Process("main"), func(t sys.Task) {
				for {
					_ = t.Close(99)
				}
			})
		}, "livelock"},
	} {
		r := searched(tt.setup)
		got := ""
		if r.Failure != nil {
			got = r.Failure.Violation.Name
		}
		if got != tt.violation || r.Err != nil {
			t.Errorf("%s: %q, want %q: %v", name, got, tt.violation, r)
		}
	}
}

// sleeper waits until another task has set a flag, which does not always wake it.
func sleeper(w *explore.World, flag *kernel.Atomic, wakes bool) {
	*flag = kernel.Atomic{}
	var q kernel.WaitQueue
	w.Softirq("sleeper", func(cpu *kernel.Task) {
		_ = cpu.WaitEvent(&q, kernel.Forever, func() bool { return flag.Load(cpu) != 0 })
	})
	w.Softirq("other", func(cpu *kernel.Task) {
		flag.Store(cpu, 1)
		if wakes {
			q.Wake(cpu, 0)
		}
	})
}

// TestReplayOfTest runs a test that fails, and then what its failure says.
func TestReplayOfTest(t *testing.T) {
	if os.Getenv("NLMMAP_FAILING_TEST") != "" {
		explore.Test(t, lossy)
		return
	}
	run := func(env ...string) string {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestReplayOfTest$")
		cmd.Env = append(append(os.Environ(), "NLMMAP_FAILING_TEST=1"), env...)
		out, err := cmd.CombinedOutput()
		if err == nil {
			t.Fatalf("it passes: %s", out)
		}
		return string(out)
	}
	out := run()
	line := regexp.MustCompile(`replay: (NLMMAP_REPLAY)="(.*)" go test -run '\^TestReplayOfTest\$'`).FindStringSubmatch(out)
	if line == nil {
		t.Fatalf("nothing says how to replay\n%s", out)
	}
	table := func(out string) string {
		return out[bytes.Index([]byte(out), []byte("violated:")):strings.Index(out, "replay:")]
	}
	if again := run(line[1] + "=" + line[2]); table(again) != table(out) {
		t.Errorf("the replay is another run\n%s\n%s", out, again)
	}
}

// TestComplete: a test that asks for it fails when its search is cut short.
func TestComplete(t *testing.T) {
	p, _ := explore.Lookup("two-senders")
	failed := recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		explore.Test(&failed, p.Setup, explore.Options{Version: kernel.Version{Release: kernel.Linux4_5}, Runs: 5, Complete: true})
	}()
	<-done
	if !strings.Contains(failed.what, "not complete") {
		t.Errorf("it says %q", failed.what)
	}
}

// A recorder is a test that others make fail.
type recorder struct {
	testing.TB
	what string
}

func (r *recorder) Fatalf(format string, args ...any) { r.what = format }
func (r *recorder) Log(...any)                        {}
func (r *recorder) Helper()                           {}
