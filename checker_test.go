package nlmmap_test

import (
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"

	"nlmmap/invariant"
	"nlmmap/kernel"
	"nlmmap/kernel/inspect"
	"nlmmap/scenario"
	"nlmmap/scenario/sim"
)

// A checker follows a scenario on the simulator, watches the invariants, and checks after each step what holds while no
// call runs. It keeps books of its own about descriptors, from the directives and whether they succeeded.
type checker struct {
	m     *sim.Machine
	watch invariant.Watch

	files     []*kernel.File // of netlink sockets, oldest first
	opened    *kernel.File   // by the present step
	inFlight  []inFlight     // oldest first
	peers     map[*kernel.File]*kernel.File
	processes map[string]*process
	all       []*process

	oops bool
	fail error
}

// An inFlight is a descriptor in an SCM_RIGHTS message that an end of a socket pair has not received.
type inFlight struct{ file, end *kernel.File }

// A process has its open descriptors: by name, and how often each file is open under any name.
type process struct {
	names map[string]*kernel.File
	open  map[*kernel.File]int
}

func (p *process) add(name string, f *kernel.File) {
	p.names[name] = f
	if f != nil {
		p.open[f]++
	}
}

func newChecker() *checker {
	main := &process{map[string]*kernel.File{}, map[*kernel.File]int{}}
	c := &checker{peers: map[*kernel.File]*kernel.File{}, processes: map[string]*process{"main": main}, all: []*process{main}}
	c.watch.Report = c.violated
	return c
}

func (c *checker) failf(format string, args ...any) {
	if c.fail == nil {
		c.fail = fmt.Errorf(format, args...)
	}
}

// violated hears of the invariants that the kernel breaks. What programs do wrong is theirs, and known defects are no news.
func (c *checker) violated(v invariant.Violation) {
	if v.Blame.Kernel() {
		c.failf("%v", v)
	}
}

// record hears of every event.
func (c *checker) record(r kernel.Record) {
	c.watch.Record(r)
	switch e := r.Event.(type) {
	case kernel.SyscallEvent:
		if _, socket := e.Call.(kernel.SocketCall); socket && e.Done && e.Err == nil {
			c.opened = r.Task.FileOf(inspect.Key{}, e.N)
		}
	case kernel.Oops:
		c.oops = true
	}
}

// step updates the books after a step with the given output.
func (c *checker) step(s *scenario.Step, output string) {
	words := strings.Fields(s.Directive)
	named := map[string]string{"in": "main"}
	for _, w := range words {
		if key, val, ok := strings.Cut(w, "="); ok {
			named[key] = val
		}
	}
	p := c.processes[named["in"]]
	first, _, _ := strings.Cut(output, "\n")
	done := first == "ok"
	if p == nil {
		return
	}
	switch words[0] {
	case "socket":
		if done {
			c.files = append(c.files, c.opened)
			p.add(words[1], c.opened)
		}
	case "sockpair":
		if done {
			u, v := &kernel.File{}, &kernel.File{} // only to tell them apart
			c.peers[u], c.peers[v] = v, u
			p.add(words[1], u)
			p.add(words[2], v)
		}
	case "epoll":
		if done {
			p.add(words[1], nil)
		}
	case "dup":
		if done {
			p.add(words[2], p.names[words[1]])
		}
	case "close":
		if f := p.names[words[1]]; f != nil && done {
			p.open[f]--
		}
		if done {
			delete(p.names, words[1])
		}
	case "passfd":
		if done {
			c.inFlight = append(c.inFlight, inFlight{p.names[words[1]], c.peers[p.names[named["over"]]]})
		}
	case "takefd":
		if done {
			at := slices.IndexFunc(c.inFlight, func(m inFlight) bool { return m.end == p.names[words[1]] })
			p.add(words[2], c.inFlight[at].file)
			c.inFlight = slices.Delete(c.inFlight, at, at+1)
		}
	case "fork":
		if done {
			child := &process{maps.Clone(p.names), maps.Clone(p.open)}
			c.processes[words[1]] = child
			c.all = append(c.all, child)
		}
	case "thread":
		if done {
			c.processes[words[1]] = p
		}
	case "exit":
		if done {
			clear(p.open)
			maps.DeleteFunc(c.processes, func(_ string, o *process) bool { return o == p })
		}
	}
	c.inFlight = slices.DeleteFunc(c.inFlight, func(m inFlight) bool { return c.descriptors(m.end) == 0 })
}

