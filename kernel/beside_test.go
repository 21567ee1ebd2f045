package kernel_test

import (
	"errors"
	"testing"

	"nlmmap/kernel"
	"nlmmap/uapi"
)

// TestBeside: a call that sleeps beside others is woken by what they do, by time, and by whoever has lost patience.
func TestBeside(t *testing.T) {
	m := boot(t, kernel.Config{Patience: 3 * kernel.Second})
	fd, d := m.open(0)
	other, err := m.Clone("other", uapi.CloneVM|uapi.CloneFiles|uapi.CloneThread)
	must(t, err)
	task := other.(*kernel.Task)
	var n int
	poll := func(timeout kernel.Time) *kernel.Beside {
		n, err = -1, nil
		return m.Kernel.Beside(task, func() {
			n, err = task.Poll([]kernel.PollFD{{FD: fd, Events: uapi.PollIn}}, timeout)
		})
	}

	woken := poll(-1)
	m.RunBeside()
	if woken.Done() {
		t.Fatalf("it did not sleep: %d %v", n, err)
	}
	d.push(m.KernelTask("test"), 9)
	if !m.RunBeside() || !woken.Done() || n != 1 || err != nil {
		t.Errorf("woken: %d %v", n, err)
	}

	if at := poll(-1); !at.Done() || n != 1 {
		t.Errorf("it slept though there is something: %d %v", n, err)
	}
	_, err = m.Recvmsg(fd, &kernel.Msghdr{}, uapi.MsgDontwait)
	must(t, err)

	begin := m.Kernel.Now()
	late := poll(20 * kernel.Millisecond)
	if _, err := m.Task.Poll(nil, 10*kernel.Millisecond); err != nil || late.Done() {
		t.Errorf("after half of the time: %v", err)
	}
	late.Join()
	if passed := m.Kernel.Now() - begin; n != 0 || err != nil || passed != 20*kernel.Millisecond {
		t.Errorf("timeout: %d %v after %v", n, err, passed)
	}

	poll(-1).Join()
	if !errors.Is(err, kernel.ErrBlocks) {
		t.Errorf("for ever: %v", err)
	}
}

// TestBesideLock: who waits for a lock gets it when its holder gives it back, also if both work beside others.
func TestBesideLock(t *testing.T) {
	m := boot(t, kernel.Config{})
	lock := kernel.Mutex{Name: "lock"}
	var q kernel.WaitQueue
	open := false
	holder, waiter := m.Kernel.NewProcess("holder", m.InitNet()), m.Kernel.NewProcess("waiter", m.InitNet())
	first := m.Kernel.Beside(holder, func() {
		lock.Lock(holder)
		defer lock.Unlock(holder)
		_ = holder.WaitEvent(&q, kernel.Forever, func() bool { return open })
	})
	second := m.Kernel.Beside(waiter, func() {
		lock.Lock(waiter)
		lock.Unlock(waiter)
	})
	if first.Done() || second.Done() {
		t.Fatal("nobody waits")
	}
	open = true
	q.Wake(m.KernelTask("test"), 0)
	lock.Lock(m.Task) // lets the others go on
	if !first.Done() {
		t.Error("the lock was taken from its holder")
	}
	lock.Unlock(m.Task)
	second.Join()
	if !second.Done() {
		t.Error("the second one still waits")
	}
}
