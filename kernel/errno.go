package kernel

import (
	"fmt"

	"golang.org/x/sys/unix"

	"nlmmap/sys"
)

// The errnos that kernel code returns, as programs see them. They are unix.Errno values: compare with errors.Is.
const (
	EPERM           = sys.EPERM
	ENOENT          = sys.ENOENT
	ESRCH           = sys.ESRCH
	EINTR           = sys.EINTR
	EBADF           = sys.EBADF
	EAGAIN          = sys.EAGAIN
	ENOMEM          = sys.ENOMEM
	EFAULT          = sys.EFAULT
	EBUSY           = sys.EBUSY
	EEXIST          = sys.EEXIST
	ENODEV          = sys.ENODEV
	EINVAL          = sys.EINVAL
	EMFILE          = sys.EMFILE
	ELOOP           = sys.ELOOP
	ERANGE          = sys.ERANGE
	ENOTSOCK        = sys.ENOTSOCK
	EMSGSIZE        = sys.EMSGSIZE
	ENOPROTOOPT     = sys.ENOPROTOOPT
	EPROTONOSUPPORT = sys.EPROTONOSUPPORT
	ESOCKTNOSUPPORT = sys.ESOCKTNOSUPPORT
	EOPNOTSUPP      = sys.EOPNOTSUPP
	EACCES          = sys.EACCES
	EAFNOSUPPORT    = sys.EAFNOSUPPORT
	EADDRINUSE      = sys.EADDRINUSE
	ENOBUFS         = sys.ENOBUFS
	ECONNREFUSED    = sys.ECONNREFUSED
	ENOTCONN        = sys.ENOTCONN
	ENOTSUPP        = sys.ENOTSUPP
)

// What a call reports beside errnos: see package sys.
var (
	ErrBlocks = sys.ErrBlocks
	ErrKilled = sys.ErrKilled
)

// A Signal is what a userspace access that faults gets.
type Signal = sys.Signal

// The signals of faults.
const (
	SIGSEGV = sys.SIGSEGV
	SIGBUS  = sys.SIGBUS
)

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
func ErrnoOf(err error) unix.Errno { return sys.ErrnoOf(err) }
