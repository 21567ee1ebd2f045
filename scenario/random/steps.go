package random

import (
	"fmt"
	"slices"
)

// A step is a kind of step.
type step struct {
	weight int
	can    func(*maker) bool // whether there is what it needs
	make   func(*maker)
}

func always(*maker) bool { return true }

func hasFD(m *maker) bool      { return len(m.self.fds) > 0 }
func mayRing(m *maker) bool    { return len(m.self.fds) > 0 && !m.tap }
func hasMapping(m *maker) bool { return len(m.self.maps) > 0 }
func hasReader(m *maker) bool  { return hasFD(m) && hasMapping(m) }
func isMain(m *maker) bool     { return m.self == m.processes[0] }

// ownNamespace reports whether a scenario can make devices.
func ownNamespace(m *maker) bool { return isMain(m) && !m.initial }

// hasPair reports whether there is a descriptor of a UNIX pair.
func hasPair(m *maker) bool {
	return slices.ContainsFunc(m.self.fds, func(d fd) bool { return d.unix })
}

func hasEpoll(m *maker) bool {
	return slices.ContainsFunc(m.self.fds, func(d fd) bool { return d.ep })
}

// steps are all kinds of steps. Their weights are those of a scenario without preferences.
var steps = []step{
	{3, always, (*maker).open},
	{2, hasFD, func(m *maker) { m.bind(m.fd()) }},
	{3, mayRing, func(m *maker) { m.setRing(m.fd(), pick(m, "rx", "rx", "tx")) }},
	{3, mayRing, func(m *maker) { m.mmap(m.fd()) }},
	{26, hasFD, (*maker).send},
	{6, hasFD, (*maker).transmit},
	{10, hasFD, (*maker).recv},
	{9, hasFD, (*maker).poll},
	{5, hasFD, func(m *maker) { m.step("stat %s", m.fd().name) }},
	{4, hasFD, (*maker).setsockopt},
	{4, hasFD, (*maker).getsockopt},
	{1, hasFD, (*maker).anyOption},
	{2, hasFD, func(m *maker) { m.step("getsockname %s", m.fd().name) }},
	{1, hasFD, func(m *maker) { m.step("getpeername %s", m.fd().name) }},
	{2, hasFD, (*maker).connect},
	{1, hasFD, (*maker).filter},
	{2, hasFD, (*maker).close},
	{1, hasFD, (*maker).dup},
	{1, always, (*maker).epoll},
	{2, hasEpoll, (*maker).epollAdd},
	{3, hasEpoll, func(m *maker) { m.step("epoll_wait %s%s", m.epollFD(), m.option(3, " timeout=%d", m.IntN(30))) }},
	{1, always, (*maker).pair},
	{2, hasPair, (*maker).pass},
	{8, hasMapping, (*maker).set},
	{7, hasMapping, (*maker).fill},
	{2, hasMapping, (*maker).edit},
	{9, hasReader, (*maker).consume},
	{5, hasMapping, (*maker).frames},
	{1, hasMapping, func(m *maker) {
		m.step("bytes %s %s %d n=%d", m.mapping().name, m.which(), m.frame(), pick(m, 24, 40, 64))
	}},
	{1, hasMapping, func(m *maker) { m.step("touch %s offset=%d", m.mapping().name, m.IntN(8)*4096) }},
	{1, hasMapping, (*maker).munmap},
	{1, hasMapping, func(m *maker) {
		m.step("mprotect %s%s prot=%s", m.mapping().name, m.part(), pick(m, "r", "rw", "none"))
	}},
	{1, hasMapping, func(m *maker) { m.step("move %s", m.mapping().name) }},
	{1, hasMapping, func(m *maker) { m.step("madvise %s dontneed%s", m.mapping().name, m.part()) }},
	{1, mayWait, (*maker).later},
	{3, func(m *maker) bool { return m.waiting() != nil }, (*maker).join},
	{2, isMain, (*maker).fork},
	{1, isMain, func(m *maker) { m.step("thread %s", m.name("t")) }},
	{1, func(m *maker) bool { return !isMain(m) }, (*maker).exit},
	{1, always, func(m *maker) { m.step("cap %s net_admin", pick(m, "drop", "raise", "raise")) }},
	{1, always, func(m *maker) { m.step("setuid %d", pick(m, 0, 0, 1000)) }},
	{1, always, func(m *maker) { m.step("sleep ms=%d", 1+m.IntN(30)) }},
	{1, always, func(m *maker) { m.step("names %s", pick(m, "on", "on", "off")) }},
	{3, ownNamespace, (*maker).populate},
	{1, isMain, func(m *maker) { m.step("sysctl net.ipv6.conf.all.disable_ipv6 %d", m.IntN(2)) }},
	{3, isMain, (*maker).rule},
	{2, isMain, (*maker).administer},
	{4, isMain, (*maker).packet},
	{2, func(m *maker) bool { return m.tap && isMain(m) }, (*maker).openTap},
	{5, func(m *maker) bool { return len(m.taps) > 0 && isMain(m) }, func(m *maker) { m.step("tapread %s", pick(m, m.taps...)) }},
}

