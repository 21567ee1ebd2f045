//go:build linux && amd64

package interpose_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"

	"nlmmap/interpose"
	"nlmmap/kernel"
	"nlmmap/subsys"
)

// A shell looks at the netlink sockets of a modelled machine: those of its kernel. The program that does this must call Stub at
// its start when IsStub says so.
func Example() {
	k, err := kernel.Boot(kernel.Config{Mode: kernel.Free, Memfd: true, Joined: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	system, err := subsys.Register(k)
	if err != nil {
		fmt.Println(err)
		return
	}
	net := k.NewNet()
	s, err := interpose.New(interpose.Config{Kernel: k, Net: net, Inet: system.IP})
	if err != nil {
		fmt.Println(err)
		return
	}
	self, err := os.Executable()
	if err != nil {
		fmt.Println(err)
		return
	}
	p, err := interpose.Launch(self, &exec.Cmd{Path: "/bin/sh",
		Args: []string{"sh", "-c", "while read sk eth pid rest; do echo $eth $pid; done < /proc/net/netlink"}, Stdout: os.Stdout})
	if err != nil {
		fmt.Println(err)
		return
	}
	s.Serve(p.Listener)
	<-p.Done()
	s.Close(context.Background())
	if err := k.Close(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// Eth Pid
	// 0 0
	// 4 0
	// 6 0
	// 10 0
	// 12 0
	// 15 0
	// 16 0
}
