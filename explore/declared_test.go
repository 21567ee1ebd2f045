package explore_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"nlmmap/explore"
	"nlmmap/kernel"
	"nlmmap/sys"
	"nlmmap/uapi"
	"nlmmap/userspace"
)

// TestDeclared has programs whose outcomes depend on words that a search must be told of: who has a socket's name, its
// peer, its options, how many references a file has. What random schedules find the exhaustive search finds too, and
// both find what is listed.
func TestDeclared(t *testing.T) {
	for _, tt := range []struct {
		name    string
		release kernel.Release
		setup   func(w *explore.World)
		want    []string // some of the outcomes
	}{
		{"bind and bind", kernel.Linux4_4, bindBind, []string{"<nil> invalid argument", "<nil> device or resource busy",
			"invalid argument <nil>", "device or resource busy <nil>"}},
		{"kick and getsockname", kernel.Linux3_10, kickGetsockname, []string{"in place", "copied"}},
		{"connect and send", kernel.Linux4_4, connectSend, []string{"<nil>", "connection refused"}},
		{"NO_ENOBUFS and a lost message", kernel.Linux4_4, optionOverrun, []string{"<nil>", "no buffer space available"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := explore.Program{Name: tt.name, Setup: tt.setup}
			o := explore.Options{Version: kernel.Version{Release: tt.release}}
			all := explore.Outcomes(context.Background(), p, o)
			if !all.Exhausted {
				t.Fatal(all.Result)
			}
			o.Scheduler, o.Runs = "random", 5000
			random := explore.Outcomes(context.Background(), p, o)
			for _, miss := range all.Missing(random) {
				t.Errorf("random schedules lead to %q, the search does not: %s", miss, explore.FormatSwitches(miss.Switches))
			}
			for _, text := range tt.want {
				if !slices.ContainsFunc(all.Outcomes, func(o explore.Outcome) bool { return o.Text == text }) {
					t.Errorf("no schedule leads to %q", text)
				}
			}
			for _, o := range all.Outcomes {
				t.Logf("%q in %d of %d schedules", o, o.Runs, all.Runs)
			}
		})
	}
}

func second(w *explore.World, t sys.Task) sys.Task {
	th, err := sys.Thread(t, "second")
	w.Must(err)
	return th
}

func usersock(w *explore.World, t sys.Task) int {
	fd, err := t.Socket(uapi.AFNetlink, uapi.SockRaw, uapi.NetlinkUsersock)
	w.Must(err)
	return fd
}

// oneFrame is the smallest ring.
var oneFrame = uapi.NLMMapReq{BlockSize: uapi.PageSize, BlockNr: 1, FrameSize: uapi.PageSize, FrameNr: 1}

func address(portid uint32) []byte {
	return uapi.SockaddrNL{Family: uapi.AFNetlink, Pid: portid}.Bytes()
}

func bindBind(w *explore.World) {
	main := w.Process("first")
	fd := usersock(w, main)
	other := second(w, main)
	var a, b error
	w.Go(main, func(t sys.Task) { a = t.Bind(fd, address(5)) })
	w.Go(other, func(t sys.Task) { b = t.Bind(fd, address(6)) })
	w.Outcome(func() string { return errno(a) + " " + errno(b) })
}

// kickGetsockname: a fib_lookup request in a frame is answered where it lies if it is sent in place, which is when no
// other call seems to have the file.
func kickGetsockname(w *explore.World) {
	main := w.Process("first")
	s := w.Open(main, uapi.NetlinkFIBLookup, userspace.Config{TX: oneFrame, Portid: 1000})
	msg := make([]byte, uapi.NLMsgHdrlen+80)
	uapi.NLMsgHdr{Len: uint32(len(msg)), Flags: uapi.NLMFRequest}.Put(msg)
	w.Must(s.TX.Send(msg, nil))
	w.Must(main.Munmap(s.TX.Addr(0), uapi.PageSize)) // the mapping is a reference too
	other := second(w, main)
	w.Go(main, func(t sys.Task) {
		_, _ = t.Sendmsg(s.FD(), &sys.Msghdr{Name: address(0), Iov: []sys.Iovec{{}}}, uapi.MsgDontwait)
	})
	w.Go(other, func(t sys.Task) { _, _ = t.Getsockname(s.FD()) })
	w.Outcome(func() string {
		frame, err := main.Mmap(0, uapi.PageSize, uapi.ProtRead, uapi.MapShared, s.FD(), 0)
		w.Must(err)
		now := make([]byte, len(msg))
		w.Must(main.ReadMem(frame+uapi.NLMMapHdrlen, now))
		if bytes.Equal(now, msg) {
			return "copied"
		}
		return "in place"
	})
}

// connectSend: a socket that is connected to somebody else refuses what another sends to it.
func connectSend(w *explore.World) {
	main := w.Process("receiver")
	fd := w.Socket(main, uapi.NetlinkUsersock, 1000)
	other := w.Process("sender")
	from := w.Socket(other, uapi.NetlinkUsersock, 2000)
	var sent error
	w.Go(main, func(t sys.Task) { w.Must(t.Connect(fd, address(3000))) })
	w.Go(other, func(t sys.Task) { _, sent = sys.Sendto(t, from, make([]byte, 16), uapi.MsgDontwait, address(1000)) })
	w.Outcome(func() string { return errno(sent) })
}

// optionOverrun: a message to a full ring is lost, and the receiver is told unless it has asked not to be.
func optionOverrun(w *explore.World) {
	main := w.Process("receiver")
	fd := w.Socket(main, uapi.NetlinkUsersock, 1000)
	w.Must(main.Setsockopt(fd, uapi.SolNetlink, uapi.NetlinkRxRing, oneFrame.Bytes()))
	other := w.Process("sender")
	from := w.Socket(other, uapi.NetlinkUsersock, 2000)
	send := func() { _, _ = sys.Sendto(other, from, make([]byte, 16), uapi.MsgDontwait, address(1000)) }
	send()
	on := binary.LittleEndian.AppendUint32(nil, 1)
	w.Go(main, func(t sys.Task) { w.Must(t.Setsockopt(fd, uapi.SolNetlink, uapi.NetlinkNoENOBUFS, on)) })
	w.Go(other, func(sys.Task) { send() })
	w.Outcome(func() string {
		b, err := main.Getsockopt(fd, uapi.SolSocket, uapi.SoError, 4)
		w.Must(err)
		if code := binary.LittleEndian.Uint32(b); code != 0 {
			return errno(unix.Errno(code))
		}
		return errno(nil)
	})
}

// errno is the errno of an error as text, without what explains it.
func errno(err error) string {
	if e := kernel.ErrnoOf(err); e != 0 {
		return e.Error()
	}
	return "<nil>"
}
