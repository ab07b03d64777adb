package calllog_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"frontdesk/call"
	"frontdesk/crm/crmtest"
	"frontdesk/store/storetest"
)

// held has the portal answer the first registration once goOn is closed. It
// counts them, and closes asked at the first.
func (w *world) held() (registered *atomic.Int32, asked, goOn chan struct{}) {
	registered, asked, goOn = new(atomic.Int32), make(chan struct{}), make(chan struct{})
	w.portal.Script(func(r crmtest.Request) crmtest.Fault {
		if strings.EqualFold(r.Method, "telephony.externalcall.register") && registered.Add(1) == 1 {
			close(asked)
			<-goOn
		}
		return crmtest.Fault{}
	})
	return registered, asked, goOn
}

// TestEndsWhileItIsRegistered has a call end before the portal has answered that
// it registered it: its job waits for that, and registers nothing itself.
func TestEndsWhileItIsRegistered(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, newPortal(crmtest.Options{}))
		registered, asked, goOn := w.held()
		w.start()
		var wg sync.WaitGroup
		t.Cleanup(wg.Wait)
		wg.Go(func() { w.log.During(context.Background(), incoming("a")) })
		<-asked
		must(t, w.log.Settle(t.Context(), incoming("a", answered(talk("205", 10, 40)))))
		soon, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if err := w.log.Work(soon, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the job ended with %v while the call was being registered", err)
		}
		close(goOn)
		must(t, w.log.Work(t.Context(), "a"))
		if n := registered.Load(); n != 1 {
			t.Errorf("the call was registered %d times", n)
		}
		want := []string{"a-0 type 2 of +79161234567 line carrier: 200 40s by 65"}
		if entries, live := w.entries(); live != 0 || !cmp.Equal(entries, want) {
			t.Errorf("%d live, finished %q", live, entries)
		}
	})
}

// TestRingsWithoutItsLead has the lead of an unknown caller fail while the call
// rings: the call is not registered for nobody, but at its end with the lead.
func TestRingsWithoutItsLead(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, newPortal(crmtest.Options{}))
		w.line.set(func(_ int, method string) fate {
			if method == "crm.lead.add" {
				return refused
			}
			return arrives
		})
		w.start()
		w.log.During(t.Context(), incoming("a"))
		if calls := w.portal.Calls(); len(calls) != 0 {
			t.Errorf("registered without a lead: %+v", calls)
		}
		w.line.set(nil)
		must(t, w.log.Settle(t.Context(), incoming("a", answered(talk("205", 10, 40)))))
		must(t, w.log.Work(t.Context(), "a"))
		if calls := w.portal.Calls(); len(calls) != 1 || calls[0].Entity != call.KindLead || calls[0].Activity == 0 || calls[0].FinishedBy != 65 {
			t.Errorf("calls %+v", calls)
		}
	})
}

// TestRingsWhileItsJobWorks tells of a call whose job is at work already: that
// is the job's, and calls that ring do not wait for it.
func TestRingsWhileItsJobWorks(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, newPortal(crmtest.Options{}))
		registered, asked, goOn := w.held()
		w.start()
		must(t, w.log.Settle(t.Context(), incoming("a", answered(talk("205", 10, 40)))))
		worked := make(chan error, 1)
		go func() { worked <- w.log.Work(context.Background(), "a") }()
		<-asked
		w.log.During(t.Context(), incoming("a"))
		close(goOn)
		if err := <-worked; err != nil || registered.Load() != 1 {
			t.Errorf("registered %d times, %v", registered.Load(), err)
		}
	})
}
