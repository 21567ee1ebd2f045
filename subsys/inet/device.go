package inet

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"nlmmap/kernel"
)

// Flags of devices (IFF_*).
const (
	FlagUp        = 0x1
	FlagBroadcast = 0x2
	FlagLoopback  = 0x8
	FlagRunning   = 0x40
	FlagNoARP     = 0x80
	FlagPromisc   = 0x100
	FlagAllMulti  = 0x200
	FlagMulticast = 0x1000
	FlagLowerUp   = 0x10000
	FlagDormant   = 0x20000

	// settable are the flags that a request can change beside Up, Promisc and AllMulti, which have effects.
	settable = 0x4 | 0x20 | FlagNoARP | FlagMulticast | 0x2000 | 0x4000 | 0x8000
)

// States that a device can be in for the user (IF_OPER_*).
const (
	OperUnknown = 0
	OperDown    = 2
	OperDormant = 5
	OperUp      = 6
)

// Kinds of devices that can be made. lo has none.
const (
	KindDummy = "dummy"
	KindNlmon = "nlmon"
)

// LoIndex is the interface index of lo in every namespace.
const LoIndex = 1

// Without the smallest MTU of a protocol a device is none of its (IPv4: inetdev_valid_mtu).
const (
	minMTUIPv4 = 68
	minMTUIPv6 = 1280
)

// A Device is a network device.
type Device struct {
	Index          int
	Name           string
	Kind           string
	Alias          string
	MAC, Broadcast [6]byte // zero for lo, and for what is no Ethernet
	IfFlags        uint32  // without those that follow from others: see Shown
	MTU            uint32
	TxQueueLen     uint32
	Group          uint32
	Promiscuity    uint32
	Queues         [2]uint32 // for sending and receiving
	Oper           uint8     // what the user has set of the state, while the device is up
	LinkMode       uint8
	Qdisc          string
	IPv4, IPv6     bool // which protocols the device speaks
	IPv6Off        bool // disable_ipv6
	IPv6Ready      bool
	IPv6Hosts      bool   // it listens to the group of all hosts of IPv6
	IPv6DAD        bool   // whether IPv6 looks for others with its addresses, as it was when IPv6 found the device
	IPv6MTU        uint32 // what IPv6 knows of the MTU
	Solicits       Solicits
	NoCarrier      bool   // somebody has switched the carrier off
	CarrierChanges uint32 // how often it was switched
}

// Up reports whether the device is up.
func (d Device) Up() bool { return d.IfFlags&FlagUp != 0 }

// Loopback reports whether the device is lo.
func (d Device) Loopback() bool { return d.IfFlags&FlagLoopback != 0 }

// Ethernet reports whether packets on the device have link-layer addresses that mean something.
func (d Device) Ethernet() bool { return d.Kind == KindDummy }

// Addressed reports whether the device has a link-layer address, if only one of zeros.
func (d Device) Addressed() bool { return d.Kind != KindNlmon }

// resolves reports whether neighbours on the device have to be asked for their addresses.
func (d Device) resolves() bool { return d.IfFlags&(FlagNoARP|FlagLoopback) == 0 }

// OperState is the state of the device: netif_oper_up and what the user has set.
func (d Device) OperState() uint8 {
	if !d.Up() {
		return OperDown
	}
	return d.Oper
}

// Shown are the flags as programs see them: dev_get_flags.
func (d Device) Shown() uint32 {
	flags := d.IfFlags
	if d.Up() {
		if !d.NoCarrier {
			flags |= FlagLowerUp
		}
		if o := d.OperState(); o == OperUp || o == OperUnknown {
			flags |= FlagRunning
		}
	}
	return flags
}

// devices is those of a namespace, in the order of their indexes.
type devices struct {
	list []Device
	next int // the last index that was given

	changes uint32
}

func (t *devices) at(index int) (i int, ok bool) {
	return slices.BinarySearchFunc(t.list, index, func(d Device, index int) int { return cmp.Compare(d.Index, index) })
}

func (t *devices) named(name string) (d Device, ok bool) {
	i := slices.IndexFunc(t.list, func(d Device) bool { return d.Name == name })
	if i < 0 {
		return d, false
	}
	return t.list[i], true
}

