package scenario

import (
	"fmt"
	"strings"

	"nlmmap/sys"
	"nlmmap/uapi"
)

// A ringPair has both rings of a socket; a zero request is no ring. A mapping has the RX ring first, then the TX ring.
type ringPair struct {
	rx, tx uapi.NLMMapReq
}

func (p ringPair) size() uint64 { return p.rx.MapSize() + p.tx.MapSize() }

// A mapping is a socket's rings in the address space of one process.
type mapping struct {
	name     string
	addr     uint64
	size     uint64
	sock     *socket
	rings    ringPair // as they were when it was made
	partial  bool     // a part cannot be read any more, or is not the ring any more
	position uint32   // of the reader in the RX ring
}

// ring returns one of the rings and its address.
func (m *mapping) ring(which string) (uapi.NLMMapReq, uint64) {
	if which == "tx" {
		return m.rings.tx, m.addr + m.rings.rx.MapSize()
	}
	return m.rings.rx, m.addr
}

// readHeader reads the header of a frame, the status first.
func readHeader(t sys.Task, addr uint64) (uapi.NLMMapHdr, error) {
	status, err := t.Load32(addr + uapi.NMStatus)
	if err != nil {
		return uapi.NLMMapHdr{}, err
	}
	var b [uapi.NLMMapHdrlen]byte
	if err := t.ReadMem(addr+uapi.NMLen, b[uapi.NMLen:]); err != nil {
		return uapi.NLMMapHdr{}, err
	}
	h := uapi.ParseNLMMapHdr(b[:])
	h.Status = status
	return h, nil
}

// A gatherer is a task that reads several places of its memory at once for less than it would cost one by one.
type gatherer interface {
	// Gather copies size bytes from each of the addresses into buf.
	Gather(addrs []uint64, size int, buf []byte) error
}

// readHeaders reads all frame headers of a ring.
func (m *mapping) readHeaders(t sys.Task, which string) ([]uapi.NLMMapHdr, error) {
	r, base := m.ring(which)
	if g, ok := t.(gatherer); ok {
		return gatherHeaders(g, r, base)
	}
	var headers []uapi.NLMMapHdr
	for i := range r.FrameNr {
		h, err := readHeader(t, base+r.FrameOffset(i))
		if err != nil {
			return headers, err
		}
		headers = append(headers, h)
	}
	return headers, nil
}

func gatherHeaders(g gatherer, r uapi.NLMMapReq, base uint64) ([]uapi.NLMMapHdr, error) {
	addrs := make([]uint64, r.FrameNr)
	for i := range addrs {
		addrs[i] = base + r.FrameOffset(uint32(i))
	}
	buf := make([]byte, len(addrs)*uapi.NLMMapHdrlen)
	if err := g.Gather(addrs, uapi.NLMMapHdrlen, buf); err != nil {
		return nil, err
	}
	headers := make([]uapi.NLMMapHdr, len(addrs))
	for i := range headers {
		headers[i] = uapi.ParseNLMMapHdr(buf[i*uapi.NLMMapHdrlen:])
	}
	return headers, nil
}

// frameMessages prints the messages of a frame, none when the length exceeds the frame.
func (p printer) frameMessages(t sys.Task, m *mapping, which string, i uint32, h uapi.NLMMapHdr, withHex bool) ([]string, error) {
	r, base := m.ring(which)
	if int64(h.Len) > int64(r.FrameRoom()) {
		return nil, nil
	}
	buf := make([]byte, h.Len)
	if err := t.ReadMem(base+r.FrameOffset(i)+uapi.NLMMapHdrlen, buf); err != nil {
		return nil, err
	}
	return indent(p.messages(m.sock.protocol, buf, withHex)), nil
}

// A snapshot is the frame headers of a socket as they were last shown.
type snapshot struct {
	rx, tx []uapi.NLMMapHdr
}

// changes takes a new snapshot of every socket that main has mapped and prints what differs from the one before.
func (r *Runner) changes() []string {
	t := r.target.Main()
	var lines []string
	seen := map[*socket]bool{}
	for _, m := range r.main.live {
		if m.partial || seen[m.sock] {
			continue
		}
		now, err := takeSnapshot(t, m)
		if err != nil {
			m.partial = true
			continue
		}
		seen[m.sock] = true
		before := r.shown[m.sock]
		r.shown[m.sock] = now
		lines = append(lines, r.changedFrames(t, m, "rx", before.rx, now.rx)...)
		lines = append(lines, r.changedFrames(t, m, "tx", before.tx, now.tx)...)
	}
	return lines
}

func takeSnapshot(t sys.Task, m *mapping) (snapshot, error) {
	rx, err := m.readHeaders(t, "rx")
	if err != nil {
		return snapshot{}, err
	}
	tx, err := m.readHeaders(t, "tx")
	return snapshot{rx, tx}, err
}

func (r *Runner) changedFrames(t sys.Task, m *mapping, which string, before, now []uapi.NLMMapHdr) []string {
	var lines []string
	for i, h := range now {
		if i >= len(before) || before[i] == h { // without a header from before there is nothing to compare
			continue
		}
		lines = append(lines, fmt.Sprintf("%s[%d] %s->%s %s", which, i,
			uapi.StatusName(before[i].Status), uapi.StatusName(h.Status), r.print.frameHeader(h)))
		if which == "rx" && h.Status == uapi.NLMMapStatusValid {
			msgs, err := r.print.frameMessages(t, m, which, uint32(i), h, false)
			if err != nil {
				msgs = []string{"  " + errorText(err)}
			}
			lines = append(lines, msgs...)
		}
	}
	return lines
}

// listFrames prints all frames of a ring, runs of UNUSED frames with equal headers on one line.
func (p printer) listFrames(t sys.Task, m *mapping, which string, withData, withHex bool) (string, error) {
	headers, err := m.readHeaders(t, which)
	if err != nil {
		return "", err
	}
	var lines []string
	for i := 0; i < len(headers); {
		h := headers[i]
		end := i + 1
		for h.Status == uapi.NLMMapStatusUnused && end < len(headers) && headers[end] == h {
			end++
		}
		lines = append(lines, fmt.Sprintf("%s[%s] %s %s", which, frameRange(i, end-1),
			uapi.StatusName(h.Status), p.frameHeader(h)))
		if withData && h.Status != uapi.NLMMapStatusUnused {
			msgs, err := p.frameMessages(t, m, which, uint32(i), h, withHex)
			if err != nil {
				return strings.Join(lines, "\n"), err
			}
			lines = append(lines, msgs...)
		}
		i = end
	}
	return strings.Join(lines, "\n"), nil
}

func frameRange(first, last int) string {
	if first == last {
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d-%d", first, last)
}
