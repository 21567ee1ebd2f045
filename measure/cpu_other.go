//go:build !linux

package measure

import "time"

// cpuTime is not known.
func cpuTime() time.Duration { return 0 }
