// Package usersock is NETLINK_USERSOCK: the protocol of messages between user programs. It has no kernel socket, so
// that what is sent to portid 0 gets ECONNREFUSED, and everybody may send to everybody (spec 15.4).
package usersock

import (
	"nlmmap/afnetlink"
	"nlmmap/uapi"
)

// Register brings the protocol up (netlink_add_usersock_entry).
func Register(nl *afnetlink.Netlink) {
	nl.KernelCreate(uapi.NetlinkUsersock, afnetlink.KernelCfg{NoKernelSock: true, NonrootSend: true})
}
