package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/store"
	"frontdesk/store/storetest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var recordsBegin = time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.FixedZone("", 3*3600))

// numbered is the i-th call, one a second.
func numbered(i int) call.Record {
	at := recordsBegin.Add(time.Duration(i) * time.Second)
	r := call.Record{
		ID: fmt.Sprintf("call%04d", i), Direction: call.In,
		Parties: call.Parties{Trunk: "carrier", Caller: call.Number(fmt.Sprintf("+7916000000%d", i%10)), DID: "+74951234567"},
		Times:   call.Times{Started: at, Ended: at.Add(time.Minute)},
		Routed:  call.Routed{Rule: "all", Target: "201", Outcome: call.OutcomeUnknown},
		Ended:   call.Ended{Transfer: call.TransferBridge, Result: call.ResultMissed, MissedIn: "extension"},
		Facts:   call.NewDocument(map[string]any{"caller_name": "\x00 <script> '; DROP \u2028"}),
	}
	if i%2 == 0 {
		r.Outcome, r.Result, r.MissedIn = call.OutcomeManager, call.ResultAnswered, ""
		r.Talks = []call.Talk{{Extension: "201", Employee: 61, From: at, Until: at.Add(time.Minute), Seconds: 60}}
	}
	return r
}

func save(t testing.TB, s *store.Store, r call.Record, state store.RecordState) bool {
	t.Helper()
	kept, err := s.SaveRecord(t.Context(), r, state)
	must(t, err)
	return kept
}

func TestRecord(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn, store.Options{}), t.Context()
		if _, _, err := s.Record(ctx, "call0001"); !errors.Is(err, store.ErrNotFound) {
			t.Fatalf("nothing kept: %v, want ErrNotFound", err)
		}
		want := numbered(1)
		want.Ledger = []call.Entry{{Step: "of another table"}}
		save(t, s, want, store.RecordWaiting)
		must(t, s.SaveLedger(ctx, store.LedgerRow{Call: want.ID, Entry: call.Entry{Step: "finish", Leg: 1, State: call.StepDone, Tries: 2}}))
		got, state, err := s.Record(ctx, want.ID)
		must(t, err)
		if state != store.RecordWaiting {
			t.Errorf("it is %s", state)
		}
		want.Ledger = []call.Entry{{Step: "finish", Leg: 1, State: call.StepDone, Tries: 2}}
		a, b := asJSON(t, want), asJSON(t, got)
		if diff := cmp.Diff(a, b); diff != "" {
			t.Errorf("record (-want +got):\n%s", diff)
		}
	})
}

func asJSON(t testing.TB, r call.Record) string {
	t.Helper()
	b, err := json.MarshalIndent(r, "", " ")
	must(t, err)
	return string(b)
}

// TestBetterRecord wants a late and worse account of a call to change nothing.
func TestBetterRecord(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn, store.Options{}), t.Context()
		missed, answered := numbered(1), numbered(1)
		answered.Result, answered.MissedIn = call.ResultAnswered, ""
		open := missed
		open.Result = ""
		for i, step := range []struct {
			r     call.Record
			state store.RecordState
			kept  bool
		}{
			{open, store.RecordWaiting, true},
			{missed, store.RecordWaiting, true},
			{open, store.RecordWaiting, false},
			{answered, store.RecordWaiting, true}, // by a queue, as it turns out
			{open, store.RecordWaiting, false},
			{missed, store.RecordSettled, true},
			{missed, store.RecordWaiting, false},
			{answered, store.RecordSettled, true},
			{missed, store.RecordSettled, false},
			{open, store.RecordSettled, false},
			{answered, store.RecordWaiting, false},
			{answered, store.RecordSettled, true},
		} {
			var kept bool
			var err error
			if i%2 == 0 {
				kept, err = s.SaveRecord(ctx, step.r, step.state)
			} else {
				err = s.InTx(ctx, func(tx *store.Tx) (err error) {
					kept, err = tx.SaveRecord(ctx, step.r, step.state)
					return err
				})
			}
			if err != nil || kept != step.kept {
				t.Errorf("step %d: kept %v, %v; want %v", i, kept, err, step.kept)
			}
		}
		got, state, err := s.Record(ctx, missed.ID)
		if err != nil || got.Result != call.ResultAnswered || state != store.RecordSettled {
			t.Errorf("kept %s %s, %v", got.Result, state, err)
		}
	})
}

