package crm_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"frontdesk/call"
	"frontdesk/crm"
	"frontdesk/crm/crmtest"
)

func checked(t *testing.T, w *world, n crm.Needs) (bad, good []string) {
	t.Helper()
	for _, c := range w.Check(context.Background(), n) {
		line := fmt.Sprintf("%s, %s: %s | %s", c.Credential, c.Method, c.Problem, c.Advice)
		if strings.Contains(line, canary) || strings.Contains(line, "ownsecret") {
			t.Errorf("a secret shows: %s", line)
		}
		if c.OK != (c.Problem == "") || c.OK != (c.Advice == "") || c.For == "" {
			t.Errorf("check %+v", c)
		}
		if c.OK {
			good = append(good, c.Credential+", "+c.Method)
		} else {
			bad = append(bad, line)
		}
	}
	return bad, good
}

var everything = crm.Needs{CallLog: true, Recordings: true, Tasks: true, Heads: true, Leads: true, Events: true}

func TestCheckOfAGoodPortal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		p.AddWebhook(61, "ownsecret")
		w := newWorld(t, p, func(c *crm.Config) {
			c.Voices.Employees = map[int]crm.Webhook{61: "http://portal.test/rest/61/ownsecret/"}
		})
		setUp(t, w, crm.SetupOptions{})
		before := p.Total()
		bad, good := checked(t, w, everything)
		if len(bad) != 0 {
			t.Errorf("bad:\n%s", strings.Join(bad, "\n"))
		}
		for _, want := range []string{"webhook, batch", "webhook, telephony.externalCall.register", "webhook, disk.storage.getlist", "webhook, disk.file.delete",
			"webhook, telephony.externalCall.finish", "webhook, telephony.externalCall.show", "webhook, telephony.externalCall.attachRecord",
			"webhook, tasks.task.add", "webhook, department.get", "webhook, crm.settings.mode.get", "webhook, voximplant.statistic.get", "employee 61, crm.contact.update", "webhook, crm.lead.update", "webhook, contact UF_CRM_FD_MANAGER", "employee 61, profile"} {
			if !slices.Contains(good, want) {
				t.Errorf("no %s among %q", want, good)
			}
		}
		if spent := p.Total() - before; spent > 35 {
			t.Errorf("%d requests", spent)
		}
		if calls := p.Calls(); len(calls) != 0 {
			t.Errorf("checking has left calls: %+v", calls)
		}
	})
}

func TestCheckTellsWhatToDo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		broken func(*crmtest.Portal)
		want   []string
	}{
		"revoked": {func(p *crmtest.Portal) { p.RevokeWebhook(canary) }, []string{
			"webhook, profile: profile: the portal answered 401 NO_AUTH_FOUND: Wrong authorization data | the webhook is gone, or its owner has been dismissed: make a new one (Developer resources > Other > Inbound webhook)",
		}},
		"no permissions": {func(p *crmtest.Portal) { p.SetScopes(1, "crm", "user") }, []string{
			"webhook, scope telephony: the permission telephony is missing | add the permission telephony to the webhook or application",
			"webhook, disk.storage.getlist: disk.storage.getlist: the portal answered 403 INSUFFICIENT_SCOPE: The request requires higher privileges than provided by the access token | add the permission disk to the webhook or application",
		}},
		"no crm": {func(p *crmtest.Portal) { p.SetScopes(1, "user") }, []string{
			"webhook, batch: crm.duplicate.findbycomm (dc): the portal answered INSUFFICIENT_SCOPE: The request requires higher privileges than provided by the access token | add the permission crm to the webhook or application",
		}},
		"no administrator": {func(p *crmtest.Portal) { p.SetAdmin(1, false) }, []string{
			"webhook, profile: the owner is no administrator | let an administrator make the webhook or install the application: what its owner may not read, callers are not found by",
		}},
		"not set up": {func(*crmtest.Portal) {}, []string{
			"webhook, contact UF_CRM_FD_MANAGER: there is no field UF_CRM_FD_MANAGER of type employee | run frontdesk bitrix24 setup",
		}},
		"another type": {func(p *crmtest.Portal) {
			p.AddUserField("CRM_LEAD", crmtest.UserField{Name: "UF_CRM_FD_TEMP_UNTIL", Type: "date"})
		}, []string{
			"webhook, lead UF_CRM_FD_TEMP_UNTIL: the field exists with type date, not datetime | delete it, or name another one in crm.bitrix24.fields",
		}},
		"page of a proxy": {func(p *crmtest.Portal) { p.SetFault(crmtest.Fault{Kind: crmtest.HTML}) }, []string{
			"webhook, profile: profile: the answer is not JSON (status 200) | what answers is not Bitrix24 as documented: look for a proxy between, and try again",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newPortal(crmtest.Options{})
				w := newWorld(t, p)
				c.broken(p)
				bad, _ := checked(t, w, everything)
				for _, want := range c.want {
					if !slices.Contains(bad, want) {
						t.Errorf("no %q among\n%s", want, strings.Join(bad, "\n"))
					}
				}
			})
		})
	}
}

