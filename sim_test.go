// Package nlmmap_test has the properties of the whole model: random programs and the recordings, with everything
// checked that holds while no system call runs.
package nlmmap_test

import (
	"bytes"
	"flag"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"nlmmap/internal/long"
	"nlmmap/invariant"
	"nlmmap/kernel"
	"nlmmap/scenario"
	"nlmmap/trace"
)

// TestMain chooses the number of programs that rapid tries, unless -rapid.checks says it.
func TestMain(m *testing.M) {
	flag.Parse()
	checks := "300"
	switch {
	case long.Wanted():
		checks = "2000"
	case testing.Short():
		checks = "50"
	}
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if !given {
		_ = flag.Set("rapid.checks", checks)
	}
	os.Exit(m.Run())
}

// Operations are lines of the scenario language, so that a program that fails is a file to edit and run again.

func pick(t *rapid.T, words ...string) string { return words[num(t, 0, len(words)-1)] }

// num draws a number, all alike: rapid's own ranges prefer small ones so much that few programs would do anything.
func num(t *rapid.T, from, to int) int {
	return rapid.Custom(func(t *rapid.T) int {
		span := to - from + 1
		n, size := 0, bits.Len(uint(span))+3
		for range size {
			n *= 2
			if rapid.Bool().Draw(t, "bit") {
				n++
			}
		}
		return from + n*span>>size
	}).Draw(t, "num")
}

var (
	sockets = []string{"a", "a", "a", "b", "n", "c", "d"}
	tasks   = []string{"", "", "", "", "", " in=t", " in=child", " in=grandchild"}
	mapped  = []string{"m", "m", "m", "m2", "mn"}
)

// ringRequest draws a ring: mostly a good one, of any odd frame size.
func ringRequest(t *rapid.T) string {
	size := 4096 * num(t, 1, 4)
	nr := num(t, 1, 3)
	sizes := []int{24, 28, 60, 128, 256, 340, 512, 1000, 1024, 2048, 3800, 4096, 5000, 8192}
	frame := sizes[num(t, 0, len(sizes)-1)]
	frames := size / frame * nr
	if frames == 0 {
		frame, frames = 512, size/512*nr
	}
	switch num(t, 0, 20) {
	case 0:
		frames++
	case 1:
		frame += 2
	case 2:
		return "block_size=0 block_nr=0 frame_size=0 frame_nr=0"
	case 3:
		size += 4000
	}
	return fmt.Sprintf("block_size=%d block_nr=%d frame_size=%d frame_nr=%d", size, nr, frame, frames)
}

// message draws a request, an answerless message or rubbish.
func message(t *rapid.T) string {
	seq := num(t, 1, 99)
	switch num(t, 0, 13) {
	case 0, 1, 2, 3:
		return fmt.Sprintf("msg type=noop flags=request,ack seq=%d", seq)
	case 4, 5:
		return fmt.Sprintf("msg type=511 flags=request seq=%d payload=%d", seq, num(t, 0, 600))
	case 6, 7:
		return fmt.Sprintf("msg type=%s flags=request,dump seq=%d payload=12 hex=02", pick(t, "getneigh", "getroute", "getlink", "getaddr"), seq)
	case 8:
		return fmt.Sprintf("msg type=100 seq=%d payload=%d byte=%d", seq, num(t, 0, 3000), num(t, 0, 255))
	case 9:
		return fmt.Sprintf("msg type=noop flags=request,ack seq=%d len=%d", seq, num(t, 0, 40))
	case 10:
		return fmt.Sprintf("msg type=getlink flags=request,ack seq=%d payload=16 hex=0000000001000000", seq)
	case 11:
		return fmt.Sprintf("msg type=0x301 flags=request,ack seq=%d payload=16 hex=000000000c000200000000010000000%d", seq, num(t, 0, 4))
	case 12:
		return fmt.Sprintf("msg type=0x303 flags=request seq=%d payload=16 hex=000000000c000200000000010000000%d", seq, num(t, 0, 4))
	}
	return fmt.Sprintf("raw bytes=%d byte=%d", num(t, 0, 40), num(t, 0, 255))
}

