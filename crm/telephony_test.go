package crm_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/crm"
	"frontdesk/crm/crmtest"
)

const placeholder = 9

// newDesk is a world for the call log: 61 and 62 talk, 9 holds what is
// nobody's, 63 has left.
func newDesk(t *testing.T, change ...func(*crm.Config)) *world {
	p := newPortal(crmtest.Options{})
	people(p)
	return newWorld(t, p, change...)
}

func people(p *crmtest.Portal) {
	p.AddUser(crmtest.User{ID: placeholder, FirstName: "Fake"})
	p.AddUser(crmtest.User{ID: 63, Dismissed: true})
}

// incoming is a call of a stranger.
func incoming(id string) crm.RegisterCall {
	return crm.RegisterCall{
		Employee: placeholder, Number: number, Type: crm.CallIn, Started: time.Now(), Line: "carrier", ExternalID: id,
		Create: true, Source: "CALL", Show: true,
	}
}

func talked(callID string, employee int) crm.FinishCall {
	return crm.FinishCall{CallID: callID, Employee: employee, Duration: 95500 * time.Millisecond, Status: crm.StatusTalked}
}

func register(t *testing.T, w *world, r crm.RegisterCall) crm.Registered {
	t.Helper()
	out, err := w.Register(t.Context(), r)
	if err != nil {
		t.Fatalf("registering: %v", err)
	}
	return out
}

func TestACallIsLogged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newDesk(t)
		r := register(t, w, incoming("leg-1"))
		if len(r.CreatedEntities) != 1 || r.CreatedEntities[0] != r.Entity || r.Entity.Kind != call.KindLead || r.LeadError != "" {
			t.Errorf("registered %+v", r)
		}
		if ok, err := w.Show(t.Context(), r.CallID, 61, 62); err != nil || !ok {
			t.Errorf("showing: %v %v", ok, err)
		}
		if ok, err := w.Hide(t.Context(), r.CallID, placeholder, 62); err != nil || !ok {
			t.Errorf("hiding: %v %v", ok, err)
		}
		if c := w.portal.Calls()[0]; !slices.Equal(c.Shown, []int{61}) || c.Line != "carrier" || c.User != placeholder {
			t.Errorf("call %+v", c)
		}
		f, err := w.Finish(t.Context(), talked(r.CallID, 61))
		if err != nil {
			t.Fatal(err)
		}
		if f.Activity == 0 || f.Owner != r.Entity || f.Employee != 61 || f.Seconds != 95 || f.Status != crm.StatusTalked || f.ActivityError != "" {
			t.Errorf("finished %+v", f)
		}
		a := w.portal.Activities()
		if len(a) != 1 || a[0].Author != 61 || a[0].Responsible != 61 || a[0].Missed || a[0].ID != f.Activity {
			t.Errorf("activities %+v", a)
		}
		if l := w.portal.Leads(); len(l) != 1 || !slices.Equal(l[0].Owners, []int{placeholder, 61}) || l[0].Source != "CALL" {
			t.Errorf("leads %+v", l)
		}
		if ok, err := w.Show(t.Context(), r.CallID, 62); err != nil || ok {
			t.Errorf("showing what is over: %v %v", ok, err)
		}
		logged, err := w.CallsByExternalID(t.Context(), "leg-1", "leg-2")
		if err != nil || len(logged) != 1 || len(logged["leg-1"]) != 1 {
			t.Fatalf("statistics %+v, %v", logged, err)
		}
		if got := logged["leg-1"][0]; got.CallID != r.CallID || got.Finished != f || got.File != 0 || got.ExternalID != "leg-1" {
			t.Errorf("logged %+v, want %+v", got, f)
		}
	})
}

func TestAMissedCall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newDesk(t)
		r := register(t, w, incoming("leg"))
		missed := crm.FinishCall{CallID: r.CallID, Employee: placeholder, Status: crm.StatusMissed, Reason: "queue 800", Duration: -time.Second}
		if f, err := w.Finish(t.Context(), missed); err != nil || f.Seconds != 0 || f.Status != "304" {
			t.Errorf("finished %+v, %v", f, err)
		}
		if a := w.portal.Activities(); len(a) != 1 || !a[0].Missed || a[0].Completed {
			t.Errorf("activities %+v", a)
		}
		if c := w.portal.Calls()[0]; c.Reason != "queue 800" {
			t.Errorf("call %+v", c)
		}
		_, err := w.Finish(t.Context(), missed)
		if !crm.CallNotFound(err) || !crm.Refused(err) || crm.Ambiguous(err) {
			t.Errorf("a second end: %v", err)
		}
	})
}

