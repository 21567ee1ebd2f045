// Package fiblookup is NETLINK_FIB_LOOKUP: a request for a route lookup comes back as the answer (spec 13.7).
//
// Request and answer have the same layout behind the header: address, mark, TOS, scope, table asked for, and then the
// result: table, prefix length, next hop, type, scope and error.
//
// Because the answer is a clone of the request, a request that is processed in place in a TX frame (3.10) is answered
// into that frame, and the frame is given back twice: see the defect tx-fib-lookup-resend. The code here has no part
// in it, the marks of a ring message go with the clone.
package fiblookup

import (
	"encoding/binary"
	"net/netip"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/subsys/inet"
	"nlmmap/uapi"
)

// resultLen is the length of struct fib_result_nl, and the offsets are of its fields.
const (
	resultLen    = 20
	offTable     = 10
	offTableID   = 11
	offPrefixlen = 12
	offNhSel     = 13
	offType      = 14
	offScope     = 15
	offErr       = 16
)

type lookup struct {
	nl     *afnetlink.Netlink
	inet   *inet.Inet
	inMain []uint32 // the tables that a lookup in main searches, in order
	miss   int32    // what one says that finds nothing
}

// Register brings the protocol up: nl_fib_lookup_init.
func Register(nl *afnetlink.Netlink, stack *inet.Inet) {
	l := &lookup{nl: nl, inet: stack, inMain: []uint32{inet.TableMain}, miss: 1}
	if stack.D.FIBMerged {
		l.inMain, l.miss = []uint32{inet.TableLocal, inet.TableMain}, -int32(kernel.EAGAIN)
	}
	nl.KernelCreate(uapi.NetlinkFIBLookup, afnetlink.KernelCfg{Input: l.input})
}

// input is nl_fib_input: one message for each buffer, neither type nor flags matter, and what is malformed is ignored.
func (l *lookup) input(cur *kernel.Task, m *afnetlink.Message) {
	n := m.SKB.Len()
	msg := afnetlink.Msg{SKB: m.SKB}
	if n < uapi.NLMsgHdrlen {
		return
	}
	size := msg.Len(cur)
	if int64(n) < int64(size) || size >= uapi.NLMsgHdrlen && size < uapi.NLMsgHdrlen+resultLen {
		return // a length below that of the header passes: what is left of it for the payload counts as large
	}
	answer := l.nl.Clone(cur, m.SKB)
	if answer == nil {
		return
	}
	frn := make([]byte, resultLen)
	inside := frn[:min(resultLen, n-uapi.NLMsgHdrlen)] // a kernel goes on into the room behind the message
	answer.Read(cur, uapi.NLMsgHdrlen, inside)
	l.lookup(cur, m.Net(), frn)
	answer.Write(cur, uapi.NLMsgHdrlen, inside)
	portid := m.SKB.CB.Portid
	answer.CB.Portid, answer.CB.DstGroup = 0, 0
	_, _ = l.nl.Unicast(cur, m.Kernel, answer, portid, 0)
}

// lookup fills the result in: nl_fib_lookup. It is in one table, main if none is named, whatever the rules say.
func (l *lookup) lookup(cur *kernel.Task, net *kernel.Net, frn []byte) {
	stack, dst := l.inet.Stack(net), netip.AddrFrom4([4]byte(frn))
	asked := uint32(frn[offTable])
	if asked == 0 {
		asked = inet.TableMain
	}
	tables := []uint32{asked}
	if asked == inet.TableMain {
		tables = l.inMain
	}
	code := -int32(kernel.ENOENT)
	for _, id := range tables {
		// A table that does not exist has no result at all: tables are made with their first route.
		if !stack.HasTable(cur, id) {
			continue
		}
		frn[offTableID] = byte(asked)
		route, err := stack.LookupIn(cur, dst, id)
		switch errno := kernel.ErrnoOf(err); {
		case err == nil:
			code = 0
			frn[offPrefixlen] = byte(route.Dst.Bits())
			frn[offNhSel] = 0
			frn[offType] = route.Type
			frn[offScope] = route.Scope
		case errno == inet.ENETUNREACH:
			code = l.miss
			continue
		default:
			code = -int32(errno)
		}
		break
	}
	binary.LittleEndian.PutUint32(frn[offErr:], uint32(code))
}
