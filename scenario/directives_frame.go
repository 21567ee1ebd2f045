package scenario

import (
	"fmt"
	"strconv"
	"strings"

	"nlmmap/uapi"
)

var frameDirectives = []form{
	{
		syntax:  compile("set MAP rx|tx FRAMES [status=STATUS] [len=N] [group=N] [if=STATUS]"),
		help:    "userspace writes header fields, status last; if= only of frames in that state",
		example: "set m rx 0-2 status=unused if=valid",
		quiet:   true,
		touches: true,
		run:     setFrames,
	},
	{
		syntax:   compile("fill MAP FRAME [status=STATUS] [len=N] [group=N]"),
		help:     "userspace writes a TX frame: messages, then len and group, then status (valid)",
		example:  "fill m 0",
		quiet:    true,
		messages: true,
		touches:  true,
		run:      fillFrame,
	},
	{
		syntax:   compile("edit MAP FRAME [rx]"),
		help:     "userspace overwrites the message bytes of a TX (or RX) frame",
		example:  "edit m 0",
		quiet:    true,
		messages: true,
		touches:  true,
		run:      editFrame,
	},
	{
		syntax:  compile("frames MAP rx|tx [data] [hex]"),
		help:    "prints all frame headers, with data (or hex) also the messages of those that are not UNUSED",
		example: "frames m rx data",
		touches: true,
		run:     showFrames,
	},
	{
		syntax:  compile("bytes MAP rx|tx FRAME [off=BYTES] [n=BYTES]"),
		help:    "prints raw bytes of a frame, header included",
		example: "bytes m rx 1 off=0 n=40",
		touches: true,
		run:     showBytes,
	},
	{
		syntax:  compile("consume MAP fd=FD [max=COUNT]"),
		help:    "the reader from the kernel's documentation, from where it stopped before",
		example: "consume m fd=a max=2",
		quiet:   true,
		touches: true,
		run:     consume,
	},
}

// frameAddr returns the address of a frame.
func frameAddr(m *mapping, which string, i uint32) (uint64, error) {
	r, base := m.ring(which)
	if r.FrameNr == 0 {
		return 0, noSuch("ring", which)
	}
	if i >= r.FrameNr {
		return 0, noSuch("frame", strconv.FormatUint(uint64(i), 10))
	}
	return base + r.FrameOffset(i), nil
}

func setFrames(c *call) (string, error) {
	m, err := c.mapping()
	if err != nil {
		return "", err
	}
	which, frames := c.args.word(1), c.args.positional[2]
	first, last := uint32(frames.num), uint32(frames.last)
	if frames.last < 0 {
		r, _ := m.ring(which)
		last = max(r.FrameNr, 1) - 1
	}
	if _, err := frameAddr(m, which, last); err != nil {
		return "", err
	}
	for i := first; i <= last; i++ {
		addr, _ := frameAddr(m, which, i)
		if err := c.setFrame(addr); err != nil {
			return "", err
		}
	}
	return "ok", nil
}

func (c *call) setFrame(addr uint64) error {
	if c.args.has("if") {
		status, err := c.task.Load32(addr + uapi.NMStatus)
		if err != nil || status != uint32(c.args.get("if", 0)) {
			return err
		}
	}
	for _, word := range []struct {
		name   string
		offset uint64
	}{{"len", uapi.NMLen}, {"group", uapi.NMGroup}, {"status", uapi.NMStatus}} {
		if !c.args.has(word.name) {
			continue
		}
		if err := c.task.Store32(addr+word.offset, uint32(c.args.get(word.name, 0))); err != nil {
			return err
		}
	}
	return nil
}

func fillFrame(c *call) (string, error) {
	m, err := c.mapping()
	if err != nil {
		return "", err
	}
	addr, err := frameAddr(m, "tx", uint32(c.args.num(1)))
	if err != nil {
		return "", err
	}
	if err := c.task.WriteMem(addr+uapi.NLMMapHdrlen, c.msgs); err != nil {
		return "", err
	}
	if err := c.task.Store32(addr+uapi.NMLen, uint32(c.args.get("len", int64(len(c.msgs))))); err != nil {
		return "", err
	}
	if err := c.task.Store32(addr+uapi.NMGroup, uint32(c.args.get("group", 0))); err != nil {
		return "", err
	}
	status := uint32(c.args.get("status", uapi.NLMMapStatusValid))
	return ok(c.task.Store32(addr+uapi.NMStatus, status))
}

