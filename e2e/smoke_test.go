//go:build e2e

package e2e_test

import (
	"testing"

	"frontdesk/call"
)

// TestServe sees the program start, decide, reload and end.
func TestServe(t *testing.T) {
	t.Parallel()
	s := start(t)
	want := decision{Target: "201", Outcome: call.OutcomeResponsible, Greeting: true, Rule: "support"}
	if d := s.explain("redirecting", callerKnown, did); d != want {
		t.Errorf("explain says %+v, want %+v", d, want)
	}
	s.reload(section("rules", `[{name: other, lookup: false, default: "801"}]`))
	want = decision{Target: "801", Outcome: call.OutcomeLookupOff, Rule: "other"}
	if d := s.explain("redirecting", callerKnown, did); d != want {
		t.Errorf("after a reload explain says %+v, want %+v", d, want)
	}
	s.idle()
}
