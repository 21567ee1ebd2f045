package afnetlink

import (
	"math/bits"
	"math/rand/v2"
	"slices"

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

// protocol is one entry of nl_table. What it is does not change after boot; who is in it changes under nl_table_lock, and
// is looked up without.
type protocol struct {
	cfg         KernelCfg
	kernelSocks kernel.PerNet[Sock]
	socks       kernel.Index[sockKey, *Sock] // the bound sockets
	mc          kernel.Pointer[[]subscriber] // sockets with subscriptions, the latest subscriber first
}

type sockKey struct {
	net    *kernel.Net
	portid uint32
}

// subscriber is a socket with its groups.
type subscriber struct {
	sk     *Sock
	groups *groupBits
}

// groupBits is a set of groups, which does not change any more. n is how many there can be.
type groupBits struct {
	bits []uint32
	n    int
}

func (g *groupBits) words() []uint32 {
	if g == nil {
		return nil
	}
	return g.bits
}

// grown returns a copy with room for n groups.
func (g *groupBits) grown(n int) *groupBits {
	c := &groupBits{bits: make([]uint32, max((n+31)/32, len(g.words())))}
	copy(c.bits, g.words())
	c.n = n
	if g != nil && len(g.bits)*32 >= n {
		c.n = g.n
	}
	return c
}

// has reports whether a group (1-based) is in the set.
func (g *groupBits) has(group int) bool {
	return group >= 1 && group <= g.n && g.bits[(group-1)/32]&(1<<((group-1)%32)) != 0
}

// table is nl_table.
type table struct {
	lock  kernel.Mutex             // nl_table_lock
	proto [uapi.MaxLinks]*protocol // nil: nobody speaks it
	rover kernel.Atomic            // how many numbers autobind has made up
}

func (t *table) init() {
	t.lock.Name = "nl_table"
	t.rover.Named("rover", 0)
}

// KernelCreate registers a protocol: netlink_kernel_create, and nl_table_register for a protocol without kernel
// socket.
func (nl *Netlink) KernelCreate(proto int, cfg KernelCfg) {
	cfg.Groups = max(cfg.Groups, 32)
	p := &protocol{cfg: cfg}
	p.socks.Named("nl_table", &nl.table.lock)
	p.mc.Named("mc_list")
	p.mc.Guard(&nl.table.lock)
	nl.table.proto[proto] = p
}

// kernelInode is the inode number of a kernel's socket, which does not come from the counter of the others: in which order
// they are made depends on who asks first. The initial namespace has its sockets before there are others.
func kernelInode(net *kernel.Net, proto int) uint64 {
	const first, later = 500, 1 << 31
	if net.IsInit() {
		return first + uint64(proto)
	}
	return later + uint64(net.ID*uapi.MaxLinks+proto)
}

// KernelSock returns the kernel's socket of a protocol in a namespace, nil when there is none. Namespaces get theirs
// when it is first asked for; nobody can tell by whom.
func (nl *Netlink) KernelSock(net *kernel.Net, proto int) *Sock {
	p := nl.table.proto[proto]
	if p == nil || p.cfg.NoKernelSock || p.cfg.InitNetOnly && !net.IsInit() {
		return nil
	}
	return p.kernelSocks.Of(net, func() *Sock {
		cur := nl.k.KernelTask("kernel")
		sk := nl.newSock(cur, uapi.SockDgram, proto)
		sk.Net, sk.kernel = net, true
		sk.Inode = kernelInode(net, proto)
		sk.bound.Init(1)
		sk.Hold(cur) // as the table does
		net.OnExit(func(cur *kernel.Task) {
			sk.Put(cur)
			sk.Put(cur)
		})
		return sk
	})
}

// lookup finds the socket with a portid and takes a reference: netlink_lookup.
func (nl *Netlink) lookup(cur *kernel.Task, net *kernel.Net, proto int, portid uint32) *Sock {
	if portid == 0 {
		sk := nl.KernelSock(net, proto) // lives as long as the namespace
		if sk != nil {
			sk.Hold(cur)
		}
		return sk
	}
	sk := nl.table.proto[proto].socks.Load(cur, sockKey{net, portid})
	if sk == nil || !sk.HoldFound(cur) {
		return nil
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
	if !sk.kernel && sk.state.Load(cur) == stateConnected && uint32(sk.dstPortid.Load(cur)) != ssk.Portid(cur) {
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
	socks := &t.proto[sk.Protocol].socks
	key := sockKey{sk.Net, portid}
	taken := socks.Load(cur, key) != nil
	if claimed, err := nl.claim(cur, sk, portid, taken); !claimed {
		return err
	}
	sk.Hold(cur)
	socks.Store(cur, key, sk)
	sk.bound.Store(cur, 1) // whoever finds the socket bound finds it in the table
	return nil
}

// claimChecked is the part of netlink_insert that gives a socket its portid, where a number that is refused is
// forgotten. claimed is false if the socket is not to be bound, without an error if it is already.
func claimChecked(cur *kernel.Task, sk *Sock, portid uint32, taken bool) (claimed bool, err error) {
	switch {
	case taken:
		return false, kernel.Errorf(kernel.EADDRINUSE, "portid %d is taken", portid)
	case sk.Portid(cur) != 0:
		return false, kernel.EBUSY
	}
	sk.portid.Store(cur, int64(portid))
	return true, nil
}

// claimKept is claimChecked where a socket has its number before that is known to be free, and keeps it when it is not
// (bind-failed-portid).
func claimKept(cur *kernel.Task, sk *Sock, portid uint32, taken bool) (claimed bool, err error) {
	if sk.isBound(cur) {
		if sk.Portid(cur) == portid {
			return false, nil
		}
		return false, kernel.EBUSY
	}
	sk.portid.Store(cur, int64(portid))
	if taken {
		return false, kernel.Errorf(kernel.EADDRINUSE, "portid %d is taken", portid)
	}
	return true, nil
}

// remove takes sk out of the table: netlink_remove. It reports whether the table held a reference.
func (nl *Netlink) remove(cur *kernel.Task, sk *Sock) (held bool) {
	t := &nl.table
	t.lock.Lock(cur)
	defer t.lock.Unlock(cur)
	p := t.proto[sk.Protocol]
	key := sockKey{sk.Net, sk.Portid(cur)}
	if p.socks.Load(cur, key) == sk {
		p.socks.Delete(cur, key)
		held = true
	}
	nl.setGroups(cur, sk, nil, -int(sk.subscriptions.Load(cur)))
	return held
}

// lowestNegative and roverStart bound the portids that autobind makes up.
const (
	lowestNegative = -1 << 31
	roverStart     = -4097
	rovers         = roverStart - lowestNegative + 1
)

// sharedRover makes up the portids of an autobind where all sockets count down together (autobind-rover).
func (nl *Netlink) sharedRover(cur *kernel.Task) (next func() int32) {
	return func() int32 { return roverStart - int32((nl.table.rover.Add(cur, 1)-1)%rovers) }
}

// randomRover makes up the portids of an autobind where each call counts down from a random number.
func (nl *Netlink) randomRover(cur *kernel.Task) (next func() int32) {
	rng := rand.New(rand.NewPCG(nl.k.Config().Seed, 0x6e6c+uint64(nl.table.rover.Add(cur, 1))))
	rover := roverStart - int32(rng.Int64N(rovers))
	return func() int32 {
		candidate := rover
		rover--
		if rover > roverStart { // wrapped below the lowest
			rover = roverStart
		}
		return candidate
	}
}

// autobind gives sk the process id of the caller, or when that is taken a negative number: netlink_autobind.
func (nl *Netlink) autobind(cur *kernel.Task, sk *Sock) error {
	next := nl.rover(cur)
	for candidate := int32(cur.Tgid()); ; candidate = next() {
		taken := nl.lookup(cur, sk.Net, sk.Protocol, uint32(candidate))
		if taken != nil {
			taken.Put(cur)
			continue
		}
		err := nl.insert(cur, sk, uint32(candidate))
		switch kernel.ErrnoOf(err) {
		case kernel.EADDRINUSE: // somebody was faster: the next number
		case kernel.EBUSY: // another thread has bound the socket
			return nil
		default:
			return err
		}
	}
}

// multicast returns the members of a group, the latest subscriber first, each with a reference. A kernel keeps the table
// as it is while it goes through them.
func (nl *Netlink) multicast(cur *kernel.Task, proto int, group uint32) []*Sock {
	var list []*Sock
	for _, s := range nl.subscribers(cur, proto) {
		if s.groups.has(int(group)) && s.sk.HoldFound(cur) {
			list = append(list, s.sk)
		}
	}
	return list
}

func (nl *Netlink) subscribers(cur *kernel.Task, proto int) []subscriber {
	p := nl.table.proto[proto]
	if p == nil {
		return nil
	}
	if list := p.mc.Load(cur); list != nil {
		return *list
	}
	return nil
}

// Bound returns the bound sockets of a protocol, oldest first, and with kernel the kernel's own before them: for
// /proc/net/netlink and socket diagnostics.
func (nl *Netlink) Bound(cur *kernel.Task, net *kernel.Net, proto int, kernelSocks bool) []*Sock {
	var list []*Sock
	p := nl.table.proto[proto]
	if p == nil {
		return nil
	}
	if kernelSocks {
		if sk := nl.KernelSock(net, proto); sk != nil {
			list = append(list, sk)
		}
	}
	for _, sk := range p.socks.All(cur) {
		if sk.Net == net {
			list = append(list, sk)
		}
	}
	return list
}

// Subscribers returns the sockets with a subscription of a protocol in a namespace, the latest subscriber first: for
// socket diagnostics. They need not be bound.
func (nl *Netlink) Subscribers(cur *kernel.Task, net *kernel.Net, proto int) []*Sock {
	var list []*Sock
	for _, s := range nl.subscribers(cur, proto) {
		if s.sk.Net == net {
			list = append(list, s.sk)
		}
	}
	return list
}

// HasListeners reports whether a group has a subscriber: netlink_has_listeners.
func (nl *Netlink) HasListeners(cur *kernel.Task, proto, group int) bool {
	return slices.ContainsFunc(nl.subscribers(cur, proto), func(s subscriber) bool { return s.groups.has(group) })
}

// reallocGroups makes the group bitmap of a socket that has none, or not for all groups: netlink_realloc_groups. The
// bitmap stays when the call that wanted it fails afterwards, which socket diagnostics shows.
func (nl *Netlink) reallocGroups(cur *kernel.Task, sk *Sock) {
	nl.table.lock.Lock(cur)
	defer nl.table.lock.Unlock(cur)
	if n := sk.cfg().Groups; len(sk.groups.Load(cur).words())*32 < n {
		nl.setGroups(cur, sk, sk.groups.Load(cur).grown(n), 0)
	}
}

// replaceGroups gives a socket the first 32 groups that bind names: the part of netlink_bind under the table's lock, which
// the caller holds. The count of subscriptions changes by how many bits do.
func (nl *Netlink) replaceGroups(cur *kernel.Task, sk *Sock, groups uint32) {
	g := sk.groups.Load(cur).grown(sk.cfg().Groups)
	delta := bits.OnesCount32(groups) - bits.OnesCount32(g.bits[0])
	g.bits[0] = groups
	nl.setGroups(cur, sk, g, delta)
}

// changeGroup lets a socket join or leave one group (1-based): netlink_update_socket_mc. The caller holds the table's lock.
func (nl *Netlink) changeGroup(cur *kernel.Task, sk *Sock, group int, join bool) {
	g := sk.groups.Load(cur).grown(sk.cfg().Groups)
	delta := 0
	if g.has(group) {
		delta--
		if nl.D.LeaveCountsUp {
			delta = 1
		}
	}
	g.bits[(group-1)/32] &^= 1 << ((group - 1) % 32)
	if join {
		delta++
		g.bits[(group-1)/32] |= 1 << ((group - 1) % 32)
	}
	nl.setGroups(cur, sk, g, delta)
}

// setGroups gives a socket its groups, and changes its count of subscriptions: netlink_update_subscriptions. A socket is
// among the subscribers, the latest first, as long as its count is not 0. The caller holds the table's lock.
func (nl *Netlink) setGroups(cur *kernel.Task, sk *Sock, g *groupBits, delta int) {
	if g == nil && sk.groups.Load(cur) == nil {
		return
	}
	sk.groups.Store(cur, g)
	before := sk.subscriptions.Load(cur)
	now := before + int64(delta)
	sk.subscriptions.Store(cur, now)
	if before == 0 && now == 0 {
		return
	}
	list := slices.Clone(nl.subscribers(cur, sk.Protocol))
	switch i := slices.IndexFunc(list, func(s subscriber) bool { return s.sk == sk }); {
	case i < 0:
		list = slices.Insert(list, 0, subscriber{sk, g})
	case now == 0:
		list = slices.Delete(list, i, i+1)
	default:
		list[i].groups = g
	}
	nl.table.proto[sk.Protocol].mc.Store(cur, &list)
}

// Groups returns the group bits. They are the caller's to read.
func (sk *Sock) Groups(cur *kernel.Task) []uint32 { return sk.groups.Load(cur).words() }
