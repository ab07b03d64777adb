package calllog_test

import (
	"testing"

	"frontdesk/call"
	"frontdesk/calllog"
	"frontdesk/crm/crmtest"
	"frontdesk/store/storetest"
)

// TestPortalDown has calls end while the portal is down: all arrive later, once
// and with their real times.
func TestPortalDown(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, newPortal(crmtest.Options{}))
		w.line.set(func(int, string) fate { return refused })
		w.live()
		ids := []string{"a", "b", "c"}
		for i, id := range ids {
			w.log.Ringing(incoming(id))
			w.log.Ended(incoming(id, answered(talk("201", 10, 10+i))))
		}
		eventually(t, "all are tried", func() bool {
			for _, id := range ids {
				r, _, err := w.store.Record(t.Context(), id)
				if err != nil || len(r.Ledger) < 3 || r.Ledger[1].Tries == 0 && r.Ledger[0].Tries == 0 && r.Ledger[1].Error == "" {
					return false
				}
			}
			return true
		})
		w.stop()
		w.live() // a restart in between
		w.line.set(nil)
		for _, id := range ids {
			_, err := w.log.Retry(t.Context(), id, "")
			must(t, err)
		}
		for _, id := range ids {
			w.done(id)
		}
		if entries, live := w.entries(); live != 0 || len(entries) != len(ids) {
			t.Errorf("%d live, finished %q", live, entries)
		}
		if leads := w.leads(); len(leads) != 1 {
			t.Errorf("leads %q", leads)
		}
	})
}

// TestGrowingWaits: while the portal is down each try is counted and the next
// one comes later, also where a try does not come to what it is about: the
// caller cannot be looked for, the call not be registered.
func TestGrowingWaits(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		const most = 6
		w := newWorld(t, dsn, newPortal(crmtest.Options{}))
		w.line.set(func(int, string) fate { return refused })
		w.start()
		steps := map[string]string{"unknown": calllog.StepLead, "known": calllog.StepFinish}
		talked := answered(talk("205", 10, 40))
		must(t, w.log.Settle(t.Context(), incoming("unknown", talked)))
		must(t, w.log.Settle(t.Context(), incoming("known", talked, knownAs(call.Entity{Kind: call.KindContact, ID: 7}))))
		for id, step := range steps {
			for range most {
				_ = w.log.Work(t.Context(), id) // it asks to be called again
			}
			r, _, err := w.store.Record(t.Context(), id)
			must(t, err)
			for _, e := range r.Ledger {
				if e.Step == step && (e.Tries != most || e.Error == "" || e.Next.Sub(monday) < calllog.Backoff(most)) {
					t.Errorf("after %d tries of an %s caller's call: %+v", most, id, e)
				}
			}
		}
		w.line.set(nil)
		for id := range steps {
			must(t, w.log.Work(t.Context(), id))
		}
		if entries, live := w.entries(); live != 0 || len(entries) != 2 || len(w.leads()) != 1 {
			t.Errorf("%d live, finished %q, leads %q", live, entries, w.leads())
		}
	})
}
