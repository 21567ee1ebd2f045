package scenario

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseErrors(t *testing.T) {
	tests := []struct {
		name, text, want string
	}{
		{"unknown directive", "# c\nsned a\n", `t:2: unknown directive "sned": did you mean "send"?`},
		{"far from any directive", "xyzzyplugh\n", `t:1: unknown directive "xyzzyplugh"`},
		{"missing positional", "dup a\n", "t:1: missing argument: expected NEW"},
		{"missing named", "ring a rx block_size=1 block_nr=1 frame_nr=1\n", "t:1: missing argument: expected frame_size=N"},
		{"unknown named", "recv a siez=3\n", `t:1: unknown argument "siez=": did you mean "size"?`},
		{"unknown flag", "recv a peak\n", `t:1: unexpected argument "peak": did you mean "peek"?`},
		{"flag with value", "recv a peek=1\n", `t:1: unknown argument "peek=": did you mean "peek"?`},
		{"value missing", "recv a size\n", "t:1: size needs a value: expected size=BYTES"},
		{"twice", "recv a size=1 size=2\n", "t:1: size= is given twice"},
		{"flag twice", "recv a peek peek\n", "t:1: peek is given twice"},
		{"bad number", "recv a size=1x\n", "t:1: size=1x: expected a number (decimal, or hexadecimal with 0x)"},
		{"negative size", "recv a size=-1\n", "t:1: size=-1: expected a number from 0 to 16777216"},
		{"underscore", "recv a size=1_0\n", "t:1: size=1_0: expected a number"},
		{"choice", "ring a rz block_size=1 block_nr=1 frame_size=1 frame_nr=1\n", `t:1: rz: expected rx, tx: did you mean "rx"?`},
		{"protocol", "socket a rout\n", `did you mean "route"?`},
		{"status", "set m rx 0 status=vaild\n", `did you mean "valid"?`},
		{"frames", "set m rx 3-1 status=valid\n", "t:1: 3-1: expected frames like 3, 0-2 or all"},
		{"flags", "send a\nmsg type=noop flags=request,akc\n", `t:2: flags=request,akc: expected a number or one of`},
		{"message type", "send a\n\nsend a\nmsg typ=noop\n", `t:4: unknown argument "typ=": did you mean "type"?`},
		{"no type", "send a\nmsg seq=1\n", "t:2: missing argument: expected type=TYPE"},
		{"hex", "send a\nmsg type=1 hex=0\n", "t:2: hex=0: expected pairs of hexadecimal digits"},
		{"hex too long", "send a\nmsg type=1 payload=1 hex=0000\n", "t:2: hex= has 2 bytes, but payload=1"},
		{"messages not allowed", "poll a\nmsg type=1\n----\nok\n", "t:2: poll takes no message lines"},
		{"no empty line", "poll a\nrecv a\n", `t:2: unexpected line "recv a": expected a message line (msg, raw, nfqueue, nflog, diag, audit), ----, or an empty line`},
		{"message first", "msg type=1\n", "t:1: msg line without a directive"},
		{"output first", "----\nok\n", "t:1: output without a directive"},
		{"no form fits", "nfrule nflog threshold=1\n", "t:1: missing argument: expected group=N\n\tusage: nfrule nfqueue"},
		{"text without end", "nfrule nflog group=1 prefix=\"a b\n", `t:1: prefix="a: expected quotation marks around a text with spaces`},
		{"prefix", "route add 10.1.0.0/33 dev=lo\n", "t:1: 10.1.0.0/33: expected a prefix like 10.1.0.0/16"},
		{"address", "neigh add 10.1.0 dev=lo\n", "t:1: 10.1.0: expected an address like 10.1.0.1"},
		{"link-layer address", "link add d0 type=dummy address=02:00\n", "t:1: address=02:00: expected an address like 02:00:00:00:00:01"},
		{"second form", "filter a of\n", "t:1: unexpected argument \"of\"\n\tusage: filter FD return=N\n\tusage: filter FD off"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Parse("t", strings.NewReader(test.text))
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is\n%v\nwant in it\n%s", err, test.want)
			}
		})
	}
}

func TestParseWithoutOutputs(t *testing.T) {
	f, err := Parse("t", strings.NewReader("# a comment\nsocket a route\n\n\nsend a in=child\nmsg type=noop\nmsg type=1\n\n# end"))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Steps) != 2 || f.Steps[1].Line != 5 || len(f.Steps[1].msgs) != 32 || f.Steps[1].Recorded {
		t.Errorf("steps %+v", f.Steps)
	}
	if got := f.Steps[1].args.text("in", ""); got != "child" {
		t.Errorf("in=%q", got)
	}
	if len(f.Trailer) != 1 {
		t.Errorf("trailer %q", f.Trailer)
	}
}

func TestEveryExampleParses(t *testing.T) {
	for i := range directives {
		d := &directives[i]
		f, err := Parse("t", strings.NewReader(d.example))
		if err != nil {
			t.Errorf("%s: %v", d.example, err)
			continue
		}
		if f.Steps[0].form != d {
			t.Errorf("%q is an example of %q, not of %q", d.example, f.Steps[0].form.syntax.usage, d.syntax.usage)
		}
	}
	if err := Help(new(bytes.Buffer)); err != nil {
		t.Error(err)
	}
}

// recordings returns the paths of all recordings.
func recordings(t testing.TB) []string {
	paths, err := filepath.Glob("../testdata/kernels/*/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) == 0 {
		t.Skip("no recordings in testdata/kernels")
	}
	return paths
}

func TestFormatIsInverseOfParse(t *testing.T) {
	for _, path := range recordings(t) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := Parse(path, bytes.NewReader(text))
		if err != nil {
			t.Error(err)
			continue
		}
		var b bytes.Buffer
		if err := f.Format(&b); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(text, b.Bytes()) {
			t.Errorf("%s: Format gives other text than was parsed", path)
		}
		for _, s := range f.Steps {
			if !s.Recorded {
				t.Errorf("%s:%d: no output", path, s.Line)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("# c\nsocket a route\n----\nok\n\nsend a portid=1\nmsg type=noop flags=request,ack seq=1 hex=00\nraw bytes=3\n----\n16\n")
	f.Add(litmusFile)
	for i := range directives {
		f.Add(directives[i].example)
	}
	f.Fuzz(func(t *testing.T, text string) {
		file, err := Parse("t", strings.NewReader(text))
		if err != nil {
			return
		}
		first := format(t, file)
		again, err := Parse("t", strings.NewReader(first))
		if err != nil {
			t.Fatalf("own output does not parse: %v\n%q", err, first)
		}
		if second := format(t, again); second != first {
			t.Fatalf("formatting twice differs:\n%q\n%q", first, second)
		}
	})
}

func format(t *testing.T, f *File) string {
	var b strings.Builder
	if err := f.Format(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
