package kernel_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"nlmmap/kernel"
	"nlmmap/kernel/inspect"
	"nlmmap/kernel/sched"
	"nlmmap/uapi"
)

// TestPoll: a poll that sleeps is woken by what arrives, and time passes only as far as it must.
func TestPoll(t *testing.T) {
	m := boot(t, kernel.Config{})
	fd, d := m.open(0)
	in := func() []kernel.PollFD { return []kernel.PollFD{{FD: fd, Events: uapi.PollIn}} }
	if n, err := m.Task.Poll(in(), 0); n != 0 || err != nil {
		t.Errorf("poll of nothing: %d %v", n, err)
	}
	if n, err := m.Task.Poll(in(), 30*kernel.Millisecond); n != 0 || err != nil || m.Kernel.Now() != 30*kernel.Millisecond {
		t.Errorf("poll: %d %v at %v", n, err, m.Kernel.Now())
	}
	timer := kernel.Timer{Fn: func(cur *kernel.Task) { d.push(cur, 9) }}
	m.ModTimer(m.KernelTask("test"), &timer, 5*kernel.Millisecond)
	fds := in()
	if n, err := m.Task.Poll(fds, kernel.Second); n != 1 || err != nil || m.Kernel.Now() != 35*kernel.Millisecond || fds[0].Revents != uapi.PollIn {
		t.Errorf("poll: %d %v %#x at %v", n, err, fds[0].Revents, m.Kernel.Now())
	}
	fds = []kernel.PollFD{{FD: 99, Events: uapi.PollIn}, {FD: fd, Events: uapi.PollOut}}
	if n, err := m.Task.Poll(fds, kernel.Second); n != 2 || err != nil || fds[0].Revents != uapi.PollNval || fds[1].Revents != uapi.PollOut {
		t.Errorf("poll: %d %v %+v", n, err, fds)
	}
}

func TestSelect(t *testing.T) {
	m := boot(t, kernel.Config{})
	a, da := m.open(0)
	b, _ := m.open(0)
	da.push(m.KernelTask("irq"), 1)
	r, w, e, err := m.Select([]int{a, b}, []int{b}, []int{a}, 0)
	if !slices.Equal(r, []int{a}) || !slices.Equal(w, []int{b}) || len(e) != 0 || err != nil {
		t.Errorf("select: %v %v %v %v", r, w, e, err)
	}
	_, _, _, err = m.Select([]int{77}, nil, nil, 0)
	wantErr(t, err, kernel.EBADF)
}

// TestEpoll shows the difference between level and edge: what was not read is reported again, or not.
func TestEpoll(t *testing.T) {
	for _, edge := range []bool{false, true} {
		m := boot(t, kernel.Config{})
		fd, d := m.open(0)
		ep, err := m.EpollCreate()
		must(t, err)
		events := uint32(uapi.PollIn)
		if edge {
			events |= uapi.EpollET
		}
		must(t, m.EpollCtl(ep, kernel.EpollAdd, fd, events))
		wantErr(t, m.EpollCtl(ep, kernel.EpollAdd, fd, events), kernel.EEXIST)
		wait := func(want int) {
			t.Helper()
			got, err := m.EpollWait(ep, 8, 0)
			if err != nil || len(got) != want || want == 1 && got[0] != (kernel.EpollEvent{FD: fd, Events: uapi.PollIn}) {
				t.Errorf("edge %t: %v %v, want %d events", edge, got, err, want)
			}
		}
		wait(0)
		irq := m.KernelTask("irq")
		d.push(irq, 1)
		wait(1)
		if edge {
			wait(0)
			must(t, m.EpollCtl(ep, kernel.EpollMod, fd, events))
			wait(1) // a change looks again
		} else {
			wait(1)
		}
		_, err = m.Recvmsg(fd, &kernel.Msghdr{}, 0)
		must(t, err)
		wait(0)
		d.push(irq, 2)
		fds := []kernel.PollFD{{FD: ep, Events: uapi.PollIn}}
		if n, _ := m.Task.Poll(fds, 0); n != 1 {
			t.Error("the epoll descriptor is not readable")
		}
		must(t, m.EpollCtl(ep, kernel.EpollDel, fd, 0))
		wait(0)
		wantErr(t, m.EpollCtl(ep, kernel.EpollDel, fd, 0), kernel.ENOENT)
		must(t, m.EpollCtl(ep, kernel.EpollAdd, fd, events))
		must(t, m.Task.Close(fd)) // the watched file goes, and leaves the list
		wait(0)
		_, err = m.EpollWait(ep, 0, 0)
		wantErr(t, err, kernel.EINVAL)
	}
}