func TestCheckOfEmployees(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		p.AddWebhook(62, "ownsecret")
		p.AddWebhook(63, "ownsecret63")
		p.AddUser(crmtest.User{ID: 63})
		p.SetScopes(63, "task")
		w := newWorld(t, p, func(c *crm.Config) {
			c.Voices.Employees = map[int]crm.Webhook{
				61: "http://portal.test/rest/62/ownsecret/", 62: "http://portal.test/rest/62/ownsecretgone/", 63: "http://portal.test/rest/63/ownsecret63/",
			}
		})
		setUp(t, w, crm.SetupOptions{})
		bad, _ := checked(t, w, crm.Needs{})
		want := []string{
			"employee 61, profile: the webhook is that of user 62 | let the employee make a webhook, and put it in crm.bitrix24.employees",
			"employee 62, profile: profile: the portal answered 401 NO_AUTH_FOUND: Wrong authorization data | the webhook is gone, or its owner has been dismissed: make a new one (Developer resources > Other > Inbound webhook)",
			"employee 63, scope crm: the permission crm is missing | add the permission crm to the webhook",
		}
		if !slices.Equal(bad, want) {
			t.Errorf("bad:\n%s", strings.Join(bad, "\n"))
		}
	})
}

func TestReadCards(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		for i := range 1203 {
			p.AddContact(crmtest.Contact{Name: fmt.Sprint(i), Responsible: 61, Phones: []string{fmt.Sprintf("+7916%07d", i)}, Fields: map[string]any{"UF_CRM_FD_MANAGER": "62"}})
		}
		p.AddCompany(crmtest.Company{Title: "c", Responsible: 61})
		p.AddLead(crmtest.Lead{Title: "l", Semantics: "F", Responsible: 62, Phones: []string{"1", "2"}})
		w := newWorld(t, p)
		p.SetFault(crmtest.Fault{Kind: crmtest.QueryLimit, After: 1, Times: 2})
		seen := map[string]call.Card{}
		var done, total int
		err := w.ReadCards(context.Background(), func(d, of int) { done, total = d, of }, func(cards []call.Card) error {
			for _, c := range cards {
				seen[fmt.Sprint(c.Kind, c.ID)] = c
			}
			return nil
		})
		if err != nil || len(seen) != 1205 || done != 1205 || total != 1205 {
			t.Fatalf("%d cards, %d of %d, %v", len(seen), done, total, err)
		}
		for _, c := range seen {
			if c.Kind == call.KindContact && (c.Manager != 62 || len(c.Phones) != 1) || c.Kind == call.KindLead && (!c.Closed || len(c.Phones) != 2) {
				t.Fatalf("card %+v", c)
			}
		}
	})
}

func TestReadCardsFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		p.AddContact(crmtest.Contact{Responsible: 61})
		w := newWorld(t, p)
		for _, f := range []crmtest.Fault{{Kind: crmtest.HTML}, {Kind: crmtest.QueryLimit}, {Kind: crmtest.Partial, Command: "p3"}, {Kind: crmtest.NoAuth, After: 1}} {
			p.SetFault(f)
			err := w.ReadCards(context.Background(), func(int, int) {}, func([]call.Card) error { return nil })
			if err == nil || strings.Contains(err.Error(), canary) {
				t.Errorf("%s: %v", f.Kind, err)
			}
		}
	})
}

// withApp is a client with a webhook and an application, or with the application
// alone.
func withApp(t *testing.T, p *crmtest.Portal, webhook bool) *world {
	t.Helper()
	refresh := p.AddApp(crmtest.App{ID: "local.1", Secret: "appsecret", User: 61})
	return newWorld(t, p, func(c *crm.Config) {
		app, err := crm.NewApp(crm.AppConfig{
			ClientID: "local.1", ClientSecret: "appsecret", Portal: "http://portal.test", Server: "http://portal.test",
			RefreshToken: refresh, Store: crm.NewTokenStore(newMemory(), "tokens"), Transport: c.Transport,
		})
		if err != nil {
			t.Fatal(err)
		}
		if c.Voices.App = app; !webhook {
			c.Webhook = ""
		}
	})
}

// What refuses webhooks is tried with the application, and is good then.
func TestCheckOfAnApplication(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		p.RequireApp("telephony.externalCall.register", "telephony.externalCall.finish", "telephony.externalLine.get")
		w := withApp(t, p, true)
		setUp(t, w, crm.SetupOptions{})
		bad, good := checked(t, w, everything)
		if len(bad) != 0 {
			t.Errorf("bad:\n%s", strings.Join(bad, "\n"))
		}
		for _, want := range []string{
			"webhook, profile", "app, profile", "app, event.get", "webhook, batch", "app, telephony.externalCall.register", "app, telephony.externalCall.finish",
			"app, telephony.externalLine.get", "webhook, telephony.externalCall.show",
		} {
			if !slices.Contains(good, want) {
				t.Errorf("no %s among %q", want, good)
			}
		}
		p.SetAdmin(61, false)
		bad, _ = checked(t, w, everything)
		want := []string{"app, profile: the owner is no administrator | let an administrator install the application"}
		if !slices.Equal(bad, want) {
			t.Errorf("bad:\n%s", strings.Join(bad, "\n"))
		}
		p.RevokeApp("local.1")
		p.SetAdmin(61, true)
		bad, _ = checked(t, w, everything)
		if len(bad) == 0 || !strings.Contains(bad[0], "install the application again") {
			t.Errorf("bad:\n%s", strings.Join(bad, "\n"))
		}
	})
}

func TestCheckOfAnApplicationAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		w := withApp(t, p, false)
		setUp(t, w, crm.SetupOptions{})
		bad, good := checked(t, w, everything)
		if len(bad) != 0 || !slices.Contains(good, "app, batch") || !slices.Contains(good, "app, event.get") || slices.ContainsFunc(good, func(s string) bool { return strings.HasPrefix(s, "webhook") }) {
			t.Errorf("bad:\n%s\ngood:\n%s", strings.Join(bad, "\n"), strings.Join(good, "\n"))
		}
	})
}

// A webhook that may not log calls needs an application.
func TestCheckWantsAnApplication(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		p.RequireApp("telephony.externalCall.register")
		w := newWorld(t, p)
		setUp(t, w, crm.SetupOptions{})
		bad, _ := checked(t, w, everything)
		if len(bad) != 1 || !strings.HasPrefix(bad[0], "webhook, telephony.externalCall.register: ") || !strings.HasSuffix(bad[0], "| this method wants an application: set crm.bitrix24.app") {
			t.Errorf("bad:\n%s", strings.Join(bad, "\n"))
		}
	})
}

