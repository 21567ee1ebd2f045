package explore

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/kernel/inspect"
	"nlmmap/kernel/sched"
	"nlmmap/ringmm"
	"nlmmap/skb"
	"nlmmap/uapi"
)

// An Invariant is a rule that every run is watched for. docs/invariants.md has one section for each.
type Invariant struct {
	Name      string
	Statement string
	Why       string
	// Checked says where and when.
	Checked string
}

// Invariants returns all of them.
func Invariants() []Invariant {
	return []Invariant{
		{"frame-ownership", "The kernel takes only frames that are UNUSED, and no two messages share a frame.",
			"A frame that is written for two messages shows the reader a mixture, or hides one of them.",
			"at every frame that the kernel takes or publishes"},
		{"publication", "What a reader finds in a VALID frame is the message as the kernel built it, and stays so until the reader releases the frame.",
			"The status word is all that tells a reader that the rest of the frame is complete.",
			"whenever a program reads a frame with Ring.Take, against what the kernel published in it"},
		{"no-silent-loss", "Every message that was sent is in the ring, in the queue with a COPY frame, or was counted and reported.",
			"A reader that was told of a loss can ask again; one that was not waits for ever or acts on half of the truth.",
			"at the end of programs that count what they sent"},
		{"order", "The messages of one sender arrive in the order in which they were sent.",
			"Readers apply changes one after the other.",
			"whenever a program takes a message, and at the end for the frames that are left"},
		{"copy-pairs", "A reader that finds a COPY frame receives the message that belongs to it.",
			"Frame header and message are tied by order only.",
			"whenever a program takes a COPY frame with Ring.Take"},
		{"pending", "When nothing runs, the number of frames that the kernel says it holds is the number it has reserved.",
			"The number decides whether the ring can be changed.",
			"when all tasks are done"},
		{"accounting", "When all tasks have ended nothing is left: no socket, message, reference, mapping, page or charge.",
			"A leak in a kernel lasts until the next boot.",
			"when the machine is closed, and at every warning of the model"},
		{"mapped", "The number of mappings that the kernel counts is the number of live mappings, and no ring is freed while it is mapped.",
			"A ring that is freed while it is mapped gives userspace memory that belongs to others.",
			"when all tasks are done"},
		{"dump-complete", "A dump shows every entry once and ends with exactly one DONE.",
			"That is what a dump is for.",
			"at the end of programs that dump"},
		{"dump-overrun", "A dump whose reader keeps up does not overrun its own ring.",
			"Flow control is the point of dumps that are continued by poll.",
			"at the end of programs that dump"},
		{"tx-once", "A TX frame that is VALID is processed once and released once.",
			"A request that runs twice, or never, is not what was asked.",
			"at the end of programs that send through a ring"},
		{"tx-bounded", "One send processes at most as many frames as the TX ring has.",
			"A call that others can prolong at will holds its locks for ever.",
			"at the end of programs that send through a ring"},
		{"validated-is-executed", "What the kernel has checked of a message is what it acts on.",
			"A length that changes between check and use is a buffer overflow.",
			"at the end of programs that send through a ring, and at every double read that the model reports (`tx-len-reread`, `tx-in-place`)"},
		{"poll", "poll reports what a reader can take, and a message wakes a reader that waits for one.",
			"A lost wake-up is a program that hangs.",
			"when a run comes to a stop while a message waits"},
		{"memory", "No access goes outside a ring or to one that was removed.",
			"It would be somebody else's memory.",
			"at every access to ring memory"},
		{"lock-order", "No two classes of locks are taken in both orders.",
			"Two tasks that do so at the same time wait for each other for ever.",
			"at every lock"},
		{"deadlock", "No task waits for ever for something that nobody will do.", "It cannot be killed.",
			"when a run comes to a stop"},
		{"livelock", "Every run ends.", "A task that turns in the kernel for ever cannot be killed either.",
			"after 20,000 steps"},
		{"panic", "The model never panics.", "It is what everything else here rests on.",
			"in every run"},
		{"assertion", "What the program itself asserts.", "It knows best.",
			"by World.Assert"},
	}
}

// watch checks the invariants of a run from its events.
type watch struct {
	w      *World
	frames map[frameKey]*frame
	log    func(kernel.Record)
}

type frameKey struct {
	sk  *afnetlink.Sock
	pos uint32
}

// A frame is what the kernel has done with an RX frame.
type frame struct {
	owner     *skb.SKB // claimed for it and not published yet
	published bool
	status    uint32
	message   *skb.SKB
	data      []byte
}

func newWatch(w *World) *watch { return &watch{w: w, frames: map[frameKey]*frame{}} }

func (c *watch) frame(sk *afnetlink.Sock, pos uint32) *frame {
	f := c.frames[frameKey{sk, pos}]
	if f == nil {
		f = &frame{}
		c.frames[frameKey{sk, pos}] = f
	}
	return f
}

// record is told of every event.
func (c *watch) record(r kernel.Record) {
	if c.log != nil {
		c.log(r)
	}
	switch e := r.Event.(type) {
	case afnetlink.ClaimEvent:
		f := c.frame(e.Sock, e.Pos)
		switch {
		case f.owner != nil:
			c.w.Violate("frame-ownership", "rx[%d] is taken for a message while another is being written to it", e.Pos)
		case f.published:
			c.w.Violate("frame-ownership", "rx[%d] is taken for a message while another lies in it that nobody has released", e.Pos)
		}
		*f = frame{owner: e.SKB}
	case afnetlink.PublishEvent:
		f := c.frame(e.Sock, e.Pos)
		if e.SKB != nil && f.owner != e.SKB {
			c.w.Violate("frame-ownership", "rx[%d] is published for a message that does not own it any more", e.Pos)
		}
		*f = frame{published: true, status: e.Status, message: e.SKB, data: e.Data}
		if e.Status == uapi.NLMMapStatusCopy && e.SKB != nil {
			f.data = e.SKB.Peek(r.Task)
		}
	case kernel.Corruption:
		c.w.Violate(e.Defect, "%s", e.What)
	case kernel.Oops:
		c.w.violate(Violation{e.Defect, "oops: " + e.What, true})
	case kernel.Warning:
		c.w.Violate("accounting", "%s", e.What)
	case kernel.LockOrder:
		c.w.Violate("lock-order", "%v", e)
	}
}

