// Package skb has socket buffers: one message inside the kernel.
//
// A buffer has a head, and in it the data:
//
//	head          data               tail                 end
//	 │  headroom   │  the message      │  tailroom           │
//	 ├─────────────┼───────────────────┼─────────────────────┤
//	 Reserve moves data and tail; Put moves tail; Trim moves it back
//
// The head of an ordinary buffer is private memory of the size that the kernel's allocator gives (New). The head of a
// ring buffer is pointed into a frame, right behind the frame header (AllocHead, SetRing):
//
//	frame                                                     next frame
//	 │ nl_mmap_hdr │ data             tail              end    │
//	 ├─────────────┼──────────────────┼───────────────────┼────┤
//	   24 bytes      frame_size - 24 bytes
//
// so what is put there is seen by userspace at once, and what is read from there userspace may have changed.
package skb

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"nlmmap/kernel"
	"nlmmap/kernel/inspect"
	"nlmmap/kernel/memmodel"
)

// Sizes of the modelled build (spec 14): cache lines, the shared-info area at the end of a head, and the buffer's own
// head rounded up to cache lines.
const (
	cacheLine  = 64
	sharedInfo = 320
	overhead   = 256
	maxBlock   = 4 << 20
)

// An SKB is a socket buffer. Its control block C belongs to the protocol family that has the buffer.
//
// Who makes one has it alone, until it is queued or others take references; from then on only
// Peeked and Destructor change: Peeked under the lock of the queue that holds the buffer, Destructor when the last
// reference goes. A clone is a buffer of its own: nobody writes the data that it shares.
type SKB[C any] struct {
	// Truesize is what the buffer adds to a socket's rmem.
	Truesize int
	CB       C
	// Destructor is called before the buffer's head goes; it takes back what the owner was charged.
	Destructor func(cur *kernel.Task, s *SKB[C])
	// Protocol is the netlink protocol, for taps. Peeked marks a message that MSG_PEEK has seen.
	Protocol int
	Peeked   bool

	k        *kernel.Kernel
	users    kernel.Ref
	slab     *Slab[C]         // where it goes when nobody has it any more, nil for Go's heap
	head     []byte           // ordinary buffer
	block    *block           // that head lies in, nil for memory of its own
	lent     bool             // somebody else has part of head
	kept     bool             // somebody looks at the buffer after it was freed
	mem      *memmodel.Memory // ring buffer: head is mem[base:base+end]
	base     int
	data     int
	tail     int
	end      int
	vmalloc  bool
	frags    [][]byte // page fragments behind the linear part
	fragSize int
}

// Block returns the size of the memory block that a request for size bytes gets: need <= 8192 the smallest cache that
// holds it, else a power of two of pages (spec 14.1). 0 means that it is too large.
func Block(size int) int {
	need := align(size) + sharedInfo
	block := 512
	for block < need {
		block *= 2
	}
	if block > maxBlock {
		return 0
	}
	return block
}

func align(n int) int { return (n + cacheLine - 1) &^ (cacheLine - 1) }

// A Slab is where the buffers of a protocol family come from, and with Kernel.Recycles where they go: the buffers
// themselves (skbuff_head_cache), and blocks of memory by size (kmalloc).
type Slab[C any] struct {
	k      *kernel.Kernel
	heads  kernel.Cache[SKB[C]]
	blocks [classes]kernel.Cache[block]
}

// classes is the number of sizes of blocks: 512 bytes and its doubles up to maxBlock.
const classes = 14

// A block is memory for a head.
type block struct{ b []byte }

// NewSlab returns an empty slab.
func NewSlab[C any](k *kernel.Kernel) *Slab[C] { return &Slab[C]{k: k} }

// class is the index of the smallest block that holds n bytes, -1 where none does.
func class(n int) int {
	switch {
	case n > maxBlock:
		return -1
	case n <= 512:
		return 0
	}
	return bits.Len(uint(n-1)) - 9
}

// New allocates a buffer with room for at least size bytes: alloc_skb. It returns nil when there is no memory: a
// block cannot be larger than 4 MiB.
func (l *Slab[C]) New(size int) *SKB[C] {
	n := Block(size)
	if size < 0 || n == 0 {
		return nil
	}
	return l.newHead(n-sharedInfo, n+overhead)
}

