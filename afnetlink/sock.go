package afnetlink

import (
	"math/bits"

	"nlmmap/kernel"
	"nlmmap/kernel/inspect"
	"nlmmap/ringmm"
	"nlmmap/sock"
	"nlmmap/uapi"
)

// A flag is an option of a socket that is on or off.
type flag int

const (
	flagRecvPktinfo flag = iota
	flagBroadcastError
	flagNoENOBUFS
	flagListenAllNSID
	flagCapAck
	numFlags
)

var flagNames = [numFlags]string{"RECV_PKTINFO", "BROADCAST_ERROR", "NO_ENOBUFS", "LISTEN_ALL_NSID", "CAP_ACK"}

// A Sock is a netlink socket (struct netlink_sock). The fields that are no cells do not change after newSock.
type Sock struct {
	sock.Sock[CB]
	nl     *Netlink
	kernel bool

	// Names. The portid is set once; dstPortid and dstGroup are the peer that connect chose.
	portid    kernel.Atomic // changes under nl_table_lock, as bound
	bound     kernel.Atomic
	state     kernel.Atomic // sk_state: of every socket before its first connect, and the two that netlink knows
	dstPortid kernel.Atomic
	dstGroup  kernel.Atomic
	groups    kernel.Pointer[groupBits] // changes under nl_table_lock; nil before the socket first asks for a group

	// subscriptions counts the groups, or would (leave-counts-up).
	subscriptions kernel.Atomic

	flags     [numFlags]kernel.Atomic
	congested kernel.Atomic
	wait      kernel.WaitQueue // blocked senders

	cb             dumpState
	maxRecvmsgLen  kernel.Atomic
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
	if proto < 0 || proto >= uapi.MaxLinks || nl.table.proto[proto] == nil {
		return nil, kernel.Errorf(kernel.EPROTONOSUPPORT, "nothing speaks netlink protocol %d", proto)
	}
	sk := nl.newSock(cur, typ, proto)
	sk.Inode = nl.k.NewInode(cur)
	return sk, nil
}

// newSock makes an unbound socket: __netlink_create.
func (nl *Netlink) newSock(cur *kernel.Task, typ, proto int) *Sock {
	sk := &Sock{nl: nl}
	sk.Init(cur, uapi.AFNetlink, typ, proto, &nl.D.Sock, sk.destruct)
	sk.Taken = sk.taken
	sk.cbMutex = nl.table.proto[proto].cfg.CbMutex
	if sk.cbMutex == nil {
		sk.ownCbMutex.Name = "cb_mutex"
		sk.cbMutex = &sk.ownCbMutex
	}
	sk.pgVecLock.Name = "pg_vec_lock"
	sk.portid.Named("portid", 0)
	sk.bound.Named("bound", 0)
	sk.portid.Guard(&nl.table.lock)
	sk.bound.Guard(&nl.table.lock)
	sk.state.Named("sk_state", stateClose)
	sk.dstPortid.Named("dst_portid", 0)
	sk.dstGroup.Named("dst_group", 0)
	sk.groups.Named("groups")
	sk.groups.Guard(&nl.table.lock)
	sk.subscriptions.Named("subscriptions", 0)
	sk.subscriptions.Guard(&nl.table.lock)
	for i := range sk.flags {
		sk.flags[i].Named(flagNames[i], 0)
	}
	sk.maxRecvmsgLen.Named("max_recvmsg_len", 0)
	sk.mapped.Named("mapped", 0)
	sk.congested.Named("CONGESTED", 0)
	sk.cb.init(sk.cbMutex)
	sk.rxRing.Init(nl.k, &nl.D.Ring, "rx", &sk.ReceiveQueue.Lock.Mutex, &sk.pgVecLock)
	sk.txRing.Init(nl.k, &nl.D.Ring, "tx", &sk.pgVecLock, &sk.WriteQueue.Lock.Mutex)
	emit(sk, cur, SocketEvent{Sock: sk})
	return sk
}

