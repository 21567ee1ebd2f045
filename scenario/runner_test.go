package scenario

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"nlmmap/sys"
)

func parseString(t *testing.T, text string) *File {
	t.Helper()
	f, err := Parse("t", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// A stub is a machine that can do nothing but open sockets.
type stub struct {
	Target
	socket func()
	leak   error
}

func (s stub) Main() sys.Task { return stubTask{socket: s.socket} }
func (s stub) Close() error   { return s.leak }

type stubTask struct {
	sys.Task
	socket func()
}

func (stubTask) Tgid() int { return 1 }

func (t stubTask) Socket(_, _, _ int) (int, error) {
	if t.socket != nil {
		t.socket()
	}
	return 3, nil
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
		{"leak", func() (Target, error) { return stub{leak: errors.New("1 skb left")}, nil }, "1 skb left", 2},
		{"panic", func() (Target, error) { return stub{socket: func() { panic("oops") }}, nil },
			"panic at t:5: socket a route: oops", 1},
		{"hang", func() (Target, error) { return stub{socket: func() { <-release }}, nil },
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
		return stub{socket: func() { cancel(); <-release }}, nil
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

// TestStat reads rows of every shape that kernels have given /proc/net/netlink.
func TestStat(t *testing.T) {
	const table = `sk       Eth Pid    Groups   Rmem     Wmem     Dump     Locks     Drops     Inode
ffff8800 2   -1     00000003 128      0        ffff880007b3c000 2        4        5
ffff8801 0   0      00000000 1        0        0000000000000000 2        0        6
ffff8801 0   0      00000000 9        0        1        2        0        6
ffff8801 4   7      00000000 0        0        (null)   2        0        7
ffff8801 5   7      00000000 0        0        1        2        3        8
short    5   8
`
	for _, test := range []struct {
		inode uint64
		want  statRow
	}{
		{5, statRow{portid: 1<<32 - 1, groups: 3, rmem: "128", dump: 1, drops: "4", column: "pointer", rows: 1}},
		{6, statRow{rmem: "1", drops: "0", column: "0000000000000000", rows: 2}},
		{7, statRow{portid: 7, rmem: "0", drops: "0", column: "(null)", rows: 1}},
		{8, statRow{portid: 7, rmem: "0", dump: 1, drops: "3", column: "1", rows: 1}},
		{9, statRow{}},
	} {
		row, found := findRow(table, test.inode)
		if row != test.want || found != (test.want.rows > 0) {
			t.Errorf("inode %d: %+v, %t; want %+v", test.inode, row, found, test.want)
		}
	}
}
