package interpose

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"nlmmap/kernel"
)

// A process is a real one and the model's task that follows it.
type process struct {
	tgid  int
	pidfd int
	task  *kernel.Task // the thread group's leader

	dead bool // it has ended, and is no longer among the supervisor's

	mu      sync.Mutex
	over    bool // its task is ended: nothing more is done to it
	threads map[int]*thread
	fds     map[int]descriptor // of netlink sockets and epolls, as far as the model has them
	others  map[int]bool       // descriptors that are neither
	rings   []ringMap
	// settled is when what the process may have done to its descriptors in the last call that was passed on is surely
	// done: until then nothing is remembered of descriptors.
	settled time.Time
	stale   bool        // descriptors may have come and gone since the last look at all of them
	forked  bool        // there may be children that nobody knows
	execed  bool        // execve was passed on: the memory may be another
	changed atomic.Bool // execve was passed on, and no other call came since
}

// A descriptor of a process is an open file here and a descriptor of the model's task.
type descriptor struct {
	file *file
	fd   int
}

// A ringMap is a mapping of rings: where the program has it, 0 as long as that is not known, and where the model's task.
type ringMap struct {
	at, model, size uint64
	inode           uint64 // of the memfd
}

// A thread is a real one. It makes one call at a time, and so does its task.
type thread struct {
	mu   sync.Mutex // one call
	tid  int
	proc *process
	task *kernel.Task
	buf  []byte
	// looked is when the thread was last seen to exist.
	looked time.Time
	// replaced is a descriptor whose placeholder a memfd has taken the place of, for the mmap call that was passed on. Who takes it
	// out closes the placeholder.
	replaced atomic.Pointer[replacement]
	// identity says that a call was passed on that may change ids or capabilities.
	identity bool
}

// isSocket reports whether a descriptor of the thread is a socket.
func (t *thread) isSocket(fd int) bool {
	name, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", t.tid, fd))
	return err == nil && strings.HasPrefix(name, "socket:")
}

type replacement struct{ at, placeholder int }

// status is what /proc/PID/status says of a thread.
type status struct {
	tgid, ppid, threads int
	cred                kernel.Credentials
	pending, shared     uint64 // signals of the thread and of the process
	blocked, ignored    uint64
}

func readStatus(tid int) (status, error) {
	var s status
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	if err != nil {
		return s, err
	}
	number := func(text string, base int) uint64 {
		n, _ := strconv.ParseUint(text, base, 64)
		return n
	}
	for line := range strings.Lines(string(data)) {
		name, rest, _ := strings.Cut(line, ":")
		f := strings.Fields(rest)
		if len(f) == 0 {
			continue
		}
		switch name {
		case "Tgid":
			s.tgid = int(number(f[0], 10))
		case "PPid":
			s.ppid = int(number(f[0], 10))
		case "Threads":
			s.threads = int(number(f[0], 10))
		case "Uid":
			s.cred.UID, s.cred.EUID, s.cred.SUID = uint32(number(f[0], 10)), uint32(number(f[1], 10)), uint32(number(f[2], 10))
		case "Gid":
			s.cred.GID, s.cred.EGID, s.cred.SGID = uint32(number(f[0], 10)), uint32(number(f[1], 10)), uint32(number(f[2], 10))
		case "CapPrm":
			s.cred.Permitted = number(f[0], 16)
		case "CapEff":
			s.cred.Effective = number(f[0], 16)
		case "SigPnd":
			s.pending = number(f[0], 16)
		case "ShdPnd":
			s.shared = number(f[0], 16)
		case "SigBlk":
			s.blocked = number(f[0], 16)
		case "SigIgn":
			s.ignored = number(f[0], 16)
		}
	}
	return s, nil
}

