package interpose

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"nlmmap/kernel"
	"nlmmap/subsys/inet"
	"nlmmap/subsys/rtnetlink"
)

// Config says which machine programs run on.
type Config struct {
	// Kernel is a machine in mode kernel.Free with Memfd and Joined.
	Kernel *kernel.Kernel
	// Net is the network namespace that programs start in. What they make with unshare(2) or clone(2) are others.
	Net *kernel.Net
	// Inet has the IP stacks: UDP datagrams of programs pass their rules.
	Inet *inet.Inet
	// Devices answers what programs ask and tell of network devices with ioctl(2). With nil the kernel underneath does.
	Devices *rtnetlink.Rtnetlink
	// MaxProcesses is how many processes there may be at once: fork fails with EAGAIN beyond. 0 means 4096.
	MaxProcesses int
	// Self is a program that calls Stub when IsStub says so, usually os.Executable. It is started to end the programs should this
	// process be killed; with "" they go on then, with calls that fail.
	Self string
	// Report is told what a person should know: a program that the modelled kernel killed, for example.
	Report func(format string, args ...any)
}

// A Supervisor answers the netlink calls of programs.
type Supervisor struct {
	kernel  *kernel.Kernel
	net     *kernel.Net
	inet    *inet.Inet
	devices *rtnetlink.Rtnetlink
	report  func(format string, args ...any)
	limit   int // of processes
	guard   *guard
	cur     *kernel.Task  // work in no program's name
	holder  *kernel.Task  // a process that has the files in flight
	poller  int           // epoll of pidfds, and of the far ends of placeholders
	wake    int           // an eventfd
	polled  chan struct{} // closed when nobody polls any more

	claims   sync.Mutex // events are taken from poller, and claimed, by one at a time
	births   sync.Mutex // numbers of tasks are given one after the other
	arrivals sync.Mutex // new processes are entered one after the other
	owners   sync.Mutex // who owns a file

	mu        sync.Mutex
	processes map[int]*process
	threads   map[int]*thread
	files     map[uint64]*file
	memfds    map[uint64]*file
	epolls    []*file
	watched   map[int]watching
	watches   int32          // how many there have been
	calls     map[*call]bool // that have not been answered

	namespaces map[string]namespace // by the name that /proc has for them
	closing    atomic.Bool
	ticking    bool
	running    int       // functions of watch, and calls that have been received
	claimed    int       // events whose functions have not returned
	quiet      sync.Cond // there are none
}

// New makes a supervisor for a machine. The error says what is wrong with the configuration or which resource is missing.
func New(cfg Config) (*Supervisor, error) {
	kc := cfg.Kernel.Config()
	if kc.Mode != kernel.Free || !kc.Memfd || !kc.Joined {
		return nil, errors.New("interpose: the machine must be in free mode, with joined memfds")
	}
	poller, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("interpose: epoll_create: %w", err)
	}
	s := &Supervisor{kernel: cfg.Kernel, net: cfg.Net, inet: cfg.Inet, devices: cfg.Devices, report: cfg.Report, limit: cfg.MaxProcesses, poller: poller, cur: cfg.Kernel.KernelTask("supervisor"),
		holder: cfg.Kernel.NewProcess("in flight", cfg.Net), processes: map[int]*process{}, threads: map[int]*thread{},
		files: map[uint64]*file{}, memfds: map[uint64]*file{}, watched: map[int]watching{}, calls: map[*call]bool{}, polled: make(chan struct{}),
		namespaces: map[string]namespace{}}
	s.quiet.L = &s.mu
	if s.limit == 0 {
		s.limit = 4096
	}
	if s.report == nil {
		s.report = func(string, ...any) {}
	}
	if s.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
		return nil, errors.Join(fmt.Errorf("interpose: eventfd: %w", err), unix.Close(poller))
	}
	if cfg.Self != "" {
		if s.guard, err = startGuard(cfg.Self); err != nil {
			return nil, err
		}
	}
	go s.poll()
	return s, nil
}

// watch calls fn, once, when a descriptor of this process has hung up (a placeholder's far end) or is readable (a pidfd).
func (s *Supervisor) watch(fd int, fn func()) error {
	s.mu.Lock()
	s.watches++
	number := s.watches
	s.watched[fd] = watching{number, fn}
	s.mu.Unlock()
	err := unix.EpollCtl(s.poller, unix.EPOLL_CTL_ADD, fd,
		&unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLHUP | unix.EPOLLONESHOT, Fd: int32(fd), Pad: number})
	if err != nil {
		return fmt.Errorf("interpose: epoll_ctl: %w", err)
	}
	return nil
}

