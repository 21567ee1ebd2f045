package kernel_test

import (
	"errors"
	"testing"

	"nlmmap/kernel"
	"nlmmap/kernel/memmodel"
	"nlmmap/uapi"
)

// devDomain is the address family under which the tests' device opens: any that netlink does not use.
const devDomain = 33

// device is the smallest file that can be mapped and polled: some pages, a queue of numbers and a lock.
type device struct {
	k     *kernel.Kernel
	mem   *memmodel.Memory
	queue []uint32
	lock  kernel.Mutex
	wait  kernel.WaitQueue

	mapped, opens, closes int
	released              int
	onIoctl               func(cur *kernel.Task) (int, error)
}

// devices makes a device of a number of pages for each socket call: the "protocol" is the number.
type devices struct {
	k    *kernel.Kernel
	last *device
}

func (f *devices) Create(cur *kernel.Task, typ, protocol int) (kernel.SocketOps, error) {
	d := &device{k: f.k}
	d.lock.Name = "device"
	if protocol > 0 {
		mem, err := f.k.AllocPages(cur, int64(protocol)*uapi.PageSize)
		if err != nil {
			return nil, err
		}
		d.mem = mem
	}
	f.last = d
	return d, nil
}

func (d *device) Mmap(_ *kernel.Task, v *kernel.VMA) error {
	if d.mem == nil || v.Size() != uint64(d.mem.Size()) {
		return kernel.EINVAL
	}
	if err := v.InsertPages([]kernel.Segment{{Mem: d.mem, Size: d.mem.Size()}}); err != nil {
		return err
	}
	d.mapped++
	v.Ops = d
	return nil
}

func (d *device) Open(*kernel.Task, *kernel.VMA)  { d.mapped++; d.opens++ }
func (d *device) Close(*kernel.Task, *kernel.VMA) { d.mapped--; d.closes++ }

func (d *device) Release(cur *kernel.Task) {
	d.released++
	if d.mem != nil {
		d.k.FreePages(cur, d.mem)
	}
}

func (d *device) Poll(cur *kernel.Task, pt *kernel.PollTable) uint32 {
	pt.Wait(&d.wait)
	d.lock.Lock(cur)
	defer d.lock.Unlock(cur)
	if len(d.queue) > 0 {
		return uapi.PollIn | uapi.PollOut
	}
	return uapi.PollOut
}

// push is what an interrupt does: a number comes, sleepers are woken.
func (d *device) push(cur *kernel.Task, v uint32) {
	d.lock.Lock(cur)
	d.queue = append(d.queue, v)
	d.lock.Unlock(cur)
	d.wait.Wake(cur, uapi.PollIn)
}

// Recvmsg waits for a number and returns it as the result.
func (d *device) Recvmsg(cur *kernel.Task, _ *kernel.Msghdr, flags int) (int, error) {
	deadline := kernel.Forever
	if flags&uapi.MsgDontwait != 0 {
		deadline = 0
	}
	for {
		d.lock.Lock(cur)
		if len(d.queue) > 0 {
			v := d.queue[0]
			d.queue = d.queue[1:]
			d.lock.Unlock(cur)
			return int(v), nil
		}
		d.lock.Unlock(cur)
		err := cur.WaitEvent(&d.wait, deadline, func() bool {
			d.lock.Lock(cur)
			defer d.lock.Unlock(cur)
			return len(d.queue) > 0
		})
		if err != nil {
			return 0, err
		}
	}
}

// Sendmsg runs what the test wants to happen inside a system call.
func (d *device) Sendmsg(cur *kernel.Task, f *kernel.File, _ *kernel.Msghdr, _ int) (int, error) {
	if d.onIoctl != nil {
		return d.onIoctl(cur)
	}
	return f.Count(cur), nil
}

func (d *device) Bind(*kernel.Task, []byte) error                 { return kernel.EOPNOTSUPP }
func (d *device) Connect(*kernel.Task, []byte) error              { return kernel.EOPNOTSUPP }
func (d *device) Getname(*kernel.Task, bool) ([]byte, error)      { return nil, kernel.EOPNOTSUPP }
func (d *device) Setsockopt(*kernel.Task, int, int, []byte) error { return kernel.ENOPROTOOPT }
func (d *device) Getsockopt(*kernel.Task, int, int, int) ([]byte, error) {
	return nil, kernel.ENOPROTOOPT
}

// machine is a booted machine with a process.
type machine struct {
	*kernel.Kernel
	*kernel.Task
	devs *devices
	t    testing.TB
}

// boot boots a machine that must be clean when the test ends.
func boot(t testing.TB, cfg kernel.Config) *machine {
	t.Helper()
	k, err := kernel.Boot(cfg)
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{Kernel: k, devs: &devices{k: k}, t: t}
	k.Register(devDomain, m.devs)
	m.Task = k.NewProcess("main", k.InitNet())
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// open opens a device of some pages.
func (m *machine) open(pages int) (int, *device) {
	m.t.Helper()
	fd, err := m.Socket(devDomain, uapi.SockRaw, pages)
	must(m.t, err)
	return fd, m.devs.last
}

// mmap maps a whole device.
func (m *machine) mmap(fd int, d *device, prot, flags int) uint64 {
	m.t.Helper()
	addr, err := m.Task.Mmap(0, uint64(d.mem.Size()), prot, flags, fd, 0)
	must(m.t, err)
	return addr
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

const rw = uapi.ProtRead | uapi.ProtWrite
