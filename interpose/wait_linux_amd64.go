package interpose

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"nlmmap/kernel"
	"nlmmap/sys"
	"nlmmap/uapi"
)

// both waits on both sides: model waits in the model, at most timeout, and must be called again when it was interrupted by the
// other side; fds are copies of descriptors of the kernel underneath. It returns when one side has something, the time is over,
// or with EINTR after a signal.
func (c *call) both(fds []unix.PollFd, timeout kernel.Time, model func(kernel.Time) (int, error)) (int, error) {
	if len(fds) == 0 || timeout == 0 {
		n, err := model(timeout)
		if err == nil && len(fds) > 0 {
			var m int
			m, err = pollNow(fds)
			n += m
		}
		return n, err
	}
	if n, err := pollNow(fds); n > 0 || err != nil {
		if err != nil {
			return 0, err
		}
		m, err := model(0)
		return n + m, err
	}
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return 0, err
	}
	defer unix.Close(stop)
	var theirs bool
	end := make(chan struct{})
	go func() {
		defer close(end)
		p := append(slices.Clone(fds), unix.PollFd{Fd: int32(stop), Events: unix.POLLIN})
		for {
			_, err := unix.Poll(p, -1)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if p[len(p)-1].Revents == 0 {
				theirs = true
				c.th.task.Interrupt()
			}
			return
		}
	}()
	n, err := model(timeout)
	_, _ = unix.Write(stop, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	<-end
	if !c.interrupted.Load() {
		c.th.task.ForgetSignal()
	}
	if errors.Is(err, sys.EINTR) && theirs {
		n, err = model(0)
	}
	if err != nil {
		return 0, err
	}
	m, err := pollNow(fds)
	return n + m, err
}

