package crm_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/crm"
	"frontdesk/crm/crmtest"
)

const own = "own61" + canary

// asEmployee gives employee 61 a webhook of their own.
func asEmployee(c *crm.Config) {
	c.Voices.Employees = map[int]crm.Webhook{61: "http://portal.test/rest/61/" + own + "/"}
}

// newAuthors is a world whose employee 61 has a webhook.
func newAuthors(t *testing.T) *world {
	w := newDesk(t, asEmployee)
	w.portal.AddWebhook(61, own)
	return w
}

func stranger() crm.NewLead {
	return crm.NewLead{Title: "Call " + string(number), Number: number, Responsible: placeholder, Note: "DID 74951234567", Origin: "call-1"}
}

func TestLeads(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newAuthors(t)
		if _, found, err := w.FindLead(t.Context(), "call-1"); err != nil || found {
			t.Errorf("found before it was made: %v", err)
		}
		made, err := w.AddLead(t.Context(), 61, stranger())
		if err != nil || made.Authored != crm.AuthoredSelf {
			t.Fatalf("%+v, %v", made, err)
		}
		other := stranger()
		other.Origin, other.Source = "call-2", "WEB"
		if _, err := w.AddLead(t.Context(), 0, other); err != nil {
			t.Fatal(err)
		}
		l, found, err := w.FindLead(t.Context(), "call-1")
		if want := (crm.Lead{ID: made.ID, Responsible: placeholder}); err != nil || !found || l != want {
			t.Errorf("found %+v, %v", l, err)
		}
		done, by, err := w.ReassignLead(t.Context(), 61, made.ID, placeholder, 61)
		if err != nil || !done || by != crm.AuthoredSelf {
			t.Errorf("reassigned %v by %v, %v", done, by, err)
		}
		leads := w.portal.Leads()
		want := crmtest.LeadState{
			ID: made.ID, Title: "Call +79161234567", Phones: []string{"+79161234567"}, Responsible: 61, Owners: []int{placeholder, 61},
			Author: 61, Status: "NEW", Source: "CALL", Origin: "call-1",
		}
		if !reflect.DeepEqual(leads[0], want) || leads[1].Source != "WEB" || leads[1].Author != 1 {
			t.Errorf("leads %+v", leads)
		}
		if by, _ := w.portal.Field(call.KindLead, made.ID, "MODIFY_BY_ID"); by != "61" {
			t.Errorf("changed by %v", by)
		}
	})
}

// A lead that somebody took stays theirs; what is done is not done again.
func TestLeadsAreNotTakenAway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newDesk(t)
		made, err := w.AddLead(t.Context(), 0, stranger())
		if err != nil {
			t.Fatal(err)
		}
		w.portal.SetField(call.KindLead, made.ID, "ASSIGNED_BY_ID", "62")
		if done, _, err := w.ReassignLead(t.Context(), 0, made.ID, placeholder, 61); err != nil || done {
			t.Errorf("taken from 62: %v %v", done, err)
		}
		if done, _, err := w.ReassignLead(t.Context(), 0, made.ID, placeholder, 62); err != nil || !done {
			t.Errorf("theirs already: %v %v", done, err)
		}
		w.portal.SetField(call.KindLead, made.ID, "STATUS_SEMANTIC_ID", "S")
		if l, found, err := w.ReadLead(t.Context(), made.ID); err != nil || !found || !l.Closed {
			t.Errorf("%+v %v %v", l, found, err)
		}
		w.portal.Remove(call.KindLead, made.ID)
		if done, _, err := w.ReassignLead(t.Context(), 0, made.ID, placeholder, 61); err != nil || done {
			t.Errorf("deleted: %v %v", done, err)
		}
		if _, found, err := w.ReadLead(t.Context(), made.ID); err != nil || found {
			t.Errorf("deleted: %v %v", found, err)
		}
	})
}

func stamp() (from, until time.Time) {
	from = time.Now().Add(-time.Hour)
	return from, from.Add(95 * time.Second)
}

