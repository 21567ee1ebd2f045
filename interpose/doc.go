// Package interpose runs real programs on a modelled kernel: their netlink sockets are the model's, and everything else is
// the kernel's underneath.
//
// # How
//
// A program starts with a seccomp filter that hands some of its system calls to a Supervisor, before they are made
// (SECCOMP_RET_USER_NOTIF). The filter is inherited: children, threads and what they execute come along. The supervisor
// looks whether a call concerns a netlink socket. If so the model makes it, in the name of a task that follows the
// program's thread (same process id, same ids and capabilities), and the program gets the model's answer. If not the kernel
// underneath goes on with it.
//
// In the program's descriptor table a netlink socket is one end of a UNIX socket pair, the placeholder. So the kernel
// underneath does what it always does with descriptors: fork, exec, dup, SCM_RIGHTS and close need no help, and when the
// last descriptor of a placeholder is closed, however that happens, the other end says so. The placeholder's inode number
// tells which socket a descriptor is.
//
// Ring memory is real: the model has the rings of a socket in a memfd (kernel.Config.Joined), which takes the placeholder's
// place for the moment in which a program maps it. A program reads and writes frames without the supervisor.
//
// The model has to know how many descriptors and mappings refer to a socket, as that decides how its TX ring is read (spec
// 8.4.1). Before such a call the supervisor compares /proc/PID/fd and /proc/PID/maps of all processes with what the model has.
//
// A network namespace is made, and entered, underneath; the model has one of its own for each (by its name in /proc/PID/ns/net).
//
// # Waiting
//
// A call that waits in the model waits in the supervisor, and the program's thread inside its system call. Where a wait is
// for descriptors of both kinds (poll, select, epoll) the supervisor waits on both sides, with copies of the descriptors. A
// signal that the thread would take ends the wait, and the kernel underneath restarts the call or reports EINTR, as it
// would.
package interpose