func pollNow(fds []unix.PollFd) (int, error) {
	for {
		n, err := unix.Poll(fds, 0)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// A pollSet is the descriptors of a poll or select call, by side.
type pollSet struct {
	ours     []kernel.PollFD
	oursAt   []int // places in the call
	theirs   []unix.PollFd
	theirsAt []int
	bad      []int // places of descriptors that are not open
}

// sort finds out which side a descriptor belongs to: an epoll to both, as each has a part of its events. It reports whether
// the model has to do with any. Copies of descriptors of the other side are closed by close.
func (c *call) sort(fds []int, events []uint32) (*pollSet, bool) {
	p := c.th.proc
	set := &pollSet{}
	var theirs []int // places
	for i, fd := range fds {
		if fd < 0 {
			continue
		}
		f, n := c.s.lookup(p, fd)
		if f != nil {
			set.ours, set.oursAt = append(set.ours, kernel.PollFD{FD: n, Events: events[i]}), append(set.oursAt, i)
		}
		if f == nil || f.isEpoll() {
			theirs = append(theirs, i)
		}
	}
	if len(set.ours) == 0 {
		return nil, false
	}
	for _, i := range theirs {
		own, err := unix.PidfdGetfd(p.pidfd, fds[i], 0)
		if err != nil {
			set.bad = append(set.bad, i)
			continue
		}
		set.theirs, set.theirsAt = append(set.theirs, unix.PollFd{Fd: int32(own), Events: int16(events[i])}), append(set.theirsAt, i)
	}
	return set, true
}

func (set *pollSet) close() {
	for _, p := range set.theirs {
		_ = unix.Close(int(p.Fd))
	}
}

// wait fills in revents, by place, and returns how many places have some.
func (c *call) wait(set *pollSet, timeout kernel.Time, revents []uint32) (int, error) {
	if len(set.bad) > 0 {
		timeout = 0
	}
	c.s.hangups()
	_, err := c.both(set.theirs, timeout, func(t kernel.Time) (int, error) { return c.th.task.Poll(set.ours, t) })
	if err != nil {
		return 0, err
	}
	for i, p := range set.ours {
		revents[set.oursAt[i]] |= p.Revents
	}
	for i, p := range set.theirs {
		revents[set.theirsAt[i]] |= uint32(uint16(p.Revents))
	}
	for _, at := range set.bad {
		revents[at] = unix.POLLNVAL
	}
	n := 0
	for _, r := range revents {
		if r != 0 {
			n++
		}
	}
	return n, nil
}

func milliseconds(ms int32) kernel.Time {
	if ms < 0 {
		return -1
	}
	return kernel.Time(ms) * kernel.Millisecond
}

// timespec reads a struct timespec, or a timeval when unit is a microsecond: -1 for a NULL pointer.
func (c *call) timespec(at uint64, unit kernel.Time) (kernel.Time, error) {
	if at == 0 {
		return -1, nil
	}
	var b [16]byte
	if err := c.mem.read(at, b[:]); err != nil {
		return 0, err
	}
	sec, part := int64(binary.LittleEndian.Uint64(b[:])), int64(binary.LittleEndian.Uint64(b[8:]))
	if sec < 0 || part < 0 || unit == 1 && part >= int64(time.Second) {
		return 0, unix.EINVAL
	}
	if sec > math.MaxInt64/int64(time.Second)/2 {
		return -1, nil
	}
	return kernel.Time(sec)*kernel.Second + kernel.Time(part)*unit, nil
}

// mask reads the signals that a call blocks while it waits.
func (c *call) mask(at uint64) error {
	if at == 0 {
		return nil
	}
	var b [8]byte
	if err := c.mem.read(at, b[:]); err != nil {
		return err
	}
	m := binary.LittleEndian.Uint64(b[:])
	c.sigmask.Store(&m)
	return nil
}

// waited is the answer to a call that waits for events. With a signal mask of its own, only the kernel underneath can take the
// signal under it: the call is passed on, and finds the signal pending.
func (c *call) waited(n int, err error, restart int32) answer {
	if errors.Is(err, sys.EINTR) && c.interrupted.Load() && c.sigmask.Load() != nil {
		return pass()
	}
	return c.ended(n, err, restart)
}

func (c *call) poll() answer {
	const most = 1 << 16
	n := uint32(c.arg(1))
	if n > most {
		return pass() // EINVAL
	}
	buf := make([]byte, 8*n)
	if c.mem.read(c.arg(0), buf) != nil {
		return pass() // EFAULT
	}
	fds, events := make([]int, n), make([]uint32, n)
	for i := range fds {
		fds[i] = int(int32(binary.LittleEndian.Uint32(buf[8*i:])))
		events[i] = uint32(binary.LittleEndian.Uint16(buf[8*i+4:]))
	}
	set, ours := c.sort(fds, events)
	if !ours {
		return pass()
	}
	defer set.close()
	timeout := milliseconds(int32(c.arg(2)))
	if c.n.Nr == unix.SYS_PPOLL {
		var err error
		if timeout, err = c.timespec(c.arg(2), 1); err != nil {
			return fail(err)
		}
		if err := c.mask(c.arg(3)); err != nil {
			return fail(err)
		}
	}
	revents := make([]uint32, n)
	ready, err := c.wait(set, timeout, revents)
	if err != nil {
		return c.waited(0, err, erestartnohand)
	}
	for i, r := range revents {
		binary.LittleEndian.PutUint16(buf[8*i+6:], uint16(r))
	}
	if err := c.mem.write(c.arg(0), buf); err != nil {
		return fail(err)
	}
	return result(int64(ready))
}

// The events of select's three sets.
const (
	selectIn  = uapi.PollIn | uapi.PollRdnorm | uapi.PollRdband | uapi.PollHup | uapi.PollErr
	selectOut = uapi.PollOut | uapi.PollWrnorm | uapi.PollWrband | uapi.PollErr
	selectPri = uapi.PollPri
)

func (c *call) selectCall() answer {
	n := int(int32(c.arg(0)))
	if n < 0 || n > 1<<16 {
		return pass()
	}
	size := (n + 63) / 64 * 8
	sets := make([][]byte, 3)
	var fds []int
	var events []uint32
	for i, bits := range [...]uint32{selectIn, selectOut, selectPri} {
		if c.arg(1+i) == 0 {
			continue
		}
		sets[i] = make([]byte, size)
		if c.mem.read(c.arg(1+i), sets[i]) != nil {
			return pass() // EFAULT
		}
		for fd := range n {
			if sets[i][fd/8]&(1<<(fd%8)) == 0 {
				continue
			}
			if at := slices.Index(fds, fd); at >= 0 {
				events[at] |= bits
			} else {
				fds, events = append(fds, fd), append(events, bits)
			}
		}
	}
	set, ours := c.sort(fds, events)
	if !ours {
		return pass()
	}
	defer set.close()
	if len(set.bad) > 0 {
		return fail(unix.EBADF)
	}
	unit := kernel.Time(time.Microsecond)
	if c.n.Nr == unix.SYS_PSELECT6 {
		unit = 1
	}
	timeout, err := c.timespec(c.arg(4), unit)
	if err != nil {
		return fail(err)
	}
	if c.n.Nr == unix.SYS_PSELECT6 && c.arg(5) != 0 {
		var b [16]byte // a pointer to the mask, and its size
		if err := c.mem.read(c.arg(5), b[:]); err != nil {
			return fail(err)
		}
		if err := c.mask(binary.LittleEndian.Uint64(b[:])); err != nil {
			return fail(err)
		}
	}
	revents := make([]uint32, len(fds))
	begun := time.Now()
	if _, err := c.wait(set, timeout, revents); err != nil {
		return c.waited(0, err, erestartnohand)
	}
	ready := 0
	for i, bits := range [...]uint32{selectIn, selectOut, selectPri} {
		if sets[i] == nil {
			continue
		}
		for at, fd := range fds {
			bit := byte(1 << (fd % 8))
			if sets[i][fd/8]&bit == 0 {
				continue
			}
			if revents[at]&bits != 0 {
				ready++
			} else {
				sets[i][fd/8] &^= bit
			}
		}
		if err := c.mem.write(c.arg(1+i), sets[i]); err != nil {
			return fail(err)
		}
	}
	if timeout >= 0 { // what is left of it, which programs rely on only with Linux's select
		left := max(timeout-kernel.Time(time.Since(begun)), 0)
		var b [16]byte
		binary.LittleEndian.PutUint64(b[:], uint64(left/kernel.Second))
		binary.LittleEndian.PutUint64(b[8:], uint64(left%kernel.Second/unit))
		_ = c.mem.write(c.arg(4), b[:]) // a read-only timeout is no error
	}
	return result(int64(ready))
}

// epollCreate makes an epoll descriptor on both sides. The supervisor has a copy of the real one, by which it is known again.
func (c *call) epollCreate() answer {
	cloexec := false
	if c.n.Nr == unix.SYS_EPOLL_CREATE1 {
		if c.arg(0)&^unix.EPOLL_CLOEXEC != 0 {
			return pass() // EINVAL
		}
		cloexec = c.arg(0)&unix.EPOLL_CLOEXEC != 0
	} else if int32(c.arg(0)) <= 0 {
		return pass() // EINVAL
	}
	own, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fail(err)
	}
	fd, err := c.th.task.EpollCreate()
	if err != nil {
		_ = unix.Close(own)
		return fail(err)
	}
	f := &file{far: -1, epoll: own, data: map[int]uint64{}}
	if err := c.install(f, fd, own, cloexec); err != nil {
		_ = unix.Close(own)
		return fail(err)
	}
	return answer{}
}

// epollCtl keeps netlink sockets in the model's epoll, and leaves the others to the real one.
func (c *call) epollCtl() answer {
	p := c.th.proc
	ep, epfd := c.s.lookup(p, c.fd())
	f, fd := c.s.lookup(p, int(int32(c.arg(2))))
	if f == nil || f.isEpoll() || ep == nil || !ep.isEpoll() {
		return pass()
	}
	c.s.hangups()
	op := int(int32(c.arg(1)))
	var events uint32
	var data uint64
	if op != unix.EPOLL_CTL_DEL {
		var b [12]byte
		if err := c.mem.read(c.arg(3), b[:]); err != nil {
			return fail(err)
		}
		events, data = binary.LittleEndian.Uint32(b[:]), binary.LittleEndian.Uint64(b[4:])
	}
	// Before the call: an event may come at once.
	ep.mu.Lock()
	old, had := ep.data[fd]
	if op != unix.EPOLL_CTL_DEL {
		ep.data[fd] = data
	}
	ep.mu.Unlock()
	err := c.th.task.EpollCtl(epfd, op, fd, events)
	ep.mu.Lock()
	switch {
	case err != nil && had:
		ep.data[fd] = old
	case err != nil || op == unix.EPOLL_CTL_DEL:
		delete(ep.data, fd)
	}
	ep.mu.Unlock()
	return done(0, err)
}

func (c *call) epollWait() answer {
	ep, epfd := c.s.lookup(c.th.proc, c.fd())
	if ep == nil || !ep.isEpoll() {
		return pass()
	}
	limit := int(int32(c.arg(2)))
	const most = math.MaxInt32 / 12
	if limit <= 0 || limit > most {
		return fail(unix.EINVAL)
	}
	timeout := milliseconds(int32(c.arg(3)))
	if c.n.Nr == unix.SYS_EPOLL_PWAIT2 {
		var err error
		if timeout, err = c.timespec(c.arg(3), 1); err != nil {
			return fail(err)
		}
	}
	if c.n.Nr != unix.SYS_EPOLL_WAIT {
		if err := c.mask(c.arg(4)); err != nil {
			return fail(err)
		}
	}
	watched := signalfds(c.th.tid, c.fd())
	c.looking.Lock()
	for _, w := range watched {
		c.signalfds |= w.signals
	}
	c.looking.Unlock()
	limit = min(limit, 4096)
	deadline := time.Now().Add(time.Duration(timeout))
	ep.mu.Lock()
	defer ep.mu.Unlock()
	var events []event
	for {
		var ours []kernel.EpollEvent
		wait := func(t kernel.Time) (int, error) {
			var err error
			ours, err = c.th.task.EpollWait(epfd, limit, t)
			return len(ours), err
		}
		ep.mu.Unlock()
		n, err := c.both([]unix.PollFd{{Fd: int32(ep.epoll), Events: unix.POLLIN}}, timeout, wait)
		ep.mu.Lock()
		signalled := signalEvents(c.th.tid, watched)
		if err != nil && len(signalled) == 0 {
			return c.waited(n, err, int32(unix.EINTR))
		}
		events = append(ep.events(ours, limit), signalled...)
		if events = events[:min(len(events), limit)]; len(events) > 0 || n == 0 || timeout == 0 {
			break
		}
		// What was ready has been taken out meanwhile, or somebody else was told of it.
		if timeout > 0 {
			timeout = max(kernel.Time(time.Until(deadline)), 0)
		}
	}
	ep.arrange(events)
	out := make([]byte, 0, 12*len(events))
	for _, e := range events {
		out = binary.LittleEndian.AppendUint32(out, e.events)
		out = binary.LittleEndian.AppendUint64(out, e.data)
	}
	if err := c.mem.write(c.arg(1), out); err != nil {
		return fail(err)
	}
	return result(int64(len(events)))
}

// A watchedSignals is a signalfd that an epoll watches. It is readable for who has the signals, and not for the supervisor's copy.
type watchedSignals struct {
	signals uint64
	data    uint64 // what the program gets with the event
}

// signalfds returns the signalfds that a thread's epoll watches.
func signalfds(tid, epfd int) (list []watchedSignals) {
	for _, line := range fdinfo(tid, epfd, "tfd:") { // tfd: 4 events: 19 data: 56067d506080
		if len(line) < 6 {
			continue
		}
		fd, err := strconv.Atoi(line[1])
		if err != nil {
			continue
		}
		for _, set := range fdinfo(tid, fd, "sigmask:") {
			var w watchedSignals
			w.signals, _ = strconv.ParseUint(set[1], 16, 64)
			w.data, _ = strconv.ParseUint(line[5], 16, 64)
			list = append(list, w)
		}
	}
	return list
}

// signalEvents returns the events of the signalfds that a signal has come for.
func signalEvents(tid int, watched []watchedSignals) (events []event) {
	if len(watched) == 0 {
		return nil
	}
	st, err := readStatus(tid)
	if err != nil {
		return nil
	}
	for _, w := range watched {
		if (st.pending|st.shared)&w.signals != 0 {
			events = append(events, event{unix.EPOLLIN, w.data, false})
		}
	}
	return events
}

// fdinfo returns the lines that begin with a key, as words, of what /proc says of a descriptor.
func fdinfo(tid, fd int, key string) (lines [][]string) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", tid, fd))
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(data)) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == key {
			lines = append(lines, words)
		}
	}
	return lines
}

