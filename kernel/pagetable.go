package kernel

import (
	"slices"

	"nlmmap/kernel/memmodel"
	"nlmmap/uapi"
)

// A pte is one page of a mapping. mem is nil when the page is not present.
type pte struct {
	mem *memmodel.Memory
	off int
	own bool // a private copy
	// zero is set for the page of zeros that every process sees (fault-anon).
	zero bool
}

// A pageTable says what is behind each page of one mapping. It has two forms.
//
// In the heap form (real is nil) an entry points into the memory of whoever owns the file, and a private copy is a page
// of its own. In the mapped form, with Config.Memfd, the range is really mapped once more, with the mapping's protection,
// and the entries point into that: a private page copies itself when it is written. Pages that came later are on the
// heap in both forms: those of difference fault-anon.
type pageTable struct {
	ptes []pte
	real *memmodel.Mapping
}

// newPageTable makes the heap form: the pages of the segments, one after the other.
func newPageTable(segs []Segment) pageTable {
	var pt pageTable
	for _, s := range segs {
		for off := 0; off < s.Size; off += uapi.PageSize {
			pt.ptes = append(pt.ptes, pte{mem: s.Mem, off: off})
		}
	}
	return pt
}

// mapPageTable makes the mapped form of the same.
func mapPageTable(segs []Segment, prot int, private bool) (pageTable, error) {
	mapping, err := memmodel.Map(segs, prot, private)
	if err != nil {
		return pageTable{}, Errorf(ENOMEM, "%v", err)
	}
	pt := newPageTable(segs)
	for i := range pt.ptes {
		pt.ptes[i] = pte{mem: mapping.Memory(), off: i * uapi.PageSize}
	}
	pt.real = mapping
	return pt, nil
}

// at is the entry for the page that has byte off of the mapping.
func (pt *pageTable) at(off uint64) *pte { return &pt.ptes[off/uapi.PageSize] }

// mapped reports whether a page is a really mapped one.
func (pt *pageTable) mapped(p *pte) bool { return pt.real != nil && p.mem == pt.real.Memory() }

// copies lists the byte offsets of the private copies that are in the real mapping, which do not come along when it is
// mapped again.
func (pt *pageTable) copies() []int {
	var at []int
	for i := range pt.ptes {
		if p := &pt.ptes[i]; p.own && pt.mapped(p) {
			at = append(at, i*uapi.PageSize)
		}
	}
	return at
}

// again is a table with the entries given, some of pt's, whose really mapped pages are those of another real mapping.
func (pt *pageTable) again(ptes []pte, mapping *memmodel.Mapping) pageTable {
	for i := range ptes {
		if p := &ptes[i]; pt.mapped(p) {
			p.mem, p.off = mapping.Memory(), i*uapi.PageSize
		}
	}
	return pageTable{ptes: ptes, real: mapping}
}

// split cuts the table at byte off: pt keeps the lower part.
func (pt *pageTable) split(off uint64) (upper pageTable) {
	at := off / uapi.PageSize
	upper.ptes, pt.ptes = pt.ptes[at:], pt.ptes[:at:at]
	pt.real, upper.real = pt.real.Split(int(off))
	return upper
}

// fork copies the table for a child. Of a private copy both sides keep the bytes, and neither sees later writes of the
// other.
func (pt *pageTable) fork(k *Kernel, cpu *memmodel.CPU) (pageTable, error) {
	mapping, err := pt.real.Fork(pt.copies())
	if err != nil {
		return pageTable{}, Errorf(ENOMEM, "%v", err)
	}
	child := pt.again(slices.Clone(pt.ptes), mapping)
	for i := range child.ptes {
		if p := &child.ptes[i]; p.own && !child.mapped(p) {
			p.mem, p.off = clonePage(k, cpu, p.mem, p.off), 0
		}
	}
	return child, nil
}

// part copies the part of the table for bytes [off, off+size), which are going to be elsewhere.
func (pt *pageTable) part(off, size uint64) (pageTable, error) {
	mapping, err := pt.real.Move(int(off), int(size), pt.copies())
	if err != nil {
		return pageTable{}, Errorf(ENOMEM, "%v", err)
	}
	return pt.again(slices.Clone(pt.ptes[off/uapi.PageSize:(off+size)/uapi.PageSize]), mapping), nil
}

// grow adds pages that are not present.
func (pt *pageTable) grow(by uint64) error {
	mapping, err := pt.real.Grow(int(by), pt.copies())
	if err != nil {
		return Errorf(ENOMEM, "%v", err)
	}
	old := pt.real
	*pt = pt.again(append(slices.Clip(pt.ptes), make([]pte, by/uapi.PageSize)...), mapping)
	old.Unmap()
	return nil
}

// zap makes the pages of bytes [from, to) not present.
func (pt *pageTable) zap(from, to uint64) { clear(pt.ptes[from/uapi.PageSize : to/uapi.PageSize]) }

// protect changes the protection of the really mapped pages; of others the VMA has it.
func (pt *pageTable) protect(prot int) { pt.real.Protect(prot) }

// unmap gives a real mapping back.
func (pt *pageTable) unmap() { pt.real.Unmap() }

// copyOnWrite makes a page that is written a private copy: the page that is ready for that, or a new one. A really mapped
// page copies itself; the page of zeros and the heap's pages do not.
func (pt *pageTable) copyOnWrite(k *Kernel, p *pte, ready *memmodel.Memory) {
	if !pt.mapped(p) {
		if ready == nil {
			ready = clonePage(k, nil, p.mem, p.off)
		}
		*p = pte{mem: ready}
	}
	p.own = true
}

func clonePage(k *Kernel, cpu *memmodel.CPU, mem *memmodel.Memory, off int) *memmodel.Memory {
	buf := make([]byte, uapi.PageSize)
	mem.Read(cpu, off, buf)
	page := memmodel.NewHeap(uapi.PageSize, func(what string) { k.Warn(nil, "private page: %s", what) })
	page.Write(nil, 0, buf)
	return page
}
