// Package subsys boots everything that speaks netlink on a machine: the address family and one package for each
// subsystem. The packages are alike: Register takes what the subsystem stands on, a struct D holds its named
// differences, and an input function gets the messages.
//
//	sys, err := subsys.Boot(kernel.Config{Version: kernel.Version{Release: kernel.Linux4_4}})
//	task := sys.Kernel.NewProcess("main", sys.Kernel.NewNet())
//	fd, err := task.Socket(uapi.AFNetlink, uapi.SockRaw, uapi.NetlinkRoute)
//	...
//	err = sys.Kernel.Close()
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

// Differences are the named differences of the machine, the address family and all subsystems.
type Differences struct {
	Kernel    kernel.Differences
	Netlink   afnetlink.Differences
	Inet      inet.Differences
	Rtnetlink rtnetlink.Differences
	Genetlink genetlink.Differences
	Sockdiag  sockdiag.Differences
	Audit     audit.Differences
	NFNetlink nfnetlink.Differences
	NFQueue   nfqueue.Differences
	NFLog     nflog.Differences
	Others    others.Differences
}

// Table is the register of all differences, bound to d's fields.
func (d *Differences) Table() []kernel.Difference { return slices.Concat(d.tables()...) }

func (d *Differences) tables() [][]kernel.Difference {
	return [][]kernel.Difference{d.Kernel.Table(), d.Netlink.Table(), d.Inet.Table(), d.Rtnetlink.Table(), d.Genetlink.Table(),
		d.Sockdiag.Table(), d.Audit.Table(), d.NFNetlink.Table(), d.NFQueue.Table(), d.NFLog.Table(), d.Others.Table()}
}

// Resolve looks up what all differences are in a version. The error names a value that a difference does not have, or a
// difference that nobody declares.
func Resolve(v kernel.Version) (*Differences, error) {
	d := &Differences{}
	unknown := maps.Clone(v.Set)
	for _, table := range d.tables() {
		if err := v.Resolve(table); err != nil {
			return nil, err
		}
		for i := range table {
			delete(unknown, table[i].Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(unknown)) {
		return nil, fmt.Errorf("no difference is called %q", name)
	}
	return d, nil
}

// Boot boots a machine with the address family and all subsystems. The error is that of kernel.Boot or Resolve.
func Boot(cfg kernel.Config) (*System, error) {
	k, err := kernel.Boot(cfg)
	if err != nil {
		return nil, err
	}
	return Register(k)
}

// Register boots the address family and all subsystems. The error is that of Resolve.
func Register(k *kernel.Kernel) (*System, error) {
	d, err := Resolve(k.Config().Version)
	if err != nil {
		return nil, err
	}
	return RegisterWith(k, d), nil
}

// RegisterWith is Register for a caller that boots many machines of one version, and has resolved it once.
func RegisterWith(k *kernel.Kernel, d *Differences) *System {
	s := &System{Kernel: k, IP: inet.Register(k, &d.Inet)}
	s.Netlink = afnetlink.RegisterWith(k, &d.Netlink)
	s.Rtnetlink = rtnetlink.Register(s.Netlink, s.IP, &d.Rtnetlink)
	s.Genetlink = genetlink.Register(s.Netlink, &d.Genetlink)
	s.Sockdiag = sockdiag.Register(s.Netlink, s.IP, &d.Sockdiag)
	s.Audit = audit.Register(s.Netlink, &d.Audit)
	s.NFNetlink = nfnetlink.Register(s.Netlink, &d.NFNetlink)
	s.NFQueue = nfqueue.Register(s.NFNetlink, &d.NFQueue)
	s.NFLog = nflog.Register(s.NFNetlink, &d.NFLog)
	usersock.Register(s.Netlink)
	fiblookup.Register(s.Netlink, s.IP)
	uevent.Register(s.Netlink, s.IP)
	others.Register(s.Netlink, &d.Others)
	return s
}

// Inet returns the network stack of a namespace.
func (s *System) Inet(net *kernel.Net) *inet.Stack { return s.IP.Stack(net) }