func TestComplaintsAreToldFromRefusals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status     int
		code, text string
		want       bool
	}{
		{400, "ERROR_CORE", "USER_ID or USER_PHONE_INNER should be set", true},
		{403, "ERROR_CORE", "Unknown TYPE", true},
		{400, "INVALID_ARGUMENT", "CALL_ID must be a string", true},
		{400, "", "ID is not defined or invalid.", true},
		{400, "100", "Could not find value for parameter {id}", true},
		{400, "", "Access denied.", false},
		{403, "ERROR_CORE", "Access denied", false},
		{403, crm.CodeWrongAuth, "Current authorization type is denied for this method", false},
		{403, crm.CodeScope, "", false},
		{403, "ACCESS_DENIED", "", false},
		{404, "ERROR_METHOD_NOT_FOUND", "Method not found!", false},
		{500, "ERROR_CORE", "x", false},
		{401, crm.CodeNoAuth, "", false},
	} {
		if got := crm.Complains(&crm.Error{Status: c.status, Code: c.code, Text: c.text}); got != c.want {
			t.Errorf("%d %s %q: %v", c.status, c.code, c.text, got)
		}
	}
	if crm.Complains(nil) || crm.Complains(crm.ErrFailed) {
		t.Error("what is no refusal complains")
	}
}

// A mirror tells that an export is asked for, under way, hindered and over.
func TestMirrorStatus(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		for i := range 700 {
			p.AddContact(crmtest.Contact{Responsible: 61, Phones: []string{fmt.Sprintf("+7916%07d", i)}})
		}
		w := newWorld(t, p)
		m, err := crm.NewMirror(w.Client, crm.MirrorConfig{Cards: newMemory(), State: newMemory()})
		if err != nil {
			t.Fatal(err)
		}
		if s := m.Status(); s.Export == nil || !s.Heard.IsZero() || s.Hinder != "" {
			t.Errorf("before the first export: %+v", s)
		}
		p.SetFault(crmtest.Fault{Kind: crmtest.ServerError, Method: "batch", After: 3})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- m.Run(ctx) }()
		synctest.Wait()
		s := m.Status()
		if s.Export == nil || s.Export.Kind != call.KindContact || s.Export.At == 0 || !strings.Contains(s.Hinder, "500") || s.Contacts != 500 {
			t.Errorf("of a broken portal: %+v, %+v", s, s.Export)
		}
		p.Heal()
		time.Sleep(time.Minute)
		synctest.Wait()
		if s := m.Status(); s.Export != nil || s.Hinder != "" || s.Heard.IsZero() || s.Numbers != 700 {
			t.Errorf("after the export: %+v", s)
		}
		m.Again()
		if s := m.Status(); s.Export == nil || s.Heard.IsZero() {
			t.Errorf("asked for: %+v", s)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if s := m.Status(); s.Export != nil {
			t.Errorf("again: %+v", s.Export)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestCheckOfAPortalWithoutLeads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, newPortal(crmtest.Options{NoLeads: true}))
		setUp(t, w, crm.SetupOptions{})
		bad, _ := checked(t, w, everything)
		want := []string{"webhook, crm.settings.mode.get: the portal works without leads | switch leads on in the settings of its CRM, or crm.leads.create off"}
		if !slices.Equal(bad, want) {
			t.Errorf("bad:\n%s", strings.Join(bad, "\n"))
		}
	})
}

// A node that has another one export tells of it until that is over.
func TestMirrorStatusOfANodeThatFollows(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, s := newPortal(crmtest.Options{}), newMemory()
		populate(p, 600)
		a, b := newFeeder(t, p, s, "a"), newFeeder(t, p, s, "b")
		runMirror(t, a.Mirror)
		later(time.Second)
		runMirror(t, b.Mirror)
		later(time.Minute)
		before := a.reads()
		if s := b.Status(); s.Export != nil || s.Numbers == 0 {
			t.Fatalf("at rest: %+v", s)
		}
		b.Again()
		waited := 0
		for ; b.Mirror.Status().Export != nil && waited < 100; waited++ {
			later(time.Second)
		}
		if waited == 0 || waited == 100 || a.reads() == before || b.reads() != 0 {
			t.Errorf("after %d s the feeding node has read %d times, the other one %d", waited, a.reads()-before, b.reads())
		}
	})
}