// option is an argument that stands there once in n times.
func (m *maker) option(n int, format string, a ...any) string {
	if !m.one(n) {
		return ""
	}
	return fmt.Sprintf(format, a...)
}

// fd returns a descriptor, mostly of a netlink socket.
func (m *maker) fd() fd {
	for range 4 {
		if d := pick(m, m.self.fds...); d.sock != nil {
			return d
		}
	}
	return pick(m, m.self.fds...)
}

func (d fd) protocol() string {
	if d.sock == nil {
		return ""
	}
	return d.sock.protocol
}

// epollFD returns the name of an epoll descriptor.
func (m *maker) epollFD() string {
	for _, d := range m.self.fds {
		if d.ep {
			return d.name
		}
	}
	return m.self.fds[0].name
}

func (m *maker) mapping() mapping { return pick(m, m.self.maps...) }

func (m *maker) which() string { return pick(m, "rx", "rx", "tx") }

// frame is the number of a frame near the beginning of a ring.
func (m *maker) frame() int {
	if m.one(10) {
		return m.IntN(20)
	}
	return m.IntN(4)
}

var protocols = []string{
	"route", "route", "route", "route", "route", "route", "route", "netfilter", "netfilter", "netfilter", "generic", "generic",
	"usersock", "usersock", "sock_diag", "10", "audit", "uevent", "xfrm", "connector",
}

func (m *maker) open() {
	d := fd{name: m.name("s"), sock: &socket{protocol: pick(m, protocols...)}}
	if m.one(40) {
		d.sock.protocol = pick(m, "1", "3", "5", "7", "8", "14", "17", "18", "20", "21", "31", "32", "255", "-1")
	}
	m.opened[d.sock.protocol]++
	m.step("socket %s %s%s", d.name, d.sock.protocol, m.option(8, " type=%s", pick(m, "dgram", "dgram", "stream")))
	m.self.fds = append(m.self.fds, d)
}

// groups is a mask without the groups that are left out.
func (m *maker) groups(d fd) int {
	switch d.protocol() {
	case "uevent", "audit":
		return 0
	case "route":
		return pick(m, 0x1, 0x4, 0x10, 0x40, 0x45, 0x55, 0x2, 0x80)
	}
	return pick(m, 1, 2, 3, 0x8000, 0x80000000)
}

func (m *maker) bind(d fd) {
	portid := pick(m, 0, 1000, 2000, 3000, 1000+m.IntN(5))
	line := fmt.Sprintf("bind %s portid=%d", d.name, portid)
	if m.one(4) {
		line += fmt.Sprintf(" groups=0x%x", m.groups(d))
	}
	line += m.option(40, " family=%d", pick(m, 0, 1, 2, 10)) + m.option(40, " addrlen=%d", pick(m, 0, 2, 11, 13, 16))
	m.step("%s", line)
	if d.sock != nil && d.sock.portid == 0 {
		d.sock.portid = portid
	}
}

