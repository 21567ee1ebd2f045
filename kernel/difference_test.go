package kernel_test

import (
	"strings"
	"testing"

	"nlmmap/kernel"
)

// TestDifference: what each kind of value takes and refuses, and where it is stored.
func TestDifference(t *testing.T) {
	var on bool
	var size, mode int
	table := []kernel.Difference{
		{Name: "switch", Value: kernel.Switch(&on, kernel.Since(kernel.Linux4_4))},
		{Name: "size", Value: kernel.Number(&size, 10, 99, [...]int{20, 20, 30, 30, 30})},
		{Name: "mode", Value: kernel.Choice(&mode, []string{"none", "some"}, [...]int{0, 1, 1, 1, 1})},
		{Name: "known", Value: kernel.Known(kernel.Only(kernel.Linux4_1))},
	}
	for _, test := range []struct {
		release kernel.Release
		set     string
		on      bool
		size    int
		mode    int
		err     string
	}{
		{release: kernel.Linux3_10, size: 20},
		{release: kernel.Linux4_4, on: true, size: 30, mode: 1},
		{release: kernel.Linux4_4, set: "switch=off", size: 30, mode: 1},
		{release: kernel.Linux3_10, set: "size=99", size: 99},
		{release: kernel.Linux3_10, set: "mode=some", size: 20, mode: 1},
		{set: "size=100", err: `size has no value "100": it is a number from 10 to 99`},
		{set: "size=x", err: `size has no value "x"`},
		{set: "switch=1", err: `switch has no value "1": it has off, on`},
		{set: "known=on", err: "known cannot be set"},
	} {
		v := kernel.Version{Release: test.release}
		if name, value, ok := strings.Cut(test.set, "="); ok {
			v.Set = map[string]string{name: value}
		}
		on, size, mode = false, 0, 0
		err := v.Resolve(table)
		switch {
		case test.err != "":
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%s: %v, want %s", test.set, err, test.err)
			}
		case err != nil || on != test.on || size != test.size || mode != test.mode:
			t.Errorf("%v: %v %d %d, %v", v, on, size, mode, err)
		}
	}
	if in := table[3].In(kernel.Linux4_1); in != "on" {
		t.Errorf("what is only known is %s where it is", in)
	}
}
