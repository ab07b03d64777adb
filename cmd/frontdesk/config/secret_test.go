package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"frontdesk/cmd/frontdesk/config"
)

const allSecrets = `
store: postgres://desk:canary-store@db/frontdesk
http: {token: canary-token}
mail: {smtp: "smtp://desk:canary-mail@localhost:2525"}
webhooks: [{url: "https://example.com/canary-path?token=canary-query", secret: canary-0123456789}]
pbx: {xapi: {url: "https://pbx.example.com", client_id: desk, client_secret: canary-xapi}}
trunks:
  carrier:
    sources: [192.0.2.1]
    auth: {user: u, password: canary-auth}
    register: {registrar: "sip:reg.example.net", user: u, password: canary-register}
crm:
  bitrix24:
    webhook: https://example.bitrix24.ru/rest/1/canary-webhook/
    employees: {17: https://example.bitrix24.ru/rest/17/canary-employee/}
    app: {client_id: x, client_secret: canary-app, refresh_token: canary-refresh}
rules: [{name: all, default: "800"}]
`

// TestSecretsNeverPrint prints a configuration full of secrets in every way
// there is.
func TestSecretsNeverPrint(t *testing.T) {
	t.Parallel()
	c, problems := config.Parse("frontdesk.yaml", []byte(allSecrets), none)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	prints := map[string]string{"problems": text(t, problems)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
		prints[verb] = fmt.Sprintf(verb, c)
		prints["*"+verb] = fmt.Sprintf(verb, *c)
		prints["token"+verb] = fmt.Sprintf(verb, c.HTTP.Token)
		prints["&token"+verb] = fmt.Sprintf(verb, &c.HTTP.Token)
		prints["employees"+verb] = fmt.Sprintf(verb, c.CRM.Bitrix24.Employees)
		prints["unexported"+verb] = fmt.Sprintf(verb, struct{ s config.Secret }{c.HTTP.Token})
	}
	b, err := json.Marshal([]any{c.Edge, c.Place, c.Parties, c.Service})
	if err != nil {
		t.Fatal(err)
	}
	prints["json"] = string(b)
	b, err = yaml.Marshal([]any{c.HTTP, c.Store, c.CRM, c.Mail})
	if err != nil {
		t.Fatal(err)
	}
	prints["yaml"] = string(b)
	var log bytes.Buffer
	for _, l := range []*slog.Logger{
		slog.New(slog.NewTextHandler(&log, nil)), slog.New(slog.NewJSONHandler(&log, nil)),
	} {
		l.Info("configuration", "token", c.HTTP.Token, "http", c.HTTP, "trunks", c.Trunks, "crm", c.CRM, "store", c.Store)
	}
	prints["slog"] = log.String()
	for how, got := range prints {
		if strings.Contains(got, "canary") || strings.Contains(got, fmt.Sprintf("%x", "canary")) {
			t.Errorf("%s shows a secret: %s", how, got)
		}
	}
	if got := c.HTTP.Token.Reveal(); got != "canary-token" {
		t.Errorf("the token is %q", got)
	}
}

// TestSecretsDoNotShowInProblems spoils the file line by line and in several
// ways; whatever is said then, no secret is in it.
func TestSecretsDoNotShowInProblems(t *testing.T) {
	t.Parallel()
	lines := strings.Split(allSecrets, "\n")
	spoil := []func(string) string{
		func(s string) string { return strings.Replace(s, ":", "x:", 1) },
		func(s string) string { return s + " ]" },
		func(s string) string { return s + " }}" },
		func(s string) string { return s + ": x" },
		func(s string) string { return "\t" + s },
		func(s string) string { return strings.Replace(s, ": ", ": !", 1) },
		func(s string) string { return strings.Replace(s, ": ", ": *", 1) },
		func(s string) string { return strings.Replace(s, ": ", ": [", 1) },
		func(s string) string { return strings.Replace(s, "canary", "\"canary", 1) },
		func(s string) string { return strings.Replace(s, "canary", "${canary", 1) },
		func(s string) string { return strings.Replace(s, "canary", "{{ canary", 1) },
		func(s string) string { return strings.Replace(s, "https", "ftp", 1) },
		func(s string) string { return strings.Replace(s, "/rest", "", 1) },
		func(s string) string { return strings.Replace(s, "@", "@ ", 1) },
		func(s string) string { return strings.ReplaceAll(s, "password", "pasword") },
		func(s string) string { return s + "\n" + s },
	}
	for i, line := range lines {
		for j, f := range spoil {
			bad := append([]string{}, lines...)
			bad[i] = f(line)
			_, problems := config.Parse("frontdesk.yaml", []byte(strings.Join(bad, "\n")), none)
			b, err := json.Marshal(problems)
			if err != nil {
				t.Fatal(err)
			}
			if said := text(t, problems) + string(b) + fmt.Sprintf("%+v", problems); strings.Contains(said, "canary") {
				t.Errorf("line %d spoilt in way %d (%s): a secret shows:\n%s", i+1, j, bad[i], text(t, problems))
			}
		}
	}
}
