package inet

import (
	"cmp"
	"net/netip"
	"slices"

	"nlmmap/kernel"
)

// What a policy rule does (FR_ACT_*).
const (
	ActTable       = 1
	ActGoto        = 2
	ActNop         = 3
	ActBlackhole   = 6
	ActUnreachable = 7
	ActProhibit    = 8
)

// FlagInvert makes a policy rule match what it does not (FIB_RULE_INVERT).
const FlagInvert = 2

// A PolicyRule says which table the route of a packet is looked for in (struct fib4_rule). Interfaces are names: they may
// not exist yet.
type PolicyRule struct {
	Priority            uint32
	Src, Dst            netip.Prefix // the zero value, or with length 0, for all
	TOS, Action         uint8
	Table, Target       uint32 // Target is the priority that ActGoto goes to
	Mark, MarkMask      uint32
	InName, OutName     string
	Flow, Flags         uint32
	SuppressPrefixLen   int32 // -1 for none
	SuppressGroup       int32 // -1 for none
	InDetach, OutDetach bool  // the interface is not there
	Unresolved          bool  // the target is not there
}

// defaultRules are the rules that every namespace begins with.
func defaultRules() []PolicyRule {
	rule := func(priority, table uint32) PolicyRule {
		return PolicyRule{Priority: priority, Action: ActTable, Table: table, SuppressPrefixLen: -1, SuppressGroup: -1}
	}
	return []PolicyRule{rule(0, TableLocal), rule(0x7ffe, TableMain), rule(0x7fff, TableDefault)}
}

// PolicyRules returns the rules, in the order in which they are asked.
func (s *Stack) PolicyRules(cur *kernel.Task) []PolicyRule { return slices.Clone(s.policy.Get(cur)) }

// AddPolicyRule is fib_nl_newrule behind its checks. A rule without priority goes before the first that has one. A rule
// goes behind those of its priority.
func (s *Stack) AddPolicyRule(cur *kernel.Task, by Cause, r PolicyRule, hasPriority bool) {
	s.policy.Change(cur, func(rules *[]PolicyRule) {
		if !hasPriority && len(*rules) > 1 {
			r.Priority = max((*rules)[1].Priority, 1) - 1
		}
		i := 0
		for i < len(*rules) && (*rules)[i].Priority <= r.Priority {
			i++
		}
		*rules = slices.Insert(slices.Clone(*rules), i, r)
	})
	s.resolveRules(cur)
	for _, o := range s.PolicyRules(cur) {
		if o.Priority == r.Priority {
			r = o
		}
	}
	s.tellRule(cur, r, false, by)
}

// DelPolicyRule removes the first rule that match accepts: ENOENT when there is none.
func (s *Stack) DelPolicyRule(cur *kernel.Task, by Cause, match func(PolicyRule) bool) error {
	var gone PolicyRule
	found := false
	s.policy.Change(cur, func(rules *[]PolicyRule) {
		if i := slices.IndexFunc(*rules, match); i >= 0 {
			gone, found = (*rules)[i], true
			*rules = slices.Delete(slices.Clone(*rules), i, i+1)
		}
	})
	if !found {
		return kernel.Errorf(kernel.ENOENT, "no such rule")
	}
	s.resolveRules(cur)
	s.tellRule(cur, gone, true, by)
	return nil
}

// resolveRules finds the interfaces and the targets of rules.
func (s *Stack) resolveRules(cur *kernel.Task) {
	missing := func(name string) bool {
		_, ok := s.DeviceNamed(cur, name)
		return name != "" && !ok
	}
	rules := s.PolicyRules(cur)
	for i := range rules {
		r := &rules[i]
		r.InDetach, r.OutDetach = missing(r.InName), missing(r.OutName)
		r.Unresolved = r.Action == ActGoto && !slices.ContainsFunc(rules, func(o PolicyRule) bool { return o.Priority == r.Target })
	}
	s.policy.Change(cur, func(now *[]PolicyRule) { *now = rules })
}

func (s *Stack) tellRule(cur *kernel.Task, r PolicyRule, gone bool, by Cause) {
	for _, n := range s.in.notifiers {
		if n.Rule != nil {
			n.Rule(cur, s, r, gone, by)
		}
	}
}

// A Flow is what a route is looked for: the zero value of each field stands for any.
type Flow struct {
	Src, Dst netip.Addr
	TOS      uint8
	Mark     uint32
	In, Out  int   // interface indexes
	Scope    uint8 // routes of a wider scope do not count
}

// matches is fib_rule_match.
func (r *PolicyRule) matches(f Flow, nameOf func(index int) string) bool {
	in := func(p netip.Prefix, a netip.Addr) bool {
		if p.Bits() <= 0 {
			return true
		}
		if !a.IsValid() {
			a = netip.IPv4Unspecified()
		}
		return p.Contains(a)
	}
	ok := (r.InName == "" || nameOf(cmp.Or(f.In, LoIndex)) == r.InName) && (r.OutName == "" || f.Out != 0 && nameOf(f.Out) == r.OutName) &&
		(f.Mark^r.Mark)&r.MarkMask == 0 && in(r.Src, f.Src) && in(r.Dst, f.Dst) && (r.TOS == 0 || r.TOS == f.TOS)
	return ok != (r.Flags&FlagInvert != 0)
}