// firstDevices are those that a namespace begins with.
func (in *Inet) firstDevices(net *kernel.Net) devices {
	if net != in.k.InitNet() {
		return devices{list: []Device{in.lo()}}
	}
	return devices{list: []Device{in.lo(), in.dummy()}, next: LoIndex + 1}
}

// lo is the device that every namespace begins with.
func (in *Inet) lo() Device {
	return Device{Index: LoIndex, Name: "lo", IfFlags: FlagLoopback, MTU: 65536, TxQueueLen: uint32(in.D.LoQueueLen), Queues: [2]uint32{1, 1}, Qdisc: "noop",
		IPv4: true, IPv6: true, IPv6MTU: 65536}
}

// dummy is the device that a driver which is part of the kernel makes in the initial namespace when it starts
// (dummy_init_module). It is down.
func (in *Inet) dummy() Device {
	d := in.NewDevice(KindDummy, "dummy0")
	d.Index = LoIndex + 1
	d.MAC = in.address(d.Index)
	d.ipv6Begins()
	return d
}

// address is a link-layer address. A kernel would choose one at random.
func (in *Inet) address(index int) [6]byte { return [6]byte{2, 0, 0, 0, byte(index >> 8), byte(index)} }

// ipv6Begins is what IPv6 makes of a new device (ipv6_add_dev).
func (d *Device) ipv6Begins() {
	d.IPv6 = d.MTU >= minMTUIPv6
	d.IPv6MTU, d.IPv6DAD, d.IPv6Hosts = d.MTU, d.resolves(), d.IPv6
}

// Device returns the device with an index.
func (s *Stack) Device(cur *kernel.Task, index int) (d Device, ok bool) {
	s.devices.Read(cur, func(t *devices) {
		var i int
		if i, ok = t.at(index); ok {
			d = t.list[i]
		}
	})
	return d, ok
}

// DeviceNamed returns the device with a name.
func (s *Stack) DeviceNamed(cur *kernel.Task, name string) (d Device, ok bool) {
	s.devices.Read(cur, func(t *devices) { d, ok = t.named(name) })
	return d, ok
}

// Devices returns all devices, by index.
func (s *Stack) Devices(cur *kernel.Task) (list []Device) {
	s.devices.Read(cur, func(t *devices) { list = slices.Clone(t.list) })
	return list
}

// ValidName reports whether a device can have a name: dev_valid_name.
func ValidName(name string) bool {
	const longest = 15
	return name != "" && len(name) <= longest && name != "." && name != ".." && !strings.ContainsAny(name, "/ \t\n\v\f\r\u00a0")
}

// freeName is __dev_alloc_name: %d in a name stands for the first number that makes it free.
func (t *devices) freeName(name string) (string, error) {
	if before, after, ok := strings.Cut(name, "%d"); ok {
		for n := 0; ; n++ {
			if free := fmt.Sprintf("%s%d%s", before, n, after); !t.has(free) {
				return free, nil
			}
		}
	}
	if !ValidName(name) {
		return "", kernel.Errorf(kernel.EINVAL, "%q cannot be the name of a device", name)
	}
	if t.has(name) {
		return "", kernel.Errorf(kernel.EEXIST, "there is a device %s", name)
	}
	return name, nil
}

func (t *devices) has(name string) bool { _, ok := t.named(name); return ok }

// NewDevice returns a device of a kind as its driver makes it (dummy_setup).
func (in *Inet) NewDevice(kind, name string) Device {
	d := Device{Name: name, Kind: kind, Queues: [2]uint32{1, 1}, Qdisc: "noop", IPv4: true, IPv6: true}
	switch kind {
	case KindDummy:
		d.IfFlags, d.MTU, d.TxQueueLen = FlagBroadcast|FlagNoARP, 1500, uint32(in.D.DummyQueueLen)
		d.Broadcast = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	case KindNlmon:
		d.IfFlags, d.MTU, d.TxQueueLen = FlagNoARP, 3776, 0
	}
	return d
}

