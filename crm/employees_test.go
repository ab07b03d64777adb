package crm_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"frontdesk/call"
	"frontdesk/crm"
	"frontdesk/crm/crmtest"

	"github.com/google/go-cmp/cmp"
)

func TestEmployees(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		p.AddUser(crmtest.User{ID: 63, FirstName: "Gone", Dismissed: true, Fields: map[string]any{"UF_USR_FD_STICKY": "0"}})
		p.AddUser(crmtest.User{ID: 64, Extension: "204", Fields: map[string]any{"UF_USR_FD_STICKY": 30}})
		for range 120 {
			p.AddUser(crmtest.User{FirstName: "More"})
		}
		w := newWorld(t, p)
		if w.Employees() != nil {
			t.Error("employees are known before anybody was asked")
		}
		if ok, why := w.Ready(); ok || why == "" {
			t.Error("ready without employees")
		}
		w.run(t)
		synctest.Wait()
		zero, thirty := 0, 30
		for id, want := range map[int]call.Employee{
			61: {ID: 61, FirstName: "Olga", LastName: "R", Extension: "201"},
			63: {ID: 63, FirstName: "Gone", Dismissed: true, StickyMinutes: &zero},
			64: {ID: 64, Extension: "204", StickyMinutes: &thirty},
		} {
			got, _ := w.Employee(id)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		}
		if n := len(w.Employees()); n != 125 {
			t.Errorf("%d employees, want 125", n)
		}
		if ok, why := w.Ready(); !ok {
			t.Error("not ready:", why)
		}
	})
}

// An answer that is empty, broken or missing never replaces good employees.
func TestEmployeesOutliveBadAnswers(t *testing.T) {
	for _, kind := range crmtest.Kinds() {
		if kind == crmtest.Slow || kind == crmtest.Partial || kind == crmtest.Refuse || kind == crmtest.Huge || kind == crmtest.Moved {
			continue // harmless to user.get, or tested elsewhere
		}
		t.Run(string(kind), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := newPortal(crmtest.Options{})
				w := newWorld(t, p)
				w.run(t)
				synctest.Wait()
				before := len(w.Employees())
				p.SetFault(crmtest.Fault{Kind: kind})
				time.Sleep(crm.DefaultRefresh + time.Minute)
				if n := len(w.Employees()); before != 3 || n != before {
					t.Errorf("%d employees became %d", before, n)
				}
				p.AddUser(crmtest.User{ID: 70})
				p.Heal()
				time.Sleep(crm.DefaultRefresh + time.Minute)
				if _, ok := w.Employee(70); !ok && kind != crmtest.OperationTime {
					t.Error("the healed portal's new employee is not known")
				}
			})
		})
	}
}

// A client starts while the portal is dead and learns the employees later.
func TestStartWithADeadPortal(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		p.AddContact(crmtest.Contact{Responsible: 61, Phones: []string{string(number)}})
		p.SetFault(crmtest.Fault{Kind: crmtest.Reset})
		w := newWorld(t, p)
		w.run(t)
		time.Sleep(time.Minute)
		if _, err := w.ask(t, number); err == nil {
			t.Error("a dead portal answered")
		}
		p.Heal()
		time.Sleep(5 * time.Second)
		w.found(t)
		time.Sleep(30 * time.Second)
		if len(w.Employees()) != 3 {
			t.Errorf("%d employees", len(w.Employees()))
		}
	})
}

// An employee who is new since the last refresh is asked for by the look-up, and
// one whom the portal does not know is not asked for again and again.
func TestNewEmployeeIsAskedFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		w := newWorld(t, p)
		w.run(t)
		synctest.Wait()
		p.AddUser(crmtest.User{ID: 77, Extension: "207"})
		p.AddContact(crmtest.Contact{Responsible: 77, Phones: []string{string(number)}, Fields: map[string]any{"UF_CRM_FD_MANAGER": 999}})
		w.found(t)
		if e, ok := w.Employee(77); !ok || e.Extension != "207" {
			t.Errorf("employee %+v, %v", e, ok)
		}
		before := p.Total()
		time.Sleep(time.Second)
		w.found(t)
		if n := p.Total() - before; n != 1 {
			t.Errorf("a second look-up took %d requests, want 1", n)
		}
		p.AddContact(crmtest.Contact{Responsible: 78, Phones: []string{string(number)}})
		time.Sleep(time.Second)
		p.SetFault(crmtest.Fault{Kind: crmtest.DeadAfterFirst})
		a, err := w.ask(t, number)
		if !errors.Is(err, crm.ErrDeadline) || a.Missing != call.MissingDeadline || len(a.Entities) != 0 {
			t.Errorf("the second request hung: %+v, %v; want no partial decision", a, err)
		}
	})
}
