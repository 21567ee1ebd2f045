package kernel

import (
	"slices"
	"sync"

	"nlmmap/kernel/inspect"
	"nlmmap/kernel/mm"
	"nlmmap/kernel/sched"
	"nlmmap/uapi"
)

// mmapTop is where the search for room for a mapping starts, downwards.
const mmapTop = 0x7fff_f000_0000

// mremapMax bounds what a mapping can grow to, in bytes, as the machine keeps word of each page.
const mremapMax = 4 << 30

// An AddressSpace is the memory of a process: its mappings, in order of address. Threads share one (mm_struct).
//
// The list and what a VMA has change under sem, and at a point that says which pages (change): userspace's accesses look
// at them without sem, as a processor looks at its page tables, at a point of their own. Before a second task has the
// address space neither is needed.
type AddressSpace struct {
	k      *Kernel
	sem    Mutex        // mmap_sem: changes of the list of mappings
	mu     sync.RWMutex // Free mode: userspace's accesses against changes
	vmas   []*VMA
	shared bool      // two tasks have or had it; set by the first, when it is alone
	table  sched.Obj // the page table
	users  Ref
}

func newAddressSpace(k *Kernel) *AddressSpace {
	as := &AddressSpace{k: k}
	as.sem.Name = "mmap_sem"
	as.users.Named("mm_users", 1)
	return as
}

// share lets one more task use the address space.
func (as *AddressSpace) share(cur *Task) *AddressSpace {
	if !as.shared {
		as.shared = true
	}
	as.users.Get(cur)
	return as
}

// point is where the accesses to the pages of [start, end) and changes of them meet.
func (as *AddressSpace) point(cur *Task, kind sched.Kind, start, end uint64) {
	if cur.th == nil || !as.shared {
		return
	}
	if as.table == 0 {
		as.table = as.k.cfg.Run.NewObj()
	}
	op := sched.Op{Kind: kind, Write: kind == sched.Store, Obj: as.table, Label: "page table"}
	// Numbers of pages count from the last multiple of 2^32; a range around one is everything.
	if first, n := start/uapi.PageSize&(1<<32-1), (end-start+pageMask)/uapi.PageSize; first+n < 1<<32 {
		op.Off, op.Len = uint32(first), uint32(n)
	}
	cur.th.Point(op)
}

// change comes before a change of the pages of [start, end).
func (as *AddressSpace) change(cur *Task, start, end uint64) {
	if cur.th != nil && as.shared && !as.sem.Held(cur) && !cur.unwinding && as.users.v.Load() > 0 {
		as.k.Warn(cur, "mappings are changed without %s", as.sem.Name)
	}
	as.point(cur, sched.Store, start, end)
}

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
	pages      []pte
	raw        *mm.Mapping // Config.Memfd: the real mapping
}

// VMOps is how the owner of a mapped file learns of the mappings of it (vm_operations_struct).
type VMOps interface {
	Open(cur *Task, vma *VMA)  // a copy was made: fork, split, move
	Close(cur *Task, vma *VMA) // one was removed
}

// A pte is one page of a mapping. mem is nil when the page is not present.
type pte struct {
	mem *mm.Memory
	off int
	own bool // a private copy
}

// Size is the length of the mapping in bytes.
func (v *VMA) Size() uint64 { return v.End - v.Start }

// Segment is a part of a Memory.
type Segment struct {
	Mem  *mm.Memory
	Size int
}

// InsertPages makes the mapping's pages those of the segments, one after the other: vm_insert_page for each.
func (v *VMA) InsertPages(segs []Segment) error {
	v.pages = make([]pte, 0, v.Size()/uapi.PageSize)
	for _, s := range segs {
		for off := 0; off < s.Size; off += uapi.PageSize {
			v.pages = append(v.pages, pte{mem: s.Mem, off: off})
		}
	}
	if !v.File.k.cfg.Memfd {
		return nil
	}
	backing := make([]mm.Segment, len(segs))
	for i, s := range segs {
		backing[i] = mm.Segment{Mem: s.Mem, Size: s.Size}
	}
	raw, err := mm.Map(backing, v.Prot, v.Private)
	if err != nil {
		return Errorf(ENOMEM, "%v", err)
	}
	v.raw = raw
	for i := range v.pages {
		v.pages[i] = pte{mem: raw.Memory(), off: i * uapi.PageSize}
	}
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
	cur.cpu.Barrier(mm.SmpMB)
	v.raw.Unmap()
	v.Ops.Close(cur, v)
	as.k.Count(ResVMA, -1)
	v.File.put(cur)
}

func pageAlign(n uint64) uint64 { return (n + pageMask) &^ pageMask }

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

