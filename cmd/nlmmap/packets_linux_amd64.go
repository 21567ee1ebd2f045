package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"nlmmap/interpose"
)

// Package net would do all this, and would need the C library's resolver: then nlmmap could not be process 1 of a guest.

// A packetConn is a connected socket of type SOCK_SEQPACKET.
type packetConn struct{ *os.File }

// dialPackets connects to the socket of a path.
func dialPackets(path string) (packetConn, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return packetConn{}, err
	}
	err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		_ = unix.Close(fd)
		return packetConn{}, fmt.Errorf("%s: %w", path, err)
	}
	return packetConn{os.NewFile(uintptr(fd), path)}, nil
}

// sendFD sends a descriptor.
func (c packetConn) sendFD(fd int) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Write(func(s uintptr) bool {
		sent = unix.Sendmsg(int(s), []byte{0}, unix.UnixRights(fd), nil, unix.MSG_NOSIGNAL)
		return sent != unix.EAGAIN
	})
	return errors.Join(err, sent)
}

// receiveFD receives one descriptor.
func (c packetConn) receiveFD() (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var b [1]byte
	oob := make([]byte, unix.CmsgSpace(4))
	var n int
	var received error
	err = raw.Read(func(s uintptr) bool {
		_, n, _, _, received = unix.Recvmsg(int(s), b[:], oob, unix.MSG_CMSG_CLOEXEC)
		return received != unix.EAGAIN
	})
	if err = errors.Join(err, received); err != nil {
		return 0, err
	}
	return interpose.ParseFD(oob[:n])
}

// A packetListener takes connections at a path.
type packetListener struct{ *os.File }

func listenPackets(path string) (packetListener, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return packetListener{}, err
	}
	if err = unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err == nil {
		err = unix.Listen(fd, 16)
	}
	if err != nil {
		_ = unix.Close(fd)
		return packetListener{}, fmt.Errorf("%s: %w", path, err)
	}
	return packetListener{os.NewFile(uintptr(fd), path)}, nil
}

func (l packetListener) accept() (packetConn, error) {
	raw, err := l.SyscallConn()
	if err != nil {
		return packetConn{}, err
	}
	var fd int
	var accepted error
	err = raw.Read(func(s uintptr) bool {
		fd, _, accepted = unix.Accept4(int(s), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		return accepted != unix.EAGAIN
	})
	if err = errors.Join(err, accepted); err != nil {
		return packetConn{}, err
	}
	return packetConn{os.NewFile(uintptr(fd), l.Name())}, nil
}

// Close ends accept, and removes the path.
func (l packetListener) Close() error {
	return errors.Join(l.File.Close(), os.Remove(l.Name()))
}
