package kernel_test

import (
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"nlmmap/kernel"
	"nlmmap/kernel/inspect"
	"nlmmap/uapi"
)

// The memory that the model has: one word for each page.
type modelPage struct{ word uint32 }

// modelPTE is one page of an address space. Mappings are numbers: pages with the same number are one mapping.
type modelPTE struct {
	mapping int
	prot    int
	private bool
	page    *modelPage // nil: not present
	own     bool
}

// model says page by page what memory is, without lists of mappings, splits or real memory.
type model struct {
	anon  bool // fault-anon
	zero  *modelPage
	ring  []*modelPage
	ids   int
	procs []map[uint64]*modelPTE // by page number
}

func newModel(pages int, anon bool) *model {
	m := &model{anon: anon, zero: &modelPage{}, procs: []map[uint64]*modelPTE{{}}}
	for range pages {
		m.ring = append(m.ring, &modelPage{})
	}
	return m
}

func (m *model) id() int {
	m.ids++
	return m.ids
}

// cut makes page at the first one of its mapping.
func (m *model) cut(as map[uint64]*modelPTE, at uint64) {
	below, here := as[at-1], as[at]
	if below == nil || here == nil || below.mapping != here.mapping {
		return
	}
	old, id := here.mapping, m.id()
	for ; as[at] != nil && as[at].mapping == old; at++ {
		as[at].mapping = id
	}
}

func (m *model) munmap(as map[uint64]*modelPTE, from, to uint64) {
	m.cut(as, from)
	m.cut(as, to)
	for p := from; p < to; p++ {
		delete(as, p)
	}
}

func (m *model) mmap(as map[uint64]*modelPTE, from uint64, prot int, private bool) {
	id := m.id()
	for i, page := range m.ring {
		as[from+uint64(i)] = &modelPTE{mapping: id, prot: prot, private: private, page: page}
	}
}

func (m *model) mprotect(as map[uint64]*modelPTE, from, to uint64, prot int) error {
	for p := from; p < to; {
		if as[p] == nil {
			return kernel.ENOMEM
		}
		end := p
		for end < to && as[end] != nil && as[end].mapping == as[p].mapping {
			end++
		}
		if as[p].prot != prot {
			m.cut(as, p)
			m.cut(as, end)
			for ; p < end; p++ {
				as[p].prot = prot
			}
		}
		p = end
	}
	return nil
}

func (m *model) madvise(as map[uint64]*modelPTE, from, to uint64) (err error) {
	for p := from; p < to; p++ {
		if as[p] == nil {
			err = kernel.ENOMEM
		} else {
			as[p].page, as[p].own = nil, false
		}
	}
	return err
}

// mremap returns how the pages of a moved range come to lie at to; where is asked only if the kernel chooses.
func (m *model) mremap(as map[uint64]*modelPTE, from, oldn, newn uint64, move, fixed bool, to uint64, where func() uint64) error {
	if fixed && to < from+oldn && from < to+newn {
		return kernel.EINVAL
	}
	for p := from; p < from+oldn; p++ {
		if as[p] == nil || as[p].mapping != as[from].mapping {
			return kernel.EFAULT
		}
	}
	if newn < oldn {
		m.munmap(as, from+newn, from+oldn)
		oldn = newn
	}
	last := as[from+oldn-1]
	if !fixed && !move {
		room := as[from+oldn] == nil || as[from+oldn].mapping != last.mapping
		for p := from + oldn; p < from+newn; p++ {
			room = room && as[p] == nil
		}
		if room || newn == oldn {
			for p := from + oldn; p < from+newn; p++ {
				as[p] = &modelPTE{mapping: last.mapping, prot: last.prot, private: last.private}
			}
			return nil
		}
	}
	if fixed {
		m.munmap(as, to, to+newn)
	} else {
		to = where()
	}
	m.cut(as, from)
	m.cut(as, from+oldn)
	id := m.id()
	for i := range newn {
		pte := &modelPTE{mapping: id, prot: last.prot, private: last.private}
		if i < oldn {
			*pte = *as[from+i]
			pte.mapping = id
			delete(as, from+i)
		}
		as[to+i] = pte
	}
	return nil
}

func (m *model) fork(as map[uint64]*modelPTE) map[uint64]*modelPTE {
	child := map[uint64]*modelPTE{}
	ids := map[int]int{}
	for p, pte := range as {
		c := *pte
		if ids[c.mapping] == 0 {
			ids[c.mapping] = m.id()
		}
		c.mapping = ids[c.mapping]
		if c.own {
			c.page = &modelPage{c.page.word}
		}
		child[p] = &c
	}
	return child
}

func (m *model) access(as map[uint64]*modelPTE, p uint64, write bool) (*modelPage, error) {
	pte := as[p]
	if pte == nil || pte.prot == 0 || write && pte.prot&uapi.ProtWrite == 0 {
		return nil, kernel.SIGSEGV
	}
	switch {
	case pte.page == nil && !m.anon:
		return nil, kernel.SIGBUS
	case pte.page == nil && write:
		pte.page, pte.own = &modelPage{}, true
	case pte.page == nil:
		pte.page = m.zero
	case write && pte.private && !pte.own:
		pte.page, pte.own = &modelPage{pte.page.word}, true
	}
	return pte.page, nil
}

// mappings is what the mapped counter must be.
func (m *model) mappings() int {
	seen := map[int]bool{}
	for _, as := range m.procs {
		for _, pte := range as {
			seen[pte.mapping] = true
		}
	}
	return len(seen)
}

// backend is one real machine that does what the model does.
type backend struct {
	k     *kernel.Kernel
	d     *device
	fd    int
	procs []*kernel.Task
}

