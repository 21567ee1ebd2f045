// Package sock has what sockets of all families share (struct sock): the receive queue and its limits, the pending
// error, waiting, socket filters, and the options of level SOL_SOCKET.
package sock

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/net/bpf"

	"nlmmap/kernel"
	"nlmmap/skb"
	"nlmmap/uapi"
)

// Defaults and bounds of the buffer limits, in bytes (spec 14.4).
const (
	DefaultBuf = 212992
	maxBuf     = 212992
)

// Limits are the lower bounds of the buffer limits.
type Limits struct{ MinRcvbuf, MinSndbuf int }

// minBufs are the values of min-bufs.
var minBufs = [...]Limits{{2280, 2048}, {2304, 4608}}

// Differences are the named differences of sockets of all families.
type Differences struct {
	MinBufs       int // one of minBufs
	BusyPoll      bool
	BPFExtensions int
	ReuseportBPF  bool
}

// Table declares the differences, bound to d's fields.
func (d *Differences) Table() []kernel.Difference {
	var names []string
	for _, l := range minBufs {
		names = append(names, fmt.Sprintf("%d/%d", l.MinRcvbuf, l.MinSndbuf))
	}
	return []kernel.Difference{
		{
			Name: "min-bufs", Spec: "14.4",
			Value: kernel.Choice(&d.MinBufs, names, [...]int{0, 1, 1, 1, 1}),
			Text: "The smallest SO_RCVBUF and SO_SNDBUF. The value decides how many messages fit a minimal receive " +
				"buffer: one of 2304 bytes or two.",
		},
		{
			Name: "so-busy-poll", Absent: "so-busy-poll-missing", Spec: "1.2",
			Value:   kernel.Switch(&d.BusyPoll, kernel.Since(kernel.Linux3_19)),
			History: "SO_BUSY_POLL since 3.11, SO_MAX_PACING_RATE since 3.13, SO_ATTACH_BPF since 3.19",
			Text: "The options SO_BUSY_POLL, SO_MAX_PACING_RATE and SO_ATTACH_BPF of level SOL_SOCKET. Without them they fail " +
				"with ENOPROTOOPT. They change nothing for a netlink socket.",
		},
		{
			Name: "so-bpf-extensions", Spec: "1.2",
			Value:   kernel.Number(&d.BPFExtensions, 0, 1<<16, [...]int{0, 60, 64, 64, 64}),
			History: "since 3.14",
			Text:    "What SO_BPF_EXTENSIONS says: how many ancillary loads a socket filter has. 0: there is no such option.",
		},
		{
			Name: "so-reuseport-bpf", Spec: "1.2",
			Value:   kernel.Switch(&d.ReuseportBPF, kernel.Since(kernel.Linux4_5)),
			History: "since 4.5",
			Text:    "The options SO_ATTACH_REUSEPORT_CBPF and SO_ATTACH_REUSEPORT_EBPF, which no netlink socket can use.",
		},
	}
}

// Limits returns the limits that go with the difference min-bufs.
func (d *Differences) Limits() Limits { return minBufs[d.MinBufs] }

// A Sock is the part of a socket that does not depend on its family, whose buffers have the control block C. The fields that are no cells do not change after
// Init.
type Sock[C any] struct {
	K        *kernel.Kernel
	Net      *kernel.Net
	Family   int
	Type     int
	Protocol int
	Inode    uint64
	// Opener is who made the socket.
	Opener *kernel.Cred

	ReceiveQueue skb.Queue[C]
	WriteQueue   skb.Queue[C]
	Rmem         kernel.Atomic // bytes charged for received messages
	Rcvbuf       kernel.Atomic
	Sndbuf       kernel.Atomic
	// Err is sk_err: the error that the next call reports, normally a positive errno.
	Err      kernel.Atomic
	Drops    kernel.Atomic
	Passcred kernel.Atomic
	Dead     kernel.Atomic
	// Wait is where readers and pollers sleep.
	Wait kernel.WaitQueue
	// Taken, if it is set, is told of each message that a reader takes, while the queue is locked.
	Taken func(cur *kernel.Task, m *skb.SKB[C])

	refs     kernel.Ref
	destruct func(cur *kernel.Task)
	filter   kernel.Pointer[Filter]
	rcvtimeo kernel.Atomic
	sndtimeo kernel.Atomic
	plain    kernel.Pointer[plain]
	locked   kernel.Atomic // SO_LOCK_FILTER
	d        *Differences
}

