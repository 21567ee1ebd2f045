package inet

import (
	"encoding/binary"
	"net/netip"
	"strings"

	"nlmmap/kernel"
)

// Flags of paths (RTCF_*).
const (
	PathNotify    = 0x00010000
	PathBroadcast = 0x10000000
	PathMulticast = 0x20000000
	PathLocal     = 0x80000000
)

// A Path is the way of a packet to one destination (struct rtable).
type Path struct {
	Type    uint8
	Src     netip.Addr
	Gateway netip.Addr // invalid for none
	Dev     int
	In      int // where the packet has come in
	Flags   uint32
	Metrics Metrics

	Congestion string
	route      uint64 // the route that it follows, 0 for none
}

// Route finds the way of a packet: from this host, or with In of one that has come in. A way that somebody wanted to be told
// changes of (notify) says so to everybody, as it is kept with the route.
func (s *Stack) Route(cur *kernel.Task, f Flow, notify bool) (p Path, err error) {
	if f.In != 0 {
		p, err = s.inputPath(cur, f)
	} else {
		p, err = s.outputPath(cur, f)
	}
	if err == nil && p.route != 0 {
		s.routes.Change(cur, func(f *fib) {
			if notify && f.notified == nil {
				f.notified = map[uint64]bool{}
			}
			if notify {
				f.notified[p.route] = true
			}
			notify = f.notified[p.route]
		})
	}
	if notify {
		p.Flags |= PathNotify
	}
	return p, err
}

var (
	unspecified  = netip.IPv4Unspecified()
	allBroadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})
	localhost    = netip.AddrFrom4([4]byte{127, 0, 0, 1})
)

// given is whether a request names an address.
func given(a netip.Addr) bool { return a.IsValid() && a != unspecified }

// outputPath is __ip_route_output_key.
//
// Errors: EINVAL for a source that this host does not have; ENODEV; ENETUNREACH, and those of routes that are errors.
func (s *Stack) outputPath(cur *kernel.Task, f Flow) (Path, error) {
	src := f.Src
	if given(src) {
		if src.IsMulticast() || src == allBroadcast || src.As4()[0] == 0 || s.addrType(cur, src) != RTNLocal {
			return Path{}, kernel.Errorf(kernel.EINVAL, "%v is no address of this host", src)
		}
	} else {
		src = netip.Addr{}
	}
	dst := f.Dst
	if !dst.IsValid() {
		dst = unspecified
	}
	if f.Out != 0 {
		d, ok := s.Device(cur, f.Out)
		switch {
		case !ok:
			return Path{}, kernel.Errorf(kernel.ENODEV, "no device %d", f.Out)
		case !d.Up() || !d.IPv4:
			return Path{}, kernel.Errorf(ENETUNREACH, "%s is down", d.Name)
		case dst.IsLinkLocalMulticast() || dst == allBroadcast:
			if !src.IsValid() {
				src = s.selectAddr(cur, f.Out, netip.Addr{}, ScopeLink)
			}
			return s.mkroute(cur, dst, src, Route{Type: RTNUnicast, Dev: f.Out}), nil
		case !src.IsValid() && dst.IsMulticast():
			src = s.selectAddr(cur, f.Out, netip.Addr{}, ScopeUniverse)
		case !src.IsValid() && dst == unspecified && !s.oldPaths():
			src = s.selectAddr(cur, f.Out, netip.Addr{}, ScopeHost)
		}
	}
	if dst == unspecified {
		if !given(src) {
			src = localhost
		}
		return s.mkroute(cur, src, src, Route{Type: RTNLocal, Dev: LoIndex}), nil
	}
	r, err := s.Lookup(cur, Flow{Dst: dst, Src: src, TOS: f.TOS, Mark: f.Mark, Out: f.Out})
	if err != nil {
		switch {
		case f.Out != 0:
		case s.in.D.LookupErrors:
			return Path{}, err
		default:
			return Path{}, kernel.Errorf(ENETUNREACH, "%v", err)
		}
		// The device is meant, whatever routes there are: the destination is on its link.
		if !src.IsValid() {
			src = s.selectAddr(cur, f.Out, netip.Addr{}, ScopeLink)
		}
		return s.mkroute(cur, dst, src, Route{Type: RTNUnicast, Dev: f.Out}), nil
	}
	if r.Type == RTNLocal {
		if !src.IsValid() {
			if src = dst; r.PrefSrc.IsValid() {
				src = r.PrefSrc
			}
		}
		r.Dev, r.Gateway = LoIndex, netip.Addr{}
		return s.mkroute(cur, dst, src, r), nil
	}
	if !src.IsValid() {
		src = s.prefSrc(cur, r)
	}
	return s.mkroute(cur, dst, src, r), nil
}