// released notes that userspace gives a frame back.
func (c *watch) released(sk *afnetlink.Sock, pos uint32) {
	c.frame(sk, pos).published = false
}

// deadlock tells what a run that came to a stop violates: poll, if a waiting reader has something to read.
func (c *watch) deadlock(d *sched.Deadlock) {
	if c.w.K.Tainted() {
		return // somebody oopsed and keeps its locks: that was the violation
	}
	sleeps := func(t *sched.Thread) bool { return t.Op.Kind == sched.Wait } // the others wait for locks
	for _, sk := range c.sockets() {
		if slices.ContainsFunc(d.Threads, sleeps) && c.readable(sk) {
			c.w.Violate("poll", "a message waits for portid %d and nobody was woken: %s", sk.Inspect(inspect.Key{}).Portid, waits(d))
			return
		}
	}
	c.w.Violate("deadlock", "%s", waits(d))
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

func (c *watch) sockets() []*afnetlink.Sock { return c.w.Sys.Netlink.Sockets(inspect.Key{}, c.w.Net) }

func (c *watch) readable(sk *afnetlink.Sock) bool {
	rx := sk.Inspect(inspect.Key{}).RxRing
	for pos := range rx.Positions() {
		if s, ok := rx.Status(pos); ok && s == uapi.NLMMapStatusValid {
			return true
		}
	}
	return len(sk.ReceiveQueue.Inspect(inspect.Key{})) > 0
}

// quiescent checks what holds when nothing runs.
func (c *watch) quiescent() {
	for _, sk := range c.sockets() {
		now := sk.Inspect(inspect.Key{})
		held := int64(0)
		for pos := range now.RxRing.Positions() {
			if f := c.frames[frameKey{sk, pos}]; f != nil && f.owner != nil {
				held++
			}
		}
		if n := now.RxRing.Pending; n != held {
			c.w.Violate("pending", "portid %d says that the kernel holds %d RX frames, it holds %d", now.Portid, n, held)
		}
		vmas := 0
		counted := map[*kernel.AddressSpace]bool{}
		for _, t := range c.w.K.Tasks() {
			if t.Dead() || counted[t.Memory()] {
				continue
			}
			counted[t.Memory()] = true
			for _, v := range t.VMAs() {
				if afnetlink.SockOf(v.File) == sk {
					vmas++
				}
			}
		}
		if now.Mapped != vmas {
			c.w.Violate("mapped", "portid %d counts %d mappings, there are %d", now.Portid, now.Mapped, vmas)
		}
	}
}

// checkValid compares what a reader found in a VALID frame with what the kernel published there.
func (c *watch) checkValid(sk *afnetlink.Sock, pos, n uint32, data []byte) {
	f := c.frame(sk, pos)
	switch {
	case f.status != uapi.NLMMapStatusValid:
		c.w.Violate("publication", "rx[%d] reads VALID but the kernel has published no message in it", pos)
	case int(n) != len(f.data):
		c.w.Violate("publication", "rx[%d] reads length %d, the kernel published %d", pos, n, len(f.data))
	case !bytes.Equal(data, f.data):
		c.w.Violate("publication", "rx[%d] reads other bytes than the kernel published", pos)
	}
}

// checkCopy compares what a reader received at a COPY frame with the message that the frame announced.
func (c *watch) checkCopy(sk *afnetlink.Sock, pos uint32, data []byte, err error) {
	f := c.frame(sk, pos)
	switch {
	case err != nil:
		c.w.Violate("copy-pairs", "rx[%d] is COPY and recvmsg says %v", pos, err)
	case !bytes.Equal(data, f.data):
		c.w.Violate("copy-pairs", "rx[%d] is COPY of %d bytes and recvmsg returns another message, of %d bytes", pos, len(f.data), len(data))
	}
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

// place names the part of a ring that an operation touches: "rx[0] status", "tx[1] message".
func (c *watch) place(op sched.Op) string {
	if op.Obj == 0 || op.Len == 0 || op.Label != "" {
		return ""
	}
	for _, sk := range c.sockets() {
		now := sk.Inspect(inspect.Key{})
		for _, r := range []ringmm.State{now.RxRing, now.TxRing} {
			for _, seg := range r.Segments {
				if seg.Mem.Obj() == op.Obj && r.FrameSize > 0 {
					return r.Name + field(int(op.Off), r.FrameSize)
				}
			}
		}
	}
	return fmt.Sprintf("freed ring +%d", op.Off)
}

func field(off, frameSize int) string {
	names := [...]string{"status", "len", "group", "pid", "uid", "gid"}
	if word := off % frameSize / 4; word < len(names) {
		return fmt.Sprintf("[%d] %s", off/frameSize, names[word])
	}
	return fmt.Sprintf("[%d] message +%d", off/frameSize, off%frameSize-uapi.NLMMapHdrlen)
}

func letter(status uint32) string {
	if status <= uapi.NLMMapStatusSkip {
		return uapi.StatusName(status)[:1]
	}
	return "?"
}
