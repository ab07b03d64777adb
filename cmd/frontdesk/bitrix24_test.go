package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"frontdesk/crm/crmtest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const secret = "c4n4rysecret"

// desk is a portal, and a configuration that names it.
type desk struct {
	portal *crmtest.Portal
	url    string // the portal's
	config string
}

// newDesk writes a configuration that nobody serves by. more is further keys.
func newDesk(t *testing.T, more string) *desk {
	t.Helper()
	return newDeskOf(t, func(portal string) string {
		return more + "\nhttp: {listen: \"127.0.0.1:0\"}\ncrm: {bitrix24: {webhook: \"" + portal + "/rest/1/" + secret + "/\"}}\n"
	})
}

// newDeskOf writes a configuration with further keys, given the portal's URL.
func newDeskOf(t *testing.T, more func(portal string) string) *desk {
	t.Helper()
	d := &desk{portal: crmtest.New(crmtest.Options{Secret: secret})}
	server := httptest.NewServer(d.portal)
	t.Cleanup(func() {
		d.portal.Close()
		server.Close()
	})
	d.url, d.config = server.URL, filepath.Join(t.TempDir(), "frontdesk.yaml")
	d.write(t, `trunks: {carrier: {sources: [127.0.0.1]}}
pbx: {sip: ["sip:127.0.0.1:5070"], extensions: [100-299], queues: [800-899]}
rules: [{name: all, default: "800"}]
`+more(server.URL))
	return d
}

func (d *desk) write(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(d.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// edit replaces something in the configuration.
func (d *desk) edit(t *testing.T, old, text string) {
	t.Helper()
	b, err := os.ReadFile(d.config)
	if err != nil || !strings.Contains(string(b), old) {
		t.Fatalf("no %q to replace: %v", old, err)
	}
	d.write(t, strings.Replace(string(b), old, text, 1))
}

// run runs a command and gives what it printed and its exit status.
func (d *desk) run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), append(args, "--config", d.config), &out, &errs)
	if strings.Contains(out.String()+errs.String(), secret) {
		t.Errorf("the secret shows:\n%s%s", &out, &errs)
	}
	return out.String(), errs.String(), code
}

// golden compares with a file of testdata/bitrix24/cli.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("../../testdata/bitrix24/cli", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func TestBitrix24Setup(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "")
	d.portal.AddUserField("CRM_LEAD", crmtest.UserField{Name: "UF_CRM_FD_DIRECT", Type: "string"})
	dry, _, code := d.run(t, "bitrix24", "setup", "--dry-run")
	if code != 0 || len(d.portal.UserFields("CRM_CONTACT")) != 0 {
		t.Errorf("dry run: exit %d, fields %v", code, d.portal.UserFields("CRM_CONTACT"))
	}
	wet, stderr, code := d.run(t, "bitrix24", "setup")
	if code != exitFindings || stderr != "" {
		t.Errorf("exit %d where a field has another type; %s", code, stderr)
	}
	if diff := cmp.Diff(dry, wet); diff != "" {
		t.Errorf("the dry run printed otherwise:\n%s", diff)
	}
	golden(t, "setup.txt", wet)
	d.portal.AddUserField("CRM_LEAD", crmtest.UserField{Name: "UF_CRM_FD_DIRECT", Type: "boolean"})
	again, _, code := d.run(t, "bitrix24", "setup", "--json")
	if code != 0 {
		t.Errorf("exit %d where all is well", code)
	}
	golden(t, "setup-again.json", again)
}

func TestBitrix24Check(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "calllog: {enabled: true, missed_owner: head, tasks: true}\nrecordings: {mode: upload}")
	if _, _, code := d.run(t, "bitrix24", "setup"); code != 0 {
		t.Fatalf("setup: exit %d", code)
	}
	good, _, code := d.run(t, "bitrix24", "check")
	if code != 0 {
		t.Errorf("exit %d of a good portal", code)
	}
	golden(t, "check.txt", good)
	d.portal.SetScopes(1, "crm", "user", "department")
	d.portal.SetAdmin(1, false)
	bad, _, code := d.run(t, "bitrix24", "check")
	if code != exitFindings {
		t.Errorf("exit %d of a bad portal", code)
	}
	golden(t, "check-bad.txt", bad)
	d.portal.RevokeWebhook(secret)
	gone, _, code := d.run(t, "bitrix24", "check", "--json")
	if code != exitFindings {
		t.Errorf("exit %d without a webhook", code)
	}
	golden(t, "check-gone.json", gone)
}

// company has one of each finding.
func company(p *crmtest.Portal) {
	tidyCompany(p)
	p.AddContact(crmtest.Contact{
		ID: 7, Name: "Клиент", Responsible: 17, Phones: []string{"+79160000007"},
		Fields: map[string]any{"UF_CRM_FD_TEMP_MANAGER": "18", "UF_CRM_FD_TEMP_UNTIL": "2026-01-01T10:00:00+03:00"},
	})
}

