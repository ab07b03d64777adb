package calllog_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/crm/crmtest"
	"frontdesk/store/storetest"
)

// TestOneLeadOfTwoNodes has new callers call two nodes at once, twice each: each
// has one lead, whether it is made while they ring or at their end, and each
// call that ends carries it.
func TestOneLeadOfTwoNodes(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		const callers, each = 6, 4
		one := newWorld(t, dsn, newPortal(crmtest.Options{}))
		one.start()
		nodes := []*world{one, one.beside()}
		calls := func(first int) (out []call.Record) {
			for i := range callers / 2 * each {
				out = append(out, incoming(fmt.Sprintf("%dc%d", first, i), func(r *call.Record) {
					r.Caller = call.Number(fmt.Sprintf("+791600000%02d", first+i/each))
				}))
			}
			return out
		}
		rung, unheard := calls(0), calls(callers/2)
		all := func(calls []call.Record, f func(w *world, r call.Record)) {
			var wg sync.WaitGroup
			for i, r := range calls {
				wg.Go(func() { f(nodes[i%2], r) })
			}
			wg.Wait()
		}
		all(rung, func(w *world, r call.Record) { w.log.During(t.Context(), incomingOf(r)) })
		one.leadOfEach(t)
		all(append(rung, unheard...), func(w *world, r call.Record) {
			for w.log.Settle(t.Context(), r) != nil { // the database is slow
			}
			for !w.settledIn(t, r.ID) {
				_ = w.log.Work(t.Context(), r.ID) // says when to come again
			}
		})
		lead := one.leadOfEach(t)
		if len(lead) != callers {
			t.Errorf("%d callers have leads, want %d", len(lead), callers)
		}
		finished := 0
		for _, c := range one.portal.Calls() {
			if c.Finished {
				finished++
			}
			if c.ExternalID[0] != '0' && (c.Entity != call.KindLead || c.EntityID != lead[c.Number]) {
				t.Errorf("%s of %s is on %s %d, want lead %d", c.ExternalID, c.Number, c.Entity, c.EntityID, lead[c.Number])
			}
		}
		if finished != callers*each {
			t.Errorf("%d calls, want %d", finished, callers*each)
		}
	})
}

// leadOfEach is the lead of each caller who has one; nobody has two.
func (w *world) leadOfEach(t *testing.T) map[string]int {
	t.Helper()
	out := map[string]int{}
	for _, l := range w.portal.Leads() {
		if out[l.Phones[0]] != 0 {
			t.Errorf("%s has two leads", l.Phones[0])
		}
		out[l.Phones[0]] = l.ID
	}
	return out
}

// TestLeadTakenOver kills a node while it makes a lead, before or after the
// portal did. Nobody makes another while the request may still arrive, and then
// the next call of the caller does, or finds it.
func TestLeadTakenOver(t *testing.T) {
	for _, what := range []fate{killed, unsent} {
		t.Run(map[fate]string{killed: "done", unsent: "not done"}[what], func(t *testing.T) {
			storetest.OnBoth(t, func(t *testing.T, dsn string) {
				var passed atomic.Int64 // seconds
				w := newWorld(t, dsn, newPortal(crmtest.Options{}))
				began := time.Now()
				w.clock = func() time.Time { return began.Add(time.Duration(passed.Load()) * time.Second) }
				w.start()
				dead := false
				w.line.set(func(_ int, method string) fate {
					switch {
					case dead:
						return refused
					case method != "crm.lead.add":
						return arrives
					}
					dead = true
					must(t, w.store.Close())
					return what
				})
				w.log.During(t.Context(), incomingOf(incoming("a")))
				w.line.set(nil)
				w.start()
				made := map[fate]int{killed: 1}[what]
				must(t, w.log.Settle(t.Context(), incoming("b", missed("extension"))))
				short, cancel := context.WithTimeout(t.Context(), time.Second)
				_ = w.log.Work(short, "b")
				cancel()
				if n := len(w.portal.Leads()); n != made {
					t.Fatalf("%d leads at once, want %d", n, made)
				}
				passed.Store(61)
				for _, id := range []string{"b", "a"} {
					must(t, w.log.Settle(t.Context(), incoming(id, missed("extension"))))
					for range 3 {
						_ = w.log.Work(t.Context(), id) // says when to come again
					}
				}
				var on []int
				for _, c := range w.portal.Calls() {
					on = append(on, c.EntityID)
				}
				leads := w.portal.Leads()
				if len(leads) != 1 || len(on) < 2 || slices.ContainsFunc(on, func(id int) bool { return id != leads[0].ID }) {
					t.Errorf("%d leads, calls on %v", len(leads), on)
				}
			})
		})
	}
}
