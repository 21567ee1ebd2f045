//go:build linux && amd64

package live

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nlmmap/sys"
	"nlmmap/uapi"
)

// newTarget returns a target whose namespace is fresh, or skips the test where that is not permitted.
func newTarget(t *testing.T) *target {
	t.Helper()
	tg, err := New(Config{})
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENOSYS) {
		t.Skipf("needs root, network namespaces and ptrace: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tg.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return tg.(*target)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

// send sends segments, nil for NULL.
func send(task sys.Task, fd int, to []byte, flags int, segments ...[]byte) (int, error) {
	m := sys.Msghdr{Name: to}
	for _, b := range segments {
		m.Iov = append(m.Iov, sys.Iov(b))
	}
	return task.Sendmsg(fd, &m, flags)
}

// received is a message; N is the result of the call.
type received struct {
	sys.Msghdr
	N    int
	Data []byte
}

func receive(task sys.Task, fd, size, flags int) (received, error) {
	buf := make([]byte, size)
	m := sys.Msghdr{Iov: []sys.Iovec{sys.Iov(buf)}, WantControl: true}
	n, err := task.Recvmsg(fd, &m, flags)
	return received{m, n, buf[:min(max(n, 0), size)]}, err
}

// poll and epollWait return the events of one descriptor.
func poll(task sys.Task, fd int, events uint32, ms int) (uint32, error) {
	fds := []sys.PollFD{{FD: fd, Events: events}}
	_, err := task.Poll(fds, sys.Time(ms)*sys.Millisecond)
	return fds[0].Revents, err
}

func epollWait(task sys.Task, ep, ms int) (uint32, error) {
	events, err := task.EpollWait(ep, 8, sys.Time(ms)*sys.Millisecond)
	if len(events) == 0 {
		return 0, err
	}
	return events[0].Events, err
}

func routeSocket(t *testing.T, task sys.Task, portid, groups uint32) int {
	t.Helper()
	fd, err := task.Socket(uapi.AFNetlink, uapi.SockRaw, uapi.NetlinkRoute)
	check(t, err)
	check(t, task.Bind(fd, uapi.SockaddrNL{Family: uapi.AFNetlink, Pid: portid, Groups: groups}.Bytes()))
	return fd
}

// noop is a message that the kernel acknowledges, and toKernel the kernel's address.
func noop(seq uint32) []byte {
	b := make([]byte, uapi.NLMsgHdrlen)
	uapi.NLMsgHdr{Len: 16, Type: uapi.NLMsgNoop, Flags: uapi.NLMFRequest | uapi.NLMFAck, Seq: seq}.Put(b)
	return b
}

var toKernel = uapi.SockaddrNL{Family: uapi.AFNetlink}.Bytes()

// wantAck receives the acknowledgement of noop(seq).
func wantAck(t *testing.T, task sys.Task, fd int, seq uint32) {
	t.Helper()
	r, err := receive(task, fd, 8192, uapi.MsgDontwait)
	check(t, err)
	h := uapi.ParseNLMsgHdr(r.Data)
	if r.N != 36 || h.Type != uapi.NLMsgError || h.Seq != seq || len(r.Name) != uapi.SockaddrNLlen {
		t.Fatalf("received %+v, want the acknowledgement of %d", r, seq)
	}
}

func TestAcknowledgements(t *testing.T) {
	main := newTarget(t).Main()
	fd := routeSocket(t, main, 1000, 0)
	name, err := main.Getsockname(fd)
	check(t, err)
	if got := uapi.ParseSockaddrNL(name); len(name) != uapi.SockaddrNLlen || got.Pid != 1000 {
		t.Errorf("getsockname returned % x", name)
	}
	_, err = receive(main, fd, 100, uapi.MsgDontwait)
	wantErr(t, err, unix.EAGAIN)

	n, err := send(main, fd, toKernel, uapi.MsgDontwait, append(noop(1), noop(2)...))
	check(t, err)
	if n != 32 {
		t.Errorf("sent %d", n)
	}
	wantAck(t, main, fd, 1)
	wantAck(t, main, fd, 2)

	_, err = send(main, fd, toKernel, 0, nil, noop(3))
	check(t, err)
	r, err := receive(main, fd, 20, uapi.MsgPeek|uapi.MsgTrunc)
	check(t, err)
	if r.N != 36 || len(r.Data) != 20 || r.Flags&uapi.MsgTrunc == 0 {
		t.Errorf("short peek: %+v", r)
	}
	wantAck(t, main, fd, 3)

	_, err = send(main, fd, nil, uapi.MsgDontwait, nil)
	if err != nil && !errors.Is(err, unix.ENODATA) {
		t.Errorf("empty send: %v", err)
	}
	check(t, main.Close(fd))
	_, err = main.Getsockname(fd)
	wantErr(t, err, unix.EBADF)
}

func TestOptions(t *testing.T) {
	main := newTarget(t).Main()
	fd := routeSocket(t, main, 1000, 0)
	const size = 100_000
	check(t, main.Setsockopt(fd, uapi.SolSocket, uapi.SoRcvbuf, le.AppendUint32(nil, size)))
	val, err := main.Getsockopt(fd, uapi.SolSocket, uapi.SoRcvbuf, 4)
	check(t, err)
	if le.Uint32(val) != 2*size {
		t.Errorf("rcvbuf is % x", val)
	}
	wantErr(t, main.Setsockopt(fd, uapi.SolNetlink, 99, make([]byte, 4)), unix.ENOPROTOOPT)
	_, err = main.Getsockopt(fd, uapi.SolNetlink, uapi.NetlinkPktinfo, 2)
	wantErr(t, err, unix.EINVAL)

	check(t, main.Setsockopt(fd, uapi.SolSocket, uapi.SoAttachFilter, []byte{6, 0, 0, 0, 0, 0, 0, 0}))
	_, err = send(main, fd, toKernel, uapi.MsgDontwait, noop(1))
	check(t, err)
	_, err = receive(main, fd, 100, uapi.MsgDontwait)
	wantErr(t, err, unix.EAGAIN)
	check(t, main.Setsockopt(fd, uapi.SolSocket, uapi.SoDetachFilter, make([]byte, 4)))
	check(t, main.Setsockopt(fd, uapi.SolNetlink, uapi.NetlinkPktinfo, le.AppendUint32(nil, 1)))
	_, err = send(main, fd, toKernel, uapi.MsgDontwait, noop(2))
	check(t, err)
	r, err := receive(main, fd, 100, 0)
	check(t, err)
	if len(r.Control) < uapi.CmsgHdrlen+uapi.NLPktinfolen {
		t.Errorf("no control message in %+v", r)
	}
}

func TestForkAndExit(t *testing.T) {
	tg := newTarget(t)
	main := tg.Main()
	fd := routeSocket(t, main, 1000, 0)
	addr := anonymous(t, main, 1, uapi.ProtRead|uapi.ProtWrite)
	check(t, main.Store32(addr, 1))

	child, err := sys.Fork(main, "child")
	check(t, err)
	if child.Tgid() == main.Tgid() || child.Tgid() == os.Getpid() {
		t.Errorf("child's process id is %d", child.Tgid())
	}
	// Private memory is copied, descriptors refer to the same socket.
	check(t, child.Store32(addr, 2))
	if v, err := main.Load32(addr); v != 1 || err != nil {
		t.Errorf("main reads %d, %v", v, err)
	}
	_, err = send(child, fd, toKernel, 0, noop(1))
	check(t, err)
	wantAck(t, main, fd, 1)
	check(t, main.Close(fd))
	_, err = child.Getsockname(fd)
	check(t, err)
	if !bound(t, tg, 1000) {
		t.Error("the child's copy does not keep the socket")
	}
	grandchild, err := sys.Fork(child, "grandchild")
	check(t, err)
	check(t, child.ExitGroup())
	wantErr(t, child.Close(fd), unix.ESRCH)
	check(t, grandchild.Close(fd))
	if bound(t, tg, 1000) {
		t.Error("the socket outlives its last descriptor")
	}
	fd = routeSocket(t, grandchild, 1001, 0)
	_ = fd
	check(t, grandchild.ExitGroup())
	if bound(t, tg, 1001) {
		t.Error("the socket outlives its process")
	}
}

// bound reports whether a socket with this port id is listed.
func bound(t *testing.T, tg *target, portid int) bool {
	t.Helper()
	text, err := tg.Netlink()
	check(t, err)
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == fmt.Sprint(portid) {
			return true
		}
	}
	return false
}

// TestOneThread pins down what the exclusivity rule of 3.10 needs: one thread, and no descriptor but its own.
func TestOneThread(t *testing.T) {
	main := newTarget(t).Main()
	dir := fmt.Sprintf("/proc/%d/", main.Tgid())
	threads, err := os.ReadDir(dir + "task")
	check(t, err)
	fds, err := os.ReadDir(dir + "fd")
	check(t, err)
	if len(threads) != 1 || len(fds) != 0 {
		t.Errorf("%d threads and %d descriptors", len(threads), len(fds))
	}
}

func TestThread(t *testing.T) {
	main := newTarget(t).Main()
	thread, err := sys.Thread(main, "second")
	check(t, err)
	if thread.Tgid() != main.Tgid() {
		t.Errorf("thread of process %d, main of %d", thread.Tgid(), main.Tgid())
	}
	fd := routeSocket(t, main, 1000, 0)
	_, err = thread.Getsockname(fd)
	check(t, err)
	addr := anonymous(t, main, 1, uapi.ProtRead|uapi.ProtWrite)
	check(t, thread.Store32(addr, 7))
	if v, err := main.Load32(addr); v != 7 || err != nil {
		t.Errorf("main reads %d, %v", v, err)
	}
	_, err = sys.Thread(main, "third")
	check(t, err)
	check(t, thread.ExitGroup())
	_, err = main.Getsockname(fd)
	wantErr(t, err, unix.ESRCH)
	check(t, main.ExitGroup()) // a second time changes nothing
}

// TestSharedMemory is the third kind of task: it has the memory of its maker and a copy of the descriptors.
func TestSharedMemory(t *testing.T) {
	main := newTarget(t).Main()
	fd := routeSocket(t, main, 1000, 0)
	other, err := main.Clone("other", uapi.CloneVM)
	check(t, err)
	check(t, other.Close(fd))
	_, err = main.Getsockname(fd)
	check(t, err)
	// The area for arguments is shared too: it must be found where the other has moved it.
	addr := anonymous(t, main, 64, uapi.ProtRead|uapi.ProtWrite)
	data := bytes.Repeat([]byte{7}, 64*uapi.PageSize)
	check(t, other.WriteMem(addr, data))
	got := make([]byte, len(data))
	check(t, main.ReadMem(addr, got))
	if !bytes.Equal(got, data) {
		t.Error("main does not see what the other wrote")
	}
	check(t, other.ExitGroup())
	check(t, main.Close(fd))
	_, err = main.Clone("none", uapi.CloneFiles)
	wantErr(t, err, unix.EINVAL)
}

// TestSegments sends and receives in several pieces, and with segments that are bad addresses.
func TestSegments(t *testing.T) {
	main := newTarget(t).Main()
	a, b, err := main.Socketpair()
	check(t, err)
	n, err := send(main, a, nil, 0, []byte("one"), nil, []byte("two"))
	check(t, err)
	first, second := make([]byte, 4), make([]byte, 9)
	m := sys.Msghdr{Iov: []sys.Iovec{sys.Iov(first), {Base: second, Len: 5}}}
	got, err := main.Recvmsg(b, &m, 0)
	check(t, err)
	if n != 6 || got != 6 || string(first) != "onet" || string(second[:5]) != "wo\x00\x00\x00" {
		t.Errorf("sent %d, received %d: %q %q", n, got, first, second)
	}
	for _, bad := range []sys.Iovec{{Len: 1}, {Base: []byte{1}, Len: 2}} {
		_, err := main.Sendmsg(a, &sys.Msghdr{Iov: []sys.Iovec{bad}}, 0)
		wantErr(t, err, unix.EFAULT)
	}
}

func TestDescriptors(t *testing.T) {
	main := newTarget(t).Main()
	fd := routeSocket(t, main, 1000, 0)
	second, err := main.Dup(fd)
	check(t, err)
	a, b, err := main.Socketpair()
	check(t, err)
	check(t, main.SendFD(a, fd))
	check(t, main.Close(fd))
	check(t, main.Close(second))
	child, err := sys.Fork(main, "child")
	check(t, err)
	taken, err := child.RecvFD(b)
	check(t, err)
	name, err := child.Getsockname(taken)
	check(t, err)
	if uapi.ParseSockaddrNL(name).Pid != 1000 {
		t.Errorf("took % x", name)
	}
	_, err = main.RecvFD(b)
	wantErr(t, err, unix.EAGAIN)
}

func TestPoll(t *testing.T) {
	main := newTarget(t).Main()
	fd := routeSocket(t, main, 1000, 0)
	ep, err := main.EpollCreate()
	check(t, err)
	check(t, main.EpollCtl(ep, sys.EpollAdd, fd, uapi.PollIn))
	events, err := epollWait(main, ep, 0)
	if events != 0 || err != nil {
		t.Errorf("epoll: %#x, %v", events, err)
	}
	revents, err := poll(main, fd, uapi.PollIn|uapi.PollOut, 20)
	if revents != uapi.PollOut || err != nil {
		t.Errorf("poll: %#x, %v", revents, err)
	}
	_, err = send(main, fd, toKernel, 0, noop(1))
	check(t, err)
	events, err = epollWait(main, ep, 100)
	if events != uapi.PollIn || err != nil {
		t.Errorf("epoll: %#x, %v", events, err)
	}
	revents, err = poll(main, fd, uapi.PollIn, -1)
	if revents != uapi.PollIn || err != nil {
		t.Errorf("poll: %#x, %v", revents, err)
	}
}

// TestBlocks also shows that a call which was interrupted leaves nothing behind.
func TestBlocks(t *testing.T) {
	main := newTarget(t).Main()
	fd := routeSocket(t, main, 1000, 0)
	ep, err := main.EpollCreate()
	check(t, err)
	for name, wait := range map[string]func() error{
		"recvmsg": func() error { _, err := receive(main, fd, 100, 0); return err },
		"poll":    func() error { _, err := poll(main, fd, uapi.PollIn, -1); return err },
		"epoll":   func() error { _, err := epollWait(main, ep, -1); return err },
	} {
		start := time.Now()
		wantErr(t, wait(), sys.ErrBlocks)
		if took := time.Since(start); took < blockLimit || took > 2*blockLimit {
			t.Errorf("%s took %v", name, took)
		}
		_, err := send(main, fd, toKernel, 0, noop(1))
		check(t, err)
		wantAck(t, main, fd, 1)
	}
}

// TestLater: a call of a thread waits while others of its process make calls; a message wakes it. Nobody joins another.
func TestLater(t *testing.T) {
	tg := newTarget(t)
	main := tg.Main()
	fd := routeSocket(t, main, 1000, 0)
	thread, err := sys.Thread(main, "t")
	check(t, err)
	var got []byte
	job, err := tg.Later(thread, func() {
		buf := make([]byte, 100)
		n, err := thread.Recvmsg(fd, &sys.Msghdr{Iov: []sys.Iovec{sys.Iov(buf)}}, 0)
		check(t, err)
		got = buf[:n]
	})
	check(t, err)
	if job.Settle() {
		t.Fatalf("it has received %x", got)
	}
	revents, err := poll(main, fd, uapi.PollIn, 1)
	if revents != 0 || err != nil {
		t.Errorf("poll: %#x, %v", revents, err)
	}
	_, err = send(main, fd, toKernel, 0, noop(1))
	check(t, err)
	if !job.Settle() || len(got) != 36 {
		t.Errorf("it has received %x", got)
	}

	job, err = tg.Later(thread, func() {
		_, err := poll(thread, fd, uapi.PollIn, -1)
		wantErr(t, err, sys.ErrBlocks)
	})
	check(t, err)
	job.Join()
	_, err = tg.Later(thread, func() { _, _ = poll(thread, fd, uapi.PollIn, -1) })
	check(t, err)
}

// TestLateInterrupt lets the signal of a call race with its end: the next call must not feel it.
func TestLateInterrupt(t *testing.T) {
	tg := newTarget(t)
	main := tg.main
	fd := routeSocket(t, main, 1000, 0)
	for range 200 {
		check(t, tg.tr.do(func() error {
			_, err := main.syscallLimit(time.Nanosecond, unix.SYS_GETPPID)
			return err
		}))
		revents, err := poll(main, fd, uapi.PollIn, 1)
		if revents != 0 || err != nil {
			t.Fatalf("poll: %#x, %v", revents, err)
		}
	}
}

func TestCapabilities(t *testing.T) {
	main := newTarget(t).Main()
	force := func() error {
		fd, err := main.Socket(uapi.AFNetlink, uapi.SockRaw, uapi.NetlinkRoute)
		check(t, err)
		return main.Setsockopt(fd, uapi.SolSocket, uapi.SoRcvbufforce, le.AppendUint32(nil, 1<<20))
	}
	check(t, force())
	check(t, main.SetCapability(uapi.CapNetAdmin, false))
	wantErr(t, force(), unix.EPERM)
	check(t, main.SetCapability(uapi.CapNetAdmin, true))
	check(t, force())

	check(t, main.Seteuid(1234))
	wantErr(t, force(), unix.EPERM)
	addr := anonymous(t, main, 1, uapi.ProtRead|uapi.ProtWrite)
	check(t, main.WriteMem(addr, []byte("still traced")))
	check(t, main.Seteuid(0))
	check(t, force())
}

func anonymous(t *testing.T, task sys.Task, pages uint64, prot int) uint64 {
	t.Helper()
	addr, err := task.Mmap(0, pages*uapi.PageSize, prot, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, -1, 0)
	check(t, err)
	return addr
}

func TestMemory(t *testing.T) {
	main := newTarget(t).Main()
	const page = uapi.PageSize
	addr := anonymous(t, main, 4, uapi.ProtRead|uapi.ProtWrite)
	data := bytes.Repeat([]byte("scenario"), 2*page/8)
	check(t, main.WriteMem(addr+page/2, data))
	buf := make([]byte, len(data))
	check(t, main.ReadMem(addr+page/2, buf))
	if !bytes.Equal(buf, data) {
		t.Error("read something else than was written")
	}
	check(t, main.Store32(addr+8, 0xfffffff0))
	if v, err := main.Load32(addr + 8); v != 0xfffffff0 || err != nil {
		t.Errorf("read %#x, %v", v, err)
	}

	check(t, main.Mprotect(addr, page, uapi.ProtRead))
	wantErr(t, main.Store32(addr, 1), sys.SIGSEGV)
	_, err := main.Load32(addr)
	check(t, err)
	check(t, main.Mprotect(addr, page, uapi.ProtNone))
	wantErr(t, main.ReadMem(addr, buf), sys.SIGSEGV)
	check(t, main.Madvise(addr+page, page, uapi.MadvDontneed))
	if v, err := main.Load32(addr + page); v != 0 || err != nil {
		t.Errorf("thrown away page reads %#x, %v", v, err)
	}

	moved, err := main.Mremap(addr+2*page, page, page, true, false, 0)
	check(t, err)
	if moved == addr+2*page {
		t.Error("mremap did not move the mapping")
	}
	_, err = main.Load32(addr + 2*page)
	wantErr(t, err, sys.SIGSEGV)
	if v, err := main.Load32(moved); v != le.Uint32(data) || err != nil {
		t.Errorf("moved page reads %#x, %v", v, err)
	}
	check(t, main.Munmap(moved, page))
	_, err = main.Load32(moved)
	wantErr(t, err, sys.SIGSEGV)
	// Addresses that are no user addresses at all.
	_, err = main.Load32(0)
	wantErr(t, err, sys.SIGSEGV)
	_, err = main.Load32(1 << 63)
	wantErr(t, err, sys.SIGSEGV)
}

// TestSIGBUS maps a file that is shorter than the mapping.
func TestSIGBUS(t *testing.T) {
	tg := newTarget(t)
	main := tg.main
	path := filepath.Join(t.TempDir(), "short")
	check(t, os.WriteFile(path, make([]byte, uapi.PageSize), 0o600))
	var fd uint64
	check(t, tg.tr.do(func() error {
		a, err := main.arena(len(path) + 1)
		if err != nil {
			return err
		}
		name := a.put(append([]byte(path), 0))
		fd, err = main.syscall(unix.SYS_OPEN, name, unix.O_RDWR, 0)
		return err
	}))
	addr, err := main.Mmap(0, 2*uapi.PageSize, uapi.ProtRead|uapi.ProtWrite, uapi.MapShared, int(fd), 0)
	check(t, err)
	check(t, main.Store32(addr, 1))
	_, err = main.Load32(addr + uapi.PageSize)
	wantErr(t, err, sys.SIGBUS)
	wantErr(t, main.Store32(addr+uapi.PageSize, 1), sys.SIGBUS)
	wantErr(t, main.ReadMem(addr+uapi.PageSize/2, make([]byte, uapi.PageSize)), sys.SIGBUS)
}

func TestGather(t *testing.T) {
	main := newTarget(t).main
	const page = uapi.PageSize
	addr, err := main.Mmap(0, 2*page, uapi.ProtRead|uapi.ProtWrite, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, -1, 0)
	check(t, err)
	check(t, main.WriteMem(addr, []byte("abcdefgh")))
	buf := make([]byte, 6)
	check(t, main.Gather([]uint64{addr + 4, addr, addr + page}, 2, buf))
	if string(buf) != "efab\x00\x00" {
		t.Errorf("read %q", buf)
	}
	check(t, main.Munmap(addr+page, page))
	wantErr(t, main.Gather([]uint64{addr, addr + page}, 2, buf[:4]), sys.SIGSEGV)
	check(t, main.Gather(nil, 2, nil))
}

// TestScratch: a page that a call has used reads as zeros in the next, and what does not fit is refused.
func TestScratch(t *testing.T) {
	main := newTarget(t).main
	check(t, main.tr.do(func() error {
		a, err := main.arena(16)
		if err != nil {
			return err
		}
		a.put([]byte("left over"))
		if a, err = main.arena(16); err != nil {
			return err
		}
		if _, mem := a.room(16); !bytes.Equal(mem, make([]byte, 16)) {
			t.Errorf("left: %q", mem)
		}
		_, err = main.arena(areaSize)
		wantErr(t, err, unix.ENOMEM)
		return nil
	}))
}

// TestInterruptedTooEarly: a call that an interrupt finds not begun is made all the same.
func TestInterruptedTooEarly(t *testing.T) {
	main := newTarget(t).main
	check(t, main.tr.do(func() error {
		if err := unix.Tgkill(main.p.tgid, main.tid, interrupt); err != nil {
			return err
		}
		pid, err := main.syscall(unix.SYS_GETPID)
		if int(pid) != main.p.tgid {
			t.Errorf("getpid of %d returned %d", main.p.tgid, pid)
		}
		return err
	}))
}

func TestLargeSend(t *testing.T) {
	main := newTarget(t).Main()
	a, b, err := main.Socketpair()
	check(t, err)
	data := bytes.Repeat([]byte{1, 2, 3}, 40_000)
	n, err := send(main, a, nil, uapi.MsgDontwait, data)
	check(t, err)
	r, err := receive(main, b, len(data), uapi.MsgDontwait)
	check(t, err)
	if n != len(data) || !bytes.Equal(r.Data, data) {
		t.Errorf("sent %d, received %d", n, r.N)
	}
}

func TestSupported(t *testing.T) {
	rings, why := Supported()
	t.Log(rings, why)
	if !strings.HasSuffix(why, ".") || strings.Count(why, ". ") > 0 {
		t.Errorf("not one sentence: %q", why)
	}
}

func TestInitNet(t *testing.T) {
	newTarget(t) // skips where this cannot work
	tg, err := New(Config{InitNet: true})
	check(t, err)
	own, err := os.Readlink("/proc/self/ns/net")
	check(t, err)
	main, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", tg.Main().Tgid()))
	check(t, err)
	if own != main {
		t.Errorf("main is in %s, the caller in %s", main, own)
	}
	pid := tg.Main().Tgid()
	check(t, tg.Close())
	check(t, tg.Close())
	if err := unix.Kill(pid, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("main is left: %v", err)
	}
	wantErr(t, tg.Main().Close(0), errClosed)
}
