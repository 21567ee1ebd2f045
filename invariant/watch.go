package invariant

import (
	"fmt"
	"reflect"
	"slices"
	"sync"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/kernel/inspect"
	"nlmmap/kernel/memmodel"
	"nlmmap/ringmm"
	"nlmmap/uapi"
)

// key lets the watch look at the machine's words without being a scheduling point.
var key inspect.Key

// A Watch checks the invariants of one machine from its events. The zero value is ready when Report is set.
type Watch struct {
	// Report is told of violations, in the middle of what breaks the rule: it must not call the watch or the machine.
	Report func(Violation)
	// Touch, if it is set, is told before the watch looks into a part of its books, or writes there: a verdict follows from
	// what was noted before, so a search of schedules must know which events meet there. Cells have the same number in every
	// run.
	Touch func(cell uint64, write bool)
	// Look, if it is set, is told before the watch reads a part of memory that programs and the kernel write to.
	Look func(m *memmodel.Memory, off, n int)

	mu      sync.Mutex // free mode
	sockets []*socket  // that live, oldest first
	socks   map[*afnetlink.Sock]*socket
	rings   map[*ringmm.Ring]*ring
	touches []touch              // of the present event
	buf     []byte               // for looks at frames
	calls   map[*kernel.Task]int // TX frames that the present system call of a task has sent
	looked  map[*kernel.Task]bool
	looks   map[*kernel.Task]look // of poll, that go on
	events  int                   // that have changed a queue or a ring
	// harm is the defect that has made the machine's books wrong or has crashed it, damage one that has changed memory.
	harm, damage string
}

// A socket is what the watch knows of one.
type socket struct {
	sk     *afnetlink.Sock
	rx, tx ring
	// coming are the messages that were handed over and are neither published, received nor lost; announced are those
	// of them that have a COPY frame. Oldest first.
	coming, announced []*message
	lost              int64 // messages without room
	dump              dump
	// orphans are messages whose frame went away with its ring.
	orphans map[*afnetlink.SKB]bool
	// spoiled is who has broken a rule here before: what follows is blamed on the same.
	spoiled Blame
	// blind is set when what programs store is not known: they have raw memory, or store a part of a status.
	blind bool
	// meddled is set by what Meddled names.
	meddled bool
}

// A message is one that was handed to a socket.
type message struct {
	skb *afnetlink.SKB
	by  *kernel.Task
	n   int
	pos uint32 // of the COPY frame that announces it
}

// A ring is the watch's own book of one ring.
type ring struct {
	s      *socket
	ring   *ringmm.Ring
	tx     bool
	req    uapi.NLMMapReq
	mem    *memmodel.Memory
	last   int // the frame that the kernel took last, -1 for none
	frames map[uint32]*frame
	ids    []packetID
}

// An owner is who may write to a frame.
type owner uint8

const (
	free  owner = iota // UNUSED: an RX frame is the kernel's to take, a TX frame the program's to fill
	taken              // the kernel works on it
	ready              // RX: published, the program's. TX: VALID, to be sent
	kept               // RX: the program has marked it itself
)

// A frame is the watch's own book of one frame.
type frame struct {
	owner owner
	// skb is the message that the kernel took an RX frame for, claim counts the frames taken before.
	skb   *afnetlink.SKB
	queue bool // the message is queued beside the frame
	claim int
	// What the kernel published last.
	status uint32
	header ringmm.Header
	shift  int
	gone   bool // the queued message was received before the frame was handed out
	// data is the message: of an RX frame as it was published, of a TX frame as it was when it became VALID.
	data []byte
	// Of the present tenure of a program: who has seen that the frame is ready, and nm_len.
	ready  bool
	sights map[*kernel.Task]*sight
	// skipped is set once a program kept the frame since the kernel took it last; keeper is who keeps it.
	skipped bool
	keeper  string
	// touched is set when a program has written to the frame since it became ready, in an RX frame to more than the status.
	touched bool
}

// A sight is what a task knows of a frame that is ready.
type sight struct{ length bool }

