// Package sim is the simulator as a scenario.Target: an inline machine with one of the modelled kernels.
package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/net/bpf"

	"nlmmap/kernel"
	"nlmmap/scenario"
	"nlmmap/subsys"
	"nlmmap/subsys/inet"
	"nlmmap/subsys/nlmon"
	"nlmmap/uapi"
)

// Config says what to boot.
type Config struct {
	Version kernel.Version
	// InitNet lets the scenario run in the initial network namespace instead of a fresh one.
	InitNet bool
	// Heap keeps ring memory on the heap instead of in really mapped memfds.
	Heap bool
	// Trace receives everything observable.
	Trace func(kernel.Record)
}

// Machine is the target. Beyond scenario.Target it gives access to the simulated kernel.
type Machine struct {
	Kernel *kernel.Kernel
	System *subsys.System
	main   *task
	net    *kernel.Net
	admin  *kernel.Task
	taps   []*nlmon.Device
}

// New boots a machine with one process, main.
func New(cfg Config) (*Machine, error) {
	k, err := kernel.Boot(kernel.Config{Version: cfg.Version, Memfd: !cfg.Heap, Trace: cfg.Trace})
	if err != nil {
		return nil, err
	}
	sys, err := subsys.Register(k)
	if err != nil {
		return nil, err
	}
	m := &Machine{Kernel: k, System: sys, net: k.InitNet()}
	if !cfg.InitNet {
		m.net = k.NewNet()
	}
	m.main = &task{k.NewProcess("main", m.net)}
	m.admin = k.KernelTask("admin")
	return m, nil
}

// Main implements scenario.Target.
func (m *Machine) Main() scenario.Task { return m.main }

// survive turns an oops in work that no task of the scenario asked for into the step's error: a kernel task dies.
func survive(err *error) {
	switch p := recover().(type) {
	case nil:
	case kernel.Oops:
		*err = fmt.Errorf("%w: %v", kernel.ErrKilled, p)
	default:
		panic(p)
	}
}

// Sleep implements scenario.Target: simulated time passes.
func (m *Machine) Sleep(ms int) (err error) {
	defer survive(&err)
	m.Kernel.Advance(kernel.Time(ms) * kernel.Millisecond)
	return nil
}

func (m *Machine) stack() *inet.Stack { return m.System.Inet(m.net) }

// PopulateNeigh implements scenario.Target.
func (m *Machine) PopulateNeigh(count int) (err error) {
	defer survive(&err)
	return m.stack().PopulateNeigh(m.admin, count)
}

// PopulateRoute implements scenario.Target.
func (m *Machine) PopulateRoute(count int) (err error) {
	defer survive(&err)
	return m.stack().PopulateRoute(m.admin, count)
}

// NFQueueRule implements scenario.Target.
func (m *Machine) NFQueueRule(num int, bypass bool) error {
	m.stack().AddRule(m.admin, m.System.NFQueue.Rule(uint16(num), bypass))
	return nil
}

// NFLogRule implements scenario.Target.
func (m *Machine) NFLogRule(group, threshold int) error {
	m.stack().AddRule(m.admin, m.System.NFLog.Rule(uint16(group), uint32(threshold)))
	return nil
}

// FlushRules implements scenario.Target.
func (m *Machine) FlushRules() (err error) {
	defer survive(&err)
	m.stack().FlushRules(m.admin)
	return nil
}

// Packet implements scenario.Target.
func (m *Machine) Packet(d scenario.Datagrams) (sent, failed int, err error) {
	defer survive(&err)
	m.stack().LoUp(m.admin)
	for range d.Count {
		p, err := m.stack().NewUDP(m.admin, d.Size)
		if err != nil {
			failed++
			continue
		}
		m.shape(p, d)
		m.stack().Output(m.admin, p)
		sent++
	}
	return sent, failed, nil
}

