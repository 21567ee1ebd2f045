package consumer_test

import (
	"context"
	"testing"

	"pgregory.net/rapid"

	"example.com/consumer"
	"nlmmap/explore"
	"nlmmap/kernel"
	"nlmmap/kernel/memmodel"
	"nlmmap/sys"
	"nlmmap/uapi"
	"nlmmap/userspace"
)

// exchange is a program: a child asks for acknowledgements, as many as there are frames at most, and a consumer reads them.
func exchange(frames, messages int, hasty bool) func(w *explore.World) {
	return func(w *explore.World) {
		reader := w.Process("reader")
		ring := userspace.RingRequest(uapi.PageSize, frames)
		s := w.Open(reader, uapi.NetlinkRoute, userspace.Config{RX: ring})
		sender, err := sys.Fork(reader, "sender") // shares the socket
		w.Must(err)
		w.Go(sender, func(t sys.Task) {
			for i := range messages {
				_, err := sys.Sendto(t, s.FD(), request(uint32(i+1)), uapi.MsgDontwait, uapi.SockaddrNL{Family: uapi.AFNetlink}.Bytes())
				w.Must(err)
			}
		})
		c := consumer.Consumer{Task: reader, FD: s.FD(), Addr: s.RX.Addr(0), Ring: ring, Hasty: hasty}
		w.Go(reader, func(sys.Task) {
			for i := range messages {
				msg, err := c.Next()
				w.Must(err)
				seq := uapi.ParseNLMsgHdr(msg).Seq
				w.Assert(seq == uint32(i+1), "message %d comes as number %d", seq, i+1)
			}
		})
	}
}

// request is one that the kernel acknowledges and does nothing about.
func request(seq uint32) []byte {
	return uapi.AppendMessage(nil, uapi.NLMsgHdr{Type: uapi.NLMsgNoop, Flags: uapi.NLMFRequest | uapi.NLMFAck, Seq: seq}, nil)
}

// TestAllSchedules: two messages in two frames, under all schedules, and nothing less will do.
func TestAllSchedules(t *testing.T) {
	for _, m := range []memmodel.Model{memmodel.SC, memmodel.TSO, memmodel.Weak} {
		t.Run(m.String(), func(t *testing.T) {
			explore.Test(t, exchange(2, 2, false), explore.Options{Version: kernel.Version{Release: kernel.Linux4_5}, Memory: m, Complete: true})
		})
	}
}

// TestProperty: of any size, on any kernel without the missing barrier of 3.10, in any memory model. What is drawn is the
// program and the seed of a scheduler, not the steps: so a failure is small when rapid is done, and the explorer makes its
// schedule small as well.
func TestProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		frames := rapid.IntRange(1, 4).Draw(t, "frames")
		messages := rapid.IntRange(1, frames).Draw(t, "messages")
		o := explore.Options{
			Version:   kernel.Version{Release: rapid.SampledFrom(kernel.Releases()[1:]).Draw(t, "kernel")},
			Memory:    rapid.SampledFrom([]memmodel.Model{memmodel.SC, memmodel.TSO, memmodel.Weak}).Draw(t, "memory"),
			Scheduler: rapid.SampledFrom([]string{"pct", "random"}).Draw(t, "scheduler"),
			Seed:      rapid.Uint64().Draw(t, "seed"),
			Runs:      10,
		}
		if err := explore.Check(exchange(frames, messages, false), o); err != nil {
			t.Fatal(err)
		}
	})
}

// TestFound: what goes wrong, in the consumer or below it, each scheduler finds within 2,000 schedules.
func TestFound(t *testing.T) {
	for _, tt := range []struct {
		name      string
		setup     func(w *explore.World)
		kernel    kernel.Release
		memory    memmodel.Model
		invariant string
	}{
		{"a frame is given back before it is read", exchange(2, 2, true), kernel.Linux4_5, memmodel.SC, "read-own"},
		{"a kernel without a barrier", exchange(1, 1, false), kernel.Linux3_10, memmodel.Weak, "publication"},
		{"the same, two messages", exchange(2, 2, false), kernel.Linux3_10, memmodel.Weak, "publication"},
	} {
		for _, scheduler := range []string{"dfs", "pct", "random"} {
			o := explore.Options{Version: kernel.Version{Release: tt.kernel}, Memory: tt.memory, Scheduler: scheduler, Runs: 2000,
				Only: []string{tt.invariant}}
			r := explore.Search(context.Background(), explore.Program{Name: tt.name, Setup: tt.setup}, o)
			if t.Logf("%s, %s: %v", tt.name, scheduler, r); r.Failure == nil {
				t.Errorf("%s: %s does not find it", tt.name, scheduler)
			}
		}
	}
}
