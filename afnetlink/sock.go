package afnetlink

import (
	"math/bits"
	"slices"
	"sync/atomic"

	"nlmmap/kernel"
	"nlmmap/ringmm"
	"nlmmap/sock"
	"nlmmap/uapi"
)

// Bits of Sock.flags.
const (
	flagRecvPktinfo = 1 << iota
	flagBroadcastError
	flagNoENOBUFS
	flagListenAllNSID
	flagCapAck
)

// A Sock is a netlink socket (struct netlink_sock).
type Sock struct {
	sock.Sock
	nl     *Netlink
	kernel bool

	// Names. The portid is set once; dstPortid and dstGroup are the peer that connect chose.
	portid    atomic.Uint32
	bound     atomic.Bool
	connected atomic.Bool
	dstPortid atomic.Uint32
	dstGroup  atomic.Uint32

	// Subscriptions: guarded by the table.
	groups        []uint32
	ngroups       int
	subscriptions int

	flags     atomic.Uint32
	congested kernel.Atomic
	wait      kernel.WaitQueue // blocked senders

	cb             dumpState
	maxRecvmsgLen  atomic.Int64
	cbMutex        *kernel.Mutex
	ownCbMutex     kernel.Mutex
	pgVecLock      kernel.Mutex
	rxRing, txRing ringmm.Ring
	mapped         kernel.Atomic // live VMAs of either ring, in all processes
}

// Create implements kernel.Family: ESOCKTNOSUPPORT for a type other than RAW and DGRAM, then EPROTONOSUPPORT for a
// protocol that is not registered.
func (nl *Netlink) Create(cur *kernel.Task, typ, proto int) (kernel.SocketOps, error) {
	if typ != uapi.SockRaw && typ != uapi.SockDgram {
		return nil, kernel.Errorf(kernel.ESOCKTNOSUPPORT, "socket type %d: netlink has RAW and DGRAM", typ)
	}
	if proto < 0 || proto >= uapi.MaxLinks || !nl.table.proto[proto].registered {
		return nil, kernel.Errorf(kernel.EPROTONOSUPPORT, "nothing speaks netlink protocol %d", proto)
	}
	return nl.newSock(cur, typ, proto), nil
}

// newSock makes an unbound socket: __netlink_create.
func (nl *Netlink) newSock(cur *kernel.Task, typ, proto int) *Sock {
	sk := &Sock{nl: nl}
	sk.Init(cur, uapi.AFNetlink, typ, proto, nl.D.Sock.Limits(), sk.destruct)
	sk.cbMutex = nl.table.proto[proto].cfg.CbMutex
	if sk.cbMutex == nil {
		sk.ownCbMutex.Name = "cb_mutex"
		sk.cbMutex = &sk.ownCbMutex
	}
	sk.pgVecLock.Name = "pg_vec_lock"
	sk.mapped.Named("mapped", 0)
	sk.congested.Named("CONGESTED", 0)
	sk.cb.running.Named("cb_running", 0)
	sk.rxRing.Init(nl.k, &nl.D.Ring, "rx")
	sk.txRing.Init(nl.k, &nl.D.Ring, "tx")
	return sk
}

// Release implements kernel.FileOps: the last reference to the open file is gone (netlink_release, spec 15.6).
func (sk *Sock) Release(cur *kernel.Task) {
	held := sk.nl.remove(cur, sk)
	sk.Dead.Store(cur, 1)
	sk.wait.Wake(cur, 0)
	bound := sk.bound.Load()
	if sk.nl.D.UreleaseUnbound {
		bound = sk.portid.Load() != 0
	}
	if bound {
		for _, fn := range sk.nl.release {
			fn(cur, Release{sk.Net, sk.Protocol, sk.portid.Load()})
		}
	}
	if held {
		sk.Put(cur)
	}
	sk.Put(cur)
}

