package identify_test

import (
	"context"
	"fmt"
	"strings"

	"nlmmap/identify"
	"nlmmap/scenario"
)

// One recording of two steps tells a little: that the ring's size is checked as in all releases.
func Example() {
	f, err := scenario.Parse("my.txt", strings.NewReader(`socket a route
----
ok

ring a rx block_size=100 block_nr=1 frame_size=100 frame_nr=1
----
EINVAL
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := identify.Identify(context.Background(), identify.Config{Recordings: []*scenario.File{f}, Called: "4.1.18"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Kernel, r.Exact(), r.AlsoFits)
	// Output: 4.1.18 true [3.10.4 3.19.8 4.4.1 4.5.7]
}
