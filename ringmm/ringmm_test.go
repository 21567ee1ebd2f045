package ringmm_test

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"nlmmap/kernel"
	"nlmmap/kernel/inspect"
	"nlmmap/ringmm"
	"nlmmap/uapi"
)

// newRing returns a ring that is not set, of a kernel with the given release.
func newRing(t testing.TB, r kernel.Release) (*ringmm.Ring, *kernel.Task) {
	t.Helper()
	k, err := kernel.Boot(kernel.Config{Version: kernel.Version{Release: r}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return initRing(t, k), k.KernelTask("test")
}

func initRing(t interface{ Fatal(...any) }, k *kernel.Kernel) *ringmm.Ring {
	d := &ringmm.Differences{}
	if err := k.Config().Version.Resolve(d.Table()); err != nil {
		t.Fatal(err)
	}
	ring := &ringmm.Ring{}
	ring.Init(k, d, "rx", nil, nil)
	return ring
}

// set sets the ring, and clears it when the test ends.
func set(t testing.TB, r *ringmm.Ring, cur *kernel.Task, req uapi.NLMMapReq) {
	t.Helper()
	b, err := r.Prepare(cur, req)
	if err != nil {
		t.Fatal(err)
	}
	r.Free(cur, r.Swap(cur, b))
	t.Cleanup(func() { r.Free(cur, r.Swap(cur, ringmm.Blocks{})) })
}

// frames returns the request for a ring of n frames of 4096 bytes.
func frames(n uint32) uapi.NLMMapReq {
	return uapi.NLMMapReq{BlockSize: 4096, BlockNr: n, FrameSize: 4096, FrameNr: n}
}

// validate is spec 2.2 steps 3 and 4, read aloud in 64-bit arithmetic.
func validate(isSet bool, r uapi.NLMMapReq, ram uint64) unix.Errno {
	if r.BlockNr == 0 {
		if r.FrameNr != 0 {
			return kernel.EINVAL
		}
		return 0
	}
	if isSet {
		return kernel.EBUSY
	}
	blockSize, frameSize := uint64(r.BlockSize), uint64(r.FrameSize)
	if blockSize == 0 || blockSize >= 0x80000000 {
		return kernel.EINVAL
	}
	if blockSize%4096 != 0 || frameSize < 24 || frameSize%4 != 0 {
		return kernel.EINVAL
	}
	perBlock := blockSize / frameSize
	if perBlock == 0 || perBlock*uint64(r.BlockNr)%(1<<32) != uint64(r.FrameNr) {
		return kernel.EINVAL
	}
	if r.BlockNr > 524288 || blockSize*uint64(r.BlockNr) > ram {
		return kernel.ENOMEM
	}
	return 0
}

// TestPrepareAgainstSpec tries requests that are nearly right.
func TestPrepareAgainstSpec(t *testing.T) {
	const ram = 1 << 20
	seen := map[unix.Errno]bool{}
	rapid.Check(t, func(t *rapid.T) {
		k, err := kernel.Boot(kernel.Config{RAM: ram})
		if err != nil {
			t.Fatal(err)
		}
		ring := initRing(t, k)
		cur := k.KernelTask("test")
		isSet := rapid.IntRange(0, 4).Draw(t, "set") == 0
		if isSet {
			b, err := ring.Prepare(cur, frames(1))
			if err != nil {
				t.Fatal(err)
			}
			ring.Free(cur, ring.Swap(cur, b))
		}
		word := rapid.OneOf(rapid.Uint32(), rapid.SampledFrom([]uint32{0, 1, 23, 24, 28, 64, 1000, 4096, 8192, 0x80000000,
			0x40000000, 0xfffffffc, 0xfffff000, 524288, 524289}))
		small := rapid.OneOf(rapid.Uint32Range(0, 20), word)
		req := uapi.NLMMapReq{BlockSize: 4096 * rapid.Uint32Range(0, 16).Draw(t, "pages"), BlockNr: small.Draw(t, "blocks"),
			FrameSize: rapid.Uint32Range(0, 600).Draw(t, "frame words") * 4}
		switch rapid.IntRange(0, 8).Draw(t, "odd") {
		case 0:
			req.BlockSize = word.Draw(t, "block size")
		case 1:
			req.FrameSize = word.Draw(t, "frame size")
		}
		if req.FrameSize > 0 {
			req.FrameNr = req.BlockSize / req.FrameSize * req.BlockNr
		}
		if rapid.IntRange(0, 8).Draw(t, "odd frames") == 0 {
			req.FrameNr = small.Draw(t, "frames")
		}
		want := validate(isSet, req, ram)
		b, err := ring.Prepare(cur, req)
		if got := kernel.ErrnoOf(err); got != want {
			t.Fatalf("%+v: %v, want %v", req, err, want)
		}
		seen[want] = true
		if isSet {
			ring.Free(cur, ring.Swap(cur, ringmm.Blocks{}))
			if err := k.Close(); err != nil {
				t.Fatal(err)
			}
			return
		}
		if k.PagesInUse(inspect.Key{}) > 0 != (want == 0 && req.BlockNr > 0) {
			t.Fatalf("%+v: %d bytes in use after %v", req, k.PagesInUse(inspect.Key{}), want)
		}
		if err == nil {
			ring.Free(cur, ring.Swap(cur, b))
			if want := uint64(req.BlockSize) * uint64(req.BlockNr); ring.MapSize(cur) != want {
				t.Fatalf("%+v: map size %d, want %d", req, ring.MapSize(cur), want)
			}
			checkPlaces(t, ring, cur, req)
			ring.Free(cur, ring.Swap(cur, ringmm.Blocks{}))
		}
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
	})
	if testing.Short() { // too few requests to meet every error
		return
	}
	for _, e := range []unix.Errno{0, kernel.EINVAL, kernel.EBUSY, kernel.ENOMEM} {
		if !seen[e] {
			t.Errorf("no request gave %v", e)
		}
	}
}

// checkPlaces compares the places of all frames with those that one gets by laying frame after frame into block after
// block.
func checkPlaces(t *rapid.T, ring *ringmm.Ring, cur *kernel.Task, req uapi.NLMMapReq) {
	pos := uint32(0)
	for block := range req.BlockNr {
		for at := uint32(0); at+req.FrameSize <= req.BlockSize; at += req.FrameSize {
			mem, off := ring.Frame(cur, pos).Data()
			if want := int(block*req.BlockSize + at + 24); off != want {
				t.Fatalf("%+v: the message of frame %d lies at %d, want %d", req, pos, off, want)
			}
			if f := ring.FrameOf(mem, off, pos); f != ring.Frame(cur, pos) {
				t.Fatalf("%+v: the frame of a message in frame %d is %+v", req, pos, f)
			}
			pos++
		}
	}
	if pos != req.FrameNr || ring.Inspect(inspect.Key{}).Frames != pos {
		t.Fatalf("%+v: %d frames, the ring says %d", req, pos, ring.Inspect(inspect.Key{}).Frames)
	}
}

// TestOverflow: a number of frames that is right modulo 2^32 passes the test, and then there is no memory.
func TestOverflow(t *testing.T) {
	ring, cur := newRing(t, kernel.Linux4_4)
	for _, req := range []uapi.NLMMapReq{
		{BlockSize: 4096, FrameSize: 1024, BlockNr: 1 << 30, FrameNr: 0},
		{BlockSize: 4096, FrameSize: 4096, BlockNr: 524289, FrameNr: 524289},
		{BlockSize: 0x7ffff000, FrameSize: 4096, BlockNr: 1, FrameNr: 0x7ffff},
	} {
		if _, err := ring.Prepare(cur, req); !errors.Is(err, kernel.ENOMEM) {
			t.Errorf("%+v: %v, want ENOMEM", req, err)
		}
	}
	if _, err := ring.Prepare(cur, uapi.NLMMapReq{BlockSize: 4096, FrameSize: 0xfffffffc, BlockNr: 1}); !errors.Is(err, kernel.EINVAL) {
		t.Errorf("frame size 0xfffffffc: %v", err)
	}
}

// TestRequest: diagnostics show what was asked for, also by a request that cleared the ring (spec 13.5).
func TestRequest(t *testing.T) {
	ring, cur := newRing(t, kernel.Linux4_4)
	if got, want := ring.Request(cur), (uapi.NLMMapReq{FrameNr: 1}); got != want {
		t.Errorf("never set: %+v", got)
	}
	req := uapi.NLMMapReq{BlockSize: 8192, BlockNr: 2, FrameSize: 1000, FrameNr: 16}
	set(t, ring, cur, req)
	if ring.Request(cur) != req || ring.Maxlen(cur) != 976 || ring.Inspect(inspect.Key{}).FrameSize != 1000 || !ring.IsSet(cur) {
		t.Errorf("set: %+v, room %d", ring.Request(cur), ring.Maxlen(cur))
	}
	b, err := ring.Prepare(cur, uapi.NLMMapReq{BlockSize: 123456, FrameSize: 777})
	if err != nil {
		t.Fatal(err)
	}
	ring.Free(cur, ring.Swap(cur, b))
	if got, want := ring.Request(cur), (uapi.NLMMapReq{BlockSize: 122880, FrameSize: 777}); got != want {
		t.Errorf("cleared: %+v, want %+v", got, want)
	}
	if ring.IsSet(cur) || ring.MapSize(cur) != 0 || ring.Segments(cur) != nil {
		t.Error("the cleared ring has memory")
	}
}

// TestHead compares the arithmetic of head with a list of statuses and a place in it, for rings of all small sizes.
func TestHead(t *testing.T) {
	for _, r := range []kernel.Release{kernel.Linux3_10, kernel.Linux4_1, kernel.Linux4_4, kernel.Linux4_5} {
		for n := uint32(1); n <= 6; n++ {
			t.Run(fmt.Sprintf("%v/%d", r, n), func(t *testing.T) { testHead(t, r, n) })
		}
	}
}

func testHead(t *testing.T, r kernel.Release, n uint32) {
	ring, cur := newRing(t, r)
	set(t, ring, cur, frames(n))
	status := make([]uint32, n)
	head := uint32(0)
	check := func(what string) {
		t.Helper()
		if ring.Inspect(inspect.Key{}).Head != head {
			t.Fatalf("%v: after %s head is %d, want %d", status, what, ring.Inspect(inspect.Key{}).Head, head)
		}
	}
	// Every ring of UNUSED, VALID and SKIP frames, from every head.
	total := 1
	for range n {
		total *= 3
	}
	for code := range total {
		for i, c := uint32(0), code; i < n; i++ {
			status[i] = []uint32{uapi.NLMMapStatusUnused, uapi.NLMMapStatusValid, uapi.NLMMapStatusSkip}[c%3]
			c /= 3
			ring.Frame(cur, i).SetStatus(cur, status[i])
		}
		for range n {
			valid := false
			for _, s := range status {
				valid = valid || s == uapi.NLMMapStatusValid
			}
			if got := ring.HasValidFrame(cur); got != valid {
				t.Fatalf("%v: has a valid frame %t, want %t", status, got, valid)
			}
			if got, want := ring.Previous(cur), (head+n-1)%n; got != want {
				t.Fatalf("before %d comes %d, want %d", head, got, want)
			}
			f, ok := ring.Current(cur, uapi.NLMMapStatusValid)
			if f.Pos != head || ok != (status[head] == uapi.NLMMapStatusValid) {
				t.Fatalf("%v at %d: current frame %d %t", status, head, f.Pos, ok)
			}
			// 4.3: half a ring on, wrapping one frame too far.
			probe := head + (n-1)/2
			if probe > n-1 {
				probe -= n - 1
			}
			if got, want := ring.DumpSpace(cur), status[head] == 0 && status[probe] == 0; got != want {
				t.Fatalf("%v at %d: room for a dump %t, want %t", status, head, got, want)
			}
			before := head
			if r >= kernel.Linux4_4 {
				// The first frame that is no SKIP, or where it began.
				for i := range n {
					if status[(head+i)%n] != uapi.NLMMapStatusSkip {
						head = (head + i) % n
						break
					}
				}
			}
			ring.Forward(cur)
			check("forward")
			for head != (before+1)%n {
				ring.Advance(cur)
				head = (head + 1) % n
			}
			check("advance")
		}
	}
}

// TestDumpSpaceProbes has the examples of spec 4.3: which frame decides besides head.
func TestDumpSpaceProbes(t *testing.T) {
	for _, c := range []struct {
		n      uint32
		probes []uint32
	}{{1, []uint32{0}}, {2, []uint32{0, 1}}, {3, []uint32{1, 2, 1}}, {4, []uint32{1, 2, 3, 1}},
		{5, []uint32{2, 3, 4, 1, 2}}, {8, []uint32{3, 4, 5, 6, 7, 1, 2, 3}}} {
		ring, cur := newRing(t, kernel.Linux4_5)
		set(t, ring, cur, frames(c.n))
		for head, probe := range c.probes {
			for i := range c.n {
				ring.Frame(cur, i).SetStatus(cur, uapi.NLMMapStatusValid)
				want := i != uint32(head) && i != probe
				if got := ring.DumpSpace(cur); got != want {
					t.Errorf("%d frames, head %d, frame %d busy: %t, want %t", c.n, head, i, got, want)
				}
				ring.Frame(cur, i).SetStatus(cur, uapi.NLMMapStatusUnused)
			}
			ring.Advance(cur)
		}
	}
}

// TestHeader: what SetHeader writes is where the header's layout says, and the status is left alone.
func TestHeader(t *testing.T) {
	ring, cur := newRing(t, kernel.Linux3_10)
	set(t, ring, cur, frames(2))
	f := ring.Frame(cur, 1)
	f.SetStatus(cur, uapi.NLMMapStatusReserved)
	f.SetHeader(cur, ringmm.Header{Len: 1, Group: 2, Pid: 3, UID: 4, GID: 5})
	mem, off := f.Data()
	for at, want := range map[int]uint32{uapi.NMStatus: uapi.NLMMapStatusReserved, uapi.NMLen: 1, uapi.NMGroup: 2, uapi.NMPid: 3, uapi.NMUID: 4, uapi.NMGID: 5} {
		if got := mem.Load32(nil, off-uapi.NLMMapHdrlen+at); got != want {
			t.Errorf("word at %d is %d, want %d", at, got, want)
		}
	}
	if f.Len(cur) != 1 || ring.Status(cur, 1) != uapi.NLMMapStatusReserved {
		t.Error("the frame reads something else")
	}
}

// TestOopsWithoutRing: kernel code that comes too late finds no blocks.
func TestOopsWithoutRing(t *testing.T) {
	ring, cur := newRing(t, kernel.Linux4_4)
	defer func() {
		if o, ok := recover().(kernel.Oops); !ok || o.Defect != "set-ring-races" {
			t.Errorf("%v", o)
		}
	}()
	ring.Frame(cur, 0)
}

// A ring is set in two steps: the request is checked and memory taken, then, under the queue's lock, it becomes the
// ring's.
func Example() {
	k, err := kernel.Boot(kernel.Config{Version: kernel.Version{Release: kernel.Linux4_4}})
	if err != nil {
		panic(err)
	}
	cur := k.KernelTask("example")
	var d ringmm.Differences
	if err := k.Config().Version.Resolve(d.Table()); err != nil {
		panic(err)
	}
	var ring ringmm.Ring
	ring.Init(k, &d, "rx", nil, nil) // nobody shares it
	_, err = ring.Prepare(cur, uapi.NLMMapReq{BlockSize: 4096, BlockNr: 2, FrameSize: 1001, FrameNr: 8})
	fmt.Println(err)
	blocks, err := ring.Prepare(cur, uapi.NLMMapReq{BlockSize: 4096, BlockNr: 2, FrameSize: 1000, FrameNr: 8})
	fmt.Println(err)
	ring.Free(cur, ring.Swap(cur, blocks))
	_, off := ring.Frame(cur, 5).Data()
	fmt.Println("the message of frame 5 lies at", off, "and has room for", ring.Maxlen(cur))
	ring.Free(cur, ring.Swap(cur, ringmm.Blocks{}))
	fmt.Println(k.Close())
	// Output:
	// invalid argument: frame size 1001 is not a multiple of 4
	// <nil>
	// the message of frame 5 lies at 5120 and has room for 976
	// <nil>
}
