package live

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// A Namespace is a new network namespace of the live kernel, with what an administrator does in it.
type Namespace struct{ admin admin }

// Within calls fn on a thread of its own in a new network namespace, which lives as long as a socket that fn has made
// there. Nothing of it is traced: fn and whoever has its sockets make ordinary system calls. EPERM without CAP_SYS_ADMIN.
func Within(fn func(*Namespace) error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("live: no network namespace: %w", err)
			return
		}
		result <- fn(&Namespace{admin{kind: "dummy"}})
	}()
	return <-result
}

// Loopback brings lo up.
func (n *Namespace) Loopback() error { return n.admin.loopback() }

// QueueRule sends UDP packets to port 9 to a packet queue; without anybody who has it they are dropped.
func (n *Namespace) QueueRule(num int) error { return n.admin.addRule(nfqueueTarget(num, false)) }
