package pbx_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"frontdesk/call"
	"frontdesk/pbx"
)

// newLateDesk is a desk to which the PBX's log is read up to a time only.
func newLateDesk(t *testing.T, pending pbx.Pending, upTo func() time.Time) (d *desk, leave func()) {
	d = &desk{records: map[string][]call.Record{}}
	d.Joiner = pbx.NewJoiner(pbx.JoinerConfig{
		Pending: pending, Staff: staffOf{},
		Ahead:   func(at time.Time) bool { return at.After(upTo()) },
		Settled: d.settled(pending),
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = d.Run(ctx) // it ends with ctx
	}()
	leave = func() { cancel(); <-done }
	t.Cleanup(leave)
	return d, leave
}

// TestLogUnreadForDays: a call that was settled without the PBX is still known
// when the log can be read days later, over a restart too, and is none of its
// own.
func TestLogUnreadForDays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kept := newCupboard()
		var read atomic.Pointer[time.Time]
		now := time.Now()
		read.Store(&now)
		upTo := func() time.Time { return *read.Load() }
		d, leave := newLateDesk(t, kept, upTo)
		at := time.Now().Add(time.Minute)
		end := at.Add(time.Minute)
		after(2 * time.Minute)
		d.Own(bridged("a", orlova, []stop{{"201", at}}, at.Add(5*time.Second), end))
		after(time.Minute)
		if r, n := d.last("a"); n != 1 || r.Result != call.ResultAnswered {
			t.Fatalf("settled %d times: %+v", n, r)
		}
		after(30 * time.Hour)
		leave()
		d, _ = newLateDesk(t, kept, upTo)
		after(30 * time.Hour)
		d.PBX(account("x", orlova, "201", at, end, talked("201", at.Add(5*time.Second), end)))
		d.PBX(account("y", orlova, "202", at.Add(time.Hour), end.Add(time.Hour), talked("202", at.Add(time.Hour), end.Add(time.Hour))))
		after(time.Minute)
		alone := 0
		for _, id := range d.ids() {
			if r, _ := d.last(id); id != "a" {
				alone++
				if r.Target != "202" {
					t.Errorf("%s is told of as a call of its own: %+v", id, r)
				}
			}
		}
		if alone != 1 {
			t.Errorf("%d calls of their own, want 1", alone)
		}
		whole := time.Now().Add(24 * time.Hour)
		read.Store(&whole)
		after(12 * time.Hour)
		if n := kept.count(); n != 0 {
			t.Errorf("%d calls are remembered for ever", n)
		}
	})
}

// TestAlone settles at once what nobody is expected to tell of, and finds it
// where somebody tells all the same.
func TestAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		at := time.Now()
		d.Alone(call.Record{
			ID: "a", Direction: call.In, Parties: call.Parties{Caller: orlova}, Times: call.Times{Started: at, Ended: at},
			Routed: call.Routed{Target: "201"}, Ended: call.Ended{Transfer: call.TransferRedirect},
		})
		synctest.Wait()
		if r, n := d.last("a"); n != 1 || r.Result != "" {
			t.Fatalf("settled %d times: %+v", n, r)
		}
		after(2 * time.Minute)
		d.PBX(account("x", orlova, "201", at, at.Add(time.Minute), talked("201", at.Add(5*time.Second), at.Add(time.Minute))))
		after(time.Minute)
		if r, n := d.last("a"); n != 2 || r.Result != call.ResultAnswered || len(d.ids()) != 1 {
			t.Errorf("settled %d times: %+v; calls %v", n, r, d.ids())
		}
	})
}
