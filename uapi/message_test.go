package uapi_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"nlmmap/uapi"
)

func TestParsersTellWhatIsWrong(t *testing.T) {
	good := uapi.AppendMessage(nil, uapi.NLMsgHdr{Type: 16, Seq: 1}, []byte{1, 2, 3, 4})
	for name, c := range map[string]struct {
		b      []byte
		before int // messages before the error
		offset int
		what   string
	}{
		"header cut":  {append(slices.Clone(good), 1, 2, 3), 1, 20, "no message header"},
		"short":       {append(slices.Clone(good), make([]byte, 16)...), 1, 20, "below"},
		"long":        {[]byte{17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0, 0, "17 bytes in 16"},
		"length 2^32": {[]byte{255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0, 0, "in 16"},
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			var got error
			for _, err := range uapi.Messages(c.b) {
				if err != nil {
					got = err
				} else {
					n++
				}
			}
			var p *uapi.ParseError
			if !errors.As(got, &p) || p.Offset != c.offset || !strings.Contains(p.What, c.what) || n != c.before {
				t.Fatalf("%d messages, then %v", n, got)
			}
		})
	}
	for _, b := range [][]byte{{3, 0, 1, 0}, {9, 0, 1, 0, 5, 6, 7, 8}} {
		var got error
		for _, err := range uapi.Attrs(b, 0) {
			got = err
		}
		if !uapi.IsParseError(got) {
			t.Errorf("% x: %v", b, got)
		}
	}
}

func TestAcksAndDone(t *testing.T) {
	ack := uapi.Message{Header: uapi.NLMsgHdr{Type: uapi.NLMsgError},
		Payload: append([]byte{0xea, 255, 255, 255}, uapi.AppendMessage(nil, uapi.NLMsgHdr{Type: 16, Seq: 9}, []byte{1, 2, 3, 4})...)}
	a, err := uapi.ParseAck(ack)
	if err != nil {
		t.Fatal(err)
	}
	want := uapi.Ack{Code: -22, Request: uapi.NLMsgHdr{Len: 20, Type: 16, Seq: 9}, Quoted: []byte{1, 2, 3, 4}}
	if diff := cmp.Diff(want, a); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !errors.Is(a.Err(), syscall.EINVAL) {
		t.Errorf("code -22 is %v", a.Err())
	}
	// Some handlers answer a positive number.
	a.Code = 22
	if a.Err() == nil || errors.Is(a.Err(), syscall.EINVAL) {
		t.Errorf("code 22: %v", a.Err())
	}
	if _, err := uapi.ParseAck(uapi.Message{Header: uapi.NLMsgHdr{Type: uapi.NLMsgError}, Payload: make([]byte, 19)}); !uapi.IsParseError(err) {
		t.Errorf("short acknowledgement: %v", err)
	}
	if _, err := uapi.ParseAck(uapi.Message{}); err == nil || uapi.IsParseError(err) {
		t.Errorf("no acknowledgement: %v", err)
	}
	d, err := uapi.ParseDone(uapi.Message{Header: uapi.NLMsgHdr{Type: uapi.NLMsgDone, Flags: uapi.NLMFDumpIntr}, Payload: make([]byte, 4)})
	if err != nil || d.Err() != nil || !d.Interrupted {
		t.Errorf("%+v, %v", d, err)
	}
}

// TestWalksOfWellFormedBytes: what was appended is what the walks find, with and without the padding of the last one.
func TestWalksOfWellFormedBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		payloads := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 40), 1, 5).Draw(t, "payloads")
		var msgs, attrs []byte
		for i, p := range payloads {
			msgs = uapi.AppendMessage(msgs, uapi.NLMsgHdr{Type: uint16(i), Seq: 7}, p)
			attrs = uapi.AppendAttr(attrs, uint16(i)|uapi.NLAFNested, p)
		}
		last := len(payloads[len(payloads)-1])
		if padding := uapi.NLMsgAlign(last) - last; rapid.Bool().Draw(t, "cut padding") {
			msgs, attrs = msgs[:len(msgs)-padding], attrs[:len(attrs)-padding]
		}
		i := 0
		for m, err := range uapi.Messages(msgs) {
			if err != nil || m.Header.Type != uint16(i) || !bytes.Equal(m.Payload, payloads[i]) {
				t.Fatalf("message %d: %+v %v", i, m, err)
			}
			i++
		}
		hdrlen := rapid.IntRange(0, 20).Draw(t, "fixed header")
		all := append(make([]byte, uapi.NLMsgAlign(hdrlen)), attrs...)
		k := 0
		for a, err := range uapi.Attrs(all, hdrlen) {
			if err != nil || a.Type != uint16(k) || !a.Nested || a.NetOrder || !bytes.Equal(a.Data, payloads[k]) {
				t.Fatalf("attribute %d: %+v %v", k, a, err)
			}
			k++
		}
		if i != len(payloads) || k != len(payloads) {
			t.Fatalf("%d messages and %d attributes of %d", i, k, len(payloads))
		}
	})
}

