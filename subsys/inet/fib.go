package inet

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"nlmmap/kernel"
)

// Errnos of lookups.
const (
	ENETUNREACH  = unix.ENETUNREACH
	EHOSTUNREACH = unix.EHOSTUNREACH
	ENETDOWN     = unix.ENETDOWN
	EACCES       = unix.EACCES
)

// Tables of routes.
const (
	TableDefault = 253
	TableMain    = 254
	TableLocal   = 255
)

// Types of routes (RTN_*).
const (
	RTNUnicast     = 1
	RTNLocal       = 2
	RTNBroadcast   = 3
	RTNAnycast     = 4
	RTNMulticast   = 5
	RTNBlackhole   = 6
	RTNUnreachable = 7
	RTNProhibit    = 8
	RTNThrow       = 9
)

// Scopes of routes, and who made them.
const (
	ScopeUniverse = 0
	ScopeLink     = 253
	ScopeHost     = 254
	ScopeNowhere  = 255

	ProtoKernel = 2
	ProtoBoot   = 3
)

// Flags of next hops (RTNH_F_*).
const (
	hopPervasive = 2
	hopOnlink    = 4
)

// How a route is added: the flags of the request.
const (
	RouteReplace = 0x100
	RouteExcl    = 0x200
	RouteCreate  = 0x400
	RouteAppend  = 0x800
)

// maxMetric is the highest number of a metric (RTAX_MAX).
const maxMetric = 16

// Metrics of a route, by number (RTAX_*); 0 for none.
type Metrics [maxMetric + 1]uint32

// A Route is a route.
type Route struct {
	Dst              netip.Prefix
	Table            uint32
	Type             uint8
	Scope            uint8
	Protocol         uint8
	TOS              uint8
	Priority         uint32
	PrefSrc, Gateway netip.Addr // the zero value for none
	Dev              int        // 0 for none
	Flags            uint32
	Metrics          Metrics
	Congestion       string // the algorithm of TCP

	id uint64 // which of those that are alike
}

// props says of each type of a route which scope it has at least, and the error that it is.
var props = [...]struct {
	scope uint8
	errno unix.Errno
}{
	{ScopeNowhere, 0}, {ScopeUniverse, 0}, {ScopeHost, 0}, {ScopeLink, 0}, {ScopeLink, 0}, {ScopeUniverse, 0},
	{ScopeUniverse, kernel.EINVAL}, {ScopeUniverse, EHOSTUNREACH}, {ScopeUniverse, EACCES}, {ScopeUniverse, kernel.EAGAIN},
	{ScopeNowhere, kernel.EINVAL}, {ScopeNowhere, kernel.EINVAL},
}

// rank is the order of routes to the same destination.
func (r Route) rank(o Route) int {
	return cmp.Or(cmp.Compare(o.TOS, r.TOS), cmp.Compare(r.Priority, o.Priority))
}

// same reports whether two routes of one rank lead to the same (fib_find_info).
func (r Route) same(o Route) bool {
	r.id, o.id = 0, 0
	return r == o
}

// fib is the routes of a namespace.
type fib struct {
	tables []*table // in the order of a dump
	lastID uint64
	// notified are the routes that a lookup was to be told changes of, until something changes (RTCF_NOTIFY).
	notified map[uint64]bool
}

// A table is one of routes (struct fib_table). It stays when they have gone.
type table struct {
	id uint32
	leaves
}

// place is where a table is, or would be: they are ordered by their number modulo 256 and, where that is the same, the newest comes
// first (spec 11.5).
func (f *fib) place(id uint32) (i int, ok bool) {
	if i = slices.IndexFunc(f.tables, func(t *table) bool { return t.id == id }); i >= 0 {
		return i, true
	}
	i, _ = slices.BinarySearchFunc(f.tables, id%256, func(t *table, n uint32) int { return cmp.Compare(t.id%256, n) })
	return i, false
}

// table returns a table, nil when there is none.
func (f *fib) table(id uint32) *table {
	if i, ok := f.place(id); ok {
		return f.tables[i]
	}
	return nil
}

// newTable returns a table, which is made when there is none: fib_new_table.
func (f *fib) newTable(id uint32) *table {
	i, ok := f.place(id)
	if !ok {
		f.tables = slices.Insert(f.tables, i, &table{id: id})
	}
	return f.tables[i]
}

