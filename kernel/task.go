package kernel

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"nlmmap/kernel/memmodel"
	"nlmmap/kernel/sched"
	"nlmmap/sys"
	"nlmmap/uapi"
)

// A Task is a process or a thread: what system calls are made on, and current to kernel code. One goroutine drives it
// at a time. Programs have it as a sys.Task.
type Task struct {
	Name string

	k     *Kernel
	pid   int
	group *group
	cred  *Cred
	files *FdTable
	as    *AddressSpace
	net   *Net

	th  *sched.Thread // Controlled: the coroutine; nil otherwise, and while an exploration is being set up
	cpu *memmodel.CPU
	// born is after all that the maker of the task had done.
	born memmodel.Sync

	sleep     sleep
	signal    atomic.Bool
	blocked   bool // the present call would wait for ever
	life      life
	hung      atomic.Bool
	unwinding bool
	held      []*Mutex
	beside    *Beside // while the task works beside others

	// What calls of this task need for their time, one at a time: with Kernel.Recycles it is used again.
	to struct {
		msg Msghdr
		iov [1]Iovec
	}
	polls pollCall
}

var _ sys.Task = (*Task)(nil)

// NewProcess makes a first process, as init would: root, no descriptors, an empty address space, in namespace net.
func (k *Kernel) NewProcess(name string, net *Net) *Task {
	t := &Task{Name: name, k: k, cred: RootCred(), net: net}
	t.files = newFdTable()
	t.as = newAddressSpace(k)
	k.adopt(k.KernelTask("init"), t)
	return t
}

// adopt gives t, which cur has made, its numbers: in its thread group, or in a new one that it leads.
func (k *Kernel) adopt(cur, t *Task) {
	if k.cfg.Mode == Free {
		t.sleep.ch = make(chan struct{}, 1)
	}
	cur.cpu.Settle()
	cur.cpu.Release(&t.born)
	t.pid = int(k.lastPid.Add(cur, 1))
	if t.group != nil {
		t.group.point(cur, sched.Store, true, "thread group")
	} else {
		t.group = &group{tgid: t.pid}
		t.group.live.Named("live threads", 0)
		k.processes.Store(cur, t.pid, t.group)
	}
	k.taskMu.Lock()
	k.tasks = append(k.tasks, t)
	k.taskMu.Unlock()
	if t.group.join(cur, t) {
		t.doExit(cur)
	}
}

// NewNet makes an empty network namespace.
func (k *Kernel) NewNet() *Net {
	k.taskMu.Lock()
	defer k.taskMu.Unlock()
	n := &Net{k: k, ID: len(k.nets)}
	k.nets = append(k.nets, n)
	return n
}

// Kernel returns the machine the task runs on.
func (t *Task) Kernel() *Kernel { return t.k }

// Pid is the task's own id.
func (t *Task) Pid() int { return t.pid }

// Tgid is the id of the task's thread group, which is what getpid returns; 0 for a task of the kernel.
func (t *Task) Tgid() int {
	if t.group == nil {
		return 0
	}
	return t.group.tgid
}

// Now returns the machine's time.
func (t *Task) Now() Time { return t.k.now(t) }

// Net is the task's network namespace.
func (t *Task) Net() *Net { return t.net }

// CPU is how the task sees shared memory.
func (t *Task) CPU() *memmodel.CPU { return t.cpu }

// Attach lets a controlled thread drive the task; nil detaches it.
func (t *Task) Attach(th *sched.Thread) {
	t.th, t.cpu = th, nil
	if th != nil {
		t.cpu = &memmodel.CPU{Thread: th, Bus: &t.k.bus}
		t.cpu.Acquire(&t.born)
	}
}

// Go starts a coroutine of the kernel's run in which fn drives the task. An oops of a task of the kernel's, which is in no
// system call, ends the coroutine: the machine is tainted, and the others go on.
func (t *Task) Go(fn func(*Task)) *sched.Thread {
	t.life.driven.Store(true)
	return t.k.cfg.Run.Go(t.Name, func(th *sched.Thread) {
		defer func() {
			switch p := recover().(type) {
			case nil:
			case Oops:
				t.hung.Store(true)
			default:
				panic(p)
			}
		}()
		t.Attach(th)
		fn(t)
		t.rest()
	})
}

// Softirq returns a task for kernel work on the processor that t runs on, in no process's name.
func (t *Task) Softirq(name string) *Task {
	s := t.k.KernelTask(name)
	s.th, s.cpu = t.th, t.cpu
	return s
}

func (t *Task) point(kind sched.Kind, obj sched.Obj, write bool, label string) {
	if t.th != nil {
		t.th.Point(sched.Op{Kind: kind, Obj: obj, Write: write, Label: label})
	}
}

