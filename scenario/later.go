package scenario

import (
	"fmt"
	"slices"
	"strings"
)

// laterWord begins a step whose directive runs in the background.
const laterWord = "later"

// laterHelp is the part of the reference about such steps.
const laterHelp = `later NAME: DIRECTIVE
    begins send, kick, recv, poll or epoll_wait of a task other than main and prints ok. While it waits the others go on;
    after each step it goes on as far as it can. The task can do nothing else until join NAME, which prints what it gave
    e.g. later w: poll a events=in timeout=-1 in=t
`

// bindLater reads NAME: and the directive.
func (s *Step) bindLater(words []string) error {
	const usage = "\n\tusage: later NAME: DIRECTIVE in=TASK"
	if len(words) < 2 || !strings.HasSuffix(words[0], ":") || len(words[0]) == 1 {
		return fmt.Errorf("expected a name with a colon, and a directive%s", usage)
	}
	name := strings.TrimSuffix(words[0], ":")
	inner := Step{Directive: strings.Join(words[1:], " ")}
	if err := inner.bind(); err != nil {
		return err
	}
	switch {
	case inner.later != "" || !inner.form.waits:
		return fmt.Errorf("%s does not wait for anybody: %s takes send, kick, recv, poll and epoll_wait", words[1], laterWord)
	case inner.args.text("in", mainTask) == mainTask:
		return fmt.Errorf("in=TASK is missing: main, which shows the frames, cannot wait in the background%s", usage)
	}
	s.form, s.args, s.later = inner.form, inner.args, name
	return nil
}

// A backgroundStep is one that runs beside those that follow it.
type backgroundStep struct {
	name   string
	task   *task
	job    Job
	output string // at its end
}

// begin begins a step in the background.
func (r *Runner) begin(s *Step, t *task) string {
	if r.background(s.later) >= 0 {
		return s.later + " is there already"
	}
	b := &backgroundStep{name: s.later, task: t}
	job, err := r.target.Later(t.Task, func() { b.output = r.resultOf(s, t) })
	if err != nil {
		return errorText(err)
	}
	b.job = job
	r.jobs = append(r.jobs, b)
	return "ok"
}

// background returns the index of a step in the background, -1 if there is none of that name.
func (r *Runner) background(name string) int {
	return slices.IndexFunc(r.jobs, func(b *backgroundStep) bool { return b.name == name })
}

// busy returns the name of the step in the background that a step would disturb: one of its task, for exit one of its
// process.
func (r *Runner) busy(s *Step, t *task) string {
	for _, b := range r.jobs {
		if b.task == t || s.form.name() == "exit" && b.task.process == t.process {
			return b.name
		}
	}
	return ""
}

func join(c *call) (string, error) {
	i := c.background(c.args.word(0))
	if i < 0 {
		return "", noSuch("job", c.args.word(0))
	}
	b := c.jobs[i]
	b.job.Join()
	c.Runner.jobs = slices.Delete(c.jobs, i, i+1)
	return b.output, nil
}
