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
	few     [2]WaitEntry // the first of them, where the table is used again
}

// Wait registers with q.
func (pt *PollTable) Wait(q *WaitQueue) {
	if pt == nil {
		return
	}
	e := pt.entry()
	q.Add(pt.task, e)
	pt.entries = append(pt.entries, e)
}

// entry returns an entry that is on no queue. One that is used again stays as it is: somebody who found it on a queue may
// be about to wake its task.
func (pt *PollTable) entry() *WaitEntry {
	if n := len(pt.entries); pt.fn == nil && n < len(pt.few) {
		e := &pt.few[n]
		if e.task == nil {
			e.task = pt.task
		}
		return e
	}
	return &WaitEntry{task: pt.task, Fn: pt.fn}
}

func (pt *PollTable) free(cur *Task) {
	for _, e := range pt.entries {
		e.Remove(cur)
	}
	pt.entries = pt.entries[:0]
}

// A pollCall is what a call of poll(2) has for its time.
type pollCall struct {
	task  *Task
	fds   []PollFD
	held  []heldFile
	few   [4]heldFile // the memory of held
	table PollTable
}

// pollCall returns what a call needs, where nobody could tell the task's own.
func (t *Task) pollCall(fds []PollFD) *pollCall {
	p := &t.polls
	if !t.k.Recycles() {
		p = new(pollCall)
	}
	p.task, p.table.task, p.fds, p.held = t, t, fds, p.few[:0]
	for i := range fds {
		f, _ := t.fdget(fds[i].FD)
		p.held = append(p.held, f)
	}
	return p
}

func (p *pollCall) end() {
	for i, h := range p.held {
		if h.File != nil {
			h.fdput(p.task)
		}
		p.held[i] = heldFile{}
	}
	p.table.free(p.task)
	p.fds, p.held = nil, nil
}

// look evaluates the descriptors and returns how many have events.
func (p *pollCall) look(register *PollTable) (ready int) {
	for i := range p.fds {
		f := &p.fds[i]
		f.Revents = uapi.PollNval
		if p.held[i].File != nil {
			mask := p.held[i].ops.Poll(p.task, register)
			f.Revents = mask & (f.Events | uapi.PollErr | uapi.PollHup)
		}
		if f.Revents != 0 {
			ready++
		}
	}
	return ready
}

func (p *pollCall) ready() bool { return p.look(nil) > 0 }

// A PollFD is one descriptor of a poll call.
type PollFD = sys.PollFD

// Poll waits until one of the descriptors has an event, at most timeout (negative: for ever; 0: not at all), and
// returns how many have. An unknown descriptor has POLLNVAL. With a timeout each descriptor is evaluated at once, after
// every wake-up, and when the time is over (spec 5).
func (t *Task) Poll(fds []PollFD, timeout Time) (int, error) {
	return syscall(t, PollCall{fds, timeout}, func() (int, error) { return t.doPoll(fds, timeout) })
}

func (t *Task) doPoll(fds []PollFD, timeout Time) (int, error) {
	p := t.pollCall(fds)
	defer p.end()
	deadline := t.k.Deadline(t, timeout)
	var register *PollTable
	if timeout != 0 {
		register = &p.table
	}
	for {
		signal := t.prepareToSleep()
		n := p.look(register)
		register = nil
		switch {
		case n > 0 || timeout == 0:
			return n, nil
		case signal:
			return -1, EINTR
		case deadline != Forever && t.k.now(t) >= deadline:
			return 0, nil
		}
		t.schedule(deadline, p.ready)
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