// AddDevice makes a device of a kind, which is down. An empty name stands for the kind with the first free number. EEXIST
// when the name is taken.
func (s *Stack) AddDevice(cur *kernel.Task, kind, name string) (Device, error) {
	if name == "" {
		name = kind + "%d"
	}
	d := s.in.NewDevice(kind, name)
	return s.Register(cur, d, d.IfFlags)
}

// Register enters a device: register_netdevice. It gets the next index if it has none, a number for %d in its name, and
// an address if its kind needs one. Its flags are set before anybody is told. EEXIST, also for an index that is taken;
// EINVAL for a bad name.
func (s *Stack) Register(cur *kernel.Task, d Device, flags uint32) (Device, error) {
	var err error
	ipv6Off := s.newIPv6Off(cur)
	s.devices.Change(cur, func(t *devices) {
		if d.Name, err = t.freeName(d.Name); err != nil {
			return
		}
		if d.Index == 0 {
			for d.Index = max(t.next, LoIndex) + 1; ; d.Index++ {
				if _, taken := t.at(d.Index); !taken {
					break
				}
			}
			t.next = d.Index
		}
		i, taken := t.at(d.Index)
		if taken {
			err = kernel.Errorf(kernel.EEXIST, "there is a device %d", d.Index)
			return
		}
		if d.Ethernet() && d.MAC == [6]byte{} {
			d.MAC = s.in.address(d.Index)
		}
		d.ipv6Begins()
		d.IPv6Off = ipv6Off
		t.list = slices.Insert(slices.Clone(t.list), i, d)
		t.changes++
	})
	if err != nil {
		return d, err
	}
	s.tellLink(cur, d, LinkRegistered, 0)
	d = s.change(cur, d.Index, func(d *Device) { s.setFlags(d, flags) })
	if d.Up() {
		defer s.deviceUp(cur, d)
	}
	s.resolveRules(cur)
	s.tellLink(cur, d, LinkAdded, 1<<32-1)
	return d, nil
}

// newIPv6Off is whether a new device begins without IPv6.
func (s *Stack) newIPv6Off(cur *kernel.Task) bool { return s.ipv6.Get(cur).off }

// change changes a device and returns it.
func (s *Stack) change(cur *kernel.Task, index int, f func(d *Device)) (now Device) {
	s.devices.Change(cur, func(t *devices) {
		if i, ok := t.at(index); ok {
			t.list = slices.Clone(t.list)
			f(&t.list[i])
			now = t.list[i]
		}
	})
	return now
}

// SetUp brings a device up or down. lo gets 127.0.0.1/8 with its routes when it comes up first, and IPv6 makes itself at
// home. ENODEV when there is no such device.
func (s *Stack) SetUp(cur *kernel.Task, index int, up bool) error {
	d, ok := s.Device(cur, index)
	if !ok {
		return kernel.Errorf(kernel.ENODEV, "no device %d", index)
	}
	flags := d.IfFlags &^ FlagUp
	if up {
		flags |= FlagUp
	}
	s.SetFlags(cur, index, flags)
	return nil
}

// LoUp brings lo up if it is not.
func (s *Stack) LoUp(cur *kernel.Task) { _ = s.SetUp(cur, LoIndex, true) }

// SetFlags is dev_change_flags: what of the flags can be set is, and one message tells all that has changed.
func (s *Stack) SetFlags(cur *kernel.Task, index int, flags uint32) {
	old, ok := s.Device(cur, index)
	if !ok {
		return
	}
	now := s.change(cur, index, func(d *Device) { s.setFlags(d, flags) })
	changed := old.IfFlags ^ now.IfFlags
	if changed == 0 {
		return
	}
	what := LinkChanged
	switch {
	case changed&FlagUp != 0 && now.Up():
		what = LinkUp
	case changed&FlagUp != 0:
		what = LinkDown
	}
	s.tellLink(cur, now, what, changed)
	switch what {
	case LinkUp:
		s.deviceUp(cur, now)
	case LinkDown:
		s.deviceDown(cur, now)
	}
}

