package kernel

import (
	"slices"
	"sync"

	"nlmmap/kernel/inspect"
	"nlmmap/kernel/sched"
)

// A File is an open file: what descriptors, mappings and messages in flight refer to.
type File struct {
	k *Kernel
	// count is f_count: descriptors in all tables, VMAs, copies in undelivered SCM_RIGHTS messages, and one for each
	// running call on it whose descriptor table is shared (spec 8.4.1).
	count Ref
	ops   FileOps
	// epolls are the epoll entries that watch the file; they go when it does.
	epolls Pointer[[]*epollItem]
}

// FileOps is what can be done with every open file.
type FileOps interface {
	// Poll registers with pt and returns the events that are true now.
	Poll(cur *Task, pt *PollTable) uint32
	// Mmap fills in a new mapping or refuses it.
	Mmap(cur *Task, vma *VMA) error
	// Release is called when the last reference is gone.
	Release(cur *Task)
}

func (k *Kernel) newFile(ops FileOps) *File {
	f := &File{k: k, ops: ops}
	f.count.Named("f_count", 1)
	f.epolls.Named("f_ep_links")
	k.Count(ResFile, 1)
	return f
}

// Count is f_count.
func (f *File) Count(cur *Task) int { return int(f.count.Load(cur)) }

// get takes a reference.
func (f *File) get(cur *Task) *File {
	f.count.Get(cur)
	return f
}

// put drops a reference; with the last one the file is released.
func (f *File) put(cur *Task) {
	if f.count.Put(cur) != 0 {
		return
	}
	if watched := f.epolls.Load(cur); watched != nil {
		for _, item := range *watched {
			item.ep.remove(cur, item)
		}
	}
	f.ops.Release(cur)
	f.k.Count(ResFile, -1)
}

// watch changes the list of epoll entries that watch the file.
func (f *File) watch(cur *Task, change func([]*epollItem) []*epollItem) {
	for {
		before := f.epolls.Load(cur)
		var items []*epollItem
		if before != nil {
			items = slices.Clone(*before)
		}
		if items = change(items); f.epolls.CompareAndSwap(cur, before, &items) {
			return
		}
	}
}

// An FdTable is a descriptor table. Threads share one, processes have copies. Before a second task gets it there are no
// scheduling points: nobody else can touch it.
type FdTable struct {
	users  Ref
	shared bool       // two tasks have or had it, or soon will; set by the first, when it is alone
	unseen bool       // of those who have it some may not be known yet; set with shared
	mu     sync.Mutex // Free mode: the slices; never held at a scheduling point
	files  []*File
	taken  []bool    // descriptors that are in use or about to be
	slots  sched.Obj // descriptor n is the part [n, n+1)
	free   sched.Obj // which descriptors are not taken
}

// share lets one more task use the table.
func (ft *FdTable) share(cur *Task) *FdTable {
	if !ft.shared {
		ft.shared = true
	}
	ft.users.Get(cur)
	return ft
}

// point is where threads that share the table meet at one descriptor, at all with fd < 0.
func (ft *FdTable) point(cur *Task, kind sched.Kind, fd int) {
	if cur.th == nil || !ft.shared {
		return
	}
	op := sched.Op{Kind: kind, Write: kind == sched.Store, Obj: ft.obj(cur, &ft.slots), Label: "descriptor"}
	if fd >= 0 {
		op.Off, op.Len = uint32(fd), 1
	}
	if kind == sched.Store {
		op.Also = ft.obj(cur, &ft.free)
	}
	cur.th.Point(op)
}

func (ft *FdTable) obj(cur *Task, o *sched.Obj) sched.Obj {
	if *o == 0 {
		*o = cur.k.cfg.Run.NewObj()
	}
	return *o
}

// firstFD is the first descriptor that a program opens: 0, 1 and 2 are taken.
const firstFD = 3

// maxFD is the limit of descriptors (RLIMIT_NOFILE).
const maxFD = 1024

func newFdTable() *FdTable {
	t := &FdTable{files: make([]*File, firstFD, 8), taken: make([]bool, firstFD, 8)}
	t.users.Named("descriptor table users", 1)
	return t
}

// copy duplicates the table for a child.
func (ft *FdTable) copy(cur *Task) *FdTable {
	c := newFdTable()
	ft.point(cur, sched.Load, -1)
	ft.mu.Lock()
	c.files = slices.Clone(ft.files)
	for _, f := range c.files {
		if f != nil {
			f.count.hold()
		}
	}
	ft.mu.Unlock()
	c.taken = make([]bool, len(c.files))
	for fd, f := range c.files {
		if f != nil {
			f.count.settle(cur)
			c.taken[fd] = true
		}
	}
	return c
}

