package kernel

import (
	"nlmmap/kernel/memmodel"
	"nlmmap/kernel/sched"
	"nlmmap/uapi"
)

// pte returns the page at addr, the zero value for none.
func (as *AddressSpace) pte(addr uint64) pte {
	if v := as.find(addr); v != nil {
		return *v.table.at(addr - v.Start)
	}
	return pte{}
}

// page finds the page of a userspace access and its mapping, as the processor and the fault handler do together. own is
// the private copy that a write is going to make, if it was made already.
func (t *Task) page(addr uint64, write bool, own *memmodel.Memory) (*VMA, pte, error) {
	v := t.as.find(addr)
	if v == nil || v.Prot == uapi.ProtNone || write && v.Prot&uapi.ProtWrite == 0 {
		return nil, pte{}, SIGSEGV
	}
	p := v.table.at(addr - v.Start)
	switch {
	case p.findsAnon(t.k):
		t.faultAnon(p, write)
	case p.mem == nil:
		return nil, pte{}, SIGBUS
	case write && v.Private && !p.own:
		v.table.copyOnWrite(t.k, p, own)
	case write && p.mem == t.k.zero:
		t.k.Corrupt(t, "fault-anon", "a write changes the page of zeros that every process sees")
	}
	return v, *p, nil
}

// faults reports whether a userspace access changes the page table.
func (t *Task) faults(addr uint64, write bool) bool {
	v := t.as.find(addr)
	if v == nil || v.Prot == uapi.ProtNone || write && v.Prot&uapi.ProtWrite == 0 {
		return false
	}
	p := v.table.at(addr - v.Start)
	return p.findsAnon(t.k) || p.mem != nil && write && v.Private && !p.own
}

// findsAnon reports whether an access to the page finds an anonymous one.
func (p *pte) findsAnon(k *Kernel) bool { return p.mem == nil && k.D.FaultAnon }

// walk has the points of an access before the access itself: where others may change the page table, and where a
// private copy of a page is made, which it returns.
func (t *Task) walk(addr uint64, write bool) (own *memmodel.Memory) {
	if t.th == nil {
		return nil
	}
	// Whether the access is going to fault may change until it happens: then it is announced again.
	for told := !t.faults(addr, write); told != t.faults(addr, write); {
		told = t.faults(addr, write)
		kind := sched.Load
		if told {
			kind = sched.Store
			if p := t.as.pte(addr); p.mem != nil {
				own = clonePage(t.k, t.cpu, p.mem, p.off)
			}
		}
		t.as.point(t, kind, addr, addr+1)
	}
	return own
}

// faultAnon is the fault of difference fault-anon (spec defects 4.41).
func (t *Task) faultAnon(p *pte, write bool) {
	if write {
		*p = pte{mem: memmodel.NewHeap(uapi.PageSize, func(what string) { t.k.Warn(nil, "anonymous page: %s", what) }), own: true}
		return
	}
	t.k.zeroMu.Lock()
	defer t.k.zeroMu.Unlock()
	if t.k.zero == nil {
		t.k.zero = memmodel.NewHeap(uapi.PageSize, func(what string) { t.k.Warn(nil, "page of zeros: %s", what) })
	}
	*p = pte{mem: t.k.zero, zero: true}
}
