package memmodel_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"nlmmap/kernel/memmodel"
	"nlmmap/kernel/sched"
)

// machine runs a program once under a scheduler. ok is false for a run that is none: a read foresaw what never came.
func machine(threads [][]event, model memmodel.Model, f *memmodel.Foresight, s sched.Scheduler) (outcome string, ok bool) {
	r := &sched.Run{Scheduler: s}
	bus := &memmodel.Bus{Run: r, Model: model, Foresight: f}
	m := memmodel.NewHeap(256, func(what string) { panic(what) })
	results := make([]string, len(threads))
	for i, list := range threads {
		r.Go(fmt.Sprint("cpu", i), func(t *sched.Thread) {
			c := &memmodel.CPU{Thread: t, Bus: bus}
			for _, e := range list {
				results[i] += do(c, m, e)
			}
		})
	}
	err := r.Loop()
	if bus.Broken() {
		return "", false
	}
	if err != nil {
		return err.Error(), true
	}
	end := ""
	for _, p := range []byte("xyz") {
		end += fmt.Sprint(m.Load32(nil, at(p)))
	}
	return strings.Join(results, "/") + ";" + end, true
}

func at(place byte) int { return int(place-'x') * 64 }

func do(c *memmodel.CPU, m *memmodel.Memory, e event) string {
	if e.depends {
		c.Barrier(memmodel.Dependency)
	}
	switch e.op {
	case 'W':
		m.Store32(c, at(e.place), uint32(e.value))
	case 'V':
		c.Barrier(memmodel.Release)
		m.Store32(c, at(e.place), uint32(e.value))
	case 'R':
		var b [4]byte
		m.Read(c, at(e.place), b[:])
		return fmt.Sprint(binary.LittleEndian.Uint32(b[:]))
	case 'L':
		return fmt.Sprint(m.Load32(c, at(e.place)))
	case 'A':
		v := m.Load32(c, at(e.place))
		c.Barrier(memmodel.Acquire)
		return fmt.Sprint(v)
	case 'm':
		c.Barrier(memmodel.SmpMB)
	case 'w':
		c.Barrier(memmodel.SmpWMB)
	case 'r':
		c.Barrier(memmodel.SmpRMB)
	}
	return ""
}

// search returns all outcomes that a depth-first search finds. It turns until reads have foreseen all there is.
func search(t interface{ Fatal(...any) }, threads [][]event, model memmodel.Model, limit int) (outcomes []string, runs int, complete bool) {
	found := map[string]bool{}
	f := &memmodel.Foresight{}
	for more := true; more; more = f.Grow() {
		d := &sched.DFS{}
		for d.More() {
			if o, ok := machine(threads, model, f, d); ok && !d.Repeated() {
				found[o] = true
			}
			if runs++; runs > limit {
				return nil, runs, false
			}
		}
		if d.Err() != nil {
			t.Fatal(d.Err())
		}
	}
	for o := range found {
		outcomes = append(outcomes, o)
	}
	sort.Strings(outcomes)
	return outcomes, runs, true
}

// A verdict is what is published about one outcome of a classic test: whether x86-TSO and ARMv8 allow it. Loads are
// written as in event, what they see follows in the order of the program, then the final values where they matter.
type verdict struct {
	name, program string
	loads         string // what the loads see
	end           string // final x, y, z; . is any
	tso, weak     bool   // allowed
}

