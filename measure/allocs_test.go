package measure

import (
	"fmt"
	"testing"

	"nlmmap/kernel"
	"nlmmap/sys"
	"nlmmap/uapi"
)

// TestAllocations: on a machine that runs freely a message costs no allocation through the ring, sent through it, or polled
// for, nor beside it, whatever its size.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector lets caches lose things")
	}
	for _, release := range kernel.Releases() {
		for _, size := range []int{64, 2048, 16384} {
			for _, c := range []struct {
				name string
				most float64
				run  func(m *model) (func(n int) error, error)
			}{
				{"receive in place", 0, func(m *model) (func(n int) error, error) {
					c, err := m.open(uapi.NetlinkRoute, size, byRing.rings)
					return m.passes(c, size), err
				}},
				{"receive in place, polled for", 0, func(m *model) (func(n int) error, error) {
					c, err := m.open(uapi.NetlinkRoute, size, byRing.rings)
					if err != nil {
						return nil, err
					}
					fds := []sys.PollFD{{FD: c.sock.FD(), Events: uapi.PollIn}}
					return polled(m.passes(c, size), func() error {
						if err := m.emit(make([]byte, 16), c.sock.Portid()); err != nil {
							return err
						}
						if n, err := m.task.Poll(fds, -1); n != 1 || err != nil {
							return fmt.Errorf("poll: %d, %w", n, err)
						}
						_, err := c.receive()
						return err
					}), nil
				}},
				{"acknowledged in place", 0, func(m *model) (func(n int) error, error) {
					c, err := m.open(uapi.NetlinkRoute, size, byRing.rings)
					return acknowledged(c, size), err
				}},
				{"receive from the queue", 0, func(m *model) (func(n int) error, error) {
					c, err := m.open(uapi.NetlinkRoute, size, byRecv.rings)
					return m.passes(c, size), err
				}},
				{"from program to program", 0, func(m *model) (func(n int) error, error) { return m.messages(size, byRecv) }},
				{"through a TX ring", 0, func(m *model) (func(n int) error, error) {
					if ok, err := m.sendsByRing(); !ok {
						return func(int) error { return nil }, err
					}
					return m.messages(size, byTxRing)
				}},
			} {
				m, err := newModel(kernel.Version{Release: release})
				if err != nil {
					t.Fatal(err)
				}
				run, err := c.run(m)
				if err != nil {
					t.Fatal(err)
				}
				if err := run(2 * ringFrames); err != nil {
					t.Fatal(err)
				}
				// Of many runs, since a collection of garbage between two of them empties the caches.
				allocs := testing.AllocsPerRun(500, func() {
					if err := run(1); err != nil {
						t.Fatal(err)
					}
				})
				if allocs > c.most {
					t.Errorf("%v, %d bytes, %s: %v allocations a message, at most %v", release, size, c.name, allocs, c.most)
				}
				if err := m.close(); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

// polled is one run of the first and n of the second.
func polled(first func(n int) error, second func() error) func(n int) error {
	return func(n int) error {
		for range n {
			if err := second(); err != nil {
				return err
			}
		}
		return first(1)
	}
}
