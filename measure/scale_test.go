package measure

import (
	"runtime"
	"testing"

	"nlmmap/kernel"
)

// TestCrowd: 10,000 sockets with rings, each mapped and in a group, need less than 16 KiB each beyond the memory of their
// rings, and closing the machine leaves nothing.
func TestCrowd(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has memory of its own")
	}
	m, err := newModel(kernel.Version{Release: kernel.Linux4_4})
	if err != nil {
		t.Fatal(err)
	}
	const sockets = 10_000
	before := heapInUse()
	ringBytes, err := m.crowd(sockets)
	if err != nil {
		t.Fatal(err)
	}
	each := (heapInUse() - before - ringBytes) / sockets
	t.Logf("%d bytes each", each)
	if each >= 16<<10 {
		t.Errorf("a socket needs %d bytes beyond its ring", each)
	}
	if err := m.close(); err != nil {
		t.Error(err)
	}
}

func heapInUse() int {
	runtime.GC()
	runtime.GC() // what caches had
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int(s.HeapAlloc)
}
