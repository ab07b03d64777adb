package calllog_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"frontdesk/call"
	"frontdesk/calllog"
	"frontdesk/crm"
	"frontdesk/crm/crmtest"
	"frontdesk/store"
	"frontdesk/store/storetest"
)

// TestCalls is each kind of call through the whole, on a healthy portal.
func TestCalls(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		for name, c := range map[string]struct {
			record  call.Record
			policy  func(*calllog.Policy)
			entries []string
			leads   []string
			ledger  string
		}{
			"transferred": {
				record:  incoming("transferred", answered(talk("201", 10, 52), talk("205", 62, 202))),
				entries: []string{"transferred-0 type 2 of +79161234567 line carrier: 200 52s by 61", "transferred-1 type 3 of +79161234567 line carrier: 200 202s by 65"},
				leads:   []string{"+79161234567 [99 65]"},
				ledger:  "finish/0 done, lead/0 done, register/0 done, finish/1 done, register/1 done",
			},
			"missed in a queue": {
				record:  incoming("queue", missed("queue"), func(r *call.Record) { r.Target = "801" }),
				entries: []string{"queue-0 type 2 of +79161234567 line carrier: 304 0s by 99"},
				leads:   []string{"+79161234567 [99]"},
				ledger:  "finish/0 done, lead/0 done, register/0 done",
			},
			"the head's miss": {
				record: incoming("head", missed("extension")), policy: func(p *calllog.Policy) { p.Missed, p.Leads, p.Tasks = calllog.OwnerHead, false, true },
				entries: []string{"head-0 type 2 of +79161234567 line carrier: 304 0s by 70"},
				ledger:  "finish/0 done, register/0 done, task/0 done",
			},
			"outgoing": {
				record:  incoming("outgoing", outgoing, answered(talk("201", 10, 95))),
				entries: []string{"outgoing-0 type 1 of +79161234567 line 9: 200 95s by 61"},
				ledger:  "finish/0 done, register/0 done",
			},
			"internal": {record: incoming("internal", func(r *call.Record) { r.Caller = "205"; r.Result = call.ResultAnswered })},
		} {
			t.Run(name, func(t *testing.T) {
				db := dsn
				if dsn[0] == 's' {
					db = strings.TrimSuffix(dsn, "frontdesk.db") + c.record.ID + ".db"
				}
				w := newWorld(t, db, newPortal(crmtest.Options{}))
				p := policy()
				if c.policy != nil {
					c.policy(&p)
				}
				w.policy = func() calllog.Policy { return p }
				w.live()
				w.log.Ended(c.record)
				r := w.done(c.record.ID)
				entries, live := w.entries()
				if diff := cmp.Diff(c.entries, entries); diff != "" || live != 0 {
					t.Errorf("entries, and %d live (-want +got):\n%s", live, diff)
				}
				if diff := cmp.Diff(c.leads, w.leads()); diff != "" {
					t.Errorf("leads (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(c.ledger, ledger(r)); diff != "" {
					t.Errorf("ledger (-want +got):\n%s", diff)
				}
				w.stop()
			})
		}
	})
}