// A touch is the part of a program's access that falls into one frame.
type touch struct {
	ring *ring
	f    *frame
	pos  uint32
	off  int // in the frame
	data []byte
}

// word returns the header word at off if the access covers it.
func (t touch) word(off int) (uint32, bool) {
	if t.off > off || t.off+len(t.data) < off+4 {
		return 0, false
	}
	b := t.data[off-t.off:]
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24, true
}

// message returns the part of the access that lies in the message, and where.
func (t touch) message() (at int, data []byte) {
	at = t.off - uapi.NLMMapHdrlen
	if at >= 0 {
		return at, t.data
	}
	return 0, t.data[min(-at, len(t.data)):]
}

// A check is one invariant that looks at one event, or at a machine at rest.
type check struct {
	*Watch
	name   string
	task   *kernel.Task
	event  kernel.Event
	kernel *kernel.Kernel // at rest
	over   bool           // at rest: no program makes another step
}

// blame reports a violation by the kernel. cause is the known defect that is evidently behind it, if there is one.
func (c check) blame(s *socket, cause, format string, args ...any) {
	c.turnTo(nil, harmPage, 0, false)
	if s != nil {
		c.turnTo(s, blamePage, 0, true)
	}
	b := Blame{Defect: cause}
	switch {
	case s != nil && s.spoiled != Blame{}:
		b = s.spoiled
	case c.harm != "":
		b.Defect = c.harm
	case s != nil && cause != "":
		s.spoiled = b
	}
	c.Report(Violation{Name: c.name, What: fmt.Sprintf(format, args...), Blame: b})
}

// accuse reports a violation by the program whose task made the access, or by a task that is named.
func (c check) accuse(task, format string, args ...any) {
	c.Report(Violation{Name: c.name, What: fmt.Sprintf(format, args...), Blame: Blame{Program: task}})
}

// Record is told of every event: it is made for kernel.Config.Trace.
func (w *Watch) Record(r kernel.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e, ok := r.Event.(kernel.AccessEvent); ok {
		w.resolve(e)
		if len(w.touches) == 0 {
			return
		}
	}
	if w.Touch != nil {
		w.meet(r.Event)
	}
	for _, inv := range listeners[reflect.TypeOf(r.Event)] {
		inv.on(check{Watch: w, name: inv.Name, task: r.Task, event: r.Event})
	}
	w.note(r)
}

// Rest checks what holds when no task runs. over tells that the programs have made their last step: then they have
// nothing of the kernel's that they should have given back.
func (w *Watch) Rest(k *kernel.Kernel, over bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range list {
		if inv := &list[i]; inv.rest != nil {
			inv.rest(check{Watch: w, name: inv.Name, kernel: k, over: over})
		}
	}
}

// Harmed reports whether a defect has made the machine's books wrong, or has crashed it: it proves nothing any more.
func (w *Watch) Harmed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.harm != ""
}

// Blame is who is to blame for what goes wrong from now on, as far as somebody has broken a rule already.
func (w *Watch) Blame() Blame {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.harm != "" {
		return Blame{Defect: w.harm}
	}
	for _, s := range w.sockets {
		if s.spoiled != (Blame{}) {
			return s.spoiled
		}
	}
	return Blame{}
}

// Readable returns the portid of a socket with a message that nobody has taken.
func (w *Watch) Readable() (portid uint32, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.sockets {
		now := s.sk.Inspect(key)
		if len(s.sk.ReceiveQueue.Inspect(key)) > 0 {
			return now.Portid, true
		}
		for pos := range now.RxRing.Positions() {
			if status, ok := now.RxRing.Status(pos); ok && status == uapi.NLMMapStatusValid {
				return now.Portid, true
			}
		}
	}
	return 0, false
}

// Meddled reports whether a program has made the status of an RX frame something that only the kernel makes it, or has
// kept one, or has emptied a queue by a change of the ring: what a sleeper then waits for may have come with nobody who
// had to wake it.
func (w *Watch) Meddled() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.sockets, func(s *socket) bool { return s.meddled || s.blind })
}

