package inet

import (
	"nlmmap/kernel"
	"nlmmap/skb"
)

// sndbuf is the send buffer of a UDP socket.
const sndbuf = 212992

// linkHeadroom is what the output path allocates in front of a packet for the header of lo, and for aligning it.
const linkHeadroom = 31

// A Sender is a UDP socket at 127.0.0.1:4000. It pays for its datagrams until they have left the stack: those that wait
// for a verdict use up its send buffer.
type Sender struct {
	stack *Stack
	wmem  kernel.Atomic
}

// NewSender makes a socket. lo is brought up for it.
func (s *Stack) NewSender(cur *kernel.Task) *Sender {
	s.LoUp(cur)
	u := &Sender{stack: s}
	u.wmem.Named("wmem", 0)
	return u
}

// NewUDP makes a packet as Stack.NewUDP does, and charges for it (sock_alloc_send_skb): EAGAIN when the send buffer is
// full, for a socket that does not wait.
func (u *Sender) NewUDP(cur *kernel.Task, size int) (*Packet, error) {
	p, err := u.stack.NewUDP(cur, size)
	if err != nil {
		return nil, err
	}
	if u.wmem.Load(cur) >= sndbuf {
		return nil, kernel.Errorf(kernel.EAGAIN, "the send buffer is full")
	}
	s := skb.New[struct{}](u.stack.in.k, len(p.Data)+linkHeadroom)
	p.sender, p.charge = u, s.Truesize
	s.Free(cur)
	u.wmem.Count(cur, int64(p.charge))
	return p, nil
}

// sent takes back what a packet was charged with (sock_wfree).
func (u *Sender) sent(cur *kernel.Task, p *Packet) {
	if u != nil {
		u.wmem.Count(cur, -int64(p.charge))
		p.sender = nil
	}
}
