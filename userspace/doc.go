// Package userspace is what a program uses that speaks memory-mapped netlink: building and parsing messages, a reader
// and a writer of rings, and ready programs. It touches the kernel only through system calls and mapped memory, both
// of a sys.Task, so that whatever works here is a correct user of the modelled kernels, and runs on a real one.
//
// # Reading
//
// A Reader walks the RX ring in order and hands out frames. A Frame is a lease on ring memory:
//
//	for {
//		for f := range sock.RX.Frames() {
//			data, err := f.Bytes()
//			...
//		} // f is released here, unless it was skipped
//		if err := sock.RX.Err(); err != nil { ... }
//		if err := sock.RX.Wait(timeout); err != nil { ... }
//	}
//
// What the status of the frame at the reader's position means:
//
//	UNUSED, RESERVED   nothing yet: the iteration ends, Wait polls
//	VALID, length > 0  a message in the frame
//	VALID, length 0    the kernel gave up on a message: released, and counted
//	COPY               a message in the receive queue: received with recvmsg, once
//	SKIP               a frame that this reader keeps
//
// A poll is also what makes the kernel continue a dump, so a reader of dumps must Wait even when it could spin.
//
// # Writing
//
// A Writer fills TX frames in order and sends all that are committed with one Kick.
package userspace