func (ft *FdTable) put(cur *Task) {
	if ft.users.Put(cur) != 0 {
		return
	}
	for fd := range ft.files {
		_ = ft.close(cur, fd)
	}
}

// install puts f, whose reference it takes over, at the lowest free descriptor. EMFILE when there is none.
func (ft *FdTable) install(cur *Task, f *File) (int, error) {
	if cur.th != nil && ft.shared {
		cur.point(sched.RMW, ft.obj(cur, &ft.free), true, "free descriptor")
	}
	fd := ft.reserve()
	if fd < 0 {
		f.put(cur)
		return -1, EMFILE
	}
	ft.point(cur, sched.Store, fd)
	ft.mu.Lock()
	ft.files[fd] = f
	ft.mu.Unlock()
	return fd, nil
}

// reserve takes the lowest free descriptor: get_unused_fd. -1 means that there is none.
func (ft *FdTable) reserve() int {
	ft.mu.Lock()
	defer ft.mu.Unlock()
	fd := firstFD
	for fd < len(ft.taken) && ft.taken[fd] {
		fd++
	}
	if fd == maxFD {
		return -1
	}
	if fd == len(ft.taken) {
		ft.taken, ft.files = append(ft.taken, false), append(ft.files, nil)
	}
	ft.taken[fd] = true
	return fd
}

func (ft *FdTable) close(cur *Task, fd int) error {
	if fd < 0 || fd >= maxFD {
		return EBADF
	}
	ft.point(cur, sched.Store, fd)
	ft.mu.Lock()
	if fd >= len(ft.files) || ft.files[fd] == nil {
		ft.mu.Unlock()
		return EBADF
	}
	f := ft.files[fd]
	ft.files[fd], ft.taken[fd] = nil, false
	ft.mu.Unlock()
	f.put(cur)
	return nil
}

// A heldFile is a file for the time of a system call (struct fd). Only when the table is shared a reference is taken.
type heldFile struct {
	*File
	counted bool
}

// fdget finds the file behind a descriptor: EBADF when it is not open.
func (t *Task) fdget(fd int) (heldFile, error) {
	ft := t.files
	shared := ft.shared && (ft.unseen || ft.users.Load(t) > 1)
	if fd >= 0 && fd < maxFD {
		ft.point(t, sched.Load, fd)
		ft.mu.Lock()
		var f *File
		if fd < len(ft.files) {
			f = ft.files[fd]
		}
		ft.mu.Unlock()
		if f != nil && (!shared || f.count.Found(t)) {
			return heldFile{f, shared}, nil
		}
	}
	return heldFile{}, Errorf(EBADF, "descriptor %d is not open", fd)
}

// fdput ends the use of a file by a system call.
func (h heldFile) fdput(cur *Task) {
	if h.counted {
		h.File.put(cur)
	}
}

// Close closes a descriptor: EBADF when it is not open.
func (t *Task) Close(fd int) error {
	_, err := syscall(t, CloseCall{fd}, func() (int, error) {
		return 0, t.files.close(t, fd)
	})
	return err
}

// Dup duplicates a descriptor and returns the new one.
func (t *Task) Dup(fd int) (int, error) {
	return syscall(t, DupCall{fd}, func() (int, error) {
		f, err := t.fdget(fd)
		if err != nil {
			return -1, err
		}
		defer f.fdput(t)
		return t.files.install(t, f.File.get(t))
	})
}

// Inode returns the number of the file behind a descriptor: fstat(2). Files that nobody looks for in /proc have none.
func (t *Task) Inode(fd int) (uint64, error) {
	var ino uint64
	_, err := syscall(t, FstatCall{fd}, func() (int, error) {
		f, err := t.fdget(fd)
		if err != nil {
			return -1, err
		}
		defer f.fdput(t)
		if numbered, ok := f.ops.(interface{ Ino() uint64 }); ok {
			ino = numbered.Ino()
		}
		return 0, nil
	})
	return ino, err
}

// FileOf returns the open file behind a descriptor, for checkers; nil when it is not open.
func (t *Task) FileOf(_ inspect.Key, fd int) *File {
	t.files.mu.Lock()
	defer t.files.mu.Unlock()
	if fd < 0 || fd >= len(t.files.files) {
		return nil
	}
	return t.files.files[fd]
}

// Ops returns the file's operations: SocketOps for a socket.
func (f *File) Ops() FileOps { return f.ops }