// TestEpollMax: with room for fewer events than there are, all are seen in turn.
func TestEpollMax(t *testing.T) {
	m := boot(t, kernel.Config{})
	ep, err := m.EpollCreate()
	must(t, err)
	want := map[int]bool{}
	for range 3 {
		fd, d := m.open(0)
		must(t, m.EpollCtl(ep, kernel.EpollAdd, fd, uapi.PollIn|uapi.EpollET))
		d.push(m.KernelTask("irq"), 1)
		want[fd] = true
	}
	for range 3 {
		got, err := m.EpollWait(ep, 1, 0)
		must(t, err)
		if len(got) != 1 || !want[got[0].FD] {
			t.Fatalf("%v, want one of %v", got, want)
		}
		delete(want, got[0].FD)
	}
}

// TestTimers: timers fire in order of time, then of their making, whether time passes by Advance or in a sleep.
func TestTimers(t *testing.T) {
	m := boot(t, kernel.Config{})
	var fired []string
	timers := map[string]*kernel.Timer{}
	for _, c := range []struct {
		name string
		at   kernel.Time
	}{{"c", 3}, {"a", 1}, {"b1", 2}, {"b2", 2}, {"never", 2}} {
		tm := &kernel.Timer{Fn: func(*kernel.Task) { fired = append(fired, fmt.Sprint(c.name, "@", int64(m.Kernel.Now()))) }}
		timers[c.name] = tm
		m.ModTimer(m.KernelTask("test"), tm, c.at)
	}
	if !m.DelTimer(m.KernelTask("test"), timers["never"]) || m.DelTimer(m.KernelTask("test"), timers["never"]) || m.TimerPending(m.KernelTask("test"), timers["never"]) || !m.TimerPending(m.KernelTask("test"), timers["a"]) {
		t.Error("a stopped timer is pending")
	}
	m.Advance(2)
	if got := strings.Join(fired, " "); got != "a@1 b1@2 b2@2" {
		t.Error(got)
	}
	m.ModTimer(m.KernelTask("test"), timers["c"], 10)
	m.Advance(1)
	if !m.FireTimer(m.KernelTask("irq")) || m.FireTimer(m.KernelTask("irq")) || fired[3] != "c@12" {
		t.Error(fired)
	}
}

// TestErrBlocks: an inline call that waits for what never comes ends after Patience, and says so.
func TestErrBlocks(t *testing.T) {
	m := boot(t, kernel.Config{Patience: 3 * kernel.Second})
	fd, _ := m.open(0)
	_, err := m.Recvmsg(fd, &kernel.Msghdr{}, 0)
	wantErr(t, err, kernel.ErrBlocks)
	wantErr(t, err, kernel.EINTR)
	if m.Kernel.Now() != 3*kernel.Second {
		t.Errorf("it waited until %v", m.Kernel.Now())
	}
	_, err = m.Recvmsg(fd, &kernel.Msghdr{}, uapi.MsgDontwait)
	wantErr(t, err, kernel.EAGAIN)
	if errors.Is(err, kernel.ErrBlocks) {
		t.Error("a call that does not wait blocks")
	}
	if _, err := m.Task.Poll(nil, -1); !errors.Is(err, kernel.ErrBlocks) {
		t.Errorf("poll of nothing for ever: %v", err)
	}
}

// TestInterrupt: a signal that is pending ends a sleep at once, and only one.
func TestInterrupt(t *testing.T) {
	m := boot(t, kernel.Config{})
	fd, d := m.open(0)
	m.Interrupt()
	if !m.SignalPending() {
		t.Error("no signal is pending")
	}
	_, err := m.Recvmsg(fd, &kernel.Msghdr{}, 0)
	wantErr(t, err, kernel.EINTR)
	if errors.Is(err, kernel.ErrBlocks) || m.Kernel.Now() != 0 {
		t.Errorf("%v at %v", err, m.Kernel.Now())
	}
	d.push(m.KernelTask("irq"), 5)
	if n, err := m.Recvmsg(fd, &kernel.Msghdr{}, 0); n != 5 || err != nil {
		t.Errorf("%d %v", n, err)
	}
}

