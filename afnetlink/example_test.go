package afnetlink_test

import (
	"fmt"
	"testing"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/uapi"
)

// A protocol whose kernel side acknowledges everything; one acknowledgement comes through a ring.
func Example() {
	k, err := kernel.Boot(kernel.Config{Version: kernel.Version{Release: kernel.Linux4_4}})
	if err != nil {
		panic(err)
	}
	nl, err := afnetlink.Register(k)
	if err != nil {
		panic(err)
	}
	nl.KernelCreate(uapi.NetlinkUsersock, afnetlink.KernelCfg{
		Input: func(cur *kernel.Task, m *afnetlink.Message) {
			afnetlink.RcvSKB(cur, m, func(_ *kernel.Task, _ *afnetlink.Message, _ afnetlink.Msg, h uapi.NLMsgHdr) error {
				fmt.Println("the kernel got a message of type", h.Type)
				return nil
			})
		},
	})

	p := k.NewProcess("main", k.InitNet())
	fd, _ := p.Socket(uapi.AFNetlink, uapi.SockRaw, uapi.NetlinkUsersock)
	req := uapi.NLMMapReq{BlockSize: 4096, BlockNr: 1, FrameSize: 2048, FrameNr: 2}
	if err := p.Setsockopt(fd, uapi.SolNetlink, uapi.NetlinkRxRing, req.Bytes()); err != nil {
		panic(err)
	}
	ring, err := p.Mmap(0, 4096, uapi.ProtRead|uapi.ProtWrite, uapi.MapShared, fd, 0)
	if err != nil {
		panic(err)
	}

	msg := make([]byte, uapi.NLMsgHdrlen)
	uapi.NLMsgHdr{Len: 16, Type: 42, Flags: uapi.NLMFRequest | uapi.NLMFAck, Seq: 7}.Put(msg)
	to := uapi.SockaddrNL{Family: uapi.AFNetlink}
	if _, err := p.Sendto(fd, msg, 0, to.Bytes()); err != nil {
		panic(err)
	}

	status, _ := p.Load32(ring + uapi.NMStatus)
	length, _ := p.Load32(ring + uapi.NMLen)
	fmt.Println("frame 0:", uapi.StatusName(status), length)
	_ = p.Store32(ring+uapi.NMStatus, uapi.NLMMapStatusUnused)
	fmt.Println(k.Close())
	// Output:
	// the kernel got a message of type 42
	// frame 0: VALID 36
	// <nil>
}

// BenchmarkBoot is what a run of an exploration pays before anything happens.
func BenchmarkBoot(b *testing.B) {
	b.ReportAllocs()
	for range b.N {
		k, err := kernel.Boot(kernel.Config{Version: kernel.Version{Release: kernel.Linux4_4}})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := afnetlink.Register(k); err != nil {
			b.Fatal(err)
		}
		if err := k.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAck is a request and its acknowledgement: through the ring, and by recvmsg.
func BenchmarkAck(b *testing.B) {
	for _, ring := range []bool{true, false} {
		b.Run(fmt.Sprintf("ring=%t", ring), func(b *testing.B) {
			m := boot(b, kernel.Config{Version: kernel.Version{Release: kernel.Linux4_4}})
			fd := m.open(1, 0)
			const frames = 16
			if ring {
				benchmarkRing(b, m, fd, frames)
				return
			}
			req, to := request(50, uapi.NLMFAck), addr(0, 0)
			h := &kernel.Msghdr{Iov: []kernel.Iovec{kernel.Iov(make([]byte, 100))}}
			b.ReportAllocs()
			for b.Loop() {
				_, _ = m.Sendto(fd, req, 0, to)
				if n, err := m.Recvmsg(fd, h, uapi.MsgDontwait); n != 36 || err != nil {
					b.Fatal(n, err)
				}
			}
		})
	}
}

func benchmarkRing(b *testing.B, m *machine, fd, frames int) {
	r := m.ring(fd, uapi.NetlinkRxRing, uint32(frames))
	req, to := request(50, uapi.NLMFAck), addr(0, 0)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_, _ = m.Sendto(fd, req, 0, to)
		at := r.addr + uint64(i%frames)*4096
		if v, err := m.Load32(at); v != uapi.NLMMapStatusValid || err != nil {
			b.Fatal(v, err)
		}
		_ = m.Store32(at, uapi.NLMMapStatusUnused)
	}
}