// insert is fib_table_insert. By its flags the route may be new, or one of several of its rank, or replace another. It
// returns the flags that the notification has, or no change when the route is there already and was to be replaced.
func (f *fib) insert(r Route, flags uint16) (told uint16, changed bool, err error) {
	t := f.newTable(r.Table)
	all := t.get(r.Dst)
	first, _ := slices.BinarySearchFunc(all, r, Route.rank)
	last := first
	for last < len(all) && all[last].rank(r) == 0 {
		last++
	}
	known := all[first:last]
	f.lastID++
	r.id = f.lastID
	f.notified = nil
	if len(known) > 0 {
		match := slices.IndexFunc(known, r.same)
		switch {
		case flags&RouteExcl != 0:
			return 0, false, kernel.Errorf(kernel.EEXIST, "there is a route to %v", r.Dst)
		case flags&RouteReplace != 0 && match == 0:
			return 0, false, nil
		case match >= 0:
			return 0, false, kernel.Errorf(kernel.EEXIST, "there is this route to %v", r.Dst)
		case flags&RouteReplace != 0:
			known[0] = r
			return RouteReplace, true, nil
		case flags&RouteAppend != 0:
			first, told = last, RouteAppend
		}
	} else if flags&RouteCreate == 0 {
		return 0, false, kernel.Errorf(kernel.ENOENT, "there is no route to %v", r.Dst)
	}
	t.insert(first, r)
	return told, true, nil
}

// AddRoute adds an IPv4 route, or changes one: EINVAL, ENODEV, ENETDOWN and ENETUNREACH for one that cannot be, EEXIST and
// ENOENT as flags say.
func (s *Stack) AddRoute(cur *kernel.Task, by Cause, r Route, flags uint16) error {
	if err := s.checkRoute(cur, &r); err != nil {
		return err
	}
	var told uint16
	var changed bool
	var err error
	s.routes.Change(cur, func(f *fib) { told, changed, err = f.insert(r, flags) })
	if err == nil && changed {
		if !s.in.D.RouteAppendTold {
			told &^= RouteAppend
		}
		s.tellRoute(cur, r, false, told, by)
	}
	return err
}

// checkRoute is fib_create_info. It finds the device of a gateway.
func (s *Stack) checkRoute(cur *kernel.Task, r *Route) error {
	invalid := func(why string) error { return kernel.Errorf(kernel.EINVAL, "%s", why) }
	switch {
	case r.Dst != r.Dst.Masked():
		return invalid("the destination has bits behind its mask")
	case int(r.Type) >= len(props):
		return invalid("no such type of a route")
	case props[r.Type].scope > r.Scope:
		return invalid("the scope is too wide for the type")
	}
	switch {
	case props[r.Type].errno != 0:
		if r.Gateway.IsValid() || r.Dev != 0 {
			return invalid("a route that is an error goes nowhere")
		}
		return nil
	case r.Scope > ScopeHost:
		return invalid("no such scope")
	case r.Scope == ScopeHost:
		if r.Gateway.IsValid() {
			return invalid("the way to this host has no gateway")
		}
		if _, ok := s.Device(cur, r.Dev); !ok {
			return kernel.Errorf(kernel.ENODEV, "no device %d", r.Dev)
		}
	default:
		if err := s.checkHop(cur, r); err != nil {
			return err
		}
	}
	if r.PrefSrc.IsValid() && (r.Type != RTNLocal || r.Dst != host(r.PrefSrc)) {
		if s.addrType(cur, r.PrefSrc) != RTNLocal {
			return invalid("the source is no address of this host")
		}
	}
	return nil
}

