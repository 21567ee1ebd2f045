package fiblookup_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"nlmmap/kernel"
	"nlmmap/subsys"
	"nlmmap/subsys/internal/nltest"
	"nlmmap/uapi"
)

func request(addr [4]byte) []byte { return append(addr[:], make([]byte, 40)...) }

func TestLookup(t *testing.T) {
	nltest.EachRelease(t, func(t *testing.T, m *nltest.Machine) {
		s := m.Open(uapi.NetlinkFIBLookup, 1000, 0)
		s.Send(16, 0, request([4]byte{127, 0, 0, 1}))
		got := s.Recv()
		code := int32(binary.LittleEndian.Uint32(got[0].Payload[16:]))
		if len(got) != 1 || got[0].Len != 60 || got[0].Flags != uapi.NLMFRequest || code != -2 {
			t.Errorf("no table: %+v, error %d", got, code)
		}
		m.Inet(m.Task.Net()).LoUp(m.Task.Kernel().KernelTask("admin"))
		s.Send(16, 0, request([4]byte{127, 0, 0, 1}))
		p := s.Recv()[0].Payload
		// Without the table local in it there is no table main.
		want := []byte{0, 0, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff}
		if m.Release() >= kernel.Linux4_1 {
			want = []byte{254, 32, 0, 2, 254, 0, 0, 0, 0} // main, prefix length 32, local, scope host
		}
		if !bytes.Equal(p[11:20], want) {
			t.Errorf("% x", p)
		}
		local := request([4]byte{127, 0, 0, 1})
		local[10] = 255
		s.Send(16, 0, local)
		if p := s.Recv()[0].Payload; !bytes.Equal(p[11:20], []byte{255, 32, 0, 2, 254, 0, 0, 0, 0}) {
			t.Errorf("table local: % x", p)
		}
		s.Send(16, 0, request([4]byte{127})[:19])
		if b := s.Bytes(); b != nil {
			t.Errorf("a short request is answered: % x", b)
		}
	})
}

// TestTxRing: the answer to a request that was sent in place is delivered into the TX frame (tx-fib-lookup-resend).
func TestTxRing(t *testing.T) {
	nltest.EachRelease(t, func(t *testing.T, m *nltest.Machine) {
		s := m.Open(uapi.NetlinkFIBLookup, 1000, 0)
		ring := uapi.NLMMapReq{BlockSize: 4096, BlockNr: 1, FrameSize: 1024, FrameNr: 4}
		if err := errors.Join(m.Setsockopt(s.FD, uapi.SolNetlink, uapi.NetlinkRxRing, ring.Bytes()),
			m.Setsockopt(s.FD, uapi.SolNetlink, uapi.NetlinkTxRing, ring.Bytes())); err != nil {
			t.Fatal(err)
		}
		rx, err := m.Mmap(0, 8192, uapi.ProtRead|uapi.ProtWrite, uapi.MapShared, s.FD, 0)
		if err != nil {
			t.Fatal(err)
		}
		tx := rx + 4096
		msg := nltest.Msg(16, 0, request([4]byte{127, 0, 0, 1}))
		if err := errors.Join(m.WriteMem(tx+uapi.NLMMapHdrlen, msg), m.Store32(tx+uapi.NMLen, uint32(len(msg))),
			m.Store32(tx, uapi.NLMMapStatusValid)); err != nil {
			t.Fatal(err)
		}
		kick := func(flags int) (int, error) {
			return m.Sendmsg(s.FD, &kernel.Msghdr{Name: uapi.SockaddrNL{Family: uapi.AFNetlink}.Bytes(),
				Iov: []kernel.Iovec{{}}}, flags)
		}
		n, err := kick(uapi.MsgDontwait)
		if err != nil {
			t.Fatal(err)
		}
		status, _ := m.Load32(rx)
		word := func(off uint64) uint32 {
			v, err := m.Load32(tx + off)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		switch m.Release() {
		case kernel.Linux3_10:
			if n != 60 || status != uapi.NLMMapStatusUnused || s.Bytes() != nil {
				t.Errorf("%d, RX frame %d", n, status)
			}
			if word(0) != uapi.NLMMapStatusUnused || word(uapi.NMPid) != uint32(m.Tgid()) || word(1024+36) != 1 {
				t.Errorf("TX frame: status %d pid %d, next frame %d", word(0), word(uapi.NMPid), word(1024+36))
			}
			if !m.Task.Kernel().Tainted() {
				t.Error("the machine's books are still right")
			}
			if n, err := kick(0); !errors.Is(err, kernel.ErrBlocks) {
				t.Errorf("a send that waits returns %d %v", n, err)
			}
		case kernel.Linux4_1:
			if n != 0 || status != uapi.NLMMapStatusUnused {
				t.Errorf("%d, RX frame %d", n, status)
			}
		default:
			if n != 60 || status != uapi.NLMMapStatusCopy || len(s.Bytes()) != 60 {
				t.Errorf("%d, RX frame %d", n, status)
			}
		}
	})
}

// The route to 127.0.0.1.
func Example() {
	k, err := kernel.Boot(kernel.Config{})
	if err != nil {
		panic(err)
	}
	sys, err := subsys.Register(k)
	if err != nil {
		panic(err)
	}
	sys.Inet(k.InitNet()).LoUp(k.KernelTask("admin"))
	task := k.NewProcess("main", k.InitNet())
	fd, _ := task.Socket(uapi.AFNetlink, uapi.SockRaw, uapi.NetlinkFIBLookup)
	local := request([4]byte{127, 0, 0, 1})
	local[10] = 255 // the table to look in
	msg := nltest.Msg(16, 0, local)
	_, _ = task.Sendto(fd, msg, 0, uapi.SockaddrNL{Family: uapi.AFNetlink}.Bytes())
	buf := make([]byte, 8192)
	n, _ := task.Recvmsg(fd, &kernel.Msghdr{Iov: []kernel.Iovec{kernel.Iov(buf)}}, 0)
	fmt.Println(n, "bytes, table", buf[16+11], "prefix length", buf[16+12])
	fmt.Println(k.Close())
	// Output:
	// 60 bytes, table 255 prefix length 32
	// <nil>
}