// TestRinging registers a call while it rings, shows its card to whom it rings,
// moves it, and finishes the same entry at the end.
func TestRinging(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, newPortal(crmtest.Options{}))
		w.live()
		shown := func() []int {
			if calls := w.portal.Calls(); len(calls) == 1 {
				return calls[0].Shown
			}
			return nil
		}
		w.log.Ringing(incoming("a"))
		eventually(t, "the card is shown to 61", func() bool { return cmp.Equal(shown(), []int{61}) })
		if diff := cmp.Diff([]string{"+79161234567 [99]"}, w.leads()); diff != "" {
			t.Errorf("leads (-want +got):\n%s", diff)
		}
		if c := w.portal.Calls()[0]; c.Entity != call.KindLead || c.EntityID != w.portal.Leads()[0].ID {
			t.Errorf("the call is on %s %d", c.Entity, c.EntityID)
		}
		w.log.Ringing(incoming("a", func(r *call.Record) { r.Target = "205" }))
		eventually(t, "the card is shown to 65", func() bool { return cmp.Equal(shown(), []int{65}) })
		w.log.Answered("a", "201")
		eventually(t, "the card is shown to 61 again", func() bool { return cmp.Equal(shown(), []int{61}) })
		w.log.Answered("unheard of", "201")

		w.log.Ended(incoming("a", answered(talk("205", 20, 30))))
		r := w.done("a")
		entries, live := w.entries()
		if diff := cmp.Diff([]string{"a-0 type 2 of +79161234567 line carrier: 200 30s by 65"}, entries); diff != "" || live != 0 {
			t.Errorf("entries, and %d live (-want +got):\n%s", live, diff)
		}
		if diff := cmp.Diff([]string{"+79161234567 [99 65]"}, w.leads()); diff != "" {
			t.Errorf("leads (-want +got):\n%s", diff)
		}
		if got := ledger(r); got != "finish/0 done, lead/0 done, register/0 done, show/0 done" {
			t.Errorf("ledger %s", got)
		}
	})
}

// TestSameNumberTwice has a second call of a new caller during the first: two
// entries, both finished, and one lead.
func TestSameNumberTwice(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, newPortal(crmtest.Options{}))
		w.live()
		for _, id := range []string{"a", "b"} {
			w.log.Ringing(incoming(id))
		}
		eventually(t, "both are registered", func() bool { return len(w.portal.Calls()) == 2 })
		w.log.Ended(incoming("b", missed("extension")))
		w.log.Ended(incoming("a", answered(talk("205", 10, 40))))
		w.done("a")
		w.done("b")
		entries, live := w.entries()
		if live != 0 || len(entries) != 2 || entries[0] == entries[1] {
			t.Errorf("%d live, finished %q", live, entries)
		}
		if diff := cmp.Diff([]string{"+79161234567 [99 65]"}, w.leads()); diff != "" {
			t.Errorf("leads (-want +got):\n%s", diff)
		}
	})
}

// TestBetterAccount wants an answer never to be overtaken by a late miss, and
// to count where it comes late itself.
func TestBetterAccount(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, newPortal(crmtest.Options{}))
		w.live()
		talked, miss := answered(talk("201", 10, 95)), missed("extension")
		w.log.Ended(incoming("a", talked))
		w.log.Ended(incoming("a", miss))
		w.log.Keep(incoming("a", miss))
		w.done("a")
		want := []string{"a-0 type 2 of +79161234567 line carrier: 200 95s by 61"}
		eventually(t, "all is written", w.log.Drained)
		if entries, live := w.entries(); live != 0 || !cmp.Equal(entries, want) {
			t.Errorf("%d live, finished %q", live, entries)
		}

		w.log.Ended(incoming("b", miss))
		w.done("b")
		w.log.Ended(incoming("b", talked))
		want = append(want, "b-0 type 2 of +79161234567 line carrier: 304 0s by 99", "b-1 type 2 of +79161234567 line carrier: 200 95s by 61")
		eventually(t, "the answer is there too", func() bool {
			entries, live := w.entries()
			return live == 0 && cmp.Equal(entries, want)
		})
		w.log.Ended(incoming("b", talked))
		w.log.Ended(incoming("b", miss))
		eventually(t, "all is written", w.log.Drained)
		w.done("b")
		if entries, live := w.entries(); live != 0 || !cmp.Equal(entries, want) {
			t.Errorf("again: %d live, finished %q", live, entries)
		}
	})
}

// TestFinerAccount learns late that a call was transferred: the entry that is
// there stays, and who has none gets one.
func TestFinerAccount(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, newPortal(crmtest.Options{}))
		w.live()
		w.log.Ended(incoming("a", answered(talk("205", 10, 95))))
		w.done("a")
		want := []string{"a-0 type 2 of +79161234567 line carrier: 200 95s by 65", "a-1 type 2 of +79161234567 line carrier: 200 30s by 61"}
		for range 2 {
			w.log.Ended(incoming("a", answered(talk("201", 10, 30), talk("205", 40, 65))))
			eventually(t, "who talked first has an entry", func() bool {
				entries, live := w.entries()
				return live == 0 && cmp.Equal(entries, want)
			})
			eventually(t, "all is written", w.log.Drained)
			w.done("a")
		}
		if entries, live := w.entries(); live != 0 || !cmp.Equal(entries, want) {
			t.Errorf("%d live, finished %q", live, entries)
		}
	})
}

