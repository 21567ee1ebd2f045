package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// unameRelease is the name of the kernel the program runs on.
func unameRelease() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// asInit prepares for being the only program of a virtual machine: process 1 of an initramfs. The function it returns
// ends the machine, since the kernel panics when process 1 ends.
func asInit(e env) (finish func()) {
	if os.Getpid() != 1 {
		return func() {}
	}
	if _, err := os.Stat("/proc/self"); err == nil {
		return func() {} // a container
	}
	if err := mountProc(); err != nil {
		fmt.Fprintf(e.stderr, "nlmmap: cannot mount /proc: %v\n", err)
	}
	return func() {
		unix.Sync()
		err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
		fmt.Fprintf(e.stderr, "nlmmap: cannot power off: %v\n", err)
	}
}

func mountProc() error {
	if err := os.MkdirAll("/proc", 0o555); err != nil {
		return err
	}
	return unix.Mount("proc", "/proc", "proc", 0, "")
}