func same(t *rapid.T, what string, got, want error) {
	t.Helper()
	if want == nil && got != nil || want != nil && !errors.Is(got, want) {
		t.Fatalf("%s: %v, the model says %v", what, got, want)
	}
}

// TestMemoryAgainstModel does random things to the address spaces of some processes, on the heap and with really mapped
// memory, and compares every access and the number of mappings with the page-by-page model.
func TestMemoryAgainstModel(t *testing.T) {
	for _, r := range []kernel.Release{kernel.Linux3_10, kernel.Linux4_5} {
		for _, memfd := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v/memfd=%t", r, memfd), func(t *testing.T) {
				rapid.Check(t, func(t *rapid.T) { memoryAgainstModel(t, r, memfd) })
			})
		}
	}
}

func memoryAgainstModel(t *rapid.T, r kernel.Release, memfd bool) {
	const (
		pages = 4
		base  = 0x10000 // page number of the area that the ops are about
		area  = 8
	)
	k, err := kernel.Boot(kernel.Config{Version: kernel.Version{Release: r}, Memfd: memfd})
	if err != nil {
		t.Fatal(err)
	}
	devs := &devices{k: k}
	k.Register(devDomain, devs)
	b := &backend{k: k, procs: []*kernel.Task{k.NewProcess("p0", k.InitNet())}}
	if b.fd, err = b.procs[0].Socket(devDomain, uapi.SockRaw, pages); err != nil {
		t.Fatal(err)
	}
	b.d = devs.last
	m := newModel(pages, r <= kernel.Linux3_19)
	page := rapid.Uint64Range(base, base+area-1)
	length := rapid.Uint64Range(1, 5)
	prots := rapid.SampledFrom([]int{0, uapi.ProtRead, uapi.ProtWrite, rw, rw, rw})
	const ps = uapi.PageSize
	t.Repeat(map[string]func(*rapid.T){"step": func(t *rapid.T) {
		i := rapid.IntRange(0, len(m.procs)-1).Draw(t, "process")
		p, as := b.procs[i], m.procs[i]
		from := page.Draw(t, "page")
		n := length.Draw(t, "pages")
		switch op := rapid.SampledFrom([]string{"mmap", "mmap", "munmap", "mprotect", "mremap", "fork", "madvise", "load",
			"store", "update", "update", "kernel"}).Draw(t, "op"); op {
		case "mmap":
			prot, private := prots.Draw(t, "prot"), rapid.Bool().Draw(t, "private")
			flags := uapi.MapShared | uapi.MapFixed
			if private {
				flags = uapi.MapPrivate | uapi.MapFixed
			}
			_, err := p.Mmap(from*ps, pages*ps, prot, flags, b.fd, 0)
			same(t, op, err, nil)
			m.munmap(as, from, from+pages)
			m.mmap(as, from, prot, private)
		case "munmap":
			same(t, op, p.Munmap(from*ps, n*ps), nil)
			m.munmap(as, from, from+n)
		case "mprotect":
			prot := prots.Draw(t, "prot")
			same(t, op, p.Mprotect(from*ps, n*ps, prot), m.mprotect(as, from, from+n, prot))
		case "mremap":
			newn := length.Draw(t, "newPages")
			move, fixed := rapid.Bool().Draw(t, "move"), rapid.Bool().Draw(t, "fixed")
			to := page.Draw(t, "to")
			addr, err := p.Mremap(from*ps, n*ps, newn*ps, move, fixed, to*ps)
			same(t, op, err, m.mremap(as, from, n, newn, move, fixed, to, func() uint64 { return addr / ps }))
		case "fork":
			if len(m.procs) == 3 {
				b.procs[2].ExitGroup()
				b.procs, m.procs = b.procs[:2], m.procs[:2]
				i = 0
			}
			child, err := b.procs[i].Fork("child")
			same(t, op, err, nil)
			b.procs = append(b.procs, child)
			m.procs = append(m.procs, m.fork(m.procs[i]))
		case "madvise":
			same(t, op, p.Madvise(from*ps, n*ps, uapi.MadvDontneed), m.madvise(as, from, from+n))
		case "load":
			checkLoad(t, b, m, i, from)
		case "store", "update":
			if op == "update" {
				checkLoad(t, b, m, i, from)
			}
			v := rapid.Uint32().Draw(t, "value")
			pg, err := m.access(as, from, true)
			same(t, op, p.Store32(from*ps, v), err)
			if err == nil {
				pg.word = v
			}
		case "kernel":
			v, at := rapid.Uint32().Draw(t, "value"), rapid.IntRange(0, pages-1).Draw(t, "ring page")
			b.d.mem.Store32(nil, at*ps, v)
			m.ring[at].word = v
		}
		if b.d.mapped != m.mappings() {
			t.Fatalf("%d mappings, the model has %d", b.d.mapped, m.mappings())
		}
		if c := b.procs[0].FileOf(inspect.Key{}, b.fd).Count(b.procs[0]); c != len(b.procs)+b.d.mapped {
			t.Fatalf("f_count %d with %d descriptors and %d mappings", c, len(b.procs), b.d.mapped)
		}
	}})
	for i, as := range m.procs {
		for p := range as {
			checkLoad(t, b, m, i, p)
		}
	}
	for i, pg := range m.ring {
		if got := b.d.mem.Load32(nil, i*ps); got != pg.word {
			t.Fatalf("the kernel sees %#x in ring page %d, the model %#x", got, i, pg.word)
		}
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
}

func checkLoad(t *rapid.T, b *backend, m *model, i int, p uint64) {
	t.Helper()
	pg, want := m.access(m.procs[i], p, false)
	v, err := b.procs[i].Load32(p * uapi.PageSize)
	same(t, "load", err, want)
	if err == nil && v != pg.word {
		t.Fatalf("process %d reads %#x in page %#x, the model %#x", i, v, p, pg.word)
	}
}
