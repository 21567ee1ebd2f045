package explore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"nlmmap/explore"
	"nlmmap/internal/long"
	"nlmmap/kernel"
	"nlmmap/kernel/memmodel"
	"nlmmap/sys"
	"nlmmap/uapi"
	"nlmmap/userspace"
)

// A situation is a socket with an RX ring of two frames, and who sends to it.
type situation struct {
	name  string
	proto int
	// send makes one message on its way to the socket, which the sending task has too.
	send func(t sys.Task, fd int, n uint32) error
}

// acks are built in a frame, a user's messages are queued and announced by a COPY frame.
var (
	acks = situation{"acks", uapi.NetlinkRoute, func(t sys.Task, fd int, n uint32) error {
		msg := uapi.AppendMessage(nil, uapi.NLMsgHdr{Type: uapi.NLMsgNoop, Flags: uapi.NLMFRequest | uapi.NLMFAck, Seq: n}, make([]byte, 4*n))
		_, err := sys.Sendto(t, fd, msg, uapi.MsgDontwait, uapi.SockaddrNL{Family: uapi.AFNetlink}.Bytes())
		return err
	}}
	copies = situation{"copies", uapi.NetlinkUsersock, func(t sys.Task, fd int, n uint32) error {
		msg := uapi.AppendMessage(nil, uapi.NLMsgHdr{Type: 100, Seq: n}, make([]byte, 4*n))
		_, err := sys.Sendto(t, fd, msg, uapi.MsgDontwait, uapi.SockaddrNL{Family: uapi.AFNetlink, Pid: 1000}.Bytes())
		if errors.Is(err, sys.EAGAIN) { // the reader has been told
			err = nil
		}
		return err
	}}
)

const consumerFrames = 2

// program is the situation with a consumer that is to take want messages.
func (s situation) program(want uint32, consume func(w *explore.World, sock *userspace.Socket)) explore.Program {
	return explore.Program{Name: s.name, Setup: func(w *explore.World) {
		reader := w.Process("reader")
		ring := uapi.NLMMapReq{BlockSize: 4096, BlockNr: 1, FrameSize: 2048, FrameNr: consumerFrames}
		sock, err := userspace.Open(reader, s.proto, userspace.Config{RX: ring, Portid: 1000})
		w.Must(err)
		sender, err := sys.Fork(reader, "sender")
		w.Must(err)
		w.Go(sender, func(t sys.Task) {
			for n := range want {
				w.Must(s.send(t, sock.FD(), n+1))
			}
		})
		w.Go(reader, func(sys.Task) { consume(w, sock) })
	}}
}

// A bug is what a consumer does wrong.
type bug int

const (
	correct bug = iota
	releasesBeforeItReads
	readsBeforeItLooks
	releasesTwice
	keepsFrames
	doesNotReceive
	remembersLength
	readsBehindTheMessage
)

// byHand consumes with loads and stores.
func byHand(want int, b bug) func(w *explore.World, sock *userspace.Socket) {
	return func(w *explore.World, sock *userspace.Socket) {
		t, length, lost := sock.Task(), uint32(0), false
		load := func(at uint64) uint32 {
			v, err := t.Load32(at)
			w.Must(err)
			return v
		}
		release := func(at uint64) { w.Must(t.Store32(at, uapi.NLMMapStatusUnused)) }
		read := func(at uint64, n uint32) {
			w.Must(t.ReadMem(at+uapi.NLMMapHdrlen, make([]byte, min(n, 400))))
		}
		for got := 0; got < want; {
			at := sock.RX.Addr(uint32(got % consumerFrames))
			if b == readsBeforeItLooks {
				length = load(at + uapi.NMLen)
				read(at, length)
			}
			switch load(at) {
			case uapi.NLMMapStatusValid:
				if b != readsBeforeItLooks && !(b == remembersLength && length > 0) {
					length = load(at + uapi.NMLen)
				}
				switch b {
				case releasesBeforeItReads:
					release(at)
					read(at, length)
				case readsBeforeItLooks:
					release(at)
				case readsBehindTheMessage:
					read(at, length+4)
					release(at)
				case keepsFrames:
					read(at, length)
					w.Must(t.Store32(at, uapi.NLMMapStatusSkip))
				case releasesTwice:
					read(at, length)
					release(at)
					release(at)
				default:
					read(at, length)
					release(at)
				}
				got++
			case uapi.NLMMapStatusCopy:
				if b == doesNotReceive || receiveOne(w, sock) {
					release(at)
					got++
				} else {
					lost = true
				}
			default:
				if lost || !awaited(w, sock) { // not all will come
					return
				}
			}
		}
	}
}

// receiveOne takes the message of a COPY frame. It reports false when it was told of a loss instead.
func receiveOne(w *explore.World, sock *userspace.Socket) bool {
	buf := make([]byte, 256)
	_, err := sock.Task().Recvmsg(sock.FD(), &sys.Msghdr{Iov: []sys.Iovec{sys.Iov(buf)}}, uapi.MsgDontwait)
	if errors.Is(err, sys.ENOBUFS) {
		return false
	}
	w.Must(err)
	return true
}

// awaited waits for something to read and reports false when messages were lost.
func awaited(w *explore.World, sock *userspace.Socket) bool {
	fds := []sys.PollFD{{FD: sock.FD(), Events: uapi.PollIn}}
	_, err := sock.Task().Poll(fds, -1)
	w.Must(err)
	if fds[0].Revents&uapi.PollErr != 0 {
		return false
	}
	sock.Task().Yield() // poll speaks of frames that are not ready yet, too
	return true
}

