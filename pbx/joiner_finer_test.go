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
	d.Joiner = pbx.NewJoiner(pbx.JoinerConfig{Finer: true, Staff: staffOf{}, Settled: func(r call.Record) {
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