func (s *Stack) setFlags(d *Device, flags uint32) {
	const all = settable | FlagUp | FlagPromisc | FlagAllMulti
	d.IfFlags = d.IfFlags&^all | flags&all
	if d.Up() && d.Qdisc == "noop" {
		d.Qdisc = "noqueue"
		if d.Ethernet() && d.TxQueueLen > 0 && !s.in.D.NoQueueFlag {
			d.Qdisc = "pfifo_fast"
		}
	}
	d.Promiscuity = d.IfFlags & FlagPromisc / FlagPromisc
}

// SetOperstate is set_operstate: it reports whether the state has changed.
func (s *Stack) SetOperstate(cur *kernel.Task, index int, state uint8) (changed bool) {
	s.change(cur, index, func(d *Device) {
		switch {
		case state == OperUp && (d.Oper == OperDormant || d.Oper == OperUnknown),
			state == OperDormant && (d.Oper == OperUp || d.Oper == OperUnknown):
			changed = d.Oper != state
			d.Oper = state
		}
	})
	return changed
}

// SetCarrier is dev_change_carrier: it reports whether the carrier was the other way round. The state of the device does not follow
// before CarrierEvent.
func (s *Stack) SetCarrier(cur *kernel.Task, index int, on bool) (changed bool) {
	s.change(cur, index, func(d *Device) {
		if changed = d.NoCarrier == on; changed {
			d.NoCarrier = !on
			d.CarrierChanges++
		}
	})
	return changed
}

// CarrierEvent is linkwatch_do_dev: the state of a device follows its carrier, and is told if the device is up.
func (s *Stack) CarrierEvent(cur *kernel.Task, index int) {
	d := s.change(cur, index, func(d *Device) {
		d.Oper = OperUp
		if d.NoCarrier {
			d.Oper = OperDown
		}
	})
	if d.Up() {
		s.tellLink(cur, d, LinkChanged, 0)
	}
}

// deviceUp is what the protocols do when a device has come up.
func (s *Stack) deviceUp(cur *kernel.Task, d Device) {
	if d.IPv6 && (!d.IPv6Off || s.in.D.IPv6ReadyOff) {
		d = s.change(cur, d.Index, func(d *Device) { d.IPv6Ready = true })
	}
	d = s.change(cur, d.Index, func(d *Device) { d.IPv6Hosts = true })
	s.addrsUp(cur, d)
	s.ipv6Up(cur, d)
}

// deviceDown is what they do when it has gone down.
func (s *Stack) deviceDown(cur *kernel.Task, d Device) {
	d = s.change(cur, d.Index, func(d *Device) { d.IPv6Ready, d.IPv6Hosts = false, false })
	s.neighsDown(cur, d.Index)
	s.routesDown(cur, d.Index, false)
	s.ipv6Down(cur, d)
}

// Unregister takes a device out: unregister_netdevice. EOPNOTSUPP for lo, which has no kind.
func (s *Stack) Unregister(cur *kernel.Task, index int) error {
	d, ok := s.Device(cur, index)
	if !ok {
		return kernel.Errorf(kernel.ENODEV, "no device %d", index)
	}
	if d.Kind == "" {
		return kernel.Errorf(kernel.EOPNOTSUPP, "%s stays", d.Name)
	}
	if d.Up() {
		running := d.Shown() & FlagRunning
		d = s.change(cur, index, func(d *Device) { d.IfFlags &^= FlagUp })
		s.tellLink(cur, d, LinkDown, FlagUp|running)
		s.deviceDown(cur, d)
	}
	d = s.change(cur, index, func(d *Device) { d.Qdisc = "noop" })
	s.protocolsGone(cur, d)
	d.IPv4, d.IPv6 = false, false
	s.tellLink(cur, d, LinkRemoved, 1<<32-1)
	s.devices.Change(cur, func(t *devices) {
		if i, ok := t.at(index); ok {
			t.list = slices.Delete(slices.Clone(t.list), i, i+1)
			t.changes++
		}
	})
	s.resolveRules(cur)
	return nil
}

// protocolsGone takes away what the protocols have on a device.
func (s *Stack) protocolsGone(cur *kernel.Task, d Device) {
	s.neighsDown(cur, d.Index)
	s.addrsGone(cur, d)
	s.ipv6Down(cur, d)
}