func messages(t *rapid.T) string {
	lines := ""
	for range num(t, 1, 3) {
		lines += "\n" + message(t)
	}
	return lines
}

func destination(t *rapid.T) string {
	return pick(t, "", "", "", "", " portid=1000", " portid=2000", " portid=3000", " portid=77", " groups=0x1", " groups=0x2 portid=1000", " noaddr")
}

// operations are the ways to draw a step. What is listed twice is twice as frequent.
var operations = []func(t *rapid.T) string{
	func(t *rapid.T) string {
		return "send " + pick(t, sockets...) + destination(t) + pick(t, "", "", "", " wait") + inTask(t) + messages(t)
	},
	func(t *rapid.T) string { return "send a" + destination(t) + messages(t) },
	func(t *rapid.T) string { return "send a" + messages(t) },
	func(t *rapid.T) string { return "send b portid=1000\n" + message(t) },
	func(t *rapid.T) string {
		return "send " + pick(t, sockets...) + pick(t, " size=", " addrlen=4 size=", " family=2 size=", " oob size=", " null_first size=") + fmt.Sprint(num(t, 0, 70000))
	},
	func(t *rapid.T) string { return "kick a" + destination(t) + inTask(t) },
	func(t *rapid.T) string {
		return "kick " + pick(t, sockets...) + destination(t) + pick(t, "", "", "", "", " wait", " oob") + inTask(t)
	},
	func(t *rapid.T) string { return fmt.Sprintf("fill m %d%s", num(t, 0, 8), messages(t)) },
	func(t *rapid.T) string {
		return fmt.Sprintf("fill %s %d%s%s", pick(t, mapped...), num(t, 0, 8), pick(t, "", "", " len=9999", " len=3", " len=0", " status=reserved"), messages(t))
	},
	func(t *rapid.T) string {
		return fmt.Sprintf("edit %s %d%s%s", pick(t, mapped...), num(t, 0, 8), pick(t, "", " rx"), messages(t))
	},
	func(t *rapid.T) string {
		return "set m rx all status=unused if=" + pick(t, "valid", "copy", "valid", "reserved", "skip")
	},
	func(t *rapid.T) string { return fmt.Sprintf("set m rx %d status=unused", num(t, 0, 9)) },
	func(t *rapid.T) string {
		return fmt.Sprintf("set %s %s %d status=%s", pick(t, mapped...), pick(t, "rx", "rx", "tx"), num(t, 0, 9), pick(t, "unused", "valid", "skip", "copy", "reserved", "7"))
	},
	func(t *rapid.T) string {
		return fmt.Sprintf("set m %s %d len=%d group=3", pick(t, "rx", "tx"), num(t, 0, 9), num(t, 0, 9000))
	},
	func(t *rapid.T) string { return fmt.Sprintf("consume m fd=a max=%d", num(t, 1, 9)) },
	func(t *rapid.T) string { return "consume " + pick(t, "m2 fd=a", "mn fd=n", "m fd=b") },
	func(t *rapid.T) string {
		return "frames " + pick(t, mapped...) + " " + pick(t, "rx", "tx") + pick(t, "", " data", " hex")
	},
	func(t *rapid.T) string {
		return "recv " + pick(t, sockets...) + pick(t, "", "", " size=20", " size=20000", " size=0") + pick(t, "", "", " peek") + pick(t, "", "", " trunc") + pick(t, "", "", "", " wait") + inTask(t)
	},
	func(t *rapid.T) string { return "recv a" },
	func(t *rapid.T) string {
		return "poll " + pick(t, sockets...) + pick(t, "", " events=in", " events=in timeout=5", " events=err") + inTask(t)
	},
	func(t *rapid.T) string { return "poll a" },
	func(t *rapid.T) string {
		return pick(t, "epoll e", "epoll_add e "+pick(t, sockets...), "epoll_add e a et", "epoll_wait e", "epoll_wait e timeout=3")
	},
	func(t *rapid.T) string { return "stat " + pick(t, sockets...) },
	func(t *rapid.T) string {
		return "socket " + pick(t, "c", "d") + " " + pick(t, "route", "usersock", "netfilter", "sock_diag", "fib_lookup", "generic", "7") + inTask(t)
	},
	func(t *rapid.T) string {
		return "bind " + pick(t, sockets...) + pick(t, " portid=1000", " portid=5000", " portid=6000", "", " groups=0x3", " portid=2000 groups=0x1") + inTask(t)
	},
	func(t *rapid.T) string {
		return "connect " + pick(t, sockets...) + pick(t, "", " portid=1000", " portid=2000", " groups=0x1", " family=0")
	},
	func(t *rapid.T) string {
		return "ring " + pick(t, sockets...) + " " + pick(t, "rx", "rx", "tx") + " " + ringRequest(t)
	},
	func(t *rapid.T) string {
		return "mmap " + pick(t, "a m", "a m2", "n mn", "b m2", "c m2") + pick(t, "", "", "", " prot=r", " private", " size=4096", " offset=4096") + inTask(t)
	},
	func(t *rapid.T) string {
		return "munmap " + pick(t, mapped...) + pick(t, "", "", " offset=4096", " size=4096", " offset=4096 size=4096", " offset=100") + inTask(t)
	},
	func(t *rapid.T) string {
		return "mprotect " + pick(t, mapped...) + pick(t, "", " offset=4096", " size=4096") + " prot=" + pick(t, "r", "rw", "rw", "none") + inTask(t)
	},
	func(t *rapid.T) string { return "move " + pick(t, mapped...) + inTask(t) },
	func(t *rapid.T) string {
		return "madvise " + pick(t, mapped...) + " dontneed" + pick(t, "", " offset=4096 size=4096")
	},
	func(t *rapid.T) string {
		return fmt.Sprintf("touch %s offset=%d", pick(t, mapped...), 4*num(t, 0, 5000))
	},
	func(t *rapid.T) string {
		return pick(t, "fork child", "fork grandchild in=child", "thread t", "thread t in=child", "exit in=child", "exit in=grandchild")
	},
	func(t *rapid.T) string {
		return pick(t, "dup a d", "dup b d", "dup n c", "close c", "close d", "close a", "close n", "close a in=child", "close b in=child")
	},
	func(t *rapid.T) string {
		return pick(t, "passfd a over=u", "passfd n over=u", "takefd v c like=a", "takefd v d like=n in=child", "takefd v c like=a in=grandchild")
	},
	func(t *rapid.T) string {
		return "setsockopt " + pick(t, sockets...) + " " + pick(t, "no_enobufs 1", "no_enobufs 0", "rcvbuf 0", "rcvbuf 3000", "rcvbuf 200000", "sndbuf 0", "pktinfo 1",
			"broadcast_error 1", "passcred 1", "add_membership 1", "add_membership 2", "drop_membership 1", "add_membership 99", "passcred 1 optlen=2")
	},
	func(t *rapid.T) string {
		return "getsockopt " + pick(t, sockets...) + " " + pick(t, "error", "rcvbuf", "rx_ring", "pktinfo")
	},
	func(t *rapid.T) string {
		return "filter " + pick(t, "a", "b", "n") + " " + pick(t, "return=0", "return=20", "return=65535", "off", "off")
	},
	func(t *rapid.T) string { return fmt.Sprintf("packet count=%d size=%d", num(t, 1, 3), num(t, 0, 900)) },
	func(t *rapid.T) string {
		return pick(t, "nfrule nfqueue num=0", "nfrule nfqueue num=0 bypass", "nfrule nflog group=1 threshold=2", "nfrule nflog group=1 threshold=1", "nfrule flush")
	},
	func(t *rapid.T) string {
		return "send n\n" + pick(t, "msg type=0x302 flags=request,ack seq=1 payload=12 hex=000000000800010001000002",
			"msg type=0x302 flags=request,ack seq=2 payload=16 hex=00000000090002000000000001000000",
			"msg type=0x302 flags=request,ack seq=2 payload=16 hex=00000000090002000000ffff02000000",
			"msg type=0x302 flags=request,ack seq=9 payload=12 hex=000000000800010002000002",
			"msg type=0x401 flags=request,ack seq=1 payload=12 hex=000000010500010001000000",
			"msg type=0x401 flags=request,ack seq=2 payload=16 hex=000000010a0002000000ffff02000000",
			"msg type=0x401 flags=request,ack seq=3 payload=12 hex=000000010800050000000003",
			"msg type=0x401 flags=request,ack seq=4 payload=12 hex=000000010500010002000000")
	},
	func(t *rapid.T) string { return fmt.Sprintf("sleep ms=%d", num(t, 1, 2000)) },
	func(t *rapid.T) string {
		return pick(t, "tap p", "tapread p", "cap drop net_admin", "cap raise net_admin", "populate neigh count=9", "getsockname a")
	},
}

