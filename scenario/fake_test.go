package scenario

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"

	"nlmmap/uapi"
)

// fakeTarget is a machine just good enough to drive a Runner. Its only protocol delivers what a socket sends to the
// socket itself: in the RX ring where it fits, else as a COPY frame and a queued message.
type fakeTarget struct {
	mem      []byte // one address space for all tasks
	mapped   map[uint64]uint64
	sockets  map[int]*fakeSocket
	nextFD   int
	nextPid  int
	leak     error
	onSocket func() // called by Socket, for panics and hangs
	netlink  string
}

type fakeSocket struct {
	addr   uapi.SockaddrNL
	rx, tx uapi.NLMMapReq
	base   uint64
	head   uint32
	queue  [][]byte
	opts   map[option]uint32
}

const (
	fakeBase    = 0x10000
	fakeMainPid = 100
)

func newFake() *fakeTarget {
	return &fakeTarget{
		mem: make([]byte, 1<<20), mapped: map[uint64]uint64{}, sockets: map[int]*fakeSocket{}, nextPid: fakeMainPid,
	}
}

func (f *fakeTarget) Main() Task                               { return &fakeTask{f, fakeMainPid} }
func (f *fakeTarget) Sleep(int) error                          { return nil }
func (f *fakeTarget) PopulateNeigh(int) error                  { return nil }
func (f *fakeTarget) PopulateRoute(int) error                  { return nil }
func (f *fakeTarget) NFQueueRule(int, bool) error              { return nil }
func (f *fakeTarget) NFLogRule(int, int) error                 { return nil }
func (f *fakeTarget) FlushRules() error                        { return nil }
func (f *fakeTarget) Packet(p Datagrams) (int, int, error)     { return p.Count - 1, 1, nil }
func (f *fakeTarget) Netlink() (string, error)                 { return f.netlink, nil }
func (f *fakeTarget) Close() error                             { return f.leak }
func (f *fakeTarget) Tap() (Tap, error)                        { return &fakeTap{}, nil }
func (f *fakeTarget) socket(fd int) (s *fakeSocket, err error) { return f.sockets[fd], f.check(fd) }

func (f *fakeTarget) check(fd int) error {
	if f.sockets[fd] == nil {
		return unix.EBADF
	}
	return nil
}

// in returns the memory of one access, which must lie in a mapping.
func (f *fakeTarget) in(addr, n uint64) ([]byte, error) {
	for start, size := range f.mapped {
		if addr >= start && addr+n <= start+size {
			return f.mem[addr : addr+n], nil
		}
	}
	return nil, ErrSIGSEGV
}

type fakeTap struct{ read bool }

func (t *fakeTap) Read() (Packet, bool, error) {
	if t.read {
		return Packet{}, false, nil
	}
	t.read = true
	msg, _ := appendMessageLine(nil, "msg type=noop seq=1")
	msg, _ = appendMessageLine(msg, "msg type=noop seq=2")
	return Packet{Type: 7, Protocol: uapi.NetlinkUsersock, Len: len(msg), Data: msg}, true, nil
}

type fakeTask struct {
	*fakeTarget
	pid int
}

func (t *fakeTask) Tgid() int { return t.pid }
func (t *fakeTask) Fork(string) (Task, error) {
	t.nextPid++
	return &fakeTask{t.fakeTarget, t.nextPid}, nil
}
func (t *fakeTask) Thread(string) (Task, error) { return t, nil }
func (t *fakeTask) Exit() error                 { return nil }
func (t *fakeTask) Capability(int, bool) error  { return nil }
func (t *fakeTask) Seteuid(int) error           { return nil }
func (t *fakeTask) Dup(fd int) (int, error) {
	t.nextFD++
	t.sockets[t.nextFD] = t.sockets[fd]
	return t.nextFD, nil
}
func (t *fakeTask) Socketpair() (int, int, error)      { return 901, 902, nil }
func (t *fakeTask) SendFD(int, int) error              { return nil }
func (t *fakeTask) RecvFD(int) (int, error)            { return 0, nil }
func (t *fakeTask) AttachFilter(int, uint32) error     { return nil }
func (t *fakeTask) DetachFilter(int) error             { return unix.ENOENT }
func (t *fakeTask) EpollCreate() (int, error)          { return 903, nil }
func (t *fakeTask) EpollAdd(int, int, uint32) error    { return nil }
func (t *fakeTask) EpollWait(int, int) (uint32, error) { return 0, nil }

func (t *fakeTask) Socket(_, _, _ int) (int, error) {
	if t.onSocket != nil {
		t.onSocket()
	}
	fd := t.nextFD
	t.nextFD++
	t.sockets[fd] = &fakeSocket{opts: map[option]uint32{}}
	return fd, nil
}

func (t *fakeTask) Close(fd int) error {
	delete(t.sockets, fd)
	return nil
}

func (t *fakeTask) Bind(fd int, addr []byte) error {
	s, err := t.socket(fd)
	if err == nil {
		s.addr = uapi.ParseSockaddrNL(addr)
	}
	return err
}

func (t *fakeTask) Connect(int, []byte) error { return errors.Join(unix.ECONNREFUSED) }

func (t *fakeTask) Getsockname(fd int) ([]byte, error) {
	s, err := t.socket(fd)
	if err != nil {
		return nil, err
	}
	return s.addr.Bytes(), nil
}

func (t *fakeTask) Setsockopt(fd, level, name int, val []byte) error {
	s, err := t.socket(fd)
	switch {
	case err != nil:
		return err
	case len(val) < 4:
		return unix.EINVAL
	case option{level, name} == options["rx_ring"]:
		s.rx = uapi.ParseNLMMapReq(val)
	case option{level, name} == options["tx_ring"]:
		s.tx = uapi.ParseNLMMapReq(val)
	default:
		s.opts[option{level, name}] = binary.LittleEndian.Uint32(val)
	}
	return nil
}