// The same call gives the same id for half an hour, another leg its own.
func TestRegisteringAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newDesk(t)
		first := register(t, w, incoming("leg-1"))
		if again := register(t, w, incoming("leg-1")); again.CallID != first.CallID || len(again.CreatedEntities) != 0 || again.Entity != first.Entity {
			t.Errorf("again %+v", again)
		}
		if other := register(t, w, incoming("leg-2")); other.CallID == first.CallID || other.Entity != first.Entity {
			t.Errorf("another leg %+v", other)
		}
		time.Sleep(31 * time.Minute)
		if late := register(t, w, incoming("leg-1")); late.CallID == first.CallID {
			t.Error("the id lived for more than half an hour")
		}
		if n := len(w.portal.Leads()); n != 1 {
			t.Errorf("%d leads", n)
		}
	})
}

// What the portal refuses, in its words, and what a worker learns of it.
func TestRefusals(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newDesk(t)
		r := register(t, w, incoming("leg"))
		change := func(f func(*crm.RegisterCall)) error {
			c := incoming("other")
			f(&c)
			_, err := w.Register(t.Context(), c)
			return err
		}
		finish := func(f crm.FinishCall) error { _, err := w.Finish(t.Context(), f); return err }
		attach := func(id, name string, content []byte) error {
			_, err := w.AttachRecord(t.Context(), id, recording(name, content))
			return err
		}
		never := errors.New("some other id")
		for _, c := range []struct {
			name string
			err  error
			is   func(error) bool // beside Refused
		}{
			{"dismissed", change(func(c *crm.RegisterCall) { c.Employee = 63 }), crm.EmployeeNotFound},
			{"unknown employee", change(func(c *crm.RegisterCall) { c.Employee = 1234 }), crm.EmployeeNotFound},
			{"nobody", change(func(c *crm.RegisterCall) { c.Employee = 0 }), nil},
			{"no number", change(func(c *crm.RegisterCall) { c.Number = "" }), nil},
			{"letters", change(func(c *crm.RegisterCall) { c.Number = "anonymous" }), nil},
			{"no type", change(func(c *crm.RegisterCall) { c.Type = 0 }), nil},
			{"finish for nobody", finish(crm.FinishCall{CallID: r.CallID}), nil},
			{"finish nothing", finish(crm.FinishCall{Employee: 61}), nil},
			{"finish unknown", finish(talked("externalCall.x", 61)), crm.CallNotFound},
			{"finish for who left", finish(talked(r.CallID, 63)), crm.EmployeeNotFound},
			{"wrong ending", attach(r.CallID, "a.ogg", mp3(100)), nil},
			{"empty", attach(r.CallID, "a.mp3", nil), nil},
			{"no call", attach("", "a.mp3", mp3(100)), nil},
		} {
			if !crm.Refused(c.err) || crm.Ambiguous(c.err) || crm.Denied(c.err) || crm.RetryAfter(c.err) != 0 {
				t.Errorf("%s: %v: not simply refused", c.name, c.err)
			}
			if c.is != nil && !c.is(c.err) {
				t.Errorf("%s: %v: not told apart", c.name, c.err)
			}
			if crm.NotYet(c.err) || crm.WrongAuth(c.err) || crm.NotYet(never) {
				t.Errorf("%s: %v: taken for something else", c.name, c.err)
			}
		}
		early := attach(r.CallID, "a.mp3", mp3(100))
		if !crm.NotYet(early) || crm.Refused(early) || crm.Ambiguous(early) || crm.Denied(early) {
			t.Errorf("a recording before the end: %v", early)
		}
		if err := finish(talked(r.CallID, 61)); err != nil {
			t.Fatal(err)
		}
		if err := attach(r.CallID, "a.mp3", []byte("<html>not audio</html>")); !crm.Refused(err) {
			t.Errorf("what is no audio: %v", err)
		}
		if err := attach(r.CallID, "a.MP3", mp3(100)); err != nil {
			t.Error(err)
		}
	})
}

// Whatever befalls a request, before or after it was executed: what is not
// ambiguous was not executed, so that a worker that looks first where it is
// ambiguous finishes each call once.
func TestFaultsAreSorted(t *testing.T) {
	for _, kind := range crmtest.Kinds() {
		if kind == crmtest.Moved || kind == crmtest.TLSStall || kind == crmtest.Refuse || kind == crmtest.EmptyResult {
			continue // needs sockets, or is a lie no search can find out
		}
		for _, executed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s executed %v", kind, executed), func(t *testing.T) {
				bubble(t, func(t *testing.T) { faultIsSorted(t, kind, executed) })
			})
		}
	}
}

