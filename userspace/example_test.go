package userspace_test

import (
	"context"
	"fmt"

	"nlmmap/kernel"
	"nlmmap/uapi"
	"nlmmap/userspace"
)

// fatal makes the helpers of tests usable in examples.
type fatal struct{}

func (fatal) Helper()           {}
func (fatal) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// exampleKernel boots a 4.4.1 machine. A program outside these tests uses kernel.Boot and subsys.Register.
func exampleKernel() *kernel.Kernel {
	return boot(fatal{}, kernel.Config{Version: kernel.Version{Release: kernel.Linux4_4}})
}

func ExampleReader() {
	k := exampleKernel()
	s, err := userspace.Open(k.NewProcess("reader", k.InitNet()), uapi.NetlinkRoute, userspace.Config{
		RX: userspace.RingRequest(4096, 4),
	})
	if err != nil {
		panic(err)
	}
	for range 2 {
		_ = s.Send(request(testOK, s.Seq()), nil)
	}
	for f := range s.RX.Frames() {
		data, err := f.Bytes()
		if err != nil {
			panic(err)
		}
		for m := range uapi.Messages(data) {
			ack, _ := uapi.ParseAck(m)
			fmt.Printf("frame %d: request %d: %v\n", f.Index(), ack.Request.Seq, ack.Err())
		}
	} // here the frame is released
	fmt.Println(s.RX.Err(), s.RX.Wait(kernel.Millisecond))
	fmt.Println(s.Close(), k.Close())
	// Output:
	// frame 0: request 1: <nil>
	// frame 1: request 2: <nil>
	// <nil> nothing came in time
	// <nil> <nil>
}

func ExampleWriter() {
	k := exampleKernel()
	s, err := userspace.Open(k.NewProcess("writer", k.InitNet()), uapi.NetlinkRoute, userspace.Config{
		RX: userspace.RingRequest(4096, 4), TX: userspace.RingRequest(256, 16),
	})
	if err != nil {
		panic(err)
	}
	for range 3 {
		f, err := s.TX.Next()
		if err != nil {
			panic(err)
		}
		n, _ := f.Write(request(testOK, s.Seq()))
		_ = f.Commit(n)
	}
	batch, err := s.TX.Kick(nil) // one system call for all three
	fmt.Printf("%+v %v\n", batch, err)
	answers := 0
	for range s.RX.Frames() {
		answers++
	}
	fmt.Println(answers, "answers")
	fmt.Println(s.Close(), k.Close())
	// Output:
	// {Frames:3 Taken:3 Bytes:48} <nil>
	// 3 answers
	// <nil> <nil>
}

func ExampleDumper() {
	k := exampleKernel()
	d := userspace.Dumper{Config: userspace.DumpConfig{Type: uapi.RTMGetneigh}}
	err := d.Run(context.Background(), k.NewProcess("dumper", k.InitNet()))
	fmt.Printf("%d messages in %d frames, complete: %t, %v\n", d.Messages, d.Frames, d.Complete(), err)
	fmt.Println(k.Close())
	// Output:
	// 500 messages in 12 frames, complete: true, <nil>
	// <nil>
}

func ExampleBuilder() {
	var b userspace.Builder
	b.Begin(uapi.NLMsgHdr{Type: uapi.RTMNewlink, Flags: uapi.NLMFRequest}).Raw(make([]byte, 16)...)
	b.Attr(3, []byte("lo\x00")).Nest(18).Attr(1, []byte("dummy")).EndNest()
	msg, _ := b.Bytes()
	for m := range uapi.Messages(msg) {
		for a := range m.Attrs(16) {
			fmt.Printf("attribute %d, nested %t: %q\n", a.Type, a.Nested, a.Data)
		}
	}
	// Output:
	// attribute 3, nested false: "lo\x00"
	// attribute 18, nested true: "\t\x00\x01\x00dummy\x00\x00\x00"
}
