package crm_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

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

var everything = crm.Needs{CallLog: true, Recordings: true, Tasks: true, Heads: true}

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
		for _, want := range []string{"webhook, batch", "webhook, telephony.externalCall.register", "webhook, disk.storage.getlist", "webhook, contact UF_CRM_FD_MANAGER", "employee 61, profile"} {
			if !slices.Contains(good, want) {
				t.Errorf("no %s among %q", want, good)
			}
		}
		if spent := p.Total() - before; spent > 25 {
			t.Errorf("%d requests", spent)
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
			"webhook, profile: the owner is no administrator | let an administrator make the webhook: what its owner may not read, callers are not found by",
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
