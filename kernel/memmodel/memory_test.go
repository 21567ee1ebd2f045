package memmodel_test

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"nlmmap/kernel/memmodel"
	"nlmmap/kernel/sched"
)

// both runs a test on heap memory and on a memfd.
func both(t *testing.T, size int, test func(t *testing.T, m *memmodel.Memory, reports *[]string)) {
	for _, kind := range []string{"heap", "memfd"} {
		t.Run(kind, func(t *testing.T) {
			var reports []string
			report := func(what string) { reports = append(reports, what) }
			m := memmodel.NewHeap(size, report)
			if kind == "memfd" {
				var err error
				if m, err = memmodel.NewMemfd(size, report); err != nil {
					t.Fatal(err)
				}
			}
			test(t, m, &reports)
			if !m.Freed() {
				m.Free()
			}
		})
	}
}

// TestBounds: what lies outside reads as zeros, is not written, and is reported.
func TestBounds(t *testing.T) {
	const size = 4096
	both(t, size, func(t *testing.T, m *memmodel.Memory, reports *[]string) {
		m.Write(nil, 0, bytes.Repeat([]byte{0xff}, size))
		for _, off := range []int{-4, -1, size - 3, size, size + 4, 1 << 40} {
			for name, access := range map[string]func() bool{
				"load":  func() bool { return m.Load32(nil, off) == 0 },
				"store": func() bool { m.Store32(nil, off, 1); return true },
				"read": func() bool {
					b := []byte{1, 1, 1, 1}
					m.Read(nil, off, b)
					return bytes.Equal(b, make([]byte, 4))
				},
				"write": func() bool { m.Write(nil, off, make([]byte, 4)); return true },
			} {
				*reports = nil
				if !access() || len(*reports) != 1 {
					t.Errorf("%s at %d: reports %q", name, off, *reports)
				}
			}
		}
		*reports = nil
		all := make([]byte, size)
		m.Read(nil, 0, all)
		if !bytes.Equal(all, bytes.Repeat([]byte{0xff}, size)) || len(*reports) != 0 {
			t.Errorf("memory was changed; reports %q", *reports)
		}
		m.Read(nil, size, nil)
		if len(*reports) != 0 {
			t.Errorf("reading nothing at the end: %q", *reports)
		}
	})
}

func TestUseAfterFree(t *testing.T) {
	both(t, 4096, func(t *testing.T, m *memmodel.Memory, reports *[]string) {
		m.Store32(nil, 8, 7)
		m.Free()
		if v := m.Load32(nil, 8); v != 0 {
			t.Errorf("freed memory reads %d", v)
		}
		m.Store32(nil, 8, 1)
		m.Free()
		want := []string{"load of 4 bytes at offset 8 of freed memory", "store of 4 bytes at offset 8 of freed memory", "memory freed twice"}
		if fmt.Sprint(*reports) != fmt.Sprint(want) {
			t.Errorf("reports %q, want %q", *reports, want)
		}
	})
}

// TestMemfdIsShared: whoever has the descriptor sees the same bytes.
func TestMemfdIsShared(t *testing.T) {
	m, err := memmodel.NewMemfd(8192, func(what string) { t.Error(what) })
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	f, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", m.FD()), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m.Write(nil, 5000, []byte("hello"))
	got := make([]byte, 5)
	if _, err := f.ReadAt(got, 5000); err != nil || string(got) != "hello" {
		t.Errorf("%q %v", got, err)
	}
	if _, err := f.WriteAt([]byte("HELLO"), 5000); err != nil {
		t.Fatal(err)
	}
	m.Read(nil, 5000, got)
	if string(got) != "HELLO" || m.Size() != 8192 {
		t.Errorf("%q", got)
	}
}

