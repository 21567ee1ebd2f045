package mm_test

import (
	"fmt"
	"sort"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"nlmmap/kernel/mm"
	"nlmmap/kernel/sched"
)

// A litmus is a program of two or three CPUs on words x, y and z, all zero at first. Each CPU returns the values that
// it loaded.
type litmus struct {
	name string
	cpus []func(c *mm.CPU, m *mm.Memory) string
	// allowed has the outcomes of each model, "r0/r1/...", in any order.
	allowed map[mm.Model]string
}

const x, y, z = 0, 64, 128

func load(c *mm.CPU, m *mm.Memory, off int) string { return fmt.Sprint(m.Load32(c, off)) }

// run runs the test once under a scheduler.
func (l litmus) run(model mm.Model, s sched.Scheduler) string {
	r := &sched.Run{Scheduler: s}
	bus := &mm.Bus{Run: r, Model: model}
	m := mm.NewHeap(256, func(what string) { panic(what) })
	results := make([]string, len(l.cpus))
	for i, fn := range l.cpus {
		r.Go(fmt.Sprint("cpu", i), func(t *sched.Thread) {
			results[i] = fn(&mm.CPU{Thread: t, Bus: bus}, m)
		})
	}
	if err := r.Loop(); err != nil {
		return err.Error()
	}
	return strings.Join(results, "/")
}

func outcomes(set map[string]bool) string {
	var list []string
	for o := range set {
		list = append(list, o)
	}
	sort.Strings(list)
	return strings.Join(list, " ")
}

var litmusTests = []litmus{
	{
		name: "message passing without barriers",
		cpus: []func(*mm.CPU, *mm.Memory) string{
			func(c *mm.CPU, m *mm.Memory) string { m.Store32(c, x, 1); m.Store32(c, y, 1); return "" },
			func(c *mm.CPU, m *mm.Memory) string { return load(c, m, y) + load(c, m, x) },
		},
		allowed: map[mm.Model]string{mm.SC: "/00 /01 /11", mm.TSO: "/00 /01 /11", mm.Weak: "/00 /01 /10 /11"},
	},
	{
		name: "message passing with a write barrier only",
		cpus: []func(*mm.CPU, *mm.Memory) string{
			func(c *mm.CPU, m *mm.Memory) string {
				m.Store32(c, x, 1)
				c.Barrier(mm.SmpWMB)
				m.Store32(c, y, 1)
				return ""
			},
			func(c *mm.CPU, m *mm.Memory) string { return load(c, m, y) + load(c, m, x) },
		},
		allowed: map[mm.Model]string{mm.SC: "/00 /01 /11", mm.TSO: "/00 /01 /11", mm.Weak: "/00 /01 /10 /11"},
	},
	{
		name: "message passing with both barriers",
		cpus: []func(*mm.CPU, *mm.Memory) string{
			func(c *mm.CPU, m *mm.Memory) string {
				m.Store32(c, x, 1)
				c.Barrier(mm.SmpWMB)
				m.Store32(c, y, 1)
				return ""
			},
			func(c *mm.CPU, m *mm.Memory) string {
				r := load(c, m, y)
				c.Barrier(mm.SmpRMB)
				return r + load(c, m, x)
			},
		},
		allowed: map[mm.Model]string{mm.SC: "/00 /01 /11", mm.TSO: "/00 /01 /11", mm.Weak: "/00 /01 /11"},
	},
	{
		name: "message passing with release and acquire",
		cpus: []func(*mm.CPU, *mm.Memory) string{
			func(c *mm.CPU, m *mm.Memory) string {
				m.Write(c, x, []byte{1, 0, 0, 0})
				c.Barrier(mm.Release)
				m.Store32(c, y, 1)
				return ""
			},
			func(c *mm.CPU, m *mm.Memory) string {
				r := load(c, m, y)
				c.Barrier(mm.Acquire)
				return r + load(c, m, x)
			},
		},
		allowed: map[mm.Model]string{mm.SC: "/00 /01 /11", mm.TSO: "/00 /01 /11", mm.Weak: "/00 /01 /11"},
	},
	{
		name: "store buffering",
		cpus: []func(*mm.CPU, *mm.Memory) string{
			func(c *mm.CPU, m *mm.Memory) string { m.Store32(c, x, 1); return load(c, m, y) },
			func(c *mm.CPU, m *mm.Memory) string { m.Store32(c, y, 1); return load(c, m, x) },
		},
		allowed: map[mm.Model]string{mm.SC: "0/1 1/0 1/1", mm.TSO: "0/0 0/1 1/0 1/1", mm.Weak: "0/0 0/1 1/0 1/1"},
	},
	{
		name: "store buffering with full barriers",
		cpus: []func(*mm.CPU, *mm.Memory) string{
			func(c *mm.CPU, m *mm.Memory) string { m.Store32(c, x, 1); c.Barrier(mm.SmpMB); return load(c, m, y) },
			func(c *mm.CPU, m *mm.Memory) string { m.Store32(c, y, 1); c.Barrier(mm.SmpMB); return load(c, m, x) },
		},
		allowed: map[mm.Model]string{mm.SC: "0/1 1/0 1/1", mm.TSO: "0/1 1/0 1/1", mm.Weak: "0/1 1/0 1/1"},
	},
	{
		name: "one CPU sees its own stores and never goes back",
		cpus: []func(*mm.CPU, *mm.Memory) string{
			func(c *mm.CPU, m *mm.Memory) string { m.Store32(c, x, 1); m.Store32(c, x, 2); return load(c, m, x) },
			func(c *mm.CPU, m *mm.Memory) string { return load(c, m, x) + load(c, m, x) },
		},
		allowed: map[mm.Model]string{mm.SC: "2/00 2/01 2/02 2/11 2/12 2/22", mm.TSO: "2/00 2/01 2/02 2/11 2/12 2/22",
			mm.Weak: "2/00 2/01 2/02 2/11 2/12 2/22"},
	},
	{
		name: "causality through a third CPU",
		cpus: []func(*mm.CPU, *mm.Memory) string{
			func(c *mm.CPU, m *mm.Memory) string { m.Store32(c, x, 1); return "" },
			func(c *mm.CPU, m *mm.Memory) string {
				r := load(c, m, x)
				c.Barrier(mm.SmpMB)
				m.Store32(c, y, 1)
				return r
			},
			func(c *mm.CPU, m *mm.Memory) string {
				r := load(c, m, y)
				c.Barrier(mm.SmpMB)
				return r + load(c, m, x)
			},
		},
		allowed: map[mm.Model]string{mm.SC: "/0/00 /0/01 /0/10 /0/11 /1/00 /1/01 /1/11", mm.TSO: "/0/00 /0/01 /0/10 /0/11 /1/00 /1/01 /1/11",
			mm.Weak: "/0/00 /0/01 /0/10 /0/11 /1/00 /1/01 /1/11"},
	},
	{
		name: "three words",
		cpus: []func(*mm.CPU, *mm.Memory) string{
			func(c *mm.CPU, m *mm.Memory) string {
				m.Store32(c, x, 1)
				m.Store32(c, y, 1)
				c.Barrier(mm.SmpWMB)
				m.Store32(c, z, 1)
				return ""
			},
			func(c *mm.CPU, m *mm.Memory) string {
				r := load(c, m, z)
				c.Barrier(mm.SmpRMB)
				return r + load(c, m, y) + load(c, m, x)
			},
		},
		allowed: map[mm.Model]string{mm.SC: "/000 /001 /011 /111", mm.TSO: "/000 /001 /011 /111", mm.Weak: "/000 /001 /010 /011 /111"},
	},
}

