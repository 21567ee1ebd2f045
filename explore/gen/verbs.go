package gen

import (
	"maps"
	"slices"

	"nlmmap/sys"
)

// Descriptors are numbers as programs see them: 3 and 4 are the sockets of most scenes.
var (
	fds    = []string{"3", "4", "5"}
	ports  = []string{"5", "6", "0"}
	groups = []string{"0", "1", "2"}
	frames = []string{"0", "1"}
	places = []string{"0", "1"}
)

// A verb is something that a task can do.
type verb struct {
	weight int        // how often it is drawn
	args   [][]string // what each argument can be
	do     func(m *machine, t sys.Task, args []string) string
}

// verbs is the grammar: every operation with its weight and its arguments.

var verbs = map[string]verb{
	// Sockets and their names.
	"socket":      {2, [][]string{{"route", "usersock", "netfilter", "generic", "diag"}}, (*machine).socket},
	"bind":        {8, [][]string{fds, ports, groups}, (*machine).bind},
	"connect":     {5, [][]string{fds, ports, groups}, (*machine).connect},
	"getsockname": {6, [][]string{fds}, (*machine).getsockname},
	"getpeername": {4, [][]string{fds}, (*machine).getpeername},
	"close":       {5, [][]string{fds}, (*machine).close},
	"dup":         {4, [][]string{fds}, (*machine).dup},
	"proc":        {1, nil, (*machine).proc},

	// Options.
	"set": {8, [][]string{fds, {"add-membership", "drop-membership", "no-enobufs", "broadcast-error", "pktinfo", "rcvbuf",
		"sndbuf", "filter", "no-filter", "passcred", "rcvtimeo"}, {"1", "2", "0"}}, (*machine).set},
	"get":  {5, [][]string{fds, {"error", "rcvbuf", "memberships", "no-enobufs", "broadcast-error", "pktinfo"}}, (*machine).get},
	"ring": {6, [][]string{fds, {"rx", "tx"}, {"0", "1", "2"}}, (*machine).ring},

	// Memory. Maps are at fixed addresses, so that all tasks know them.
	"mmap":     {5, [][]string{fds, places}, (*machine).mmap},
	"munmap":   {3, [][]string{places}, (*machine).munmap},
	"mprotect": {1, [][]string{places, {"r", "rw", "none"}}, (*machine).mprotect},
	"mremap":   {1, [][]string{places, {"1", "2"}}, (*machine).mremap},
	"status":   {6, [][]string{places, frames, {"unused", "valid", "copy", "skip", "reserved"}}, (*machine).status},
	"load":     {6, [][]string{places, frames, {"status", "len", "group", "pid", "uid", "gid"}}, (*machine).load},
	"read":     {3, [][]string{places, frames}, (*machine).read},
	"consume":  {8, [][]string{fds, places, frames}, (*machine).consume},
	"fill":     {4, [][]string{places, frames, messages}, (*machine).fill},

	// Messages.
	"send":       {12, [][]string{fds, messages}, (*machine).send},
	"sendto":     {6, [][]string{fds, ports, groups}, (*machine).sendto},
	"send-wait":  {2, [][]string{fds, ports, groups}, (*machine).sendWait},
	"kick":       {5, [][]string{fds}, (*machine).kick},
	"recv":       {8, [][]string{fds, {"dontwait", "peek", "wait"}}, (*machine).recv},
	"poll":       {6, [][]string{fds, {"in", "out", "err", "in+out"}, {"0", "10", "-1"}}, (*machine).poll},
	"epoll-ctl":  {2, [][]string{fds, {"add", "mod", "del", "add-et", "mod-et", "mod-none"}}, (*machine).epollCtl},
	"epoll-wait": {3, [][]string{{"0", "10", "-1"}}, (*machine).epollWait},

	// Processes.
	"fork":    {2, nil, (*machine).fork},
	"exit":    {1, nil, (*machine).exit},
	"send-fd": {1, [][]string{fds}, (*machine).sendFD},
	"recv-fd": {1, nil, (*machine).recvFD},

	// What the administrator and the network do; only in set-ups and softirqs.
	"neighbours": {0, [][]string{{"1", "40"}}, (*machine).neighbours},
	"rule":       {0, [][]string{{"queue", "log"}}, (*machine).rule},
	"packet":     {0, nil, (*machine).packet},
	"timer":      {0, nil, (*machine).timer},
	"neighbour":  {0, nil, (*machine).neighbour},
	"epoll":      {0, nil, (*machine).epoll},
	"socketpair": {0, nil, (*machine).socketpair},
	"flood":      {0, [][]string{fds, ports}, (*machine).flood},
}

// messages are what a program can say to the kernel.
var messages = []string{"noop", "dump-neigh", "bad", "dump-link", "dump-diag", "dump-family", "set-link", "queue-bind", "queue-unbind",
	"accept", "accept-all", "log-bind", "log-unbind", "short"}

// scenes are the situations in which programs begin; draw.step reads them.
var scenes = [][]string{
	{"socket route", "bind 3 5 0|1?", "socket route?", "bind 4 6 0|1?"},
	{"socket usersock", "bind 3 5 0|1?", "socket usersock", "bind 4 6|0 0|1?", "connect 4 5 0?", "set 3 rcvbuf 0?", "flood 4 5?"},
	{"socket route", "bind 3 5 0", "ring 3 rx 1|2", "mmap 3 0?", "status 0 0 skip?", "send 3 noop?"},
	{"socket usersock", "bind 3 5 0|1", "ring 3 rx 1|2", "socket usersock", "bind 4 6 0", "mmap 3 0?"},
	{"socket route", "bind 3 5 0", "ring 3 tx 1|2", "mmap 3 0", "fill 0 0 noop?", "fill 0 1 *?", "ring 3 rx 1?"},
	{"socket usersock", "bind 3 5 0", "ring 3 tx 1|2", "mmap 3 0", "fill 0 0 noop?", "socket usersock", "bind 4 6 0", "connect 3 6 0?"},
	{"socket route", "neighbours 1|40", "bind 3 5 0", "ring 3 rx 1|2?", "send 3 dump-neigh?"},
	{"socket netfilter", "bind 3 5 0", "rule queue|log", "packet", "ring 3 rx 1|2?", "mmap 3 0?", "send 3 queue-bind|log-bind", "packet?"},
	{"socket generic|diag|route", "bind 3 5 0", "socket generic|diag|usersock"},
	{"socket usersock", "bind 3 5 0|1", "socket usersock", "epoll", "epoll-ctl 3 add|add-et", "bind 4 6 0?", "ring 3 rx 1|2?", "mmap 3 0?"},
	{"socket usersock", "bind 3 5 1", "ring 3 rx 1|2?", "mmap 3 0?", "socket usersock", "bind 4 6 1", "set 3 rcvbuf 0?", "set 3 filter *?"},
	{"socket route", "bind 3 5 0", "ring 3 rx 1|2", "mmap 3 0", "socket route?", "bind 4 6 0?"},
	{"socket usersock", "bind 3 5 0", "socketpair", "send-fd 3?"},
}

var (
	weighted  = slices.Sorted(maps.Keys(verbs))
	weightSum = func() (sum int) {
		for _, v := range verbs {
			sum += v.weight
		}
		return sum
	}()
)
