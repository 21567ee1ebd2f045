package live

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"nlmmap/sys"
)

// The instructions that tasks run, each line at its own offset from process.code. int3 hands control back.
const (
	lineSyscall = 0
	lineLoad    = 4
	lineStore   = 8
	lineCopy    = 12
	lineNothing = 16
	lineDelayed = 20
	lineGather  = 28
)

var lines = []byte{
	lineSyscall: 0x0f, 0x05, 0xcc, 0, // syscall; int3
	lineLoad: 0x8b, 0x07, 0xcc, 0, // mov (%rdi),%eax; int3
	lineStore: 0x89, 0x37, 0xcc, 0, // mov %esi,(%rdi); int3
	lineCopy: 0xf3, 0xa4, 0xcc, 0, // rep movsb; int3
	lineNothing: 0x90, 0xcc, 0, 0, // nop; int3
	lineDelayed: 0x48, 0xff, 0xc9, 0x75, 0xfb, 0x0f, 0x05, 0xcc, // dec %rcx; jnz; syscall; int3
	lineGather: 0x48, 0x8b, 0x33, // mov (%rbx),%rsi: the next address
	0x48, 0x89, 0xd1, 0xf3, 0xa4, // mov %rdx,%rcx; rep movsb
	0x48, 0x83, 0xc3, 0x08, // add $8,%rbx
	0x49, 0xff, 0xc8, 0x75, 0xef, 0xcc, // dec %r8; jnz; int3
}

// Results of an interrupted system call that the kernel shows to a tracer only: it would restart the call.
const (
	erestartsys     = 512
	erestartnointr  = 513
	erestartnohand  = 514
	erestartRestart = 516
)

// noSyscall in OrigRax tells the kernel that the task is not inside a system call, so it restarts none.
const noSyscall = ^uint64(0)

// interrupt is the signal that ends a call which waits for ever. No task ever sees it.
const interrupt = unix.SIGUSR1

// A process is a thread group. Everything in this file runs on the tracer's thread.
type process struct {
	tgid    int
	code    uint64        // address of lines
	scratch uint64        // address of the tracer's scratch
	threads map[int]*task // live ones, by thread id
	exits   bool          // one of them has made the process exit
}

// another makes a process, and another one as long as its id is one to avoid.
func (tr *tracer) another(start func() (*task, error)) (*task, error) {
	for {
		t, err := start()
		if err != nil || !tr.avoid[t.p.tgid] {
			return t, err
		}
		t.p.kill()
	}
}

// scratchFd is the scratch as a descriptor of a new process.
const scratchFd = 0

// scratchHint is where tasks have the scratch: far from the scenario's mappings, which begin at the top.
const scratchHint = 1 << 40

// spawn starts a process that is stopped before its first instruction and makes it a task.
func spawn(tr *tracer) (*task, error) {
	const self = "/proc/self/exe"
	// No environment, and no files but the scratch: that closes the three standard descriptors too. A session of its own
	// keeps the terminal's signals away.
	pid, err := syscall.ForkExec(self, []string{"task"}, &syscall.ProcAttr{
		Files: []uintptr{scratchFd: tr.scratch.file.Fd()},
		Sys:   &syscall.SysProcAttr{Ptrace: true, Setsid: true},
	})
	if err != nil {
		return nil, fmt.Errorf("live: cannot start %s as a task: %w", self, err)
	}
	p := &process{tgid: pid, threads: map[int]*task{}}
	t := &task{tr: tr, p: p, tid: pid}
	p.threads[pid] = t
	tr.procs = append(tr.procs, p)
	if err := t.setUp(); err != nil {
		p.kill()
		return nil, fmt.Errorf("live: cannot trace a task: %w", err)
	}
	return t, nil
}

// setUp turns the stopped program into a task.
func (t *task) setUp() error {
	if err := t.waitFirstStop(unix.SIGTRAP); err != nil {
		return err
	}
	// A task must not outlive the tracer, whatever happens to it.
	const options = unix.PTRACE_O_EXITKILL | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACECLONE
	if err := unix.PtraceSetOptions(t.tid, options); err != nil {
		return err
	}
	if err := unix.PtraceGetRegs(t.tid, &t.regs); err != nil {
		return err
	}
	t.p.code = t.regs.Rip
	if _, err := unix.PtracePokeText(t.tid, uintptr(t.p.code), lines); err != nil {
		return err
	}
	var err error
	t.p.scratch, err = t.syscall(unix.SYS_MMAP, scratchHint, areas*areaSize, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_SHARED|unix.MAP_NORESERVE, scratchFd, 0)
	if err != nil {
		return err
	}
	return t.closeInherited()
}

