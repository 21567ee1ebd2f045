package kernel_test

import (
	"errors"
	"testing"

	"nlmmap/kernel"
	"nlmmap/kernel/inspect"
	"nlmmap/uapi"
)

// TestFileCount has the situations of the table in spec 8.4.1: f_count as a send sees it, and the number of mappings.
func TestFileCount(t *testing.T) {
	for _, c := range []struct {
		name          string
		do            func(m *machine, fd int, d *device, addr uint64)
		count, mapped int
	}{
		{"one fd, one mapping", func(*machine, int, *device, uint64) {}, 2, 1},
		{"fd duplicated", func(m *machine, fd int, _ *device, _ uint64) {
			_, err := m.Dup(fd)
			must(m.t, err)
		}, 3, 1},
		{"duplicate closed again", func(m *machine, fd int, _ *device, _ uint64) {
			dup, err := m.Dup(fd)
			must(m.t, err)
			must(m.t, m.Task.Close(dup))
		}, 2, 1},
		{"forked child exited", func(m *machine, _ int, _ *device, _ uint64) {
			child, err := m.Fork("child")
			must(m.t, err)
			child.ExitGroup()
		}, 2, 1},
		{"child closed fd and unmapped", func(m *machine, fd int, d *device, addr uint64) {
			child, err := m.Fork("child")
			must(m.t, err)
			must(m.t, child.Close(fd))
			must(m.t, child.Munmap(addr, uint64(d.mem.Size())))
		}, 2, 1},
		{"second mapping", func(m *machine, fd int, d *device, _ uint64) { m.mmap(fd, d, rw, uapi.MapShared) }, 3, 2},
		{"second mapping removed", func(m *machine, fd int, d *device, _ uint64) {
			must(m.t, m.Munmap(m.mmap(fd, d, rw, uapi.MapShared), uint64(d.mem.Size())))
		}, 2, 1},
		{"mapping moved", func(m *machine, _ int, d *device, addr uint64) {
			size := uint64(d.mem.Size())
			_, err := m.Mremap(addr, size, size, true, false, 0)
			must(m.t, err)
		}, 2, 1},
		{"mapping split", func(m *machine, _ int, _ *device, addr uint64) {
			must(m.t, m.Mprotect(addr, uapi.PageSize, uapi.ProtRead))
		}, 3, 2},
		{"forked child with both", func(m *machine, _ int, _ *device, _ uint64) {
			_, err := m.Fork("child")
			must(m.t, err)
		}, 4, 2},
		{"child shares the memory, has a copy of the fd", func(m *machine, _ int, _ *device, _ uint64) {
			_, err := m.CloneVM("child")
			must(m.t, err)
		}, 3, 1},
		{"a thread", func(m *machine, _ int, _ *device, _ uint64) {
			_, err := m.Thread("thread")
			must(m.t, err)
		}, 3, 1},
		{"a thread that is not entered yet", func(m *machine, _ int, _ *device, _ uint64) { m.Threads() }, 3, 1},
		{"fd in flight", func(m *machine, fd int, _ *device, _ uint64) {
			a, _, err := m.Socketpair()
			must(m.t, err)
			must(m.t, m.SendFD(a, fd))
		}, 3, 1},
		{"carrier of the fd in flight closed", func(m *machine, fd int, _ *device, _ uint64) {
			a, b, err := m.Socketpair()
			must(m.t, err)
			must(m.t, m.SendFD(a, fd))
			must(m.t, m.Task.Close(b))
		}, 2, 1},
		{"fd in flight received", func(m *machine, fd int, _ *device, _ uint64) {
			a, b, err := m.Socketpair()
			must(m.t, err)
			must(m.t, m.SendFD(a, fd))
			got, err := m.RecvFD(b)
			must(m.t, err)
			if m.FileOf(inspect.Key{}, got) != m.FileOf(inspect.Key{}, fd) {
				m.t.Error("another file was received")
			}
		}, 3, 1},
		{"thread shares the table", func(m *machine, _ int, _ *device, _ uint64) {
			_, err := m.Thread("thread")
			must(m.t, err)
		}, 3, 1},
		{"no mapping, two fds", func(m *machine, fd int, d *device, addr uint64) {
			_, err := m.Dup(fd)
			must(m.t, err)
			must(m.t, m.Munmap(addr, uint64(d.mem.Size())))
		}, 2, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := boot(t, kernel.Config{})
			fd, d := m.open(3)
			addr := m.mmap(fd, d, rw, uapi.MapShared)
			c.do(m, fd, d, addr)
			// The device's sendmsg returns f_count as it is during the call.
			count, err := m.Sendto(fd, nil, 0, nil)
			must(t, err)
			if count != c.count || d.mapped != c.mapped {
				t.Errorf("f_count %d and %d mappings, want %d and %d", count, d.mapped, c.count, c.mapped)
			}
		})
	}
}

