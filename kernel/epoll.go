package kernel

import (
	"slices"

	"nlmmap/sys"
	"nlmmap/uapi"
)

// An epoll is an epoll descriptor: the files it watches and the list of those that may be ready.
type epoll struct {
	k     *Kernel
	lock  Mutex // the items and the ready list
	items []*epollItem
	ready []*epollItem
	wait  WaitQueue
}

type epollItem struct {
	ep     *epoll
	file   *File
	fd     int
	events uint32
	pt     PollTable
	queued bool // on the ready list; guarded by ep.lock
	gone   bool // removed: a wake-up that is under way does not bring it back
}

// An EpollEvent is what EpollWait returns of one descriptor.
type EpollEvent = sys.EpollEvent

// EpollCreate makes an epoll descriptor.
func (t *Task) EpollCreate() (int, error) {
	return t.sys(Call{Name: "epoll_create1"}, func() (int, error) {
		ep := &epoll{k: t.k}
		ep.lock.Name = "epoll"
		return t.files.install(t, t.k.newFile(ep))
	})
}

// Operations of EpollCtl.
const (
	EpollAdd = sys.EpollAdd
	EpollDel = sys.EpollDel
	EpollMod = sys.EpollMod
)

// EpollCtl adds, changes or removes a watched descriptor. EEXIST when it is watched already, ENOENT when it is not,
// EINVAL for the epoll descriptor itself, ELOOP for one that watches it.
func (t *Task) EpollCtl(epfd, op, fd int, events uint32) error {
	call := Call{Name: "epoll_ctl", FD: epfd, HasFD: true, Ints: [4]int64{int64(op), int64(fd), int64(events)}, NInts: 3}
	_, err := t.onEpoll(call, epfd, func(ep *epoll) (int, error) {
		f, err := t.fdget(fd)
		if err != nil {
			return -1, err
		}
		defer f.fdput(t)
		if f.ops == FileOps(ep) {
			return -1, Errorf(EINVAL, "an epoll descriptor cannot watch itself")
		}
		if inner, ok := f.ops.(*epoll); ok && op == EpollAdd && inner.watches(t, ep) {
			return -1, Errorf(ELOOP, "the epoll descriptors would watch each other")
		}
		ep.lock.Lock(t)
		i := slices.IndexFunc(ep.items, func(it *epollItem) bool { return it.fd == fd && it.file == f.File })
		var item *epollItem
		if i >= 0 {
			item = ep.items[i]
		}
		switch {
		case op == EpollAdd && item != nil:
			err = EEXIST
		case op == EpollAdd:
			item = &epollItem{ep: ep, file: f.File, fd: fd, events: events}
			item.pt = PollTable{task: t, fn: item.callback}
			ep.items = append(ep.items, item)
			f.mu.Lock()
			f.epolls = append(f.epolls, item)
			f.mu.Unlock()
		case item == nil:
			err = ENOENT
		case op == EpollMod:
			item.events = events
		case op == EpollDel:
			ep.lock.Unlock(t)
			ep.remove(item)
			return 0, nil
		default:
			err = EINVAL
		}
		ep.lock.Unlock(t)
		if err != nil {
			return -1, err
		}
		// Adding and changing evaluate the file once; that may be what puts it on the ready list.
		pt := &item.pt
		if op == EpollMod {
			pt = nil
		}
		if f.ops.Poll(t, pt)&item.mask() != 0 {
			item.enqueue(t)
		}
		return 0, nil
	})
	return err
}

// watches tells whether ep watches other, itself or through epoll descriptors that it watches: ep_loop_check.
func (ep *epoll) watches(cur *Task, other *epoll) bool {
	ep.lock.Lock(cur)
	items := slices.Clone(ep.items)
	ep.lock.Unlock(cur)
	return slices.ContainsFunc(items, func(it *epollItem) bool {
		inner, ok := it.file.ops.(*epoll)
		return ok && (inner == other || inner.watches(cur, other))
	})
}

func (it *epollItem) mask() uint32 {
	return it.events&^uapi.EpollET | uapi.PollErr | uapi.PollHup
}

// callback is what a wake-up of the file calls: ep_poll_callback.
func (it *epollItem) callback(cur *Task, key uint32) {
	if key == 0 || key&it.mask() != 0 {
		it.enqueue(cur)
	}
}