// TestHang: a task that waits for a lock that it holds itself stays in the kernel for ever.
func TestHang(t *testing.T) {
	m := boot(t, kernel.Config{})
	fd, d := m.open(0)
	stuck, err := m.Fork("stuck")
	must(t, err)
	d.onIoctl = func(cur *kernel.Task) (int, error) {
		d.lock.Lock(cur)
		d.lock.Lock(cur)
		return 0, nil
	}
	_, err = stuck.Sendto(fd, nil, 0, nil)
	wantErr(t, err, kernel.ErrBlocks)
	if !stuck.Hung() || !strings.Contains(err.Error(), "waits for device, which stuck holds") {
		t.Errorf("hung %t, %v", stuck.Hung(), err)
	}
	_, err = stuck.Dup(fd)
	wantErr(t, err, kernel.ErrBlocks)
	if _, err := m.Dup(fd); err != nil {
		t.Errorf("another process: %v", err)
	}
	d.onIoctl = func(cur *kernel.Task) (int, error) { cur.Spin("a test"); return 0, nil }
	_, err = m.Sendto(fd, nil, 0, nil)
	wantErr(t, err, kernel.ErrBlocks)
}

// TestOops: a fault in the kernel kills the process, its threads too, and taints the machine.
func TestOops(t *testing.T) {
	m := boot(t, kernel.Config{})
	fd, d := m.open(0)
	child, err := m.Fork("child")
	must(t, err)
	thread, err := child.Thread("thread")
	must(t, err)
	d.onIoctl = func(cur *kernel.Task) (int, error) {
		d.lock.Lock(cur)
		defer d.lock.Unlock(cur)
		cur.Kernel().Oops(cur, "a-defect", "null pointer")
		return 0, nil
	}
	_, err = thread.Sendto(fd, nil, 0, nil)
	wantErr(t, err, kernel.ErrKilled)
	if !child.Dead() || !thread.Dead() || m.HasProcess(m.Task, child.Tgid()) || !m.HasProcess(m.Task, m.Tgid()) || !m.Tainted() {
		t.Error("the wrong process was killed")
	}
	_, err = child.Dup(fd)
	wantErr(t, err, kernel.ESRCH)
	if n := m.FileOf(inspect.Key{}, fd).Count(m.Task); n != 1 {
		t.Errorf("f_count %d", n)
	}
}

func TestCapabilities(t *testing.T) {
	m := boot(t, kernel.Config{})
	task := m.Task
	if !task.Capable(uapi.CapNetAdmin) {
		t.Fatal("root cannot")
	}
	before := task.Cred()
	must(t, task.SetCapability(uapi.CapNetAdmin, false))
	if task.Capable(uapi.CapNetAdmin) || !task.Capable(uapi.CapSysAdmin) || !before.Capable(uapi.CapNetAdmin) {
		t.Error("dropping one capability changes something else")
	}
	must(t, task.SetCapability(uapi.CapNetAdmin, true))
	must(t, task.Seteuid(1000))
	if task.Capable(uapi.CapNetAdmin) {
		t.Error("uid 1000 can")
	}
	wantErr(t, task.Seteuid(1001), kernel.EPERM)
	must(t, task.Seteuid(0)) // the real id is still 0
	if !task.Capable(uapi.CapNetAdmin) {
		t.Error("coming back to 0 does not restore")
	}
	task.SetIDs(100000, 100000, &kernel.UserNS{Inside: 0, Outside: 100000, Count: 10})
	if task.Capable(uapi.CapNetAdmin) || task.NetCapable(m.InitNet(), uapi.CapNetAdmin) {
		t.Error("root of a user namespace can in the initial one")
	}
}

