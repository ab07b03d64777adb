package calllog_test

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"frontdesk/call"
	"frontdesk/calllog"
	"frontdesk/crm/crmtest"
	"frontdesk/store/storetest"
)

// TestEmployeesComeLater: after a start beside a portal that is down nobody
// knows who has which extension. What is owed for calls waits for that, and is
// not put down to the placeholder, nor is an employee's own mobile a new
// customer's.
func TestEmployeesComeLater(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		var known, down atomic.Bool
		known.Store(true)
		w := newWorld(t, dsn, newPortal(crmtest.Options{}))
		w.policy = func() calllog.Policy {
			p := policy()
			if p.Tasks, p.Missed = true, calllog.OwnerEmployee; !known.Load() {
				p.Employees = nil
			}
			return p
		}
		w.line.set(func(_ int, method string) fate {
			switch {
			case down.Load():
				return refused
			case method == "user.get":
				known.Store(true)
			}
			return arrives
		})
		var told []string // of whom the employees are known at last
		w.known = func(r call.Record) { told = append(told, r.ID) }
		w.start()
		mobile := func(r *call.Record) { r.Caller = "+79165550000" } // of 65
		ids := []string{"a", "b", "c"}
		must(t, w.log.Settle(t.Context(), incoming("a", answered(talk("205", 10, 95))))) // by the process before
		known.Store(false)
		down.Store(true)
		must(t, w.log.Settle(t.Context(), incoming("a", answered(talk("205", 10, 94))))) // as the PBX has it
		must(t, w.log.Settle(t.Context(), incoming("b", missed("extension"), mobile)))
		must(t, w.log.Settle(t.Context(), incoming("c", answered(talk("201", 10, 60)))))
		w.log.During(t.Context(), incoming("d")) // rings, and is not told
		for _, id := range ids {
			if err := w.log.Work(t.Context(), id); err == nil {
				t.Errorf("the job of %s is done", id)
			}
			r, _, err := w.store.Record(t.Context(), id)
			must(t, err)
			for _, e := range r.Ledger {
				if e.State != call.StepWaiting || e.Tries != 1 || !strings.Contains(e.Error, "the employees are not known yet") || e.Next.IsZero() {
					t.Errorf("of %s nobody knows whose it is, and its ledger has %+v", id, e)
				}
			}
		}

		down.Store(false)
		for _, id := range ids {
			must(t, w.log.Work(t.Context(), id))
		}
		want := []string{
			"a-0 type 2 of +79161234567 line carrier: 200 94s by 65", "b-0 type 2 of +79165550000 line carrier: 304 0s by 61",
			"c-0 type 2 of +79161234567 line carrier: 200 60s by 61",
		}
		if entries, live := w.entries(); live != 0 || !cmp.Equal(entries, want) {
			t.Errorf("%d live, finished %q", live, entries)
		}
		if diff := cmp.Diff([]string{"+79161234567 [99 65]"}, w.leads()); diff != "" {
			t.Errorf("leads (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(ids, told); diff != "" {
			t.Errorf("told of (-want +got):\n%s", diff)
		}
		if tasks := w.portal.Tasks(); len(tasks) != 1 || tasks[0].Responsible != 61 {
			t.Errorf("tasks %+v", tasks)
		}
	})
}

// TestEmployeesRefused: a portal that never tells its employees has the calls
// all the same, as the placeholder's.
func TestEmployeesRefused(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, newPortal(crmtest.Options{}))
		w.policy = func() calllog.Policy { p := policy(); p.Employees = nil; return p }
		w.portal.SetScopes(1, "crm", "telephony", "task")
		w.start()
		must(t, w.log.Settle(t.Context(), incoming("a", answered(talk("201", 10, 60)))))
		must(t, w.log.Work(t.Context(), "a"))
		if entries, live := w.entries(); live != 0 || !cmp.Equal(entries, []string{"a-0 type 2 of +79161234567 line carrier: 200 60s by 99"}) {
			t.Errorf("%d live, finished %q", live, entries)
		}
	})
}