var verdicts = []verdict{
	{"SB", "Wx1 Ry | Wy1 Rx", "0/0", "...", true, true},
	{"SB+mbs", "Wx1 mb Ry | Wy1 mb Rx", "0/0", "...", false, false},
	{"SB+mb+po", "Wx1 mb Ry | Wy1 Rx", "0/0", "...", true, true},
	{"SB+wmbs", "Wx1 wmb Ry | Wy1 wmb Rx", "0/0", "...", true, true},
	{"SB+rel+acq", "Vx1 Ay | Vy1 Ax", "0/0", "...", true, true},
	{"SB+rfi", "Wx1 Lx Ry | Wy1 Ly Rx", "10/10", "...", true, true},
	{"3.SB", "Wx1 Ry | Wy1 Rz | Wz1 Rx", "0/0/0", "...", true, true},
	{"3.SB+mbs", "Wx1 mb Ry | Wy1 mb Rz | Wz1 mb Rx", "0/0/0", "...", false, false},
	{"MP", "Wx1 Wy1 | Ry Rx", "/10", "...", false, true},
	{"MP+wmb+po", "Wx1 wmb Wy1 | Ry Rx", "/10", "...", false, true},
	{"MP+po+rmb", "Wx1 Wy1 | Ry rmb Rx", "/10", "...", false, true},
	{"MP+wmb+rmb", "Wx1 wmb Wy1 | Ry rmb Rx", "/10", "...", false, false},
	{"MP+mbs", "Wx1 mb Wy1 | Ry mb Rx", "/10", "...", false, false},
	{"MP+rel+acq", "Wx1 Vy1 | Ay Rx", "/10", "...", false, false},
	{"MP+rel+po", "Wx1 Vy1 | Ly Rx", "/10", "...", false, true},
	{"MP+po+acq", "Wx1 Wy1 | Ay Rx", "/10", "...", false, true},
	{"MP+wmb+addr", "Wx1 wmb Wy1 | Ry dRx", "/10", "...", false, false},
	{"MP+wmb+ctrl", "Wx1 wmb Wy1 | Ly Rx", "/10", "...", false, true},
	{"MP+rel-too-early", "Vx1 Wy1 | Ay Rx", "/10", "...", false, true},
	{"MP+acq-of-another", "Wx1 wmb Wy1 | Ly Az Rx", "/100", "...", false, true},
	{"LB", "Rx Wy1 | Ry Wx1", "1/1", "...", false, true},
	{"LB+mbs", "Rx mb Wy1 | Ry mb Wx1", "1/1", "...", false, false},
	{"LB+mb+po", "Rx mb Wy1 | Ry Wx1", "1/1", "...", false, true},
	{"LB+datas", "Rx dWy1 | Ry dWx1", "1/1", "...", false, false},
	{"LB+data+po", "Rx dWy1 | Ry Wx1", "1/1", "...", false, true},
	{"LB+ctrls", "Lx Wy1 | Ly Wx1", "1/1", "...", false, false},
	{"LB+rels", "Rx Vy1 | Ry Vx1", "1/1", "...", false, false},
	{"LB+acqs", "Ax Wy1 | Ay Wx1", "1/1", "...", false, false},
	{"LB+rel+po", "Rx Vy1 | Ry Wx1", "1/1", "...", false, true},
	{"LB+acq+rel", "Ax Wy1 | Ry Vx1", "1/1", "...", false, false},
	{"LB+rmb+rmb", "Rx rmb Wy1 | Ry rmb Wx1", "1/1", "...", false, true},
	{"LB+data-rfi-data", "Rx dWz1 Rz dWy1 | Ry dWx1", "11/1", "...", false, false},
	{"LB+addr-po", "Rx dRz Wy1 | Ry dWx1", "10/1", "...", false, false},
	{"3.LB", "Rx Wy1 | Ry Wz1 | Rz Wx1", "1/1/1", "...", false, true},
	{"3.LB+datas", "Rx dWy1 | Ry dWz1 | Rz dWx1", "1/1/1", "...", false, false},
	{"R", "Wx1 Wy1 | Wy2 Rx", "/0", ".2.", true, true},
	{"R+mbs", "Wx1 mb Wy1 | Wy2 mb Rx", "/0", ".2.", false, false},
	{"R+po+mb", "Wx1 Wy1 | Wy2 mb Rx", "/0", ".2.", false, true},
	{"R+mb+po", "Wx1 mb Wy1 | Wy2 Rx", "/0", ".2.", true, true},
	{"R+wmb+mb", "Wx1 wmb Wy1 | Wy2 mb Rx", "/0", ".2.", false, false},
	{"S", "Wx2 Wy1 | Ry Wx1", "/1", "2..", false, true},
	{"S+wmb+data", "Wx2 wmb Wy1 | Ry dWx1", "/1", "2..", false, false},
	{"S+wmb+ctrl", "Wx2 wmb Wy1 | Ly Wx1", "/1", "2..", false, false},
	{"S+wmb+po", "Wx2 wmb Wy1 | Ry Wx1", "/1", "2..", false, true},
	{"S+rel+acq", "Wx2 Vy1 | Ay Wx1", "/1", "2..", false, false},
	{"S+po+data", "Wx2 Wy1 | Ry dWx1", "/1", "2..", false, true},
	{"2+2W", "Wx1 Wy2 | Wy1 Wx2", "/", "11.", false, true},
	{"2+2W+wmbs", "Wx1 wmb Wy2 | Wy1 wmb Wx2", "/", "11.", false, false},
	{"2+2W+rels", "Wx1 Vy2 | Wy1 Vx2", "/", "11.", false, false},
	{"2+2W+wmb+po", "Wx1 wmb Wy2 | Wy1 Wx2", "/", "11.", false, true},
	{"WRC", "Wx1 | Rx Wy1 | Ry Rx", "/1/10", "...", false, true},
	{"WRC+data+rmb", "Wx1 | Rx dWy1 | Ry rmb Rx", "/1/10", "...", false, false},
	{"WRC+rel+acq", "Wx1 | Rx Vy1 | Ay Rx", "/1/10", "...", false, false},
	{"WRC+data+po", "Wx1 | Rx dWy1 | Ry Rx", "/1/10", "...", false, true},
	{"WRC+po+rmb", "Wx1 | Rx Wy1 | Ry rmb Rx", "/1/10", "...", false, true},
	{"RWC", "Wx1 | Rx Ry | Wy1 Rx", "/10/0", "...", true, true},
	{"RWC+mbs", "Wx1 | Rx mb Ry | Wy1 mb Rx", "/10/0", "...", false, false},
	{"WWC+datas", "Wx2 | Rx dWy1 | Ry dWx1", "/2/1", "2..", false, false},
	{"WWC+data+po", "Wx2 | Rx dWy1 | Ry Wx1", "/2/1", "2..", false, true},
	{"MB+new+old", "Wy1 | Ry dWx1 | Wz1 mb Rx Ry", "/1/10", "...", false, true},
	{"MB+new+rmb+old", "Wy1 | Ry dWx1 | Wz1 mb Rx rmb Ry", "/1/10", "...", false, false},
	{"IRIW", "Wx1 | Rx Ry | Wy1 | Ry Rx", "/10//10", "...", false, true},
	{"IRIW+rmbs", "Wx1 | Rx rmb Ry | Wy1 | Ry rmb Rx", "/10//10", "...", false, false},
	{"IRIW+acqs", "Wx1 | Ax Ry | Wy1 | Ay Rx", "/10//10", "...", false, false},
	{"IRIW+addrs", "Wx1 | Rx dRy | Wy1 | Ry dRx", "/10//10", "...", false, false},
	{"ISA2", "Wx1 Wy1 | Ry Wz1 | Rz Rx", "/1/10", "...", false, true},
	{"ISA2+rel+rel+acq", "Wx1 Vy1 | Ry Vz1 | Az Rx", "/1/10", "...", false, false},
	{"ISA2+wmb+data+addr", "Wx1 wmb Wy1 | Ry dWz1 | Rz dRx", "/1/10", "...", false, false},
	{"ISA2+wmb+po+rmb", "Wx1 wmb Wy1 | Ry Wz1 | Rz rmb Rx", "/1/10", "...", false, true},
	{"Z6.3+wmb+wmb+addr", "Wx1 wmb Wy1 | Wy2 wmb Wz1 | Rz dRx", "//10", ".2.", false, false},
	{"CoRR", "Wx1 | Rx Rx", "/10", "...", false, false},
	{"CoRR+words", "Wx1 | Lx Lx", "/10", "...", false, false},
	{"CoWW", "Wx1 Wx2", "", "1..", false, false},
	{"CoRW", "Rx Wx1", "1", "...", false, false},
	{"CoRW2", "Rx Wx1 | Wx2", "2/", "2..", false, false},
	{"CoWR", "Wx1 Rx | Wx2", "2/", "1..", false, false},
	{"CoRR2", "Wx1 | Wx2 | Rx Rx | Rx Rx", "//12/21", "...", false, false},
}

