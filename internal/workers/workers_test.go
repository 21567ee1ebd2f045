package workers_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"nlmmap/internal/workers"
)

// TestEach: every index is worked on once, and never more of them at a time than asked for.
func TestEach(t *testing.T) {
	for _, n := range []int{0, 1, 2, 7, 100} {
		for _, most := range []int{0, 1, 3, 200} {
			calls := make([]atomic.Int32, n)
			var now, peak atomic.Int32
			workers.Each(t.Context(), n, most, func(i int) {
				if v := now.Add(1); v > peak.Load() {
					peak.Store(v)
				}
				calls[i].Add(1)
				now.Add(-1)
			})
			for i := range calls {
				if c := calls[i].Load(); c != 1 {
					t.Errorf("%d of %d was worked on %d times", i, n, c)
				}
			}
			if p := int(peak.Load()); most > 0 && p > most {
				t.Errorf("%d at a time, want at most %d", p, most)
			}
		}
	}
}

// TestEachIsCancelled: nothing begins after the context is done.
func TestEachIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var calls atomic.Int32
	workers.Each(ctx, 1000, 2, func(int) {
		if calls.Add(1) == 10 {
			cancel()
		}
	})
	if n := calls.Load(); n < 10 || n > 11 {
		t.Errorf("%d calls, cancelled in the 10th", n)
	}
}

func ExampleEach() {
	squares := make([]int, 5)
	workers.Each(context.Background(), len(squares), 0, func(i int) { squares[i] = i * i })
	fmt.Println(squares)
	// Output: [0 1 4 9 16]
}

// TestInOrder: results come in order, whoever did the work, until nobody wants more.
func TestInOrder(t *testing.T) {
	for _, most := range []int{0, 1, 3, 20} {
		for _, n := range []int{0, 5, 200} {
			var got []int
			whole := workers.InOrder(most, n, func(i int) int { return i * i }, func(i, square int) bool {
				if square != i*i {
					t.Errorf("piece %d has given %d", i, square)
				}
				got = append(got, i)
				return len(got) < 100
			})
			want := 100
			if n == 5 {
				want = 5
			}
			if len(got) != want || got[want-1] != want-1 || whole != (n == 5) {
				t.Errorf("%d goroutines, %d pieces: %v, %v", most, n, got, whole)
			}
		}
	}
}
