package measure

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/subsys"
	"nlmmap/sys"
	"nlmmap/uapi"
	"nlmmap/userspace"
)

// Rings of the model's sockets: so many frames, with room for a message and what the kernel adds to it.
const (
	ringFrames = 64
	frameExtra = 256
)

// A model is a machine in free mode with one program.
type model struct {
	system *subsys.System
	task   *kernel.Task
	source *kernel.Task    // the kernel's own work
	sock   *afnetlink.Sock // that it sends from
}

func newModel(v kernel.Version) (*model, error) {
	system, err := subsys.Boot(kernel.Config{Version: v, Mode: kernel.Free})
	if err != nil {
		return nil, err
	}
	k, net := system.Kernel, system.Kernel.InitNet()
	m := &model{system: system, task: k.NewProcess("main", net), source: k.KernelTask("source")}
	m.sock = system.Netlink.KernelSock(net, uapi.NetlinkRoute)
	system.Inet(net).LoUp(m.source)
	return m, nil
}

func (m *model) close() error { return m.system.Kernel.Close() }

// rings says which rings a socket has.
type rings struct{ rx, tx bool }

// open makes a socket with rings for messages of size bytes.
func (m *model) open(proto, size int, has rings) (*modelConn, error) {
	req := userspace.RingRequest(uapi.NLMMapHdrlen+size+frameExtra, ringFrames)
	cfg := userspace.Config{RecvSize: size + frameExtra}
	if has.rx {
		cfg.RX = req
	}
	if has.tx {
		cfg.TX = req
	}
	return m.openWith(proto, size, cfg)
}

func (m *model) openWith(proto, size int, cfg userspace.Config) (*modelConn, error) {
	s, err := userspace.Open(m.task, proto, cfg)
	if err != nil {
		return nil, err
	}
	return &modelConn{task: m.task, sock: s, buf: make([]byte, max(size+frameExtra, 1<<15)), out: sys.Msghdr{Iov: make([]sys.Iovec, 1)},
		in: sys.Msghdr{Iov: make([]sys.Iovec, 1)}}, nil
}

// A modelConn is a conn over the model. It receives through the ring if it has one, and sends through the other.
type modelConn struct {
	task    *kernel.Task
	sock    *userspace.Socket
	buf     []byte
	in, out sys.Msghdr
}

// connect makes a portid the destination; from then on messages of others are refused.
func (c *modelConn) connect(to uint32) error {
	return c.task.Connect(c.sock.FD(), uapi.SockaddrNL{Family: uapi.AFNetlink, Pid: to}.Bytes())
}

func (c *modelConn) send(msg []byte) error {
	if c.sock.TX != nil {
		return c.sock.TX.Send(msg, nil)
	}
	c.out.Iov[0] = sys.Iov(msg)
	_, err := c.task.Sendmsg(c.sock.FD(), &c.out, 0)
	return err
}

func (c *modelConn) flush() error {
	if c.sock.TX == nil || c.sock.TX.Queued() == 0 {
		return nil
	}
	_, err := c.sock.TX.Kick(nil)
	return err
}

func (c *modelConn) grow(bytes int) error {
	return c.task.Setsockopt(c.sock.FD(), uapi.SolSocket, uapi.SoRcvbufforce, binary.LittleEndian.AppendUint32(nil, uint32(bytes)))
}

func (c *modelConn) receive() ([]byte, error) {
	if c.sock.RX == nil {
		c.in.Iov[0] = sys.Iov(c.buf)
		n, err := c.task.Recvmsg(c.sock.FD(), &c.in, 0)
		return c.buf[:max(n, 0)], err
	}
	for {
		for f := range c.sock.RX.Frames() {
			return f.Append(c.buf[:0])
		}
		if err := c.sock.RX.Err(); err != nil {
			return nil, err
		}
		if err := c.sock.RX.Wait(-1); err != nil {
			return nil, err
		}
	}
}

func (c *modelConn) close() error { return c.sock.Close() }

// emit is a message of size bytes that the kernel makes and sends to a socket.
func (m *model) emit(msg []byte, portid uint32) error {
	nl := m.system.Netlink
	s := nl.AllocSKB(m.source, m.sock, len(msg), 0, portid)
	if s == nil {
		return errors.New("there is no frame for the kernel's message")
	}
	if !s.Put(m.source, msg) {
		return errors.New("the kernel's message does not fit")
	}
	_, err := nl.Unicast(m.source, m.sock, s, portid, 0)
	return err
}

// A way is how messages go, for tables.
type way struct {
	name string
	rings
}

var (
	byRing   = way{"ring", rings{rx: true}}
	byRecv   = way{"recvmsg", rings{}}
	byTxRing = way{"tx-ring", rings{tx: true}}
	byRings  = way{"rings", rings{rx: true, tx: true}}
)

// sendsByRing reports whether the kernel looks at TX rings. Linux 4.1 does not.
func (m *model) sendsByRing() (bool, error) {
	c, err := m.open(uapi.NetlinkRoute, uapi.NLMsgHdrlen, byTxRing.rings)
	if err != nil {
		return false, err
	}
	msg := make([]byte, uapi.NLMsgHdrlen)
	uapi.NLMsgHdr{Len: uapi.NLMsgHdrlen, Type: uapi.NLMsgNoop}.Put(msg)
	if err = c.send(msg); err == nil {
		err = c.flush()
	}
	if errors.Is(err, userspace.ErrIgnored) {
		return false, c.close()
	}
	return err == nil, errors.Join(err, c.close())
}

