package scenario

import (
	"fmt"
	"slices"

	"nlmmap/uapi"
)

var mappingDirectives = []form{
	{
		syntax: compile("ring FD rx|tx block_size=N block_nr=N frame_size=N frame_nr=N " +
			"[optlen=N]"),
		help:    "NETLINK_RX_RING or NETLINK_TX_RING; all zero removes the ring",
		example: "ring a rx block_size=16384 block_nr=2 frame_size=4096 frame_nr=8",
		run:     setRing,
	},
	{
		syntax:  compile("mmap FD MAP [size=SIZE] [offset=SIZE] [prot=r|rw] [private]"),
		help:    "maps the rings (both, if no size is given)",
		example: "mmap a m",
		quiet:   true,
		run:     mmap,
	},
	{
		syntax:  compile("munmap MAP [offset=SIZE] [size=SIZE]"),
		help:    "unmaps a mapping or a part of it",
		example: "munmap m offset=4096 size=4096",
		run:     munmap,
	},
	{
		syntax:  compile("mprotect MAP [offset=SIZE] [size=SIZE] prot=r|rw|none"),
		help:    "changes the protection of a mapping or a part of it",
		example: "mprotect m offset=4096 size=4096 prot=r",
		run:     mprotect,
	},
	{
		syntax:  compile("move MAP"),
		help:    "mremap to another address",
		example: "move m",
		run:     move,
	},
	{
		syntax:  compile("madvise MAP dontneed [offset=SIZE] [size=SIZE]"),
		help:    "throws pages of the mapping away",
		example: "madvise m dontneed",
		quiet:   true,
		run:     madvise,
	},
	{
		syntax:  compile("touch MAP offset=SIZE"),
		help:    "reads one word: prints value=N or the signal",
		example: "touch m offset=1024",
		quiet:   true,
		touches: true,
		run:     touch,
	},
}

func setRing(c *call) (string, error) {
	fd, sock, err := c.task.netlink(c.args.word(0))
	if err != nil {
		return "", err
	}
	req := uapi.NLMMapReq{
		BlockSize: uint32(c.args.get("block_size", 0)),
		BlockNr:   uint32(c.args.get("block_nr", 0)),
		FrameSize: uint32(c.args.get("frame_size", 0)),
		FrameNr:   uint32(c.args.get("frame_nr", 0)),
	}
	o := options[c.args.word(1)+"_ring"]
	n, err := c.args.optlen(uapi.NLMMapReqlen)
	if err != nil {
		return "", err
	}
	if err := c.task.Setsockopt(fd, o.level, o.name, resized(req.Bytes(), n)); err != nil {
		return "", err
	}
	if c.args.word(1) == "rx" {
		sock.rings.rx = req
	} else {
		sock.rings.tx = req
	}
	return "ok", nil
}

func mmap(c *call) (string, error) {
	fd, sock, err := c.task.netlink(c.args.word(0))
	if err != nil {
		return "", err
	}
	flags := uapi.MapShared
	if c.args.has("private") {
		flags = uapi.MapPrivate
	}
	m := &mapping{
		name:  c.args.word(1),
		size:  uint64(c.args.get("size", int64(sock.rings.size()))),
		sock:  sock,
		rings: sock.rings,
	}
	prot := protections[c.args.text("prot", "rw")]
	m.addr, err = c.task.Mmap(0, m.size, prot, flags, fd, uint64(c.args.get("offset", 0)))
	if err != nil {
		return "", err
	}
	c.task.maps[m.name] = m
	c.task.live = append(c.task.live, m)
	return "ok", nil
}

var protections = map[string]int{
	"none": uapi.ProtNone,
	"r":    uapi.ProtRead,
	"rw":   uapi.ProtRead | uapi.ProtWrite,
}

func (c *call) mapping() (*mapping, error) {
	name := c.args.word(0)
	if m, ok := c.task.maps[name]; ok {
		return m, nil
	}
	return nil, noSuch("mapping", name)
}

// part is the part of the mapping that offset= and size= name, or all of it.
func (c *call) part(m *mapping) (addr, size uint64, whole bool) {
	offset := uint64(c.args.get("offset", 0))
	rest := m.size - min(offset, m.size)
	size = uint64(c.args.get("size", int64(rest)))
	return m.addr + offset, size, offset == 0 && size >= m.size
}

func munmap(c *call) (string, error) {
	m, err := c.mapping()
	if err != nil {
		return "", err
	}
	addr, size, whole := c.part(m)
	if err := c.task.Munmap(addr, size); err != nil {
		return "", err
	}
	m.partial = true
	if whole {
		delete(c.task.maps, m.name)
		c.task.live = slices.DeleteFunc(c.task.live, func(o *mapping) bool { return o == m })
	}
	return "ok", nil
}

func mprotect(c *call) (string, error) {
	m, err := c.mapping()
	if err != nil {
		return "", err
	}
	addr, size, _ := c.part(m)
	prot := protections[c.args.text("prot", "")]
	err = c.task.Mprotect(addr, size, prot)
	if err == nil && prot == uapi.ProtNone {
		m.partial = true
	}
	return ok(err)
}

func move(c *call) (string, error) {
	m, err := c.mapping()
	if err != nil {
		return "", err
	}
	addr, err := c.task.Mremap(m.addr, m.size, m.size, true, false, 0)
	if err == nil {
		m.addr = addr
	}
	return ok(err)
}

func madvise(c *call) (string, error) {
	m, err := c.mapping()
	if err != nil {
		return "", err
	}
	addr, size, _ := c.part(m)
	err = c.task.Madvise(addr, size, uapi.MadvDontneed)
	if err == nil {
		m.partial = true
	}
	return ok(err)
}

func touch(c *call) (string, error) {
	m, err := c.mapping()
	if err != nil {
		return "", err
	}
	v, err := c.task.Load32(m.addr + uint64(c.args.get("offset", 0)))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("value=%d", v), nil
}
