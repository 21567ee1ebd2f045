package live

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Rules are those of iptables' filter table, which every kernel of interest has and which needs no program: one
// setsockopt replaces the whole table. The table is three chains, each with a policy that accepts, and an end:
//
//	INPUT:   accept
//	FORWARD: accept
//	OUTPUT:  rule... accept
//	error
const (
	filterHooks = 1<<hookIn | 1<<hookForward | 1<<hookOut
	hookIn      = 1
	hookForward = 2
	hookOut     = 3
	hookCount   = 5

	soGetInfo     = 64
	soSetReplace  = 64
	verdictAccept = 0xfffffffe // -NF_ACCEPT - 1

	infoLen    = 84  // struct ipt_getinfo
	replaceLen = 96  // struct ipt_replace
	entryLen   = 112 // struct ipt_entry
	extHdrLen  = 32  // struct xt_entry_match, xt_entry_target
	counterLen = 16  // struct xt_counters

	pristineEntries = 4
)

// extension builds a match or a target: size, name, revision, data.
func extension(name string, revision byte, data []byte) []byte {
	b := make([]byte, (extHdrLen+len(data)+7)&^7)
	le.PutUint16(b, uint16(len(b)))
	copy(b[2:], name)
	b[31] = revision
	copy(b[extHdrLen:], data)
	return b
}

func acceptTarget() []byte {
	return extension("", 0, le.AppendUint32(nil, verdictAccept))
}

func errorTarget() []byte {
	return extension("ERROR", 0, append([]byte("ERROR"), make([]byte, 25)...))
}

func nfqueueTarget(num int, bypass bool) []byte {
	data := le.AppendUint16(nil, uint16(num))
	if !bypass {
		return extension("NFQUEUE", 0, data)
	}
	data = le.AppendUint16(data, 1) // queues in all
	data = le.AppendUint16(data, 1) // bypass
	return extension("NFQUEUE", 2, data)
}

func nflogTarget(group, threshold int, prefix string) []byte {
	data := make([]byte, 76) // length 0: whole packets
	le.PutUint16(data[4:], uint16(group))
	le.PutUint16(data[6:], uint16(threshold))
	copy(data[12:], prefix)
	return extension("NFLOG", 0, data)
}

// udpDiscard matches UDP packets to port 9.
func udpDiscard() []byte {
	var data []byte
	for _, port := range []uint16{0, 0xffff, 9, 9} { // source from, to; destination from, to
		data = le.AppendUint16(data, port)
	}
	return extension("udp", 0, append(data, 0, 0))
}

// entry builds one entry of the table.
func entry(protocol uint16, match, target []byte) []byte {
	b := make([]byte, entryLen)
	le.PutUint16(b[80:], protocol)
	le.PutUint16(b[88:], uint16(entryLen+len(match)))
	le.PutUint16(b[90:], uint16(entryLen+len(match)+len(target)))
	return append(append(b, match...), target...)
}

// replacement builds the argument that makes the table hold the given rules. counters is where the kernel puts the
// counters of the old entries.
func replacement(targets [][]byte, oldEntries int, counters unsafe.Pointer) []byte {
	header := make([]byte, replaceLen)
	copy(header, "filter")
	var entries []byte
	hook, underflow := func(i int) []byte { return header[44+4*i:] }, func(i int) []byte { return header[64+4*i:] }
	for i := hookIn; i <= hookOut; i++ {
		le.PutUint32(hook(i), uint32(len(entries)))
		if i == hookOut {
			for _, t := range targets {
				entries = append(entries, entry(unix.IPPROTO_UDP, udpDiscard(), t)...)
			}
		}
		le.PutUint32(underflow(i), uint32(len(entries)))
		entries = append(entries, entry(0, nil, acceptTarget())...)
	}
	entries = append(entries, entry(0, nil, errorTarget())...)
	le.PutUint32(header[32:], filterHooks)
	le.PutUint32(header[36:], uint32(len(targets)+pristineEntries))
	le.PutUint32(header[40:], uint32(len(entries)))
	le.PutUint32(header[84:], uint32(oldEntries))
	le.PutUint64(header[88:], uint64(uintptr(counters)))
	return append(header, entries...)
}

func (a *admin) addRule(target []byte) error {
	if err := a.loopback(); err != nil {
		return err
	}
	return a.setRules(append(a.rules[:len(a.rules):len(a.rules)], target))
}

func (a *admin) flushRules() error { return a.setRules(nil) }

// setRules replaces the table. One that somebody else has changed is left alone.
func (a *admin) setRules(targets [][]byte) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	info := make([]byte, infoLen)
	copy(info, "filter")
	length := uint32(len(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_IP, soGetInfo,
		uintptr(unsafe.Pointer(&info[0])), uintptr(unsafe.Pointer(&length)), 0)
	if errno != 0 {
		return fmt.Errorf("live: rules for nfqueue and nflog need the kernel's iptables filter table: %w", errno)
	}
	old := int(le.Uint32(info[76:]))
	if old != pristineEntries+len(a.rules) {
		return errors.New("live: the filter table of this network namespace holds rules of somebody else")
	}
	counters := make([]byte, old*counterLen)
	var pin runtime.Pinner
	pin.Pin(&counters[0])
	defer pin.Unpin()
	arg := replacement(targets, old, unsafe.Pointer(&counters[0]))
	_, _, errno = unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.IPPROTO_IP, soSetReplace,
		uintptr(unsafe.Pointer(&arg[0])), uintptr(len(arg)), 0)
	if errno != 0 {
		return fmt.Errorf("live: the kernel refused the rule, it may lack the udp match, NFQUEUE or NFLOG: %w", errno)
	}
	a.rules = targets
	return nil
}
