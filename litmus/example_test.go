package litmus_test

import (
	"context"
	"fmt"
	"strings"

	"nlmmap/explore"
	"nlmmap/kernel"
	"nlmmap/litmus"
	"nlmmap/scenario"
)

const twoReaders = `socket a usersock

bind a portid=5

send a portid=5
msg type=100

parallel
thread p
  recv a
thread q
  recv a
`

// Two threads receive, and there is one message.
func Example() {
	f, err := scenario.Parse("two-readers.txt", strings.NewReader(twoReaders))
	if err != nil {
		fmt.Println(err)
		return
	}
	set := explore.Outcomes(context.Background(), litmus.Program(f), explore.Options{Version: kernel.Version{Release: kernel.Linux4_4}})
	for _, o := range set.Outcomes {
		fmt.Println(o)
	}
	fmt.Println("complete:", set.Exhausted)
	// Output:
	// p: 16 from=5 groups=0x0 / 100 len=16 flags=0x0 seq=0 pid=0; q: EAGAIN
	// p: EAGAIN; q: 16 from=5 groups=0x0 / 100 len=16 flags=0x0 seq=0 pid=0
	// complete: true
}