// closeInherited closes the scratch, and the descriptors that the program itself was started with and never looked at.
func (t *task) closeInherited() error {
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", t.tid))
	if err != nil {
		return err
	}
	for _, fd := range fds {
		n, err := strconv.ParseUint(fd.Name(), 10, 31)
		if err != nil {
			return err
		}
		if _, err := t.syscall(unix.SYS_CLOSE, n); err != nil {
			return err
		}
	}
	return nil
}

// waitFirstStop waits for the stop by which a new task reports to the tracer.
func (t *task) waitFirstStop(sig syscall.Signal) error {
	ws, err := t.wait()
	if err != nil {
		return err
	}
	if !ws.Stopped() || ws.StopSignal() != sig {
		return fmt.Errorf("task %d: unexpected state %#x", t.tid, uint32(ws))
	}
	return nil
}

// wait waits until the thread stops or ends. In work apart it lets other work go on meanwhile.
func (t *task) wait() (unix.WaitStatus, error) {
	for {
		var ws unix.WaitStatus
		flags := unix.WALL
		work := t.tr.now
		if work != nil {
			flags |= unix.WNOHANG
		}
		tid, err := unix.Wait4(t.tid, &ws, flags, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if tid == 0 {
			if !work.giveWay(struct{}{}) {
				return 0, errClosed
			}
			if t.dead {
				return 0, unix.ESRCH
			}
			continue
		}
		if ws.Exited() || ws.Signaled() {
			t.dead = true
			delete(t.p.threads, t.tid)
		}
		return ws, nil
	}
}

// exec runs one of the lines with the registers that set prepares and returns those at its end. An access that faults
// ends in sys.SIGSEGV or sys.SIGBUS. With a limit, which only a system call can have, waiting longer
// ends in sys.ErrBlocks.
func (t *task) exec(line uint64, limit time.Duration, set func(*unix.PtraceRegs)) (unix.PtraceRegs, error) {
	for {
		if err := t.prepare(line, set); err != nil {
			return t.last, err
		}
		var taken bool
		var err error
		switch {
		case limit == 0:
			_, err = t.runToEnd()
		case t.job != nil:
			taken, err = t.runBeside(limit)
		default:
			taken, err = t.runWithin(limit)
		}
		switch {
		case err != nil || !taken:
			return t.last, err
		case t.begun(line):
			return t.last, blocked(t.last, limit)
		}
	}
}

// begun reports whether a task that was interrupted had begun its call: on a busy machine it may not have run at all.
func (t *task) begun(line uint64) bool {
	call := line // where the instruction is
	if line == lineDelayed {
		call += 5
	}
	return t.last.Rip > t.p.code+call
}

// runWithin lets the task make a system call, which is interrupted after the limit. The registers are in t.last.
func (t *task) runWithin(limit time.Duration) (taken bool, err error) {
	sent := make(chan struct{})
	timer := time.AfterFunc(limit, func() {
		_ = unix.Tgkill(t.p.tgid, t.tid, interrupt)
		close(sent)
	})
	taken, err = t.runToEnd()
	if !timer.Stop() && !taken && !t.dead {
		// The signal came too late for this call and must not hit the next one.
		<-sent
		return false, errors.Join(err, t.swallow())
	}
	return taken, err
}

// blocked is the error of a call during which an interrupt was sent, if that ended it.
func blocked(regs unix.PtraceRegs, limit time.Duration) error {
	switch -int64(regs.Rax) {
	case int64(unix.EINTR), erestartsys, erestartnointr, erestartnohand, erestartRestart:
		return fmt.Errorf("%w (interrupted after %v: %w)", sys.ErrBlocks, limit, unix.EINTR)
	}
	return nil
}

// runBeside lets the task make a system call beside others: whoever waits for it interrupts it.
func (t *task) runBeside(limit time.Duration) (taken bool, err error) {
	t.job.limit.Store(int64(limit))
	t.job.interrupted = false
	t.job.inCall = true
	taken, err = t.runToEnd()
	t.job.inCall = false
	if t.job.interrupted && !taken && !t.dead {
		return false, errors.Join(err, t.swallow())
	}
	return taken, err
}

// swallow takes an interrupt that is pending and leaves t.last as it is.
func (t *task) swallow() error {
	last := t.last
	err := t.takeInterrupt()
	t.last = last
	return err
}

// prepare sets the registers for a line.
func (t *task) prepare(line uint64, set func(*unix.PtraceRegs)) error {
	if t.dead {
		return unix.ESRCH
	}
	regs := t.regs
	if set != nil {
		set(&regs)
	}
	regs.Rip = t.p.code + line
	regs.Orig_rax = noSyscall
	return unix.PtraceSetRegs(t.tid, &regs)
}

// runToEnd lets the task run to its breakpoint and keeps its registers in t.last. taken says that it was interrupted.
func (t *task) runToEnd() (taken bool, err error) {
	for {
		if err := unix.PtraceCont(t.tid, 0); err != nil {
			return false, err
		}
		ws, err := t.wait()
		if err != nil {
			return false, err
		}
		if !ws.Stopped() {
			return false, fmt.Errorf("task %d ended by itself: state %#x", t.tid, uint32(ws))
		}
		switch sig := ws.StopSignal(); {
		case sig == unix.SIGTRAP && ws.TrapCause() > 0:
			msg, err := unix.PtraceGetEventMsg(t.tid)
			if err != nil {
				return false, err
			}
			t.born = int(msg)
		case sig == unix.SIGTRAP, sig == interrupt:
			return sig == interrupt, unix.PtraceGetRegs(t.tid, &t.last)
		case sig == unix.SIGSEGV:
			return false, sys.SIGSEGV
		case sig == unix.SIGBUS:
			return false, sys.SIGBUS
		}
		// Any other signal is not part of a scenario (SIGPIPE, SIGWINCH): it is swallowed, and the kernel
		// restarts the call that it may have interrupted.
	}
}

// takeInterrupt swallows an interrupt that is pending.
func (t *task) takeInterrupt() error {
	for {
		if err := t.prepare(lineNothing, nil); err != nil {
			return err
		}
		if taken, err := t.runToEnd(); err != nil || taken {
			return err
		}
	}
}

// syscall makes the task make one system call.
func (t *task) syscall(nr uint64, args ...uint64) (uint64, error) {
	return t.syscallLimit(blockLimit, nr, args...)
}

func (t *task) syscallLimit(limit time.Duration, nr uint64, args ...uint64) (uint64, error) {
	line, delay := uint64(lineSyscall), uint64(0)
	if t.job != nil && t.job.delay != nil {
		line, delay = lineDelayed, t.job.delay()
	}
	regs, err := t.exec(line, limit, func(r *unix.PtraceRegs) {
		r.Rax, r.Rcx = nr, delay
		for i, to := range []*uint64{&r.Rdi, &r.Rsi, &r.Rdx, &r.R10, &r.R8, &r.R9} {
			*to = 0
			if i < len(args) {
				*to = args[i]
			}
		}
	})
	if err != nil {
		return 0, err
	}
	const maxErrno = 4095
	if ret := int64(regs.Rax); ret < 0 && ret >= -maxErrno {
		return 0, syscall.Errno(-ret)
	}
	return regs.Rax, nil
}

// clone makes the task clone itself and returns the new thread, stopped.
func (t *task) clone(flags uint64) (*task, error) {
	t.born = 0
	if _, err := t.syscall(unix.SYS_CLONE, flags); err != nil {
		return nil, err
	}
	if t.born == 0 {
		return nil, errors.New("live: the kernel did not report a new task")
	}
	c := &task{tr: t.tr, p: t.p, tid: t.born, regs: t.regs}
	if flags&unix.CLONE_THREAD == 0 {
		c.p = &process{tgid: c.tid, code: t.p.code, scratch: t.p.scratch, threads: map[int]*task{}}
		t.tr.procs = append(t.tr.procs, c.p)
	}
	c.p.threads[c.tid] = c
	return c, c.waitFirstStop(unix.SIGSTOP)
}

// exit makes the task end its process and waits for the end: then everything it held is released.
func (t *task) exit() error {
	if err := t.prepare(lineSyscall, func(r *unix.PtraceRegs) { r.Rax, r.Rdi = unix.SYS_EXIT_GROUP, 0 }); err != nil {
		return err
	}
	t.p.exits = true
	if err := unix.PtraceCont(t.tid, 0); err != nil {
		return err
	}
	return t.p.reap()
}

// kill ends what is left of the process.
func (p *process) kill() {
	if len(p.threads) > 0 {
		_ = unix.Kill(p.tgid, unix.SIGKILL)
		_ = p.reap()
	}
}

// reap waits for the end of all threads. The first one comes last: the kernel reports it only then.
func (p *process) reap() error {
	for tid, t := range p.threads {
		if tid == p.tgid {
			continue
		}
		if err := t.reap(); err != nil {
			return err
		}
	}
	if first := p.threads[p.tgid]; first != nil {
		return first.reap()
	}
	return nil
}

// reap waits for the end of the thread.
func (t *task) reap() error {
	for !t.dead {
		ws, err := t.wait()
		if errors.Is(err, unix.ECHILD) {
			t.dead = true
			delete(t.p.threads, t.tid)
			return nil
		}
		if err != nil {
			return err
		}
		if ws.Stopped() {
			// A signal that arrived before the end.
			if err := unix.PtraceCont(t.tid, 0); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
		}
	}
	return nil
}