// byLibrary consumes with the Reader of userspace.
func byLibrary(want int) func(w *explore.World, sock *userspace.Socket) {
	return func(w *explore.World, sock *userspace.Socket) {
		for got := 0; got < want; {
			for f := range sock.RX.Frames() {
				_, err := f.Bytes()
				w.Must(err)
				_, err = f.Sender()
				w.Must(err)
				if got++; got == want {
					break
				}
			}
			err := sock.RX.Err()
			if err == nil && got < want {
				err = sock.RX.Wait(-1)
			}
			if errors.As(err, new(*userspace.Overrun)) {
				return
			}
			w.Must(err)
		}
	}
}

// models runs a test on each kernel with each memory model; in short mode on two.
func models(t *testing.T, test func(t *testing.T, o explore.Options)) {
	for _, r := range kernel.Releases() {
		for _, m := range []memmodel.Model{memmodel.SC, memmodel.TSO, memmodel.Weak} {
			if testing.Short() && (m == memmodel.TSO || r != kernel.Linux3_10 && r != kernel.Linux4_5) {
				continue
			}
			t.Run(fmt.Sprintf("%v/%v", r, m), func(t *testing.T) {
				t.Parallel()
				test(t, explore.Options{Version: kernel.Version{Release: r}, Memory: m, Time: 5 * time.Minute})
			})
		}
	}
}

// TestCorrectConsumers: a consumer that keeps the rules passes under all schedules, by hand or with the library, while
// the ring wraps. What is found is blamed on defects of the kernel, by name, and they are those that the kernel has.
func TestCorrectConsumers(t *testing.T) {
	models(t, func(t *testing.T, o explore.Options) {
		unordered := o.Version.Release == kernel.Linux3_10 && o.Memory == memmodel.Weak
		for _, s := range []situation{acks, copies} {
			// The ring has two frames: the third message wraps. What a reader makes of old bytes has many schedules, and
			// so have three copies.
			copied := s.name == copies.name
			want := 3
			switch {
			case unordered, o.Memory == memmodel.Weak && !long.Wanted():
				want = 1
			case o.Memory == memmodel.Weak, testing.Short(), copied && (o.Memory == memmodel.TSO || o.Version.Release != kernel.Linux4_5),
				(o.Memory == memmodel.TSO || copied) && !long.Wanted():
				want = 2
			}
			for kind, consume := range map[string]func(*explore.World, *userspace.Socket){"by hand": byHand(want, correct), "with userspace": byLibrary(want)} {
				p := s.program(uint32(want), consume)
				if unordered && s.name == acks.name {
					r := explore.Explore(context.Background(), p, o)
					if r.Failure == nil || r.Failure.Violation.Blame.Defect != "set-status-barrier" {
						t.Errorf("%s, %s: %v: the kernel's missing barrier is not seen", s.name, kind, r)
					}
				}
				rest := o
				// What the library's reader makes of a copy in whatever order is most of the work by far.
				if unordered && (testing.Short() || copied && kind == "with userspace" && !long.Wanted()) {
					continue
				}
				if unordered {
					rest.Ignore = []string{"set-status-barrier"}
				}
				r := explore.Explore(context.Background(), p, rest)
				if r.Err != nil || r.Failure != nil || !r.Exhausted {
					t.Errorf("%s, %s: %v", s.name, kind, r)
				}
				if r.Failure != nil {
					t.Errorf("%v: to blame is %v", r.Failure.Violation, r.Failure.Violation.Blame)
				}
				t.Logf("%s, %s: %v", s.name, kind, r)
			}
		}
	})
}

// TestPlantedBugs: a consumer with a bug is found, and the program is blamed for it.
func TestPlantedBugs(t *testing.T) {
	models(t, func(t *testing.T, o explore.Options) {
		for _, tt := range []struct {
			name      string
			bug       bug
			situation situation
			invariant string
		}{
			{"releases before it reads", releasesBeforeItReads, acks, "read-own"},
			{"reads before it looks", readsBeforeItLooks, acks, "read-own"},
			{"releases twice", releasesTwice, acks, "release-own"},
			{"keeps frames", keepsFrames, acks, "skip-returned"},
			{"does not receive", doesNotReceive, copies, "copy-received"},
			{"remembers a length", remembersLength, acks, "read-length"},
			{"reads behind the message", readsBehindTheMessage, acks, "read-length"},
		} {
			o.Ignore = []string{"set-status-barrier"}
			r := explore.Explore(context.Background(), tt.situation.program(2, byHand(2, tt.bug)), o)
			if r.Failure == nil {
				t.Errorf("%s: %v", tt.name, r)
				continue
			}
			if v := r.Failure.Violation; v.Name != tt.invariant || v.Blame.Program != "reader" {
				t.Errorf("%s: %v, to blame is %v", tt.name, v, v.Blame)
			}
		}
	})
}

// TestSkippedByLibrary: a frame that the library keeps for a program has to come back too.
func TestSkippedByLibrary(t *testing.T) {
	r := explore.Explore(context.Background(), acks.program(1, func(w *explore.World, sock *userspace.Socket) {
		w.Must(sock.RX.Wait(-1))
		for f := range sock.RX.Frames() {
			w.Must(f.Skip())
		}
	}), explore.Options{Version: kernel.Version{Release: kernel.Linux4_5}})
	if r.Failure == nil || r.Failure.Violation.Name != "skip-returned" || r.Failure.Violation.Blame.Program != "reader" {
		t.Error(r)
	}
}
