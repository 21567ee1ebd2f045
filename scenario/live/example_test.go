package live_test

import (
	"fmt"

	"nlmmap/scenario/live"
)

// Say what can be recorded on the kernel underneath.
func ExampleSupported() {
	rings, why := live.Supported()
	if !rings {
		fmt.Println(why)
	}
}