// Fork makes a child process with copies of the descriptors and mappings; it runs when somebody drives it.
func (t *Task) Fork(name string) (child *Task, err error) {
	_, err = syscall(t, ForkCall{}, func() (int, error) {
		if child, err = t.fork(t, name, t.cred, t.net); err != nil {
			return -1, err
		}
		return child.pid, nil
	})
	if err != nil {
		return nil, err
	}
	return child, nil
}

// fork makes a child of t: copy_process.
func (t *Task) fork(cur *Task, name string, cred *Cred, net *Net) (*Task, error) {
	if cur.NoMemory("process") {
		return nil, ENOMEM
	}
	child := &Task{Name: name, k: t.k, cred: cred, net: net}
	var err error
	if child.as, err = t.as.fork(cur); err != nil {
		return nil, err
	}
	child.files = t.files.copy(cur)
	t.k.adopt(cur, child)
	return child, nil
}

// CloneVM makes a process that shares the memory but has a copy of the descriptors: clone(CLONE_VM), as vfork.
func (t *Task) CloneVM(name string) (*Task, error) {
	child := &Task{Name: name, k: t.k, cred: t.cred, net: t.net}
	_, err := syscall(t, CloneCall{uapi.CloneVM}, func() (int, error) {
		if t.NoMemory("process") {
			return -1, ENOMEM
		}
		child.files, child.as = t.files.copy(t), t.as.share(t)
		t.k.adopt(t, child)
		return child.pid, nil
	})
	if err != nil {
		return nil, err
	}
	return child, nil
}

// Thread makes a second thread: it shares descriptors and memory.
func (t *Task) Thread(name string) (th *Task, err error) {
	_, err = syscall(t, CloneCall{sys.SharedAll}, func() (int, error) {
		if t.NoMemory("thread") {
			return -1, ENOMEM
		}
		th = t.thread(t, name, t.cred, t.net)
		return th.pid, nil
	})
	if err != nil {
		return nil, err
	}
	return th, nil
}

// thread makes a thread of t's process.
func (t *Task) thread(cur *Task, name string, cred *Cred, net *Net) *Task {
	th := &Task{Name: name, k: t.k, group: t.group, cred: cred, net: net}
	th.files, th.as = t.files.share(cur), t.as.share(cur)
	t.k.adopt(cur, th)
	return th
}

