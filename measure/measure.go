package measure

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"
)

// A Case is one operation on one way.
type Case struct {
	Key
	// Run does the operation n times.
	Run func(n int) error
	// Per is how many of the Key's operations one of Run's is; 0 means 1.
	Per int
}

// A Key tells cases apart.
type Key struct {
	Operation string `json:"operation"`
	Side      string `json:"side"`           // Model, Live or Bare
	Way       string `json:"way,omitempty"`  // ring, recvmsg, ...
	Size      int    `json:"size,omitempty"` // of a message in bytes, 0 where it says nothing
}

// The sides.
const (
	Model = "model" // the simulated kernel
	Live  = "live"  // the kernel underneath
	Bare  = "bare"  // no kernel
)

// Name is the key as benchmarks of Go are named, which is what benchstat takes apart.
func (k Key) Name() string {
	name := "Benchmark" + title(k.Operation)
	if k.Side != "" {
		name += "/side=" + k.Side
	}
	if k.Way != "" {
		name += "/way=" + k.Way
	}
	if k.Size != 0 {
		name += fmt.Sprintf("/size=%d", k.Size)
	}
	return name
}

// title makes a word of what may have several: "verdict batch" is VerdictBatch.
func title(s string) string {
	var b []byte
	up := true
	for _, c := range []byte(s) {
		switch {
		case c == ' ':
			up = true
			continue
		case up && 'a' <= c && c <= 'z':
			c -= 'a' - 'A'
		}
		b, up = append(b, c), false
	}
	return string(b)
}

// Effort is how long to measure: so many counted rounds, each so long for each case. When Limit is over, counted from the
// first case's warming up on, no second round or later one is begun any more; 0 is no limit.
type Effort struct {
	Rounds int
	Round  time.Duration
	Limit  time.Duration
}

// Thorough and Quick are what the command offers.
var (
	Thorough = Effort{Rounds: 21, Round: 20 * time.Millisecond}
	Quick    = Effort{Rounds: 7, Round: 4 * time.Millisecond, Limit: 25 * time.Second}
)

// A Row is what was measured of a case.
type Row struct {
	Key
	// Ns is the median of the rounds, in nanoseconds for one operation; half of the rounds lie between Low and High.
	Ns   float64 `json:"ns"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
	// CPU is the median of the processor time of the rounds, of all threads of the program and in kernel and program together:
	// what others do on the machine disturbs it less. 0 where it is not known.
	CPU float64 `json:"cpu,omitempty"`
	// Allocs and Bytes are what Go's heap was asked for, for one operation.
	Allocs float64 `json:"allocs"`
	Bytes  float64 `json:"bytes"`
	// Rounds has the time of each counted round, CPURounds the processor time.
	Rounds    []float64 `json:"rounds"`
	CPURounds []float64 `json:"cpuRounds,omitempty"`
}

// Run measures cases in turns. tell, if it is not nil, hears how many rounds are done of how many. The error names the
// case that failed; after ctx is done it is that of ctx.
func Run(ctx context.Context, effort Effort, cases []Case, tell func(done, all int)) ([]Row, error) {
	end := time.Now().Add(effort.Limit)
	times := make([]int, len(cases))
	rows := make([]Row, len(cases))
	for i, c := range cases {
		rows[i].Key = c.Key
		var err error
		if times[i], err = calibrate(ctx, effort.Round, c); err == nil {
			err = rows[i].heap(c, times[i])
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name(), err)
		}
	}
	for round := range effort.Rounds {
		if tell != nil {
			tell(round, effort.Rounds)
		}
		if effort.Limit > 0 && round > 0 && time.Now().After(end) {
			break
		}
		for i, c := range cases {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			cpu := cpuTime()
			took, err := c.time(times[i])
			cpu = cpuTime() - cpu
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.Name(), err)
			}
			ops := float64(times[i] * c.per())
			rows[i].Rounds = append(rows[i].Rounds, float64(took)/ops)
			if cpu > 0 {
				rows[i].CPURounds = append(rows[i].CPURounds, float64(cpu)/ops)
			}
		}
	}
	for i := range rows {
		rows[i].sum()
	}
	return rows, nil
}

func (c Case) per() int { return max(c.Per, 1) }

func (c Case) time(n int) (time.Duration, error) {
	start := time.Now()
	err := c.Run(n)
	return time.Since(start), err
}

// calibrate finds how often a case is done in a round, and so warms it up.
func calibrate(ctx context.Context, round time.Duration, c Case) (int, error) {
	const most = 1 << 24
	for n := 1; ; {
		took, err := c.time(n)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return 0, err
		}
		if took >= round/2 || n >= most {
			return max(1, int(float64(n)*float64(round)/float64(max(took, 1)))), nil
		}
		n = min(most, max(2*n, int(float64(n)*0.7*float64(round)/float64(max(took, 1)))))
	}
}

// heap counts what one operation asks Go's heap for.
func (r *Row) heap(c Case, n int) error {
	n = min(n, 1000)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := c.Run(n)
	runtime.ReadMemStats(&after)
	ops := float64(n * c.per())
	r.Allocs, r.Bytes = float64(after.Mallocs-before.Mallocs)/ops, float64(after.TotalAlloc-before.TotalAlloc)/ops
	return err
}

// sum fills in the median and the middle half of the rounds.
func (r *Row) sum() {
	r.Low, r.Ns, r.High = middle(r.Rounds)
	_, r.CPU, _ = middle(r.CPURounds)
}

// middle is the median of numbers, with the bounds of their middle half.
func middle(list []float64) (low, median, high float64) {
	sorted := slices.Sorted(slices.Values(list))
	n := len(sorted)
	if n == 0 {
		return 0, 0, 0
	}
	return sorted[n/4], sorted[n/2], sorted[n-1-n/4]
}
