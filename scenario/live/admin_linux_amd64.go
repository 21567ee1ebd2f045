package live

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"nlmmap/uapi"
)

// An admin does what the administrator of the scenario does. It opens sockets only while it acts, so that tasks do not
// find them in any list. Everything runs on the tracer's thread, whose network namespace is that of the tasks.
type admin struct {
	kind   string // of the device that carries neighbours and routes
	device int    // its index, once it exists
	loUp   bool
	raised bool // lo was down before
	neighs int  // how many were added so far
	routes int
	rules  [][]byte // targets of the iptables rules
	taps   []*tap
	links  []string // devices that were made
}

const deviceName = "d0"

// close undoes what would stay in a network namespace that does.
func (a *admin) close() error {
	for _, t := range a.taps {
		t.close()
	}
	var errs []error
	if len(a.rules) > 0 {
		errs = append(errs, a.flushRules())
	}
	for _, name := range a.links {
		errs = append(errs, a.deleteLink(name))
	}
	if a.raised {
		errs = append(errs, a.lowerLoopback())
	}
	return errors.Join(errs...)
}

// request sends messages to the kernel's routing socket, one at a time, and waits for each acknowledgement.
func (a *admin) request(count int, message func(i int) []byte) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	kernel := &unix.SockaddrNetlink{Family: unix.AF_NETLINK}
	answer := make([]byte, 8192)
	for i := range count {
		if err := unix.Sendto(fd, message(i), 0, kernel); err != nil {
			return err
		}
		n, _, err := unix.Recvfrom(fd, answer, 0)
		if err != nil {
			return err
		}
		if n < uapi.NLMsgErrlen || uapi.ParseNLMsgHdr(answer).Type != uapi.NLMsgError {
			return fmt.Errorf("live: %d unexpected bytes instead of an acknowledgement", n)
		}
		if e := int32(le.Uint32(answer[uapi.NLMsgHdrlen:])); e != 0 {
			return unix.Errno(-e)
		}
	}
	return nil
}

// sysctl writes a file below /proc/sys, which for net is that of the thread's namespace. It is not created.
func sysctl(key string, value int64) error {
	fd, err := unix.Open("/proc/sys/"+strings.ReplaceAll(key, ".", "/"), unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, fmt.Appendln(nil, value))
	return err
}

func one(message []byte) func(int) []byte { return func(int) []byte { return message } }

// message builds a request from a type-specific header and attributes. The kernel does not look at the port id in it: it
// tells taps what they need not show.
func message(typ uint16, flags uint16, header []byte, attrs ...[]byte) []byte {
	h := uapi.NLMsgHdr{Type: typ, Flags: flags | uapi.NLMFRequest | uapi.NLMFAck, Seq: 1, Pid: ownPid}
	return uapi.AppendMessage(nil, h, append(slices.Clip(header), slices.Concat(attrs...)...))
}

// attr builds an attribute, padded.
func attr(typ uint16, data []byte) []byte { return uapi.AppendAttr(nil, typ, data) }

// ifinfo is struct ifinfomsg.
func ifinfo(index int, flags, change uint32) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	le.PutUint32(b[4:], uint32(index))
	le.PutUint32(b[8:], flags)
	le.PutUint32(b[12:], change)
	return b
}

// addLink makes a device and brings it up: two requests, because that makes two notifications.
func (a *admin) addLink(name, kind string) (index int, err error) {
	info := attr(unix.IFLA_INFO_KIND, append([]byte(kind), 0))
	err = a.request(1, one(message(uapi.RTMNewlink, uapi.NLMFCreate|uapi.NLMFExcl, ifinfo(0, 0, 0),
		attr(unix.IFLA_IFNAME, append([]byte(name), 0)), attr(unix.IFLA_LINKINFO, info))))
	if err != nil {
		return 0, fmt.Errorf("live: no %s device: %w", kind, err)
	}
	a.links = append(a.links, name)
	if index, err = interfaceIndex(name); err != nil {
		return 0, err
	}
	return index, a.linkUp(index)
}

func (a *admin) linkUp(index int) error {
	return a.request(1, one(message(uapi.RTMNewlink, 0, ifinfo(index, unix.IFF_UP, unix.IFF_UP))))
}

func (a *admin) deleteLink(name string) error {
	index, err := interfaceIndex(name)
	if err != nil {
		return err
	}
	return a.request(1, one(message(uapi.RTMDellink, 0, ifinfo(index, 0, 0))))
}

func interfaceIndex(name string) (int, error) {
	req, err := askInterface(name, unix.SIOCGIFINDEX)
	if err != nil {
		return 0, err
	}
	return int(req.Uint32()), nil
}

func interfaceFlags(name string) (uint16, error) {
	req, err := askInterface(name, unix.SIOCGIFFLAGS)
	if err != nil {
		return 0, err
	}
	return req.Uint16(), nil
}

