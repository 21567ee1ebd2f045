package interpose

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// memory is the memory of a thread's process. Both calls return EFAULT for addresses that are none.
type memory struct{ tid int }

func (m memory) read(addr uint64, buf []byte) error {
	if len(buf) == 0 {
		return nil
	}
	n, err := unix.ProcessVMReadv(m.tid, []unix.Iovec{iovec(buf)}, []unix.RemoteIovec{{Base: uintptr(addr), Len: len(buf)}}, 0)
	return whole(n, len(buf), err)
}

func (m memory) write(addr uint64, buf []byte) error {
	if len(buf) == 0 {
		return nil
	}
	n, err := unix.ProcessVMWritev(m.tid, []unix.Iovec{iovec(buf)}, []unix.RemoteIovec{{Base: uintptr(addr), Len: len(buf)}}, 0)
	return whole(n, len(buf), err)
}

func iovec(buf []byte) unix.Iovec {
	v := unix.Iovec{Base: &buf[0]}
	v.SetLen(len(buf))
	return v
}

func whole(n, want int, err error) error {
	if err == nil && n == want {
		return nil
	}
	// EFAULT, a transfer that ended early, and ESRCH of a caller that has died: nobody will see which.
	return unix.EFAULT
}

func (m memory) word(addr uint64) (uint32, error) {
	var b [4]byte
	err := m.read(addr, b[:])
	return binary.LittleEndian.Uint32(b[:]), err
}

func (m memory) setWord(addr uint64, v uint32) error {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], v)
	return m.write(addr, b[:])
}

// text reads a string of at most limit bytes that a zero byte ends; without one it is cut.
func (m memory) text(addr uint64, limit int) (string, error) {
	var s []byte
	for len(s) < limit {
		// Up to the end of the page: the next one may not exist.
		buf := make([]byte, min(limit-len(s), int(4096-addr&4095)))
		if err := m.read(addr, buf); err != nil {
			return "", err
		}
		for i, c := range buf {
			if c == 0 {
				return string(append(s, buf[:i]...)), nil
			}
		}
		s, addr = append(s, buf...), addr+uint64(len(buf))
	}
	return string(s), nil
}