// socket returns the book of a socket.
func (w *Watch) socket(sk *afnetlink.Sock) *socket {
	s := w.socks[sk]
	if s == nil {
		if w.socks == nil {
			w.socks, w.rings = map[*afnetlink.Sock]*socket{}, map[*ringmm.Ring]*ring{}
			w.calls, w.looked, w.looks = map[*kernel.Task]int{}, map[*kernel.Task]bool{}, map[*kernel.Task]look{}
		}
		s = &socket{sk: sk, orphans: map[*afnetlink.SKB]bool{}}
		s.rx = ring{s: s, ring: sk.RxRing(), last: -1}
		s.tx = ring{s: s, ring: sk.TxRing(), tx: true, last: -1}
		w.socks[sk], w.rings[s.rx.ring], w.rings[s.tx.ring] = s, &s.rx, &s.tx
		w.sockets = append(w.sockets, s)
	}
	return s
}

// frame returns the book of a frame.
func (r *ring) frame(pos uint32) *frame {
	f := r.frames[pos]
	if f == nil {
		if r.frames == nil {
			r.frames = map[uint32]*frame{}
		}
		f = &frame{}
		r.frames[pos] = f
	}
	return f
}

// next is the position behind another, the first one for -1.
func (r *ring) next(pos int) int {
	if pos+1 >= int(r.req.FrameNr) {
		return 0
	}
	return pos + 1
}

// name is how a frame is called: rx[3].
func (r *ring) name(pos uint32) string {
	if r.tx {
		return fmt.Sprintf("tx[%d]", pos)
	}
	return fmt.Sprintf("rx[%d]", pos)
}

// peek reads the message of a frame without being an access: as memory has it, or as a CPU sees it.
func (r *ring) peek(cpu *memmodel.CPU, pos uint32) []byte {
	off, size, ok := r.place(pos)
	if !ok || r.mem == nil {
		return nil
	}
	b := make([]byte, size)
	r.mem.Peek(cpu, off, b)
	n := min(uint32(b[4])|uint32(b[5])<<8|uint32(b[6])<<16|uint32(b[7])<<24, uint32(size-uapi.NLMMapHdrlen))
	return b[uapi.NLMMapHdrlen : uapi.NLMMapHdrlen+n]
}

// place returns where a frame lies in the ring's memory.
func (r *ring) place(pos uint32) (off, size int, ok bool) {
	if pos >= r.req.FrameNr || r.req.BlockNr == 0 {
		return 0, 0, false
	}
	return int(r.req.FrameOffset(pos)), int(r.req.FrameSize), true
}

// resolve finds the frames of a program's access.
func (w *Watch) resolve(e kernel.AccessEvent) {
	w.touches = w.touches[:0]
	s := w.socks[afnetlink.SockOf(e.File)]
	if s == nil {
		return // no socket, or one that is gone: a store may have waited longer
	}
	off, r := e.Off, &s.rx
	if size := int(r.req.BlockSize) * int(r.req.BlockNr); off >= size {
		off, r = off-size, &s.tx
	}
	if off < 0 || r.req.BlockNr == 0 || r.req.FrameNr == 0 {
		return
	}
	block, size, perBlock := int(r.req.BlockSize), int(r.req.FrameSize), int(r.req.FrameNr/r.req.BlockNr)
	for data := e.Data; len(data) > 0; {
		at := off % block
		n := min(len(data), size-at%size, block-at)
		if i := at / size; i < perBlock && off/block < int(r.req.BlockNr) {
			pos := uint32(off/block*perBlock + i)
			w.touches = append(w.touches, touch{r, r.frame(pos), pos, at % size, data[:n]})
		}
		off, data = off+n, data[n:]
	}
}

