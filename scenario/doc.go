// Package scenario is the language of the recordings: text files that drive tasks, netlink sockets and rings one step
// at a time and show what the kernel did.
//
// Parse reads a file and checks all of it. A Runner executes its steps on a Target and prints what each did; Verify
// compares that with what the file has recorded. The same file runs on every Target, so that the simulator and a real
// kernel can be compared line by line.
//
// A step is a directive line, message lines for some directives, "----", the output and an empty line:
//
//	send a
//	msg type=noop flags=request,ack seq=1
//	----
//	16
//	rx[0] UNUSED->VALID len=36 group=0 pid=0 uid=0 gid=0
//	  error len=36 flags=0x0 seq=1 pid=1000 error=0 to=noop len=16 flags=0x5 seq=1 pid=0
//
// A comment "# namespace: initial" above the first step makes it run in the initial network namespace; see File.InitNet.
//
// Beyond what the recordings use there are extensions: packets with page fragments, time stamps or an input device
// (packet linear=, stamped, received; simulator only), the socket options listen_all_nsid, list_memberships and cap_ack,
// and stat raw.
//
// The directives are in one table, in the files directives_*.go by family; Help prints it.
package scenario