// modelCases adds the model's at one size.
func (s *suite) modelCases(m *model, size int) error {
	var errs []error
	add := func(operation string, w way, prepare func() (func(n int) error, error)) {
		errs = append(errs, s.add(Key{operation, Model, w.name, size}, 1, prepare))
	}
	for _, w := range []way{byRing, byRecv} {
		onSocket := func(run func(c *modelConn) func(n int) error) func() (func(n int) error, error) {
			return func() (func(n int) error, error) {
				c, err := m.open(uapi.NetlinkRoute, size, w.rings)
				if err != nil {
					return nil, err
				}
				return run(c), nil
			}
		}
		add("ack", w, onSocket(func(c *modelConn) func(n int) error { return acknowledged(c, size) }))
		add("refusal", w, onSocket(func(c *modelConn) func(n int) error { return refused(c, size) }))
		add("pass", w, onSocket(func(c *modelConn) func(n int) error { return m.passes(c, size) }))
	}
	for _, w := range []way{byTxRing, byRecv} {
		if w.tx && !s.txRings {
			continue
		}
		add("message", w, func() (func(n int) error, error) { return m.messages(size, w) })
	}
	return errors.Join(errs...)
}

// messages are of size bytes, from one socket that sends in some way to another that receives them with recvmsg.
func (m *model) messages(size int, w way) (func(n int) error, error) {
	to, err := m.open(uapi.NetlinkUsersock, size, rings{})
	if err != nil {
		return nil, err
	}
	from, err := m.open(uapi.NetlinkUsersock, size, w.rings)
	if err != nil {
		return nil, err
	}
	return passed(from, to, size), from.connect(to.sock.Portid())
}

// passes is a message of size bytes that the kernel makes and a socket receives.
func (m *model) passes(c *modelConn, size int) func(n int) error {
	msg := make([]byte, size)
	return func(n int) error {
		for range n {
			if err := m.emit(msg, c.sock.Portid()); err != nil {
				return err
			}
			got, err := c.receive()
			if err != nil {
				return err
			}
			if len(got) != size {
				return fmt.Errorf("a message of %d bytes arrives with %d", size, len(got))
			}
		}
		return nil
	}
}

// dumpRoom is the room for messages of dumps: with what every socket has beside it, a frame in which kernels put them where
// they belong (userspace.DumpFrameSize).
const dumpRoom = userspace.DumpFrameSize - uapi.NLMMapHdrlen - frameExtra

// modelDumps adds dumps of so many routes.
func (s *suite) modelDumps(v kernel.Version, routes int) error {
	routed := sync.OnceValues(func() (*model, error) {
		m, err := s.model(v)
		if err != nil {
			return nil, err
		}
		c, err := m.open(uapi.NetlinkRoute, dumpRoom, rings{})
		if err != nil {
			return nil, err
		}
		return m, addRoutes(c, routes)
	})
	var errs []error
	for _, w := range []way{byRing, byRecv} {
		errs = append(errs, s.add(Key{Operation: dumpName(routes), Side: Model, Way: w.name}, routes, func() (func(n int) error, error) {
			m, err := routed()
			if err != nil {
				return nil, err
			}
			c, err := m.open(uapi.NetlinkRoute, dumpRoom, w.rings)
			if err != nil {
				return nil, err
			}
			return dumped(c, routes), nil
		}))
	}
	return errors.Join(errs...)
}

func dumpName(routes int) string { return fmt.Sprintf("dump of %d routes", routes) }

// modelVerdicts adds packets of size bytes that wait in a queue for their verdicts.
func (s *suite) modelVerdicts(v kernel.Version, size int) error {
	var errs []error
	for _, w := range []struct {
		way
		operation string
		together  bool
	}{
		{byRing, "verdict", false}, {byRecv, "verdict", false}, {byRings, "verdict", false},
		{byRing, "verdict batch", true}, {byRecv, "verdict batch", true},
	} {
		if w.tx && !s.txRings {
			continue
		}
		errs = append(errs, s.add(Key{w.operation, Model, w.name, size}, batchSize, func() (func(n int) error, error) {
			m, err := s.model(v) // of its own: all packets of a machine go to one queue
			if err != nil {
				return nil, err
			}
			c, packet, err := m.queue(size, w.rings)
			if err != nil {
				return nil, err
			}
			return judged(c, packet, w.together), nil
		}))
	}
	return errors.Join(errs...)
}

// queue opens a packet queue; packet sends a packet of size bytes to it.
func (m *model) queue(size int, has rings) (c *modelConn, packet func() error, err error) {
	if c, err = m.open(uapi.NetlinkNetfilter, size, has); err == nil {
		err = openQueue(c)
	}
	if err != nil {
		return nil, nil, err
	}
	stack := m.system.Inet(m.task.Net())
	stack.AddRule(m.source, m.system.NFQueue.Rule(queueNumber, false))
	return c, func() error {
		p, err := stack.NewUDP(m.source, size)
		if err == nil {
			stack.Output(m.source, p)
		}
		return err
	}, nil
}
