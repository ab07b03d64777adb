package config_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"frontdesk/call"
	"frontdesk/cmd/frontdesk/config"
)

func none(string) (string, bool) { return "", false }

// same compares configurations by what a file can say.
var same = cmp.Options{
	cmpopts.IgnoreFields(config.Config{}, "Plan", "Zone", "Sum"),
	cmpopts.IgnoreUnexported(config.Greeting{}),
	cmpopts.EquateComparable(netip.Prefix{}),
	cmpopts.EquateEmpty(),
}

func mustLoad(t testing.TB, text string, env func(string) (string, bool)) *config.Config {
	t.Helper()
	c, problems := config.Parse("frontdesk.yaml", []byte(text), env)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestContract compares the contract's file, field by field, with what its
// comments promise.
func TestContract(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, config.Example(), none)
	if c.Plan == nil {
		t.Fatal("there is no plan")
	}
	s := func(d time.Duration) string { return d.String() }
	for _, f := range []struct {
		key       string
		got, want any
	}{
		{"sip.listen", c.SIP.Listen, "[udp://127.0.0.1:5060 tcp://127.0.0.1:5060]"},
		{"sip.advertise", c.SIP.Advertise, "127.0.0.1"},
		{"sip.max_calls", c.SIP.MaxCalls, "10000"},
		{"sip.unknown_source", c.SIP.UnknownSource, "ignore"},
		{"sip.did", c.SIP.DID, "uri"},
		{"media.ports", c.Media.Ports, "20000-29999"},
		{"media.codecs", c.Media.Codecs, "[PCMA PCMU]"},
		{"http.listen", c.HTTP.Listen, "127.0.0.1:8080"},
		{"http.public_url", c.HTTP.PublicURL, ""},
		{"http.token", c.HTTP.Token.Reveal(), ""},
		{"store", c.Store.Reveal(), "sqlite:frontdesk.db"},
		{"timezone", c.Zone, "Europe/Moscow"},
		{"country", c.Country, "RU"},
		{"log", c.Log, "{info json masked}"},
		{"trunks", len(c.Trunks), "1"},
		{"trunks.carrier", c.Trunks[0].Name, "carrier"},
		{"trunks.carrier.sources", c.Trunks[0].Sources, "[127.0.0.1/32]"},
		{"trunks.carrier.transfer", c.Trunks[0].Transfer, "[redirect refer bridge]"},
		{"trunks.carrier.identity", c.Trunks[0].Identity, "auto"},
		{"trunks.carrier.did", c.Trunks[0].DID, "uri"},
		{"pbx.sip", c.PBX.SIP, "[sip:127.0.0.1:5070]"},
		{"pbx.ring", s(c.PBX.Ring), "25s"},
		{"pbx.failover", s(c.PBX.Failover), "4s"},
		{"pbx.refer_outside", c.PBX.ReferOutside, "refuse"},
		{"pbx.extensions", c.PBX.Extensions, "[100-299]"},
		{"pbx.queues", c.PBX.Queues, "[800-899]"},
		{"crm.deadline", s(c.CRM.Deadline), "2.5s"},
		{"crm.bitrix24.webhook", c.CRM.Bitrix24.Webhook.Reveal(), "http://127.0.0.1:9000/rest/1/secret/"},
		{"crm.bitrix24.fields", c.CRM.Bitrix24.Fields, "{UF_CRM_FD_MANAGER UF_CRM_FD_TEMP_MANAGER UF_CRM_FD_TEMP_UNTIL UF_CRM_FD_DIRECT UF_CRM_FD_NO_STICKY UF_USR_FD_STICKY}"},
		{"crm.bitrix24.rate", c.CRM.Bitrix24.Rate, "{2 40}"},
		{"crm.mirror", c.CRM.Mirror, "{true 24h0m0s 5m0s}"},
		{"crm.placeholder", c.CRM.Placeholder, "0"},
		{"crm.leads", c.CRM.Leads, "{false ignore []}"},
		{"sticky.time", s(c.Sticky.Time), "15m0s"},
		{"staff.every", s(c.Staff.Every), "30s"},
		{"calllog", c.CallLog, "{false placeholder false 2160h0m0s}"},
		{"recordings", c.Recordings, "{off 720h0m0s recordings/ Разговор может быть записан. false}"},
		{"phonebook", c.Phonebook, "{false 24h0m0s}"},
		{"mail.smtp", c.Mail.SMTP.Reveal(), ""},
		{"mail.from", c.Mail.From, "frontdesk@localhost"},
		{"greeting.engine", c.Greeting.Engine, "espeak"},
		{"greeting.via", c.Greeting.Via, "early"},
		{"greeting.text", c.Greeting.Text, "Соединяю вас с сотрудником {{.Manager.FirstName}} {{.Manager.LastName}}. Вы можете набрать внутренний номер."},
		{"greeting.language", c.Greeting.Language, "ru-RU"},
		{"greeting.cache", c.Greeting.Cache, "greetings/"},
		{"digits", c.Digits, "{0s 3s 4 #}"},
		{"blocked", c.Blocked, "{[] reject}"},
		{"rules", len(c.Rules), "2"},
		{"rules[0].name", c.Rules[0].Name, "support"},
		{"rules[0].trunk", c.Rules[0].Trunk, "[carrier]"},
		{"rules[0].did", c.Rules[0].DID, "[+74951234567 +7495765* _+7499XXXXXXX]"},
		{"rules[0].hours", c.Rules[0].Hours, "Mon-Fri 09:00-18:00"},
		{"rules[0].default", c.Rules[0].Default, "800"},
		{"rules[0].lookup", *c.Rules[0].Lookup, "true"},
		{"rules[0].greeting", *c.Rules[0].Greeting, "true"},
		{"rules[1].default", c.Rules[1].Default, "801"},
		{"rules[1].when", c.Rules[1].When == nil, "true"},
		{"rules[1].lookup", c.Rules[1].Lookup == nil, "true"},
	} {
		if got := fmt.Sprint(f.got); got != f.want {
			t.Errorf("%s is %q, want %q", f.key, got, f.want)
		}
	}
}