// thread returns the thread that a notification is of, with a task that follows it. ESRCH when it is gone already.
func (s *Supervisor) thread(tid int) (*thread, error) {
	s.mu.Lock()
	th := s.threads[tid]
	s.mu.Unlock()
	if th != nil && th.alive() {
		return th, nil
	}
	st, err := readStatus(tid)
	if err != nil {
		return nil, unix.ESRCH
	}
	p, err := s.process(st.tgid, st)
	if err != nil {
		return nil, err
	}
	th = &thread{tid: tid, proc: p, task: p.task, looked: time.Now()}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.over:
		return nil, unix.ESRCH
	case tid != p.tgid:
		net := s.netOf(tid)
		if net == nil {
			return nil, unix.ESRCH
		}
		if th.task = s.spare(p); th.task != nil {
			th.task.SetCredentials(st.cred)
			th.task.SetNet(net)
			break
		}
		_ = s.numbered(tid, func() error {
			th.task = p.task.ThreadBy(s.cur, "thread "+strconv.Itoa(tid), st.cred, net)
			return nil
		})
	}
	p.threads[tid] = th
	s.mu.Lock()
	s.threads[tid] = th
	s.mu.Unlock()
	return th, nil
}

// alive reports whether the thread is still the one that had its number at the last look. The process's own end is told, that of
// one of its threads is not.
func (th *thread) alive() bool {
	// Numbers are not given again so soon.
	if th.tid == th.proc.tgid || time.Since(th.looked) < 10*time.Millisecond {
		return true
	}
	th.looked = time.Now()
	return th.exists()
}

func (th *thread) exists() bool {
	return unix.Access(fmt.Sprintf("/proc/%d/task/%d", th.proc.tgid, th.tid), unix.F_OK) == nil
}

// spare returns the task of a thread that has ended, nil when there is none. The caller holds p.mu.
func (s *Supervisor) spare(p *process) *kernel.Task {
	const few = 16
	if len(p.threads) < few {
		return nil
	}
	for tid, th := range p.threads {
		if tid == p.tgid || th.exists() || !th.mu.TryLock() { // its last call may not be over
			continue
		}
		th.mu.Unlock()
		th.dropPlaceholder()
		delete(p.threads, tid)
		s.mu.Lock()
		if s.threads[tid] == th {
			delete(s.threads, tid)
		}
		s.mu.Unlock()
		return th.task
	}
	return nil
}

// dropPlaceholder closes a placeholder that nobody puts back any more.
func (th *thread) dropPlaceholder() {
	if r := th.replaced.Swap(nil); r != nil {
		_ = unix.Close(r.placeholder)
	}
}

// numbered calls birth, which makes a task that gets the number pid.
func (s *Supervisor) numbered(pid int, birth func() error) error {
	s.births.Lock()
	defer s.births.Unlock()
	s.kernel.SetLastPid(s.cur, pid-1)
	return birth()
}

// process returns the process with a number; one that is new is entered, as its parent's child.
func (s *Supervisor) process(tgid int, st status) (*process, error) {
	s.arrivals.Lock()
	defer s.arrivals.Unlock()
	s.mu.Lock()
	p, parent := s.processes[tgid], s.processes[st.ppid]
	s.mu.Unlock()
	if p != nil {
		return p, nil
	}
	pidfd, err := unix.PidfdOpen(tgid, 0)
	if err != nil {
		return nil, unix.ESRCH
	}
	s.guard.tell(tgid)
	p = &process{tgid: tgid, pidfd: pidfd, threads: map[int]*thread{}, fds: map[int]descriptor{}, others: map[int]bool{}, stale: true}
	if err := s.beginTask(p, parent, st.cred); err != nil {
		_ = unix.Close(pidfd)
		return nil, err
	}
	s.mu.Lock()
	s.processes[tgid] = p
	s.mu.Unlock()
	if err := s.watch(pidfd, func() { s.ended(p) }); err != nil {
		return nil, err
	}
	return p, nil
}

