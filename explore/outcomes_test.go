package explore_test

import (
	"context"
	"fmt"
	"testing"

	"nlmmap/explore"
	"nlmmap/kernel"
	"nlmmap/sys"
	"nlmmap/uapi"
)

// twoSends lets two processes send to a third socket.
func twoSends(w *explore.World) {
	main := w.Process("main")
	to := w.Socket(main, uapi.NetlinkUsersock, 1000)
	for _, name := range []string{"p", "q"} {
		t := w.Process(name)
		fd := w.Socket(t, uapi.NetlinkUsersock, 0)
		w.Go(t, func(t sys.Task) {
			msg := append([]byte{20, 0, 0, 0, 100, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, name+"   "...)
			_, err := sys.Sendto(t, fd, msg, 0, uapi.SockaddrNL{Family: uapi.AFNetlink, Pid: 1000}.Bytes())
			w.Must(err)
		})
	}
	w.Outcome(func() string {
		s := "received"
		for {
			buf := make([]byte, 20)
			_, err := main.Recvmsg(to, &sys.Msghdr{Iov: []sys.Iovec{sys.Iov(buf)}}, uapi.MsgDontwait)
			if err != nil {
				return s
			}
			s += " " + string(buf[16:17])
		}
	})
}

func ExampleOutcomes() {
	p := explore.Program{Name: "two-sends", Setup: twoSends}
	set := explore.Outcomes(context.Background(), p, explore.Options{})
	fmt.Println("all schedules:", set.Exhausted)
	for _, o := range set.Outcomes {
		fmt.Println(o)
	}
	// Output:
	// all schedules: true
	// received p q
	// received q p
}

// TestOutcomesReplay replays each outcome from its switches, whichever scheduler found it.
func TestOutcomesReplay(t *testing.T) {
	p := explore.Program{Name: "two-sends", Setup: twoSends}
	for _, s := range []string{"dfs", "pct", "random"} {
		o := explore.Options{Scheduler: s, Runs: 500}
		set := explore.Outcomes(context.Background(), p, o)
		if set.Err != nil || len(set.Outcomes) != 2 {
			t.Errorf("%s: %v, outcomes %v", s, set.Result, set.Outcomes)
		}
		for _, want := range set.Outcomes {
			got, err := explore.ReplayOutcome(p, o, want.Switches)
			if err != nil || got.String() != want.String() {
				t.Errorf("%s: %q with switches %v: the replay leads to %q, %v", s, want, want.Switches, got, err)
			}
		}
	}
}

// TestOutcomesMarkViolations shows the outcomes of runs that break an invariant as such.
func TestOutcomesMarkViolations(t *testing.T) {
	p, _ := explore.Lookup("two-setups")
	o := explore.Options{Version: kernel.Version{Release: kernel.Linux4_5}, Runs: 2000, Only: []string{"set-ring-races"}}
	set := explore.Outcomes(context.Background(), p, o)
	if _, ok := set.Find("; oops set-ring-races"); !ok {
		t.Errorf("%v, outcomes %q", set.Result, set.Outcomes)
	}
	if clean, ok := set.Find(""); !ok || clean.Runs == 0 {
		t.Errorf("no run without a violation: %q", set.Outcomes)
	}
}