func TestActivities(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newAuthors(t)
		contact := w.portal.AddContact(crmtest.Contact{Responsible: 62, Phones: []string{string(number)}})
		from, until := stamp()
		a := crm.Activity{
			Owner: crm.EntityID{Kind: call.KindContact, ID: contact}, Number: number, Direction: call.Out, Subject: "Call", Text: "link",
			Started: from, Ended: until, Responsible: 61, Origin: "leg-1", Recordings: []crm.Recording{recording("a.mp3", mp3(50))},
		}
		made, err := w.AddActivity(t.Context(), 61, a)
		if err != nil || made.Authored != crm.AuthoredSelf {
			t.Fatalf("%+v, %v", made, err)
		}
		got := w.portal.Activities()[0]
		if got.Author != 61 || got.Responsible != 61 || got.OwnerID != contact || got.Direction != 2 || !got.Completed ||
			got.Started != from.Format(time.RFC3339) || len(got.Files) != 1 || len(got.Files[0].Data) != 50 || got.Number != string(number) {
			t.Errorf("activity %+v", got)
		}
		if id, found, err := w.FindActivity(t.Context(), "leg-1"); err != nil || !found || id != made.ID {
			t.Errorf("found %d %v, %v", id, found, err)
		}
		if _, found, err := w.FindActivity(t.Context(), "leg-2"); err != nil || found {
			t.Errorf("another's: %v %v", found, err)
		}
		if found, by, err := w.DescribeActivity(t.Context(), 62, made.ID, "better"); err != nil || !found || by != crm.AuthoredPortal {
			t.Errorf("described: %v %v %v", found, by, err)
		}
		if found, _, err := w.DescribeActivity(t.Context(), 62, made.ID+1, "better"); err != nil || found {
			t.Errorf("described what is gone: %v %v", found, err)
		}
		if got := w.portal.Activities()[0]; got.Text != "better" || len(got.Files) != 1 {
			t.Errorf("activity %+v", got)
		}
		a.Direction, a.Open, a.Recordings = call.In, true, nil
		if _, err := w.AddActivity(t.Context(), 0, a); err != nil {
			t.Fatal(err)
		}
		if got := w.portal.Activities()[1]; got.Direction != 1 || got.Completed {
			t.Errorf("activity %+v", got)
		}
	})
}

func TestActivitiesThatAreRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newDesk(t)
		contact := crm.EntityID{Kind: call.KindContact, ID: w.portal.AddContact(crmtest.Contact{Responsible: 62})}
		good := crm.Activity{Owner: contact, Number: number, Subject: "Call", Responsible: 61}
		huge := recording("a.wav", wav(20))
		huge.Size = 40 << 20
		for name, change := range map[string]func(*crm.Activity){
			"no owner":      func(a *crm.Activity) { a.Owner = crm.EntityID{} },
			"a deleted one": func(a *crm.Activity) { a.Owner.ID = 4321 },
			"no subject":    func(a *crm.Activity) { a.Subject = "" },
			"too large":     func(a *crm.Activity) { a.Recordings = []crm.Recording{huge} },
			"no recording":  func(a *crm.Activity) { a.Recordings = []crm.Recording{recording("a.exe", mp3(9))} },
		} {
			a := good
			change(&a)
			if _, err := w.AddActivity(t.Context(), 0, a); !crm.Refused(err) {
				t.Errorf("%s: %v", name, err)
			}
		}
		w.portal.SetReadOnly(1, true)
		if _, err := w.AddActivity(t.Context(), 0, good); !crm.Denied(err) || crm.Refused(err) {
			t.Errorf("without the right: %v", err)
		}
	})
}

func TestTasks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newAuthors(t)
		lead := crm.EntityID{Kind: call.KindLead, ID: w.portal.AddLead(crmtest.Lead{Title: "L", Responsible: 61})}
		since := time.Now()
		bound := crm.Task{Title: "Call back", Text: "+7916", Responsible: 62, Deadline: since.Add(4 * time.Hour), Entity: lead, Origin: "call-1"}
		made, err := w.AddTask(t.Context(), 61, bound)
		if err != nil || made.Authored != crm.AuthoredSelf {
			t.Fatalf("%+v, %v", made, err)
		}
		got := w.portal.Tasks()[0]
		if got.ID != made.ID || got.Author != 61 || got.Responsible != 62 || !slices.Equal(got.Bound, []string{fmt.Sprintf("L_%d", lead.ID)}) ||
			got.Deadline != since.Add(4*time.Hour).Format(time.RFC3339) {
			t.Errorf("task %+v", got)
		}
		free := crm.Task{Title: "Call back", Responsible: 62, Origin: "call-2"}
		if _, err := w.AddTask(t.Context(), 0, free); err != nil {
			t.Fatal(err)
		}
		for range 120 { // others of theirs, over several pages
			if _, err := w.AddTask(t.Context(), 0, crm.Task{Title: "Other", Responsible: 62, Origin: "x"}); err != nil {
				t.Fatal(err)
			}
		}
		for _, task := range []crm.Task{bound, free} {
			if id, found, err := w.FindTask(t.Context(), task, since); err != nil || !found || id == 0 {
				t.Errorf("%s: found %d %v, %v", task.Origin, id, found, err)
			}
			if _, found, err := w.FindTask(t.Context(), task, time.Now().Add(time.Hour)); err != nil || found {
				t.Errorf("%s: found one made before: %v", task.Origin, err)
			}
			task.Origin = "call-3"
			if _, found, err := w.FindTask(t.Context(), task, since); err != nil || found {
				t.Errorf("found another's: %v", err)
			}
		}
		for _, bad := range []crm.Task{{Responsible: 62}, {Title: "T"}, {Title: "T", Responsible: 63}} {
			if _, err := w.AddTask(t.Context(), 0, bad); !crm.Refused(err) {
				t.Errorf("%+v: %v", bad, err)
			}
		}
		if _, err := w.AddTask(t.Context(), 0, crm.Task{Title: "T", Responsible: 63}); !crm.EmployeeNotFound(err) {
			t.Errorf("for who left: %v", err)
		}
	})
}

