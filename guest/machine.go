package guest

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Config says how to boot. Image and Init are needed.
type Config struct {
	Image  Image
	QEMU   string // the program; if empty qemu-system-x86_64 of PATH
	KVM    bool   // use the processor's virtualization; without it QEMU translates
	CPUs   int    // 1 if not set
	Memory int    // in MiB, 512 if not set
	Append string // more of the kernel's command line

	Init  []byte // process 1: see Program and Self
	Files []File // what else the guest finds in its file system

	Console io.Writer // gets what the kernel writes to its console, if set
	Keep    string    // a directory that gets the files of the machine, if set
}

const (
	defaultQEMU   = "qemu-system-x86_64"
	defaultMemory = 512
)

// commandLine is the kernel's. A crash ends the machine at once: panic=-1 restarts it, and QEMU then ends. Without
// no_timer_check some kernels find fault with QEMU's timer when the host is busy.
func (c *Config) commandLine() string {
	line := "console=ttyS0 quiet panic=-1 oops=panic no_timer_check 8250.nr_uarts=4 rdinit=" + initPath
	return strings.TrimSpace(line + " " + c.Append)
}

func (c *Config) memory() int {
	if c.Memory == 0 {
		return defaultMemory
	}
	return c.Memory
}

// Descriptors that QEMU inherits.
const (
	consoleFD = 3 + iota
	dataFD
	initramfsFD
)

// args are QEMU's arguments. Two processors are two sockets: a kernel without a scheduler for cores takes one of each.
func (c *Config) args(initramfs string) []string {
	cpus, accel := max(c.CPUs, 1), "tcg"
	if cpus > 1 {
		accel = "tcg,thread=multi" // each processor is a thread of the host
	}
	if c.KVM {
		accel = "kvm"
	}
	return []string{
		"-accel", accel, "-m", fmt.Sprint(c.memory()), "-smp", fmt.Sprintf("%d,sockets=%d", cpus, cpus),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-chardev", fmt.Sprintf("socket,id=console,fd=%d", consoleFD), "-serial", "chardev:console",
		"-chardev", fmt.Sprintf("socket,id=data,fd=%d", dataFD), "-serial", "chardev:data",
		"-kernel", c.Image.Path, "-initrd", initramfs, "-append", c.commandLine(),
	}
}

// Why a machine died.
const (
	Crashed = "crashed" // the console tells
	Hung    = "hung"    // nothing came for too long
	Ended   = "ended"   // it restarted, or QEMU ended, without a word
	Damaged = "damaged" // a message came damaged
)

// Death is the end of a machine, as Receive returns it.
type Death struct {
	Why    string
	Crash  *Crash        // only if it crashed
	Limit  time.Duration // how long nothing came, only if it hung
	Detail string        // what QEMU said, what was damaged
	// Console is everything that the kernel wrote.
	Console string
}

func (d *Death) Error() string {
	var text string
	switch d.Why {
	case Crashed:
		return "the guest crashed: " + d.Crash.String()
	case Hung:
		text = fmt.Sprintf("the guest hangs: nothing came for %v", d.Limit)
	case Ended:
		text = "the guest restarted, or QEMU ended"
	case Damaged:
		text = "the guest cannot be understood"
	}
	if d.Detail != "" {
		text += ": " + d.Detail
	}
	return text
}
