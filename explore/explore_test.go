package explore_test

import (
	"context"
	"os"
	"testing"
	"time"

	"nlmmap/explore"
	"nlmmap/kernel"
	"nlmmap/kernel/mm"
)

func TestTry(t *testing.T) {
	for _, p := range explore.Programs() {
		for _, v := range []kernel.Release{kernel.Linux3_10, kernel.Linux4_5} {
			for _, m := range []mm.Model{mm.SC, mm.Weak} {
				r := explore.Explore(context.Background(), p, explore.Options{Version: kernel.Version{Release: v}, Memory: m, Time: 2 * time.Second, KeepGoing: os.Getenv("FIRST") == ""})
				t.Log(p.Name, v, m, r, r.Violations)
				if r.Failure != nil {
					r.Failure.Print(os.Stdout)
				}
			}
		}
	}
}