func inTask(t *rapid.T) string { return pick(t, tasks...) }

func operation() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string { return operations[num(t, 0, len(operations)-1)](t) })
}

// program draws a scenario: a socket with rings, a second one to talk to, one for packets, and anything.
func program(t *rapid.T) string {
	steps := []string{"socket a " + pick(t, "route", "route", "route", "usersock", "fib_lookup", "generic"), "bind a portid=1000" + pick(t, "", " groups=0x1")}
	for _, which := range []string{"rx", "tx"} {
		if num(t, 0, 5) > 0 {
			steps = append(steps, "ring a "+which+" "+ringRequest(t))
		}
	}
	steps = append(steps, "mmap a m", "socket b usersock", "bind b portid=2000", "sockpair u v", "populate neigh count=60")
	if num(t, 0, 1) == 1 {
		steps = append(steps, "socket n netfilter", "bind n portid=3000", "ring n rx block_size=8192 block_nr=2 frame_size=2048 frame_nr=8", "mmap n mn",
			"send n\nmsg type=0x302 flags=request,ack seq=1 payload=12 hex=000000000800010001000002\nmsg type=0x401 flags=request,ack seq=1 payload=12 hex=000000010500010001000000",
			"send n\nmsg type=0x302 flags=request,ack seq=2 payload=16 hex=00000000090002000000ffff02000000\nmsg type=0x401 flags=request,ack seq=2 payload=16 hex=000000010a0002000000ffff02000000",
			pick(t, "nfrule nfqueue num=0", "nfrule nflog group=1 threshold=2"))
	}
	for range 6 { // one slice would be short, or could not be made short when it fails
		steps = append(steps, rapid.SliceOf(operation()).Draw(t, "steps")...)
	}
	return strings.Join(steps, "\n\n") + "\n"
}

