// Package guest boots a kernel image in QEMU, with a program of the caller's as process 1, and carries messages between
// the two.
//
//	       the host                                      the guest
//
//	Start ─ QEMU ── the image, an initramfs ──▶  kernel, then process 1: Main
//	Machine.Send, Receive  ◀── second serial line ──▶  Line.Send, Receive
//	Machine.Console        ◀── first serial line ────  messages of the kernel
//
// The initramfs is made in memory: the program, the nodes of a few devices, and the caller's files. Messages are lines of
// JSON behind a checksum, on a serial line that the kernel does not write to, so they are never mixed with its own
// messages. What ends a machine is a value like any other: Receive returns a *Death, which tells from the console whether
// the kernel crashed, and where.
//
// Nothing is left behind: QEMU is killed by Close, and by the host's kernel if this program dies.
package guest
