package crm_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"frontdesk/crm"
	"frontdesk/crm/crmtest"
)

// An employee's webhook that is refused does not keep anything from being
// written; it is said, counted and tried again.
func TestRefusedAuthors(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newAuthors(t)
		add := func(want crm.Authored) {
			t.Helper()
			l := stranger()
			l.Origin = fmt.Sprint(w.portal.Total())
			if made, err := w.AddLead(t.Context(), 61, l); err != nil || made.Authored != want {
				t.Errorf("%+v, %v; want %s", made, err, want)
			}
		}
		refusals := func() int { return strings.Count(w.log.String(), "webhook is refused") }
		add(crm.AuthoredSelf)
		w.portal.RevokeWebhook(own)
		add(crm.AuthoredFallback)
		before := w.portal.Total()
		add(crm.AuthoredFallback)
		if n := w.portal.Total() - before; n != 1 {
			t.Errorf("%d requests: it is tried again at once", n)
		}
		time.Sleep(61 * time.Minute)
		before = w.portal.Total()
		add(crm.AuthoredFallback)
		if n := w.portal.Total() - before; n != 2 || refusals() != 1 {
			t.Errorf("%d requests, %d lines", n, refusals())
		}
		w.portal.AddWebhook(61, own)
		time.Sleep(61 * time.Minute)
		add(crm.AuthoredSelf)
		if !strings.Contains(w.log.String(), "accepted again") {
			t.Errorf("log %s", w.log)
		}
	})
}

// A scope that is missing concerns the methods of that scope alone, a right that
// is missing this one thing.
func TestAuthorsWithFewRights(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newAuthors(t)
		w.portal.SetScopes(61, "crm")
		task := crm.Task{Title: "T", Responsible: 62, Origin: "c"}
		for range 2 {
			if made, err := w.AddTask(t.Context(), 61, task); err != nil || made.Authored != crm.AuthoredFallback {
				t.Errorf("%+v, %v", made, err)
			}
		}
		if made, err := w.AddLead(t.Context(), 61, stranger()); err != nil || made.Authored != crm.AuthoredSelf {
			t.Errorf("%+v, %v", made, err)
		}
		w.portal.SetReadOnly(61, true)
		before := w.portal.Total()
		for range 2 {
			if made, err := w.AddLead(t.Context(), 61, stranger()); err != nil || made.Authored != crm.AuthoredFallback {
				t.Errorf("%+v, %v", made, err)
			}
		}
		if n := w.portal.Total() - before; n != 4 {
			t.Errorf("%d requests: one right that is missing is no reason to give the webhook up", n)
		}
		w.portal.SetReadOnly(1, true)
		if made, err := w.AddLead(t.Context(), 61, stranger()); !crm.Denied(err) || made.Authored != crm.AuthoredFallback {
			t.Errorf("%+v, %v", made, err)
		}
	})
}

// What is no matter of the credential is not repeated with another: it may have
// been executed.
func TestAuthorsAreNotReplacedAfterAnAmbiguousFailure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newAuthors(t)
		w.portal.SetFault(crmtest.Fault{Kind: crmtest.ServerError, Executed: true, Times: 1})
		if _, err := w.AddLead(t.Context(), 61, stranger()); !crm.Ambiguous(err) {
			t.Errorf("%v", err)
		}
		if n := len(w.portal.Leads()); n != 1 {
			t.Errorf("%d leads", n)
		}
		bad := stranger()
		w.portal.SetFault(crmtest.Fault{Kind: crmtest.ErrorInside, Code: "ERROR_CORE", Times: 1})
		if _, err := w.AddLead(t.Context(), 61, bad); !crm.Refused(err) {
			t.Errorf("%v", err)
		}
	})
}
