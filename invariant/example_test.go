package invariant_test

import (
	"fmt"

	"nlmmap/invariant"
	"nlmmap/kernel"
	"nlmmap/subsys"
	"nlmmap/uapi"
)

// A program that gives a frame back twice: the second store is to a frame that is the kernel's.
func Example() {
	watch := invariant.Watch{Report: func(v invariant.Violation) { fmt.Printf("%v\nto blame: %v\n", v, v.Blame) }}
	k, err := kernel.Boot(kernel.Config{Version: kernel.Version{Release: kernel.Linux4_4}, Trace: watch.Record, Quiet: true})
	if err != nil {
		panic(err)
	}
	if _, err := subsys.Register(k); err != nil {
		panic(err)
	}
	t := k.NewProcess("reader", k.NewNet())
	fd, _ := t.Socket(uapi.AFNetlink, uapi.SockRaw, uapi.NetlinkRoute)
	ring := uapi.NLMMapReq{BlockSize: 4096, BlockNr: 1, FrameSize: 2048, FrameNr: 2}
	_ = t.Setsockopt(fd, uapi.SolNetlink, uapi.NetlinkRxRing, ring.Bytes())
	mem, _ := t.Mmap(0, 4096, uapi.ProtRead|uapi.ProtWrite, uapi.MapShared, fd, 0)
	request := uapi.AppendMessage(nil, uapi.NLMsgHdr{Type: uapi.NLMsgNoop, Flags: uapi.NLMFRequest | uapi.NLMFAck, Seq: 1}, nil)
	_, _ = t.Sendto(fd, request, 0, uapi.SockaddrNL{Family: uapi.AFNetlink}.Bytes())
	if status, _ := t.Load32(mem + uapi.NMStatus); status == uapi.NLMMapStatusValid {
		_ = t.Store32(mem+uapi.NMStatus, uapi.NLMMapStatusUnused)
		_ = t.Store32(mem+uapi.NMStatus, uapi.NLMMapStatusUnused)
	}
	watch.Rest(k, true)
	fmt.Println("closed:", k.Close())
	// Output:
	// release-own: rx[0] is released and is free already
	// to blame: the program, task reader
	// closed: <nil>
}
