// Package subsys boots everything that speaks netlink on a machine: the address family and one package for each
// subsystem. The packages are alike: Register takes what the subsystem stands on, a struct D holds its named
// differences, and an input function gets the messages.
//
//	k, err := kernel.Boot(kernel.Config{Version: kernel.Version{Release: kernel.Linux4_4}})
//	sys, err := subsys.Register(k)
//	task := k.NewProcess("main", k.NewNet())
//	fd, err := task.Socket(uapi.AFNetlink, uapi.SockRaw, uapi.NetlinkRoute)
//	...
//	err = k.Close()
package subsys

import (
	"fmt"
	"maps"
	"slices"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/subsys/audit"
	"nlmmap/subsys/fiblookup"
	"nlmmap/subsys/genetlink"
	"nlmmap/subsys/inet"
	"nlmmap/subsys/nflog"
	"nlmmap/subsys/nfnetlink"
	"nlmmap/subsys/nfqueue"
	"nlmmap/subsys/others"
	"nlmmap/subsys/rtnetlink"
	"nlmmap/subsys/sockdiag"
	"nlmmap/subsys/uevent"
	"nlmmap/subsys/usersock"
)

// A System is what Register has booted.
type System struct {
	Kernel    *kernel.Kernel
	Netlink   *afnetlink.Netlink
	IP        *inet.Inet
	Rtnetlink *rtnetlink.Rtnetlink
	Genetlink *genetlink.Genetlink
	Sockdiag  *sockdiag.Sockdiag
	Audit     *audit.Audit
	NFNetlink *nfnetlink.Family
	NFQueue   *nfqueue.NFQueue
	NFLog     *nflog.NFLog
}

// Register boots the address family and all subsystems. The error names a value that a difference does not have, or a
// difference that no package has.
func Register(k *kernel.Kernel) (*System, error) {
	s := &System{Kernel: k, IP: inet.Register(k)}
	var err error
	if s.Netlink, err = afnetlink.Register(k); err != nil {
		return nil, err
	}
	if s.Rtnetlink, err = rtnetlink.Register(s.Netlink, s.IP); err != nil {
		return nil, err
	}
	if s.Genetlink, err = genetlink.Register(s.Netlink); err != nil {
		return nil, err
	}
	if s.Sockdiag, err = sockdiag.Register(s.Netlink); err != nil {
		return nil, err
	}
	if s.Audit, err = audit.Register(s.Netlink); err != nil {
		return nil, err
	}
	if s.NFNetlink, err = nfnetlink.Register(s.Netlink); err != nil {
		return nil, err
	}
	if s.NFQueue, err = nfqueue.Register(s.NFNetlink); err != nil {
		return nil, err
	}
	if s.NFLog, err = nflog.Register(s.NFNetlink); err != nil {
		return nil, err
	}
	usersock.Register(s.Netlink)
	fiblookup.Register(s.Netlink, s.IP)
	uevent.Register(s.Netlink, s.IP)
	others.Register(s.Netlink)
	if err := s.checkNames(); err != nil {
		return nil, err
	}
	return s, nil
}

// Inet returns the network stack of a namespace.
func (s *System) Inet(net *kernel.Net) *inet.Stack { return s.IP.Stack(net) }

// checkNames reports a name in Version.Set that no table has.
func (s *System) checkNames() error {
	set := s.Kernel.Config().Version.Set
	if len(set) == 0 {
		return nil
	}
	known := map[string]bool{}
	for _, d := range slices.Concat(s.Kernel.Differences(), Tables()) {
		known[d.Name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if !known[name] {
			return fmt.Errorf("no difference is called %q", name)
		}
	}
	return nil
}

// Tables returns the named differences of the address family and all subsystems; kernel.Kernel.Differences has those
// of the machine. They are bound to no machine: resolving them changes nothing.
func Tables() []kernel.Difference {
	return slices.Concat(slices.Concat(new(afnetlink.Netlink).Tables()...),
		new(rtnetlink.Differences).Table(),
		new(genetlink.Differences).Table(),
		new(sockdiag.Differences).Table(),
		new(audit.Differences).Table(),
		new(nfnetlink.Differences).Table(),
		new(nfqueue.Differences).Table(),
		new(nflog.Differences).Table(),
	)
}
