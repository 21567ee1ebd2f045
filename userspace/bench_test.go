package userspace_test

import (
	"testing"

	"nlmmap/kernel"
	"nlmmap/uapi"
	"nlmmap/userspace"
)

// modes are those in which a program drives its task itself.
var modes = []struct {
	name string
	mode kernel.Mode
}{{"inline", kernel.Inline}, {"free", kernel.Free}}

// BenchmarkAcks is 8 requests and the reading of the 8 acknowledgements out of the ring.
func BenchmarkAcks(b *testing.B) {
	for _, m := range modes {
		b.Run(m.name, func(b *testing.B) {
			k := boot(b, kernel.Config{Version: kernel.Version{Release: kernel.Linux4_4}, Mode: m.mode})
			s := open(b, k.NewProcess("reader", k.InitNet()), uapi.NetlinkRoute, userspace.Config{RX: userspace.RingRequest(512, 16)})
			msg := request(testOK, 1)
			buf := make([]byte, 0, 512)
			b.ReportAllocs()
			for b.Loop() {
				for range 8 {
					must(b, s.Send(msg, nil))
				}
				must(b, s.RX.Wait(-1))
				n := 0
				for f := range s.RX.Frames() {
					var err error
					buf, err = f.Append(buf[:0])
					must(b, err)
					n++
				}
				if n != 8 {
					b.Fatal(n, s.RX.Err())
				}
			}
			must(b, s.Close())
			finish(b, k)
		})
	}
}

// BenchmarkKick fills 8 frames of a TX ring and sends them with one call.
func BenchmarkKick(b *testing.B) {
	for _, m := range modes {
		b.Run(m.name, func(b *testing.B) {
			k := boot(b, kernel.Config{Version: kernel.Version{Release: kernel.Linux4_4}, Mode: m.mode})
			s := open(b, k.NewProcess("writer", k.InitNet()), uapi.NetlinkRoute, userspace.Config{TX: userspace.RingRequest(512, 8)})
			msg := request(testOK, 1)
			msg[6] &^= uapi.NLMFAck
			b.ReportAllocs()
			for b.Loop() {
				for range 8 {
					must(b, s.TX.Send(msg, nil))
				}
				if batch, err := s.TX.Kick(nil); batch.Taken != 8 {
					b.Fatal(batch, err)
				}
			}
			must(b, s.Close())
			finish(b, k)
		})
	}
}