// Rename gives a device a name: dev_change_name. EBUSY when it is up, even for the name that it has, EINVAL for a bad name, EEXIST.
func (s *Stack) Rename(cur *kernel.Task, index int, name string) (changed bool, err error) {
	s.devices.Change(cur, func(t *devices) {
		i, ok := t.at(index)
		switch {
		case !ok:
			return
		case t.list[i].Up():
			err = kernel.Errorf(kernel.EBUSY, "%s is up", t.list[i].Name)
			return
		case t.list[i].Name == name:
			return
		}
		if name, err = t.freeName(name); err == nil {
			t.list[i].Name, changed = name, true
		}
	})
	return changed, err
}

// SetMTU is dev_set_mtu. A device whose MTU is too small for a protocol loses it, and gets it again with a larger one.
func (s *Stack) SetMTU(cur *kernel.Task, index int, mtu uint32) (changed bool) {
	d, _ := s.Device(cur, index)
	if d.MTU == mtu {
		return false
	}
	s.also(cur, d) // before the change
	d = s.change(cur, index, func(d *Device) { d.MTU = mtu })
	s.tellLink(cur, d, LinkChanged, 0)
	if four := mtu >= minMTUIPv4; four != d.IPv4 {
		if !four {
			s.addrsGone(cur, d)
		}
		d = s.change(cur, index, func(d *Device) { d.IPv4 = four })
	}
	if six := mtu >= minMTUIPv6; six != d.IPv6 {
		if !six {
			s.ipv6Down(cur, d)
		}
		d = s.change(cur, index, func(d *Device) { d.IPv6, d.IPv6Ready, d.IPv6DAD = six, six && d.Up(), d.resolves() })
		if six && d.Up() {
			s.ipv6Up(cur, d)
		}
	}
	s.change(cur, index, func(d *Device) { d.IPv6MTU = mtu })
	return true
}

// AddressChanged is what follows a change of the link-layer address: the neighbours are forgotten.
func (s *Stack) AddressChanged(cur *kernel.Task, index int) {
	s.Changed(cur, index)
	s.neighsDown(cur, index)
}

// Renamed follows a change of the name, with which labels of addresses and rules change.
func (s *Stack) Renamed(cur *kernel.Task, old Device) {
	s.Changed(cur, old.Index)
	now, _ := s.Device(cur, old.Index)
	for _, a := range s.AddrsOf(cur, old.Index) {
		if rest, ok := strings.CutPrefix(a.Label, old.Name); ok {
			a.Label = now.Name + rest
		}
		s.ChangeAddr(cur, Cause{}, a)
	}
	s.resolveRules(cur)
}

// DeviceSeq changes with the devices of the namespace.
func (s *Stack) DeviceSeq(cur *kernel.Task) (n uint32) {
	s.devices.Read(cur, func(t *devices) { n = 1 + t.changes })
	return n
}

// Set changes what nobody but programs looks at.
func (s *Stack) Set(cur *kernel.Task, index int, f func(d *Device)) { s.change(cur, index, f) }

// Done ends a request that has changed a device: it is announced if it is up (netdev_state_change).
func (s *Stack) Done(cur *kernel.Task, index int) {
	if d, ok := s.Device(cur, index); ok && d.Up() {
		s.also(cur, d)
	}
}

// also tells of a device where the kernel tells more often than what has changed.
func (s *Stack) also(cur *kernel.Task, d Device) {
	if s.in.D.LinkChangesTold {
		s.tellLink(cur, d, LinkChanged, 0)
	}
}

// Changed tells everybody that a device is not what it was.
func (s *Stack) Changed(cur *kernel.Task, index int) {
	if d, ok := s.Device(cur, index); ok {
		s.tellLink(cur, d, LinkChanged, 0)
	}
}

func (s *Stack) tellLink(cur *kernel.Task, d Device, what LinkChange, flags uint32) {
	for _, n := range s.in.notifiers {
		if n.Link != nil {
			n.Link(cur, s, d, what, flags)
		}
	}
}