// beginTask makes the task of a new process, whose parent may be nil.
func (s *Supervisor) beginTask(p, parent *process, cred kernel.Credentials) error {
	name, net := nameOf(p.tgid), s.netOf(p.tgid)
	if net == nil {
		return unix.ESRCH
	}
	if parent != nil {
		parent.mu.Lock()
		defer parent.mu.Unlock()
	}
	return s.numbered(p.tgid, func() (err error) {
		if parent == nil || parent.over {
			p.task = s.kernel.NewProcess(name, net)
			p.task.SetCredentials(cred)
			return nil
		}
		if p.task, err = parent.task.ForkBy(s.cur, name, cred, net); err != nil {
			return err
		}
		p.fds, p.rings = maps.Clone(parent.fds), slices.Clone(parent.rings) // as the model's are copies
		p.execed = len(p.rings) > 0
		return nil
	})
}

// nameOf is how a process is called in traces.
func nameOf(tgid int) string {
	comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", tgid)) // a process that has gone has none
	return fmt.Sprintf("%s[%d]", bytes.TrimSpace(comm), tgid)
}

// afterExec takes note of what execve has done, if it was not refused: the memory is another, and some descriptors are closed.
func (s *Supervisor) afterExec(p *process) {
	p.changed.Store(false)
	p.mu.Lock()
	defer p.mu.Unlock()
	s.remap(p)
	s.compare(p)
	p.task.Name = nameOf(p.tgid)
}

// ended is called when a process has exited or was killed. What only it refers to in the model, and somebody else still does
// here (a child that nobody knows, a message in flight), is kept.
func (s *Supervisor) ended(p *process) {
	s.mu.Lock()
	if p.dead {
		s.mu.Unlock()
		return
	}
	p.dead = true
	delete(s.processes, p.tgid)
	for tid, th := range s.threads {
		if th.proc == p {
			delete(s.threads, tid)
		}
	}
	s.mu.Unlock()
	s.unwatch(p.pidfd)
	s.adoptChildren(p)
	s.pollOnce()
	p.mu.Lock()
	p.over = true
	for _, d := range p.fds {
		s.keep(p, d)
	}
	for _, th := range p.threads {
		th.dropPlaceholder()
	}
	p.mu.Unlock()
	p.task.KillBy(s.cur)
	_ = unix.Close(p.pidfd)
}

// lookup returns what a descriptor of a process is, nil for what is neither a netlink socket nor an epoll of the model.
func (s *Supervisor) lookup(p *process, fd int) (*file, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	settled := time.Now().After(p.settled)
	if d, ok := p.fds[fd]; ok && settled {
		return d.file, d.fd
	}
	if settled && p.others[fd] {
		return nil, -1
	}
	return s.identify(p, fd)
}

// identify looks at a descriptor anew. The caller holds p.mu.
func (s *Supervisor) identify(p *process, fd int) (*file, int) {
	if p.over {
		return nil, -1
	}
	link, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", p.tgid, fd))
	f := s.fileOf(p, fd, link)
	if d, ok := p.fds[fd]; ok {
		if d.file == f {
			return d.file, d.fd
		}
		s.drop(p, fd)
	}
	switch {
	case err != nil:
		delete(p.others, fd)
	case f == nil:
		p.others[fd] = true
	default:
		delete(p.others, fd)
		if n, err := s.share(f, p); err == nil {
			p.fds[fd] = descriptor{f, n}
			return f, n
		}
	}
	return nil, -1
}

// drop takes a descriptor out of the model's table, unless it is the last of a file that is still open. The caller holds p.mu.
func (s *Supervisor) drop(p *process, fd int) {
	d := p.fds[fd]
	delete(p.fds, fd)
	s.keep(p, d)
	_ = p.task.CloseBy(s.cur, d.fd)
}

// changes notes that a call is passed on that may change descriptors.
func (p *process) changes() {
	p.mu.Lock()
	// What such a call does is done in microseconds; nobody says when.
	p.settled = time.Now().Add(20 * time.Millisecond)
	p.stale = true
	clear(p.others)
	p.mu.Unlock()
}

