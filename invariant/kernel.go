package invariant

import (
	"bytes"
	"encoding/binary"
	"slices"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/kernel/memmodel"
	"nlmmap/ringmm"
	"nlmmap/uapi"
)

func frameOwnership(c check) {
	switch e := c.event.(type) {
	case afnetlink.ClaimEvent:
		s := c.socket(e.Sock)
		switch f := s.rx.frame(e.Pos); {
		case f.queue && (f.owner == taken || f.owner == ready && !f.ready && s.rx.unused(e.Pos)):
			// The frame of a queued message is UNUSED until its header is written, without the lock.
			c.blame(s, "copy-header-after-unlock", "rx[%d] is taken for a message while another is about to be announced by it", e.Pos)
		case f.owner == taken:
			c.blame(s, "", "rx[%d] is taken for a message while another is being written to it", e.Pos)
		case f.owner == ready && !s.blind: // who stores unseen may have released it
			c.blame(s, "", "rx[%d] is taken for a message while another lies in it that nobody has released", e.Pos)
		case f.owner == kept && !s.blind:
			c.accuse(f.keeper, "rx[%d] is marked by a program that does not have it, while the kernel takes it", e.Pos)
		}
	case afnetlink.PublishEvent:
		s := c.socket(e.Sock)
		f := s.rx.frame(e.Pos)
		switch {
		case e.TX:
			c.blame(s, "tx-fib-lookup-resend", "tx[%d] is published as if it was an RX frame", e.Pos)
		case s.orphans[e.SKB]:
			c.blame(s, "set-ring-races", "rx[%d] is published for a message that was built in a ring that was removed", e.Pos)
		case f.owner != taken || e.SKB != nil && f.skb != e.SKB:
			c.blame(s, "", "rx[%d] is published for a message that does not own it any more", e.Pos)
		}
	}
}

// unused reports whether a frame that was published can still be UNUSED for some task: as memory has it, or as it had it.
func (r *ring) unused(pos uint32) bool {
	if cfg := r.s.sk.K.Config(); cfg.Mode == kernel.Controlled && cfg.Memory == memmodel.Weak {
		return true
	}
	status, ok := r.ring.Inspect(key).Status(pos)
	return ok && status == uapi.NLMMapStatusUnused
}

func publication(c check) {
	if e, ok := c.event.(kernel.AccessEvent); !ok || e.Write {
		return
	}
	for _, t := range c.touches {
		f := t.f
		if t.ring.tx || f.owner != ready || f.touched || t.waits(c.task) {
			continue
		}
		// In free mode other tasks write meanwhile: what the program itself reads is compared, and the rest at rest.
		free := t.ring.s.sk.K.Config().Mode == kernel.Free
		if status, ok := t.word(uapi.NMStatus); ok && status == f.status && !free && !c.complete(t.ring, t.pos) {
			return
		}
		// Who has not seen that the frame is ready may read anything: readOwn says so.
		if f.sights[c.task] == nil {
			continue
		}
		for _, word := range f.words() {
			if got, ok := t.word(word.off); ok && got != *word.value {
				c.blame(t.ring.s, c.unpublished(t.ring, f), "%s reads %s %d, the kernel published %d", t.ring.name(t.pos), word.name, got, *word.value)
				return
			}
		}
		at, data := t.message()
		if n := min(len(data), len(f.data)-at); f.status == uapi.NLMMapStatusValid && n > 0 && !bytes.Equal(data[:n], f.data[at:at+n]) {
			c.blame(t.ring.s, c.unpublished(t.ring, f), "%s reads other bytes than the kernel published", t.ring.name(t.pos))
			return
		}
	}
}

// waits reports whether a task's own store to the frame waits: it reads that, and the watch has not been told yet.
func (t touch) waits(task *kernel.Task) bool {
	off, size, ok := t.ring.place(t.pos)
	return ok && task.CPU().HasStored(t.ring.mem, off, size)
}

// A headerWord is a word of a frame's header that was published.
type headerWord struct {
	off   int
	name  string
	value *uint32
}

// words are the words of the header that the kernel publishes with the frame: of one that comes back without a message
// the length alone.
func (f *frame) words() []headerWord {
	h := &f.header
	all := []headerWord{{uapi.NMLen, "length", &h.Len}, {uapi.NMGroup, "group", &h.Group}, {uapi.NMPid, "pid", &h.Pid},
		{uapi.NMUID, "uid", &h.UID}, {uapi.NMGID, "gid", &h.GID}}
	if f.skb == nil {
		return all[:1]
	}
	return all
}