func (m *maker) connect() {
	d := m.fd()
	line := fmt.Sprintf("connect %s portid=%d", d.name, pick(m, 0, 0, 1000, 2000, 3000))
	if m.one(6) {
		line += fmt.Sprintf(" groups=0x%x", m.groups(d))
	}
	m.step("%s", line+m.option(20, " family=%d", pick(m, 0, 2))+m.option(30, " addrlen=%d", pick(m, 0, 1)))
}

// setRing asks for a ring: mostly one that can be had, else one with a figure that is wrong.
func (m *maker) setRing(d fd, which string) {
	r := ring{blockSize: pick(m, 4096, 4096, 4096, 8192, 16384, 65536), blockNr: 1 + m.IntN(4)}
	r.frameSize = pick(m, 128, 256, 512, 600, 700, 900, 1024, 1024, 1364, 1500, 2048, 2048, 4096, 4096, 8192, 16384)
	r.frameSize = min(r.frameSize, r.blockSize)
	r.frameNr = r.blockSize / r.frameSize * r.blockNr
	switch {
	case m.one(6):
		r = ring{}
	case m.one(12):
		figure := pick(m, &r.blockSize, &r.blockNr, &r.frameSize, &r.frameNr)
		*figure = pick(m, 0, *figure-1, *figure+1, *figure+3, *figure*2, 23, 24, 1<<20, 1<<31, 1<<32-1)
	}
	m.step("ring %s %s block_size=%d block_nr=%d frame_size=%d frame_nr=%d%s", d.name, which, r.blockSize, r.blockNr,
		r.frameSize, r.frameNr, m.option(60, " optlen=%d", pick(m, 0, 4, 15, 17, -1)))
	switch {
	case d.sock == nil:
	case which == "rx":
		d.sock.rx = r
	default:
		d.sock.tx = r
	}
}

func (m *maker) mmap(d fd) {
	line := fmt.Sprintf("mmap %s", d.name)
	mp := mapping{name: m.name("m"), sock: d.sock}
	line += " " + mp.name
	if d.sock != nil {
		mp.rx, mp.tx = d.sock.rx, d.sock.tx
	}
	line += m.option(20, " size=%d", pick(m, 4096, 8192, 0, 1<<20)) + m.option(30, " offset=%d", pick(m, 4096, 1, 8192)) +
		m.option(20, " prot=%s", pick(m, "r", "rw")) + m.option(20, " private")
	m.step("%s", line)
	m.self.maps = append(m.self.maps, mp)
}

// send sends messages from a buffer.
func (m *maker) send() {
	d := m.fd()
	line := "send " + d.name
	if d.protocol() == "usersock" || m.one(20) {
		line += fmt.Sprintf(" portid=%d", pick(m, 0, 1000, 2000, 3000)) + m.option(3, " groups=0x%x", pick(m, 1, 2, 4))
	}
	line += m.option(40, " size=%d", pick(m, 0, 15, 16, 17, 200, 4000)) + m.option(40, " noaddr") + m.option(80, " oob") +
		m.option(60, " family=%d", pick(m, 0, 2)) + m.option(60, " addrlen=%d", pick(m, 0, 12)) + m.option(60, " null_first")
	m.step("%s\n%s", line, m.messages(d))
	m.settle(d)
}

// settle gives kernel threads that answer the time that they need.
func (m *maker) settle(d fd) {
	if d.protocol() == "audit" {
		m.step("sleep ms=150")
	}
}

