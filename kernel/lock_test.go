package kernel_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"nlmmap/kernel"
	"nlmmap/kernel/memmodel"
	"nlmmap/kernel/sched"
)

// A lockPart is what a task does in a lock's litmus test.
type lockPart func(s *lockWorld, cur *kernel.Task) string

type lockWorld struct {
	k      *kernel.Kernel
	x, y   *memmodel.Memory
	a, b   kernel.Spinlock
	mutex  kernel.Mutex
	number kernel.Atomic
}

func locked(l func(*lockWorld) interface{ Lock(*kernel.Task) }, unlock func(*lockWorld, *kernel.Task), do lockPart) lockPart {
	return func(s *lockWorld, cur *kernel.Task) string {
		l(s).Lock(cur)
		seen := do(s, cur)
		unlock(s, cur)
		return seen
	}
}

// The critical sections of the tests.
func underA(do lockPart) lockPart {
	return locked(func(s *lockWorld) interface{ Lock(*kernel.Task) } { return &s.a }, func(s *lockWorld, cur *kernel.Task) { s.a.Unlock(cur) }, do)
}

func underB(do lockPart) lockPart {
	return locked(func(s *lockWorld) interface{ Lock(*kernel.Task) } { return &s.b }, func(s *lockWorld, cur *kernel.Task) { s.b.Unlock(cur) }, do)
}

func underMutex(do lockPart) lockPart {
	return locked(func(s *lockWorld) interface{ Lock(*kernel.Task) } { return &s.mutex }, func(s *lockWorld, cur *kernel.Task) { s.mutex.Unlock(cur) }, do)
}

func setX(s *lockWorld, cur *kernel.Task) string { s.x.Store32(cur.CPU(), 0, 1); return "" }
func setY(s *lockWorld, cur *kernel.Task) string { s.y.Store32(cur.CPU(), 0, 1); return "" }
func seeX(s *lockWorld, cur *kernel.Task) string { return fmt.Sprint("x", s.x.Load32(cur.CPU(), 0)) }
func seeY(s *lockWorld, cur *kernel.Task) string { return fmt.Sprint("y", s.y.Load32(cur.CPU(), 0)) }
func setN(s *lockWorld, cur *kernel.Task) string { s.number.Store(cur, 1); return "" }
func seeN(s *lockWorld, cur *kernel.Task) string { return fmt.Sprint("n", s.number.Load(cur)) }

// TestUnlock: what follows a spinlock that was given back may come before what was stored under it, for all but those who
// take the same lock. On a machine without store buffers, and after a mutex, it may not.
func TestUnlock(t *testing.T) {
	for _, test := range []struct {
		name  string
		parts [2][]lockPart
		seen  string  // what the two tasks may see
		in    [3]bool // under sc, tso, weak
	}{
		{"two locks", [2][]lockPart{{underA(setX), seeY}, {underB(setY), seeX}}, "y0 x0", [3]bool{false, true, true}},
		{"two locks in turn", [2][]lockPart{{underA(setX), underB(seeY)}, {underB(setY), underA(seeX)}}, "y0 x0", [3]bool{}},
		{"one lock", [2][]lockPart{{underA(setX), seeY}, {underA(setY), seeX}}, "y0 x0", [3]bool{}},
		{"one lock, read under it", [2][]lockPart{{underA(setX), underA(seeY)}, {underA(setY), underA(seeX)}}, "y0 x0", [3]bool{}},
		{"two mutexes", [2][]lockPart{{underMutex(setX), seeY}, {underMutex(setY), seeX}}, "y0 x0", [3]bool{}},
		{"nothing stored", [2][]lockPart{{underA(seeY), setX}, {underB(seeX), setY}}, "y1 x1", [3]bool{}},
		{"what was stored comes first", [2][]lockPart{{setX, underA(setY)}, {underA(seeY), seeX}}, " y1x0", [3]bool{}},
		{"read without the lock", [2][]lockPart{{setX, underA(setY)}, {seeY, seeX}}, " y1x0", [3]bool{false, false, true}},
		{"a variable of the kernel's comes later", [2][]lockPart{{underA(setX), setN}, {seeN, seeX}}, " n1x0", [3]bool{false, false, true}},
	} {
		for m := memmodel.SC; m <= memmodel.Weak; m++ {
			seen := map[string]bool{}
			d := &sched.DFS{}
			for d.More() {
				run := &sched.Run{Scheduler: d}
				k, err := kernel.Boot(kernel.Config{Mode: kernel.Controlled, Run: run, Memory: m, Trace: func(r kernel.Record) {
					if w, ok := r.Event.(kernel.Warning); ok {
						t.Error(w)
					}
				}})
				must(t, err)
				s := &lockWorld{k: k, x: memmodel.NewHeap(64, func(what string) { t.Error(what) }), y: memmodel.NewHeap(64, func(what string) { t.Error(what) })}
				s.a.Name, s.b.Name, s.mutex.Name = "a", "b", "mutex"
				results := make([]string, 2)
				for i, parts := range test.parts {
					k.KernelTask(fmt.Sprint("t", i)).Go(func(cur *kernel.Task) {
						for _, part := range parts {
							results[i] += part(s, cur)
						}
					})
				}
				must(t, run.Loop())
				if !d.Repeated() {
					seen[strings.Join(results, " ")] = true
				}
			}
			must(t, d.Err())
			if seen[test.seen] != test.in[m] {
				t.Errorf("%s, %v: %s is possible: %v, want %v; all are %q", test.name, m, test.seen, seen[test.seen], test.in[m], slices.Sorted(maps.Keys(seen)))
			}
		}
	}
}
