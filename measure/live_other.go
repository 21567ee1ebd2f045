//go:build !linux || !amd64

package measure

func release() string { return "" }

// live can measure nothing where there is no netlink.
func (s *suite) live(Config) {
	s.note("Nothing of the live kernel is measured: this is not Linux on x86-64.")
}
