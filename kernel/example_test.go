package kernel_test

import (
	"errors"
	"fmt"

	"nlmmap/kernel"
	"nlmmap/kernel/inspect"
	"nlmmap/uapi"
)

// A process asks for something that nobody registered, and waits for what never comes: both return at once, for time
// is simulated.
func Example() {
	k, err := kernel.Boot(kernel.Config{})
	if err != nil {
		panic(err)
	}
	p := k.NewProcess("main", k.InitNet())
	_, err = p.Socket(uapi.AFNetlink, uapi.SockRaw, uapi.NetlinkRoute)
	fmt.Println(err)
	n, err := p.Poll(nil, 90*kernel.Second)
	fmt.Println(n, err, k.Now())
	_, err = p.Poll(nil, -1)
	fmt.Println(errors.Is(err, kernel.ErrBlocks))
	fmt.Println(k.Close())
	// Output:
	// address family not supported by protocol: no address family 16
	// 0 <nil> 90.000000s
	// true
	// <nil>
}

// The references to an open file: a descriptor each, and one for each copy in flight.
func ExampleFile_Count() {
	k, _ := kernel.Boot(kernel.Config{})
	p := k.NewProcess("main", k.InitNet())
	a, b, _ := p.Socketpair()
	fd, _ := p.EpollCreate()
	count := func() int { return p.FileOf(inspect.Key{}, fd).Count(p) }
	fmt.Println("opened:", count())
	_ = p.SendFD(a, fd)
	fmt.Println("in flight:", count())
	child, _ := p.Fork("child")
	fmt.Println("forked:", count())
	_, _ = child.RecvFD(b)
	fmt.Println("received by the child:", count())
	child.ExitGroup()
	fmt.Println("child gone:", count())
	fmt.Println(k.Close())
	// Output:
	// opened: 1
	// in flight: 2
	// forked: 3
	// received by the child: 3
	// child gone: 1
	// <nil>
}

// A vendor's kernel is a release with some differences set otherwise.
func ExampleVersion() {
	v, _ := kernel.ParseVersion("4.4.1")
	v.Set = map[string]string{"fault-anon": "on"}
	k, err := kernel.Boot(kernel.Config{Version: v})
	fmt.Println(v, k.D.FaultAnon, err)
	// Output: 4.4.1+fault-anon=on true <nil>
}

// Leaks are found when the machine is closed.
func ExampleKernel_Close() {
	k, _ := kernel.Boot(kernel.Config{})
	if _, err := k.AllocPages(k.KernelTask("leak"), 2*uapi.PageSize); err != nil {
		panic(err)
	}
	fmt.Println(k.Close())
	// Output:
	// 1 ring memory blocks leaked
	// 8192 bytes of ring memory leaked
}
