package live

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"nlmmap/scenario"
	"nlmmap/sys"
)

// A job is a function that makes calls of one task beside what others do. It has a goroutine of its own. Unless it is free,
// that runs only while somebody is in Settle or Join, so that it shares what it uses with whoever that is.
type job struct {
	t      *task
	free   bool
	atRest chan struct{} // a call of the function has ended
	goOn   chan struct{} // ... and it may go on
	ended  chan struct{} // closed when the function has returned
	limit  atomic.Int64  // how long the present call may take, a time.Duration
	delay  func() uint64 // if set: how many turns of a loop a system call begins late

	// Of the tracer's thread.
	area        int // of the scratch
	inCall      bool
	interrupted bool
}

var errBusy = errors.New("the task is in another call")

// Later implements scenario.Target.
func (tg *target) Later(t sys.Task, fn func()) (scenario.Job, error) {
	j, err := startJob(t, &job{}, fn)
	if err != nil {
		return nil, err
	}
	j.Settle()
	return j, nil
}

// startJob gives a task a job and starts it.
func startJob(of sys.Task, j *job, fn func()) (*job, error) {
	t, ok := of.(*task)
	if !ok {
		return nil, fmt.Errorf("live: a job of %T: %w", of, unix.EINVAL)
	}
	j.t, j.atRest, j.goOn, j.ended = t, make(chan struct{}), make(chan struct{}), make(chan struct{})
	err := t.tr.do(func() error {
		if t.job != nil {
			return errBusy
		}
		area, err := t.tr.scratch.take()
		if err != nil {
			return err
		}
		j.area, t.job = area, j
		// A first access would wait for whoever holds the lock of the address space, in the midst of a call.
		addr, _ := t.area()
		_, err = t.exec(lineStore, 0, func(r *unix.PtraceRegs) { r.Rdi, r.Rsi = addr, 0 })
		return err
	})
	if err != nil {
		return nil, err
	}
	go func() {
		defer close(j.ended)
		fn()
		_ = t.tr.do(func() error { // fails if the target is closed, which has no scratch
			t.tr.scratch.used[j.area] = false
			t.job = nil
			return nil
		})
	}()
	return j, nil
}

// do runs fn on the tracer's thread, beside others if the task has a job.
func (t *task) do(fn func() error) error {
	j := t.job
	if j == nil {
		return t.tr.do(fn)
	}
	result := make(chan error, 1)
	if err := t.tr.do(func() error { t.tr.begin(fn, result); return nil }); err != nil {
		return err
	}
	var err error
	select {
	case err = <-result:
	case <-t.tr.done:
		return errClosed
	}
	if !j.free {
		select {
		case j.atRest <- struct{}{}:
			<-j.goOn
		case <-t.tr.done:
			return errClosed
		}
	}
	return err
}

// Settle implements scenario.Job.
func (j *job) Settle() (ended bool) {
	asleep := 0
	for {
		select {
		case <-j.ended:
			return true
		case <-j.atRest:
			j.goOn <- struct{}{}
			asleep = 0
			continue
		case <-time.After(lookAtSleeper):
		}
		if !j.asleep() {
			asleep = 0
		} else if asleep++; asleep == sleepsFor {
			return false
		}
	}
}

// A task sleeps if it does so in a few looks: where there are several processors it can seem to for a moment.
const (
	lookAtSleeper = 300 * time.Microsecond
	sleepsFor     = 3
)

// asleep reports whether the kernel lists the task as sleeping.
func (j *job) asleep() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/stat", j.t.p.tgid, j.t.tid))
	if err != nil {
		return false
	}
	_, rest, found := bytes.Cut(stat, []byte(") "))
	return found && (rest[0] == 'S' || rest[0] == 'D')
}

// Join implements scenario.Job.
func (j *job) Join() {
	for begin := time.Now(); !j.Settle(); {
		if time.Since(begin) > time.Duration(j.limit.Load()) {
			j.interrupt()
		}
	}
}

// interrupt ends the call that the task is in.
func (j *job) interrupt() {
	_ = j.t.tr.do(func() error {
		if j.inCall && !j.interrupted {
			j.interrupted = true
			return unix.Tgkill(j.t.p.tgid, j.t.tid, interrupt)
		}
		return nil
	})
}
