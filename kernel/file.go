package kernel

import (
	"slices"
	"sync"
)

// A File is an open file: what descriptors, mappings and messages in flight refer to.
type File struct {
	k *Kernel
	// count is f_count: descriptors in all tables, VMAs, copies in undelivered SCM_RIGHTS messages, and one for each
	// running call on it whose descriptor table is shared (spec 8.4.1).
	count Atomic
	ops   FileOps
	// epolls are the epoll entries that watch the file; they go when it does.
	mu     sync.Mutex
	epolls []*epollItem
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
	f.count.v.Store(1)
	k.Count(ResFile, 1)
	return f
}

// Count is f_count.
func (f *File) Count(cur *Task) int { return int(f.count.Load(cur)) }

// get takes a reference.
func (f *File) get(cur *Task) *File {
	f.count.Add(cur, 1)
	return f
}

// put drops a reference; with the last one the file is released.
func (f *File) put(cur *Task) {
	if !f.count.DecAndTest(cur) {
		return
	}
	f.mu.Lock()
	watched := slices.Clone(f.epolls)
	f.mu.Unlock()
	for _, item := range watched {
		item.ep.remove(item)
	}
	f.ops.Release(cur)
	f.k.Count(ResFile, -1)
}

// An FdTable is a descriptor table. Threads share one, processes have copies.
type FdTable struct {
	mu    sync.Mutex
	files []*File
	users Atomic
}

// firstFD is the first descriptor that a program opens: 0, 1 and 2 are taken.
const firstFD = 3

// maxFD is the limit of descriptors (RLIMIT_NOFILE).
const maxFD = 1024

func newFdTable() *FdTable {
	t := &FdTable{files: make([]*File, firstFD, 8)}
	t.users.v.Store(1)
	return t
}

// copy duplicates the table for a child.
func (ft *FdTable) copy(cur *Task) *FdTable {
	c := newFdTable()
	ft.mu.Lock()
	c.files = slices.Clone(ft.files)
	ft.mu.Unlock()
	for _, f := range c.files {
		if f != nil {
			f.get(cur)
		}
	}
	return c
}

func (ft *FdTable) put(cur *Task) {
	if !ft.users.DecAndTest(cur) {
		return
	}
	for fd := range ft.files {
		_ = ft.close(cur, fd)
	}
}

// install puts f, whose reference it takes over, at the lowest free descriptor. EMFILE when there is none.
func (ft *FdTable) install(cur *Task, f *File) (int, error) {
	ft.mu.Lock()
	fd := firstFD
	for fd < len(ft.files) && ft.files[fd] != nil {
		fd++
	}
	if fd == maxFD {
		ft.mu.Unlock()
		f.put(cur)
		return -1, EMFILE
	}
	if fd == len(ft.files) {
		ft.files = append(ft.files, nil)
	}
	ft.files[fd] = f
	ft.mu.Unlock()
	return fd, nil
}

func (ft *FdTable) close(cur *Task, fd int) error {
	ft.mu.Lock()
	if fd < 0 || fd >= len(ft.files) || ft.files[fd] == nil {
		ft.mu.Unlock()
		return EBADF
	}
	f := ft.files[fd]
	ft.files[fd] = nil
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
	shared := ft.users.Load(t) > 1
	ft.mu.Lock()
	if fd < 0 || fd >= len(ft.files) || ft.files[fd] == nil {
		ft.mu.Unlock()
		return heldFile{}, Errorf(EBADF, "descriptor %d is not open", fd)
	}
	f := ft.files[fd]
	if shared {
		// The count rises under the table's lock, so that a close in another thread does not release the file.
		f.count.v.Add(1)
	}
	ft.mu.Unlock()
	return heldFile{f, shared}, nil
}

// fdput ends the use of a file by a system call.
func (h heldFile) fdput(cur *Task) {
	if h.counted {
		h.File.put(cur)
	}
}

// Close closes a descriptor: EBADF when it is not open.
func (t *Task) Close(fd int) error {
	_, err := t.sys(Call{Name: "close", FD: fd, HasFD: true}, func() (int, error) {
		return 0, t.files.close(t, fd)
	})
	return err
}

// Dup duplicates a descriptor and returns the new one.
func (t *Task) Dup(fd int) (int, error) {
	return t.sys(Call{Name: "dup", FD: fd, HasFD: true}, func() (int, error) {
		f, err := t.fdget(fd)
		if err != nil {
			return -1, err
		}
		defer f.fdput(t)
		return t.files.install(t, f.File.get(t))
	})
}

// FileOf returns the open file behind a descriptor, for checkers; nil when it is not open.
func (t *Task) FileOf(fd int) *File {
	t.files.mu.Lock()
	defer t.files.mu.Unlock()
	if fd < 0 || fd >= len(t.files.files) {
		return nil
	}
	return t.files.files[fd]
}

// Ops returns the file's operations: SocketOps for a socket.
func (f *File) Ops() FileOps { return f.ops }
