//go:build linux && amd64

package live

import (
	"context"
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
