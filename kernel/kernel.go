// Package kernel is the machine that the modelled kernels run on: tasks, descriptor tables and files, address spaces,
// locks and wait queues, a clock, network namespaces, sockets as system calls see them, and nothing of netlink.
//
// # Three modes
//
// Kernel code is written once. It locks, sleeps, wakes and touches shared words through this package, and each of
// these is a scheduling point:
//
//   - Inline: one goroutine drives all tasks, one system call after the other. Scheduling points cost a branch. A
//     call that would sleep lets simulated time pass; one that would sleep for ever reports ErrBlocks.
//   - Controlled: each task is a coroutine of a sched.Run, one runs at a time, and the run's scheduler chooses at
//     each point. The same choices give the same run.
//   - Free: each task is driven by a goroutine of its own, in parallel, with real locks and real time.
//
// # Lock order
//
// Outer locks first. A lock may be taken while those above it on its branch are held:
//
//	mmap_sem (AddressSpace)
//	└─ pg_vec_lock (a netlink socket)
//	   └─ rtnl, genl, nfnl, cb_mutex
//	      ├─ queue lock (nfnetlink_queue), instance lock (nfnetlink_log)
//	      │  └─ nl_table
//	      └─ receive queue, write queue (a socket)
//	         └─ wait queues
//
// TX-ring sends hold pg_vec_lock while they take the mutexes below it; see spec 16.1 and the defect ring-lock-order.
package kernel

import (
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
	"sync/atomic"

	"nlmmap/kernel/inspect"
	"nlmmap/kernel/memmodel"
	"nlmmap/kernel/sched"
	"nlmmap/uapi"
)

// Mode is how tasks interleave.
type Mode uint8

// The modes.
const (
	Inline Mode = iota
	Controlled
	Free
)

// Config describes the machine to boot. The zero value is a small inline machine with a 3.10.4 kernel and ring
// memory on the heap.
type Config struct {
	Version Version
	Mode    Mode
	// Run is the controlled execution that tasks belong to; only for Controlled.
	Run *sched.Run
	// Memory is the memory model of ring memory in a controlled machine.
	Memory memmodel.Model
	// Foresight, for the weak model, is what reads of bytes may find that comes later; nil lets none be delayed.
	Foresight *memmodel.Foresight
	// Memfd puts ring memory into memfds that are really mapped, for the kernel and again for each userspace
	// mapping; otherwise it lives on the heap.
	Memfd bool
	// Joined puts what is mapped together into one memfd, one ring behind the other, so that other processes can map it
	// in one piece; only with Memfd.
	Joined bool
	// RAM limits ring memory, in bytes; 0 means 512 MiB.
	RAM int64
	// Patience is how long, in simulated time, an inline call waits for something that never comes before it is
	// interrupted and reports ErrBlocks; 0 means 2 s.
	Patience Time
	// Timeouts is how many timeouts of each task may come at any point of a controlled run, where the scheduler chooses; 0
	// means 1, negative none. Later ones come where nobody else can go on: a program that polls with a timeout again and
	// again would have schedules without end.
	Timeouts int
	// FailAllocs is how many allocations of kernel code may find no memory in a controlled run, where the scheduler chooses
	// (Task.NoMemory). Signals is how many signals may end a task's sleep, in the same way.
	FailAllocs, Signals int
	// Seed is reported with warnings, so that a run can be repeated.
	Seed uint64
	// Trace receives everything observable; nil costs one branch for each event. It is called in the middle of what it
	// is told of: it must not make system calls or touch a task's memory.
	Trace func(Record)
	// Quiet leaves locks, wake-ups and frame states out of what Trace receives: what no invariant observes.
	Quiet bool
}

// A Kernel is a booted machine.
type Kernel struct {
	D Differences

	cfg Config

	families    [64]Family          // by address family
	unixOptions func(*Task) Options // nil for none
	initNet     *Net
	tasks       []*Task // all that have not been reaped
	lastPid     Atomic
	processes   Index[int, *group] // by tgid
	nets        []*Net             // by ID
	taskMu      sync.Mutex         // tasks and nets in Free mode

	clock  clock
	live   [nResources]atomic.Int64 // only Close looks at them
	pages  Atomic                   // bytes of ring memory
	bus    memmodel.Bus
	zero   *memmodel.Memory // the page that reads of absent pages see (fault-anon)
	seq    atomic.Uint64    // of trace records
	warnMu sync.Mutex
	warns  []Warning
	taint  atomic.Bool
	procs  map[string]func(*Task) string
	closed bool
	onExit []func(*Task)
	inodes Atomic // numbers given
	zeroMu sync.Mutex
	lockdp lockOrder
	beside []*Beside // work of inline tasks beside others, in the order in which it began
	// mishaps are those that have come, of Config.FailAllocs and Config.Signals.
	mishaps struct{ allocs, signals int }
}

