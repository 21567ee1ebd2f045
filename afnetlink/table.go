package afnetlink

import (
	"math/bits"
	"math/rand/v2"
	"slices"
	"sync"

	"nlmmap/kernel"
	"nlmmap/uapi"
)

// A KernelCfg describes a protocol (struct netlink_kernel_cfg).
type KernelCfg struct {
	// Groups is the number of multicast groups; at least 32 exist.
	Groups int
	// NonrootRecv and NonrootSend permit receiving groups, and sending to groups and other sockets, without
	// CAP_NET_ADMIN (spec 15.4).
	NonrootRecv, NonrootSend bool
	// Input handles a message to the kernel; nil refuses it with ECONNREFUSED. NoKernelSock says that there is no
	// kernel socket at all, InitNetOnly that only the initial network namespace has one.
	Input        func(cur *kernel.Task, m *Message)
	NoKernelSock bool
	InitNetOnly  bool
	// CbMutex serialises the dumps of all sockets of the protocol; nil gives each socket a mutex of its own.
	CbMutex *kernel.Mutex
	// Bind is asked when a socket joins a group (1-based).
	Bind func(cur *kernel.Task, net *kernel.Net, group int) error
}

// protocol is one entry of nl_table.
type protocol struct {
	registered bool
	cfg        KernelCfg
	kernel     map[*kernel.Net]*Sock
	socks      map[sockKey]*Sock
	order      []*Sock // all bound sockets, oldest first
	mc         []*Sock // sockets with subscriptions, the latest subscriber first
}

type sockKey struct {
	net    *kernel.Net
	portid uint32
}

// table is nl_table. Lookups are a load of word, changes a store to it; mu keeps the maps whole in Free mode and is
// never held at a scheduling point.
type table struct {
	lock  kernel.Mutex // nl_table_lock
	word  kernel.Atomic
	mu    sync.RWMutex
	proto [uapi.MaxLinks]protocol
	rover int32
	rng   *rand.Rand
}

// KernelCreate registers a protocol: netlink_kernel_create, and nl_table_register for a protocol without kernel
// socket.
func (nl *Netlink) KernelCreate(proto int, cfg KernelCfg) {
	nl.table.mu.Lock()
	defer nl.table.mu.Unlock()
	p := &nl.table.proto[proto]
	cfg.Groups = max(cfg.Groups, 32)
	p.registered, p.cfg = true, cfg
	p.kernel, p.socks = map[*kernel.Net]*Sock{}, map[sockKey]*Sock{}
}

// KernelSock returns the kernel's socket of a protocol in a namespace, nil when there is none. Namespaces get theirs
// when it is first asked for.
func (nl *Netlink) KernelSock(net *kernel.Net, proto int) *Sock {
	nl.table.mu.Lock()
	defer nl.table.mu.Unlock()
	return nl.kernelSock(net, proto)
}

func (nl *Netlink) kernelSock(net *kernel.Net, proto int) *Sock {
	p := &nl.table.proto[proto]
	if !p.registered || p.cfg.NoKernelSock || p.cfg.InitNetOnly && !net.IsInit() {
		return nil
	}
	sk := p.kernel[net]
	if sk == nil {
		sk = nl.newSock(nl.k.KernelTask("kernel"), uapi.SockDgram, proto)
		sk.Net, sk.kernel = net, true
		sk.bound.Store(true)
		p.kernel[net] = sk
	}
	return sk
}

// lookup finds the socket with a portid and takes a reference: netlink_lookup.
func (nl *Netlink) lookup(cur *kernel.Task, net *kernel.Net, proto int, portid uint32) *Sock {
	nl.table.word.Load(cur)
	nl.table.mu.Lock()
	defer nl.table.mu.Unlock()
	var sk *Sock
	if portid == 0 {
		sk = nl.kernelSock(net, proto)
	} else {
		sk = nl.table.proto[proto].socks[sockKey{net, portid}]
	}
	if sk != nil {
		sk.HoldFound()
	}
	return sk
}

