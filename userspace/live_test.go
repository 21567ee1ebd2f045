package userspace_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"nlmmap/kernel"
	"nlmmap/scenario/live"
	"nlmmap/subsys"
	"nlmmap/sys"
	"nlmmap/uapi"
	"nlmmap/userspace"
)

// liveTask returns a process of the kernel underneath, or skips the test where there can be none.
func liveTask(t *testing.T) sys.Task {
	t.Helper()
	target, err := live.New(live.Config{})
	if err != nil {
		t.Skipf("Programs of the live kernel need root, network namespaces and ptrace: %v.", err)
	}
	t.Cleanup(func() {
		if err := target.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return target.Main()
}

// modelTask returns a process of a modelled kernel with all subsystems.
func modelTask(t *testing.T, r kernel.Release) sys.Task {
	t.Helper()
	k := exampleMachine(r)
	t.Cleanup(func() { finish(t, k) })
	return k.NewProcess("program", k.NewNet())
}

// exampleMachine boots a modelled kernel with all subsystems.
func exampleMachine(r kernel.Release) *kernel.Kernel {
	k, err := kernel.Boot(kernel.Config{Version: kernel.Version{Release: r}})
	if err != nil {
		panic(err)
	}
	if _, err := subsys.Register(k); err != nil {
		panic(err)
	}
	return k
}

// A program returns what it has seen.
type program func(t sys.Task) (log []string, err error)

var programs = []program{conversation, rings}

// conversation is a program without rings: requests, groups, answers by recvmsg.
func conversation(t sys.Task) (log []string, err error) {
	note := func(format string, args ...any) { log = append(log, fmt.Sprintf(format, args...)) }
	s, err := userspace.Open(t, uapi.NetlinkRoute, userspace.Config{Portid: 1234, Groups: 1})
	if err != nil {
		return nil, err
	}
	note("portid %d, rings %t %t", s.Portid(), s.RX != nil, s.TX != nil)
	note("join: %v, leave: %v", s.Join(3), s.Leave(3))
	note("request without a ring: %v", s.Request(request(uapi.NLMsgNoop, s.Seq()), sys.Second, nil))
	fds := []sys.PollFD{{FD: s.FD(), Events: uapi.PollIn}}
	n, err := t.Poll(fds, 10*sys.Millisecond)
	note("poll: %d %v", n, err)
	if err := s.Send(append(request(uapi.NLMsgNoop, 7), request(uapi.RTMDellink, 8, make([]byte, 16)...)...), nil); err != nil {
		return nil, err
	}
	for range 2 {
		n, err := t.Poll(fds, sys.Second)
		note("poll: %d %v %#x", n, err, fds[0].Revents)
		buf := make([]byte, 200)
		m := sys.Msghdr{Iov: []sys.Iovec{sys.Iov(buf)}}
		if n, err = t.Recvmsg(s.FD(), &m, uapi.MsgDontwait); err != nil {
			return nil, err
		}
		for m, err := range uapi.Messages(buf[:n]) {
			if err != nil {
				return nil, err
			}
			ack, err := uapi.ParseAck(m)
			note("answer to %d: %v %v", ack.Request.Seq, ack.Err(), err)
		}
	}
	_, err = t.Recvmsg(s.FD(), &sys.Msghdr{Iov: []sys.Iovec{sys.Iov(make([]byte, 1))}}, uapi.MsgDontwait)
	note("nothing more: %v", sys.ErrnoOf(err))
	child, err := sys.Fork(t, "child")
	if err != nil {
		return nil, err
	}
	note("close: %v, again %v", s.Close(), s.Close())
	_, err = child.Getsockname(s.FD())
	note("the child still has it: %v", err)
	return log, child.ExitGroup()
}

// TestLiveConversation: a program sees the same on the kernel underneath as on the last modelled one.
func TestLiveConversation(t *testing.T) {
	got, err := conversation(liveTask(t))
	must(t, err)
	want, err := conversation(modelTask(t, kernel.Linux4_5))
	must(t, err)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("live:\n%q\nmodel:\n%q", got, want)
	}
}

// rings is a program with the shipped reader, writer and dumper.
func rings(t sys.Task) (log []string, err error) {
	note := func(format string, args ...any) { log = append(log, fmt.Sprintf(format, args...)) }
	s, err := userspace.Open(t, uapi.NetlinkRoute, userspace.Config{
		RX: userspace.RingRequest(1024, 8), TX: userspace.RingRequest(256, 8),
	})
	if err != nil {
		return nil, err
	}
	note("request: %v", s.Request(request(uapi.NLMsgNoop, s.Seq()), sys.Second, nil))
	for range 3 {
		note("queued: %v", s.TX.Send(request(uapi.NLMsgNoop, s.Seq()), nil))
	}
	batch, err := s.TX.Kick(nil)
	ignored := errors.Is(err, userspace.ErrIgnored) // by 4.1
	note("kick: %+v %t", batch, ignored)
	for !ignored && s.RX.Stats().Frames < 4 {
		for f := range s.RX.Frames() {
			note("frame %d has %d bytes", f.Index(), f.Len())
		}
		if s.RX.Stats().Frames < 4 {
			if err := s.RX.Wait(sys.Second); err != nil {
				return nil, err
			}
		}
	}
	note("%v, %+v", s.RX.Err(), s.RX.Stats())
	if err := s.Close(); err != nil {
		return nil, err
	}
	loopback := false
	d := userspace.Dumper{Config: userspace.DumpConfig{Type: uapi.RTMGetlink, Handle: func(m uapi.Message) error {
		loopback = loopback || binary.LittleEndian.Uint32(m.Payload[4:]) == 1
		return nil
	}}}
	err = d.Run(context.Background(), t)
	note("dump: %v, loopback %t", err, loopback)
	return log, nil
}

// TestLiveRings: the same for programs with rings, on a kernel that has them.
func TestLiveRings(t *testing.T) {
	if ok, why := live.Supported(); !ok {
		t.Skip(why)
	}
	task := liveTask(t)
	got, err := rings(task)
	must(t, err)
	for _, r := range releases {
		want, err := rings(modelTask(t, r))
		must(t, err)
		if fmt.Sprint(got) == fmt.Sprint(want) {
			t.Logf("as on %v: %q", r, got)
			return
		}
	}
	t.Errorf("no modelled kernel does that: %q", got)
}

// TestModelRings is what TestLiveRings compares with.
func TestModelRings(t *testing.T) {
	for _, r := range releases {
		log, err := rings(modelTask(t, r))
		if err != nil || len(log) < 6 || log[len(log)-1] != "dump: <nil>, loopback true" {
			t.Errorf("%v: %v %q", r, err, log)
		}
	}
}
