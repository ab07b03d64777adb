package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"frontdesk/cmd/frontdesk/config"
	"frontdesk/crm/crmtest"
	"frontdesk/store"
	"frontdesk/web"
)

const token = "c4n4rytoken"

// freePort is a port of this machine that nobody listens on.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

// newServed is a desk whose configuration is served, once serve is called. crm
// is the portal's part of it.
func newServed(t *testing.T, crm func(portal string) string) *desk {
	t.Helper()
	return newDeskOf(t, func(portal string) string {
		return fmt.Sprintf("sip: {listen: [\"udp://127.0.0.1:0\"]}\nhttp: {listen: \"127.0.0.1:%d\", token: %s}\nstore: \"sqlite:%s\"\ngreeting: {engine: none}\n",
			freePort(t), token, filepath.Join(t.TempDir(), "frontdesk.db")) + crm(portal)
	})
}

// fast is a rate that no test has to wait for.
const fast = "rate: {per_second: 100, burst: 250}"

func byWebhook(portal string) string {
	return "crm: {bitrix24: {" + fast + ", webhook: \"" + portal + "/rest/1/" + secret + "/\"}}\n"
}

// serve serves by d's configuration until the end of the test, or until the
// function that it gives is called.
func (d *desk) serve(t *testing.T) (sys *system, end func()) {
	t.Helper()
	cfg, problems := config.Load(d.config, os.LookupEnv)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	sys, err := newSystem(t.Context(), cfg, d.config, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- sys.Run(ctx) }()
	ended := false
	end = func() {
		if ended {
			return
		}
		ended = true
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	t.Cleanup(end)
	return sys, end
}

// asked is how often the server answered 200 under a path.
func asked(t *testing.T, sys *system, path string) string {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	sys.web.Handler().ServeHTTP(w, r)
	for line := range strings.Lines(w.Body.String()) {
		if n, ok := strings.CutPrefix(line, `frontdesk_web_requests_total{code="200",path="`+path+`"} `); ok {
			return strings.TrimSpace(n)
		}
	}
	return "0"
}

// Where a server runs by the same file, commands ask it: it holds the store and
// the tokens.
func TestCommandsAskTheServer(t *testing.T) {
	t.Parallel()
	d := newServed(t, byWebhook)
	tidyCompany(d.portal)
	alone, _, _ := d.run(t, "bitrix24", "lint")
	dry, _, _ := d.run(t, "bitrix24", "setup", "--dry-run")
	sys, _ := d.serve(t)
	for _, c := range []struct {
		args []string
		code int
		path string
		want string
	}{
		{[]string{"bitrix24", "setup", "--dry-run"}, 0, "/api/v1/bitrix24/setup", dry},
		{[]string{"bitrix24", "check"}, exitFindings, "/api/v1/bitrix24/check", ""},
		{[]string{"bitrix24", "lint"}, exitFindings, "/api/v1/bitrix24/lint", alone},
		{[]string{"mirror", "export"}, 0, "/api/v1/mirror/export", "contacts 7, companies 0, leads 0, numbers 7\n"},
		{[]string{"explain", "--from", "+79160000001", "--to", "112"}, 0, "/api/v1/explain", ""},
	} {
		out, stderr, code := d.run(t, c.args...)
		if code != c.code || stderr != "" || c.want != "" && out != c.want {
			t.Errorf("%s: exit %d, %q\n%s", c.args, code, stderr, cmp.Diff(c.want, out))
		}
		if n := asked(t, sys, c.path); n != "1" {
			t.Errorf("%s: the server was asked %s times", c.args, n)
		}
	}
	if _, _, code := d.run(t, "bitrix24", "setup"); code != 0 || len(d.portal.UserFields("CRM_CONTACT")) != 5 {
		t.Errorf("setup: exit %d, fields %v", code, d.portal.UserFields("CRM_CONTACT"))
	}
	if out, _, code := d.run(t, "bitrix24", "check", "--json"); code != 0 || !json.Valid([]byte(out)) {
		t.Errorf("check: exit %d\n%s", code, out)
	}
	asJSON, _, code := d.run(t, "bitrix24", "lint", "--json")
	if code != exitFindings || !strings.HasPrefix(asJSON, "{\n  \"findings\": [\n    {\n      \"kind\": \"no_extension\"") {
		t.Errorf("lint: exit %d\n%s", code, asJSON)
	}
	var status struct{ Contacts, Numbers int }
	if out, _, code := d.run(t, "mirror", "export", "--json"); code != 0 || json.Unmarshal([]byte(out), &status) != nil || status.Contacts != 7 || status.Numbers != 7 {
		t.Errorf("export: exit %d\n%s", code, out)
	}
}

// What a command prints is the same whoever decides, but for the time it took.
func TestExplainByTheServerReadsAsAlone(t *testing.T) {
	t.Parallel()
	d := newServed(t, byWebhook)
	d.edit(t, `{name: all, default: "800"}`, `{name: known, did: ["+7495*"], default: "800"}`)
	tidyCompany(d.portal)
	questions := [][]string{
		{"explain", "--from", "+79160000001", "--to", "+74951234567"},
		{"explain", "--from", "", "--to", "+74951234567", "--at", "2026-03-01T12:00:00.5+03:00"},
		{"explain", "--from", "+79160000001", "--to", "+78120000000"}, // no rule
		{"explain", "--from", "+79160000005", "--to", "+74951234567"},
	}
	answers := func() (out []string) {
		for _, q := range questions {
			for _, args := range [][]string{q, append(q, "--json")} {
				text, stderr, code := d.run(t, args...)
				out = append(out, fmt.Sprintf("%d %s%s", code, timeless(text), stderr))
			}
		}
		return out
	}
	alone := answers()
	sys, _ := d.serve(t)
	if diff := cmp.Diff(alone, answers()); diff != "" {
		t.Errorf("(-alone +server):\n%s", diff)
	}
	if n := asked(t, sys, "/api/v1/explain"); n != "8" {
		t.Errorf("the server was asked %s times", n)
	}
	if !strings.Contains(alone[4], "refused with 404") || alone[4][0] != '1' {
		t.Errorf("without a rule: %s", alone[4])
	}
	if _, stderr, code := d.run(t, "explain", "--from", "1"); code != exitConfig || !strings.Contains(stderr, "--to") {
		t.Errorf("without --to: exit %d, %s", code, stderr)
	}
	if _, stderr, code := d.run(t, "explain", "--to", "1", "--trunk", "nowhere"); code != exitConfig || !strings.Contains(stderr, `no trunk "nowhere"`) {
		t.Errorf("with a trunk that is not there: exit %d, %s", code, stderr)
	}
	if _, err := sys.Explain(t.Context(), web.Query{To: "1", Trunk: "nowhere"}); !errors.Is(err, web.ErrInvalid) {
		t.Errorf("with a trunk that is not there: %v", err)
	}
}

// What is asked for by a flag stands in the place of a fact, and what the facts
// do not tell is asked for.
func TestExplainByFacts(t *testing.T) {
	t.Parallel()
	d := newServed(t, byWebhook)
	d.edit(t, `{name: all, default: "800"}`, `{name: known, did: ["+7495*"], default: "800"}`)
	file := filepath.Join(t.TempDir(), "facts.json")
	wanted(t, os.WriteFile(file, []byte(`{"crm":{"source":"live","entities":[{"kind":"contact","id":1,"responsible":17}]},
		"employees":{"17":{"id":17,"extension":"201"}},"numbers":{"extensions":["201"],"queues":["800"]},"caller":"+79160000001","did":"+74951234567"}`), 0o600))
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{nil, 0, "=> 201"},
		{[]string{"--from", ""}, 0, "=> 800 (anonymous"},
		{[]string{"--to", "+78120000000"}, exitFindings, "404"},
		{[]string{"--trunk", "nowhere"}, exitConfig, "no trunk"},
	} {
		out, stderr, code := d.run(t, append([]string{"explain", "--facts", file}, c.args...)...)
		if code != c.code || !strings.Contains(out+stderr, c.want) {
			t.Errorf("%q: exit %d, want %d with %q\n%s%s", c.args, code, c.code, c.want, out, stderr)
		}
	}
	wanted(t, os.WriteFile(file, []byte(`{}`), 0o600))
	if _, stderr, code := d.run(t, "explain", "--facts", file); code != exitConfig || !strings.Contains(stderr, "--to") {
		t.Errorf("empty facts: exit %d, %s", code, stderr)
	}
}

