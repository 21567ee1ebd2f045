package scenario

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"

	"nlmmap/sys"
	"nlmmap/uapi"
)

// routeDirectives are what an administrator does with ip(8): each is one request on a socket of its own, with an acknowledgement.
var routeDirectives = []form{
	{
		syntax:  compile("link add DEV type=dummy|nlmon [address=MAC] [mtu=N] [txqueuelen=N] [up]"),
		help:    "makes a device",
		example: "link add dummy0 type=dummy address=02:00:00:00:00:01 up",
		serial:  true,
		run:     addLink,
	},
	{
		syntax:  compile("link set DEV [name=DEV] [address=MAC] [mtu=N] [txqueuelen=N] [carrier=on|off] [up] [down]"),
		help:    "changes a device",
		example: "link set lo up",
		serial:  true,
		run:     setLink,
	},
	{
		syntax:  compile("link del DEV"),
		help:    "removes it",
		example: "link del dummy0",
		serial:  true,
		run:     delLink,
	},
	{
		syntax:  compile("addr add|replace|del PREFIX dev=DEV [peer=ADDR] [broadcast=ADDR] [label=NAME]"),
		help:    "an address of a device; IPv6 addresses are not asked for whether somebody else has them",
		example: "addr add 10.1.0.1/24 dev=dummy0 broadcast=10.1.0.255",
		serial:  true,
		run:     changeAddr,
	},
	{
		syntax: compile("route add|replace|append|del DST [via=ADDR] [dev=DEV] [src=ADDR] [metric=N] [table=N] " +
			"[type=unicast|local|broadcast|blackhole|unreachable|prohibit|throw]"),
		help:    "a route to a prefix, or to default, which is that of IPv4 if via= says nothing else",
		example: "route add 10.2.0.0/16 via=10.1.0.2",
		serial:  true,
		run:     changeRoute,
	},
	{
		syntax:  compile("neigh add|replace|del ADDR dev=DEV [lladdr=MAC] [state=permanent|noarp|reachable|stale|failed]"),
		help:    "a neighbour; permanent if not said",
		example: "neigh add 10.1.0.2 lladdr=02:00:00:00:00:02 dev=dummy0",
		serial:  true,
		run:     changeNeigh,
	},
	{
		syntax: compile("rule add|del [from=PREFIX] [to=PREFIX] [iif=DEV] [oif=DEV] [mark=N] [pref=N] [table=N] " +
			"[type=table|blackhole|unreachable|prohibit]"),
		help:    "a rule of IPv4: which table is asked for a route, table 254 if not said",
		example: "rule add from=10.5.0.0/24 table=7 pref=100",
		serial:  true,
		run:     changeRule,
	},
}

// What requests of rtnetlink are made of, beside uapi's types.
const (
	ifUp      = 1
	linkHead  = 16
	familyIP4 = uapi.AFInet
	familyIP6 = uapi.AFInet6

	rtTableMain   = 254
	rtProtoBoot   = 3
	rtScopeLink   = 253
	rtScopeHost   = 254
	rtScopeNo     = 255
	rtUnicast     = 1
	addrNoDAD     = 2
	nudPermanent  = 0x80
	ruleActTable  = 1
	flagsOfAdd    = uapi.NLMFCreate | uapi.NLMFExcl
	flagsReplace  = uapi.NLMFCreate | uapi.NLMFReplace
	flagsOfAppend = uapi.NLMFCreate | uapi.NLMFAppend
)

var (
	routeKinds = map[string]byte{"unicast": rtUnicast, "local": 2, "broadcast": 3, "blackhole": 6, "unreachable": 7, "prohibit": 8, "throw": 9}
	neighState = map[string]uint16{"permanent": nudPermanent, "noarp": 0x40, "reachable": 2, "stale": 4, "failed": 0x20}
	ruleTypes  = map[string]byte{"table": ruleActTable, "blackhole": 6, "unreachable": 7, "prohibit": 8}
	carriers   = map[string]byte{"off": 0, "on": 1}
)

// A request is one of rtnetlink: the header of its type, and attributes.
type request struct {
	typ     uint16
	flags   uint16
	payload []byte
}

