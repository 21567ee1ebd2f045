package nlmmap_test

import (
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/kernel/inspect"
	"nlmmap/scenario"
	"nlmmap/scenario/sim"
	"nlmmap/skb"
)

// A checker follows a scenario on the simulator and checks after each step what holds while no call runs. It keeps
// books of its own about descriptors, from the directives and whether they succeeded.
type checker struct {
	m      *sim.Machine
	claims map[frame]*skb.SKB

	files     []*kernel.File // of netlink sockets, oldest first
	opened    *kernel.File   // by the present step
	inFlight  []inFlight     // oldest first
	peers     map[*kernel.File]*kernel.File
	processes map[string]*process
	all       []*process

	oops        bool
	corruptions []kernel.Corruption
	fail        error
}

// An inFlight is a descriptor in an SCM_RIGHTS message that an end of a socket pair has not received.
type inFlight struct{ file, end *kernel.File }

type frame struct {
	sk  *afnetlink.Sock
	pos uint32
}

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
	return &checker{claims: map[frame]*skb.SKB{}, peers: map[*kernel.File]*kernel.File{}, processes: map[string]*process{"main": main}, all: []*process{main}}
}

func (c *checker) failf(format string, args ...any) {
	if c.fail == nil {
		c.fail = fmt.Errorf(format, args...)
	}
}

// record hears of every event.
func (c *checker) record(r kernel.Record) {
	switch e := r.Event.(type) {
	case kernel.SyscallEvent:
		if e.Done && e.Err == nil && e.Call.Name == "socket" {
			c.opened = r.Task.FileOf(inspect.Key{}, e.N)
		}
	case afnetlink.ClaimEvent:
		at := frame{e.Sock, e.Pos}
		if c.claims[at] != nil {
			c.failf("frame-ownership: rx[%d] of portid %v is taken for two messages", e.Pos, e.Portid)
		}
		c.claims[at] = e.SKB
	case afnetlink.PublishEvent:
		at := frame{e.Sock, e.Pos}
		if owner := c.claims[at]; owner == nil || e.SKB != nil && owner != e.SKB {
			c.failf("frame-ownership: rx[%d] of portid %v is published for a message that does not own it", e.Pos, e.Portid)
		}
		delete(c.claims, at)
	case kernel.Warning:
		c.failf("%v", e.Error())
	case kernel.Corruption:
		c.corruptions = append(c.corruptions, e)
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
	if c.fail != nil {
		return c.fail
	}
	k := c.m.Kernel
	if k.Tainted() || c.oops {
		return nil
	}
	tasks := k.Tasks()
	hung := slices.ContainsFunc(tasks, (*kernel.Task).Hung)
	vmas := map[*kernel.File]int{}
	seen := map[*kernel.AddressSpace]bool{}
	for _, t := range tasks {
		if t.Dead() || seen[t.Memory()] {
			continue
		}
		seen[t.Memory()] = true
		for _, v := range t.VMAs() {
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
	sk := afnetlink.SockOf(f)
	now := sk.Inspect(inspect.Key{})
	if now.Mapped != vmas {
		return fmt.Errorf("mapped: socket %d counts %d mappings, there are %d", i, now.Mapped, vmas)
	}
	count := vmas + c.descriptors(f)
	for _, o := range c.inFlight {
		if o.file == f {
			count++
		}
	}
	if n := f.Count(cur); n != count && !hung { // a call that hangs keeps its reference
		return fmt.Errorf("accounting: f_count of socket %d is %d, there are %d references", i, n, count)
	}
	charged := 0
	for _, m := range sk.ReceiveQueue.Inspect(inspect.Key{}) {
		if m.Sk == any(sk) {
			charged += m.Truesize
		}
	}
	if n := sk.Rmem.Inspect(inspect.Key{}); n != int64(charged) {
		return fmt.Errorf("accounting: rmem of socket %d is %d, its queue has %d bytes", i, n, charged)
	}
	held := 0
	for at := range c.claims {
		if at.sk == sk {
			held++
		}
	}
	if n := now.RxRing.Pending; n != int64(held) {
		return fmt.Errorf("pending: socket %d counts %d reserved RX frames, the kernel holds %d", i, n, held)
	}
	if n := now.TxRing.Pending; n != 0 && !hung {
		return fmt.Errorf("pending: socket %d counts %d reserved TX frames and nothing runs", i, n)
	}
	return checkHeads(i, now)
}

// checkHeads: the kernel's position lies in the ring, and its figures fit the memory.
func checkHeads(i int, now afnetlink.State) error {
	if now.RxRing.Set && now.RxRing.Head >= now.RxRing.Frames || now.TxRing.Set && now.TxRing.Head >= now.TxRing.Frames {
		return fmt.Errorf("memory: head of a ring of socket %d lies behind its frames", i)
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
	if c.fail == nil && !c.m.Kernel.Tainted() && !c.oops {
		for at, m := range c.claims {
			if m != nil {
				return outputs, c, fmt.Errorf("at close: rx[%d] of portid %d was taken and never published", at.pos, at.sk.Inspect(inspect.Key{}).Portid)
			}
		}
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
