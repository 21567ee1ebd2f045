package long

import "testing"

// TestOnly: a long test is left out unless it is asked for.
func TestOnly(t *testing.T) {
	for value, want := range map[string]bool{"": false, "1": !testing.Short()} {
		t.Setenv(Variable, value)
		ran := false
		t.Run("long", func(t *testing.T) {
			Only(t, "takes its time")
			ran = true
		})
		if ran != want || Wanted() != want {
			t.Errorf("%s=%q: it ran: %v, wanted: %v", Variable, value, ran, Wanted())
		}
	}
}
