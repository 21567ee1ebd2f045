package interpose

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The ioctls of a listener.
const (
	notifRecv     = 0xc0502100
	notifSend     = 0xc0182101
	notifIDValid  = 0x40082102
	notifAddfd    = 0x40182103
	notifSetFlags = 0x40082104

	flagContinue = 1 // of an answer: the kernel goes on with the call
	addfdSetfd   = 1 // the descriptor's number is given
	addfdSend    = 2 // the new descriptor is the call's result
	syncWakeUp   = 1 // who waits for an answer runs where that was given (Linux 6.6)
)

// Requests of ioctl(2) that golang.org/x/sys/unix does not have.
const (
	fionclex = 0x5450
	fioclex  = 0x5451
	fionbio  = 0x5421
	fioasync = 0x5452
)

// A notification is a call that waits for an answer (struct seccomp_notif).
type notification struct {
	ID    uint64
	Tid   uint32
	Flags uint32
	Nr    int32
	Arch  uint32
	IP    uint64
	Args  [6]uint64
}

type answer struct {
	ID    uint64
	Val   int64
	Error int32
	Flags uint32
}

type addfd struct {
	ID         uint64
	Flags      uint32
	Srcfd      uint32
	Newfd      uint32
	NewfdFlags uint32
}

// A listener is where notifications of one program and its descendants come from.
type listener struct{ fd int }

func (l listener) ioctl(request uintptr, arg unsafe.Pointer) (int, error) {
	for {
		n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(l.fd), request, uintptr(arg))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
			continue
		}
		return 0, errno
	}
}

// errGone is that nobody is left who has the filter.
var errGone = errors.New("interpose: no process is left")

// receive waits for the next notification.
func (l listener) receive(n *notification) error {
	for {
		*n = notification{}
		_, err := l.ioctl(notifRecv, unsafe.Pointer(n))
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.ENOENT): // the caller died in between, or nobody is left
			p := []unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}}
			if _, err := unix.Poll(p, 0); err == nil && p[0].Revents&unix.POLLHUP != 0 {
				return errGone
			}
		default:
			return fmt.Errorf("seccomp listener: %w", err)
		}
	}
}

// send answers. A caller that has died meanwhile is no error.
func (l listener) send(a answer) error {
	_, err := l.ioctl(notifSend, unsafe.Pointer(&a))
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// valid reports whether the caller still waits.
func (l listener) valid(id uint64) bool {
	_, err := l.ioctl(notifIDValid, unsafe.Pointer(&id))
	return err == nil
}

// add puts a copy of a descriptor of this process into the caller's table, at number at or, when that is negative, at the
// lowest free one, and returns the number. With final it is the call's result.
func (l listener) add(id uint64, fd, at int, cloexec, final bool) (int, error) {
	a := addfd{ID: id, Srcfd: uint32(fd)}
	if at >= 0 {
		a.Flags, a.Newfd = addfdSetfd, uint32(at)
	}
	if final {
		a.Flags |= addfdSend
	}
	if cloexec {
		a.NewfdFlags = unix.O_CLOEXEC
	}
	return l.ioctl(notifAddfd, unsafe.Pointer(&a))
}

// tune asks for answers that wake the caller at once.
func (l listener) tune() {
	// Older kernels do not know it, and are only slower.
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(l.fd), notifSetFlags, syncWakeUp)
}
