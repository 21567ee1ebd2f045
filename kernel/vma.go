package kernel

import (
	"slices"

	"nlmmap/kernel/memmodel"
	"nlmmap/uapi"
)

// A VMA is one mapping: the pages [Start, End).
//
// A mapping that is cut in two by munmap or mprotect becomes two VMAs, and the file's owner is told of the new one
// (Ops.Open) just as it is of a fork's copy; ring mappings are never merged again (spec 3.1).
type VMA struct {
	Start, End uint64
	Pgoff      uint64 // offset in the file, in pages
	Prot       int
	Private    bool
	DontFork   bool // a child does not get it
	File       *File
	Ops        VMOps
	table      pageTable
}

// VMOps is how the owner of a mapped file learns of the mappings of it (vm_operations_struct).
type VMOps interface {
	Open(cur *Task, vma *VMA)  // a copy was made: fork, split, move
	Close(cur *Task, vma *VMA) // one was removed
}

// Size is the length of the mapping in bytes.
func (v *VMA) Size() uint64 { return v.End - v.Start }

// Segment is a part of a Memory.
type Segment = memmodel.Segment

// InsertPages makes the mapping's pages those of the segments, one after the other: vm_insert_page for each.
func (v *VMA) InsertPages(segs []Segment) (err error) {
	if v.File.k.cfg.Joined {
		if err := memmodel.Join(segs); err != nil {
			return Errorf(ENOMEM, "%v", err)
		}
	}
	if v.File.k.cfg.Memfd {
		v.table, err = mapPageTable(segs, v.Prot, v.Private)
		return err
	}
	v.table = newPageTable(segs)
	return nil
}

// open counts a new VMA on behalf of its file.
func (as *AddressSpace) open(cur *Task, v *VMA) {
	v.File.get(cur)
	as.k.Count(ResVMA, 1)
	v.Ops.Open(cur, v)
}

// close removes a VMA: first the owner is told, then the reference to the file goes (spec 3.2).
func (as *AddressSpace) close(cur *Task, v *VMA) {
	// Taking the pages out of the page tables is a barrier for all processors that used them.
	cur.cpu.Barrier(memmodel.SmpMB)
	v.table.unmap()
	v.Ops.Close(cur, v)
	as.k.Count(ResVMA, -1)
	v.File.put(cur)
}

// find returns the mapping that contains addr, nil for none.
func (as *AddressSpace) find(addr uint64) *VMA {
	i, _ := slices.BinarySearchFunc(as.vmas, addr, func(v *VMA, addr uint64) int {
		if v.End <= addr {
			return -1
		}
		return 1
	})
	if i < len(as.vmas) && as.vmas[i].Start <= addr {
		return as.vmas[i]
	}
	return nil
}

func (as *AddressSpace) free(start, end uint64) bool {
	for _, v := range as.vmas {
		if v.Start < end && start < v.End {
			return false
		}
	}
	return end <= taskSize
}

// unmappedArea returns the highest free range below mmapTop.
func (as *AddressSpace) unmappedArea(size uint64) uint64 {
	end := uint64(mmapTop)
	for i := len(as.vmas) - 1; i >= 0; i-- {
		if as.vmas[i].End+size <= end {
			break
		}
		end = min(end, as.vmas[i].Start)
	}
	return end - size
}

func (as *AddressSpace) insert(cur *Task, v *VMA) {
	as.change(cur, v.Start, v.End)
	as.mu.Lock()
	defer as.mu.Unlock()
	as.enter(v)
}

// enter puts a mapping into the list.
func (as *AddressSpace) enter(v *VMA) {
	i, _ := slices.BinarySearchFunc(as.vmas, v.Start, func(o *VMA, start uint64) int {
		if o.Start < start {
			return -1
		}
		return 1
	})
	as.vmas = slices.Insert(as.vmas, i, v)
}

// split cuts v at addr; v keeps the lower part (split_vma). No access can tell.
func (as *AddressSpace) split(cur *Task, v *VMA, addr uint64) {
	as.mu.Lock()
	upper := *v
	at := addr - v.Start
	upper.Start, upper.Pgoff = addr, v.Pgoff+at/uapi.PageSize
	upper.table = v.table.split(at)
	v.End = addr
	as.enter(&upper)
	as.mu.Unlock()
	as.open(cur, &upper)
}

// isolate makes the bounds of [start, end) bounds of mappings and returns the mappings inside.
func (as *AddressSpace) isolate(cur *Task, start, end uint64) []*VMA {
	for _, addr := range [...]uint64{start, end} {
		if v := as.find(addr); v != nil && v.Start < addr {
			as.split(cur, v, addr)
		}
	}
	var inside []*VMA
	for _, v := range as.vmas {
		if v.Start >= start && v.End <= end {
			inside = append(inside, v)
		}
	}
	return inside
}

// unmap removes what is mapped in [start, end).
func (as *AddressSpace) unmap(cur *Task, start, end uint64) {
	for _, v := range as.isolate(cur, start, end) {
		as.change(cur, v.Start, v.End)
		as.mu.Lock()
		as.vmas = slices.DeleteFunc(as.vmas, func(o *VMA) bool { return o == v })
		as.mu.Unlock()
		as.close(cur, v)
	}
}

// grow adds pages that are not present.
func (as *AddressSpace) grow(cur *Task, v *VMA, by uint64) error {
	as.change(cur, v.End, v.End+by)
	as.mu.Lock()
	defer as.mu.Unlock()
	if err := v.table.grow(by); err != nil {
		return err
	}
	v.End += by
	return nil
}

// move makes a new mapping of the pages and removes the old one (copy_vma, do_munmap): the owner sees one opened and
// one closed, and a cut where a part was moved.
func (as *AddressSpace) move(cur *Task, v *VMA, addr, oldlen, newlen, newaddr uint64) error {
	from := addr - v.Start
	n := *v
	n.Start, n.End, n.Pgoff = newaddr, newaddr+oldlen, v.Pgoff+from/uapi.PageSize
	var err error
	if n.table, err = v.table.part(from, oldlen); err != nil {
		return err
	}
	as.open(cur, &n)
	as.insert(cur, &n)
	as.unmap(cur, addr, addr+oldlen)
	if newlen > oldlen {
		return as.grow(cur, &n, newlen-oldlen)
	}
	return nil
}
