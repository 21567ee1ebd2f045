// Package nftest helps the tests of the netfilter subsystems: a machine, sockets with rings, and messages.
package nftest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/subsys/inet"
	"nlmmap/subsys/nfnetlink"
	"nlmmap/uapi"
)

// T is the part of testing.TB that is needed. Panic is one for examples.
type T interface {
	Helper()
	Error(args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// Panic panics where a test would fail.
type Panic struct{}

// Helper implements T.
func (Panic) Helper() {}

// Error implements T.
func (Panic) Error(args ...any) { panic(fmt.Sprint(args...)) }

// Fatal implements T.
func (Panic) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// Fatalf implements T.
func (Panic) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// A Machine has NETLINK_NETFILTER and IPv4.
type Machine struct {
	T    T
	K    *kernel.Kernel
	NL   *afnetlink.Netlink
	NF   *nfnetlink.Family
	Inet *inet.Inet
	// Main is a process in a namespace of its own.
	Main *kernel.Task
}

// Boot starts a machine; set changes named differences of the release, as "name=value".
func Boot(t T, r kernel.Release, set ...string) *Machine {
	v := kernel.Version{Release: r, Set: map[string]string{}}
	for _, s := range set {
		name, value, _ := strings.Cut(s, "=")
		v.Set[name] = value
	}
	return BootConfig(t, kernel.Config{Version: v})
}

// BootConfig is Boot with any configuration.
func BootConfig(t T, cfg kernel.Config) *Machine {
	k, err := kernel.Boot(cfg)
	check(t, err)
	nl, err := afnetlink.Register(k)
	check(t, err)
	m := &Machine{T: t, K: k, NL: nl, Inet: inet.Register(k, &inet.Differences{})}
	var d nfnetlink.Differences
	m.Resolve(d.Table())
	m.NF = nfnetlink.Register(nl, &d)
	m.Main = k.NewProcess("main", k.NewNet())
	return m
}

// Resolve gives a package's differences the values that they have on the machine.
func (m *Machine) Resolve(table []kernel.Difference) {
	check(m.T, m.K.Config().Version.Resolve(table))
}

func check(t T, err error) {
	if err != nil {
		t.Helper()
		t.Fatal(err)
	}
}

// Close closes the machine and proves that nothing leaked.
func (m *Machine) Close() {
	m.T.Helper()
	if err := m.K.Close(); err != nil {
		m.T.Error(err)
	}
}

// Stack is the IPv4 stack of main's namespace.
func (m *Machine) Stack() *inet.Stack { return m.Inet.Stack(m.Main.Net()) }

// A Sock is a netfilter socket.
type Sock struct {
	m     *Machine
	Task  *kernel.Task
	FD    int
	addr  uint64
	frame int
	count int
}

// Sock makes a socket of main with a portid.
func (m *Machine) Sock(portid uint32) *Sock { return m.SockOf(m.Main, portid) }

// SockOf makes a socket of a task.
func (m *Machine) SockOf(task *kernel.Task, portid uint32) *Sock {
	m.T.Helper()
	fd, err := task.Socket(uapi.AFNetlink, uapi.SockRaw, uapi.NetlinkNetfilter)
	check(m.T, err)
	check(m.T, task.Bind(fd, uapi.SockaddrNL{Family: uapi.AFNetlink, Pid: portid}.Bytes()))
	return &Sock{m: m, Task: task, FD: fd}
}

// Ring gives the socket an RX ring, mapped, with one block for all frames.
func (s *Sock) Ring(frame, count int) {
	s.m.T.Helper()
	req := uapi.NLMMapReq{BlockSize: uint32(frame * count), BlockNr: 1, FrameSize: uint32(frame), FrameNr: uint32(count)}
	check(s.m.T, s.Task.Setsockopt(s.FD, uapi.SolNetlink, uapi.NetlinkRxRing, req.Bytes()))
	addr, err := s.Task.Mmap(0, uint64(frame*count), uapi.ProtRead|uapi.ProtWrite, uapi.MapShared, s.FD, 0)
	check(s.m.T, err)
	s.addr, s.frame, s.count = addr, frame, count
}

// Frames shows the ring: "V36 C100 U0", and by their first letters RESERVED and SKIP.
func (s *Sock) Frames() string {
	s.m.T.Helper()
	var all []string
	for i := range s.count {
		at := s.addr + uint64(i*s.frame)
		status, err := s.Task.Load32(at)
		check(s.m.T, err)
		n, err := s.Task.Load32(at + uapi.NMLen)
		check(s.m.T, err)
		all = append(all, fmt.Sprintf("%s%d", uapi.StatusName(status)[:1], n))
	}
	return strings.Join(all, " ")
}

// Frame returns n bytes of a frame, header included.
func (s *Sock) Frame(i, n int) []byte {
	s.m.T.Helper()
	b := make([]byte, n)
	check(s.m.T, s.Task.ReadMem(s.addr+uint64(i*s.frame), b))
	return b
}

// Release writes UNUSED and length 0 into all frames.
func (s *Sock) Release() {
	s.m.T.Helper()
	for i := range s.count {
		check(s.m.T, s.Task.Store32(s.addr+uint64(i*s.frame)+uapi.NMLen, 0))
		check(s.m.T, s.Task.Store32(s.addr+uint64(i*s.frame), uapi.NLMMapStatusUnused))
	}
}

// Send sends bytes to the kernel.
func (s *Sock) Send(b ...[]byte) error {
	var all []byte
	for _, x := range b {
		all = append(all, x...)
	}
	_, err := s.Task.Sendto(s.FD, all, uapi.MsgDontwait, uapi.SockaddrNL{Family: uapi.AFNetlink}.Bytes())
	return err
}

// Recv receives a message, nil when there is none.
func (s *Sock) Recv() []byte {
	s.m.T.Helper()
	buf := make([]byte, 1<<17)
	n, err := s.Task.Recvmsg(s.FD, &kernel.Msghdr{Iov: []kernel.Iovec{kernel.Iov(buf)}}, uapi.MsgDontwait)
	if errors.Is(err, kernel.EAGAIN) {
		return nil
	}
	check(s.m.T, err)
	return buf[:n]
}

// Acks receives acknowledgements as long as there are some: their errors.
func (s *Sock) Acks() []unix.Errno {
	s.m.T.Helper()
	acks := []unix.Errno{}
	for b := s.Recv(); b != nil; b = s.Recv() {
		if uapi.ParseNLMsgHdr(b).Type != uapi.NLMsgError {
			s.m.T.Fatalf("% x is no acknowledgement", b)
		}
		acks = append(acks, unix.Errno(-int32(binary.LittleEndian.Uint32(b[16:]))))
	}
	return acks
}

// Ask sends one message on a socket without ring and returns the error of its acknowledgement.
func (s *Sock) Ask(typ uint16, resID uint16, attrs ...[]byte) unix.Errno {
	s.m.T.Helper()
	check(s.m.T, s.Send(Msg(typ, uapi.NLMFRequest|uapi.NLMFAck, resID, attrs...)))
	acks := s.Acks()
	if len(acks) != 1 {
		s.m.T.Fatalf("%d acknowledgements", len(acks))
	}
	return acks[0]
}

// Msg makes a message with a nfgenmsg and attributes.
func Msg(typ, flags, resID uint16, attrs ...[]byte) []byte {
	payload := binary.BigEndian.AppendUint16(make([]byte, 2, uapi.NFGenMsglen), resID)
	return uapi.AppendMessage(nil, uapi.NLMsgHdr{Type: typ, Flags: flags}, append(payload, slices.Concat(attrs...)...))
}

// Attr makes an attribute, padded.
func Attr(typ uint16, data ...byte) []byte {
	return uapi.AppendAttr(nil, typ, data)
}

// Attr32 makes an attribute with a big-endian word.
func Attr32(typ uint16, v uint32) []byte { return Attr(typ, binary.BigEndian.AppendUint32(nil, v)...) }

// Attrs returns the types and lengths of a message's attributes: "1:7 6:4".
func Attrs(msg []byte) string {
	var all []string
	for a := range uapi.WellFormed(uapi.Attrs(msg[uapi.NLMsgHdrlen:], uapi.NFGenMsglen)) {
		all = append(all, fmt.Sprintf("%d:%d", a.Type, len(a.Data)))
	}
	return strings.Join(all, " ")
}
