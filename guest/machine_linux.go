package guest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Machine is a guest that runs.
type Machine struct {
	cmd     *exec.Cmd
	console *console
	stderr  bytes.Buffer
	data    *os.File // the host's end of the second serial line
	line    *Line
	lines   chan incoming
	ended   chan struct{} // closed when QEMU has ended and the console is complete
	closed  chan struct{} // closed when nobody wants messages any more
	close   sync.Once
	kept    *os.File // gets a copy of the console, if set
}

// An incoming is what the line brought.
type incoming struct {
	body json.RawMessage
	err  error
}

// FindQEMU returns the path of QEMU: the given program, or the one in PATH.
func FindQEMU(name string) (string, error) {
	if name == "" {
		name = defaultQEMU
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("QEMU is missing: no program %s (in Debian and Ubuntu: apt-get install qemu-system-x86)", name)
	}
	return path, nil
}

// HasKVM reports whether this program may use the processor's virtualization. That it then works is another question: some
// hosts offer it to their own guests, which hang with it.
func HasKVM() bool {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// Start boots a machine. It returns as soon as QEMU runs: whether the guest gets anywhere shows in what Receive returns.
func Start(c Config) (*Machine, error) {
	qemu, err := FindQEMU(c.QEMU)
	if err != nil {
		return nil, err
	}
	archive, err := initramfs(c.Init, c.Files)
	if err != nil {
		return nil, err
	}
	initrd, err := memfile("initramfs", archive)
	if err != nil {
		return nil, err
	}
	defer initrd.Close()
	consoleEnd, consoleQEMU, err := socketpair()
	if err != nil {
		return nil, err
	}
	defer consoleQEMU.Close()
	dataEnd, dataQEMU, err := socketpair()
	if err != nil {
		consoleEnd.Close()
		return nil, err
	}
	defer dataQEMU.Close()
	m := &Machine{
		console: newConsole(), data: dataEnd, line: NewLine(dataEnd),
		lines: make(chan incoming), ended: make(chan struct{}), closed: make(chan struct{}),
	}
	m.cmd = exec.Command(qemu, c.args(fmt.Sprintf("/dev/fd/%d", initramfsFD))...)
	m.cmd.Stderr = &m.stderr
	m.cmd.ExtraFiles = []*os.File{consoleQEMU, dataQEMU, initrd}
	// A group of its own keeps the terminal's signals away, so that the caller decides when it ends.
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if c.Console != nil {
		m.console.copies = append(m.console.copies, c.Console)
	}
	if c.Keep != "" {
		file, err := c.keep(archive)
		if err != nil {
			return nil, err
		}
		m.console.copies = append(m.console.copies, file)
		m.kept = file
	}
	started := make(chan error)
	go m.run(started, consoleEnd)
	if err := <-started; err != nil {
		dataEnd.Close()
		return nil, fmt.Errorf("cannot start QEMU: %w", err)
	}
	go m.read()
	return m, nil
}

// run starts QEMU and waits for its end. The parent that QEMU must not outlive is a thread, so this one stays.
func (m *Machine) run(started chan<- error, consoleEnd *os.File) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(m.ended)
	defer consoleEnd.Close()
	err := m.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		_, _ = io.Copy(m.console, consoleEnd)
	}()
	_ = m.cmd.Wait()
	<-copied
	if m.kept != nil {
		m.kept.Close()
	}
}

// read takes messages from the line until it ends.
func (m *Machine) read() {
	defer close(m.lines)
	for {
		var in incoming
		in.err = m.line.Receive(&in.body)
		var garbled *Garbled
		if in.err != nil && !errors.As(in.err, &garbled) {
			return
		}
		select {
		case m.lines <- in:
		case <-m.closed:
			return
		}
	}
}

