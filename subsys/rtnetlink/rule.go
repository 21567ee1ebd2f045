package rtnetlink

import (
	"encoding/binary"
	"net/netip"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/subsys/inet"
	"nlmmap/uapi"
)

// Attributes of rules.
const (
	fraDst               = 1
	fraSrc               = 2
	fraIifname           = 3
	fraGoto              = 4
	fraPriority          = 6
	fraFwmark            = 10
	fraFlow              = 11
	fraSuppressIfgroup   = 13
	fraSuppressPrefixlen = 14
	fraTable             = 15
	fraFwmask            = 16
	fraOifname           = 17
)

// Flags of rules that programs see (FIB_RULE_*).
const (
	ruleUnresolved  = 4
	ruleIifDetached = 8
	ruleOifDetached = 16
)

var ruleAttrs = policy{
	fraIifname: text(15), fraOifname: text(15), fraPriority: least(4), fraFwmark: least(4), fraFwmask: least(4), fraTable: least(4),
	fraSuppressPrefixlen: least(4), fraSuppressIfgroup: least(4), fraGoto: least(4), fraFlow: least(4),
}

// fillRule is fib_nl_fill_rule.
func (r *Rtnetlink) fillRule(typ uint16, p inet.PolicyRule) filler {
	return func(cur *kernel.Task, s *afnetlink.SKB, h uapi.NLMsgHdr) bool {
		flags := p.Flags
		if p.Unresolved {
			flags |= ruleUnresolved
		}
		if p.InDetach {
			flags |= ruleIifDetached
		}
		if p.OutDetach {
			flags |= ruleOifDetached
		}
		header := []byte{uapi.AFInet, byte(max(p.Dst.Bits(), 0)), byte(max(p.Src.Bits(), 0)), p.TOS, byte(p.Table), 0, 0, p.Action}
		a, ok := begin(cur, s, h, typ, binary.LittleEndian.AppendUint32(header, flags))
		if !ok {
			return false
		}
		a.put32(fraTable, p.Table)
		suppress := r.D.RuleSuppress
		if suppress {
			a.put32(fraSuppressPrefixlen, uint32(p.SuppressPrefixLen))
		}
		if p.InName != "" {
			a.put(fraIifname, cstring(p.InName))
		}
		if p.OutName != "" {
			a.put(fraOifname, cstring(p.OutName))
		}
		some := func(typ uint16, v uint32) {
			if v != 0 {
				a.put32(typ, v)
			}
		}
		some(fraPriority, p.Priority)
		some(fraFwmark, p.Mark)
		if p.Mark != 0 || p.MarkMask != 0 {
			a.put32(fraFwmask, p.MarkMask)
		}
		some(fraGoto, p.Target)
		if suppress && p.SuppressGroup != -1 {
			a.put32(fraSuppressIfgroup, uint32(p.SuppressGroup))
		}
		if p.Dst.Bits() > 0 {
			a.putIP(fraDst, p.Dst.Addr())
		}
		if p.Src.Bits() > 0 {
			a.putIP(fraSrc, p.Src.Addr())
		}
		return a.end()
	}
}

// ruleRequest reads NEWRULE and DELRULE: EAFNOSUPPORT for a family without rules, EINVAL for an address that does not fit
// its length.
func (q *request) ruleRequest() (p inet.PolicyRule, set attrSet, err error) {
	const headerLen = rtmsgLen // that of a rule is as long
	if q.short(headerLen) {
		return p, nil, kernel.EINVAL
	}
	if q.family != uapi.AFInet {
		return p, nil, kernel.EAFNOSUPPORT
	}
	h := q.payload
	address := func(typ uint16, bits byte) (netip.Prefix, error) {
		b := set[typ]
		if bits > 32 || bits > 0 && len(b) != 4 {
			return netip.Prefix{}, kernel.Errorf(kernel.EINVAL, "an address of %d bytes, of which %d bits count", len(b), bits)
		}
		if bits == 0 {
			return netip.Prefix{}, nil
		}
		return netip.PrefixFrom(netip.AddrFrom4([4]byte(b)), int(bits)), nil
	}
	// Addresses are looked at before the policy of the others.
	for a := range uapi.WellFormed(uapi.Attrs(h, headerLen)) {
		if set == nil {
			set = attrSet{}
		}
		set[a.Type] = a.Data
	}
	if p.Dst, err = address(fraDst, h[1]); err != nil {
		return p, nil, err
	}
	if p.Src, err = address(fraSrc, h[2]); err != nil {
		return p, nil, err
	}
	if set, err = ruleAttrs.parse(h, headerLen); err != nil {
		return p, nil, err
	}
	p.TOS, p.Action, p.Flags = h[3], h[7], binary.LittleEndian.Uint32(h[8:])
	p.Table = set.get32(fraTable, uint32(h[4]))
	p.Priority, p.Target = set.get32(fraPriority, 0), set.get32(fraGoto, 0)
	p.Mark = set.get32(fraFwmark, 0)
	if p.Mark != 0 {
		p.MarkMask = 1<<32 - 1
	}
	p.MarkMask = set.get32(fraFwmask, p.MarkMask)
	p.InName, p.OutName = gostring(set[fraIifname]), gostring(set[fraOifname])
	p.SuppressPrefixLen, p.SuppressGroup = int32(set.get32(fraSuppressPrefixlen, 1<<32-1)), int32(set.get32(fraSuppressIfgroup, 1<<32-1))
	return p, set, nil
}

