package crm_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"frontdesk/crm"
	"frontdesk/crm/crmtest"
)

func setUp(t *testing.T, w *world, o crm.SetupOptions) []string {
	t.Helper()
	steps, err := w.Setup(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return stepsOf(steps)
}

func stepsOf(steps []crm.SetupStep) []string {
	var out []string
	for _, s := range steps {
		line := fmt.Sprintf("%s %s %s: %s", s.State, s.Object, s.Field, s.Text)
		if s.Advice != "" {
			line += " | " + s.Advice
		}
		if strings.Contains(line, canary) {
			line = "THE SECRET SHOWS"
		}
		out = append(out, line)
	}
	return out
}

// asJSON is v as it goes over the wire.
func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// fromJSON is a layout as SetLayout wants it.
func fromJSON(t *testing.T, s string) (v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSetupMakesFieldsAndSections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		p.AddUserField("CRM_CONTACT", crmtest.UserField{Name: "UF_CRM_OTHER", Type: "string"})
		const company = `[{"name":"main","title":"Фирма","type":"section","elements":[{"name":"TITLE","optionFlags":"1"},{"name":"PHONE","optionFlags":"0","options":{"defaultCountry":"RU"}}]}]`
		p.SetLayout("company", fromJSON(t, company))
		w := newWorld(t, p)

		dry := setUp(t, w, crm.SetupOptions{DryRun: true})
		if got := p.UserFields("CRM_LEAD"); len(got) != 0 || p.Layout("contact") != nil || asJSON(t, p.Layout("company")) != asJSON(t, fromJSON(t, company)) {
			t.Fatalf("a dry run changed the portal: %v", got)
		}
		wet := setUp(t, w, crm.SetupOptions{})
		if diff := cmp.Diff(dry, wet); diff != "" {
			t.Errorf("the dry run told otherwise (-dry +wet):\n%s", diff)
		}
		if len(wet) != 3*5+4+1 || slices.ContainsFunc(wet, func(s string) bool { return !strings.HasPrefix(s, "create ") }) {
			t.Errorf("steps\n%s", strings.Join(wet, "\n"))
		}
		want := map[string]string{
			"UF_CRM_FD_MANAGER": "employee", "UF_CRM_FD_TEMP_MANAGER": "employee", "UF_CRM_FD_TEMP_UNTIL": "datetime",
			"UF_CRM_FD_DIRECT": "boolean", "UF_CRM_FD_NO_STICKY": "boolean",
		}
		for _, object := range []string{"CRM_CONTACT", "CRM_COMPANY", "CRM_LEAD"} {
			for code, kind := range want {
				if got := p.UserFields(object)[code].Type; got != kind {
					t.Errorf("%s %s has type %q", object, code, got)
				}
			}
		}
		if got := p.UserFields("USER")["UF_USR_FD_STICKY"].Type; got != "integer" {
			t.Errorf("the user's field has type %q", got)
		}
		ours := `{"elements":[{"name":"UF_CRM_FD_MANAGER","optionFlags":1},{"name":"UF_CRM_FD_TEMP_MANAGER","optionFlags":1},{"name":"UF_CRM_FD_TEMP_UNTIL","optionFlags":1},` +
			`{"name":"UF_CRM_FD_DIRECT","optionFlags":1},{"name":"UF_CRM_FD_NO_STICKY","optionFlags":1}],"name":"frontdesk_routing","title":"Incoming routing","type":"section"}`
		theirs := `{"elements":[{"name":"TITLE","optionFlags":1},{"name":"PHONE","optionFlags":0,"options":{"defaultCountry":"RU"}}],"name":"main","title":"Фирма","type":"section"}`
		if got := asJSON(t, p.Layout("company")); got != "["+theirs+","+ours+"]" {
			t.Errorf("the company's card is\n%s", got)
		}
		contact := asJSON(t, p.Layout("contact"))
		for _, part := range []string{`"LAST_NAME"`, `"ASSIGNED_BY_ID"`, `"UF_CRM_OTHER"`, "," + ours + "]"} {
			if !strings.Contains(contact, part) {
				t.Errorf("the contact's card lacks %s:\n%s", part, contact)
			}
		}
		again := setUp(t, w, crm.SetupOptions{})
		if len(again) != len(wet) || slices.ContainsFunc(again, func(s string) bool { return !strings.HasPrefix(s, "keep ") }) {
			t.Errorf("done again\n%s", strings.Join(again, "\n"))
		}
	})
}