// TestLitmus searches the classic tests exhaustively: exactly the outcomes that the model allows must be found.
func TestLitmus(t *testing.T) {
	for _, l := range litmusTests {
		for _, model := range []mm.Model{mm.SC, mm.TSO, mm.Weak} {
			t.Run(fmt.Sprintf("%s/%v", l.name, model), func(t *testing.T) {
				got := map[string]bool{}
				d := &sched.DFS{}
				for d.More() {
					if o := l.run(model, d); !d.Repeated() {
						got[o] = true
					}
				}
				if d.Err() != nil {
					t.Fatal(d.Err())
				}
				if outcomes(got) != l.allowed[model] {
					t.Errorf("found %q in %d runs, allowed are %q", outcomes(got), d.Runs(), l.allowed[model])
				}
			})
		}
	}
}

// TestLitmusRandom: random schedules find nothing that the exhaustive search did not.
func TestLitmusRandom(t *testing.T) {
	for _, l := range litmusTests {
		for _, model := range []mm.Model{mm.SC, mm.TSO, mm.Weak} {
			for seed := range uint64(2000) {
				if o := l.run(model, sched.NewRandom(seed)); !strings.Contains(" "+l.allowed[model]+" ", " "+o+" ") {
					t.Errorf("%s, %v, seed %d: %q", l.name, model, seed, o)
				}
			}
		}
	}
}

// TestRandomLitmus: on random programs the exhaustive search finds everything that many random schedules find.
func TestRandomLitmus(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := litmus{}
		for range rapid.IntRange(2, 3).Draw(t, "cpus") {
			ops := rapid.SliceOfN(rapid.SampledFrom([]string{"rx", "ry", "wx", "wy", "mb", "wmb", "rmb"}), 1, 3).Draw(t, "ops")
			l.cpus = append(l.cpus, func(c *mm.CPU, m *mm.Memory) (seen string) {
				for i, op := range ops {
					off := int(op[1]-'x') * 64
					switch op {
					case "rx", "ry":
						seen += load(c, m, off)
					case "wx", "wy":
						m.Store32(c, off, uint32(10*i+len(ops)))
					case "mb":
						c.Barrier(mm.SmpMB)
					case "wmb":
						c.Barrier(mm.SmpWMB)
					case "rmb":
						c.Barrier(mm.SmpRMB)
					}
				}
				return seen
			})
		}
		model := rapid.SampledFrom([]mm.Model{mm.SC, mm.TSO, mm.Weak}).Draw(t, "model")
		found := map[string]bool{}
		d := &sched.DFS{}
		for d.More() {
			if o := l.run(model, d); !d.Repeated() {
				found[o] = true
			}
		}
		if d.Err() != nil {
			t.Fatal(d.Err())
		}
		for seed := range uint64(300) {
			if o := l.run(model, sched.NewRandom(seed)); !found[o] {
				t.Fatalf("seed %d gives %q, the search of %d runs found only %q", seed, o, d.Runs(), outcomes(found))
			}
		}
	})
}
