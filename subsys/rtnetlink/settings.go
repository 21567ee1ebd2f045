package rtnetlink

import (
	"encoding/binary"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/subsys/inet"
	"nlmmap/uapi"
)

// This file has the settings of IPv4 and IPv6: those of a device as they stand in messages about links, what RTM_GETNETCONF
// tells of them, and the parameters of tables of neighbours. All have their default values.

const (
	rtmNewneightbl = 64
	rtmGetneightbl = 66
	rtmSetneightbl = 67
	rtmNewnetconf  = 80
	rtmGetnetconf  = 82

	iflaInetConf = 1

	netconfaIfindex        = 1
	netconfaForwarding     = 2
	netconfaRPFilter       = 3
	netconfaMCForwarding   = 4
	netconfaProxyNeigh     = 5
	netconfaIgnoreLinkdown = 6

	// netconf stands for all devices, and for new ones, in place of an index.
	netconfAll     = -1
	netconfDefault = -2

	ndtaName       = 1
	ndtaThresh1    = 2
	ndtaThresh2    = 3
	ndtaThresh3    = 4
	ndtaConfig     = 5
	ndtaParms      = 6
	ndtaStats      = 7
	ndtaGcInterval = 8

	ndtpaIfindex           = 1
	ndtpaRefcnt            = 2
	ndtpaReachableTime     = 3
	ndtpaBaseReachableTime = 4
	ndtpaRetransTime       = 5
	ndtpaGcStaletime       = 6
	ndtpaDelayProbeTime    = 7
	ndtpaQueueLen          = 8
	ndtpaAppProbes         = 9
	ndtpaUcastProbes       = 10
	ndtpaMcastProbes       = 11
	ndtpaAnycastDelay      = 12
	ndtpaProxyDelay        = 13
	ndtpaProxyQlen         = 14
	ndtpaLocktime          = 15
	ndtpaQueueLenBytes     = 16
	ndtpaMcastReprobes     = 17
)

// words is an array of numbers of 32 bits, of which those that are not zero are given.
func words(n int, values map[int]uint32) []byte {
	b := make([]byte, 4*n)
	for i, v := range values {
		if i < n {
			binary.LittleEndian.PutUint32(b[4*i:], v)
		}
	}
	return b
}

// inetConf is the settings of IPv4 of a device (ipv4_devconf), in the order of their numbers.
func (r *Rtnetlink) inetConf(d inet.Device) []byte {
	v := map[int]uint32{
		3: 1, 4: 1, 5: 1, 6: 1, 8: 1, // redirects, source routes and others
		26: 10000, 27: 1000, // intervals of reports of IGMP
	}
	if d.Loopback() {
		v[14], v[15] = 1, 1 // no policy and no transformation
	}
	return words(r.D.InetConf, v)
}

// inet6Conf is the settings of IPv6 of a device (ipv6_devconf).
func (r *Rtnetlink) inet6Conf(d inet.Device) []byte {
	v := map[int]uint32{
		1: 64, 2: d.IPv6MTU, 3: 1, 4: 1, 5: 1, 6: 1, 7: 3, 8: 4000, 9: 1000,
		15: 16, 17: 1, 18: 1, 30: 10000, 31: 1000, 32: 1, 35: 1, 38: 1,
	}
	if r.D.IPv6Privacy { // lifetimes of temporary addresses, which lo never has
		v[11], v[12], v[13], v[14] = 604800, 86400, 3, 600
		if d.Loopback() {
			v[10] = 1<<32 - 1
		}
	}
	v[27] = 1 // accept_dad
	if !d.IPv6DAD {
		v[27] = 1<<32 - 1
	}
	if d.IPv6Off {
		v[26] = 1
	}
	return words(r.D.Inet6Conf, v)
}

// fillNetconf is inet_netconf_fill_devconf and inet6_netconf_fill_devconf.
func (r *Rtnetlink) fillNetconf(family byte, index int32) filler {
	return func(cur *kernel.Task, s *afnetlink.SKB, h uapi.NLMsgHdr) bool {
		a, ok := begin(cur, s, h, rtmNewnetconf, []byte{family, 0, 0, 0})
		if !ok {
			return false
		}
		a.put32(netconfaIfindex, uint32(index))
		a.put32(netconfaForwarding, 0)
		if family == uapi.AFInet {
			a.put32(netconfaRPFilter, 0)
			a.put32(netconfaMCForwarding, 0)
		}
		if r.D.NetconfProxyNeigh {
			a.put32(netconfaProxyNeigh, 0)
		}
		if r.D.NetconfIgnoreLinkdown {
			a.put32(netconfaIgnoreLinkdown, 0)
		}
		return a.end()
	}
}

