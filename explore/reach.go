package explore

import (
	"runtime"
	"strings"
)

// within reports whether a function, with its package's name, is at work: whether it is on the stack of who has just come to
// a scheduling point.
func within(function string) bool {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for f, more := frames.Next(); more; f, more = frames.Next() {
		if f.Function[strings.LastIndexByte(f.Function, '/')+1:] == function {
			return true
		}
	}
	return false
}
