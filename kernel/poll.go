package kernel

import (
	"slices"

	"nlmmap/sys"
	"nlmmap/uapi"
)

// A PollTable collects the wait queues that one evaluation of a file's events looks at (poll_table). A nil table only
// asks.
type PollTable struct {
	fn      func(cur *Task, key uint32) // nil: wake the task
	task    *Task                       // who evaluates
	entries []*WaitEntry
}

// Wait registers with q.
func (pt *PollTable) Wait(q *WaitQueue) {
	if pt == nil {
		return
	}
	e := &WaitEntry{task: pt.task, Fn: pt.fn}
	q.Add(pt.task, e)
	pt.entries = append(pt.entries, e)
}

func (pt *PollTable) free(cur *Task) {
	for _, e := range pt.entries {
		e.Remove(cur)
	}
}

// A PollFD is one descriptor of a poll call.
type PollFD = sys.PollFD

// Poll waits until one of the descriptors has an event, at most timeout (negative: for ever; 0: not at all), and
// returns how many have. An unknown descriptor has POLLNVAL. With a timeout each descriptor is evaluated at once, after
// every wake-up, and when the time is over (spec 5).
func (t *Task) Poll(fds []PollFD, timeout Time) (int, error) {
	return syscall(t, PollCall{fds, timeout}, func() (int, error) { return t.doPoll(fds, timeout) })
}

func (t *Task) doPoll(fds []PollFD, timeout Time) (int, error) {
	var pt *PollTable
	if timeout != 0 {
		pt = &PollTable{task: t}
		defer pt.free(t)
	}
	held := make([]heldFile, len(fds))
	for i := range fds {
		held[i], _ = t.fdget(fds[i].FD)
	}
	defer func() {
		for _, h := range held {
			if h.File != nil {
				h.fdput(t)
			}
		}
	}()
	deadline := t.k.Deadline(t, timeout)
	look := func(register *PollTable) (ready int) {
		for i := range fds {
			fds[i].Revents = uapi.PollNval
			if held[i].File != nil {
				mask := held[i].ops.Poll(t, register)
				fds[i].Revents = mask & (fds[i].Events | uapi.PollErr | uapi.PollHup)
			}
			if fds[i].Revents != 0 {
				ready++
			}
		}
		return ready
	}
	register := pt
	for {
		signal := t.prepareToSleep()
		n := look(register)
		register = nil
		switch {
		case n > 0 || timeout == 0:
			return n, nil
		case signal:
			return -1, EINTR
		case deadline != Forever && t.k.now(t) >= deadline:
			return 0, nil
		}
		t.schedule(deadline, func() bool { return look(nil) > 0 })
	}
}

// Select is select(2): it returns which of the descriptors in read, write and except are ready.
func (t *Task) Select(read, write, except []int, timeout Time) (r, w, e []int, err error) {
	const in = uapi.PollIn | uapi.PollRdnorm | uapi.PollRdband | uapi.PollHup | uapi.PollErr
	const out = uapi.PollOut | uapi.PollWrnorm | uapi.PollWrband | uapi.PollErr
	var fds []PollFD
	add := func(set []int, events uint32) {
		for _, fd := range set {
			if i := slices.IndexFunc(fds, func(p PollFD) bool { return p.FD == fd }); i >= 0 {
				fds[i].Events |= events
			} else {
				fds = append(fds, PollFD{FD: fd, Events: events})
			}
		}
	}
	add(read, in)
	add(write, out)
	add(except, uapi.PollPri)
	_, err = syscall(t, SelectCall{fds, timeout}, func() (int, error) {
		n, err := t.doPoll(fds, timeout)
		for _, p := range fds {
			if p.Revents == uapi.PollNval {
				return -1, Errorf(EBADF, "descriptor %d is not open", p.FD)
			}
		}
		return n, err
	})
	if err != nil {
		return nil, nil, nil, err
	}
	for _, p := range fds {
		if slices.Contains(read, p.FD) && p.Revents&in != 0 {
			r = append(r, p.FD)
		}
		if slices.Contains(write, p.FD) && p.Revents&out != 0 {
			w = append(w, p.FD)
		}
		if slices.Contains(except, p.FD) && p.Revents&uapi.PollPri != 0 {
			e = append(e, p.FD)
		}
	}
	return r, w, e, nil
}
