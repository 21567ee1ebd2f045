package explore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"nlmmap/explore"
	"nlmmap/kernel"
	"nlmmap/kernel/memmodel"
	"nlmmap/sys"
	"nlmmap/uapi"
	"nlmmap/userspace"
)

// spin looks at a frame again and again, and lets nobody else do anything meanwhile.
func spin(w *explore.World) {
	reader := w.Process("reader")
	s := w.Open(reader, uapi.NetlinkRoute, userspace.Config{RX: userspace.RingRequest(uapi.PageSize, 1)})
	w.Go(reader, func(t sys.Task) {
		for {
			if status, err := t.Load32(s.RX.Addr(0)); err != nil || status != uapi.NLMMapStatusUnused {
				return
			}
		}
	})
}

// greedy asks for a ring and takes for granted that it gets it.
func greedy(w *explore.World) {
	main := w.Process("main")
	fd := w.Socket(main, uapi.NetlinkRoute, 1000)
	w.Go(main, func(t sys.Task) {
		req := userspace.RingRequest(uapi.PageSize, 1)
		err := t.Setsockopt(fd, uapi.SolNetlink, uapi.NetlinkRxRing, req.Bytes())
		w.Assert(!errors.Is(err, sys.ENOMEM), "no ring: %v", err)
	})
}

// TestTables: what a person gets to see of a failure. After a change that is meant:
//
//	go test ./explore -run TestTables -update
//
// and read what has changed as somebody would who does not know the model.
func TestTables(t *testing.T) {
	library := func(name string) explore.Program {
		p, _ := explore.Lookup(name)
		return p
	}
	for name, tt := range map[string]struct {
		program explore.Program
		options explore.Options
	}{
		"copy-and-reader":  {library("copy-and-reader"), explore.Options{Version: kernel.Version{Release: kernel.Linux4_5}, Only: []string{"integrity"}}},
		"ring-torn-down":   {library("ring-torn-down"), explore.Options{Version: kernel.Version{Release: kernel.Linux4_5}, Only: []string{"memory"}}},
		"tx-second-thread": {library("tx-second-thread"), explore.Options{Only: []string{"integrity"}}},
		"reader-and-ack":   {library("reader-and-ack"), explore.Options{Memory: memmodel.Weak, Only: []string{"publication"}}},
		"lossy":            {explore.Program{Name: "lossy", Setup: lossy}, explore.Options{}},
		"livelock":         {explore.Program{Name: "spin", Setup: spin}, explore.Options{MaxSteps: 500}},
		"no-memory":        {explore.Program{Name: "greedy", Setup: greedy}, explore.Options{FailAllocs: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			r := explore.Explore(context.Background(), tt.program, tt.options)
			if r.Failure == nil {
				t.Fatal(r)
			}
			var got bytes.Buffer
			if err := r.Failure.Print(&got); err != nil {
				t.Fatal(err)
			}
			fresh(t, filepath.Join("testdata", "tables", name+".txt"), got.String())
			if name == "copy-and-reader" {
				freshPart(t, "../docs/exploration.md", "table", "    "+strings.ReplaceAll(strings.TrimSuffix(got.String(), "\n"), "\n", "\n    ")+"\n")
			}
		})
	}
}

// TestFull: every step is a row when that is asked for, and folding leaves out nothing else.
func TestFull(t *testing.T) {
	p, _ := explore.Lookup("copy-and-reader")
	r := explore.Explore(context.Background(), p, explore.Options{Version: kernel.Version{Release: kernel.Linux4_5}, Only: []string{"integrity"}})
	if r.Failure == nil {
		t.Fatal(r)
	}
	var folded, full bytes.Buffer
	r.Failure.Print(&folded)
	r.Failure.Options.Full = true
	r.Failure.Print(&full)
	if strings.Contains(full.String(), " ... ") || strings.Count(full.String(), "\n") < strings.Count(folded.String(), "\n")+20 {
		t.Errorf("in full\n%s", &full)
	}
	for line := range strings.Lines(folded.String()) {
		if !strings.Contains(line, " ... ") && !strings.Contains(full.String(), line) {
			t.Errorf("in full there is no %q", line)
		}
	}
}