// TestBeside writes what belongs to a record with it or not at all, and also where
// the record is no news.
func TestBeside(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, newPortal(crmtest.Options{}))
		w.live()
		note := func(key string, err error) calllog.Beside {
			return func(ctx context.Context, tx *store.Tx) error { return errors.Join(tx.Put(ctx, key, []byte(key)), err) }
		}
		var tried atomic.Int32
		w.log.EndedWith(incoming("a", answered(talk("201", 10, 95))), func(ctx context.Context, tx *store.Tx) error {
			if _, _, err := w.store.Record(ctx, "a"); w.dsn[0] == 'p' && !errors.Is(err, store.ErrNotFound) {
				t.Errorf("the record is there before: %v", err)
			}
			if tried.Add(1) == 1 {
				return note("half", errors.New("a test's"))(ctx, tx)
			}
			return note("whole", nil)(ctx, tx)
		})
		w.log.EndedWith(incoming("a", missed("extension")), note("no news", nil))
		w.done("a")
		eventually(t, "all is written", w.log.Drained)
		for key, want := range map[string]bool{"half": false, "whole": true, "no news": true} {
			if _, err := w.store.Get(t.Context(), key); (err == nil) != want {
				t.Errorf("%s: %v", key, err)
			}
		}
		if r := w.done("a"); r.Result != call.ResultAnswered {
			t.Errorf("the record is %+v", r)
		}
	})
}

// TestReconcile finds calls whose jobs are gone.
func TestReconcile(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, newPortal(crmtest.Options{}))
		w.start()
		ctx := t.Context()
		_, err := w.store.SaveRecord(ctx, incoming("a", missed("extension")), store.RecordSettled)
		must(t, err)
		must(t, w.log.Settle(ctx, incoming("a", missed("extension"))))
		w.stop()
		w.live()
		must(t, w.log.Reconcile(ctx, time.Now().Add(time.Hour)))
		w.done("a")
		must(t, w.log.Reconcile(ctx, time.Now().Add(time.Hour)))
		if entries, live := w.entries(); live != 0 || len(entries) != 1 {
			t.Errorf("%d live, finished %q", live, entries)
		}
	})
}

// TestKilledCall settles a call during which the process was killed.
func TestKilledCall(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, newPortal(crmtest.Options{}))
		w.live()
		w.log.Ringing(incoming("a"))
		eventually(t, "it is registered", func() bool { return len(w.portal.Calls()) == 1 })
		w.stop()
		w.live()
		must(t, w.log.SettleLost(t.Context(), monday))
		must(t, w.log.SettleLost(t.Context(), monday.Add(time.Hour)))
		w.done("a")
		want := []string{"a-0 type 2 of +79161234567 line carrier: OTHER 0s by 61"}
		if entries, live := w.entries(); live != 0 || !cmp.Equal(entries, want) {
			t.Errorf("%d live, finished %q", live, entries)
		}
	})
}

