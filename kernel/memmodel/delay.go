package memmodel

import (
	"bytes"
	"slices"

	"nlmmap/kernel/sched"
)

// This file has the reads that happen later than the program's order says (load buffering): a program copies bytes and
// then stores a word that hands their place to somebody else. Without a barrier in between the store may become visible
// first, and the copy finds what the other one writes there.
//
// The program has the bytes at once, so a run must know what the read is going to find. It takes that from earlier
// runs of the same search: a Foresight collects what came to be in a place after it was read. A read may then foresee
// one of these contents. What must come after it waits until the place has it; a run in which it never gets it is none
// (Bus.Broken).

// A Foresight has, for places in memory, the contents that runs have seen there after they were read. The zero value
// is ready. It is for the runs of one search, one after the other; what they see is foreseen after the next Grow.
type Foresight struct {
	places map[place][][]byte
	seen   []sight
}

type place struct{ off, n int }

type sight struct {
	at      place
	content []byte
}

// Grow lets later runs foresee what runs have seen up to now. It reports whether there is something new: as long as
// there is, a search of all schedules has to turn again.
func (f *Foresight) Grow() bool {
	grown := false
	for _, s := range f.seen {
		if slices.ContainsFunc(f.places[s.at], func(have []byte) bool { return bytes.Equal(have, s.content) }) {
			continue
		}
		if f.places == nil {
			f.places = map[place][][]byte{}
		}
		f.places[s.at] = append(f.places[s.at], s.content)
		grown = true
	}
	f.seen = nil
	return grown
}

func (f *Foresight) learn(at place, content []byte) {
	known := func(have []byte) bool { return bytes.Equal(have, content) }
	if !slices.ContainsFunc(f.places[at], known) {
		f.seen = append(f.seen, sight{at, bytes.Clone(content)})
	}
}

// A read is one of bytes that could have happened later.
type read struct {
	mem *Memory
	at  place
	// passed reports that a store of the CPU followed that nothing orders after the read.
	passed bool
}

// A delayed read has not happened yet: it does when its place has what it wants.
type delayed struct {
	cpu    *CPU
	mem    *Memory
	off    int
	want   []byte
	fenced bool     // later loads of the CPU wait for it
	after  *delayed // an earlier read of the same place
	event  *event
	done   bool
}

func (d *delayed) waits() bool { return !d.done }

// happen ends the delay: the read finds what is there now.
func (d *delayed) happen() {
	d.done = true
	d.cpu.saw(d.event, d.mem, d.off, len(d.want), nil)
}

func overlap(off, n, other, m int) bool { return off < other+m && other < off+n }

// remember notes a read that could have been delayed.
func (c *CPU) remember(m *Memory, off int, dst []byte) {
	if c.Bus.Foresight == nil {
		return
	}
	if !c.known {
		c.known = true
		c.Bus.cpus = append(c.Bus.cpus, c)
	}
	c.lastRead = &read{mem: m, at: place{off, len(dst)}}
	c.reads = append(c.reads, c.lastRead)
}

// foreseen returns what a read may find later. It finds the CPU's own stores now.
func (c *CPU) foreseen(m *Memory, off int, now []byte) [][]byte {
	if c.Bus.Foresight == nil || slices.ContainsFunc(c.buffer, func(s *store) bool {
		return s.mem == m && overlap(off, len(now), s.off, len(s.data))
	}) {
		return nil
	}
	var list [][]byte
	for _, content := range c.Bus.Foresight.places[place{off, len(now)}] {
		if !bytes.Equal(content, now) {
			list = append(list, content)
		}
	}
	return list
}

// delay lets a read happen later, when its place has the wanted content.
func (c *CPU) delay(m *Memory, off int, dst, want []byte) {
	copy(dst, want)
	c.ahead, c.lastRead = &delayed{cpu: c, mem: m, off: off, want: want, event: c.past.load(c.depends, false)}, nil
	c.Bus.delayed = append(c.Bus.delayed, c.ahead)
}

