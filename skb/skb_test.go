package skb_test

import (
	"bytes"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"nlmmap/kernel"
	"nlmmap/skb"
)

func boot(t testing.TB) (*kernel.Kernel, *kernel.Task) {
	t.Helper()
	k, err := kernel.Boot(kernel.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k, k.KernelTask("test")
}

// TestSizes has the table of spec 14.1.
func TestSizes(t *testing.T) {
	k, cur := boot(t)
	low := 0
	for _, c := range []struct{ high, block, capacity, truesize int }{
		{192, 512, 192, 768}, {704, 1024, 704, 1280}, {1728, 2048, 1728, 2304}, {3776, 4096, 3776, 4352},
		{7872, 8192, 7872, 8448}, {16064, 16384, 16064, 16640}, {32448, 32768, 32448, 33024},
		{65216, 65536, 65216, 65792}, {130752, 131072, 130752, 131328},
	} {
		for _, size := range []int{low, (low + c.high) / 2, c.high} {
			s := skb.New[cb](k, size)
			if skb.Block(size) != c.block || s.Tailroom() != c.capacity || s.Truesize != c.truesize || s.Len() != 0 {
				t.Errorf("size %d: block %d, capacity %d, truesize %d; want %+v", size, skb.Block(size), s.Tailroom(), s.Truesize, c)
			}
			s.Free(cur)
		}
		low = c.high + 1
	}
	if s := skb.New[cb](k, 4<<20-320); s == nil {
		t.Error("no block of 4 MiB")
	} else {
		s.Free(cur)
	}
	if skb.New[cb](k, 4<<20-319) != nil || skb.New[cb](k, -1) != nil {
		t.Error("a block of more than 4 MiB")
	}
}

// cb is the control block of these tests.
type cb struct{ owner string }

// TestOtherTruesizes has spec 14.2.
func TestOtherTruesizes(t *testing.T) {
	k, cur := boot(t)
	for size, want := range map[int]int{3777: 4416, 3840: 4416, 5000: 5632, 100000: 100608} {
		s := skb.NewVmalloc[cb](k, size)
		if s.Truesize != want || !s.Vmalloc() || s.Tailroom() < size {
			t.Errorf("vmalloc of %d: truesize %d, want %d", size, s.Truesize, want)
		}
		c := s.Clone(cur)
		if c.Truesize != want {
			t.Errorf("the clone has truesize %d", c.Truesize)
		}
		c.Free(cur)
		s.Free(cur)
	}
	for r, want := range map[kernel.Release]int{kernel.Linux3_10: 232, kernel.Linux3_19: 224, kernel.Linux4_5: 224} {
		var d skb.Differences
		if err := (kernel.Version{Release: r}).Resolve(d.Table()); err != nil || d.HeadSize != want {
			t.Errorf("%v: head %d, %v", r, d.HeadSize, err)
		}
	}
}

// TestAgainstBytes does random things to an ordinary and to a ring buffer, and to a list of bytes.
func TestAgainstBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k, err := kernel.Boot(kernel.Config{})
		if err != nil {
			t.Fatal(err)
		}
		cur := k.KernelTask("test")
		ring := rapid.Bool().Draw(t, "ring")
		room := rapid.SampledFrom([]int{192, 704, 1728}).Draw(t, "room")
		mem, err := k.AllocPages(cur, 8192)
		if err != nil {
			t.Fatal(err)
		}
		s := skb.New[cb](k, room)
		if ring {
			s.Free(cur)
			s = skb.AllocHead[cb](k, 224)
			s.SetRing(mem, 4096+24, room)
		}
		if ring != s.Ring() {
			t.Fatal("ring")
		}
		var want []byte
		frags := 0
		if n := rapid.IntRange(0, 100).Draw(t, "reserve"); n > 0 {
			s.Reserve(n)
			room -= n
		}
		chunk := rapid.SliceOfN(rapid.Byte(), 0, 300)
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				b := chunk.Draw(t, "data")
				fits := len(want)+len(b) <= room && frags == 0
				if len(b) == 0 {
					fits = true
				}
				if s.Put(cur, b) != fits {
					t.Fatalf("put of %d to %d in %d: want %t", len(b), len(want), room, fits)
				}
				if fits {
					want = append(want, b...)
				}
			},
			"trim": func(t *rapid.T) {
				n := rapid.IntRange(0, 1000).Draw(t, "length")
				s.Trim(n)
				want = want[:min(n, len(want))]
				if frags = len(want) - s.Linear(); frags == 0 && s.Frags() != 0 {
					t.Fatal("an empty fragment is left")
				}
			},
			"frag": func(t *rapid.T) {
				b := chunk.Filter(func(b []byte) bool { return len(b) > 0 }).Draw(t, "fragment")
				s.AddFrag(b)
				want = append(want, b...)
				frags += len(b)
			},
			"write": func(t *rapid.T) {
				if s.Linear() < 4 {
					t.Skip("too short")
				}
				at := rapid.IntRange(0, s.Linear()-4).Draw(t, "at")
				s.Write32(cur, at, 0x64636261)
				copy(want[at:], "abcd")
			},
			"clone": func(t *rapid.T) {
				// What is done to a clone's length does not change the original.
				c := s.Clone(cur)
				c.Trim(rapid.IntRange(0, 1000).Draw(t, "length"))
				if !bytes.HasPrefix(s.Message(cur), c.Message(cur)) {
					t.Fatal("the clone has something else")
				}
				c.Free(cur)
			},
			"copy": func(t *rapid.T) {
				c := s.Copy(cur)
				if !bytes.Equal(c.Message(cur), want) || c.Ring() {
					t.Fatalf("the copy has %d bytes, want %d", c.Len(), len(want))
				}
				if c.Linear() > 0 {
					c.Write(cur, 0, []byte{^want[0]})
				}
				c.Free(cur)
			},
			"": func(t *rapid.T) {
				if got := s.Message(cur); !bytes.Equal(got, want) || s.Len() != len(want) {
					t.Fatalf("%d bytes %x, want %d bytes %x", s.Len(), got, len(want), want)
				}
			},
		})
		outside := make([]byte, 24)
		if mem.Read(nil, 4096, outside); !bytes.Equal(outside, make([]byte, 24)) {
			t.Fatal("the frame's header was written")
		}
		s.Free(cur)
		k.FreePages(cur, mem)
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestUsers: the destructor runs once, with the last reference, while the data is still there.
func TestUsers(t *testing.T) {
	k, cur := boot(t)
	s := skb.New[cb](k, 10)
	s.Put(cur, []byte("data"))
	var log []string
	s.CB.owner = "owner"
	s.Destructor = func(cur *kernel.Task, s *skb.SKB[cb]) {
		log = append(log, fmt.Sprintf("%s of %v", s.Message(cur), s.CB.owner))
	}
	c := s.Clone(cur)
	if c.CB != s.CB || c.Destructor != nil {
		t.Error("the clone has a destructor, or no control block")
	}
	c.Free(cur)
	s.Get(cur)
	if !s.Shared(cur) || s.Freed(cur) {
		t.Error("not shared")
	}
	s.Free(cur)
	if s.Shared(cur) || s.Freed(cur) || len(log) != 0 {
		t.Errorf("%q after the first of two references", log)
	}
	s.Free(cur)
	if !s.Freed(cur) || len(log) != 1 || log[0] != "data of owner" {
		t.Errorf("%q", log)
	}
}

