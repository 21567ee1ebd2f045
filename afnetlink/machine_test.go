package afnetlink_test

import (
	"encoding/binary"
	"errors"
	"testing"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/kernel/inspect"
	"nlmmap/uapi"
)

// testProto is the protocol of the tests. The kernel acknowledges requests; type 20 dumps numbers, as many as the first
// payload byte says, 100 bytes each; type 21 fails with EEXIST.
const testProto = uapi.NetlinkNFLog

const (
	typeDump = 20
	typeFail = 21
)

// machine is a booted machine with the protocol, and a process.
type machine struct {
	*kernel.Task
	k  *kernel.Kernel
	nl *afnetlink.Netlink
	t  testing.TB
}

func boot(t testing.TB, cfg kernel.Config) *machine {
	t.Helper()
	k, err := kernel.Boot(cfg)
	must(t, err)
	nl, err := afnetlink.Register(k)
	must(t, err)
	nl.KernelCreate(testProto, afnetlink.KernelCfg{Groups: 40, NonrootRecv: true, NonrootSend: true, Input: input})
	nl.KernelCreate(uapi.NetlinkUsersock, afnetlink.KernelCfg{NoKernelSock: true, NonrootSend: true})
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return &machine{k.NewProcess("main", k.InitNet()), k, nl, t}
}

// each runs a test on all releases.
func each(t *testing.T, test func(t *testing.T, m *machine, r kernel.Release)) {
	for _, r := range kernel.Releases() {
		t.Run(r.String(), func(t *testing.T) { test(t, boot(t, kernel.Config{Version: kernel.Version{Release: r}}), r) })
	}
}

func input(cur *kernel.Task, m *afnetlink.Message) { afnetlink.RcvSKB(cur, m, handle) }

func handle(cur *kernel.Task, m *afnetlink.Message, msg afnetlink.Msg, h uapi.NLMsgHdr) error {
	switch h.Type {
	case typeFail:
		return kernel.EEXIST
	case typeDump:
		return m.Netlink.DumpStart(cur, m, msg, afnetlink.DumpControl{Dump: dumpNumbers})
	}
	return nil
}

func dumpNumbers(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int {
	all := int64(cb.Nlh.Payload(cur)[0])
	for ; cb.Args[0] < all; cb.Args[0]++ {
		h := uapi.NLMsgHdr{Type: typeDump, Flags: uapi.NLMFMulti, Seq: cb.Nlh.Seq(cur), Pid: cb.Portid}
		b, ok := afnetlink.PutMsg(cur, s, h, 84)
		if !ok {
			return s.Len()
		}
		b.Put(cur, s, append([]byte{byte(cb.Args[0])}, make([]byte, 83)...))
		b.End(cur, s)
	}
	return s.Len()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

func addr(pid, groups uint32) []byte {
	return uapi.SockaddrNL{Family: uapi.AFNetlink, Pid: pid, Groups: groups}.Bytes()
}

// open opens a socket of the test protocol, bound if portid is not 0.
func (m *machine) open(portid, groups uint32) int {
	m.t.Helper()
	return m.openProto(testProto, portid, groups)
}

func (m *machine) openProto(proto int, portid, groups uint32) int {
	m.t.Helper()
	fd, err := m.Socket(uapi.AFNetlink, uapi.SockRaw, proto)
	must(m.t, err)
	if portid != 0 {
		must(m.t, m.Bind(fd, addr(portid, groups)))
	}
	return fd
}

func (m *machine) sock(fd int) *afnetlink.Sock { return afnetlink.SockOf(m.FileOf(inspect.Key{}, fd)) }

func (m *machine) setopt(fd, name int, v uint32) error {
	return m.Setsockopt(fd, uapi.SolNetlink, name, binary.LittleEndian.AppendUint32(nil, v))
}

func (m *machine) setsock(fd, name int, v uint32) {
	m.t.Helper()
	must(m.t, m.Setsockopt(fd, uapi.SolSocket, name, binary.LittleEndian.AppendUint32(nil, v)))
}

// recv receives without waiting.
func (m *machine) recv(fd int) ([]byte, *kernel.Msghdr, error) {
	buf := make([]byte, 70000)
	h := &kernel.Msghdr{Iov: []kernel.Iovec{kernel.Iov(buf)}, WantControl: true}
	n, err := m.Recvmsg(fd, h, uapi.MsgDontwait)
	return buf[:max(n, 0)], h, err
}

func (m *machine) sockErr(fd int) int32 {
	m.t.Helper()
	v, err := m.Getsockopt(fd, uapi.SolSocket, uapi.SoError, 4)
	must(m.t, err)
	return int32(binary.LittleEndian.Uint32(v))
}

// request returns a message with payload.
func request(typ, flags uint16, payload ...byte) []byte {
	msg := uapi.AppendMessage(nil, uapi.NLMsgHdr{Type: typ, Flags: uapi.NLMFRequest | flags, Seq: 7}, payload)
	return msg[:uapi.NLMsgHdrlen+len(payload)]
}

// ring sets an RX ring of n frames and maps it.
func (m *machine) ring(fd, option int, n uint32) ring {
	m.t.Helper()
	req := uapi.NLMMapReq{BlockSize: 4096, BlockNr: n, FrameSize: 4096, FrameNr: n}
	must(m.t, m.Setsockopt(fd, uapi.SolNetlink, option, req.Bytes()))
	a, err := m.Mmap(0, uint64(n)*4096, uapi.ProtRead|uapi.ProtWrite, uapi.MapShared, fd, 0)
	must(m.t, err)
	return ring{m, a}
}

// ring is a mapped ring of frames of one page.
type ring struct {
	m    *machine
	addr uint64
}

func (r ring) word(frame, off int) uint32 {
	v, err := r.m.Load32(r.addr + uint64(frame)*4096 + uint64(off))
	must(r.m.t, err)
	return v
}

func (r ring) set(frame int, status uint32) {
	must(r.m.t, r.m.Store32(r.addr+uint64(frame)*4096, status))
}

func (r ring) states(n int) (s []string) {
	for i := range n {
		s = append(s, uapi.StatusName(r.word(i, uapi.NMStatus)))
	}
	return s
}

// data is the message of a frame.
func (r ring) data(frame int) []byte {
	b := make([]byte, r.word(frame, uapi.NMLen))
	must(r.m.t, r.m.ReadMem(r.addr+uint64(frame)*4096+24, b))
	return b
}

// fill puts a message into a TX frame.
func (r ring) fill(frame int, b []byte) {
	at := r.addr + uint64(frame)*4096
	must(r.m.t, r.m.WriteMem(at+24, b))
	must(r.m.t, r.m.Store32(at+uapi.NMLen, uint32(len(b))))
	must(r.m.t, r.m.Store32(at, uapi.NLMMapStatusValid))
}
