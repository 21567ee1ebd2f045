package scenario_test

import (
	"context"
	"fmt"
	"strings"

	"nlmmap/kernel"
	"nlmmap/scenario"
	"nlmmap/scenario/sim"
)

const recorded = `socket a usersock
----
ok

bind a portid=1000
----
ok

send a portid=2000
msg type=100 seq=1
----
16
`

// Compare a recording with a model: nobody has portid 2000.
func ExampleVerify() {
	file, err := scenario.Parse("send.txt", strings.NewReader(recorded))
	if err != nil {
		fmt.Println(err)
		return
	}
	result := scenario.Verify(context.Background(), func() (scenario.Target, error) {
		return sim.New(sim.Config{Version: kernel.Version{Release: kernel.Linux4_4}})
	}, file)
	fmt.Println(result.Agreed, "of", result.Steps, "steps agree")
	fmt.Printf("%s:%d:\n%v", result.Name, result.First.Line, result.First)
	// Output:
	// 2 of 3 steps agree
	// send.txt:9:
	// send a portid=2000
	// - 16
	// + ECONNREFUSED
}

// Errors of the parser say where and what.
func ExampleParse() {
	_, err := scenario.Parse("my.txt", strings.NewReader("socket a route\n\nbnd a portid=1\n"))
	fmt.Println(err)
	// Output:
	// my.txt:3: unknown directive "bnd": did you mean "bind"?
}
