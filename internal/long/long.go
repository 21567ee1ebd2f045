// Package long keeps tests that take minutes out of an everyday `go test ./...`. They run where the environment variable
// NLMMAP_LONG is set, as in the last step of .ci/run, and never with -short. It is no flag: a flag would have to be known
// to the tests of every package.
package long

import (
	"os"
	"testing"
)

// Variable is the environment variable that asks for long tests.
const Variable = "NLMMAP_LONG"

// Wanted reports whether long tests are asked for.
func Wanted() bool { return os.Getenv(Variable) != "" && !testing.Short() }

// Only skips a test unless long tests are asked for. The reason is what takes so long.
func Only(t testing.TB, reason string) {
	t.Helper()
	if !Wanted() {
		t.Skipf("%s: only with %s=1", reason, Variable)
	}
}