func release(t *rapid.T) kernel.Version {
	all := kernel.Releases()
	return kernel.Version{Release: all[num(t, 0, len(all)-1)]}
}

// randomProgram is the property that the invariants hold on every release, whatever the program does.
func randomProgram(t *rapid.T) {
	to := target{version: release(t), heap: true}
	f := parse(program(t))
	if outputs, _, err := to.play(f); err != nil {
		t.Fatalf("%v\n\n%s", err, recorded(f, outputs))
	}
}

func TestRandomPrograms(t *testing.T) { rapid.Check(t, randomProgram) }

func FuzzRandomPrograms(f *testing.F) { f.Fuzz(rapid.MakeFuzz(randomProgram)) }

// traceOf is what the printer shows of a run.
func traceOf(v kernel.Version, f *scenario.File) string {
	var out bytes.Buffer
	p := &trace.Printer{W: &out, Locks: true}
	_, _, _ = target{version: v, heap: true, listen: p.Record}.play(f)
	return out.String()
}

func deterministic(t *rapid.T) {
	v, f := release(t), parse(program(t))
	if a, b := traceOf(v, f), traceOf(v, f); a != b {
		t.Fatalf("two runs on %v differ: %s\n\n%s", v, firstDifference(a, b), recorded(f, nil))
	}
}

// TestSameTrace: the same version, scenario and seed give the same trace, byte for byte.
func TestSameTrace(t *testing.T) { rapid.Check(t, deterministic) }