// askInterface asks with an ioctl: package net would ask from whatever thread, that is in another namespace.
func askInterface(name string, what uint) (*unix.Ifreq, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq(name)
	if err != nil {
		return nil, err
	}
	return req, unix.IoctlIfreq(fd, what, req)
}

// loopback brings lo up. Nothing needs it before the first rule or packet, and a scenario that has neither sees an empty
// namespace.
func (a *admin) loopback() error {
	if a.loUp {
		return nil
	}
	index, err := interfaceIndex("lo")
	if err != nil {
		return err
	}
	before, err := interfaceFlags("lo")
	if err == nil {
		err = a.linkUp(index)
	}
	a.loUp = err == nil
	a.raised = a.loUp && before&unix.IFF_UP == 0
	return err
}

// lowerLoopback makes lo what it is in a new namespace: down and without an address. The scenario may have taken that away.
func (a *admin) lowerLoopback() error {
	index, err := interfaceIndex("lo")
	if err != nil {
		return err
	}
	header := make([]byte, unix.SizeofIfAddrmsg)
	header[0], header[1] = uapi.AFInet, 8
	le.PutUint32(header[4:], uint32(index))
	err = a.request(1, one(message(uapi.RTMDeladdr, 0, header, attr(unix.IFA_LOCAL, []byte{127, 0, 0, 1}))))
	if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return err
	}
	return a.request(1, one(message(uapi.RTMNewlink, 0, ifinfo(index, 0, unix.IFF_UP))))
}

// dummy returns the index of the device for neighbours and routes.
func (a *admin) dummy() (index int, err error) {
	if a.device == 0 {
		a.device, err = a.addLink(deviceName, a.kind)
	}
	return a.device, err
}

func (a *admin) neighbours(count int) error {
	index, err := a.dummy()
	if err != nil {
		return err
	}
	done := 0
	deadline := time.Now().Add(blockLimit)
	for {
		err = a.request(count-done, func(int) []byte {
			n := a.neighs
			a.neighs++
			done++
			return neighbour(index, n)
		})
		// The table is shared by all namespaces, and the kernel takes its time to empty one that is gone.
		if !errors.Is(err, unix.ENOBUFS) || time.Now().After(deadline) {
			return err
		}
		a.neighs--
		done--
		time.Sleep(10 * time.Millisecond)
	}
}

// neighbour is the request for the nth permanent neighbour: 10.0.0.1 and so on.
func neighbour(index, n int) []byte {
	header := make([]byte, 12) // struct ndmsg
	header[0] = uapi.AFInet
	le.PutUint32(header[4:], uint32(index))
	le.PutUint16(header[8:], unix.NUD_PERMANENT)
	n++
	return message(uapi.RTMNewneigh, uapi.NLMFCreate|uapi.NLMFReplace, header,
		attr(unix.NDA_DST, []byte{10, byte(n >> 16), byte(n >> 8), byte(n)}),
		attr(unix.NDA_LLADDR, []byte{2, 0, 0, byte(n >> 16), byte(n >> 8), byte(n)}))
}

func (a *admin) addRoutes(count int) error {
	index, err := a.dummy()
	if err != nil {
		return err
	}
	return a.request(count, func(int) []byte {
		n := a.routes
		a.routes++
		return route(index, n)
	})
}

// route is the request for the nth link-scope route: 10.0.0.0/24, 10.0.1.0/24 and so on.
func route(index, n int) []byte {
	header := make([]byte, unix.SizeofRtMsg)
	header[0] = uapi.AFInet
	header[1] = 24
	header[4] = unix.RT_TABLE_MAIN
	header[5] = unix.RTPROT_BOOT
	header[6] = unix.RT_SCOPE_LINK
	header[7] = unix.RTN_UNICAST
	var oif [4]byte
	le.PutUint32(oif[:], uint32(index))
	return message(uapi.RTMNewroute, uapi.NLMFCreate|uapi.NLMFExcl, header,
		attr(unix.RTA_DST, []byte{10, byte(n >> 8), byte(n), 0}), attr(unix.RTA_OIF, oif[:]))
}

// packet sends UDP datagrams over loopback. It does not wait: a queue rule may keep every packet, and its memory with
// it, until the scenario decides.
func (a *admin) packet(count, size int) (sent, failed int, err error) {
	if err := a.loopback(); err != nil {
		return 0, 0, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, 0, err
	}
	defer unix.Close(fd)
	local := [4]byte{127, 0, 0, 1}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: 4000, Addr: local}); err != nil {
		return 0, 0, err
	}
	payload := make([]byte, size)
	for range count {
		if unix.Sendto(fd, payload, unix.MSG_DONTWAIT, &unix.SockaddrInet4{Port: 9, Addr: local}) == nil {
			sent++
		} else {
			failed++
		}
	}
	return sent, failed, nil
}