// complete checks that memory has all of a frame that is visibly ready, every word and every byte, whether or not a
// reader goes on to look at them.
func (c check) complete(r *ring, pos uint32) bool {
	f := r.frame(pos)
	off, size, ok := r.place(pos)
	if !ok || r.mem == nil || r.s.blind || f.touched {
		return true
	}
	c.buf = slices.Grow(c.buf[:0], size)[:size]
	b := c.buf
	r.mem.Peek(nil, off, b)
	word := func(off int) uint32 { return binary.LittleEndian.Uint32(b[off:]) }
	if word(uapi.NMStatus) != f.status {
		size = 4 // it is not visible yet
	}
	if c.Look != nil && c.event != nil { // a search is to know, unless all is at rest
		c.Look(r.mem, off, size)
	}
	if size == 4 {
		return true
	}
	for _, w := range f.words() {
		if got := word(w.off); got != *w.value {
			c.blame(r.s, c.unpublished(r, f), "%s is %s with %s %d, the kernel published %d", r.name(pos), uapi.StatusName(f.status), w.name, got, *w.value)
			return false
		}
	}
	if n := min(len(f.data), size-uapi.NLMMapHdrlen); f.status == uapi.NLMMapStatusValid && !bytes.Equal(b[uapi.NLMMapHdrlen:][:n], f.data[:n]) {
		c.blame(r.s, c.unpublished(r, f), "%s is VALID with other bytes than the kernel published", r.name(pos))
		return false
	}
	return true
}

// readyFrames checks all frames that lie ready at rest: their status is what the kernel has announced, and they are
// complete. A frame that nobody has is UNUSED.
func readyFrames(c check) {
	for _, s := range c.sockets {
		now := s.sk.Inspect(key)
		for pos := range now.RxRing.Positions() {
			f := s.rx.frames[pos]
			status, ok := now.RxRing.Status(pos)
			if !ok || s.blind || hung(c.kernel) || c.harm != "" {
				continue
			}
			switch {
			case f == nil || f.owner == free:
				if status != uapi.NLMMapStatusUnused {
					c.blame(s, "", "rx[%d] of portid %d is %s, and neither the kernel nor a program has made it so", pos, now.Portid, uapi.StatusName(status))
				}
			case f.owner == ready && f.keeper == "" && status != f.status:
				c.blame(s, "", "rx[%d] of portid %d was published as %s and is %s", pos, now.Portid, uapi.StatusName(f.status), uapi.StatusName(status))
			case f.owner == ready:
				c.complete(&s.rx, pos)
			}
		}
	}
}

// unpublished is what can make a reader see something else than the kernel published.
func (c check) unpublished(r *ring, f *frame) string {
	cfg := r.s.sk.K.Config()
	switch {
	case f.shift > 0:
		return "dump-reserve-in-frame"
	case c.damage != "":
		return c.damage
	case cfg.Mode == kernel.Controlled && cfg.Memory != memmodel.SC && !r.ring.Ordered():
		return "set-status-barrier"
	}
	return ""
}

func order(c check) {
	switch e := c.event.(type) {
	case afnetlink.ClaimEvent:
		s := c.socket(e.Sock)
		for pos := s.rx.next(s.rx.last); pos != int(e.Pos) && uint32(pos) < s.rx.req.FrameNr; pos = s.rx.next(pos) {
			f := s.rx.frame(uint32(pos))
			if f.skipped {
				if pos == s.rx.last {
					break // once round
				}
				continue
			}
			cause := ""
			if !s.rx.ring.SkipsForward() && s.rx.anySkipped() {
				cause = "skip-forward-broken"
			}
			if !s.blind {
				c.blame(s, cause, "rx[%d] is taken, and rx[%d] before it is passed over", e.Pos, pos)
			}
			return
		}
	case afnetlink.ReceiveEvent:
		s := c.socket(e.Sock)
		for i, m := range s.coming {
			if m.skb != e.SKB {
				continue
			}
			for _, before := range s.coming[:i] {
				if before.by == m.by {
					c.blame(s, "", "a message of task %s is received before one that it sent earlier", m.by.Name)
					return
				}
			}
		}
	case afnetlink.PublishEvent:
		id, ok := queuedPacket(e)
		if !ok {
			return
		}
		s := c.socket(e.Sock)
		claim := s.rx.frame(e.Pos).claim
		for _, o := range s.rx.ids {
			if o.queue == id.queue && (o.claim < claim) != (o.id < id.id) {
				c.blame(s, "nfq-id-order", "the frames of packets %d and %d lie in the other order: a batch verdict up to one hits the other", o.id, id.id)
				return
			}
		}
	}
}