// checkHop is fib_check_nh.
func (s *Stack) checkHop(cur *kernel.Task, r *Route) error {
	up := func(index int) error {
		d, ok := s.Device(cur, index)
		switch {
		case !ok || !d.IPv4:
			return kernel.Errorf(kernel.ENODEV, "no device %d", index)
		case !d.Up():
			return kernel.Errorf(ENETDOWN, "%s is down", d.Name)
		}
		return nil
	}
	if !r.Gateway.IsValid() {
		if r.Flags&(hopPervasive|hopOnlink) != 0 {
			return kernel.Errorf(kernel.EINVAL, "flags of a gateway without one")
		}
		return up(r.Dev)
	}
	if r.Flags&hopOnlink != 0 {
		if r.Scope >= ScopeLink || s.addrType(cur, r.Gateway) != RTNUnicast {
			return kernel.Errorf(kernel.EINVAL, "no gateway can be there")
		}
		return up(r.Dev)
	}
	hop, err := s.Lookup(cur, Flow{Dst: r.Gateway, Out: r.Dev, Scope: max(r.Scope+1, ScopeLink)})
	switch {
	case err != nil:
		return err
	case hop.Type != RTNUnicast && hop.Type != RTNLocal:
		return kernel.Errorf(kernel.EINVAL, "no gateway can be at %v", r.Gateway)
	}
	r.Dev = hop.Dev
	return up(r.Dev)
}

// addrType is inet_addr_type: what the local table says of an address.
func (s *Stack) addrType(cur *kernel.Task, a netip.Addr) uint8 {
	b := a.As4()
	switch {
	case b[0] == 0 || b == [4]byte{255, 255, 255, 255}:
		return RTNBroadcast
	case a.IsMulticast():
		return RTNMulticast
	}
	typ := uint8(RTNUnicast)
	s.routes.Read(cur, func(f *fib) {
		if r, err := f.lookup(TableLocal, Flow{Dst: a}); err == nil {
			typ = r.Type
		}
	})
	return typ
}

// DelRoute removes the first route that r describes; fields that are not set match all: fib_table_delete. ESRCH when
// there is none.
func (s *Stack) DelRoute(cur *kernel.Task, by Cause, r Route) error {
	if r.Dst != r.Dst.Masked() {
		return kernel.Errorf(kernel.EINVAL, "the destination has bits behind its mask")
	}
	found := false
	s.routes.Change(cur, func(f *fib) {
		t := f.table(r.Table)
		if t == nil {
			return
		}
		all := t.get(r.Dst)
		i := slices.IndexFunc(all, func(o Route) bool {
			return o.TOS == r.TOS && (r.Type == 0 || r.Type == o.Type) && (r.Scope == ScopeNowhere || r.Scope == o.Scope) &&
				(!r.PrefSrc.IsValid() || r.PrefSrc == o.PrefSrc) && (r.Protocol == 0 || r.Protocol == o.Protocol) &&
				(r.Priority == 0 || r.Priority == o.Priority) && (r.Dev == 0 || r.Dev == o.Dev) &&
				(!r.Gateway.IsValid() || r.Gateway == o.Gateway)
		})
		if found = i >= 0; found {
			r = all[i]
			t.delete(r.Dst, i)
			f.notified = nil
		}
	})
	if !found {
		return kernel.Errorf(kernel.ESRCH, "no such route to %v", r.Dst)
	}
	s.tellRoute(cur, r, true, 0, by)
	return nil
}

// routesDown takes the routes of a device away that is down, and with all those of an address that is gone; nobody is
// told (fib_disable_ip, fib_flush).
func (s *Stack) routesDown(cur *kernel.Task, dev int, all bool) {
	s.dropRoutes(cur, func(r Route) bool { return r.Dev == dev && (all || r.Scope != ScopeHost) })
}

func (s *Stack) dropRoutes(cur *kernel.Task, gone func(Route) bool) {
	s.routes.Change(cur, func(f *fib) {
		for _, t := range f.tables {
			t.drop(gone)
		}
		f.notified = nil
	})
}

func (s *Stack) tellRoute(cur *kernel.Task, r Route, gone bool, flags uint16, by Cause) {
	for _, n := range s.in.notifiers {
		if n.Route != nil {
			n.Route(cur, s, r, gone, flags, by)
		}
	}
}

// RouteFrom returns the first route that is not before from in the order of a dump (spec 11.5). The zero Route is before
// all others.
func (s *Stack) RouteFrom(cur *kernel.Task, from Route) (r Route, ok bool) {
	s.routes.Read(cur, func(f *fib) { r, ok = f.next(from, false) })
	return r, ok
}

// RouteAfter returns the first route behind r in the order of a dump.
func (s *Stack) RouteAfter(cur *kernel.Task, r Route) (next Route, ok bool) {
	s.routes.Read(cur, func(f *fib) { next, ok = f.next(r, true) })
	return next, ok
}

