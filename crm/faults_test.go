package crm_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"frontdesk/call"
	"frontdesk/crm"
	"frontdesk/crm/crmtest"
)

// faultCases are the faults with the reason that a look-up gives.
func faultCases() map[crmtest.Kind]call.Missing {
	return map[crmtest.Kind]call.Missing{
		crmtest.Silence: call.MissingDeadline, crmtest.Drip: call.MissingDeadline, crmtest.TLSStall: call.MissingDeadline,
		crmtest.Reset: call.MissingError, crmtest.HTML: call.MissingError, crmtest.QueryLimit: call.MissingError,
		crmtest.Overload: call.MissingError, crmtest.OperationTime: call.MissingError, crmtest.Expired: call.MissingError,
		crmtest.NoAuth: call.MissingError, crmtest.ErrorInside: call.MissingError, crmtest.ServerError: call.MissingError,
		crmtest.Deleted: call.MissingError, crmtest.Partial: call.MissingError, crmtest.Truncated: call.MissingError,
		crmtest.Huge: call.MissingError, crmtest.Junk: call.MissingError, crmtest.WrongShape: call.MissingError,
		crmtest.EmptyResult: call.MissingError,
	}
}

// Whatever befalls the portal, every call has its answer by the deadline, one
// call and thirty a second; and within five seconds of its healing calls are
// routed by it again.
func TestFaults(t *testing.T) {
	for kind, missing := range faultCases() {
		t.Run(string(kind), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := newPortal(crmtest.Options{})
				p.AddContact(crmtest.Contact{Responsible: 61, Phones: []string{string(number)}})
				w := newWorld(t, p)
				w.run(t)
				w.found(t)
				time.Sleep(time.Second)
				p.SetFault(crmtest.Fault{Kind: kind, Size: 9 << 20})
				a, err := w.ask(t, number)
				if a.Missing != missing || crm.MissingOf(err) != missing || a.Source != call.SourceNone || len(a.Entities) != 0 {
					t.Errorf("one call: %+v, %v; want %s", a, err, missing)
				}
				if kind != crmtest.Huge { // costs real time
					flood(t, w, 30, 4*time.Second)
				}
				p.Heal()
				time.Sleep(5 * time.Second)
				if got := w.found(t); len(got) != 1 {
					t.Errorf("after healing: %+v", got)
				}
			})
		})
	}
}

// flood asks for different numbers at a rate, and wants no answer.
func flood(t *testing.T, w *world, perSecond int, d time.Duration) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range int(d.Seconds()) * perSecond {
		wg.Go(func() {
			if a, err := w.ask(t, call.Number(fmt.Sprintf("+7916%07d", i))); err == nil || len(a.Entities) != 0 {
				t.Errorf("call %d got %+v", i, a)
			}
		})
		time.Sleep(time.Second / time.Duration(perSecond))
	}
	wg.Wait()
}

// Dialling that fails or never ends is no worse than a silent portal.
func TestDeadNetwork(t *testing.T) {
	for name, c := range map[string]struct {
		dead func(context.Context) error
		want call.Missing
	}{
		"refused":  {func(context.Context) error { return errors.New("connection refused") }, call.MissingError},
		"dns dead": {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, call.MissingDeadline},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t, newPortal(crmtest.Options{}))
				w.net.dead = c.dead
				if a, err := w.ask(t, number); a.Missing != c.want {
					t.Errorf("%+v, %v", a, err)
				}
			})
		})
	}
}