// tidyCompany has one of each finding but the temporary manager whose time is
// over: a server sees to that by itself.
func tidyCompany(p *crmtest.Portal) {
	p.AddUser(crmtest.User{ID: 17, FirstName: "Анна", LastName: "Петрова", Extension: "201"})
	p.AddUser(crmtest.User{ID: 18, FirstName: "Борис", LastName: "Волков", Extension: "202"})
	p.AddUser(crmtest.User{ID: 19, FirstName: "Вера", LastName: "Новая"})
	p.AddUser(crmtest.User{ID: 20, FirstName: "Глеб", LastName: "Ушёл", Extension: "203", Dismissed: true})
	p.AddUser(crmtest.User{ID: 21, FirstName: "Дина", LastName: "Дальняя", Extension: "701"})
	p.AddUser(crmtest.User{ID: 22, FirstName: "Егор", LastName: "Сосед", Extension: "202"})
	contact := func(id, responsible int, fields map[string]any, phones ...string) {
		p.AddContact(crmtest.Contact{ID: id, Name: "Клиент", Responsible: responsible, Phones: phones, Fields: fields})
	}
	contact(1, 17, nil, "8 (916) 000-00-01")
	contact(2, 19, nil, "+79160000002")
	contact(3, 21, nil, "+79160000003")
	contact(4, 20, nil, "+79160000004")
	contact(5, 17, nil, "+79160000005")
	contact(6, 18, nil, "89160000005")
	contact(8, 17, nil, "+7 916 000-00-08 (жена)", "+8 916 000-00-08", "12345")
}

func TestBitrix24Lint(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "")
	company(d.portal)
	text, stderr, code := d.run(t, "bitrix24", "lint")
	if code != exitFindings || stderr != "" {
		t.Errorf("exit %d; %q", code, stderr)
	}
	golden(t, "lint.txt", text)
	asJSON, _, code := d.run(t, "bitrix24", "lint", "--json")
	if code != exitFindings {
		t.Errorf("exit %d", code)
	}
	golden(t, "lint.json", asJSON)
}

func TestBitrix24LintOfAGoodPortal(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "")
	d.portal.AddUser(crmtest.User{ID: 17, Extension: "201"})
	d.portal.AddContact(crmtest.Contact{Responsible: 17, Phones: []string{"+79160000001"}})
	out, _, code := d.run(t, "bitrix24", "lint", "--json")
	var got struct{ Findings []any }
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 0 || got.Findings == nil || len(got.Findings) != 0 {
		t.Errorf("exit %d, %s", code, out)
	}
}

func TestBitrix24OfAPortalInTrouble(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "")
	d.portal.SetFault(crmtest.Fault{Kind: crmtest.HTML, Latency: time.Millisecond})
	for _, verb := range []string{"setup", "lint"} {
		if out, stderr, code := d.run(t, "bitrix24", verb); code != exitFindings || !strings.Contains(stderr, "not JSON") || out != "" {
			t.Errorf("%s: exit %d, %q, %q", verb, code, out, stderr)
		}
	}
	d.config = filepath.Join(t.TempDir(), "none.yaml")
	if _, _, code := d.run(t, "bitrix24", "lint"); code != exitConfig {
		t.Errorf("exit %d without a configuration", code)
	}
}

// A rule names a field, and the portal is asked for it.
func TestExplainByFieldOfTheCRM(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "")
	d.edit(t, "rules: [{name", `rules: [{name: vip, default: "801", when: 'crm.field("UF_CRM_VIP") == true and crm.field("SOURCE_ID") in ["WEB", "CALL"]'}, {name`)
	d.portal.AddUser(crmtest.User{ID: 17, FirstName: "Анна", Extension: "201"})
	d.portal.AddUserField("CRM_CONTACT", crmtest.UserField{Name: "UF_CRM_VIP", Type: "boolean"})
	for number, fields := range map[string]map[string]any{
		"+79160000001": {"UF_CRM_VIP": "1", "SOURCE_ID": "WEB"},
		"+79160000002": {"UF_CRM_VIP": true, "SOURCE_ID": "CALL"},
		"+79160000003": {"UF_CRM_VIP": "0", "SOURCE_ID": "WEB"},
		"+79160000004": {"SOURCE_ID": "WEB"},
	} {
		d.portal.AddContact(crmtest.Contact{Responsible: 17, Phones: []string{number}, Fields: fields})
	}
	for number, want := range map[string]string{
		"+79160000001": "vip", "+79160000002": "vip", "+79160000003": "all", "+79160000004": "all", "+79160000009": "all", "": "all",
	} {
		out, stderr, code := d.run(t, "explain", "--json", "--from", number, "--to", "+74951234567")
		var got struct{ Rule string }
		if err := json.Unmarshal([]byte(out), &got); err != nil || code != 0 || got.Rule != want {
			t.Errorf("%s: rule %q, want %q, exit %d\n%s%s", number, got.Rule, want, code, out, stderr)
		}
	}
	d.portal.SetFault(crmtest.Fault{Kind: crmtest.ServerError})
	out, _, _ := d.run(t, "explain", "--from", "+79160000001", "--to", "+74951234567")
	if !strings.Contains(out, "needs the CRM: the portal failed") || !strings.Contains(out, `by rule "all"`) {
		t.Errorf("of a broken portal:\n%s", out)
	}
}
