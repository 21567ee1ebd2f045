package sock

import (
	"encoding/binary"
	"math"

	"nlmmap/kernel"
	"nlmmap/uapi"
)

// plain are options that every socket keeps for whoever asks, and that change nothing for one without a network below it.
type plain struct {
	flags  uint64 // those of plainFlags that are on, by number
	ints   [6]int32
	linger [2]uint32
}

// What plain.ints has.
const (
	priority = iota
	mark
	busyPoll
	pacingRate
	lowat
	peekOff
)

// initialPlain is what a new socket has.
var initialPlain = plain{ints: [6]int32{pacingRate: -1, lowat: 1, peekOff: -1}}

// plainFlags are on or off. SO_BSDCOMPAT can be set, too, and is off for ever.
const plainFlags = 1<<uapi.SoDebug | 1<<uapi.SoReuseaddr | 1<<uapi.SoDontroute | 1<<uapi.SoBroadcast | 1<<uapi.SoKeepalive |
	1<<uapi.SoOobinline | 1<<uapi.SoNoCheck | 1<<uapi.SoReuseport | 1<<uapi.SoTimestamp | 1<<uapi.SoPasssec | 1<<uapi.SoTimestampns |
	1<<uapi.SoRxqOvfl | 1<<uapi.SoWifiStatus | 1<<uapi.SoNofcs | 1<<uapi.SoSelectErrQueue

func isPlainFlag(name int) bool { return name > 0 && name < 64 && plainFlags>>name&1 == 1 }

// plainInt returns the place of an option that is a number.
func (d *Differences) plainInt(name int) (at int, ok bool) {
	switch name {
	case uapi.SoPriority:
		return priority, true
	case uapi.SoMark:
		return mark, true
	case uapi.SoBusyPoll:
		return busyPoll, d.has(name)
	case uapi.SoMaxPacingRate:
		return pacingRate, d.has(name)
	}
	return 0, false
}

// options returns the plain options as they are now.
func (s *Sock[C]) options(cur *kernel.Task) plain {
	if o := s.plain.Load(cur); o != nil {
		return *o
	}
	return initialPlain
}

// setPlain changes them.
func (s *Sock[C]) setPlain(cur *kernel.Task, change func(*plain)) {
	for {
		old := s.plain.Load(cur)
		now := initialPlain
		if old != nil {
			now = *old
		}
		change(&now)
		if s.plain.CompareAndSwap(cur, old, &now) {
			return
		}
	}
}

// setOther sets the options that have nothing to do with messages (sock_setsockopt). v is the first word of the value.
//
// Errors: EPERM for a priority outside 0 to 6 and for a mark without CAP_NET_ADMIN, and for a locked filter that is to be
// unlocked; EACCES for SO_DEBUG without it; EOPNOTSUPP for SO_PEEK_OFF, which UNIX sockets have, and for eBPF filters, which the modelled kernels were
// built without; ENOPROTOOPT for options that can only be read or do not exist.
func (s *Sock[C]) setOther(cur *kernel.Task, name int, v int32, val []byte) error {
	at, isInt := s.d.plainInt(name)
	admin := cur.Capable(uapi.CapNetAdmin)
	switch {
	case name == uapi.SoDebug && v != 0 && !admin:
		return kernel.EACCES
	case name == uapi.SoPriority && (v < 0 || v > 6) && !admin, name == uapi.SoMark && !admin:
		return kernel.EPERM
	case isInt:
		s.setPlain(cur, func(o *plain) { o.ints[at] = v })
	case isPlainFlag(name):
		s.setPlain(cur, func(o *plain) {
			o.flags &^= 1 << name
			if v != 0 {
				o.flags |= 1 << name
			}
		})
	case name == uapi.SoBsdcompat:
	case name == uapi.SoRcvlowat: // a datagram makes readable whatever this says
		if v < 0 {
			v = math.MaxInt32
		}
		s.setPlain(cur, func(o *plain) { o.ints[lowat] = max(v, 1) })
	case name == uapi.SoLinger:
		if len(val) < 8 {
			return kernel.EINVAL
		}
		s.setPlain(cur, func(o *plain) {
			o.linger = [2]uint32{uint32(boolean(v != 0)), binary.LittleEndian.Uint32(val[4:])}
		})
	case name == uapi.SoLockFilter:
		if s.locked.Load(cur) != 0 && v == 0 {
			return kernel.Errorf(kernel.EPERM, "the filter is locked")
		}
		s.locked.Store(cur, boolean(v != 0))
	case name == uapi.SoPeekOff:
		if s.Family != uapi.AFUnix {
			return kernel.EOPNOTSUPP
		}
		s.setPlain(cur, func(o *plain) { o.ints[peekOff] = v })
	case (name == uapi.SoAttachBPF || name == uapi.SoAttachReuseportEBPF) && s.d.has(name):
		if len(val) != 4 {
			return kernel.EINVAL
		}
		return kernel.EOPNOTSUPP
	case name == uapi.SoAttachReuseportCBPF && s.d.has(name):
		return kernel.EINVAL
	default:
		return kernel.Errorf(kernel.ENOPROTOOPT, "there is no SOL_SOCKET option %d to be set", name)
	}
	return nil
}

