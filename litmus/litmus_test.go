package litmus_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"nlmmap/explore"
	"nlmmap/kernel"
	"nlmmap/kernel/memmodel"
	"nlmmap/litmus"
	"nlmmap/scenario"
)

func parse(t *testing.T, text string) *scenario.File {
	t.Helper()
	f, err := scenario.Parse("t", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// ring is a socket with an RX ring and a TX ring of two frames each, as first steps.
const ring = `socket a route

bind a portid=1000

ring a rx block_size=4096 block_nr=1 frame_size=2048 frame_nr=2

ring a tx block_size=4096 block_nr=1 frame_size=2048 frame_nr=2

mmap a m

`

// TestOutcomes has what each kind of line is for.
func TestOutcomes(t *testing.T) {
	tests := []struct {
		name, text string
		memory     memmodel.Model
		want       []string
	}{
		{"a wait that ends", "socket a usersock\n\nbind a portid=5\n\nsocket b usersock\n\nbind b portid=6\n\n" +
			"parallel\nthread p\n  recv a wait\nthread q\n  send b portid=5\n    msg type=100\n\nrecv a\n", memmodel.SC,
			[]string{"p: 16 from=6 groups=0x0 / 100 len=16 flags=0x0 seq=0 pid=0; q: 16; EAGAIN"}},
		{"a wait that does not", "socket a usersock\n\nbind a portid=5\n\n" +
			"parallel\nthread p\n  recv a wait\n  getsockname a\nthread q\n  getsockname a\n\ngetsockname a\n", memmodel.SC,
			[]string{"p: blocks, blocks; q: portid=5 groups=0x0; portid=5 groups=0x0"}},
		{"one of two waits", "socket a usersock\n\nbind a portid=5\n\nsocket b usersock\n\nbind b portid=6\n\n" +
			"parallel\nthread p\n  recv a wait\nthread q\n  recv a wait\nthread r\n  send b portid=5\n    msg type=100\n", memmodel.SC,
			[]string{"p: 16 from=6 groups=0x0 / 100 len=16 flags=0x0 seq=0 pid=0; q: blocks; r: 16",
				"p: blocks; q: 16 from=6 groups=0x0 / 100 len=16 flags=0x0 seq=0 pid=0; r: 16"}},
		{"poll and epoll", ring + "epoll e\n\nepoll_add e a\n\nparallel\nthread p\n  poll a events=in timeout=-1\n" +
			"thread q\n  epoll_wait e timeout=-1\nthread r\n  getsockname a\n", memmodel.SC,
			[]string{"p: blocks; q: blocks; r: portid=1000 groups=0x0"}},
		{"another task, and frames in the final steps", ring + "fork c\n\nparallel\ntask c\n  send a\n    msg type=noop flags=request,ack\n" +
			"thread p of=c\n  getsockname a\n\ngetsockname a\n", memmodel.SC,
			[]string{"c: 16; p: portid=1000 groups=0x0; portid=1000 groups=0x0 / rx[0] UNUSED->VALID len=36 group=0 pid=0 uid=0 gid=0 / " +
				"error len=36 flags=0x0 seq=0 pid=1000 error=0 to=noop len=16 flags=0x5 seq=0 pid=0"}},
		{"store buffering, sc", storeBuffering, memmodel.SC, []string{"p: ok, value=0; q: ok, value=1", "p: ok, value=1; q: ok, value=0",
			"p: ok, value=1; q: ok, value=1"}},
		{"store buffering, tso", storeBuffering, memmodel.TSO, []string{"p: ok, value=0; q: ok, value=0", "p: ok, value=0; q: ok, value=1",
			"p: ok, value=1; q: ok, value=0", "p: ok, value=1; q: ok, value=1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := explore.Options{Version: kernel.Version{Release: kernel.Linux4_4}, Memory: tt.memory}
			set := explore.Outcomes(context.Background(), litmus.Program(parse(t, tt.text)), o)
			if set.Err != nil || !set.Exhausted {
				t.Fatal(set.Result)
			}
			var got []string
			for _, out := range set.Outcomes {
				got = append(got, out.String())
				again, err := explore.ReplayOutcome(litmus.Program(parse(t, tt.text)), o, out.Switches)
				if err != nil || again.String() != out.String() {
					t.Errorf("the replay of\n%v\nis\n%v, %v", out, again, err)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("outcomes\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// storeBuffering: each thread marks a frame and looks at the other's.
const storeBuffering = ring + `parallel
thread p
  set m tx 0 len=1
  touch m offset=6148
thread q
  set m tx 1 len=1
  touch m offset=4100
`

func TestCheck(t *testing.T) {
	f := parse(t, `socket a route
----
EBUSY

parallel
thread p
  getsockname a

outcomes 4.4.1 sc
----
p: portid=0 groups=0x0
p: portid=1 groups=0x0

outcomes 4.5.7 sc
`)
	o := explore.Options{Version: kernel.Version{Release: kernel.Linux4_4}}
	r := litmus.Check(context.Background(), f, f.Outcomes[0], o)
	if r.OK() || r.First == nil || r.First.Got != "ok\n" || !slices.Equal(r.Missing, f.Outcomes[0].Set[1:]) || len(r.Extra) != 0 {
		t.Errorf("result %+v", r)
	}
	if r := litmus.Check(context.Background(), f, f.Outcomes[1], o); r.OK() || r.Failure == "" {
		t.Errorf("a section without outcomes: %+v", r)
	}
	if _, err := litmus.Fill(context.Background(), f, o); err == nil || !strings.Contains(err.Error(), "line 1 is not as recorded") {
		t.Errorf("Fill: %v", err)
	}
	f.Steps[0].Output = "ok\n"
	got, err := litmus.Fill(context.Background(), f, o)
	if err != nil || !slices.Equal(got, f.Outcomes[0].Set[:1]) {
		t.Errorf("Fill: %q, %v", got, err)
	}
	o.Runs, o.Scheduler = 3, "random"
	if _, err := litmus.Fill(context.Background(), f, o); err == nil || !strings.Contains(err.Error(), "not complete") {
		t.Errorf("Fill by a search that is not complete: %v", err)
	}
	f.Outcomes[0].Set = nil
	r = litmus.Check(context.Background(), f, f.Outcomes[0], explore.Options{Version: o.Version})
	if len(r.Extra) != 1 || r.Extra[0].Text != got[0] || r.Extra[0].Schedules != 1 {
		t.Errorf("result %+v", r)
	}
}

func TestModels(t *testing.T) {
	for text, want := range map[string]int{"getsockname a": 1, "consume m fd=a": 3, "touch m offset=0": 3} {
		if got := litmus.Models(parse(t, "parallel\nthread p\n  "+text+"\n")); len(got) != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}