func (v verdict) in(outcomes []string) bool {
	return slices.ContainsFunc(outcomes, func(o string) bool {
		loads, end, _ := strings.Cut(o, ";")
		for i := range v.end {
			if v.end[i] != '.' && v.end[i] != end[i] {
				return false
			}
		}
		return strings.TrimRight(loads, "/") == strings.TrimRight(v.loads, "/")
	})
}

// TestLitmus runs the classic tests: the machine gives exactly what the axioms allow, and both agree with what is
// published.
func TestLitmus(t *testing.T) {
	for _, v := range verdicts {
		for _, model := range []memmodel.Model{memmodel.SC, memmodel.TSO, memmodel.Weak} {
			t.Run(v.name+"/"+model.String(), func(t *testing.T) {
				threads := parse(v.program)
				allowed := axioms(threads, model.String())
				if want := model == memmodel.TSO && v.tso || model == memmodel.Weak && v.weak; v.in(allowed) != want {
					t.Errorf("the axioms allow %s: %v, published is %v; all are %q", v.loads, !want, want, allowed)
				}
				limit := 200_000
				if testing.Short() {
					limit = 20_000
				}
				got, runs, complete := search(t, threads, model, limit)
				if !complete {
					t.Skipf("more than %d schedules", limit)
				}
				if !slices.Equal(got, allowed) {
					t.Errorf("in %d schedules the machine gives\n%q, the axioms\n%q", runs, got, allowed)
				}
			})
		}
	}
}

