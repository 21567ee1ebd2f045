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

// What a model prints in such a step: that a real kernel would have crashed, or that the task waits for ever.
const (
	modelCrashed = "the process was killed: OOPS "
	modelWaits   = "blocks"
)

// SameDeath reports whether two outputs tell of the same end of a kernel, one real and the other perhaps a model. What they
// say about a crash differs: the one what it touched, the other why. A call that waits for ever and cannot be interrupted
// is a guest that hangs.
func SameDeath(a, b string) bool {
	hangs := func(output string) bool { return output == Hangs+"\n" }
	waits := func(output string) bool { return strings.HasPrefix(output, modelWaits+"\n") }
	return crashed(a) && crashed(b) || hangs(a) && waits(b) || waits(a) && hangs(b)
}

// crashed reports whether an output tells of a kernel that crashed, a real one or a model.
func crashed(output string) bool {
	return strings.HasPrefix(output, Crashed) || strings.HasPrefix(output, modelCrashed)
}
