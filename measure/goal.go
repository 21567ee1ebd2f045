package measure

import (
	"fmt"
	"io"
	"strings"
)

// A Goal is a ratio of two rows of one report: the median of the ratios of their rounds, which were taken one soon after the
// other.
type Goal struct {
	Text  string  `json:"text"`
	Row   Key     `json:"row"`
	Than  Key     `json:"than"`
	Ratio float64 `json:"ratio"` // of the times
	Most  float64 `json:"most"`  // that it should be
}

// Met reports whether the ratio is what it should be.
func (g Goal) Met() bool { return g.Ratio <= g.Most }

// Goals returns those whose rows were both measured.
func (r *Report) Goals() []Goal {
	var goals []Goal
	want := func(text string, most float64, row, than Key) {
		a, ok := r.Find(row)
		b, also := r.Find(than)
		if ratio := a.ratio(b, row.Operation == streamed); ok && also && ratio > 0 {
			goals = append(goals, Goal{text, row, than, ratio, most})
		}
	}
	for _, row := range r.Rows {
		if row.Side != Model {
			continue
		}
		k := row.Key
		on := func(side, way string) Key { return Key{k.Operation, side, way, k.Size} }
		switch {
		case k.Operation == "pass" && k.Way == byRing.name:
			want("a message through the ring, beside the bare protocol", 2, k, on(Bare, "floor"))
		case k.Operation == "ack" && k.Way == byRing.name:
			want("an acknowledgement through the ring, beside the live kernel", 0.2, k, on(Live, byRecv.name))
		case k.Operation == "message" && k.Way == byRecv.name:
			want("the queued path, beside the live kernel", 0.6, k, on(Live, byRecv.name))
		}
		if k.Way == byRing.name {
			want("the ring, beside the model's recvmsg", 1, k, on(Model, byRecv.name))
		}
		if k.Operation == "pass" && k.Way == byRing.name && k.Size >= 16384 {
			want("a frame at 70 % of memcpy's bandwidth", 1/0.7, k, on(Bare, "memcpy"))
		}
		switch {
		case k.Operation == streamed && k.Way == twoCores:
			want("sender and reader on two cores, beside one (time, not processor time)", 1/1.6, k, on(Model, oneCore))
		case strings.HasPrefix(k.Operation, crowded):
			want("a message among so many sockets, beside a few", 1.25, k, Key{"pass", Model, byRing.name, k.Size})
		case k.Operation == longRing:
			want("a message through a ring of so many frames, beside 64", 1.25, k, Key{"pass", Model, byRing.name, k.Size})
		}
	}
	return goals
}

// ratio is the median of the ratios of rounds, 0 without any: of processor time where it is known, or of time.
func (r Row) ratio(of Row, wall bool) float64 {
	a, b := r.CPURounds, of.CPURounds
	if wall || len(a) != len(r.Rounds) || len(b) != len(of.Rounds) {
		a, b = r.Rounds, of.Rounds
	}
	var ratios []float64
	for i := range min(len(a), len(b)) {
		if b[i] > 0 {
			ratios = append(ratios, a[i]/b[i])
		}
	}
	_, ratio, _ := middle(ratios)
	return ratio
}

func (r *Report) writeGoals(w io.Writer) error {
	goals := r.Goals()
	if len(goals) > 0 {
		fmt.Fprintln(w, "\nRatios of times, of the processor time where nothing else is said, each the median over the rounds, and what they should be at most:")
	}
	for _, g := range goals {
		verdict := "met"
		if !g.Met() {
			verdict = "NOT MET"
		}
		size := ""
		if g.Row.Size > 0 {
			size = fmt.Sprintf(", %d bytes", g.Row.Size)
		}
		if _, err := fmt.Fprintf(w, "  %-8s%6.2f (at most %.2f)  %s: %s%s\n", verdict, g.Ratio, g.Most, g.Row.Operation, g.Text, size); err != nil {
			return err
		}
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "\n%s\n", n)
	}
	return nil
}
