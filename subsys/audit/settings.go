package audit

import (
	"encoding/binary"

	"nlmmap/kernel"
)

// locked is the value of settings.enabled from which there is no way back.
const locked = 2

// settings are what AUDIT_SET and AUDIT_SET_FEATURE change.
type settings struct {
	enabled, failure, pid, rateLimit, backlogLimit, backlogWaitTime uint32
	features, featureLocks                                          uint32
}

// What AUDIT_SET changes, by bit of its mask (AUDIT_STATUS_*).
const (
	setEnabled = 1 << iota
	setFailure
	setPid
	setRateLimit
	setBacklogLimit
	setBacklogWaitTime
)

// maxBacklogWaitTime is ten times what the kernel begins with.
const maxBacklogWaitTime = 150000

// status is struct audit_status, of as many bytes as a kernel knows: a mask, the settings, what was lost and what waits, which is
// nothing, and a bitmap of what can be asked for.
func (s *settings) status(size int, bitmap uint32) []byte {
	words := []uint32{0, s.enabled, s.failure, s.pid, s.rateLimit, s.backlogLimit, 0, 0, bitmap, s.backlogWaitTime}
	b := make([]byte, max(size, 4*len(words)))
	for i, w := range words {
		binary.LittleEndian.PutUint32(b[4*i:], w)
	}
	return b[:size]
}

// set is AUDIT_SET: the values that the mask names. What comes before an error stays changed. EPERM when the settings are locked,
// EINVAL for values that there are not.
func (s *settings) set(payload []byte) error {
	var b [40]byte // a request of a program that knows less is shorter
	copy(b[:], payload)
	word := func(i int) uint32 { return binary.LittleEndian.Uint32(b[4*i:]) }
	if s.enabled == locked {
		return kernel.Errorf(kernel.EPERM, "the settings are locked")
	}
	mask := word(0)
	for _, v := range []struct {
		bit  uint32
		at   int
		to   *uint32
		most uint32
	}{
		{setEnabled, 1, &s.enabled, locked},
		{setFailure, 2, &s.failure, 2},
		{setPid, 3, &s.pid, 1<<32 - 1},
		{setRateLimit, 4, &s.rateLimit, 1<<32 - 1},
		{setBacklogLimit, 5, &s.backlogLimit, 1<<32 - 1},
		{setBacklogWaitTime, 9, &s.backlogWaitTime, maxBacklogWaitTime},
	} {
		if mask&v.bit == 0 {
			continue
		}
		if word(v.at) > v.most {
			return kernel.Errorf(kernel.EINVAL, "%d is more than %d", word(v.at), v.most)
		}
		*v.to = word(v.at)
	}
	return nil
}

// Features that can be set: ONLY_UNSET_LOGINUID and LOGINUID_IMMUTABLE.
const knownFeatures = 3

// showFeatures is struct audit_features: a version, a mask, what is set, and what is locked.
func (s *settings) showFeatures() []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, 1)
	b = le.AppendUint32(b, 1<<32-1)
	b = le.AppendUint32(b, s.features)
	return le.AppendUint32(b, s.featureLocks)
}

// setFeatures is audit_set_feature: EINVAL for a short request, and for a feature that there is not; EPERM for a change of one that
// is locked.
func (s *settings) setFeatures(payload []byte) error {
	if len(payload) < 16 {
		return kernel.Errorf(kernel.EINVAL, "%d bytes", len(payload))
	}
	le := binary.LittleEndian
	mask, features, locks := le.Uint32(payload[4:]), le.Uint32(payload[8:]), le.Uint32(payload[12:])
	switch {
	case mask&features&^knownFeatures != 0:
		return kernel.Errorf(kernel.EINVAL, "features %#x", features)
	case mask&s.featureLocks&(features^s.features|locks^s.featureLocks) != 0:
		return kernel.Errorf(kernel.EPERM, "features %#x are locked", s.featureLocks)
	}
	s.features = s.features&^mask | features&mask
	s.featureLocks |= locks & mask
	return nil
}
