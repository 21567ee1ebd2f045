package explore_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nlmmap/explore"
	"nlmmap/internal/long"
	"nlmmap/kernel"
	"nlmmap/kernel/memmodel"
	"nlmmap/sys"
	"nlmmap/uapi"
)

// TestMishaps: whatever allocation of the kernel fails and whatever sleep a signal ends in the programs of the library,
// nothing leaks, nothing is lost silently, and no invariant breaks but by a known defect.
func TestMishaps(t *testing.T) {
	runs := 40
	switch {
	case long.Wanted():
		runs = 400
	case testing.Short():
		runs = 10
	}
	for i, p := range explore.Programs() {
		for j, r := range kernel.Releases() {
			if !long.Wanted() && (i+j)%5 != 0 || testing.Short() && i%3 != 0 {
				continue
			}
			for _, scheduler := range []string{"dfs", "random"} {
				o := explore.Options{Version: kernel.Version{Release: r}, Memory: memmodel.Model((i + j) % 3), Scheduler: scheduler,
					FailAllocs: 1 + i%2, Signals: 1, Runs: runs, MaxSteps: 3000, Ignore: []string{explore.Known}}
				res := explore.Explore(context.Background(), p, o)
				if res.Failure != nil {
					var b strings.Builder
					res.Failure.Print(&b)
					t.Errorf("%s on %v, %v:\n%s", p.Name, r, o.Memory, &b)
				} else if res.Err != nil {
					t.Errorf("%s on %v, %v: %v", p.Name, r, o.Memory, res.Err)
				}
			}
		}
	}
}

// mishapsOf are the outcomes of a task that does one thing, each with the switches that lead there.
func mishapsOf(t *testing.T, o explore.Options, prepare func(w *explore.World, main sys.Task) (do func(sys.Task) string)) map[string]string {
	t.Helper()
	o.Version = kernel.Version{Release: kernel.Linux4_4}
	p := explore.Program{Name: "mishaps", Setup: func(w *explore.World) {
		w.Unruly()
		main, got := w.Process("main"), "nothing"
		do := prepare(w, main)
		w.Go(main, func(t sys.Task) { got = do(t) })
		w.Outcome(func() string { return got })
	}}
	all := explore.Outcomes(context.Background(), p, o)
	if all.Err != nil || !all.Exhausted {
		t.Fatal(all.Result)
	}
	found := map[string]string{}
	for _, out := range all.Outcomes {
		found[out.String()] = explore.FormatSwitches(out.Switches)
		again, err := explore.ReplayOutcome(p, o, out.Switches)
		if err != nil || again.String() != out.String() {
			t.Errorf("%v: the replay of %v leads to %v, %v", out, out.Switches, again, err)
		}
	}
	o.Scheduler, o.Runs = "random", 200
	if missing := all.Missing(explore.Outcomes(context.Background(), p, o)); len(missing) > 0 {
		t.Errorf("random schedules lead to %v, and the search does not", missing)
	}
	return found
}

// same compares outcomes with those that are expected.
func same(t *testing.T, got map[string]string, want ...string) {
	t.Helper()
	for out, switches := range got {
		if !slices.Contains(want, out) {
			t.Errorf("%q, by %q, is not expected", out, switches)
		}
	}
	for _, out := range want {
		if _, ok := got[out]; !ok {
			t.Errorf("no run leads to %q: %q", out, got)
		}
	}
}

// TestNoMemory: what the calls of a task tell of an allocation that failed, one in each run.
func TestNoMemory(t *testing.T) {
	route := func(t sys.Task) int {
		fd, _ := t.Socket(uapi.AFNetlink, uapi.SockRaw, uapi.NetlinkRoute)
		return fd
	}
	socket := mishapsOf(t, explore.Options{FailAllocs: 1}, func(_ *explore.World, _ sys.Task) func(sys.Task) string {
		return func(t sys.Task) string {
			_, err := t.Socket(uapi.AFNetlink, uapi.SockRaw, uapi.NetlinkRoute)
			return short(err)
		}
	})
	same(t, socket, "ok", "ENOMEM")
	ring := mishapsOf(t, explore.Options{FailAllocs: 1}, func(w *explore.World, main sys.Task) func(sys.Task) string {
		fd := route(main)
		return func(t sys.Task) string {
			req := uapi.NLMMapReq{BlockSize: 4096, BlockNr: 1, FrameSize: 2048, FrameNr: 2}
			set := func() error { return t.Setsockopt(fd, uapi.SolNetlink, uapi.NetlinkRxRing, req.Bytes()) }
			first := set()
			return fmt.Sprintf("%s %s", short(first), short(set()))
		}
	})
	same(t, ring, "ok EBUSY", "ENOMEM ok", "ok EBUSY")
	// The request; its acknowledgement, which is then lost and the error pending; there are no others.
	ack := mishapsOf(t, explore.Options{FailAllocs: 1}, func(w *explore.World, main sys.Task) func(sys.Task) string {
		fd := route(main)
		w.Must(main.Bind(fd, uapi.SockaddrNL{Family: uapi.AFNetlink, Pid: 5}.Bytes()))
		request := uapi.AppendMessage(nil, uapi.NLMsgHdr{Type: uapi.NLMsgNoop, Flags: uapi.NLMFRequest | uapi.NLMFAck}, nil)
		return func(t sys.Task) string {
			_, sent := sys.Sendto(t, fd, request, uapi.MsgDontwait, nil)
			n, got := t.Recvmsg(fd, &sys.Msghdr{Iov: []sys.Iovec{sys.Iov(make([]byte, 100))}}, uapi.MsgDontwait)
			return fmt.Sprintf("%s %d %s", short(sent), n, short(got))
		}
	})
	same(t, ack, "ok 36 ok", "ENOBUFS 0 EAGAIN", "ok 0 ENOBUFS")
	if !strings.HasSuffix(ack["ok 0 ENOBUFS"], ":fail") || strings.Count(ack["ok 0 ENOBUFS"], ":") != 1 {
		t.Errorf("replay of one failed allocation: %q", ack["ok 0 ENOBUFS"])
	}
}

// TestSignals: a signal ends a sleep, wherever the task sleeps, and no more come than were asked for.
func TestSignals(t *testing.T) {
	poll := mishapsOf(t, explore.Options{Signals: 1, Ignore: []string{"deadlock", "poll"}}, func(w *explore.World, main sys.Task) func(sys.Task) string {
		fd, _ := main.Socket(uapi.AFNetlink, uapi.SockRaw, uapi.NetlinkRoute)
		return func(t sys.Task) string {
			_, err := t.Poll([]sys.PollFD{{FD: fd, Events: uapi.PollIn}}, -1)
			return short(err)
		}
	})
	same(t, poll, "nothing", "EINTR")
}

func short(err error) string {
	if err == nil {
		return "ok"
	}
	return unix.ErrnoName(sys.ErrnoOf(err))
}