// refresh makes the descriptors and mappings of all processes in the model those that they have: before a call whose result
// depends on their number.
func (s *Supervisor) refresh() {
	for _, p := range s.all() {
		s.adoptChildren(p)
	}
	for _, p := range s.all() {
		p.mu.Lock()
		if p.over {
			p.mu.Unlock()
			continue
		}
		if p.stale || time.Now().Before(p.settled) {
			p.stale = false
			s.compare(p)
		}
		s.remap(p)
		p.mu.Unlock()
	}
	s.hangups()
}

// all returns the processes in order of their numbers.
func (s *Supervisor) all() []*process {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*process
	for _, p := range s.processes {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *process) int { return a.tgid - b.tgid })
	return all
}

// adoptChildren enters children of a process that have not made a call yet.
func (s *Supervisor) adoptChildren(p *process) {
	p.mu.Lock()
	look := p.forked
	p.forked = time.Now().Before(p.settled)
	p.mu.Unlock()
	if !look {
		return
	}
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.tgid))
	for _, list := range lists {
		data, _ := os.ReadFile(list)
		for _, field := range strings.Fields(string(data)) {
			pid, _ := strconv.Atoi(field)
			st, err := readStatus(pid)
			if err != nil || st.tgid != pid {
				continue
			}
			if c, err := s.process(pid, st); err == nil {
				c.mu.Lock()
				c.forked = true
				c.mu.Unlock()
				s.adoptChildren(c)
			}
		}
	}
}

// compare looks at all descriptors of a process. The caller holds p.mu.
func (s *Supervisor) compare(p *process) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.tgid))
	if err != nil {
		return
	}
	open := map[int]bool{}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		open[fd] = true
		if !p.others[fd] {
			s.identify(p, fd)
		}
	}
	for fd := range p.fds {
		if !open[fd] {
			s.drop(p, fd)
		}
	}
}

// remap makes the mappings in the model those that the process has. The caller holds p.mu.
func (s *Supervisor) remap(p *process) {
	unknown := slices.ContainsFunc(p.rings, func(r ringMap) bool { return r.at == 0 })
	if p.over || !unknown && !p.execed {
		return
	}
	p.execed = len(p.rings) > 0 && time.Now().Before(p.settled) // it may not have happened yet
	actual := ringMappings(p.tgid)
	for i := range p.rings {
		r := &p.rings[i]
		if r.at != 0 {
			continue
		}
		for _, m := range actual {
			known := slices.ContainsFunc(p.rings, func(o ringMap) bool { return o.at != 0 && o.at <= m.at && m.at < o.at+o.size })
			if m.inode == r.inode && m.size == r.size && !known {
				r.at = m.at
				break
			}
		}
	}
	p.rings = slices.DeleteFunc(p.rings, func(r ringMap) bool {
		if r.at != 0 && slices.ContainsFunc(actual, func(m ringMap) bool { return m.inode == r.inode && m.at < r.at+r.size && r.at < m.at+m.size }) {
			return false
		}
		_ = p.task.MunmapBy(s.cur, r.model, r.size)
		return true
	})
}

// ringMappings reads the mappings of ring memory from /proc/PID/maps.
func ringMappings(pid int) []ringMap {
	f, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return nil
	}
	defer f.Close()
	var rings []ringMap
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 6 || !strings.HasPrefix(fields[5], "/memfd:netlink-ring") {
			continue
		}
		from, to, _ := strings.Cut(fields[0], "-")
		start, err1 := strconv.ParseUint(from, 16, 64)
		end, err2 := strconv.ParseUint(to, 16, 64)
		inode, err3 := strconv.ParseUint(fields[4], 10, 64)
		if err1 == nil && err2 == nil && err3 == nil {
			rings = append(rings, ringMap{at: start, size: end - start, inode: inode})
		}
	}
	return rings
}
