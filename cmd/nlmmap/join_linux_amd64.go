package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"nlmmap/interpose"
)

var machineName = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// machineDir is where the sockets of running machines are.
func machineDir() string { return filepath.Join(os.TempDir(), fmt.Sprintf("nlmmap-%d", os.Getuid())) }

// grace is how long commands that have joined a machine may go on when its own program has ended.
const grace = time.Second

// listenForJoins lets other commands enter the machine under a name. stop waits a moment for them to end.
func listenForJoins(name string, s *interpose.Supervisor) (stop func(), err error) {
	if !machineName.MatchString(name) {
		return nil, fmt.Errorf("--name %q: letters, digits, and _ . - only", name)
	}
	if err := os.MkdirAll(machineDir(), 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(machineDir(), name)
	if c, err := dialPackets(path); err == nil {
		c.Close()
		return nil, fmt.Errorf("a machine called %s runs already: enter it with --join %s", name, name)
	}
	_ = os.Remove(path) // left by a machine that was killed
	l, err := listenPackets(path)
	if err != nil {
		return nil, err
	}
	var joined sync.WaitGroup
	go func() {
		for {
			c, err := l.accept()
			if err != nil {
				return
			}
			joined.Go(func() { admit(c, s) })
		}
	}()
	return func() {
		l.Close()
		gone := make(chan struct{})
		go func() {
			joined.Wait()
			close(gone)
		}()
		select {
		case <-gone:
		case <-time.After(grace):
		}
	}, nil
}

// admit takes the listener of a program from a command that joins. The connection stays open as long as both run.
func admit(c packetConn, s *interpose.Supervisor) {
	defer c.Close()
	listener, err := c.receiveFD()
	if err != nil {
		return
	}
	s.Serve(listener)
	var b [1]byte
	_, _ = c.Read(b[:]) // until the other command ends
}

// joinMachine runs a program on the machine of another command.
func (e env) joinMachine(o execOptions, cmd *exec.Cmd, signals <-chan os.Signal) int {
	c, err := dialPackets(filepath.Join(machineDir(), o.join))
	if err != nil {
		entries, _ := os.ReadDir(machineDir())
		fmt.Fprintf(e.stderr, "nlmmap: exec: no machine called %s runs: start one with \"nlmmap exec --name %s ...\"\n", o.join, o.join)
		for _, other := range entries {
			if c, err := dialPackets(filepath.Join(machineDir(), other.Name())); err == nil {
				c.Close()
				fmt.Fprintf(e.stderr, "nlmmap: %s runs\n", other.Name())
			}
		}
		return exitExecFailed
	}
	defer c.Close()
	return e.runProgram(o, cmd, signals, func(p *interpose.Program) error {
		err := c.sendFD(p.Listener)
		_ = unix.Close(p.Listener)
		if err != nil {
			return fmt.Errorf("the machine %s has ended: %w", o.join, err)
		}
		go func() {
			var b [1]byte
			if _, err := c.Read(b[:]); err != nil && !errors.Is(err, os.ErrClosed) {
				fmt.Fprintf(e.stderr, "nlmmap: exec: the machine %s has ended\n", o.join)
				_ = p.Signal(syscall.SIGKILL)
			}
		}()
		return nil
	})
}