// TestOneSchedule: what threads do that meet in nothing takes one schedule, also where a store leaves the buffer after a load of
// its own thread, and where a slot of the buffer is empty again.
func TestOneSchedule(t *testing.T) {
	for _, program := range []string{"Lx Wx1", "Wx1 Lz Wx2", "Lx Wx1 | Ly Wy1", "Wx1 mb Lx | Ly Wy1 mb Wy2", "Vx1 Az Vx2 | Wy1 wmb Wy2"} {
		for _, model := range []memmodel.Model{memmodel.SC, memmodel.TSO, memmodel.Weak} {
			runs := 0
			for d := (&sched.DFS{}); d.More(); runs++ {
				machine(parse(program), model, nil, d)
			}
			if runs != 1 {
				t.Errorf("%s, %v: %d schedules", program, model, runs)
			}
		}
	}
}

// TestRandomLitmus: on random programs the machine gives exactly what the axioms allow, and random schedules nothing
// that the search did not find.
func TestRandomLitmus(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		instructions := []string{"R", "L", "A", "dR", "dL", "W", "V", "dW", "mb", "wmb", "rmb"}
		var parts []string
		value := 0
		for range rapid.IntRange(2, 3).Draw(t, "threads") {
			part := ""
			loaded := false
			for range rapid.IntRange(1, 3).Draw(t, "length") {
				op := rapid.SampledFrom(instructions).Draw(t, "op")
				if op[0] == 'd' && !loaded {
					op = op[1:]
				}
				switch op[len(op)-1] {
				case 'R', 'L', 'A':
					op += rapid.SampledFrom([]string{"x", "y"}).Draw(t, "place")
					loaded = true
				case 'W', 'V':
					value++
					op += rapid.SampledFrom([]string{"x", "y"}).Draw(t, "place") + fmt.Sprint(value)
				}
				part += " " + op
			}
			parts = append(parts, part)
		}
		program := strings.Join(parts, " |")
		threads := parse(program)
		model := rapid.SampledFrom([]memmodel.Model{memmodel.SC, memmodel.TSO, memmodel.Weak}).Draw(t, "model")
		allowed := axioms(threads, model.String())
		got, runs, complete := search(t, threads, model, 5000)
		if !complete {
			t.Skip("too many schedules")
		}
		if !slices.Equal(got, allowed) {
			t.Fatalf("%s, %v: in %d schedules the machine gives\n%q, the axioms\n%q", program, model, runs, got, allowed)
		}
		f := &memmodel.Foresight{}
		for seed := range uint64(200) {
			f.Grow()
			if o, ok := machine(threads, model, f, sched.NewRandom(seed)); ok && !slices.Contains(got, o) {
				t.Fatalf("%s, %v: seed %d gives %q, the search of %d schedules %q", program, model, seed, o, runs, got)
			}
		}
	})
}
