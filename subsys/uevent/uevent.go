// Package uevent is NETLINK_KOBJECT_UEVENT: the kernel tells group 1 of devices that come and go, in text (spec 13.4).
//
// A message has no netlink header: it is "action@path" and lines KEY=value, each ending with a zero byte. Everybody
// may listen, nobody can send (ECONNREFUSED). Modelled are the events of a dummy network device that is made, and of one that is
// removed: one for the device and one for its transmit queue each, in the device's namespace.
package uevent

import (
	"fmt"
	"strings"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/subsys/inet"
	"nlmmap/uapi"
)

// Group is the only group (1-based).
const Group = 1

// bootEvents stands for the events of the boot, which nobody here sees but which are numbered: some hundreds.
const bootEvents = 400

type uevent struct {
	nl     *afnetlink.Netlink
	seqnum kernel.Atomic
}

// Register brings the protocol up: kobject_uevent_init.
func Register(nl *afnetlink.Netlink, stack *inet.Inet) {
	u := &uevent{nl: nl}
	u.seqnum.Named("uevent_seqnum", bootEvents)
	nl.KernelCreate(uapi.NetlinkKobjectUevent, afnetlink.KernelCfg{Groups: 1, NonrootRecv: true})
	stack.Notify(inet.Notifier{Link: u.link})
}

// link announces a new device and its queue (netdev_register_kobject), or the end of both, the queue first.
func (u *uevent) link(cur *kernel.Task, s *inet.Stack, d inet.Device, what inet.LinkChange, _ uint32) {
	path := "/devices/virtual/net/" + d.Name
	device := func(action string) {
		u.send(cur, s.Net(), action, path, "net", "INTERFACE="+d.Name, fmt.Sprintf("IFINDEX=%d", d.Index))
	}
	queue := func(action string) { u.send(cur, s.Net(), action, path+"/queues/tx-0", "queues") }
	switch what {
	case inet.LinkRegistered:
		device("add")
		queue("add")
	case inet.LinkRemoved:
		queue("remove")
		device("remove")
	}
}

// send is kobject_uevent_env.
func (u *uevent) send(cur *kernel.Task, net *kernel.Net, action, path, subsystem string, env ...string) {
	seq := u.seqnum.Add(cur, 1)
	if !u.nl.HasListeners(cur, uapi.NetlinkKobjectUevent, Group) {
		return
	}
	lines := append([]string{action + "@" + path, "ACTION=" + action, "DEVPATH=" + path, "SUBSYSTEM=" + subsystem}, env...)
	lines = append(lines, fmt.Sprintf("SEQNUM=%d", seq))
	text := strings.Join(lines, "\x00") + "\x00"
	s := u.nl.NewSKB(cur, len(text))
	if s == nil {
		return
	}
	s.Put(cur, []byte(text))
	s.CB.DstGroup = Group
	_ = u.nl.Broadcast(cur, u.nl.KernelSock(net, uapi.NetlinkKobjectUevent), s, 0, Group)
}