// Init prepares a socket of cur with one reference. destruct runs when the last one is gone. It has no inode number yet.
func (s *Sock[C]) Init(cur *kernel.Task, family, typ, protocol int, d *Differences, destruct func(cur *kernel.Task)) {
	s.init(cur, family, typ, protocol, d)
	s.destruct = destruct
	s.K.Count(kernel.ResSocket, 1)
}

// init gives a socket its first values.
func (s *Sock[C]) init(cur *kernel.Task, family, typ, protocol int, d *Differences) {
	s.K, s.Net, s.Family, s.Type, s.Protocol = cur.Kernel(), cur.Net(), family, typ, protocol
	s.Opener, s.d = cur.Cred(), d
	s.ReceiveQueue.Init("receive queue")
	s.WriteQueue.Init("write queue")
	s.Rcvbuf.Named("rcvbuf", DefaultBuf)
	s.Sndbuf.Named("sndbuf", DefaultBuf)
	s.Rmem.Named("rmem", 0)
	s.Err.Named("sk_err", 0)
	s.Drops.Named("drops", 0)
	s.Dead.Named("dead", 0)
	s.Passcred.Named("passcred", 0)
	s.filter.Named("sk_filter")
	s.plain.Named("sk options")
	s.locked.Named("filter locked", 0)
	s.rcvtimeo.Named("rcvtimeo", int64(kernel.Forever))
	s.sndtimeo.Named("sndtimeo", int64(kernel.Forever))
	s.refs.Named("sock refs", 1)
}

// ServeUnix gives UNIX sockets the options of level SOL_SOCKET.
func ServeUnix(k *kernel.Kernel, d *Differences) {
	k.UnixOptions(func(cur *kernel.Task) kernel.Options {
		s := new(Sock[struct{}])
		s.init(cur, uapi.AFUnix, uapi.SockDgram, 0, d)
		return s
	})
}

// Hold takes a reference: sock_hold.
func (s *Sock[C]) Hold(cur *kernel.Task) { s.refs.Get(cur) }

// HoldFound takes a reference for a lookup that found the socket, and reports whether the socket still lives.
func (s *Sock[C]) HoldFound(cur *kernel.Task) bool { return s.refs.Found(cur) }

// Put drops a reference: sock_put.
func (s *Sock[C]) Put(cur *kernel.Task) {
	switch left := s.refs.Put(cur); {
	case left == 0:
		s.destruct(cur)
		s.K.Count(kernel.ResSocket, -1)
	case left < 0:
		s.K.Warn(cur, "socket reference dropped too often")
	}
}

// Refs is the number of references.
func (s *Sock[C]) Refs(cur *kernel.Task) int { return int(s.refs.Load(cur)) }

// Charge adds n bytes to rmem, Uncharge takes them back.
func (s *Sock[C]) Charge(cur *kernel.Task, n int) {
	s.K.Count(kernel.ResRmem, int64(n))
	s.Rmem.Count(cur, int64(n))
}

// Uncharge takes n bytes off rmem.
func (s *Sock[C]) Uncharge(cur *kernel.Task, n int) {
	s.K.Count(kernel.ResRmem, -int64(n))
	s.Rmem.Count(cur, -int64(n))
}

// DataReady tells readers and pollers that a message came: sk_data_ready.
func (s *Sock[C]) DataReady(cur *kernel.Task) {
	s.Wait.Wake(cur, uapi.PollIn|uapi.PollRdnorm|uapi.PollRdband)
}

// ErrorReport tells them that Err was set: sk_error_report.
func (s *Sock[C]) ErrorReport(cur *kernel.Task) { s.Wait.Wake(cur, uapi.PollErr) }

// TakeError returns Err and clears it: sock_error. ok is false when there was none.
func (s *Sock[C]) TakeError(cur *kernel.Task) (err int64, ok bool) {
	if s.Err.Load(cur) == 0 {
		return 0, false
	}
	err = s.Err.Swap(cur, 0)
	return err, err != 0
}

// RecvTimeout and SendTimeout are how long a blocking call waits: 0 with MSG_DONTWAIT.
func (s *Sock[C]) RecvTimeout(cur *kernel.Task, flags int) kernel.Time {
	return timeout(cur, &s.rcvtimeo, flags)
}

// SendTimeout is how long a blocking send waits: 0 with MSG_DONTWAIT.
func (s *Sock[C]) SendTimeout(cur *kernel.Task, flags int) kernel.Time {
	return timeout(cur, &s.sndtimeo, flags)
}

