package scenario

import (
	"fmt"
	"strings"
)

var networkDirectives = []form{
	{
		syntax:  compile("populate neigh|route count=COUNT"),
		help:    "the administrator adds neighbours or routes, on a dummy device made for it",
		example: "populate neigh count=150",
		run:     populate,
	},
	{
		syntax:  compile("sysctl KEY N"),
		help:    "the administrator sets what /proc/sys has; the simulator knows net.ipv6.conf.DEVICE.disable_ipv6, all and default too",
		example: "sysctl net.ipv6.conf.all.disable_ipv6 1",
		run:     func(c *call) (string, error) { return ok(c.target.Sysctl(c.args.word(0), c.args.num(1))) },
	},
	{
		syntax:  compile("nfrule nfqueue num=N [bypass]"),
		help:    "a rule that queues UDP packets to port 9 on the output path",
		example: "nfrule nfqueue num=0",
		serial:  true,
		run:     nfqueueRule,
	},
	{
		syntax:  compile("nfrule nflog group=N [threshold=N] [prefix=TEXT]"),
		help:    "a rule that logs them, with a prefix of at most 63 bytes; threshold=0 leaves it to the group when its message is sent",
		example: "nfrule nflog group=1 threshold=1",
		serial:  true,
		run:     nflogRule,
	},
	{
		syntax:  compile("nfrule flush"),
		help:    "removes the rules",
		example: "nfrule flush",
		serial:  true,
		run:     flushRules,
	},
	{
		syntax: compile("packet count=COUNT size=BYTES [linear=BYTES] [stamped] [received]"),
		help: "UDP datagrams of that payload size from 127.0.0.1:4000 to 127.0.0.1:9; prints sent= failed=. On the simulator " +
			"only: with linear= so many bytes of a packet, headers included, are in one piece and the rest in page fragments; " +
			"stamped packets have a time stamp; received ones look as if they had come in over lo",
		example: "packet count=2 size=100",
		run:     packet,
	},
	{
		syntax:  compile("tap T"),
		help:    "an nlmon device with a packet socket on it",
		example: "tap t",
		serial:  true,
		run:     openTap,
	},
	{
		syntax:  compile("tapread T"),
		help:    "each packet that the tap saw, with its first message; then N packets",
		example: "tapread t",
		serial:  true,
		run:     readTap,
	},
}

func populate(c *call) (string, error) {
	count := int(c.args.get("count", 0))
	if c.args.word(0) == "route" {
		return ok(c.target.PopulateRoute(count))
	}
	return ok(c.target.PopulateNeigh(count))
}

func nfqueueRule(c *call) (string, error) {
	return ok(c.target.NFQueueRule(int(c.args.get("num", 0)), c.args.has("bypass")))
}

// maxLogPrefix is the longest prefix that the target NFLOG has room for, before the byte that ends it.
const maxLogPrefix = 63

func nflogRule(c *call) (string, error) {
	prefix := c.args.text("prefix", "")
	if len(prefix) > maxLogPrefix {
		return "", fmt.Errorf("prefix=%q is longer than %d bytes", prefix, maxLogPrefix)
	}
	return ok(c.target.NFLogRule(int(c.args.get("group", 0)), int(c.args.get("threshold", 0)), prefix))
}

func flushRules(c *call) (string, error) { return ok(c.target.FlushRules()) }

func packet(c *call) (string, error) {
	sent, failed, err := c.target.Packet(Datagrams{
		Count: int(c.args.get("count", 0)), Size: int(c.args.get("size", 0)),
		Fragmented: c.args.has("linear"), Linear: int(c.args.get("linear", 0)),
		Stamped: c.args.has("stamped"), Received: c.args.has("received"),
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("sent=%d failed=%d", sent, failed), nil
}

func openTap(c *call) (string, error) {
	t, err := c.target.Tap()
	if err == nil {
		c.taps[c.args.word(0)] = t
	}
	return ok(err)
}

func readTap(c *call) (string, error) {
	name := c.args.word(0)
	t, found := c.taps[name]
	if !found {
		return "", noSuch("fd", name)
	}
	var lines []string
	for n := 0; ; n++ {
		p, more, err := t.Read()
		if err != nil {
			return strings.Join(lines, "\n"), err
		}
		if !more {
			return strings.Join(append(lines, fmt.Sprintf("%d packets", n)), "\n"), nil
		}
		lines = append(lines, c.print.packet(p)...)
	}
}

// packet prints a packet that a tap saw and, unless it was cut, its first message.
func (p printer) packet(pkt Packet) []string {
	const longest = 4096
	line := fmt.Sprintf("%s len=%d protocol=%d", packetType(pkt.Type), pkt.Len, pkt.Protocol)
	if pkt.Len > longest {
		return []string{line}
	}
	msgs := p.messages(pkt.Protocol, firstMessage(pkt.Data), false)
	return append([]string{line}, indent(msgs)...)
}

// packetType names an sll_pkttype.
func packetType(typ int) string {
	const (
		outgoing = 4
		toUser   = 6
		toKernel = 7
	)
	switch typ {
	case outgoing:
		return "outgoing"
	case toUser:
		return "to-user"
	case toKernel:
		return "to-kernel"
	}
	return "other"
}
