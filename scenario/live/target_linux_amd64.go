package live

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"nlmmap/scenario"
	"nlmmap/sys"
)

// A target is the live kernel as a scenario sees it. Its unexported methods run on the tracer's thread.
type target struct {
	tr   *tracer
	main *task
	adm  admin
}

var _ scenario.Target = (*target)(nil)

// New starts the main task.
func New(cfg Config) (scenario.Target, error) {
	tr, err := newTracer(cfg.InitNet)
	if err != nil {
		return nil, err
	}
	tr.avoid = cfg.Avoid
	tg := &target{tr: tr, adm: admin{kind: "dummy"}}
	err = tr.do(func() error {
		tg.main, err = tr.another(func() (*task, error) { return spawn(tr) })
		return err
	})
	if err != nil {
		tr.stop()
		return nil, err
	}
	return tg, nil
}

func (tg *target) Main() sys.Task { return tg.main }

func (tg *target) Sleep(ms int) error {
	time.Sleep(time.Duration(ms) * time.Millisecond)
	return nil
}

func (tg *target) PopulateNeigh(count int) error {
	return tg.tr.do(func() error { return tg.adm.neighbours(count) })
}

func (tg *target) PopulateRoute(count int) error {
	return tg.tr.do(func() error { return tg.adm.addRoutes(count) })
}

func (tg *target) Sysctl(key string, value int64) error {
	return tg.tr.do(func() error { return sysctl(key, value) })
}

func (tg *target) NFQueueRule(num int, bypass bool) error {
	return tg.tr.do(func() error { return tg.adm.addRule(nfqueueTarget(num, bypass)) })
}

func (tg *target) NFLogRule(group, threshold int, prefix string) error {
	return tg.tr.do(func() error { return tg.adm.addRule(nflogTarget(group, threshold, prefix)) })
}

func (tg *target) FlushRules() error {
	return tg.tr.do(func() error { return tg.adm.flushRules() })
}

// errDriver is for what only a network driver can do.
var errDriver = errors.New("linear=, stamped and received packets exist on the simulator only")

func (tg *target) Packet(p scenario.Datagrams) (sent, failed int, err error) {
	if p.Fragmented || p.Stamped || p.Received {
		return 0, 0, errDriver
	}
	err = tg.tr.do(func() error {
		sent, failed, err = tg.adm.packet(p.Count, p.Size)
		return err
	})
	return sent, failed, err
}

func (tg *target) Tap() (scenario.Tap, error) {
	var t *tap
	err := tg.tr.do(func() (err error) {
		t, err = tg.adm.newTap(tg.tr)
		return err
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

// Netlink reads the file of the network namespace that all tasks are in. It takes less than a row at a time, so that the kernel
// looks for each row from the beginning of its tables: where Linux 3.19 goes on from one socket to the next it repeats some
// and leaves others out.
func (tg *target) Netlink() (string, error) {
	f, err := tg.openNetlink()
	if err != nil {
		return "", err
	}
	defer f.Close()
	var text []byte
	buf := make([]byte, 64)
	for {
		n, err := f.Read(buf)
		text = append(text, buf[:n]...)
		if errors.Is(err, io.EOF) {
			return string(text), nil
		}
		if err != nil {
			return "", err
		}
	}
}

// openNetlink opens the file of the tracer's thread, which outlives all tasks. Linux 3.10 has such files for processes only:
// there one is made for it.
func (tg *target) openNetlink() (f *os.File, err error) {
	f, err = os.Open(fmt.Sprintf("/proc/self/task/%d/net/netlink", tg.tr.tid))
	if !errors.Is(err, os.ErrNotExist) {
		return f, err
	}
	err = tg.tr.do(func() error {
		t, err := spawn(tg.tr)
		if err != nil {
			return err
		}
		defer t.p.kill()
		f, err = os.Open(fmt.Sprintf("/proc/%d/net/netlink", t.tid))
		return err
	})
	return f, err
}

// Close ends all tasks. What the administrator did goes away with the network namespace; in one that stays it is
// undone.
func (tg *target) Close() error {
	err := tg.tr.do(func() error {
		for _, p := range tg.tr.procs {
			p.kill()
		}
		tg.tr.abandon()
		return tg.adm.close()
	})
	if errors.Is(err, errClosed) {
		return nil
	}
	tg.tr.stop()
	return err
}

// Supported reports whether this kernel has mmap'ed netlink, and in one sentence what can be recorded on it.
func Supported() (rings bool, why string) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return false, fmt.Sprintf("This kernel has no netlink sockets (%v), so nothing can be recorded.", err)
	}
	defer unix.Close(fd)
	// A request that is too short: a kernel that knows the option says so, after it has looked at the capability.
	err = unix.SetsockoptString(fd, unix.SOL_NETLINK, unix.NETLINK_RX_RING, "ring")
	switch {
	case errors.Is(err, unix.EINVAL):
		return true, "This kernel has mmap'ed netlink: all scenarios can be recorded."
	case errors.Is(err, unix.EPERM):
		return true, "This kernel has mmap'ed netlink, but rings need CAP_NET_ADMIN: run this as root to record scenarios."
	}
	return false, fmt.Sprintf("This kernel has no mmap'ed netlink (setting up a ring: %v), so only scenarios without rings"+
		" can be recorded.", err)
}