func (r *ring) anySkipped() bool {
	for _, f := range r.frames {
		if f.skipped {
			return true
		}
	}
	return false
}

// A packetID is a queued packet in a frame.
type packetID struct {
	claim int
	packet
}

type packet struct {
	queue uint16
	id    uint32
}

// queuedPacket finds the packet in a frame of packet queueing.
func queuedPacket(e afnetlink.PublishEvent) (p packet, ok bool) {
	if e.Sock.Protocol != uapi.NetlinkNetfilter || len(e.Data) < uapi.NLMsgHdrlen+4 {
		return p, false
	}
	if uapi.ParseNLMsgHdr(e.Data).Type != uapi.NFQNLMsgPacket {
		return p, false
	}
	p.queue = binary.BigEndian.Uint16(e.Data[uapi.NLMsgHdrlen+2:])
	for a := range uapi.WellFormed(uapi.Attrs(e.Data[uapi.NLMsgHdrlen:], 4)) {
		if a.Type == uapi.NFQAPacketHdr && len(a.Data) >= 4 {
			p.id = binary.BigEndian.Uint32(a.Data)
			return p, true
		}
	}
	return p, false
}

func copyPairs(c check) {
	switch e := c.event.(type) {
	case afnetlink.PublishEvent:
		s := c.socket(e.Sock)
		if e.Status != uapi.NLMMapStatusCopy || e.SKB == nil {
			return
		}
		switch {
		case !s.waits(e.SKB):
			c.blame(s, "copy-header-after-unlock", "rx[%d] announces a message that was received before", e.Pos)
		case int(e.Header.Len) != e.SKB.Len():
			c.blame(s, "", "rx[%d] announces %d bytes for a message of %d", e.Pos, e.Header.Len, e.SKB.Len())
		}
	case afnetlink.ReceiveEvent:
		s := c.socket(e.Sock)
		if len(s.announced) > 0 && s.announced[0].skb != e.SKB {
			c.blame(s, "", "recvmsg returns a message of %d bytes, the oldest COPY frame announces one of %d", e.SKB.Len(), s.announced[0].n)
		}
	}
}

func dumpComplete(c check) {
	e, ok := c.event.(afnetlink.DumpStepEvent)
	if !ok {
		return
	}
	s := c.socket(e.Sock)
	d := &s.dump
	switch e.Step {
	case afnetlink.DumpBegins:
		if d.running {
			c.blame(s, "", "a dump begins while another runs")
		}
	case afnetlink.DumpPart:
		if d.done > 0 || !d.running {
			c.blame(s, "", "a dump goes on behind its DONE")
			return
		}
		seen := map[string]bool{}
		for m := range uapi.WellFormed(uapi.Messages(e.Data)) {
			if m.Header.Type == uapi.NLMsgDone {
				continue
			}
			key := string(m.Payload)
			if (d.entries[key] || seen[key]) && e.Sock.Protocol != uapi.NetlinkSockDiag {
				c.blame(s, "", "a dump shows an entry twice, in messages of %d bytes", len(m.Payload))
				return
			}
			seen[key] = true
		}
	case afnetlink.DumpEnds:
		if d.done != 1 {
			c.blame(s, "", "a dump ends with %d times DONE", d.done)
		}
	}
}

// A dump is the watch's own book of a running dump.
type dump struct {
	running bool
	done    int
	entries map[string]bool
}

func (w *Watch) noteDump(cur *kernel.Task, e afnetlink.DumpStepEvent) {
	s := w.socket(e.Sock)
	switch e.Step {
	case afnetlink.DumpBegins:
		s.dump = dump{running: true, entries: map[string]bool{}}
	case afnetlink.DumpLooks:
		// A frame that is just being taken is the head no longer when poll looks.
		o := s.rx.frame(e.Sock.Inspect(key).RxRing.Head).owner
		w.looked[cur] = s.dump.running && (o == ready || o == kept)
	case afnetlink.DumpPart:
		for m := range uapi.WellFormed(uapi.Messages(e.Data)) {
			if m.Header.Type == uapi.NLMsgDone {
				s.dump.done++
			} else if s.dump.entries != nil {
				s.dump.entries[string(m.Payload)] = true
			}
		}
	case afnetlink.DumpEnds:
		s.dump.running, s.dump.entries = false, nil
	}
}