// NewVmalloc allocates a buffer of virtually contiguous memory for exactly size bytes, rounded up to cache lines
// (build_skb).
func (l *Slab[C]) NewVmalloc(size int) *SKB[C] {
	s := l.newHead(align(size), align(size)+sharedInfo+overhead)
	s.vmalloc = true
	return s
}

// AllocHead allocates a buffer without a data area: alloc_skb_head. size is what its own head weighs; see
// Differences.
func (l *Slab[C]) AllocHead(size int) *SKB[C] {
	s := l.buffer()
	s.Truesize = size
	return s
}

func (l *Slab[C]) newHead(capacity, truesize int) *SKB[C] {
	s := l.buffer()
	s.Truesize, s.end = truesize, capacity
	if i := class(capacity); s.slab != nil && i >= 0 {
		s.block = l.blocks[i].Get()
		if s.block.b == nil {
			s.block.b = make([]byte, 512<<i)
		}
		s.head = s.block.b[:0]
	}
	return s
}

// buffer returns a buffer with one user.
func (l *Slab[C]) buffer() *SKB[C] {
	if !l.k.Recycles() {
		return start(&SKB[C]{k: l.k})
	}
	s := l.heads.Get()
	*s = SKB[C]{k: l.k, slab: l}
	return start(s)
}

func start[C any](s *SKB[C]) *SKB[C] {
	// The count starts before anybody can see the buffer.
	s.users.Named("skb users", 1)
	s.k.Count(kernel.ResSKB, 1)
	return s
}

// New is Slab.New for a buffer that does not come from a slab.
func New[C any](k *kernel.Kernel, size int) *SKB[C] { return (&Slab[C]{k: k}).New(size) }

// NewVmalloc is Slab.NewVmalloc for a buffer that does not come from a slab.
func NewVmalloc[C any](k *kernel.Kernel, size int) *SKB[C] { return (&Slab[C]{k: k}).NewVmalloc(size) }

// AllocHead is Slab.AllocHead for a buffer that does not come from a slab.
func AllocHead[C any](k *kernel.Kernel, size int) *SKB[C] { return (&Slab[C]{k: k}).AllocHead(size) }

// SetRing points the head at size bytes at off of ring memory, empty.
func (s *SKB[C]) SetRing(mem *memmodel.Memory, off, size int) {
	s.mem, s.base, s.data, s.tail, s.end = mem, off, 0, 0, size
}

// Ring reports whether the head lies in ring memory.
func (s *SKB[C]) Ring() bool { return s.mem != nil }

// RingHead returns where in ring memory the head starts: right behind the frame header.
func (s *SKB[C]) RingHead() (*memmodel.Memory, int) { return s.mem, s.base }

// Vmalloc reports whether the head is virtually contiguous memory.
func (s *SKB[C]) Vmalloc() bool { return s.vmalloc }

// Len is the length of the message. Linear is the part of it that is not in page fragments.
func (s *SKB[C]) Len() int    { return s.tail - s.data + s.fragSize }
func (s *SKB[C]) Linear() int { return s.tail - s.data }

// Tailroom is the room behind the message: 0 once it has page fragments.
func (s *SKB[C]) Tailroom() int {
	if s.fragSize > 0 {
		return 0
	}
	return s.end - s.tail
}

// Capacity is the room between the start of the message and the end of the head.
func (s *SKB[C]) Capacity() int { return s.end - s.data }

// Headroom is the room before the message.
func (s *SKB[C]) Headroom() int { return s.data }

// Reserve makes headroom in an empty buffer: skb_reserve.
func (s *SKB[C]) Reserve(n int) {
	s.data += n
	s.tail += n
	if s.mem == nil {
		s.grow(s.tail)
	}
}

// grow makes the private head hold n bytes, zeros behind those that it has.
func (s *SKB[C]) grow(n int) {
	if had := len(s.head); n > had {
		s.extend(n)
		if s.block != nil {
			clear(s.head[had:])
		}
	}
}

// extend is grow for who writes all that comes behind the bytes of the head: in a block these are anything.
func (s *SKB[C]) extend(n int) {
	if n > cap(s.head) {
		more := make([]byte, n, max(n, min(s.end, max(512, 2*cap(s.head)))))
		copy(more, s.head)
		s.head = more
	}
	s.head = s.head[:max(n, len(s.head))]
}

