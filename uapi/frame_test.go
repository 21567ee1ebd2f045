package uapi_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"nlmmap/uapi"
)

// TestFramesDoNotOverlap goes through the frames of rings and finds each behind the one before, whole in its block.
func TestFramesDoNotOverlap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := uapi.NLMMapReq{BlockSize: uapi.PageSize << rapid.IntRange(0, 3).Draw(t, "order"), BlockNr: rapid.Uint32Range(1, 5).Draw(t, "blocks")}
		r.FrameSize = 4 * rapid.Uint32Range(6, r.BlockSize/4).Draw(t, "words of a frame")
		r.FrameNr = r.FramesPerBlock() * r.BlockNr
		end := uint64(0)
		for pos := range r.FrameNr {
			off := r.FrameOffset(pos)
			last := off + uint64(r.FrameSize) - 1
			if off < end || off/uint64(r.BlockSize) != last/uint64(r.BlockSize) || last >= r.MapSize() {
				t.Fatalf("%+v: frame %d is at %d, the one before ends at %d", r, pos, off, end)
			}
			if r.FrameAt(off) != pos || r.FrameAt(last) != pos {
				t.Fatalf("%+v: byte %d belongs to frame %d, byte %d to %d", r, off, r.FrameAt(off), last, r.FrameAt(last))
			}
			if next := r.Next(pos); next != (pos+1)%r.FrameNr {
				t.Fatalf("%+v: frame %d comes after frame %d", r, next, pos)
			}
			end = last + 1
		}
		if want := r.MapSize() - end; want >= uint64(r.FrameSize) {
			t.Fatalf("%+v: %d bytes behind the last frame", r, want)
		}
	})
}

// FuzzGeometry: requests that no kernel accepts have a geometry too, and none divides by zero or loops.
func FuzzGeometry(f *testing.F) {
	f.Add(uint32(0), uint32(0), uint32(0), uint32(0), uint32(0))
	f.Add(uint32(4096), uint32(1), uint32(8192), uint32(1), uint32(3))
	f.Add(^uint32(0), ^uint32(0), uint32(1), ^uint32(0), ^uint32(0))
	f.Fuzz(func(t *testing.T, blockSize, blockNr, frameSize, frameNr, pos uint32) {
		r := uapi.NLMMapReq{BlockSize: blockSize, BlockNr: blockNr, FrameSize: frameSize, FrameNr: frameNr}
		if room := r.FrameRoom(); room < 0 || room > int(frameSize) {
			t.Errorf("%+v: room of %d bytes", r, room)
		}
		if next := r.Next(pos); next != 0 && next >= frameNr {
			t.Errorf("%+v: frame %d behind %d", r, next, pos)
		}
		if pos < r.FramesPerBlock() && r.FrameOffset(pos) != uint64(pos)*uint64(frameSize) {
			t.Errorf("%+v: frame %d of the first block at %d", r, pos, r.FrameOffset(pos))
		}
		perBlock := r.FramesPerBlock()
		if at := r.FrameAt(r.FrameOffset(pos)); perBlock > 0 && at != pos {
			t.Errorf("%+v: frame %d is at %d, where frame %d is", r, pos, r.FrameOffset(pos), at)
		}
		if end := r.FrameOffset(pos) + uint64(frameSize); uint64(pos) < uint64(blockNr)*uint64(perBlock) && end > r.MapSize() {
			t.Errorf("%+v: frame %d ends at %d of %d bytes", r, pos, end, r.MapSize())
		}
	})
}

// TestFrameHeader writes and reads the words of a frame header.
func TestFrameHeader(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := rapid.Make[uapi.NLMMapHdr]().Draw(t, "header")
		var b [uapi.NLMMapHdrlen]byte
		if h.Put(b[:]); uapi.ParseNLMMapHdr(b[:]) != h {
			t.Fatalf("% x is no %+v", b, h)
		}
	})
}

// TestNames: values have one name, what has none is printed as a number, and bits without name are not lost.
func TestNames(t *testing.T) {
	for what, names := range map[string]uapi.Names{"families": uapi.AddressFamilies, "types": uapi.SocketTypes, "protocols": uapi.Protocols,
		"netlink options": uapi.NetlinkOptions, "socket options": uapi.SocketOptions, "control": uapi.ControlTypes, "route": uapi.RouteTypes,
		"flags": uapi.MessageFlags, "make flags": uapi.MakeFlags, "states": uapi.FrameStates, "msg": uapi.MsgFlags, "map": uapi.MapFlags,
		"protections": uapi.Protections, "poll": uapi.PollEvents} {
		values, texts := map[int]bool{}, map[string]bool{}
		for _, n := range names {
			if values[n.Value] || texts[n.Name] || names.Of(n.Value) != n.Name {
				t.Errorf("%s: %+v is there twice", what, n)
			}
			values[n.Value], texts[n.Name] = true, true
		}
	}
	for v, want := range map[int]string{uapi.NLMFDump | uapi.NLMFAck: "NLM_F_ACK|NLM_F_DUMP", uapi.NLMFRoot | 0x1000: "NLM_F_ROOT|0x1000", 0: "0x0"} {
		if got := uapi.MessageFlags.Flags(v); got != want {
			t.Errorf("%#x is %s, want %s", v, got, want)
		}
	}
	if got := uapi.Protocols.Of(31); got != "31" {
		t.Errorf("protocol 31 is %s", got)
	}
}

// Where the frames of a ring are in its mapping: two of 1500 bytes fit each page, what is left of it is unused.
func ExampleNLMMapReq_FrameOffset() {
	req := uapi.NLMMapReq{BlockSize: 4096, BlockNr: 2, FrameSize: 1500, FrameNr: 4}
	for pos := range req.FrameNr {
		fmt.Println(pos, req.FrameOffset(pos))
	}
	fmt.Println("of", req.MapSize(), "bytes; room", req.FrameRoom(), uapi.MessageFlags.Flags(uapi.NLMFRequest|uapi.NLMFDump))
	// Output:
	// 0 0
	// 1 1500
	// 2 4096
	// 3 5596
	// of 8192 bytes; room 1476 NLM_F_REQUEST|NLM_F_DUMP
}
