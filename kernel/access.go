package kernel

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"nlmmap/kernel/memmodel"
	"nlmmap/uapi"
)

// An access is a way in which programs touch memory.
type access uint8

const (
	loadWord access = iota
	storeWord
	readBytes
	writeBytes
)

func (a access) write() bool { return a == storeWord || a == writeBytes }

// access copies between buf and the task's memory, page by page.
func (t *Task) access(addr uint64, buf []byte, a access) error {
	if t.abandoned() {
		return ErrKilled
	}
	if t.quick(addr, buf, a) {
		return nil
	}
	for from, n := 0, len(buf); from < n; {
		at := addr + uint64(from)
		to := min(n, from+int(uapi.PageSize-at&pageMask))
		own := t.walk(at, a.write())
		// The lock is not held over the access in controlled mode, where it is a scheduling point.
		t.as.mu.Lock()
		v, p, err := t.page(at, a.write(), own)
		if err != nil || t.th != nil {
			t.as.mu.Unlock()
		}
		if err != nil {
			return err
		}
		off := p.off + int(at&pageMask)
		if t.k.Watched() && !p.own && p.mem != t.k.zero {
			t.watched(v, at, p.mem, off, buf[from:to], a)
		} else {
			t.touch(p.mem, off, buf[from:to], a)
		}
		if t.th == nil {
			t.as.mu.Unlock()
		}
		from = to
	}
	return nil
}

// quick makes an access in one piece, and reports whether it has: where nobody schedules or watches it, and the pages are
// there, one behind the other in memory. Only bytes that are written keep other accesses of the process out.
func (t *Task) quick(addr uint64, buf []byte, a access) bool {
	if t.th != nil || t.k.Watched() {
		return false
	}
	if a == writeBytes {
		t.as.mu.Lock()
		defer t.as.mu.Unlock()
	} else {
		t.as.mu.RLock()
		defer t.as.mu.RUnlock()
	}
	v := t.as.find(addr)
	if v == nil || v.End-addr < uint64(len(buf)) || v.Prot == uapi.ProtNone ||
		a.write() && (v.Prot&uapi.ProtWrite == 0 || v.Private) {
		return false
	}
	p := v.table.at(addr - v.Start)
	if p.mem == nil || p.zero {
		return false
	}
	in := int(addr & pageMask)
	for n := uapi.PageSize - in; n < len(buf); n += uapi.PageSize {
		if q := v.table.at(addr - v.Start + uint64(n)); q.mem != p.mem || q.off != p.off+in+n {
			return false
		}
	}
	t.touch(p.mem, p.off+in, buf, a)
	return true
}

// touch makes an access.
func (t *Task) touch(m *memmodel.Memory, off int, buf []byte, a access) {
	switch a {
	case loadWord:
		binary.LittleEndian.PutUint32(buf, m.Load32(t.cpu, off))
		t.cpu.Barrier(memmodel.Acquire)
	case storeWord:
		t.cpu.Barrier(memmodel.Release)
		m.Store32(t.cpu, off, binary.LittleEndian.Uint32(buf))
	case readBytes:
		m.Read(t.cpu, off, buf)
	case writeBytes:
		m.Write(t.cpu, off, buf)
	}
}

// watched makes an access to memory that is shared with the kernel and tells of it. Without a CPU of the model a store
// is told of before it is made and a load after: in free mode whoever meets a store has been told of it.
func (t *Task) watched(v *VMA, at uint64, m *memmodel.Memory, off int, buf []byte, a access) {
	file, start := v.File, int(v.Pgoff*uapi.PageSize+at-v.Start)-off
	if t.cpu != nil {
		t.cpu.Probe = func(kind memmodel.Access, off int, data []byte) {
			t.k.Emit(t, AccessEvent{File: file, Off: start + off, Write: kind != memmodel.Loaded, Waiting: kind == memmodel.Waiting, Data: data})
		}
		t.touch(m, off, buf, a)
		t.cpu.Probe = nil
		return
	}
	if !a.write() {
		t.touch(m, off, buf, a)
	}
	t.k.Emit(t, AccessEvent{File: file, Off: start + off, Write: a.write(), Data: bytes.Clone(buf)})
	if a.write() {
		t.touch(m, off, buf, a)
	}
}

// An AccessEvent tells of an access of a program to mapped memory that it shares with the kernel: of a load with what
// it saw, of a store when it becomes visible to others, or before when the task itself sends what it stored. Accesses to
// what RawMem returned are not seen.
type AccessEvent struct {
	File    *File
	Off     int // in the mapped file
	Write   bool
	Waiting bool // a store in the task's store buffer
	Data    []byte
}

// Observation implements Observation.
func (AccessEvent) Observation() {}

func (e AccessEvent) String() string {
	what := "load"
	if e.Write {
		what = "store"
	}
	return fmt.Sprintf("%s of %d bytes at %d: %.16x", what, len(e.Data), e.Off, e.Data)
}

// Load32 reads the aligned word at addr as userspace does, with acquire order. SIGSEGV or SIGBUS when it faults.
func (t *Task) Load32(addr uint64) (uint32, error) {
	var b [4]byte
	err := t.access(addr&^3, b[:], loadWord)
	return binary.LittleEndian.Uint32(b[:]), err
}

// Store32 writes the aligned word at addr, with release order.
func (t *Task) Store32(addr uint64, val uint32) error {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], val)
	return t.access(addr&^3, b[:], storeWord)
}

// ReadMem copies bytes from the task's memory.
func (t *Task) ReadMem(addr uint64, buf []byte) error { return t.access(addr, buf, readBytes) }

// WriteMem copies bytes to the task's memory.
func (t *Task) WriteMem(addr uint64, buf []byte) error { return t.access(addr, buf, writeBytes) }

// RawMem returns the really mapped bytes at addr, for programs that touch memory without the machine in between: only
// with Config.Memfd, and only inside one mapping. They are valid until the mapping changes; touching them against its
// protection is a fault of this very process. EFAULT when there is no such memory.
func (t *Task) RawMem(addr uint64, n int) ([]byte, error) {
	t.as.mu.RLock()
	defer t.as.mu.RUnlock()
	v := t.as.find(addr)
	if v == nil || v.table.real == nil || addr+uint64(n) > v.End {
		return nil, Errorf(EFAULT, "no really mapped memory at %#x", addr)
	}
	if t.k.Watched() {
		t.k.Emit(t, RawMemEvent{v.File})
	}
	off := int(addr - v.Start)
	return v.table.real.Bytes()[off : off+n : off+n], nil
}

// A RawMemEvent tells of a program that has got really mapped bytes of a file: what it does with them nobody sees.
type RawMemEvent struct{ File *File }

// Observation implements Observation.
func (RawMemEvent) Observation() {}

func (e RawMemEvent) String() string { return "raw memory" }
