package scenario

import (
	"encoding/binary"
	"fmt"
	"strings"

	"nlmmap/uapi"
)

// A ring is the geometry of one ring of a socket; the zero value is no ring.
type ring struct {
	blockSize, blockNr, frameSize, frameNr uint64
}

func newRing(r uapi.NLMMapReq) ring {
	if r.BlockNr == 0 {
		return ring{}
	}
	return ring{uint64(r.BlockSize), uint64(r.BlockNr), uint64(r.FrameSize), uint64(r.FrameNr)}
}

func (r ring) size() uint64 { return r.blockSize * r.blockNr }

// offset is where frame i starts, from the start of the ring. Frames do not cross blocks.
func (r ring) offset(i uint64) uint64 {
	perBlock := max(r.blockSize/max(r.frameSize, 1), 1)
	return i/perBlock*r.blockSize + i%perBlock*r.frameSize
}

// room is how many bytes of messages a frame has.
func (r ring) room() uint64 {
	return r.frameSize - min(r.frameSize, uapi.NLMMapHdrlen)
}

// A ringPair has both rings of a socket. A mapping has the RX ring first, then the TX ring.
type ringPair struct {
	rx, tx ring
}

func (p ringPair) size() uint64 { return p.rx.size() + p.tx.size() }

// A mapping is a socket's rings in the address space of one process.
type mapping struct {
	name     string
	addr     uint64
	size     uint64
	sock     *socket
	rings    ringPair // as they were when it was made
	partial  bool     // a part cannot be read any more, or is not the ring any more
	position uint64   // of the reader in the RX ring
}

// ring returns one of the rings and its address.
func (m *mapping) ring(which string) (ring, uint64) {
	if which == "tx" {
		return m.rings.tx, m.addr + m.rings.rx.size()
	}
	return m.rings.rx, m.addr
}

// frameHeader has the words of a frame header.
type frameHeader struct {
	status, len, group, pid, uid, gid uint32
}

func readHeader(t Task, addr uint64) (frameHeader, error) {
	status, err := t.Load32(addr + uapi.NMStatus)
	if err != nil {
		return frameHeader{}, err
	}
	var b [uapi.NLMMapHdrlen]byte
	if err := t.Read(addr+uapi.NMLen, b[uapi.NMLen:]); err != nil {
		return frameHeader{}, err
	}
	le := binary.LittleEndian
	return frameHeader{
		status: status,
		len:    le.Uint32(b[uapi.NMLen:]),
		group:  le.Uint32(b[uapi.NMGroup:]),
		pid:    le.Uint32(b[uapi.NMPid:]),
		uid:    le.Uint32(b[uapi.NMUID:]),
		gid:    le.Uint32(b[uapi.NMGID:]),
	}, nil
}

// readHeaders reads all frame headers of a ring.
func (m *mapping) readHeaders(t Task, which string) ([]frameHeader, error) {
	r, base := m.ring(which)
	var headers []frameHeader
	for i := range r.frameNr {
		h, err := readHeader(t, base+r.offset(i))
		if err != nil {
			return headers, err
		}
		headers = append(headers, h)
	}
	return headers, nil
}

// frameMessages prints the messages of a frame, none when the length exceeds the frame.
func (p printer) frameMessages(t Task, m *mapping, which string, i uint64, h frameHeader, withHex bool) ([]string, error) {
	r, base := m.ring(which)
	if uint64(h.len) > r.room() {
		return nil, nil
	}
	buf := make([]byte, h.len)
	if err := t.Read(base+r.offset(i)+uapi.NLMMapHdrlen, buf); err != nil {
		return nil, err
	}
	return indent(p.messages(m.sock.protocol, buf, withHex)), nil
}

// A snapshot is the frame headers of a socket as they were last shown.
type snapshot struct {
	rx, tx []frameHeader
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

func takeSnapshot(t Task, m *mapping) (snapshot, error) {
	rx, err := m.readHeaders(t, "rx")
	if err != nil {
		return snapshot{}, err
	}
	tx, err := m.readHeaders(t, "tx")
	return snapshot{rx, tx}, err
}

func (r *Runner) changedFrames(t Task, m *mapping, which string, before, now []frameHeader) []string {
	var lines []string
	for i, h := range now {
		if i >= len(before) || before[i] == h { // without a header from before there is nothing to compare
			continue
		}
		lines = append(lines, fmt.Sprintf("%s[%d] %s->%s %s", which, i,
			uapi.StatusName(before[i].status), uapi.StatusName(h.status), r.print.frameHeader(h)))
		if which == "rx" && h.status == uapi.NLMMapStatusValid {
			msgs, err := r.print.frameMessages(t, m, which, uint64(i), h, false)
			if err != nil {
				msgs = []string{"  " + errorText(err)}
			}
			lines = append(lines, msgs...)
		}
	}
	return lines
}

// listFrames prints all frames of a ring, runs of UNUSED frames with equal headers on one line.
func (p printer) listFrames(t Task, m *mapping, which string, withData, withHex bool) (string, error) {
	headers, err := m.readHeaders(t, which)
	if err != nil {
		return "", err
	}
	var lines []string
	for i := 0; i < len(headers); {
		h := headers[i]
		end := i + 1
		for h.status == uapi.NLMMapStatusUnused && end < len(headers) && headers[end] == h {
			end++
		}
		lines = append(lines, fmt.Sprintf("%s[%s] %s %s", which, frameRange(i, end-1),
			uapi.StatusName(h.status), p.frameHeader(h)))
		if withData && h.status != uapi.NLMMapStatusUnused {
			msgs, err := p.frameMessages(t, m, which, uint64(i), h, withHex)
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
