package defects_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"nlmmap/defects"
	"nlmmap/kernel"
	"nlmmap/scenario"
	"nlmmap/scenario/sim"
)

// TestSight: what a real kernel prints in the step that decides is the defect, or what others print, or neither.
func TestSight(t *testing.T) {
	list, err := defects.All()
	if err != nil {
		t.Fatal(err)
	}
	boot := func(v kernel.Version, initNet bool, report func(string)) (scenario.Target, error) {
		return sim.New(sim.Config{Version: v, InitNet: initNet, Heap: true})
	}
	const oops = "oops: BUG: unable to handle kernel NULL pointer dereference at 0000000000000149, in netlink_getsockbyportid\n"
	tests := []struct {
		defect string
		on     kernel.Release
		find   string // in the directive of the step that is changed
		output string // what the real kernel prints there; empty for what the model does
		want   string
		agrees bool
	}{
		{"nfnl-batch-null-sk", kernel.Linux4_4, "send a", oops, defects.ShownThere, true},
		{"nfnl-batch-null-sk", kernel.Linux4_4, "send a", "20\n", defects.AbsentThere, false},
		{"nfnl-batch-null-sk", kernel.Linux4_4, "send a", "EPERM\n", defects.Differs, false},
		{"nfnl-batch-null-sk", kernel.Linux4_5, "", "", defects.AbsentThere, true},
		{"nfnl-batch-null-sk", kernel.Linux4_5, "send a", oops, defects.ShownThere, false},
		{"diag-mutex-atomic", kernel.Linux4_5, "kick a", "hangs\n", defects.ShownThere, true},
		{"valid-len-zero", kernel.Linux4_5, "", "", defects.ShownThere, true},
		{"nfq-frag-overflow", kernel.Linux3_10, "packet", "this can exist on the simulator only\n", defects.NotRun, true},
	}
	for _, test := range tests {
		d, err := list.Find(test.defect)
		if err != nil {
			t.Fatal(err)
		}
		model := d.Play(context.Background(), boot, "model", kernel.Version{Release: test.on})
		var outputs []string
		for _, s := range model.File.Steps {
			if test.find != "" && strings.HasPrefix(s.Directive, test.find) {
				s.Output = test.output
			}
			outputs = append(outputs, s.Output)
		}
		got := d.Sight(d.Played("real", outputs), model)
		if got.Found != test.want || got.Agrees() != test.agrees {
			t.Errorf("%s with %q: %+v, want %s", test.defect, test.output, got, test.want)
		}
	}
}

// TestWriteSightings: the lines of a console stand below the defect, and few of them.
func TestWriteSightings(t *testing.T) {
	var b strings.Builder
	err := defects.WriteSightings(&b, []defects.Sighting{
		{Name: "one", Found: defects.ShownThere, Model: defects.ShownThere, Seen: "send a: oops", Console: slices.Repeat([]string{"BUG"}, 9)},
		{Name: "another", Found: defects.Differs, Model: defects.AbsentThere, Seen: "recv a: 1"},
	})
	const want = `one      shown    send a: oops
    BUG
    BUG
another  differs  recv a: 1 (the model: absent)
`
	if err != nil || b.String() != want {
		t.Errorf("%v, printed\n%swant\n%s", err, &b, want)
	}
}
