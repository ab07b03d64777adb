package pbx_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"frontdesk/pbx"
)

const (
	fakeID     = "frontdesk"
	fakeSecret = "canary-key/+?" // escaped in a form, and nowhere to be seen
)

// fake3CX answers with the documented shapes. One token lives at a time.
type fake3CX struct {
	*httptest.Server
	mux *http.ServeMux

	mu      sync.Mutex
	issued  int
	token   string
	tokens  func(n int) any // the answer to the nth sign-in; nil: good for an hour
	calls   []string        // "GET /xapi/v1/Peers?..."
	secrets []string        // all tokens ever given
}

func newFake(t testing.TB) *fake3CX {
	t.Helper()
	f := &fake3CX{mux: http.NewServeMux()}
	f.Server = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.Close)
	return f
}

func (f *fake3CX) client(t testing.TB) *pbx.Client {
	t.Helper()
	c, err := pbx.NewClient(pbx.Config{URL: f.URL, ID: fakeID, Secret: fakeSecret, Rate: 1000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func (f *fake3CX) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/connect/token" {
		f.signIn(w, r)
		return
	}
	f.mu.Lock()
	good := r.Header.Get("Authorization") == "Bearer "+f.token && f.token != ""
	f.calls = append(f.calls, r.Method+" "+r.URL.RequestURI())
	f.mu.Unlock()
	if !good {
		http.Error(w, "", http.StatusUnauthorized)
		return
	}
	w.Header().Set("X-3CX-Version", "20.0.8.1109")
	f.mux.ServeHTTP(w, r)
}

func (f *fake3CX) signIn(w http.ResponseWriter, r *http.Request) {
	if r.FormValue("client_id") != fakeID || r.FormValue("client_secret") != fakeSecret || r.FormValue("grant_type") != "client_credentials" {
		write(w, http.StatusBadRequest, map[string]string{"error": "invalid_client", "error_description": "bad " + r.FormValue("client_secret")})
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.issued++
	if f.tokens != nil {
		answer := f.tokens(f.issued)
		if m, ok := answer.(map[string]any); ok {
			f.token, _ = m["access_token"].(string)
		}
		write(w, http.StatusOK, answer)
		return
	}
	f.token = fmt.Sprintf("canary-token-%d", f.issued)
	f.secrets = append(f.secrets, f.token)
	write(w, http.StatusOK, map[string]any{"token_type": "Bearer", "expires_in": 60, "access_token": f.token, "refresh_token": nil})
}

// kill is another program taking the token.
func (f *fake3CX) kill() {
	f.mu.Lock()
	f.token = "of another program"
	f.mu.Unlock()
}

func (f *fake3CX) signIns() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.issued
}

func (f *fake3CX) asked(prefix string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, c := range f.calls {
		if strings.HasPrefix(c, prefix) {
			n++
		}
	}
	return n
}

// list serves a collection with paging and the cap on $top.
func (f *fake3CX) list(path string, rows ...any) {
	f.mux.HandleFunc("GET /xapi/v1"+path, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		top, _ := strconv.Atoi(q.Get("$top"))
		skip, _ := strconv.Atoi(q.Get("$skip"))
		if top > 100 {
			refuse(w, http.StatusBadRequest, "The limit of '100' for Top query has been exceeded.")
			return
		}
		part := rows[min(skip, len(rows)):]
		part = part[:min(top, len(part))]
		answer := map[string]any{"value": append([]any{}, part...)}
		if q.Get("$count") == "true" {
			answer["@odata.count"] = len(rows)
		}
		write(w, http.StatusOK, answer)
	})
}

func (f *fake3CX) answer(pattern string, status int, body any) {
	f.mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) { write(w, status, body) })
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; odata.metadata=minimal")
	w.WriteHeader(status)
	if body != nil {
		_ = json.NewEncoder(w).Encode(body)
	}
}

func refuse(w http.ResponseWriter, status int, message string) {
	write(w, status, odataError(message))
}

func odataError(message string) any {
	return map[string]any{"error": map[string]any{
		"code": "", "message": message, "target": "Number",
		"details": []any{map[string]any{"code": "", "message": "see above", "target": "Number"}}, "innerError": map[string]any{},
	}}
}

func peer(id int, number, kind string) any {
	return map[string]any{"Id": id, "Number": number, "Name": "N" + number, "Type": kind, "Hidden": false}
}

// leaks fails where a text holds what it must not.
func (f *fake3CX) leaks(t *testing.T, text string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, secret := range append(slices.Clone(f.secrets), fakeSecret, "canary") {
		if strings.Contains(text, secret) {
			t.Errorf("%q is shown in %q", secret, text)
		}
	}
}

// eventually waits for a condition that another goroutine brings about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("%s did not come about", what)
		case <-tick.C:
		}
	}
}
