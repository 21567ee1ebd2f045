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

	id      uint64 // which of those that are alike
	ordinal int    // of the table
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

// order is that of a dump (spec 11.5): tables by their number modulo 256 and, where that is the same, the newest first;
// ascending destination; longer prefix first; then as a lookup goes.
func (r Route) order(o Route) int {
	return cmp.Or(cmp.Compare(r.Table%256, o.Table%256), cmp.Compare(o.ordinal, r.ordinal),
		r.Dst.Addr().Compare(o.Dst.Addr()), cmp.Compare(o.Dst.Bits(), r.Dst.Bits()))
}

// rank is the order of routes to the same destination.
func (r Route) rank(o Route) int {
	return cmp.Or(cmp.Compare(o.TOS, r.TOS), cmp.Compare(r.Priority, o.Priority))
}

// same reports whether two routes of one rank lead to the same (fib_find_info).
func (r Route) same(o Route) bool {
	r.id, o.id, r.ordinal, o.ordinal = 0, 0, 0, 0
	return r == o
}

// fib is the routes of a namespace, in the order of a dump.
type fib struct {
	routes []Route
	tables []uint32 // in the order of their making
	lastID uint64
	// notified are the routes that a lookup was to be told changes of, until something changes (RTCF_NOTIFY).
	notified []uint64
}

// at returns where the routes to r's destination are, or would be.
func (f *fib) at(r Route) (begin, end int) {
	begin, _ = slices.BinarySearchFunc(f.routes, r, Route.order)
	for end = begin; end < len(f.routes) && f.routes[end].order(r) == 0; end++ {
	}
	return begin, end
}

// ordinal numbers a table, which is made.
func (f *fib) ordinal(table uint32) int {
	i := slices.Index(f.tables, table)
	if i < 0 {
		i = len(f.tables)
		f.tables = append(slices.Clip(f.tables), table)
	}
	return i
}

// insert is fib_table_insert. By its flags the route may be new, or one of several of its rank, or replace another. It
// returns the flags that the notification has, or no change when the route is there already and was to be replaced.
func (f *fib) insert(r Route, flags uint16) (told uint16, changed bool, err error) {
	r.ordinal = f.ordinal(r.Table)
	begin, end := f.at(r)
	i := begin
	for i < end && f.routes[i].rank(r) < 0 {
		i++
	}
	first := i // of r's rank
	for i < end && f.routes[i].rank(r) == 0 {
		i++
	}
	known := f.routes[first:i]
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
			f.routes = slices.Clone(f.routes)
			f.routes[first] = r
			return RouteReplace, true, nil
		case flags&RouteAppend != 0:
			first, told = i, RouteAppend
		}
	} else if flags&RouteCreate == 0 {
		return 0, false, kernel.Errorf(kernel.ENOENT, "there is no route to %v", r.Dst)
	}
	f.routes = slices.Insert(slices.Clone(f.routes), first, r)
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
		if r, err := f.lookup(TableLocal, Flow{Dst: a}, nil); err == nil {
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
		ordinal := slices.Index(f.tables, r.Table)
		if ordinal < 0 {
			return
		}
		r.ordinal = ordinal
		begin, end := f.at(r)
		for i := begin; i < end; i++ {
			o := f.routes[i]
			if o.TOS == r.TOS && (r.Type == 0 || r.Type == o.Type) && (r.Scope == ScopeNowhere || r.Scope == o.Scope) &&
				(!r.PrefSrc.IsValid() || r.PrefSrc == o.PrefSrc) && (r.Protocol == 0 || r.Protocol == o.Protocol) &&
				(r.Priority == 0 || r.Priority == o.Priority) && (r.Dev == 0 || r.Dev == o.Dev) &&
				(!r.Gateway.IsValid() || r.Gateway == o.Gateway) {
				r, found = o, true
				f.routes = slices.Delete(slices.Clone(f.routes), i, i+1)
				f.notified = nil
				return
			}
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
		f.routes = slices.DeleteFunc(slices.Clone(f.routes), gone)
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
	if from == (Route{}) {
		s.routes.Read(cur, func(f *fib) {
			if ok = len(f.routes) > 0; ok {
				r = f.routes[0]
			}
		})
		return r, ok
	}
	s.routes.Read(cur, func(f *fib) {
		begin, end := f.at(from)
		i := begin
		for i < end && f.routes[i].id != from.id && f.routes[i].rank(from) <= 0 {
			i++
		}
		if ok = i < len(f.routes); ok {
			r = f.routes[i]
		}
	})
	return r, ok
}

// RouteAfter returns the first route behind r in the order of a dump.
func (s *Stack) RouteAfter(cur *kernel.Task, r Route) (next Route, ok bool) {
	s.routes.Read(cur, func(f *fib) {
		begin, end := f.at(r)
		i := begin
		for i < end && f.routes[i].id != r.id && f.routes[i].rank(r) <= 0 {
			i++
		}
		if i < end && f.routes[i].id == r.id {
			i++
		}
		if ok = i < len(f.routes); ok {
			next = f.routes[i]
		}
	})
	return next, ok
}

// HasTable reports whether a table has routes; 0 stands for any.
func (s *Stack) HasTable(cur *kernel.Task, table uint32) (has bool) {
	s.routes.Read(cur, func(f *fib) {
		has = slices.ContainsFunc(f.routes, func(r Route) bool { return table == 0 || r.Table == table })
	})
	return has
}

// errThrow is what a lookup in a table says when the next rule is to be asked.
var errThrow = kernel.Errorf(kernel.EAGAIN, "not in this table")

// lookup is fib_table_lookup: the longest prefix wins, and of its routes the first that fits.
func (f *fib) lookup(table uint32, flow Flow, down func(dev int) bool) (best Route, err error) {
	err = errThrow
	for _, r := range f.routes {
		fits := r.Table == table && r.Dst.Contains(flow.Dst) && (r.TOS == 0 || r.TOS == flow.TOS) && r.Scope >= flow.Scope
		if !fits || err == nil && r.Dst.Bits() <= best.Dst.Bits() {
			continue
		}
		if props[r.Type].errno == 0 && flow.Out != 0 && flow.Out != r.Dev {
			continue
		}
		best, err = r, nil
	}
	if err == nil && props[best.Type].errno != 0 {
		return best, kernel.Errorf(props[best.Type].errno, "the route to %v is an error", best.Dst)
	}
	return best, err
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
		s.routes.Read(cur, func(f *fib) { best, err = f.lookup(r.Table, flow, nil) })
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
	s.routes.Read(cur, func(f *fib) { best, err = f.lookup(table, Flow{Dst: dst}, nil) })
	if errors.Is(err, kernel.EAGAIN) {
		err = kernel.Errorf(ENETUNREACH, "no route to %v", dst)
	}
	return best, err
}
