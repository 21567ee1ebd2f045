package kernel

import (
	"nlmmap/uapi"
)

// taskSize is where user addresses end (TASK_SIZE), mmapTop where the search for room for a mapping starts, downwards: above
// it a process has its stack.
const (
	taskSize = 1<<47 - uapi.PageSize
	mmapTop  = 0x7fff_f000_0000
)

// mremapMax bounds what a mapping can grow to, in bytes, as the machine keeps word of each page.
const mremapMax = 4 << 30

func pageAlign(n uint64) uint64 { return (n + pageMask) &^ pageMask }

// checkRange tests the range of munmap, mprotect and madvise.
func checkRange(addr, length uint64) error {
	if addr&pageMask != 0 {
		return Errorf(EINVAL, "address %#x is not a multiple of the page size", addr)
	}
	if length == 0 || length > taskSize || addr > taskSize-length {
		return Errorf(EINVAL, "length %d", length)
	}
	return nil
}

// Mmap maps length bytes of a file and returns the address. Without MAP_FIXED addr is ignored. Length 0 or an offset
// that is not a multiple of the page size is EINVAL, a range that ends above taskSize ENOMEM; the file may refuse with errors of its own (spec 3.1).
func (t *Task) Mmap(addr, length uint64, prot, flags, fd int, offset uint64) (uint64, error) {
	_, err := syscall(t, MmapCall{length, prot, flags, fd, offset}, func() (n int, err error) {
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
		if length == 0 || length > taskSize {
			return 0, ENOMEM
		}
		as := t.as
		as.sem.Lock(t)
		defer as.sem.Unlock(t)
		if flags&uapi.MapFixed != 0 {
			if addr&pageMask != 0 {
				return 0, Errorf(EINVAL, "address %#x is not a multiple of the page size", addr)
			}
			if addr > taskSize-length {
				return 0, Errorf(ENOMEM, "no memory at %#x", addr)
			}
			as.unmap(t, addr, addr+length)
		} else {
			addr = as.unmappedArea(length)
		}
		if t.NoMemory("mapping") {
			return 0, ENOMEM
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

// Munmap removes the mappings, and parts of mappings, in a range. A range without mappings is fine.
func (t *Task) Munmap(addr, length uint64) error {
	_, err := syscall(t, MunmapCall{addr, length}, func() (int, error) {
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
	_, err := syscall(t, MprotectCall{addr, length, prot}, func() (int, error) {
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
					v.table.protect(prot)
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
	_, err := syscall(t, MremapCall{addr, oldlen, newlen}, func() (int, error) {
		if err := checkRange(addr, oldlen); err != nil {
			return 0, err
		}
		if newlen == 0 || newlen > taskSize || fixed && newaddr&pageMask != 0 {
			return 0, EINVAL
		}
		if newlen > max(oldlen, mremapMax) {
			return 0, Errorf(ENOMEM, "a mapping of %d bytes", newlen)
		}
		oldlen, newlen = pageAlign(oldlen), pageAlign(newlen)
		if fixed && newaddr > taskSize-newlen {
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

// Madvise with MADV_DONTNEED throws the pages of a range away: the next access to one is a fault. With MADV_DONTFORK
// a child of fork does not get the range, MADV_DOFORK undoes that; both cut mappings as mprotect does. Other advice does
// nothing. ENOMEM when part of the range is not mapped; the rest is treated all the same.
func (t *Task) Madvise(addr, length uint64, advice int) error {
	_, err := syscall(t, MadviseCall{addr, length, advice}, func() (int, error) {
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
		v.table.zap(from-v.Start, to-v.Start)
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
