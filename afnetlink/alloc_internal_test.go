package afnetlink

import (
	"testing"

	"nlmmap/kernel"
	"nlmmap/skb"
)

// TestTrim compares with spec 14.3 as it reads, and with the bounds that it gives for buffers of 3776 bytes.
func TestTrim(t *testing.T) {
	k, err := kernel.Boot(kernel.Config{})
	if err != nil {
		t.Fatal(err)
	}
	nl, err := Register(k)
	if err != nil {
		t.Fatal(err)
	}
	cur := k.KernelTask("test")
	for size := 1; size < 9000; size += 127 {
		for n := 0; n <= size; n += 13 {
			s := nl.NewSKB(cur, size)
			capacity, truesize := s.Tailroom(), s.Truesize
			s.Extend(n)
			delta := capacity - n
			if 2*delta >= truesize {
				capacity, truesize = n, truesize-delta
			}
			trim(s)
			if s.Truesize != truesize || s.Len() != n || s.Capacity() != capacity {
				t.Fatalf("%d in %d: truesize %d capacity %d, want %d %d", n, size, s.Truesize, s.Capacity(), truesize, capacity)
			}
			if n == size && capacity != skb.Block(size)-320 {
				t.Fatalf("a message of %d that was allocated for its size is trimmed", n)
			}
			s.Free(cur)
		}
	}
	for n, want := range map[int]int{0: 576, 1600: 2176, 1601: 4352} {
		s := nl.NewSKB(cur, 3776)
		s.Extend(n)
		if trim(s); s.Truesize != want {
			t.Errorf("%d in 3776: truesize %d, want %d", n, s.Truesize, want)
		}
		s.Free(cur)
	}
	v := skb.NewVmalloc[CB](k, 8000)
	if trim(v); v.Truesize != 8000+576 {
		t.Errorf("vmalloc memory is trimmed to %d", v.Truesize)
	}
	v.Free(cur)
}
