package scenario

import (
	"encoding/binary"
	"fmt"
	"strings"

	"nlmmap/sys"
	"nlmmap/uapi"
)

var trafficDirectives = []form{
	{
		syntax: compile("send FD [portid=N] [groups=N] [wait] [noaddr] [oob] [size=BYTES] [family=N] [addrlen=N] " +
			"[null_first]"),
		help:     "sendto with a buffer, MSG_DONTWAIT unless wait; prints the bytes sent. null_first sends two buffers, the first NULL",
		example:  "send a portid=2000",
		messages: true,
		waits:    true,
		run:      send,
	},
	{
		syntax:  compile("kick FD [portid=N] [groups=N] [wait] [noaddr] [oob] [size=BYTES] [family=N] [addrlen=N]"),
		help:    "send with a NULL buffer of length 0, or of size=: processes the TX ring",
		example: "kick a",
		waits:   true,
		run:     kick,
	},
	{
		syntax: compile("recv FD [size=BYTES] [peek] [trunc] [oob] [wait] [attrs] [hex] [all]"),
		help: "recvmsg (size 8192); prints BYTES from= groups=, then the messages, on a route socket with attrs also their " +
			"attributes, with hex their bytes; with all until there is nothing more",
		example: "recv a size=50 trunc",
		waits:   true,
		run:     recv,
	},
	{
		syntax:  compile("poll FD [events=EVENTS] [timeout=MS]"),
		help:    "polls (in,out at once) and prints revents=",
		example: "poll a events=in timeout=50",
		waits:   true,
		run:     poll,
	},
}

func send(c *call) (string, error) {
	buf := c.msgs
	if c.args.has("size") {
		buf = resized(buf, int(c.args.get("size", 0)))
	}
	if buf == nil {
		buf = []byte{} // empty, but not NULL
	}
	if c.args.has("null_first") {
		return c.sendmsg(sys.Iovec{}, sys.Iov(buf))
	}
	return c.sendmsg(sys.Iov(buf))
}

func kick(c *call) (string, error) { return c.sendmsg(sys.Iovec{Len: int(c.args.get("size", 0))}) }

// sendmsg sends, and lets kernel threads run that the message has woken.
func (c *call) sendmsg(iov ...sys.Iovec) (string, error) {
	d, err := c.task.fd(c.args.word(0))
	if err != nil {
		return "", err
	}
	m := sys.Msghdr{Iov: iov}
	if !c.args.has("noaddr") {
		m.Name = c.args.address()
	}
	flags := c.args.waitFlag()
	if c.args.has("oob") {
		flags |= uapi.MsgOOB
	}
	n, err := c.task.Sendmsg(d.fd, &m, flags)
	if err := c.target.Sleep(0); err != nil {
		return "", err
	}
	return number(n, err)
}

// timeout is how long a call waits: timeout= milliseconds, for ever if that is negative.
func (a args) timeout() sys.Time { return sys.Time(a.get("timeout", 0)) * sys.Millisecond }

func (a args) waitFlag() int {
	if a.has("wait") {
		return 0
	}
	return uapi.MsgDontwait
}

func recv(c *call) (string, error) {
	fd, sock, err := c.task.netlink(c.args.word(0))
	if err != nil {
		return "", err
	}
	flags := c.args.waitFlag()
	if c.args.has("peek") {
		flags |= uapi.MsgPeek
	}
	if c.args.has("trunc") {
		flags |= uapi.MsgTrunc
	}
	if c.args.has("oob") {
		flags |= uapi.MsgOOB
	}
	var lines []string
	for range maxReceives {
		got, err := c.receive(fd, int(c.args.get("size", 8192)), flags)
		if err != nil {
			return strings.Join(lines, "\n"), err
		}
		lines = append(lines, c.print.whole(got, sock.protocol, c.args.has("attrs"), c.args.has("hex"))...)
		if !c.args.has("all") {
			return strings.Join(lines, "\n"), nil
		}
	}
	return strings.Join(lines, "\n"), fmt.Errorf("still more after %d messages", maxReceives)
}

// maxReceives bounds recv all, in case that somebody sends all the time.
const maxReceives = 10000

// whole prints what a receive has returned.
func (p printer) whole(got received, protocol int, withAttributes, withHex bool) []string {
	messages := p.messages(protocol, got.data, withHex)
	if withAttributes {
		messages = p.withAttributes(protocol, got.data)
	}
	return append([]string{p.received(got)}, indent(messages)...)
}

// received is what a receive has returned.
type received struct {
	n       int    // bytes copied, or with MSG_TRUNC asked for the whole length
	data    []byte // the bytes copied
	from    []byte // source address
	control []byte // control messages as the kernel wrote them
	flags   int    // msg_flags
}

// receive receives into a buffer of size bytes, with room for an address and control messages.
func (c *call) receive(fd, size, flags int) (received, error) {
	buf := make([]byte, size)
	m := sys.Msghdr{Iov: []sys.Iovec{sys.Iov(buf)}, WantControl: true}
	n, err := c.task.Recvmsg(fd, &m, flags)
	if err != nil {
		return received{}, err
	}
	return received{n, buf[:min(n, size)], m.Name, m.Control, m.Flags}, nil
}

// received prints the first line of recv: what recvmsg returned beside the bytes.
func (p printer) received(got received) string {
	from := uapi.ParseSockaddrNL(got.from)
	line := fmt.Sprintf("%d from=%s groups=0x%x", got.n, p.identity(from.Pid), from.Groups)
	if got.flags&uapi.MsgTrunc != 0 {
		line += " trunc"
	}
	var pktinfo, nsid, cred string
	eachControlMessage(got.control, func(level, typ int, data []byte) {
		le := binary.LittleEndian
		switch {
		case level == uapi.SolNetlink && typ == uapi.NetlinkPktinfo && len(data) >= uapi.NLPktinfolen:
			pktinfo = fmt.Sprintf(" pktinfo=%d", le.Uint32(data))
		case level == uapi.SolNetlink && typ == uapi.NetlinkListenAllNSID && len(data) >= 4:
			nsid = fmt.Sprintf(" nsid=%d", int32(le.Uint32(data)))
		case level == uapi.SolSocket && typ == uapi.ScmCredentials && len(data) >= uapi.UcredLen:
			cred = fmt.Sprintf(" cred=%s,%d,%d", p.identity(le.Uint32(data)), le.Uint32(data[4:]), le.Uint32(data[8:]))
		}
	})
	return line + pktinfo + nsid + cred
}

// eachControlMessage calls f for each well-formed control message: a header of length, level and type, then data,
// aligned to 8.
func eachControlMessage(b []byte, f func(level, typ int, data []byte)) {
	le := binary.LittleEndian
	for len(b) >= uapi.CmsgHdrlen {
		n := le.Uint64(b)
		if n < uapi.CmsgHdrlen || n > uint64(len(b)) {
			return
		}
		f(int(int32(le.Uint32(b[8:]))), int(int32(le.Uint32(b[12:]))), b[uapi.CmsgHdrlen:n])
		b = b[min((n+7)&^7, uint64(len(b))):]
	}
}

func poll(c *call) (string, error) {
	d, err := c.task.fd(c.args.word(0))
	if err != nil {
		return "", err
	}
	events := int(c.args.get("events", uapi.PollIn|uapi.PollOut))
	fds := []sys.PollFD{{FD: d.fd, Events: uint32(events)}}
	if _, err := c.task.Poll(fds, c.args.timeout()); err != nil {
		return "", err
	}
	return "revents=" + revents(fds[0].Revents), nil
}
