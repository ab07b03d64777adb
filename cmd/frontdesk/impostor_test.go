package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"frontdesk/cmd/frontdesk/config"
	"frontdesk/crm/crmtest"
)

// impostor answers as a server does, by handlers.
func impostor(t *testing.T, handlers map[string]http.HandlerFunc) *desk {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("the token was sent before anybody was known")
		}
		_, _ = io.WriteString(w, "ok\n")
	})
	for path, h := range handlers {
		mux.HandleFunc(path, h)
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	d := newDeskOf(t, func(portal string) string {
		return fmt.Sprintf("http: {listen: %q, token: %s}\n", server.Listener.Addr(), token) + byWebhook(portal)
	})
	return d
}

// says answers JSON.
func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

// same answers as the server of d's configuration would.
func same(t *testing.T, d **desk) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		cfg, _ := config.Load((*d).config, os.LookupEnv)
		if err := json.NewEncoder(w).Encode(identity(cfg, (*d).config)); err != nil {
			t.Error(err)
		}
	}
}

// Another server at the address is left alone, and told.
func TestAnotherServerAtTheAddress(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"another frontdesk":  {says(`{"product":"frontdesk","version":"1","config":"/etc/other\u202e.yaml","sum":"00"}`), `runs by /etc/other\u202e.yaml`},
		"something else":     {says(`<html>`), "runs by another configuration"},
		"an older frontdesk": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }, "runs by another configuration"},
		"one that redirects": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://evil.example/", http.StatusTemporaryRedirect)
		}, "runs by another configuration"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := impostor(t, map[string]http.HandlerFunc{"/api/v1/instance": c.answer})
			company(d.portal)
			out, stderr, code := d.run(t, "bitrix24", "lint", "--json")
			golden(t, "lint.json", out)
			if code != exitFindings || !strings.Contains(stderr, c.want) || strings.Contains(stderr, token) {
				t.Errorf("exit %d, %q", code, stderr)
			}
		})
	}
}

// Whatever the server says, the terminal stays as it is.
func TestAnswersOfTheServerGoneWrong(t *testing.T) {
	t.Parallel()
	const evil = `\u001b[2J\u202e`
	line := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-ndjson")
			_, _ = io.WriteString(w, s)
		}
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"it breaks off":        {line(`{"progress":{"what":"contact","done":1,"total":9}}` + "\n"), "it broke off"},
		"it breaks off within": {line(`{"progress":{"what":"cont`), "it broke off"},
		"it ends":              {line(`{"progress":{"what":"c","done":1,"total":9,"note":"` + evil + `"}}` + "\n" + `{"error":"the server is ending","status":503}`), "waiting: \\x1b[2J\\u202e"},
		"an error":             {line(`{"error":"` + evil + `","status":502}`), "frontdesk: \\x1b[2J\\u202e"},
		"a status":             {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }, "answered 500"},
		"no JSON":              {says("<html>"), "invalid character"},
		"another shape":        {says(`{"findings":"` + evil + `"}`), "cannot unmarshal"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var d *desk
			d = impostor(t, map[string]http.HandlerFunc{
				"/api/v1/instance": same(t, &d), "/api/v1/bitrix24/lint": c.answer,
			})
			out, stderr, code := d.run(t, "bitrix24", "lint")
			if code != exitFindings || out != "" || !strings.Contains(stderr, c.want) || strings.ContainsAny(stderr, "\x1b\u202e") {
				t.Errorf("exit %d, %q, %q", code, out, stderr)
			}
		})
	}
}

// What people type into the portal does not move the cursor.
func TestHostileTextsOfThePortal(t *testing.T) {
	t.Parallel()
	const evil = "\x1b]0;x\x07\u202e\u200b\r\n\t"
	d := newDesk(t, "")
	d.portal.AddUser(crmtest.User{ID: 17, FirstName: evil, LastName: "A" + evil})
	d.portal.AddContact(crmtest.Contact{Name: evil + "B", Responsible: 17, Phones: []string{"+79160000001", evil}})
	d.portal.AddUserField("CRM_LEAD", crmtest.UserField{Name: "UF_CRM_FD_DIRECT", Type: "string" + evil})
	for _, args := range [][]string{
		{"bitrix24", "lint"}, {"bitrix24", "setup", "--dry-run"}, {"bitrix24", "check"}, {"explain", "--from", "+79160000001", "--to", "112"},
	} {
		out, stderr, _ := d.run(t, args...)
		if strings.ContainsAny(out+stderr, "\x1b\x07\u202e\u200b\r") || out == "" {
			t.Errorf("%s: %q %q", args, out, stderr)
		}
	}
}

// Every command stops at a bad configuration, and says where it is bad.
func TestCommandsWithABadConfiguration(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "nonsense: true")
	for _, args := range [][]string{
		{"check"}, {"check", "--json"}, {"serve"}, {"explain", "--to", "112"}, {"bitrix24", "setup"}, {"bitrix24", "check"}, {"bitrix24", "lint", "--json"},
		{"mirror", "export"}, {"tts", "render"}, {"backup", "copy.db"},
	} {
		out, stderr, code := d.run(t, args...)
		said := stderr
		if args[0] == "check" {
			said = out
		} else if out != "" {
			t.Errorf("%s: printed %q", args, out)
		}
		if code != exitConfig || !strings.Contains(said, "nonsense") {
			t.Errorf("%s: exit %d, %q, %q", args, code, out, stderr)
		}
	}
	for _, args := range [][]string{{"bitrix24", "lint", "extra"}, {"bitrix24", "setup", "--wet"}, {"explain", "--to", "112", "--at", "noon"}} {
		if _, stderr, code := newDesk(t, "").run(t, args...); code != exitConfig || stderr == "" {
			t.Errorf("%s: exit %d, %q", args, code, stderr)
		}
	}
}
