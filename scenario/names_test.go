package scenario

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckNames(t *testing.T) {
	tests := []struct{ text, want string }{
		{"socket a route\n\nrecv b\n", `x:3: no fd b here: no earlier step makes it`},
		{"socket sock route\n\nrecv sok\n", `x:3: no fd sok here: no earlier step makes it: did you mean "sock"?`},
		{"socket a route\n\nclose a\n\nrecv a\n", `x:5: no fd a here`},
		{"socket a route\n\nfork c\n\nsocket b route in=c\n\nrecv b\n", `x:7: no fd b here`},
		{"socket a route\n\nthread t\n\nsocket b route in=t\n\nrecv b\n", ``},
		{"socket a route\n\nfork c\n\nrecv a in=c\n", ``},
		{"fork c\n\nexit in=c\n\nsleep ms=1 in=c\n", `x:5: no task c here`},
		{"socket a route\n\nframes m rx\n", `x:3: no mapping m here`},
		{"socket a route\n\nmmap a m\n\nmunmap m\n\nframes m rx\n", ``}, // whether it is gone depends on the machine
		{"tapread t\n", `x:1: no tap t here`},
		{"socket a route\n\nsockpair p q\n\npassfd a over=r\n", `x:5: no fd r here`},
		{"socket a route\n\nmmap a m\n\nconsume m fd=b\n", `x:5: no fd b here`},
		{"socket a route\n\nsockpair p q\n\nfork c\n\nsocket b route\n\ntakefd q n like=b in=c\n\nrecv n in=c\n", ``},
		{"socket a route\n\nthread t\n\nlater w: recv a in=t\n\nrecv a in=t\n", `x:7: t waits in w until "join w"`},
		{"socket a route\n\nfork c\n\nlater w: recv a in=c\n\nexit in=c\n", `x:7: c waits in w until "join w"`},
		{"socket a route\n\nthread t\n\nlater w: recv a in=t\n\njoin w\n\nrecv a in=t\n", ``},
		{"socket a route\n\nthread t\n\nthread u\n\nlater w: recv a in=t\n\nlater w: recv a in=u\n", `x:9: w is there already`},
		{"join w\n", `x:1: no job w here`},
	}
	for _, test := range tests {
		f, err := Parse("x", strings.NewReader(test.text))
		if err != nil {
			t.Fatal(err)
		}
		err = f.CheckNames()
		if got := errorString(err); test.want == "" && err != nil || !strings.HasPrefix(got, test.want) {
			t.Errorf("%q:\ngot  %v\nwant %s", test.text, err, test.want)
		}
	}
}

func errorString(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestNamesOfRecordings: no recording has a name that nothing makes.
func TestNamesOfRecordings(t *testing.T) {
	files, err := filepath.Glob("../testdata/kernels/*/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	for _, path := range files {
		r, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := Parse(path, r)
		r.Close()
		if err != nil {
			t.Fatal(err)
		}
		if err := f.CheckNames(); err != nil {
			t.Error(err)
		}
	}
}

func TestNumbers(t *testing.T) {
	f, err := Parse("x", strings.NewReader("socket a route\n\nbind a portid=1000 groups=0x10\n\nsend a\nmsg type=noop seq=7\n"))
	if err != nil {
		t.Fatal(err)
	}
	got := f.Numbers()
	for _, n := range []int{1000, 16, 7} {
		if !got[n] {
			t.Errorf("%d is not among %v", n, got)
		}
	}
	if got[10] {
		t.Errorf("10 is among %v", got)
	}
}
