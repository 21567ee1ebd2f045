package explore_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"nlmmap/explore"
	"nlmmap/kernel"
	"nlmmap/kernel/mm"
)

func TestTry(t *testing.T) {
	f := strings.Fields(os.Getenv("TRY"))
	if len(f) == 0 {
		t.Skip()
	}
	p, _ := explore.Lookup(f[0])
	v, _ := kernel.ParseVersion(f[1])
	m := mm.SC
	if f[2] == "weak" {
		m = mm.Weak
	}
	if f[2] == "tso" {
		m = mm.TSO
	}
	r := explore.Explore(context.Background(), p, explore.Options{Version: v, Memory: m, Time: 10 * time.Second, Only: f[3:]})
	t.Log(r)
	if r.Failure != nil {
		r.Failure.Print(os.Stdout)
	}
}