func timeout(cur *kernel.Task, t *kernel.Atomic, flags int) kernel.Time {
	if flags&uapi.MsgDontwait != 0 {
		return 0
	}
	return kernel.Time(t.Load(cur))
}

// SkError is a pending error that a call returned. Its value is what was stored in Err: a negative one, which 3.10
// can store, makes the call return a positive number instead of failing (sk-err-negative).
type SkError int64

func (e SkError) Error() string { return "pending socket error" }

// RecvDatagram waits for the oldest message and takes it, or with MSG_PEEK takes a reference: skb_recv_datagram (spec
// 9, steps 2 to 4). Errors: a SkError, EAGAIN when there is none in time, EINTR.
func (s *Sock[C]) RecvDatagram(cur *kernel.Task, flags int) (*skb.SKB[C], error) {
	deadline := s.K.Deadline(cur, s.RecvTimeout(cur, flags))
	if flags&uapi.MsgDontwait != 0 {
		deadline = 0
	}
	for {
		if err, ok := s.TakeError(cur); ok {
			return nil, SkError(err)
		}
		m, passed := s.dequeue(cur, flags)
		if m != nil {
			return m, nil
		}
		if deadline == 0 {
			return nil, kernel.EAGAIN
		}
		err := cur.WaitEvent(&s.Wait, deadline, func() bool {
			return s.Err.Load(cur) != 0 || s.ReceiveQueue.Len(cur) > passed
		})
		if err != nil {
			return nil, err
		}
	}
}

// dequeue takes the oldest message. Where there is none to take, it tells how many were passed over: a reader waits for
// more than those.
func (s *Sock[C]) dequeue(cur *kernel.Task, flags int) (m *skb.SKB[C], passed int) {
	q := &s.ReceiveQueue
	q.Lock.Lock(cur)
	defer q.Lock.Unlock(cur)
	if flags&uapi.MsgPeek == 0 {
		m := q.First(cur)
		if m != nil {
			q.Remove(cur, m)
			if s.Taken != nil {
				s.Taken(cur, m)
			}
		}
		return m, 0
	}
	for _, m := range q.All(cur) {
		// An empty message that was peeked already would hide all others from peeking.
		if m.Peeked && m.Len() == 0 {
			continue
		}
		m.Peeked = true
		return m.Get(cur), 0
	}
	return nil, len(q.All(cur))
}

// PurgeReceiveQueue frees all queued messages.
func (s *Sock[C]) PurgeReceiveQueue(cur *kernel.Task) {
	s.ReceiveQueue.Lock.Lock(cur)
	list := s.ReceiveQueue.Splice(cur)
	s.ReceiveQueue.Lock.Unlock(cur)
	for _, m := range list {
		m.Free(cur)
	}
}

// A Filter is a classic BPF program that judges messages before they are delivered.
type Filter struct{ vm *bpf.VM }

// NewFilter checks a program. EINVAL when it is not valid.
func NewFilter(prog []bpf.RawInstruction) (*Filter, error) {
	insns, ok := bpf.Disassemble(prog)
	if !ok {
		return nil, kernel.Errorf(kernel.EINVAL, "the filter has instructions that classic BPF does not have")
	}
	vm, err := bpf.NewVM(insns)
	if err != nil {
		return nil, kernel.Errorf(kernel.EINVAL, "%v", err)
	}
	return &Filter{vm}, nil
}

// Accept runs the socket's filter on a message: false means that it is rejected, else it has been cut to the length
// that the filter returned (sk_filter).
func (s *Sock[C]) Accept(cur *kernel.Task, m *skb.SKB[C]) bool {
	f := s.filter.Load(cur)
	if f == nil {
		return true
	}
	n, err := f.vm.Run(m.Message(cur))
	if err != nil || n <= 0 {
		return false
	}
	m.Trim(n)
	return true
}