// transmit makes the kernel look at the TX ring.
func (m *maker) transmit() {
	d := m.fd()
	if len(m.self.maps) > 0 && m.one(2) {
		if mp := m.mapping(); mp.sock != nil {
			for _, other := range m.self.fds {
				if other.sock == mp.sock {
					d = other
				}
			}
		}
	}
	line := "kick " + d.name
	if d.protocol() == "usersock" || m.one(20) {
		line += fmt.Sprintf(" portid=%d", pick(m, 0, 1000, 2000, 3000)) + m.option(4, " groups=0x%x", pick(m, 1, 2))
	}
	m.step("%s", line+m.option(30, " noaddr")+m.option(60, " oob")+m.option(40, " size=%d", pick(m, 1, 16, 100000)))
	m.settle(d)
}

func (m *maker) recv() {
	m.step("recv %s%s%s%s%s", m.fd().name, m.option(3, " size=%d", pick(m, 0, 10, 16, 20, 100, 3776, 3777, 4096, 16384, 32768)),
		m.option(6, " peek"), m.option(6, " trunc"), m.option(80, " wait"))
}

func (m *maker) poll() {
	m.step("poll %s%s%s", m.fd().name, m.option(4, " events=%s", pick(m, "in", "out", "err", "in,err", "in,out,hup")),
		m.option(8, " timeout=%d", pick(m, 1, 20, 50)))
}

var sockopts = []string{
	"add_membership", "add_membership", "drop_membership", "pktinfo", "broadcast_error", "no_enobufs", "rcvbuf", "rcvbuf",
	"rcvbufforce", "sndbuf", "passcred", "listen_all_nsid", "list_memberships", "cap_ack",
}

func (m *maker) setsockopt() {
	d, o := m.fd(), pick(m, sockopts...)
	value := pick(m, 0, 1)
	switch o {
	case "add_membership", "drop_membership":
		value = pick(m, 1, 1, 3, 5, 7, 2, 0, 31, 33, 64, -1)
		if d.protocol() == "uevent" || d.protocol() == "audit" {
			value = 0
		}
	case "rcvbuf", "rcvbufforce", "sndbuf":
		value = pick(m, 0, 1, 2000, 4000, 10000, 100000, 1<<30, -1)
	}
	m.step("setsockopt %s %s %d%s", d.name, o, value, m.option(20, " optlen=%d", pick(m, 0, 1, 3, 8, -1)))
}

// anyOption sets or reads an option by its number: one without effect on messages, or none at all.
func (m *maker) anyOption() {
	level, number := 1, pick(m, 2, 3, 5, 6, 9, 10, 12, 15, 16, 18, 19, 29, 30, 34, 35, 38, 39, 40, 43, 44, 99)
	switch {
	case m.one(6):
		level, number = 270, pick(m, 0, 12, 99)
	case m.one(6):
		level = pick(m, 0, 6, 17, 271, -1)
	}
	size := m.option(10, " optlen=%d", pick(m, 0, 1, 3, 8, -1))
	if m.one(2) {
		m.step("getsockopt %s level=%d option=%d%s", m.fd().name, level, number, size)
		return
	}
	m.step("setsockopt %s level=%d option=%d value=%d%s", m.fd().name, level, number, pick(m, 0, 1, 2, 7, -1), size)
}

func (m *maker) getsockopt() {
	m.step("getsockopt %s %s%s", m.fd().name, pick(m, append(sockopts, "error", "error", "error", "rx_ring", "tx_ring")...),
		m.option(20, " optlen=%d", pick(m, 0, 1, 3, 8, -1)))
}

func (m *maker) filter() {
	if m.one(3) {
		m.step("filter %s off", m.fd().name)
		return
	}
	m.step("filter %s return=%d", m.fd().name, pick(m, 0, 0, 1, 16, 20, 36, 100, 1<<32-1))
}

func (m *maker) close() {
	d := m.fd()
	m.step("close %s", d.name)
	m.self.fds = slices.DeleteFunc(m.self.fds, func(o fd) bool { return o.name == d.name })
}