// Put appends b to the message: skb_put and a copy. It returns false, and does nothing, when there is no room.
func (s *SKB[C]) Put(cur *kernel.Task, b []byte) bool {
	if len(b) > s.Tailroom() {
		return false
	}
	if s.mem != nil {
		s.mem.Write(cur.CPU(), s.base+s.tail, b)
		s.tail += len(b)
		return true
	}
	copy(s.Append(len(b)), b)
	return true
}

// Append makes the message of an ordinary buffer n bytes longer and returns them, for who writes all of them: skb_put. It
// returns nil when there is no room.
func (s *SKB[C]) Append(n int) []byte {
	if n > s.Tailroom() || s.mem != nil {
		return nil
	}
	at := s.tail
	s.tail += n
	s.grow(at)
	s.extend(s.tail)
	return s.head[at:s.tail:s.tail]
}

// Fill makes an empty ordinary buffer a message of the given length: n bytes of memory, of which those that do not fit are
// read and lost, and zeros behind them. It returns how many bytes of the length lie behind the head, as SetLen does.
func (s *SKB[C]) Fill(cur *kernel.Task, length int, mem *memmodel.Memory, off, n int) (beyond int) {
	if n > length || n > s.end-s.data {
		b := make([]byte, n)
		mem.Read(cur.CPU(), off, b)
		beyond = s.SetLen(length)
		s.Write(cur, 0, b[:min(n, s.Linear())])
		return beyond
	}
	s.tail = s.data + n
	s.extend(s.tail)
	mem.Read(cur.CPU(), off, s.head[s.data:s.tail])
	return s.SetLen(length)
}

// Extend appends n bytes without writing them: they keep what the memory held, zeros in a fresh private head.
func (s *SKB[C]) Extend(n int) bool {
	if n > s.Tailroom() {
		return false
	}
	s.tail += n
	if s.mem == nil {
		s.grow(s.tail)
	}
	return true
}

// SetLen sets the length without looking at the room: what a kernel does that trusts a length it has not checked.
// It returns how many bytes then lie behind the head.
func (s *SKB[C]) SetLen(n int) (beyond int) {
	s.tail = s.data + n
	if s.tail > s.end {
		beyond = s.tail - s.end
		s.tail = s.end
	}
	if s.mem == nil {
		s.grow(s.tail)
	}
	return beyond
}

// Trim cuts the message to n bytes if it is longer: skb_trim.
func (s *SKB[C]) Trim(n int) {
	if n >= s.Len() {
		return
	}
	s.frags = slices.Clone(s.frags) // clones share the list
	for len(s.frags) > 0 && n < s.Len() {
		last := len(s.frags) - 1
		cut := min(len(s.frags[last]), s.Len()-n)
		s.frags[last] = s.frags[last][:len(s.frags[last])-cut]
		s.fragSize -= cut
		if len(s.frags[last]) == 0 {
			s.frags = s.frags[:last]
		}
	}
	if n < s.Linear() {
		s.tail = s.data + n
	}
}

// AddFrag appends a page fragment.
func (s *SKB[C]) AddFrag(b []byte) {
	s.frags = append(s.frags[:len(s.frags):len(s.frags)], b)
	s.fragSize += len(b)
}

// Frags is the number of page fragments.
func (s *SKB[C]) Frags() int { return len(s.frags) }

// Write overwrites bytes of the message's linear part at off.
func (s *SKB[C]) Write(cur *kernel.Task, off int, b []byte) {
	if s.mem != nil {
		s.mem.Write(cur.CPU(), s.base+s.data+off, b)
		return
	}
	copy(s.head[s.data+off:s.tail], b)
}

// Write32 overwrites one word of the message.
func (s *SKB[C]) Write32(cur *kernel.Task, off int, v uint32) {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], v)
	s.Write(cur, off, b[:])
}

// Read copies bytes of the linear part at off into b. In a ring buffer they are what userspace has made of them.
func (s *SKB[C]) Read(cur *kernel.Task, off int, b []byte) {
	if s.mem != nil {
		s.mem.Read(cur.CPU(), s.base+s.data+off, b)
		return
	}
	clear(b[copy(b, s.head[min(s.data+off, s.tail):s.tail]):])
}

