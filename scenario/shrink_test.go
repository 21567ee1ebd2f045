package scenario_test

import (
	"strings"
	"testing"

	"nlmmap/scenario"
)

// TestShrink: what matters stays, with the steps that make its names and the header.
func TestShrink(t *testing.T) {
	f, err := scenario.Parse("long.txt", strings.NewReader(`# namespace: initial
sleep ms=1

socket a route

socket b route

sleep ms=2

send b
msg type=noop flags=request seq=1
msg type=noop flags=request,ack seq=2
msg type=noop flags=request seq=3

poll a

poll b

sleep ms=3
`))
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	small := scenario.Shrink(f, func(f *scenario.File) bool {
		asked++
		var text strings.Builder
		if err := f.Format(&text); err != nil {
			t.Fatal(err)
		}
		return f.InitNet() && strings.Contains(text.String(), "seq=2\n") && strings.Contains(text.String(), "poll b\n")
	})
	var text strings.Builder
	if err := small.Format(&text); err != nil {
		t.Fatal(err)
	}
	const want = `# namespace: initial
socket b route

send b
msg type=noop flags=request,ack seq=2

poll b
`
	if text.String() != want {
		t.Errorf("%s, want\n%s", text.String(), want)
	}
	if asked > 30 {
		t.Errorf("it asked %d times", asked)
	}
	if len(f.Steps) != 8 || len(f.Steps[4].Input) != 3 {
		t.Error("the file itself is changed")
	}
}
