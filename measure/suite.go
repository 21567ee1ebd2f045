package measure

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"nlmmap/kernel"
)

// Config says what to measure.
type Config struct {
	Version kernel.Version
	Effort  Effort
	// Sizes are those of messages, in bytes; nil for the usual ones.
	Sizes []int
	// Routes is how many a dump has; 0 for 100,000.
	Routes int
	// Sockets is how many others there are where cost should not grow with them; 0 for 10,000.
	Sockets int
	// Live measures the kernel underneath too.
	Live bool
	// Only, if it is not nil, says by its name which cases are measured.
	Only func(name string) bool
	// Tell, if it is not nil, hears how many rounds are done of how many.
	Tell func(done, all int)
}

// sizes are those that are measured.
var sizes = []int{64, 512, 2048, 16384}

// ErrNothing says that Config.Only leaves no case.
var ErrNothing = errors.New("no operation has such a name")

// A suite is cases, and what is to be closed after them.
type suite struct {
	only   func(name string) bool
	cases  []Case
	closes []func() error
	notes  []string
	// txRings tells that the modelled kernel looks at TX rings.
	txRings bool
}

// add adds a case, if it is wanted, after it was prepared.
func (s *suite) add(k Key, per int, prepare func() (run func(n int) error, err error)) error {
	if s.only != nil && !s.only(k.Name()) {
		return nil
	}
	run, err := prepare()
	if err != nil {
		return fmt.Errorf("%s: %w", k.Name(), err)
	}
	s.cases = append(s.cases, Case{Key: k, Run: run, Per: per})
	return nil
}

func (s *suite) note(format string, args ...any) {
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

func (s *suite) close() error {
	var errs []error
	for i := len(s.closes) - 1; i >= 0; i-- {
		errs = append(errs, s.closes[i]())
	}
	return errors.Join(errs...)
}

// model boots a machine that lives as long as the suite.
func (s *suite) model(v kernel.Version) (*model, error) {
	m, err := newModel(v)
	if err == nil {
		s.closes = append(s.closes, m.close)
	}
	return m, err
}

// Suite measures everything in one run. What the live kernel cannot do is a note of the report; everything else that fails
// is an error.
func Suite(ctx context.Context, cfg Config) (r *Report, err error) {
	if cfg.Sizes == nil {
		cfg.Sizes = sizes
	}
	if cfg.Routes == 0 {
		cfg.Routes = 100_000
	}
	if cfg.Sockets == 0 {
		cfg.Sockets = 10_000
	}
	s := &suite{only: cfg.Only}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.build(cfg); err != nil {
		return nil, err
	}
	if len(s.cases) == 0 {
		return nil, ErrNothing
	}
	rows, err := Run(ctx, cfg.Effort, s.cases, cfg.Tell)
	if err != nil {
		return nil, err
	}
	return &Report{Machine: thisMachine(), Kernel: cfg.Version.String(), Rows: rows, Notes: s.notes}, nil
}

func (s *suite) build(cfg Config) error {
	m, err := s.model(cfg.Version)
	if err != nil {
		return err
	}
	if s.txRings, err = m.sendsByRing(); err != nil {
		return err
	}
	if !s.txRings {
		s.note("The modelled kernel does not look at TX rings.")
	}
	for _, size := range cfg.Sizes {
		errs := errors.Join(s.bareCases(size), s.modelCases(m, size), s.modelVerdicts(cfg.Version, size))
		if errs != nil {
			return errs
		}
	}
	if err := s.modelDumps(cfg.Version, cfg.Routes); err != nil {
		return err
	}
	if err := s.scaleCases(cfg.Version, cfg.Sockets); err != nil {
		return err
	}
	if cfg.Live {
		s.live(cfg)
	}
	return nil
}

// thisMachine says what the times were taken on.
func thisMachine() Machine {
	return Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.GOMAXPROCS(0), Kernel: release(), Go: runtime.Version()}
}
