package scenario

import (
	"context"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
	"time"
)

var rewrite = flag.Bool("rewrite", false, "write the outputs that the tests see into their files")

func parseString(t *testing.T, text string) *File {
	t.Helper()
	f, err := Parse("t", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// bootFake makes a machine whose /proc/net/netlink has rows of every shape.
func bootFake() (Target, error) {
	f := newFake()
	f.netlink = `sk       Eth Pid    Groups   Rmem     Wmem     Dump     Locks     Drops     Inode
ffff8800 2   -1     00000003 128      0        ffff880007b3c000 2        4        5
ffff8801 0   0      00000000 1        0        0000000000000000 2        0        6
ffff8801 0   0      00000000 9        0        1        2        0        6
`
	return f, nil
}

func TestRunner(t *testing.T) {
	const path = "testdata/runner.txt"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse(path, strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	target, _ := bootFake()
	for i, out := range Run(target, f) {
		s := &f.Steps[i]
		if out != s.Output && !*rewrite {
			d := Disagreement{Line: s.Line, Directive: s.Directive, Expected: s.Output, Got: out}
			t.Errorf("%s:%d: %v", path, s.Line, &d)
		}
		s.Output, s.Recorded = out, true
	}
	if *rewrite {
		if err := os.WriteFile(path, []byte(format(t, f)), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

func TestVerify(t *testing.T) {
	const text = "socket a route\n----\nok\n\ngetsockname a\n----\nportid=7 groups=0x0\n\nclose a\n----\nok\n"
	f := parseString(t, text)
	r := Verify(context.Background(), bootFake, f)
	if r.OK() || r.Steps != 3 || r.Agreed != 2 || r.Failure != "" {
		t.Errorf("result %+v", r)
	}
	want := "getsockname a\n- portid=7 groups=0x0\n+ portid=0 groups=0x0\n"
	if r.First == nil || r.First.Line != 5 || r.First.String() != want {
		t.Errorf("first disagreement %+v", r.First)
	}
}

func TestVerifyFailures(t *testing.T) {
	f := parseString(t, "close x\n----\nno such fd x\n\nsocket a route\n----\nok\n")
	release := make(chan struct{})
	defer close(release)
	tests := []struct {
		name   string
		boot   func() (Target, error)
		want   string
		agreed int
	}{
		{"no machine", func() (Target, error) { return nil, errors.New("no memory") }, "cannot make the machine: no memory", 0},
		{"leak", func() (Target, error) { m := newFake(); m.leak = errors.New("1 skb left"); return m, nil }, "1 skb left", 2},
		{"panic", func() (Target, error) { m := newFake(); m.onSocket = func() { panic("oops") }; return m, nil },
			"panic at t:5: socket a route: oops", 1},
		{"hang", func() (Target, error) { m := newFake(); m.onSocket = func() { <-release }; return m, nil },
			"hangs at t:5: socket a route: no result within", 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := verify(context.Background(), test.boot, f, 50*time.Millisecond)
			if !strings.Contains(r.Failure, test.want) || r.Agreed != test.agreed || r.OK() {
				t.Errorf("result %+v, want failure %q", r, test.want)
			}
		})
	}
}

func TestVerifyInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	f := parseString(t, "socket a route\n----\nok\n")
	release := make(chan struct{})
	defer close(release)
	boot := func() (Target, error) {
		m := newFake()
		m.onSocket = func() { cancel(); <-release }
		return m, nil
	}
	if r := Verify(ctx, boot, f); r.Failure != "interrupted" {
		t.Errorf("result %+v", r)
	}
}

func TestDiff(t *testing.T) {
	got := diff("a\nb\nc\n", "a\nx\nc\nd\n")
	if want := "  a\n- b\n+ x\n  c\n+ d\n"; got != want {
		t.Errorf("diff:\n%swant:\n%s", got, want)
	}
}

func TestNearest(t *testing.T) {
	words := []string{"verify", "run"}
	for written, want := range map[string]string{"vrify": "verify", "rnu": "run", "explore": "", "": ""} {
		if got := Nearest(written, words); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", written, got, want)
		}
	}
}