// getsockByPortid finds the receiver of a message of ssk: ECONNREFUSED when there is none, or when it is connected to
// somebody else (netlink_getsockbyportid, spec 15.2).
func (nl *Netlink) getsockByPortid(cur *kernel.Task, ssk *Sock, portid uint32) (*Sock, error) {
	sk := nl.lookup(cur, ssk.Net, ssk.Protocol, portid)
	if sk == nil {
		return nil, kernel.ECONNREFUSED
	}
	if sk.connected.Load() && sk.dstPortid.Load() != ssk.portid.Load() {
		sk.Put(cur)
		return nil, kernel.ECONNREFUSED
	}
	return sk, nil
}

// insert gives sk a portid: netlink_insert (spec 15.3). EADDRINUSE when it is taken, EBUSY when sk has another.
func (nl *Netlink) insert(cur *kernel.Task, sk *Sock, portid uint32) error {
	t := &nl.table
	t.lock.Lock(cur)
	defer t.lock.Unlock(cur)
	t.word.Add(cur, 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	p := &t.proto[sk.Protocol]
	taken := p.socks[sockKey{sk.Net, portid}] != nil
	if nl.D.BindFailedPortid {
		if sk.bound.Load() {
			if sk.portid.Load() == portid {
				return nil
			}
			return kernel.EBUSY
		}
		sk.portid.Store(portid)
		if taken {
			return kernel.Errorf(kernel.EADDRINUSE, "portid %d is taken", portid)
		}
	} else {
		if taken {
			return kernel.Errorf(kernel.EADDRINUSE, "portid %d is taken", portid)
		}
		if sk.portid.Load() != 0 {
			return kernel.EBUSY
		}
		sk.portid.Store(portid)
	}
	sk.bound.Store(true)
	p.socks[sockKey{sk.Net, portid}] = sk
	p.order = append(p.order, sk)
	sk.HoldFound()
	return nil
}

// remove takes sk out of the table: netlink_remove. It tells whether the table held a reference.
func (nl *Netlink) remove(cur *kernel.Task, sk *Sock) (held bool) {
	t := &nl.table
	t.lock.Lock(cur)
	defer t.lock.Unlock(cur)
	t.word.Add(cur, 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	p := &t.proto[sk.Protocol]
	key := sockKey{sk.Net, sk.portid.Load()}
	if p.socks[key] == sk {
		delete(p.socks, key)
		p.order = slices.DeleteFunc(p.order, func(o *Sock) bool { return o == sk })
		held = true
	}
	if sk.subscriptions > 0 {
		p.mc = slices.DeleteFunc(p.mc, func(o *Sock) bool { return o == sk })
	}
	sk.groups, sk.ngroups, sk.subscriptions = nil, 0, 0
	return held
}

// lowestNegative and roverStart bound the portids that autobind makes up.
const (
	lowestNegative = -1 << 31
	roverStart     = -4097
)

// autobind gives sk the process id of the caller, or when that is taken a negative number: netlink_autobind.
func (nl *Netlink) autobind(cur *kernel.Task, sk *Sock) error {
	candidate := int32(cur.Tgid())
	rover := int32(roverStart)
	if !nl.D.AutobindRover {
		nl.table.mu.Lock()
		rover = roverStart - int32(nl.table.rng.Int64N(roverStart-lowestNegative+1))
		nl.table.mu.Unlock()
	}
	for {
		taken := nl.lookup(cur, sk.Net, sk.Protocol, uint32(candidate))
		if taken == nil {
			err := nl.insert(cur, sk, uint32(candidate))
			switch kernel.ErrnoOf(err) {
			case kernel.EADDRINUSE: // somebody was faster: the next number
			case kernel.EBUSY: // another thread has bound the socket
				return nil
			default:
				return err
			}
		} else {
			taken.Put(cur)
		}
		if nl.D.AutobindRover {
			nl.table.mu.Lock()
			rover = nl.table.rover
			nl.table.rover--
			if rover == lowestNegative {
				nl.table.rover = roverStart
			}
			nl.table.mu.Unlock()
			candidate = rover
			continue
		}
		candidate = rover
		rover--
		if rover > roverStart { // wrapped below the lowest
			rover = roverStart
		}
	}
}

// multicast returns the sockets with a subscription of a protocol, the latest subscriber first, each with a
// reference.
func (nl *Netlink) multicast(cur *kernel.Task, proto int) []*Sock {
	nl.table.word.Load(cur)
	nl.table.mu.RLock()
	defer nl.table.mu.RUnlock()
	list := slices.Clone(nl.table.proto[proto].mc)
	for _, sk := range list {
		sk.HoldFound()
	}
	return list
}

// Bound returns the bound sockets of a protocol, oldest first, and with kernel the kernel's own before them: for
// /proc/net/netlink and socket diagnostics.
func (nl *Netlink) Bound(net *kernel.Net, proto int, kernelSocks bool) []*Sock {
	nl.table.mu.Lock()
	defer nl.table.mu.Unlock()
	var list []*Sock
	if kernelSocks {
		if sk := nl.kernelSock(net, proto); sk != nil {
			list = append(list, sk)
		}
	}
	for _, sk := range nl.table.proto[proto].order {
		if sk.Net == net {
			list = append(list, sk)
		}
	}
	return list
}

// Subscribers returns the sockets with a subscription of a protocol in a namespace, the latest subscriber first: for
// socket diagnostics. They need not be bound.
func (nl *Netlink) Subscribers(net *kernel.Net, proto int) []*Sock {
	nl.table.mu.RLock()
	defer nl.table.mu.RUnlock()
	var list []*Sock
	for _, sk := range nl.table.proto[proto].mc {
		if sk.Net == net {
			list = append(list, sk)
		}
	}
	return list
}

// HasListeners tells whether a group has a subscriber: netlink_has_listeners.
func (nl *Netlink) HasListeners(proto, group int) bool {
	nl.table.mu.RLock()
	defer nl.table.mu.RUnlock()
	for _, sk := range nl.table.proto[proto].mc {
		if sk.member(group) {
			return true
		}
	}
	return false
}

// member tells whether sk has joined a group (1-based). The caller holds the table's mu.
func (sk *Sock) member(group int) bool {
	return group >= 1 && group <= sk.ngroups && sk.groups[(group-1)/32]&(1<<((group-1)%32)) != 0
}

// reallocGroups makes the group bitmap of a socket that has none, or not for all groups: netlink_realloc_groups. The
// bitmap stays when the call that wanted it fails afterwards, which socket diagnostics shows.
func (nl *Netlink) reallocGroups(cur *kernel.Task, sk *Sock) {
	t := &nl.table
	t.lock.Lock(cur)
	defer t.lock.Unlock(cur)
	t.word.Add(cur, 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	sk.growGroups(t.proto[sk.Protocol].cfg.Groups)
}

func (sk *Sock) growGroups(n int) {
	if len(sk.groups)*32 < n {
		sk.groups = append(sk.groups, make([]uint32, (n+31)/32-len(sk.groups))...)
		sk.ngroups = n
	}
}

// updateGroups replaces or changes group bits and keeps the list of subscribers: netlink_update_subscriptions. The
// caller holds the table's lock.
func (nl *Netlink) updateGroups(cur *kernel.Task, sk *Sock, change func(groups []uint32)) {
	t := &nl.table
	t.word.Add(cur, 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	p := &t.proto[sk.Protocol]
	sk.growGroups(p.cfg.Groups)
	change(sk.groups)
	before := sk.subscriptions
	sk.subscriptions = 0
	for _, w := range sk.groups {
		sk.subscriptions += bits.OnesCount32(w)
	}
	switch {
	case before == 0 && sk.subscriptions > 0:
		p.mc = slices.Insert(p.mc, 0, sk)
	case before > 0 && sk.subscriptions == 0:
		p.mc = slices.DeleteFunc(p.mc, func(o *Sock) bool { return o == sk })
	}
}

// Groups returns a copy of the group bits.
func (sk *Sock) Groups() []uint32 {
	sk.nl.table.mu.RLock()
	defer sk.nl.table.mu.RUnlock()
	return slices.Clone(sk.groups)
}
