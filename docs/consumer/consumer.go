// Package consumer is an example of a program with rings of its own, in a module of its own, and of the tests that it can
// have: docs/own-tests.md goes through it. It reads the RX ring of a netlink socket without the library of package
// userspace.
package consumer

import (
	"nlmmap/sys"
	"nlmmap/uapi"
)

// A Consumer reads the messages of one RX ring, in order. All tasks of a program that has the ring mapped could: one does.
type Consumer struct {
	Task  sys.Task
	FD    int
	Addr  uint64 // of the ring's first frame
	Ring  uapi.NLMMapReq
	Hasty bool // a mistake to show tests with: the frame is given back before its message is read

	pos uint32
}

// Next returns the next message, waiting for it.
func (c *Consumer) Next() ([]byte, error) {
	for {
		msg, ok, err := c.take()
		if ok || err != nil {
			return msg, err
		}
		if _, err := c.Task.Poll([]sys.PollFD{{FD: c.FD, Events: uapi.PollIn}}, -1); err != nil {
			return nil, err
		}
		// Some kernels call a frame readable that is still being written.
		c.Task.Yield()
	}
}

// take takes the message at the consumer's position, if there is one. Messages beside the ring are received.
func (c *Consumer) take() (msg []byte, ok bool, err error) {
	frame := c.Addr + c.Ring.FrameOffset(c.pos)
	status, err := c.Task.Load32(frame + uapi.NMStatus)
	if err != nil {
		return nil, false, err
	}
	switch status {
	case uapi.NLMMapStatusValid:
		if c.Hasty {
			if err := c.release(frame); err != nil {
				return nil, false, err
			}
		}
		n, err := c.Task.Load32(frame + uapi.NMLen)
		if err != nil {
			return nil, false, err
		}
		msg = make([]byte, min(n, c.Ring.FrameSize-uapi.NLMMapHdrlen))
		if err := c.Task.ReadMem(frame+uapi.NLMMapHdrlen, msg); err != nil {
			return nil, false, err
		}
	case uapi.NLMMapStatusCopy:
		buf := make([]byte, 4096)
		n, err := c.Task.Recvmsg(c.FD, &sys.Msghdr{Iov: []sys.Iovec{sys.Iov(buf)}}, uapi.MsgDontwait)
		if err != nil {
			return nil, false, err
		}
		msg = buf[:n]
	default:
		return nil, false, nil
	}
	if !c.Hasty || status == uapi.NLMMapStatusCopy {
		err = c.release(frame)
	}
	c.pos = (c.pos + 1) % c.Ring.FrameNr
	return msg, true, err
}

func (c *Consumer) release(frame uint64) error {
	return c.Task.Store32(frame+uapi.NMStatus, uapi.NLMMapStatusUnused)
}
