package nfnetlink

import (
	"cmp"
	"slices"

	"nlmmap/kernel"
)

// Instances is what a subsystem has in one namespace by number: queues, log groups. It changes under instances_lock and
// is searched without.
type Instances[T any] struct {
	lock  kernel.Spinlock // instances_lock
	byNum kernel.Index[uint16, *instance[T]]
}

type instance[T any] struct {
	num uint16
	t   *T
}

// NewInstances returns an empty table whose lock has a name.
func NewInstances[T any](lock string) *Instances[T] {
	t := &Instances[T]{}
	t.lock.Name = lock
	t.byNum.Named(lock, &t.lock.Mutex)
	return t
}

// Lookup returns the instance with a number, nil for none: instance_lookup.
func (t *Instances[T]) Lookup(cur *kernel.Task, num uint16) *T {
	if i := t.byNum.Load(cur, num); i != nil {
		return i.t
	}
	return nil
}

// Add gives an instance its number: instance_create. EEXIST when somebody was faster.
func (t *Instances[T]) Add(cur *kernel.Task, num uint16, i *T) error {
	t.lock.Lock(cur)
	defer t.lock.Unlock(cur)
	if t.byNum.Load(cur, num) != nil {
		return kernel.EEXIST
	}
	t.byNum.Store(cur, num, &instance[T]{num, i})
	return nil
}

// Remove takes out the instances for which match is true and returns them, by number.
func (t *Instances[T]) Remove(cur *kernel.Task, match func(*T) bool) []*T {
	t.lock.Lock(cur)
	defer t.lock.Unlock(cur)
	var gone []*T
	for _, i := range t.sorted(cur) {
		if match(i.t) {
			gone = append(gone, i.t)
			t.byNum.Delete(cur, i.num)
		}
	}
	return gone
}

// All returns the instances, by number.
func (t *Instances[T]) All(cur *kernel.Task) []*T {
	var all []*T
	for _, i := range t.sorted(cur) {
		all = append(all, i.t)
	}
	return all
}

func (t *Instances[T]) sorted(cur *kernel.Task) []*instance[T] {
	list := t.byNum.All(cur)
	slices.SortFunc(list, func(a, b *instance[T]) int { return cmp.Compare(a.num, b.num) })
	return list
}
