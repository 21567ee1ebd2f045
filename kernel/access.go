package kernel

import (
	"nlmmap/kernel/mm"
	"nlmmap/uapi"
)

// page finds the page of a userspace access, as the processor and the fault handler do together.
func (t *Task) page(addr uint64, write bool) (pte, error) {
	v := t.as.find(addr)
	if v == nil || v.Prot == uapi.ProtNone || write && v.Prot&uapi.ProtWrite == 0 {
		return pte{}, SIGSEGV
	}
	p := &v.pages[(addr-v.Start)/uapi.PageSize]
	switch {
	case p.mem == nil:
		if !t.k.D.FaultAnon {
			return pte{}, SIGBUS
		}
		t.faultAnon(p, write)
	case write && v.Private && !p.own:
		// The really mapped page copies itself; the page of zeros and the heap's pages do not.
		if v.raw == nil || p.mem != v.raw.Memory() {
			*p = pte{mem: clonePage(t, p.mem, p.off)}
		}
		p.own = true
	case write && p.mem == t.k.zero:
		t.k.Corrupt(t, "fault-anon", "a write changes the page of zeros that every process sees")
	}
	return *p, nil
}

// faultAnon is the fault of difference fault-anon (spec defects 4.41).
func (t *Task) faultAnon(p *pte, write bool) {
	if write {
		*p = pte{mem: mm.NewHeap(uapi.PageSize, func(what string) { t.k.Warn(nil, "anonymous page: %s", what) }), own: true}
		return
	}
	t.k.zeroMu.Lock()
	defer t.k.zeroMu.Unlock()
	if t.k.zero == nil {
		t.k.zero = mm.NewHeap(uapi.PageSize, func(what string) { t.k.Warn(nil, "page of zeros: %s", what) })
	}
	*p = pte{mem: t.k.zero}
}

// access calls do for each page of [addr, addr+n) with the memory, the offset in it and the range of the access.
func (t *Task) access(addr uint64, n int, write bool, do func(m *mm.Memory, off, from, to int)) error {
	if t.abandoned() {
		return ErrKilled
	}
	for from := 0; from < n; {
		at := addr + uint64(from)
		to := min(n, from+int(uapi.PageSize-at&pageMask))
		// The lock is not held over the access in controlled mode, where it is a scheduling point.
		t.as.mu.Lock()
		p, err := t.page(at, write)
		if err != nil || t.th != nil {
			t.as.mu.Unlock()
		}
		if err != nil {
			return err
		}
		do(p.mem, p.off+int(at&pageMask), from, to)
		if t.th == nil {
			t.as.mu.Unlock()
		}
		from = to
	}
	return nil
}

// Load32 reads the aligned word at addr as userspace does, with acquire order. SIGSEGV or SIGBUS when it faults.
func (t *Task) Load32(addr uint64) (val uint32, err error) {
	err = t.access(addr&^3, 4, false, func(m *mm.Memory, off, _, _ int) {
		val = m.Load32(t.cpu, off)
		t.cpu.Barrier(mm.Acquire)
	})
	return val, err
}

// Store32 writes the aligned word at addr, with release order.
func (t *Task) Store32(addr uint64, val uint32) error {
	return t.access(addr&^3, 4, true, func(m *mm.Memory, off, _, _ int) {
		t.cpu.Barrier(mm.Release)
		m.Store32(t.cpu, off, val)
	})
}

// ReadMem copies bytes from the task's memory.
func (t *Task) ReadMem(addr uint64, buf []byte) error {
	return t.access(addr, len(buf), false, func(m *mm.Memory, off, from, to int) { m.Read(t.cpu, off, buf[from:to]) })
}

// WriteMem copies bytes to the task's memory.
func (t *Task) WriteMem(addr uint64, buf []byte) error {
	return t.access(addr, len(buf), true, func(m *mm.Memory, off, from, to int) { m.Write(t.cpu, off, buf[from:to]) })
}

// RawMem returns the really mapped bytes at addr, for programs that touch memory without the machine in between: only
// with Config.Memfd, and only inside one mapping. They are valid until the mapping changes; touching them against its
// protection is a fault of this very process. EFAULT when there is no such memory.
func (t *Task) RawMem(addr uint64, n int) ([]byte, error) {
	t.as.mu.RLock()
	defer t.as.mu.RUnlock()
	v := t.as.find(addr)
	if v == nil || v.raw == nil || addr+uint64(n) > v.End {
		return nil, Errorf(EFAULT, "no really mapped memory at %#x", addr)
	}
	off := int(addr - v.Start)
	return v.raw.Bytes()[off : off+n : off+n], nil
}
