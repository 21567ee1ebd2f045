package explore

import (
	"fmt"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"nlmmap/kernel/sched"
)

// catch ends a run in which something panics; defer it. A panic of the model violates "panic". One of the program is the
// program's: an assertion that failed, with the line where it happened.
func (w *World) catch(who string) {
	p := recover()
	if _, ok := p.(givesUp); ok {
		w.gaveUp = true
		return
	}
	switch {
	case p == nil:
	case sched.IsAbandoned(p):
		panic(p) // the run is over: the thread's stack unwinds
	case w.crashed:
		// What others do when the run is cut short follows from the first panic.
	default:
		w.crashed = true
		if place, model := panicPlace(); model {
			w.found("panic", "%v in %s\n%s", p, who, debug.Stack())
		} else {
			w.found("assertion", "%s panics at %s: %v", who, place, p)
		}
	}
}

// givesUp ends a task of a program that a mishap has left without what it needs.
type givesUp struct{}

// safely calls a function of the program outside of its tasks.
func (w *World) safely(who string, fn func()) {
	defer w.catch(who)
	fn()
}

// panicPlace is the line that has panicked, for a function that was deferred and has recovered. model reports whether it
// is one of the model and not of a program.
func panicPlace() (place string, model bool) {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs[:])])
	for panicked := false; ; {
		f, more := frames.Next()
		switch {
		case f.Function == "runtime.gopanic":
			panicked = true
		case panicked && !strings.HasPrefix(f.Function, "runtime."):
			return fmt.Sprintf("%s:%d", filepath.Base(f.File), f.Line), ofModel(f.Function)
		}
		if !more {
			return "an unknown place", true
		}
	}
}

// ofModel reports whether a function is one of the kernel's side.
func ofModel(function string) bool {
	for _, pkg := range []string{"kernel", "afnetlink", "ringmm", "sock", "skb", "subsys", "invariant", "uapi"} {
		if strings.HasPrefix(function, "nlmmap/"+pkg+".") || strings.HasPrefix(function, "nlmmap/"+pkg+"/") {
			return true
		}
	}
	return false
}

// patience is how much longer than its budget a search may take before one of its steps is taken to be endless.
const patience = 15 * time.Second

// bounded returns what search returns, or an error with the stack where it hangs: a task that loops without ever coming to a
// scheduling point cannot be stopped.
func bounded(limit time.Duration, search func() Result) Result {
	var res Result
	var failed any
	ended, returned := make(chan struct{}), false
	go func() {
		defer close(ended)
		defer func() { failed = recover() }()
		res = search()
		returned = true
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
		return Result{Err: fmt.Errorf("a step does not end, %v after its search began: a loop that makes no system call and looks at no ring memory\n%s",
			limit, worldStacks())}
	}
	switch {
	case failed != nil:
		panic(failed)
	case !returned:
		runtime.Goexit() // a task has ended its test
	}
	return res
}

// worldStacks are the stacks of all goroutines that run a world.
func worldStacks() string {
	buf := make([]byte, 1<<20)
	var list []string
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(stack, "explore.(*World).Go") {
			list = append(list, stack)
		}
	}
	return strings.Join(list, "\n\n")
}
