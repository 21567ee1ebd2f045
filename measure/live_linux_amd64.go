package measure

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sys/unix"

	"nlmmap/scenario/live"
)

func release() string { return live.Release() }

// A liveConn is a conn over the kernel underneath.
type liveConn struct {
	fd  int
	buf []byte
}

// openLive makes a socket of the thread's network namespace, with an address of its own.
func openLive(proto int) (*liveConn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return nil, fmt.Errorf("socket of protocol %d: %w", proto, err)
	}
	c := &liveConn{fd, make([]byte, 1<<16)}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, errors.Join(fmt.Errorf("bind: %w", err), c.close())
	}
	return c, nil
}

// connect makes a portid the destination, 0 for the kernel; from then on messages of others are refused.
func (c *liveConn) connect(to uint32) error {
	return unix.Connect(c.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: to})
}

func (c *liveConn) portid() (uint32, error) {
	addr, err := unix.Getsockname(c.fd)
	if err != nil {
		return 0, err
	}
	nl, ok := addr.(*unix.SockaddrNetlink)
	if !ok {
		return 0, fmt.Errorf("a netlink socket has an address of type %T", addr)
	}
	return nl.Pid, nil
}

func (c *liveConn) send(msg []byte) error {
	_, err := unix.Write(c.fd, msg)
	return err
}

func (c *liveConn) flush() error { return nil }

func (c *liveConn) grow(bytes int) error {
	return unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bytes)
}

func (c *liveConn) receive() ([]byte, error) {
	n, err := unix.Read(c.fd, c.buf)
	return c.buf[:max(n, 0)], err
}

func (c *liveConn) close() error { return unix.Close(c.fd) }

// live adds what the kernel underneath can do, in a network namespace of its own, and notes what it cannot. Who may not make
// one measures what needs none.
func (s *suite) live(cfg Config) {
	try := func(add func(Config) error) {
		if err := add(cfg); err != nil {
			s.note("Not measured: %v.", err)
		}
	}
	err := live.Within(func(ns *live.Namespace) error {
		try(s.liveAcks)
		try(s.liveMessages)
		try(func(cfg Config) error { return s.liveDump(ns, cfg) })
		try(func(cfg Config) error { return s.liveVerdicts(ns, cfg) })
		return nil
	})
	if err != nil {
		s.note("The live kernel's dumps and packet queues are not measured: %v.", err)
		try(s.liveAcks)
		try(s.liveMessages)
	}
}

// liveSocket makes a socket that lives as long as the suite.
func (s *suite) liveSocket(proto int) (*liveConn, error) {
	c, err := openLive(proto)
	if err == nil {
		s.closes = append(s.closes, c.close)
	}
	return c, err
}

// liveKernel makes one that is connected to the kernel.
func (s *suite) liveKernel(proto int) (*liveConn, error) {
	c, err := s.liveSocket(proto)
	if err != nil {
		return nil, err
	}
	return c, c.connect(0)
}

// addLive adds a case for each size, on a socket that is made for the first.
func (s *suite) addLive(operation string, per int, sizes []int, open func() (*liveConn, error), run func(c *liveConn, size int) func(n int) error) error {
	open = sync.OnceValues(open)
	for _, size := range sizes {
		err := s.add(Key{operation, Live, byRecv.name, size}, per, func() (func(n int) error, error) {
			c, err := open()
			if err != nil {
				return nil, err
			}
			return run(c, size), nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *suite) liveAcks(cfg Config) error {
	open := func() (*liveConn, error) { return s.liveKernel(unix.NETLINK_ROUTE) }
	return errors.Join(
		s.addLive("ack", 1, cfg.Sizes, open, func(c *liveConn, size int) func(n int) error { return acknowledged(c, size) }),
		s.addLive("refusal", 1, cfg.Sizes, open, func(c *liveConn, size int) func(n int) error { return refused(c, size) }))
}

func (s *suite) liveMessages(cfg Config) error {
	var to *liveConn
	open := func() (from *liveConn, err error) {
		if to, err = s.liveSocket(unix.NETLINK_USERSOCK); err != nil {
			return nil, err
		}
		portid, err := to.portid()
		if err != nil {
			return nil, err
		}
		if from, err = s.liveSocket(unix.NETLINK_USERSOCK); err != nil {
			return nil, err
		}
		return from, from.connect(portid)
	}
	return s.addLive("message", 1, cfg.Sizes, open, func(from *liveConn, size int) func(n int) error { return passed(from, to, size) })
}

func (s *suite) liveDump(ns *live.Namespace, cfg Config) error {
	return s.add(Key{Operation: dumpName(cfg.Routes), Side: Live, Way: byRecv.name}, cfg.Routes, func() (func(n int) error, error) {
		if err := ns.Loopback(); err != nil {
			return nil, err
		}
		c, err := s.liveKernel(unix.NETLINK_ROUTE)
		if err != nil {
			return nil, err
		}
		return dumped(c, cfg.Routes), addRoutes(c, cfg.Routes)
	})
}

func (s *suite) liveVerdicts(ns *live.Namespace, cfg Config) error {
	var packet int // the socket that packets are sent from
	open := sync.OnceValues(func() (c *liveConn, err error) {
		c, err = s.liveKernel(unix.NETLINK_NETFILTER)
		if err == nil {
			err = openQueue(c)
		}
		if err == nil {
			err = ns.QueueRule(queueNumber)
		}
		if err == nil {
			packet, err = s.liveSender()
		}
		return c, err
	})
	run := func(together bool) func(c *liveConn, size int) func(n int) error {
		return func(c *liveConn, size int) func(n int) error {
			payload := make([]byte, size)
			return judged(c, func() error {
				n, err := unix.Write(packet, payload)
				if err == nil && n != size {
					err = io.ErrShortWrite
				}
				return err
			}, together)
		}
	}
	return errors.Join(s.addLive("verdict", batchSize, cfg.Sizes, open, run(false)), s.addLive("verdict batch", batchSize, cfg.Sizes, open, run(true)))
}

// liveSender makes a UDP socket whose datagrams the queue's rule is for.
func (s *suite) liveSender() (fd int, err error) {
	if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, err
	}
	s.closes = append(s.closes, func() error { return unix.Close(fd) })
	// Packets that wait for a verdict are charged to who sent them.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, queueRoom); err != nil {
		return -1, err
	}
	return fd, unix.Connect(fd, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{127, 0, 0, 1}})
}
