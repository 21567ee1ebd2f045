package uapi

import "encoding/binary"

// NLMMapHdr is struct nl_mmap_hdr, the header of a frame. Its status is shared between program and kernel: whoever
// reads it out of a ring does that first, with acquire order, and writes it last.
type NLMMapHdr struct {
	Status, Len, Group, Pid, UID, GID uint32
}

// Put writes h into the first 24 bytes of b.
func (h NLMMapHdr) Put(b []byte) {
	le := binary.LittleEndian
	le.PutUint32(b[NMStatus:], h.Status)
	le.PutUint32(b[NMLen:], h.Len)
	le.PutUint32(b[NMGroup:], h.Group)
	le.PutUint32(b[NMPid:], h.Pid)
	le.PutUint32(b[NMUID:], h.UID)
	le.PutUint32(b[NMGID:], h.GID)
}

// ParseNLMMapHdr reads a header from the first 24 bytes of b.
func ParseNLMMapHdr(b []byte) NLMMapHdr {
	le := binary.LittleEndian
	return NLMMapHdr{le.Uint32(b[NMStatus:]), le.Uint32(b[NMLen:]), le.Uint32(b[NMGroup:]), le.Uint32(b[NMPid:]),
		le.Uint32(b[NMUID:]), le.Uint32(b[NMGID:])}
}

// FramesPerBlock is how many frames a block holds, 0 when frames have no size or are larger than blocks.
func (r NLMMapReq) FramesPerBlock() uint32 {
	if r.FrameSize == 0 {
		return 0
	}
	return r.BlockSize / r.FrameSize
}

// FrameOffset is where frame pos starts, from the start of the ring: frames do not cross blocks. A request whose
// blocks hold no frames has one in each block.
func (r NLMMapReq) FrameOffset(pos uint32) uint64 {
	perBlock := max(r.FramesPerBlock(), 1)
	return uint64(pos/perBlock)*uint64(r.BlockSize) + uint64(pos%perBlock)*uint64(r.FrameSize)
}

// FrameAt is the frame that has the byte at off, the other direction of FrameOffset.
func (r NLMMapReq) FrameAt(off uint64) uint32 {
	block := max(uint64(r.BlockSize), 1)
	return uint32(off/block)*r.FramesPerBlock() + uint32(off%block/max(uint64(r.FrameSize), 1))
}

// FrameRoom is how many bytes of message a frame holds.
func (r NLMMapReq) FrameRoom() int { return int(r.FrameSize) - min(int(r.FrameSize), NLMMapHdrlen) }

// Next is the frame behind pos, the first one after the last.
func (r NLMMapReq) Next(pos uint32) uint32 {
	if pos+1 >= r.FrameNr {
		return 0
	}
	return pos + 1
}

// MapSize is the number of bytes that the ring takes in a mapping. (A kernel computes it with 32 bits, see
// ringmm.Ring.MapSize; for rings that fit memory it is the same.)
func (r NLMMapReq) MapSize() uint64 { return uint64(r.BlockNr) * uint64(r.BlockSize) }
