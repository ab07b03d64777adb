package calllog_test

import (
	"strings"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/calllog"
	"frontdesk/crm/crmtest"
	"frontdesk/store/storetest"
)

// TestLostRegistration: a call that the portal may have registered is asked for
// at least every three minutes while the portal recalls it; one that it has not
// waits longer each time.
func TestLostRegistration(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, newPortal(crmtest.Options{}))
		p := policy()
		p.Leads = false
		w.policy = func() calllog.Policy { return p }
		w.start()
		const tries = 12
		for id, what := range map[string]fate{"unheard": lost, "refused": overload} {
			w.line.set(func(_ int, method string) fate {
				if strings.EqualFold(method, "telephony.externalCall.register") {
					return what
				}
				return arrives
			})
			must(t, w.log.Settle(t.Context(), incoming(id, missed("extension"))))
			for range tries {
				_ = w.log.Work(t.Context(), id) // says when to come again
			}
		}
		wait := func(id string) time.Duration {
			r, _, err := w.store.Record(t.Context(), id)
			must(t, err)
			for _, e := range r.Ledger {
				if e.Step == calllog.StepFinish && e.State == call.StepWaiting {
					return e.Next.Sub(monday)
				}
			}
			t.Fatalf("the ledger of %s is %+v", id, r.Ledger)
			return 0
		}
		if lost, refused := wait("unheard"), wait("refused"); lost > 10*time.Minute || refused < 15*time.Minute {
			t.Errorf("unheard of waits %v, refused %v", lost, refused)
		}
		w.line.set(nil)
		for _, id := range []string{"unheard", "refused"} {
			_ = w.log.Work(t.Context(), id) // as above
		}
		if entries, live := w.entries(); live != 0 || len(entries) != 2 {
			t.Errorf("%d live, finished %q", live, entries)
		}
	})
}