// Release implements kernel.FileOps: the last reference to the open file is gone (netlink_release, spec 15.6).
func (sk *Sock) Release(cur *kernel.Task) {
	held := sk.nl.remove(cur, sk)
	sk.Dead.Store(cur, 1)
	sk.wait.Wake(cur, 0)
	bound := sk.isBound(cur)
	if sk.nl.D.UreleaseUnbound {
		bound = sk.Portid(cur) != 0
	}
	if bound {
		for _, fn := range sk.nl.release {
			fn(cur, Release{sk.Net, sk.Protocol, sk.Portid(cur)})
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
	emit(sk, cur, SocketEvent{Sock: sk, Gone: true})
	sk.cb.drop(cur)
	sk.PurgeReceiveQueue(cur)
	if sk.nl.D.RingCloseLocking {
		sk.pgVecLock.Lock(cur)
		defer sk.pgVecLock.Unlock(cur)
	}
	sk.rxRing.Destroy(cur)
	sk.txRing.Destroy(cur)
	if n := sk.mapped.Load(cur); n != 0 {
		sk.K.Warn(cur, "socket destroyed with %d mappings", n)
	}
}

// Portid is the socket's number, 0 as long as it has none.
func (sk *Sock) Portid(cur *kernel.Task) uint32 { return uint32(sk.portid.Load(cur)) }

func (sk *Sock) isBound(cur *kernel.Task) bool { return sk.bound.Load(cur) != 0 }

// RxRing is the ring of received messages.
func (sk *Sock) RxRing() *ringmm.Ring { return &sk.rxRing }

// TxRing is the ring of messages to send.
func (sk *Sock) TxRing() *ringmm.Ring { return &sk.txRing }

// States of a socket: sk_state.
const (
	stateUnconnected = 0 // NETLINK_UNCONNECTED
	stateConnected   = 1 // NETLINK_CONNECTED
	stateClose       = 7 // TCP_CLOSE, which sock_init_data sets: the socket was never connected
)

// Peer returns the socket's state and what it is connected to, if it is.
func (sk *Sock) Peer(cur *kernel.Task) (state byte, portid, group uint32) {
	return byte(sk.state.Load(cur)), uint32(sk.dstPortid.Load(cur)), uint32(sk.dstGroup.Load(cur))
}

// A State is what checkers and printing see of a socket beside what sock.Sock shows.
type State struct {
	Portid         uint32
	Mapped         int // live mappings of the rings
	Congested      bool
	RxRing, TxRing ringmm.State
	Groups         []uint32
}

// Inspect returns the socket as it is, without being a scheduling point.
func (sk *Sock) Inspect(key inspect.Key) State {
	return State{Portid: uint32(sk.portid.Inspect(key)), Mapped: int(sk.mapped.Inspect(key)),
		Congested: sk.congested.Inspect(key) != 0, RxRing: sk.rxRing.Inspect(key), TxRing: sk.txRing.Inspect(key),
		Groups: sk.groups.Inspect(key).words()}
}

// DumpRequest returns the request of the dump that goes on, nil for none. It is for a machine at rest: nobody else may
// be in a dump.
func (sk *Sock) DumpRequest(key inspect.Key) *SKB {
	if cb := sk.cb.cb.Inspect(key); cb != nil {
		return cb.SKB
	}
	return nil
}

// PgVecLock is taken by who looks at the rings from outside.
func (sk *Sock) PgVecLock() *kernel.Mutex { return &sk.pgVecLock }

func (sk *Sock) has(cur *kernel.Task, f flag) bool { return sk.flags[f].Load(cur) != 0 }

func (sk *Sock) setFlag(cur *kernel.Task, f flag, on bool) {
	var v int64
	if on {
		v = 1
	}
	sk.flags[f].Store(cur, v)
}

func (sk *Sock) cfg() *KernelCfg { return &sk.nl.table.proto[sk.Protocol].cfg }

// allowed reports whether cur may do what the protocol permits to everybody, or has CAP_NET_ADMIN: netlink_allowed.
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
	bound := sk.isBound(cur) // once: a socket that is bound meanwhile is refused by insert
	if bound && a.Pid != sk.Portid(cur) {
		return kernel.Errorf(kernel.EINVAL, "the socket has portid %v already", sk.portid.Shown())
	}
	for g := 1; g <= 32; g++ {
		if a.Groups&(1<<(g-1)) != 0 {
			if err := sk.bindHook(cur, g); err != nil {
				return err
			}
		}
	}
	if !bound {
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
	if a.Groups != 0 || sk.groups.Load(cur) != nil {
		sk.nl.table.lock.Lock(cur)
		sk.nl.replaceGroups(cur, sk, a.Groups)
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
		sk.state.Store(cur, stateUnconnected)
		sk.dstPortid.Store(cur, 0)
		sk.dstGroup.Store(cur, 0)
		return nil
	case a.Family != uapi.AFNetlink:
		return kernel.Errorf(kernel.EINVAL, "address family %d", a.Family)
	}
	asks := a.Groups != 0 || a.Pid != 0 && sk.nl.D.ConnectPortidCap
	if asks && !sk.allowed(cur, sk.cfg().NonrootSend) {
		return kernel.Errorf(kernel.EPERM, "sending to groups or sockets of protocol %d needs CAP_NET_ADMIN", sk.Protocol)
	}
	if !sk.isBound(cur) {
		if err := sk.nl.autobind(cur, sk); err != nil {
			return err
		}
	}
	sk.dstPortid.Store(cur, int64(a.Pid))
	sk.dstGroup.Store(cur, int64(lowestGroup(a.Groups)))
	sk.state.Store(cur, stateConnected)
	return nil
}

// Getname implements kernel.SocketOps.
func (sk *Sock) Getname(cur *kernel.Task, peer bool) ([]byte, error) {
	a := uapi.SockaddrNL{Family: uapi.AFNetlink}
	if peer {
		a.Pid = uint32(sk.dstPortid.Load(cur))
		if g := sk.dstGroup.Load(cur); g != 0 {
			a.Groups = 1 << (g - 1)
		}
		return a.Bytes(), nil
	}
	a.Pid = sk.Portid(cur)
	if g := sk.Groups(cur); len(g) > 0 {
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
	sk.nl.changeGroup(cur, sk, int(group), join)
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
func (nl *Netlink) Sockets(key inspect.Key, net *kernel.Net) []*Sock {
	var all []*Sock
	for _, p := range nl.table.proto {
		if p == nil {
			continue
		}
		for _, sk := range p.socks.Inspect(key) {
			if sk.Net == net {
				all = append(all, sk)
			}
		}
	}
	return all
}
