package sys_test

import (
	"errors"
	"fmt"

	"nlmmap/kernel"
	"nlmmap/subsys"
	"nlmmap/sys"
	"nlmmap/uapi"
)

// ask sends a request that does nothing to the kernel and returns the length of the acknowledgement. It is a program: it
// knows nothing of the machine that it runs on.
func ask(t sys.Task) (int, error) {
	fd, err := t.Socket(uapi.AFNetlink, uapi.SockRaw, uapi.NetlinkRoute)
	if err != nil {
		return 0, err
	}
	request := make([]byte, uapi.NLMsgHdrlen)
	uapi.NLMsgHdr{Len: uapi.NLMsgHdrlen, Type: uapi.NLMsgNoop, Flags: uapi.NLMFRequest | uapi.NLMFAck, Seq: 1}.Put(request)
	if _, err := sys.Sendto(t, fd, request, 0, nil); err != nil {
		return 0, errors.Join(err, t.Close(fd))
	}
	n, err := t.Recvmsg(fd, &sys.Msghdr{Iov: []sys.Iovec{sys.Iov(make([]byte, 100))}}, 0)
	return n, errors.Join(err, t.Close(fd))
}

func Example() {
	k, err := kernel.Boot(kernel.Config{Version: kernel.Version{Release: kernel.Linux4_4}})
	if err != nil {
		panic(err)
	}
	if _, err := subsys.Register(k); err != nil {
		panic(err)
	}
	fmt.Println(ask(k.NewProcess("program", k.InitNet())))
	fmt.Println(k.Close())
	// Output:
	// 36 <nil>
	// <nil>
}

// Threads share memory and descriptors, children have copies.
func ExampleTask_clone() {
	k, err := kernel.Boot(kernel.Config{})
	if err != nil {
		panic(err)
	}
	var t sys.Task = k.NewProcess("parent", k.InitNet())
	fd, _, _ := t.Socketpair()
	child, _ := sys.Fork(t, "child")
	thread, _ := sys.Thread(t, "thread")
	fmt.Println(t.Tgid() == child.Tgid(), t.Tgid() == thread.Tgid())
	fmt.Println(thread.Close(fd), t.Close(fd), child.Close(fd))
	_, err = t.Clone("other", uapi.CloneThread)
	fmt.Println(errors.Is(err, sys.EINVAL))
	_, err = t.Load32(0)
	fmt.Println(err, "or", sys.ErrnoOf(err))
	fmt.Println(k.Close())
	// Output:
	// false true
	// <nil> bad file descriptor <nil>
	// true
	// SIGSEGV or invalid argument
	// <nil>
}