// destruct runs with the last reference to the socket: netlink_sock_destruct. A dump that still runs ends without
// DONE.
func (sk *Sock) destruct(cur *kernel.Task) {
	sk.cb.drop(cur)
	sk.PurgeReceiveQueue(cur)
	if sk.nl.D.RingCloseLocking {
		sk.pgVecLock.Lock(cur)
		defer sk.pgVecLock.Unlock(cur)
	}
	for _, r := range []*ringmm.Ring{&sk.rxRing, &sk.txRing} {
		if n := r.Pending.Peek(); n > 0 {
			sk.K.Warn(cur, "socket destroyed with %d frames of its %s ring reserved", n, r.Name())
		}
		r.Free(cur, r.Swap(cur, ringmm.Blocks{}))
	}
	if n := sk.mapped.Peek(); n != 0 {
		sk.K.Warn(cur, "socket destroyed with %d mappings", n)
	}
}

// Portid is the socket's number, 0 as long as it has none.
func (sk *Sock) Portid() uint32 { return sk.portid.Load() }

// IsKernel tells whether the kernel is the socket's user.
func (sk *Sock) IsKernel() bool { return sk.kernel }

// RxRing is the ring of received messages.
func (sk *Sock) RxRing() *ringmm.Ring { return &sk.rxRing }

// TxRing is the ring of messages to send.
func (sk *Sock) TxRing() *ringmm.Ring { return &sk.txRing }

// Mapped is the number of live mappings of the rings.
func (sk *Sock) Mapped() int { return int(sk.mapped.Peek()) }

// Congested tells whether the socket waits for its reader to catch up.
func (sk *Sock) Congested() bool { return sk.congested.Peek() != 0 }

// Peer returns what the socket is connected to.
func (sk *Sock) Peer() (connected bool, portid, group uint32) {
	return sk.connected.Load(), sk.dstPortid.Load(), sk.dstGroup.Load()
}

// EverSubscribed tells whether the socket has a group bitmap.
func (sk *Sock) EverSubscribed() bool { return len(sk.Groups()) > 0 }

// PgVecLock is taken by who looks at the rings from outside.
func (sk *Sock) PgVecLock() *kernel.Mutex { return &sk.pgVecLock }

func (sk *Sock) has(flag uint32) bool { return sk.flags.Load()&flag != 0 }

func (sk *Sock) setFlag(flag uint32, on bool) {
	if on {
		sk.flags.Or(flag)
	} else {
		sk.flags.And(^flag)
	}
}

func (sk *Sock) cfg() *KernelCfg { return &sk.nl.table.proto[sk.Protocol].cfg }

// allowed tells whether cur may do what the protocol permits to everybody, or has CAP_NET_ADMIN: netlink_allowed.
func (sk *Sock) allowed(cur *kernel.Task, nonroot bool) bool {
	return nonroot || cur.NetCapable(sk.Net, uapi.CapNetAdmin)
}

// Bind implements kernel.SocketOps: netlink_bind (spec 15.5).
//
// Errors: EINVAL for a short address, another family, or a portid that is not the one the socket has; EPERM for
// groups without permission; what the protocol's bind hook says; EADDRINUSE.
func (sk *Sock) Bind(cur *kernel.Task, addr []byte) error {
	if len(addr) < uapi.SockaddrNLlen {
		return kernel.Errorf(kernel.EINVAL, "the address has %d bytes and not 12", len(addr))
	}
	a := uapi.ParseSockaddrNL(addr)
	if a.Family != uapi.AFNetlink {
		return kernel.Errorf(kernel.EINVAL, "address family %d", a.Family)
	}
	if a.Groups != 0 && !sk.allowed(cur, sk.cfg().NonrootRecv) {
		return kernel.Errorf(kernel.EPERM, "groups of protocol %d need CAP_NET_ADMIN", sk.Protocol)
	}
	if a.Groups != 0 { // the bitmap stays, whatever fails from here on
		sk.nl.reallocGroups(cur, sk)
	}
	if sk.bound.Load() && a.Pid != sk.portid.Load() {
		return kernel.Errorf(kernel.EINVAL, "the socket has portid %d already", sk.portid.Load())
	}
	for g := 1; g <= 32; g++ {
		if a.Groups&(1<<(g-1)) != 0 {
			if err := sk.bindHook(cur, g); err != nil {
				return err
			}
		}
	}
	if !sk.bound.Load() {
		var err error
		if a.Pid != 0 {
			err = sk.nl.insert(cur, sk, a.Pid)
		} else {
			err = sk.nl.autobind(cur, sk)
		}
		if err != nil {
			return err
		}
	}
	if a.Groups != 0 || sk.EverSubscribed() {
		sk.nl.table.lock.Lock(cur)
		sk.nl.updateGroups(cur, sk, func(groups []uint32) { groups[0] = a.Groups })
		sk.nl.table.lock.Unlock(cur)
	}
	return nil
}

