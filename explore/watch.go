package explore

import (
	"fmt"
	"slices"
	"strings"

	"nlmmap/afnetlink"
	"nlmmap/invariant"
	"nlmmap/kernel"
	"nlmmap/kernel/inspect"
	"nlmmap/kernel/memmodel"
	"nlmmap/kernel/sched"
	"nlmmap/ringmm"
	"nlmmap/uapi"
)

// A watch is what a run tells the invariants and the failure's table of.
type watch struct {
	invariant.Watch
	w   *World
	log func(kernel.Record)
	// forgotten is a task that sleeps though it could go on.
	forgotten string
}

func newWatch(w *World) *watch {
	touch := func(cell uint64, write bool) { w.run.Touch(sched.Access{Cell: cell, Write: write}) }
	look := func(m *memmodel.Memory, off, n int) {
		w.run.Touch(sched.Access{Obj: m.Obj(), Off: uint32(off), Len: uint32(n)})
	}
	return &watch{Watch: invariant.Watch{Report: w.violate, Touch: touch, Look: look}, w: w}
}

// record is told of every event.
func (c *watch) record(r kernel.Record) {
	if c.log != nil {
		c.log(r)
	}
	if _, ok := r.Event.(kernel.MishapEvent); ok {
		c.w.mishaps++
	}
	c.Record(r)
}

// lookAtSleepers notes the first task that sleeps though what it waits for has come. It is called when nobody can go on.
func (c *watch) lookAtSleepers() {
	if c.Harmed() || c.Meddled() || slices.ContainsFunc(c.sockets(), goesOn) {
		return
	}
	for _, t := range slices.Concat(c.w.tasks, c.w.k.Tasks()) {
		if t.Forgotten(inspect.Key{}) {
			c.forgotten = t.Name
			return
		}
	}
}

// goesOn reports whether a dump waits for somebody to look: whoever polls lets it go on, and finds what nobody had to
// wake it for.
func goesOn(sk *afnetlink.Sock) bool { return sk.DumpRequest(inspect.Key{}) != nil }

// deadlock tells what a run that came to a stop violates: poll, if somebody sleeps who had to be woken. In a program
// that breaks the rules who sleeps may wait for what nobody does, and so it may after a mishap.
func (c *watch) deadlock(d *sched.Deadlock) {
	if c.Harmed() {
		return // somebody oopsed and keeps its locks: that was the violation
	}
	sleeps := func(t *sched.Thread) bool { return t.Op.Kind == sched.Wait } // the others wait for locks
	switch portid, ok := c.Readable(); {
	case c.forgotten != "":
		c.w.found("poll", "%s sleeps though what it waits for has come, and nobody woke it: %s", c.forgotten, waits(d))
	case (c.w.unruly || c.w.mishaps > 0) && slices.ContainsFunc(d.Threads, sleeps):
	case ok && slices.ContainsFunc(d.Threads, sleeps):
		c.w.found("poll", "a message waits for portid %d and nobody was woken: %s", portid, waits(d))
	default:
		c.w.found("deadlock", "%s", waits(d))
	}
}

// waits says who waits for what, and who holds it.
func waits(d *sched.Deadlock) string {
	var list []string
	for _, t := range d.Threads {
		s := fmt.Sprintf("%s waits for %v", t.Name, t.Op)
		if l, ok := t.Op.Res.(*kernel.Mutex); ok {
			s += fmt.Sprintf(" (held by %s)", l.Owner(inspect.Key{}))
		}
		list = append(list, s)
	}
	return strings.Join(list, ", ")
}

func (c *watch) sockets() []*afnetlink.Sock {
	return c.w.system.Netlink.Sockets(inspect.Key{}, c.w.net)
}

// states shows the rings of all sockets, a letter for each frame.
func (c *watch) states() string {
	s := ""
	for _, sk := range c.sockets() {
		now := sk.Inspect(inspect.Key{})
		for _, r := range []ringmm.State{now.RxRing, now.TxRing} {
			letters := ""
			for pos := range r.Positions() {
				if s, ok := r.Status(pos); ok {
					letters += letter(s)
				}
			}
			if letters != "" {
				s += fmt.Sprintf(" %d.%s:%s", now.Portid, r.Name, letters)
			}
		}
	}
	return s
}

// place names the part of a ring that an operation touches: "rx[0] status", "tx[1] message"; empty for something else.
func (c *watch) place(op sched.Op) (place string, name ringName) {
	if op.Obj == 0 || op.Len == 0 || op.Label != "" {
		return "", name
	}
	for _, sk := range c.sockets() {
		now := sk.Inspect(inspect.Key{})
		for _, r := range []ringmm.State{now.RxRing, now.TxRing} {
			for _, seg := range r.Segments() {
				if seg.Mem.Obj() == op.Obj && r.FrameSize > 0 {
					name = ringName{fmt.Sprintf("portid %v", now.Portid), r.Name + " ring"}
					return r.Name + field(r.Geometry(), uint64(op.Off)), name
				}
			}
		}
	}
	return "", name
}

// field names the byte at off of a ring.
func field(ring uapi.NLMMapReq, off uint64) string {
	pos := ring.FrameAt(off)
	start := ring.FrameOffset(pos)
	if off < start { // the rest of a block, which is too short for a frame
		return fmt.Sprintf(" +%d", off)
	}
	names := [...]string{"status", "len", "group", "pid", "uid", "gid"}
	if word := (off - start) / 4; word < uint64(len(names)) {
		return fmt.Sprintf("[%d] %s", pos, names[word])
	}
	return fmt.Sprintf("[%d] message +%d", pos, off-start-uapi.NLMMapHdrlen)
}

func letter(status uint32) string {
	if status <= uapi.NLMMapStatusSkip {
		return uapi.StatusName(status)[:1]
	}
	return "?"
}
