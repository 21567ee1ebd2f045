package live

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"runtime"
	"slices"
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
	apart []*apart      // work whose tasks run meanwhile
	now   *apart        // which of it runs on the thread, nil if none does
	start time.Time

	scratch *scratch
}

// newTracer starts the thread, in a network namespace of its own unless initNet is set.
func newTracer(initNet bool) (*tracer, error) {
	scratch, err := newScratch()
	if err != nil {
		return nil, err
	}
	tr := &tracer{work: make(chan func()), done: make(chan struct{}), start: time.Now(), scratch: scratch}
	started := make(chan error)
	go tr.run(initNet, started)
	if err := <-started; err != nil {
		scratch.close()
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
	for {
		select {
		case fn := <-tr.work:
			fn()
			continue
		default:
		}
		switch {
		case len(tr.apart) == 0:
			(<-tr.work)()
		case !tr.goOn():
			time.Sleep(lookAgain)
		}
	}
}

// lookAgain is how long the thread waits before it looks again whether a task has stopped that runs beside others.
const lookAgain = 50 * time.Microsecond

// An apart is work of a task that runs beside others: a coroutine, which comes back whenever it would wait for the task.
// All of them run on the tracer's thread.
type apart struct {
	next    func() (struct{}, bool)
	stop    func()
	giveWay func(struct{}) bool // lets other work go on; false when this one is abandoned
}

// begin begins such work. It gives way where it would wait for a task; result gets what fn returns.
func (tr *tracer) begin(fn func() error, result chan<- error) {
	a := &apart{}
	a.next, a.stop = iter.Pull(func(yield func(struct{}) bool) {
		a.giveWay = yield
		result <- fn()
	})
	if tr.resume(a) {
		tr.apart = append(tr.apart, a)
	}
}

// resume lets work go on until it gives way, and reports whether there is more of it.
func (tr *tracer) resume(a *apart) (more bool) {
	tr.now = a
	_, more = a.next()
	tr.now = nil
	return more
}

// goOn lets all such work go on for which there is something to do, and reports whether some has come to an end.
func (tr *tracer) goOn() (ended bool) {
	before := len(tr.apart)
	tr.apart = slices.DeleteFunc(tr.apart, func(a *apart) bool { return !tr.resume(a) })
	return len(tr.apart) < before
}

// abandon ends all such work. The tasks are dead.
func (tr *tracer) abandon() {
	for _, a := range tr.apart {
		a.stop()
	}
	tr.apart = nil
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
	quit := func() {
		tr.scratch.close()
		runtime.Goexit()
	}
	select {
	case tr.work <- quit:
	case <-tr.done:
	}
	<-tr.done
}
