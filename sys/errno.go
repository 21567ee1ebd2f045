package sys

import (
	"errors"

	"golang.org/x/sys/unix"

	"nlmmap/uapi"
)

// The errnos of the modelled calls. They are unix.Errno values: compare with errors.Is.
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
	EACCES          = unix.EACCES
	EAFNOSUPPORT    = unix.EAFNOSUPPORT
	EADDRINUSE      = unix.EADDRINUSE
	ENOBUFS         = unix.ENOBUFS
	ECONNREFUSED    = unix.ECONNREFUSED
	ENOTCONN        = unix.ENOTCONN
	ENOTSUPP        = unix.Errno(uapi.ENOTSUPP)
)

// ErrBlocks is wrapped, beside EINTR, by the error of a call that would have waited for ever.
var ErrBlocks = errors.New("the call would wait for ever")

// ErrKilled is wrapped by the error of a call in which the kernel ended the process.
var ErrKilled = errors.New("the process was killed")

// A Signal is what an access to memory that faults gets.
type Signal string

func (s Signal) Error() string { return string(s) }

// The signals of faults.
const (
	SIGSEGV Signal = "SIGSEGV"
	SIGBUS  Signal = "SIGBUS"
)

// ErrnoOf returns the errno of an error of a system call, 0 for nil and EINVAL for an error that has none.
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