// pte returns the page at addr, the zero value for none.
func (as *AddressSpace) pte(addr uint64) pte {
	if v := as.find(addr); v != nil {
		return v.pages[(addr-v.Start)/uapi.PageSize]
	}
	return pte{}
}

// unmappedArea returns the highest free range below mmapTop.
func (as *AddressSpace) unmappedArea(size uint64) uint64 {
	end := uint64(mmapTop)
	for i := len(as.vmas) - 1; i >= 0; i-- {
		if as.vmas[i].End+uapi.PageSize+size <= end {
			break
		}
		end = as.vmas[i].Start - uapi.PageSize
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
	at := (addr - v.Start) / uapi.PageSize
	upper.Start, upper.Pgoff = addr, v.Pgoff+at
	v.End = addr
	upper.pages = v.pages[at:]
	v.pages = v.pages[:at:at]
	v.raw, upper.raw = v.raw.Split(int(at * uapi.PageSize))
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

// fork copies the address space for a child. ENOMEM when this process cannot map what it really maps.
func (as *AddressSpace) fork(cur *Task) (*AddressSpace, error) {
	child := newAddressSpace(as.k)
	as.sem.Lock(cur)
	defer as.sem.Unlock(cur)
	as.point(cur, sched.Load, 0, 0)
	for _, v := range as.vmas {
		if v.DontFork {
			continue
		}
		c := *v
		c.pages = slices.Clone(v.pages)
		var err error
		if c.raw, err = v.raw.Fork(ownPages(v)); err != nil {
			child.put(cur)
			return nil, Errorf(ENOMEM, "%v", err)
		}
		c.moveRaw(v.raw)
		for i := range c.pages {
			if p := &c.pages[i]; p.own && (c.raw == nil || p.mem != c.raw.Memory()) {
				// Both sides keep the bytes; neither sees later writes of the other.
				p.mem, p.off = clonePage(as.k, cur.cpu, p.mem, p.off), 0
			}
		}
		as.open(cur, &c)
		child.insert(cur, &c)
	}
	return child, nil
}

// ownPages lists the byte offsets of the private copies that are in v's real mapping.
func ownPages(v *VMA) []int {
	var own []int
	for i, p := range v.pages {
		if p.own && v.raw != nil && p.mem == v.raw.Memory() {
			own = append(own, i*uapi.PageSize)
		}
	}
	return own
}

func clonePage(k *Kernel, cpu *mm.CPU, mem *mm.Memory, off int) *mm.Memory {
	buf := make([]byte, uapi.PageSize)
	mem.Read(cpu, off, buf)
	page := mm.NewHeap(uapi.PageSize, func(what string) { k.Warn(nil, "private page: %s", what) })
	page.Write(nil, 0, buf)
	return page
}

// put ends one task's use of the address space; with the last one all mappings go.
func (as *AddressSpace) put(cur *Task) {
	if as.users.Put(cur) == 0 {
		as.unmap(cur, 0, ^uint64(0)&^pageMask)
	}
}

// VMAs returns the live mappings, in order of address, for checkers and printing.
func (t *Task) VMAs(inspect.Key) []*VMA {
	if t.as == nil {
		return nil
	}
	return slices.Clone(t.as.vmas)
}

// Memory is the task's address space: threads share one.
func (t *Task) Memory() *AddressSpace { return t.as }

// Mmap maps length bytes of a file and returns the address. Without MAP_FIXED addr is ignored. Length 0 or an offset
// that is not a multiple of the page size is EINVAL, a range that ends above mmapTop ENOMEM; the file may refuse with errors of its own (spec 3.1).
func (t *Task) Mmap(addr, length uint64, prot, flags, fd int, offset uint64) (uint64, error) {
	call := Call{Name: "mmap", FD: fd, HasFD: true, Ints: [4]int64{int64(length), int64(prot), int64(flags), int64(offset)}, NInts: 4}
	_, err := t.sys(call, func() (n int, err error) {
		if offset&pageMask != 0 {
			return 0, Errorf(EINVAL, "offset %d is not a multiple of the page size", offset)
		}
		f, err := t.fdget(fd)
		if err != nil {
			return 0, err
		}
		defer f.fdput(t)
		if length == 0 {
			return 0, Errorf(EINVAL, "length 0")
		}
		length = pageAlign(length)
		if length == 0 || length > mmapTop {
			return 0, ENOMEM
		}
		as := t.as
		as.sem.Lock(t)
		defer as.sem.Unlock(t)
		if flags&uapi.MapFixed != 0 {
			if addr&pageMask != 0 {
				return 0, Errorf(EINVAL, "address %#x is not a multiple of the page size", addr)
			}
			if addr > mmapTop-length {
				return 0, Errorf(ENOMEM, "no memory at %#x", addr)
			}
			as.unmap(t, addr, addr+length)
		} else {
			addr = as.unmappedArea(length)
		}
		v := &VMA{Start: addr, End: addr + length, Pgoff: offset / uapi.PageSize, Prot: prot,
			Private: flags&uapi.MapPrivate != 0, File: f.File.get(t)}
		if err := f.ops.Mmap(t, v); err != nil {
			f.File.put(t)
			return 0, err
		}
		t.k.Count(ResVMA, 1)
		as.insert(t, v)
		return 0, nil
	})
	return addr, err
}

// checkRange tests the range of munmap, mprotect and madvise.
func checkRange(addr, length uint64) error {
	if addr&pageMask != 0 {
		return Errorf(EINVAL, "address %#x is not a multiple of the page size", addr)
	}
	if length == 0 || length > mmapTop || addr > mmapTop-length {
		return Errorf(EINVAL, "length %d", length)
	}
	return nil
}

// Munmap removes the mappings, and parts of mappings, in a range. A range without mappings is fine.
func (t *Task) Munmap(addr, length uint64) error {
	_, err := t.sys(Call{Name: "munmap", Ints: [4]int64{int64(addr), int64(length)}, NInts: 2}, func() (int, error) {
		if err := checkRange(addr, length); err != nil {
			return 0, err
		}
		t.as.sem.Lock(t)
		t.as.unmap(t, addr, addr+pageAlign(length))
		t.as.sem.Unlock(t)
		return 0, nil
	})
	return err
}

// Mprotect changes the protection of a range. ENOMEM when part of it is not mapped.
func (t *Task) Mprotect(addr, length uint64, prot int) error {
	_, err := t.sys(Call{Name: "mprotect", Ints: [4]int64{int64(addr), int64(length), int64(prot)}, NInts: 3}, func() (int, error) {
		if length == 0 && addr&pageMask == 0 {
			return 0, nil
		}
		if err := checkRange(addr, length); err != nil {
			return 0, err
		}
		t.as.sem.Lock(t)
		defer t.as.sem.Unlock(t)
		end := addr + pageAlign(length)
		for addr < end {
			v := t.as.find(addr)
			if v == nil {
				return 0, Errorf(ENOMEM, "nothing is mapped at %#x", addr)
			}
			to := min(end, v.End)
			if v.Prot != prot {
				for _, v := range t.as.isolate(t, addr, to) {
					t.as.change(t, v.Start, v.End)
					t.as.mu.Lock()
					v.Prot = prot
					v.raw.Protect(prot)
					t.as.mu.Unlock()
				}
			}
			addr = to
		}
		return 0, nil
	})
	return err
}

// Mremap changes the size of a mapping, or moves it: to newaddr when fixed, else to a free place when move is set or
// it cannot grow where it is. EINVAL for ranges that no mapping can have, ENOMEM above 4 GiB, EFAULT when the old range
// is not inside one mapping.
func (t *Task) Mremap(addr, oldlen, newlen uint64, move, fixed bool, newaddr uint64) (uint64, error) {
	_, err := t.sys(Call{Name: "mremap", Ints: [4]int64{int64(addr), int64(oldlen), int64(newlen)}, NInts: 3}, func() (int, error) {
		if err := checkRange(addr, oldlen); err != nil {
			return 0, err
		}
		if newlen == 0 || newlen > mmapTop || fixed && newaddr&pageMask != 0 {
			return 0, EINVAL
		}
		if newlen > max(oldlen, mremapMax) {
			return 0, Errorf(ENOMEM, "a mapping of %d bytes", newlen)
		}
		oldlen, newlen = pageAlign(oldlen), pageAlign(newlen)
		if fixed && newaddr > mmapTop-newlen {
			return 0, Errorf(EINVAL, "no memory at %#x", newaddr)
		}
		if fixed && addr < newaddr+newlen && newaddr < addr+oldlen {
			return 0, Errorf(EINVAL, "the old and the new range overlap")
		}
		t.as.sem.Lock(t)
		defer t.as.sem.Unlock(t)
		v := t.as.find(addr)
		if v == nil || addr+oldlen > v.End {
			return 0, Errorf(EFAULT, "the range is not one mapping")
		}
		if newlen < oldlen {
			t.as.unmap(t, addr+newlen, addr+oldlen)
			oldlen = newlen
		}
		if !fixed && !move {
			if newlen == oldlen {
				newaddr = addr
				return 0, nil
			}
			if addr+oldlen == v.End && t.as.free(v.End, addr+newlen) {
				newaddr = addr
				return 0, t.as.grow(t, v, newlen-oldlen)
			}
		}
		if fixed {
			t.as.unmap(t, newaddr, newaddr+newlen)
			v = t.as.find(addr) // the new range may have been another part of the same mapping
		} else {
			newaddr = t.as.unmappedArea(newlen)
		}
		return 0, t.as.move(t, v, addr, oldlen, newlen, newaddr)
	})
	return newaddr, err
}

func (as *AddressSpace) free(start, end uint64) bool {
	for _, v := range as.vmas {
		if v.Start < end && start < v.End {
			return false
		}
	}
	return end <= mmapTop
}

// grow adds pages that are not present.
func (as *AddressSpace) grow(cur *Task, v *VMA, by uint64) error {
	as.change(cur, v.End, v.End+by)
	as.mu.Lock()
	defer as.mu.Unlock()
	raw, err := v.raw.Grow(int(by), ownPages(v))
	if err != nil {
		return Errorf(ENOMEM, "%v", err)
	}
	old := v.raw
	v.raw = raw
	v.End += by
	v.pages = append(slices.Clip(v.pages), make([]pte, by/uapi.PageSize)...)
	v.moveRaw(old)
	old.Unmap()
	return nil
}

// moveRaw lets the pages that were seen through the real mapping old be seen through v's.
func (v *VMA) moveRaw(old *mm.Mapping) {
	if v.raw == nil || v.raw == old {
		return
	}
	for i := range v.pages {
		if p := &v.pages[i]; p.mem == old.Memory() {
			p.mem, p.off = v.raw.Memory(), i*uapi.PageSize
		}
	}
}

// move makes a new mapping of the pages and removes the old one (copy_vma, do_munmap): the owner sees one opened and
// one closed, and a cut where a part was moved.
func (as *AddressSpace) move(cur *Task, v *VMA, addr, oldlen, newlen, newaddr uint64) error {
	from := (addr - v.Start) / uapi.PageSize
	n := *v
	n.Start, n.End, n.Pgoff = newaddr, newaddr+oldlen, v.Pgoff+from
	n.pages = slices.Clone(v.pages[from : from+oldlen/uapi.PageSize])
	var err error
	if n.raw, err = v.raw.Move(int(addr-v.Start), int(oldlen), ownPages(v)); err != nil {
		return Errorf(ENOMEM, "%v", err)
	}
	n.moveRaw(v.raw)
	as.open(cur, &n)
	as.insert(cur, &n)
	as.unmap(cur, addr, addr+oldlen)
	if newlen > oldlen {
		return as.grow(cur, &n, newlen-oldlen)
	}
	return nil
}

// Madvise with MADV_DONTNEED throws the pages of a range away: the next access to one is a fault. With MADV_DONTFORK
// a child of fork does not get the range, MADV_DOFORK undoes that; both cut mappings as mprotect does. Other advice does
// nothing. ENOMEM when part of the range is not mapped; the rest is treated all the same.
func (t *Task) Madvise(addr, length uint64, advice int) error {
	_, err := t.sys(Call{Name: "madvise", Ints: [4]int64{int64(addr), int64(length), int64(advice)}, NInts: 3}, func() (int, error) {
		if length == 0 && addr&pageMask == 0 {
			return 0, nil
		}
		if err := checkRange(addr, length); err != nil {
			return 0, err
		}
		t.as.sem.Lock(t)
		defer t.as.sem.Unlock(t)
		var err error
		for end := addr + pageAlign(length); addr < end; {
			v := t.as.find(addr)
			if v == nil {
				err = Errorf(ENOMEM, "nothing is mapped at %#x", addr)
				addr += uapi.PageSize
				continue
			}
			to := min(end, v.End)
			t.as.advise(t, v, addr, to, advice)
			addr = to
		}
		return 0, err
	})
	return err
}

// advise does what madvise does to the part [from, to) of one mapping.
func (as *AddressSpace) advise(cur *Task, v *VMA, from, to uint64, advice int) {
	switch advice {
	case uapi.MadvDontneed:
		as.change(cur, from, to)
		as.mu.Lock()
		clear(v.pages[(from-v.Start)/uapi.PageSize : (to-v.Start)/uapi.PageSize])
		as.mu.Unlock()
	case uapi.MadvDontfork, uapi.MadvDofork:
		dontFork := advice == uapi.MadvDontfork
		if v.DontFork == dontFork {
			return
		}
		for _, part := range as.isolate(cur, from, to) {
			part.DontFork = dontFork
		}
	}
}