// keep leaves the files of the machine in a directory, with a script that boots it by hand, and returns the one for its
// console.
func (c *Config) keep(archive []byte) (console *os.File, err error) {
	if err := os.MkdirAll(c.Keep, 0o777); err != nil {
		return nil, err
	}
	image, err := filepath.Abs(c.Image.Path)
	if err != nil {
		return nil, err
	}
	const name = "initramfs.cpio"
	script := fmt.Sprintf(`#!/bin/sh
# Boots the guest by hand: its console is here, and what it says to the host goes to data.txt.
cd "$(dirname "$0")" && exec %s -m %d -nodefaults -display none -no-reboot -serial stdio -serial file:data.txt \
	-kernel '%s' -initrd %s -append '%s'
`, defaultQEMU, c.memory(), image, name, c.commandLine())
	if err := os.WriteFile(filepath.Join(c.Keep, "boot.sh"), []byte(script), 0o777); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(c.Keep, name), archive, 0o666); err != nil {
		return nil, err
	}
	return os.Create(filepath.Join(c.Keep, "console.txt"))
}

// memfile returns a file in memory with the given contents.
func memfile(name string, data []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.Write(data); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func socketpair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil { // so that Close ends a Read
		return nil, nil, err
	}
	return os.NewFile(uintptr(fds[0]), "guest"), os.NewFile(uintptr(fds[1]), "qemu"), nil
}

// Send sends a message to the guest.
func (m *Machine) Send(v any) error { return m.line.Send(v) }

// afterCrash is how long a machine may take to restart after it wrote that it crashed.
const afterCrash = 3 * time.Second

// Receive waits for the next message of the guest, at most for the given time and until done is closed. Time in which the
// host had no processor for the guest does not count. If the machine dies first the error is a *Death, and the machine is
// closed.
func (m *Machine) Receive(done <-chan struct{}, limit time.Duration, v any) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	begin, starved := time.Now(), m.starved()
	crash := m.console.crash
	for {
		select {
		case in, open := <-m.lines:
			switch {
			case !open:
				return m.death(Ended, limit, "")
			case in.err != nil:
				return m.death(Damaged, limit, in.err.Error())
			}
			return json.Unmarshal(in.body, v)
		case <-crash:
			crash = nil
			begin, limit, starved = time.Now(), afterCrash, m.starved()
			timer.Reset(limit)
		case <-timer.C:
			if left := limit - time.Since(begin) + m.starved() - starved; left > 0 {
				timer.Reset(max(left, 100*time.Millisecond))
				continue
			}
			return m.death(Hung, limit, "")
		case <-done:
			m.Close()
			return errors.New("interrupted")
		}
	}
}

// starved is how long QEMU wanted to run and had no processor: the longest time that one of its threads waited. A kernel
// that does not count that says 0.
func (m *Machine) starved() time.Duration {
	var longest time.Duration
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", m.cmd.Process.Pid))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		var ran, waited int64
		if n, _ := fmt.Sscan(string(text), &ran, &waited); n == 2 {
			longest = max(longest, time.Duration(waited))
		}
	}
	return longest
}

// death closes the machine and says what became of it. What the console tells goes before everything else.
func (m *Machine) death(why string, limit time.Duration, detail string) *Death {
	if why == Ended {
		// The line ended, so QEMU is about to, and wants to be heard.
		select {
		case <-m.ended:
			detail = m.lastWords()
		case <-time.After(afterCrash):
		}
	}
	m.Close()
	d := &Death{Why: why, Limit: limit, Detail: detail, Console: m.console.String()}
	if d.Crash = findCrash(d.Console); d.Crash != nil {
		d.Why = Crashed
	}
	return d
}

// lastWords is what QEMU wrote before it ended, and how it ended if not by itself.
func (m *Machine) lastWords() string {
	text := strings.TrimSpace(m.stderr.String())
	if state := m.cmd.ProcessState; !state.Success() {
		text = strings.TrimSpace(text + "\n" + state.String())
	}
	return text
}

// Close kills the machine and waits for its end.
func (m *Machine) Close() {
	m.close.Do(func() {
		close(m.closed)
		_ = m.cmd.Process.Kill()
		m.data.Close()
	})
	<-m.ended
}