func (r *request) attr(typ uint16, data []byte) { r.payload = uapi.AppendAttr(r.payload, typ, data) }

// num appends the attribute if the argument is there.
func (r *request) num(typ uint16, a args, name string) {
	if a.has(name) {
		r.attr(typ, le32(a.get(name, 0)))
	}
}

func (r *request) text(typ uint16, text string) { r.attr(typ, append([]byte(text), 0)) }

func (r *request) mac(typ uint16, a args, name string) {
	if a.has(name) {
		mac, _ := parseMAC(a.text(name, "")) // it was checked
		r.attr(typ, mac)
	}
}

// addr appends an address, which has to be of the family that the request has.
func (r *request) addr(typ uint16, a args, name string) error {
	if !a.has(name) {
		return nil
	}
	ip := netip.MustParseAddr(a.text(name, "")) // it was checked
	if family(ip) != r.payload[0] {
		return fmt.Errorf("%s=%v is of another family", name, ip)
	}
	r.attr(typ, ip.AsSlice())
	return nil
}

func family(ip netip.Addr) byte {
	if ip.Is4() {
		return familyIP4
	}
	return familyIP6
}

// verb returns the type of a request and its flags, for the word that says what it does.
func verb(word string, add, del uint16) (typ, flags uint16) {
	switch word {
	case "replace":
		return add, flagsReplace
	case "append":
		return add, flagsOfAppend
	case "del":
		return del, 0
	}
	return add, flagsOfAdd
}

// ask sends a request on a new socket and returns the messages that came before its acknowledgement, and the error in that.
func (c *call) ask(r request) (answers []uapi.Message, err error) {
	fd, err := c.task.Socket(uapi.AFNetlink, uapi.SockRaw, uapi.NetlinkRoute)
	if err != nil {
		return nil, err
	}
	defer func() {
		if closed := c.task.Close(fd); err == nil {
			err = closed
		}
	}()
	const seq = 1
	msg := uapi.AppendMessage(nil, uapi.NLMsgHdr{Type: r.typ, Flags: r.flags | uapi.NLMFRequest | uapi.NLMFAck, Seq: seq}, r.payload)
	if _, err := c.task.Sendmsg(fd, &sys.Msghdr{Iov: []sys.Iovec{sys.Iov(msg)}, Name: uapi.SockaddrNL{Family: uapi.AFNetlink}.Bytes()}, 0); err != nil {
		return nil, err
	}
	for {
		got, err := c.receive(fd, maxAnswer, uapi.MsgDontwait)
		if err != nil {
			return nil, err
		}
		for m := range uapi.WellFormed(uapi.Messages(got.data)) {
			if ack, err := uapi.ParseAck(m); err == nil && m.Header.Type == uapi.NLMsgError {
				return answers, ack.Err()
			}
			answers = append(answers, m)
		}
	}
}

// maxAnswer is more than any answer has.
const maxAnswer = 16384

// do makes a request of which only the error matters.
func (c *call) do(r request) (string, error) {
	_, err := c.ask(r)
	return ok(err)
}

// index asks for the index of a device.
func (c *call) index(name string) (int64, error) {
	r := request{typ: uapi.RTMGetlink, payload: make([]byte, linkHead)}
	r.text(iflaIfname, name)
	answers, err := c.ask(r)
	if err != nil {
		return 0, err
	}
	for _, m := range answers {
		if m.Header.Type == uapi.RTMNewlink && len(m.Payload) >= linkHead {
			return int64(binary.LittleEndian.Uint32(m.Payload[4:])), nil
		}
	}
	return 0, fmt.Errorf("no answer tells of %s", name)
}

// Attributes of links.
const (
	iflaAddress  = 1
	iflaIfname   = 3
	iflaMTU      = 4
	iflaTxqlen   = 13
	iflaLinkinfo = 18
	iflaCarrier  = 33
	iflaInfoKind = 1
)

