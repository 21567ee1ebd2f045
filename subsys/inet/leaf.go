package inet

import (
	"cmp"
	"iter"
	"net/netip"
	"slices"
	"sort"
)

// A leaf is the routes to one destination, in the order in which a lookup tries them.
type leaf struct {
	dst    netip.Prefix
	routes []Route
}

// leaves are the routes of a table by destination, in the order of a dump. They lie in blocks of a bounded length, so that a table
// of a million routes is searched, and changed, in microseconds. They are changed in place: whoever reads them keeps others from it
// meanwhile, and takes copies of routes with him. The zero value is empty.
type leaves struct {
	blocks  []block
	lengths [129]int // how many destinations there are with a length of prefix
}

// A block has at least one leaf.
type block struct {
	leaves []*leaf
	routes int // of all of them
}

// blockLen is how many leaves a block has at most.
const blockLen = 256

// compareDst is the order of destinations. IPv4: ascending address, longer prefix first (spec 11.5). IPv6: that of a walk over the
// tree of routes, which comes to a network after those in it (fib6_walk).
func compareDst(a, b netip.Prefix) int {
	if a.Addr().Is6() {
		switch {
		case a.Bits() < b.Bits() && a.Contains(b.Addr()):
			return 1
		case b.Bits() < a.Bits() && b.Contains(a.Addr()):
			return -1
		}
	}
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(b.Bits(), a.Bits()))
}

// find returns the block and the place in it where a destination is, or would be.
func (l *leaves) find(dst netip.Prefix) (b, i int, ok bool) {
	b = sort.Search(len(l.blocks), func(b int) bool {
		in := l.blocks[b].leaves
		return compareDst(in[len(in)-1].dst, dst) >= 0
	})
	if b == len(l.blocks) {
		return b, 0, false
	}
	i, ok = slices.BinarySearchFunc(l.blocks[b].leaves, dst, func(f *leaf, dst netip.Prefix) int { return compareDst(f.dst, dst) })
	return b, i, ok
}

// get returns the routes to a destination.
func (l *leaves) get(dst netip.Prefix) []Route {
	if b, i, ok := l.find(dst); ok {
		return l.blocks[b].leaves[i].routes
	}
	return nil
}

// covering are the leaves whose destination has an address in it, the longest prefix first.
func (l *leaves) covering(a netip.Addr) iter.Seq[*leaf] {
	return func(yield func(*leaf) bool) {
		for bits := a.BitLen(); bits >= 0; bits-- {
			if l.lengths[bits] == 0 {
				continue
			}
			dst, err := a.Prefix(bits)
			if err != nil {
				return // no address
			}
			if b, i, ok := l.find(dst); ok && !yield(l.blocks[b].leaves[i]) {
				return
			}
		}
	}
}

// from are the leaves in order, from the first one on that is not before a destination.
func (l *leaves) from(dst netip.Prefix) iter.Seq[*leaf] {
	return func(yield func(*leaf) bool) {
		b, i, _ := l.find(dst)
		for ; b < len(l.blocks); b, i = b+1, 0 {
			for _, f := range l.blocks[b].leaves[i:] {
				if !yield(f) {
					return
				}
			}
		}
	}
}

// all are the routes in order, without the first few.
func (l *leaves) all(skip int) iter.Seq[Route] {
	return func(yield func(Route) bool) {
		for _, b := range l.blocks {
			if skip >= b.routes {
				skip -= b.routes
				continue
			}
			for _, f := range b.leaves {
				for _, r := range f.routes {
					if skip > 0 {
						skip--
					} else if !yield(r) {
						return
					}
				}
			}
		}
	}
}

// insert enters a route at a place among those to its destination.
func (l *leaves) insert(at int, r Route) {
	b, i, ok := l.find(r.Dst)
	if !ok {
		b, i = l.makeRoom(b, i)
		in := &l.blocks[b]
		in.leaves = slices.Insert(in.leaves, i, &leaf{dst: r.Dst})
		l.lengths[r.Dst.Bits()]++
	}
	l.blocks[b].routes++
	f := l.blocks[b].leaves[i]
	f.routes = slices.Insert(f.routes, at, r)
}

// makeRoom sees to it that one more leaf can be at place i of block b, and returns where that is then.
func (l *leaves) makeRoom(b, i int) (int, int) {
	if b == len(l.blocks) { // behind all
		if b == 0 || len(l.blocks[b-1].leaves) == blockLen {
			l.blocks = append(l.blocks, block{})
			return b, 0
		}
		return b - 1, len(l.blocks[b-1].leaves)
	}
	in := l.blocks[b].leaves
	if len(in) < blockLen {
		return b, i
	}
	lower, upper := newBlock(in[:blockLen/2]), newBlock(in[blockLen/2:])
	l.blocks = slices.Replace(l.blocks, b, b+1, lower, upper)
	if i > blockLen/2 {
		return b + 1, i - blockLen/2
	}
	return b, i
}

func newBlock(in []*leaf) block {
	b := block{leaves: slices.Clone(in)}
	for _, f := range in {
		b.routes += len(f.routes)
	}
	return b
}

// delete removes the route at a place among those to a destination.
func (l *leaves) delete(dst netip.Prefix, at int) {
	b, i, ok := l.find(dst)
	if !ok {
		return
	}
	in := &l.blocks[b]
	in.routes--
	f := in.leaves[i]
	if f.routes = slices.Delete(f.routes, at, at+1); len(f.routes) > 0 {
		return
	}
	l.lengths[dst.Bits()]--
	if in.leaves = slices.Delete(in.leaves, i, i+1); len(in.leaves) == 0 {
		l.blocks = slices.Delete(l.blocks, b, b+1)
	}
}

// drop removes the routes of which something is true, and returns them in order.
func (l *leaves) drop(is func(Route) bool) (gone []Route) {
	goes := func(r Route) bool {
		if !is(r) {
			return false
		}
		gone = append(gone, r)
		return true
	}
	empty := func(f *leaf) bool {
		if len(f.routes) > 0 {
			return false
		}
		l.lengths[f.dst.Bits()]--
		return true
	}
	for i := range l.blocks {
		b, before := &l.blocks[i], len(gone)
		for _, f := range b.leaves {
			f.routes = slices.DeleteFunc(f.routes, goes)
		}
		if len(gone) > before {
			b.routes -= len(gone) - before
			b.leaves = slices.DeleteFunc(b.leaves, empty)
		}
	}
	l.blocks = slices.DeleteFunc(l.blocks, func(b block) bool { return len(b.leaves) == 0 })
	return gone
}