// Bytes returns n bytes of the linear part at off: of a private head the bytes themselves, which are the caller's to keep, of
// a ring buffer a copy.
func (s *SKB[C]) Bytes(cur *kernel.Task, off, n int) []byte {
	if s.mem == nil {
		s.lend()
		return s.head[s.data+off : s.data+off+n : s.data+off+n]
	}
	b := make([]byte, n)
	s.Read(cur, off, b)
	return b
}

// Peek returns the linear part as the kernel's writes have left it, without being a scheduling point: for traces.
func (s *SKB[C]) Peek(cur *kernel.Task) []byte {
	b := make([]byte, s.Linear())
	if s.mem != nil {
		s.mem.Peek(cur.CPU(), s.base+s.data, b)
	} else {
		copy(b, s.head[s.data:s.tail])
	}
	return b
}

// lend notes that somebody keeps part of the head: it is not used again.
func (s *SKB[C]) lend() {
	if s.block != nil {
		s.lent = true
	}
}

// Keep says that somebody looks at the buffer after it was freed: it is not used again.
func (s *SKB[C]) Keep() { s.kept = true }

// Look calls look with the message, page fragments included, which is valid until it returns: where nothing else has to be
// put together the bytes themselves.
func (s *SKB[C]) Look(cur *kernel.Task, look func(b []byte)) {
	if s.mem == nil && len(s.frags) == 0 {
		look(s.head[s.data:s.tail])
		return
	}
	look(s.Message(cur))
}

// Message returns the whole message, page fragments included.
func (s *SKB[C]) Message(cur *kernel.Task) []byte {
	b := s.Bytes(cur, 0, s.Linear())
	for _, f := range s.frags {
		b = append(b[:len(b):len(b)], f...)
	}
	return b
}

// DataToEnd returns n bytes from the start of the message on, past its length: what a copy of the whole buffer gets.
func (s *SKB[C]) DataToEnd(cur *kernel.Task, n int) []byte {
	b := make([]byte, n)
	if s.mem != nil {
		// Bytes behind the ring's memory are not ours to show.
		s.mem.Read(cur.CPU(), s.base+s.data, b[:max(0, min(n, s.mem.Size()-s.base-s.data))])
		return b
	}
	s.grow(s.tail)
	copy(b, s.head[s.data:])
	return b
}

// Get takes a reference: skb_get.
func (s *SKB[C]) Get(cur *kernel.Task) *SKB[C] {
	s.users.Get(cur)
	return s
}

// Shared reports whether somebody else has a reference: skb_shared.
func (s *SKB[C]) Shared(cur *kernel.Task) bool { return s.users.Load(cur) > 1 }

// Freed reports whether the last reference is gone.
func (s *SKB[C]) Freed(cur *kernel.Task) bool { return s.users.Load(cur) <= 0 }

// Free drops a reference; with the last one the destructor runs: kfree_skb and consume_skb.
func (s *SKB[C]) Free(cur *kernel.Task) {
	switch left := s.users.Put(cur); {
	case left == 0:
		s.Orphan(cur)
		s.k.Count(kernel.ResSKB, -1)
		s.recycle()
	case left < 0:
		s.k.Warn(cur, "skb freed twice")
	}
}

// recycle gives back what nobody has any more.
func (s *SKB[C]) recycle() {
	l := s.slab
	if l == nil {
		return
	}
	if s.block != nil && !s.lent {
		l.blocks[class(len(s.block.b))].Put(s.block)
	}
	if !s.kept {
		*s = SKB[C]{k: l.k} // for who frees it twice
		l.heads.Put(s)
	}
}

// Orphan ends the charge to the owner: skb_orphan.
func (s *SKB[C]) Orphan(cur *kernel.Task) {
	if d := s.Destructor; d != nil {
		s.Destructor = nil
		d(cur, s)
	}
}