func (m *maker) dup() {
	d := m.fd()
	to := d
	to.name = m.name("s")
	m.step("dup %s %s", d.name, to.name)
	m.self.fds = append(m.self.fds, to)
}

func (m *maker) epoll() {
	d := fd{name: m.name("e"), ep: true}
	m.step("epoll %s", d.name)
	m.self.fds = append(m.self.fds, d)
}

func (m *maker) epollAdd() {
	m.step("epoll_add %s %s%s%s", m.epollFD(), m.fd().name, m.option(3, " events=%s", pick(m, "out", "in,out", "err")),
		m.option(3, " et"))
}

func (m *maker) pair() {
	a, b := fd{name: m.name("u"), unix: true}, fd{name: m.name("u"), unix: true}
	m.step("sockpair %s %s", a.name, b.name)
	m.self.fds = append(m.self.fds, a, b)
}

// pass sends a descriptor over a pair, and mostly receives it.
func (m *maker) pass() {
	i := slices.IndexFunc(m.self.fds, func(d fd) bool { return d.unix })
	over := m.self.fds[i]
	if i+1 == len(m.self.fds) || !m.self.fds[i+1].unix {
		return
	}
	other, d := m.self.fds[i+1], m.fd()
	if d.unix {
		return // a pair that is sent over itself is no business of netlink
	}
	m.step("passfd %s over=%s", d.name, over.name)
	if m.one(4) {
		return
	}
	like := d.name
	d.name = m.name("s")
	m.step("takefd %s %s like=%s", other.name, d.name, like)
	m.self.fds = append(m.self.fds, d)
}

var states = []string{"unused", "unused", "unused", "reserved", "valid", "copy", "skip", "7"}

func (m *maker) set() {
	first := m.frame()
	frames := pick(m, fmt.Sprint(first), fmt.Sprintf("%d-%d", first, first+m.IntN(3)), "all")
	m.step("set %s %s %s status=%s%s%s%s", m.mapping().name, m.which(), frames, pick(m, states...),
		m.option(6, " len=%d", pick(m, 0, 5, 16, 36, 5000, 1<<31)), m.option(10, " group=%d", m.IntN(4)),
		m.option(4, " if=%s", pick(m, states...)))
}

// fill writes a frame of a TX ring, as a rule of one that there is.
func (m *maker) fill() {
	mp := m.mapping()
	for range 3 {
		if mp.tx.frameNr > 0 {
			break
		}
		mp = m.mapping()
	}
	d := fd{sock: mp.sock}
	m.step("fill %s %d%s%s%s\n%s", mp.name, m.frame(), m.option(10, " status=%s", pick(m, states...)),
		m.option(10, " len=%d", pick(m, 0, 5, 15, 16, 17, 1000, 5000, 1<<31)), m.option(20, " group=%d", m.IntN(4)), m.messages(d))
}

func (m *maker) edit() {
	mp := m.mapping()
	m.step("edit %s %d%s\n%s", mp.name, m.frame(), m.option(3, " rx"), m.message(fd{sock: mp.sock}))
}

// consume reads a ring through a descriptor of its socket.
func (m *maker) consume() {
	mp := m.mapping()
	name := m.fd().name
	for _, d := range m.self.fds {
		if d.sock != nil && d.sock == mp.sock && !m.one(20) {
			name = d.name
		}
	}
	m.step("consume %s fd=%s%s", mp.name, name, m.option(4, " max=%d", 1+m.IntN(3)))
}

func (m *maker) frames() {
	m.step("frames %s %s%s", m.mapping().name, m.which(), m.option(3, " data"))
}

func (m *maker) part() string {
	if m.one(3) {
		return ""
	}
	return fmt.Sprintf(" offset=%d size=%d", pick(m, 0, 0, 4096, 8192, 100), pick(m, 4096, 4096, 8192, 0, 100))
}