// prefSrc is FIB_RES_PREFSRC: the source of packets that take a route.
func (s *Stack) prefSrc(cur *kernel.Task, r Route) netip.Addr {
	if r.PrefSrc.IsValid() {
		return r.PrefSrc
	}
	return s.selectAddr(cur, r.Dev, r.Gateway, r.Scope)
}

// mkroute is __mkroute_output.
func (s *Stack) mkroute(cur *kernel.Task, dst, src netip.Addr, r Route) Path {
	p := Path{Type: r.Type, Src: src, Gateway: r.Gateway, Dev: r.Dev, Metrics: r.Metrics, Congestion: r.Congestion, route: r.id}
	switch {
	case dst == allBroadcast:
		p.Type = RTNBroadcast
	case dst.IsMulticast():
		p.Type = RTNMulticast
	}
	if d, _ := s.Device(cur, r.Dev); d.Loopback() {
		p.Flags |= PathLocal
	}
	switch p.Type {
	case RTNBroadcast:
		p.Flags |= PathBroadcast | PathLocal
		p.Gateway = netip.Addr{}
	case RTNMulticast:
		p.Flags |= PathMulticast
		if allHosts := netip.AddrFrom4([4]byte{224, 0, 0, 1}); dst == allHosts {
			p.Flags |= PathLocal
		}
		p.Gateway = netip.Addr{}
	}
	return p
}

// oldPaths reports whether paths are those of before 3.11.
func (s *Stack) oldPaths() bool { return s.in.D.InputPathOld }

// inputPath is ip_route_input, on a host that forwards nothing: EHOSTUNREACH for what is not its own, EINVAL for a source
// that cannot come from outside.
func (s *Stack) inputPath(cur *kernel.Task, f Flow) (Path, error) {
	d, ok := s.Device(cur, f.In)
	if !ok {
		return Path{}, kernel.Errorf(kernel.ENODEV, "no device %d", f.In)
	}
	dst, src := f.Dst, f.Src
	if !dst.IsValid() {
		dst = unspecified
	}
	martian := kernel.Errorf(kernel.EINVAL, "%v cannot come from %s", src, d.Name)
	if !d.IPv4 || given(src) && (src.IsMulticast() || src == allBroadcast || src.IsLoopback() && !d.Loopback()) {
		return Path{}, martian
	}
	p := Path{Type: RTNLocal, Dev: LoIndex, In: f.In, Flags: PathLocal}
	if s.oldPaths() {
		p.In = 0
	}
	if dst == allBroadcast || dst == unspecified && !given(src) {
		p.Type, p.Flags = RTNBroadcast, PathBroadcast|PathLocal
		return p, nil
	}
	r, err := s.Lookup(cur, Flow{Dst: dst, Src: src, TOS: f.TOS, Mark: f.Mark, In: f.In})
	switch {
	case err != nil || r.Type == RTNUnicast && !d.Loopback():
		if s.oldPaths() {
			return Path{Type: RTNUnreachable, Dev: LoIndex}, nil
		}
		return Path{}, kernel.Errorf(EHOSTUNREACH, "nothing is forwarded")
	case !given(src) || s.addrType(cur, src) != RTNUnicast:
		return Path{}, martian
	case r.Type == RTNBroadcast:
		p.Type, p.Flags = RTNBroadcast, PathBroadcast|PathLocal
	case r.Type != RTNLocal:
		return Path{}, martian
	}
	return p, nil
}

// Congestion is the metric that is a name (RTAX_CC_ALGO).
const Congestion = 16

// ParseMetrics reads the metrics of a request: EINVAL for one that there is not, of which most is the last.
func (r *Route) ParseMetrics(b []byte, most int) error {
	for len(b) >= 4 {
		n, typ := int(binary.LittleEndian.Uint16(b)), int(binary.LittleEndian.Uint16(b[2:])&0x3fff)
		if n < 4 || n > len(b) {
			break
		}
		switch {
		case typ > most:
			return kernel.Errorf(kernel.EINVAL, "metric %d", typ)
		case typ == Congestion:
			r.Congestion, _, _ = strings.Cut(string(b[4:n]), "\x00")
		case typ > 0 && n >= 8:
			r.Metrics[typ] = binary.LittleEndian.Uint32(b[4:])
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	return nil
}

// EmptyTable is fib_empty_table: the first table that there is not yet. It is made.
func (s *Stack) EmptyTable(cur *kernel.Task) (table uint32) {
	s.routes.Change(cur, func(f *fib) {
		for table = 1; f.table(table) != nil; table++ {
		}
		f.newTable(table)
	})
	return table
}