// TestWalksEnd: whatever the length fields say, a walk that tests the length before it goes on comes to an end.
func TestWalksEnd(t *testing.T) {
	for _, n := range []uint32{0, 1, 15, 16, 17, 1<<31 - 1, 1 << 31, 1<<32 - 3, 1<<32 - 1} {
		for left := uapi.NLMsgHdrlen; left < 40; left++ {
			if next := uapi.NLMsgNext(n, left); next < 0 || next > left || uapi.NLMsgOK(n, left) && next < uapi.NLMsgHdrlen {
				t.Errorf("a length of %d in %d bytes leads %d on", n, left, next)
			}
		}
	}
}

// FuzzWalks: on any input the walks stay inside it and end, with an error exactly when something is left over.
func FuzzWalks(f *testing.F) {
	msg := uapi.AppendMessage(nil, uapi.NLMsgHdr{Type: uapi.NLMsgError}, make([]byte, 20))
	f.Add(uapi.AppendMessage(msg, uapi.NLMsgHdr{Type: uapi.NLMsgDone}, uapi.AppendAttr(nil, 1, []byte("one"))), 0)
	f.Add(make([]byte, 64), 0)
	f.Add(bytes.Repeat([]byte{0xff}, 64), -1)
	f.Add([]byte{4, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0}, 4)
	f.Fuzz(func(t *testing.T, b []byte, hdrlen int) {
		at, failed := 0, false
		for m, err := range uapi.Messages(b) {
			var bad *uapi.ParseError
			if errors.As(err, &bad) {
				if failed = true; bad.Offset != at || len(b)-at >= uapi.NLMsgHdrlen && m.Header != uapi.ParseNLMsgHdr(b[at:]) {
					t.Fatalf("%v, and the walk is at %d", err, at)
				}
				continue
			}
			if int(m.Header.Len) != uapi.NLMsgHdrlen+len(m.Payload) || failed {
				t.Fatalf("%+v", m)
			}
			at += min(uapi.NLMsgTotalSize(len(m.Payload)), len(b)-at)
			code, ok := m.Code()
			if ack, err := uapi.ParseAck(m); err == nil && (!ok || ack.Code != code) {
				t.Fatalf("%+v is an acknowledgement of %d", m, ack.Code)
			}
			if done, err := uapi.ParseDone(m); err == nil && (!ok || done.Code != code) {
				t.Fatalf("%+v ends with %d", m, done.Code)
			}
		}
		if failed != (at < len(b)) {
			t.Fatalf("the walk ended at byte %d of %d, error %t", at, len(b), failed)
		}
		used := max(0, hdrlen)
		for a, err := range uapi.Attrs(b, hdrlen) {
			if err != nil {
				return
			}
			if used = uapi.NLMsgAlign(used) + uapi.NLAHdrlen + len(a.Data); used > len(b) {
				t.Fatalf("%d bytes of attributes in %d", used, len(b))
			}
			if v, err := a.Uint32(); (err == nil) != (len(a.Data) >= 4) || err == nil && v != binary.LittleEndian.Uint32(a.Data) {
				t.Fatal(v, err)
			}
		}
		if len(b)-uapi.NLMsgAlign(used) >= uapi.NLAHdrlen {
			t.Fatalf("the walk ended at byte %d of %d without a word", used, len(b))
		}
	})
}

// TestTooMuchForAnAttribute shows what AppendAttr says of data that is too long.
func TestTooMuchForAnAttribute(t *testing.T) {
	for a, err := range uapi.Attrs(uapi.AppendAttr(nil, 1, make([]byte, 65532)), 0) {
		if !uapi.IsParseError(err) {
			t.Fatalf("an attribute of %d bytes", len(a.Data))
		}
	}
}

// The messages of a buffer, and the attributes of one: a queued packet.
func ExampleMessages() {
	attrs := uapi.AppendAttr(uapi.AppendAttr([]byte{2, 0, 0, 9}, uapi.NFQAPacketHdr, make([]byte, 7)), uapi.NFQAPayload, []byte("data"))
	buf := uapi.AppendMessage(nil, uapi.NLMsgHdr{Type: uapi.NFQNLMsgPacket}, attrs)
	buf = uapi.AppendMessage(buf, uapi.NLMsgHdr{Type: uapi.NLMsgDone}, make([]byte, 4))
	buf = append(buf, 1, 2, 3)
	for m, err := range uapi.Messages(buf) {
		if err != nil {
			fmt.Println(err)
			break
		}
		fmt.Println("type", m.Header.Type, "length", m.Header.Len)
		if m.Header.Type == uapi.NFQNLMsgPacket {
			for a := range uapi.WellFormed(m.Attrs(uapi.NFGenMsglen)) {
				fmt.Printf("  attribute %d: %q\n", a.Type, a.Data)
			}
		}
	}
	// Output:
	// type 768 length 40
	//   attribute 1: "\x00\x00\x00\x00\x00\x00\x00"
	//   attribute 10: "data"
	// type 3 length 20
	// malformed at byte 60: 3 bytes are no message header
}
