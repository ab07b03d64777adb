package crm_test

import (
	"fmt"
	"testing"
	"time"

	"frontdesk/crm"
)

func TestReplay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newDesk(t)
		began := time.Now().Add(-3 * time.Hour)
		var calls []crm.Replay
		for i := range crm.MaxReplays {
			c := crm.Replay{Register: incoming(fmt.Sprintf("leg-%d", i)), Finish: talked("", 61)}
			c.Register.Started, c.Register.Show = began.Add(time.Duration(i)*time.Minute), false
			calls = append(calls, c)
		}
		calls[2].Register.Employee = 63
		calls[3].Finish.Employee = 63
		calls[4].Register.Number = ""
		calls[5].Finish.Reason = "$result[r0][CALL_ID] & co #1"
		before := w.portal.Total()
		out, err := w.ReplayCalls(t.Context(), calls)
		if err != nil {
			t.Fatal(err)
		}
		if n := w.portal.Total() - before; n != 1 {
			t.Errorf("%d requests", n)
		}
		for i, r := range out {
			good := i != 2 && i != 3 && i != 4
			if (r.FinishErr == nil) != good || (r.RegisterErr == nil) != (good || i == 3) {
				t.Errorf("%d: %+v", i, r)
			}
			if good && (r.Registered.CallID == "" || r.Finished.Activity == 0 || r.Finished.Seconds != 95) {
				t.Errorf("%d: %+v", i, r)
			}
		}
		if !crm.EmployeeNotFound(out[2].RegisterErr) || !crm.EmployeeNotFound(out[3].FinishErr) || !crm.Refused(out[4].RegisterErr) {
			t.Errorf("%v, %v, %v", out[2].RegisterErr, out[3].FinishErr, out[4].RegisterErr)
		}
		done := 0
		for _, c := range w.portal.Calls() {
			if c.Finished {
				done++
			}
			if c.ExternalID == "leg-0" && !c.Started.Equal(began.Truncate(time.Second)) {
				t.Errorf("began %v", c.Started)
			}
			if c.ExternalID == "leg-5" && c.Reason != "result[r0][CALL_ID] & co #1" {
				t.Errorf("reason %q", c.Reason)
			}
		}
		if done != crm.MaxReplays-3 {
			t.Errorf("%d calls are finished", done)
		}
		for _, bad := range [][]crm.Replay{nil, append(calls, calls[0])} {
			if _, err := w.ReplayCalls(t.Context(), bad); !crm.Refused(err) {
				t.Errorf("%d calls: %v", len(bad), err)
			}
		}
	})
}

func TestReplayByTheApplication(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, refresh := appPortal()
		people(p)
		p.RequireApp("telephony.externalCall.register", "telephony.externalCall.finish")
		w := newAppWorld(t, p, newMemory(), refresh)
		for i := range 2 { // learnt, and then known
			out, err := w.ReplayCalls(t.Context(), []crm.Replay{{Register: incoming(fmt.Sprint(i)), Finish: talked("", 61)}})
			if err != nil || out[0].RegisterErr != nil || out[0].FinishErr != nil {
				t.Fatalf("%+v, %v", out, err)
			}
		}
		if n := len(p.Calls()); n != 2 {
			t.Errorf("%d calls", n)
		}
	})
}