// TestIdentity: a process that runs elsewhere has the ids and capabilities that it is said to have, and may become each of its ids.
func TestIdentity(t *testing.T) {
	m := boot(t, kernel.Config{})
	ids := kernel.Credentials{UID: 1, EUID: 2, SUID: 3, GID: 4, EGID: 5, SGID: 6, Permitted: 1 << uapi.CapNetAdmin, Effective: 1 << uapi.CapNetAdmin}
	for _, uid := range []uint32{1, 2, 3} {
		task := m.Kernel.NewProcess("elsewhere", m.InitNet())
		task.SetCredentials(ids)
		if c := task.Cred(); c.EUID != 2 || c.EGID != 5 || !task.Capable(uapi.CapNetAdmin) || task.Capable(uapi.CapSysAdmin) {
			t.Errorf("%+v", c)
		}
		wantErr(t, task.Seteuid(4), kernel.EPERM)
		must(t, task.Seteuid(uid))
		if got := task.Cred().EUID; got != uid {
			t.Errorf("uid %d, want %d", got, uid)
		}
	}
	m.SetCredentials(kernel.Credentials{Permitted: 1 << uapi.CapNetAdmin})
	if m.Capable(uapi.CapNetAdmin) {
		t.Error("what is permitted is not yet effective")
	}
}

// TestMemory: what was not given is not missing afterwards.
func TestMemory(t *testing.T) {
	k, err := kernel.Boot(kernel.Config{RAM: 4 * uapi.PageSize})
	must(t, err)
	cur := k.KernelTask("driver")
	for range 2 {
		_, err := k.AllocPages(cur, 5*uapi.PageSize)
		wantErr(t, err, kernel.ENOMEM)
	}
	mem, err := k.AllocPages(cur, 4*uapi.PageSize)
	must(t, err)
	_, err = k.AllocPages(cur, uapi.PageSize)
	wantErr(t, err, kernel.ENOMEM)
	k.FreePages(cur, mem)
}

func TestUserNS(t *testing.T) {
	ns := &kernel.UserNS{Inside: 5, Outside: 1000, Count: 3}
	for id, want := range map[uint32]uint32{999: kernel.Unmapped, 1000: 5, 1002: 7, 1003: kernel.Unmapped} {
		if got := ns.FromKID(id); got != want {
			t.Errorf("%d shows as %d, want %d", id, got, want)
		}
	}
	if (*kernel.UserNS)(nil).FromKID(12) != 12 {
		t.Error("the initial namespace changes ids")
	}
}

