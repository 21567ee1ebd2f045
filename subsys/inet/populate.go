package inet

import (
	"net/netip"

	"nlmmap/kernel"
)

// populated is what an administrator has made for experiments in a namespace: entries on one dummy device, d0, each with
// a number of its own.
type populated struct {
	dev            int // 0 as long as there is none
	neighs, routes int
}

// administrator is who does all this: process 1, with requests that are all number 1.
var administrator = Cause{Portid: 1, Seq: 1}

// playground returns the device that PopulateNeigh and PopulateRoute work on, which the first of them makes.
func (s *Stack) playground(cur *kernel.Task) (dev int, err error) {
	if dev = s.populated.Get(cur).dev; dev != 0 {
		return dev, nil
	}
	d, err := s.AddDevice(cur, KindDummy, "d0")
	if err != nil {
		return 0, err
	}
	s.populated.Change(cur, func(p *populated) { p.dev = d.Index })
	return d.Index, s.SetUp(cur, d.Index, true)
}

// PopulateNeigh is what an administrator does for an experiment: count permanent neighbours with link-layer addresses
// on a dummy device that is up, 10.0.0.1 and so on, going on from call to call. ENOBUFS when the table is full.
func (s *Stack) PopulateNeigh(cur *kernel.Task, count int) error {
	dev, err := s.playground(cur)
	if err != nil {
		return err
	}
	for range count {
		i := s.populated.Get(cur).neighs + 1
		n := Neigh{Dst: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), Dev: dev,
			MAC: [6]byte{2, 0, 0, byte(i >> 16), byte(i >> 8), byte(i)}, State: NUDPermanent}
		if err := s.AddNeigh(cur, n); err != nil {
			return err
		}
		s.populated.Change(cur, func(p *populated) { p.neighs = i })
	}
	return nil
}

// PopulateRoute is another: count routes of link scope, 10.0.0.0/24, 10.0.1.0/24 and so on, on that device.
func (s *Stack) PopulateRoute(cur *kernel.Task, count int) error {
	dev, err := s.playground(cur)
	if err != nil {
		return err
	}
	for range count {
		i := s.populated.Get(cur).routes
		r := Route{Dst: netip.PrefixFrom(netip.AddrFrom4([4]byte{10 + byte(i>>16), byte(i >> 8), byte(i), 0}), 24), Table: TableMain,
			Type: RTNUnicast, Scope: ScopeLink, Protocol: ProtoBoot, Dev: dev}
		s.populated.Change(cur, func(p *populated) { p.routes = i + 1 })
		if err := s.AddRoute(cur, administrator, r, RouteCreate|RouteExcl); err != nil {
			return err
		}
	}
	return nil
}
