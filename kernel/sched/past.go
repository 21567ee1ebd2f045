package sched

// A past is what has happened in a run, as a partial order: each step with the steps that it depends on. It is kept as a
// number for each thread that stands for the thread's latest step with all that came before it, so that runs which made
// the same steps, in orders that do not matter, have the same numbers.
type past struct {
	threads []history
	events  []happened
	touched index   // of the events
	steps   []int32 // the event of each step, also of a choice in it
	epoch   uint64  // what had happened when time last passed for want of anything else
	idles   int
	open    bool // the last event may still touch something
}

// A history is what a past knows of a thread.
type history struct {
	name   uint64 // the same in every run
	latest uint64
}

// happened is a step of a thread with the choices in it.
type happened struct {
	op      Op
	touched []Access
	thread  int
	choices uint64
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
	p.threads, p.steps, p.events = p.threads[:0], p.steps[:0], p.events[:0]
	p.touched.reset()
	p.epoch, p.idles, p.open = 0, 0, false
}

// settle records the last step, when all that it touched is known, and notes the threads that are new. It returns a number
// for the state that the step has led to.
func (p *past) settle(r *Run) (arrived uint64) {
	if p.open {
		p.record(r)
		arrived = p.arrived(p.all(), p.events[len(p.events)-1].thread)
	}
	if r.idles != p.idles {
		p.idles = r.idles
		p.epoch = mix(p.epoch, p.all())
	}
	for id := len(p.threads); id < len(r.threads); id++ {
		p.threads = append(p.threads, history{name: p.name(r, r.threads[id])})
	}
	return arrived
}

// arrived is a number for a state by what has happened and whose step was the last: that is whom it is no surprise to see
// go on, and who, if it gives way, waits for another.
func (p *past) arrived(all uint64, last int) uint64 { return mix(all, p.epoch, p.threads[last].name) }

// after is the number of the state that a thread's step leads to, if it touches nothing that it has not announced, and
// some other number if it does.
func (p *past) after(t *Thread) uint64 {
	h := &p.threads[t.ID]
	e := happened{op: t.Op, thread: t.ID}
	latest := p.number(&e)
	return p.arrived(p.all()-h.share()+mix(h.name, latest), t.ID)
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
	return p.events[p.steps[after-1]].number
}

// begin notes a step that thread t is going to make.
func (p *past) begin(t *Thread) {
	p.steps = append(p.steps, int32(len(p.events)))
	if len(p.events) < cap(p.events) {
		p.events = p.events[:len(p.events)+1]
	} else {
		p.events = append(p.events, happened{})
	}
	e := &p.events[len(p.events)-1]
	*e = happened{op: t.Op, thread: t.ID, touched: e.touched[:0]}
	p.open = true
}

// chosen notes an outcome that the step picks.
func (p *past) chosen(outcome int) {
	last := len(p.events) - 1
	p.steps = append(p.steps, int32(last))
	p.events[last].choices = mix(p.events[last].choices, uint64(outcome)+1)
}

// record gives the last event its number.
func (p *past) record(r *Run) {
	p.open = false
	last := int32(len(p.events) - 1)
	e := &p.events[last]
	e.touched = append(e.touched, r.touched...)
	e.number = p.number(e)
	p.threads[e.thread].latest = e.number
	p.touched.add(last, e.op, e.touched)
}

// number is that of an event which comes after all that was recorded.
func (p *past) number(e *happened) uint64 {
	before := uint64(0) // what it depends on, in whatever order that came
	for list := range p.touched.lists(e.op, e.touched) {
		for _, i := range list {
			if d := &p.events[i]; clash(d.op, d.touched, e.op, e.touched) {
				before += mix(d.number)
			}
		}
	}
	for _, s := range e.op.Since {
		before += mix(p.step(s))
	}
	t := &p.threads[e.thread]
	return mix(t.name, t.latest, e.choices, before, p.step(e.op.After), p.epoch)
}

// all is a number for all that has happened.
func (p *past) all() (sum uint64) {
	for i := range p.threads {
		sum += p.threads[i].share()
	}
	return sum
}

// share is what a thread contributes to that.
func (h *history) share() uint64 {
	if h.latest == 0 {
		return 0
	}
	return mix(h.name, h.latest)
}

// state is a number for the state of a run by what has happened, what comes next, and who can do it.
func (p *past) state(r *Run, enabled []*Thread) uint64 {
	h := uint64(0)
	for _, t := range r.threads {
		if !t.done {
			h += mix(p.threads[t.ID].name, uint64(t.Op.Kind), uint64(t.Op.Off), uint64(t.Op.Len), text(t.Op.Label))
		}
	}
	for _, t := range enabled {
		h += mix(p.threads[t.ID].name, 3)
	}
	return mix(h, p.all(), p.epoch)
}
