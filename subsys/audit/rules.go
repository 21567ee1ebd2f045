package audit

import (
	"encoding/binary"
	"slices"

	"nlmmap/kernel"
)

// A rule is struct audit_rule_data with the strings behind it, as a program has sent it, and as it is shown.
type rule []byte

const (
	ruleLen     = 1040 // without strings
	rulePrepend = 0x10 // in the number of its list: at the beginning
	lastList    = 5
	lastAction  = 2
	maxFields   = 64
)

// list is the number of the list that a rule is in.
func (r rule) list() uint32 { return binary.LittleEndian.Uint32(r) }

// changeRules is audit_rule_change: it adds a rule, or deletes the one that is equal. They are sorted by list, and then as they came.
//
// Errors: EINVAL for a rule that is short, or that names a list, an action or a number of fields that there is not; EEXIST, ENOENT.
func changeRules(rules *[]rule, payload []byte, add bool) error {
	le := binary.LittleEndian
	if len(payload) < ruleLen {
		return kernel.Errorf(kernel.EINVAL, "a rule of %d bytes", len(payload))
	}
	r := rule(append([]byte(nil), payload[:ruleLen+min(int(le.Uint32(payload[ruleLen-4:])), len(payload)-ruleLen)]...))
	first := r.list()&rulePrepend != 0
	le.PutUint32(r, r.list()&^rulePrepend)
	if r.list() > lastList || le.Uint32(r[4:]) > lastAction || le.Uint32(r[8:]) > maxFields {
		return kernel.Errorf(kernel.EINVAL, "list %d, action %d, %d fields", r.list(), le.Uint32(r[4:]), le.Uint32(r[8:]))
	}
	same := func(o rule) bool { return string(o) == string(r) }
	at := slices.IndexFunc(*rules, same)
	switch {
	case !add && at < 0:
		return kernel.ENOENT
	case !add:
		*rules = slices.Delete(slices.Clone(*rules), at, at+1)
		return nil
	case at >= 0:
		return kernel.EEXIST
	}
	at = slices.IndexFunc(*rules, func(o rule) bool { return o.list() > r.list() || first && o.list() == r.list() })
	if at < 0 {
		at = len(*rules)
	}
	*rules = slices.Insert(slices.Clone(*rules), at, r)
	return nil
}
