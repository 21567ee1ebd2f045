package measure

import (
	"errors"
	"sync/atomic"
)

// A bareRing is the protocol of an RX ring and nothing else: frames that are passed to and fro by their status.
type bareRing struct {
	frames []bareFrame
	head   int // of who fills
	pos    int // of who reads
}

type bareFrame struct {
	status atomic.Uint32 // 0 unused, 1 valid
	length uint32
	data   []byte
}

var errBare = errors.New("the bare ring's frame is not what it should be")

func newBareRing(frames, size int) *bareRing {
	r := &bareRing{frames: make([]bareFrame, frames)}
	for i := range r.frames {
		r.frames[i].data = make([]byte, size)
	}
	return r
}

// fill puts a message into the frame at head; false means that the ring is full.
func (r *bareRing) fill(msg []byte) bool {
	f := &r.frames[r.head]
	if f.status.Load() != 0 {
		return false
	}
	f.length = uint32(copy(f.data, msg))
	f.status.Store(1)
	if r.head++; r.head == len(r.frames) {
		r.head = 0
	}
	return true
}

// take copies the next message out and releases its frame; false means that there is none.
func (r *bareRing) take(buf []byte) (int, bool) {
	f := &r.frames[r.pos]
	if f.status.Load() != 1 {
		return 0, false
	}
	n := copy(buf, f.data[:f.length])
	f.status.Store(0)
	if r.pos++; r.pos == len(r.frames) {
		r.pos = 0
	}
	return n, true
}

// bareCases adds the floor and memcpy at one size.
func (s *suite) bareCases(size int) error {
	msg, buf := make([]byte, size), make([]byte, size)
	floor := s.add(Key{"pass", Bare, "floor", size}, 1, func() (func(n int) error, error) {
		ring := newBareRing(ringFrames, size)
		return func(n int) error {
			for range n {
				filled := ring.fill(msg)
				if got, ok := ring.take(buf); !filled || !ok || got != size {
					return errBare
				}
			}
			return nil
		}, nil
	})
	memcpy := s.add(Key{"pass", Bare, "memcpy", size}, 1, func() (func(n int) error, error) {
		// As many frames as the ring has: a single one would stay in the nearest cache.
		frames := make([]byte, ringFrames*size)
		return func(n int) error {
			for i := range n {
				frame := frames[i%ringFrames*size:][:size]
				copy(frame, msg)
				copy(buf, frame)
			}
			return nil
		}, nil
	})
	return errors.Join(floor, memcpy)
}
