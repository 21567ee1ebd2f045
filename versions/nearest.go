package versions

import (
	"fmt"
	"regexp"
	"strconv"

	"nlmmap/kernel"
)

// namePattern is how the names of kernels begin: 4.4, 4.4.198, 4.4.0-210-generic, 3.10.0-1160.el7.
var namePattern = regexp.MustCompile(`^(\d+)\.(\d+)([.\-+_~].*)?$`)

// IsRelease reports whether a name is like those that uname -r prints.
func IsRelease(name string) bool { return namePattern.MatchString(name) }

// Nearest returns the modelled release that is nearest to a kernel with such a name as uname -r prints it. Of two that are
// equally near it is the newer one: stable kernels take fixes from those that come later. The error tells of names that
// are none, and of kernels that had no mmap'ed netlink.
func Nearest(name string) (kernel.Release, error) {
	n, ok := series(name)
	if !ok {
		return 0, fmt.Errorf("unknown kernel version %q: expected one like 4.4.1, 4.4.198 or 3.10.0-1160.el7", name)
	}
	var nearest kernel.Release
	least := -1
	for _, r := range kernel.Releases() {
		of, _ := series(r.String())
		if far := max(of-n, n-of); least < 0 || far <= least {
			nearest, least = r, far
		}
	}
	if first, _ := series("3.10"); n < first {
		return nearest, fmt.Errorf("unknown kernel version %q: mmap'ed netlink came with Linux 3.10; there are %s", name, releases())
	}
	if last, _ := series("4.5"); n > last {
		return nearest, fmt.Errorf("unknown kernel version %q: mmap'ed netlink went with Linux 4.6; there are %s", name, releases())
	}
	return nearest, nil
}

// series numbers the series of releases, 3.10 and 3.11 and so on, in the order in which they came: 4.0 followed 3.19.
func series(name string) (n int, ok bool) {
	m := namePattern.FindStringSubmatch(name)
	if m == nil {
		return 0, false
	}
	major, errMajor := strconv.Atoi(m[1])
	minor, errMinor := strconv.Atoi(m[2])
	if errMajor != nil || errMinor != nil || major > 1000 || minor > 1000 {
		return 0, false
	}
	switch {
	case major < 3: // 2.6 and older
		return -1, true
	case major == 3:
		return minor, true
	case major == 4:
		return 20 + minor, true
	}
	return 1000 * major, true
}
