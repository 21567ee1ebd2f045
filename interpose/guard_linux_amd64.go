package interpose

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// guardVariable tells a command that it is to be a guard: the descriptor where the numbers of processes come from.
const guardVariable = "NLMMAP_INTERPOSE_GUARD"

// A guard is a process that outlives the supervisor's when that is killed, and then ends the programs: their calls would
// fail with ENOSYS for ever. The supervisor tells it of each process.
type guard struct {
	pipe  *os.File
	ended chan struct{}
}

// startGuard starts a guard. self is as for Launch.
func startGuard(self string) (*guard, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("interpose: pipe: %w", err)
	}
	defer r.Close()
	// A session of its own: what a terminal sends to the programs is not for the guard.
	cmd := &exec.Cmd{Path: self, Args: []string{"nlmmap-guard"}, Env: []string{guardVariable + "=3"}, ExtraFiles: []*os.File{r},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true}}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("interpose: guard: %w", err), w.Close())
	}
	g := &guard{w, make(chan struct{})}
	go func() {
		defer close(g.ended)
		_ = cmd.Wait() // how it ended is of no interest
	}()
	return g, nil
}

func (g *guard) tell(pid int) {
	if g == nil {
		return
	}
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], uint32(pid))
	_, _ = g.pipe.Write(b[:]) // a guard that was killed guards nothing
}

// dismiss ends the guard: all processes have ended.
func (g *guard) dismiss(ctx context.Context) {
	if g == nil {
		return
	}
	g.tell(0)
	_ = g.pipe.Close()
	select {
	case <-g.ended:
	case <-ctx.Done():
	}
}

// beGuard notes processes until the supervisor has gone, and ends them unless it said good-bye.
func beGuard(fd int) {
	unix.CloseOnExec(fd)
	pipe := os.NewFile(uintptr(fd), "processes")
	pidfds := map[int]int{}
	for {
		var b [4]byte
		if _, err := io.ReadFull(pipe, b[:]); err != nil {
			break
		}
		pid := int(binary.NativeEndian.Uint32(b[:]))
		if pid == 0 {
			return
		}
		const many = 256
		if len(pidfds) >= many {
			forgetEnded(pidfds)
		}
		if old, ok := pidfds[pid]; ok {
			_ = unix.Close(old)
		}
		if p, err := unix.PidfdOpen(pid, 0); err == nil {
			pidfds[pid] = p
		}
	}
	for pid, p := range pidfds {
		killTree(pid, p)
	}
}

// forgetEnded closes the pidfds of processes that have ended.
func forgetEnded(pidfds map[int]int) {
	for pid, p := range pidfds {
		if errors.Is(unix.PidfdSendSignal(p, 0, nil, 0), unix.ESRCH) {
			_ = unix.Close(p)
			delete(pidfds, pid)
		}
	}
}

// killTree ends a process and its descendants, which the supervisor may not have known.
func killTree(pid, pidfd int) {
	// It must not fork while its children are counted.
	_ = unix.PidfdSendSignal(pidfd, unix.SIGSTOP, nil, 0)
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		data, _ := os.ReadFile(list)
		for _, field := range strings.Fields(string(data)) {
			if child, err := strconv.Atoi(field); err == nil {
				if p, err := unix.PidfdOpen(child, 0); err == nil {
					killTree(child, p)
				}
			}
		}
	}
	_ = unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
	_ = unix.Close(pidfd)
}
