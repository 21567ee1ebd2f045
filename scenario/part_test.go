package scenario_test

import (
	"strings"
	"testing"

	"nlmmap/kernel"
	"nlmmap/scenario"
	"nlmmap/scenario/sim"
)

// playBlock runs a file as if the parts of its block ran one after the other, in the given order.
func playBlock(t *testing.T, text string, order ...int) string {
	t.Helper()
	f, err := scenario.Parse("t", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	target, err := sim.New(sim.Config{Version: kernel.Version{Release: kernel.Linux4_4}, Heap: true})
	if err != nil {
		t.Fatal(err)
	}
	r := scenario.NewRunner(target)
	for i := range f.Steps {
		r.Step(&f.Steps[i])
	}
	parts, err := r.Begin(f.Block)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range order {
		parts[i].Run(func() bool { return false })
	}
	r.End(parts)
	var final []string
	for i := range f.Final {
		final = append(final, r.Step(&f.Final[i]))
	}
	return scenario.Outcome(parts, final)
}

// TestNamesOfParts: what a thread knows by name does not depend on when it looks.
func TestNamesOfParts(t *testing.T) {
	const ring = "socket a usersock\n\nring a rx block_size=4096 block_nr=1 frame_size=2048 frame_nr=2\n\n"
	tests := []struct {
		name, text, want string
	}{
		{"made", "parallel\nthread p\n  socket a usersock\n  close a\n  socket a usersock\nthread q\n  close a\n\nclose a\n",
			"p: ok, ok, ok; q: no such fd a; ok"},
		{"closed", "socket a usersock\n\nparallel\nthread p\n  close a\n  close a\nthread q\n  socket b usersock\n\nclose a\n\nclose b\n",
			"p: ok, no such fd a; q: ok; no such fd a; ok"},
		{"made by both", "parallel\nthread p\n  socket a usersock\n  bind a portid=1\nthread q\n  socket a usersock\n  bind a portid=2\n\ngetsockname a\n",
			"p: ok, ok; q: ok, ok; portid=2 groups=0x0"},
		{"ring", ring + "parallel\nthread p\n  ring a rx block_size=0 block_nr=0 frame_size=0 frame_nr=0\n" +
			"  ring a rx block_size=8192 block_nr=1 frame_size=4096 frame_nr=2\nthread q\n  bind a portid=1\n\nmmap a m\n\nframes m rx\n",
			"p: ok, ok; q: ok; ok; rx[0-1] UNUSED len=0 group=0 pid=0 uid=0 gid=0"},
		{"unmapped", ring + "mmap a m\n\nparallel\nthread p\n  munmap m\nthread q\n  socket b usersock\n\ntouch m offset=0\n",
			"p: ok; q: ok; no such mapping m"},
		{"child", "socket a usersock\n\nparallel\nthread p\n  fork c\nthread q\n  socket b usersock\n\nclose a in=c\n\nclose b in=c\n\nclose b\n",
			"p: ok; q: ok; ok; no such fd b; ok"},
		{"exit", "socket a usersock\n\nparallel\nthread p\n  exit\n  close a\n\nclose a\n", "p: ok, no such task p; no such task main"},
		{"gone", "fork c\n\nexit in=c\n\nparallel\nthread p of=c\n  close a\n  close a\n\nclose a\n", "p: no such task p, no such task p; no such fd a"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			forward, backward := []int{0, 1}, []int{1, 0}
			if !strings.Contains(test.text, "thread q") {
				forward, backward = []int{0}, []int{0}
			}
			got := playBlock(t, test.text, forward...)
			if got != test.want {
				t.Errorf("outcome\n%s\nwant\n%s", got, test.want)
			}
			if back := playBlock(t, test.text, backward...); back != got {
				t.Errorf("the other way round the outcome is\n%s\nand not\n%s", back, got)
			}
		})
	}
}
