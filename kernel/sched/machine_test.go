package sched_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
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
	nowObj  sched.Obj
	tasks   []*task
	books   [2]string // of an observer
	failed  int       // allocations: one may
}

type task struct {
	m        *machine
	th       *sched.Thread
	woken    bool
	obj      sched.Obj
	deadline int // 0: none
	seen     string
}

// Ready implements sched.Resource: the sleep is over.
func (t *task) Ready() bool { return t.woken }

// threads is a program: a list of operations for each thread.
//
//	rN wN aN   load, store, add to word N
//	lN uN      lock, unlock
//	s  S       sleep until word 0 is not 0; S with a timeout
//	k          wake the queue
//	y          spin until word 1 is not 0
//	c          a choice of two values that goes into word 0
//	m          something fails, if nothing else has in this run
//	g          start a thread that stores to word 1
//	oN pN      what an observer notes in book N, and what it looks up there
//	vN         load word 0; if it is not 0 an observer looks at word N
type threads [][]string

// outcome runs a program and tells what its threads have seen.
func (p threads) outcome(s sched.Scheduler) string {
	m := &machine{run: &sched.Run{Scheduler: s, MaxSteps: 200}}
	for _, obj := range []*sched.Obj{&m.wordObj[0], &m.wordObj[1], &m.lockObj[0], &m.lockObj[1], &m.qObj, &m.nowObj} {
		*obj = m.run.NewObj()
	}
	for i, ops := range p {
		m.start(fmt.Sprint("t", i), ops)
	}
	err := m.run.Loop()
	var dead *sched.Deadlock
	seen := fmt.Sprint(m.words, m.now, m.books)
	slices.SortStableFunc(m.tasks, func(a, b *task) int { return strings.Compare(a.th.Name, b.th.Name) })
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
		m.words[n] = len(t.th.Name) + int(t.th.Name[1]) // not the id, which depends on who starts threads first
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
	case 'm':
		if t.th.Happens(sched.Fail, m.failed == 0) {
			m.failed++
			t.seen += "!"
		}
	case 'o':
		t.point(sched.Enter, 0, false)
		m.run.Touch(sched.Access{Cell: uint64(n), Write: true})
		m.books[n] += t.th.Name
	case 'p':
		t.point(sched.Enter, 0, false)
		m.run.Touch(sched.Access{Cell: uint64(n)})
		t.seen += fmt.Sprint(len(m.books[n]))
	case 'v':
		t.point(sched.Load, m.wordObj[0], false)
		if m.words[0] != 0 { // then an observer looks at another
			m.run.Touch(sched.Access{Obj: m.wordObj[n]})
			t.seen += fmt.Sprint(m.words[n])
		}
	case 'g':
		m.start(t.th.Name+"'s child", []string{"w1"})
	}
}

// sleep waits until word 0 is not 0.
func (t *task) sleep(timeout bool) {
	t.point(sched.Store, t.m.qObj, true)
	t.m.queue = append(t.m.queue, t)
	t.deadline = 0
	if timeout {
		t.point(sched.Load, t.m.nowObj, false)
		t.deadline = t.m.now + 10
	}
	for {
		t.point(sched.Store, t.obj, true)
		t.woken = false
		if t.load(0) != 0 {
			t.seen += "+"
			break
		}
		op := sched.Op{Kind: sched.Wait, Write: true, Obj: t.obj, Res: t}
		if timeout {
			op.Also, op.Deadline = t.m.nowObj, int64(t.deadline)
		}
		t.th.Point(op)
		if !t.woken {
			t.m.now = max(t.m.now, t.deadline)
			t.seen += "-"
			break
		}
	}
	t.point(sched.Store, t.m.qObj, true)
	t.m.queue = slices.DeleteFunc(t.m.queue, func(o *task) bool { return o == t })
}

// drawThreads draws a program with at most left steps, about, and at most spins threads that spin.
func drawThreads(t *rapid.T, left, spins int) threads {
	var p threads
	for range rapid.IntRange(2, 3).Draw(t, "threads") {
		var ops []string
		held := ""
		for range rapid.IntRange(1, 3).Draw(t, "ops") {
			if left <= 0 {
				break
			}
			op := rapid.SampledFrom([]string{"r0", "r1", "w0", "w1", "a0", "a1", "l0", "l1", "s", "S", "k", "y", "c", "m", "g", "o0", "o1", "p0", "v0", "v1"}).Draw(t, "op")
			switch op[0] {
			case 's', 'S':
				left -= 3
			case 'y':
				if spins--; spins < 0 {
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
	return p
}

// TestOrders makes the steps of random runs in other orders that should be the same, and they are.
func TestOrders(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawThreads(t, 20, 0) // who spins makes more steps in one order than in the other
		seed := rapid.Uint64().Draw(t, "seed")
		trace := &sched.Trace{Scheduler: sched.NewRandom(seed)}
		want := p.outcome(trace)
		rng := rand.New(rand.NewPCG(seed, 0))
		for range 20 {
			follow := &sched.Follow{Steps: trace.Steps, Order: trace.Shuffled(rng)}
			if got := p.outcome(follow); follow.Lost != "" || got != want {
				t.Fatalf("%v, order %v of %v: %q %s, want %q", p, follow.Order, trace.Steps, got, follow.Lost, want)
			}
		}
	})
}

// TestTraceTellsWhere: two steps that share a word behind the scheduler's back cannot be swapped.
func TestTraceTellsWhere(t *testing.T) {
	run := func(s sched.Scheduler) string {
		r, shared, out := &sched.Run{Scheduler: s}, 0, ""
		for _, name := range []string{"a", "b"} {
			r.Go(name, func(th *sched.Thread) {
				th.Point(sched.Op{Kind: sched.Enter})
				shared++
				out += fmt.Sprint(name, shared)
			})
		}
		if err := r.Loop(); err != nil {
			return err.Error()
		}
		return out
	}
	trace := &sched.Trace{Scheduler: sched.NewRandom(1), Places: true}
	want := run(trace)
	differs := false
	rng := rand.New(rand.NewPCG(1, 1))
	for range 20 {
		got := run(&sched.Follow{Steps: trace.Steps, Order: trace.Shuffled(rng)})
		differs = differs || got != want
	}
	if !differs {
		t.Error("every order leads to the same")
	}
	if s := trace.Steps[len(trace.Steps)-1]; !strings.Contains(s.From, "sched_test.TestTraceTellsWhere") {
		t.Errorf("the last step begins in %q", s.From)
	}
}

// TestDFSMachines compares the searches on random programs with everything that a thread can wait for.
func TestDFSMachines(t *testing.T) {
	compared, long := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		p := drawThreads(t, 7, 1)
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
