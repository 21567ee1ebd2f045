package capture

import (
	"encoding/binary"
	"time"
)

// The three blocks of pcapng that are needed, in the byte order of little-endian machines. (The libraries for it bring package net
// along, which a static program cannot have: see docs/dependencies.md.)

// Types of blocks, and of their options.
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockPacket    = 6

	optEnd         = 0
	optComment     = 1
	optName        = 2 // of an interface
	optDescription = 3 // of an interface
	optApplication = 4 // of a section
	optResolution  = 9 // of an interface's times: 10 to the power of minus that
	optFlags       = 2 // of a packet
)

// Directions of packets, in their flags.
const (
	inbound  = 1
	outbound = 2
)

var le = binary.LittleEndian

// block puts a body between the type of a block and its length, which stands at both ends.
func block(kind uint32, body []byte) []byte {
	n := uint32(12 + len(body))
	b := le.AppendUint32(le.AppendUint32(nil, kind), n)
	return le.AppendUint32(append(b, body...), n)
}

// option appends an option.
func option(b []byte, code uint16, value []byte) []byte {
	b = le.AppendUint16(le.AppendUint16(b, code), uint16(len(value)))
	return pad(append(b, value...))
}

// pad fills up to a multiple of 4 bytes.
func pad(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// sectionHeader is the block that a file begins with.
func sectionHeader(application string) []byte {
	b := le.AppendUint32(nil, 0x1a2b3c4d)         // the byte order
	b = le.AppendUint16(le.AppendUint16(b, 1), 0) // version 1.0
	b = le.AppendUint64(b, ^uint64(0))            // of unknown length
	b = option(b, optApplication, []byte(application))
	return block(blockSection, option(b, optEnd, nil))
}

// interfaceDescription is the block that packets refer to. Their times are in nanoseconds.
func interfaceDescription(linkType uint16, name, description string) []byte {
	b := le.AppendUint16(le.AppendUint16(nil, linkType), 0)
	b = le.AppendUint32(b, 0) // packets are whole
	b = option(b, optName, []byte(name))
	b = option(b, optDescription, []byte(description))
	b = option(b, optResolution, []byte{9})
	return block(blockInterface, option(b, optEnd, nil))
}

// enhancedPacket is the block of a packet.
func enhancedPacket(t time.Time, data []byte, direction uint32, comment string) []byte {
	b := le.AppendUint32(nil, 0) // the first interface
	ns := uint64(t.UnixNano())
	b = le.AppendUint32(le.AppendUint32(b, uint32(ns>>32)), uint32(ns))
	b = le.AppendUint32(le.AppendUint32(b, uint32(len(data))), uint32(len(data)))
	b = pad(append(b, data...))
	b = option(b, optComment, []byte(comment))
	b = option(b, optFlags, le.AppendUint32(nil, direction))
	return block(blockPacket, option(b, optEnd, nil))
}
