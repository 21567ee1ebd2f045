package counter_test

import (
	"encoding/binary"
	"fmt"
	"sync"
	"testing"

	"nlmmap/afnetlink"
	"nlmmap/docs/counter"
	"nlmmap/explore"
	"nlmmap/kernel"
	"nlmmap/kernel/inspect"
	"nlmmap/sys"
	"nlmmap/uapi"
	"nlmmap/userspace"
)

// boot boots a machine with the subsystem on it.
func boot(cfg kernel.Config) *kernel.Kernel {
	k, err := kernel.Boot(cfg)
	if err != nil {
		panic(err)
	}
	nl, err := afnetlink.Register(k)
	if err != nil {
		panic(err)
	}
	if _, err := counter.Register(nl); err != nil {
		panic(err)
	}
	return k
}

// open opens a socket of the subsystem with an RX ring.
func open(t *kernel.Task) *userspace.Socket {
	s, err := userspace.Open(t, counter.Protocol, userspace.Config{RX: userspace.RingRequest(4096, 4)})
	if err != nil {
		panic(err)
	}
	return s
}

// ask sends one request.
func ask(s *userspace.Socket, typ, flags uint16, which, much uint32) {
	b := userspace.NewBuilder(make([]byte, 64))
	h := uapi.NLMsgHdr{Type: typ, Flags: uapi.NLMFRequest | flags, Seq: s.Seq()}
	payload := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, which), much)
	msg, err := b.Begin(h).Raw(payload...).End().Bytes()
	if err != nil {
		panic(err)
	}
	if err := s.Send(msg, nil); err != nil {
		panic(err)
	}
}

// read returns what is in the ring, in words.
func read(s *userspace.Socket) (lines []string) {
	for f := range s.RX.Frames() {
		where := "in the frame"
		if f.Copied() {
			where = "beside the ring"
		}
		data, err := f.Bytes()
		if err != nil {
			panic(err)
		}
		for m := range uapi.Messages(data) {
			line := fmt.Sprintf("type %d", m.Header.Type)
			switch m.Header.Type {
			case counter.Value:
				line = fmt.Sprintf("number %d is %d", binary.LittleEndian.Uint32(m.Payload), binary.LittleEndian.Uint32(m.Payload[4:]))
			case uapi.NLMsgError:
				ack, _ := uapi.ParseAck(m)
				line = fmt.Sprintf("acknowledged: %v", ack.Err())
			case uapi.NLMsgDone:
				line = "done"
			}
			lines = append(lines, fmt.Sprintf("frame %d, %s: %s", f.Index(), where, line))
		}
	}
	if err := s.RX.Err(); err != nil {
		panic(err)
	}
	return lines
}

func show(lines []string) {
	for _, l := range lines {
		fmt.Println(l)
	}
}

func Example() {
	k := boot(kernel.Config{Version: kernel.Version{Release: kernel.Linux4_5}})
	task := k.NewProcess("main", k.NewNet())
	s := open(task)

	ask(s, counter.Add, uapi.NLMFAck, 2, 5)
	ask(s, counter.Get, 0, 2, 0)
	ask(s, counter.Get, 0, 9, 0)
	show(read(s))

	ask(s, counter.Get, uapi.NLMFDump, 0, 0)
	_ = s.RX.Wait(0) // the poll in it continues the dump
	show(read(s))

	fmt.Println(s.Close(), k.Close())
	// Output:
	// frame 0, in the frame: acknowledged: <nil>
	// frame 1, in the frame: number 2 is 5
	// frame 2, in the frame: acknowledged: invalid argument
	// frame 3, in the frame: number 0 is 0
	// frame 3, in the frame: number 1 is 0
	// frame 3, in the frame: number 2 is 5
	// frame 3, in the frame: number 3 is 0
	// frame 0, in the frame: done
	// <nil> <nil>
}

// Events reach the group beside the ring, on the kernels that send them.
func Example_events() {
	for _, r := range []kernel.Release{kernel.Linux3_10, kernel.Linux4_4} {
		k := boot(kernel.Config{Version: kernel.Version{Release: r}})
		task := k.NewProcess("main", k.NewNet())
		s := open(task)
		group := binary.LittleEndian.AppendUint32(nil, counter.Changes)
		if err := task.Setsockopt(s.FD(), uapi.SolNetlink, uapi.NetlinkAddMembership, group); err != nil {
			panic(err)
		}
		ask(s, counter.Add, 0, 1, 7)
		fmt.Println(r, read(s))
		fmt.Println(s.Close(), k.Close())
	}
	// Output:
	// 3.10.4 []
	// <nil> <nil>
	// 4.4.1 [frame 0, beside the ring: number 1 is 7]
	// <nil> <nil>
}

// TestCapability: the kernel refuses additions without the capability, and says so in a frame.
func TestCapability(t *testing.T) {
	k := boot(kernel.Config{})
	task := k.NewProcess("main", k.NewNet())
	s := open(task) // setting a ring needs the capability too
	if err := task.SetCapability(uapi.CapNetAdmin, false); err != nil {
		t.Fatal(err)
	}
	ask(s, counter.Add, 0, 0, 1)
	if got := fmt.Sprint(read(s)); got != "[frame 0, in the frame: acknowledged: operation not permitted]" {
		t.Error(got)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := k.Close(); err != nil {
		t.Error(err)
	}
}

// TestInterleavings: two additions at once add up under all schedules. Without the lock the search finds one where a
// task reads the number before the other has written it.
func TestInterleavings(t *testing.T) {
	explore.Test(t, func(w *explore.World) {
		system, net := w.Machine()
		c, err := counter.Register(system.Netlink)
		w.Must(err)
		for i := range 2 {
			task := w.Process(fmt.Sprint("adder", i))
			fd := w.Socket(task, counter.Protocol, uint32(1000+i))
			w.Go(task, func(task sys.Task) {
				_, err := sys.Sendto(task, fd, addition, uapi.MsgDontwait, nil)
				w.Must(err)
			})
		}
		w.Finally(func() {
			w.Assert(c.Inspect(inspect.Key{}, net, 0) == 2, "1 + 1 is %d", c.Inspect(inspect.Key{}, net, 0))
		})
	}, explore.Options{Version: kernel.Version{Release: kernel.Linux4_5}})
}

// addition adds 1 to number 0.
var addition = func() []byte {
	b := make([]byte, uapi.NLMsgHdrlen+8)
	uapi.NLMsgHdr{Len: uint32(len(b)), Type: counter.Add, Flags: uapi.NLMFRequest}.Put(b)
	b[uapi.NLMsgHdrlen+4] = 1
	return b
}()

// TestParallel: additions of several processes at once, in Free mode, add up.
func TestParallel(t *testing.T) {
	const tasks, each = 4, 200
	k := boot(kernel.Config{Mode: kernel.Free})
	net := k.NewNet()
	var wg sync.WaitGroup
	for i := range tasks {
		task := k.NewProcess(fmt.Sprint("adder", i), net)
		wg.Go(func() {
			s := open(task)
			for range each {
				ask(s, counter.Add, 0, 3, 1)
			}
			_ = s.Close()
		})
	}
	wg.Wait()
	s := open(k.NewProcess("reader", net))
	ask(s, counter.Get, 0, 3, 0)
	if got, want := fmt.Sprint(read(s)), fmt.Sprintf("[frame 0, in the frame: number 3 is %d]", tasks*each); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	_ = s.Close()
	if err := k.Close(); err != nil {
		t.Error(err)
	}
}
