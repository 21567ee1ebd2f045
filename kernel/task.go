package kernel

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"nlmmap/kernel/mm"
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
	tgid  int
	cred  *Cred
	files *FdTable
	as    *AddressSpace
	net   *Net

	th  *sched.Thread // Controlled: the coroutine; nil otherwise, and while an exploration is being set up
	cpu *mm.CPU

	sleep     sleep
	signal    atomic.Bool
	blocked   bool // the present call would wait for ever
	life      life
	hung      bool
	unwinding bool
	held      []*Mutex
}

var _ sys.Task = (*Task)(nil)

// NewProcess makes a first process, as init would: root, no descriptors, an empty address space, in namespace net.
func (k *Kernel) NewProcess(name string, net *Net) *Task {
	t := &Task{Name: name, k: k, cred: RootCred(), net: net}
	t.files = newFdTable()
	t.as = newAddressSpace(k)
	k.adopt(t, 0)
	return t
}

// adopt gives t its numbers. tgid 0 makes it the leader of a new thread group.
func (k *Kernel) adopt(t *Task, tgid int) {
	if k.cfg.Mode == Free {
		t.sleep.ch = make(chan struct{}, 1)
	}
	k.taskMu.Lock()
	defer k.taskMu.Unlock()
	t.pid = k.nextPid
	k.nextPid++
	t.tgid = tgid
	if tgid == 0 {
		t.tgid = t.pid
	}
	k.tasks = append(k.tasks, t)
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

// Pid is the task's own id, Tgid that of its thread group: what getpid returns.
func (t *Task) Pid() int  { return t.pid }
func (t *Task) Tgid() int { return t.tgid }

// Now returns the machine's time.
func (t *Task) Now() Time { return t.k.Now() }

// Net is the task's network namespace.
func (t *Task) Net() *Net { return t.net }

// CPU is how the task sees shared memory.
func (t *Task) CPU() *mm.CPU { return t.cpu }

// Dead reports whether the task has exited or was killed; Hung whether it waits for ever inside a system call.
func (t *Task) Dead() bool {
	t.life.mu.Lock()
	defer t.life.mu.Unlock()
	return t.life.dead
}
func (t *Task) Hung() bool { return t.hung }

// Attach lets a controlled thread drive the task; nil detaches it.
func (t *Task) Attach(th *sched.Thread) {
	t.th, t.cpu = th, nil
	if th != nil {
		t.cpu = &mm.CPU{Thread: th, Bus: &t.k.bus}
	}
}

// Go starts a coroutine of the kernel's run in which fn drives the task.
func (t *Task) Go(fn func(*Task)) *sched.Thread {
	return t.k.cfg.Run.Go(t.Name, func(th *sched.Thread) {
		t.Attach(th)
		fn(t)
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
func (t *Task) Fork(name string) (*Task, error) {
	child := &Task{Name: name, k: t.k, cred: t.cred, net: t.net}
	_, err := t.sys(Call{Name: "fork"}, func() (int, error) {
		var err error
		if child.as, err = t.as.fork(t); err != nil {
			return -1, err
		}
		child.files = t.files.copy(t)
		t.k.adopt(child, 0)
		return child.pid, nil
	})
	if err != nil {
		return nil, err
	}
	return child, nil
}

// CloneVM makes a process that shares the memory but has a copy of the descriptors: clone(CLONE_VM), as vfork.
func (t *Task) CloneVM(name string) (*Task, error) {
	child := &Task{Name: name, k: t.k, cred: t.cred, net: t.net}
	_, err := t.sys(Call{Name: "clone"}, func() (int, error) {
		child.files, child.as = t.files.copy(t), t.as.share(t)
		t.k.adopt(child, 0)
		return child.pid, nil
	})
	if err != nil {
		return nil, err
	}
	return child, nil
}

// Thread makes a second thread: it shares descriptors and memory.
func (t *Task) Thread(name string) (*Task, error) {
	th := &Task{Name: name, k: t.k, cred: t.cred, net: t.net}
	_, err := t.sys(Call{Name: "clone"}, func() (int, error) {
		th.files, th.as = t.files.share(t), t.as.share(t)
		t.k.adopt(th, t.tgid)
		return th.pid, nil
	})
	if err != nil {
		return nil, err
	}
	return th, nil
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

// life is how far a task is from its end.
type life struct {
	mu     sync.Mutex
	inCall bool // somebody drives a system call of it
	killed bool // it ends when that call does
	dead   bool
}

// ExitGroup ends the process: all threads of it. A thread that is in a system call is interrupted and ends when it
// leaves the call.
func (t *Task) ExitGroup() error {
	if t.Dead() {
		return nil
	}
	t.k.taskMu.Lock()
	var group []*Task
	for _, o := range t.k.tasks {
		if o.tgid == t.tgid {
			group = append(group, o)
		}
	}
	t.k.taskMu.Unlock()
	t.point(sched.Enter, 0, false, "exit_group")
	for _, o := range group {
		o.life.mu.Lock()
		o.life.killed = true
		busy := o.life.inCall && o != t
		o.life.mu.Unlock()
		if busy {
			o.Interrupt()
		} else {
			o.doExit()
		}
	}
	return nil
}

// enterCall notes that a system call begins: false for a task that has exited.
func (t *Task) enterCall() bool {
	t.life.mu.Lock()
	defer t.life.mu.Unlock()
	t.life.inCall = true
	return !t.life.dead
}

// leaveCall ends a task that was killed meanwhile.
func (t *Task) leaveCall() {
	t.life.mu.Lock()
	t.life.inCall = false
	killed := t.life.killed
	t.life.mu.Unlock()
	if killed {
		t.doExit()
	}
}

// doExit gives the task's memory and then its descriptors back: do_exit. Where an oops has left a lock locked that it
// needs it waits for ever.
func (t *Task) doExit() {
	t.life.mu.Lock()
	dead := t.life.dead
	t.life.dead = true
	t.life.mu.Unlock()
	if dead {
		return
	}
	t.k.taskMu.Lock()
	t.k.tasks = slices.DeleteFunc(t.k.tasks, func(o *Task) bool { return o == t })
	t.k.taskMu.Unlock()
	defer func() {
		switch p := recover().(type) {
		case nil:
		case hung:
			t.hung = true
		default:
			panic(p)
		}
	}()
	t.as.put(t)
	t.files.put(t)
}

// A Call is a system call as it is traced.
type Call struct {
	Name  string
	FD    int
	HasFD bool
	Ints  [4]int64
	NInts int
	Data  []byte // option value, address or message
	Msg   *Msghdr
}

// SyscallEvent tells of a system call that begins (Done false) or has ended.
type SyscallEvent struct {
	Call Call
	Done bool
	N    int
	Err  error
}

func (e SyscallEvent) String() string {
	s := e.Call.Name + "("
	sep := ""
	if e.Call.HasFD {
		s += fmt.Sprint(e.Call.FD)
		sep = ", "
	}
	for _, i := range e.Call.Ints[:e.Call.NInts] {
		s += sep + fmt.Sprint(i)
		sep = ", "
	}
	s += ")"
	if e.Done {
		s += fmt.Sprintf(" = %d", e.N)
		if e.Err != nil {
			s += " " + e.Err.Error()
		}
	}
	return s
}

// hung is how a task leaves a call in which it would wait for a lock for ever.
type hung struct{ why string }

func (t *Task) hang(format string, args ...any) {
	panic(hung{fmt.Sprintf(format, args...)})
}

// sys runs a system call: entry and exit are scheduling points and traced, an oops kills the process, and a wait
// without end is reported.
func (t *Task) sys(call Call, fn func() (int, error)) (n int, err error) {
	defer t.leaveCall()
	switch {
	case !t.enterCall():
		return 0, Errorf(ESRCH, "task %s has exited", t.Name)
	case t.hung:
		return 0, fmt.Errorf("%w: task %s is stuck in the kernel", ErrBlocks, t.Name)
	case t.abandoned():
		return 0, ErrKilled
	}
	t.point(sched.Enter, 0, false, call.Name)
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
			t.hung = true
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
		t.k.Warn(t, "%s returns with %s held", call.Name, t.held[0].Name)
	}
	t.point(sched.Exit, 0, false, call.Name)
	return n, err
}

// abandoned reports whether the task's run is over: a program whose stack unwinds makes no more calls.
func (t *Task) abandoned() bool { return t.th != nil && t.th.Abandoned() }

// HasProcess reports whether a process exists.
func (k *Kernel) HasProcess(tgid int) bool {
	k.taskMu.Lock()
	defer k.taskMu.Unlock()
	return slices.ContainsFunc(k.tasks, func(t *Task) bool { return t.tgid == tgid })
}

// Tasks returns all tasks that have not been reaped, for checkers.
func (k *Kernel) Tasks() []*Task {
	k.taskMu.Lock()
	defer k.taskMu.Unlock()
	return slices.Clone(k.tasks)
}