// shape makes a packet into what a driver could have made it.
func (m *Machine) shape(p *inet.Packet, d scenario.Datagrams) {
	if d.Fragmented {
		const page = 4096
		rest := p.Data[min(d.Linear, len(p.Data)):]
		p.Data = p.Data[:len(p.Data)-len(rest)]
		p.Frags = slices.Collect(slices.Chunk(rest, page))
	}
	if d.Stamped {
		p.Timestamp, p.HasTimestamp = m.Kernel.Now(), true
	}
	if d.Received {
		p.CompleteChecksum()
		p.InDev, p.OutDev, p.HasSock = inet.LoIndex, 0, false
	}
}

// Tap implements scenario.Target.
func (m *Machine) Tap() (scenario.Tap, error) {
	d, err := nlmon.New(m.admin, m.System.Netlink, m.net)
	if err != nil {
		return nil, err
	}
	m.taps = append(m.taps, d)
	return tap{m, d}, nil
}

type tap struct {
	m *Machine
	d *nlmon.Device
}

// Read implements scenario.Tap.
func (t tap) Read() (scenario.Packet, bool, error) {
	p, ok := t.d.Read(t.m.admin)
	if !ok {
		return scenario.Packet{}, false, nil
	}
	return scenario.Packet{Type: p.Type, Protocol: p.Protocol, Len: p.Len, Data: p.Data[:min(len(p.Data), 4096)]}, true, nil
}

// Netlink implements scenario.Target.
func (m *Machine) Netlink() (string, error) { return m.main.t.ReadProc("/proc/net/netlink") }

// Close implements scenario.Target: all tasks end, and the error tells of leaks and kernel warnings.
func (m *Machine) Close() error {
	for _, d := range m.taps {
		d.Close(m.admin)
	}
	return m.Kernel.Close()
}

// task adapts a kernel task.
type task struct{ t *kernel.Task }

// adapt turns the machine's errors into a scenario's.
func adapt(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kernel.ErrBlocks):
		return scenario.ErrBlocks
	case errors.Is(err, kernel.SIGSEGV):
		return scenario.ErrSIGSEGV
	case errors.Is(err, kernel.SIGBUS):
		return scenario.ErrSIGBUS
	}
	return err
}

func (t *task) Tgid() int { return t.t.Tgid() }

func (t *task) Fork(name string) (scenario.Task, error) { return wrap(t.t.Fork(name)) }

func (t *task) Thread(name string) (scenario.Task, error) { return wrap(t.t.Thread(name)) }

func wrap(t *kernel.Task, err error) (scenario.Task, error) {
	if err != nil {
		return nil, adapt(err)
	}
	return &task{t}, nil
}

func (t *task) Exit() error {
	t.t.ExitGroup()
	return nil
}

func (t *task) Capability(cap int, raise bool) error { return adapt(t.t.SetCapability(cap, raise)) }

func (t *task) Seteuid(uid int) error { return adapt(t.t.Seteuid(uint32(uid))) }

func (t *task) Socket(domain, typ, protocol int) (int, error) {
	fd, err := t.t.Socket(domain, typ, protocol)
	return fd, adapt(err)
}

func (t *task) Close(fd int) error { return adapt(t.t.Close(fd)) }

func (t *task) Dup(fd int) (int, error) {
	fd, err := t.t.Dup(fd)
	return fd, adapt(err)
}

func (t *task) Socketpair() (a, b int, err error) {
	a, b, err = t.t.Socketpair()
	return a, b, adapt(err)
}

func (t *task) SendFD(over, fd int) error { return adapt(t.t.SendFD(over, fd)) }

func (t *task) RecvFD(over int) (int, error) {
	fd, err := t.t.RecvFD(over)
	return fd, adapt(err)
}

func (t *task) Bind(fd int, addr []byte) error { return adapt(t.t.Bind(fd, addr)) }

func (t *task) Connect(fd int, addr []byte) error { return adapt(t.t.Connect(fd, addr)) }

func (t *task) Getsockname(fd int) ([]byte, error) {
	addr, err := t.t.Getsockname(fd)
	return addr, adapt(err)
}

func (t *task) Setsockopt(fd, level, name int, val []byte) error {
	return adapt(t.t.Setsockopt(fd, level, name, val))
}

