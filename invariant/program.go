package invariant

import (
	"nlmmap/kernel"
	"nlmmap/uapi"
)

// program calls do for each part of an access that falls into an RX frame.
func (c check) program(write bool, do func(t touch)) {
	e, ok := c.event.(kernel.AccessEvent)
	if !ok || e.Write != write {
		return
	}
	for _, t := range c.touches {
		if !t.ring.tx && !t.ring.s.blind {
			do(t)
		}
	}
}

func releaseOwn(c check) {
	c.program(true, func(t touch) {
		status, ok := t.word(uapi.NMStatus)
		if !ok {
			if t.foreign() {
				c.accuse(c.task.Name, "%s is written to by a program that does not have it", t.ring.name(t.pos))
			}
			return
		}
		name, to := t.ring.name(t.pos), uapi.StatusName(status)
		switch {
		case t.f.owner == taken:
			c.accuse(c.task.Name, "%s is written %s while the kernel holds it", name, to)
		case status != uapi.NLMMapStatusUnused:
		case t.f.owner == free:
			c.accuse(c.task.Name, "%s is released and is free already", name)
		case t.f.owner == ready && !t.f.ready:
			c.accuse(c.task.Name, "%s is released by a program that has not seen it ready", name)
		}
	})
}

func copyReceived(c check) {
	c.program(true, func(t touch) {
		status, ok := t.word(uapi.NMStatus)
		f := t.f
		if ok && status == uapi.NLMMapStatusUnused && f.owner == ready && f.status == uapi.NLMMapStatusCopy && t.ring.s.waits(f.skb) {
			c.accuse(c.task.Name, "%s is COPY and released, and its message of %d bytes was not received", t.ring.name(t.pos), f.header.Len)
		}
	})
}

func readOwn(c check) {
	c.program(false, func(t touch) {
		if t.off+len(t.data) <= uapi.NMLen || t.f.owner == ready && t.f.sights[c.task] != nil || t.f.owner == kept {
			return
		}
		what := "header"
		if _, message := t.message(); len(message) > 0 {
			what = "message"
		}
		switch t.f.owner {
		case ready:
			c.accuse(c.task.Name, "the %s of %s is read before its status was", what, t.ring.name(t.pos))
		case taken:
			c.accuse(c.task.Name, "the %s of %s is read while the kernel has the frame", what, t.ring.name(t.pos))
		default:
			c.accuse(c.task.Name, "the %s of %s is read, and the frame is free", what, t.ring.name(t.pos))
		}
	})
}

func readLength(c check) {
	c.program(false, func(t touch) {
		at, data := t.message()
		f := t.f
		sight := f.sights[c.task]
		if len(data) == 0 || f.owner != ready || sight == nil {
			return
		}
		_, along := t.word(uapi.NMLen)
		switch {
		case f.status != uapi.NLMMapStatusValid:
			c.accuse(c.task.Name, "%s is COPY: no message lies in it, and it is read", t.ring.name(t.pos))
		case !sight.length && !along:
			c.accuse(c.task.Name, "the message of %s is read by a task that has not loaded its length", t.ring.name(t.pos))
		case at+len(data) > len(f.data):
			c.accuse(c.task.Name, "%d bytes of %s are read, its length is %d", at+len(data), t.ring.name(t.pos), len(f.data))
		}
	})
}

func skipReturned(c check) {
	if !c.over {
		return
	}
	for _, s := range c.sockets {
		for pos := range s.rx.req.FrameNr {
			if f := s.rx.frames[pos]; f != nil && f.skipped && (f.owner == kept || f.owner == ready) && f.keeper != "" && s.sk.Inspect(key).Mapped > 0 && !s.blind {
				c.accuse(f.keeper, "rx[%d] of portid %d is kept and does not come back", pos, s.sk.Inspect(key).Portid)
			}
		}
	}
}
