package scenario

import "slices"

// Shrink returns the fewest steps of a scenario that it finds for which still holds: of what it returns no step, and no
// message line, can be left out. A shorter scenario is only tried if all names in it are made by an earlier step. It asks
// as few times as it can, since an answer may take a real kernel: it leaves out many steps at once first, the last ones
// before the first ones. It is not asked about the file itself.
func Shrink(f *File, still func(*File) bool) *File {
	s := shrinking{f, still}
	for size := len(f.Steps) / 2; size > 1; size /= 2 {
		s.pass(size)
	}
	for s.pass(1) || s.lines() {
	}
	return s.file
}

type shrinking struct {
	file  *File // the smallest so far
	still func(*File) bool
}

// pass tries to leave out size steps at each place, and reports whether it could.
func (s *shrinking) pass(size int) (shorter bool) {
	for end := len(s.file.Steps); end > 0; end -= size {
		begin := max(end-size, 0)
		if s.try(slices.Delete(slices.Clone(s.file.Steps), begin, min(end, len(s.file.Steps)))) {
			shorter = true
		}
	}
	return shorter
}

// lines tries to leave out each message line.
func (s *shrinking) lines() (shorter bool) {
	for i := range s.file.Steps {
		for j := len(s.file.Steps[i].Input) - 1; j >= 0; j-- {
			steps := slices.Clone(s.file.Steps)
			steps[i].Input, steps[i].msgs = nil, nil
			for n, line := range s.file.Steps[i].Input {
				if n != j {
					_ = steps[i].addInput(line) // it was checked
				}
			}
			if s.try(steps) {
				shorter = true
			}
		}
	}
	return shorter
}

// try goes on with other steps if still holds for them.
func (s *shrinking) try(steps []Step) bool {
	if len(steps) == 0 {
		return false
	}
	f := *s.file
	f.Steps = steps
	steps[0].Before = s.file.Steps[0].Before // it may say in which namespace the scenario runs
	if f.CheckNames() != nil || !s.still(&f) {
		return false
	}
	s.file = &f
	return true
}