func FuzzSameTrace(f *testing.F) { f.Fuzz(rapid.MakeFuzz(deterministic)) }

func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return fmt.Sprintf("line %d\n- %s\n+ %s", i+1, x[i], y[i])
		}
	}
	return fmt.Sprintf("%d and %d lines", len(x), len(y))
}

// memoryIndependent: rings on the heap and rings in mapped files show the same.
func memoryIndependent(t *rapid.T) {
	v, f := release(t), parse(program(t))
	compareMemory(t, target{version: v}, f)
}

func compareMemory(t interface{ Fatalf(string, ...any) }, to target, f *scenario.File) {
	mapped := to
	mapped.heap, to.heap = false, true
	a, _, err := to.play(f)
	if err != nil {
		t.Fatalf("heap: %v\n\n%s", err, recorded(f, a))
	}
	b, _, err := mapped.play(f)
	if err != nil {
		t.Fatalf("mapped: %v\n\n%s", err, recorded(f, b))
	}
	for i := range a {
		if a[i] != b[i] {
			t.Fatalf("%s, step %d: on the heap\n%sand in a mapped file\n%s\n\n%s", f.Name, i+1, a[i], b[i], recorded(f, a))
		}
	}
}

func TestHeapAndMappedMemory(t *testing.T) { rapid.Check(t, memoryIndependent) }

func FuzzHeapAndMappedMemory(f *testing.F) { f.Fuzz(rapid.MakeFuzz(memoryIndependent)) }