// What a world has for a test: processes with forked children and threads, descriptors and memory that these share, rings
// of the frame size that is asked for, and where their frames lie.
func ExampleWorld() {
	setup := func(w *explore.World) {
		parent := w.Process("parent")
		s := w.Open(parent, uapi.NetlinkUsersock, userspace.Config{RX: uapi.NLMMapReq{BlockSize: 8192, BlockNr: 1, FrameSize: 3000, FrameNr: 2}})
		fd, second := s.FD(), s.RX.Addr(0)+3000
		child, err := sys.Fork(parent, "child") // has the descriptor, and the ring at the same address
		w.Must(err)
		thread, err := sys.Thread(parent, "thread")
		w.Must(err)
		var sender, status uint32
		w.Go(child, func(t sys.Task) {
			addr, err := t.Getsockname(fd)
			w.Must(err)
			sender = uapi.ParseSockaddrNL(addr).Pid
			w.Must(t.Store32(second+uapi.NMStatus, uapi.NLMMapStatusSkip))
		})
		w.Go(thread, func(t sys.Task) {
			w.Must(t.Close(fd))
			status, err = t.Load32(second + uapi.NMStatus)
			w.Must(err)
		})
		w.Outcome(func() string {
			_, err := parent.Getsockname(fd)
			return fmt.Sprintf("portid %d, the thread sees %s, the parent: %v", sender, uapi.StatusName(status), err)
		})
	}
	set := explore.Outcomes(context.Background(), explore.Program{Name: "family", Setup: setup}, explore.Options{Ignore: []string{"skip-returned"}})
	for _, out := range set.Outcomes {
		fmt.Println(out)
	}
	// Output:
	// portid 40001, the thread sees SKIP, the parent: bad file descriptor: descriptor 3 is not open
	// portid 40001, the thread sees UNUSED, the parent: bad file descriptor: descriptor 3 is not open
}

// TestManyTasks: as many tasks as a search can have run; more are an error that says so.
func TestManyTasks(t *testing.T) {
	for tasks, ok := range map[int]bool{12: true, 70: false} {
		p := explore.Program{Name: "many", Setup: func(w *explore.World) {
			for range tasks {
				w.Go(w.Process("task"), func(t sys.Task) { t.Yield() })
			}
		}}
		r := explore.Search(context.Background(), p, explore.Options{Runs: 20})
		if (r.Err == nil) != ok || !ok && !strings.Contains(r.Err.Error(), "64") {
			t.Errorf("%d tasks: %v", tasks, r)
		}
		r = explore.Search(context.Background(), p, explore.Options{Scheduler: "random", Runs: 5})
		if r.Err != nil || r.Failure != nil {
			t.Errorf("%d tasks, random: %v", tasks, r)
		}
	}
}

// TestLongLivelock: a livelock of a long run under a random scheduler is made small too, and in a bounded number of steps.
func TestLongLivelock(t *testing.T) {
	if testing.Short() {
		t.Skip("makes runs of 20,000 steps")
	}
	setup := func(w *explore.World) {
		w.Unruly()
		main := w.Process("main")
		s := w.Open(main, uapi.NetlinkRoute, userspace.Config{RX: userspace.RingRequest(uapi.PageSize, 1)})
		other, err := sys.Thread(main, "other")
		w.Must(err)
		// Each waits for the other's word, unless it came first.
		wait := func(t sys.Task, mine, others uint64) {
			w.Must(t.Store32(mine, 1))
			for {
				v, err := t.Load32(others)
				w.Must(err)
				if v == 0 {
					return
				}
			}
		}
		w.Go(main, func(t sys.Task) { wait(t, s.RX.Addr(0)+100, s.RX.Addr(0)+200) })
		w.Go(other, func(t sys.Task) { wait(t, s.RX.Addr(0)+200, s.RX.Addr(0)+100) })
	}
	r := explore.Explore(context.Background(), explore.Program{Name: "both", Setup: setup}, explore.Options{Scheduler: "random", Runs: 50})
	if r.Failure == nil || r.Failure.Violation.Name != "livelock" || len(r.Failure.Switches) > 2 {
		t.Fatalf("%v %+v", r, r.Failure)
	}
	var b bytes.Buffer
	if err := r.Failure.Print(&b); err != nil || strings.Count(b.String(), "\n") > 40 || !strings.Contains(b.String(), "again and again") {
		t.Errorf("%v\n%s", err, &b)
	}
}