func dumpOverrun(c check) {
	switch e := c.event.(type) {
	case kernel.SyscallEvent:
		if !e.Done {
			delete(c.looked, c.task)
		}
	case afnetlink.LossEvent:
		if s := c.socket(e.Sock); c.looked[c.task] && s.dump.running && !s.blind {
			c.blame(s, "", "poll goes on with a dump for which the ring has no free frame")
		}
	}
}

func txOnce(c check) {
	switch e := c.event.(type) {
	case afnetlink.TxEvent:
		s := c.socket(e.Sock)
		f := s.tx.frame(e.Pos)
		if s.blind || f.touched {
			return
		}
		if f.owner != ready {
			c.blame(s, "", "tx[%d] is sent, and no program has made it VALID since it was sent last", e.Pos)
		} else if s.tx.next(s.tx.last) != int(e.Pos) {
			c.blame(s, "", "tx[%d] is sent, and tx[%d] comes next", e.Pos, s.tx.next(s.tx.last))
		}
	case ringmm.FrameEvent:
		if r := c.rings[e.Ring]; r != nil && r.tx && e.To == uapi.NLMMapStatusUnused && r.frame(e.Pos).owner != taken {
			c.blame(r.s, "", "tx[%d] is released, and was not sent since it was released last", e.Pos)
		}
	case afnetlink.TxEndEvent:
		s := c.socket(e.Sock)
		if s.tx.last >= 0 && s.tx.next(s.tx.last) != int(e.Pos) {
			c.blame(s, "", "sending ends at tx[%d], and tx[%d] comes next", e.Pos, s.tx.next(s.tx.last))
		}
	}
}

func txBounded(c check) {
	if e, ok := c.event.(afnetlink.TxEvent); ok {
		s := c.socket(e.Sock)
		if n := c.calls[c.task]; n == int(s.tx.req.FrameNr) {
			c.blame(s, "tx-error-loses-progress", "one call sends more than the %d frames of the ring: who keeps filling keeps the sender in the kernel", n)
		}
	}
}

func validatedIsExecuted(c check) {
	e, ok := c.event.(afnetlink.TxEvent)
	if !ok {
		return
	}
	s := c.socket(e.Sock)
	f := s.tx.frame(e.Pos)
	switch {
	case s.blind:
	case f.touched:
		if int(e.Checked) != len(e.Data) {
			c.blame(s, "tx-len-reread", "tx[%d] was found good with %d bytes and is sent with %d", e.Pos, e.Checked, len(e.Data))
		}
	case f.owner == ready && !bytes.Equal(e.Data, f.data):
		cause := ""
		if cfg := s.sk.K.Config(); cfg.Mode == kernel.Controlled && cfg.Memory == memmodel.Weak {
			cause = "get-status-barrier"
		}
		c.blame(s, cause, "tx[%d] was VALID with %d bytes %.16q and is sent as %d bytes %.16q", e.Pos, len(f.data), f.data, len(e.Data), e.Data)
	}
}

func receivedOnce(c check) {
	e, ok := c.event.(afnetlink.ReceiveEvent)
	if !ok {
		return
	}
	s := c.socket(e.Sock)
	for _, m := range s.coming {
		if m.skb == e.SKB {
			return
		}
	}
	c.blame(s, "", "a message of %d bytes is received twice, or was never sent", e.SKB.Len())
}

func integrity(c check) {
	switch e := c.event.(type) {
	case kernel.Corruption:
		if e.Defect != "memory" && e.Defect != "tainted" {
			c.Report(Violation{Name: c.name, What: e.What, Blame: Blame{Defect: e.Defect}})
		}
	case kernel.Oops:
		c.Report(Violation{Name: c.name, What: "oops: " + e.What, Blame: Blame{Defect: e.Defect}, Oops: true})
	}
}

func memory(c check) {
	if e, ok := c.event.(kernel.Corruption); ok && e.Defect == "memory" {
		// Alone a kernel tests before it uses: another task has removed the ring in between.
		c.blame(nil, "set-ring-races", "%s", e.What)
	}
}

func warnings(c check) {
	switch e := c.event.(type) {
	case kernel.Warning:
		c.blame(nil, "", "%s", e.What)
	case kernel.Corruption:
		if e.Defect == "tainted" {
			c.blame(nil, "", "%s", e.What)
		}
	}
}

func lockOrder(c check) {
	if e, ok := c.event.(kernel.LockOrder); ok {
		c.blame(nil, "", "%v", e)
	}
}