func TestRecords(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn, store.Options{}), t.Context()
		const n = 40
		var all []call.Record
		for i := range n {
			r := numbered(i)
			if i >= 20 && i < 24 { // at the same moment
				r.Started = recordsBegin.Add(20 * time.Second)
			}
			if i == 30 {
				r.Caller = ""
			}
			all = append(all, r)
			save(t, s, r, store.RecordSettled)
		}
		at := func(i int) time.Time { return recordsBegin.Add(time.Duration(i) * time.Second) }
		for name, sel := range map[string]call.Selection{
			"all": {}, "since": {Since: at(20)}, "until": {Until: at(20)}, "between": {Since: at(10), Until: at(30)},
			"a nanosecond later": {Since: at(10).Add(1)}, "until a nanosecond later": {Until: at(10).Add(1)},
			"caller": {Caller: "+79160000001"}, "caller without plus": {Caller: "79160000001"}, "nobody": {Caller: "+7"},
			"outcome": {Outcome: call.OutcomeManager}, "both": {Outcome: call.OutcomeManager, Caller: "+79160000002", Since: at(5)},
		} {
			var want []string
			for i := n - 1; i >= 0; i-- {
				if sel.Matches(&all[i]) {
					want = append(want, all[i].ID)
				}
			}
			for _, limit := range []int{1, 3, n} {
				var got []string
				sel.Limit, sel.After = limit, call.Position{}
				for {
					page, err := s.Records(ctx, sel)
					must(t, err)
					for _, r := range page {
						got = append(got, r.ID)
					}
					if len(page) < limit {
						break
					}
					sel.After = call.PositionOf(&page[len(page)-1])
				}
				if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("%s by %d (-want +got):\n%s", name, limit, diff)
				}
			}
		}
	})
}

func TestWaiting(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn, store.Options{Node: "a"}), t.Context()
		for i := range 6 {
			save(t, s, numbered(i), []store.RecordState{store.RecordWaiting, store.RecordSettled}[i%2])
		}
		save(t, s, numbered(2), store.RecordSettled)
		waiting := func(s *store.Store) (got []string) {
			must(t, s.Waiting(ctx, func(r call.Record) error {
				got = append(got, r.ID)
				return nil
			}))
			return got
		}
		if diff := cmp.Diff([]string{"call0000", "call0004"}, waiting(s)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if dsn[0] == 'p' {
			if got := waiting(open(t, dsn, store.Options{Node: "b"})); got != nil {
				t.Errorf("another node's: %v", got)
			}
		}
		boom := errors.New("boom")
		if err := s.Waiting(ctx, func(call.Record) error { return boom }); !errors.Is(err, boom) {
			t.Errorf("a reader that fails: %v", err)
		}
	})
}

// TestLedgerIsHeld: nobody saves a step that a transaction has read before it
// ends, or what it writes would undo that.
func TestLedgerIsHeld(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn, store.Options{}), t.Context()
		row := store.LedgerRow{Call: "call0001", Entry: call.Entry{Step: "register", State: call.StepWaiting}}
		must(t, s.SaveLedger(ctx, row))
		done := row
		done.State = call.StepDone
		must(t, s.InTx(ctx, func(tx *store.Tx) error {
			rows, err := tx.Ledger(ctx, row.Call)
			if err != nil || len(rows) != 1 {
				return fmt.Errorf("%+v: %w", rows, err)
			}
			short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
			defer cancel()
			if err := s.SaveLedger(short, done); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a step that is read was saved: %v", err)
			}
			return tx.SaveLedger(ctx, rows...)
		}))
		must(t, s.SaveLedger(ctx, done))
		if rows, err := s.Ledger(ctx, row.Call); err != nil || len(rows) != 1 || rows[0].State != call.StepDone {
			t.Errorf("%+v, %v", rows, err)
		}
	})
}