func (t *fakeTask) Getsockopt(fd, level, name, _ int) ([]byte, error) {
	s, err := t.socket(fd)
	if err != nil {
		return nil, err
	}
	if (option{level, name}) == options["error"] {
		return []byte{byte(unix.ENOBUFS), 0, 0, 0}, nil
	}
	return binary.LittleEndian.AppendUint32(nil, s.opts[option{level, name}]), nil
}

func (t *fakeTask) Sendmsg(fd int, iov [][]byte, _ []byte, _ int) (int, error) {
	s, err := t.socket(fd)
	if err != nil {
		return 0, err
	}
	if iov[0] == nil && len(iov) == 1 {
		return t.kick(s), nil
	}
	buf := iov[len(iov)-1]
	t.deliver(s, buf)
	return len(buf), nil
}

// kick frees all VALID frames of the TX ring.
func (t *fakeTask) kick(s *fakeSocket) int {
	r, base := s.tx, s.base+s.rx.MapSize()
	sent := 0
	for i := range r.FrameNr {
		hdr := t.mem[base+r.FrameOffset(i):]
		if binary.LittleEndian.Uint32(hdr) == uapi.NLMMapStatusValid {
			sent += int(binary.LittleEndian.Uint32(hdr[uapi.NMLen:]))
			binary.LittleEndian.PutUint32(hdr, uapi.NLMMapStatusUnused)
		}
	}
	return sent
}

func (t *fakeTask) deliver(s *fakeSocket, msg []byte) {
	r := s.rx
	if r.FrameNr == 0 {
		s.queue = append(s.queue, msg)
		return
	}
	hdr := t.mem[s.base+r.FrameOffset(s.head):]
	s.head = r.Next(s.head)
	le := binary.LittleEndian
	le.PutUint32(hdr[uapi.NMLen:], uint32(len(msg)))
	le.PutUint32(hdr[uapi.NMPid:], uint32(t.pid))
	if len(msg) > r.FrameRoom() {
		s.queue = append(s.queue, msg)
		le.PutUint32(hdr, uapi.NLMMapStatusCopy)
		return
	}
	copy(hdr[uapi.NLMMapHdrlen:], msg)
	le.PutUint32(hdr, uapi.NLMMapStatusValid)
}

func (t *fakeTask) Recvmsg(fd, size, flags int) (Received, error) {
	s, err := t.socket(fd)
	if err != nil {
		return Received{}, err
	}
	if len(s.queue) == 0 {
		if flags&uapi.MsgDontwait == 0 {
			return Received{}, ErrBlocks
		}
		return Received{}, unix.EAGAIN
	}
	msg := s.queue[0]
	s.queue = s.queue[1:]
	got := Received{N: len(msg), Data: msg, From: uapi.SockaddrNL{Family: uapi.AFNetlink, Pid: fakeMainPid, Groups: 2}.Bytes()}
	if len(msg) > size {
		got.N, got.Data, got.Flags = size, msg[:size], uapi.MsgTrunc
	}
	le := binary.LittleEndian
	if s.opts[options["pktinfo"]] != 0 {
		c := le.AppendUint64(nil, uapi.CmsgHdrlen+4)
		c = le.AppendUint32(le.AppendUint32(c, uapi.SolNetlink), uapi.NetlinkPktinfo)
		got.Control = append(got.Control, append(c, 2, 0, 0, 0, 0, 0, 0, 0)...)
	}
	if s.opts[options["passcred"]] != 0 {
		c := le.AppendUint64(nil, uapi.CmsgHdrlen+uapi.UcredLen)
		c = le.AppendUint32(le.AppendUint32(c, uapi.SolSocket), uapi.ScmCredentials)
		got.Control = append(got.Control, append(c, fakeMainPid, 0, 0, 0, 7, 0, 0, 0, 8, 0, 0, 0)...)
	}
	return got, nil
}

func (t *fakeTask) Poll(fd, events, _ int) (int, error) {
	s, err := t.socket(fd)
	if err != nil {
		return 0, err
	}
	got := uapi.PollOut
	if len(s.queue) > 0 {
		got |= uapi.PollIn
	}
	return got & events, nil
}

func (t *fakeTask) Mmap(fd int, length, _ uint64, _, _ int) (uint64, error) {
	s, err := t.socket(fd)
	if err != nil {
		return 0, err
	}
	if length == 0 {
		return 0, unix.EINVAL
	}
	s.base = fakeBase
	t.mapped[fakeBase] = length
	return fakeBase, nil
}

func (t *fakeTask) Munmap(addr, length uint64) error {
	if t.mapped[addr] == length {
		delete(t.mapped, addr)
	}
	return nil
}

func (t *fakeTask) Mprotect(uint64, uint64, int) error    { return nil }
func (t *fakeTask) Mremap(addr, _ uint64) (uint64, error) { return addr, nil }
func (t *fakeTask) MadviseDontneed(uint64, uint64) error  { return nil }

func (t *fakeTask) Load32(addr uint64) (uint32, error) {
	b, err := t.in(addr, 4)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b), nil
}

func (t *fakeTask) Store32(addr uint64, val uint32) error {
	b, err := t.in(addr, 4)
	if err == nil {
		binary.LittleEndian.PutUint32(b, val)
	}
	return err
}

func (t *fakeTask) Read(addr uint64, buf []byte) error {
	b, err := t.in(addr, uint64(len(buf)))
	copy(buf, b)
	return err
}

func (t *fakeTask) Write(addr uint64, buf []byte) error {
	b, err := t.in(addr, uint64(len(buf)))
	copy(b, buf)
	return err
}