// Clone makes a buffer that shares the data: skb_clone. The clone has a copy of the control block.
func (s *SKB[C]) Clone(*kernel.Task) *SKB[C] {
	s.lend()
	c := s.source().buffer()
	c.Truesize, c.CB, c.Protocol, c.head, c.mem, c.base = s.Truesize, s.CB, s.Protocol, s.head, s.mem, s.base
	c.data, c.tail, c.end, c.vmalloc, c.frags, c.fragSize = s.data, s.tail, s.end, s.vmalloc, s.frags, s.fragSize
	return c
}

// source is where more buffers like this come from.
func (s *SKB[C]) source() *Slab[C] {
	if s.slab != nil {
		return s.slab
	}
	return &Slab[C]{k: s.k}
}

// Copy makes a private copy of message and room: skb_copy. The copy has a copy of the control block.
func (s *SKB[C]) Copy(cur *kernel.Task) *SKB[C] {
	c := s.source().New(s.end + s.fragSize)
	if c == nil {
		return nil
	}
	c.CB, c.Protocol = s.CB, s.Protocol
	c.Reserve(s.data)
	c.Put(cur, s.Message(cur))
	return c
}

// Shrink moves the message of an ordinary buffer to a block without the room behind it: pskb_expand_head.
func (s *SKB[C]) Shrink() {
	room := s.end - s.tail
	s.end -= room
	s.Truesize -= room
}

// Differences are the named differences of socket buffers.
type Differences struct {
	HeadSize int
	Dataref  int
}

// Table declares the differences, bound to d's fields.
func (d *Differences) Table() []kernel.Difference {
	return []kernel.Difference{
		{
			Name: "skb-head-size", Spec: "6.2", Seen: kernel.SeenByConcurrency,
			Value: kernel.Number(&d.HeadSize, 0, 4096, [...]int{232, 224, 224, 224, 224}),
			Text: "Bytes that a ring message adds to its receiver's rmem between its charge and its publication: the " +
				"size of a socket buffer without data.",
		},
		{
			Name: "skb-dataref", Spec: "14",
			Value: kernel.Number(&d.Dataref, 0, 256, [...]int{36, 32, 32, 32, 32}),
			Text: "Where in the shared-info area behind a buffer's room the users of its data are counted. A ring " +
				"message has no such area: the word is one of the next frame.",
		},
	}
}

// A Queue is a list of buffers with its lock (sk_buff_head). The methods do not lock.
type Queue[C any] struct {
	Lock kernel.Spinlock
	list kernel.Guarded[[]*SKB[C]]
	n    kernel.Atomic // changes under the lock and is read without
}

// Init names the lock, and says what it guards.
func (q *Queue[C]) Init(lock string) {
	q.Lock.Name = lock
	q.list.Guard(&q.Lock.Mutex)
	q.n.Named("qlen", 0)
	q.n.Guard(&q.Lock.Mutex)
}

// Len is the number of buffers.
func (q *Queue[C]) Len(cur *kernel.Task) int { return int(q.n.Load(cur)) }

// First returns the oldest buffer, nil for none.
func (q *Queue[C]) First(cur *kernel.Task) *SKB[C] {
	list := *q.list.Of(cur)
	if len(list) == 0 {
		return nil
	}
	return list[0]
}

// All returns the buffers, oldest first.
func (q *Queue[C]) All(cur *kernel.Task) []*SKB[C] { return *q.list.Of(cur) }

// Append puts a buffer at the end.
func (q *Queue[C]) Append(cur *kernel.Task, s *SKB[C]) {
	list := q.list.Of(cur)
	*list = append(*list, s)
	q.n.Count(cur, 1)
}

// Remove takes a buffer off the list.
func (q *Queue[C]) Remove(cur *kernel.Task, s *SKB[C]) {
	list := q.list.Of(cur)
	if i := slices.Index(*list, s); i >= 0 {
		*list = slices.Delete(*list, i, i+1)
		q.n.Count(cur, -1)
	}
}

// Splice takes all buffers off the list.
func (q *Queue[C]) Splice(cur *kernel.Task) []*SKB[C] {
	list := q.list.Of(cur)
	all := *list
	*list = nil
	if len(all) > 0 {
		q.n.Count(cur, -int64(len(all)))
	}
	return all
}

// Inspect returns the buffers, oldest first, without the lock.
func (q *Queue[C]) Inspect(key inspect.Key) []*SKB[C] { return q.list.Inspect(key) }