// TestWrongAuth has the portal refuse telephony to webhooks: activities stand
// for calls, as the employee where there is a webhook, else with a flag.
func TestWrongAuth(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, newPortal(crmtest.Options{}))
		w.portal.RequireApp("telephony.externalcall.register", "telephony.externalcall.finish")
		w.portal.AddWebhook(61, "own61")
		w.hooks = map[int]crm.Webhook{61: "http://portal.test/rest/61/own61/", 65: "http://portal.test/rest/65/revoked/"}
		w.live()
		w.log.Ringing(incoming("a"))
		w.log.Ended(incoming("a", answered(talk("201", 10, 52), talk("205", 62, 202))))
		r := w.done("a")
		made := w.portal.Activities()
		if len(made) != 2 || made[0].Origin != "a-0" || made[0].Responsible != 61 || made[0].Author != 61 ||
			made[1].Origin != "a-1" || made[1].Responsible != 65 || made[1].Author != 1 {
			t.Fatalf("activities %+v", made)
		}
		flagged := false
		for _, e := range r.Ledger {
			flagged = flagged || e.Step == calllog.StepFinish && e.Leg == 1 && strings.Contains(e.Error, "webhook of employee 65 is refused")
		}
		if !flagged {
			t.Errorf("the fallback is not flagged: %+v", r.Ledger)
		}
	})
}

// TestDismissed finishes a call as the placeholder where the portal does not
// accept the employee any more.
func TestDismissed(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		p := newPortal(crmtest.Options{})
		p.RemoveUser(65)
		w := newWorld(t, dsn, p)
		w.live()
		w.log.Ended(incoming("a", answered(talk("205", 10, 40)), knownAs(call.Entity{Kind: call.KindContact, ID: 7})))
		r := w.done("a")
		want := []string{"a-0 type 2 of +79161234567 line carrier: 200 40s by 99"}
		if entries, live := w.entries(); live != 0 || !cmp.Equal(entries, want) {
			t.Errorf("%d live, finished %q", live, entries)
		}
		if !strings.Contains(r.Ledger[0].Error, "as employee 99") {
			t.Errorf("not flagged: %+v", r.Ledger)
		}
	})
}

// sounds are recordings of three bytes; they are ready when asked twice.
type sounds struct {
	asked     map[string]int
	link      string
	delivered chan string
}

func (s *sounds) Open(_ context.Context, _ string, t call.Talk) (calllog.Sound, error) {
	if s.asked[t.Recording]++; s.asked[t.Recording] < 2 {
		return calllog.Sound{}, calllog.ErrNotReady
	}
	if s.link != "" {
		return calllog.Sound{Link: s.link + t.Recording}, nil
	}
	return calllog.Sound{Recording: crm.Recording{Name: t.Recording + ".mp3", Size: 3, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader("ID3")), nil
	}}}, nil
}

func (s *sounds) Delivered(_ context.Context, id string, talks []call.Talk) error {
	for _, t := range talks {
		select {
		case s.delivered <- id + " " + t.Recording:
		default: // told again
		}
	}
	return nil
}

func TestAttach(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, newPortal(crmtest.Options{}))
		s := &sounds{asked: map[string]int{}, delivered: make(chan string, 2)}
		w.sounds = s
		w.live()
		one, two := talk("201", 10, 52), talk("205", 62, 202)
		one.Recording, two.Recording = "one", "two"
		w.log.Ended(incoming("a", answered(one, two)))
		r := w.done("a")
		calls := w.portal.Calls()
		if len(calls) != 2 || calls[0].Record != "one.mp3" || calls[1].Record != "two.mp3" {
			t.Errorf("calls %+v", calls)
		}
		if got := ledger(r); got != "attach/0 done, finish/0 done, lead/0 done, register/0 done, attach/1 done, finish/1 done, register/1 done" {
			t.Errorf("ledger %s", got)
		}
		for _, want := range []string{"a one", "a two"} {
			if got := <-s.delivered; got != want {
				t.Errorf("delivered %q, want %q", got, want)
			}
		}
		w.expires(t, calls)
	})
}

