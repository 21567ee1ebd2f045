package afnetlink

import (
	"nlmmap/kernel"
	"nlmmap/skb"
)

// An SKB is a netlink message inside the kernel.
type SKB = skb.SKB[CB]

// CB is netlink's use of a buffer's control block (struct netlink_skb_parms): NETLINK_CB.
type CB struct {
	Creds    Creds
	Portid   uint32
	DstGroup uint32
	// Sk is the owner of the frame, and once the message is delivered to a kernel socket its sender.
	Sk *Sock
	// Owner is the socket that is charged (sk of the buffer itself): from setOwnerR until the destructor.
	Owner *Sock
	// NSID is the id of the sender's network namespace in the receiver's, if HasNSID.
	NSID    int32
	HasNSID bool

	flags uint8
	// framePos is the position of the frame in its ring, for traces.
	framePos uint32
}

// Creds is the identity of a message's sender: process id and the kernel's user and group id.
type Creds struct {
	Pid      int
	UID, GID uint32
}

// Flags of a message.
const (
	skbMmaped    = 1 << iota // the head is in a ring frame
	skbTX                    // of a TX ring
	skbDelivered             // the frame was handed to userspace
	skbDst                   // sent with an explicit address
)

// clone shares a message's data, copied has its own; neither is charged to anybody. They are nil without memory.
func clone(cur *kernel.Task, m *SKB) *SKB {
	if cur.NoMemory("clone of a message") {
		return nil
	}
	c := m.Clone(cur)
	c.CB.Owner = nil
	return c
}

func copied(cur *kernel.Task, m *SKB) *SKB {
	if cur.NoMemory("copy of a message") {
		return nil
	}
	c := m.Copy(cur)
	if c != nil {
		c.CB.Owner = nil
	}
	return c
}