// timeless leaves out what tells how long something took, or when it was.
func timeless(text string) string {
	var out []string
	for line := range strings.Lines(text) {
		if !strings.Contains(line, " took ") && !strings.Contains(line, `"gathered"`) {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}

// A file that the server has not read is what explain is about, and the server
// is told apart.
func TestCommandsOfAFileThatIsNotInForce(t *testing.T) {
	t.Parallel()
	d := newServed(t, byWebhook)
	tidyCompany(d.portal)
	sys, _ := d.serve(t)
	d.edit(t, `default: "800"`, `default: "801"`)
	for range 2 {
		out, stderr, code := d.run(t, "explain", "--json", "--from", "+79169999999", "--to", "112")
		if code != 0 || !strings.Contains(out, `"target": "801"`) || !strings.Contains(stderr, "has not read "+d.config+" as it is now") {
			t.Errorf("explain: exit %d, %s%s", code, out, stderr)
		}
	}
	if out, stderr, code := d.run(t, "mirror", "export"); code != 0 || !strings.HasPrefix(out, "contacts 7") {
		t.Errorf("export: exit %d, %s%s", code, out, stderr) // the server has the store all the same
	}
	if problems, err := sys.Reload(); problems != "" || err != nil {
		t.Fatal(problems, err)
	}
	out, stderr, code := d.run(t, "explain", "--json", "--from", "+79169999999", "--to", "112")
	if code != 0 || !strings.Contains(out, `"target": "801"`) || stderr != "" {
		t.Errorf("after the reload: exit %d, %s%s", code, out, stderr)
	}
	if n := asked(t, sys, "/api/v1/explain"); n != "1" {
		t.Errorf("the server was asked %s times", n)
	}
}

func TestCommandsWithAWrongToken(t *testing.T) {
	t.Parallel()
	d := newServed(t, byWebhook)
	d.serve(t)
	for name, wrong := range map[string]string{"another": "token: wr0ngtoken", "none": `token: ""`} {
		d.edit(t, "token: "+token, wrong)
		for _, args := range [][]string{
			{"bitrix24", "setup"}, {"bitrix24", "check"}, {"bitrix24", "lint", "--json"}, {"mirror", "export"}, {"explain", "--to", "112"},
		} {
			out, stderr, code := d.run(t, args...)
			if code != exitFindings || out != "" || !strings.Contains(stderr, "refuses the token") || strings.Contains(stderr, token) || strings.Contains(stderr, "wr0ngtoken") {
				t.Errorf("%s, %s: exit %d, %q, %q", name, args, code, out, stderr)
			}
		}
		d.edit(t, wrong, "token: "+token)
	}
	if len(d.portal.UserFields("CRM_CONTACT")) != 0 {
		t.Error("setup went past the server")
	}
}

// A portal in trouble reads the same by the server.
func TestServerTellsOfAPortalInTrouble(t *testing.T) {
	t.Parallel()
	d := newServed(t, byWebhook)
	d.serve(t)
	d.portal.SetFault(crmtest.Fault{Kind: crmtest.NoAuth})
	for _, verb := range []string{"setup", "lint"} {
		out, stderr, code := d.run(t, "bitrix24", verb)
		if code != exitFindings || out != "" || !strings.Contains(stderr, "401 NO_AUTH_FOUND") || !strings.Contains(stderr, "make a new one") || strings.Contains(stderr, "the portal: ") {
			t.Errorf("%s: exit %d, %q, %q", verb, code, out, stderr)
		}
	}
	out, _, code := d.run(t, "bitrix24", "check")
	if code != exitFindings || !strings.Contains(out, "BAD  webhook  profile") {
		t.Errorf("check: exit %d\n%s", code, out)
	}
}

// A portal with an application alone, whose tokens are in the store.
func TestAnApplicationAlone(t *testing.T) {
	t.Parallel()
	d := newServed(t, func(portal string) string {
		return "crm: {bitrix24: {" + fast + ", webhook: \"\", app: {client_id: local.1, client_secret: appsecret, portal: \"" + portal + "\"}}}\n"
	})
	refresh := d.portal.AddApp(crmtest.App{ID: "local.1", Secret: "appsecret"})
	tidyCompany(d.portal)
	out, stderr, code := d.run(t, "bitrix24", "check")
	if code != exitFindings || stderr != "" || !strings.Contains(out, "start frontdesk serve") || strings.Contains(out, "good") {
		t.Errorf("check without a server: exit %d, %q\n%s", code, stderr, out)
	}
	for _, verb := range []string{"setup", "lint"} {
		if out, stderr, code := d.run(t, "bitrix24", verb); code != exitFindings || out != "" || !strings.Contains(stderr, "the application is not installed") {
			t.Errorf("%s without tokens: exit %d, %q, %q", verb, code, out, stderr)
		}
	}
	d.putTokens(t, refresh)
	lint, stderr, code := d.run(t, "bitrix24", "lint")
	if code != exitFindings || stderr != "" || !strings.Contains(lint, "shared_extension (1)") {
		t.Errorf("lint: exit %d, %q\n%s", code, stderr, lint)
	}
	if out, stderr, code := d.run(t, "explain", "--json", "--from", "+79160000001", "--to", "112"); code != 0 || !strings.Contains(out, `"target": "201"`) {
		t.Errorf("explain: exit %d, %s%s", code, out, stderr)
	}
	holder := d.hold(t)
	if _, stderr, code := d.run(t, "bitrix24", "lint"); code != exitFindings || !strings.Contains(stderr, "in use by another frontdesk") {
		t.Errorf("beside a store in use: exit %d, %q", code, stderr)
	}
	if err := holder.Close(); err != nil {
		t.Fatal(err)
	}
	d.serve(t)
	if out, stderr, code := d.run(t, "bitrix24", "setup"); code != 0 {
		t.Errorf("setup by the server: exit %d, %s%s", code, out, stderr)
	}
	out, stderr, code = d.run(t, "bitrix24", "check")
	if code != 0 || !strings.Contains(out, "good  app  event.get") || strings.Contains(out, "webhook") {
		t.Errorf("check by the server: exit %d, %q\n%s", code, stderr, out)
	}
	if got, _, _ := d.run(t, "bitrix24", "lint"); got != lint {
		t.Errorf("lint by the server:\n%s", cmp.Diff(lint, got))
	}
}

// hold opens the store of d's configuration, as a server does.
func (d *desk) hold(t *testing.T) *store.Store {
	t.Helper()
	cfg, _ := config.Load(d.config, os.LookupEnv)
	st, err := store.Open(t.Context(), cfg.Store.Reveal(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// putTokens leaves tokens in the store, as an installation does.
func (d *desk) putTokens(t *testing.T, refresh string) {
	t.Helper()
	st := d.hold(t)
	res, err := http.Get(d.url + "/oauth/token/?grant_type=refresh_token&client_id=local.1&client_secret=appsecret&refresh_token=" + refresh)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Access   string `json:"access_token"`
		Refresh  string `json:"refresh_token"`
		Endpoint string `json:"client_endpoint"`
	}
	err = errors.Join(json.NewDecoder(res.Body).Decode(&got), res.Body.Close())
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(map[string]string{"access": got.Access, "refresh": got.Refresh, "endpoint": got.Endpoint})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(st.Put(t.Context(), "crm/tokens", b), st.Close()); err != nil {
		t.Fatal(err)
	}
}

// An application beside a webhook, and webhooks of employees, are checked too.
func TestCheckOfAllCredentials(t *testing.T) {
	t.Parallel()
	d := newServed(t, func(portal string) string {
		return fmt.Sprintf(`calllog: {enabled: true}
crm:
  bitrix24:
    webhook: %[1]s/rest/1/%[2]s/
    app: {client_id: local.1, client_secret: appsecret}
    employees: {17: "%[1]s/rest/17/ownsecret17/", 18: "%[1]s/rest/18/ownsecret17/"}
    %[3]s
`, portal, secret, fast)
	})
	d.putTokens(t, d.portal.AddApp(crmtest.App{ID: "local.1", Secret: "appsecret"}))
	d.portal.AddWebhook(17, "ownsecret17")
	d.portal.RequireApp("telephony.externalCall.register")
	tidyCompany(d.portal)
	if _, _, code := d.run(t, "bitrix24", "setup"); code != 0 {
		t.Fatalf("setup: exit %d", code)
	}
	want := []string{
		"good  webhook      profile ", "good  employee 17  profile ", "BAD   employee 18  profile ", "401 NO_AUTH_FOUND", "make a new one",
	}
	check := func(want []string) {
		t.Helper()
		out, stderr, code := d.run(t, "bitrix24", "check")
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("no %q in\n%s", w, out)
			}
		}
		if code != exitFindings || strings.Contains(out+stderr, "ownsecret") {
			t.Errorf("exit %d, %s", code, stderr)
		}
	}
	check(append(want, "BAD   app          profile ", "start frontdesk serve", "BAD   webhook      telephony.externalCall.register", "this method wants an application"))
	d.serve(t)
	check(append(want, "good  app          profile ", "good  app          event.get ", "good  app          telephony.externalCall.register "))
	if calls := d.portal.Calls(); len(calls) != 0 {
		t.Errorf("checking left calls: %+v", calls)
	}
}

func TestAddressesOfAServer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		listen, public string
		want           []string
	}{
		{"127.0.0.1:8080", "", []string{"http://127.0.0.1:8080"}},
		{"0.0.0.0:8080", "", []string{"http://localhost:8080"}},
		{"[::]:8080", "https://desk.example.com/", []string{"http://localhost:8080", "https://desk.example.com"}},
		{":8080", "", []string{"http://localhost:8080"}},
		{"desk.example.com:80", "", []string{"http://desk.example.com:80"}},
		{"127.0.0.1:0", "https://desk.example.com/a/", []string{"https://desk.example.com/a"}},
		{"nonsense", "nonsense", nil},
	} {
		if diff := cmp.Diff(c.want, addresses(config.HTTP{Listen: c.listen, PublicURL: c.public})); diff != "" {
			t.Errorf("%s, %s:\n%s", c.listen, c.public, diff)
		}
	}
}

func TestModest(t *testing.T) {
	t.Parallel()
	rate := config.Rate{PerSecond: 2, Burst: 40}
	if modest(&rate); rate != (config.Rate{PerSecond: 1, Burst: 8}) {
		t.Errorf("rate %+v", rate)
	}
}

func TestPortalCommandsWithoutAPortal(t *testing.T) {
	t.Parallel()
	d := newDeskOf(t, func(string) string { return "http: {listen: \"127.0.0.1:0\"}\ncrm: {bitrix24: {webhook: \"\"}}\n" })
	for _, args := range [][]string{{"bitrix24", "setup"}, {"bitrix24", "check"}, {"bitrix24", "lint"}, {"tts", "render"}} {
		if out, stderr, code := d.run(t, args...); code != exitConfig || out != "" || !strings.Contains(stderr, "no portal is configured") {
			t.Errorf("%s: exit %d, %q, %q", args, code, out, stderr)
		}
	}
	if out, _, code := d.run(t, "explain", "--to", "112", "--from", "+79160000001"); code != 0 || !strings.Contains(out, "=> 800") {
		t.Errorf("explain: exit %d, %s", code, out)
	}
}