// expires deletes the recordings whose time has come, and nothing else.
func (w *world) expires(t *testing.T, calls []crmtest.Call) {
	t.Helper()
	ctx := t.Context()
	var told []int
	tell := func(e calllog.Expired) {
		if e.Error != "" || e.Call != "a" {
			t.Errorf("%+v", e)
		}
		told = append(told, e.File)
	}
	other := w.portal.AddFile(crmtest.File{Name: "another's.mp3", Created: monday.Add(-24 * time.Hour)})
	must(t, w.log.Expire(ctx, at(10), tell))
	if len(told) != 0 {
		t.Errorf("deleted %v before their time", told)
	}
	must(t, w.log.Expire(ctx, at(11), tell))
	must(t, w.log.Expire(ctx, at(24*3600), tell))
	must(t, w.log.Expire(ctx, at(24*3600), tell))
	var deleted []int
	for _, f := range w.portal.Deleted() {
		deleted = append(deleted, f.ID)
	}
	if want := []int{calls[0].RecordID, calls[1].RecordID}; !slices.Equal(told, want) || !slices.Equal(deleted, want) {
		t.Errorf("told %v, deleted %v, want %v and never %d", told, deleted, want, other)
	}
}

// TestLink writes an address into the entry instead of attaching a file.
func TestLink(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, newPortal(crmtest.Options{}))
		w.sounds = &sounds{asked: map[string]int{}, link: "https://desk.example/recordings/"}
		w.live()
		one := talk("201", 10, 52)
		one.Recording = "one"
		w.log.Ended(incoming("a", answered(one)))
		w.done("a")
		c := w.portal.Calls()[0]
		a := w.portal.Activities()
		if len(a) != 1 || a[0].ID != c.Activity || c.Record != "" || a[0].Text != "Recording: https://desk.example/recordings/one" {
			t.Errorf("call %+v, activities %+v", c, a)
		}
	})
}

// TestLeadAtLast: the lead of a caller who talked with nobody is made however
// often the portal refused it, also once the entries no longer wait for it.
func TestLeadAtLast(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, newPortal(crmtest.Options{}))
		w.start()
		var refusals atomic.Int32
		w.line.set(func(_ int, method string) fate {
			if method == "crm.lead.add" && refusals.Add(1) <= 6 {
				return refused
			}
			return arrives
		})
		must(t, w.log.Settle(t.Context(), incoming("a", missed("extension"))))
		for range 10 {
			_ = w.log.Work(t.Context(), "a") // what fails is tried again
		}
		if diff := cmp.Diff([]string{"+79161234567 [99]"}, w.leads()); diff != "" || refusals.Load() != 7 {
			t.Errorf("after %d tries, leads (-want +got):\n%s", refusals.Load(), diff)
		}
	})
}

// TestRetry has a step tried again that was given up.
func TestRetry(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, newPortal(crmtest.Options{}))
		p := policy()
		p.Placeholder, p.Fallback, p.Employees = 0, 0, nil
		w.policy = func() calllog.Policy { return p }
		w.live()
		ctx := t.Context()
		w.log.Ended(incoming("a", missed("extension")))
		if got := ledger(w.done("a")); got != "finish/0 failed, lead/0 done, register/0 failed" && got != "finish/0 failed, register/0 failed" {
			t.Errorf("ledger %s", got)
		}
		if n, err := w.log.Retry(ctx, "a", calllog.StepTask); n != 0 || err != nil {
			t.Errorf("retried %d, %v", n, err)
		}
		if n, err := w.log.Retry(ctx, "a", ""); n == 0 || err != nil {
			t.Errorf("retried %d, %v", n, err)
		}
		if _, err := w.log.Retry(ctx, "b", ""); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a call that is not there: %v", err)
		}
	})
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	for tries, want := range map[int]time.Duration{0: 2 * time.Second, 1: 2 * time.Second, 5: 32 * time.Second, 11: 2048 * time.Second, 12: 2048 * time.Second} {
		if got := calllog.Backoff(tries); got != want {
			t.Errorf("after %d tries %v, want %v", tries, got, want)
		}
	}
}

// A portal that speaks Russian is cut between letters, or PostgreSQL would not
// take the ledger.
func TestClip(t *testing.T) {
	t.Parallel()
	for _, lead := range []string{"", "x"} {
		got := calllog.Clip(errors.New(lead + strings.Repeat("ы", 400)))
		if !utf8.ValidString(got) || !strings.HasSuffix(got, "ы...") || len(got) > 310 {
			t.Errorf("%d bytes: %q", len(got), got)
		}
	}
}