// dumpNetconf is inet_netconf_dump_devconf and inet6_netconf_dump_devconf: each device, then what holds for all of them
// and for new ones.
func (r *Rtnetlink) dumpNetconf(family byte) dumpFunc {
	return func(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int {
		var indexes []int32
		for _, d := range r.inet.Stack(cb.Net).Devices(cur) {
			if speaks(d, family) {
				indexes = append(indexes, int32(d.Index))
			}
		}
		return list(cur, s, cb, append(indexes, netconfAll, netconfDefault), func(i int32) filler { return r.fillNetconf(family, i) })
	}
}

func speaks(d inet.Device, family byte) bool {
	if family == uapi.AFInet {
		return d.IPv4
	}
	return d.IPv6
}

// getNetconf is inet_netconf_get_devconf: EINVAL for a request that names no device that there is.
func (r *Rtnetlink) getNetconf(cur *kernel.Task, q *request) error {
	invalid := error(kernel.EINVAL)
	if r.D.NetconfPositiveEinval {
		invalid = afnetlink.AckError(kernel.EINVAL)
	}
	const headerLen = 1
	set, err := policy{netconfaIfindex: least(4)}.parse(q.payload, headerLen)
	if err != nil || !set.has(netconfaIfindex) {
		return invalid
	}
	index := int32(set.get32(netconfaIfindex, 0))
	if d, ok := q.stack(r).Device(cur, int(index)); index != netconfAll && index != netconfDefault && (!ok || !speaks(d, q.family)) {
		return invalid
	}
	return r.reply(cur, q, netconfRoom, 0, r.fillNetconf(q.family, index))
}

// A neighTable is what is fixed of a table of neighbours.
type neighTable struct {
	family    byte
	name      string
	keyLen    uint16
	entrySize int
	locktime  uint64
}

func (r *Rtnetlink) neighTable(family byte) neighTable {
	if family == uapi.AFInet {
		return neighTable{family, "arp_cache", 4, r.D.ArpEntrySize, 1000}
	}
	return neighTable{family, "ndisc_cache", 16, r.D.NdiscEntrySize, 0}
}

// fillNeightbl is neightbl_fill_info.
func (r *Rtnetlink) fillNeightbl(t neighTable, entries int) filler {
	return func(cur *kernel.Task, s *afnetlink.SKB, h uapi.NLMsgHdr) bool {
		a, ok := begin(cur, s, h, rtmNewneightbl, []byte{t.family, 0, 0, 0})
		if !ok {
			return false
		}
		a.put(ndtaName, cstring(t.name))
		a.put64(ndtaGcInterval, 30000)
		a.put32(ndtaThresh1, 128)
		a.put32(ndtaThresh2, 512)
		a.put32(ndtaThresh3, 1024)
		config := make([]byte, 32)
		binary.LittleEndian.PutUint16(config, t.keyLen)
		binary.LittleEndian.PutUint16(config[2:], uint16(t.entrySize))
		binary.LittleEndian.PutUint32(config[4:], uint32(entries))
		a.put(ndtaConfig, config)
		a.put(ndtaStats, make([]byte, 8*r.D.NeighCounters))
		r.fillNeighParms(&a, t, 0, 0)
		return a.end()
	}
}

// fillNeightblParms is neightbl_fill_param_info: what a table has for one device, with so many entries.
func (r *Rtnetlink) fillNeightblParms(t neighTable, index, entries int) filler {
	return func(cur *kernel.Task, s *afnetlink.SKB, h uapi.NLMsgHdr) bool {
		a, ok := begin(cur, s, h, rtmNewneightbl, []byte{t.family, 0, 0, 0})
		if !ok {
			return false
		}
		a.put(ndtaName, cstring(t.name))
		r.fillNeighParms(&a, t, index, entries)
		return a.end()
	}
}

// fillNeighParms is neightbl_fill_parms. Each entry of the device is a reference.
func (r *Rtnetlink) fillNeighParms(a *attrs, t neighTable, index, entries int) {
	a.nest(ndtaParms, func() {
		if index != 0 {
			a.put32(ndtpaIfindex, uint32(index))
		}
		a.put32(ndtpaRefcnt, uint32(1+entries))
		a.put32(ndtpaQueueLenBytes, 65536)
		a.put32(ndtpaQueueLen, 31)
		a.put32(ndtpaProxyQlen, 64)
		a.put32(ndtpaAppProbes, 0)
		a.put32(ndtpaUcastProbes, 3)
		a.put32(ndtpaMcastProbes, 3)
		if r.D.NeighReprobes {
			a.put32(ndtpaMcastReprobes, 0)
		}
		a.put64(ndtpaReachableTime, 30000)
		a.put64(ndtpaBaseReachableTime, 30000)
		a.put64(ndtpaGcStaletime, 60000)
		a.put64(ndtpaDelayProbeTime, 5000)
		a.put64(ndtpaRetransTime, 1000)
		a.put64(ndtpaAnycastDelay, 1000)
		a.put64(ndtpaProxyDelay, 800)
		a.put64(ndtpaLocktime, t.locktime)
	})
}

// neighsByDevice counts the neighbours of a family.
func (r *Rtnetlink) neighsByDevice(cur *kernel.Task, stack *inet.Stack, family byte) map[int]int {
	counts := map[int]int{}
	at := r.neighTables(cur, stack, family)
	for i := 0; ; i++ {
		n, ok := at(i)
		if !ok {
			return counts
		}
		counts[n.Dev]++
	}
}

// dumpNeightbl is neightbl_dump_info: each table of neighbours, and what it has for each device, the newest first.
func (r *Rtnetlink) dumpNeightbl(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int {
	var family byte
	if p := cb.Nlh.Payload(cur); len(p) > 0 {
		family = p[0]
	}
	stack := r.inet.Stack(cb.Net)
	devices := stack.Devices(cur)
	var all []filler
	for _, f := range r.neighFamilies(family) {
		t := r.neighTable(f)
		entries := r.neighsByDevice(cur, stack, f)
		total := 0
		for _, n := range entries {
			total += n
		}
		all = append(all, r.fillNeightbl(t, total))
		for i := len(devices) - 1; i >= 0; i-- {
			if speaks(devices[i], t.family) {
				all = append(all, r.fillNeightblParms(t, devices[i].Index, entries[devices[i].Index]))
			}
		}
	}
	return list(cur, s, cb, all, func(f filler) filler { return f })
}
