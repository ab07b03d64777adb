package pbx_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"frontdesk/call"
	"frontdesk/pbx"
)

// newFinerDesk is a desk that waits for accounts finer than the line.
func newFinerDesk(t *testing.T) *desk {
	d := &desk{records: map[string][]call.Record{}}
	d.Joiner = pbx.NewJoiner(pbx.JoinerConfig{Finer: true, Staff: staffOf{}, Settled: func(r call.Record, _ pbx.Note) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.records[r.ID] = append(d.records[r.ID], r)
	}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = d.Run(ctx) // it ends with ctx
	}()
	t.Cleanup(func() { cancel(); <-done })
	return d
}

// TestTransferredWaits: where a finer account is to come, a transferred call
// waits for it. Our recording of the call is that of each talk.
func TestTransferredWaits(t *testing.T) {
	t.Parallel()
	for _, comes := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			d := newFinerDesk(t)
			at := time.Now()
			end := at.Add(60 * time.Second)
			after(time.Minute)
			own := bridged("a", orlova, []stop{{"201", at}}, at.Add(5*time.Second), end)
			own.Talks[0].Recording = "file:a"
			d.Own(own)
			d.PBX(account("x", orlova, "201", at, end, talked("201", at.Add(5*time.Second), at.Add(5*time.Second)), talked("205", at.Add(5*time.Second), end)))
			after(2 * time.Minute)
			if _, n := d.last("a"); n != 0 {
				t.Fatal("settled by the line alone, though the call log tells more")
			}
			seconds := 0
			if comes {
				finer := account("y", orlova, "201", at, end, talked("201", at.Add(5*time.Second), at.Add(25*time.Second)), talked("205", at.Add(26*time.Second), end))
				finer.Account = pbx.AccountLog
				d.PBX(finer)
				seconds = 20
			} else {
				after(time.Minute + time.Second)
			}
			synctest.Wait()
			r, n := d.last("a")
			if n != 1 || told(r) != "answered 201 205" || r.Talks[0].Seconds != seconds {
				t.Errorf("told %d times, %s, %+v", n, told(r), r.Talks)
			}
			for _, x := range r.Talks {
				if x.Recording != "file:a" {
					t.Errorf("the talk with %s has the recording %q", x.Extension, x.Recording)
				}
			}
		})
	}
}

// TestQueueWaits: the line counts the waiting in a queue as talk, so that such a
// call waits for the call log too, whether it passed frontdesk or not. What we
// recorded ourselves is what is delivered, also where 3CX recorded it as well.
func TestQueueWaits(t *testing.T) {
	t.Parallel()
	for _, passed := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			d := newFinerDesk(t)
			at := time.Now()
			end := at.Add(60 * time.Second)
			after(time.Minute)
			if passed {
				own := bridged("a", orlova, []stop{{"800", at}}, at, end)
				own.Talks[0].Recording = "file:a"
				d.Own(own)
			}
			d.PBX(account("x", orlova, "800", at, end, talked("205", at, end)))
			after(90 * time.Second)
			if ids := d.ids(); len(ids) != 0 {
				t.Fatal("settled by the line alone, though the call log tells more")
			}
			finer := account("y", orlova, "800", at, end, talked("205", at.Add(45*time.Second), end))
			finer.Account, finer.Talks[0].Recording = pbx.AccountLog, "pbx:7"
			d.PBX(finer)
			after(2 * time.Minute)
			ids := d.ids()
			if len(ids) != 1 {
				t.Fatalf("records %v", ids)
			}
			r, n := d.last(ids[0])
			if n != 1 || told(r) != "answered 205" || r.Talks[0].Seconds != 15 {
				t.Errorf("told %d times, %s, %+v", n, told(r), r.Talks)
			}
			if want := map[bool]string{true: "file:a", false: "pbx:7"}[passed]; r.Talks[0].Recording != want {
				t.Errorf("the recording is %q, want %q", r.Talks[0].Recording, want)
			}
		})
	}
}