// Differences are the named differences of the machine.
type Differences struct {
	FaultAnon bool
}

// Table declares the differences, bound to d's fields.
func (d *Differences) Table() []Difference {
	return []Difference{
		{
			Name: "fault-anon", Absent: "fault-sigbus", Spec: "3.3",
			Value:   Switch(&d.FaultAnon, Until(Linux3_19)),
			History: "fixed by 6b7339f4c31a (4.2, CVE-2015-3288)",
			Text: "An access to a page of a ring mapping that is not present (after MADV_DONTNEED, or behind the ring " +
				"after mremap grew the mapping) finds an anonymous page: a read maps the page of zeros that everybody " +
				"sees, writable, a write a private one. Without it the access gets SIGBUS.",
		},
	}
}

// Boot starts a machine. The error says what is wrong with the configuration.
func Boot(cfg Config) (*Kernel, error) {
	if cfg.Version.Release < 0 || cfg.Version.Release >= releases {
		return nil, fmt.Errorf("kernel: no release %d", cfg.Version.Release)
	}
	if (cfg.Mode == Controlled) != (cfg.Run != nil) {
		return nil, errors.New("kernel: Config.Run and Mode Controlled go together")
	}
	if cfg.RAM == 0 {
		cfg.RAM = 512 << 20
	}
	if cfg.Patience == 0 {
		cfg.Patience = 2 * Second
	}
	if cfg.Timeouts == 0 {
		cfg.Timeouts = 1
	}
	k := &Kernel{cfg: cfg}
	k.lastPid.Named("last pid", 40000)
	k.processes.Named("processes")
	if err := cfg.Version.Resolve(k.D.Table()); err != nil {
		return nil, err
	}
	k.initNet = &Net{k: k, ID: 0}
	k.nets = []*Net{k.initNet}
	k.pages.Named("pages", 0)
	k.inodes.Named("inodes", 0)
	k.clock.passes.name = "clock"
	k.bus = memmodel.Bus{Run: cfg.Run, Model: cfg.Memory, Foresight: cfg.Foresight}
	if cfg.Run != nil {
		cfg.Run.Idle = k.idle
	}
	return k, nil
}

// Foresees reports whether a read was delayed, and what it found has not come yet: a run that ends so is none that could have
// happened.
func (k *Kernel) Foresees(inspect.Key) bool { return k.bus.Broken() }

// Config returns the configuration the machine was booted with, defaults filled in.
func (k *Kernel) Config() Config { return k.cfg }

// InitNet is the initial network namespace.
func (k *Kernel) InitNet() *Net { return k.initNet }

// Register makes an address family known to socket(2).
func (k *Kernel) Register(domain int, f Family) { k.families[domain] = f }

// OnExit adds fn to what runs when the kernel is closed, before leaks are looked for; cur is a kernel task.
func (k *Kernel) OnExit(fn func(cur *Task)) { k.onExit = append(k.onExit, fn) }

// RegisterProc makes a file of /proc whose text read returns.
func (k *Kernel) RegisterProc(path string, read func(cur *Task) string) {
	if k.procs == nil {
		k.procs = map[string]func(*Task) string{}
	}
	k.procs[path] = read
}

// NewInode returns a fresh inode number.
func (k *Kernel) NewInode(cur *Task) uint64 { return uint64(1000 + k.inodes.Add(cur, 1)) }

// KernelTask returns a task for work that no process does: softirqs, timers, the administrator's hand. It has no
// descriptors and no memory.
func (k *Kernel) KernelTask(name string) *Task {
	return &Task{k: k, Name: name, cred: RootCred(), net: k.initNet}
}

// A Resource is a kind of object that must be gone when the kernel is closed.
type Resource int

// The resources that are counted.
const (
	ResSocket Resource = iota
	ResSKB
	ResFile
	ResVMA
	ResPages // blocks of ring memory
	ResTimer
	ResRmem   // bytes charged to sockets
	ResWaiter // entries of wait queues
	nResources
)

func (r Resource) String() string {
	names := [nResources]string{"sockets", "skbs", "files", "VMAs", "ring memory blocks", "timers", "bytes of rmem",
		"entries of wait queues"}
	if r < 0 || r >= nResources {
		return fmt.Sprintf("Resource(%d)", int(r))
	}
	return names[r]
}

// Count changes the number of live objects of a kind.
func (k *Kernel) Count(r Resource, delta int64) { k.live[r].Add(delta) }

// Live returns the number of live objects of a kind.
func (k *Kernel) Live(r Resource) int64 { return k.live[r].Load() }