// TestCloseReportsLeaks leaks one of everything that is counted.
func TestCloseReportsLeaks(t *testing.T) {
	k, err := kernel.Boot(kernel.Config{})
	must(t, err)
	_, err = k.AllocPages(k.KernelTask("leak"), uapi.PageSize)
	must(t, err)
	k.ModTimer(k.KernelTask("test"), &kernel.Timer{Fn: func(*kernel.Task) {}}, kernel.Second)
	k.Count(kernel.ResSKB, 2)
	err = k.Close()
	for _, want := range []string{"1 ring memory blocks leaked", "4096 bytes of ring memory leaked", "1 timers leaked", "2 skbs leaked"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}

// TestWarn: a warning makes Close fail, with a backtrace; releasing somebody else's lock is one.
func TestWarn(t *testing.T) {
	k, err := kernel.Boot(kernel.Config{Seed: 77})
	must(t, err)
	var l kernel.Mutex
	l.Name = "some lock"
	a, b := k.KernelTask("a"), k.KernelTask("b")
	l.Lock(a)
	l.Unlock(b)
	w := k.Warnings()
	if len(w) != 1 || !strings.Contains(w[0].Stack, "kernel_test.TestWarn") || w[0].Seed != 77 {
		t.Errorf("%+v", w)
	}
	if err := k.Close(); err == nil || !strings.Contains(err.Error(), "unlock of some lock, which the task does not hold") {
		t.Error(err)
	}
}

// TestWarnsOfLockHeldAtReturn: a system call must not return with a lock.
func TestWarnsOfLockHeldAtReturn(t *testing.T) {
	k, err := kernel.Boot(kernel.Config{})
	must(t, err)
	devs := &devices{k: k}
	k.Register(devDomain, devs)
	p := k.NewProcess("p", k.InitNet())
	fd, err := p.Socket(devDomain, uapi.SockRaw, 0)
	must(t, err)
	d := devs.last
	d.onIoctl = func(cur *kernel.Task) (int, error) { d.lock.Lock(cur); return 0, nil }
	_, err = p.Sendto(fd, nil, 0, nil)
	must(t, err)
	if err := k.Close(); err == nil || !strings.Contains(err.Error(), "the system call returns with device held") ||
		!strings.Contains(err.Error(), "(*Task).Sendmsg") {
		t.Error(err)
	}
}

// TestLockOrder: taking locks in both orders is reported, before it ever deadlocks; also over a third lock.
func TestLockOrder(t *testing.T) {
	for _, c := range []struct{ order, want string }{
		{"ab ab", ""},
		{"ab ba", "a taken under b"},
		{"ab bc ca", "a taken under c"},
		{"ab bc ac", ""},
		{"abc", ""},
	} {
		var got []string
		k, err := kernel.Boot(kernel.Config{Trace: func(r kernel.Record) {
			if e, ok := r.Event.(kernel.LockOrder); ok {
				got = append(got, e.Inner+" taken under "+e.Outer)
			}
		}})
		must(t, err)
		locks := map[rune]*kernel.Mutex{}
		cur := k.KernelTask("t")
		for _, step := range strings.Fields(c.order) {
			var held []*kernel.Mutex
			for _, name := range step {
				if locks[name] == nil {
					locks[name] = &kernel.Mutex{Name: string(name)}
				}
				locks[name].Lock(cur)
				held = append(held, locks[name])
			}
			for _, l := range held {
				l.Unlock(cur)
			}
		}
		if s := strings.Join(got, ", "); s != c.want {
			t.Errorf("%s: %q, want %q", c.order, s, c.want)
		}
		must(t, k.Close())
	}
}

// TestFreeMode lets producers and consumers sleep and wake in parallel: no number and no wake-up is lost. It is for
// the race detector too.
func TestFreeMode(t *testing.T) {
	m := boot(t, kernel.Config{Mode: kernel.Free})
	fd, d := m.open(1)
	addr := m.mmap(fd, d, rw, uapi.MapShared)
	const producers, consumers, each = 3, 2, 200
	var wg sync.WaitGroup
	sum := make([]int, consumers)
	for c := range consumers {
		th, err := m.Thread(fmt.Sprint("consumer", c))
		must(t, err)
		wg.Go(func() {
			for {
				var n int
				var err error
				if c == 0 {
					// One sleeps in poll and does not wait in recv.
					if _, err := th.Poll([]kernel.PollFD{{FD: fd, Events: uapi.PollIn}}, -1); err != nil {
						t.Error(err)
					}
					n, err = th.Recvmsg(fd, &kernel.Msghdr{}, uapi.MsgDontwait)
					if errors.Is(err, kernel.EAGAIN) {
						continue
					}
				} else {
					n, err = th.Recvmsg(fd, &kernel.Msghdr{}, 0)
				}
				if err != nil {
					t.Error(err)
				}
				if n == 0 {
					return
				}
				sum[c] += n
			}
		})
	}
	var made sync.WaitGroup
	for p := range producers {
		made.Go(func() {
			irq := m.KernelTask(fmt.Sprint("irq", p))
			for i := range each {
				d.push(irq, uint32(i+1))
				_ = m.FileOf(inspect.Key{}, fd)
			}
		})
	}
	// Memory and descriptors change at the same time.
	th, err := m.Thread("mapper")
	must(t, err)
	wg.Go(func() {
		for range 50 {
			a, err := th.Mmap(0, uapi.PageSize, rw, uapi.MapPrivate, fd, 0)
			if err != nil {
				t.Error(err)
			}
			_ = th.Store32(a, 1)
			_, _ = th.Load32(addr)
			child, err := th.Fork("child")
			if err != nil {
				t.Error(err)
			} else {
				child.ExitGroup()
			}
			_ = th.Munmap(a, uapi.PageSize)
		}
	})
	made.Wait()
	for range consumers {
		d.push(m.KernelTask("irq"), 0) // 0 is the end
	}
	wg.Wait()
	want := producers * each * (each + 1) / 2
	if got := sum[0] + sum[1]; got != want {
		t.Errorf("consumers got %d, want %d", got, want)
	}
}

// TestControlledSleep explores random schedules of a sleeper and a waker: no wake-up is lost in any.
func TestControlledSleep(t *testing.T) {
	for seed := range uint64(200) {
		run := &sched.Run{Scheduler: sched.NewRandom(seed)}
		m := boot(t, kernel.Config{Mode: kernel.Controlled, Run: run, Seed: seed})
		fd, d := m.open(0)
		child, err := m.Fork("reader")
		must(t, err)
		sum := 0
		child.Go(func(p *kernel.Task) {
			for range 3 {
				n, err := p.Recvmsg(fd, &kernel.Msghdr{}, 0)
				if err != nil {
					t.Error(err)
				}
				sum += n
			}
			p.Attach(nil)
		})
		irq := m.KernelTask("irq")
		irq.Go(func(p *kernel.Task) {
			for i := range uint32(3) {
				d.push(p, 1<<i)
			}
		})
		if err := run.Loop(); err != nil || sum != 7 {
			t.Fatalf("seed %d: sum %d, %v", seed, sum, err)
		}
	}
}

// TestControlledDeadlock: two tasks that take two locks in both orders deadlock in some schedule, which is explained.
func TestControlledDeadlock(t *testing.T) {
	dead := 0
	for seed := range uint64(50) {
		run := &sched.Run{Scheduler: sched.NewRandom(seed)}
		k, err := kernel.Boot(kernel.Config{Mode: kernel.Controlled, Run: run})
		must(t, err)
		a, b := &kernel.Mutex{Name: "a"}, &kernel.Mutex{Name: "b"}
		for i, locks := range [][2]*kernel.Mutex{{a, b}, {b, a}} {
			k.KernelTask(fmt.Sprint("t", i)).Go(func(cur *kernel.Task) {
				locks[0].Lock(cur)
				locks[1].Lock(cur)
				locks[1].Unlock(cur)
				locks[0].Unlock(cur)
			})
		}
		err = run.Loop()
		var d *sched.Deadlock
		if errors.As(err, &d) {
			dead++
			if want := "deadlock: t0 waits for lock b; t1 waits for lock a;"; d.Error() != want {
				t.Errorf("%q, want %q", d, want)
			}
		} else if err != nil {
			t.Error(err)
		}
	}
	if dead == 0 || dead == 50 {
		t.Errorf("%d of 50 schedules deadlock", dead)
	}
}

func TestVersion(t *testing.T) {
	if _, err := kernel.ParseVersion("4.4"); err == nil || !strings.Contains(err.Error(), "3.10.4, 3.19.8, 4.1.18, 4.4.1, 4.5.7") {
		t.Error(err)
	}
	for _, r := range kernel.Releases() {
		v, err := kernel.ParseVersion(r.String())
		if err != nil || v.Release != r || v.String() != r.String() {
			t.Errorf("%v: %v %v", r, v, err)
		}
	}
	_, err := kernel.Boot(kernel.Config{Version: kernel.Version{Set: map[string]string{"fault-anon": "maybe"}}})
	if err == nil || !strings.Contains(err.Error(), "it has off, on") {
		t.Error(err)
	}
	for _, cfg := range []kernel.Config{{Mode: kernel.Controlled}, {Run: &sched.Run{}}, {Version: kernel.Version{Release: 99}}} {
		if _, err := kernel.Boot(cfg); err == nil {
			t.Errorf("booted %+v", cfg)
		}
	}
}

func TestProc(t *testing.T) {
	m := boot(t, kernel.Config{})
	m.RegisterProc("/proc/x", func(cur *kernel.Task) string { return "x of " + cur.Name })
	if s, err := m.ReadProc("/proc/x"); s != "x of main" || err != nil {
		t.Error(s, err)
	}
	_, err := m.ReadProc("/proc/y")
	wantErr(t, err, kernel.ENOENT)
}

// TestRAM: ring memory is limited by the machine's memory, and comes back.
func TestRAM(t *testing.T) {
	m := boot(t, kernel.Config{RAM: 3 * uapi.PageSize})
	fd, _ := m.open(2)
	_, err := m.Socket(devDomain, uapi.SockRaw, 2)
	wantErr(t, err, kernel.ENOMEM)
	must(t, m.Task.Close(fd))
	m.open(3)
	if m.PagesInUse(inspect.Key{}) != 3*uapi.PageSize {
		t.Error(m.PagesInUse(inspect.Key{}))
	}
}
