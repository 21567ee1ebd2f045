package explore

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// Test explores setup as part of a Go test, exhaustively unless an option says otherwise, and fails the test with the
// minimised run. A search that does not come to its end within its budget is logged, not failed.
func Test(t testing.TB, setup func(w *World), options ...Options) {
	t.Helper()
	o := Options{}
	if len(options) > 0 {
		o = options[0]
	}
	res := Explore(context.Background(), Program{Name: t.Name(), Setup: setup}, o)
	switch {
	case res.Err != nil:
		t.Fatal(res.Err)
	case res.Failure != nil:
		var b strings.Builder
		if err := res.Failure.Print(&b); err != nil {
			t.Error(err)
		}
		t.Fatalf("%v\n%s", res, b.String())
	}
	t.Log(res)
}

// Check is Test for use inside a property: it returns the failure as an error. With pgregory.net/rapid draw the
// program, or a seed for the random scheduler, and not every step:
//
//	rapid.Check(t, func(t *rapid.T) {
//		seed := rapid.Uint64().Draw(t, "seed")
//		if err := explore.Check(setup, explore.Options{Scheduler: "random", Seed: seed, Runs: 1}); err != nil {
//			t.Fatal(err)
//		}
//	})
func Check(setup func(w *World), o Options) error {
	res := Explore(context.Background(), Program{Name: "check", Setup: setup}, o)
	if res.Err != nil {
		return res.Err
	}
	if res.Failure == nil {
		return nil
	}
	var b strings.Builder
	if err := res.Failure.Print(&b); err != nil {
		return err
	}
	return errors.New(b.String())
}
