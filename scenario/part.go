package scenario

import (
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"nlmmap/sys"
)

// A Part is one thread of a parallel block while the block runs. What it knows by name, and of the geometry of rings,
// is what there was when the block began and what it did itself: it does not hear of the others but from the kernel.
type Part struct {
	Name string
	Task sys.Task // nil where there is no such task any more

	steps   []Step
	view    *Runner // with the names as this thread knows them
	began   map[string]descriptor
	home    *process // whose names they are after the block
	copies  copies
	outputs []string
	stopped atomic.Bool
	left    bool // the step that it was stopped in
}

// Begin makes the threads of a block. Whoever runs the block lets every Part run, all at the same time, and calls End.
func (r *Runner) Begin(b *Block) ([]*Part, error) {
	var parts []*Part
	for i := range b.Threads {
		t := &b.Threads[i]
		p := &Part{Name: t.Name, steps: t.Steps}
		parts = append(parts, p)
		name := t.Name
		if t.Of != "" {
			name = t.Of
		}
		of, found := r.tasks[name]
		if !found {
			continue
		}
		p.Task, p.home = of.Task, of.process
		if t.Of != "" {
			var err error
			if p.Task, err = sys.Thread(of.Task, t.Name); err != nil {
				return nil, err
			}
		}
		p.look(r)
	}
	return parts, nil
}

// look gives the part its own view of what r knows.
func (p *Part) look(r *Runner) {
	p.copies = copies{map[*socket]copied[socket]{}, map[*mapping]copied[mapping]{}}
	p.began = maps.Clone(p.home.fds)
	mine := p.copies.process(p.home)
	p.view = &Runner{
		target: r.target,
		tasks:  map[string]*task{p.Name: {p.Task, p.Name, mine}},
		taps:   r.taps,
		main:   r.main,
		print:  printer{processes: maps.Clone(r.print.processes), named: r.print.named},
	}
}

// On sets the machine that the part's directives change where they are not a task's: packets, entries of tables.
func (p *Part) On(target Target) { p.view.target = target }

// Run makes the part's steps. exited reports whether its process has come to an end meanwhile, by another of its
// threads or by an oops: what the kernel answered then nobody has heard.
func (p *Part) Run(exited func() bool) {
	for i := range p.steps {
		gone := p.Task == nil || exited()
		var out string
		if !gone {
			out = p.step(&p.steps[i])
			left := p.view.tasks[p.Name] == nil // its own exit
			gone = !left && !crashed(out) && exited()
		}
		if gone {
			out = noSuch("task", p.Name).Error()
		}
		if p.stopped.Load() {
			p.left = true
			return
		}
		p.outputs = append(p.outputs, out)
	}
}

// step makes one step: its result and nothing else, for what changes meanwhile may be anybody's doing.
func (p *Part) step(s *Step) string {
	self, ok := p.view.tasks[p.Name]
	if !ok {
		return noSuch("task", p.Name).Error()
	}
	return p.view.resultOf(s, self)
}

// Stop freezes the part, unless it is done: the step that it is in, and those behind it, block.
func (p *Part) Stop() { p.stopped.Store(true) }

// Done reports whether the part has made all its steps.
func (p *Part) Done() bool { return len(p.outputs) == len(p.steps) }

// Left reports whether a part that was stopped has come out of its step after all.
func (p *Part) Left() bool { return p.left }

// Present returns the directive that the part is in, or would make next; empty when it is done.
func (p *Part) Present() string {
	if p.Done() {
		return ""
	}
	return p.steps[len(p.outputs)].form.name()
}

// Outputs returns the outputs of all steps. Those that have not come to an end block.
func (p *Part) Outputs() []string {
	list := slices.Clone(p.outputs)
	for len(list) < len(p.steps) {
		list = append(list, errorText(sys.ErrBlocks))
	}
	return list
}

// End lets r know what the parts have done, in their order: where two have changed what the same name means the last
// one counts.
func (r *Runner) End(parts []*Part) {
	for _, p := range parts {
		if p.view == nil {
			continue
		}
		for name, t := range p.view.tasks {
			if name != p.Name {
				t.process = p.copies.shared(t.process)
				r.tasks[name] = t
			}
		}
		maps.Copy(r.print.processes, p.view.print.processes)
		self, ok := p.view.tasks[p.Name]
		if !ok {
			maps.DeleteFunc(r.tasks, func(_ string, t *task) bool { return t.process == p.home })
			p.home.live = nil
			continue
		}
		p.copies.merge(p.home, self.process, p.began)
	}
}