// together lets a read of a place that a delayed read is of be delayed too: it finds the same or something later. It
// reports whether it was.
func (c *CPU) together(m *Memory, off int, dst []byte) bool {
	var first *delayed
	for _, d := range c.Bus.delayed {
		switch {
		case d.cpu != c:
		case d.fenced || c.depends && d == c.ahead:
			return false
		case d.mem == m && d.off == off && len(d.want) == len(dst):
			first = d
		case d.mem == m && overlap(d.off, len(d.want), off, len(dst)):
			return false
		}
	}
	if first == nil {
		return false
	}
	contents := append([][]byte{first.want}, c.foreseen(m, off, first.want)...)
	pick := c.Thread.Choose(1 + len(contents))
	if pick == 0 {
		return false
	}
	c.delay(m, off, dst, contents[pick-1])
	c.ahead.after, c.depends = first, false
	return true
}

// needed returns the delayed reads that a store comes after: all for a store-release, else the one that it depends on
// and those of the same place. It may pass the others.
func (c *CPU) needed(s *store, depends bool) (list []*delayed) {
	if depends {
		s.source = c.ahead
	}
	for _, d := range c.Bus.delayed {
		if d.cpu == c && (s.release || d == s.source || d.mem == s.mem && overlap(d.off, len(d.want), s.off, len(s.data))) {
			list = append(list, d)
		}
	}
	for _, r := range c.reads {
		after := s.release || depends && r == c.lastRead || r.mem == s.mem && overlap(r.at.off, r.at.n, s.off, len(s.data))
		r.passed = r.passed || !after
	}
	return list
}

// delays reports whether a read of the CPU has not happened yet.
func (c *CPU) delays() bool {
	return slices.ContainsFunc(c.Bus.delayed, func(d *delayed) bool { return d.cpu == c })
}

// fence makes later loads wait for the delayed reads.
func (c *CPU) fence() {
	for _, d := range c.Bus.delayed {
		d.fenced = d.fenced || d.cpu == c
	}
}

// await lets a load wait for the delayed reads that it comes after: those before a read barrier, of the same place,
// and the one that its address depends on, or that a store of the CPU's own takes its data from which the load finds.
func (c *CPU) await(m *Memory, off, n int) {
	var source *delayed
	for _, s := range c.buffer {
		if s.mem == m && overlap(s.off, len(s.data), off, n) {
			source = s.source
		}
	}
	w := &awaited{}
	for _, d := range c.Bus.delayed {
		after := d.fenced || c.depends && d == c.ahead || d == source || d.mem == m && overlap(d.off, len(d.want), off, n)
		if d.cpu == c && after {
			w.list = append(w.list, d)
		}
	}
	if len(w.list) > 0 {
		c.Thread.Point(sched.Op{Kind: sched.Barrier, Res: w, Label: "an earlier read"})
	}
}

type awaited struct{ list []*delayed }

// Ready implements sched.Resource.
func (w *awaited) Ready() bool { return !slices.ContainsFunc(w.list, (*delayed).waits) }

// arrived lets the delayed reads happen whose place now has what they want, and learns what others' reads could have
// found.
func (b *Bus) arrived(by *CPU, s *store) {
	if b.Foresight == nil {
		return
	}
	b.delayed = slices.DeleteFunc(b.delayed, func(d *delayed) bool {
		if d.cpu != by && (d.after == nil || d.after.done) && d.mem == s.mem && bytes.Equal(d.mem.buf[d.off:d.off+len(d.want)], d.want) {
			d.happen()
		}
		return d.done
	})
	for _, c := range b.cpus {
		for _, r := range c.reads {
			if c != by && r.passed && r.mem == s.mem && overlap(r.at.off, r.at.n, s.off, len(s.data)) {
				b.Foresight.learn(r.at, r.mem.buf[r.at.off:r.at.off+r.at.n])
			}
		}
	}
}
