package invariant

import (
	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/ringmm"
	"nlmmap/uapi"
)

// This file says which events meet in the watch's books: of two such, what the watch says of the one may depend on
// whether the other came before. A search of schedules then tries both orders (Watch.Touch). Events that locks order
// anyway need not be named here: what was handed over and received, dumps, and where the kernel was last in a ring. What
// poll finds is not named either: it is compared with what lay there from its beginning to its end, and a search would
// have to try every place of both among all that comes and goes.

// A page is a part of the book of a socket, or of the whole machine.
type page uint8

const (
	harmPage  page = iota // whether the machine's memory or books are sound
	blamePage             // who has broken a rule at a socket
	rxPage                // an RX frame
	txPage                // a TX frame
	rxRing                // the RX ring
	txRing                // the TX ring
	dumpPage              // whether a dump runs
)

// turnTo tells the search of a look at a page, or of a note there. Frames that are 4096 apart share one.
func (w *Watch) turnTo(s *socket, p page, pos uint32, write bool) {
	if w.Touch == nil {
		return
	}
	cell := uint64(p)<<12 | uint64(pos)&0xfff
	if s != nil {
		cell |= (s.sk.Inode + 1) << 16
	}
	w.Touch(cell, write)
}

// meet tells the search of what an event meets.
func (w *Watch) meet(event kernel.Event) {
	switch e := event.(type) {
	case afnetlink.ClaimEvent:
		s := w.socket(e.Sock)
		w.turnTo(s, rxRing, 0, false)
		w.turnTo(s, rxPage, e.Pos, true)
		for pos := s.rx.next(s.rx.last); pos != int(e.Pos) && pos != s.rx.last && uint32(pos) < s.rx.req.FrameNr; pos = s.rx.next(pos) {
			w.turnTo(s, rxPage, uint32(pos), false) // passed over
		}
	case afnetlink.PublishEvent:
		s := w.socket(e.Sock)
		w.turnTo(s, rxRing, 0, false)
		if e.TX {
			w.turnTo(s, txPage, e.Pos, true)
		} else {
			w.turnTo(s, rxPage, e.Pos, true)
		}
	case afnetlink.ReceiveEvent:
		s := w.socket(e.Sock)
		for _, m := range s.announced {
			if m.skb == e.SKB {
				w.turnTo(s, rxPage, m.pos, true)
			}
		}
	case afnetlink.RingEvent:
		p := rxRing
		if e.TX {
			p = txRing
		}
		w.turnTo(w.socket(e.Sock), p, 0, true)
	case afnetlink.DumpStepEvent:
		s := w.socket(e.Sock)
		w.turnTo(s, dumpPage, 0, e.Step == afnetlink.DumpBegins || e.Step == afnetlink.DumpEnds)
		if e.Step == afnetlink.DumpLooks && s.dump.running {
			w.turnTo(s, rxPage, e.Sock.Inspect(key).RxRing.Head, false)
		}
	case afnetlink.TxEvent:
		s := w.socket(e.Sock)
		w.turnTo(s, txRing, 0, false)
		w.turnTo(s, txPage, e.Pos, true)
	case ringmm.FrameEvent:
		if r := w.rings[e.Ring]; r != nil && r.tx {
			w.turnTo(r.s, txPage, e.Pos, true)
		}
	case kernel.AccessEvent:
		for _, t := range w.touches {
			t.meet(w, e.Write)
		}
	case kernel.Corruption, kernel.Oops:
		w.turnTo(nil, harmPage, 0, true)
	}
}

// meet tells of a program's access to a frame.
func (t touch) meet(w *Watch, write bool) {
	s := t.ring.s
	status, whole := t.word(uapi.NMStatus)
	waits := whole && t.off+len(t.data) <= uapi.NMLen && status != uapi.NLMMapStatusValid && status != uapi.NLMMapStatusCopy
	switch {
	case !write && (t.ring.tx || waits): // nothing is noted of it
	case t.ring.tx:
		w.turnTo(s, txRing, 0, false)
		w.turnTo(s, txPage, t.pos, true)
	default:
		w.turnTo(s, rxRing, 0, false)
		w.turnTo(s, rxPage, t.pos, write)
		if write && t.foreign() {
			w.turnTo(s, blamePage, 0, true)
		}
	}
}