func (it *epollItem) enqueue(cur *Task) {
	it.ep.lock.Lock(cur)
	if !it.queued && !it.gone {
		it.queued = true
		it.ep.ready = append(it.ep.ready, it)
	}
	it.ep.lock.Unlock(cur)
	it.ep.wait.Wake(cur, uapi.PollIn)
}

// remove forgets a watched file.
func (ep *epoll) remove(item *epollItem) {
	item.pt.free()
	item.file.mu.Lock()
	item.file.epolls = slices.DeleteFunc(item.file.epolls, func(o *epollItem) bool { return o == item })
	item.file.mu.Unlock()
	cur := ep.k.KernelTask("epoll")
	ep.lock.Lock(cur)
	item.gone = true
	gone := func(o *epollItem) bool { return o == item }
	ep.items = slices.DeleteFunc(ep.items, gone)
	ep.ready = slices.DeleteFunc(ep.ready, gone)
	ep.lock.Unlock(cur)
}

// EpollWait returns the events of at most max watched descriptors, waiting for them at most timeout (negative: for
// ever). It evaluates only descriptors on the ready list: those that were woken since, and level-triggered ones that
// had events last time (spec 5).
func (t *Task) EpollWait(epfd, max int, timeout Time) (events []EpollEvent, err error) {
	call := Call{Name: "epoll_wait", FD: epfd, HasFD: true, Ints: [4]int64{int64(timeout / Millisecond)}, NInts: 1}
	_, err = t.onEpoll(call, epfd, func(ep *epoll) (int, error) {
		if max <= 0 {
			return -1, Errorf(EINVAL, "room for %d events", max)
		}
		deadline := t.k.Deadline(timeout)
		if timeout == 0 {
			deadline = 0
		}
		entry := WaitEntry{task: t}
		ep.wait.Add(t, &entry)
		defer entry.Remove()
		for {
			t.prepareToSleep()
			events = ep.sendEvents(t, max)
			switch {
			case len(events) > 0:
				return len(events), nil
			case t.signal.Load():
				return -1, EINTR
			case t.k.Now() >= deadline:
				return 0, nil
			}
			t.schedule(deadline)
		}
	})
	return events, err
}

// sendEvents evaluates the ready list once: ep_send_events.
func (ep *epoll) sendEvents(cur *Task, max int) (events []EpollEvent) {
	ep.lock.Lock(cur)
	list := ep.ready
	ep.ready = nil
	for _, it := range list {
		it.queued = false
	}
	ep.lock.Unlock(cur)
	for i, it := range list {
		if len(events) == max {
			for _, rest := range list[i:] {
				rest.enqueue(cur)
			}
			break
		}
		revents := it.file.ops.Poll(cur, nil) & it.mask()
		if revents == 0 {
			continue
		}
		events = append(events, EpollEvent{FD: it.fd, Events: revents})
		if it.events&uapi.EpollET == 0 {
			ep.lock.Lock(cur)
			if !it.queued && !it.gone {
				it.queued = true
				ep.ready = append(ep.ready, it)
			}
			ep.lock.Unlock(cur)
		}
	}
	return events
}

func (t *Task) onEpoll(call Call, fd int, fn func(*epoll) (int, error)) (int, error) {
	return t.sys(call, func() (int, error) {
		f, err := t.fdget(fd)
		if err != nil {
			return -1, err
		}
		defer f.fdput(t)
		ep, ok := f.ops.(*epoll)
		if !ok {
			return -1, Errorf(EINVAL, "descriptor %d is no epoll descriptor", fd)
		}
		return fn(ep)
	})
}

// Poll implements FileOps: an epoll descriptor is readable when its ready list is not empty.
func (ep *epoll) Poll(cur *Task, pt *PollTable) uint32 {
	pt.Wait(&ep.wait)
	ep.lock.Lock(cur)
	defer ep.lock.Unlock(cur)
	if len(ep.ready) > 0 {
		return uapi.PollIn | uapi.PollRdnorm
	}
	return 0
}

// Mmap implements FileOps.
func (ep *epoll) Mmap(*Task, *VMA) error { return ENODEV }

// Release implements FileOps.
func (ep *epoll) Release(cur *Task) {
	ep.lock.Lock(cur)
	items := slices.Clone(ep.items)
	ep.lock.Unlock(cur)
	for _, it := range items {
		ep.remove(it)
	}
}
