package invariant

import (
	"slices"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/kernel/memmodel"
	"nlmmap/ringmm"
	"nlmmap/uapi"
)

// A look is what a reader could take at the moment at which poll looks at a socket.
type look struct {
	events int  // how many there were
	busy   bool // somebody changes the queue: what is in it may not be counted yet, or not any more
	queue  []*afnetlink.SKB
	ready  []readyFrame
	frames []uint32 // the status words, as memory has them
	used   int      // that are not UNUSED
	weak   bool     // frames are not looked at
}

// A readyFrame is a VALID frame that the kernel has published and nobody has released.
type readyFrame struct {
	pos   uint32
	claim int
	last  bool // the kernel has taken no later one
}

// look notes what lies in a socket's queue and ring.
func (w *Watch) look(s *socket) look {
	now := s.sk.Inspect(key)
	l := look{events: w.events}
	l.busy = s.sk.ReceiveQueue.Lock.Owner(key) != ""
	if !l.busy {
		l.queue = s.sk.ReceiveQueue.Inspect(key)
	}
	if cfg := s.sk.K.Config(); cfg.Mode == kernel.Controlled && cfg.Memory == memmodel.Weak {
		l.weak = true // a processor may see for a while what was there before
		return l
	}
	for pos := range now.RxRing.Positions() {
		status, _ := now.RxRing.Status(pos)
		l.frames = append(l.frames, status)
		if status != uapi.NLMMapStatusUnused {
			l.used++ // some kernels call a RESERVED one readable
		}
		if f := s.rx.frames[pos]; f != nil && f.owner == ready && f.status == uapi.NLMMapStatusValid && status == f.status {
			l.ready = append(l.ready, readyFrame{pos, f.claim, s.rx.last == int(pos)})
		}
	}
	return l
}

// changes reports whether an event changes what a reader could take.
func changes(e kernel.Event) bool {
	switch e := e.(type) {
	case afnetlink.DeliverEvent, afnetlink.ReceiveEvent, afnetlink.LossEvent, afnetlink.ClaimEvent, afnetlink.PublishEvent,
		afnetlink.RingEvent, afnetlink.SocketEvent, ringmm.FrameEvent:
		return true
	case kernel.AccessEvent:
		return e.Write
	}
	return false
}

// pollAnswers compares what poll has found with what was there all the time: who looked the whole time would have found
// that too. What came or went meanwhile it may have seen or not.
func pollAnswers(c check) {
	e, ok := c.event.(afnetlink.PollEvent)
	if !ok || !e.Done {
		return
	}
	s := c.socket(e.Sock)
	if s.blind || s.meddled || s.spoiled != (Blame{}) || c.harm != "" {
		return
	}
	before, now := c.looks[c.task], c.look(s)
	in := e.Mask&uapi.PollIn != 0
	for _, m := range before.queue {
		if !in && slices.Contains(now.queue, m) {
			c.blame(nil, "", "poll finds nothing on portid %d, where a message of %d bytes waits in the queue", s.portid(), m.Len())
			return
		}
	}
	for _, f := range before.ready {
		if i := slices.IndexFunc(now.ready, func(o readyFrame) bool { return o.pos == f.pos && o.claim == f.claim }); !in && i >= 0 {
			defect := "poll-prev-frame" // looks at the latest frame only
			if f.last && now.ready[i].last {
				defect = ""
			}
			c.blame(nil, defect, "poll finds nothing on portid %d, where a message lies in rx[%d]", s.portid(), f.pos)
			return
		}
	}
	still := before.events == now.events && slices.Equal(before.frames, now.frames) && !before.busy && !now.busy && !now.weak
	if nothing := len(before.queue)+len(now.queue)+now.used == 0; in && still && nothing {
		c.blame(nil, "", "poll finds something to read on portid %d, where there is nothing", s.portid())
	}
}

func (s *socket) portid() uint32 { return s.sk.Inspect(key).Portid }
