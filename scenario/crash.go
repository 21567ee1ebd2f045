package scenario

import "strings"

// Outputs of steps during which a real kernel died. Crashed is followed by what the kernel wrote: "oops: BUG: unable to
// handle kernel NULL pointer dereference at 0000000000000010, in netlink_dump".
const (
	Crashed = "oops: "
	Hangs   = "hangs"
	Resets  = "resets"  // the machine restarted without a word
	NotRun  = "not run" // it died in an earlier step
)

// modelCrashed is how a model's output tells that a real kernel would have crashed.
const modelCrashed = "the process was killed: OOPS "

// Died reports whether an output tells of a kernel that crashed, a real one or a model. What they say about it differs:
// the one what it touched, the other why.
func Died(output string) bool {
	return strings.HasPrefix(output, Crashed) || strings.HasPrefix(output, modelCrashed)
}
