// Package ringmm has ring memory: the request that sets a ring, its blocks and frames, the words of a frame header
// with their memory order, and the arithmetic of the one index the kernel has, head.
//
// A ring of 2 blocks with 2 frames each, fpb = 2:
//
//	block 0                              block 1
//	├─ frame 0 ──┬─ frame 1 ──┬─ unused ─┼─ frame 2 ──┬─ frame 3 ──┬─ unused ─┤
//	 hdr│message   hdr│message             hdr│message   hdr│message
//
// frame(pos) lies at block pos/fpb, frame pos%fpb in it. The rest of a block, block_size mod frame_size, is not used.
package ringmm

import (
	"fmt"
	"iter"

	"nlmmap/kernel"
	"nlmmap/kernel/inspect"
	"nlmmap/kernel/memmodel"
	"nlmmap/uapi"
)

// maxBlocks bounds the vector of block pointers: 4 MiB.
const maxBlocks = 524288

// Differences are the named differences of rings.
type Differences struct {
	SkipForward      bool
	SetStatusBarrier bool
}

// Table declares the differences, bound to d's fields.
func (d *Differences) Table() []kernel.Difference {
	return []kernel.Difference{
		{
			Name: "skip-forward", Absent: "skip-forward-broken", Spec: "4.1",
			Value:   kernel.Switch(&d.SkipForward, kernel.Since(kernel.Linux4_4)),
			History: "broken since 3.10, fixed by 7084a315 (4.3)",
			Text: "A message built in a frame passes over SKIP frames at head. Without it (skip-forward-broken) every " +
				"turn of the search looks at the frame where it began, so that head does not move and a SKIP frame " +
				"at head blocks the ring.",
		},
		{
			Name: "set-status-barrier", Spec: "4", Seen: kernel.SeenByWeakMemory,
			Value:   kernel.Switch(&d.SetStatusBarrier, kernel.Since(kernel.Linux3_19)),
			History: "missing since 3.10, fixed by a18e6a186f53 (3.19)",
			Text: "A full memory barrier stands before the store of a frame's status, so that everything written to " +
				"the frame is visible first. Without it the status is stored first and a write barrier follows.",
		},
	}
}

// A Ring is one of the two rings of a socket. The zero value is a ring that is not set.
type Ring struct {
	k    *kernel.Kernel
	d    *Differences
	name string

	// The words are not one atomic unit: set_ring changes framesPerBlock before and the others under locks, and some code
	// reads them without one.
	pgVec          kernel.Pointer[pgVec]
	head           kernel.Atomic
	framesPerBlock kernel.Atomic
	frameSize      kernel.Atomic
	frameMax       kernel.Atomic
	pgVecLen       kernel.Atomic
	pgVecPages     kernel.Atomic
	Pending        kernel.Atomic // frames that the kernel has reserved
}

// pgVec is the ring's memory: all blocks, one after the other.
type pgVec struct {
	mem       *memmodel.Memory
	blockSize int
	blocks    int
}

// Init names the ring for traces ("rx" or "tx") and says how its kernel differs. user is the lock of who uses frames one
// after the other, and guards head; a ring is set under that lock and other. They are nil for a ring that nobody shares.
func (r *Ring) Init(k *kernel.Kernel, d *Differences, name string, user, other *kernel.Mutex) {
	r.k, r.d, r.name = k, d, name
	r.pgVec.Named("pg_vec")
	r.pgVec.Guard(user, other)
	r.head.Named("head", 0)
	r.head.Guard(user)
	r.framesPerBlock.Named("frames_per_block", 0)
	for _, w := range [...]struct {
		word *kernel.Atomic
		name string
	}{{&r.frameSize, "frame_size"}, {&r.frameMax, "frame_max"}, {&r.pgVecLen, "pg_vec_len"}, {&r.pgVecPages, "pg_vec_pages"}} {
		w.word.Named(w.name, 0)
		w.word.Guard(user, other)
	}
	r.Pending.Named("pending", 0)
}

// Name is "rx" or "tx".
func (r *Ring) Name() string { return r.name }