// next returns the first route that is not before r, or with behind the first one behind it.
func (f *fib) next(r Route, behind bool) (next Route, ok bool) {
	first, _ := f.place(r.Table)
	for _, t := range f.tables[first:] {
		begin := netip.Prefix{} // before all others
		if t.id == r.Table {
			begin = r.Dst
		}
		for l := range t.from(begin) {
			i := 0
			if t.id == r.Table && l.dst == r.Dst {
				i = l.place(r)
				if behind && i < len(l.routes) && l.routes[i].id == r.id {
					i++
				}
			}
			if i < len(l.routes) {
				return l.routes[i], true
			}
		}
	}
	return Route{}, false
}

// place is where a route is among those to its destination, or was before it went.
func (l *leaf) place(r Route) int {
	i := slices.IndexFunc(l.routes, func(o Route) bool { return o.id == r.id || o.rank(r) > 0 })
	if i < 0 {
		return len(l.routes)
	}
	return i
}

// HasTable reports whether a table has routes; 0 stands for any.
func (s *Stack) HasTable(cur *kernel.Task, id uint32) (has bool) {
	s.routes.Read(cur, func(f *fib) {
		has = slices.ContainsFunc(f.tables, func(t *table) bool { return (id == 0 || t.id == id) && len(t.blocks) > 0 })
	})
	return has
}

// errThrow is what a lookup in a table says when the next rule is to be asked.
var errThrow = kernel.Errorf(kernel.EAGAIN, "not in this table")

// lookup is fib_table_lookup: the longest prefix wins, and of its routes the first that fits.
func (f *fib) lookup(id uint32, flow Flow) (Route, error) {
	t := f.table(id)
	if t == nil {
		return Route{}, errThrow
	}
	for l := range t.covering(flow.Dst) {
		for _, r := range l.routes {
			errno := props[r.Type].errno
			switch {
			case r.TOS != 0 && r.TOS != flow.TOS, r.Scope < flow.Scope, errno == 0 && flow.Out != 0 && flow.Out != r.Dev:
				continue
			case errno != 0:
				return r, kernel.Errorf(errno, "the route to %v is an error", r.Dst)
			}
			return r, nil
		}
	}
	return Route{}, errThrow
}

// Lookup is fib_lookup: the rules are asked one after the other. ENETUNREACH when none has a route.
func (s *Stack) Lookup(cur *kernel.Task, flow Flow) (best Route, err error) {
	rules := s.PolicyRules(cur)
	nameOf := func(index int) string {
		d, _ := s.Device(cur, index)
		return d.Name
	}
	for i := 0; i < len(rules); i++ {
		r := &rules[i]
		if !r.matches(flow, nameOf) {
			continue
		}
		switch r.Action {
		case ActGoto:
			if j := slices.IndexFunc(rules, func(o PolicyRule) bool { return o.Priority == r.Target }); j > i {
				i = j - 1
			}
			continue
		case ActNop:
			continue
		case ActUnreachable:
			return best, kernel.Errorf(ENETUNREACH, "a rule says unreachable")
		case ActProhibit:
			return best, kernel.Errorf(EACCES, "a rule prohibits")
		case ActTable:
		default: // ActBlackhole, and what there is not
			return best, kernel.Errorf(kernel.EINVAL, "a rule drops")
		}
		s.routes.Read(cur, func(f *fib) { best, err = f.lookup(r.Table, flow) })
		if errors.Is(err, kernel.EAGAIN) {
			continue
		}
		if err == nil && r.SuppressPrefixLen >= 0 && best.Dst.Bits() <= int(r.SuppressPrefixLen) {
			continue
		}
		return best, err
	}
	return Route{}, kernel.Errorf(ENETUNREACH, "no route to %v", flow.Dst)
}

// LookupIn finds the route in one table.
func (s *Stack) LookupIn(cur *kernel.Task, dst netip.Addr, table uint32) (best Route, err error) {
	if table == 0 {
		return s.Lookup(cur, Flow{Dst: dst})
	}
	s.routes.Read(cur, func(f *fib) { best, err = f.lookup(table, Flow{Dst: dst}) })
	if errors.Is(err, kernel.EAGAIN) {
		err = kernel.Errorf(ENETUNREACH, "no route to %v", dst)
	}
	return best, err
}
