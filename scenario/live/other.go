//go:build !linux || !amd64

package live

import (
	"errors"
	"math/rand/v2"

	"nlmmap/scenario"
)

// New fails: the calls of this package are those of Linux on x86-64.
func New(Config) (scenario.Target, error) {
	return nil, errors.New("live: scenarios run on the live kernel only with Linux on x86-64")
}

// Race fails, as New does.
func Race(Config, *scenario.File, *rand.Rand) (outcome string, err error) {
	_, err = New(Config{})
	return "", err
}

// Supported reports that nothing can be recorded here.
func Supported() (rings bool, why string) {
	return false, "This is not Linux on x86-64, so no scenario can be run on the live kernel."
}

// Release is the name of the kernel: none that has netlink.
func Release() string { return "unknown" }

// Missing finds nothing missing where nothing runs.
func Missing() []string { return nil }
