//go:build linux && amd64

package live

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"nlmmap/scenario"
)

// steps is a scenario without rings whose output is the same on every kernel.
const steps = `
# Tasks, descriptors and messages as a scenario sees them.
socket a route
----
ok

bind a portid=1000 groups=0x1
----
ok

getsockname a
----
portid=1000 groups=0x1

sockpair u v
----
ok

passfd a over=u
----
ok

fork child
----
ok

takefd v c like=a in=child
----
ok

send c in=child
msg type=noop flags=request seq=1
----
16

poll a
----
revents=out

socket d usersock
----
ok

bind d portid=2000
----
ok

setsockopt d passcred 1
----
ok

socket b usersock in=child
----
ok

bind b in=child
----
ok

getsockname b in=child
----
portid=child groups=0x0

send b portid=2000 in=child
msg type=100 seq=1 payload=4
----
20

poll d
----
revents=in,out

recv d
----
20 from=child groups=0x0 cred=child,0,0
  100 len=20 flags=0x0 seq=1 pid=0

recv a wait
----
blocks

cap drop net_admin
----
ok

setsockopt a rcvbufforce 100000
----
EPERM

close a
----
ok

exit in=child
----
ok
`

func TestScenario(t *testing.T) {
	newTarget(t) // skips where this cannot work
	f, err := scenario.Parse("steps", strings.NewReader(steps))
	check(t, err)
	r := scenario.Verify(context.Background(), func() (scenario.Target, error) { return New(Config{}) }, f)
	if !r.OK() {
		t.Errorf("%d of %d steps agree: %s\n%v", r.Agreed, r.Steps, r.Failure, r.First)
	}
}

// TestRace: both orders of two calls are seen, and nothing else; a thread that nobody wakes blocks.
func TestRace(t *testing.T) {
	newTarget(t) // skips where there is none
	for _, test := range []struct {
		text string
		runs int
		want []string
	}{
		{"socket a route\n\nparallel\nthread p\n  bind a portid=5\nthread q\n  bind a portid=6\n\ngetsockname a\n", 300,
			[]string{"p: EINVAL; q: ok; portid=6 groups=0x0", "p: ok; q: EINVAL; portid=5 groups=0x0", "p: EBUSY; q: ok; portid=6 groups=0x0", "p: ok; q: EBUSY; portid=5 groups=0x0"}},
		{"socket a route\n\nparallel\nthread p\n  recv a wait\n  getsockname a\nthread q\n  getsockname a\n", 3,
			[]string{"p: blocks, blocks; q: portid=0 groups=0x0"}},
		{"socket a route\n\nfork c\n\nparallel\nthread p of=c\n  exit\nthread q of=c\n  getsockname a\n  getsockname a\n", 100,
			[]string{"p: ok; q: no such task q, no such task q", "p: ok; q: portid=0 groups=0x0, no such task q",
				"p: ok; q: portid=0 groups=0x0, portid=0 groups=0x0"}},
	} {
		f, err := scenario.Parse("t", strings.NewReader(test.text))
		check(t, err)
		random := rand.New(rand.NewPCG(1, 1))
		seen := map[string]int{}
		for range test.runs {
			outcome, err := Race(Config{}, f, random)
			check(t, err)
			seen[outcome]++
		}
		for outcome := range seen {
			if !slices.Contains(test.want, outcome) {
				t.Errorf("%s was seen", outcome)
			}
		}
		t.Log(seen)
	}
}
