// Package inet is the small network stack that the netlink subsystems talk about: devices, addresses, neighbours,
// routes with the rules by which they are looked up, and the output path of locally generated UDP packets with a list of
// rules on it. IPv6 has what comes by itself with a device that is up, and what programs ask for.
//
// There is one Stack for each network namespace; it begins with lo, which is down, the initial one with dummy0 as well. What changes is told to notifiers:
// rtnetlink and uevents announce it. Nothing here speaks netlink.
//
//	device.go   Register, SetFlags, ... ──► Link
//	addr.go     AddAddr, DelAddr        ──► Addr, and the routes that come with it
//	fib.go      AddRoute, DelRoute      ──► Route             Lookup: the rules, then a table
//	policy.go   AddPolicyRule, ...      ──► Rule
//	neigh.go    AddNeigh, DelNeigh      ──► Neigh
//	ipv6.go     the same for IPv6
//	output.go   SendUDP ──► Output ──► rule, rule, ... ──► delivered, dropped, or queued until Reinject
package inet

import (
	"net/netip"

	"nlmmap/kernel"
)

// Inet is the network stack of a machine.
type Inet struct {
	D Differences

	k         *kernel.Kernel
	neighs    kernel.Atomic // in all namespaces together
	notifiers []Notifier
	stacks    kernel.PerNet[Stack]
}

// A Cause is the request that a change comes from: notifications have its number and the port id of its sender, who hears
// of it as well with Echo. The zero Cause is the kernel itself.
type Cause struct {
	Portid, Seq uint32
	Echo        bool
}

// A Notifier is told of changes; each function may be nil.
type Notifier struct {
	Link  func(cur *kernel.Task, s *Stack, d Device, what LinkChange, flags uint32) // flags are those that have changed
	Neigh func(cur *kernel.Task, s *Stack, n Neigh, gone bool)
	Addr  func(cur *kernel.Task, s *Stack, a Addr, gone bool, by Cause)
	Route func(cur *kernel.Task, s *Stack, r Route, gone bool, flags uint16, by Cause) // flags: RouteReplace, RouteAppend
	Rule  func(cur *kernel.Task, s *Stack, r PolicyRule, gone bool, by Cause)
	Gone  func(cur *kernel.Task, s *Stack, from netip.AddrPort) // a UDP socket
}

// LinkChange is what happened to a device.
type LinkChange int

// The changes of a device.
const (
	LinkRegistered LinkChange = iota // it is there, but not whole yet
	LinkAdded
	LinkUp
	LinkDown
	LinkChanged
	LinkRemoved
)

// Register brings the stack up on a machine. Namespaces get theirs when it is first asked for.
func Register(k *kernel.Kernel, d *Differences) *Inet {
	in := &Inet{k: k, D: *d}
	in.neighs.Named("neighbours", 0)
	return in
}

// Notify adds a notifier.
func (in *Inet) Notify(n Notifier) { in.notifiers = append(in.notifiers, n) }

// Stack returns the stack of a namespace.
func (in *Inet) Stack(net *kernel.Net) *Stack {
	return in.stacks.Of(net, func() *Stack {
		s := &Stack{in: in, net: net}
		s.devices.Named("devices", in.firstDevices(net))
		s.addrs.Named("addresses", nil)
		s.neighs.Named("neighbours", neighs{})
		s.routes.Named("routes", fib{})
		s.policy.Named("policy", defaultRules())
		s.ipv6.Named("ipv6", ipv6{})
		s.populated.Named("populated", populated{})
		s.output.rules.Named("rules", nil)
		s.output.stats.Named("packets", Stats{})
		return s
	})
}

// A Stack is the network stack of one namespace. Each list is read, or changed, in one step; what must not interleave is
// under the rtnl mutex of the caller.
type Stack struct {
	in  *Inet
	net *kernel.Net

	devices kernel.Shared[devices]
	addrs   kernel.Shared[[]Addr]
	neighs  kernel.Shared[neighs]
	routes  kernel.Shared[fib]
	policy  kernel.Shared[[]PolicyRule]
	ipv6    kernel.Shared[ipv6]
	output  output

	populated kernel.Shared[populated]
}

// Net is the namespace.
func (s *Stack) Net() *kernel.Net { return s.net }