// TestDefaults loads an empty file: every key of the contract that it leaves
// out has the contract's value, but for the rules, which a site must give.
func TestDefaults(t *testing.T) {
	t.Parallel()
	want := mustLoad(t, config.Example(), none)
	want.Rules = nil
	for _, text := range []string{"", "# nothing\n", "sip:\nmedia: {}\ntrunks: {carrier: }\ncrm:\n  # all commented out\n"} {
		got := mustLoad(t, text, none)
		if diff := cmp.Diff(want, got, same); diff != "" {
			t.Errorf("%q differs (-contract +got):\n%s", text, diff)
		}
	}
}

func TestExampleHasNoErrors(t *testing.T) {
	t.Parallel()
	_, problems := config.Parse("frontdesk.yaml", []byte(config.Example()), none)
	for _, p := range problems {
		if !strings.HasSuffix(p.Message, "has no effect in this version") {
			t.Error(p)
		}
	}
}

// TestScalarsAsWritten: what YAML would make numbers of stays what was written.
func TestScalarsAsWritten(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, `
pbx: {extensions: [0100-0299, 07], queues: 800}
crm: {leads: {never_for: [+74951234567, 0912]}}
rules:
  - {name: 1_000, did: "+71", default: 0101}
  - {name: 0x10, did: "+72", default: 0101}
  - {name: 1.50, did: "+73", default: 0101}
  - {name: true, did: "+74", default: 0101}
  - {name: 1e3, did: "+75", default: 0101}
  - {name: .5, did: "+76", default: 0101}
  - name: 007
    did: +74951234567
    default: 0101
`, none)
	for _, f := range []struct{ got, want string }{
		{c.Rules[6].DID[0], "+74951234567"},
		{c.Rules[6].Default, "0101"},
		{c.Rules[6].Name, "007"},
		{names(c.Rules[:6]), "1_000 0x10 1.50 true 1e3 .5"},
		{fmt.Sprint(c.PBX.Queues), "[800]"},
		{fmt.Sprint(c.CRM.Leads.NeverFor), "[+74951234567 0912]"},
	} {
		if f.got != f.want {
			t.Errorf("got %q, want %q", f.got, f.want)
		}
	}
}

func names(rules []config.Rule) string {
	var out []string
	for _, r := range rules {
		out = append(out, r.Name)
	}
	return strings.Join(out, " ")
}

func TestDurations(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "15m": 15 * time.Minute, "1h30m": 90 * time.Minute, "0.5h": 30 * time.Minute, "30d": 720 * time.Hour, "1w": 168 * time.Hour,
	} {
		c := mustLoad(t, "sticky: {time: "+text+"}\n", none)
		if c.Sticky.Time != want {
			t.Errorf("%s is %v, want %v", text, c.Sticky.Time, want)
		}
	}
}

