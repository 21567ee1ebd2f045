package guest

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// IsGuest reports whether this program is process 1 of a machine that Start booted.
func IsGuest() bool {
	if os.Getpid() != 1 {
		return false
	}
	_, err := os.Stat(markPath)
	return err == nil
}

// memoryLimit is how much memory process 1 uses before it collects garbage.
const memoryLimit = 64 << 20

// Main is the whole life of process 1: it prepares the machine, calls serve with the line to the host, and restarts the
// machine when serve returns. Not all machines can be powered off, but all restart, and QEMU then ends.
func Main(serve func(*Line) error) {
	makeDevices()
	// Collecting garbage is slow without KVM, and memory is there.
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(memoryLimit)
	if err := run(serve); err != nil {
		fmt.Fprintf(os.Stderr, "guest: %v\n", err)
	}
	err := unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	fmt.Fprintf(os.Stderr, "guest: cannot restart: %v\n", err)
}

// makeDevices makes the nodes of what the guest uses, a place for temporary files, and writes errors to the console, if
// there is one.
func makeDevices() {
	_ = os.Remove(nullPath)
	for path, dev := range map[string]uint64{
		consolePath: unix.Mkdev(5, 1), nullPath: unix.Mkdev(1, 3), dataPath: unix.Mkdev(4, 65),
	} {
		_ = unix.Mknod(path, unix.S_IFCHR|0o600, int(dev)) // the kernel may have made it
	}
	_ = os.Mkdir(os.TempDir(), 0o777)
	if fd, err := unix.Open(consolePath, unix.O_RDWR, 0); err == nil {
		_ = unix.Dup2(fd, int(os.Stderr.Fd()))
	}
}

func run(serve func(*Line) error) error {
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("cannot mount /proc (CONFIG_PROC_FS): %w", err)
	}
	tty, err := openTTY(dataPath)
	if err != nil {
		return fmt.Errorf("no second serial line (CONFIG_SERIAL_8250_NR_UARTS): %w", err)
	}
	defer tty.Close()
	return serve(NewLine(drained{tty}))
}

// drained is a serial line whose Write returns when the bytes have left the kernel, which may crash in the next call.
type drained struct{ *os.File }

func (d drained) Write(b []byte) (int, error) {
	n, err := d.File.Write(b)
	if err != nil {
		return n, err
	}
	for {
		// tcdrain would do, but sleeps for ticks of the kernel's clock. The line is as fast as the machine.
		left, err := unix.IoctlGetInt(int(d.Fd()), unix.TIOCOUTQ)
		if err != nil || left == 0 {
			return n, err
		}
		runtime.Gosched()
	}
}

// openTTY opens a serial line for bytes as they are. The file is not one that Go polls, which needs CONFIG_EPOLL.
func openTTY(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, err
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	t.Cflag = unix.B115200 | unix.CS8 | unix.CREAD | unix.CLOCAL
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, t); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}