// Whatever creates may have been executed before the answer was lost; what it
// made is then found.
func TestCreationsAreFoundAgain(t *testing.T) {
	for _, kind := range []crmtest.Kind{crmtest.ServerError, crmtest.Silence, crmtest.Reset, crmtest.HTML, crmtest.Truncated, crmtest.Junk} {
		t.Run(string(kind), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newDesk(t)
				since := time.Now()
				contact := crm.EntityID{Kind: call.KindContact, ID: w.portal.AddContact(crmtest.Contact{Responsible: 62})}
				task := crm.Task{Title: "T", Responsible: 62, Entity: contact, Origin: "c"}
				activity := crm.Activity{Owner: contact, Number: number, Subject: "Call", Responsible: 61, Origin: "c"}
				lead := stranger()
				add := map[string]func() error{
					"crm.lead.add":     func() error { _, err := w.AddLead(t.Context(), 0, lead); return err },
					"crm.activity.add": func() error { _, err := w.AddActivity(t.Context(), 0, activity); return err },
					"tasks.task.add":   func() error { _, err := w.AddTask(t.Context(), 0, task); return err },
				}
				find := map[string]func() (bool, error){
					"crm.lead.add":     func() (bool, error) { _, ok, err := w.FindLead(t.Context(), lead.Origin); return ok, err },
					"crm.activity.add": func() (bool, error) { _, ok, err := w.FindActivity(t.Context(), "c"); return ok, err },
					"tasks.task.add":   func() (bool, error) { _, ok, err := w.FindTask(t.Context(), task, since); return ok, err },
				}
				for method, add := range add {
					w.portal.SetFault(crmtest.Fault{Kind: kind, Method: method, Executed: true})
					if err := add(); !crm.Ambiguous(err) || crm.Refused(err) || crm.Denied(err) {
						t.Errorf("%s: %v", method, err)
					}
					if ok, err := find[method](); err != nil || !ok {
						t.Errorf("%s: found %v, %v", method, ok, err)
					}
				}
			})
		})
	}
}

func TestShapesOfCreations(t *testing.T) {
	t.Parallel()
	for result, want := range map[string]int{`3465`: 3465, `"3465"`: 3465, `null`: 0, `false`: 0, `[]`: 0, `0`: 0, `{}`: 0} {
		if w, err := said(t, result).AddLead(t.Context(), 0, stranger()); w.ID != want || (err == nil) != (want > 0) || err != nil && !crm.Ambiguous(err) {
			t.Errorf("%s: %+v, %v", result, w, err)
		}
	}
	for result, want := range map[string]int{`{"task":{"id":"7"}}`: 7, `{"task":{"id":7}}`: 7, `{"task":[]}`: 0, `[]`: 0, `{"task":{}}`: 0} {
		w, err := said(t, result).AddTask(t.Context(), 0, crm.Task{Title: "T", Responsible: 1})
		if w.ID != want || (err == nil) != (want > 0) || err != nil && !crm.Ambiguous(err) {
			t.Errorf("%s: %+v, %v", result, w, err)
		}
	}
	for result, want := range map[string]crm.Mode{`1`: crm.ModeClassic, `"2"`: crm.ModeSimple, `0`: 0, `"x"`: 0, `[]`: 0} {
		if m, err := said(t, result).Mode(t.Context()); m != want || (err == nil) != (want > 0) {
			t.Errorf("%s: %v, %v", result, m, err)
		}
	}
	unfiltered := `[{"ID":"1","ORIGINATOR_ID":"other","ORIGIN_ID":"call-1"},{"ID":"2","ORIGINATOR_ID":"frontdesk","ORIGIN_ID":"call-7"},{"ID":"3"}]`
	if _, found, err := said(t, unfiltered).FindLead(t.Context(), "call-1"); err != nil || found {
		t.Errorf("a filter that was dropped: %v %v", found, err)
	}
	ours := `[{"ID":"2","ORIGINATOR_ID":"frontdesk","ORIGIN_ID":"call-1","ASSIGNED_BY_ID":61,"STATUS_SEMANTIC_ID":"F"}]`
	if l, found, err := said(t, ours).FindLead(t.Context(), "call-1"); err != nil || !found || l != (crm.Lead{ID: 2, Responsible: 61, Closed: true}) {
		t.Errorf("%+v %v %v", l, found, err)
	}
	for _, find := range []func() error{
		func() error { _, _, err := said(t, ours).FindLead(t.Context(), ""); return err },
		func() error { _, _, err := said(t, ours).FindActivity(t.Context(), ""); return err },
		func() error { _, _, err := said(t, ours).FindTask(t.Context(), crm.Task{}, time.Time{}); return err },
	} {
		if err := find(); !crm.Refused(err) {
			t.Errorf("a search for nothing: %v", err)
		}
	}
	if _, _, err := said(t, `{"ID":"9"}`).ReadLead(t.Context(), 8); err == nil {
		t.Error("another lead was taken for the one asked for")
	}
}