// recordings yields the recorded scenarios of a release; in short mode some of them.
func recordings(t *testing.T, r kernel.Release, each func(to target, f *scenario.File)) {
	paths, err := filepath.Glob(filepath.Join("testdata", "kernels", r.String(), "*.txt"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no recordings of %v: %v", r, err)
	}
	for i, path := range paths {
		if testing.Short() && i%10 != 0 {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := scenario.Parse(path, bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		each(target{version: kernel.Version{Release: r}, initNet: f.InitNet()}, f)
	}
}

// TestRecordingsInMappedMemory plays all recordings of one release in both kinds of memory.
func TestRecordingsInMappedMemory(t *testing.T) {
	recordings(t, kernel.Linux4_4, func(to target, f *scenario.File) { compareMemory(t, to, f) })
}

// TestRecordingsKeepInvariants: what real kernels did violates no invariant in the model.
func TestRecordingsKeepInvariants(t *testing.T) {
	for _, r := range kernel.Releases() {
		t.Run(r.String(), func(t *testing.T) {
			recordings(t, r, func(to target, f *scenario.File) {
				to.heap = true
				outputs, _, err := to.play(f)
				if err != nil {
					t.Errorf("%s: %v", f.Name, err)
				}
				for i, out := range outputs {
					if out != f.Steps[i].Output {
						t.Errorf("%s:%d: %s\n%sinstead of\n%s", f.Name, f.Steps[i].Line, f.Steps[i].Directive, out, f.Steps[i].Output)
						break
					}
				}
			})
		})
	}
}

// reads collects the messages that the steps of one directive printed, in order.
func reads(f *scenario.File, outputs []string, directives ...string) []string {
	var all []string
	for i, out := range outputs {
		if !slices.Contains(directives, strings.Fields(f.Steps[i].Directive)[0]) {
			continue
		}
		for line := range strings.Lines(out) {
			text := strings.TrimSpace(line)
			if !strings.HasPrefix(line, "  ") || strings.HasPrefix(text, "recv:") {
				continue
			}
			n := 1
			if at := strings.LastIndex(text, " x"); at >= 0 { // as many alike, in one buffer
				if _, err := fmt.Sscanf(text[at:], " x%d", &n); err == nil {
					text = text[:at]
				}
			}
			all = append(all, slices.Repeat([]string{text}, n)...)
		}
	}
	return all
}

// withAndWithoutRing is the property that a ring changes how messages arrive, not which ones.
func withAndWithoutRing(t *rapid.T) {
	v := release(t)
	// In the releases between, dumps in frames may be shifted (dump-reserve-in-frame).
	dumps := v.Release == kernel.Linux3_10 || v.Release == kernel.Linux4_5
	proto := pick(t, "route", "usersock")
	frame := 512 << num(t, 0, 4)
	per := 16384 / frame
	blocks := (31 + per) / per
	ring := fmt.Sprintf("ring a rx block_size=16384 block_nr=%d frame_size=%d frame_nr=%d", blocks, frame, blocks*per)
	// A dump in small frames is queued, in large ones it lies in the frame: a reader must find the same.
	var ringed, plain []string
	both := func(steps ...string) { ringed, plain = append(ringed, steps...), append(plain, steps...) }
	both("populate neigh count=120", "socket a "+proto, "bind a portid=1000 groups=0x1", "socket b "+proto, "bind b portid=2000")
	ringed = append(ringed, ring, "mmap a m")
	n := num(t, 1, 12)
	for i := range n {
		switch k := num(t, 0, 5); {
		case k == 0:
			both(fmt.Sprintf("send b portid=1000\nmsg type=100 seq=%d payload=%d byte=%d", i, num(t, 0, 4000), i))
		case k == 1:
			both(fmt.Sprintf("send b groups=0x1\nmsg type=100 seq=%d payload=%d", i, num(t, 0, 400)))
		case k == 2 && proto == "route" && dumps:
			both(fmt.Sprintf("send a\nmsg type=%s flags=request,dump seq=%d payload=12 hex=02", pick(t, "getneigh", "getroute"), i))
			for range 6 {
				ringed = append(ringed, "poll a events=in")
				ringed = append(ringed, "consume m fd=a")
				plain = append(plain, "recv a size=20000", "recv a size=20000")
			}
		case k == 3:
			both(fmt.Sprintf("send a\nmsg type=511 flags=request seq=%d payload=%d", i, num(t, 0, 4000)))
		default:
			both(fmt.Sprintf("send a\nmsg type=noop flags=request,ack seq=%d", i))
		}
		if num(t, 0, 1) == 1 {
			ringed = append(ringed, "poll a", "consume m fd=a")
			plain = append(plain, "recv a size=20000", "recv a size=20000", "recv a size=20000")
		}
	}
	ringed = append(ringed, "poll a", "consume m fd=a", "poll a", "consume m fd=a")
	for range n + 4 {
		plain = append(plain, "recv a size=20000")
	}
	sameReads(t, target{version: v, heap: true}, target{version: v, heap: true}, ringed, plain)
}

// sameReads plays two programs, with all checks, and compares what they read.
func sameReads(t *rapid.T, to1, to2 target, first, second []string) {
	f1, f2 := parse(strings.Join(first, "\n\n")+"\n"), parse(strings.Join(second, "\n\n")+"\n")
	out1, _, err := to1.play(f1)
	if err != nil {
		t.Fatalf("%v\n\n%s", err, recorded(f1, out1))
	}
	out2, _, err := to2.play(f2)
	if err != nil {
		t.Fatalf("%v\n\n%s", err, recorded(f2, out2))
	}
	a, b := reads(f1, out1, "consume", "recv"), reads(f2, out2, "consume", "recv")
	if diff := cmp.Diff(a, b); diff != "" {
		t.Fatalf("the programs read other messages (- %v, + %v):\n%s\n\n%s\n\n%s", to1.version, to2.version, diff,
			recorded(f1, out1), recorded(f2, out2))
	}
}

func TestWithAndWithoutRing(t *testing.T) { rapid.Check(t, withAndWithoutRing) }

func FuzzWithAndWithoutRing(f *testing.F) { f.Fuzz(rapid.MakeFuzz(withAndWithoutRing)) }

// A way of sending the same requests: through frames of some size, processed in place or copied, on some kernel.
type way struct {
	version kernel.Version
	rx, tx  int
	shared  bool // a second descriptor and a second mapping: 3.10 copies then
}

func drawWay(t *rapid.T) way {
	releases := []kernel.Release{kernel.Linux3_10, kernel.Linux3_10, kernel.Linux3_19, kernel.Linux4_4, kernel.Linux4_5}
	return way{
		version: kernel.Version{Release: releases[num(t, 0, len(releases)-1)]},
		rx:      256 << num(t, 0, 5),
		tx:      1024 << num(t, 0, 2),
		shared:  num(t, 0, 1) == 1,
	}
}

// send makes the program that sends requests a batch at a time and reads the answers.
func (w way) send(batches [][]string) []string {
	frames := w.steps()
	pos, n := 0, 2*(8192/w.tx)
	for _, batch := range batches {
		for _, request := range batch {
			frames = append(frames, fmt.Sprintf("fill m %d\n%s", pos, request))
			pos = (pos + 1) % n
		}
		frames = append(frames, "kick a", "poll a", "consume m fd=a", "poll a", "consume m fd=a")
	}
	return frames
}

func (w way) steps() []string {
	s := []string{"socket a route", "bind a portid=1000",
		fmt.Sprintf("ring a rx block_size=8192 block_nr=8 frame_size=%d frame_nr=%d", w.rx, 8*(8192/w.rx)),
		fmt.Sprintf("ring a tx block_size=8192 block_nr=2 frame_size=%d frame_nr=%d", w.tx, 2*(8192/w.tx)), "mmap a m"}
	if w.shared {
		s = append(s, "dup a a2", "mmap a2 m2")
	}
	return s
}

// sameAnswers is the property that frame sizes, and processing in place, change no answer.
func sameAnswers(t *rapid.T) {
	var batches [][]string
	for i := range num(t, 1, 5) {
		var batch []string
		for j := range num(t, 1, 4) {
			seq := 10*i + j
			batch = append(batch, pick(t,
				fmt.Sprintf("msg type=noop flags=request,ack seq=%d", seq),
				fmt.Sprintf("msg type=noop flags=request,ack seq=%d\nmsg type=noop flags=request,ack seq=%d", seq, seq+100),
				fmt.Sprintf("msg type=511 flags=request seq=%d payload=%d", seq, num(t, 0, 900)),
				fmt.Sprintf("msg type=getlink flags=request seq=%d payload=16 hex=0000000063000000", seq),
				fmt.Sprintf("msg type=getneigh flags=request seq=%d payload=12 hex=02", seq),
				fmt.Sprintf("msg type=noop flags=request,ack seq=%d len=7", seq)))
		}
		batches = append(batches, batch)
	}
	w1, w2 := drawWay(t), drawWay(t)
	sameReads(t, target{version: w1.version, heap: true}, target{version: w2.version, heap: true}, w1.send(batches), w2.send(batches))
}

func TestSameAnswers(t *testing.T) { rapid.Check(t, sameAnswers) }

func FuzzSameAnswers(f *testing.F) { f.Fuzz(rapid.MakeFuzz(sameAnswers)) }

// TestKnownDefectIsNoNews: what follows from a defect that the kernel is known to have is blamed on that defect. 3.10.4
// answers a FIB lookup out of a TX ring into the TX frame, which it gives back twice.
func TestKnownDefectIsNoNews(t *testing.T) {
	f := parse("socket a fib_lookup\n\nbind a portid=1000\n\nring a tx block_size=4096 block_nr=1 frame_size=1024 frame_nr=4\n\nmmap a m\n\n" +
		"fill m 0\nmsg type=0 flags=request seq=1 payload=40\n\nkick a\n")
	var seen []invariant.Violation
	watch := invariant.Watch{Report: func(v invariant.Violation) { seen = append(seen, v) }}
	to := target{version: kernel.Version{Release: kernel.Linux3_10}, heap: true, listen: watch.Record}
	if outputs, _, err := to.play(f); err != nil {
		t.Errorf("%v\n\n%s", err, recorded(f, outputs))
	}
	names := map[string]bool{}
	for _, v := range seen {
		names[v.Name] = true
		if v.Name == "frame-ownership" && v.Blame.Defect != "tx-fib-lookup-resend" || v.Blame.Kernel() {
			t.Errorf("%v: to blame is %v", v, v.Blame)
		}
	}
	if !names["frame-ownership"] {
		t.Errorf("the frame that comes back twice is not seen: %v", seen)
	}
}
