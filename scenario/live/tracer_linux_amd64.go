package live

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

var errClosed = errors.New("live: the target is closed")

// A tracer is an operating system thread that runs functions one after the other. ptrace(2) accepts requests only from
// the thread that a task was attached to, and a network namespace belongs to a thread too.
type tracer struct {
	tid   int
	work  chan func()
	done  chan struct{} // closed when the thread has ended
	procs []*process    // every process that was ever made
	avoid map[int]bool  // numbers that are no good as a process's id
	start time.Time
}

// newTracer starts the thread, in a network namespace of its own unless initNet is set.
func newTracer(initNet bool) (*tracer, error) {
	tr := &tracer{work: make(chan func()), done: make(chan struct{}), start: time.Now()}
	started := make(chan error)
	go tr.run(initNet, started)
	if err := <-started; err != nil {
		return nil, err
	}
	return tr, nil
}

func (tr *tracer) run(initNet bool, started chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == os.Getpid() {
		// The first thread of the program must not change: /proc/self/net shows its namespace. As long as this
		// goroutine keeps it, another one runs elsewhere.
		defer runtime.UnlockOSThread()
		go tr.run(initNet, started)
		<-tr.done
		return
	}
	// The thread stays locked, so it ends with this function, and its namespace with it.
	defer close(tr.done)
	tr.tid = unix.Gettid()
	if !initNet {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			started <- fmt.Errorf("live: no network namespace: %w", err)
			return
		}
	}
	started <- nil
	for fn := range tr.work {
		fn()
	}
}

// do runs fn on the thread. It must not be called from the thread itself.
func (tr *tracer) do(fn func() error) error {
	result := make(chan error, 1)
	select {
	case tr.work <- func() { result <- fn() }:
		return <-result
	case <-tr.done:
		return errClosed
	}
}

// stop ends the thread and waits for its end.
func (tr *tracer) stop() {
	quit := func() { runtime.Goexit() }
	select {
	case tr.work <- quit:
	case <-tr.done:
	}
	<-tr.done
}
