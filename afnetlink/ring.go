package afnetlink

import (
	"nlmmap/kernel"
	"nlmmap/uapi"
)

// setRing sets or clears a ring: netlink_set_ring (spec 2.2).
//
// Errors: EBUSY while either ring is mapped, or frames of this one are reserved; those of ringmm.Ring.Prepare.
// Success empties the queue that goes with the ring.
func (sk *Sock) setRing(cur *kernel.Task, req uapi.NLMMapReq, tx bool) error {
	ring, queue := &sk.rxRing, &sk.ReceiveQueue
	if tx {
		ring, queue = &sk.txRing, &sk.WriteQueue
	}
	if n := sk.mapped.Load(cur); n != 0 {
		return kernel.Errorf(kernel.EBUSY, "%d mappings of the socket are alive", n)
	}
	if n := ring.Pending.Load(cur); n != 0 {
		return kernel.Errorf(kernel.EBUSY, "the kernel holds %d frames of the %s ring", n, ring.Name())
	}
	blocks, err := ring.Prepare(cur, req)
	if err != nil {
		return err
	}
	sk.pgVecLock.Lock(cur)
	if n := sk.mapped.Load(cur); n != 0 {
		sk.pgVecLock.Unlock(cur)
		ring.Free(cur, blocks)
		return kernel.Errorf(kernel.EBUSY, "%d mappings of the socket are alive", n)
	}
	queue.Lock.Lock(cur)
	old := ring.Swap(cur, blocks)
	purged := queue.Splice(cur)
	emit(sk, cur, RingEvent{sk, tx, ring, req, purged})
	queue.Lock.Unlock(cur)
	sk.pgVecLock.Unlock(cur)
	for _, m := range purged {
		m.Free(cur)
	}
	ring.Free(cur, old)
	return nil
}

// Mmap implements kernel.FileOps: netlink_mmap (spec 3.1). EINVAL unless the offset is 0 and the length is that of
// the rings that are set. RX blocks come first.
func (sk *Sock) Mmap(cur *kernel.Task, vma *kernel.VMA) error {
	if vma.Pgoff != 0 {
		return kernel.Errorf(kernel.EINVAL, "page offset %d: rings are mapped from the start", vma.Pgoff)
	}
	sk.pgVecLock.Lock(cur)
	defer sk.pgVecLock.Unlock(cur)
	expected := sk.rxRing.MapSize(cur) + sk.txRing.MapSize(cur)
	if expected == 0 {
		return kernel.Errorf(kernel.EINVAL, "no ring is set")
	}
	if vma.Size() != expected {
		return kernel.Errorf(kernel.EINVAL, "the rings have %d bytes and not %d", expected, vma.Size())
	}
	if err := vma.InsertPages(append(sk.rxRing.Segments(cur), sk.txRing.Segments(cur)...)); err != nil {
		return err
	}
	sk.mapped.Count(cur, 1)
	vma.Ops = vmOps{sk}
	return nil
}

// vmOps counts the mappings: netlink_mmap_ops.
type vmOps struct{ sk *Sock }

// Open implements kernel.VMOps: netlink_mm_open.
func (o vmOps) Open(cur *kernel.Task, _ *kernel.VMA) { o.sk.mapped.Count(cur, 1) }

// Close implements kernel.VMOps: netlink_mm_close.
func (o vmOps) Close(cur *kernel.Task, _ *kernel.VMA) { o.sk.mapped.Count(cur, -1) }
