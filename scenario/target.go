package scenario

import "nlmmap/sys"

// A Target is a machine that scenarios run on: the simulator or the live kernel. One Target serves one scenario.
type Target interface {
	// Main returns the task that exists from the start.
	Main() sys.Task
	// Sleep lets the given time pass; with 0 kernel threads run that have something to do.
	Sleep(ms int) error
	// PopulateNeigh and PopulateRoute are what the administrator does: count permanent IPv4 neighbours, or count
	// link-scope routes, on a dummy device made for it.
	PopulateNeigh(count int) error
	PopulateRoute(count int) error
	// Sysctl sets what /proc/sys has under a key with dots: ENOENT for one that there is not.
	Sysctl(key string, value int64) error
	// NFQueueRule, NFLogRule and FlushRules change the rules for UDP packets to port 9 on the output path.
	NFQueueRule(num int, bypass bool) error
	NFLogRule(group, threshold int, prefix string) error
	FlushRules() error
	// Packet sends UDP datagrams from 127.0.0.1:4000 to 127.0.0.1:9.
	Packet(p Datagrams) (sent, failed int, err error)
	// Tap makes an nlmon device with a packet socket on it.
	Tap() (Tap, error)
	// Netlink returns the text of /proc/net/netlink as the main task reads it.
	Netlink() (string, error)
	// Later lets fn begin, which makes calls of t and of no other task, beside what others do from then on. It returns when
	// fn has come to its end, or a call of it sleeps; fn goes on in the methods of the Job, and not else.
	Later(t sys.Task, fn func()) (Job, error)
	// Close ends all tasks. On the simulator its error tells what leaked.
	Close() error
}

// A Job is a function that runs beside others.
type Job interface {
	// Settle lets it go on as far as it can, to its end or until it sleeps, and reports which.
	Settle() (ended bool)
	// Join waits for its end. A call that would wait for ever is interrupted: it reports sys.ErrBlocks.
	Join()
}

// Datagrams are what Target.Packet sends.
type Datagrams struct {
	Count int
	Size  int // of the payload
	// What follows only a driver can do, so it exists on the simulator only.
	Fragmented bool // only Linear bytes of a packet, headers included, lie in one piece, the rest in page fragments
	Linear     int
	Stamped    bool // the packets have a time stamp
	Received   bool // they seem to have come in over lo
}

// A Tap is a packet socket on an nlmon device.
type Tap interface {
	// Read returns the next packet, or false when there is none.
	Read() (Packet, bool, error)
}

// A Packet is what a Tap reads.
type Packet struct {
	Type     int    // sll_pkttype: 4 outgoing, 6 to-user, 7 to-kernel
	Protocol int    // netlink protocol
	Len      int    // as MSG_TRUNC reports it
	Data     []byte // at most 4096 bytes of it
}
