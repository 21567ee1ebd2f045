package sys

import (
	"fmt"
	"math"
)

// Time is a point in, or a length of, a task's time, in nanoseconds.
type Time int64

// Lengths of time. Forever is later than everything.
const (
	Millisecond Time = 1e6
	Second      Time = 1e9
	Forever     Time = math.MaxInt64
)

func (t Time) String() string { return fmt.Sprintf("%d.%06ds", t/Second, t%Second/1000) }
