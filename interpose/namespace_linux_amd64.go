package interpose

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"nlmmap/kernel"
)

// A namespace is a network namespace of the kernel underneath that programs are in, and the model's that stands for it.
type namespace struct {
	net *kernel.Net
	fd  int // as long as it is open, no other namespace gets the same number
}

// namespaceName is what /proc calls the network namespace of a thread, "" for one that has gone or may not be looked at.
func namespaceName(tid int) string {
	name, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", tid))
	return name
}

// beginsIn says that a program begins in the namespace of a thread: that is the machine's own, whichever it is underneath.
func (s *Supervisor) beginsIn(tid int) { s.enterNamespace(tid, func() *kernel.Net { return s.net }) }

// netOf returns what stands for the network namespace of a thread: a fresh one of the model's for one that programs have made or
// entered; nil when that cannot be found out.
func (s *Supervisor) netOf(tid int) *kernel.Net { return s.enterNamespace(tid, s.kernel.NewNet) }

func (s *Supervisor) enterNamespace(tid int, stand func() *kernel.Net) *kernel.Net {
	name := namespaceName(tid)
	if name == "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, ok := s.namespaces[name]; ok {
		return n.net
	}
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", tid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	n := namespace{stand(), fd}
	s.namespaces[name] = n
	return n.net
}
