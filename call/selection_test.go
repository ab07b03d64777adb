package call_test

import (
	"testing"
	"time"

	"frontdesk/call"
)

func TestPosition(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 1234567, time.FixedZone("", 3*3600))
	r := call.Record{ID: "b", Times: call.Times{Started: at}}
	p := call.PositionOf(&r)
	back, err := call.ParseCursor(p.Cursor())
	if err != nil || back.Compare(p) != 0 {
		t.Errorf("%v read back as %v, %v", p, back, err)
	}
	later, sibling := r, r
	later.Started, sibling.ID = at.Add(time.Millisecond), "c"
	if p.Compare(call.PositionOf(&later)) >= 0 || p.Compare(call.PositionOf(&sibling)) >= 0 {
		t.Error("an older call does not come first")
	}
	for _, s := range []string{"?", "", "bm8gdGltZQ"} {
		if _, err := call.ParseCursor(s); err == nil {
			t.Errorf("%q is taken for a cursor", s)
		}
	}
}

func TestSelection(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	r := call.Record{ID: "x", Parties: call.Parties{Caller: "+79161234567"}, Times: call.Times{Started: at}, Routed: call.Routed{Outcome: call.OutcomeManager}}
	for _, c := range []struct {
		s    call.Selection
		want bool
	}{
		{call.Selection{}, true},
		{call.Selection{Since: at}, true},
		{call.Selection{Since: at.Add(1)}, false},
		{call.Selection{Until: at}, false},
		{call.Selection{Until: at.Add(1)}, true},
		{call.Selection{Caller: "79161234567"}, true},
		{call.Selection{Caller: "+7916"}, false},
		{call.Selection{Outcome: call.OutcomeManager}, true},
		{call.Selection{Outcome: call.OutcomeSticky}, false},
	} {
		if got := c.s.Matches(&r); got != c.want {
			t.Errorf("%+v: %v", c.s, got)
		}
	}
}
