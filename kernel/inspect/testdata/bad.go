// Package bad breaks every rule of declared state.
package bad

import (
	"sync/atomic"

	"nlmmap/kernel"
	"nlmmap/kernel/inspect"
)

type Sock struct {
	refs kernel.Ref
	name string
	list []int
	n    atomic.Int64
}

func (s *Sock) refsNow(key inspect.Key) int64 {
	return s.refs.Inspect(inspect.Key{}) + s.refs.Inspect(key)
}

func newSock() *Sock { s := &Sock{}; s.name = "new"; return s }

func (s *Sock) rename(name string) {
	s.name = name
	s.list[0]++
	*(&s.name) = name
}