// note keeps the books.
func (w *Watch) note(r kernel.Record) {
	if changes(r.Event) {
		w.events++
	}
	switch e := r.Event.(type) {
	case afnetlink.PollEvent:
		if e.Done {
			delete(w.looks, r.Task)
		} else {
			w.looks[r.Task] = w.look(w.socket(e.Sock))
		}
	case afnetlink.SocketEvent:
		w.noteSocket(e)
	case afnetlink.RingEvent:
		w.noteRing(e)
	case afnetlink.ClaimEvent:
		s := w.socket(e.Sock)
		f := s.rx.frame(e.Pos)
		claims := f.claim
		if s.rx.last >= 0 {
			claims = s.rx.frame(uint32(s.rx.last)).claim
		}
		*f = frame{owner: taken, skb: e.SKB, queue: !e.SKB.Ring(), claim: claims + 1}
		s.rx.last = int(e.Pos)
		if f.queue {
			s.announced = append(s.announced, &message{skb: e.SKB, n: e.SKB.Len(), pos: e.Pos})
		}
	case afnetlink.PublishEvent:
		w.notePublish(e)
	case afnetlink.DeliverEvent:
		s := w.socket(e.Sock)
		s.coming = append(s.coming, &message{skb: e.SKB, by: r.Task, n: e.SKB.Len()})
	case afnetlink.LossEvent:
		s := w.socket(e.Sock)
		s.lost++
		s.drop(e.SKB)
	case afnetlink.ReceiveEvent:
		w.socket(e.Sock).drop(e.SKB)
	case afnetlink.TxEvent:
		s := w.socket(e.Sock)
		f := s.tx.frame(e.Pos)
		f.owner, s.tx.last = taken, int(e.Pos)
		w.calls[r.Task]++
	case ringmm.FrameEvent:
		if rg := w.rings[e.Ring]; rg != nil && rg.tx && e.To == uapi.NLMMapStatusUnused {
			rg.frame(e.Pos).owner = free
		}
	case afnetlink.DumpStepEvent:
		w.noteDump(r.Task, e)
	case kernel.AccessEvent:
		for _, t := range w.touches {
			if t.ring.tx {
				t.noteTX(r.Task, e)
			} else {
				t.noteRX(r.Task, e)
			}
		}
	case kernel.RawMemEvent:
		if sk := afnetlink.SockOf(e.File); sk != nil {
			w.socket(sk).blind = true
		}
	case kernel.SyscallEvent:
		if !e.Done && len(w.calls) > 0 {
			delete(w.calls, r.Task)
		}
	case kernel.Corruption:
		switch {
		case e.Defect == "memory" || e.Defect == "tainted":
		case w.harm == "" && r.Task != nil && r.Task.Kernel().Tainted():
			w.harm = e.Defect
		case w.damage == "":
			w.damage = e.Defect
		}
	case kernel.Oops:
		if w.harm == "" {
			w.harm = e.Defect
		}
	}
}

func (w *Watch) noteSocket(e afnetlink.SocketEvent) {
	s := w.socket(e.Sock)
	if !e.Gone {
		return
	}
	delete(w.socks, s.sk)
	delete(w.rings, s.rx.ring)
	delete(w.rings, s.tx.ring)
	for i := range w.sockets {
		if w.sockets[i] == s {
			w.sockets = append(w.sockets[:i], w.sockets[i+1:]...)
			break
		}
	}
}

// noteRing notes a ring that was exchanged. Frames that the kernel holds in the old one are frames no more.
func (w *Watch) noteRing(e afnetlink.RingEvent) {
	s := w.socket(e.Sock)
	rg := w.rings[e.Ring]
	for _, f := range rg.frames {
		if f.owner == taken {
			s.orphans[f.skb] = true
		}
	}
	for _, m := range e.Purged {
		s.drop(m)
	}
	s.meddled = s.meddled || len(e.Purged) > 0 // the kernel wakes no sender for the room that there is now
	*rg = ring{s: s, ring: e.Ring, tx: e.TX, last: -1}
	if segs := e.Ring.Inspect(key).Segments(); len(segs) > 0 {
		rg.req, rg.mem = e.Req, segs[0].Mem
	}
}

// drop notes that a message is no longer on its way.
func (s *socket) drop(m *afnetlink.SKB) {
	s.coming = without(s.coming, m)
	s.announced = without(s.announced, m)
}

func without(list []*message, m *afnetlink.SKB) []*message {
	for i := range list {
		if list[i].skb == m {
			return append(list[:i:i], list[i+1:]...)
		}
	}
	return list
}

