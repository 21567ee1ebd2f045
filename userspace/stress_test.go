package userspace_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nlmmap/invariant"
	"nlmmap/kernel"
	"nlmmap/uapi"
	"nlmmap/userspace"
)

// stress runs a test on machines whose tasks run in parallel: on the heap, so that the race detector sees ring memory,
// and in memfds that are really mapped. Close proves that nothing leaked.
func stress(t *testing.T, fn func(t *testing.T, k *kernel.Kernel)) {
	for _, r := range releases {
		for _, memfd := range []bool{false, true} {
			if memfd && r != kernel.Linux4_4 {
				continue
			}
			t.Run(fmt.Sprintf("%v/memfd=%t", r, memfd), func(t *testing.T) {
				t.Parallel()
				// The programs tread on each other's frames on purpose: only what the kernel breaks counts.
				watch := invariant.Watch{Report: func(v invariant.Violation) {
					if v.Blame.Kernel() {
						t.Errorf("%v", v)
					}
				}}
				k := boot(t, kernel.Config{Mode: kernel.Free, Memfd: memfd, Version: kernel.Version{Release: r}, Trace: watch.Record, Quiet: true})
				fn(t, k)
				watch.Rest(k, true)
				finish(t, k)
			})
		}
	}
}

// inParallel runs n functions in goroutines and reports their errors.
func inParallel(t *testing.T, n int, fn func(i int) error) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if err := fn(i); err != nil {
				t.Errorf("goroutine %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

// Every request is answered exactly once, through both rings.
func TestStressRequests(t *testing.T) {
	stress(t, func(t *testing.T, k *kernel.Kernel) {
		ignored := k.Config().Version.Release == kernel.Linux4_1
		inParallel(t, 6, func(i int) error {
			task := k.NewProcess(fmt.Sprintf("p%d", i), k.InitNet())
			s, err := userspace.Open(task, uapi.NetlinkRoute, userspace.Config{RX: ring(16), TX: userspace.RingRequest(256, 16)})
			if err != nil {
				return err
			}
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			for answered := 0; answered < 600; {
				n := 1 + rng.IntN(12)
				for range n {
					msg := request(uint16(testOK+rng.IntN(2)), s.Seq())
					if i%2 == 0 || ignored {
						err = s.Send(msg, nil)
					} else {
						err = s.TX.Send(msg, nil)
					}
					if err != nil {
						return err
					}
				}
				if s.TX.Queued() > 0 {
					if _, err := s.TX.Kick(nil); err != nil {
						return err
					}
				}
				got, err := drain(s)
				if err != nil {
					return err
				}
				if got != n {
					return fmt.Errorf("%d answers to %d requests", got, n)
				}
				answered += n
			}
			return s.Close()
		})
	})
}

// drain reads all frames that are there.
func drain(s *userspace.Socket) (n int, err error) {
	for f := range s.RX.Frames() {
		if _, err := f.Bytes(); err != nil {
			return n, err
		}
		n++
	}
	return n, s.RX.Err()
}

// Messages between processes arrive in order, none twice, and what is missing was announced.
func TestStressUnicast(t *testing.T) {
	stress(t, func(t *testing.T, k *kernel.Kernel) {
		const senders, each = 4, 800
		recv := k.NewProcess("receiver", k.InitNet())
		s := open(t, recv, uapi.NetlinkUsersock, userspace.Config{RX: ring(32), Groups: 1})
		var sent atomic.Int64
		ctx, cancel := context.WithCancel(t.Context())
		var got, lost int64
		var rerr error
		var wg sync.WaitGroup
		wg.Go(func() { got, lost, rerr = receive(ctx, s, senders) })
		inParallel(t, senders, func(i int) error {
			task := k.NewProcess(fmt.Sprintf("sender%d", i), k.InitNet())
			p, err := userspace.Open(task, uapi.NetlinkUsersock, userspace.Config{})
			if err != nil {
				return err
			}
			for seq := range uint32(each) {
				msg := []byte{byte(i), byte(seq), byte(seq >> 8), 0}
				to := &uapi.SockaddrNL{Pid: s.Portid()}
				if i == 0 {
					to = &uapi.SockaddrNL{Groups: 1}
				}
				// Without kernel socket a message to a group is delivered and then refused.
				if err := p.Send(msg, to); err != nil && !(i == 0 && errors.Is(err, kernel.ECONNREFUSED)) {
					return err
				}
				sent.Add(1)
			}
			return p.Close()
		})
		time.Sleep(50 * time.Millisecond)
		cancel()
		wg.Wait()
		must(t, rerr)
		if n := s.RX.Stats().Stray; n > 0 {
			t.Logf("%d messages that no frame announced", n)
		}
		if got > sent.Load() || got < sent.Load() && lost == 0 || got == 0 {
			t.Errorf("%d of %d messages, %d overruns", got, sent.Load(), lost)
		}
		must(t, s.Close())
	})
}

func receive(ctx context.Context, s *userspace.Socket, senders int) (got, lost int64, err error) {
	last := make([]int, senders)
	for i := range last {
		last[i] = -1
	}
	for {
		for f := range s.RX.Frames() {
			b, err := f.Bytes()
			if err != nil {
				return got, lost, err
			}
			from, seq := int(b[0]), int(b[1])|int(b[2])<<8
			if seq <= last[from] {
				return got, lost, fmt.Errorf("message %d of sender %d after message %d", seq, from, last[from])
			}
			last[from] = seq
			got++
		}
		err := s.RX.Err()
		if err == nil {
			err = s.RX.Wait(5 * kernel.Millisecond)
		}
		switch {
		case errors.As(err, new(*userspace.Overrun)):
			lost++
		case errors.Is(err, userspace.ErrTimeout):
			if ctx.Err() != nil {
				return got, lost, nil
			}
		case err != nil:
			return got, lost, err
		}
	}
}

func TestStressDumps(t *testing.T) {
	stress(t, func(t *testing.T, k *kernel.Kernel) {
		inParallel(t, 4, func(i int) error {
			task := k.NewProcess(fmt.Sprintf("dumper%d", i), k.InitNet())
			for n := range 10 {
				d := userspace.Dumper{Config: userspace.DumpConfig{Type: testDump, Timeout: 20 * kernel.Second,
					Ring: userspace.RingRequest(userspace.DumpFrameSize, 1+n)}}
				if err := d.Run(t.Context(), task); err != nil {
					return err
				}
				if d.Messages != testDumpLen {
					return fmt.Errorf("%d messages", d.Messages)
				}
			}
			return nil
		})
	})
}

// Processes fork and exit, descriptors travel, threads poll what others close, dumps and batches stay unfinished.
func TestStressForksAndCloses(t *testing.T) {
	stress(t, func(t *testing.T, k *kernel.Kernel) {
		shared := open(t, k.NewProcess("shared", k.InitNet()), uapi.NetlinkUsersock, userspace.Config{RX: ring(8)})
		var whole atomic.Int64
		inParallel(t, 6, func(i int) error {
			rng := rand.New(rand.NewPCG(uint64(i), 2))
			for n := range 100 {
				err := life(k, rng, fmt.Sprintf("p%d.%d", i, n), shared.Portid())
				if err == nil {
					whole.Add(1)
				}
				// A descriptor that a thread closed, or whose number it closed after it was somebody else's.
				if err != nil && !errors.Is(err, kernel.EBADF) {
					return err
				}
			}
			return nil
		})
		if whole.Load() < 100 {
			t.Errorf("only %d of 600 lives were whole", whole.Load())
		}
	})
}

// life is one short process.
func life(k *kernel.Kernel, rng *rand.Rand, name string, peer uint32) error {
	task := k.NewProcess(name, k.InitNet())
	defer task.ExitGroup()
	s, err := userspace.Open(task, uapi.NetlinkRoute, userspace.Config{RX: ring(1 + rng.IntN(8)), TX: userspace.RingRequest(256, 1+rng.IntN(8))})
	if err != nil {
		return err
	}
	// The process or its child uses the memory of the rings. Two would tread on each other.
	own := true
	var others sync.WaitGroup
	defer others.Wait()
	if rng.IntN(2) == 0 {
		own = rng.IntN(2) == 0
		child, err := task.Fork(name + ".child")
		if err != nil {
			return err
		}
		o, seed := s.On(child), rng.Uint64()
		others.Go(func() {
			busy(o, rand.New(rand.NewPCG(seed, 3)), !own)
			child.ExitGroup()
		})
	}
	// The pair gets its numbers before a thread can close others: a socket that is sent over itself is never gone.
	over := -1
	if rng.IntN(3) == 0 {
		if over, _, err = task.Socketpair(); err != nil {
			return err
		}
	}
	if rng.IntN(2) == 0 {
		thread, err := task.Thread(name + ".thread")
		if err != nil {
			return err
		}
		o := s.On(thread)
		seed := rng.Uint64()
		others.Go(func() { busy(o, rand.New(rand.NewPCG(seed, 4)), false) })
	}
	if over >= 0 {
		if err := task.SendFD(over, s.FD()); err != nil {
			return err
		}
	}
	u, err := userspace.Open(task, uapi.NetlinkUsersock, userspace.Config{})
	if err != nil {
		return err
	}
	for range rng.IntN(5) {
		// The receiver never reads: its ring is soon full.
		if _, err := task.Sendto(u.FD(), []byte("hello"), uapi.MsgDontwait, uapi.SockaddrNL{Family: uapi.AFNetlink, Pid: peer}.Bytes()); err != nil && !errors.Is(err, kernel.EAGAIN) {
			return err
		}
	}
	busy(s, rng, own)
	if rng.IntN(2) == 0 {
		return s.Close()
	}
	return nil
}

// busy does this and that with a socket that others use and close meanwhile: errors are part of it.
func busy(s *userspace.Socket, rng *rand.Rand, own bool) {
	for range 20 {
		switch what := rng.IntN(8); {
		case !own && (what == 3 || what == 6):
			continue
		default:
			something(s, rng, what)
		}
	}
}

func something(s *userspace.Socket, rng *rand.Rand, what int) {
	switch what {
	case 0:
		_ = s.Send(userspace.DumpRequest(testDump, 0, 1), nil)
	case 1, 2:
		_ = s.Send(request(testOK, 1), nil)
	case 3:
		_ = s.TX.Send(request(testFail, 1), nil)
	case 4:
		_, _ = s.TX.Kick(nil)
	case 5:
		_ = s.RX.Wait(kernel.Time(rng.IntN(3)) * kernel.Millisecond)
	case 6:
		_, _ = drain(s)
		_ = s.RX.Discard()
	case 7:
		if rng.IntN(10) == 0 {
			_ = s.Task().Close(s.FD())
		}
	}
}
