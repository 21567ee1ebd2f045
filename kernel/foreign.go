package kernel

// This file is for tasks that follow processes which run elsewhere: real ones, whose system calls somebody hands to the
// model one by one (package interpose). What such a process does to its own descriptors and memory is done there, and
// said here.

// SetLastPid lets the next task have the number pid + 1: what writing /proc/sys/kernel/ns_last_pid does.
func (k *Kernel) SetLastPid(cur *Task, pid int) { k.lastPid.Store(cur, int64(pid)) }

// Credentials are the ids and capabilities (as bits) of a process as /proc/PID/status shows them.
type Credentials struct {
	UID, EUID, SUID      uint32
	GID, EGID, SGID      uint32
	Permitted, Effective uint64
}

func (c Credentials) cred() *Cred {
	return &Cred{UID: c.UID, EUID: c.EUID, SUID: c.SUID, GID: c.GID, EGID: c.EGID, SGID: c.SGID,
		permitted: c.Permitted & allCaps, effective: c.Effective & allCaps}
}

// SetCredentials gives the task an identity, between two calls of it.
func (t *Task) SetCredentials(c Credentials) { t.cred = c.cred() }

// SetNet puts the task into a network namespace, between two calls of it. Its sockets stay where they are.
func (t *Task) SetNet(net *Net) { t.net = net }

// ForkBy, ThreadBy, KillBy and MunmapBy are fork, clone, SIGKILL and munmap for a task that somebody else drives, made by cur. Who is
// in a system call when he is killed is interrupted, and ends when he leaves it. The identity and the namespace of a new task are
// given, as those of t may be changing.
func (t *Task) ForkBy(cur *Task, name string, c Credentials, net *Net) (*Task, error) {
	return t.fork(cur, name, c.cred(), net)
}
func (t *Task) ThreadBy(cur *Task, name string, c Credentials, net *Net) *Task {
	return t.thread(cur, name, c.cred(), net)
}
func (t *Task) KillBy(cur *Task) { t.group.kill(cur, nil) }

// Threads says that t, whose call it is, is about to have a thread that ThreadBy enters later, and which may be in the middle of
// a call by then: from now on who uses a file of theirs holds it, as if the thread were there. That remains when it has ended.
func (t *Task) Threads() {
	if !t.files.unseen {
		t.files.shared, t.files.unseen = true, true
		t.as.shared = true
	}
}

func (t *Task) MunmapBy(cur *Task, addr, length uint64) error {
	if err := checkRange(addr, length); err != nil {
		return err
	}
	t.as.sem.Lock(cur)
	t.as.unmap(cur, addr, addr+pageAlign(length))
	t.as.sem.Unlock(cur)
	return nil
}

// ForgetSignal takes back a signal that came when the call that it was for had ended.
func (t *Task) ForgetSignal() { t.signal.Store(false) }

// ShareBy gives task to a descriptor of the file that t has as fd, and returns it: what a descriptor that travels over a UNIX
// socket comes to. EBADF when fd is not open, EMFILE.
func (t *Task) ShareBy(cur *Task, fd int, to *Task) (int, error) {
	f := t.files.get(cur, fd)
	if f == nil {
		return -1, Errorf(EBADF, "descriptor %d is not open", fd)
	}
	return to.files.install(cur, f)
}

// CloseBy closes a descriptor of t. EBADF when it is not open.
func (t *Task) CloseBy(cur *Task, fd int) error { return t.files.close(cur, fd) }

// get returns the file of a descriptor with a reference, nil when it is not open.
func (ft *FdTable) get(cur *Task, fd int) *File {
	ft.mu.Lock()
	defer ft.mu.Unlock()
	if fd < 0 || fd >= len(ft.files) || ft.files[fd] == nil {
		return nil
	}
	return ft.files[fd].get(cur)
}

// RingFD returns the memfd whose first bytes the mapping at addr shows, with Config.Joined. It is open as long as the ring
// is set. ENOENT when nothing of the kind is mapped there.
func (t *Task) RingFD(addr uint64) (int, error) {
	t.as.mu.Lock()
	defer t.as.mu.Unlock()
	v := t.as.find(addr)
	if v == nil || v.table.real == nil {
		return -1, Errorf(ENOENT, "no ring is mapped at %#x", addr)
	}
	t.k.Emit(t, RawMemEvent{v.File}) // nobody sees what the program does there
	return v.table.real.FD(), nil
}
