package memmodel

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

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
// is ready. It is for the runs of one search; what they see is foreseen after the next Grow. Runs that are made at
// the same time each need one of their own (Beside).
type Foresight struct {
	places map[place][]content
	seen   []sight
	turns  int // how often it has grown
	newest int // in which turn the newest content was learnt that a read of the run has foreseen
	reads  int // of the run that foresaw
}

type place struct{ off, n int }

func (p place) compare(o place) int { return cmp.Or(cmp.Compare(p.off, o.off), cmp.Compare(p.n, o.n)) }

type content struct {
	bytes []byte
	turn  int // in which it was learnt
}

type sight struct {
	at      place
	content []byte
}

// ParseForesight reads what String writes.
func ParseForesight(text string) (*Foresight, error) {
	f := &Foresight{places: map[place][]content{}}
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' }) {
		start, digits, _ := strings.Cut(word, ":")
		off, err1 := strconv.Atoi(start)
		b, err2 := hex.DecodeString(digits)
		if err1 != nil || err2 != nil || off < 0 || len(b) == 0 {
			return nil, fmt.Errorf("%q is no content that a read could foresee: expected OFFSET:BYTES, for example 16:0a0b", word)
		}
		at := place{off, len(b)}
		f.places[at] = append(f.places[at], content{bytes: b})
	}
	return f, nil
}

// String writes what is foreseen: places with their contents, in hexadecimal.
func (f *Foresight) String() string {
	if f == nil {
		return ""
	}
	var words []string
	for _, at := range slices.SortedFunc(maps.Keys(f.places), place.compare) {
		for _, c := range f.places[at] {
			words = append(words, fmt.Sprintf("%d:%x", at.off, c.bytes))
		}
	}
	return strings.Join(words, ",")
}

// Beside returns a Foresight of the same contents for one run.
func (f *Foresight) Beside() *Foresight { return &Foresight{places: f.places, turns: f.turns} }

// Add notes what a run has seen whose Foresight came from Beside.
func (f *Foresight) Add(run *Foresight) {
	for _, s := range run.seen {
		if !slices.ContainsFunc(f.seen, func(have sight) bool { return have.at == s.at && bytes.Equal(have.content, s.content) }) {
			f.seen = append(f.seen, s)
		}
	}
}

// Known reports whether the run foresaw nothing that was new since Grow: then it was made before.
func (f *Foresight) Known() bool { return f.newest < f.turns }

// Delayed is how many reads of the run were delayed.
func (f *Foresight) Delayed() int {
	if f == nil {
		return 0
	}
	return f.reads
}

// Grow lets later runs foresee what runs have seen up to now. It reports whether there is something new: as long as
// there is, a search of all schedules has to turn again.
func (f *Foresight) Grow() bool {
	places := maps.Clone(f.places) // runs may still look at the old ones
	if places == nil {
		places = map[place][]content{}
	}
	grown := false
	for _, s := range f.seen {
		if foretold(places[s.at], s.content) {
			continue
		}
		places[s.at] = append(slices.Clip(places[s.at]), content{s.content, f.turns + 1})
		grown = true
	}
	f.seen = nil
	if grown {
		f.places = places
		f.turns++
	}
	return grown
}

func foretold(list []content, b []byte) bool {
	return slices.ContainsFunc(list, func(have content) bool { return bytes.Equal(have.bytes, b) })
}

func (f *Foresight) learn(at place, b []byte) {
	if !foretold(f.places[at], b) {
		f.seen = append(f.seen, sight{at, bytes.Clone(b)})
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
	probe  Probe
	done   bool
}

func (d *delayed) waits() bool { return !d.done }

// happen ends the delay: the read finds what is there now.
func (d *delayed) happen() {
	d.done = true
	d.cpu.saw(d.event, d.mem, d.off, len(d.want), nil)
	d.probe.tell(Loaded, d.off, d.want)
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
func (c *CPU) foreseen(m *Memory, off int, now []byte) []content {
	if c.Bus.Foresight == nil || slices.ContainsFunc(c.buffer, func(s *store) bool {
		return s.mem == m && overlap(off, len(now), s.off, len(s.data))
	}) {
		return nil
	}
	var list []content
	for _, later := range c.Bus.Foresight.places[place{off, len(now)}] {
		if !bytes.Equal(later.bytes, now) {
			list = append(list, later)
		}
	}
	return list
}

// delay lets a read happen later, when its place has the wanted content.
func (c *CPU) delay(m *Memory, off int, dst []byte, want content) {
	copy(dst, want.bytes)
	f := c.Bus.Foresight
	f.newest = max(f.newest, want.turn)
	f.reads++
	c.ahead, c.lastRead = &delayed{cpu: c, mem: m, off: off, want: want.bytes, event: c.past.load(c.depends, false), probe: c.Probe}, nil
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
	contents := append([]content{{bytes: first.want}}, c.foreseen(m, off, first.want)...)
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
