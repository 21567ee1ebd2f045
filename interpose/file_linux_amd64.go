package interpose

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"nlmmap/kernel"
)

// A file is an open file of the programs that the model has too: a netlink socket, or an epoll.
type file struct {
	// inode is that of a socket's placeholder, far the end of the pair that the supervisor has; an epoll has neither.
	inode uint64
	far   int
	// epoll is the supervisor's copy of an epoll descriptor.
	epoll int
	// memfds are the inodes of what has taken the placeholder's place in some table.
	mu     sync.Mutex
	memfds map[uint64]bool
	data   map[int]uint64 // of an epoll: what the program wants to hear of a descriptor
	last   []event        // of an epoll: what was ready at the last look

	nonblock atomic.Bool
	// SO_RCVTIMEO or SO_SNDTIMEO is set: interrupted calls are not restarted.
	recvTimeout, sendTimeout atomic.Bool

	// Some task of the model that has it, and the descriptor there: where others get it from.
	owner   *kernel.Task
	ownerFD int
}

func (f *file) isEpoll() bool { return f.far < 0 }

// placeholder makes a placeholder: near is for the program's table, far stays here.
func placeholder(nonblock bool) (near, far int, inode uint64, err error) {
	typ := unix.SOCK_SEQPACKET | unix.SOCK_CLOEXEC
	if nonblock {
		typ |= unix.SOCK_NONBLOCK
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, typ, 0)
	if err != nil {
		return -1, -1, 0, fmt.Errorf("socketpair: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(pair[0], &st); err != nil {
		return -1, -1, 0, fmt.Errorf("fstat: %w", err)
	}
	return pair[0], pair[1], st.Ino, nil
}

// enter makes a file known that task has as fd in the model.
func (s *Supervisor) enter(f *file, task *kernel.Task, fd int) error {
	f.owner, f.ownerFD = task, fd
	s.mu.Lock()
	if f.isEpoll() {
		s.epolls = append(s.epolls, f)
		s.mu.Unlock()
		return nil
	}
	s.files[f.inode] = f
	s.mu.Unlock()
	return s.watch(f.far, func() { s.closed(f) })
}

// share gives a process of the model a descriptor of a file.
func (s *Supervisor) share(f *file, p *process) (int, error) {
	s.owners.Lock()
	defer s.owners.Unlock()
	n, err := f.owner.ShareBy(s.cur, f.ownerFD, p.task)
	if err == nil && f.owner == s.holder {
		// It was in flight.
		_ = s.holder.CloseBy(s.cur, f.ownerFD)
		f.owner, f.ownerFD = p.task, n
	}
	return n, err
}

// keep finds another owner for a file before its owner loses it: some other process that has it, else the holder, as it is in
// flight.
func (s *Supervisor) keep(p *process, d descriptor) {
	s.owners.Lock()
	defer s.owners.Unlock()
	f := d.file
	if f.owner != p.task || f.ownerFD != d.fd || f.gone() {
		return
	}
	if !p.over {
		for _, o := range p.fds {
			if o.file == f && o.fd != d.fd {
				f.ownerFD = o.fd
				return
			}
		}
	}
	if f.isEpoll() && !s.hasEpoll(f, p) {
		s.mu.Lock()
		s.epolls = slices.DeleteFunc(s.epolls, func(o *file) bool { return o == f })
		s.mu.Unlock()
		_ = unix.Close(f.epoll)
		return
	}
	if n, err := p.task.ShareBy(s.cur, d.fd, s.holder); err == nil {
		f.owner, f.ownerFD = s.holder, n
	}
}

// hasEpoll reports whether another process has an epoll: nothing says so by itself.
func (s *Supervisor) hasEpoll(f *file, but *process) bool {
	for _, p := range s.all() {
		if p == but {
			continue
		}
		entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.tgid)) // a process that has gone has none
		for _, e := range entries {
			if fd, err := strconv.Atoi(e.Name()); err == nil && sameFile(p.tgid, fd, f.epoll) {
				return true
			}
		}
	}
	return false
}

// gone reports whether no program has the file any more.
func (f *file) gone() bool {
	if f.isEpoll() {
		return false
	}
	p := []unix.PollFd{{Fd: int32(f.far)}}
	n, _ := unix.Poll(p, 0)
	return n > 0 && p[0].Revents&unix.POLLHUP != 0
}

// closed is called when the last descriptor of a socket was closed here: the model's go too. Mappings stay.
func (s *Supervisor) closed(f *file) {
	s.mu.Lock()
	if s.files[f.inode] != f {
		s.mu.Unlock()
		return
	}
	delete(s.files, f.inode)
	for inode := range f.memfds {
		delete(s.memfds, inode)
	}
	s.mu.Unlock()
	s.unwatch(f.far)
	_ = unix.Close(f.far)
	for _, p := range s.all() {
		p.mu.Lock()
		for fd, d := range p.fds {
			if d.file == f {
				delete(p.fds, fd)
				_ = p.task.CloseBy(s.cur, d.fd)
			}
		}
		p.mu.Unlock()
	}
	s.owners.Lock()
	defer s.owners.Unlock()
	if f.owner == s.holder {
		_ = s.holder.CloseBy(s.cur, f.ownerFD)
	}
}

// fileOf returns the file that a descriptor of a process with the given link is, nil for none of the model's.
func (s *Supervisor) fileOf(p *process, fd int, link string) *file {
	switch {
	case strings.HasPrefix(link, "socket:["):
		inode, err := strconv.ParseUint(link[len("socket:["):len(link)-1], 10, 64)
		if err != nil {
			return nil
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.files[inode]
	case strings.HasPrefix(link, "/memfd:netlink-ring"):
		var st unix.Stat_t
		if unix.Stat(fmt.Sprintf("/proc/%d/fd/%d", p.tgid, fd), &st) != nil {
			return nil
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.memfds[st.Ino]
	case link == "anon_inode:[eventpoll]":
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, e := range s.epolls {
			if sameFile(p.tgid, fd, e.epoll) {
				return e
			}
		}
	}
	return nil
}

// sameFile reports whether descriptor fd of a process and descriptor own of this one are the same open file.
func sameFile(pid, fd, own int) bool {
	const kcmpFile = 0
	r, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(pid), uintptr(unix.Getpid()), kcmpFile, uintptr(fd), uintptr(own), 0)
	return errno == 0 && r == 0
}