func TestErrorsAreTyped(t *testing.T) {
	for kind, want := range map[crmtest.Kind]crm.Error{
		crmtest.QueryLimit:    {Status: 503, Code: crm.CodeQueryLimit},
		crmtest.Overload:      {Status: 503, Code: crm.CodeOverload},
		crmtest.OperationTime: {Status: 429, Code: crm.CodeOperationTime},
		crmtest.Expired:       {Status: 401, Code: crm.CodeExpired},
		crmtest.NoAuth:        {Status: 401, Code: crm.CodeNoAuth},
		crmtest.ServerError:   {Status: 500, Code: "INTERNAL_SERVER_ERROR"},
		crmtest.Deleted:       {Status: 500, Code: crm.CodeDeleted},
		crmtest.ErrorInside:   {Status: 200, Code: "INTERNAL_SERVER_ERROR"},
	} {
		t.Run(string(kind), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := newPortal(crmtest.Options{})
				p.SetFault(crmtest.Fault{Kind: kind})
				w := newWorld(t, p)
				err := w.Call(t.Context(), crm.LaneLog, "user.current", nil, nil)
				if !errors.Is(err, &want) {
					t.Errorf("got %v, want %v", err, &want)
				}
				var e *crm.Error
				if kind != crmtest.OperationTime || !errors.As(err, &e) {
					return
				}
				if in := time.Until(e.ResetAt); in < 9*time.Minute || in > 11*time.Minute {
					t.Errorf("resets in %v", in)
				}
				before := p.Total()
				if err := w.Call(t.Context(), crm.LaneLog, "user.current", nil, nil); err == nil || p.Total() != before {
					t.Errorf("a method that must rest was called: %v", err)
				}
			})
		})
	}
}

// The breaker opens after repeated failures, not after one; open, it asks
// nothing on behalf of callers; only its probe closes it.
func TestBreaker(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		p.AddContact(crmtest.Contact{Responsible: 61, Phones: []string{string(number)}})
		w := newWorld(t, p)
		p.SetFault(crmtest.Fault{Kind: crmtest.ServerError})
		for i := range 4 {
			if a, _ := w.ask(t, number); a.Missing != call.MissingError {
				t.Fatalf("failure %d: %+v", i, a)
			}
		}
		p.Heal()
		w.found(t) // resets the count
		p.SetFault(crmtest.Fault{Kind: crmtest.ServerError})
		for i := range 5 {
			if a, _ := w.ask(t, number); a.Missing != call.MissingError {
				t.Fatalf("failure %d: %+v", i, a)
			}
		}
		before := p.Total()
		a, err := w.ask(t, number)
		if a.Missing != call.MissingSkipped || !errors.Is(err, crm.ErrSkipped) || p.Total() != before {
			t.Errorf("open: %+v, %v, %d requests", a, err, p.Total()-before)
		}
		if ok, why := w.Ready(); ok || !strings.Contains(why, "500") {
			t.Errorf("ready: %v, %q", ok, why)
		}
		p.Heal()
		time.Sleep(time.Hour) // without Run there is no probe, and no caller closes it
		if a, _ := w.ask(t, number); a.Missing != call.MissingSkipped {
			t.Errorf("a caller closed the breaker: %+v", a)
		}
		w.run(t)
		time.Sleep(2 * time.Second)
		w.found(t)
		if !strings.Contains(w.log.String(), "answers again") {
			t.Errorf("the log does not tell:\n%s", w.log)
		}
	})
}

// A silent portal must not be seen as healthy because a caller hung up, nor as
// down because of the number of callers who did.
func TestHangingUpIsNoFailure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		p.SetFault(crmtest.Fault{Kind: crmtest.Slow, Latency: time.Second})
		w := newWorld(t, p)
		for i := range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), deadline)
			go func() {
				time.Sleep(100 * time.Millisecond)
				cancel()
			}()
			if _, err := w.Lookup(ctx, call.Number(fmt.Sprintf("+7916123456%d", i))); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		if _, err := w.ask(t, number); err != nil {
			t.Error(err)
		}
	})
}

// A late answer moves no call, and sets the mirror right for the next one.
func TestLateAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		id := p.AddContact(crmtest.Contact{Responsible: 61, Phones: []string{string(number)}})
		w := newWorld(t, p)
		w.run(t)
		m := newMirror(t, w, newMemory(), func(c *crm.MirrorConfig) { c.Every = time.Hour })
		runMirror(t, m)
		time.Sleep(time.Minute)
		wantOwner := func(want int) {
			t.Helper()
			if a, ok := m.Lookup(number, time.Now()); !ok || len(a.Entities) != 1 || a.Entities[0].Responsible != want {
				t.Errorf("the mirror says %+v, %v; want the responsible %d", a, ok, want)
			}
		}
		p.SetField(call.KindContact, id, "ASSIGNED_BY_ID", "62") // nobody has told the mirror
		p.SetFault(crmtest.Fault{Kind: crmtest.Slow, Latency: deadline + 600*time.Millisecond})
		late := func() {
			t.Helper()
			if a, _ := w.ask(t, number); a.Missing != call.MissingDeadline || len(a.Entities) != 0 {
				t.Errorf("%+v", a)
			}
		}
		late()
		wantOwner(61)
		time.Sleep(time.Second)
		wantOwner(62)
		late()
	})
}

