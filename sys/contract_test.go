package sys_test

import (
	"errors"
	"testing"

	"nlmmap/kernel"
	"nlmmap/scenario/live"
	"nlmmap/subsys"
	"nlmmap/sys"
	"nlmmap/uapi"
)

// implementations make a fresh process on each kind of kernel that there is.
var implementations = []struct {
	name string
	boot func(t *testing.T) sys.Task
}{{"model", modelled}, {"live", underneath}}

func modelled(t *testing.T) sys.Task {
	k, err := kernel.Boot(kernel.Config{Version: kernel.Version{Release: kernel.Linux4_5}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := subsys.Register(k); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k.NewProcess("main", k.NewNet())
}

func underneath(t *testing.T) sys.Task {
	target, err := live.New(live.Config{})
	if err != nil {
		t.Skipf("Tasks of the live kernel need root, network namespaces and ptrace: %v.", err)
	}
	t.Cleanup(func() {
		if err := target.Close(); err != nil {
			t.Error(err)
		}
	})
	return target.Main()
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// socket opens a socket between users that is bound to a portid.
func socket(t sys.Task, portid uint32) int {
	fd := must(t.Socket(uapi.AFNetlink, uapi.SockRaw, uapi.NetlinkUsersock))
	must(0, t.Bind(fd, address(portid)))
	return fd
}

func address(portid uint32) []byte {
	return uapi.SockaddrNL{Family: uapi.AFNetlink, Pid: portid}.Bytes()
}

func second[T any](_ T, err error) error { return err }

// TestErrors: what Task says of errors holds for every implementation.
func TestErrors(t *testing.T) {
	buffer := func(n int) *sys.Msghdr { return &sys.Msghdr{Iov: []sys.Iovec{sys.Iov(make([]byte, n))}} }
	cases := []struct {
		name string
		do   func(t sys.Task) error
		want error
	}{
		{"descriptor that is not open", func(t sys.Task) error { return t.Close(77) }, sys.EBADF},
		{"dup of it", func(t sys.Task) error { return second(t.Dup(77)) }, sys.EBADF},
		{"clone with a part of a thread", func(t sys.Task) error { return second(t.Clone("c", uapi.CloneThread)) }, sys.EINVAL},
		{"call of a task that has exited", func(t sys.Task) error {
			must(0, t.ExitGroup())
			must(0, t.ExitGroup())
			return second(t.EpollCreate())
		}, sys.ESRCH},
		{"capability that does not exist", func(t sys.Task) error { return t.SetCapability(64, true) }, sys.EINVAL},
		{"option without its capability", func(t sys.Task) error {
			fd := socket(t, 1)
			must(0, t.SetCapability(uapi.CapNetAdmin, false))
			return t.Setsockopt(fd, uapi.SolSocket, uapi.SoRcvbufforce, []byte{0, 16, 0, 0})
		}, sys.EPERM},
		{"user id of somebody else", func(t sys.Task) error {
			must(0, t.SetCapability(uapi.CapSetuid, false))
			return t.Seteuid(5)
		}, sys.EPERM},
		{"protocol that does not exist", func(t sys.Task) error {
			return second(t.Socket(uapi.AFNetlink, uapi.SockRaw, 40))
		}, sys.EPROTONOSUPPORT},
		{"type that does not exist", func(t sys.Task) error {
			return second(t.Socket(uapi.AFNetlink, uapi.SockStream, uapi.NetlinkUsersock))
		}, sys.ESOCKTNOSUPPORT},
		{"no descriptor in flight", func(t sys.Task) error {
			a, _, err := t.Socketpair()
			must(0, err)
			return second(t.RecvFD(a))
		}, sys.EAGAIN},
		{"descriptor to nobody", func(t sys.Task) error {
			a, b, err := t.Socketpair()
			must(0, err)
			must(0, t.Close(b))
			if err := t.SendFD(a, a); !errors.Is(err, sys.ECONNREFUSED) {
				return err
			}
			return t.SendFD(a, a)
		}, sys.ENOTCONN},
		{"address in use", func(t sys.Task) error {
			socket(t, 5)
			fd := must(t.Socket(uapi.AFNetlink, uapi.SockRaw, uapi.NetlinkUsersock))
			return t.Bind(fd, address(5))
		}, sys.EADDRINUSE},
		{"address that is too short", func(t sys.Task) error { return t.Bind(socket(t, 5), make([]byte, 3)) }, sys.EINVAL},
		{"bind of what is no socket", func(t sys.Task) error { return t.Bind(must(t.EpollCreate()), address(5)) }, sys.ENOTSOCK},
		{"unknown option", func(t sys.Task) error {
			return t.Setsockopt(socket(t, 5), uapi.SolNetlink, 99, make([]byte, 4))
		}, sys.ENOPROTOOPT},
		{"short option", func(t sys.Task) error {
			return second(t.Getsockopt(socket(t, 5), uapi.SolNetlink, uapi.NetlinkPktinfo, 2))
		}, sys.EINVAL},
		{"option of negative length", func(t sys.Task) error {
			return second(t.Getsockopt(socket(t, 5), uapi.SolNetlink, uapi.NetlinkPktinfo, -1))
		}, sys.EINVAL},
		{"filter that is no program", func(t sys.Task) error {
			return t.Setsockopt(socket(t, 5), uapi.SolSocket, uapi.SoAttachFilter, []byte{0xff, 0xff, 0, 0, 0, 0, 0, 0})
		}, sys.EINVAL},
		{"filter that drops", func(t sys.Task) error {
			fd := socket(t, 5)
			must(0, t.Setsockopt(fd, uapi.SolSocket, uapi.SoAttachFilter, []byte{6, 0, 0, 0, 0, 0, 0, 0}))
			must(sys.Sendto(t, socket(t, 6), make([]byte, 16), 0, address(5)))
			return second(t.Recvmsg(fd, buffer(16), uapi.MsgDontwait))
		}, sys.EAGAIN},
		{"message to nobody", func(t sys.Task) error {
			return second(sys.Sendto(t, socket(t, 5), make([]byte, 16), 0, address(6)))
		}, sys.ECONNREFUSED},
		{"message larger than the buffer", func(t sys.Task) error {
			return second(sys.Sendto(t, socket(t, 5), make([]byte, 1<<20), 0, address(5)))
		}, sys.EMSGSIZE},
		{"segment at a bad address", func(t sys.Task) error {
			m := &sys.Msghdr{Name: address(5), Iov: []sys.Iovec{{Base: make([]byte, 2), Len: 16}}}
			return second(t.Sendmsg(socket(t, 5), m, 0))
		}, sys.EFAULT},
		{"nothing to receive", func(t sys.Task) error {
			return second(t.Recvmsg(socket(t, 5), buffer(1), uapi.MsgDontwait))
		}, sys.EAGAIN},
		{"waiting for ever", func(t sys.Task) error { return second(t.Recvmsg(socket(t, 5), buffer(1), 0)) }, sys.ErrBlocks},
		{"waiting for ever is interrupted", func(t sys.Task) error { return second(t.Poll(nil, -1)) }, sys.EINTR},
		{"descriptor that is watched already", func(t sys.Task) error {
			ep, fd := must(t.EpollCreate()), socket(t, 5)
			must(0, t.EpollCtl(ep, sys.EpollAdd, fd, uapi.PollIn))
			return t.EpollCtl(ep, sys.EpollAdd, fd, uapi.PollIn)
		}, sys.EEXIST},
		{"descriptor that is not watched", func(t sys.Task) error {
			return t.EpollCtl(must(t.EpollCreate()), sys.EpollDel, socket(t, 5), 0)
		}, sys.ENOENT},
		{"epoll descriptor that watches itself", func(t sys.Task) error {
			ep := must(t.EpollCreate())
			return t.EpollCtl(ep, sys.EpollAdd, ep, uapi.PollIn)
		}, sys.EINVAL},
		{"epoll descriptors that watch each other", func(t sys.Task) error {
			a, b := must(t.EpollCreate()), must(t.EpollCreate())
			must(0, t.EpollCtl(a, sys.EpollAdd, b, uapi.PollIn))
			return t.EpollCtl(b, sys.EpollAdd, a, uapi.PollIn)
		}, sys.ELOOP},
		{"room for no event", func(t sys.Task) error { return second(t.EpollWait(must(t.EpollCreate()), 0, 0)) }, sys.EINVAL},
		{"mapping of what cannot be mapped", func(t sys.Task) error {
			return second(t.Mmap(0, uapi.PageSize, uapi.ProtRead, uapi.MapShared, must(t.EpollCreate()), 0))
		}, sys.ENODEV},
		{"range that cannot exist", func(t sys.Task) error { return t.Munmap(1, uapi.PageSize) }, sys.EINVAL},
		{"protection of nothing", func(t sys.Task) error { return t.Mprotect(0x10000, uapi.PageSize, uapi.ProtRead) }, sys.ENOMEM},
		{"move of nothing", func(t sys.Task) error {
			return second(t.Mremap(0x10000, uapi.PageSize, uapi.PageSize, true, false, 0))
		}, sys.EFAULT},
		{"advice on nothing", func(t sys.Task) error { return t.Madvise(0x10000, uapi.PageSize, uapi.MadvDontneed) }, sys.ENOMEM},
		{"load from nothing", func(t sys.Task) error { return second(t.Load32(0x10000)) }, sys.SIGSEGV},
		{"store to nothing", func(t sys.Task) error { return t.Store32(0x10000, 1) }, sys.SIGSEGV},
		{"read from nothing", func(t sys.Task) error { return t.ReadMem(0x10000, make([]byte, 9)) }, sys.SIGSEGV},
		{"write to nothing", func(t sys.Task) error { return t.WriteMem(0x10000, make([]byte, 9)) }, sys.SIGSEGV},
	}
	for _, im := range implementations {
		t.Run(im.name, func(t *testing.T) {
			for _, c := range cases {
				t.Run(c.name, func(t *testing.T) {
					if err := c.do(im.boot(t)); !errors.Is(err, c.want) {
						t.Errorf("error %v, want %v", err, c.want)
					}
				})
			}
		})
	}
}

// TestWaiting: a timeout ends a wait, time passes meanwhile, and what has come already needs no wait.
func TestWaiting(t *testing.T) {
	for _, im := range implementations {
		t.Run(im.name, func(t *testing.T) {
			task := im.boot(t)
			start := task.Now()
			if n, err := task.Poll(nil, 20*sys.Millisecond); n != 0 || err != nil {
				t.Errorf("sleeping: %d, %v", n, err)
			}
			if took := task.Now() - start; took < 20*sys.Millisecond {
				t.Errorf("a sleep of 20 ms took %v", took)
			}
			task.Yield()
			a, b := socket(task, 5), socket(task, 6)
			if got := must(task.Getpeername(a)); uapi.ParseSockaddrNL(got).Pid != 0 {
				t.Errorf("the peer of a socket that is not connected: %x", got)
			}
			must(0, task.Connect(b, address(5)))
			if got := must(task.Getpeername(b)); uapi.ParseSockaddrNL(got).Pid != 5 {
				t.Errorf("the peer: %x", got)
			}
			must(sys.Sendto(task, b, make([]byte, 16), 0, nil))
			fds := []sys.PollFD{{FD: b, Events: uapi.PollIn}, {FD: a, Events: uapi.PollIn}, {FD: 77}}
			if n, err := task.Poll(fds, -1); n != 2 || err != nil || fds[0].Revents != 0 || fds[1].Revents != uapi.PollIn || fds[2].Revents != uapi.PollNval {
				t.Errorf("poll: %d, %v, %v", n, err, fds)
			}
			ep := must(task.EpollCreate())
			for _, fd := range []int{a, b} {
				must(0, task.EpollCtl(ep, sys.EpollAdd, fd, uapi.PollIn))
			}
			events, err := task.EpollWait(ep, 5, sys.Second)
			if len(events) != 1 || err != nil || events[0] != (sys.EpollEvent{FD: a, Events: uapi.PollIn}) {
				t.Errorf("epoll: %v, %v", events, err)
			}
		})
	}
}
