package kernel

import "sync"

// A Cache has objects of one type that were given back, for whoever needs the next (kmem_cache). The zero value is empty.
//
// Objects are used again only where nobody could tell: see Kernel.Recycles.
type Cache[T any] struct{ pool sync.Pool }

// Get returns an object, one that was given back as it was then, or the zero value.
func (c *Cache[T]) Get() *T {
	if v, ok := c.pool.Get().(*T); ok {
		return v
	}
	return new(T)
}

// Put gives back an object that nobody has any more.
func (c *Cache[T]) Put(v *T) { c.pool.Put(v) }

// Recycles reports whether memory of kernel objects is used again on this machine: only in free mode, where runs are not
// repeated, and where no listener may have kept what it was told of.
func (k *Kernel) Recycles() bool { return k.cfg.Mode == Free && k.cfg.Trace == nil }
