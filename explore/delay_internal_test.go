package explore

import (
	"strings"
	"testing"

	"nlmmap/kernel"
	"nlmmap/kernel/memmodel"
	"nlmmap/sys"
	"nlmmap/uapi"
	"nlmmap/userspace"
)

// handsBack is a reader that copies a message out of the one frame of a ring and hands the frame back, with a barrier before the
// status or without, while the next message may come.
func handsBack(barrier bool) Program {
	return Program{Name: "hands-back", Setup: func(w *World) {
		main := w.Process("reader")
		s := w.Open(main, uapi.NetlinkRoute, userspace.Config{RX: ring(1, 1024), Portid: 1000})
		w.send(main, s.FD(), noop(1), addr(0, 0))
		w.Go(w.forked(main, "sender"), func(t sys.Task) { _, _ = sys.Sendto(t, s.FD(), noop(2), dontwait, addr(0, 0)) })
		w.Go(main, func(t sys.Task) {
			frame := s.RX.Addr(0)
			w.Assert(w.status(t, frame) == uapi.NLMMapStatusValid, "there is no message")
			size, err := t.Load32(frame + uapi.NMLen)
			w.Must(err)
			w.Must(t.ReadMem(frame+uapi.NLMMapHdrlen, make([]byte, size)))
			if barrier {
				w.Must(t.Store32(frame+uapi.NMStatus, unused))
			} else {
				w.Must(t.WriteMem(frame+uapi.NMStatus, make([]byte, 4)))
			}
		})
	}}
}

// TestHandsBack: without the barrier before the status that hands a frame back the kernel may fill the frame before it is read, under
// the weak model and no other. The failure can be replayed.
func TestHandsBack(t *testing.T) {
	for m := memmodel.SC; m <= memmodel.Weak; m++ {
		for _, barrier := range []bool{true, false} {
			p, o := handsBack(barrier), Options{Version: kernel.Version{Release: kernel.Linux4_4}, Memory: m}
			r := Explore(t.Context(), p, o)
			o.Workers = 4
			if many := Explore(t.Context(), p, o); many.Runs != r.Runs || many.FoundAfter != r.FoundAfter {
				t.Errorf("four workers: %v, one: %v", many, r)
			}
			if fails := m == memmodel.Weak && !barrier; (r.Failure != nil) != fails || !fails && !r.Exhausted {
				t.Errorf("%v, barrier %v: %v, want a failure: %v", m, barrier, r, fails)
			}
			if r.Failure == nil {
				continue
			}
			if text := printed(t, r.Failure); r.Failure.Violation.Name != "read-own" || !strings.Contains(text, "happens later") {
				t.Errorf("%s\nshould be of read-own, by a read that happens later", text)
			}
			v, err := Replay(p, r.Failure.Options, r.Failure.Switches)
			if err != nil || v == nil || *v != r.Failure.Violation {
				t.Errorf("the replay of %v gives %v, %v", r.Failure.Violation, v, err)
			}
		}
	}
}
