package inet

import (
	"net/netip"

	"nlmmap/kernel"
	"nlmmap/skb"
)

// sndbuf is the send buffer of a UDP socket.
const sndbuf = 212992

// linkHeadroom is what the output path allocates in front of a packet for the header of lo, and for aligning it.
const linkHeadroom = 31

// A Sender is a UDP socket at 127.0.0.1:4000. It pays for its datagrams until they have left the stack: those that wait
// for a verdict use up its send buffer, and keep it when it has been closed.
type Sender struct {
	stack *Stack
	wmem  kernel.Atomic // and one for as long as it is open
}

// NewSender makes a socket. lo is brought up for it.
func (s *Stack) NewSender(cur *kernel.Task) *Sender {
	s.LoUp(cur)
	u := &Sender{stack: s}
	u.wmem.Named("wmem", 1)
	return u
}

// Close closes the socket (sk_free).
func (u *Sender) Close(cur *kernel.Task) { u.release(cur, 1) }

// release takes back n bytes. The last one ends the socket.
func (u *Sender) release(cur *kernel.Task, n int) {
	if u.wmem.Add(cur, -int64(n)) > 0 {
		return
	}
	for _, notifier := range u.stack.in.notifiers {
		if notifier.Gone != nil {
			notifier.Gone(cur, u.stack, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), SourcePort))
		}
	}
}

// NewUDP makes a packet as Stack.NewUDP does, and charges for it (sock_alloc_send_skb): EAGAIN when the send buffer is
// full, for a socket that does not wait.
func (u *Sender) NewUDP(cur *kernel.Task, size int) (*Packet, error) {
	p, err := u.stack.NewUDP(cur, size)
	if err != nil {
		return nil, err
	}
	if u.wmem.Load(cur)-1 >= sndbuf {
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
		p.sender = nil
		u.release(cur, p.charge)
	}
}