func (m *maker) munmap() {
	mp := m.mapping()
	if m.one(2) {
		m.step("munmap %s%s", mp.name, m.part())
		return
	}
	m.step("munmap %s", mp.name)
}

func (m *maker) fork() {
	p := &process{name: m.name("c"), fds: slices.Clone(m.self.fds), maps: slices.Clone(m.self.maps), alive: true}
	m.step("fork %s", p.name)
	m.processes = append(m.processes, p)
}

// mayWait reports whether the task can wait in the background.
func mayWait(m *maker) bool { return hasFD(m) && !isMain(m) }

// later begins a step that may wait, of a kind that waits for ever once in a while.
func (m *maker) later() {
	m.self.job = m.name("w")
	d := m.fd().name
	step := pick(m, "recv "+d+" wait", "recv "+d+" wait", fmt.Sprintf("poll %s events=in timeout=%d", d, pick(m, -1, 20)), "kick "+d+" wait")
	m.step("later %s: %s", m.self.job, step)
}

// waiting returns a task that waits in the background.
func (m *maker) waiting() *process {
	i := slices.IndexFunc(m.processes, func(p *process) bool { return p.job != "" })
	if i < 0 {
		return nil
	}
	return m.processes[i]
}

func (m *maker) join() {
	p := m.waiting()
	m.step("join %s", p.job)
	p.job = ""
}

func (m *maker) exit() {
	m.step("exit")
	m.self.alive = false
}

// administer changes links, addresses, routes, neighbours or rules, of which many are not there.
func (m *maker) administer() {
	dev := pick(m, "lo", "d0", "d1")
	host := m.IntN(3)
	switch m.IntN(6) {
	case 0, 1:
		m.step("%s", pick(m, "link add d0 type=dummy address=02:00:00:00:00:01", "link add d1 type=dummy address=02:00:00:00:00:02 up",
			"link set "+dev+" up", "link set "+dev+" mtu=1400 down", "link del "+dev))
	case 2:
		m.step("addr %s 10.8.%d.1/24 dev=%s", pick(m, "add", "add", "replace", "del"), host, dev)
	case 3:
		m.step("route %s 10.9.%d.0/24%s", pick(m, "add", "add", "replace", "append", "del"), host,
			pick(m, " dev="+dev, " via=10.8.0.9", " type=blackhole", " dev="+dev+" metric=5 table=7"))
	case 4:
		m.step("neigh %s 10.8.0.%d dev=%s lladdr=02:00:00:00:01:00", pick(m, "add", "add", "replace", "del"), 2+host, dev)
	case 5:
		m.step("rule %s from=10.8.%d.0/24 pref=%d", pick(m, "add", "add", "del"), host, 100+host)
	}
}

func (m *maker) populate() {
	count := pick(m, 1, 2, 3, 10, 50, 100)
	if what := pick(m, "neigh", "neigh", "route"); what == "route" || m.neighbors+count <= 200 && !m.single {
		m.step("populate %s count=%d", what, count)
		if what == "neigh" {
			m.neighbors += count
		}
	}
}

// rule makes a rule for packets. What logs has a threshold that the next packet reaches: a timer would fire at some time.
func (m *maker) rule() {
	switch m.IntN(7) {
	case 0:
		m.step("nfrule flush")
	case 1, 2:
		m.step("nfrule nflog group=%d threshold=1%s", m.IntN(3), m.option(4, ` prefix="to 9: "`))
	default:
		m.step("nfrule nfqueue num=%d%s", m.IntN(3), m.option(4, " bypass"))
	}
}

func (m *maker) packet() {
	count := pick(m, 1, 1, 2, 3, 10)
	m.packets += count
	m.step("packet count=%d size=%d", count, pick(m, 0, 1, 20, 100, 500, 1000, 1400, 1932-28, 1933-28, 4000, 8000))
}

func (m *maker) openTap() {
	name := m.name("tap")
	m.step("tap %s", name)
	m.taps = append(m.taps, name)
}