// descriptors counts how often a file is open.
func (c *checker) descriptors(f *kernel.File) (n int) {
	for _, p := range c.all {
		n += p.open[f]
	}
	return n
}

// check compares the kernel's counts with what can be counted from outside.
func (c *checker) check() error {
	k := c.m.Kernel
	c.watch.Rest(k, false)
	if c.fail != nil {
		return c.fail
	}
	if k.Tainted() || c.oops {
		return nil
	}
	tasks := k.Tasks()
	// A call that hangs, or waits in the background, keeps its references.
	hung := slices.ContainsFunc(tasks, func(t *kernel.Task) bool { return t.Hung() || t.InCall() })
	vmas := map[*kernel.File]int{}
	seen := map[*kernel.AddressSpace]bool{}
	for _, t := range tasks {
		if t.Dead() || seen[t.Memory()] {
			continue
		}
		seen[t.Memory()] = true
		for _, v := range t.VMAs(inspect.Key{}) {
			vmas[v.File]++
		}
	}
	for i, f := range c.files {
		if err := c.checkFile(i, f, vmas[f], tasks[0], hung); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) checkFile(i int, f *kernel.File, vmas int, cur *kernel.Task, hung bool) error {
	count := vmas + c.descriptors(f)
	for _, o := range c.inFlight {
		if o.file == f {
			count++
		}
	}
	if n := f.Count(cur); n != count && !hung {
		return fmt.Errorf("accounting: f_count of socket %d is %d, there are %d references", i, n, count)
	}
	return nil
}

// A target says where a scenario runs.
type target struct {
	version kernel.Version
	initNet bool
	heap    bool
	listen  func(kernel.Record)
}

// play runs a scenario with all checks and returns the outputs. The error is the first thing that is wrong, the
// machine's own panics included.
func (to target) play(f *scenario.File) (outputs []string, c *checker, err error) {
	c = newChecker()
	at := 0
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
		if err != nil && at < len(f.Steps) {
			err = fmt.Errorf("%v, step %d (%s): %w", to.version, at+1, f.Steps[at].Directive, err)
		}
	}()
	c.m, err = sim.New(sim.Config{Version: to.version, InitNet: to.initNet, Heap: to.heap, Trace: func(r kernel.Record) {
		c.record(r)
		if to.listen != nil {
			to.listen(r)
		}
	}})
	if err != nil {
		return nil, c, err
	}
	r := scenario.NewRunner(c.m)
	for ; at < len(f.Steps); at++ {
		s := &f.Steps[at]
		c.opened = nil
		out := r.Step(s)
		outputs = append(outputs, out)
		c.step(s, out)
		if err := c.check(); err != nil {
			return outputs, c, err
		}
	}
	if err := c.m.Close(); err != nil {
		return outputs, c, fmt.Errorf("at close: %w", err)
	}
	return outputs, c, c.fail
}

// parse reads a scenario text that the test has made.
func parse(text string) *scenario.File {
	f, err := scenario.Parse("program.txt", strings.NewReader(text))
	if err != nil {
		panic(err)
	}
	return f
}

// recorded joins a scenario and outputs into the text of a recording.
func recorded(f *scenario.File, outputs []string) string {
	var b strings.Builder
	for i := range f.Steps {
		s := f.Steps[i]
		if i < len(outputs) {
			s.Recorded, s.Output = true, outputs[i]
		}
		b.WriteString(s.String() + "\n")
	}
	return b.String()
}
