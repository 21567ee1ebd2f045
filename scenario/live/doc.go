// Package live runs scenarios on the kernel the program runs on, through real system calls.
//
// # Why tasks are processes without a program
//
// A scenario's tasks must be what the kernel takes for ordinary programs: a descriptor table of their own, since Linux
// 3.10 processes a transmit ring in place only if nobody else can see the file; mappings of their own, which the kernel
// counts; and a fork that copies both. A Go program can give none of that itself. Its threads share one descriptor
// table, and a forked copy of one thread has no runtime to live in.
//
// So the program controls its tasks the way a debugger does, with ptrace(2). New starts its own executable once more and
// stops it before the first instruction, so that this copy is a process with one thread, an empty descriptor table and
// no activity of its own. The code of its entry point is then overwritten with a few machine instructions:
//
//	syscall; int3              one system call
//	mov (%rdi),%eax; int3      load a word
//	mov %esi,(%rdi); int3      store a word
//	rep movsb; int3            copy bytes
//	a loop around rep movsb    copy bytes from several places
//	dec %rcx; jnz; syscall     one system call, some turns of a loop later (Race)
//
// To make a task do something, the registers are set, the task runs one of those lines, and the breakpoint at its end
// hands control back. A step of a scenario is therefore one system call made by the task's own process, nothing else
// happens in that process, and all kernels since 3.8 on x86-64 can do it. Arguments that are pointers point into a
// scratch, which is memory that the tracer and all tasks have mapped.
//
// This settles the rest without special cases. A fork is the task's own clone(2), after which the kernel hands the child
// to the tracer too: the same registers, the same scratch, a copy of the mappings and of the descriptors. A thread is
// a clone that shares them; it never runs unless it is asked to, which is what sleeping means here. An access that faults
// stops the task with the signal itself, so SIGSEGV and SIGBUS are told apart by the kernel. A call that does not return
// within its time is interrupted by a signal that the tracer swallows.
//
// # Calls at once
//
// Most calls are made one after the other: the tracer's thread waits for each. A task with a job (Target.Later, Race) makes
// its calls beside others: the thread starts one and turns to what else there is, and looks from time to time whether the
// task has stopped. So as many tasks can be inside the kernel as there are jobs, and on several processors they run at once.
//
// # The administrator
//
// The thread that traces is also the administrator. It enters a new network namespace before it starts the first task
// (unless Config.InitNet is set), so both live in the same one, and it adds devices, neighbours, routes and iptables
// rules and sends packets with sockets of the program, which it closes after each action: no task ever holds them.
//
// # What the caller has to know
//
// The caller needs the capabilities of root: CAP_SYS_ADMIN for the namespace, CAP_NET_ADMIN for the rest. /proc must be
// mounted. While a Target lives no other part of the program may call wait4(2) for any child (pid -1), which matters for
// a program that is process 1: it would take the stops of the tasks away.
package live

import "time"

// Config says how a Target is made.
type Config struct {
	// InitNet runs the scenario in the network namespace of the caller instead of a fresh one.
	InitNet bool
	// Avoid has numbers that no process of the scenario may have as its id, since the scenario uses them itself.
	Avoid map[int]bool
}

// blockLimit is how long a call may wait before it counts as one that waits for ever.
const blockLimit = 2 * time.Second
