package kernel

import (
	"slices"
	"sync"

	"nlmmap/kernel/inspect"
	"nlmmap/kernel/sched"
	"nlmmap/uapi"
)

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
	shared bool      // two tasks have or had it, or soon will; set by the first, when it is alone
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
		var err error
		if c.table, err = v.table.fork(as.k, cur.cpu); err != nil {
			child.put(cur)
			return nil, err
		}
		as.open(cur, &c)
		child.insert(cur, &c)
	}
	return child, nil
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
