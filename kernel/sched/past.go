package sched

// A past is what has happened in a run, as a partial order: each step with the steps that it depends on. It is kept as a
// number for each thread that stands for the thread's latest step with all that came before it, so that runs which made
// the same steps, in orders that do not matter, have the same numbers.
type past struct {
	threads []history
	objects [][]happened // steps that touched each object
	cells   map[uint64][]happened
	steps   []uint64 // the number of each step; of a choice that of the step in which it was made
	epoch   uint64   // what had happened when time last passed for want of anything else
	idles   int
	open    bool // the last step may still touch something
	last    happened
	thread  int
	choices uint64
}

// A history is what a past knows of a thread.
type history struct {
	name   uint64 // the same in every run
	latest uint64
}

// happened is a step.
type happened struct {
	op      Op
	touched []Access
	number  uint64
}

// mix combines numbers into one that differs from that of any others, as good as certainly.
func mix(list ...uint64) uint64 {
	h := uint64(0x9e3779b97f4a7c15)
	for _, v := range list {
		h ^= v
		h *= 0xff51afd7ed558ccd
		h ^= h >> 32
		h *= 0xc4ceb9fe1a85ec53
		h ^= h >> 29
	}
	return h
}

// text is a number for a text.
func text(s string) uint64 {
	h := uint64(len(s))
	for i := range len(s) {
		h = h*0x100000001b3 ^ uint64(s[i])
	}
	return h
}

func (p *past) reset() {
	p.threads, p.steps = p.threads[:0], p.steps[:0]
	for i := range p.objects {
		p.objects[i] = p.objects[i][:0]
	}
	clear(p.cells)
	p.epoch, p.idles, p.open = 0, 0, false
}

// settle records the last step, when all that it touched is known, and notes the threads that are new.
func (p *past) settle(r *Run) {
	if p.open {
		p.record(r)
	}
	if r.idles != p.idles {
		p.idles = r.idles
		p.epoch = mix(p.epoch, p.all())
	}
	for id := len(p.threads); id < len(r.threads); id++ {
		p.threads = append(p.threads, history{name: p.name(r, r.threads[id])})
	}
}

// name is a number for a thread that is the same in every run: by who made it when, and as which.
func (p *past) name(r *Run, t *Thread) uint64 {
	nth := uint64(0)
	for _, o := range r.threads[:t.ID] {
		if o.owner == t.owner && (t.owner != nil || o.born == t.born) {
			nth++
		}
	}
	if t.owner != nil {
		return mix(p.threads[t.owner.ID].name, nth, 1)
	}
	return mix(p.step(t.born), nth, 2)
}

// step is the number of step after-1, 0 for none.
func (p *past) step(after int) uint64 {
	if after == 0 {
		return 0
	}
	return p.steps[after-1]
}

// begin notes a step that thread t is going to make.
func (p *past) begin(r *Run, t *Thread) {
	p.open, p.thread, p.choices = true, t.ID, 0
	p.last = happened{op: t.Op}
	p.steps = append(p.steps, 0)
}

// chosen notes an outcome that the step picks.
func (p *past) chosen(outcome int) {
	p.choices = mix(p.choices, uint64(outcome)+1)
	p.steps = append(p.steps, 0)
}

func (p *past) record(r *Run) {
	e := &p.last
	e.touched = append([]Access(nil), r.touched...)
	before := uint64(0) // what it depends on, in whatever order that came
	for _, o := range [...]Obj{e.op.Obj, e.op.Also} {
		if o == 0 {
			continue
		}
		for int(o) >= len(p.objects) {
			p.objects = append(p.objects, nil)
		}
		for i := range p.objects[o] {
			if d := &p.objects[o][i]; d.op.Dependent(e.op) {
				before += mix(d.number)
			}
		}
	}
	for _, a := range e.touched {
		for i := range p.cells[a.Cell] {
			if d := &p.cells[a.Cell][i]; conflict(d.touched, e.touched) {
				before += mix(d.number)
			}
		}
	}
	for _, s := range e.op.Since {
		before += mix(p.step(s))
	}
	t := &p.threads[p.thread]
	e.number = mix(t.name, t.latest, p.choices, before, p.step(e.op.After), p.epoch)
	t.latest = e.number
	for i := len(p.steps) - 1; i >= 0 && p.steps[i] == 0; i-- {
		p.steps[i] = e.number
	}
	for i, o := range [...]Obj{e.op.Obj, e.op.Also} {
		if o != 0 && (i == 0 || o != e.op.Obj) {
			p.objects[o] = append(p.objects[o], *e)
		}
	}
	for _, a := range e.touched {
		if p.cells == nil {
			p.cells = map[uint64][]happened{}
		}
		p.cells[a.Cell] = append(p.cells[a.Cell], *e)
	}
	p.open = false
}

// all is a number for all that has happened.
func (p *past) all() uint64 {
	h := uint64(0)
	for _, t := range p.threads {
		h += mix(t.name, t.latest)
	}
	return h
}

// state is a number for the state of a run: what has happened, what comes next, and who made the last step where that is not
// all the same.
func (p *past) state(r *Run, enabled []*Thread, cur *Thread, free bool) uint64 {
	h := uint64(0)
	for _, t := range r.threads {
		if !t.done {
			h += mix(p.threads[t.ID].name, uint64(t.Op.Kind), uint64(t.Op.Off), uint64(t.Op.Len), text(t.Op.Label))
		}
	}
	for _, t := range enabled {
		h += mix(p.threads[t.ID].name, 3)
	}
	if !free {
		h += mix(p.threads[cur.ID].name, 4)
	}
	return mix(h, p.all(), p.epoch)
}