// A watching is what watch was asked for. Its number tells it from a later one of a descriptor with the same number: an event of the
// earlier one can still be under way, and comes without end while a child of this process that has not executed yet has a copy.
type watching struct {
	number int32
	fn     func()
}

func (s *Supervisor) unwatch(fd int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.watched, fd)
	_ = unix.EpollCtl(s.poller, unix.EPOLL_CTL_DEL, fd, nil) // ENOENT: it was never there
}

// hangups does what the poller would do a moment later, and waits for what it is doing: sockets that were closed before a call are
// closed in the model, too, and processes that had ended have ended there. The caller is no function of watch.
func (s *Supervisor) hangups() {
	s.pollOnce()
	s.mu.Lock()
	for s.claimed > 0 {
		s.quiet.Wait()
	}
	s.mu.Unlock()
}

// pollOnce calls the functions of the events that there are.
func (s *Supervisor) pollOnce() bool {
	var events [64]unix.EpollEvent
	s.claims.Lock()
	n, err := unix.EpollWait(s.poller, events[:], 0)
	n = max(n, 0)
	s.mu.Lock()
	s.claimed += n
	s.mu.Unlock()
	s.claims.Unlock()
	if err != nil && !errors.Is(err, unix.EINTR) {
		return false
	}
	for _, e := range events[:n] {
		s.mu.Lock()
		w, ok := s.watched[int(e.Fd)]
		if ok = ok && w.number == e.Pad; ok {
			s.running++
		}
		s.mu.Unlock()
		if ok {
			w.fn()
		}
		s.mu.Lock()
		if ok {
			s.running--
		}
		if s.claimed--; s.claimed == 0 {
			s.quiet.Broadcast()
		}
		s.mu.Unlock()
	}
	return true
}

func (s *Supervisor) poll() {
	defer close(s.polled)
	fds := []unix.PollFd{{Fd: int32(s.poller), Events: unix.POLLIN}, {Fd: int32(s.wake), Events: unix.POLLIN}}
	for !s.closing.Load() {
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) || !s.pollOnce() {
			return
		}
	}
}

// A Program is one that was started with the filter.
type Program struct {
	// Listener is where its calls come from, for Supervisor.Serve.
	Listener int

	cmd   *exec.Cmd
	done  chan struct{}
	state *os.ProcessState
	err   error
}