// TestReferences: ${...} is replaced in values, once, as text.
func TestReferences(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "pw"), []byte("p#w: [x]\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := lookup(map[string]string{"MAX": "77", "NAT": "true", "USER": "${MAX}", "PORT": "5099", "EMPTY": "", "RING": "7s"})
	c, problems := config.Parse(filepath.Join(dir, "frontdesk.yaml"), []byte(`
sip: {max_calls: ${MAX}, listen: [udp://127.0.0.1:${PORT}]}
pbx: {ring: ${RING}}
http: {token: ${FRONTDESK_TOKEN}}
mail: {smtp: "${EMPTY}"}
greeting: {text: "цена $${MAX} {{.Manager.LastName}}"}
trunks:
  carrier: {sources: [192.0.2.1], nat: ${NAT}, auth: {user: ${USER}, password: ${file:pw}}}
rules: [{name: all, default: "800"}]
`), env)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(c.SIP.MaxCalls, c.SIP.Listen, c.PBX.Ring, c.HTTP.Token.Set(), c.Mail.SMTP.Set(),
		c.Trunks[0].NAT, c.Trunks[0].Auth.User, " ", c.Trunks[0].Auth.Password.Reveal(), c.Greeting.Text)
	want := `77 [udp://127.0.0.1:5099] 7s false false true${MAX} p#w: [x]цена ${MAX} {{.Manager.LastName}}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestOneOrList: a value stands for a list of one.
func TestOneOrList(t *testing.T) {
	t.Parallel()
	one := mustLoad(t, "trunks: {a: {sources: 192.0.2.1, transfer: bridge}}\nrules: [{name: x, trunk: a, did: \"+74951234567\", default: \"800\"}]\n", none)
	list := mustLoad(t, "trunks: {a: {sources: [192.0.2.1], transfer: [bridge]}}\nrules: [{name: x, trunk: [a], did: [\"+74951234567\"], default: \"800\"}]\n", none)
	if diff := cmp.Diff(list, one, same); diff != "" {
		t.Errorf("(-list +one):\n%s", diff)
	}
}

func TestTrunksAreOrderedAndInherit(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, `
sip: {did: to}
trunks:
  zeta: {sources: [192.0.2.3], did: uri}
  alpha: {sources: ["2001:db8::/32", "::ffff:192.0.2.9"], identity: pai}
  mid: {register: {registrar: "sip:reg.example.net", user: u, password: p}}
`, none)
	var got []string
	for _, x := range c.Trunks {
		got = append(got, fmt.Sprint(x.Name, x.DID, x.Identity, x.Sources))
	}
	want := []string{"alphatopai[2001:db8::/32 192.0.2.9/32]", "midtoauto[]", "zetauriauto[192.0.2.3/32]"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestApplicationAlone: who names a portal to the application needs no webhook,
// and does not speak with the sandbox for that.
func TestApplicationAlone(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`app: {client_id: local.1, client_secret: key, portal: "https://example.bitrix24.ru"}`:                                                     "",
		`app: {client_id: local.1, client_secret: key}`:                                                                                            config.Defaults().CRM.Bitrix24.Webhook.Reveal(),
		`webhook: "https://example.bitrix24.ru/rest/1/key/", app: {client_id: local.1, client_secret: key, portal: "https://example.bitrix24.ru"}`: "https://example.bitrix24.ru/rest/1/key/",
	} {
		c := mustLoad(t, "crm: {bitrix24: {"+text+"}}\nrules: [{name: x, did: \"+74951234567\", default: \"800\"}]\n", none)
		if got := c.CRM.Bitrix24.Webhook.Reveal(); got != want {
			t.Errorf("with %s the webhook is %q, want %q", text, got, want)
		}
	}
}

func TestGreetingSays(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, "greeting:\n  text: |\n    Соединяю вас\n    с {{.Manager.FirstName}}  {{.Manager.LastName}}\n", none)
	got, err := c.Greeting.Say(call.Employee{FirstName: "Анна", LastName: "Ли"})
	if want := "Соединяю вас с Анна Ли"; err != nil || got != want {
		t.Errorf("says %q, %v; want %q", got, err, want)
	}
	if _, err := (&config.Greeting{}).Say(call.Employee{}); err == nil {
		t.Error("a greeting that was not loaded speaks")
	}
}

func TestNamedSchedule(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, `
schedules:
  office: {hours: ["Mon-Fri 09:00-18:00", "Sat 10:00-14:00"], holidays: ["2026-01-01", "01-07"]}
rules:
  - {name: open, hours: office, default: "800"}
  - {name: closed, default: "801"}
`, none)
	if got := c.Schedules["office"]; len(got.Hours) != 2 || len(got.Holidays) != 2 || c.Plan == nil {
		t.Errorf("schedule %v, plan %v", got, c.Plan)
	}
}

func TestRestart(t *testing.T) {
	t.Parallel()
	a := mustLoad(t, config.Example(), none)
	if got := a.Restart(mustLoad(t, strings.Replace(config.Example(), "ring: 25s", "ring: 20s", 1), none)); got != nil {
		t.Errorf("a reload is enough, yet %v", got)
	}
	b := mustLoad(t, "sip: {listen: [udp://127.0.0.1:5062]}\nmedia: {ports: 30000-31999}\nhttp: {listen: 127.0.0.1:8081}\nstore: sqlite:other.db\n"+
		"crm: {bitrix24: {webhook: http://127.0.0.1:9001/rest/1/secret/, fields: {direct: UF_CRM_DIRECT}, rate: {per_second: 5}}}\n"+
		"greeting: {engine: none, text: hello}\nstaff: {every: 1m}\nmail: {smtp: \"smtp://mail.example.com\", from: desk@example.com}\n", none)
	want := []string{
		"sip.listen", "media.ports", "greeting", "http.listen", "crm.bitrix24.webhook", "crm.bitrix24.fields", "crm.bitrix24.rate",
		"staff", "mail.smtp", "mail.from", "store",
	}
	if diff := cmp.Diff(want, a.Restart(b)); diff != "" {
		t.Error(diff)
	}
}

func TestFileThatCannotBeRead(t *testing.T) {
	t.Parallel()
	c, problems := config.Load(filepath.Join(t.TempDir(), "none.yaml"), none)
	if err := problems.Err(); err == nil || !strings.HasSuffix(err.Error(), "none.yaml: cannot be read: no such file or directory") {
		t.Errorf("error %v", err)
	}
	if c == nil || c.Plan != nil {
		t.Errorf("configuration %v", c)
	}
}

func TestTooDeep(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		"a: " + strings.Repeat("[", 1<<15), "a: " + strings.Repeat("[\n", 1<<13), strings.Repeat("- ", 1<<15),
		strings.Repeat("[", 100) + strings.Repeat("]", 100), "rules: " + strings.Repeat("[", 40) + strings.Repeat("]", 40),
	} {
		if _, problems := config.Parse("frontdesk.yaml", []byte(bad), none); !problems.HasErrors() {
			t.Errorf("%.20s... was taken", bad)
		}
	}
	mustLoad(t, "# "+strings.Repeat("- ", 60)+"\n# "+strings.Repeat("[ ", 60)+"\n", none)
}

func TestProblemsAsJSON(t *testing.T) {
	t.Parallel()
	_, problems := config.Parse("frontdesk.yaml", []byte("pbx: {rinng: 5s}\nhttp: {listen: \"0.0.0.0:8080\"}\nrules: [{name: a, default: \"800\"}]\ntrunks: {a: {sources: 192.0.2.1}}\n"), none)
	b, err := json.Marshal(problems)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"file":"frontdesk.yaml","line":1,"column":7,"path":"pbx.rinng","severity":"error","message":"unknown key \"rinng\" in pbx","hint":"did you mean \"ring\"?","excerpt":"pbx: {rinng: 5s}"},` +
		`{"file":"frontdesk.yaml","line":2,"column":16,"path":"http.listen","severity":"warning","message":"http.listen is reached from outside, and there is no http.token: the API answers loopback only","hint":"set http.token, or listen on 127.0.0.1","excerpt":"http: {listen: \"0.0.0.0:8080\"}"}]`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
	if err := problems.Err(); err == nil || err.Error() != `frontdesk.yaml:1:7: unknown key "rinng" in pbx` {
		t.Errorf("error %v", err)
	}
	if err := problems[1:].Err(); err != nil {
		t.Errorf("a warning is an error: %v", err)
	}
}

// TestOtherEditors: a byte order mark and Windows line ends change nothing,
// neither of values nor of places.
func TestOtherEditors(t *testing.T) {
	t.Parallel()
	bad := "sip:\n  max_cals: 5\ngreeting:\n  text: |\n    a {{.Manager.Nme}}\n"
	_, unix := config.Parse("frontdesk.yaml", []byte(bad), none)
	_, windows := config.Parse("frontdesk.yaml", []byte("\ufeff"+strings.ReplaceAll(bad, "\n", "\r\n")), none)
	if diff := cmp.Diff(text(t, unix), text(t, windows)); diff != "" || len(unix) < 2 {
		t.Errorf("(-unix +windows):\n%s", diff)
	}
	c := mustLoad(t, strings.ReplaceAll(config.Example(), "\n", "\r\n"), none)
	if diff := cmp.Diff(mustLoad(t, config.Example(), none), c, same); diff != "" {
		t.Errorf("values differ (-unix +windows):\n%s", diff)
	}
}
