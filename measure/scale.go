package measure

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"

	"nlmmap/kernel"
	"nlmmap/uapi"
	"nlmmap/userspace"
)

// Operations that show how cost grows, or does not.
const (
	streamed = "stream"
	crowded  = "pass among " // so many sockets
	longRing = "pass through 16384 frames"

	oneCore  = "one core"
	twoCores = "two cores"

	scaleSize   = 512 // of messages
	longFrames  = 16_384
	perProcess  = 500 // sockets, of the 1024 descriptors that a process can have
	crowdFrames = 2
)

// scaleCases adds what shows how cost grows: a stream of messages on one core and on two, a message among many sockets, and
// one through a long ring.
func (s *suite) scaleCases(v kernel.Version, sockets int) error {
	var errs []error
	add := func(operation, way string, prepare func(m *model) (func(n int) error, error)) {
		errs = append(errs, s.add(Key{operation, Model, way, scaleSize}, 1, func() (func(n int) error, error) {
			m, err := s.model(v)
			if err != nil {
				return nil, err
			}
			return prepare(m)
		}))
	}
	onRing := func(m *model) (*modelConn, error) { return m.open(uapi.NetlinkRoute, scaleSize, byRing.rings) }
	add(streamed, oneCore, func(m *model) (func(n int) error, error) {
		c, err := onRing(m)
		return m.passes(c, scaleSize), err
	})
	if runtime.GOMAXPROCS(0) > 1 {
		add(streamed, twoCores, func(m *model) (func(n int) error, error) {
			c, err := onRing(m)
			return m.streams(c, scaleSize), err
		})
	}
	add(fmt.Sprintf("%s%d sockets", crowded, sockets), byRing.name, func(m *model) (func(n int) error, error) {
		if _, err := m.crowd(sockets); err != nil {
			return nil, err
		}
		c, err := onRing(m)
		return m.passes(c, scaleSize), err
	})
	add(longRing, byRing.name, func(m *model) (func(n int) error, error) {
		c, err := m.openWith(uapi.NetlinkRoute, scaleSize, userspace.Config{RX: userspace.RingRequest(2048, longFrames)})
		return m.passes(c, scaleSize), err
	})
	return errors.Join(errs...)
}

// streams is messages that the kernel sends from one goroutine and another one receives. The sender waits while the ring is
// full, where a kernel would lose messages, and the reader while it is empty.
func (m *model) streams(c *modelConn, size int) func(n int) error {
	msg := make([]byte, size)
	return func(n int) error {
		var sent, taken, failed atomic.Int64
		result := make(chan error, 1)
		go func() {
			for i := range int64(n) {
				for i-taken.Load() >= ringFrames {
					runtime.Gosched()
				}
				if err := m.emit(msg, c.sock.Portid()); err != nil {
					failed.Store(1)
					result <- err
					return
				}
				sent.Store(i + 1)
			}
			result <- nil
		}()
		for i := range int64(n) {
			for sent.Load() <= i {
				if failed.Load() != 0 {
					return <-result
				}
				runtime.Gosched()
			}
			if data, err := c.receive(); err != nil || len(data) != size {
				return fmt.Errorf("%d bytes of %d: %w", len(data), size, err)
			}
			taken.Store(i + 1)
		}
		return <-result
	}
}

// crowd opens so many sockets with rings, in as many processes as it takes, each a member of one of 32 groups. It returns the
// bytes of their rings.
func (m *model) crowd(sockets int) (ringBytes int, err error) {
	var task *kernel.Task
	req := userspace.RingRequest(2048, crowdFrames)
	for i := range sockets {
		if i%perProcess == 0 {
			task = m.system.Kernel.NewProcess(fmt.Sprintf("crowd %d", i/perProcess), m.task.Net())
		}
		fd, err := task.Socket(uapi.AFNetlink, uapi.SockRaw, uapi.NetlinkRoute)
		if err != nil {
			return 0, err
		}
		group := binary.LittleEndian.AppendUint32(nil, uint32(i%32+1))
		err = errors.Join(task.Setsockopt(fd, uapi.SolNetlink, uapi.NetlinkRxRing, req.Bytes()),
			task.Bind(fd, uapi.SockaddrNL{Family: uapi.AFNetlink}.Bytes()),
			task.Setsockopt(fd, uapi.SolNetlink, uapi.NetlinkAddMembership, group))
		if err != nil {
			return 0, err
		}
		if _, err := task.Mmap(0, req.MapSize(), uapi.ProtRead|uapi.ProtWrite, uapi.MapShared, fd, 0); err != nil {
			return 0, err
		}
		ringBytes += int(req.MapSize())
	}
	return ringBytes, nil
}
