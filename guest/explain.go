package guest

import (
	"errors"
	"fmt"
	"strings"
)

// reasons are what kernels write when they cannot run process 1, and what helps.
var reasons = []struct{ text, why string }{
	{"no second serial line", "the kernel has no second serial line: it needs CONFIG_SERIAL_8250 with CONFIG_SERIAL_8250_RUNTIME_UARTS of at least 2"},
	{"cannot mount /proc", "the kernel has no /proc: it needs CONFIG_PROC_FS"},
	{"Unable to mount root fs", "the kernel takes no initramfs: it needs CONFIG_BLK_DEV_INITRD"},
	{"not find init", "the kernel takes no initramfs: it needs CONFIG_BLK_DEV_INITRD"},
	{"Failed to execute /init", "the kernel cannot run process 1: it needs CONFIG_64BIT and CONFIG_BINFMT_ELF"},
	{"No working init found", "the kernel cannot run process 1: it needs CONFIG_64BIT and CONFIG_BINFMT_ELF"},
	{"No init found", "the kernel cannot run process 1: it needs CONFIG_BLK_DEV_INITRD and CONFIG_BINFMT_ELF"},
	{"futexwakeup addr", "Go programs do not run on this kernel: they need CONFIG_FUTEX and CONFIG_EPOLL"},
	{"The futex facility returned an unexpected error code", "Go programs need CONFIG_FUTEX"},
	{"Initramfs unpacking failed", "the kernel cannot unpack the initramfs: give the guest more memory"},
	{"Out of memory", "the guest has too little memory"},
}

// Explain says why a guest did not come up, as far as its console tells: err is what Receive returned before the first
// message.
func Explain(err error) error {
	var d *Death
	if !errors.As(err, &d) {
		return err
	}
	for _, r := range reasons {
		if strings.Contains(d.Console, r.text) {
			return fmt.Errorf("the guest does not come up: %s", r.why)
		}
	}
	silent := strings.TrimSpace(d.Console) == ""
	switch {
	case d.Detail != "":
		return fmt.Errorf("the guest does not come up: QEMU says: %s", d.Detail)
	case silent && d.Why == Hung:
		return fmt.Errorf("the guest does not come up within %v and writes nothing to its console, for which it needs "+
			"CONFIG_SERIAL_8250 and CONFIG_SERIAL_8250_CONSOLE", d.Limit)
	case silent:
		return errors.New("the guest restarts before it writes anything: it may need more memory")
	}
	return fmt.Errorf("the guest does not come up (%w); its console ends with\n%s", err, lastLines(d.Console, 8))
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(strings.ReplaceAll(text, "\r", ""), "\n"), "\n")
	return "    " + strings.Join(lines[max(0, len(lines)-n):], "\n    ")
}
