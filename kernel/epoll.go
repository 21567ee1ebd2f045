package kernel

import (
	"slices"

	"nlmmap/sys"
	"nlmmap/uapi"
)

// An epoll is an epoll descriptor: the files it watches and the list of those that may be ready.
type epoll struct {
	k     *Kernel
	mtx   Mutex // who evaluates or changes items (ep->mtx)
	lock  Mutex // the lists (ep->lock)
	items Guarded[[]*epollItem]
	ready Guarded[[]*epollItem]
	wait  WaitQueue
}

type epollItem struct {
	ep     *epoll
	file   *File
	fd     int
	events Atomic             // changes under ep.mtx
	pt     Guarded[PollTable] // ep.mtx
	state  Guarded[itemState] // ep.lock
}

type itemState struct {
	queued bool // on the ready list
	gone   bool // removed: a wake-up that is under way does not bring it back
}

// An EpollEvent is what EpollWait returns of one descriptor.
type EpollEvent = sys.EpollEvent

// EpollCreate makes an epoll descriptor. ENOMEM.
func (t *Task) EpollCreate() (int, error) {
	return syscall(t, EpollCreateCall{}, func() (int, error) {
		if t.NoMemory("epoll descriptor") {
			return -1, ENOMEM
		}
		ep := &epoll{k: t.k}
		ep.mtx.Name, ep.lock.Name = "epoll mtx", "epoll"
		ep.items.Guard(&ep.lock)
		ep.ready.Guard(&ep.lock)
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
// EINVAL for the epoll descriptor itself, ELOOP for one that watches it, ENOMEM.
func (t *Task) EpollCtl(epfd, op, fd int, events uint32) error {
	_, err := onEpoll(t, EpollCtlCall{epfd, op, fd, events}, epfd, func(ep *epoll) (int, error) {
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
		ep.mtx.Lock(t)
		defer ep.mtx.Unlock(t)
		item := ep.find(t, fd, f.File)
		switch {
		case op == EpollAdd && item != nil:
			return -1, EEXIST
		case op == EpollAdd && t.NoMemory("entry of an epoll descriptor"):
			return -1, ENOMEM
		case op == EpollAdd:
			item = ep.add(t, fd, f.File, events)
			item.evaluate(t, item.pt.Of(t))
		case item == nil:
			return -1, ENOENT
		case op == EpollMod:
			item.events.Store(t, int64(events))
			item.evaluate(t, nil)
		case op == EpollDel:
			ep.unlink(t, item)
		default:
			return -1, EINVAL
		}
		return 0, nil
	})
	return err
}

// find returns the item of a descriptor, nil for none: ep_find.
func (ep *epoll) find(cur *Task, fd int, f *File) *epollItem {
	ep.lock.Lock(cur)
	defer ep.lock.Unlock(cur)
	items := *ep.items.Of(cur)
	if i := slices.IndexFunc(items, func(it *epollItem) bool { return it.fd == fd && it.file == f }); i >= 0 {
		return items[i]
	}
	return nil
}

// add makes an item: ep_insert. The caller holds mtx.
func (ep *epoll) add(cur *Task, fd int, f *File, events uint32) *epollItem {
	item := &epollItem{ep: ep, file: f, fd: fd}
	item.events.Named("epoll events", int64(events))
	item.events.Guard(&ep.mtx)
	item.pt.Guard(&ep.mtx)
	item.state.Guard(&ep.lock)
	*item.pt.Own() = PollTable{task: cur, fn: item.callback}
	ep.lock.Lock(cur)
	items := ep.items.Of(cur)
	*items = append(*items, item)
	ep.lock.Unlock(cur)
	f.watch(cur, func(items []*epollItem) []*epollItem { return append(items, item) })
	return item
}

// evaluate looks at the file once, which may put the item on the ready list.
func (it *epollItem) evaluate(cur *Task, pt *PollTable) {
	if it.file.ops.Poll(cur, pt)&it.mask(cur) != 0 {
		it.enqueue(cur)
	}
}

// watches reports whether ep watches other, itself or through epoll descriptors that it watches: ep_loop_check.
func (ep *epoll) watches(cur *Task, other *epoll) bool {
	ep.lock.Lock(cur)
	items := slices.Clone(*ep.items.Of(cur))
	ep.lock.Unlock(cur)
	return slices.ContainsFunc(items, func(it *epollItem) bool {
		inner, ok := it.file.ops.(*epoll)
		return ok && (inner == other || inner.watches(cur, other))
	})
}

func (it *epollItem) mask(cur *Task) uint32 {
	return uint32(it.events.Load(cur))&^uapi.EpollET | uapi.PollErr | uapi.PollHup
}

// callback is what a wake-up of the file calls: ep_poll_callback.
func (it *epollItem) callback(cur *Task, key uint32) {
	if key == 0 || key&it.mask(cur) != 0 {
		it.enqueue(cur)
	}
}

func (it *epollItem) enqueue(cur *Task) {
	it.ep.lock.Lock(cur)
	it.queue(cur)
	it.ep.lock.Unlock(cur)
	it.ep.wait.Wake(cur, uapi.PollIn)
}

// queue puts the item on the ready list. The caller holds the lock.
func (it *epollItem) queue(cur *Task) {
	if state := it.state.Of(cur); !state.queued && !state.gone {
		state.queued = true
		ready := it.ep.ready.Of(cur)
		*ready = append(*ready, it)
	}
}

// remove forgets a watched file: ep_remove.
func (ep *epoll) remove(cur *Task, item *epollItem) {
	ep.mtx.Lock(cur)
	defer ep.mtx.Unlock(cur)
	ep.unlink(cur, item)
}

// unlink is remove for who holds mtx.
func (ep *epoll) unlink(cur *Task, item *epollItem) {
	item.pt.Of(cur).free(cur)
	gone := func(o *epollItem) bool { return o == item }
	item.file.watch(cur, func(items []*epollItem) []*epollItem { return slices.DeleteFunc(items, gone) })
	ep.lock.Lock(cur)
	item.state.Of(cur).gone = true
	items, ready := ep.items.Of(cur), ep.ready.Of(cur)
	*items, *ready = slices.DeleteFunc(*items, gone), slices.DeleteFunc(*ready, gone)
	ep.lock.Unlock(cur)
}

// EpollWait returns the events of at most limit watched descriptors, waiting for them at most timeout (negative: for
// ever). It evaluates only descriptors on the ready list: those that were woken since, and level-triggered ones that
// had events last time (spec 5).
func (t *Task) EpollWait(epfd, limit int, timeout Time) (events []EpollEvent, err error) {
	_, err = onEpoll(t, EpollWaitCall{epfd, limit, timeout}, epfd, func(ep *epoll) (int, error) {
		if limit <= 0 {
			return -1, Errorf(EINVAL, "room for %d events", limit)
		}
		deadline := t.k.Deadline(t, timeout)
		if timeout == 0 {
			deadline = 0
		}
		entry := WaitEntry{task: t}
		ep.wait.Add(t, &entry)
		defer entry.Remove(t)
		for {
			signal := t.prepareToSleep()
			events = ep.sendEvents(t, limit)
			switch {
			case len(events) > 0:
				return len(events), nil
			case signal:
				return -1, EINTR
			case deadline != Forever && t.k.now(t) >= deadline:
				return 0, nil
			}
			t.schedule(deadline, func() bool { return ep.hasEvents(t) })
		}
	})
	return events, err
}

// sendEvents evaluates the ready list once: ep_send_events.
func (ep *epoll) sendEvents(cur *Task, limit int) (events []EpollEvent) {
	ep.mtx.Lock(cur)
	defer ep.mtx.Unlock(cur)
	ep.lock.Lock(cur)
	ready := ep.ready.Of(cur)
	list := *ready
	*ready = nil
	for _, it := range list {
		it.state.Of(cur).queued = false
	}
	ep.lock.Unlock(cur)
	for i, it := range list {
		if len(events) == limit {
			for _, rest := range list[i:] {
				rest.enqueue(cur)
			}
			break
		}
		revents := it.file.ops.Poll(cur, nil) & it.mask(cur)
		if revents == 0 {
			continue
		}
		events = append(events, EpollEvent{FD: it.fd, Events: revents})
		if it.events.Load(cur)&uapi.EpollET == 0 {
			ep.lock.Lock(cur)
			it.queue(cur)
			ep.lock.Unlock(cur)
		}
	}
	return events
}

// hasEvents reports whether sendEvents has something to return now: of a level-triggered descriptor that holds as long as
// it has events, of an edge-triggered one it is what was queued.
func (ep *epoll) hasEvents(cur *Task) bool {
	ep.lock.Lock(cur)
	items := slices.Clone(*ep.items.Of(cur))
	queued := func(it *epollItem) bool { return it.state.Of(cur).queued }
	items = slices.DeleteFunc(items, func(it *epollItem) bool { return it.events.Load(cur)&uapi.EpollET != 0 && !queued(it) })
	ep.lock.Unlock(cur)
	return slices.ContainsFunc(items, func(it *epollItem) bool { return it.file.ops.Poll(cur, nil)&it.mask(cur) != 0 })
}

func onEpoll[C Call](t *Task, call C, fd int, fn func(*epoll) (int, error)) (int, error) {
	return syscall(t, call, func() (int, error) {
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
	if len(*ep.ready.Of(cur)) > 0 {
		return uapi.PollIn | uapi.PollRdnorm
	}
	return 0
}

// Mmap implements FileOps.
func (ep *epoll) Mmap(*Task, *VMA) error { return ENODEV }

// Release implements FileOps.
func (ep *epoll) Release(cur *Task) {
	ep.lock.Lock(cur)
	items := slices.Clone(*ep.items.Of(cur))
	ep.lock.Unlock(cur)
	for _, it := range items {
		ep.remove(cur, it)
	}
}
