package rtnetlink

import (
	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/uapi"
)

type dumpFunc = func(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int

// dumper returns the dump handler of (family, type), or of the unspecified family; nil for none (spec 11.3).
func (r *Rtnetlink) dumper(family byte, typ uint16) dumpFunc {
	switch family {
	case uapi.AFInet:
		switch typ {
		case uapi.RTMGetaddr:
			return r.dumpAddrs
		case uapi.RTMGetroute:
			return r.dumpRoutes
		case rtmGetnetconf:
			return r.dumpNetconf(uapi.AFInet)
		}
	case uapi.AFInet6:
		switch typ {
		case uapi.RTMGetlink:
			return r.dumpLinks6
		case uapi.RTMGetaddr:
			return r.dumpAddrs6
		case uapi.RTMGetroute:
			return r.dumpRoutes6
		case rtmGetmulticast:
			return r.dumpMulticast6
		case rtmGetaddrlabel:
			return r.dumpAddrlabels
		case rtmGetanycast:
			return dumpNothing
		case rtmGetnetconf:
			return r.dumpNetconf(uapi.AFInet6)
		}
	case afBridge:
		switch typ {
		case uapi.RTMGetlink:
			return dumpNothing
		case uapi.RTMGetneigh:
			return r.dumpFDB
		}
	}
	switch typ {
	case uapi.RTMGetlink:
		return r.dumpLinks
	case uapi.RTMGetaddr:
		return inTurn(r.dumpAddrs, r.dumpAddrs6)
	case uapi.RTMGetroute:
		return inTurn(r.dumpRoutes, r.dumpRoutes6)
	case uapi.RTMGetneigh:
		return r.dumpNeighs
	case uapi.RTMGetrule:
		return r.dumpRules
	case rtmGetneightbl:
		return r.dumpNeightbl
	case rtmGetnsid:
		return dumpNothing
	case rtmGetqdisc, rtmGettclass, rtmGetaction:
		if r.built(typ) {
			return dumpNothing
		}
	}
	return nil
}

// built reports whether the kernel has the handlers of a type built in, which all but those of traffic control are.
func (r *Rtnetlink) built(typ uint16) bool {
	return r.D.TrafficControl || typ < rtmNewqdisc || typ > rtmGetaction
}

// dumpNothing is a dump of what no namespace here has.
func dumpNothing(*kernel.Task, *afnetlink.SKB, *afnetlink.Callback) int { return 0 }

// Places of Args, the memory of a dump from message to message.
const (
	argNext   = 0 // the entry that comes next
	argEnded  = 1 // the dump has seen the end of what it lists
	argFamily = 5 // of inTurn
)

// inTurn dumps one family after the other: rtnl_dump_all. A message that has something of one family has nothing of
// the next.
func inTurn(dumps ...dumpFunc) dumpFunc {
	return func(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int {
		for ; int(cb.Args[argFamily]) < len(dumps); cb.Args[argFamily]++ {
			if n := dumps[cb.Args[argFamily]](cur, s, cb); n != 0 {
				return n
			}
			cb.Args[argNext], cb.Args[argEnded], cb.State, cb.Seq, cb.PrevSeq = 0, 0, nil, 0, 0
		}
		return 0
	}
}

// each appends the messages of entries from Args[argNext] on, until one does not fit; it is the first of the next message
// (spec 11.6). fill returns ok = false behind the last entry, and no filler for one that is left out. A dump that has come
// to its end stays there, whatever is added meanwhile.
func each(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback, flags uint16, fill func(i int) (f filler, ok bool)) int {
	for ; cb.Args[argEnded] == 0; cb.Args[argNext]++ {
		f, ok := fill(int(cb.Args[argNext]))
		if !ok {
			cb.Args[argEnded] = 1
			break
		}
		if f == nil {
			continue
		}
		if !put(cur, s, cb, flags, f) {
			break
		}
	}
	return s.Len()
}

// put appends one message of a dump. It reports whether that fits.
func put(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback, flags uint16, fill filler) bool {
	if !fill(cur, s, uapi.NLMsgHdr{Flags: uapi.NLMFMulti | flags, Seq: cb.Nlh.Seq(cur), Pid: cb.Portid}) {
		return false
	}
	if cb.PrevSeq != 0 && cb.Seq != cb.PrevSeq {
		// The mark goes to the first message of the buffer.
		first := cb.Nlh
		first.SKB, first.Off = s, 0
		s.Write32(cur, 4, uint32(first.Type(cur))|uint32(first.Flags(cur)|uapi.NLMFDumpIntr)<<16)
	}
	cb.PrevSeq = cb.Seq
	return true
}

// list is a dump of a slice.
func list[T any](cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback, all []T, fill func(T) filler) int {
	return each(cur, s, cb, 0, func(i int) (filler, bool) {
		if i >= len(all) {
			return nil, false
		}
		return fill(all[i]), true
	})
}