func (t *task) Getsockopt(fd, level, name, optlen int) ([]byte, error) {
	val, err := t.t.Getsockopt(fd, level, name, optlen)
	return val, adapt(err)
}

func (t *task) AttachFilter(fd int, ret uint32) error {
	insn, err := bpf.RetConstant{Val: ret}.Assemble()
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	prog := le.AppendUint16(nil, insn.Op)
	prog = append(prog, insn.Jt, insn.Jf)
	prog = le.AppendUint32(prog, insn.K)
	return adapt(t.t.Setsockopt(fd, uapi.SolSocket, uapi.SoAttachFilter, prog))
}

func (t *task) DetachFilter(fd int) error {
	return adapt(t.t.Setsockopt(fd, uapi.SolSocket, uapi.SoDetachFilter, make([]byte, 4)))
}

func (t *task) Sendmsg(fd int, iov [][]byte, addr []byte, flags int) (int, error) {
	m := kernel.Msghdr{Name: addr}
	for _, b := range iov {
		m.Iov = append(m.Iov, kernel.Iov(b))
	}
	n, err := t.t.Sendmsg(fd, &m, flags)
	if err := t.yield(); err != nil {
		return 0, err
	}
	return n, adapt(err)
}

// yield lets kernel threads run that the call has woken, as when it returns to userspace.
func (t *task) yield() (err error) {
	defer survive(&err)
	t.t.Kernel().Advance(0)
	return nil
}

func (t *task) Recvmsg(fd, size, flags int) (scenario.Received, error) {
	buf := make([]byte, size)
	m := kernel.Msghdr{Iov: []kernel.Iovec{kernel.Iov(buf)}, WantControl: true}
	n, err := t.t.Recvmsg(fd, &m, flags)
	if err != nil {
		return scenario.Received{}, adapt(err)
	}
	return scenario.Received{N: n, Data: buf[:min(n, size)], From: m.Name, Control: m.Control, Flags: m.Flags}, nil
}

func (t *task) Poll(fd, events, timeout int) (int, error) {
	fds := []kernel.PollFD{{FD: fd, Events: uint32(events)}}
	_, err := t.t.Poll(fds, kernel.Time(timeout)*kernel.Millisecond)
	return int(fds[0].Revents), adapt(err)
}

func (t *task) EpollCreate() (int, error) {
	fd, err := t.t.EpollCreate()
	return fd, adapt(err)
}

func (t *task) EpollAdd(ep, fd int, events uint32) error {
	return adapt(t.t.EpollCtl(ep, kernel.EpollAdd, fd, events))
}

func (t *task) EpollWait(ep, timeout int) (uint32, error) {
	events, err := t.t.EpollWait(ep, 1, kernel.Time(timeout)*kernel.Millisecond)
	if err != nil || len(events) == 0 {
		return 0, adapt(err)
	}
	return events[0].Events, nil
}

func (t *task) Mmap(fd int, length, offset uint64, prot, flags int) (uint64, error) {
	addr, err := t.t.Mmap(0, length, prot, flags, fd, offset)
	return addr, adapt(err)
}

func (t *task) Munmap(addr, length uint64) error { return adapt(t.t.Munmap(addr, length)) }

func (t *task) Mprotect(addr, length uint64, prot int) error {
	return adapt(t.t.Mprotect(addr, length, prot))
}

func (t *task) Mremap(addr, length uint64) (uint64, error) {
	addr, err := t.t.Mremap(addr, length, length, true, false, 0)
	return addr, adapt(err)
}

func (t *task) MadviseDontneed(addr, length uint64) error {
	return adapt(t.t.Madvise(addr, length, uapi.MadvDontneed))
}

func (t *task) Load32(addr uint64) (uint32, error) {
	v, err := t.t.Load32(addr)
	return v, adapt(err)
}

func (t *task) Store32(addr uint64, val uint32) error { return adapt(t.t.Store32(addr, val)) }

func (t *task) Read(addr uint64, buf []byte) error { return adapt(t.t.ReadMem(addr, buf)) }

func (t *task) Write(addr uint64, buf []byte) error { return adapt(t.t.WriteMem(addr, buf)) }
