//go:build !linux || !amd64

package interpose

// IsStub reports false: programs can be run on Linux on x86-64 only.
func IsStub() bool { return false }

// Stub does nothing.
func Stub() {}