func editFrame(c *call) (string, error) {
	m, err := c.mapping()
	if err != nil {
		return "", err
	}
	which := "tx"
	if c.args.has("rx") {
		which = "rx"
	}
	addr, err := frameAddr(m, which, uint32(c.args.num(1)))
	if err != nil {
		return "", err
	}
	return ok(c.task.WriteMem(addr+uapi.NLMMapHdrlen, c.msgs))
}

func showFrames(c *call) (string, error) {
	m, err := c.mapping()
	if err != nil {
		return "", err
	}
	which := c.args.word(1)
	if r, _ := m.ring(which); r.FrameNr == 0 {
		return "", noSuch("ring", which)
	}
	withHex := c.args.has("hex")
	return c.print.listFrames(c.task, m, which, withHex || c.args.has("data"), withHex)
}

func showBytes(c *call) (string, error) {
	m, err := c.mapping()
	if err != nil {
		return "", err
	}
	which := c.args.word(1)
	addr, err := frameAddr(m, which, uint32(c.args.num(2)))
	if err != nil {
		return "", err
	}
	r, _ := m.ring(which)
	off := c.args.get("off", 0)
	rest := max(int64(r.FrameSize)-off, 0)
	buf := make([]byte, c.args.get("n", rest))
	if err := c.task.ReadMem(addr+uint64(off), buf); err != nil {
		return "", err
	}
	return words(buf), nil
}

// consume takes frames until one is neither VALID nor COPY, or until max= of them.
func consume(c *call) (string, error) {
	m, err := c.mapping()
	if err != nil {
		return "", err
	}
	fd, _, err := c.task.netlink(c.args.text("fd", ""))
	if err != nil {
		return "", err
	}
	if m.rings.rx.FrameNr == 0 {
		return "", noSuch("ring", "rx")
	}
	limit := c.args.get("max", maxCount)
	var lines []string
	taken := int64(0)
	for taken < limit {
		frame, done, err := c.consumeFrame(m, fd)
		lines = append(lines, frame...)
		if err != nil {
			return strings.Join(lines, "\n"), err
		}
		if done {
			break
		}
		taken++
	}
	_, base := m.ring("rx")
	status, err := c.task.Load32(base + m.rings.rx.FrameOffset(m.position))
	if err != nil {
		return strings.Join(lines, "\n"), err
	}
	lines = append(lines, fmt.Sprintf("%d frames, next %d %s", taken, m.position, uapi.StatusName(status)))
	return strings.Join(lines, "\n"), nil
}

// consumeFrame takes the frame at the reader's position, if there is something in it.
func (c *call) consumeFrame(m *mapping, fd int) (lines []string, done bool, err error) {
	i := m.position
	addr, err := frameAddr(m, "rx", i)
	if err != nil {
		return nil, true, err
	}
	h, err := readHeader(c.task, addr)
	if err != nil {
		return nil, true, err
	}
	lines = []string{fmt.Sprintf("rx[%d] %s %s", i, uapi.StatusName(h.Status), c.print.frameHeader(h))}
	switch h.Status {
	case uapi.NLMMapStatusValid:
		msgs, err := c.print.frameMessages(c.task, m, "rx", i, h, false)
		if err != nil {
			return lines, true, err
		}
		lines = append(lines, msgs...)
	case uapi.NLMMapStatusCopy:
		text, received := c.receiveCopy(m.sock.protocol, fd)
		lines = append(lines, text...)
		if !received {
			return lines, true, nil
		}
	default:
		return nil, true, nil
	}
	if err := c.task.Store32(addr+uapi.NMStatus, uapi.NLMMapStatusUnused); err != nil {
		return lines, true, err
	}
	m.position = m.rings.rx.Next(i)
	return lines, false, nil
}

// receiveCopy receives the message that a COPY frame stands for. A reader takes nothing received for an error,
// which prints as ok.
func (c *call) receiveCopy(protocol, fd int) (lines []string, received bool) {
	const size = 65536 // more than any message of the scenarios
	got, err := c.receive(fd, size, uapi.MsgDontwait)
	if err != nil {
		return []string{"  recv: " + errorText(err)}, false
	}
	if got.n == 0 {
		return []string{"  recv: ok"}, false
	}
	lines = []string{fmt.Sprintf("  recv: %d", got.n)}
	return append(lines, indent(c.print.messages(protocol, got.data, false))...), true
}