// Clone makes a task as programs do, with Fork, CloneVM or Thread: clone(2).
func (t *Task) Clone(name string, flags int) (sys.Task, error) {
	fork := (*Task).Fork
	switch flags {
	case 0:
	case uapi.CloneVM:
		fork = (*Task).CloneVM
	case sys.SharedAll:
		fork = (*Task).Thread
	default:
		return nil, Errorf(EINVAL, "clone with flags %#x is not modelled", flags)
	}
	c, err := fork(t, name)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// A group is a process: the threads that exit together (struct signal_struct).
type group struct {
	tgid int
	live Ref // threads that have not ended
	obj  sched.Obj

	exiting atomic.Bool
	mu      sync.Mutex // Free mode: tasks; never held at a scheduling point
	tasks   []*Task
}

// point is where exit_group meets the group's threads on their way into the kernel and out of it. Who is killed ends
// there, and not in the middle of a call.
func (g *group) point(cur *Task, kind sched.Kind, exit bool, label string) {
	if cur.th == nil {
		return
	}
	if g.obj == 0 {
		g.obj = cur.k.cfg.Run.NewObj()
	}
	cur.point(kind, g.obj, exit, label)
}

// join adds a thread, and reports whether the group is exiting and it must end at once.
func (g *group) join(cur, t *Task) (exiting bool) {
	g.live.Get(cur)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tasks = append(g.tasks, t)
	return g.exiting.Load()
}

// life is what others know of a task. Who makes a call says so before it looks whether its group exits, and who lets the
// group exit says so before it looks who makes a call: one of them sees the other.
type life struct {
	inCall atomic.Bool // somebody drives a system call of it
	driven atomic.Bool // it has a coroutine that has not come to its end
	dead   atomic.Bool
}

// Dead reports whether the task has exited or was killed.
func (t *Task) Dead() bool { return t.life.dead.Load() }

// InCall reports whether the task is in a system call, for checkers.
func (t *Task) InCall() bool { return t.life.inCall.Load() }

// Hung reports whether the task waits for ever inside a system call.
func (t *Task) Hung() bool { return t.hung.Load() }

// ExitGroup ends the process: all threads of it. Another thread ends by itself: a sleeping one is interrupted, and each
// looks whether it was killed where it enters the kernel and where it leaves it. A thread that nobody drives is ended here.
func (t *Task) ExitGroup() error {
	if t.Dead() {
		return nil
	}
	t.group.point(t, sched.Enter, true, "exit_group")
	t.group.kill(t, t)
	t.doExit(t)
	return nil
}

// kill ends the threads of a process, but one.
func (g *group) kill(cur, but *Task) {
	first := g.exiting.CompareAndSwap(false, true)
	g.mu.Lock()
	var driven, others []*Task
	for _, o := range g.tasks {
		switch {
		case o == but || !first:
		case o.life.inCall.Load() || o.life.driven.Load():
			driven = append(driven, o)
		default:
			others = append(others, o)
		}
	}
	g.mu.Unlock()
	for _, o := range driven {
		o.sleepPoint(cur, sched.Wake)
		o.Interrupt()
	}
	for _, o := range others {
		o.doExit(cur)
	}
}

// enterCall notes that a system call begins, and reports whether the task lives to make it.
func (t *Task) enterCall(call Call) bool {
	t.callPoint(sched.Enter, call)
	t.life.inCall.Store(true)
	return !t.group.exiting.Load() && !t.Dead()
}

// callPoint is the entry or the exit of a system call.
func (t *Task) callPoint(kind sched.Kind, call Call) {
	if t.th != nil {
		t.group.point(t, kind, false, call.Name())
	}
}

// leaveCall ends a task that was killed meanwhile.
func (t *Task) leaveCall() {
	t.life.inCall.Store(false)
	if t.group.exiting.Load() {
		t.doExit(t)
	}
}

// rest leaves a task as it is, for nobody drives it any more: it is then ended by others.
func (t *Task) rest() {
	if t.group == nil {
		return
	}
	t.group.point(t, sched.Exit, false, "rest")
	t.life.driven.Store(false)
	t.leaveCall()
	t.Attach(nil)
}

// doExit gives the task's memory and then its descriptors back: do_exit. Where an oops has left a lock locked that it
// needs it waits for ever.
func (t *Task) doExit(cur *Task) {
	if !t.life.dead.CompareAndSwap(false, true) {
		return
	}
	g, k := t.group, t.k
	g.mu.Lock()
	g.tasks = slices.DeleteFunc(g.tasks, func(o *Task) bool { return o == t })
	g.mu.Unlock()
	k.taskMu.Lock()
	k.tasks = slices.DeleteFunc(k.tasks, func(o *Task) bool { return o == t })
	k.taskMu.Unlock()
	defer func() {
		switch p := recover().(type) {
		case nil:
		case hung:
			t.hung.Store(true)
		default:
			panic(p)
		}
	}()
	t.as.put(cur)
	t.files.put(cur)
	if g.live.Put(cur) == 0 {
		k.processes.Delete(cur, g.tgid)
	}
}

// hung is how a task leaves a call in which it would wait for a lock for ever.
type hung struct{ why string }

func (t *Task) hang(format string, args ...any) {
	panic(hung{fmt.Sprintf(format, args...)})
}

// sys runs a system call: entry and exit are scheduling points and traced, an oops kills the process, and a wait
// without end is reported. call is nil where nobody hears of it: see syscall.
func (t *Task) sys(call Call, fn func() (int, error)) (n int, err error) {
	switch {
	case t.hung.Load():
		return 0, fmt.Errorf("%w: task %s is stuck in the kernel", ErrBlocks, t.Name)
	case t.abandoned():
		return 0, ErrKilled
	}
	defer t.leaveCall()
	if !t.enterCall(call) {
		return 0, Errorf(ESRCH, "task %s has exited", t.Name)
	}
	if t.k.Watched() {
		t.k.Emit(t, SyscallEvent{Call: call})
	}
	t.blocked = false
	defer func() {
		switch p := recover().(type) {
		case nil:
		case Oops:
			n, err = 0, fmt.Errorf("%w: %v", ErrKilled, p)
			t.unwinding = true
			_ = t.ExitGroup()
		case hung:
			t.hung.Store(true)
			n, err = 0, fmt.Errorf("%w: %s", ErrBlocks, p.why)
		default:
			panic(p)
		}
		if err != nil && t.blocked {
			err = fmt.Errorf("%w (interrupted after %v: %w)", ErrBlocks, t.k.cfg.Patience, err)
		}
		t.signal.Store(false)
		if t.k.Watched() {
			t.k.Emit(t, SyscallEvent{Call: call, Done: true, N: n, Err: err})
		}
	}()
	n, err = fn()
	if len(t.held) > 0 && t.k.cfg.Mode != Free {
		t.k.Warn(t, "the system call returns with %s held", t.held[0].Name)
	}
	t.callPoint(sched.Exit, call)
	return n, err
}

// abandoned reports whether the task's run is over: a program whose stack unwinds makes no more calls.
func (t *Task) abandoned() bool { return t.th != nil && t.th.Abandoned() }

// HasProcess reports whether a process exists.
func (k *Kernel) HasProcess(cur *Task, tgid int) bool { return k.processes.Load(cur, tgid) != nil }

// Tasks returns all tasks that have not been reaped, for checkers.
func (k *Kernel) Tasks() []*Task {
	k.taskMu.Lock()
	defer k.taskMu.Unlock()
	return slices.Clone(k.tasks)
}