// SkipsForward and Ordered report how the ring's kernel differs: whether it has the difference skip-forward,
// and whether set-status-barrier.
func (r *Ring) SkipsForward() bool { return r.d.SkipForward }
func (r *Ring) Ordered() bool      { return r.d.SetStatusBarrier }

// IsSet reports whether the ring has memory: the test of pg_vec that much code makes without a lock.
func (r *Ring) IsSet(cur *kernel.Task) bool { return r.pgVec.Load(cur) != nil }

// Blocks is memory for a ring that is about to be set.
type Blocks struct {
	vec *pgVec
	req uapi.NLMMapReq
}

// Prepare validates a request and allocates the blocks it asks for, nothing for a request to clear the ring (spec
// 2.2, steps 3 and 4). fpb is stored in the ring at once.
//
// Errors: EBUSY when the ring is set already; EINVAL for a block size that is not positive or no multiple of the page
// size, a frame size below 24 or not a multiple of 4 or above the block size, a number of frames that is not that of
// the blocks (modulo 2^32), or frames without blocks; ENOMEM.
func (r *Ring) Prepare(cur *kernel.Task, req uapi.NLMMapReq) (Blocks, error) {
	b := Blocks{req: req}
	if req.BlockNr == 0 {
		if req.FrameNr != 0 {
			return b, kernel.Errorf(kernel.EINVAL, "%d frames in no blocks", req.FrameNr)
		}
		return b, nil
	}
	if r.IsSet(cur) {
		return b, kernel.Errorf(kernel.EBUSY, "the %s ring is set already", r.name)
	}
	switch {
	case int32(req.BlockSize) <= 0:
		return b, kernel.Errorf(kernel.EINVAL, "block size %d", int32(req.BlockSize))
	case req.BlockSize%uapi.PageSize != 0:
		return b, kernel.Errorf(kernel.EINVAL, "block size %d is not a multiple of the page size", req.BlockSize)
	case req.FrameSize < uapi.NLMMapHdrlen:
		return b, kernel.Errorf(kernel.EINVAL, "frame size %d is smaller than a frame header", req.FrameSize)
	case req.FrameSize%uapi.NLMMapMsgAlignment != 0:
		return b, kernel.Errorf(kernel.EINVAL, "frame size %d is not a multiple of 4", req.FrameSize)
	}
	fpb := req.BlockSize / req.FrameSize
	r.framesPerBlock.Store(cur, int64(fpb))
	switch {
	case fpb == 0:
		return b, kernel.Errorf(kernel.EINVAL, "a frame of %d bytes does not fit a block of %d", req.FrameSize, req.BlockSize)
	case fpb*req.BlockNr != req.FrameNr:
		return b, kernel.Errorf(kernel.EINVAL, "%d blocks of %d frames are not %d frames", req.BlockNr, fpb, req.FrameNr)
	case req.BlockNr > maxBlocks:
		return b, kernel.Errorf(kernel.ENOMEM, "%d blocks: the vector of blocks is larger than 4 MiB", req.BlockNr)
	}
	mem, err := r.k.AllocPages(cur, int64(req.BlockSize)*int64(req.BlockNr))
	if err != nil {
		return b, err
	}
	b.vec = &pgVec{mem, int(req.BlockSize), int(req.BlockNr)}
	return b, nil
}

// Swap makes b the ring's memory and returns what it had before (spec 2.2 step 6). The caller holds both locks.
func (r *Ring) Swap(cur *kernel.Task, b Blocks) Blocks {
	r.frameMax.Store(cur, int64(b.req.FrameNr-1))
	r.head.Store(cur, 0)
	r.frameSize.Store(cur, int64(b.req.FrameSize))
	r.pgVecPages.Store(cur, int64(b.req.BlockSize/uapi.PageSize))
	old := r.pgVec.Swap(cur, b.vec)
	r.pgVecLen.Store(cur, int64(b.req.BlockNr))
	return Blocks{vec: old}
}

