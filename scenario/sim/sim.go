// Package sim is the simulator as a scenario.Target: an inline machine with one of the modelled kernels.
package sim

import (
	"fmt"
	"slices"

	"nlmmap/kernel"
	"nlmmap/scenario"
	"nlmmap/subsys"
	"nlmmap/subsys/inet"
	"nlmmap/subsys/nlmon"
	"nlmmap/sys"
)

// Config says what to boot.
type Config struct {
	Version kernel.Version
	// InitNet lets the scenario run in the initial network namespace instead of a fresh one.
	InitNet bool
	// Heap keeps ring memory on the heap instead of in really mapped memfds.
	Heap bool
	// Trace receives everything observable, with Quiet only what invariants observe.
	Trace func(kernel.Record)
	Quiet bool
}

// Machine is the target. Beyond scenario.Target it gives access to the simulated kernel.
type Machine struct {
	Kernel *kernel.Kernel
	System *subsys.System
	main   *kernel.Task
	net    *kernel.Net
	admin  *kernel.Task
	taps   []*nlmon.Device
	jobs   []*kernel.Beside
}

// New boots a machine with one process, main.
func New(cfg Config) (*Machine, error) {
	system, err := subsys.Boot(kernel.Config{Version: cfg.Version, Memfd: !cfg.Heap, Trace: cfg.Trace, Quiet: cfg.Quiet})
	if err != nil {
		return nil, err
	}
	net := system.Kernel.InitNet()
	if !cfg.InitNet {
		net = system.Kernel.NewNet()
	}
	return On(system, net), nil
}

// On is a machine over a kernel that somebody else has booted, with one process, main, in namespace net.
func On(system *subsys.System, net *kernel.Net) *Machine {
	k := system.Kernel
	return &Machine{Kernel: k, System: system, net: net, main: k.NewProcess("main", net), admin: k.KernelTask("admin")}
}

// By is the same machine, with t doing the administrator's work and sending the packets: in a parallel block that is a
// thread's work like any other.
func (m *Machine) By(t *kernel.Task) *Machine {
	by := *m
	by.admin = t.Softirq("admin")
	return &by
}

// Main implements scenario.Target.
func (m *Machine) Main() sys.Task { return m.main }

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

// Sleep implements scenario.Target: simulated time passes. In a parallel block it does so when no thread can go on.
func (m *Machine) Sleep(ms int) (err error) {
	if m.admin.CPU() != nil {
		return nil
	}
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

// Sysctl implements scenario.Target.
func (m *Machine) Sysctl(key string, value int64) (err error) {
	defer survive(&err)
	return m.stack().Sysctl(m.admin, key, value)
}

// NFQueueRule implements scenario.Target.
func (m *Machine) NFQueueRule(num int, bypass bool) error {
	m.stack().AddRule(m.admin, m.System.NFQueue.Rule(uint16(num), bypass))
	return nil
}

// NFLogRule implements scenario.Target.
func (m *Machine) NFLogRule(group, threshold int, prefix string) error {
	m.stack().AddRule(m.admin, m.System.NFLog.Rule(uint16(group), uint32(threshold), prefix))
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
	from := m.stack().NewSender(m.admin)
	for range d.Count {
		p, err := from.NewUDP(m.admin, d.Size)
		if err != nil {
			failed++
			continue
		}
		m.shape(p, d)
		m.stack().Output(m.admin, p)
		sent++
	}
	from.Close(m.admin)
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
	d, err := nlmon.New(m.admin, m.System.Netlink, m.stack())
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
func (m *Machine) Netlink() (string, error) { return m.main.ReadProc("/proc/net/netlink") }

// Later implements scenario.Target.
func (m *Machine) Later(t sys.Task, fn func()) (scenario.Job, error) {
	task, ok := t.(*kernel.Task)
	if !ok {
		return nil, fmt.Errorf("%T is no task of this machine: %w", t, kernel.EINVAL)
	}
	j := job{m.Kernel.Beside(task, fn)}
	m.jobs = append(m.jobs, j.Beside)
	return j, nil
}

// A job is work of an inline task beside others.
type job struct{ *kernel.Beside }

// Settle implements scenario.Job: by itself nothing goes on.
func (j job) Settle() (ended bool) {
	j.Kernel().RunBeside()
	return j.Done()
}

// Close implements scenario.Target: all tasks end, and the error tells of leaks and kernel warnings.
func (m *Machine) Close() error {
	for _, j := range m.jobs {
		j.Abandon()
	}
	for _, d := range m.taps {
		d.Close(m.admin)
	}
	return m.Kernel.Close()
}
