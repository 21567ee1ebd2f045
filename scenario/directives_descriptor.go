package scenario

import (
	"fmt"

	"nlmmap/sys"
	"nlmmap/uapi"
)

var descriptorDirectives = []form{
	{
		syntax:  compile("socket FD PROTO [type=raw|dgram|stream]"),
		help:    "opens a netlink socket (type raw if not given)",
		example: "socket a route",
		run:     openSocket,
	},
	{
		syntax:  compile("close FD"),
		help:    "closes a descriptor",
		example: "close a",
		run:     closeFD,
	},
	{
		syntax:  compile("dup FD NEW"),
		help:    "duplicates a descriptor",
		example: "dup a a2",
		run:     dup,
	},
	{
		syntax:  compile("sockpair A B"),
		help:    "a UNIX datagram pair",
		example: "sockpair u v",
		run:     sockpair,
	},
	{
		syntax:  compile("passfd FD over=A"),
		help:    "sends a descriptor over the pair (SCM_RIGHTS)",
		example: "passfd a over=u",
		run:     passFD,
	},
	{
		syntax:  compile("takefd B NEW like=FD"),
		help:    "receives a descriptor; like= names a descriptor of the same socket",
		example: "takefd v a3 like=a",
		run:     takeFD,
	},
	{
		syntax:  compile("epoll EP"),
		help:    "makes an epoll descriptor",
		example: "epoll e",
		run:     epoll,
	},
	{
		syntax:  compile("epoll_add EP FD [events=EVENTS] [et]"),
		help:    "adds a descriptor (events in if not given), edge-triggered with et",
		example: "epoll_add e a events=in et",
		run:     epollAdd,
	},
	{
		syntax:  compile("epoll_wait EP [timeout=MS]"),
		help:    "prints revents= or none",
		example: "epoll_wait e timeout=20",
		waits:   true,
		run:     epollWait,
	},
}

func openSocket(c *call) (string, error) {
	types := map[string]int{"raw": uapi.SockRaw, "dgram": uapi.SockDgram, "stream": uapi.SockStream}
	protocol := int(c.args.num(1))
	fd, err := c.task.Socket(uapi.AFNetlink, types[c.args.text("type", "raw")], protocol)
	if err == nil {
		c.task.fds[c.args.word(0)] = descriptor{fd, &socket{protocol: protocol}}
	}
	return ok(err)
}

func closeFD(c *call) (string, error) {
	name := c.args.word(0)
	d, err := c.task.fd(name)
	if err != nil {
		return "", err
	}
	delete(c.task.fds, name) // also an error leaves the descriptor closed
	return ok(c.task.Close(d.fd))
}

func dup(c *call) (string, error) {
	d, err := c.task.fd(c.args.word(0))
	if err != nil {
		return "", err
	}
	fd, err := c.task.Dup(d.fd)
	if err == nil {
		c.task.fds[c.args.word(1)] = descriptor{fd, d.sock}
	}
	return ok(err)
}

func sockpair(c *call) (string, error) {
	a, b, err := c.task.Socketpair()
	if err == nil {
		c.task.fds[c.args.word(0)] = descriptor{fd: a}
		c.task.fds[c.args.word(1)] = descriptor{fd: b}
	}
	return ok(err)
}

func passFD(c *call) (string, error) {
	d, err := c.task.fd(c.args.word(0))
	if err != nil {
		return "", err
	}
	over, err := c.task.fd(c.args.text("over", ""))
	if err != nil {
		return "", err
	}
	return ok(c.task.SendFD(over.fd, d.fd))
}

func takeFD(c *call) (string, error) {
	over, err := c.task.fd(c.args.word(0))
	if err != nil {
		return "", err
	}
	like, err := c.anyFD(c.args.text("like", ""))
	if err != nil {
		return "", err
	}
	fd, err := c.task.RecvFD(over.fd)
	if err == nil {
		c.task.fds[c.args.word(1)] = descriptor{fd, like.sock}
	}
	return ok(err)
}

// anyFD looks a descriptor up in the task, or else in main, which may have sent it.
func (c *call) anyFD(name string) (descriptor, error) {
	if d, ok := c.task.fds[name]; ok {
		return d, nil
	}
	if d, ok := c.main.fds[name]; ok {
		return d, nil
	}
	return descriptor{}, noSuch("fd", name)
}

func epoll(c *call) (string, error) {
	fd, err := c.task.EpollCreate()
	if err == nil {
		c.task.fds[c.args.word(0)] = descriptor{fd: fd}
	}
	return ok(err)
}

func epollAdd(c *call) (string, error) {
	ep, err := c.task.fd(c.args.word(0))
	if err != nil {
		return "", err
	}
	d, err := c.task.fd(c.args.word(1))
	if err != nil {
		return "", err
	}
	events := uint32(c.args.get("events", uapi.PollIn))
	if c.args.has("et") {
		events |= uapi.EpollET
	}
	return ok(c.task.EpollCtl(ep.fd, sys.EpollAdd, d.fd, events))
}

func epollWait(c *call) (string, error) {
	ep, err := c.task.fd(c.args.word(0))
	if err != nil {
		return "", err
	}
	events, err := c.task.EpollWait(ep.fd, 1, c.args.timeout())
	if err != nil {
		return "", err
	}
	if len(events) == 0 {
		return "none", nil
	}
	return fmt.Sprintf("revents=%s", revents(events[0].Events)), nil
}
