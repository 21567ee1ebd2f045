package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"nlmmap/kernel"
	"nlmmap/scenario"
	"nlmmap/scenario/boot"
	"nlmmap/scenario/live"
	"nlmmap/scenario/sim"
)

// onModel are machines whose real kernel is a model, too.
func onModel(release string, v kernel.Version) machines {
	m := simulator()
	m.live = liveKernel{
		describe: func() boot.Kernel { return boot.Kernel{Release: release, Rings: true} },
		boot: func(c live.Config) (scenario.Target, error) {
			return sim.New(sim.Config{Version: v, InitNet: c.InitNet, Heap: true})
		},
	}
	return m
}

// TestVerifyRandom: a kernel that is the model agrees with it; of one that is not each kind of disagreement comes down to
// few steps.
func TestVerifyRandom(t *testing.T) {
	verify := func(v kernel.Version) (text string, code int) {
		var out, errs bytes.Buffer
		e := env{stdout: &out, stderr: &errs, machines: onModel("4.4.1", v)}
		code = dispatch(context.Background(), e, []string{"verify", "--live", "--random", "4000"})
		return out.String() + errs.String(), code
	}
	text, code := verify(kernel.Version{Release: kernel.Linux4_4})
	if code != exitOK || !strings.Contains(text, "(100.00 %)") {
		t.Errorf("the model disagrees with itself: %d\n%s", code, text)
	}
	text, code = verify(kernel.Version{Release: kernel.Linux4_4, Set: map[string]string{"tx-path-dead": "on"}})
	if code != exitDisagree {
		t.Fatalf("exit code %d\n%s", code, text)
	}
	const report = "in its last step (- the model, + the kernel):\n    kick "
	first, _, found := strings.Cut(text, report)
	if !found {
		t.Fatalf("no kick differs:\n%s", text)
	}
	if n := strings.Count(first, "----"); n > 8 {
		t.Errorf("%d steps before the first disagreement is shown", n)
	}
}

// TestDamage: what a defect does to memory that every process sees is noticed, so that no other scenario runs afterwards.
func TestDamage(t *testing.T) {
	const text = "socket a route\n\nring a rx block_size=4096 block_nr=1 frame_size=1024 frame_nr=4\n\nmmap a m\n\n" +
		"madvise m dontneed\n\nframes m rx\n\nset m rx 0 status=valid\n"
	f, err := scenario.Parse("damage.txt", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for release, damage := range map[kernel.Release]bool{kernel.Linux3_10: true, kernel.Linux4_4: false} {
		s := env{machines: simulator()}.listen(context.Background(), kernel.Version{Release: release}, f)
		if s.damage != damage || s.failure != "" {
			t.Errorf("%v: damaged %t %s", release, s.damage, s.failure)
		}
	}
}