func TestFreedTwice(t *testing.T) {
	k, err := kernel.Boot(kernel.Config{})
	if err != nil {
		t.Fatal(err)
	}
	cur := k.KernelTask("test")
	s := skb.New[cb](k, 10)
	s.Free(cur)
	s.Free(cur)
	if w := k.Warnings(); len(w) != 1 || w[0].What != "skb freed twice" {
		t.Error(w)
	}
	if k.Live(kernel.ResSKB) != 0 {
		t.Error("counted twice")
	}
}

// TestSetLen: a length that nobody checked is cut at the end of the head, and what a kernel would have touched behind
// is reported.
func TestSetLen(t *testing.T) {
	k, cur := boot(t)
	s := skb.New[cb](k, 192)
	if beyond := s.SetLen(200); beyond != 8 || s.Len() != 192 {
		t.Errorf("%d beyond, length %d", beyond, s.Len())
	}
	if beyond := s.SetLen(3); beyond != 0 || s.Len() != 3 {
		t.Errorf("%d beyond, length %d", beyond, s.Len())
	}
	s.Free(cur)
}

func TestQueue(t *testing.T) {
	k, cur := boot(t)
	var q skb.Queue[cb]
	var all []*skb.SKB[cb]
	for range 4 {
		s := skb.New[cb](k, 1)
		all = append(all, s)
		q.Append(cur, s)
	}
	q.Remove(cur, all[1])
	q.Remove(cur, all[1]) // not there any more
	if q.Len(cur) != 3 || q.First(cur) != all[0] || len(q.All(cur)) != 3 {
		t.Error("wrong queue")
	}
	if got := q.Splice(cur); len(got) != 3 || got[1] != all[2] || q.Len(cur) != 0 || q.First(cur) != nil {
		t.Error("wrong splice")
	}
	for _, s := range all {
		s.Free(cur)
	}
}

