package nfnetlink

import (
	"maps"
	"slices"
	"sync"

	"nlmmap/kernel"
)

// Instances is what a subsystem has in one namespace by number: queues, log groups. Lookups are a load of word,
// changes a store to it under lock; mu keeps the map whole in Free mode and is never held at a scheduling point.
type Instances[T any] struct {
	lock  kernel.Spinlock // instances_lock
	word  kernel.Atomic
	mu    sync.RWMutex
	byNum map[uint16]*T
}

// NewInstances returns an empty table whose lock has a name.
func NewInstances[T any](lock string) *Instances[T] {
	t := &Instances[T]{byNum: map[uint16]*T{}}
	t.lock.Name = lock
	return t
}

// Lookup returns the instance with a number, nil for none: instance_lookup.
func (t *Instances[T]) Lookup(cur *kernel.Task, num uint16) *T {
	t.word.Load(cur)
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byNum[num]
}

// Add gives an instance its number: instance_create. EEXIST when somebody was faster.
func (t *Instances[T]) Add(cur *kernel.Task, num uint16, instance *T) error {
	t.lock.Lock(cur)
	defer t.lock.Unlock(cur)
	t.word.Add(cur, 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byNum[num] != nil {
		return kernel.EEXIST
	}
	t.byNum[num] = instance
	return nil
}

// Remove takes out the instances for which match is true and returns them, by number.
func (t *Instances[T]) Remove(cur *kernel.Task, match func(*T) bool) []*T {
	t.lock.Lock(cur)
	defer t.lock.Unlock(cur)
	t.word.Add(cur, 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	var gone []*T
	for _, num := range slices.Sorted(maps.Keys(t.byNum)) {
		if instance := t.byNum[num]; match(instance) {
			gone = append(gone, instance)
			delete(t.byNum, num)
		}
	}
	return gone
}

// All returns the instances, by number.
func (t *Instances[T]) All(cur *kernel.Task) []*T {
	t.word.Load(cur)
	t.mu.RLock()
	defer t.mu.RUnlock()
	var all []*T
	for _, num := range slices.Sorted(maps.Keys(t.byNum)) {
		all = append(all, t.byNum[num])
	}
	return all
}