// newRule is fib_nl_newrule: EINVAL for a jump that goes back or nowhere, and for a type of service that no packet has. A
// rule for table 0 gets one that is free.
func (r *Rtnetlink) newRule(cur *kernel.Task, q *request) error {
	p, set, err := q.ruleRequest()
	if err != nil {
		return err
	}
	stack := q.stack(r)
	const tosMask = 0x1e
	switch {
	case p.TOS&^tosMask != 0:
		return kernel.Errorf(kernel.EINVAL, "type of service %#x", p.TOS)
	case p.Action == inet.ActGoto && (p.Target == 0 || p.Target <= p.Priority):
		return kernel.Errorf(kernel.EINVAL, "a jump from %d to %d", p.Priority, p.Target)
	case p.Action != inet.ActGoto && p.Target != 0:
		return kernel.Errorf(kernel.EINVAL, "a target without a jump")
	case p.Action == inet.ActTable && p.Table == 0:
		p.Table = stack.EmptyTable(cur)
	}
	stack.AddPolicyRule(cur, q.cause(), p, set.has(fraPriority))
	return nil
}

// delRule is fib_nl_delrule: it removes the first rule that has what the request says. ENOENT when there is none.
func (r *Rtnetlink) delRule(cur *kernel.Task, q *request) error {
	p, set, err := q.ruleRequest()
	if err != nil {
		return err
	}
	return q.stack(r).DelPolicyRule(cur, q.cause(), func(o inet.PolicyRule) bool {
		return (p.Action == 0 || p.Action == o.Action) && (p.Table == 0 || p.Table == o.Table) &&
			(!set.has(fraPriority) || p.Priority == o.Priority) && (!set.has(fraIifname) || p.InName == o.InName) &&
			(!set.has(fraOifname) || p.OutName == o.OutName) && (!set.has(fraFwmark) || p.Mark == o.Mark) &&
			(!set.has(fraFwmask) || p.MarkMask == o.MarkMask) && (q.payload[2] == 0 || p.Src == o.Src) &&
			(q.payload[1] == 0 || p.Dst == o.Dst) && (p.TOS == 0 || p.TOS == o.TOS)
	})
}

// dumpRules is fib_nl_dumprule: EAFNOSUPPORT for the families without policy routing.
func (r *Rtnetlink) dumpRules(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int {
	if p := cb.Nlh.Payload(cur); len(p) > 0 && p[0] != uapi.AFUnspec && p[0] != uapi.AFInet {
		return -int(kernel.EAFNOSUPPORT)
	}
	return list(cur, s, cb, r.inet.Stack(cb.Net).PolicyRules(cur), func(p inet.PolicyRule) filler {
		return r.fillRule(uapi.RTMNewrule, p)
	})
}

// ruleChanged announces a rule: notify_rule_change.
func (r *Rtnetlink) ruleChanged(cur *kernel.Task, s *inet.Stack, p inet.PolicyRule, gone bool, by inet.Cause) {
	typ := uint16(uapi.RTMNewrule)
	if gone {
		typ = uapi.RTMDelrule
	}
	r.notify(cur, s.Net(), GroupIPv4Rule, ruleRoom, by, r.fillRule(typ, p))
}