// TestMapping maps two memories one behind the other, and moves, splits, grows and copies the mapping: shared bytes
// stay shared, private ones are copied.
func TestMapping(t *testing.T) {
	const page = 4096
	var segs []memmodel.Segment
	for i := range 2 {
		m, err := memmodel.NewMemfd(2*page, func(what string) { t.Error(what) })
		if err != nil {
			t.Fatal(err)
		}
		defer m.Free()
		m.Store32(nil, 0, uint32(10+i))
		segs = append(segs, memmodel.Segment{Mem: m, Size: 2 * page})
	}
	words := func(m *memmodel.Mapping) (w []uint32) {
		for off := 0; off < len(m.Bytes()); off += page {
			w = append(w, m.Memory().Load32(nil, off))
		}
		return w
	}
	check := func(what string, m *memmodel.Mapping, want ...uint32) {
		t.Helper()
		if got := words(m); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
	}
	shared, err := memmodel.Map(segs, 3, false)
	if err != nil {
		t.Fatal(err)
	}
	check("both", shared, 10, 0, 11, 0)
	shared.Memory().Store32(nil, 3*page, 12)
	if got := segs[1].Mem.Load32(nil, page); got != 12 {
		t.Errorf("the memory has %d", got)
	}
	private, err := memmodel.Map(segs, 3, true)
	if err != nil {
		t.Fatal(err)
	}
	private.Memory().Store32(nil, page, 99)
	check("private", private, 10, 99, 11, 12)
	check("shared", shared, 10, 0, 11, 12)
	child, err := private.Fork([]int{page})
	if err != nil {
		t.Fatal(err)
	}
	private.Memory().Store32(nil, page, 100)
	check("child", child, 10, 99, 11, 12)
	child.Protect(0) // a copy of what may not be read
	moved, err := child.Move(page, 2*page, []int{page})
	if err != nil {
		t.Fatal(err)
	}
	moved.Protect(1)
	check("moved", moved, 99, 11)
	grown, err := private.Grow(page, []int{page})
	if err != nil {
		t.Fatal(err)
	}
	check("grown", grown, 10, 100, 11, 12, 0)
	lower, upper := shared.Split(page)
	if len(lower.Bytes()) != page || len(upper.Bytes()) != 3*page || upper.Bytes()[page] != 11 {
		t.Error("wrong halves")
	}
	for _, m := range []*memmodel.Mapping{private, child, moved, grown, lower, upper, nil} {
		m.Unmap()
	}
}

// TestModels runs the message-passing program under each memory model: data, then flag; the reader must not see the
// flag without the data. On SC and TSO it never does, on Weak it does where barriers are missing.
func TestModels(t *testing.T) {
	for _, c := range []struct {
		model    memmodel.Model
		barriers bool
		stale    bool
	}{{memmodel.SC, false, false}, {memmodel.TSO, false, false}, {memmodel.Weak, false, true}, {memmodel.Weak, true, false}} {
		stale := false
		for seed := range uint64(600) {
			r := &sched.Run{Scheduler: sched.NewRandom(seed)}
			bus := &memmodel.Bus{Run: r, Model: c.model}
			m := memmodel.NewHeap(64, func(what string) { t.Error(what) })
			r.Go("writer", func(th *sched.Thread) {
				cpu := &memmodel.CPU{Thread: th, Bus: bus}
				m.Store32(cpu, 0, 1)
				if c.barriers {
					cpu.Barrier(memmodel.SmpWMB)
				}
				m.Store32(cpu, 32, 1)
			})
			r.Go("reader", func(th *sched.Thread) {
				cpu := &memmodel.CPU{Thread: th, Bus: bus}
				flag := m.Load32(cpu, 32)
				if c.barriers {
					cpu.Barrier(memmodel.SmpRMB)
				}
				stale = stale || m.Load32(cpu, 0) == 0 && flag == 1
			})
			if err := r.Loop(); err != nil {
				t.Fatal(err)
			}
		}
		if stale != c.stale {
			t.Errorf("%v, barriers %t: stale data seen %t, want %t", c.model, c.barriers, stale, c.stale)
		}
	}
}

// Accesses outside a memory, or after it was freed, are told to its owner and harm nobody.
func Example() {
	m := memmodel.NewHeap(4096, func(what string) { fmt.Println("report:", what) })
	m.Store32(nil, 4092, 7)
	fmt.Println(m.Load32(nil, 4092))
	fmt.Println(m.Load32(nil, 4096))
	m.Free()
	m.Write(nil, 0, []byte("late"))
	// Output:
	// 7
	// report: load of 4 bytes at offset 4096 outside memory of 4096 bytes
	// 0
	// report: write of 4 bytes at offset 0 of freed memory
}