// A message in a buffer, and what it weighs in the receiver's rmem.
func Example() {
	k, err := kernel.Boot(kernel.Config{})
	if err != nil {
		panic(err)
	}
	cur := k.KernelTask("sender")
	s := skb.New[cb](k, 3776)
	s.Put(cur, []byte("a short message"))
	fmt.Println("truesize", s.Truesize, "room", s.Tailroom())
	s.Shrink()
	fmt.Println("truesize", s.Truesize, "room", s.Tailroom())
	fmt.Printf("%s\n", s.Message(cur))
	s.Free(cur)
	fmt.Println(k.Close())
	// Output:
	// truesize 4352 room 3761
	// truesize 591 room 0
	// a short message
	// <nil>
}

// A buffer whose head is a frame: what is put there is in shared memory at once.
func ExampleSKB_SetRing() {
	k, err := kernel.Boot(kernel.Config{})
	if err != nil {
		panic(err)
	}
	cur := k.KernelTask("sender")
	mem, err := k.AllocPages(cur, 4096)
	if err != nil {
		panic(err)
	}
	s := skb.AllocHead[cb](k, 224)
	s.SetRing(mem, 24, 1000)
	s.Put(cur, []byte("hello"))
	seen := make([]byte, 5)
	mem.Read(nil, 24, seen)
	fmt.Printf("%s, truesize %d, room %d\n", seen, s.Truesize, s.Tailroom())
	s.Free(cur)
	k.FreePages(cur, mem)
	fmt.Println(k.Close())
	// Output:
	// hello, truesize 224, room 995
	// <nil>
}

// TestSlab: on a machine that runs freely buffers are used again, without what was in them; a part that somebody has stays.
func TestSlab(t *testing.T) {
	k, err := kernel.Boot(kernel.Config{Mode: kernel.Free})
	if err != nil {
		t.Fatal(err)
	}
	cur := k.KernelTask("t")
	slab := skb.NewSlab[cb](k)
	var lent [][]byte
	for i := range 1000 {
		s := slab.New(i)
		if s.Len() != 0 || s.Tailroom() < i || s.CB != (cb{}) || s.Peeked || s.Freed(cur) {
			t.Fatalf("buffer %d: %+v", i, s)
		}
		s.CB = cb{"somebody"}
		s.Reserve(i % 3)
		s.Extend(i / 2)
		b := make([]byte, s.Len())
		if s.Read(cur, 0, b); !bytes.Equal(b, make([]byte, len(b))) {
			t.Fatalf("buffer %d begins with what another had", i)
		}
		s.Put(cur, bytes.Repeat([]byte{byte(i)}, i/4))
		c := s
		if i%5 == 0 {
			c = s.Clone(cur)
		}
		if i%7 == 0 {
			lent = append(lent, c.Message(cur)[i/2:])
		}
		if c != s {
			s.Free(cur)
		}
		got := make([]byte, i/4)
		if c.Read(cur, i/2, got); !bytes.Equal(got, bytes.Repeat([]byte{byte(i)}, i/4)) {
			t.Fatalf("buffer %d lost its data", i)
		}
		c.Free(cur)
	}
	for i, b := range lent {
		if !bytes.Equal(b, bytes.Repeat([]byte{byte(7 * i)}, 7*i/4)) {
			t.Errorf("bytes of buffer %d are used again", 7*i)
		}
	}
	if err := k.Close(); err != nil {
		t.Error(err)
	}
}
