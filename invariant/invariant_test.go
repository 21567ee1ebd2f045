package invariant_test

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"nlmmap/afnetlink"
	"nlmmap/invariant"
	"nlmmap/kernel"
	"nlmmap/kernel/inspect"
	"nlmmap/ringmm"
	"nlmmap/skb"
	"nlmmap/subsys"
	"nlmmap/sys"
	"nlmmap/uapi"
)

// A stage is a socket with both rings, on which a test plays a kernel that does wrong: by the events that it would emit.
type stage struct {
	k    *kernel.Kernel
	task *kernel.Task
	fd   int
	file *kernel.File
	sk   *afnetlink.Sock
	w    *invariant.Watch
}

func (s stage) emit(e kernel.Event) { s.w.Record(kernel.Record{Task: s.task, Event: e}) }

func (s stage) message() *afnetlink.SKB { return skb.New[afnetlink.CB](s.k, 100) }

// access is a load or a store of the program at an offset of the mapping.
func (s stage) access(off int, write bool, data ...byte) {
	s.emit(kernel.AccessEvent{File: s.file, Off: off, Write: write, Data: data})
}

func newStage(t *testing.T, report func(invariant.Violation)) stage {
	t.Helper()
	w := &invariant.Watch{Report: report}
	k, err := kernel.Boot(kernel.Config{Version: kernel.Version{Release: kernel.Linux4_4}, Trace: w.Record, Quiet: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := subsys.Register(k); err != nil {
		t.Fatal(err)
	}
	task := k.NewProcess("program", k.NewNet())
	fd, err := task.Socket(uapi.AFNetlink, uapi.SockRaw, uapi.NetlinkRoute)
	if err != nil {
		t.Fatal(err)
	}
	req := uapi.NLMMapReq{BlockSize: 4096, BlockNr: 1, FrameSize: 2048, FrameNr: 2}
	for _, ring := range []int{uapi.NetlinkRxRing, uapi.NetlinkTxRing} {
		if err := task.Setsockopt(fd, uapi.SolNetlink, ring, req.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	file := task.FileOf(inspect.Key{}, fd)
	return stage{k, task, fd, file, afnetlink.SockOf(file), w}
}

// atRest asks the watch about a machine that has made its last step.
func (s stage) atRest() { s.w.Rest(s.k, true) }

// TestEachCanFail: a kernel that does wrong, as its events tell, breaks the invariant, and nobody else is blamed. The
// rules of programs fail in package explore.
func TestEachCanFail(t *testing.T) {
	tests := map[string]func(s stage){
		"frame-ownership": func(s stage) {
			m := skb.AllocHead[afnetlink.CB](s.k, 232)
			m.SetRing(s.sk.RxRing().Inspect(inspect.Key{}).Segments()[0].Mem, 24, 2024)
			s.emit(afnetlink.ClaimEvent{Sock: s.sk, Pos: 0, SKB: m})
			s.emit(afnetlink.ClaimEvent{Sock: s.sk, Pos: 0, SKB: m})
		},
		"publication": func(s stage) {
			m := s.message()
			s.emit(afnetlink.ClaimEvent{Sock: s.sk, Pos: 0, SKB: m})
			s.emit(afnetlink.PublishEvent{Sock: s.sk, Pos: 0, SKB: m, Status: uapi.NLMMapStatusValid, Header: ringmm.Header{Len: 4}, Data: []byte("good")})
			s.access(0, false, uapi.NLMMapStatusValid, 0, 0, 0, 4, 0, 0, 0)
			s.access(uapi.NLMMapHdrlen, false, []byte("evil")...)
		},
		"no-silent-loss": func(s stage) {
			s.emit(afnetlink.LossEvent{Sock: s.sk})
			s.w.Rest(s.k, true)
		},
		"order": func(s stage) { s.emit(afnetlink.ClaimEvent{Sock: s.sk, Pos: 1, SKB: s.message()}) },
		"copy-pairs": func(s stage) {
			a, b := s.message(), s.message()
			for pos, m := range []*afnetlink.SKB{a, b} {
				s.emit(afnetlink.DeliverEvent{Sock: s.sk, SKB: m})
				s.emit(afnetlink.ClaimEvent{Sock: s.sk, Pos: uint32(pos), SKB: m})
			}
			s.emit(afnetlink.ReceiveEvent{Sock: s.sk, SKB: b})
		},
		"pending": func(s stage) {
			m := skb.AllocHead[afnetlink.CB](s.k, 232)
			m.SetRing(s.sk.RxRing().Inspect(inspect.Key{}).Segments()[0].Mem, 24, 2024)
			s.emit(afnetlink.ClaimEvent{Sock: s.sk, Pos: 0, SKB: m})
			s.w.Rest(s.k, true)
		},
		"accounting":    func(s stage) { s.emit(kernel.Warning{What: "a reference is lost"}) },
		"dump-complete": func(s stage) { s.emit(afnetlink.DumpStepEvent{Sock: s.sk, Step: afnetlink.DumpEnds}) },
		"dump-overrun": func(s stage) {
			s.access(0, true, uapi.NLMMapStatusSkip, 0, 0, 0)
			s.emit(afnetlink.DumpStepEvent{Sock: s.sk, Step: afnetlink.DumpBegins})
			s.emit(afnetlink.DumpStepEvent{Sock: s.sk, Step: afnetlink.DumpLooks})
			s.emit(afnetlink.LossEvent{Sock: s.sk})
		},
		"tx-once": func(s stage) { s.emit(afnetlink.TxEvent{Sock: s.sk, Pos: 0}) },
		"tx-bounded": func(s stage) {
			for pos := range uint32(3) {
				s.emit(afnetlink.TxEvent{Sock: s.sk, Pos: pos % 2})
			}
		},
		"validated-is-executed": func(s stage) {
			s.access(4096, true, uapi.NLMMapStatusValid, 0, 0, 0)
			s.emit(afnetlink.TxEvent{Sock: s.sk, Pos: 0, Checked: 4, Data: []byte("evil")})
		},
		"mapped": func(s stage) {
			_ = s.sk.Mmap(s.task, &kernel.VMA{End: 8192, File: s.file}) // and no task has it
			s.atRest()
		},
		"poll": func(s stage) {
			s.sk.ReceiveQueue.Append(s.task, s.message())
			s.emit(afnetlink.PollEvent{Sock: s.sk})
			s.emit(afnetlink.PollEvent{Sock: s.sk, Done: true, Mask: uapi.PollOut})
		},
		"integrity":  func(s stage) { s.emit(kernel.Oops{Defect: "dead-ring-oops", What: "a null pointer"}) },
		"memory":     func(s stage) { s.emit(kernel.Corruption{Defect: "memory", What: "a store to freed memory"}) },
		"lock-order": func(s stage) { s.emit(kernel.LockOrder{Outer: "a", Inner: "b"}) },
	}
	// These end a run: see package explore, TestEndsOfRuns.
	elsewhere := []string{"deadlock", "livelock", "panic"}
	for _, inv := range invariant.All() {
		act := tests[inv.Name]
		if act == nil {
			if !inv.ByProgram && !slices.Contains(elsewhere, inv.Name) {
				t.Errorf("nothing shows that %s can fail", inv.Name)
			}
			continue
		}
		t.Run(inv.Name, func(t *testing.T) {
			var seen []invariant.Violation
			act(newStage(t, func(v invariant.Violation) { seen = append(seen, v) }))
			i := slices.IndexFunc(seen, func(v invariant.Violation) bool { return v.Name == inv.Name })
			if i < 0 {
				t.Fatalf("not found among %v", seen)
			}
			if seen[i].Blame.Program != "" {
				t.Errorf("%v: to blame is %v", seen[i], seen[i].Blame)
			}
		})
	}
}

// TestReadyFrames: a frame that is ready is complete, and nobody else changes it: what memory has is compared with what
// the kernel published, at a reader's first look and at rest.
func TestReadyFrames(t *testing.T) {
	header := ringmm.Header{Len: 4, Group: 1, Pid: 2, UID: 3, GID: 4}
	right := func(b []byte) {
		for i, v := range []uint32{uapi.NLMMapStatusValid, 4, 1, 2, 3, 4} {
			binary.LittleEndian.PutUint32(b[4*i:], v)
		}
		copy(b[uapi.NLMMapHdrlen:], "good")
	}
	for name, spoil := range map[string]func(b []byte){
		"":       func([]byte) {},
		"length": func(b []byte) { b[uapi.NMLen]++ },
		"group":  func(b []byte) { b[uapi.NMGroup]++ },
		"pid":    func(b []byte) { b[uapi.NMPid]++ },
		"uid":    func(b []byte) { b[uapi.NMUID]++ },
		"gid":    func(b []byte) { b[uapi.NMGID]++ },
		"bytes":  func(b []byte) { b[uapi.NLMMapHdrlen+3]++ },
		"COPY":   func(b []byte) { b[uapi.NMStatus] = uapi.NLMMapStatusCopy },
		"RESERVED, and neither the kernel nor a program": func(b []byte) { b[2048] = uapi.NLMMapStatusReserved },
	} {
		for _, rest := range []bool{false, true} {
			var seen []invariant.Violation
			s := newStage(t, func(v invariant.Violation) { seen = append(seen, v) })
			m := s.message()
			s.emit(afnetlink.ClaimEvent{Sock: s.sk, Pos: 0, SKB: m})
			s.emit(afnetlink.PublishEvent{Sock: s.sk, Pos: 0, SKB: m, Status: uapi.NLMMapStatusValid, Header: header, Data: []byte("good")})
			frames := make([]byte, 4096)
			right(frames)
			spoil(frames)
			s.sk.RxRing().Inspect(inspect.Key{}).Segments()[0].Mem.Write(nil, 0, frames)
			if rest {
				s.atRest()
			} else {
				s.access(0, false, uapi.NLMMapStatusValid, 0, 0, 0)
			}
			found := slices.ContainsFunc(seen, func(v invariant.Violation) bool {
				return v.Name == "publication" && strings.Contains(v.What, name)
			})
			atRestOnly := name == "COPY" || strings.HasPrefix(name, "RESERVED")
			if found != (name != "" && (rest || !atRestOnly)) {
				t.Errorf("%q, at rest %v: %v", name, rest, seen)
			}
		}
	}
}

// TestPollAnswers: poll finds what is there from the beginning of its look to the end, and nothing where nothing is.
func TestPollAnswers(t *testing.T) {
	publish := func(s stage) {
		m := s.message()
		s.emit(afnetlink.ClaimEvent{Sock: s.sk, Pos: 0, SKB: m})
		s.emit(afnetlink.PublishEvent{Sock: s.sk, Pos: 0, SKB: m, Status: uapi.NLMMapStatusValid})
		s.sk.RxRing().Inspect(inspect.Key{}).Segments()[0].Mem.Store32(nil, uapi.NMStatus, uapi.NLMMapStatusValid)
	}
	for _, tt := range []struct {
		name          string
		before, while func(s stage)
		mask          uint32
		wrong         bool
	}{
		{"a frame, not found", publish, nil, uapi.PollOut, true},
		{"a frame, found", publish, nil, uapi.PollIn, false},
		{"a frame that comes meanwhile", nil, publish, uapi.PollOut, false},
		{"a frame that comes meanwhile, found", nil, publish, uapi.PollIn, false},
		{"nothing, found", nil, nil, uapi.PollIn, true},
		{"nothing", nil, nil, uapi.PollOut, false},
	} {
		var seen []invariant.Violation
		s := newStage(t, func(v invariant.Violation) { seen = append(seen, v) })
		if tt.before != nil {
			tt.before(s)
		}
		s.emit(afnetlink.PollEvent{Sock: s.sk})
		if tt.while != nil {
			tt.while(s)
		}
		s.emit(afnetlink.PollEvent{Sock: s.sk, Done: true, Mask: tt.mask})
		if wrong := len(seen) > 0 && seen[0].Name == "poll"; wrong != tt.wrong {
			t.Errorf("%s: %v", tt.name, seen)
		}
	}
}

// TestCheckNames: a name that nothing has is an error that lists those there are.
func TestCheckNames(t *testing.T) {
	if err := invariant.CheckNames([]string{"order", "nfq-id-order"}, []string{"nfq-id-order"}); err != nil {
		t.Error(err)
	}
	if err := invariant.CheckNames([]string{"order", "nosuch"}, nil); err == nil {
		t.Error("nosuch is a name")
	}
}

// TestDumpThatGoesOn: the request of a dump that nobody reads stays charged to the kernel's socket, and is all that does.
func TestDumpThatGoesOn(t *testing.T) {
	var seen []invariant.Violation
	s := newStage(t, func(v invariant.Violation) { seen = append(seen, v) })
	to := uapi.SockaddrNL{Family: uapi.AFNetlink}
	msg := uapi.AppendMessage(nil, uapi.NLMsgHdr{Type: uapi.RTMGetlink, Flags: uapi.NLMFRequest | uapi.NLMFDump}, make([]byte, 16))
	if _, err := s.task.Sendmsg(s.fd, &sys.Msghdr{Name: to.Bytes(), Iov: []sys.Iovec{sys.Iov(msg)}}, 0); err != nil {
		t.Fatal(err)
	}
	s.w.Rest(s.k, false)
	if len(seen) > 0 {
		t.Errorf("at rest: %v", seen)
	}
	m := s.sk.DumpRequest(inspect.Key{})
	if m == nil {
		t.Fatal("no dump goes on")
	}
	m.CB.Owner.Rmem.Add(s.task, 1)
	s.w.Rest(s.k, false)
	if len(seen) != 1 || seen[0].Name != "accounting" {
		t.Errorf("with a byte too many: %v", seen)
	}
}
