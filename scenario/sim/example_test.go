package sim_test

import (
	"fmt"
	"strings"

	"nlmmap/kernel"
	"nlmmap/scenario"
	"nlmmap/scenario/sim"
)

const text = `# An acknowledgement that is built in the ring.
socket a route

bind a portid=1000

ring a rx block_size=4096 block_nr=1 frame_size=1024 frame_nr=4

mmap a m

send a
msg type=noop flags=request,ack seq=1
----
16
rx[0] UNUSED->VALID len=36 group=0 pid=0 uid=0 gid=0
  error len=36 flags=0x0 seq=1 pid=1000 error=0 to=noop len=16 flags=0x5 seq=1 pid=0
`

// Run a scenario on a modelled kernel and print what its last step did.
func Example() {
	file, err := scenario.Parse("ack.txt", strings.NewReader(text))
	if err != nil {
		fmt.Println(err)
		return
	}
	machine, err := sim.New(sim.Config{Version: kernel.Version{Release: kernel.Linux4_4}})
	if err != nil {
		fmt.Println(err)
		return
	}
	outputs := scenario.Run(machine, file)
	fmt.Print(outputs[len(outputs)-1])
	if err := machine.Close(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// 16
	// rx[0] UNUSED->VALID len=36 group=0 pid=0 uid=0 gid=0
	//   error len=36 flags=0x0 seq=1 pid=1000 error=0 to=noop len=16 flags=0x5 seq=1 pid=0
}