// TestMappingCount has the table of spec 3.2: what each call does to the number of mappings, which is also what it does
// to the file's references.
func TestMappingCount(t *testing.T) {
	const p = uapi.PageSize
	const size = 6 * p
	for _, c := range []struct {
		name string
		do   func(m *machine, fd int, addr uint64) error
		want int
	}{
		{"mmap", func(m *machine, fd int, _ uint64) error {
			_, err := m.Mmap(0, size, rw, uapi.MapPrivate, fd, 0)
			return err
		}, +1},
		{"munmap of all", func(m *machine, _ int, a uint64) error { return m.Munmap(a, size) }, -1},
		{"munmap of the first part", func(m *machine, _ int, a uint64) error { return m.Munmap(a, p) }, 0},
		{"munmap of the last part", func(m *machine, _ int, a uint64) error { return m.Munmap(a+4*p, 2*p) }, 0},
		{"munmap of the middle", func(m *machine, _ int, a uint64) error { return m.Munmap(a+p, p) }, +1},
		{"munmap of nothing", func(m *machine, _ int, a uint64) error { return m.Munmap(a-64*p, p) }, 0},
		{"mprotect of nothing", func(m *machine, _ int, a uint64) error { return m.Mprotect(a+p, 0, 0) }, 0},
		{"madvise of nothing", func(m *machine, _ int, a uint64) error { return m.Madvise(a+p, 0, uapi.MadvDontneed) }, 0},
		{"mprotect of the first part", func(m *machine, _ int, a uint64) error { return m.Mprotect(a, p, 0) }, +1},
		{"mprotect of the middle", func(m *machine, _ int, a uint64) error { return m.Mprotect(a+p, p, 0) }, +2},
		{"mprotect that changes nothing", func(m *machine, _ int, a uint64) error { return m.Mprotect(a+p, p, rw) }, 0},
		{"mprotect of all", func(m *machine, _ int, a uint64) error { return m.Mprotect(a, size, uapi.ProtRead) }, 0},
		{"mprotect and back", func(m *machine, _ int, a uint64) error {
			must(m.t, m.Mprotect(a+p, p, 0))
			return m.Mprotect(a+p, p, rw)
		}, +2},
		{"madvise DONTNEED of a part", func(m *machine, _ int, a uint64) error {
			return m.Madvise(a+p, p, uapi.MadvDontneed)
		}, 0},
		{"madvise that changes flags of the middle", func(m *machine, _ int, a uint64) error {
			return m.Madvise(a+p, p, uapi.MadvDontfork)
		}, +2},
		{"mremap moves all", func(m *machine, _ int, a uint64) error {
			_, err := m.Mremap(a, size, size, true, false, 0)
			return err
		}, 0},
		{"mremap moves all to a place", func(m *machine, _ int, a uint64) error {
			to, err := m.Mremap(a, size, size, true, true, 0x1000000)
			if to != 0x1000000 {
				m.t.Errorf("moved to %#x", to)
			}
			return err
		}, 0},
		{"mremap moves the middle", func(m *machine, _ int, a uint64) error {
			_, err := m.Mremap(a+p, p, p, true, false, 0)
			return err
		}, +2},
		{"mremap shrinks", func(m *machine, _ int, a uint64) error {
			_, err := m.Mremap(a, size, p, false, false, 0)
			return err
		}, 0},
		{"mremap grows", func(m *machine, _ int, a uint64) error {
			_, err := m.Mremap(a, size, size+p, false, false, 0)
			return err
		}, 0},
		{"mremap of two mappings", func(m *machine, _ int, a uint64) error {
			must(m.t, m.Mprotect(a, p, 0))
			if _, err := m.Mremap(a, size, size, true, false, 0); !errors.Is(err, kernel.EFAULT) {
				m.t.Errorf("error %v, want EFAULT", err)
			}
			return nil
		}, +1},
		{"fork", func(m *machine, _ int, _ uint64) error { _, err := m.Fork("child"); return err }, +1},
		{"fork after DONTFORK", func(m *machine, _ int, a uint64) error {
			must(m.t, m.Madvise(a, size, uapi.MadvDontfork))
			_, err := m.Fork("child")
			return err
		}, 0},
		{"fork with CLONE_VM", func(m *machine, _ int, _ uint64) error { _, err := m.CloneVM("child"); return err }, 0},
		{"MAP_FIXED over it, refused", func(m *machine, fd int, a uint64) error {
			if _, err := m.Mmap(a, p, rw, uapi.MapShared|uapi.MapFixed, fd, 0); !errors.Is(err, kernel.EINVAL) {
				m.t.Errorf("error %v, want EINVAL", err)
			}
			return m.Munmap(a, size) // its other pages
		}, -1},
		{"exit", func(m *machine, _ int, _ uint64) error {
			child, err := m.Fork("child")
			must(m.t, err)
			m.ExitGroup()
			m.Task = child
			return nil
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := boot(t, kernel.Config{})
			fd, d := m.open(6)
			addr := m.mmap(fd, d, rw, uapi.MapShared)
			must(t, c.do(m, fd, addr))
			if got := d.mapped - 1; got != c.want {
				t.Errorf("mappings changed by %d, want %d", got, c.want)
			}
			if n := m.Live(kernel.ResVMA); int(n) != d.mapped {
				t.Errorf("%d VMAs live, %d are counted by their owner", n, d.mapped)
			}
		})
	}
}