// Destroy frees the memory of a ring that nobody can see any more.
func (r *Ring) Destroy(cur *kernel.Task) {
	if n := r.Pending.Load(cur); n > 0 {
		r.k.Warn(cur, "socket destroyed with %d frames of its %s ring reserved", n, r.name)
	}
	b := Blocks{vec: r.pgVec.Load(cur)}
	r.pgVec.Init(nil)
	r.Free(cur, b)
}

// Free gives blocks back that no ring has.
func (r *Ring) Free(cur *kernel.Task, b Blocks) {
	if b.vec != nil {
		r.k.FreePages(cur, b.vec.mem)
	}
}

// Request returns the figures of the ring as socket diagnostics shows them (spec 13.5): block size rounded down to
// pages, and one frame for a ring that was never set.
func (r *Ring) Request(cur *kernel.Task) uapi.NLMMapReq {
	return uapi.NLMMapReq{BlockSize: uint32(r.pgVecPages.Load(cur)) * uapi.PageSize, BlockNr: uint32(r.pgVecLen.Load(cur)),
		FrameSize: uint32(r.frameSize.Load(cur)), FrameNr: uint32(r.frameMax.Load(cur)) + 1}
}

// MapSize is the number of bytes that a mapping of the ring has: a 32-bit product of blocks and pages, times 4096.
func (r *Ring) MapSize(cur *kernel.Task) uint64 {
	if r.pgVec.Load(cur) == nil {
		return 0
	}
	return uint64(uint32(r.pgVecLen.Load(cur))*uint32(r.pgVecPages.Load(cur))) * uapi.PageSize
}

// Segments returns the ring's memory for a mapping, nothing when it is not set.
func (r *Ring) Segments(cur *kernel.Task) []kernel.Segment { return r.pgVec.Load(cur).segments() }

func (v *pgVec) segments() []kernel.Segment {
	if v == nil {
		return nil
	}
	return []kernel.Segment{{Mem: v.mem, Size: v.blockSize * v.blocks}}
}

// offset is where frame pos starts. It is not uapi.NLMMapReq.FrameOffset: while a ring is set the kernel may have the
// number of frames in a block from one request and the size of a frame from another.
func (v *pgVec) offset(pos, fpb uint32, frameSize int) int {
	return int(pos/fpb)*v.blockSize + int(pos%fpb)*frameSize
}

// Maxlen is the room for a message in a frame: frame_size - 24, as unsigned 32-bit number.
func (r *Ring) Maxlen(cur *kernel.Task) uint32 {
	return uint32(r.frameSize.Load(cur)) - uapi.NLMMapHdrlen
}

// A State is what checkers and printing see of a ring: whether it is set, its geometry and head, the frames that the
// kernel has reserved, and the bytes of a mapping.
type State struct {
	Name      string // "rx" or "tx"
	Set       bool
	FrameSize int
	Frames    uint32 // 1 for a ring that was never set
	Head      uint32
	Pending   int64
	MapSize   uint64

	fpb uint32
	vec *pgVec
}

// Segments is the memory of the ring.
func (s State) Segments() []kernel.Segment { return s.vec.segments() }

// Inspect returns the ring as it is, without being a scheduling point.
func (r *Ring) Inspect(key inspect.Key) State {
	s := State{Name: r.name, FrameSize: int(r.frameSize.Inspect(key)), Frames: uint32(r.frameMax.Inspect(key)) + 1,
		Head: uint32(r.head.Inspect(key)), Pending: r.Pending.Inspect(key), fpb: uint32(r.framesPerBlock.Inspect(key)),
		vec: r.pgVec.Inspect(key)}
	if s.Set = s.vec != nil; s.Set {
		s.MapSize = uint64(uint32(r.pgVecLen.Inspect(key))*uint32(r.pgVecPages.Inspect(key))) * uapi.PageSize
	}
	return s
}