// link begins a request about a link. Where it exists it is named by its index, so that it can be given a name.
func (c *call) link(typ, flags uint16, exists bool) (request, error) {
	r := request{typ: typ, flags: flags, payload: make([]byte, linkHead)}
	name := c.args.word(1)
	if exists {
		index, err := c.index(name)
		if err != nil {
			return r, err
		}
		copy(r.payload[4:], le32(index))
		name = c.args.text("name", "")
	}
	if up := c.args.has("up"); up || c.args.has("down") {
		if up {
			copy(r.payload[8:], le32(ifUp))
		}
		copy(r.payload[12:], le32(ifUp))
	}
	if name != "" {
		r.text(iflaIfname, name)
	}
	r.mac(iflaAddress, c.args, "address")
	r.num(iflaMTU, c.args, "mtu")
	r.num(iflaTxqlen, c.args, "txqueuelen")
	if c.args.has("carrier") {
		r.attr(iflaCarrier, []byte{carriers[c.args.text("carrier", "")]})
	}
	return r, nil
}

func addLink(c *call) (string, error) {
	r, err := c.link(uapi.RTMNewlink, flagsOfAdd, false)
	if err != nil {
		return "", err
	}
	r.attr(iflaLinkinfo, uapi.AppendAttr(nil, iflaInfoKind, append([]byte(c.args.text("type", "")), 0)))
	return c.do(r)
}

func setLink(c *call) (string, error) {
	if c.args.has("up") && c.args.has("down") {
		return "", fmt.Errorf("a device is set up or down, not both")
	}
	r, err := c.link(uapi.RTMNewlink, 0, true)
	if err != nil {
		return "", err
	}
	return c.do(r)
}

func delLink(c *call) (string, error) {
	r, err := c.link(uapi.RTMDellink, 0, true)
	if err != nil {
		return "", err
	}
	return c.do(r)
}

func changeAddr(c *call) (string, error) {
	const ifaAddress, ifaLocal, ifaLabel, ifaBroadcast = 1, 2, 3, 4
	index, err := c.index(c.args.text("dev", ""))
	if err != nil {
		return "", err
	}
	p, _ := parsePrefix(c.args.word(1)) // it was checked
	var r request
	r.typ, r.flags = verb(c.args.word(0), uapi.RTMNewaddr, uapi.RTMDeladdr)
	r.payload = append([]byte{family(p.Addr()), byte(p.Bits()), 0, 0}, le32(index)...)
	switch {
	case p.Addr().IsLoopback():
		r.payload[3] = rtScopeHost
	case p.Addr().IsLinkLocalUnicast() && p.Addr().Is6():
		r.payload[3] = rtScopeLink
	}
	if p.Addr().Is6() {
		r.payload[2] = addrNoDAD
	}
	r.attr(ifaLocal, p.Addr().AsSlice())
	if c.args.has("peer") {
		err = r.addr(ifaAddress, c.args, "peer")
	} else {
		r.attr(ifaAddress, p.Addr().AsSlice())
	}
	if err == nil {
		err = r.addr(ifaBroadcast, c.args, "broadcast")
	}
	if err != nil {
		return "", err
	}
	if c.args.has("label") {
		r.text(ifaLabel, c.args.text("label", ""))
	}
	return c.do(r)
}

