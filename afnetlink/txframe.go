package afnetlink

import (
	"nlmmap/kernel"
	"nlmmap/ringmm"
)

// lenOnce and lenAgain are what a TX frame's length is each time that it is needed after it was checked: what it was
// then, or, with tx-len-reread, what the frame says by now.
func lenOnce(_ *kernel.Task, _ ringmm.Frame, checked uint32) uint32 { return checked }

func lenAgain(cur *kernel.Task, f ringmm.Frame, _ uint32) uint32 { return f.Len(cur) }