// AllocPages returns size bytes of zeroed ring memory, or ENOMEM when the machine has no room for it.
func (k *Kernel) AllocPages(cur *Task, size int64) (*memmodel.Memory, error) {
	if k.pages.Add(cur, size) > k.cfg.RAM {
		k.pages.Count(cur, -size)
		return nil, Errorf(ENOMEM, "%d bytes do not fit the machine's %d", size, k.cfg.RAM)
	}
	if cur.NoMemory("ring memory") {
		k.pages.Count(cur, -size)
		return nil, ENOMEM
	}
	// With one task at a time an access outside is an error of the model; with several the modelled kernels do it.
	report := func(what string) { k.Corrupt(nil, "memory", "ring memory: %s", what) }
	if k.cfg.Mode == Inline {
		report = func(what string) { k.Warn(nil, "ring memory: %s", what) }
	}
	var m *memmodel.Memory
	var err error
	if k.cfg.Memfd {
		m, err = memmodel.NewMemfd(int(size), report)
	} else {
		m = memmodel.NewHeap(int(size), report)
	}
	if err != nil {
		k.pages.Count(cur, -size)
		return nil, Errorf(ENOMEM, "%v", err)
	}
	k.Count(ResPages, 1)
	return m, nil
}

// FreePages gives memory from AllocPages back. It meets every access to it.
func (k *Kernel) FreePages(cur *Task, m *memmodel.Memory) {
	cur.cpu.Free(m)
	k.pages.Count(cur, -int64(m.Size()))
	k.Count(ResPages, -1)
}

// PagesInUse is the ring memory that is allocated, in bytes.
func (k *Kernel) PagesInUse(key inspect.Key) int64 { return k.pages.Inspect(key) }

// Close ends all tasks and proves that nothing leaked: no socket, skb, file, mapping, ring memory or timer is left,
// and no warning was given. The error tells what is wrong. A tainted machine cannot prove it.
func (k *Kernel) Close() error {
	if k.closed {
		return nil
	}
	k.closed = true
	for {
		k.taskMu.Lock()
		if len(k.tasks) == 0 {
			k.taskMu.Unlock()
			break
		}
		t := k.tasks[len(k.tasks)-1]
		k.taskMu.Unlock()
		t.doExit(t)
	}
	cur := k.KernelTask("close")
	for _, fn := range k.onExit {
		fn(cur)
	}
	for _, n := range k.nets {
		for _, fn := range n.exit {
			fn(cur)
		}
	}
	if k.Tainted() {
		return nil
	}
	var errs []error
	for r := Resource(0); r < nResources; r++ {
		if n := k.Live(r); n != 0 {
			errs = append(errs, fmt.Errorf("%d %v leaked", n, r))
		}
	}
	if n := k.pages.v.Load(); n != 0 {
		errs = append(errs, fmt.Errorf("%d bytes of ring memory leaked", n))
	}
	for _, w := range k.Warnings() {
		errs = append(errs, w)
	}
	return errors.Join(errs...)
}

// ReadProc returns the text of a file in /proc, or ENOENT.
func (t *Task) ReadProc(path string) (string, error) {
	read := t.k.procs[path]
	if read == nil {
		var have []string
		for p := range t.k.procs {
			have = append(have, p)
		}
		sort.Strings(have)
		return "", Errorf(ENOENT, "no %s; there are %s", path, strings.Join(have, ", "))
	}
	return read(t), nil
}

// A Net is a network namespace. What others keep for each one is in a PerNet.
type Net struct {
	k    *Kernel
	ID   int
	mu   sync.Mutex
	exit []func(cur *Task)
}

// OnExit adds fn to what runs when the kernel is closed.
func (n *Net) OnExit(fn func(cur *Task)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.exit = append(n.exit, fn)
}

// A PerNet is what there is one of in each network namespace, made when it is first asked for (struct pernet_operations).
// The zero value has nothing yet.
type PerNet[T any] struct {
	mu   sync.Mutex
	vals map[*Net]*T
}

// Of returns the namespace's, which build makes the first time.
func (p *PerNet[T]) Of(n *Net, build func() *T) *T {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := p.vals[n]
	if v == nil {
		v = build()
		if p.vals == nil {
			p.vals = map[*Net]*T{}
		}
		p.vals[n] = v
	}
	return v
}

// Kernel returns the machine.
func (n *Net) Kernel() *Kernel { return n.k }

// IsInit reports whether this is the initial namespace.
func (n *Net) IsInit() bool { return n.ID == 0 }

// Family makes sockets of one address family.
type Family interface {
	// Create checks type and protocol and returns the socket's operations; spec 15.1.
	Create(cur *Task, typ, protocol int) (SocketOps, error)
}

const pageMask = uapi.PageSize - 1