// copies are what a part's names stand for, by what they stood for when the block began.
type copies struct {
	sockets map[*socket]copied[socket]
	maps    map[*mapping]copied[mapping]
}

// copied is a part's own version of something, and how that was when the block began.
type copied[T any] struct {
	now  *T
	then T
}

// process copies the name tables and all that they name.
func (c *copies) process(p *process) *process {
	mine := &process{fds: map[string]descriptor{}, maps: map[string]*mapping{}}
	for name, d := range p.fds {
		mine.fds[name] = descriptor{d.fd, c.socket(d.sock)}
	}
	for _, m := range p.live {
		own := *m
		own.sock = c.socket(m.sock)
		c.maps[m] = copied[mapping]{&own, *m}
		mine.live = append(mine.live, &own)
		if p.maps[m.name] == m {
			mine.maps[m.name] = &own
		}
	}
	return mine
}

func (c *copies) socket(s *socket) *socket {
	if s == nil {
		return nil
	}
	if _, ok := c.sockets[s]; !ok {
		own := *s
		c.sockets[s] = copied[socket]{&own, *s}
	}
	return c.sockets[s].now
}

// shared lets the names of a process of the part mean the sockets that everybody knows.
func (c *copies) shared(p *process) *process {
	originals := map[*socket]*socket{}
	for s, own := range c.sockets {
		originals[own.now] = s
	}
	for name, d := range p.fds {
		if s := originals[d.sock]; s != nil {
			p.fds[name] = descriptor{d.fd, s}
		}
	}
	for _, m := range p.live {
		if s := originals[m.sock]; s != nil {
			m.sock = s
		}
	}
	return p
}

// merge takes over into home what a part has changed.
func (c *copies) merge(home, mine *process, began map[string]descriptor) {
	c.shared(mine)
	for name, d := range mine.fds {
		if d != began[name] {
			home.fds[name] = d
		}
	}
	for name := range began {
		if _, open := mine.fds[name]; !open {
			delete(home.fds, name)
		}
	}
	for s, own := range c.sockets {
		s.rings.rx = changed(s.rings.rx, own.then.rings.rx, own.now.rings.rx)
		s.rings.tx = changed(s.rings.tx, own.then.rings.tx, own.now.rings.tx)
	}
	known := map[*mapping]bool{}
	for m, own := range c.maps {
		known[own.now] = true
		m.addr = changed(m.addr, own.then.addr, own.now.addr)
		m.position = changed(m.position, own.then.position, own.now.position)
		m.partial = m.partial || own.now.partial
		if !slices.Contains(mine.live, own.now) { // unmapped
			home.live = slices.DeleteFunc(home.live, func(o *mapping) bool { return o == m })
			if home.maps[m.name] == m {
				delete(home.maps, m.name)
			}
		}
	}
	for _, m := range mine.live {
		if !known[m] {
			home.live = append(home.live, m)
			home.maps[m.name] = m
		}
	}
}

// changed is the new value where it is not the old one, else what there is.
func changed[T comparable](present, before, now T) T {
	if now != before {
		return now
	}
	return present
}

// Outcome is what a run of the block came to, as one line: the outputs of the parts, then those of the final steps.
func Outcome(parts []*Part, final []string) string {
	var columns []string
	for _, p := range parts {
		var outputs []string
		for _, out := range p.Outputs() {
			outputs = append(outputs, oneLine(out))
		}
		columns = append(columns, p.Name+": "+strings.Join(outputs, ", "))
	}
	for _, out := range final {
		columns = append(columns, oneLine(out))
	}
	return strings.Join(columns, "; ")
}

// oneLine joins the lines of an output. What a crash says is left out: an outcome ends with its name.
func oneLine(output string) string {
	if crashed(output) {
		return "killed"
	}
	lines := splitLines(output)
	for i := range lines {
		lines[i] = strings.TrimLeft(lines[i], " ")
	}
	return strings.Join(lines, " / ")
}