// Geometry is the request that such a ring was set with, the zero value for a ring that is not set.
func (s State) Geometry() uapi.NLMMapReq {
	if !s.Set {
		return uapi.NLMMapReq{}
	}
	return uapi.NLMMapReq{BlockSize: uint32(s.vec.blockSize), BlockNr: uint32(s.vec.blocks), FrameSize: uint32(s.FrameSize), FrameNr: s.Frames}
}

// Positions yields the positions of the frames of a ring that is set.
func (s State) Positions() iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		if s.MapSize == 0 {
			return
		}
		for pos := range s.Frames {
			if !yield(pos) {
				return
			}
		}
	}
}

// Status returns the status of frame pos; ok is false where there is no such frame.
func (s State) Status(pos uint32) (status uint32, ok bool) {
	if s.vec == nil || s.fpb == 0 || int(pos/s.fpb) >= s.vec.blocks {
		return 0, false
	}
	off := s.vec.offset(pos, s.fpb, s.FrameSize)
	if off+4 > s.vec.mem.Size() {
		return 0, false
	}
	return s.vec.mem.Load32(nil, off), true
}

// Frame is one frame of a ring: frame(pos), __netlink_lookup_frame.
//
// The ring is not tested again here: code that comes with a ring that was removed meanwhile finds no block table, and
// a real kernel follows a null pointer (set-ring-races).
func (r *Ring) Frame(cur *kernel.Task, pos uint32) Frame {
	v := r.pgVec.Load(cur)
	if v == nil {
		r.k.Oops(cur, "set-ring-races", "frame %d of the %s ring is looked up after the ring was removed", pos, r.name)
	}
	fpb := uint32(r.framesPerBlock.Load(cur))
	if fpb == 0 || int(pos/fpb) >= v.blocks {
		r.k.Oops(cur, "set-ring-races", "frame %d lies behind the %d blocks of the %s ring", pos, v.blocks, r.name)
	}
	return Frame{ring: r, mem: v.mem, off: v.offset(pos, fpb, int(uint32(r.frameSize.Load(cur)))), Pos: pos}
}

// Status is the status of frame pos.
func (r *Ring) Status(cur *kernel.Task, pos uint32) uint32 { return r.Frame(cur, pos).Status(cur) }

// Current returns the frame at head if its status is the given one: netlink_current_frame.
func (r *Ring) Current(cur *kernel.Task, status uint32) (Frame, bool) {
	f := r.Frame(cur, r.position(cur))
	return f, f.Status(cur) == status
}

// Previous is the position before head: netlink_previous_frame.
func (r *Ring) Previous(cur *kernel.Task) uint32 {
	if h := r.position(cur); h > 0 {
		return h - 1
	}
	return uint32(r.frameMax.Load(cur))
}

// position is head: the frame that the kernel will look at next.
func (r *Ring) position(cur *kernel.Task) uint32 { return uint32(r.head.Load(cur)) }

// Advance moves head to the next frame: netlink_increment_head.
func (r *Ring) Advance(cur *kernel.Task) {
	r.head.Store(cur, int64(r.next(cur, r.position(cur))))
}

func (r *Ring) next(cur *kernel.Task, pos uint32) uint32 {
	if pos == uint32(r.frameMax.Load(cur)) {
		return 0
	}
	return pos + 1
}

// Forward moves head over SKIP frames: netlink_forward_ring (spec 4.1). The caller holds the queue's lock.
func (r *Ring) Forward(cur *kernel.Task) {
	start := r.position(cur)
	for {
		look := start
		if r.SkipsForward() {
			look = r.position(cur)
		}
		if r.Status(cur, look) != uapi.NLMMapStatusSkip {
			return
		}
		r.Advance(cur)
		if r.position(cur) == start {
			return
		}
	}
}

// HasValidFrame looks for a VALID frame backwards from head: netlink_has_valid_frame (spec 4.2).
func (r *Ring) HasValidFrame(cur *kernel.Task) bool {
	head := r.position(cur)
	pos := head
	for {
		if r.Status(cur, pos) == uapi.NLMMapStatusValid {
			return true
		}
		if pos == 0 {
			pos = uint32(r.frameMax.Load(cur))
		} else {
			pos--
		}
		if pos == head {
			return false
		}
	}
}