// TestMappingKeepsFile closes the descriptor of a mapped file: the file goes with the last mapping.
func TestMappingKeepsFile(t *testing.T) {
	m := boot(t, kernel.Config{})
	fd, d := m.open(1)
	addr := m.mmap(fd, d, rw, uapi.MapShared)
	must(t, m.Task.Close(fd))
	must(t, m.Store32(addr, 7))
	if d.released != 0 || d.mem.Load32(nil, 0) != 7 {
		t.Fatal("the file is gone while it is mapped")
	}
	wantErr(t, m.Task.Close(fd), kernel.EBADF)
	must(t, m.Munmap(addr, uapi.PageSize))
	if d.released != 1 {
		t.Errorf("released %d times", d.released)
	}
}

func TestMmapErrors(t *testing.T) {
	m := boot(t, kernel.Config{})
	fd, _ := m.open(2)
	for _, c := range []struct {
		name           string
		length, offset uint64
		fd             int
		want           error
	}{
		{"length 0", 0, 0, fd, kernel.EINVAL},
		{"offset within a page", uapi.PageSize, 12, fd, kernel.EINVAL},
		{"no such descriptor", uapi.PageSize, 0, 99, kernel.EBADF},
		{"offset before descriptor", uapi.PageSize, 12, 99, kernel.EINVAL},
		{"too much", 1 << 60, 0, fd, kernel.ENOMEM},
		{"what the file refuses", uapi.PageSize, 0, fd, kernel.EINVAL},
		{"rounded up", uapi.PageSize + 1, 0, fd, nil},
	} {
		if _, err := m.Mmap(0, c.length, rw, uapi.MapShared, c.fd, c.offset); kernel.ErrnoOf(err) != kernel.ErrnoOf(c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if got := m.FileOf(inspect.Key{}, fd).Count(m.Task); got != 2 {
		t.Errorf("f_count %d: a refused mapping keeps a reference", got)
	}
}

// TestFaults: protections give SIGSEGV; a page that is not there gives SIGBUS, or in old kernels a page of zeros.
func TestFaults(t *testing.T) {
	for _, memfd := range []bool{false, true} {
		for _, r := range kernel.Releases() {
			anon := r <= kernel.Linux3_19
			m := boot(t, kernel.Config{Version: kernel.Version{Release: r}, Memfd: memfd})
			fd, d := m.open(2)
			read := m.mmap(fd, d, uapi.ProtRead, uapi.MapShared)
			wantErr(t, m.Store32(read, 1), kernel.SIGSEGV)
			must(t, m.Mprotect(read, 2*uapi.PageSize, uapi.ProtNone))
			_, err := m.Load32(read)
			wantErr(t, err, kernel.SIGSEGV)
			_, err = m.Load32(0x5000)
			wantErr(t, err, kernel.SIGSEGV)

			addr := m.mmap(fd, d, rw, uapi.MapShared)
			must(t, m.WriteMem(addr+uapi.PageSize-2, []byte{1, 2, 3, 4}))
			must(t, m.Madvise(addr, uapi.PageSize, uapi.MadvDontneed))
			v, err := m.Load32(addr)
			if anon && (v != 0 || err != nil) || !anon && err != error(kernel.SIGBUS) {
				t.Errorf("%v: absent page: %d, %v", r, v, err)
			}
			if !anon {
				continue
			}
			// The page of zeros is mapped writable: every process that reads an absent page sees what is written.
			other := m.NewProcess("other", m.InitNet())
			fd2, err := other.Socket(devDomain, uapi.SockRaw, 1)
			must(t, err)
			addr2, err := other.Mmap(0, uapi.PageSize, rw, uapi.MapShared, fd2, 0)
			must(t, err)
			must(t, other.Madvise(addr2, uapi.PageSize, uapi.MadvDontneed))
			must(t, m.Store32(addr, 0xdead))
			if v, err := other.Load32(addr2); v != 0xdead || err != nil {
				t.Errorf("%v: another process reads %#x %v in the page of zeros", r, v, err)
			}
			if d.mem.Load32(nil, 0) != 0 {
				t.Errorf("%v: the write reached the ring", r)
			}
		}
	}
}

// TestRawMem: memory that is really mapped can be touched without the machine, with the machine seeing it.
func TestRawMem(t *testing.T) {
	m := boot(t, kernel.Config{Memfd: true})
	fd, d := m.open(2)
	addr := m.mmap(fd, d, rw, uapi.MapShared)
	raw, err := m.RawMem(addr+uapi.PageSize, 8)
	must(t, err)
	raw[0] = 42
	if v, _ := m.Load32(addr + uapi.PageSize); v != 42 || d.mem.Load32(nil, uapi.PageSize) != 42 {
		t.Error("a raw write is not seen")
	}
	if _, err := m.RawMem(addr, 3*uapi.PageSize); !errors.Is(err, kernel.EFAULT) {
		t.Errorf("behind the mapping: %v", err)
	}
}

func TestDescriptors(t *testing.T) {
	m := boot(t, kernel.Config{})
	a, _ := m.open(0)
	b, _ := m.open(0)
	must(t, m.Task.Close(a))
	if c, _ := m.open(0); c != a {
		t.Errorf("descriptor %d: the lowest free one is %d", c, a)
	}
	for {
		_, err := m.Dup(b)
		if err != nil {
			wantErr(t, err, kernel.EMFILE)
			break
		}
	}
	_, err := m.Socket(60, uapi.SockRaw, 0)
	wantErr(t, err, kernel.EAFNOSUPPORT)
	_, err = m.Sendto(7777, nil, 0, nil)
	wantErr(t, err, kernel.EBADF)
	must(t, m.Task.Close(a))
	ep, err := m.EpollCreate()
	must(t, err)
	_, err = m.Sendto(ep, nil, 0, nil)
	wantErr(t, err, kernel.ENOTSOCK)
}

// TestSendFDToNobody: a UNIX socket whose peer is gone forgets it with the first send.
func TestSendFDToNobody(t *testing.T) {
	m := boot(t, kernel.Config{})
	a, b, err := m.Socketpair()
	must(t, err)
	must(t, m.Task.Close(b))
	for _, want := range []error{kernel.ECONNREFUSED, kernel.ENOTCONN, kernel.ENOTCONN} {
		if err := m.SendFD(a, a); kernel.ErrnoOf(err) != want {
			t.Errorf("%v, want %v", err, want)
		}
	}
}

// TestEpollLoops: epoll descriptors cannot watch themselves, directly or through others.
func TestEpollLoops(t *testing.T) {
	m := boot(t, kernel.Config{})
	var eps [3]int
	for i := range eps {
		ep, err := m.EpollCreate()
		must(t, err)
		eps[i] = ep
	}
	add := func(ep, fd int) error { return m.EpollCtl(ep, kernel.EpollAdd, fd, uapi.PollIn) }
	if err := add(eps[0], eps[0]); !errors.Is(err, kernel.EINVAL) {
		t.Error(err)
	}
	must(t, add(eps[0], eps[1]))
	must(t, add(eps[1], eps[2]))
	if err := add(eps[2], eps[0]); !errors.Is(err, kernel.ELOOP) {
		t.Error(err)
	}
}

// TestBadRanges: what no address space has is refused before anything changes.
func TestBadRanges(t *testing.T) {
	m := boot(t, kernel.Config{})
	fd, _ := m.open(1)
	_, err := m.Mmap(1<<63, uapi.PageSize, rw, uapi.MapShared|uapi.MapFixed, fd, 0)
	wantErr(t, err, kernel.ENOMEM)
	addr, err := m.Mmap(0, uapi.PageSize, rw, uapi.MapShared, fd, 0)
	must(t, err)
	_, err = m.Mremap(addr, uapi.PageSize, 1<<40, true, false, 0)
	wantErr(t, err, kernel.ENOMEM)
	_, err = m.Mremap(addr, uapi.PageSize, uapi.PageSize, true, true, 1<<63)
	wantErr(t, err, kernel.EINVAL)
	if v := m.VMAs(inspect.Key{}); len(v) != 1 || v[0].Start != addr || v[0].Size() != uapi.PageSize {
		t.Errorf("mappings %v", v)
	}
}

// TestSegments: a length that goes beyond the memory of a segment is a bad address, a negative one is refused.
func TestSegments(t *testing.T) {
	m := boot(t, kernel.Config{})
	fd, _ := m.open(0)
	for _, c := range []struct {
		iov  []kernel.Iovec
		want error
	}{
		{[]kernel.Iovec{{Base: make([]byte, 4), Len: 2}, {}}, nil},
		{[]kernel.Iovec{{Len: 1}}, kernel.EFAULT},
		{[]kernel.Iovec{{Base: make([]byte, 4, 8), Len: 5}}, kernel.EFAULT},
	} {
		msg := kernel.Msghdr{Iov: c.iov}
		if err := kernel.Gather(make([]byte, 64), &msg); kernel.ErrnoOf(err) != kernel.ErrnoOf(c.want) {
			t.Errorf("gather %v: %v, want %v", c.iov, err, c.want)
		}
		if _, err := kernel.Scatter(&msg, make([]byte, 8)); kernel.ErrnoOf(err) != kernel.ErrnoOf(c.want) {
			t.Errorf("scatter %v: %v, want %v", c.iov, err, c.want)
		}
	}
	for _, iov := range [][]kernel.Iovec{{{Len: -1}}, {{Len: 1 << 62}, {Len: 1 << 62}}} {
		_, err := m.Sendmsg(fd, &kernel.Msghdr{Iov: iov}, 0)
		wantErr(t, err, kernel.EINVAL)
		_, err = m.Recvmsg(fd, &kernel.Msghdr{Iov: iov}, 0)
		wantErr(t, err, kernel.EINVAL)
	}
	wantErr(t, m.SetCapability(-1, false), kernel.EINVAL)
}