func (sk *Sock) bindHook(cur *kernel.Task, group int) error {
	if bind := sk.cfg().Bind; bind != nil && sk.nl.D.BindHook {
		return bind(cur, sk.Net, group)
	}
	return nil
}

// lowestGroup is the number of the lowest set bit, 1-based; 0 for none.
func lowestGroup(groups uint32) uint32 {
	if groups == 0 {
		return 0
	}
	return uint32(bits.TrailingZeros32(groups)) + 1
}

// Connect implements kernel.SocketOps: netlink_connect. The peer need not exist. EINVAL for an address of less than 2
// bytes or another family, EPERM without permission to send there.
func (sk *Sock) Connect(cur *kernel.Task, addr []byte) error {
	if len(addr) < 2 {
		return kernel.Errorf(kernel.EINVAL, "the address has %d bytes", len(addr))
	}
	a := uapi.ParseSockaddrNL(addr)
	switch {
	case a.Family == uapi.AFUnspec:
		sk.connected.Store(false)
		sk.dstPortid.Store(0)
		sk.dstGroup.Store(0)
		return nil
	case a.Family != uapi.AFNetlink:
		return kernel.Errorf(kernel.EINVAL, "address family %d", a.Family)
	}
	asks := a.Groups != 0 || a.Pid != 0 && sk.nl.D.ConnectPortidCap
	if asks && !sk.allowed(cur, sk.cfg().NonrootSend) {
		return kernel.Errorf(kernel.EPERM, "sending to groups or sockets of protocol %d needs CAP_NET_ADMIN", sk.Protocol)
	}
	if !sk.bound.Load() {
		if err := sk.nl.autobind(cur, sk); err != nil {
			return err
		}
	}
	sk.dstPortid.Store(a.Pid)
	sk.dstGroup.Store(lowestGroup(a.Groups))
	sk.connected.Store(true)
	return nil
}

// Getname implements kernel.SocketOps.
func (sk *Sock) Getname(_ *kernel.Task, peer bool) ([]byte, error) {
	a := uapi.SockaddrNL{Family: uapi.AFNetlink, Pid: sk.portid.Load()}
	if peer {
		a.Pid = sk.dstPortid.Load()
		if g := sk.dstGroup.Load(); g != 0 {
			a.Groups = 1 << (g - 1)
		}
	} else if g := sk.Groups(); len(g) > 0 {
		a.Groups = g[0]
	}
	return a.Bytes(), nil
}

// changeMembership joins or leaves a group: EPERM without permission, EINVAL for a group that does not exist, what
// the protocol's bind hook says.
func (sk *Sock) changeMembership(cur *kernel.Task, group uint32, join bool) error {
	if !sk.allowed(cur, sk.cfg().NonrootRecv) {
		return kernel.Errorf(kernel.EPERM, "groups of protocol %d need CAP_NET_ADMIN", sk.Protocol)
	}
	sk.nl.reallocGroups(cur, sk)
	if group == 0 || group > uint32(sk.cfg().Groups) {
		return kernel.Errorf(kernel.EINVAL, "no group %d", group)
	}
	if join {
		if err := sk.bindHook(cur, int(group)); err != nil {
			return err
		}
	}
	sk.nl.table.lock.Lock(cur)
	sk.nl.updateGroups(cur, sk, func(groups []uint32) {
		bit := uint32(1) << ((group - 1) % 32)
		if join {
			groups[(group-1)/32] |= bit
		} else {
			groups[(group-1)/32] &^= bit
		}
	})
	sk.nl.table.lock.Unlock(cur)
	return nil
}

// SockOf returns the netlink socket behind an open file, nil for other files.
func SockOf(f *kernel.File) *Sock {
	if f == nil {
		return nil
	}
	sk, _ := f.Ops().(*Sock)
	return sk
}

// Sockets returns all bound sockets of all protocols in a namespace, for checkers.
func (nl *Netlink) Sockets(net *kernel.Net) []*Sock {
	var all []*Sock
	for proto := range nl.table.proto {
		all = slices.Concat(all, nl.Bound(net, proto, false))
	}
	return all
}
