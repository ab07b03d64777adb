package pbx_test

import (
	"testing"
	"testing/synctest"
	"time"

	"frontdesk/call"
	"frontdesk/pbx"
)

// byLog is an account as the call log gives it.
func byLog(c pbx.Call) pbx.Call {
	c.ID, c.Account = "log-"+c.ID, pbx.AccountLog
	return c
}

// TestLogBeforeLine has two calls of one number begin and end within two
// seconds of one another, and the call log tell of the second before the line
// does: it is not taken for the first's, which went elsewhere.
func TestLogBeforeLine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		at := time.Now()
		end := at.Add(8 * time.Minute)
		d.under(orlova, 1) // another call of the number goes on
		d.Own(redirected("a", call.TransferRedirect, orlova, "201", at.Add(2*time.Second)))
		a := account("x", orlova, "201", at.Add(2*time.Second), end.Add(time.Second), talked("201", at.Add(5*time.Second), end))
		b := account("y", orlova, "203", at, end, talked("203", at.Add(5*time.Second), end))
		after(8*time.Minute + time.Second)
		d.Own(bridged("b", orlova, []stop{{"203", at}}, at.Add(5*time.Second), end))
		d.PBX(a)
		d.PBX(byLog(b))
		d.PBX(b)
		d.under(orlova, -1)
		after(time.Minute)
		for id, want := range map[string]string{"a": "answered 201", "b": "answered 203"} {
			if r, _ := d.last(id); told(r) != want {
				t.Errorf("%s: %s, want %s", id, told(r), want)
			}
		}
		if ids := d.ids(); len(ids) != 2 {
			t.Errorf("records %v", ids)
		}
	})
}

// TestSourcesDisagree has the line and the call log name different first
// destinations of one call: it is one call all the same, and the log's word on
// who talked counts.
func TestSourcesDisagree(t *testing.T) {
	t.Parallel()
	for _, passed := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk(t, nil)
			at := time.Now()
			end := at.Add(time.Minute)
			after(time.Minute)
			if passed {
				d.Own(redirected("a", call.TransferRedirect, orlova, "800", at))
			}
			d.PBX(account("x", orlova, "800", at, end, talked("205", at, end)))
			finer := byLog(account("y", orlova, "205", at, end, talked("205", at.Add(20*time.Second), end)))
			d.PBX(finer)
			after(5 * time.Minute)
			ids := d.ids()
			if len(ids) != 1 {
				t.Fatalf("records %v", ids)
			}
			if r, _ := d.last(ids[0]); told(r) != "answered 205" || r.Talks[0].Seconds != 40 {
				t.Errorf("%s, %+v", told(r), r.Talks)
			}
		})
	}
}
