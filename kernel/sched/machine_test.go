package sched_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"nlmmap/kernel/sched"
)

// A machine has what kernels are made of, as small as it can be: words, locks, a wait queue, time.
type machine struct {
	run     *sched.Run
	words   [2]int
	wordObj [2]sched.Obj
	held    [2]bool
	lockObj [2]sched.Obj
	queue   []*task
	qObj    sched.Obj
	now     int
	tasks   []*task
	born    int
}

type task struct {
	m        *machine
	th       *sched.Thread
	woken    bool
	obj      sched.Obj
	deadline int // 0: none
	asleep   bool
	seen     string
}

// Ready implements sched.Resource: the sleep is over.
func (t *task) Ready() bool { return t.woken || t.deadline > 0 && t.m.now >= t.deadline }

// program is a list of operations for each thread:
//
//	rN wN aN   load, store, add to word N
//	lN uN      lock, unlock
//	s  S       sleep until word 0 is not 0; S with a timeout
//	k          wake the queue
//	y          spin until word 1 is not 0
//	c          a choice of two values that goes into word 0
//	g          start a thread that stores to word 1
type threads [][]string

// outcome runs a program and tells what its threads have seen.
func (p threads) outcome(s sched.Scheduler) string {
	m := &machine{run: &sched.Run{Scheduler: s, MaxSteps: 200}}
	for _, obj := range []*sched.Obj{&m.wordObj[0], &m.wordObj[1], &m.lockObj[0], &m.lockObj[1], &m.qObj} {
		*obj = m.run.NewObj()
	}
	m.run.Idle = m.idle
	for i, ops := range p {
		m.start(fmt.Sprint("t", i), ops)
	}
	err := m.run.Loop()
	var dead *sched.Deadlock
	seen := fmt.Sprint(m.words, m.now)
	for _, t := range m.tasks {
		seen += "/" + t.seen
	}
	switch {
	case errors.As(err, &dead):
		seen += " deadlock"
	case err != nil:
		seen = err.Error()
	}
	return seen
}

func (m *machine) start(name string, ops []string) {
	t := &task{m: m, obj: m.run.NewObj()}
	m.tasks = append(m.tasks, t)
	t.th = m.run.Go(name, func(*sched.Thread) {
		for _, op := range ops {
			t.do(op)
		}
	})
}

// idle lets time pass to the first timeout.
func (m *machine) idle() bool {
	next := 0
	for _, t := range m.tasks {
		if t.asleep && t.deadline > 0 && (next == 0 || t.deadline < next) {
			next = t.deadline
		}
	}
	m.now = max(m.now, next)
	return next > 0
}

func (t *task) point(kind sched.Kind, obj sched.Obj, write bool) {
	t.th.Point(sched.Op{Kind: kind, Obj: obj, Write: write})
}

func (t *task) load(n int) int {
	t.point(sched.Load, t.m.wordObj[n], false)
	return t.m.words[n]
}

func (t *task) do(op string) {
	m, n := t.m, 0
	if len(op) > 1 {
		n = int(op[1] - '0')
	}
	switch op[0] {
	case 'r':
		t.seen += fmt.Sprint(t.load(n))
	case 'w':
		t.point(sched.Store, m.wordObj[n], true)
		m.words[n] = t.th.ID + 1
	case 'a':
		t.point(sched.RMW, m.wordObj[n], true)
		m.words[n]++
	case 'l':
		t.th.Point(sched.Op{Kind: sched.Lock, Obj: m.lockObj[n], Write: true, Res: free{&m.held[n]}})
		m.held[n] = true
	case 'u':
		t.point(sched.Unlock, m.lockObj[n], true)
		m.held[n] = false
	case 'k':
		t.point(sched.Wake, m.qObj, true)
		for _, o := range slices.Clone(m.queue) {
			t.point(sched.Wake, o.obj, true)
			o.woken = true
		}
	case 's', 'S':
		t.sleep(op[0] == 'S')
	case 'y':
		for t.load(1) == 0 {
			t.th.GiveWay("spin")
		}
	case 'c':
		t.point(sched.Store, m.wordObj[0], true)
		m.words[0] = 5 + t.th.Choose(2)
	case 'g':
		m.born++
		m.start(fmt.Sprint("child", m.born), []string{"w1"})
	}
}

// sleep waits until word 0 is not 0.
func (t *task) sleep(timeout bool) {
	t.point(sched.Store, t.m.qObj, true)
	t.m.queue = append(t.m.queue, t)
	t.deadline = 0
	if timeout {
		t.deadline = t.m.now + 10
	}
	for {
		t.point(sched.Store, t.obj, true)
		t.woken = false
		if t.load(0) != 0 {
			t.seen += "+"
			break
		}
		if t.deadline > 0 && t.m.now >= t.deadline {
			t.seen += "-"
			break
		}
		t.asleep = true
		t.th.Point(sched.Op{Kind: sched.Wait, Write: true, Obj: t.obj, Res: t})
		t.asleep = false
	}
	t.point(sched.Store, t.m.qObj, true)
	t.m.queue = slices.DeleteFunc(t.m.queue, func(o *task) bool { return o == t })
}

// TestDFSMachines compares the searches on random programs with everything that a thread can wait for.
func TestDFSMachines(t *testing.T) {
	compared, long := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		var p threads
		left, spins := 7, 0
		for range rapid.IntRange(2, 3).Draw(t, "threads") {
			var ops []string
			held := ""
			for range rapid.IntRange(1, 3).Draw(t, "ops") {
				if left <= 0 {
					break
				}
				op := rapid.SampledFrom([]string{"r0", "r1", "w0", "w1", "a0", "a1", "l0", "l1", "s", "S", "k", "y", "c", "g"}).Draw(t, "op")
				switch op[0] {
				case 's', 'S':
					left -= 3
				case 'y':
					if spins++; spins > 1 {
						continue
					}
					left -= 2
				case 'l':
					if strings.Contains(held, op[1:]) {
						continue
					}
					held += op[1:]
					left -= 2
				default:
					left--
				}
				ops = append(ops, op)
			}
			for _, n := range held {
				ops = append(ops, "u"+string(n))
			}
			p = append(p, ops)
		}
		full := map[string]bool{}
		a := &sched.All{}
		for n := 0; a.More(); n++ {
			if n == 4000 {
				long++
				return
			}
			full[p.outcome(a)] = true
		}
		reduced := map[string]bool{}
		d := &sched.DFS{}
		for d.More() {
			if o := p.outcome(d); !d.Repeated() {
				reduced[o] = true
			}
		}
		compared++
		switch {
		case d.Err() != nil:
			t.Fatalf("%v: %v", p, d.Err())
		case outcomes(full) != outcomes(reduced):
			t.Fatalf("%v:\nfull search\n%s\nreduced search (%d runs)\n%s", p, outcomes(full), d.Runs(), outcomes(reduced))
		}
	})
	t.Logf("%d programs compared, %d were too long", compared, long)
}