// getOther reads them (sock_getsockopt), and what can only be read.
func (s *Sock[C]) getOther(cur *kernel.Task, name int) ([]byte, error) {
	le := binary.LittleEndian
	word := func(v int64) ([]byte, error) { return le.AppendUint32(nil, uint32(v)), nil }
	at, isInt := s.d.plainInt(name)
	switch {
	case isInt:
		return word(int64(s.options(cur).ints[at]))
	case isPlainFlag(name):
		return word(int64(s.options(cur).flags >> name & 1))
	case name == uapi.SoBsdcompat, name == uapi.SoAcceptconn:
		return word(0)
	case name == uapi.SoRcvlowat:
		return word(int64(s.options(cur).ints[lowat]))
	case name == uapi.SoSndlowat:
		return word(1)
	case name == uapi.SoLinger:
		o := s.options(cur)
		return le.AppendUint32(le.AppendUint32(nil, o.linger[0]), o.linger[1]), nil
	case name == uapi.SoLockFilter:
		return word(s.locked.Load(cur))
	case name == uapi.SoRcvtimeo:
		return timeval(s.rcvtimeo.Load(cur)), nil
	case name == uapi.SoSndtimeo:
		return timeval(s.sndtimeo.Load(cur)), nil
	case name == uapi.SoPeercred: // nobody: that is for UNIX sockets
		return le.AppendUint32(le.AppendUint32(le.AppendUint32(nil, 0), kernel.Unmapped), kernel.Unmapped), nil
	case name == uapi.SoBindtodevice, name == uapi.SoAttachFilter && s.filter.Load(cur) == nil:
		return nil, nil
	case name == uapi.SoPeername:
		return nil, kernel.Errorf(kernel.EINVAL, "there is no peer's name of that length")
	case name == uapi.SoPeekOff:
		if s.Family != uapi.AFUnix {
			return nil, kernel.EOPNOTSUPP
		}
		return word(int64(s.options(cur).ints[peekOff]))
	case name == uapi.SoBPFExtensions:
		if n := s.d.BPFExtensions; n != 0 {
			return word(int64(n))
		}
	}
	return nil, kernel.Errorf(kernel.ENOPROTOOPT, "there is no SOL_SOCKET option %d to be read", name)
}

// timeval is a timeout as struct timeval, in whole ticks of 4 ms (HZ=250), and zero for one that never comes.
func timeval(t int64) []byte {
	const tick = 4 * int64(kernel.Millisecond)
	if t == int64(kernel.Forever) {
		t = 0
	}
	t = (t + tick - 1) / tick * tick
	b := binary.LittleEndian.AppendUint64(nil, uint64(t/int64(kernel.Second)))
	return binary.LittleEndian.AppendUint64(b, uint64(t%int64(kernel.Second)/1000))
}

// has reports whether a kernel knows an option that not all have.
func (d *Differences) has(name int) bool {
	switch name {
	case uapi.SoBusyPoll, uapi.SoMaxPacingRate, uapi.SoAttachBPF:
		return d.BusyPoll
	case uapi.SoAttachReuseportCBPF, uapi.SoAttachReuseportEBPF:
		return d.ReuseportBPF
	}
	return true
}