// Setsockopt handles level SOL_SOCKET. EINVAL for a value of fewer than 4 bytes; errors of single options at setOther.
//
// The value of SO_ATTACH_FILTER is the program itself, 8 bytes for each struct sock_filter, and not a pointer to it.
func (s *Sock[C]) Setsockopt(cur *kernel.Task, name int, val []byte) error {
	switch {
	case name == uapi.SoAttachFilter:
		return s.attach(cur, val)
	case name == uapi.SoBindtodevice: // its value may be short
		if len(val) == 0 || val[0] == 0 {
			return nil
		}
		return kernel.Errorf(kernel.ENODEV, "no device for netlink sockets")
	case len(val) < 4:
		return kernel.Errorf(kernel.EINVAL, "the option takes 4 bytes, got %d", len(val))
	}
	switch name {
	case uapi.SoDetachFilter:
		if s.locked.Load(cur) != 0 {
			return kernel.Errorf(kernel.EPERM, "the filter is locked")
		}
		if s.filter.Swap(cur, nil) == nil {
			return kernel.ENOENT
		}
		return nil
	case uapi.SoRcvtimeo, uapi.SoSndtimeo:
		return s.setTimeout(cur, name, val)
	}
	v := binary.LittleEndian.Uint32(val)
	switch name {
	case uapi.SoRcvbufforce, uapi.SoSndbufforce:
		if !cur.Capable(uapi.CapNetAdmin) {
			return kernel.EPERM
		}
	case uapi.SoRcvbuf, uapi.SoSndbuf:
		v = min(v, maxBuf)
	}
	// The minimum is compared without a sign, and what is stored has one: a forced value of half the range or more
	// becomes a negative limit, which every message exceeds.
	switch name {
	case uapi.SoRcvbuf, uapi.SoRcvbufforce:
		s.Rcvbuf.Store(cur, int64(int32(max(v*2, uint32(s.d.Limits().MinRcvbuf)))))
	case uapi.SoSndbuf, uapi.SoSndbufforce:
		s.Sndbuf.Store(cur, int64(int32(max(v*2, uint32(s.d.Limits().MinSndbuf)))))
	case uapi.SoPasscred:
		s.Passcred.Store(cur, boolean(v != 0))
	default:
		return s.setOther(cur, name, int32(v), val)
	}
	return nil
}

func boolean(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func (s *Sock[C]) attach(cur *kernel.Task, val []byte) error {
	if len(val) == 0 || len(val)%8 != 0 {
		return kernel.Errorf(kernel.EINVAL, "a filter is a number of 8-byte instructions, not %d bytes", len(val))
	}
	var prog []bpf.RawInstruction
	for ; len(val) > 0; val = val[8:] {
		prog = append(prog, bpf.RawInstruction{Op: binary.LittleEndian.Uint16(val), Jt: val[2], Jf: val[3],
			K: binary.LittleEndian.Uint32(val[4:])})
	}
	f, err := NewFilter(prog)
	if err == nil && s.locked.Load(cur) != 0 {
		return kernel.Errorf(kernel.EPERM, "the filter is locked")
	}
	if err == nil {
		s.filter.Store(cur, f)
	}
	return err
}

// setTimeout takes a struct timeval: 0 means for ever.
func (s *Sock[C]) setTimeout(cur *kernel.Task, name int, val []byte) error {
	if len(val) < 16 {
		return kernel.EINVAL
	}
	sec := int64(binary.LittleEndian.Uint64(val))
	usec := int64(binary.LittleEndian.Uint64(val[8:]))
	if usec < 0 || usec >= 1e6 || sec < 0 || sec > 1<<32 {
		return kernel.Errorf(kernel.EINVAL, "%d s and %d us are no timeout", sec, usec)
	}
	t := sec*int64(kernel.Second) + usec*1000
	if t == 0 {
		t = int64(kernel.Forever)
	}
	if name == uapi.SoRcvtimeo {
		s.rcvtimeo.Store(cur, t)
	} else {
		s.sndtimeo.Store(cur, t)
	}
	return nil
}

// Getsockopt handles level SOL_SOCKET. SO_ERROR takes the pending error.
func (s *Sock[C]) Getsockopt(cur *kernel.Task, name, optlen int) ([]byte, error) {
	var v int64
	switch name {
	case uapi.SoError:
		v, _ = s.TakeError(cur)
	case uapi.SoRcvbuf:
		v = s.Rcvbuf.Load(cur)
	case uapi.SoSndbuf:
		v = s.Sndbuf.Load(cur)
	case uapi.SoPasscred:
		v = s.Passcred.Load(cur)
	case uapi.SoType:
		v = int64(s.Type)
	case uapi.SoProtocol:
		v = int64(s.Protocol)
	case uapi.SoDomain:
		v = int64(s.Family)
	default:
		b, err := s.getOther(cur, name)
		return b[:min(optlen, len(b))], err
	}
	b := binary.LittleEndian.AppendUint32(nil, uint32(v))
	return b[:min(optlen, 4)], nil
}

// Ino is the number of the socket's file.
func (s *Sock[C]) Ino() uint64 { return s.Inode }