func TestModeIsKept(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{NoLeads: true})
		w := newWorld(t, p)
		for range 3 {
			if m, err := w.Mode(t.Context()); err != nil || m != crm.ModeSimple {
				t.Errorf("%v, %v", m, err)
			}
		}
		if p.Total() != 1 {
			t.Errorf("%d requests", p.Total())
		}
		time.Sleep(16 * time.Minute)
		p.SetFault(crmtest.Fault{Kind: crmtest.ServerError})
		if _, err := w.Mode(t.Context()); err == nil {
			t.Error("an old mode is believed for ever")
		}
	})
}

func TestHead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		w := newWorld(t, p)
		for _, d := range []crmtest.Department{
			{ID: 1, Name: "All", Head: 7}, {ID: 2, Name: "Sales", Parent: 1, Head: 8}, {ID: 3, Name: "North", Parent: 2, Head: 10},
			{ID: 4, Name: "Headless", Parent: 3}, {ID: 5, Name: "Left", Parent: 2, Head: 63}, {ID: 6, Parent: 11, Head: 0}, {ID: 11, Parent: 6},
			{ID: 12, Name: "Orphan", Parent: 999},
		} {
			p.AddDepartment(d)
		}
		for i := range 120 {
			p.AddDepartment(crmtest.Department{ID: 100 + i, Parent: 1})
		}
		for id, in := range map[int][]int{
			7: {1}, 8: {2}, 10: {3}, 20: {3}, 21: {4}, 22: {5}, 23: {6}, 24: {}, 25: {12, 3}, 26: {219}, 63: {5},
		} {
			p.AddUser(crmtest.User{ID: id, Departments: in, Dismissed: id == 63})
		}
		if err := w.LoadEmployees(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := p.Total()
		for user, want := range map[int]int{
			20: 10, 21: 10, 10: 8, 8: 7, 7: 0, 22: 8, 23: 0, 24: 0, 25: 10, 26: 7, 999: 0,
		} {
			if head, err := w.Head(t.Context(), user); err != nil || head != want {
				t.Errorf("head of %d: %d, %v; want %d", user, head, err, want)
			}
		}
		if n := p.Total() - before; n != 11+3 {
			t.Errorf("%d requests", n)
		}
	})
	t.Run("without the permission", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			w := newDesk(t)
			w.portal.SetScopes(1, "crm", "user")
			if _, err := w.Head(t.Context(), 61); !crm.Denied(err) {
				t.Errorf("%v", err)
			}
		})
	})
}

func TestFilesAreDeleted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newDesk(t)
		var ids []int
		for range 120 {
			ids = append(ids, w.portal.AddFile(crmtest.File{Name: "a.mp3", Owner: 61}))
		}
		keep := w.portal.AddFile(crmtest.File{Name: "b.mp3", Owner: 61})
		ids = append(ids, 987654)
		before := w.portal.Total()
		deleted, failed, err := w.DeleteFiles(t.Context(), ids)
		if err != nil || len(failed) != 0 || !slices.Equal(deleted, ids) || w.portal.Total()-before != 3 {
			t.Errorf("deleted %d, failed %v, %v", len(deleted), failed, err)
		}
		if files := w.portal.Files(); len(files) != 1 || files[0].ID != keep || len(w.portal.Deleted()) != 120 {
			t.Errorf("left %+v", files)
		}
		w.portal.SetAdmin(1, false)
		deleted, failed, err = w.DeleteFiles(t.Context(), []int{keep})
		if err != nil || len(deleted) != 0 || !crm.Denied(failed[keep]) {
			t.Errorf("deleted %v, failed %v, %v", deleted, failed, err)
		}
		w.portal.SetAdmin(1, true)
		w.portal.SetFault(crmtest.Fault{Kind: crmtest.Reset, Executed: true, Times: 1})
		if _, _, err := w.DeleteFiles(t.Context(), []int{keep}); !crm.Ambiguous(err) {
			t.Errorf("%v", err)
		}
		if deleted, _, err := w.DeleteFiles(t.Context(), []int{keep}); err != nil || len(deleted) != 1 {
			t.Errorf("again: %v, %v", deleted, err)
		}
	})
}
