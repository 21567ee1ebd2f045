//go:build !linux

package guest

import (
	"errors"
	"time"
)

var errNotLinux = errors.New("guests are booted on Linux only")

// A Machine is a guest that runs.
type Machine struct{}

// FindQEMU fails.
func FindQEMU(string) (string, error) { return "", errNotLinux }

// HasKVM reports false.
func HasKVM() bool { return false }

// Start fails.
func Start(Config) (*Machine, error) { return nil, errNotLinux }

// Send fails.
func (*Machine) Send(any) error { return errNotLinux }

// Receive fails.
func (*Machine) Receive(<-chan struct{}, time.Duration, any) error { return errNotLinux }

// Close does nothing.
func (*Machine) Close() {}

// IsGuest reports false.
func IsGuest() bool { return false }

// Main does nothing.
func Main(func(*Line) error) {}
