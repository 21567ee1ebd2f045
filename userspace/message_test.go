package userspace_test

import (
	"bytes"
	"strings"
	"testing"

	"nlmmap/uapi"
	"nlmmap/userspace"
)

func TestBuilderLaysOutMessages(t *testing.T) {
	b := userspace.NewBuilder(nil)
	b.Begin(uapi.NLMsgHdr{Type: 0x301, Flags: 1, Seq: 7}).Raw(2, 0, 0, 9).Attr(1, []byte{0xaa}).Attr32(2, 3)
	b.Begin(uapi.NLMsgHdr{Type: 16}).Nest(5).Attr32BE(1, 4).Attr(2, []byte("xyz")).EndNest()
	got, err := b.Bytes()
	must(t, err)
	want := []byte{
		36, 0, 0, 0, 1, 3, 1, 0, 7, 0, 0, 0, 0, 0, 0, 0,
		2, 0, 0, 9,
		5, 0, 1, 0, 0xaa, 0, 0, 0,
		8, 0, 2, 0, 3, 0, 0, 0,
		36, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		20, 0, 5, 0x80,
		8, 0, 1, 0, 0, 0, 0, 4,
		7, 0, 2, 0, 'x', 'y', 'z', 0,
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("got  % x\nwant % x", got, want)
	}
}

func TestBuilderTellsWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		build func(b *userspace.Builder)
		want  string
	}{
		"long attribute": {func(b *userspace.Builder) { b.Begin(uapi.NLMsgHdr{}).Attr(3, make([]byte, 65532)) }, "attribute 3"},
		"open nest":      {func(b *userspace.Builder) { b.Begin(uapi.NLMsgHdr{}).Nest(1) }, "not ended"},
		"no nest":        {func(b *userspace.Builder) { b.Begin(uapi.NLMsgHdr{}).EndNest() }, "no nest"},
		"no message":     {func(b *userspace.Builder) { b.Attr32(1, 1) }, "without a message"},
		"long nest": {func(b *userspace.Builder) {
			b.Begin(uapi.NLMsgHdr{}).Nest(1).Attr(1, make([]byte, 60000)).Attr(2, make([]byte, 6000)).EndNest()
		}, "nest of"},
	} {
		t.Run(name, func(t *testing.T) {
			var b userspace.Builder
			c.build(&b)
			if _, err := b.Bytes(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want something with %q", err, c.want)
			}
			b.Reset()
			if _, err := b.Bytes(); err != nil {
				t.Fatalf("after Reset: %v", err)
			}
		})
	}
}

// FuzzMessages checks that the parsers work on any input: they stay inside it, and what they return is what is there.
func FuzzMessages(f *testing.F) {
	f.Add(request(16, 1, 1, 2, 3, 4))
	b := userspace.NewBuilder(nil)
	userspace.QueueVerdict(b, 1, 2, 3, userspace.Accept)
	userspace.LogSet(b, 2, 3, userspace.LogParams{Mode: 2, Flags: 1})
	b.Begin(uapi.NLMsgHdr{Type: uapi.NFQNLMsgPacket}).Raw(2, 0, 0, 1).Attr(1, make([]byte, 7)).Attr(10, data(40, 1))
	b.Begin(uapi.NLMsgHdr{Type: uapi.NFULNLMsgPacket}).Raw(2, 0, 0, 1).Attr(1, make([]byte, 4)).Attr(10, []byte("prefix\x00"))
	b.Begin(uapi.NLMsgHdr{Type: uapi.NLMsgError}).Raw(make([]byte, 20)...)
	b.Begin(uapi.NLMsgHdr{Type: uapi.NLMsgDone}).Raw(make([]byte, 4)...)
	all, err := b.Bytes()
	must(f, err)
	f.Add(all)
	f.Fuzz(func(t *testing.T, b []byte) {
		total := 0
		for m, err := range uapi.Messages(b) {
			if err != nil {
				if !uapi.IsParseError(err) {
					t.Fatal(err)
				}
				break
			}
			total += int(m.Header.Len)
			if len(m.Payload) != int(m.Header.Len)-uapi.NLMsgHdrlen || total > len(b) {
				t.Fatalf("message %+v with %d bytes, %d of %d so far", m.Header, len(m.Payload), total, len(b))
			}
			checkAttrs(t, m)
			_, _ = uapi.ParseAck(m)
			_, _ = uapi.ParseDone(m)
			if p, err := userspace.ParseQueuedPacket(m); err == nil && len(p.Payload) > len(m.Payload) {
				t.Fatal("a payload longer than its message")
			}
			if p, err := userspace.ParseLoggedPacket(m); err == nil && len(p.Prefix) > len(m.Payload) {
				t.Fatal("a prefix longer than its message")
			}
		}
	})
}

func checkAttrs(t *testing.T, m uapi.Message) {
	for _, fixed := range []int{0, 4, 12, 1 << 20} {
		total := 0
		for a, err := range m.Attrs(fixed) {
			if err != nil {
				break
			}
			total += len(a.Data) + uapi.NLAHdrlen
			if total > len(m.Payload) {
				t.Fatalf("%d bytes of attributes in %d", total, len(m.Payload))
			}
			if _, err := a.Uint32(); (err == nil) != (len(a.Data) >= 4) {
				t.Fatal(err)
			}
		}
	}
}

// FuzzBuildAndParse checks that what the builder makes is what the parsers find.
func FuzzBuildAndParse(f *testing.F) {
	f.Add(uint16(16), uint16(1), []byte("one"), uint16(2), []byte{})
	f.Fuzz(func(t *testing.T, typ, a uint16, da []byte, n uint16, dn []byte) {
		var b userspace.Builder
		b.Begin(uapi.NLMsgHdr{Type: typ}).Raw(1, 2, 3, 4).Attr(a&0x3fff, da).Nest(n&0x3fff).Attr(1, dn).EndNest()
		msg, err := b.Bytes()
		if err != nil {
			if len(da) < 65000 && len(dn) < 65000 {
				t.Fatal(err)
			}
			return
		}
		var seen []uapi.Attr
		for m, err := range uapi.Messages(msg) {
			must(t, err)
			for at, err := range m.Attrs(4) {
				must(t, err)
				seen = append(seen, at)
			}
		}
		if len(seen) != 2 || seen[0].Type != a&0x3fff || !bytes.Equal(seen[0].Data, da) || !seen[1].Nested {
			t.Fatalf("%+v", seen)
		}
		for at, err := range seen[1].Attrs() {
			must(t, err)
			if !bytes.Equal(at.Data, dn) {
				t.Fatalf("% x, want % x", at.Data, dn)
			}
		}
	})
}