// events returns the events of both sides, at most limit. The caller holds f.mu.
func (f *file) events(ours []kernel.EpollEvent, limit int) []event {
	var events []event
	for _, e := range ours {
		// Another thread may have taken the descriptor out since it was ready.
		if data, ok := f.data[e.FD]; ok {
			events = append(events, event{e.Events, data, true})
		}
	}
	room := limit - len(events)
	if room == 0 {
		return events
	}
	theirs := make([]unix.EpollEvent, min(room, 512))
	n, err := unix.EpollWait(f.epoll, theirs, 0)
	if err != nil {
		return events
	}
	for _, e := range theirs[:n] {
		events = append(events, event{e.Events, uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32, false})
	}
	return events
}

// An event of an epoll, of one side or the other.
type event struct {
	events uint32
	data   uint64
	ours   bool
}

// arrange puts the events of both sides into one order: what was ready before, as level-triggered descriptors stay, comes as it came
// then, and what is new behind it. The caller holds f.mu.
func (f *file) arrange(events []event) {
	place := func(e event) int {
		at := slices.IndexFunc(f.last, func(o event) bool { return o.data == e.data && o.ours == e.ours })
		if at < 0 {
			return len(f.last)
		}
		return at
	}
	slices.SortStableFunc(events, func(a, b event) int { return place(a) - place(b) })
	f.last = slices.Clone(events)
}