func TestLedger(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		s, ctx := open(t, dsn, store.Options{Now: func() time.Time { return now }}), t.Context()
		step := func(id, step string, leg int, state string) store.LedgerRow {
			return store.LedgerRow{Call: id, Entry: call.Entry{Step: step, Leg: leg, State: state}}
		}
		first := step("call0001", "finish", 1, call.StepWaiting)
		first.Tries, first.Error, first.Next = 3, "the portal answered 503", now.Add(time.Hour).Local()
		first.Detail = json.RawMessage(`{"call_id":"externalCall.1"}`)
		must(t, s.SaveLedger(ctx, first, step("call0001", "register", 0, call.StepDone), step("call0002", "finish", 0, call.StepFailed)))
		must(t, s.SaveLedger(ctx))
		boom := errors.New("boom")
		if err := s.InTx(ctx, func(tx *store.Tx) error {
			must(t, tx.SaveLedger(ctx, step("call0001", "lead", 0, call.StepWaiting)))
			if rows, err := tx.Ledger(ctx, "call0001"); err != nil || len(rows) != 3 {
				t.Errorf("within: %d rows, %v", len(rows), err)
			}
			return boom
		}); !errors.Is(err, boom) {
			t.Fatal(err)
		}
		got, err := s.Ledger(ctx, "call0001")
		must(t, err)
		want := []store.LedgerRow{step("call0001", "register", 0, call.StepDone), first}
		if diff := cmp.Diff(want, got, cmpopts.EquateApproxTime(time.Millisecond)); diff != "" {
			t.Errorf("ledger (-want +got):\n%s", diff)
		}

		begun := now
		now = now.Add(time.Minute)
		first.Tries = 4
		must(t, s.SaveLedger(ctx, first))
		backlog, err := s.Backlog(ctx)
		must(t, err)
		if diff := cmp.Diff([]store.Backlog{
			{Step: "finish", State: call.StepFailed, Count: 1, Oldest: begun}, {Step: "finish", State: call.StepWaiting, Count: 1, Oldest: begun},
		}, backlog, cmpopts.EquateApproxTime(0)); diff != "" {
			t.Errorf("backlog (-want +got):\n%s", diff)
		}
	})
}

// TestOwed finds calls of which nobody does what is owed.
func TestOwed(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		s, ctx := open(t, dsn, store.Options{Now: func() time.Time { return now }}), t.Context()
		row := func(i int, state string) store.LedgerRow {
			return store.LedgerRow{Call: numbered(i).ID, Entry: call.Entry{Step: "finish", Leg: i % 2, State: state}}
		}
		for i := range 8 {
			save(t, s, numbered(i), map[bool]store.RecordState{true: store.RecordWaiting, false: store.RecordSettled}[i == 3])
			must(t, s.SaveLedger(ctx, row(i, []string{call.StepWaiting, call.StepDone, call.StepFailed, call.StepWaiting}[i%4])))
		}
		must(t, s.SaveLedger(ctx, store.LedgerRow{Call: "unrecorded", Entry: call.Entry{Step: "finish", State: call.StepWaiting}}))
		start := now
		now = now.Add(time.Minute)
		must(t, s.SaveLedger(ctx, row(4, call.StepWaiting)))
		for _, c := range []struct {
			since time.Time
			limit int
			want  []string
		}{
			{start, 10, nil},
			{start.Add(time.Second), 10, []string{"call0000", "call0007"}},
			{start.Add(time.Second), 1, []string{"call0000"}},
			{start.Add(time.Hour), 10, []string{"call0000", "call0007", "call0004"}},
		} {
			got, err := s.Owed(ctx, c.since, c.limit)
			must(t, err)
			if diff := cmp.Diff(c.want, got, cmpopts.SortSlices(func(a, b string) bool { return a < b }), cmpopts.EquateEmpty()); diff != "" {
				if c.limit > 1 || len(got) != 1 {
					t.Errorf("since %v (-want +got):\n%s", c.since, diff)
				}
			}
		}
	})
}

// TestHistory deletes what is older than it is to be kept, and its ledger.
func TestHistory(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		now := recordsBegin
		s, ctx := open(t, dsn, store.Options{Now: func() time.Time { return now }, History: 24 * time.Hour}), t.Context()
		for i := range 4 {
			r := numbered(i)
			r.Started = now.Add(time.Duration(i-4) * time.Hour)
			save(t, s, r, store.RecordSettled)
			must(t, s.SaveLedger(ctx, store.LedgerRow{Call: r.ID, Entry: call.Entry{Step: "finish", State: call.StepDone}}))
		}
		must(t, s.SaveLedger(ctx, store.LedgerRow{Call: "unrecorded", Entry: call.Entry{Step: "register", State: call.StepDone}}))
		count := func(table string) int {
			n, err := s.Query(ctx, "SELECT count(*) FROM "+table)
			must(t, err)
			return n
		}
		now = now.Add(22*time.Hour - time.Minute)
		if !s.Sweep(ctx) || count("calls") != 2 || count("ledger") != 3 {
			t.Errorf("left %d calls and %d steps, want 2 and 3", count("calls"), count("ledger"))
		}
		now = now.Add(100 * time.Hour)
		if !s.Sweep(ctx) || count("calls") != 0 || count("ledger") != 0 {
			t.Errorf("left %d calls and %d steps, want none", count("calls"), count("ledger"))
		}
	})
}
