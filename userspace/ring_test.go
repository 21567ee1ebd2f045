package userspace_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"nlmmap/kernel"
	"nlmmap/kernel/inspect"
	"nlmmap/uapi"
	"nlmmap/userspace"
)

// ring is a ring of n frames in blocks of their own, so that positions are easy to read.
func ring(n int) uapi.NLMMapReq { return userspace.RingRequest(4096, n) }

func TestRingRequestIsValid(t *testing.T) {
	k := boot(t, kernel.Config{})
	task := k.NewProcess("p", k.InitNet())
	for _, size := range []int{0, 24, 25, 100, 3799, 3800, 4096, 4097, 16384, 70000} {
		for _, n := range []int{0, 1, 2, 7, 64} {
			r := userspace.RingRequest(size, n)
			s, err := userspace.Open(task, uapi.NetlinkRoute, userspace.Config{RX: r, TX: r})
			if err != nil {
				t.Fatalf("%d frames of %d: %v", n, size, err)
			}
			if int(r.FrameNr) < n || int(r.FrameSize) < size {
				t.Errorf("%d frames of %d: got %+v", n, size, r)
			}
			must(t, s.Close())
		}
	}
	finish(t, k)
}

func TestOpenSaysWhatFailed(t *testing.T) {
	k := boot(t, kernel.Config{})
	task := k.NewProcess("p", k.InitNet())
	s := open(t, task, uapi.NetlinkRoute, userspace.Config{Portid: 77})
	if _, err := userspace.Open(task, uapi.NetlinkRoute, userspace.Config{Portid: 77}); !errors.Is(err, kernel.EADDRINUSE) {
		t.Errorf("portid in use: %v", err)
	}
	if _, err := userspace.Open(task, 30, userspace.Config{}); !errors.Is(err, kernel.EPROTONOSUPPORT) {
		t.Errorf("no protocol: %v", err)
	}
	bad := uapi.NLMMapReq{BlockSize: 4096, BlockNr: 1, FrameSize: 4096, FrameNr: 2}
	if _, err := userspace.Open(task, uapi.NetlinkRoute, userspace.Config{TX: bad}); !errors.Is(err, kernel.EINVAL) {
		t.Errorf("bad ring: %v", err)
	}
	must(t, task.SetCapability(uapi.CapNetAdmin, false))
	if _, err := userspace.Open(task, uapi.NetlinkRoute, userspace.Config{RX: ring(1)}); !errors.Is(err, kernel.EPERM) {
		t.Errorf("no permission: %v", err)
	}
	must(t, s.Close())
	if err := s.Close(); !errors.Is(err, userspace.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	finish(t, k)
}

func TestReaderGetsAcksAndReleases(t *testing.T) {
	eachRelease(t, func(t *testing.T, k *kernel.Kernel) {
		s := open(t, k.NewProcess("p", k.InitNet()), uapi.NetlinkRoute, userspace.Config{RX: ring(4)})
		for i := range 20 {
			typ, want := uint16(testOK), error(nil)
			if i%3 == 0 {
				typ, want = testFail, kernel.EINVAL
			}
			if err := s.Request(request(typ, s.Seq()), kernel.Second, nil); !errors.Is(err, want) {
				t.Fatalf("request %d: %v, want %v", i, err, want)
			}
		}
		if st := s.RX.Stats(); st.Frames != 20 || st.Copied != 0 || st.Overruns != 0 || s.RX.Position() != 0 {
			t.Errorf("%+v", st)
		}
		if err := s.RX.Wait(0); !errors.Is(err, userspace.ErrTimeout) {
			t.Errorf("Wait on an empty ring: %v", err)
		}
		must(t, s.Close())
	})
}

func TestReaderPassesOverEmptyFrames(t *testing.T) {
	eachRelease(t, func(t *testing.T, k *kernel.Kernel) {
		s := open(t, k.NewProcess("p", k.InitNet()), uapi.NetlinkRoute, userspace.Config{RX: ring(4)})
		for range 5 {
			must(t, s.Request(request(testHold, s.Seq()), kernel.Second, nil))
		}
		if st := s.RX.Stats(); st.Empty != 5 || st.Frames != 5 {
			t.Errorf("%+v", st)
		}
	})
}

func TestReaderReceivesCopies(t *testing.T) {
	eachRelease(t, func(t *testing.T, k *kernel.Kernel) {
		task := k.NewProcess("p", k.InitNet())
		s := open(t, task, uapi.NetlinkUsersock, userspace.Config{RX: ring(4)})
		peer := open(t, k.NewProcess("peer", k.InitNet()), uapi.NetlinkUsersock, userspace.Config{})
		to := &uapi.SockaddrNL{Pid: s.Portid()}
		must(t, peer.Send(data(100, 'a'), to))
		must(t, peer.Send(data(3777, 'b'), to)) // longer than RecvSize
		must(t, peer.Send(data(50, 'c'), to))
		var got [][]byte
		var errs []error
		for range 2 {
			for f := range s.RX.Frames() {
				b, err := f.Bytes()
				must(t, err)
				sender, err := f.Sender()
				must(t, err)
				if !f.Copied() || f.Len() != len(b) || sender.Pid != uint32(peer.Task().Tgid()) {
					t.Errorf("frame %d: copied %t, %d bytes, from %+v", f.Index(), f.Copied(), f.Len(), sender)
				}
				got = append(got, b)
			}
			errs = append(errs, s.RX.Err())
		}
		if !errors.Is(errs[0], userspace.ErrTruncated) || errs[1] != nil {
			t.Errorf("errors %v", errs)
		}
		if len(got) != 2 || !bytes.Equal(got[0], data(100, 'a')) || !bytes.Equal(got[1], data(50, 'c')) {
			t.Errorf("got %d messages: %q", len(got), got)
		}
		for i := range 4 {
			if v := status(t, s, ring(4), i); v != uapi.NLMMapStatusUnused {
				t.Errorf("frame %d is %s", i, uapi.StatusName(v))
			}
		}
	})
}

// frameAddr is where frame i of a socket's first ring starts.
func frameAddr(s *userspace.Socket, r uapi.NLMMapReq, i int) uint64 {
	return s.Task().(*kernel.Task).VMAs(inspect.Key{})[0].Start + uint64(i)*uint64(r.FrameSize)
}

func status(t errorer, s *userspace.Socket, r uapi.NLMMapReq, i int) uint32 {
	t.Helper()
	v, err := s.Task().Load32(frameAddr(s, r, i))
	must(t, err)
	return v
}

func TestCopyWithoutMessageStays(t *testing.T) {
	k := boot(t, kernel.Config{Version: kernel.Version{Release: kernel.Linux4_4}})
	task := k.NewProcess("p", k.InitNet())
	s := open(t, task, uapi.NetlinkUsersock, userspace.Config{RX: ring(4)})
	peer := open(t, task, uapi.NetlinkUsersock, userspace.Config{})
	must(t, peer.Send(data(8, 1), &uapi.SockaddrNL{Pid: s.Portid()}))
	// Somebody else takes the message.
	_, err := task.Recvmsg(s.FD(), &kernel.Msghdr{Iov: []kernel.Iovec{kernel.Iov(make([]byte, 8))}}, 0)
	must(t, err)
	for range 2 {
		for f := range s.RX.Frames() {
			t.Fatalf("frame %d", f.Index())
		}
		if !errors.Is(s.RX.Err(), kernel.EAGAIN) || s.RX.Position() != 0 {
			t.Fatalf("%v at %d", s.RX.Err(), s.RX.Position())
		}
	}
	must(t, s.RX.Discard())
	if err := s.RX.Discard(); err == nil {
		t.Error("a free frame was discarded")
	}
	must(t, peer.Send(data(8, 2), &uapi.SockaddrNL{Pid: s.Portid()}))
	n := 0
	for range s.RX.Frames() {
		n++
	}
	if n != 1 || s.RX.Err() != nil {
		t.Errorf("%d frames, %v", n, s.RX.Err())
	}
	finish(t, k)
}

func TestOverrunIsReportedOnceAndReadingGoesOn(t *testing.T) {
	eachRelease(t, func(t *testing.T, k *kernel.Kernel) {
		s := open(t, k.NewProcess("p", k.InitNet()), uapi.NetlinkRoute, userspace.Config{RX: ring(4)})
		for range 7 {
			must(t, s.Send(request(testOK, s.Seq()), nil))
		}
		var lost *userspace.Overrun
		if err := s.RX.Wait(0); !errors.As(err, &lost) || !errors.Is(err, kernel.ENOBUFS) {
			t.Fatalf("Wait: %v", err)
		}
		must(t, s.RX.Wait(0))
		n := 0
		for range s.RX.Frames() {
			n++
		}
		if n != 4 || s.RX.Err() != nil || s.RX.Stats().Overruns != 1 {
			t.Errorf("%d frames, %v, %+v", n, s.RX.Err(), s.RX.Stats())
		}
		must(t, s.Request(request(testOK, s.Seq()), kernel.Second, nil))
	})
}

// An overrun that recvmsg reports leaves the COPY frame, whose message comes with the next iteration.
func TestOverrunKeepsTheCopyFrame(t *testing.T) {
	eachRelease(t, func(t *testing.T, k *kernel.Kernel) {
		s := open(t, k.NewProcess("p", k.InitNet()), uapi.NetlinkUsersock, userspace.Config{RX: ring(1)})
		peer := open(t, s.Task(), uapi.NetlinkUsersock, userspace.Config{})
		for range 2 {
			must(t, peer.Send(data(8, 1), &uapi.SockaddrNL{Pid: s.Portid()}))
		}
		for range s.RX.Frames() {
			t.Fatal("a frame before the error")
		}
		if !errors.As(s.RX.Err(), new(*userspace.Overrun)) {
			t.Fatalf("got %v", s.RX.Err())
		}
		n := 0
		for range s.RX.Frames() {
			n++
		}
		if n != 1 || s.RX.Err() != nil {
			t.Fatalf("%d frames, %v", n, s.RX.Err())
		}
	})
}

func TestLeaseEndsWithRelease(t *testing.T) {
	k := boot(t, kernel.Config{Version: kernel.Version{Release: kernel.Linux4_4}})
	s := open(t, k.NewProcess("p", k.InitNet()), uapi.NetlinkRoute, userspace.Config{RX: ring(2)})
	var kept []userspace.Frame
	for range 2 {
		must(t, s.Send(request(testOK, s.Seq()), nil))
	}
	for f := range s.RX.Frames() {
		kept = append(kept, f)
		if len(kept) == 1 {
			must(t, f.Release())
		}
	}
	must(t, s.Send(request(testOK, s.Seq()), nil)) // another message at the same place
	kept = append(kept, userspace.Frame{})
	for f := range s.RX.Frames() {
		if !f.Valid() {
			t.Error("the new frame is not valid")
		}
		for _, old := range kept {
			_, err := old.Bytes()
			_, serr := old.Sender()
			if old.Valid() || old.Copied() || old.Len() != 0 || !errors.Is(err, userspace.ErrReleased) || !errors.Is(serr, userspace.ErrReleased) ||
				!errors.Is(old.Release(), userspace.ErrReleased) || !errors.Is(old.Skip(), userspace.ErrReleased) {
				t.Errorf("a released frame is alive: %v, %v", err, serr)
			}
		}
		must(t, f.Skip())
		kept = append(kept, f)
	}
	must(t, s.Close())
	if _, err := kept[len(kept)-1].Bytes(); !errors.Is(err, userspace.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	for range s.RX.Frames() {
		t.Error("a frame after Close")
	}
	if !errors.Is(s.RX.Err(), userspace.ErrClosed) || !errors.Is(s.RX.Wait(0), userspace.ErrClosed) {
		t.Error(s.RX.Err())
	}
	finish(t, k)
}

// skipped frames stay, and reading goes on around them, over several turns of the ring.
func TestSkippedFramesStay(t *testing.T) {
	k := boot(t, kernel.Config{Version: kernel.Version{Release: kernel.Linux4_4}})
	s := open(t, k.NewProcess("p", k.InitNet()), uapi.NetlinkRoute, userspace.Config{RX: ring(4)})
	var kept userspace.Frame
	var want []byte
	must(t, s.Send(request(testOK, s.Seq()), nil))
	for f := range s.RX.Frames() {
		want, _ = f.Bytes()
		must(t, f.Skip())
		kept = f
	}
	for i := range 10 {
		if err := s.Request(request(testOK, s.Seq()), kernel.Second, nil); err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
	}
	got, err := kept.Bytes()
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("% x, %v", got, err)
	}
	must(t, kept.Release())
	for i := range 10 {
		if err := s.Request(request(testOK, s.Seq()), kernel.Second, nil); err != nil {
			t.Fatalf("request %d after the release: %v", i, err)
		}
	}
	must(t, s.Close())
	finish(t, k)
}

// The kernel passes over a kept frame that the reader then releases: the reader finds the messages behind it.
func TestReleaseOfAFramePassedOver(t *testing.T) {
	k := boot(t, kernel.Config{Version: kernel.Version{Release: kernel.Linux4_4}})
	s := open(t, k.NewProcess("p", k.InitNet()), uapi.NetlinkRoute, userspace.Config{RX: ring(4)})
	var kept userspace.Frame
	for i := range 4 {
		must(t, s.Send(request(testOK, s.Seq()), nil))
		for f := range s.RX.Frames() {
			if i == 0 {
				kept = f
				must(t, f.Skip())
			}
		}
	}
	seq := s.Seq()
	must(t, s.Send(request(testOK, seq), nil))
	must(t, kept.Release())
	if err := s.Request(request(testOK, s.Seq()), kernel.Second, nil); err != nil {
		t.Fatal(err)
	}
	finish(t, k)
}

// A sender that is slower than the next one: the reader waits for its frame and loses nothing.
func TestReaderWaitsForTheSlowerSender(t *testing.T) {
	k := boot(t, kernel.Config{Version: kernel.Version{Release: kernel.Linux4_4}})
	s := open(t, k.NewProcess("p", k.InitNet()), uapi.NetlinkRoute, userspace.Config{RX: ring(4)})
	for range 2 {
		must(t, s.Send(request(testOK, s.Seq()), nil))
	}
	first := frameAddr(s, ring(4), 0)
	must(t, s.Task().Store32(first, uapi.NLMMapStatusReserved))
	for range 10 {
		for f := range s.RX.Frames() {
			t.Fatalf("frame %d", f.Index())
		}
		must(t, s.RX.Wait(kernel.Second))
	}
	must(t, s.Task().Store32(first, uapi.NLMMapStatusValid))
	var got []int
	for f := range s.RX.Frames() {
		got = append(got, f.Index())
	}
	if !slices.Equal(got, []int{0, 1}) {
		t.Errorf("frames %v", got)
	}
	finish(t, k)
}

// A message whose frame somebody else took over is found nevertheless, and its frame is no riddle when it comes late.
func TestReaderFindsStrayMessages(t *testing.T) {
	k := boot(t, kernel.Config{Version: kernel.Version{Release: kernel.Linux4_4}})
	s := open(t, k.NewProcess("p", k.InitNet()), uapi.NetlinkUsersock, userspace.Config{RX: ring(4)})
	peer := open(t, s.Task(), uapi.NetlinkUsersock, userspace.Config{})
	must(t, peer.Send(data(8, 1), &uapi.SockaddrNL{Pid: s.Portid()}))
	must(t, s.Task().Store32(frameAddr(s, ring(4), 0), uapi.NLMMapStatusUnused))
	var got []userspace.Frame
	for range 10 {
		for f := range s.RX.Frames() {
			if b, err := f.Bytes(); err != nil || !bytes.Equal(b, data(8, 1)) || f.Index() != -1 || !f.Copied() {
				t.Errorf("%d: % x, %v", f.Index(), b, err)
			}
			got = append(got, f)
		}
		must(t, s.RX.Err())
		if err := s.RX.Wait(kernel.Second); errors.Is(err, userspace.ErrTimeout) {
			break
		}
	}
	if len(got) != 1 || got[0].Valid() || s.RX.Stats().Stray != 1 {
		t.Fatalf("%d frames, %+v", len(got), s.RX.Stats())
	}
	must(t, s.Task().Store32(frameAddr(s, ring(4), 0), uapi.NLMMapStatusCopy))
	must(t, peer.Send(data(8, 1), &uapi.SockaddrNL{Pid: s.Portid()}))
	n := 0
	for range s.RX.Frames() {
		n++
	}
	if n != 1 || s.RX.Err() != nil {
		t.Errorf("%d frames, %v", n, s.RX.Err())
	}
	finish(t, k)
}

func TestCorruptFramesAreReported(t *testing.T) {
	k := boot(t, kernel.Config{Version: kernel.Version{Release: kernel.Linux4_4}})
	s := open(t, k.NewProcess("p", k.InitNet()), uapi.NetlinkRoute, userspace.Config{RX: ring(2)})
	for _, c := range []struct{ status, length uint32 }{{77, 0}, {uapi.NLMMapStatusValid, 4073}, {uapi.NLMMapStatusValid, 1<<32 - 1}, {uapi.NLMMapStatusSkip, 0}} {
		at := frameAddr(s, ring(2), int(s.RX.Position()))
		must(t, s.Task().Store32(at+uapi.NMLen, c.length))
		must(t, s.Task().Store32(at, c.status))
		for range s.RX.Frames() {
			t.Errorf("%+v: a frame", c)
		}
		if !errors.Is(s.RX.Err(), userspace.ErrCorrupt) {
			t.Errorf("%+v: %v", c, s.RX.Err())
		}
		must(t, s.RX.Discard())
	}
	finish(t, k)
}

func TestWriterSendsToTheKernel(t *testing.T) {
	eachRelease(t, func(t *testing.T, k *kernel.Kernel) {
		s := open(t, k.NewProcess("p", k.InitNet()), uapi.NetlinkRoute, userspace.Config{RX: ring(8), TX: userspace.RingRequest(128, 32)})
		for range 3 { // 1 frame, 2 frames ...
			for range 5 {
				must(t, s.TX.Send(request(testOK, s.Seq()), nil))
			}
			b, err := s.TX.Kick(nil)
			if k.Config().Version.Release == kernel.Linux4_1 {
				if !errors.Is(err, userspace.ErrIgnored) {
					t.Fatalf("4.1 never looks at the ring: %+v, %v", b, err)
				}
				return
			}
			if err != nil || b != (userspace.Batch{Frames: 5, Taken: 5, Bytes: 80}) || s.TX.Queued() != 0 {
				t.Fatalf("%+v, %v", b, err)
			}
			n := 0
			for range s.RX.Frames() {
				n++
			}
			if n != 5 {
				t.Fatalf("%d acknowledgements", n)
			}
		}
		must(t, s.Close())
	})
}

func TestWriterFrames(t *testing.T) {
	k := boot(t, kernel.Config{Version: kernel.Version{Release: kernel.Linux4_4}})
	s := open(t, k.NewProcess("p", k.InitNet()), uapi.NetlinkRoute, userspace.Config{TX: userspace.RingRequest(2048, 2)})
	f, err := s.TX.Next()
	must(t, err)
	if _, err := s.TX.Next(); !errors.Is(err, userspace.ErrOpen) {
		t.Errorf("second Next: %v", err)
	}
	if _, err := f.Write(make([]byte, 2025)); !errors.Is(err, kernel.EMSGSIZE) {
		t.Errorf("too much: %v", err)
	}
	if err := f.Commit(2025); !errors.Is(err, kernel.EMSGSIZE) {
		t.Errorf("too long: %v", err)
	}
	must(t, f.Cancel())
	if _, err := f.Write(nil); !errors.Is(err, userspace.ErrReleased) {
		t.Errorf("after Cancel: %v", err)
	}
	for i := range 2 {
		f, err := s.TX.Next()
		must(t, err)
		if f.Index() != i {
			t.Errorf("frame %d, want %d", f.Index(), i)
		}
		_, err = f.Write(request(testOK, 1))
		must(t, err)
		must(t, f.Commit(f.Used()))
		if err := f.Commit(1); !errors.Is(err, userspace.ErrReleased) {
			t.Errorf("second Commit: %v", err)
		}
	}
	if _, err := s.TX.Next(); !errors.Is(err, userspace.ErrFull) {
		t.Errorf("full ring: %v", err)
	}
	if n, err := s.TX.Rewind(); n != 2 || err != nil {
		t.Errorf("Rewind: %d, %v", n, err)
	}
	// Send kicks when it finds the ring full.
	for range 5 {
		must(t, s.TX.Send(request(testOK, 1), nil))
	}
	if b, err := s.TX.Kick(nil); err != nil || b.Taken != 1 {
		t.Errorf("%+v, %v", b, err)
	}
	must(t, s.Close())
	if _, err := s.TX.Next(); !errors.Is(err, userspace.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	finish(t, k)
}

func TestBatchErrorsSayHowFarItCame(t *testing.T) {
	for _, r := range releases {
		if r == kernel.Linux4_1 {
			continue // never looks at the ring
		}
		t.Run(r.String(), func(t *testing.T) {
			k := boot(t, kernel.Config{Version: kernel.Version{Release: r}})
			tx := ring(4)
			s := open(t, k.NewProcess("p", k.InitNet()), uapi.NetlinkUsersock, userspace.Config{TX: tx})
			for range 3 {
				must(t, s.TX.Send(data(10, 1), nil))
			}
			// Nobody is there: each kick consumes and loses one.
			_, err := s.TX.Kick(&uapi.SockaddrNL{Pid: 4711})
			var be *userspace.BatchError
			if !errors.As(err, &be) || !errors.Is(err, kernel.ECONNREFUSED) || !be.Consumed || be.Taken != 1 || be.Frame != 0 || s.TX.Queued() != 2 {
				t.Fatalf("%+v", err)
			}
			// Somebody scribbles on a length: the frame stays until it is corrected.
			must(t, s.Task().Store32(frameAddr(s, tx, 2)+uapi.NMLen, 5000))
			peer := open(t, s.Task(), uapi.NetlinkUsersock, userspace.Config{})
			for i := range 2 {
				_, err = s.TX.Kick(&uapi.SockaddrNL{Pid: peer.Portid()})
				if !errors.As(err, &be) || !errors.Is(err, kernel.EINVAL) || be.Consumed || be.Taken != 1-i || be.Frame != 2 || s.TX.Queued() != 1 {
					t.Fatalf("kick %d: %+v", i, err)
				}
			}
			if n, err := s.TX.Rewind(); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			must(t, s.TX.Send(data(10, 1), nil))
			if b, err := s.TX.Kick(&uapi.SockaddrNL{Pid: peer.Portid()}); err != nil || b.Bytes != 10 {
				t.Fatal(b, err)
			}
			finish(t, k)
		})
	}
}

func TestForkedChildReadsOn(t *testing.T) {
	k := boot(t, kernel.Config{Version: kernel.Version{Release: kernel.Linux4_4}})
	parent := k.NewProcess("parent", k.InitNet())
	s := open(t, parent, uapi.NetlinkRoute, userspace.Config{RX: ring(4), TX: ring(4)})
	must(t, s.Request(request(testOK, s.Seq()), kernel.Second, nil))
	child, err := parent.Fork("child")
	must(t, err)
	must(t, s.Close())
	c := s.On(child)
	if err := c.Send(nil, nil); !errors.Is(err, userspace.ErrClosed) {
		t.Fatalf("the copy of a closed socket: %v", err)
	}
	child.ExitGroup()

	s = open(t, parent, uapi.NetlinkRoute, userspace.Config{RX: ring(4), TX: ring(4)})
	must(t, s.Request(request(testOK, s.Seq()), kernel.Second, nil))
	child, err = parent.Fork("child")
	must(t, err)
	c = s.On(child)
	if c.RX.Position() != 1 {
		t.Errorf("the child reads on at frame %d", c.RX.Position())
	}
	must(t, s.Close())
	must(t, c.Request(request(testOK, c.Seq()), kernel.Second, nil))
	must(t, c.TX.Send(request(testOK, c.Seq()), nil))
	if _, err := c.TX.Kick(nil); err != nil {
		t.Fatal(err)
	}
	must(t, c.Close())
	finish(t, k)
}

func TestDumperReadsEverythingOnce(t *testing.T) {
	for _, frames := range []int{1, 2, 3, 5, 16} {
		eachRelease(t, func(t *testing.T, k *kernel.Kernel) {
			var seen []uint32
			d := userspace.Dumper{Config: userspace.DumpConfig{Type: testDump, Ring: userspace.RingRequest(userspace.DumpFrameSize, frames),
				Handle: func(m uapi.Message) error {
					seen = append(seen, uint32(m.Payload[0])|uint32(m.Payload[1])<<8)
					return nil
				}}}
			must(t, d.Run(t.Context(), k.NewProcess("dumper", k.InitNet())))
			if !d.Complete() || d.Done != 1 || d.Messages != testDumpLen || d.Copied != 0 || len(seen) != testDumpLen || !slices.IsSorted(seen) {
				t.Errorf("%d frames: %+v, %d seen", frames, d, len(seen))
			}
		})
	}
}

// With frames that are too small every message comes beside the ring.
func TestDumperReadsCopies(t *testing.T) {
	eachRelease(t, func(t *testing.T, k *kernel.Kernel) {
		d := userspace.Dumper{Config: userspace.DumpConfig{Type: testDump, Ring: userspace.RingRequest(128, 64)}}
		must(t, d.Run(t.Context(), k.NewProcess("dumper", k.InitNet())))
		if d.Copied != d.Frames || d.Messages != testDumpLen {
			t.Errorf("%+v", d)
		}
	})
}

func TestDumperReportsWhatIsWrong(t *testing.T) {
	eachRelease(t, func(t *testing.T, k *kernel.Kernel) {
		task := k.NewProcess("dumper", k.InitNet())
		d := userspace.Dumper{Config: userspace.DumpConfig{Type: testFail}}
		if err := d.Run(t.Context(), task); !errors.Is(err, kernel.EINVAL) {
			t.Errorf("refused request: %v", err)
		}
		// Nobody answers this one.
		d = userspace.Dumper{Config: userspace.DumpConfig{Type: testOK}}
		if err := d.Run(t.Context(), task); !errors.Is(err, userspace.ErrIncomplete) || !errors.Is(err, userspace.ErrTimeout) {
			t.Errorf("no answer: %v", err)
		}
		stop := errors.New("enough")
		d = userspace.Dumper{Config: userspace.DumpConfig{Type: testDump, Handle: func(uapi.Message) error { return stop }}}
		if err := d.Run(t.Context(), task); !errors.Is(err, stop) {
			t.Errorf("handler: %v", err)
		}
		// Large frames hide dumps where the kernel shifts the data.
		d = userspace.Dumper{Config: userspace.DumpConfig{Type: testDump, Ring: userspace.RingRequest(8192, 4)}}
		err := d.Run(t.Context(), task)
		shifts := k.Config().Version.Release == kernel.Linux4_1 || k.Config().Version.Release == kernel.Linux4_4
		if shifts != (err != nil) {
			t.Errorf("large frames: %v", err)
		}
	})
}
