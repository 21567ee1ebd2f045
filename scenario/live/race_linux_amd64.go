package live

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"nlmmap/scenario"
)

// Race runs a litmus file once: its threads at once, each on a processor of its own as far as there are enough, with random
// delays. It returns the outcome as the model prints it. A thread that waits though nobody is left who could wake it has
// blocked.
func Race(cfg Config, f *scenario.File, random *rand.Rand) (outcome string, err error) {
	target, err := New(cfg)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	runner := scenario.NewRunner(target)
	for i := range f.Steps {
		runner.Step(&f.Steps[i])
	}
	parts, err := runner.Begin(f.Block)
	if err != nil {
		return "", err
	}
	if err := race(parts, random); err != nil {
		return "", err
	}
	runner.End(parts)
	var final []string
	for i := range f.Final {
		final = append(final, runner.Step(&f.Final[i]))
	}
	return scenario.Outcome(parts, final), nil
}

// longestDelay is how many turns of a loop a system call begins late at most: some ten microseconds.
const longestDelay = 1 << 14

func race(parts []*scenario.Part, random *rand.Rand) error {
	begin := make(chan struct{})
	var jobs []*job
	var started []*scenario.Part
	for i, p := range parts {
		if p.Task == nil {
			p.Run(nil)
			continue
		}
		t, ok := p.Task.(*task)
		if !ok {
			return fmt.Errorf("live: a thread of %T: %w", p.Task, unix.EINVAL)
		}
		if err := pin(t, i); err != nil {
			return err
		}
		own := rand.New(rand.NewPCG(random.Uint64(), uint64(i)))
		delay := func() uint64 { return 1 + own.Uint64N(1+longestDelay>>own.UintN(12)) }
		j, err := startJob(t, &job{free: true, delay: delay}, func() {
			<-begin
			p.Run(t.ended)
		})
		if err != nil {
			return err
		}
		jobs, started = append(jobs, j), append(started, p)
	}
	close(begin)
	wait(jobs, started)
	return nil
}

// wait waits for the end of all jobs. Those that are left when all of them sleep have blocked: they are interrupted.
func wait(jobs []*job, parts []*scenario.Part) {
	const looks = 10
	for asleep, stopped := 0, false; ; {
		left, sleeping := 0, 0
		for _, j := range jobs {
			select {
			case <-j.ended:
			default:
				left++
				if j.asleep() {
					sleeping++
				}
			}
		}
		if left == 0 {
			return
		}
		if left > sleeping {
			asleep = 0
		} else if asleep++; asleep >= looks {
			for i, j := range jobs {
				if !stopped {
					parts[i].Stop()
				}
				j.interrupt()
			}
			stopped, asleep = true, 0
		}
		time.Sleep(lookAtSleeper)
	}
}

// ended reports whether the task has come to its end, or is about to.
func (t *task) ended() (ended bool) {
	_ = t.tr.do(func() error {
		ended = t.dead || t.p.exits
		return nil
	})
	return ended
}

// pin lets a task run on one processor only.
func pin(t *task, i int) error {
	var set unix.CPUSet
	set.Set(i % runtime.NumCPU())
	if err := unix.SchedSetaffinity(t.tid, &set); err != nil {
		return fmt.Errorf("live: cannot choose a processor: %w", err)
	}
	return nil
}