func changeRoute(c *call) (string, error) {
	const rtaDst, rtaOif, rtaGateway, rtaPriority, rtaPrefsrc, rtaTable = 1, 4, 5, 6, 7, 15
	a := c.args
	dst, err := parsePrefix(a.word(1))
	switch {
	case err == nil: // else it is the default route, of the family of its gateway
	case strings.Contains(a.text("via", ""), ":"):
		dst = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	default:
		dst = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	table := a.get("table", rtTableMain)
	var r request
	r.typ, r.flags = verb(a.word(0), uapi.RTMNewroute, uapi.RTMDelroute)
	h := []byte{family(dst.Addr()), byte(dst.Bits()), 0, 0, byte(min(table, 255)), rtProtoBoot, 0, routeKinds[a.text("type", "unicast")], 0, 0, 0, 0}
	switch {
	case r.typ == uapi.RTMDelroute:
		h[5], h[6] = 0, rtScopeNo
		if !a.has("type") {
			h[7] = 0
		}
	case a.text("type", "") == "local":
		h[6] = rtScopeHost
	case a.text("type", "") == "broadcast" || a.text("type", "unicast") == "unicast" && !a.has("via") && dst.Addr().Is4():
		h[6] = rtScopeLink
	}
	r.payload = h
	if dst.Bits() > 0 {
		r.attr(rtaDst, dst.Addr().AsSlice())
	}
	if err := r.addr(rtaGateway, a, "via"); err != nil {
		return "", err
	}
	if err := r.addr(rtaPrefsrc, a, "src"); err != nil {
		return "", err
	}
	if a.has("dev") {
		index, err := c.index(a.text("dev", ""))
		if err != nil {
			return "", err
		}
		r.attr(rtaOif, le32(index))
	}
	r.num(rtaPriority, a, "metric")
	r.attr(rtaTable, le32(table))
	return c.do(r)
}

func changeNeigh(c *call) (string, error) {
	const ndaDst, ndaLladdr = 1, 2
	index, err := c.index(c.args.text("dev", ""))
	if err != nil {
		return "", err
	}
	ip := netip.MustParseAddr(c.args.word(1)) // it was checked
	var r request
	r.typ, r.flags = verb(c.args.word(0), uapi.RTMNewneigh, uapi.RTMDelneigh)
	r.payload = append([]byte{family(ip), 0, 0, 0}, le32(index)...)
	r.payload = binary.LittleEndian.AppendUint16(r.payload, neighState[c.args.text("state", "permanent")])
	r.payload = append(r.payload, 0, 0)
	r.attr(ndaDst, ip.AsSlice())
	r.mac(ndaLladdr, c.args, "lladdr")
	return c.do(r)
}

func changeRule(c *call) (string, error) {
	const fraDst, fraSrc, fraIif, fraPriority, fraMark, fraTable, fraOif = 1, 2, 3, 6, 10, 15, 17
	a := c.args
	table := a.get("table", rtTableMain)
	var r request
	r.typ, r.flags = verb(a.word(0), uapi.RTMNewrule, uapi.RTMDelrule)
	r.payload = []byte{familyIP4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	if a.word(0) == "add" || a.has("type") {
		r.payload[7] = ruleTypes[a.text("type", "table")]
	}
	for _, side := range []struct {
		name string
		at   int
		typ  uint16
	}{{"to", 1, fraDst}, {"from", 2, fraSrc}} {
		if !a.has(side.name) {
			continue
		}
		p, _ := parsePrefix(a.text(side.name, "")) // it was checked
		if !p.Addr().Is4() {
			return "", fmt.Errorf("%s=%v: rules of IPv6 are not modelled", side.name, p)
		}
		r.payload[side.at] = byte(p.Bits())
		r.attr(side.typ, p.Addr().AsSlice())
	}
	if a.word(0) == "add" || a.has("table") {
		r.payload[4] = byte(min(table, 255))
		r.attr(fraTable, le32(table))
	}
	for _, dev := range []struct {
		name string
		typ  uint16
	}{{"iif", fraIif}, {"oif", fraOif}} {
		if a.has(dev.name) {
			r.text(dev.typ, a.text(dev.name, ""))
		}
	}
	r.num(fraMark, a, "mark")
	r.num(fraPriority, a, "pref")
	return c.do(r)
}

// defaultRoute is the prefix of all destinations.
const defaultRoute = "default"

// parsePrefix reads a prefix, or an address, which is a prefix of all its bits.
func parsePrefix(text string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(text); err == nil && ip.Zone() == "" {
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, fmt.Errorf("expected a prefix like 10.1.0.0/16 or 2001:db8::/32")
	}
	return p, nil
}

func checkAddr(text string) error {
	if ip, err := netip.ParseAddr(text); err != nil || ip.Zone() != "" {
		return fmt.Errorf("expected an address like 10.1.0.1 or fe80::1")
	}
	return nil
}

// parseMAC reads a link-layer address: six pairs of digits.
func parseMAC(text string) ([]byte, error) {
	mac, err := hex.DecodeString(strings.ReplaceAll(text, ":", ""))
	if err != nil || len(mac) != 6 || strings.Count(text, ":") != 5 {
		return nil, fmt.Errorf("expected an address like 02:00:00:00:00:01")
	}
	return mac, nil
}
