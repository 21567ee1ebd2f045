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