// Launch starts a program with the filter. It waits in its first call until a supervisor serves its Listener. Its path must
// lead to a file; cmd.Path, Args, Env, Dir and the standard files are as for package os/exec. self is a program that calls Stub
// when IsStub says so; usually os.Executable. A program that cannot be executed ends with status 127.
func Launch(self string, cmd *exec.Cmd) (*Program, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("interpose: socketpair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "listener"), os.NewFile(uintptr(pair[1]), "listener")
	defer ours.Close()
	defer theirs.Close()
	stub := &exec.Cmd{Path: self, Args: append([]string{cmd.Path}, cmd.Args...), Dir: cmd.Dir, Stdin: cmd.Stdin, Stdout: cmd.Stdout, Stderr: cmd.Stderr,
		ExtraFiles: append(cmd.ExtraFiles, theirs), SysProcAttr: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}}
	env := cmd.Env
	if env == nil {
		env = os.Environ()
	}
	stub.Env = append(env[:len(env):len(env)], fmt.Sprintf("%s=%d", stubVariable, 3+len(cmd.ExtraFiles)))
	p := &Program{cmd: stub, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The death signal comes when the thread ends that made the process.
		runtime.LockOSThread()
		if err := stub.Start(); err != nil {
			started <- err
			return
		}
		theirs.Close()
		started <- nil
		p.err = stub.Wait()
		p.state = stub.ProcessState
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	fd, err := receiveFD(pair[0], p.done)
	if err != nil {
		<-p.done
		return nil, fmt.Errorf("interpose: the program was not put under the supervisor: %w", err)
	}
	p.Listener = fd
	return p, nil
}

// receiveFD gets the listener from a stub.
func receiveFD(sock int, done <-chan struct{}) (int, error) {
	for {
		p := []unix.PollFd{{Fd: int32(sock), Events: unix.POLLIN}}
		if n, err := unix.Poll(p, 50); n == 0 || errors.Is(err, unix.EINTR) {
			select {
			case <-done:
				return -1, errors.New("it ended first")
			default:
				continue
			}
		}
		break
	}
	var b [1]byte
	oob := make([]byte, unix.CmsgSpace(4))
	_, oobn, _, _, err := unix.Recvmsg(sock, b[:], oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, err
	}
	if oobn == 0 {
		return -1, errors.New("it ended first")
	}
	return ParseFD(oob[:oobn])
}

// ParseFD returns the one descriptor that the control messages of a UNIX socket carry.
func ParseFD(oob []byte) (int, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(messages) != 1 {
		return -1, errors.New("no descriptor came")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return -1, errors.New("no descriptor came")
	}
	return fds[0], nil
}

// Wait returns the program's state when it has ended.
func (p *Program) Wait() (*os.ProcessState, error) {
	<-p.done
	var exit *exec.ExitError
	if errors.As(p.err, &exit) {
		return p.state, nil
	}
	return p.state, p.err
}

// Done is closed when the program has ended.
func (p *Program) Done() <-chan struct{} { return p.done }

// Signal sends the program a signal.
func (p *Program) Signal(sig os.Signal) error { return p.cmd.Process.Signal(sig) }

// Pid is the program's process id.
func (p *Program) Pid() int { return p.cmd.Process.Pid }

// Serve answers the calls that come from a listener, which it closes when nobody is left who has its filter.
func (s *Supervisor) Serve(fd int) {
	r := &receivers{s: s, l: listener{fd}}
	r.l.tune()
	r.users.Add(1)
	go r.run()
}

// receivers are goroutines that take calls from one listener and answer them. One at least always waits for the next call.
type receivers struct {
	s       *Supervisor
	l       listener
	first   sync.Once
	waiting atomic.Int32
	users   atomic.Int32
}

func (r *receivers) run() {
	defer func() {
		if r.users.Add(-1) == 0 {
			_ = unix.Close(r.l.fd)
		}
	}()
	var n notification
	for {
		if r.waiting.Add(1) > 2 { // enough wait already
			r.waiting.Add(-1)
			return
		}
		err := r.l.receive(&n)
		left := r.waiting.Add(-1)
		if err != nil {
			if !errors.Is(err, errGone) {
				r.s.report("%v", err)
			}
			return
		}
		if left == 0 {
			r.users.Add(1)
			go r.run()
		}
		r.first.Do(func() { r.s.beginsIn(int(n.Tid)) })
		r.s.serve(r.l, &n)
	}
}

// serve makes one call.
func (s *Supervisor) serve(l listener, n *notification) {
	c := &call{s: s, l: l, n: *n, mem: memory{int(n.Tid)}, begun: time.Now()}
	s.mu.Lock()
	s.running++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.running--
		s.mu.Unlock()
	}()
	th, err := s.thread(int(n.Tid))
	if err != nil {
		_ = l.send(answer{ID: n.ID, Flags: flagContinue})
		return
	}
	c.th = th
	th.mu.Lock()
	defer th.mu.Unlock()
	s.mu.Lock()
	s.calls[c] = true
	if !s.ticking {
		s.ticking = true
		go s.tick()
	}
	s.mu.Unlock()
	a := c.make()
	c.looking.Lock()
	c.over = true
	c.looking.Unlock()
	th.task.ForgetSignal()
	s.mu.Lock()
	delete(s.calls, c)
	s.mu.Unlock()
	if c.answered {
		return
	}
	a.ID = n.ID
	if err := l.send(a); err != nil && !s.closing.Load() {
		s.report("answer to call %d of process %d: %v", n.Nr, th.proc.tgid, err)
	}
}

// tickLength is how late a signal may be noticed by a call that waits.
const tickLength = 2 * time.Millisecond

// tick looks after calls that wait as long as there are any.
func (s *Supervisor) tick() {
	for range time.Tick(tickLength) {
		var old []*call
		s.mu.Lock()
		if len(s.calls) == 0 {
			s.ticking = false
			s.mu.Unlock()
			return
		}
		for c := range s.calls {
			if time.Since(c.begun) > tickLength {
				old = append(old, c)
			}
		}
		s.mu.Unlock()
		for _, c := range old {
			c.lookForSignal()
		}
	}
}

// Close ends the machine's processes as far as they still run, and the supervisor. It returns how many it had to end.
func (s *Supervisor) Close(ctx context.Context) (killed int) {
	for _, p := range s.all() {
		if unix.PidfdSendSignal(p.pidfd, unix.SIGKILL, nil, 0) == nil {
			killed++
		}
	}
	for s.busy() && ctx.Err() == nil {
		s.pollOnce()
		time.Sleep(time.Millisecond)
	}
	s.closing.Store(true)
	s.guard.dismiss(ctx)
	// The poller looks once more, and ends.
	_, _ = unix.Write(s.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	<-s.polled
	_, _ = unix.Close(s.poller), unix.Close(s.wake)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.namespaces {
		_ = unix.Close(n.fd)
	}
	for _, f := range s.epolls { // that were kept for somebody
		_ = unix.Close(f.epoll)
	}
	return killed
}

// busy reports whether there are processes, or work that somebody still does for one.
func (s *Supervisor) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.processes)+len(s.calls)+s.running > 0
}
