// Package measure takes the times of the same operations in turns: on the model, on the kernel that the program runs on,
// and as bare Go that does nothing but the ring's protocol.
//
// A Case is one operation on one way at one size. Run does all cases one round after the other, so that what disturbs the
// machine for a while disturbs all of them: what is compared are medians of rounds of one run. The first round of each is
// not counted.
//
// What is comparable:
//
//   - The same operation, of the same size, on the model and live: both are driven by the same loop (operation.go), on one
//     thread, and every call is what a Go program pays for it. On the live kernel that is a system call, in the model a
//     function call: a simulator has no border to cross.
//   - ring and recvmsg of the model: the same kernel code up to the place where the message goes.
//   - floor is the protocol of a ring between two functions, with the two copies that the model makes, into the frame and
//     out of it, and no kernel; memcpy is these two copies alone.
//
// What is not: absolute times of different runs, and the live kernel's rings, which no kernel has that is still maintained.
package measure
