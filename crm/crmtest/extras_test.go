package crmtest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"frontdesk/call"
	"frontdesk/crm/crmtest"
)

// ask posts JSON to p and decodes the answer's result into out.
func ask(t *testing.T, p *crmtest.Portal, path, body string, out any) int {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	answer := struct {
		Result any `json:"result"`
	}{out}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatalf("%s: %v in %s", path, err, w.Body)
	}
	return w.Code
}

// Pages chained by the last id of the one before begin again from the start
// behind a short one: the reference leads nowhere and the filter is not what it
// seems.
func TestChainedPages(t *testing.T) {
	t.Parallel()
	p := crmtest.New(crmtest.Options{})
	for i := range 70 {
		p.AddContact(crmtest.Contact{ID: 10 + i})
	}
	var got struct {
		Result map[string][]struct {
			ID string `json:"ID"`
		} `json:"result"`
	}
	ask(t, p, "/rest/1/secret/batch.json", `{"cmd":{
		"p0":"crm.contact.list?order[ID]=ASC&filter[%3EID]=0&start=-1",
		"p1":"crm.contact.list?order[ID]=ASC&filter[%3EID]=$result[p0][49][ID]&start=-1",
		"p2":"crm.contact.list?order[ID]=ASC&filter[%3EID]=$result[p1][49][ID]&start=-1"}}`, &got)
	if n := len(got.Result["p0"]); n != 50 || got.Result["p1"][0].ID != "60" || len(got.Result["p1"]) != 20 {
		t.Errorf("the pages hold %d and %d rows", n, len(got.Result["p1"]))
	}
	if len(got.Result["p2"]) != 50 || got.Result["p2"][0].ID != "10" {
		t.Errorf("behind a short page come %d rows", len(got.Result["p2"]))
	}
}

func TestOfflineEventsAreReserved(t *testing.T) {
	t.Parallel()
	p := crmtest.New(crmtest.Options{})
	p.SetOfflineExtended(true)
	refresh := p.AddApp(crmtest.App{ID: "local.1", Secret: "s"})
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet,
		"/oauth/token/?grant_type=refresh_token&client_id=local.1&client_secret=s&refresh_token="+refresh, nil)
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	var token struct {
		Access string `json:"access_token"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &token); err != nil || token.Access == "" {
		t.Fatalf("no token: %s", w.Body)
	}
	invoke := func(method, params string) (process string, events int) {
		t.Helper()
		var out any
		ask(t, p, "/rest/"+method, fmt.Sprintf(`{"auth":%q,%s}`, token.Access, params), &out)
		if m, ok := out.(map[string]any); ok {
			list, _ := m["events"].([]any)
			process, _ = m["process_id"].(string)
			return process, len(list)
		}
		return "", 0
	}
	invoke("event.bind", `"event":"ONCRMLEADADD","event_type":"offline"`)
	p.AddLead(crmtest.Lead{Title: "one"})
	p.AddLead(crmtest.Lead{Title: "two"})
	p.Remove(call.KindLead, 1) // nobody bound that
	process, n := invoke("event.offline.get", `"clear":0`)
	if n != 2 {
		t.Fatalf("%d events, want 2", n)
	}
	if _, n := invoke("event.offline.get", `"clear":0`); n != 0 {
		t.Errorf("%d reserved events are given to another process", n)
	}
	if _, n := invoke("event.offline.get", fmt.Sprintf(`"clear":0,"process_id":%q`, process)); n != 2 {
		t.Errorf("the process that reserved them gets %d", n)
	}
	invoke("event.offline.clear", fmt.Sprintf(`"process_id":%q`, process))
	if n := p.OfflineEvents(); n != 0 {
		t.Errorf("%d events are left", n)
	}
	var refused any
	if code := ask(t, p, "/rest/1/secret/event.offline.get", `{}`, &refused); code != http.StatusForbidden {
		t.Errorf("a webhook is answered %d", code)
	}
}
