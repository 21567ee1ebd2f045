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
	head     []byte           // ordinary buffer
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

// New allocates a buffer with room for at least size bytes: alloc_skb. It returns nil when there is no memory: a
// block cannot be larger than 4 MiB.
func New[C any](k *kernel.Kernel, size int) *SKB[C] {
	block := Block(size)
	if size < 0 || block == 0 {
		return nil
	}
	return newHead[C](k, block-sharedInfo, block+overhead)
}

// NewVmalloc allocates a buffer of virtually contiguous memory for exactly size bytes, rounded up to cache lines
// (build_skb).
func NewVmalloc[C any](k *kernel.Kernel, size int) *SKB[C] {
	s := newHead[C](k, align(size), align(size)+sharedInfo+overhead)
	s.vmalloc = true
	return s
}

func newHead[C any](k *kernel.Kernel, capacity, truesize int) *SKB[C] {
	s := &SKB[C]{k: k, Truesize: truesize, head: make([]byte, 0, min(capacity, 512)), end: capacity}
	s.start()
	return s
}

func (s *SKB[C]) start() {
	// The count starts before anybody can see the buffer.
	s.users.Named("skb users", 1)
	s.k.Count(kernel.ResSKB, 1)
}

// AllocHead allocates a buffer without a data area: alloc_skb_head. size is what its own head weighs; see
// Differences.
func AllocHead[C any](k *kernel.Kernel, size int) *SKB[C] {
	s := &SKB[C]{k: k, Truesize: size}
	s.start()
	return s
}

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
func (s *SKB[C]) Reserve(n int) { s.data += n; s.tail += n }

// grow makes the private head hold n bytes.
func (s *SKB[C]) grow(n int) {
	if n <= len(s.head) {
		return
	}
	for cap(s.head) < n {
		s.head = append(s.head[:cap(s.head)], 0)
	}
	s.head = s.head[:n]
}

// Put appends b to the message: skb_put and a copy. It returns false, and does nothing, when there is no room.
func (s *SKB[C]) Put(cur *kernel.Task, b []byte) bool {
	if len(b) > s.Tailroom() {
		return false
	}
	at := s.tail
	s.tail += len(b)
	if s.mem != nil {
		s.mem.Write(cur.CPU(), s.base+at, b)
		return true
	}
	s.grow(s.tail)
	copy(s.head[at:], b)
	return true
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

// Bytes returns n bytes of the linear part at off: of a private head the bytes themselves, of a ring buffer a copy.
func (s *SKB[C]) Bytes(cur *kernel.Task, off, n int) []byte {
	if s.mem == nil {
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
	case left < 0:
		s.k.Warn(cur, "skb freed twice")
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
	c := &SKB[C]{k: s.k, Truesize: s.Truesize, CB: s.CB, Protocol: s.Protocol, head: s.head, mem: s.mem, base: s.base,
		data: s.data, tail: s.tail, end: s.end, vmalloc: s.vmalloc, frags: s.frags, fragSize: s.fragSize}
	c.start()
	return c
}

// Copy makes a private copy of message and room: skb_copy. The copy has a copy of the control block.
func (s *SKB[C]) Copy(cur *kernel.Task) *SKB[C] {
	c := New[C](s.k, s.end+s.fragSize)
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
