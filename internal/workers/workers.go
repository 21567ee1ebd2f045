// Package workers does many independent pieces of work on all processors, for results that do not depend on the order
// in which they end.
package workers

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// Each calls do with 0 to n-1, each once, on at most most goroutines (0 for as many as there are processors), and returns
// when all calls have. When ctx is done no further ones begin: calls that have begun look at ctx themselves. What do
// finds out belongs into a slice, at its index.
func Each(ctx context.Context, n, most int, do func(i int)) {
	if most <= 0 {
		most = runtime.GOMAXPROCS(0)
	}
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(most, n) {
		all.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				do(i)
			}
		})
	}
	all.Wait()
}

// InOrder calls do with 0 to n-1 (n 0: without end) on most goroutines (at least one), and take with what each call has
// returned, in the order of the indices and in one goroutine at a time, until take returns false. It reports whether take
// never did. Some calls of do may be in vain.
func InOrder[T any](most, n int, do func(i int) T, take func(i int, result T) bool) bool {
	if most <= 1 {
		for i := 0; n == 0 || i < n; i++ {
			if !take(i, do(i)) {
				return false
			}
		}
		return true
	}
	// Worker w does every most-th piece, a few ahead of what is taken.
	ctx, cancel := context.WithCancel(context.Background())
	results := make([]chan T, most)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for w := range results {
		results[w] = make(chan T, 16)
		all.Go(func() {
			defer close(results[w])
			for i := w; n == 0 || i < n; i += most {
				select {
				case results[w] <- do(i):
				case <-ctx.Done():
					return
				}
			}
		})
	}
	for i := 0; n == 0 || i < n; i++ {
		result, ok := <-results[i%most]
		if !ok {
			runtime.Goexit() // as do has done
		}
		if !take(i, result) {
			return false
		}
	}
	return true
}
