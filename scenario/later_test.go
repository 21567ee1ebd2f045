package scenario_test

import (
	"strings"
	"testing"

	"nlmmap/scenario"
)

// TestLater: a step in the background, what wakes it, and what is not possible meanwhile.
func TestLater(t *testing.T) {
	const text = `socket a route

bind a portid=7

thread t

later w: recv a wait in=t

later w: recv a wait in=t

getsockname a in=t

later w: send a in=main

send a
msg type=noop flags=request,ack seq=1

join w

join w

getsockname a in=t
`
	f, err := scenario.Parse("t", strings.NewReader(strings.Replace(text, "later w: send a in=main\n\n", "", 1)))
	if err != nil {
		t.Fatal(err)
	}
	target, err := boot()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"ok\n", "ok\n", "ok\n", "ok\n", "t waits in w\n", "t waits in w\n", "16\n",
		"36 from=0 groups=0x0\n  error len=36 flags=0x0 seq=1 pid=7 error=0 to=noop len=16 flags=0x5 seq=1 pid=0\n",
		"no such job w\n", "portid=7 groups=0x0\n"}
	for i, out := range scenario.Run(target, f) {
		if out != want[i] {
			t.Errorf("%s: %q, want %q", f.Steps[i].Directive, out, want[i])
		}
	}
	if err := target.Close(); err != nil {
		t.Error(err)
	}
	if _, err = scenario.Parse("t", strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), "t:13: in=TASK is missing") {
		t.Errorf("main waits in the background: %v", err)
	}
	for text, want := range map[string]string{
		"later w recv a\n":                                         "expected a name with a colon",
		"later w: bind a in=t\n":                                   "bind does not wait for anybody",
		"later w: later x: recv a in=t\n":                          "later does not wait for anybody",
		"later w: recv a sise=3 in=t\n":                            `did you mean "size"?`,
		"thread t\n\nparallel\nthread p\n  later w: poll a in=t\n": "later is not allowed in a parallel block",
	} {
		if _, err := scenario.Parse("t", strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want in it %s", text, err, want)
		}
	}
}

// TestLaterLeft: a step that nobody joins ends with the machine, and leaves nothing behind.
func TestLaterLeft(t *testing.T) {
	f, err := scenario.Parse("t", strings.NewReader("socket a route\n\nthread t\n\nlater w: recv a wait in=t\n\nfork c\n\nlater x: poll a timeout=-1 in=c\n"))
	if err != nil {
		t.Fatal(err)
	}
	target, err := boot()
	if err != nil {
		t.Fatal(err)
	}
	scenario.Run(target, f)
	if err := target.Close(); err != nil {
		t.Error(err)
	}
}
