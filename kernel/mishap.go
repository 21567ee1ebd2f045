package kernel

import "nlmmap/kernel/sched"

// NoMemory reports whether an allocation of kernel code on behalf of the task finds no memory. Only in a controlled run
// does that happen, where the scheduler says so and Config.FailAllocs allows it. what is allocated is for traces.
func (t *Task) NoMemory(what string) bool {
	if t.th == nil || t.k.cfg.FailAllocs == 0 {
		return false
	}
	m := &t.k.mishaps
	if !t.th.Happens(sched.Fail, m.allocs < t.k.cfg.FailAllocs) {
		return false
	}
	m.allocs++
	t.k.Emit(t, MishapEvent{sched.Fail, what})
	return true
}

// signalComes reports whether a signal is going to end the sleep that a task begins: a signal that comes earlier in the
// call ends it there too.
func (t *Task) signalComes() bool {
	if t.group == nil || t.k.cfg.Signals == 0 {
		return false
	}
	m := &t.k.mishaps
	if !t.th.Happens(sched.Signal, m.signals < t.k.cfg.Signals) {
		return false
	}
	m.signals++
	return true
}

// A MishapEvent tells of a mishap that the scheduler chose: an allocation that failed, or a signal.
type MishapEvent struct {
	Mishap sched.Mishap
	What   string
}

func (e MishapEvent) String() string {
	if e.Mishap == sched.Fail {
		return "no memory for the " + e.What
	}
	return "a signal ends the " + e.What
}
