package rtnetlink

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"nlmmap/kernel"
	"nlmmap/subsys/inet"
	"nlmmap/uapi"
)

// IfreqLen is the size of struct ifreq: a name, and what the request is about.
const IfreqLen = 40

// IsDeviceRequest reports whether a request of ioctl(2) is one that DeviceIoctl answers.
func IsDeviceRequest(request uint32) bool {
	switch request {
	case unix.SIOCGIFNAME, unix.SIOCGIFFLAGS, unix.SIOCSIFFLAGS, unix.SIOCGIFMETRIC, unix.SIOCGIFMTU, unix.SIOCSIFMTU, unix.SIOCSIFNAME,
		unix.SIOCGIFHWADDR, unix.SIOCSIFHWADDR, unix.SIOCGIFINDEX, unix.SIOCGIFTXQLEN, unix.SIOCSIFTXQLEN, unix.SIOCGIFMAP:
		return true
	}
	return false
}

// DeviceIoctl answers a request of ioctl(2) about a device, which a socket of any family but netlink takes: dev_ioctl. ifr is a
// struct ifreq, and has the answer afterwards.
//
// Errors: ENODEV when there is no such device; EPERM for a change without CAP_NET_ADMIN; EINVAL for a value that is none; those of
// a change over netlink.
func (r *Rtnetlink) DeviceIoctl(cur *kernel.Task, net *kernel.Net, request uint32, ifr *[IfreqLen]byte) error {
	r.rtnl.Lock(cur)
	defer r.rtnl.Unlock(cur)
	const name = 16
	stack, value := r.inet.Stack(net), ifr[name:]
	if request == unix.SIOCGIFNAME {
		d, ok := stack.Device(cur, int(int32(binary.NativeEndian.Uint32(value))))
		if !ok {
			return kernel.ENODEV
		}
		clear(ifr[:name])
		copy(ifr[:name-1], d.Name)
		return nil
	}
	ifr[name-1] = 0
	changes := map[uint32]func(*kernel.Task, *inet.Stack, inet.Device, []byte) error{unix.SIOCSIFFLAGS: setFlags, unix.SIOCSIFMTU: setMTU,
		unix.SIOCSIFNAME: setName, unix.SIOCSIFHWADDR: r.setAddress, unix.SIOCSIFTXQLEN: setQueueLen}
	change := changes[request]
	if change != nil && !cur.NetCapable(net, uapi.CapNetAdmin) {
		return kernel.EPERM
	}
	d, ok := stack.DeviceNamed(cur, gostring(ifr[:name]))
	if !ok {
		return kernel.ENODEV
	}
	if change != nil {
		return change(cur, stack, d, value)
	}
	showDevice(request, d, value)
	return nil
}

// showDevice writes what a request asks for: dev_ifsioc_locked.
func showDevice(request uint32, d inet.Device, value []byte) {
	switch request {
	case unix.SIOCGIFFLAGS:
		binary.NativeEndian.PutUint16(value, uint16(d.Shown()))
	case unix.SIOCGIFMETRIC:
		binary.NativeEndian.PutUint32(value, 0)
	case unix.SIOCGIFMTU:
		binary.NativeEndian.PutUint32(value, d.MTU)
	case unix.SIOCGIFINDEX:
		binary.NativeEndian.PutUint32(value, uint32(d.Index))
	case unix.SIOCGIFTXQLEN:
		binary.NativeEndian.PutUint32(value, d.TxQueueLen)
	case unix.SIOCGIFMAP:
		clear(value)
	case unix.SIOCGIFHWADDR:
		clear(value[:16])
		binary.NativeEndian.PutUint16(value, linkType(d))
		copy(value[2:], d.MAC[:])
	}
}

func setFlags(cur *kernel.Task, stack *inet.Stack, d inet.Device, value []byte) error {
	stack.SetFlags(cur, d.Index, uint32(binary.NativeEndian.Uint16(value)))
	return nil
}

func setMTU(cur *kernel.Task, stack *inet.Stack, d inet.Device, value []byte) error {
	stack.SetMTU(cur, d.Index, binary.NativeEndian.Uint32(value))
	return nil
}

func setName(cur *kernel.Task, stack *inet.Stack, d inet.Device, value []byte) error {
	value[15] = 0
	changed, err := stack.Rename(cur, d.Index, gostring(value[:16]))
	if changed {
		stack.Renamed(cur, d)
	}
	return err
}

func (r *Rtnetlink) setAddress(cur *kernel.Task, stack *inet.Stack, d inet.Device, value []byte) error {
	addr := value[2:8]
	if binary.NativeEndian.Uint16(value) != linkType(d) {
		return kernel.EINVAL
	}
	if err := r.checkAddress(d, addr); err != nil {
		return err
	}
	stack.Set(cur, d.Index, func(d *inet.Device) { copy(d.MAC[:], addr) })
	stack.AddressChanged(cur, d.Index)
	return nil
}

func setQueueLen(cur *kernel.Task, stack *inet.Stack, d inet.Device, value []byte) error {
	n := int32(binary.NativeEndian.Uint32(value))
	if n < 0 {
		return kernel.EINVAL
	}
	stack.Set(cur, d.Index, func(d *inet.Device) { d.TxQueueLen = uint32(n) })
	return nil
}