// What somebody moved to another section, or renamed, stays so.
func TestSetupKeepsWhatAnAdministratorChanged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		p.SetLayout("contact", fromJSON(t, `{"0":{"name":"main","title":"О контакте","type":"section","elements":{"1":{"name":"NAME"},"3":{"name":"UF_CRM_FD_MANAGER","optionFlags":"0"}}},`+
			`"2":{"name":"frontdesk_routing","title":"Звонки","type":"section","elements":[]}}`))
		w := newWorld(t, p)
		setUp(t, w, crm.SetupOptions{})
		want := `[{"elements":[{"name":"NAME"},{"name":"UF_CRM_FD_MANAGER","optionFlags":0}],"name":"main","title":"О контакте","type":"section"},` +
			`{"elements":[{"name":"UF_CRM_FD_TEMP_MANAGER","optionFlags":1},{"name":"UF_CRM_FD_TEMP_UNTIL","optionFlags":1},` +
			`{"name":"UF_CRM_FD_DIRECT","optionFlags":1},{"name":"UF_CRM_FD_NO_STICKY","optionFlags":1}],"name":"frontdesk_routing","title":"Звонки","type":"section"}]`
		if got := asJSON(t, p.Layout("contact")); got != want {
			t.Errorf("the card is\n%s\nwant\n%s", got, want)
		}
	})
}

func TestSetupTellsFieldsOfAnotherType(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		p.AddUserField("CRM_COMPANY", crmtest.UserField{Name: "UF_CRM_FD_DIRECT", Type: "string"})
		w := newWorld(t, p)
		got := setUp(t, w, crm.SetupOptions{})
		want := "conflict company UF_CRM_FD_DIRECT: the field exists with type string, not boolean | delete it, or name another one in crm.bitrix24.fields"
		if !slices.Contains(got, want) {
			t.Errorf("steps\n%s", strings.Join(got, "\n"))
		}
		if card := asJSON(t, p.Layout("company")); strings.Contains(card, `"UF_CRM_FD_DIRECT","optionFlags":1`) {
			t.Errorf("the card shows the wrong field: %s", card)
		}
		if p.UserFields("CRM_COMPANY")["UF_CRM_FD_DIRECT"].Type != "string" || p.UserFields("CRM_COMPANY")["UF_CRM_FD_MANAGER"].Type != "employee" {
			t.Error("the other fields were not made, or the wrong one was changed")
		}
	})
}

func TestSetupRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		p.SetScopes(1, "crm")
		p.SetAdmin(1, false)
		w := newWorld(t, p)
		got := setUp(t, w, crm.SetupOptions{})
		for _, want := range []string{
			"failed contact UF_CRM_FD_MANAGER: crm.contact.userfield.add: the portal answered 403: Access denied. | the owner of the webhook must be an administrator of the CRM",
			"failed user UF_USR_FD_STICKY: user.userfield.list: the portal answered 403 INSUFFICIENT_SCOPE: The request requires higher privileges than provided by the access token | add the permission user.userfield to the webhook or application",
		} {
			if !slices.Contains(got, want) {
				t.Errorf("no %q among\n%s", want, strings.Join(got, "\n"))
			}
		}
	})
}

// On a large portal a field takes longer than a request may: the answer is lost
// and the field is there.
func TestSetupSurvivesLostAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		w := newWorld(t, p)
		p.SetFault(crmtest.Fault{Kind: crmtest.Truncated, Method: "crm.lead.userfield.add"})
		got := setUp(t, w, crm.SetupOptions{})
		if slices.ContainsFunc(got, func(s string) bool { return !strings.HasPrefix(s, "create ") }) {
			t.Errorf("steps\n%s", strings.Join(got, "\n"))
		}
	})
}

// An answer that says yes where no field was made is not believed.
func TestSetupLooksForWhatWasMade(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		w := newWorld(t, p)
		p.SetFault(crmtest.Fault{Kind: crmtest.WrongShape, Method: "crm.lead.userfield.add"})
		got := setUp(t, w, crm.SetupOptions{})
		if !slices.Contains(got, "failed lead UF_CRM_FD_MANAGER: the portal took the field and does not list it | run setup again") {
			t.Errorf("steps\n%s", strings.Join(got, "\n"))
		}
		if p.Layout("lead") != nil || p.Layout("contact") == nil {
			t.Error("a card shows fields that are not there, or the others do not")
		}
	})
}

func TestSetupOfAPortalInTrouble(t *testing.T) {
	t.Parallel()
	for _, kind := range []crmtest.Kind{crmtest.HTML, crmtest.NoAuth, crmtest.ServerError, crmtest.ErrorInside, crmtest.Junk, crmtest.Reset, crmtest.WrongShape} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newPortal(crmtest.Options{})
				w := newWorld(t, p)
				p.SetFault(crmtest.Fault{Kind: kind})
				steps, err := w.Setup(context.Background(), crm.SetupOptions{})
				if err == nil || len(steps) != 0 || strings.Contains(err.Error(), canary) {
					t.Errorf("%v, %v", steps, err)
				}
			})
		})
	}
}