func (w *Watch) notePublish(e afnetlink.PublishEvent) {
	s := w.socket(e.Sock)
	if e.TX {
		s.drop(e.SKB)
		return
	}
	f := s.rx.frame(e.Pos)
	*f = frame{owner: ready, skb: e.SKB, queue: f.queue, claim: f.claim, status: e.Status, header: e.Header, shift: e.Shift, data: e.Data}
	if f.status == uapi.NLMMapStatusCopy {
		f.gone = !s.waits(e.SKB)
	} else {
		s.drop(e.SKB)
	}
	if id, ok := queuedPacket(e); ok {
		s.rx.ids = append(s.rx.ids, packetID{f.claim, id})
	}
}

// waits reports whether an announced message waits in the queue.
func (s *socket) waits(m *afnetlink.SKB) bool {
	for _, a := range s.announced {
		if a.skb == m {
			return true
		}
	}
	return false
}

// noteRX notes what a program has seen of an RX frame, or written to it.
func (t touch) noteRX(task *kernel.Task, e kernel.AccessEvent) {
	f := t.f
	status, whole := t.word(uapi.NMStatus)
	if e.Write && t.foreign() {
		t.ring.s.spoil(Blame{Program: task.Name}) // releaseOwn has said so
	}
	if e.Write && t.off+len(t.data) > uapi.NMLen {
		f.touched = true
	}
	switch {
	case !e.Write && whole && f.owner == ready && (status == uapi.NLMMapStatusValid || status == uapi.NLMMapStatusCopy):
		if f.sights == nil {
			f.sights = map[*kernel.Task]*sight{}
		}
		if f.sights[task] == nil {
			f.sights[task] = &sight{}
		}
		f.ready = true
	case e.Write && whole:
		t.noteStatus(task, status)
	case e.Write && t.off < uapi.NMLen:
		t.ring.s.blind = true // a part of the status: what it is now depends on what it was
	}
	if sight := f.sights[task]; sight != nil && !e.Write {
		if _, ok := t.word(uapi.NMLen); ok {
			sight.length = true
		}
	}
	if !e.Write || f.owner != ready {
		return
	}
	// What a program changes in its own frame it may read there.
	for _, word := range f.words() {
		if val, ok := t.word(word.off); ok {
			*word.value = val
		}
	}
	if at, data := t.message(); at < len(f.data) {
		copy(f.data[at:], data)
	}
}

// foreign reports whether a frame is not the program's to write to: the kernel has it, or has just published it.
func (t touch) foreign() bool { return t.f.owner == taken || t.f.owner == ready && !t.f.ready }

func (t touch) noteStatus(task *kernel.Task, status uint32) {
	f := t.f
	if status != uapi.NLMMapStatusUnused {
		t.ring.s.meddled = true
	}
	switch {
	case f.owner == taken:
		// Not the program's to write.
	case status == uapi.NLMMapStatusUnused:
		*f = frame{claim: f.claim, skipped: f.skipped}
	case f.owner == ready && status != uapi.NLMMapStatusSkip:
		f.keeper = task.Name
	default:
		if f.owner == free {
			f.owner = kept
		}
		f.keeper = task.Name
		if status == uapi.NLMMapStatusSkip {
			f.skipped = true
		}
	}
}

func (s *socket) spoil(b Blame) {
	if s.spoiled == (Blame{}) {
		s.spoiled = b
	}
}

// noteTX notes what a program has written to a TX frame.
func (t touch) noteTX(task *kernel.Task, e kernel.AccessEvent) {
	if !e.Write {
		return
	}
	f := t.f
	status, whole := t.word(uapi.NMStatus)
	switch {
	case f.owner == ready || f.owner == taken:
		f.touched = true
		if whole && f.owner == ready && status != uapi.NLMMapStatusValid {
			f.owner = free
		}
	case whole && status == uapi.NLMMapStatusValid:
		var cpu *memmodel.CPU // of a store that is visible, everything before it is
		if e.Waiting {
			cpu = task.CPU()
		}
		*f = frame{owner: ready, data: t.ring.peek(cpu, t.pos)}
	}
}