// DumpSpace reports whether a dump may put another message into the ring: the frame at head and the frame half a ring
// on must be UNUSED. Half way round wraps one frame too far, as in all kernels (spec 4.3, defect dump-space-wrap). It
// is called without a lock.
func (r *Ring) DumpSpace(cur *kernel.Task) bool {
	head := r.position(cur)
	if r.Status(cur, head) != uapi.NLMMapStatusUnused {
		return false
	}
	frameMax := uint32(r.frameMax.Load(cur))
	probe := head + frameMax/2
	if probe > frameMax {
		probe -= frameMax
	}
	return r.Status(cur, probe) == uapi.NLMMapStatusUnused
}

// A Frame is one frame: a header, and room for a message behind it.
type Frame struct {
	ring *Ring
	mem  *memmodel.Memory
	off  int
	Pos  uint32
}

// A Header is the words of a frame header but the status.
type Header struct {
	Len, Group, Pid, UID, GID uint32
}

// FrameOf returns the frame at pos whose message memory starts at off of mem, whatever has become of the ring since.
func (r *Ring) FrameOf(mem *memmodel.Memory, off int, pos uint32) Frame {
	return Frame{ring: r, mem: mem, off: off - uapi.NLMMapHdrlen, Pos: pos}
}

// Data returns where the frame's message lies.
func (f Frame) Data() (*memmodel.Memory, int) { return f.mem, f.off + uapi.NLMMapHdrlen }

// Status loads the first word: netlink_get_status. A read barrier stands before the load, and nothing orders later
// loads after it (defect get-status-barrier).
func (f Frame) Status(cur *kernel.Task) uint32 {
	cur.CPU().Barrier(memmodel.SmpRMB)
	return f.mem.Load32(cur.CPU(), f.off+uapi.NMStatus)
}

// SetStatus stores the first word: netlink_set_status.
func (f Frame) SetStatus(cur *kernel.Task, status uint32) {
	if f.ring.k.Watched() {
		f.trace(cur, status)
	}
	if f.ring.Ordered() {
		cur.CPU().Barrier(memmodel.SmpMB)
		f.mem.Store32(cur.CPU(), f.off+uapi.NMStatus, status)
		return
	}
	f.mem.Store32(cur.CPU(), f.off+uapi.NMStatus, status)
	cur.CPU().Barrier(memmodel.SmpWMB)
}

// Len loads nm_len.
func (f Frame) Len(cur *kernel.Task) uint32 { return f.mem.Load32(cur.CPU(), f.off+uapi.NMLen) }

// SetLen stores nm_len.
func (f Frame) SetLen(cur *kernel.Task, n uint32) { f.mem.Store32(cur.CPU(), f.off+uapi.NMLen, n) }

// SetHeader stores all words but the status.
func (f Frame) SetHeader(cur *kernel.Task, h Header) {
	f.SetLen(cur, h.Len)
	f.mem.Store32(cur.CPU(), f.off+uapi.NMGroup, h.Group)
	f.mem.Store32(cur.CPU(), f.off+uapi.NMPid, h.Pid)
	f.mem.Store32(cur.CPU(), f.off+uapi.NMUID, h.UID)
	f.mem.Store32(cur.CPU(), f.off+uapi.NMGID, h.GID)
}

func (f Frame) trace(cur *kernel.Task, to uint32) {
	e := FrameEvent{Ring: f.ring, Pos: f.Pos, From: f.mem.Load32(nil, f.off), To: to, Len: f.mem.Load32(nil, f.off+uapi.NMLen)}
	f.ring.k.Emit(cur, e)
}

// A FrameEvent tells of a frame whose status the kernel changes.
type FrameEvent struct {
	Ring     *Ring
	Pos      uint32
	From, To uint32
	Len      uint32
}

func (e FrameEvent) String() string {
	return fmt.Sprintf("%s[%d] %s->%s len=%d", e.Ring.name, e.Pos, uapi.StatusName(e.From), uapi.StatusName(e.To), e.Len)
}