func faultIsSorted(t *testing.T, kind crmtest.Kind, executed bool) {
	w := newDesk(t)
	r := register(t, w, incoming("leg"))
	fault := crmtest.Fault{Kind: kind, Latency: 2 * time.Second, Executed: executed, Size: 3 << 20}
	if kind == crmtest.DeadAfterFirst {
		fault.After = -1 // the first too
	}
	w.portal.SetFault(fault)
	_, err := w.Finish(t.Context(), talked(r.CallID, 61))
	w.portal.Heal()
	done := w.portal.Calls()[0].Finished
	if err == nil {
		if !done {
			t.Fatal("a success of nothing")
		}
		return
	}
	if done && !crm.Ambiguous(err) && !isLimit(kind) {
		t.Errorf("%v: executed, and not ambiguous", err)
	}
	if crm.Ambiguous(err) && (crm.Refused(err) || crm.Denied(err)) {
		t.Errorf("%v: ambiguous, and something else", err)
	}
	if crm.Refused(err) && kind != crmtest.Partial {
		t.Errorf("%v: given up for good", err)
	}
	if (kind == crmtest.QueryLimit || kind == crmtest.Overload || kind == crmtest.OperationTime) != (crm.RetryAfter(err) > 0) {
		t.Errorf("%v: wait %v", err, crm.RetryAfter(err))
	}
	if (kind == crmtest.NoAuth || kind == crmtest.Expired || kind == crmtest.Deleted) != crm.Denied(err) {
		t.Errorf("%v: denied %v", err, crm.Denied(err))
	}
	time.Sleep(11 * time.Minute)
	logged, err := w.CallsByExternalID(t.Context(), "leg")
	if err != nil || (len(logged["leg"]) == 1) != done {
		t.Fatalf("statistics %+v, %v; done %v", logged, err, done)
	}
	if !done {
		if _, err := w.Finish(t.Context(), talked(r.CallID, 61)); err != nil {
			t.Error(err)
		}
	}
}

// isLimit reports whether a fault says in so many words that the request was
// not executed, which it then is not.
func isLimit(k crmtest.Kind) bool {
	return slices.Contains([]crmtest.Kind{
		crmtest.QueryLimit, crmtest.Overload, crmtest.OperationTime, crmtest.Expired, crmtest.NoAuth, crmtest.Deleted,
	}, k)
}

func TestAPortalThatCannotBeReachedIsNotAmbiguous(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newDesk(t)
		if err := w.net.Close(); err != nil {
			t.Fatal(err)
		}
		_, err := w.Register(t.Context(), incoming("leg"))
		if err == nil || crm.Ambiguous(err) || crm.Refused(err) || crm.Denied(err) {
			t.Errorf("%v: ambiguous %v", err, crm.Ambiguous(err))
		}
	})
}

func TestAMethodThatRests(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newDesk(t)
		w.portal.SetOperating(time.Second, time.Second)
		register(t, w, incoming("a"))
		for range 2 { // told by the portal, and then known
			_, err := w.Register(t.Context(), incoming("b"))
			if wait := crm.RetryAfter(err); wait < 9*time.Minute || wait > 10*time.Minute || crm.Ambiguous(err) || crm.Refused(err) {
				t.Errorf("%v: wait %v", err, wait)
			}
		}
		time.Sleep(10 * time.Minute)
		register(t, w, incoming("b"))
	})
}

func TestWebhooksThatTelephonyRefuses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, refresh := appPortal()
		people(p)
		p.RequireApp("telephony.externalCall.register", "telephony.externalCall.finish")
		w := newAppWorld(t, p, newMemory(), refresh)
		r := register(t, w, incoming("leg"))
		if _, err := w.Finish(t.Context(), talked(r.CallID, 62)); err != nil {
			t.Fatal(err)
		}
		if a := p.Activities(); len(a) != 1 || a[0].Author != 62 {
			t.Errorf("activities %+v", a)
		}
		if c := p.Calls(); len(c) != 1 || !c[0].Finished {
			t.Errorf("calls %+v", c)
		}
	})
	t.Run("without an application", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			w := newDesk(t)
			w.portal.RequireApp("telephony.externalCall.register")
			_, err := w.Register(t.Context(), incoming("leg"))
			if !crm.WrongAuth(err) || !crm.Denied(err) || crm.Refused(err) || crm.Ambiguous(err) {
				t.Errorf("%v", err)
			}
		})
	})
}

// A portal that is known to be down is not asked by those who can wait.
func TestTheLogWaitsForAPortalThatIsDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newDesk(t)
		w.portal.SetFault(crmtest.Fault{Kind: crmtest.ServerError})
		for range 5 {
			if _, err := w.ask(t, number); err == nil {
				t.Fatal("answered")
			}
		}
		before := w.portal.Total()
		_, err := w.Register(t.Context(), incoming("leg"))
		_, found := w.CallsByExternalID(t.Context(), "leg")
		for _, err := range []error{err, found} {
			if !errors.Is(err, crm.ErrSkipped) || crm.RetryAfter(err) == 0 || crm.Ambiguous(err) || crm.Refused(err) {
				t.Errorf("%v", err)
			}
		}
		if n := w.portal.Total() - before; n != 0 {
			t.Errorf("%d requests", n)
		}
	})
}
