package gen_test

import (
	"context"
	"fmt"
	"testing"

	"nlmmap/explore"
	"nlmmap/explore/gen"
)

// TestText: what String writes Parse reads.
func TestText(t *testing.T) {
	for seed := range uint64(300) {
		p := gen.New(seed, gen.Config{})
		back, err := gen.Parse(p.String())
		if err != nil || back.String() != p.String() {
			t.Fatalf("seed %d: %v\n%v\nread back:\n%v", seed, err, p, back)
		}
	}
	for _, bad := range []string{"main\n  fly 3\n", "main\n  close\n", "main\n  close 99\n", "  close 3\n", "nobody\n", "thread\n  exit\n"} {
		if p, err := gen.Parse(bad); err == nil {
			t.Errorf("%q reads as\n%v", bad, p)
		}
	}
}

func ExampleProgram() {
	p, err := gen.Parse(`
setup
  socket usersock
  bind 3 5 0
main
  recv 3 dontwait
thread
  bind 3 6 0
`)
	if err != nil {
		panic(err)
	}
	set := explore.Outcomes(context.Background(), p.Explore(), explore.Options{})
	fmt.Println("all schedules:", set.Exhausted)
	for _, o := range set.Outcomes {
		fmt.Println(o)
	}
	// Output:
	// all schedules: true
	// main: EAGAIN; thread: EINVAL; end 3: 5/0x0 0/0x0 00000000 ENOPROTOOPT 00400300 EAGAIN
}
