// Package trace prints what a machine does, for people: system calls in the dialect of strace, and below each one, in
// order, what the kernel did in it.
package trace

import (
	"fmt"
	"io"

	"nlmmap/kernel"
)

// A Printer writes the records it is given. Locks are left out unless Locks is set.
type Printer struct {
	W     io.Writer
	Locks bool
	inner map[*kernel.Task][]string // events of system calls that have not ended
}

// Record prints one record: give it to kernel.Config.Trace.
func (p *Printer) Record(r kernel.Record) {
	name := "-"
	if r.Task != nil {
		name = r.Task.Name
	}
	call, isCall := r.Event.(kernel.SyscallEvent)
	switch e := r.Event.(type) {
	case kernel.Observation:
		return
	case kernel.LockEvent:
		if !p.Locks {
			return
		}
	case kernel.WakeEvent:
		if e.Sleepers == 0 {
			return
		}
	}
	switch {
	case isCall && !call.Done:
		if p.inner == nil {
			p.inner = map[*kernel.Task][]string{}
		}
		p.inner[r.Task] = []string{}
	case isCall:
		fmt.Fprintf(p.W, "%v %-8s %v\n", r.Time, name, call)
		for _, line := range p.inner[r.Task] {
			fmt.Fprintln(p.W, line)
		}
		delete(p.inner, r.Task)
	default:
		line := fmt.Sprintf("%v %-8s     %v", r.Time, name, r.Event)
		if lines, open := p.inner[r.Task]; open {
			p.inner[r.Task] = append(lines, line)
		} else {
			fmt.Fprintln(p.W, line)
		}
	}
}
