package kernel

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// The errnos that kernel code returns. They are unix.Errno values: compare with errors.Is.
const (
	EPERM           = unix.EPERM
	ENOENT          = unix.ENOENT
	ESRCH           = unix.ESRCH
	EINTR           = unix.EINTR
	EBADF           = unix.EBADF
	EAGAIN          = unix.EAGAIN
	ENOMEM          = unix.ENOMEM
	EFAULT          = unix.EFAULT
	EBUSY           = unix.EBUSY
	EEXIST          = unix.EEXIST
	ENODEV          = unix.ENODEV
	EINVAL          = unix.EINVAL
	EMFILE          = unix.EMFILE
	ELOOP           = unix.ELOOP
	ERANGE          = unix.ERANGE
	ENOTSOCK        = unix.ENOTSOCK
	EMSGSIZE        = unix.EMSGSIZE
	ENOPROTOOPT     = unix.ENOPROTOOPT
	EPROTONOSUPPORT = unix.EPROTONOSUPPORT
	ESOCKTNOSUPPORT = unix.ESOCKTNOSUPPORT
	EOPNOTSUPP      = unix.EOPNOTSUPP
	EAFNOSUPPORT    = unix.EAFNOSUPPORT
	EADDRINUSE      = unix.EADDRINUSE
	ENOBUFS         = unix.ENOBUFS
	ECONNREFUSED    = unix.ECONNREFUSED
	ENOTCONN        = unix.ENOTCONN
	ENOTSUPP        = unix.Errno(524)
)

// ErrBlocks is wrapped, beside EINTR, by the error of an inline call that would have waited for ever.
var ErrBlocks = errors.New("the call would wait for ever")

// ErrKilled is wrapped by the error of a call in which the kernel oopsed and killed the process.
var ErrKilled = errors.New("the process was killed")

// An Error is an errno with what was wrong.
type Error struct {
	Errno  unix.Errno
	format string
	args   []any
}

// Errorf returns errno with an explanation for people.
func Errorf(errno unix.Errno, format string, args ...any) error {
	return &Error{errno, format, args}
}

func (e *Error) Error() string {
	return e.Errno.Error() + ": " + fmt.Sprintf(e.format, e.args...)
}

// Unwrap gives the errno.
func (e *Error) Unwrap() error { return e.Errno }

// ErrnoOf returns the errno of an error of a system call, 0 for nil.
func ErrnoOf(err error) unix.Errno {
	if err == nil {
		return 0
	}
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return EINVAL
}