// Background work that used its share up does not delay a look-up; thirty
// different callers at once are asked for at once.
func TestLookupsGoFirst(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		p.SetRate(2, 50)
		w := newWorld(t, p)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				for ctx.Err() == nil {
					err := w.Call(ctx, crm.LaneSync, "crm.contact.list", map[string]any{"start": -1}, nil)
					if err != nil && !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
				}
			})
		}
		time.Sleep(time.Minute)
		began := time.Now()
		for i := range 30 {
			if _, err := w.ask(t, call.Number(fmt.Sprintf("+7916765%04d", i))); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("thirty look-ups waited %v behind background work", took)
		}
		cancel()
		wg.Wait()
	})
}

// Beyond the portal's limit a look-up is refused at once where its turn would
// come too late, so that those before it are in time.
func TestBudgetIsNotOverdrawn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		p.SetRate(2, 50)
		w := newWorld(t, p)
		served, refused := 0, 0
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				_, err := w.ask(t, call.Number(fmt.Sprintf("+7916765%04d", i)))
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					served++
				} else if strings.Contains(err.Error(), "limit") || strings.Contains(err.Error(), "too many") {
					refused++
				} else {
					t.Error(err)
				}
			})
			time.Sleep(time.Second / 20)
		}
		wg.Wait()
		if want := 50 + 2*10; math.Abs(float64(served-want)) > 3 || served+refused != 200 {
			t.Errorf("%d served, %d refused; the portal allows about %d", served, refused, want)
		}
	})
}

// A full bucket of the portal is waited for within the deadline.
func TestQueryLimitIsRepeated(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		p.AddContact(crmtest.Contact{Responsible: 61, Phones: []string{string(number)}})
		w := newWorld(t, p)
		w.run(t)
		synctest.Wait()
		p.SetFault(crmtest.Fault{Kind: crmtest.QueryLimit})
		go func() {
			time.Sleep(300 * time.Millisecond)
			p.Heal()
		}()
		if got := w.found(t); len(got) != 1 {
			t.Errorf("%+v", got)
		}
	})
}

// Connections on which nothing comes any more, as after an outage of the
// network, cost one look-up and not one each.
func TestDeadIdleConnections(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		w := newWorld(t, p)
		p.SetFault(crmtest.Fault{Kind: crmtest.Slow, Latency: 100 * time.Millisecond})
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				if _, err := w.ask(t, call.Number(fmt.Sprintf("+7916765%04d", i))); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		w.net.swallow()
		if a, _ := w.ask(t, number); a.Missing != call.MissingDeadline {
			t.Errorf("a dead connection answered: %+v", a)
		}
		if _, err := w.ask(t, number); err != nil {
			t.Error("the next look-up took a dead connection too:", err)
		}
	})
}

// A connection that breaks under a look-up after it was idle is not the
// look-up's end: it only reads, and is sent again.
func TestBrokenIdleConnection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		w := newWorld(t, p)
		if _, err := w.ask(t, "+79160000000"); err != nil {
			t.Fatal(err)
		}
		p.SetFault(crmtest.Fault{Kind: crmtest.Reset, Times: 1})
		if _, err := w.ask(t, number); err != nil {
			t.Error(err)
		}
	})
}

// Failures of look-ups begun before the portal healed do not make it skipped
// once more.
func TestOldFailuresAreForgotten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		w := newWorld(t, p)
		w.run(t)
		synctest.Wait()
		p.SetFault(crmtest.Fault{Kind: crmtest.Silence})
		var wg sync.WaitGroup
		for i := range 20 {
			if i == 10 {
				time.Sleep(deadline - 100*time.Millisecond)
			}
			wg.Go(func() {
				if a, _ := w.ask(t, call.Number(fmt.Sprintf("+7916765%04d", i))); a.Missing != call.MissingDeadline {
					t.Errorf("%+v", a)
				}
			})
		}
		time.Sleep(200 * time.Millisecond)
		p.Heal()
		wg.Wait()
		if _, err := w.ask(t, number); err != nil {
			t.Error(err)
		}
	})
}
